//! What reports of some days say of a domain: sums, made page by page when they are asked for.
//!
//! A report has a document of some kilobytes, so a month of a usual domain is read in a fraction of a second; sums that
//! were kept for each day would have to hold all sources of a day, which is what the documents are.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;

use postrider_proto::dmarc::report::{self as dmarc, Disposition, Outcome};
use postrider_proto::gzip;
use postrider_proto::reports::Report;
use postrider_proto::tlsrpt;
use postrider_storage::reader::Reader;
use postrider_storage::reports::{Filter, get, list};
use postrider_storage::rows::{ReportKind, ReportProof, ReportRow};
use postrider_storage::store::StoreError;
use tracing::warn;

use super::judge::passes;
use crate::control::protocol::{ANSWER_OCTETS_MAX, DmarcSummary, FailureSummary, SourceSummary, TlsSummary};

/// Reports that are read for one step.
const STEP_REPORTS: usize = 20;
/// Octets of documents, expanded, after which a step ends.
const STEP_OCTETS: usize = 4 << 20;
/// What a stored document expands to at most.
pub(crate) const DOCUMENT_OCTETS_MAX: usize = 16 << 20;
/// Sources, and ways to fail, that are added up; of more, all are one.
const GROUPS_MAX: usize = 20_000;
/// Those that are told.
const TOLD_MAX: usize = 100;
/// Words of each kind that are told of one source.
const WORDS_MAX: usize = 5;
/// Octets of such a word, and of what is told of a failure, so that all of it fits into one answer.
const WORD_OCTETS_MAX: usize = 120;
const FAILURE_OCTETS_MAX: usize = 300;

/// With every octet written as two.
const _: () = assert!(
    2 * TOLD_MAX * (3 * WORDS_MAX * WORD_OCTETS_MAX + WORDS_MAX * 255 + 3 * FAILURE_OCTETS_MAX + 255)
        < ANSWER_OCTETS_MAX - (64 << 10)
);

/// Sums that are being made.
#[derive(Default)]
pub struct Summary {
    dmarc: DmarcSummary,
    sources: HashMap<Option<IpAddr>, SourceSummary>,
    tls: TlsSummary,
    failures: HashMap<[Box<str>; 4], u64>,
}

/// Adds some of the reports that a filter means; gives the filter of those that are left, and how many were looked at.
pub fn summarise(
    reader: &Reader,
    filter: &Filter,
    summary: &mut Summary,
) -> Result<(Option<Filter>, usize), StoreError> {
    let page = list(reader, filter, STEP_REPORTS)?;
    if page.damaged > 0 {
        warn!(
            reports = page.damaged,
            "reports are damaged, and left out of a summary; run postrider verifydata"
        );
    }
    let mut octets = 0;
    for (number, listed) in page.reports.into_iter().enumerate() {
        if octets >= STEP_OCTETS {
            return Ok((Some(Filter { from: listed.id, ..filter.clone() }), number));
        }
        let is_confirmed = listed.row.proof != ReportProof::Nothing;
        summary.count(&listed.row, is_confirmed);
        if !is_confirmed {
            continue;
        }
        let Some((_, text)) = get(reader, listed.id)? else { continue };
        let text = gzip::decompress(&text, DOCUMENT_OCTETS_MAX).unwrap_or_default();
        octets += text.len();
        match parse(listed.row.kind, &text) {
            Some(Report::Dmarc(report)) => summary.add_dmarc(&report, &listed.row),
            Some(Report::Tls(report)) => summary.add_tls(&report, &listed.row),
            None => warn!(id = listed.id.0, "the document of a report can't be read"),
        }
    }
    Ok((page.next.map(|from| Filter { from, ..filter.clone() }), page.rows))
}

/// Reads a document that is stored.
pub(crate) fn document(kind: ReportKind, text: &[u8]) -> Option<Report> {
    parse(kind, &gzip::decompress(text, DOCUMENT_OCTETS_MAX).ok()?)
}

fn parse(kind: ReportKind, text: &[u8]) -> Option<Report> {
    match kind {
        ReportKind::Dmarc => dmarc::Report::parse(text).ok().map(|report| Report::Dmarc(Box::new(report))),
        ReportKind::Tls => tlsrpt::Report::parse(text).ok().map(|report| Report::Tls(Box::new(report))),
    }
}

fn add(sum: &mut u64, count: u64) {
    *sum = sum.saturating_add(count);
}

fn cut(text: &str, octets_max: usize) -> &str {
    text.get(..text.floor_char_boundary(octets_max)).unwrap_or_default()
}

/// Adds a word to a few, each once.
fn note(words: &mut Vec<String>, word: String) {
    let word = cut(&word, WORD_OCTETS_MAX).to_owned();
    if words.len() < WORDS_MAX && !words.contains(&word) {
        words.push(word);
    }
}

impl Summary {
    /// Sums that include what of a report there was no room for.
    fn count(&mut self, row: &ReportRow, is_confirmed: bool) {
        let (reports, unconfirmed) = match row.kind {
            ReportKind::Dmarc => (&mut self.dmarc.reports, &mut self.dmarc.unconfirmed),
            ReportKind::Tls => (&mut self.tls.reports, &mut self.tls.unconfirmed),
        };
        if !is_confirmed {
            *unconfirmed += 1;
            return;
        }
        *reports += 1;
        match row.kind {
            ReportKind::Dmarc => {
                add(&mut self.dmarc.messages, row.total);
                add(&mut self.dmarc.failed, row.failed);
                add(&mut self.dmarc.quarantined, row.quarantined);
                add(&mut self.dmarc.rejected, row.rejected);
            }
            ReportKind::Tls => {
                add(&mut self.tls.successful, row.total.saturating_sub(row.failed));
                add(&mut self.tls.failed, row.failed);
            }
        }
    }

    fn add_dmarc(&mut self, report: &dmarc::Report, row: &ReportRow) {
        for record in &report.records {
            let is_known = self.sources.contains_key(&record.source);
            // Beyond the limit all others are one source without an address.
            let source = if is_known || self.sources.len() < GROUPS_MAX { record.source } else { None };
            let sum = self.sources.entry(source).or_default();
            sum.source = source.map(|source| source.to_string());
            add(&mut sum.messages, record.count);
            if !passes(record) {
                add(&mut sum.failed, record.count);
            }
            match record.disposition {
                Disposition::Quarantine => add(&mut sum.quarantined, record.count),
                Disposition::Reject => add(&mut sum.rejected, record.count),
                _ => {}
            }
            if record.dkim == Outcome::Pass {
                add(&mut sum.dkim_aligned, record.count);
            }
            if record.spf == Outcome::Pass {
                add(&mut sum.spf_aligned, record.count);
            }
            for one in &record.dkim_results {
                note(&mut sum.signatures, format!("{} {}", one.domain, one.result.name()));
            }
            for one in &record.spf_results {
                note(&mut sum.senders, format!("{} {}", one.domain, one.result.name()));
            }
            for reason in &record.reasons {
                note(&mut sum.reasons, reason.kind.name().to_owned());
            }
            note(&mut sum.reporters, row.submitter.to_string());
        }
    }

    fn add_tls(&mut self, report: &tlsrpt::Report, row: &ReportRow) {
        for failure in report.policies.iter().flat_map(|policy| &policy.failures) {
            let way = [
                row.submitter.clone(),
                cut(failure.result_type.name(), FAILURE_OCTETS_MAX).into(),
                cut(failure.receiving_mx_hostname.as_deref().unwrap_or_default(), FAILURE_OCTETS_MAX).into(),
                cut(failure.reason_code.as_deref().unwrap_or_default(), FAILURE_OCTETS_MAX).into(),
            ];
            let is_known = self.failures.contains_key(&way);
            let way = if is_known || self.failures.len() < GROUPS_MAX { way } else { Default::default() };
            add(self.failures.entry(way).or_default(), failure.sessions);
        }
    }

    /// The sums, with what matters most first.
    #[must_use]
    pub fn finish(self) -> (DmarcSummary, TlsSummary) {
        let mut sources: Vec<SourceSummary> = self.sources.into_values().collect();
        sources.sort_by(|one, other| {
            let order = |source: &SourceSummary| (Reverse(source.failed), Reverse(source.messages));
            order(one).cmp(&order(other)).then_with(|| one.source.cmp(&other.source))
        });
        let sources_left_out = sources.len().saturating_sub(TOLD_MAX) as u64;
        sources.truncate(TOLD_MAX);
        let mut failures: Vec<FailureSummary> = self
            .failures
            .into_iter()
            .map(|([reporter, result, receiving_host, reason], sessions)| FailureSummary {
                reporter: reporter.into(),
                result: result.into(),
                receiving_host: receiving_host.into(),
                reason: reason.into(),
                sessions,
            })
            .collect();
        failures.sort_by(|one, other| {
            let order = |failure: &FailureSummary| Reverse(failure.sessions);
            order(one).cmp(&order(other)).then_with(|| words(one).cmp(&words(other)))
        });
        let failures_left_out = failures.len().saturating_sub(TOLD_MAX) as u64;
        failures.truncate(TOLD_MAX);
        let dmarc = DmarcSummary { sources, sources_left_out, ..self.dmarc };
        (dmarc, TlsSummary { failures, failures_left_out, ..self.tls })
    }
}

fn words(failure: &FailureSummary) -> [&str; 4] {
    [&failure.reporter, &failure.result, &failure.receiving_host, &failure.reason]
}

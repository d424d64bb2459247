//! Whether a report is about a domain of ours, and who confirms it. Pure, but for what the directory says.

use std::collections::BTreeMap;

use postrider_proto::address::{Address, Domain};
use postrider_proto::dmarc::report::{self as dmarc, Disposition, Outcome};
use postrider_proto::public_suffix::{Division, organizational_domain};
use postrider_proto::reports::Report;
use postrider_proto::tlsrpt;
use postrider_storage::directory::Directory;
use postrider_storage::engine::EngineError;
use postrider_storage::rows::{ReportKind, ReportProof, ReportRow, ReportTodoRow};
use ring::digest::{Context, SHA256};

/// Labels that are taken off a name until it is ours.
const LABELS_MAX: usize = 10;
/// Names that are looked up for one report on TLS, and domains of ours that it is about.
const NAMES_MAX: usize = 500;
const HOMES_MAX: usize = 16;
/// Messages or sessions that one report can be about: more than all servers of the world exchange in a day.
const COUNT_MAX: u64 = 1_000_000_000_000;
/// How far the end of a report may lie after the message that has it: clocks differ, and some write the end of the day.
const AHEAD_SECONDS: i64 = 2 * 24 * 60 * 60;
/// How late it may come in any case.
const LATE_SECONDS: i64 = 7 * 24 * 60 * 60;

/// A report about one domain of ours.
pub(super) struct Judged {
    /// The domain.
    pub(super) domain: String,
    /// What is stored of it; its document is still to be made.
    pub(super) row: ReportRow,
    /// What it says of the domain.
    pub(super) report: Report,
}

/// Why a report isn't stored.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Refused {
    /// It is about others.
    #[error("it is about {0:?}, which is no domain of ours")]
    OtherDomain(Box<str>),
    /// Its times can't be.
    #[error(
        "its times can't be: it ends before it begins, after it came, or longer before that than reports are kept"
    )]
    Times,
    /// It claims so much that sums would be worth nothing.
    #[error("its numbers can't be: it is about more than {COUNT_MAX} messages or sessions")]
    Counts,
    /// Without an id nobody knows whether it came before.
    #[error("it has no id")]
    Id,
}

/// Looks at a report that came with a message of which `todo` is known. `keep` is for how many seconds reports are kept:
/// of what ended before that, nobody knows any more whether it came before. `home` gives the domain of ours that a name
/// is, or lies below.
pub(super) fn judge(
    report: Report,
    todo: &ReportTodoRow,
    keep: i64,
    mut home: impl FnMut(&str) -> Result<Option<String>, EngineError>,
) -> Result<Result<Vec<Judged>, Refused>, EngineError> {
    let (begin, end, id) = match &report {
        Report::Dmarc(report) => (report.begin, report.end, &report.report_id),
        Report::Tls(report) => (report.start, report.end, &report.report_id),
    };
    let latest = todo.received.saturating_add(AHEAD_SECONDS);
    let earliest = latest.saturating_sub(keep).min(todo.received.saturating_sub(LATE_SECONDS));
    if begin < 0 || end < begin || !(earliest..=latest).contains(&end) {
        return Ok(Err(Refused::Times));
    }
    if count_of(&report) > COUNT_MAX {
        return Ok(Err(Refused::Counts));
    }
    if id.is_empty() {
        return Ok(Err(Refused::Id));
    }
    match report {
        Report::Dmarc(report) => match home(&report.policy.domain)? {
            Some(domain) => Ok(Ok(vec![of_dmarc(domain, report, todo)])),
            None => Ok(Err(Refused::OtherDomain(report.policy.domain))),
        },
        Report::Tls(report) => {
            let tlsrpt::Report { policies, .. } = *report;
            let mut homes: BTreeMap<String, Vec<tlsrpt::PolicyReport>> = BTreeMap::new();
            let mut known: BTreeMap<Box<str>, Option<String>> = BTreeMap::new();
            let mut other = None;
            for policy in policies {
                let name = &policy.policy_domain;
                let is_known = known.contains_key(name);
                if !is_known && known.len() < NAMES_MAX {
                    known.insert(name.clone(), home(name)?);
                }
                let domain = known.get(name).cloned().flatten();
                match domain.filter(|domain| homes.len() < HOMES_MAX || homes.contains_key(domain)) {
                    Some(domain) => homes.entry(domain).or_default().push(policy),
                    None => other = Some(policy.policy_domain),
                }
            }
            if homes.is_empty() {
                return Ok(Err(Refused::OtherDomain(other.unwrap_or_default())));
            }
            let of = |(domain, policies)| {
                let contact_info = report.contact_info.clone();
                let (organization_name, report_id) =
                    (report.organization_name.clone(), report.report_id.clone());
                let (start, end) = (report.start, report.end);
                of_tls(
                    domain,
                    tlsrpt::Report { organization_name, start, end, contact_info, report_id, policies },
                    todo,
                )
            };
            Ok(Ok(homes.into_iter().map(of).collect()))
        }
    }
}

/// Everything that a report counts.
fn count_of(report: &Report) -> u64 {
    let of_policy = |policy: &tlsrpt::PolicyReport| {
        let failures = policy.failures.iter().map(|failure| failure.sessions);
        failures.chain([policy.successful_sessions, policy.failed_sessions]).fold(0, u64::saturating_add)
    };
    match report {
        Report::Dmarc(report) => report.records.iter().map(|one| one.count).fold(0, u64::saturating_add),
        Report::Tls(report) => report.policies.iter().map(of_policy).fold(0, u64::saturating_add),
    }
}

fn of_dmarc(domain: String, report: Box<dmarc::Report>, todo: &ReportTodoRow) -> Judged {
    let (submitter, proof) = author(todo);
    // Who reports on several domains that each have a record may number the reports of each from one on: an id is
    // unique among reports to the same domain (RFC 9990).
    let about = report.policy.domain.to_lowercase();
    let mut row =
        row(ReportKind::Dmarc, about.trim_end_matches('.'), todo, (submitter, proof), &report.report_id);
    (row.begin, row.end) = (report.begin, report.end);
    (row.organization, row.policy_domain) = (report.organization_name.clone(), report.policy.domain.clone());
    row.entries = u32::try_from(report.records.len()).unwrap_or(u32::MAX);
    for record in &report.records {
        let add = |sum: &mut u64| *sum = sum.saturating_add(record.count);
        add(&mut row.total);
        if !passes(record) {
            add(&mut row.failed);
        }
        match record.disposition {
            Disposition::Quarantine => add(&mut row.quarantined),
            Disposition::Reject => add(&mut row.rejected),
            _ => {}
        }
    }
    Judged { domain, row, report: Report::Dmarc(report) }
}

/// Whether DMARC passed for the messages of a record.
pub(super) fn passes(record: &dmarc::Record) -> bool {
    record.dkim == Outcome::Pass || record.spf == Outcome::Pass
}

fn of_tls(domain: String, report: tlsrpt::Report, todo: &ReportTodoRow) -> Judged {
    let mut row = row(ReportKind::Tls, &domain, todo, submitter(&report, todo), &report.report_id);
    (row.begin, row.end) = (report.start, report.end);
    row.organization = report.organization_name.clone();
    row.policy_domain =
        report.policies.first().map(|policy| policy.policy_domain.clone()).unwrap_or_default();
    row.entries = u32::try_from(report.policies.len()).unwrap_or(u32::MAX);
    for policy in &report.policies {
        row.failed = row.failed.saturating_add(policy.failed_sessions);
        row.total =
            row.total.saturating_add(policy.failed_sessions).saturating_add(policy.successful_sessions);
    }
    Judged { domain, row, report: Report::Tls(Box::new(report)) }
}

fn row(
    kind: ReportKind,
    about: &str,
    todo: &ReportTodoRow,
    (submitter, proof): (Box<str>, ReportProof),
    report_id: &str,
) -> ReportRow {
    ReportRow {
        kind,
        proof,
        received: todo.received,
        begin: 0,
        end: 0,
        total: 0,
        failed: 0,
        quarantined: 0,
        rejected: 0,
        entries: 0,
        left_out: 0,
        text_octets: 0,
        digest: digest(kind, proof, [about, &submitter, report_id]),
        organization: "".into(),
        submitter,
        report_id: report_id.into(),
        policy_domain: "".into(),
    }
}

/// By this a report is known again. Whoever can't confirm that it is a submitter's must not be able to take the place of a
/// report that this submitter sends later.
fn digest(kind: ReportKind, proof: ReportProof, texts: [&str; 3]) -> [u8; 16] {
    let mut context = Context::new(&SHA256);
    context.update(&[kind as u8, u8::from(proof != ReportProof::Nothing)]);
    for text in texts {
        context.update(&(text.len() as u64).to_be_bytes());
        context.update(text.as_bytes());
    }
    context.finish().as_ref().first_chunk().copied().unwrap_or_default()
}

/// The author of a message, and what confirms it: who reports on DMARC.
fn author(todo: &ReportTodoRow) -> (Box<str>, ReportProof) {
    let proof = if todo.submitted {
        ReportProof::Submission
    } else if todo.dmarc {
        ReportProof::Dmarc
    } else if is_signed_by(&todo.from, &[&todo.signers]) {
        ReportProof::Dkim
    } else if is_of(&todo.from, &todo.spf) {
        ReportProof::Spf
    } else {
        ReportProof::Nothing
    };
    (todo.from.clone(), proof)
}

/// Who reports on TLS: the domain that is to be asked about the report (RFC 8460 §5.3), else the message's author. Only
/// a signature confirms it (RFC 8460 §3).
fn submitter(report: &tlsrpt::Report, todo: &ReportTodoRow) -> (Box<str>, ReportProof) {
    let contact = report.contact_info.as_deref().map(str::trim).map(|text| match text.get(..7) {
        Some(scheme) if scheme.eq_ignore_ascii_case("mailto:") => text.get(7..).unwrap_or_default(),
        _ => text,
    });
    let contact = contact.and_then(|text| Address::parse(text).ok());
    let submitter: Box<str> =
        contact.map_or_else(|| todo.from.clone(), |address| address.domain.as_str().into());
    let proof = if todo.submitted && is_of(&submitter, &todo.from) {
        ReportProof::Submission
    } else if is_signed_by(&submitter, &[&todo.signers, &todo.tls_signers]) {
        ReportProof::Dkim
    } else {
        ReportProof::Nothing
    };
    (submitter, proof)
}

fn is_signed_by(domain: &str, signers: &[&str]) -> bool {
    signers.iter().flat_map(|list| list.split(' ')).any(|signer| is_of(domain, signer))
}

/// Whether a domain is of the same organization as the one that is confirmed. Customers of a company that gives out names
/// are no organization.
fn is_of(domain: &str, confirmed: &str) -> bool {
    let (Ok(domain), Ok(confirmed)) = (Domain::parse(domain), Domain::parse(confirmed)) else { return false };
    let organization = |domain: &Domain| organizational_domain(domain, Division::IcannAndPrivate);
    domain == confirmed || organization(&domain).is_some_and(|one| organization(&confirmed) == Some(one))
}

/// The domain of the organization of a submitter, however many names it has.
pub(super) fn organization(submitter: &str) -> Box<str> {
    let domain = Domain::parse(submitter).ok();
    let above = domain.and_then(|domain| organizational_domain(&domain, Division::IcannAndPrivate));
    above.map_or_else(|| submitter.into(), |domain| domain.as_str().into())
}

/// The domain of ours that a name is, or lies below; or a name of this host.
pub fn home(
    directory: &Directory<'_>,
    hostnames: &[Domain],
    name: &str,
) -> Result<Option<String>, EngineError> {
    let Ok(name) = Domain::parse(name.strip_suffix('.').unwrap_or(name)) else { return Ok(None) };
    let mut rest = name.as_str();
    for _ in 0..LABELS_MAX {
        let Ok(domain) = Domain::parse(rest) else { break };
        if directory.domain(&domain)?.is_some() {
            return Ok(Some(domain.as_str().to_owned()));
        }
        let Some((_, above)) = rest.split_once('.') else { break };
        rest = above;
    }
    Ok(hostnames.contains(&name).then(|| name.as_str().to_owned()))
}

/// The word for what confirms a report.
pub const fn proof_name(proof: ReportProof) -> Option<&'static str> {
    match proof {
        ReportProof::Nothing => None,
        ReportProof::Dkim => Some("dkim"),
        ReportProof::Spf => Some("spf"),
        ReportProof::Dmarc => Some("dmarc"),
        ReportProof::Submission => Some("submission"),
    }
}

#[cfg(test)]
pub(super) mod tests;

//! The requests about reports of other servers: lists and sums, read page by page on the worker pool.

use postrider_proto::dmarc::report as dmarc;
use postrider_proto::gzip;
use postrider_proto::reports::Report;
use postrider_proto::tlsrpt;
use postrider_storage::directory::Directory;
use postrider_storage::ids::ReportId;
use postrider_storage::reports::{self, Filter, Listed};
use postrider_storage::rows;
use tracing::warn;

use super::{ServerOperations, failure, internal};
use crate::clock::unix_now;
use crate::control::protocol::{
    Answer, DmarcEntry, FailureKind, Progress, REPORT_PAGE_MAX, ReportEntry, ReportFilter, ReportKind,
    ReportRow, ReportSummary, Request, TlsEntry, TlsFailure,
};
use crate::control::{Exchange, OperationError, Transport};
use crate::received_reports::{self, DOCUMENT_OCTETS_MAX, Summary, home, hostnames, proof_name};
use crate::shard::Shared;

/// Texts of an entry that are shown, of each kind.
const TEXTS_MAX: usize = 10;
/// Failures that are shown in one entry.
const FAILURES_MAX: usize = 10;

impl ServerOperations {
    /// Carries out a request about reports of other servers.
    pub(super) async fn reports<T: Transport>(
        &self,
        request: Request,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        match request {
            Request::ReportList { filter, cursor, limit } => {
                self.list_reports(filter, cursor.as_deref(), limit, exchange).await
            }
            Request::ReportShow { id } => self.show_report(&id, exchange).await,
            Request::ReportDump { id } => self.dump_report(&id, exchange).await,
            Request::ReportSummary { domain, since, until } => {
                self.sum_reports(domain, since, until, exchange).await
            }
            // Every other request is carried out elsewhere.
            other => Err(internal(format!("request {} is not known here", other.name()))),
        }
    }

    async fn list_reports<T: Transport>(
        &self,
        filter: ReportFilter,
        cursor: Option<&str>,
        limit: Option<u32>,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        let from = cursor.map(id_of).transpose()?;
        let mut filter = self.on_pool(move |shared| filter_of(shared, filter)).await?;
        if let Some(from) = from {
            filter.from = filter.from.max(from);
        }
        let mut left = limit.unwrap_or(REPORT_PAGE_MAX).min(REPORT_PAGE_MAX) as usize;
        let mut looked = 0;
        loop {
            let asked = filter.clone();
            let page = self.on_pool(move |shared| {
                let reader = shared.store.reader();
                reports::list(&reader, &asked, left).map_err(internal)
            });
            let page = page.await?;
            if page.damaged > 0 {
                warn!(
                    reports = page.damaged,
                    "reports are damaged, and left out of a list; run postrider verifydata"
                );
            }
            looked += page.rows as u64;
            left = left.saturating_sub(page.reports.len());
            for listed in page.reports {
                exchange.row(&shown(listed)).await?;
            }
            match page.next {
                Some(next) if left > 0 => filter.from = next,
                next => return Ok(Answer::Page { next: next.map(|next| next.0.to_string()) }),
            }
            let what = Some("looked at".to_owned());
            exchange.progress(Progress { done: looked, total: None, what }).await?;
        }
    }

    async fn report(&self, id: &str) -> Result<(Listed, Vec<u8>), OperationError> {
        let id = id_of(id)?;
        let found = self.on_pool(move |shared| reports::get(&shared.store.reader(), id).map_err(internal));
        found
            .await?
            .ok_or_else(|| OperationError::new(FailureKind::NotFound, format!("there is no report {}", id.0)))
    }

    async fn show_report<T: Transport>(
        &self,
        id: &str,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        let (listed, text) = self.report(id).await?;
        let kind = listed.row.kind;
        let entries = self.on_pool(move |_| {
            let report = received_reports::document(kind, &text);
            report.map(entries).ok_or_else(|| internal("the document of the report can't be read"))
        });
        for entry in entries.await? {
            exchange.row(&entry).await?;
        }
        Ok(Answer::Report(Box::new(shown(listed))))
    }

    async fn dump_report<T: Transport>(
        &self,
        id: &str,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        let (_, text) = self.report(id).await?;
        let text = self.on_pool(move |_| gzip::decompress(&text, DOCUMENT_OCTETS_MAX).map_err(internal));
        exchange.write(&text.await?).await?;
        Ok(Answer::Done)
    }

    async fn sum_reports<T: Transport>(
        &self,
        domain: String,
        since: i64,
        until: Option<i64>,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        let until = until.unwrap_or_else(|| unix_now().saturating_add(1));
        let asked = ReportFilter { domain: Some(domain), kind: None, since: Some(since), until: Some(until) };
        let mut filter = self.on_pool(move |shared| filter_of(shared, asked)).await?;
        let domain = filter.domain.clone().unwrap_or_default();
        let mut summary = Summary::default();
        let mut looked = 0;
        loop {
            let step = self.on_idle_pool(move |shared| {
                let reader = shared.store.reader();
                let step = received_reports::summarise(&reader, &filter, &mut summary);
                step.map(|(next, rows)| (next, rows, summary)).map_err(internal)
            });
            let (next, rows, sums) = step.await?;
            (summary, looked) = (sums, looked + rows as u64);
            let Some(next) = next else { break };
            filter = next;
            let what = Some("reports".to_owned());
            exchange.progress(Progress { done: looked, total: None, what }).await?;
        }
        let (dmarc, tls) = summary.finish();
        Ok(Answer::ReportSummary(Box::new(ReportSummary { domain, since, until, dmarc, tls })))
    }
}

fn id_of(text: &str) -> Result<ReportId, OperationError> {
    let id = text.parse().map(ReportId);
    id.map_err(|_| failure::invalid(format!("{text:?} is no id of a report, which is a number")))
}

/// A domain of which there are no reports, since it is none of ours, is said to be so.
fn filter_of(shared: &Shared, asked: ReportFilter) -> Result<Filter, OperationError> {
    let domain = match asked.domain {
        None => None,
        Some(name) => {
            let name = failure::domain(&name)?;
            let reader = shared.store.reader();
            let directory = Directory::new(reader.snapshot());
            let found = home(&directory, &hostnames(&shared.config), name.as_str()).map_err(internal)?;
            let message = format!("{name} is no domain of this server, nor below one");
            Some(found.ok_or_else(|| OperationError::new(FailureKind::NotFound, message))?)
        }
    };
    let id = |time: Option<i64>, default| time.map_or(ReportId(default), ReportId::first_at);
    Ok(Filter {
        domain,
        kind: asked.kind.map(|kind| match kind {
            ReportKind::Dmarc => rows::ReportKind::Dmarc,
            ReportKind::Tls => rows::ReportKind::Tls,
        }),
        from: id(asked.since, 0),
        before: id(asked.until, u64::MAX),
    })
}

fn shown(listed: Listed) -> ReportRow {
    let Listed { id, domain, row } = listed;
    ReportRow {
        id: id.0.to_string(),
        kind: match row.kind {
            rows::ReportKind::Dmarc => ReportKind::Dmarc,
            rows::ReportKind::Tls => ReportKind::Tls,
        },
        domain,
        policy_domain: row.policy_domain.into(),
        submitter: row.submitter.into(),
        confirmed_by: proof_name(row.proof).map(str::to_owned),
        organization: row.organization.into(),
        report_id: row.report_id.into(),
        received: row.received,
        begin: row.begin,
        end: row.end,
        total: row.total,
        failed: row.failed,
        quarantined: row.quarantined,
        rejected: row.rejected,
        entries: row.entries,
        left_out: row.left_out,
    }
}

fn entries(report: Report) -> Vec<ReportEntry> {
    match report {
        Report::Dmarc(report) => report.records.iter().map(|one| ReportEntry::Dmarc(record(one))).collect(),
        Report::Tls(report) => report.policies.iter().flat_map(policies).map(ReportEntry::Tls).collect(),
    }
}

fn record(record: &dmarc::Record) -> DmarcEntry {
    let reason = |reason: &dmarc::Reason| match &reason.comment {
        Some(comment) => format!("{}: {comment}", reason.kind.name()),
        None => reason.kind.name().to_owned(),
    };
    let signature = |one: &dmarc::DkimResult| {
        format!("{} {} {}", one.domain, one.selector.as_deref().unwrap_or("-"), one.result.name())
    };
    let sender = |one: &dmarc::SpfResult| format!("{} {}", one.domain, one.result.name());
    DmarcEntry {
        source: record.source.map(|source| source.to_string()),
        messages: record.count,
        disposition: record.disposition.name().to_owned(),
        dkim: record.dkim.name().to_owned(),
        spf: record.spf.name().to_owned(),
        reasons: record.reasons.iter().take(TEXTS_MAX).map(reason).collect(),
        header_from: record.header_from.to_string(),
        signatures: record.dkim_results.iter().take(TEXTS_MAX).map(signature).collect(),
        senders: record.spf_results.iter().take(TEXTS_MAX).map(sender).collect(),
    }
}

/// A policy; one with many failures is told in parts, of which the first has the sums.
fn policies(policy: &tlsrpt::PolicyReport) -> Vec<TlsEntry> {
    let entry = |successful, failed, failures: &[tlsrpt::Failure]| TlsEntry {
        policy_type: policy.policy_type.name().to_owned(),
        policy_domain: policy.policy_domain.to_string(),
        successful,
        failed,
        failures: failures.iter().map(failed_sessions).collect(),
    };
    let (first, rest) = policy.failures.split_at(policy.failures.len().min(FAILURES_MAX));
    let mut entries = vec![entry(policy.successful_sessions, policy.failed_sessions, first)];
    entries.extend(rest.chunks(FAILURES_MAX).map(|part| entry(0, 0, part)));
    entries
}

fn failed_sessions(failure: &tlsrpt::Failure) -> TlsFailure {
    TlsFailure {
        result: failure.result_type.name().to_owned(),
        sessions: failure.sessions,
        sending_ip: failure.sending_mta_ip.map(|address| address.to_string()),
        receiving_host: failure.receiving_mx_hostname.as_deref().map(str::to_owned),
        receiving_ip: failure.receiving_ip.map(|address| address.to_string()),
        reason: failure.reason_code.as_deref().map(str::to_owned),
    }
}

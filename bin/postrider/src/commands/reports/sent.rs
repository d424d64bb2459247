//! What is recorded for reports to other domains, and who gets none.

use anyhow::Result;
use postrider_core::control::protocol::{ReportSuppressionRow, Request, TlsResultFailure, TlsResultRow};

use crate::arguments::{ReportsResults, ReportsSuppressCommand};
use crate::commands::control::{list, simple};
use crate::commands::locate::Server;
use crate::commands::queue::pages;
use crate::commands::queue::times::{Direction, local, moment, now};
use crate::commands::show::Line;

/// `postrider reports results`
pub(super) fn results(server: &Server, arguments: &ReportsResults) -> Result<()> {
    let shown = (arguments.json, "day\trecipients\tpolicy\tsuccessful\tfailed");
    pages::<TlsResultRow>(server, shown, arguments.limit, arguments.cursor.clone(), |cursor, limit| {
        Request::ReportResults { cursor, limit: Some(limit) }
    })
}

/// `postrider reports suppress`
pub(super) fn suppress(server: &Server, command: ReportsSuppressCommand) -> Result<()> {
    match command {
        ReportsSuppressCommand::List(arguments) => {
            list::<ReportSuppressionRow>(server, &Request::ReportSuppressList, arguments.json)
        }
        ReportsSuppressCommand::Add(arguments) => {
            let until = arguments.until.as_deref();
            let until = until.map(|text| moment(text, now(), Direction::Ahead)).transpose()?;
            let (address, comment) = (arguments.address, arguments.comment);
            let done = match until {
                Some(until) => format!("No reports are sent to {address} until {}.", local(until)),
                None => format!("No reports are sent to {address}."),
            };
            simple(server, &Request::ReportSuppressAdd { address, until, comment }, &done)
        }
        ReportsSuppressCommand::Rm(arguments) => {
            let done = format!("Reports are sent to {} again.", arguments.address);
            simple(server, &Request::ReportSuppressRemove { address: arguments.address }, &done)
        }
    }
}

impl Line for TlsResultRow {
    fn line(&self) -> String {
        let lines = self.policies.iter().map(|policy| {
            let host = if self.host { "host " } else { "" };
            let mut line = format!(
                "{}\t{}\t{host}{} ({})\t{}\t{}",
                self.day,
                self.recipient_domain,
                self.policy_domain,
                policy.policy_type,
                policy.successful,
                policy.failed
            );
            // Reports tell more of them apart than is shown.
            let mut shown: Vec<(String, u64)> = Vec::new();
            for failure in &policy.failures {
                let what = what_failed(failure);
                match shown.iter_mut().find(|(known, _)| *known == what) {
                    Some((_, sessions)) => *sessions += failure.sessions,
                    None => shown.push((what, failure.sessions)),
                }
            }
            for (what, sessions) in shown {
                let times = if sessions == 1 { "time" } else { "times" };
                line += &format!("\n\t{sessions} {times} {what}");
            }
            line
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// What failed, where and why.
fn what_failed(failure: &TlsResultFailure) -> String {
    let mut what = failure.result_type.clone();
    let places = failure.host.iter().chain(&failure.address).map(String::as_str);
    let place = places.collect::<Vec<_>>().join(" ");
    if !place.is_empty() {
        what += &format!(" at {place}");
    }
    if let Some(reason) = &failure.reason {
        what += &format!(": {reason}");
    }
    what
}

impl Line for ReportSuppressionRow {
    fn line(&self) -> String {
        let until =
            self.until.map_or_else(|| "for ever".to_owned(), |until| format!("until {}", local(until)));
        format!("{}\t{until}\t{}", self.address, self.comment).trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use postrider_core::control::protocol::TlsResultPolicy;

    use super::*;

    #[test]
    fn results_say_what_failed_and_where() {
        let failure = TlsResultFailure {
            result_type: "certificate-expired".to_owned(),
            sessions: 2,
            host: Some("mx.example".to_owned()),
            address: Some("192.0.2.1".to_owned()),
            reason: Some("yesterday".to_owned()),
        };
        let policy = TlsResultPolicy {
            policy_type: "tlsa".to_owned(),
            successful: 1,
            failed: 4,
            failures: vec![
                failure.clone(),
                TlsResultFailure { host: None, address: None, sessions: 1, ..failure.clone() },
                TlsResultFailure { sessions: 1, ..failure },
            ],
        };
        let row = TlsResultRow {
            day: "2026-11-26".to_owned(),
            recipient_domain: "them.example".to_owned(),
            policy_domain: "mx.example".to_owned(),
            host: true,
            no_reason: false,
            policies: vec![policy],
        };
        assert_eq!(
            row.line(),
            "2026-11-26\tthem.example\thost mx.example (tlsa)\t1\t4\n\t3 times certificate-expired at mx.example \
             192.0.2.1: yesterday\n\t1 time certificate-expired: yesterday"
        );
    }
}

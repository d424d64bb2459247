//! The document of a report as it is stored: what was understood of it, with as many entries as there is room for.

use std::cmp::Reverse;

use postrider_proto::gzip;
use postrider_proto::reports::Report;
use postrider_storage::reports::TEXT_OCTETS_MAX;
use postrider_storage::rows::ReportRow;

/// Records of a report on DMARC, or failures of one policy of a report on TLS, that are kept.
const ENTRIES_MAX: usize = 2000;
/// Policies of a report on TLS that are kept.
const POLICIES_MAX: usize = 100;
/// What a document may expand to. It has to be read again, and a summary reads many.
const DOCUMENT_OCTETS_MAX: usize = 4 << 20;

const _: () = assert!(DOCUMENT_OCTETS_MAX <= postrider_proto::dmarc::report::REPORT_OCTETS_MAX);
const _: () = assert!(DOCUMENT_OCTETS_MAX <= postrider_proto::tlsrpt::REPORT_OCTETS_MAX);

/// The document, in gzip, and the report as it is in there. What is left out are the entries that count least; the row
/// says how many.
pub(super) fn fit(mut report: Report, row: &mut ReportRow) -> (Vec<u8>, Report) {
    let mut most = ENTRIES_MAX;
    loop {
        let left_out = cut(&mut report, most);
        row.left_out = row.left_out.saturating_add(u32::try_from(left_out).unwrap_or(u32::MAX));
        let text = match &report {
            Report::Dmarc(report) => report.to_xml(),
            Report::Tls(report) => report.to_json(),
        };
        if text.len() <= DOCUMENT_OCTETS_MAX || most == 0 {
            let compressed = gzip::compress(text.as_bytes());
            if compressed.len() <= TEXT_OCTETS_MAX || most == 0 {
                return (compressed, report);
            }
        }
        most /= 2;
    }
}

/// Keeps at most so many entries, and gives how many it takes out.
fn cut(report: &mut Report, most: usize) -> usize {
    match report {
        Report::Dmarc(report) => keep(&mut report.records, most, |record| record.count),
        Report::Tls(report) => {
            let mut left_out =
                keep(&mut report.policies, most.min(POLICIES_MAX), |policy| policy.failed_sessions);
            for policy in &mut report.policies {
                left_out += keep(&mut policy.failures, most, |failure| failure.sessions);
            }
            left_out
        }
    }
}

/// Keeps the entries that count most, in their order.
fn keep<T>(entries: &mut Vec<T>, most: usize, weight: impl Fn(&T) -> u64) -> usize {
    let Some(too_many) = entries.len().checked_sub(most).filter(|count| *count > 0) else { return 0 };
    let mut numbers: Vec<usize> = (0..entries.len()).collect();
    numbers.sort_by_key(|number| Reverse(entries.get(*number).map(&weight)));
    numbers.truncate(most);
    numbers.sort_unstable();
    let mut kept = numbers.into_iter().peekable();
    let mut number = 0;
    entries.retain(|_| {
        let stays = kept.next_if_eq(&number).is_some();
        number += 1;
        stays
    });
    too_many
}

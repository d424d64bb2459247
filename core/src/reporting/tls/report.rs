//! A report on TLS as a message (RFC 8460 §4.4, §5).

use postrider_proto::address::{Address, Domain};
use postrider_proto::gzip;
use postrider_proto::mime::compose::File;
use postrider_proto::tlsrpt::{PolicyReport, Report};
use postrider_storage::account::hash;
use postrider_storage::rows::{Kind, RequireTls};
use postrider_storage::tls_results::DAY_SECONDS;

use crate::reporting::outgoing::Draft;

/// What a report is about, and from whom.
pub(super) struct About<'a> {
    /// The UTC day, counted from 1970.
    pub(super) day: u32,
    /// The domain that gets it.
    pub(super) domain: &'a Domain,
    /// This host.
    pub(super) submitter: &'a Domain,
    /// Whom to ask.
    pub(super) contact: &'a Address,
    /// Who gets it.
    pub(super) to: &'a [Address],
}

/// A report, and the file that has it.
pub(super) struct Written {
    report: Report,
    file_name: String,
    octets: Vec<u8>,
}

/// Writes a report on the sessions of a day. Its id follows from what it says and to whom, so that whoever gets it twice
/// can tell (RFC 8460 §5.3).
pub(super) fn write(about: &About<'_>, policies: Vec<PolicyReport>) -> Written {
    let start = i64::from(about.day) * DAY_SECONDS;
    let to: Vec<String> = about.to.iter().map(Address::to_string).collect();
    let mut report = Report {
        organization_name: about.submitter.as_str().into(),
        start,
        end: start + DAY_SECONDS - 1,
        contact_info: Some(about.contact.to_string().into()),
        report_id: Box::default(),
        policies,
    };
    let unique = hash(format!("{} {} {}", about.domain, to.join(" "), report.to_json()).as_bytes());
    let unique = format!("{unique:016x}");
    report.report_id = format!("{}.{unique}@{}", day_word(start), about.submitter).into();
    let file_name = report.file_name(about.domain, about.submitter, &unique);
    let octets = gzip::compress(report.to_json().as_bytes());
    Written { report, file_name, octets }
}

/// `20261126`
fn day_word(time: i64) -> String {
    let time = jiff::Timestamp::from_second(time).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y%m%d").to_string()
}

/// The message that brings a report.
pub(super) fn draft<'a>(about: &About<'a>, written: &'a Written, now: i64) -> Draft<'a> {
    let Written { report, file_name, octets } = written;
    let About { domain, submitter, .. } = about;
    let sum = |of: fn(&PolicyReport) -> u64| report.policies.iter().map(of).fold(0_u64, u64::saturating_add);
    let day = jiff::Timestamp::from_second(report.start).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let text = format!(
        "This is an aggregate report on TLS from {submitter} (RFC 8460).\n\nIt is about mail that was sent to {domain} \
         on {}, UTC:\n{} sessions were as the policies ask, {} were not.\nThe attached file has the details, for \
         programs to read.\n\nIt is sent because a TXT record of _smtp._tls.{domain} asks for it. Questions go to\n{}.\n",
        day.strftime("%Y-%m-%d"),
        sum(|policy| policy.successful_sessions),
        sum(|policy| policy.failed_sessions),
        about.contact,
    );
    Draft {
        kind: Kind::TlsReport,
        to: about.to,
        subject: report.subject(domain, submitter),
        message_id: report.report_id.to_string(),
        fields: vec![
            ("TLS-Report-Domain", domain.to_string()),
            ("TLS-Report-Submitter", submitter.to_string()),
        ],
        report_type: Some("tlsrpt"),
        text,
        file: Some(File { media_type: "application/tlsrpt+gzip", name: file_name, octets }),
        // It has to arrive although TLS fails (RFC 8460 §3).
        require_tls: RequireTls::No,
        now,
    }
}

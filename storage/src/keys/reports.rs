//! Keys of reports that other servers sent.

use super::{BadKey, Key, SYSTEM, bad, build, numbers, split, table};
use crate::ids::{BlobId, ReportId};

/// A report of a domain of ours.
pub fn report(domain: &str, id: ReportId) -> Key {
    build(SYSTEM, table::REPORT, &[domain.as_bytes(), &[0], &id.0.to_be_bytes()])
}

/// The prefix of all reports of a domain.
pub fn reports_of(domain: &str) -> Key {
    build(SYSTEM, table::REPORT, &[domain.as_bytes(), &[0]])
}

/// The domain and the id of a REPORT key.
pub fn report_parts(key: &[u8]) -> Result<(&str, ReportId), BadKey> {
    let (_, _, rest) = split(key)?;
    let (domain, id) = rest.split_last_chunk::<8>().ok_or_else(|| bad(key))?;
    let domain = domain.strip_suffix(&[0]).and_then(|domain| str::from_utf8(domain).ok());
    Ok((
        domain.filter(|domain| !domain.is_empty()).ok_or_else(|| bad(key))?,
        ReportId(u64::from_be_bytes(*id)),
    ))
}

/// By what a report is known again.
pub fn report_known(digest: &[u8; 16]) -> Key {
    build(SYSTEM, table::REPORTKNOWN, &[digest])
}

/// A message whose report is still to be read.
pub fn report_todo(blob: BlobId) -> Key {
    build(SYSTEM, table::REPORTTODO, &[&blob.0.to_be_bytes()])
}

/// The message that a REPORTTODO key names.
pub fn report_todo_parts(key: &[u8]) -> Result<BlobId, BadKey> {
    numbers(key, [8]).map(|[blob]| BlobId(blob))
}

/// What a report says.
pub fn report_text(id: ReportId) -> Key {
    build(SYSTEM, table::REPORTTEXT, &[&id.0.to_be_bytes()])
}

/// The report that a REPORTTEXT key names.
pub fn report_text_parts(key: &[u8]) -> Result<ReportId, BadKey> {
    numbers(key, [8]).map(|[id]| ReportId(id))
}

//! Reports that other servers sent.

use super::Report;
use crate::keys::{self, SYSTEM, table};
use crate::reader::Reader;
use crate::reports as received;
use crate::rows::{ReportRow, ReportTodoRow};
use crate::store::StoreError;

/// A report is one row of each of three tables; messages to read are readable.
pub(super) fn check(reader: &Reader, report: &mut Report) -> Result<(), StoreError> {
    for row in reader.prefix(&keys::of_table(SYSTEM, table::REPORT)) {
        let (key, value) = row?;
        let Some((domain, id)) = report.read(keys::report_parts(&key), "REPORT")? else { continue };
        report.counts.reports += 1;
        let place = format!("report {} of {domain}", id.0);
        let Some(row) = report.read(ReportRow::decode(&value), &place)? else { continue };
        let known = reader.get(&keys::report_known(&row.digest))?;
        let known = known.as_deref().and_then(received::known_id);
        report.check(known == Some(id), &place, "is not known again by its digest");
        let text = reader.get(&keys::report_text(id))?;
        let text = text.as_deref().and_then(received::text_parts);
        let is_whole =
            text.is_some_and(|(of, text)| of == domain && text.len() as u64 == u64::from(row.text_octets));
        report.check(is_whole, &place, "has not the document that it should have");
    }
    for row in reader.prefix(&keys::of_table(SYSTEM, table::REPORTKNOWN)) {
        let (_, value) = row?;
        let text = match received::known_id(&value) {
            Some(id) => reader.get(&keys::report_text(id))?,
            None => None,
        };
        report.check(text.is_some(), "REPORTKNOWN", "is of a report that is not there");
    }
    for row in reader.prefix(&keys::of_table(SYSTEM, table::REPORTTEXT)) {
        let (key, value) = row?;
        let Some(id) = report.read(keys::report_text_parts(&key), "REPORTTEXT")? else { continue };
        let is_listed = match received::text_parts(&value) {
            Some((domain, _)) => reader.get(&keys::report(domain, id))?.is_some(),
            None => false,
        };
        report.check(is_listed, format_args!("report {}", id.0), "has a document, and is not listed");
    }
    for row in reader.prefix(&keys::of_table(SYSTEM, table::REPORTTODO)) {
        let (key, value) = row?;
        let Some(blob) = report.read(keys::report_todo_parts(&key), "REPORTTODO")? else { continue };
        report.read(ReportTodoRow::decode(&value), format_args!("report in content {}", blob.0))?;
    }
    Ok(())
}

//! Reports that other servers sent about our domains: on mail in their name (DMARC), and on connections to their
//! servers (TLS).
//!
//! A report is a row by domain and time, so that those of a domain in some days are one range; what it says in detail is
//! its document in gzip, by time alone, so that the oldest are one range, too. What marks messages whose report is still
//! to be read is written with the message, and goes in the batch that stores the report: a report is read once,
//! whatever the process dies of.

use std::ops::Bound;

use crate::engine::{Batch, Space};
use crate::ids::{BlobId, ReportId};
use crate::keys::{self, SYSTEM, table};
use crate::reader::Reader;
use crate::rows::{MARK, ReportKind, ReportRow, ReportTodoRow};
use crate::store::{Refusal, StoreError, first_id};

/// The longest name of a domain.
const DOMAIN_OCTETS_MAX: usize = 255;
/// The longest document of a report, in gzip.
pub const TEXT_OCTETS_MAX: usize = 256 << 10;
/// Rows that are looked at for one page.
const PAGE_ROWS_MAX: usize = 1000;
/// Octets of documents that are read for one page, where they lie in the way.
const PAGE_OCTETS_MAX: usize = 4 << 20;

impl ReportId {
    /// The first one that may be given out at a time (seconds since 1970).
    pub fn first_at(seconds: i64) -> Self {
        Self(first_id(seconds))
    }
}

/// Adds to a batch that a message may have a report.
pub fn add_todo(batch: &mut Batch, blob: BlobId, row: &ReportTodoRow) -> Result<(), StoreError> {
    batch.insert(Space::Rows, keys::report_todo(blob), row.encode().ok_or(Refusal::TextTooLong)?);
    Ok(())
}

/// Adds to a batch that a message was looked at.
pub fn remove_todo(batch: &mut Batch, blob: BlobId) {
    batch.remove(Space::Rows, keys::report_todo(blob));
}

/// The first message whose report is still to be read, from one on. None for a row that can't be read.
pub fn todo(reader: &Reader, from: BlobId) -> Result<Option<(BlobId, Option<ReportTodoRow>)>, StoreError> {
    let mut rows = reader.from(&keys::report_todo(from), &keys::of_table(SYSTEM, table::REPORTTODO));
    let Some(row) = rows.next() else { return Ok(None) };
    let (key, value) = row?;
    Ok(Some((keys::report_todo_parts(&key)?, ReportTodoRow::decode(&value).ok())))
}

/// Adds a report with its document, in gzip, to a batch. Refused when something of it is too long.
pub fn add(
    batch: &mut Batch,
    domain: &str,
    id: ReportId,
    row: &ReportRow,
    text: &[u8],
) -> Result<(), StoreError> {
    if domain.is_empty() || domain.len() > DOMAIN_OCTETS_MAX || text.len() > TEXT_OCTETS_MAX {
        return Err(Refusal::TextTooLong.into());
    }
    let value = row.encode().ok_or(Refusal::TextTooLong)?;
    batch.insert(Space::Rows, keys::report(domain, id), value);
    batch.insert(Space::Rows, keys::report_known(&row.digest), [&MARK[..], &id.0.to_be_bytes()].concat());
    // Bounded above.
    let length = [domain.len() as u8];
    batch.insert(Space::Rows, keys::report_text(id), [&MARK[..], &length, domain.as_bytes(), text].concat());
    Ok(())
}

/// The report that is known by a digest, if it is there.
pub fn known(reader: &Reader, digest: &[u8; 16]) -> Result<Option<ReportId>, StoreError> {
    let row = reader.get(&keys::report_known(digest))?;
    Ok(row.as_deref().and_then(known_id))
}

/// The report that a REPORTKNOWN value names.
pub(crate) fn known_id(value: &[u8]) -> Option<ReportId> {
    let id: [u8; 8] = value.strip_prefix(&MARK)?.try_into().ok()?;
    Some(ReportId(u64::from_be_bytes(id)))
}

/// The domain and the document of a REPORTTEXT value.
pub(crate) fn text_parts(value: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = value.strip_prefix(&MARK)?.split_first()?;
    let (domain, text) = rest.split_at_checked(usize::from(*length))?;
    Some((str::from_utf8(domain).ok()?, text))
}

/// A report in a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Its id, which has the time at which it came.
    pub id: ReportId,
    /// The domain of ours.
    pub domain: String,
    /// What is known of it.
    pub row: ReportRow,
}

/// Which reports are meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter {
    /// Of this domain of ours.
    pub domain: Option<String>,
    /// Of this kind.
    pub kind: Option<ReportKind>,
    /// From this one on.
    pub from: ReportId,
    /// Before this one.
    pub before: ReportId,
}

/// Some of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// Reports in the order in which they came.
    pub reports: Vec<Listed>,
    /// From which one on there may be more.
    pub next: Option<ReportId>,
    /// Rows that were looked at.
    pub rows: usize,
    /// Those of them that are damaged, and passed over.
    pub damaged: usize,
}

/// Reports that a filter means, at most so many. One that is damaged hides none of the others.
pub fn list(reader: &Reader, filter: &Filter, reports_max: usize) -> Result<Page, StoreError> {
    let mut page = Page { reports: Vec::new(), next: None, rows: 0, damaged: 0 };
    let mut octets = 0;
    let (start, end) = match &filter.domain {
        Some(domain) => (keys::report(domain, filter.from), keys::report(domain, filter.before)),
        None => (keys::report_text(filter.from), keys::report_text(filter.before)),
    };
    if start >= end {
        return Ok(page);
    }
    let rows = reader.snapshot().range(Space::Rows, Bound::Included(&start), Bound::Excluded(&end));
    for row in rows {
        let (key, value) = row?;
        let id = ReportId(keys::last_number(&key)?);
        if page.reports.len() >= reports_max || page.rows >= PAGE_ROWS_MAX || octets >= PAGE_OCTETS_MAX {
            page.next = Some(id);
            break;
        }
        page.rows += 1;
        octets += value.len();
        let listed = match &filter.domain {
            Some(domain) => ReportRow::decode(&value)
                .map(|row| Some(Listed { id, domain: domain.clone(), row }))
                .map_err(StoreError::from),
            None => match text_parts(&value) {
                Some((domain, _)) => of(reader, domain, id),
                None => Err(StoreError::Inconsistent("the document of a report has no domain")),
            },
        };
        match listed {
            Ok(listed) => {
                let is_meant = |listed: &Listed| filter.kind.is_none_or(|kind| kind == listed.row.kind);
                page.reports.extend(listed.filter(is_meant));
            }
            Err(StoreError::BadRow(_) | StoreError::Inconsistent(_)) => page.damaged += 1,
            Err(error) => return Err(error),
        }
    }
    Ok(page)
}

fn of(reader: &Reader, domain: &str, id: ReportId) -> Result<Option<Listed>, StoreError> {
    let Some(value) = reader.get(&keys::report(domain, id))? else { return Ok(None) };
    Ok(Some(Listed { id, domain: domain.to_owned(), row: ReportRow::decode(&value)? }))
}

/// A report and its document, in gzip.
pub fn get(reader: &Reader, id: ReportId) -> Result<Option<(Listed, Vec<u8>)>, StoreError> {
    let Some(value) = reader.get(&keys::report_text(id))? else { return Ok(None) };
    let Some((domain, text)) = text_parts(&value) else { return Ok(None) };
    Ok(of(reader, domain, id)?.map(|listed| (listed, text.to_vec())))
}

/// The batch that removes reports from before one, the oldest first and at most so many, and how many it removes.
pub fn remove_before(
    reader: &Reader,
    before: ReportId,
    reports_max: usize,
) -> Result<(Batch, usize), StoreError> {
    let mut batch = Batch::new();
    let mut count = 0;
    for row in reader.prefix(&keys::of_table(SYSTEM, table::REPORTTEXT)).take(reports_max) {
        let (key, value) = row?;
        let id = keys::report_text_parts(&key)?;
        if id >= before {
            break;
        }
        if let Some((domain, _)) = text_parts(&value) {
            match of(reader, domain, id) {
                Ok(Some(listed)) => batch.remove(Space::Rows, keys::report_known(&listed.row.digest)),
                // One that is damaged goes, too: it must not keep all that is younger.
                Ok(None) | Err(StoreError::BadRow(_)) => {}
                Err(error) => return Err(error),
            }
            batch.remove(Space::Rows, keys::report(domain, id));
        }
        batch.remove(Space::Rows, key);
        count += 1;
    }
    Ok((batch, count))
}

#[cfg(test)]
mod tests;

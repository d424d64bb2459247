//! What became of recipients, kept for as long as it is wanted.

use super::cursor::Cursor;
use super::edit::Edit;
use super::filter::contains;
use super::list::{Bounds, Order};
use super::walk::between;
use crate::engine::{Batch, Space};
use crate::ids::QueueId;
use crate::keys::{self, SYSTEM, table};
use crate::reader::Reader;
use crate::rows::{FromIdRow, QueueMeta, QueueRow, RecipientRow, RetiredRow, Retirement};
use crate::store::{Refusal, StoreError};

/// From here on, what is kept of recipients that leave in one batch is without what programs were told.
const CROWDED_OCTETS: usize = 8 << 20;

/// A recipient that leaves the queue.
pub(super) struct Leaving<'a> {
    pub id: QueueId,
    pub number: u32,
    pub entry: &'a QueueRow,
    pub recipient: &'a RecipientRow,
    pub meta: Option<&'a QueueMeta>,
}

impl Leaving<'_> {
    /// Notes what became of it, when that is wanted. Its id leads there then, or else nowhere.
    pub(super) fn retire(
        &self,
        edit: &mut Edit,
        retirement: Retirement,
        ended: i64,
        until: Option<i64>,
    ) -> Result<(), StoreError> {
        let Self { id, number, entry, recipient, meta } = self;
        // A message with an id has one recipient.
        if let Some(meta) = meta.filter(|meta| !meta.from_id.is_empty()) {
            let key = keys::from_id(entry.sender, &meta.from_id);
            match until {
                Some(until) => {
                    edit.insert(key, FromIdRow::Retired { id: *id, number: *number, until }.encode());
                }
                None => edit.remove(key),
            }
        }
        let Some(until) = until else { return Ok(()) };
        // Of thousands of recipients, what programs were told is too much for one batch: an outcome comes first.
        let meta = meta.filter(|_| edit.batch.octets() < CROWDED_OCTETS);
        let row = RetiredRow {
            retirement,
            kind: entry.kind,
            ended,
            created: entry.created,
            base: entry.base,
            sender: entry.sender,
            attempts: entry.attempts,
            mail_from: entry.mail_from.clone(),
            address: recipient.address.clone(),
            envelope_id: entry.envelope_id.clone(),
            result: recipient.result.clone(),
            meta: meta.cloned(),
            reports: Vec::new(),
        };
        let value = row.encode().ok_or(Refusal::EnvelopeTooLong)?;
        edit.insert(keys::retired(until, *id, *number), value);
        Ok(())
    }
}

/// What became of a recipient.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retired {
    /// Until when it is known, in seconds since 1970.
    pub until: i64,
    /// The entry it was of.
    pub id: QueueId,
    /// Its number there.
    pub number: u32,
    /// What became of it.
    pub row: RetiredRow,
}

/// Some of what became of recipients.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RetiredPage {
    /// The latest first, by the time until which they are known.
    pub recipients: Vec<Retired>,
    /// Where to go on; none at the end. There may be more even when nothing was found.
    pub next: Option<Cursor>,
}

/// Which recipients are meant: those for which all that is given holds. Without anything, all of them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RetiredFilter {
    /// Of this entry, or of one of the same submission.
    pub entry: Option<QueueId>,
    /// Of messages of this account; [`SYSTEM`]: of the system.
    pub account: Option<u32>,
    /// This is a part of the reverse path, in whatever case.
    pub from: Option<String>,
    /// This is a part of the address, in whatever case.
    pub to: Option<String>,
    /// This became of them.
    pub outcome: Option<Retirement>,
}

impl RetiredFilter {
    fn matches(&self, id: QueueId, row: &RetiredRow) -> bool {
        self.account.is_none_or(|account| account == row.sender)
            && self.outcome.is_none_or(|outcome| outcome == row.retirement)
            && self.entry.is_none_or(|entry| entry == id || entry == row.base)
            && self.from.as_deref().is_none_or(|part| contains(&row.mail_from, part))
            && self.to.as_deref().is_none_or(|part| contains(&row.address, part))
    }
}

/// Lists what became of recipients.
pub fn retired(
    reader: &Reader,
    filter: &RetiredFilter,
    cursor: Option<&Cursor>,
    bounds: Bounds,
) -> Result<RetiredPage, StoreError> {
    let prefix = keys::of_table(SYSTEM, table::RETIRED);
    let cursor = cursor.map(|cursor| cursor.key(&prefix)).transpose()?;
    let mut page = RetiredPage { recipients: Vec::new(), next: None };
    let mut last = None;
    // No prefix of a table is all ones.
    let behind = keys::after(&prefix).unwrap_or_default();
    for (looked, row) in between(reader, &prefix, &behind, Order::Descending, cursor).enumerate() {
        let (key, value) = row?;
        if page.recipients.len() >= bounds.entries_max || looked >= bounds.rows_max {
            page.next = last.map(Cursor::at);
            break;
        }
        let row = RetiredRow::decode(&value)?;
        let (until, id, number) = keys::retired_parts(&key)?;
        if filter.matches(id, &row) {
            page.recipients.push(Retired { until, id, number, row });
        }
        last = Some(key);
    }
    Ok(page)
}

/// The batch that forgets what is to be known until `now` (seconds since 1970) or less, with the ids that lead there, at
/// most `rows_max` recipients, and how many they are.
pub fn purge_retired(reader: &Reader, now: i64, rows_max: usize) -> Result<(Batch, usize), StoreError> {
    let (mut batch, mut count) = (Batch::new(), 0);
    for row in reader.prefix(&keys::of_table(SYSTEM, table::RETIRED)).take(rows_max) {
        let (key, value) = row?;
        if keys::retired_parts(&key)?.0 > now {
            break;
        }
        let row = RetiredRow::decode(&value)?;
        if let Some(meta) = row.meta.filter(|meta| !meta.from_id.is_empty()) {
            batch.remove(Space::Rows, keys::from_id(row.sender, &meta.from_id));
        }
        batch.remove(Space::Rows, key);
        count += 1;
    }
    Ok((batch, count))
}

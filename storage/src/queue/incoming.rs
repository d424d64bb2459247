//! Messages that came for the id of one that was sent, which may be reports on it (product 3.14).
//!
//! Whoever delivers such a message notes it in the same batch. It is looked at afterwards; what it comes to and the removal of
//! the note are one batch, so that each counts once, whatever is cut off.

use super::entry;
use super::retired::Retired;
use crate::account::Tx;
use crate::engine::{Batch, Space};
use crate::ids::{AccountId, EmailId, QueueId};
use crate::keys::{self, SYSTEM, table};
use crate::reader::Reader;
use crate::rows::{
    FromIdRow, QueueMeta, QueueRow, ReportedResult, RetiredRow, decode_marked_text, encode_marked_text,
};
use crate::store::{Refusal, StoreError};

/// What became of messages is not added to in the last seconds for which it is known: it may be forgotten meanwhile.
const LAST_SECONDS: i64 = 60;

/// A message that is to be looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IncomingReport {
    /// Whose it is.
    pub account: AccountId,
    /// The message.
    pub email: EmailId,
    /// The id that it came for.
    pub id: Box<str>,
}

impl Tx<'_, '_> {
    /// Notes that a message is to be looked at that came for an id.
    pub fn note_incoming_report(&mut self, email: EmailId, id: &str) {
        self.insert(keys::incoming_report(self.account(), email), encode_marked_text(id));
    }
}

/// Messages that are to be looked at, behind `after`, at most `count_max`.
pub fn incoming_reports(
    reader: &Reader,
    after: Option<&IncomingReport>,
    count_max: usize,
) -> Result<Vec<IncomingReport>, StoreError> {
    let prefix = keys::of_table(SYSTEM, table::INCOMINGREPORT);
    let from = match after {
        // The least key behind it.
        Some(last) => [&*keys::incoming_report(last.account, last.email), &[0]].concat(),
        None => prefix.clone(),
    };
    let mut found = Vec::new();
    for row in reader.from(&from, &prefix).take(count_max) {
        let (key, value) = row?;
        let [account, email] = keys::numbers(&key, [4, 8])?;
        let account = u32::try_from(account).ok().and_then(AccountId::new);
        let account = account.ok_or(StoreError::Inconsistent("a message for an id is of no account"))?;
        let id = decode_marked_text(&value, "INCOMINGREPORT")?.into();
        found.push(IncomingReport { account, email: EmailId(email), id });
    }
    Ok(found)
}

/// Whether a message is still to be looked at.
pub fn is_noted(reader: &Reader, report: &IncomingReport) -> Result<bool, StoreError> {
    Ok(reader.get(&keys::incoming_report(report.account, report.email))?.is_some())
}

/// Adds to a batch that a message was looked at.
pub fn looked_at(batch: &mut Batch, report: &IncomingReport) {
    batch.remove(Space::Rows, keys::incoming_report(report.account, report.email));
}

/// Whether an account sent a message with an id of which it is known what became of it.
pub fn knows_id(reader: &Reader, account: AccountId, id: &str) -> Result<bool, StoreError> {
    Ok(reader.get(&keys::from_id(account.get(), id))?.is_some())
}

/// The message that was sent with an id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sender {
    /// It waits for another attempt.
    Queued(QueueId, QueueRow, QueueMeta),
    /// It left the queue.
    Retired(Retired),
}

/// The message that an account sent with an id; none when it isn't known any more.
pub fn by_id(reader: &Reader, account: AccountId, id: &str) -> Result<Option<Sender>, StoreError> {
    let Some(row) = reader.get(&keys::from_id(account.get(), id))? else { return Ok(None) };
    match FromIdRow::decode(&row)? {
        FromIdRow::Queued { id } => {
            let found = entry(reader, id)?.zip(super::meta(reader, id)?);
            Ok(found.map(|(row, meta)| Sender::Queued(id, row, meta)))
        }
        FromIdRow::Retired { id, number, until } => {
            let row = reader.get(&keys::retired(until, id, number))?;
            let row = row.map(|row| RetiredRow::decode(&row)).transpose()?;
            Ok(row.map(|row| Sender::Retired(Retired { until, id, number, row })))
        }
    }
}

/// Adds to a batch what a report said of a message that left the queue. Nothing when that is about to be forgotten.
pub fn append_report(
    batch: &mut Batch,
    retired: &mut Retired,
    report: ReportedResult,
    now: i64,
) -> Result<(), StoreError> {
    let Retired { until, id, number, row } = retired;
    row.note_report(report);
    if *until > now.saturating_add(LAST_SECONDS) {
        let value = row.encode().ok_or(Refusal::EnvelopeTooLong)?;
        batch.insert(Space::Rows, keys::retired(*until, *id, *number), value);
    }
    Ok(())
}

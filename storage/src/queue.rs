//! Outgoing messages that wait: one QUEUE row a message, one QUEUERCPT and one QUEUEDUE row a recipient.
//!
//! What always holds: each recipient has exactly one QUEUEDUE row, at the time that its row says; a
//! message with its last recipient goes, too; a message holds one reference to its content.

use crate::account::Content;
use crate::engine::{Batch, Space};
use crate::ids::{AccountId, QueueId};
use crate::keys::{self, SYSTEM, table};
use crate::reader::Reader;
use crate::rows::{MARK, QueueRow, RecipientRow, Ret, decode_due, encode_due};
use crate::store::{Refusal, StoreError};

/// The most recipients of one message.
pub const RECIPIENTS_MAX: usize = 5000;

/// The longest header fields put in front of a queued content.
pub const PREFIX_OCTETS_MAX: usize = 32 * 1024;

/// A message to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewQueued {
    /// The content, stored or attached.
    pub content: Content,
    /// Header fields in front of it.
    pub prefix: Vec<u8>,
    /// When it was accepted, seconds since 1970.
    pub created: i64,
    /// The account that submitted it; none when the system did.
    pub sender: Option<AccountId>,
    /// The reverse path without angle brackets; empty for reports.
    pub mail_from: Vec<u8>,
    /// RFC 8689.
    pub require_tls: bool,
    /// RFC 6531.
    pub smtputf8: bool,
    /// RFC 6152.
    pub eight_bit: bool,
    /// RFC 3030.
    pub binary: bool,
    /// RFC 3461 RET.
    pub ret: Ret,
    /// RFC 3461 ENVID, decoded; empty without one.
    pub envelope_id: Vec<u8>,
    /// RFC 4865: not before this time.
    pub hold_until: Option<i64>,
    /// To whom; at least one.
    pub recipients: Vec<NewRecipient>,
}

/// One recipient.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NewRecipient {
    /// The address without angle brackets.
    pub address: Vec<u8>,
    /// The hash of its domain.
    pub domain: u64,
    /// RFC 3461 NOTIFY, as in [`RecipientRow::notify`].
    pub notify: u8,
    /// RFC 3461 ORCPT; empty without one.
    pub original: Vec<u8>,
}

/// The batch that puts a message into the queue. Append the last batch of a content that nobody else
/// takes.
pub fn enqueue(id: QueueId, message: NewQueued) -> Result<Batch, StoreError> {
    if message.recipients.len() > RECIPIENTS_MAX {
        return Err(Refusal::TooManyRecipients.into());
    }
    if message.prefix.len() > PREFIX_OCTETS_MAX {
        return Err(Refusal::PrefixTooLong.into());
    }
    let mut batch = Batch::new();
    batch.insert(Space::Rows, keys::blob_ref(message.content.blob, SYSTEM, id.0), MARK);
    let row = QueueRow {
        blob: message.content.blob,
        size: message.content.size + message.prefix.len() as u64,
        created: message.created,
        sender: message.sender.map_or(SYSTEM, AccountId::get),
        // Bounded by RECIPIENTS_MAX.
        recipients: message.recipients.len() as u32,
        require_tls: message.require_tls,
        smtputf8: message.smtputf8,
        eight_bit: message.eight_bit,
        binary: message.binary,
        ret: message.ret,
        envelope_id: message.envelope_id.into(),
        mail_from: message.mail_from.into(),
        prefix: message.prefix.into(),
    };
    batch.insert(Space::Rows, keys::queue(id), row.encode().ok_or(Refusal::EnvelopeTooLong)?);
    let due = message.hold_until.map_or(message.created, |hold| hold.max(message.created));
    for (number, recipient) in (0..).zip(message.recipients) {
        let row = RecipientRow {
            due,
            hold_until: message.hold_until.unwrap_or(0),
            domain: recipient.domain,
            attempts: 0,
            notify: recipient.notify,
            address: recipient.address.into(),
            original: recipient.original.into(),
        };
        let value = row.encode().ok_or(Refusal::EnvelopeTooLong)?;
        batch.insert(Space::Rows, keys::queue_recipient(id, number), value);
        batch.insert(Space::Rows, keys::queue_due(due, id, number), encode_due(row.domain));
    }
    Ok(batch)
}

/// The batch that takes a message out of the queue, with all its recipients.
pub fn remove(reader: &Reader, id: QueueId) -> Result<Batch, StoreError> {
    let mut batch = Batch::new();
    let Some(message) = message(reader, id)? else { return Ok(batch) };
    for recipient in recipients(reader, id) {
        let (number, row) = recipient?;
        batch.remove(Space::Rows, keys::queue_recipient(id, number));
        batch.remove(Space::Rows, keys::queue_due(row.due, id, number));
    }
    batch.remove(Space::Rows, keys::queue(id));
    batch.remove(Space::Rows, keys::blob_ref(message.blob, SYSTEM, id.0));
    batch.insert(Space::Rows, keys::blob_gc(message.blob, SYSTEM, id.0), MARK);
    Ok(batch)
}

/// A queued message.
pub fn message(reader: &Reader, id: QueueId) -> Result<Option<QueueRow>, StoreError> {
    reader.get(&keys::queue(id))?.map(|row| Ok(QueueRow::decode(&row)?)).transpose()
}

/// All queued messages from `from` on, oldest first.
pub fn messages(
    reader: &Reader,
    from: QueueId,
) -> impl Iterator<Item = Result<(QueueId, QueueRow), StoreError>> + '_ {
    reader.from(&keys::queue(from), &keys::of_table(SYSTEM, table::QUEUE)).map(|row| {
        let (key, value) = row?;
        let [id] = keys::numbers(&key, [8])?;
        Ok((QueueId(id), QueueRow::decode(&value)?))
    })
}

/// The recipients of a message that are still to be reached, with their numbers.
pub fn recipients(
    reader: &Reader,
    id: QueueId,
) -> impl Iterator<Item = Result<(u32, RecipientRow), StoreError>> + '_ {
    reader.prefix(&keys::queue_recipients(id)).map(|row| {
        let (key, value) = row?;
        let [_, number] = keys::numbers(&key, [8, 4])?;
        Ok((number as u32, RecipientRow::decode(&value)?))
    })
}

/// A recipient in the schedule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Due {
    /// When the next attempt is due, seconds since 1970.
    pub due: i64,
    /// The message.
    pub id: QueueId,
    /// The recipient's number.
    pub recipient: u32,
    /// The hash of its domain.
    pub domain: u64,
}

/// All recipients by the time of their next attempt.
pub fn schedule(reader: &Reader) -> impl Iterator<Item = Result<Due, StoreError>> + '_ {
    reader.prefix(&keys::of_table(SYSTEM, table::QUEUEDUE)).map(|row| {
        let (key, value) = row?;
        let [due, id, recipient] = keys::numbers(&key, [8, 8, 4])?;
        Ok(Due {
            due: keys::to_time(due),
            id: QueueId(id),
            recipient: recipient as u32,
            domain: decode_due(&value)?,
        })
    })
}

/// What waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct QueueCounts {
    /// Messages.
    pub messages: u64,
    /// Recipients that are still to be reached.
    pub recipients: u64,
}

/// Counts what waits; walks the schedule, so keep the figures.
pub fn count(reader: &Reader) -> Result<QueueCounts, StoreError> {
    let mut counts = QueueCounts::default();
    for message in messages(reader, QueueId(0)) {
        message?;
        counts.messages += 1;
    }
    for due in schedule(reader) {
        due?;
        counts.recipients += 1;
    }
    Ok(counts)
}

/// The content of a queued message, without its prefix.
pub fn content(row: &QueueRow) -> Content {
    Content { blob: row.blob, size: row.size - row.prefix.len() as u64 }
}

#[cfg(test)]
mod tests;

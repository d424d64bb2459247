//! The queue of outgoing messages.
//!
//! On submission a message is split by recipient domain. Each part is an *entry*: a QUEUE row with an id of its
//! own, the header fields in front of its content (QUEUEPREFIX), its recipients (QUEUERCPT), a place in the
//! schedule (QUEUEDUE) and one in the list of its account (QUEUEOWNER). Entries of one submission share content
//! and [`base`](QueueRow::base). Where programs are told of it, it has what they are told (QUEUEMETA); and where it has an id in
//! its reverse path, it has one recipient, and is found by its id (FROMID) for as long as it is known what became of it.
//!
//! What always holds:
//! - an entry has at least one recipient, all of its domain, and counts them; with the last one it goes;
//! - it has one place in the schedule: under the hash of its domain, at the time it is due, behind all times
//!   when it is held or an attempt is under way;
//! - it holds one reference to its content;
//! - it is listed in CLAIMED exactly while an attempt is under way.
//!
//! Functions that change something read one snapshot and give an [`Edit`], which the caller commits. All of an
//! entry belongs to the shard that owns its domain ([`shard_of`]): only that shard builds edits of it, and only
//! when no other edit of the same entry is still to be acknowledged, since the second would undo the first.

mod attempt;
mod change;
mod convert;
mod count;
mod cursor;
mod damage;
mod edit;
mod enqueue;
mod filter;
mod hold;
mod incoming;
mod list;
mod retired;
mod schedule;
pub mod suppression;
mod walk;

use crate::account::Content;
use crate::engine::Bytes;
use crate::ids::QueueId;
use crate::keys::{self, SYSTEM, table};
use crate::reader::Reader;
use crate::rows::{BadRow, MARK, QueueMeta, QueueRow, RecipientRow};
use crate::store::StoreError;

pub use attempt::{
    Attempt, Claimed, Concluded, Consequence, Fate, Outcome, Released, claim, claim_row, cut_off, outcome,
    release_claims, unclaim,
};
pub use change::{Change, Changed, Chosen, Done, End, change, end};
pub(crate) use convert::{convert, convert_claims};
pub use count::{Counted, QueueCounts, count, count_some};
pub use cursor::Cursor;
pub use damage::{Removal, Search, Traces, remove_damaged};
pub(crate) use edit::place;
pub use edit::{Delta, Edit};
pub use enqueue::{ENQUEUE_OCTETS_MAX, Enqueued, FromId, NewQueued, NewRecipient, enqueue};
pub use filter::{Filter, Span};
pub(crate) use hold::next_rule;
pub use hold::{HOLD_RULES_MAX, HoldRules, add_hold_rule, hold_rules, remove_hold_rule};
pub use incoming::{
    IncomingReport, Sender, append_report, by_id, incoming_reports, is_noted, knows_id, looked_at,
};
pub use list::{Bounds, Damaged, Listed, Order, Page, RECIPIENTS_LISTED_MAX, list};
pub use retired::{Retired, RetiredFilter, RetiredPage, purge_retired, retired};
pub(crate) use schedule::waiting_in;
pub use schedule::{Due, Scheduled, UNDERWAY, domain_hash, due, first, range_of, shard_of, waiting};
pub use walk::IDS_MAX;
pub(crate) use walk::between;

/// The most recipients of one message.
pub const RECIPIENTS_MAX: usize = 5000;

/// The longest header fields put in front of a queued content.
pub const PREFIX_OCTETS_MAX: usize = 32 * 1024;

/// An entry.
pub fn entry(reader: &Reader, id: QueueId) -> Result<Option<QueueRow>, StoreError> {
    reader.get(&keys::queue(id))?.map(|row| Ok(QueueRow::decode(&row)?)).transpose()
}

/// All entries from `from` on, oldest first.
pub fn entries(
    reader: &Reader,
    from: QueueId,
) -> impl Iterator<Item = Result<(QueueId, QueueRow), StoreError>> + '_ {
    reader.from(&keys::queue(from), &keys::of_table(SYSTEM, table::QUEUE)).map(|row| {
        let (key, value) = row?;
        let [id] = keys::numbers(&key, [8])?;
        Ok((QueueId(id), QueueRow::decode(&value)?))
    })
}

/// The recipients of an entry that are still to be reached, with their numbers.
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

/// The recipients of an entry whose row is `row`. Few are read each by itself, which is faster than to seek.
fn recipients_of<'a>(
    reader: &'a Reader,
    id: QueueId,
    row: &QueueRow,
) -> Box<dyn Iterator<Item = Result<(u32, RecipientRow), StoreError>> + 'a> {
    const FEW: u32 = 4;
    if row.recipients > FEW {
        return Box::new(recipients(reader, id));
    }
    let numbers = 0..row.recipients;
    Box::new(
        numbers.filter_map(move |number| {
            recipient(reader, id, number).transpose().map(|row| Ok((number, row?)))
        }),
    )
}

/// One recipient of an entry.
pub fn recipient(reader: &Reader, id: QueueId, number: u32) -> Result<Option<RecipientRow>, StoreError> {
    let row = reader.get(&keys::queue_recipient(id, number))?;
    row.map(|row| Ok(RecipientRow::decode(&row)?)).transpose()
}

/// The header fields in front of an entry's content; empty when the entry is gone.
pub fn prefix(reader: &Reader, id: QueueId) -> Result<Vec<u8>, StoreError> {
    let row = reader.get(&keys::queue_prefix(id))?;
    row.map_or(Ok(Vec::new()), |row| Ok(decode_prefix(&row)?.to_vec()))
}

/// What programs are told of an entry's message; none where it wasn't kept.
pub fn meta(reader: &Reader, id: QueueId) -> Result<Option<QueueMeta>, StoreError> {
    let row = reader.get(&keys::queue_meta(id))?;
    row.map(|row| Ok(QueueMeta::decode(&row)?)).transpose()
}

/// The same of one whose row is `row`.
fn meta_of(reader: &Reader, id: QueueId, row: &QueueRow) -> Result<Option<QueueMeta>, StoreError> {
    if row.has_meta { meta(reader, id) } else { Ok(None) }
}

/// The content of an entry, without its prefix.
pub fn content(row: &QueueRow) -> Content {
    Content { blob: row.blob, size: row.size - u64::from(row.prefix_octets) }
}

/// The value of a QUEUEPREFIX row: its version and the octets. The entries of one message share it, up to the tables in memory.
pub(crate) struct EncodedPrefix(Bytes);

impl EncodedPrefix {
    pub(crate) fn of(prefix: &[u8]) -> Self {
        Self([&MARK, prefix].concat().into())
    }
}

/// Reads what [`EncodedPrefix`] has.
pub(crate) fn decode_prefix(value: &[u8]) -> Result<&[u8], BadRow> {
    const ROW: &str = "QUEUEPREFIX";
    match value.split_first() {
        Some((&version, prefix)) if version == MARK[0] => Ok(prefix),
        Some((&found, _)) => Err(BadRow::Version { row: ROW, found, known: MARK[0] }),
        None => Err(BadRow::Length { row: ROW, octets: 0 }),
    }
}

/// The domain of an address: what stands behind its last `@`.
pub(crate) fn domain_of(address: &[u8]) -> &[u8] {
    address.iter().rposition(|octet| *octet == b'@').map_or(b"", |at| &address[at + 1..])
}

#[cfg(test)]
mod tests;

//! Calls of webhooks that wait, and what became of others.
//!
//! What always holds:
//! - a call has one place in the schedule: under the hash of its URL, at the time it is due; and, when it tells of a message
//!   that was sent, one under what it tells of;
//! - a call is only added, by whoever commits what it tells of in the same batch. All that comes after belongs to the shard
//!   that owns its URL, one change at a time: so nobody has to read, or to wait, to add one.
//!
//! A call that tells of what a later one tells of, too, is superseded: whoever is about to make it sees the later one.

mod list;

use std::ops::RangeInclusive;

use crate::account::hash;
use crate::engine::{Batch, Space};
use crate::ids::HookId;
use crate::keys::{self, Key, SYSTEM, table};
use crate::queue::{self, Scheduled};
use crate::reader::Reader;
use crate::rows::{HookEnd, HookRow, HookSubject, MARK, RetiredHookRow};
use crate::store::{Refusal, StoreError};

pub use list::{
    HookFilter, HookPage, ListedHook, OldHooks, RetiredHookPage, list, old, purge_retired, retired,
};

/// Calls that are superseded in one step.
pub const SUPERSEDED_MAX: usize = 64;

/// The hash of a URL: it decides which shard makes its calls. XXH3, never 0.
pub fn url_hash(url: &str) -> u64 {
    hash(url.as_bytes())
}

/// The hash of a recipient's address.
pub fn recipient_hash(address: &str) -> u64 {
    hash(address.to_lowercase().as_bytes())
}

/// When a URL is to be called.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ScheduledHook {
    /// The hash of the URL.
    pub url: u64,
    /// When, in seconds since 1970.
    pub due: i64,
    /// The call.
    pub id: HookId,
}

impl ScheduledHook {
    fn of(id: HookId, row: &HookRow) -> Self {
        Self { url: url_hash(&row.url), due: row.due, id }
    }

    fn from(row: Scheduled) -> Self {
        Self { url: row.domain, due: row.due, id: HookId(row.id.0) }
    }
}

/// A call by its id.
pub fn hook(reader: &Reader, id: HookId) -> Result<Option<HookRow>, StoreError> {
    reader.get(&keys::hook(id))?.map(|row| Ok(HookRow::decode(&row)?)).transpose()
}

/// The URLs in a range of hashes for which something waits, ascending, each with its first call.
pub fn waiting(
    reader: &Reader,
    urls: RangeInclusive<u64>,
) -> impl Iterator<Item = Result<ScheduledHook, StoreError>> + '_ {
    queue::waiting_in(reader, table::HOOKDUE, urls).map(|row| row.map(ScheduledHook::from))
}

/// A URL's first call; none when nothing waits for it.
pub fn first(reader: &Reader, url: u64) -> Result<Option<ScheduledHook>, StoreError> {
    let mut rows = reader.prefix(&keys::hook_url(url));
    let row = rows.next().transpose()?;
    row.map(|(key, _)| {
        let (url, due, id) = keys::queue_due_parts(&key)?;
        Ok(ScheduledHook { url, due, id: HookId(id.0) })
    })
    .transpose()
}

/// A call that is due.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DueHook {
    /// Its id.
    pub id: HookId,
    /// Its row.
    pub row: HookRow,
    /// The last one that tells of the same, if it isn't this one.
    pub newer: Option<HookId>,
    /// Earlier ones of the same URL that tell of the same, with their rows; at most [`SUPERSEDED_MAX`].
    pub older: Vec<(HookId, HookRow)>,
}

/// What comes next of a URL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// Nothing waits.
    Nothing,
    /// It is not due yet, but at this time.
    Later(i64),
    /// This is due.
    Due(Box<DueHook>),
}

/// What comes next of a URL at `now` (seconds since 1970).
pub fn next(reader: &Reader, url: u64, now: i64) -> Result<Next, StoreError> {
    let Some(first) = first(reader, url)? else { return Ok(Next::Nothing) };
    if first.due > now {
        return Ok(Next::Later(first.due));
    }
    let row = hook(reader, first.id)?;
    let row = row.ok_or(StoreError::Inconsistent("a call of a webhook is listed, and doesn't exist"))?;
    let mut due = DueHook { id: first.id, row, newer: None, older: Vec::new() };
    let HookSubject::Outgoing { base, recipient, .. } = due.row.subject else {
        return Ok(Next::Due(Box::new(due)));
    };
    for row in reader.prefix(&keys::hooks_about(base, recipient)) {
        let id = HookId(keys::last_number(&row?.0)?);
        if id > due.id {
            due.newer = Some(id);
        } else if id < due.id && due.older.len() < SUPERSEDED_MAX {
            let row = hook(reader, id)?.filter(|row| url_hash(&row.url) == url);
            due.older.extend(row.map(|row| (id, row)));
        }
    }
    Ok(Next::Due(Box::new(due)))
}

/// The last call that tells of the same as one, if that isn't itself.
pub fn newer(reader: &Reader, id: HookId, row: &HookRow) -> Result<Option<HookId>, StoreError> {
    let HookSubject::Outgoing { base, recipient, .. } = row.subject else { return Ok(None) };
    let mut last = None;
    for row in reader.prefix(&keys::hooks_about(base, recipient)) {
        last = Some(HookId(keys::last_number(&row?.0)?)).filter(|last| *last > id).or(last);
    }
    Ok(last)
}

/// Adds a new call. Nothing is read, so it can be added to whatever batch.
pub fn add(batch: &mut Batch, id: HookId, row: &HookRow) -> Result<ScheduledHook, StoreError> {
    put(batch, id, row)?;
    batch.insert(Space::Rows, place(id, row), MARK);
    if let Some(about) = about(id, row) {
        batch.insert(Space::Rows, about, MARK);
    }
    Ok(ScheduledHook::of(id, row))
}

/// Writes a call anew that was `old` before: its URL, its time and its results may be others.
pub fn replace(
    batch: &mut Batch,
    id: HookId,
    old: &HookRow,
    new: &HookRow,
) -> Result<ScheduledHook, StoreError> {
    let (from, to) = (place(id, old), place(id, new));
    if from != to {
        batch.remove(Space::Rows, from);
        batch.insert(Space::Rows, to, MARK);
    }
    put(batch, id, new)?;
    Ok(ScheduledHook::of(id, new))
}

/// How a call ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ending {
    /// How.
    pub end: HookEnd,
    /// When, in seconds since 1970.
    pub now: i64,
    /// Until when that is to be known; none when it isn't wanted.
    pub until: Option<i64>,
}

/// Takes a call out whose place is that of `old`; `row` is what is to be known of it.
pub fn end(
    batch: &mut Batch,
    id: HookId,
    old: &HookRow,
    row: HookRow,
    ending: Ending,
) -> Result<(), StoreError> {
    batch.remove(Space::Rows, keys::hook(id));
    batch.remove(Space::Rows, place(id, old));
    if let Some(about) = about(id, old) {
        batch.remove(Space::Rows, about);
    }
    if let Some(until) = ending.until {
        let retired = RetiredHookRow { end: ending.end, ended: ending.now, hook: row };
        let value = retired.encode().ok_or(Refusal::TextTooLong)?;
        batch.insert(Space::Rows, keys::hook_retired(until, id), value);
    }
    Ok(())
}

fn put(batch: &mut Batch, id: HookId, row: &HookRow) -> Result<(), StoreError> {
    let value = row.encode().ok_or(Refusal::TextTooLong)?;
    batch.insert(Space::Rows, keys::hook(id), value);
    Ok(())
}

/// A call's place in the schedule.
pub(crate) fn place(id: HookId, row: &HookRow) -> Key {
    keys::hook_due(url_hash(&row.url), row.due, id)
}

/// A call's place by what it tells of.
pub(crate) fn about(id: HookId, row: &HookRow) -> Option<Key> {
    match row.subject {
        HookSubject::Outgoing { base, recipient, .. } => Some(keys::hook_about(base, recipient, id)),
        HookSubject::Incoming { .. } => None,
    }
}

/// Whether a key of an index of calls is that of what it names.
pub(crate) fn is_listed(reader: &Reader, key: &[u8]) -> Result<bool, StoreError> {
    let id = HookId(keys::last_number(key)?);
    let Some(row) = hook(reader, id)? else { return Ok(false) };
    let (_, number, _) = keys::split(key)?;
    Ok(match number {
        table::HOOKDUE => key == place(id, &row),
        _ => about(id, &row).is_some_and(|about| key == about),
    })
}

/// The prefix of all calls.
pub(crate) fn all() -> Key {
    keys::of_table(SYSTEM, table::HOOK)
}

/// The first id that a call made at a time (seconds since 1970) may have.
pub(crate) fn first_id(time: i64) -> HookId {
    HookId(crate::store::first_id(time))
}

#[cfg(test)]
mod tests;

//! What operators do to entries: hold, release, reschedule, route, end. When only some recipients are meant, they
//! become an entry of their own.

use std::collections::BTreeSet;

use super::attempt::fewer;
use super::edit::Edit;
use super::schedule::Scheduled;
use super::{EncodedPrefix, entry, meta_of, prefix, recipient, recipients_of, retired};
use crate::ids::QueueId;
use crate::keys;
use crate::reader::Reader;
use crate::rows::{AttemptResult, Held, QueueRow, RecipientRow, RequireTls, Retirement};
use crate::store::{Refusal, StoreError};

/// Which recipients of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Chosen<'a> {
    /// All of them.
    All,
    /// Those with these numbers.
    These(&'a [u32]),
}

/// What is to be changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Held by this; an entry that is held stays held by what held it first.
    Hold(Held),
    /// No longer held; due when it was.
    Release,
    /// The next attempt's time, in seconds since 1970. One that is held stays held.
    Due(i64),
    /// The transport, whatever routes say; empty: by routes.
    Transport(Box<str>),
    /// What is wanted of transport security.
    RequireTls(RequireTls),
}

/// What a change came to.
#[derive(Debug)]
#[must_use = "the edit is to be committed"]
pub enum Changed {
    /// It can be written.
    Done(Done),
    /// The entry, or the recipients, are gone.
    Gone,
    /// An attempt is under way: try again when its outcome is written.
    Busy,
}

/// A change that can be written.
#[derive(Debug)]
pub struct Done {
    /// The writes.
    pub edit: Edit,
    /// The entries that are left of the one, with their places in the schedule.
    pub entries: Vec<Scheduled>,
    /// How many recipients it was done to.
    pub recipients: u32,
}

/// Changes an entry, or those of its recipients that were chosen.
///
/// An entry that is being delivered can be held, released, and given a transport or a wish for TLS, which are for
/// the next attempt; what would be overwritten by the outcome, or would part recipients that are being delivered,
/// is [`Changed::Busy`].
pub fn change(
    reader: &Reader,
    id: QueueId,
    chosen: Chosen<'_>,
    change: &Change,
    new_id: impl FnOnce() -> QueueId,
) -> Result<Changed, StoreError> {
    if let Change::Transport(name) = change
        && name.len() > QueueRow::TEXT_OCTETS_MAX
    {
        return Err(Refusal::TextTooLong.into());
    }
    let Some(old) = entry(reader, id)? else { return Ok(Changed::Gone) };
    let Some(part) = part(reader, id, &old, chosen)? else { return Ok(Changed::Gone) };
    let mut edit = Edit::default();
    let Some(part) = part else {
        if old.claimed && matches!(change, Change::Due(_)) {
            return Ok(Changed::Busy);
        }
        let mut new = old.clone();
        apply(&mut new, change);
        edit.replace(id, &old, &new)?;
        let entries = vec![Scheduled::of(id, &new)];
        return Ok(Changed::Done(Done { edit, entries, recipients: old.waiting }));
    };
    if old.claimed {
        return Ok(Changed::Busy);
    }
    let count = part.len() as u32;
    let mut moved = QueueRow { recipients: count, waiting: count, ..old.clone() };
    apply(&mut moved, change);
    let new_id = new_id();
    // One that has an id has one recipient, and is never parted.
    let prefix = EncodedPrefix::of(&prefix(reader, id)?);
    edit.create(new_id, &moved, &prefix, meta_of(reader, id, &old)?.as_ref())?;
    let mut left = old.clone();
    for (number, (before, row)) in (0..).zip(&part) {
        edit.remove(keys::queue_recipient(id, *before));
        edit.put(new_id, number, row)?;
        left.waiting = fewer(left.waiting)?;
    }
    edit.replace(id, &old, &left)?;
    let entries = vec![Scheduled::of(id, &left), Scheduled::of(new_id, &moved)];
    Ok(Changed::Done(Done { edit, entries, recipients: count }))
}

/// How recipients are taken out of the queue without an attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct End {
    /// Failed or dropped.
    pub retirement: Retirement,
    /// What is said of it.
    pub result: AttemptResult,
    /// Until when it is to be known; none when that isn't wanted.
    pub retired_until: Option<i64>,
}

/// Takes recipients out of the queue. A report on those that failed is for the caller to append.
pub fn end(reader: &Reader, id: QueueId, chosen: Chosen<'_>, end: &End) -> Result<Changed, StoreError> {
    let Some(old) = entry(reader, id)? else { return Ok(Changed::Gone) };
    let Some(part) = part(reader, id, &old, chosen)? else { return Ok(Changed::Gone) };
    let all = part.is_none();
    let part = match part {
        Some(part) => part,
        None => recipients_of(reader, id, &old).collect::<Result<_, _>>()?,
    };
    let meta = meta_of(reader, id, &old)?;
    // Only now: what comes of an attempt at a damaged entry can't be written, and it would be busy for ever.
    if old.claimed {
        return Ok(Changed::Busy);
    }
    let mut edit = Edit::default();
    let mut left = old.clone();
    for (number, mut row) in part {
        row.result = Some(end.result.clone());
        let leaving = retired::Leaving { id, number, entry: &old, recipient: &row, meta: meta.as_ref() };
        leaving.retire(&mut edit, end.retirement, end.result.time, end.retired_until)?;
        edit.remove(keys::queue_recipient(id, number));
        left.waiting = fewer(left.waiting)?;
    }
    let recipients = old.waiting - left.waiting;
    if all {
        edit.erase(id, &old);
        return Ok(Changed::Done(Done { edit, entries: Vec::new(), recipients }));
    }
    edit.replace(id, &old, &left)?;
    Ok(Changed::Done(Done { edit, entries: vec![Scheduled::of(id, &left)], recipients }))
}

type Part = Vec<(u32, RecipientRow)>;

/// The chosen recipients: `Some(None)` when they are all, nothing when there are none.
fn part(
    reader: &Reader,
    id: QueueId,
    entry: &QueueRow,
    chosen: Chosen<'_>,
) -> Result<Option<Option<Part>>, StoreError> {
    let Chosen::These(numbers) = chosen else { return Ok(Some(None)) };
    let mut part = Part::new();
    for number in numbers.iter().copied().collect::<BTreeSet<u32>>() {
        if let Some(row) = recipient(reader, id, number)? {
            part.push((number, row));
        }
    }
    Ok(match part.len() {
        0 => None,
        count if count == entry.waiting as usize => Some(None),
        _ => Some(Some(part)),
    })
}

fn apply(row: &mut QueueRow, change: &Change) {
    match change {
        Change::Hold(by) if row.held == Held::No => row.held = *by,
        Change::Hold(_) => {}
        Change::Release => row.held = Held::No,
        Change::Due(due) => row.due = *due,
        Change::Transport(name) => row.transport = name.clone(),
        Change::RequireTls(wish) => row.require_tls = *wish,
    }
}

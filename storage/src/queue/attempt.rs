//! Attempts: an entry is claimed, tried, and its outcome written.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::edit::Edit;
use super::schedule::Scheduled;
use super::suppression::{self, Verdict};
use super::{entry, meta_of, recipient, recipients_of, retired};
use crate::ids::{AccountId, QueueId};
use crate::keys::{self, SYSTEM, table};
use crate::reader::Reader;
use crate::rows::{AttemptResult, Held, QueueRow, RecipientRow, Retirement};
use crate::store::StoreError;

/// For so many seconds a content is likely to be in the engine's memory only.
const SOON: i64 = 60;

/// The times of an attempt, in seconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// When it begins.
    pub now: i64,
    /// When the next one comes, if nothing is heard of this one.
    pub next: i64,
}

/// An entry that may be tried once the edit is committed.
#[derive(Debug)]
pub struct Claimed {
    /// The writes; they need not be synced.
    pub edit: Edit,
    /// The entry as it is then; `attempts` counts this one.
    pub entry: QueueRow,
    /// Its recipients, with their numbers.
    pub recipients: Vec<(u32, RecipientRow)>,
}

/// Claims an entry for an attempt: counts it and moves the entry to the next attempt's time, so that a crash backs
/// off. None when the entry is gone, held, or claimed already.
pub fn claim(reader: &Reader, id: QueueId, attempt: Attempt) -> Result<Option<Claimed>, StoreError> {
    match entry(reader, id)? {
        Some(row) => claim_row(reader, id, row, attempt),
        None => Ok(None),
    }
}

/// As [`claim`], of an entry whose row `reader` has shown already.
pub fn claim_row(
    reader: &Reader,
    id: QueueId,
    old: QueueRow,
    attempt: Attempt,
) -> Result<Option<Claimed>, StoreError> {
    if old.claimed || old.held != Held::No {
        return Ok(None);
    }
    // What comes of the attempt takes it: without that nothing is sent.
    meta_of(reader, id, &old)?;
    let mut new = old.clone();
    new.claimed = true;
    new.attempts = old.attempts.saturating_add(1);
    new.last_attempt = attempt.now;
    new.due = attempt.next;
    let mut edit = Edit::default();
    edit.replace(id, &old, &new)?;
    let recipients = recipients_of(reader, id, &old).collect::<Result<_, _>>()?;
    Ok(Some(Claimed { edit, entry: new, recipients }))
}

/// Gives a claimed entry back that was not tried: the attempt doesn't count, and it is due at `due` (seconds since
/// 1970). Nothing when the entry is gone or not claimed.
pub fn unclaim(reader: &Reader, id: QueueId, due: i64) -> Result<Option<(Edit, Scheduled)>, StoreError> {
    let Some(old) = entry(reader, id)?.filter(|row| row.claimed) else { return Ok(None) };
    let mut new = old.clone();
    new.claimed = false;
    new.attempts = old.attempts.saturating_sub(1);
    new.due = due;
    let mut edit = Edit::default();
    edit.replace(id, &old, &new)?;
    Ok(Some((edit, Scheduled::of(id, &new))))
}

/// Takes the mark off a claimed entry whose attempt ended without an outcome, by a fault of the server: its message may
/// have arrived. The attempt counts, and it stays due when its claim said; `held` holds it, unless something does
/// already. Nothing when the entry is gone or not claimed.
pub fn cut_off(
    reader: &Reader,
    id: QueueId,
    held: Held,
    error: AttemptResult,
) -> Result<Option<(Edit, Scheduled)>, StoreError> {
    let Some(old) = entry(reader, id)?.filter(|row| row.claimed) else { return Ok(None) };
    let mut new = old.clone();
    new.claimed = false;
    new.last_error = Some(error);
    if new.held == Held::No {
        new.held = held;
    }
    let mut edit = Edit::default();
    edit.replace(id, &old, &new)?;
    Ok(Some((edit, Scheduled::of(id, &new))))
}

/// What a failure means for later mail of the account to the address. Whether a refusal is one of the address, or
/// of the message's content, is for the caller to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Consequence {
    /// Nothing.
    None,
    /// It counts: after [`suppression::STRIKES_MAX`] in a row nothing is sent there any more.
    Strike,
    /// Nothing is sent there any more.
    Suppress,
}

/// What became of a recipient.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// The next server took the message.
    Delivered(AttemptResult),
    /// It failed for good.
    Failed(AttemptResult, Consequence),
    /// It is tried again with the entry.
    Waits(AttemptResult),
}

/// What came of an attempt.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// Which attempt of the entry it is of: what `attempts` counted when it was claimed.
    pub attempt: u32,
    /// When it ended, in seconds since 1970.
    pub now: i64,
    /// When those that wait are tried again.
    pub due: i64,
    /// What became of recipients, by their numbers, each once; one that isn't named waits as before.
    pub recipients: Vec<(u32, Fate)>,
    /// Addresses dialed, in their order.
    pub dialed: Vec<IpAddr>,
    /// What the attempt failed with as a whole.
    pub error: Option<AttemptResult>,
    /// Whether the sender was told that the message is delayed.
    pub delay_reported: bool,
    /// Until when it is to be known what became of those that leave; none when it isn't wanted.
    pub retired_until: Option<i64>,
}

/// An outcome, ready to be written.
#[derive(Debug)]
pub struct Concluded {
    /// The writes. The reports on it belong into the same batch, so that each is made once, whatever is cut off.
    pub edit: Edit,
    /// The entry's place in the schedule, when something of it waits.
    pub left: Option<Scheduled>,
    /// Base addresses that are suppressed from now on.
    pub suppressed: Vec<String>,
}

/// Writes the outcome of an attempt. With the last recipient the entry goes. Recipients that are gone meanwhile
/// are passed over; none when the whole entry is, or when this attempt has its outcome: so one of which it wasn't known
/// whether it was written may be written again.
pub fn outcome(reader: &Reader, id: QueueId, outcome: &Outcome) -> Result<Option<Concluded>, StoreError> {
    let Some(old) = entry(reader, id)?.filter(|row| awaits(row, outcome.attempt)) else { return Ok(None) };
    let meta = meta_of(reader, id, &old)?;
    let mut new = old.clone();
    let mut edit = Edit::default();
    let mut suppressed = Vec::new();
    let mut seen = BTreeSet::new();
    for (number, fate) in &outcome.recipients {
        let row = if seen.insert(*number) { recipient(reader, id, *number)? } else { None };
        let Some(mut row) = row else { continue };
        let (result, verdict, retirement) = match fate {
            Fate::Waits(result) => {
                row.result = Some(result.clone());
                edit.put(id, *number, &row)?;
                continue;
            }
            Fate::Delivered(result) => (result, Verdict::Delivered, Retirement::Delivered),
            Fate::Failed(result, Consequence::None) => (result, Verdict::Nothing, Retirement::Failed),
            Fate::Failed(result, Consequence::Strike) => (result, Verdict::Strike, Retirement::Failed),
            Fate::Failed(result, Consequence::Suppress) => (result, Verdict::Suppress, Retirement::Failed),
        };
        row.result = Some(result.clone());
        if let Some(account) = AccountId::new(old.sender) {
            let address = String::from_utf8_lossy(&row.address);
            let failure =
                suppression::Failure { address: &address, time: outcome.now, reason: result.text() };
            suppressed.extend(suppression::note(reader, &mut edit.batch, account, verdict, failure)?);
        }
        let leaving =
            retired::Leaving { id, number: *number, entry: &old, recipient: &row, meta: meta.as_ref() };
        leaving.retire(&mut edit, retirement, outcome.now, outcome.retired_until)?;
        edit.remove(keys::queue_recipient(id, *number));
        new.waiting = fewer(new.waiting)?;
    }
    if new.waiting == 0 {
        // The other entries of a message leave their marks among the uses of its content.
        if old.base == id && outcome.now.saturating_sub(old.created) <= SOON {
            edit.erase_with_content(reader, id, &old)?;
        } else {
            edit.erase(id, &old);
        }
        return Ok(Some(Concluded { edit, left: None, suppressed }));
    }
    new.claimed = false;
    new.due = outcome.due;
    new.delay_reported |= outcome.delay_reported;
    new.last_error = outcome.error.clone().or(new.last_error);
    outcome.dialed.iter().for_each(|address| new.note_dialed(*address));
    edit.replace(id, &old, &new)?;
    Ok(Some(Concluded { edit, left: Some(Scheduled::of(id, &new)), suppressed }))
}

/// Whether an attempt of an entry still has no outcome. A claim that was lost with the disk's memory is taken for one that
/// is there.
fn awaits(row: &QueueRow, attempt: u32) -> bool {
    row.attempts < attempt || (row.attempts == attempt && row.claimed)
}

/// One recipient less.
pub(super) fn fewer(waiting: u32) -> Result<u32, StoreError> {
    waiting.checked_sub(1).ok_or(StoreError::Inconsistent("an entry of the queue miscounts its recipients"))
}

/// Entries whose attempts were cut off by the end of the process.
#[derive(Debug)]
pub struct Released {
    /// The writes; they need not be synced.
    pub edit: Edit,
    /// The entries, and which attempt was cut off. Their message may have been taken by the other side.
    pub entries: Vec<(QueueId, u32)>,
    /// Entries of which the row can't be read. They keep their marks.
    pub damaged: Vec<(QueueId, StoreError)>,
    /// Where to go on; none when all were looked at.
    pub next: Option<QueueId>,
}

/// Takes the marks off claimed entries from `from` on, at most `count_max`; to be done at the start, before anything is
/// claimed. They stay due when their claim said.
pub fn release_claims(reader: &Reader, from: QueueId, count_max: usize) -> Result<Released, StoreError> {
    let mut released =
        Released { edit: Edit::default(), entries: Vec::new(), damaged: Vec::new(), next: None };
    let marks = reader.from(&keys::queue_claimed(from), &keys::of_table(SYSTEM, table::CLAIMED));
    for (count, row) in marks.enumerate() {
        let (key, _) = row?;
        let [id] = keys::numbers(&key, [8])?;
        let id = QueueId(id);
        if count == count_max {
            released.next = Some(id);
            break;
        }
        let old = match entry(reader, id) {
            Ok(old) => old.filter(|row| row.claimed),
            Err(error) if error.is_of_rows() => {
                released.damaged.push((id, error));
                continue;
            }
            Err(error) => return Err(error),
        };
        let Some(old) = old else {
            released.edit.remove(key.to_vec());
            continue;
        };
        let new = QueueRow { claimed: false, ..old.clone() };
        released.edit.replace(id, &old, &new)?;
        released.entries.push((id, new.attempts));
    }
    Ok(released)
}

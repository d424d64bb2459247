//! Removing entries of which a row is damaged, so that nothing else takes them out of the queue.
//!
//! What the rows of such an entry don't say any more is found by walking the tables that list it, a step at a time. What is
//! found stays true: whoever moves an entry has to read its row.

use std::collections::BTreeMap;

use super::change::{Changed, Chosen, End, end};
use super::edit::Edit;
use super::schedule::domain_hash;
use super::{domain_of, entry, meta, recipients};
use crate::ids::{BlobId, QueueId};
use crate::keys::{self, Key, SYSTEM, table};
use crate::reader::Reader;
use crate::rows::{AttemptResult, FromIdRow, MARK, QueueRow, Retirement};
use crate::store::StoreError;

/// The most rows of other tables that are removed with one entry: it has one in each.
const LISTED_MAX: usize = 16;

/// What has to be looked for. The later, the more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Need {
    /// Its rows say where all is.
    Nothing,
    /// The id that leads to it: the row that has it can't be read.
    FromId,
    /// All that lists it.
    All,
}

impl Need {
    fn of(reader: &Reader, id: QueueId) -> Result<Self, StoreError> {
        Ok(match (readable(entry(reader, id))?, readable(meta(reader, id))?) {
            (None, _) => Self::All,
            (Some(_), None) => Self::FromId,
            (Some(_), Some(_)) => Self::Nothing,
        })
    }

    const fn tables(self) -> &'static [u8] {
        match self {
            Self::Nothing => &[],
            Self::FromId => &[table::FROMID],
            Self::All => &[table::QUEUEDUE, table::QUEUEOWNER, table::BLOBREF, table::FROMID],
        }
    }
}

/// What was read; none when it is damaged.
fn readable<T>(read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Err(error) if error.is_damage() => Ok(None),
        read => read.map(Some),
    }
}

/// Where an entry is listed.
#[derive(Clone, Debug)]
pub struct Traces {
    /// The entry.
    pub id: QueueId,
    /// The hash of its domain, by which a shard owns it; none when nothing says so.
    pub domain: Option<u64>,
    need: Need,
    listed: Vec<Key>,
}

/// The search for where damaged entries are listed.
#[derive(Debug)]
pub struct Search {
    found: BTreeMap<QueueId, Traces>,
    tables: &'static [u8],
    /// The first row of the first table that wasn't looked at yet; none is the table's first one.
    from: Option<Key>,
}

impl Search {
    /// Begins to look for these, all at once.
    pub fn new(reader: &Reader, ids: &[QueueId]) -> Result<Self, StoreError> {
        let mut found = BTreeMap::new();
        for id in ids.iter().copied() {
            let domain = readable(entry(reader, id))?.flatten().map(|row| domain_hash(&row.domain));
            let need = Need::of(reader, id)?;
            found.insert(id, Traces { id, domain, need, listed: Vec::new() });
        }
        let need = found.values().map(|traces| traces.need).max().unwrap_or(Need::Nothing);
        Ok(Self { found, tables: need.tables(), from: None })
    }

    /// Looks at `rows_max` rows at most; says whether there are more.
    pub fn step(&mut self, reader: &Reader, rows_max: usize) -> Result<bool, StoreError> {
        let Some((number, rest)) = self.tables.split_first() else { return Ok(false) };
        let prefix = keys::of_table(SYSTEM, *number);
        let from = self.from.take().unwrap_or_else(|| prefix.clone());
        for (looked, row) in reader.from(&from, &prefix).enumerate() {
            let (key, value) = row?;
            if looked == rows_max {
                self.from = Some(key.to_vec());
                return Ok(true);
            }
            let Some(traces) = leads_to(*number, &key, &value).and_then(|id| self.found.get_mut(&id)) else {
                continue;
            };
            if traces.need.tables().contains(number) && traces.listed.len() < LISTED_MAX {
                traces.listed.push(key.to_vec());
            }
        }
        self.tables = rest;
        Ok(!rest.is_empty())
    }

    /// What was found, by the ids.
    pub fn finish(self, reader: &Reader) -> Result<Vec<Traces>, StoreError> {
        let mut all: Vec<Traces> = self.found.into_values().collect();
        for traces in all.iter_mut().filter(|traces| traces.domain.is_none()) {
            traces.domain = traces.listed.iter().find_map(|key| scheduled_domain(key));
            let of_recipients = || -> Result<Option<u64>, StoreError> {
                for row in recipients(reader, traces.id) {
                    if let Some((_, row)) = readable(row)? {
                        let domain = String::from_utf8_lossy(domain_of(&row.address)).to_ascii_lowercase();
                        return Ok(Some(domain_hash(&domain)));
                    }
                }
                Ok(None)
            };
            if traces.domain.is_none() {
                traces.domain = of_recipients()?;
            }
        }
        Ok(all)
    }
}

/// The entry that a row of these tables is about. One that can't be read is about none.
fn leads_to(number: u8, key: &[u8], value: &[u8]) -> Option<QueueId> {
    match number {
        table::BLOBREF => match keys::numbers(key, [8, 4, 8]).ok()? {
            [_, owner, id] if owner == u64::from(SYSTEM) => Some(QueueId(id)),
            _ => None,
        },
        table::FROMID => match FromIdRow::decode(value).ok()? {
            FromIdRow::Queued { id } => Some(id),
            FromIdRow::Retired { .. } => None,
        },
        _ => keys::last_number(key).ok().map(QueueId),
    }
}

fn scheduled_domain(key: &[u8]) -> Option<u64> {
    let is_due = key.starts_with(&keys::of_table(SYSTEM, table::QUEUEDUE));
    is_due.then(|| keys::queue_due_parts(key).ok().map(|(domain, ..)| domain)).flatten()
}

/// What removing a damaged entry came to.
#[derive(Debug)]
#[must_use = "the edit is to be committed"]
pub enum Removal {
    /// It can be written.
    Removed {
        /// The writes.
        edit: Edit,
        /// How many rows of recipients it had.
        recipients: u32,
    },
    /// It is gone.
    Gone,
    /// It is not damaged, or more of it is than was when the search began.
    Otherwise,
}

/// Removes an entry of which a row is damaged, with all its rows, in one batch: whatever cuts that off, either nothing was
/// done or all was. Nothing is kept of what became of its recipients. Its content is left to the collector. So is done with
/// one that is claimed: what comes of its attempt could not be written, and is passed over then.
///
/// The counts are told what [`count_some`](super::count_some) takes such an entry for. One that was held when its row was
/// damaged while the server ran counts as held until the next start, which counts anew.
pub fn remove_damaged(reader: &Reader, traces: &Traces) -> Result<Removal, StoreError> {
    let id = traces.id;
    match readable(can_be_ended(reader, id))? {
        Some(Some(())) => return Ok(Removal::Otherwise),
        Some(None) => return Ok(Removal::Gone),
        None => {}
    }
    if Need::of(reader, id)? > traces.need {
        return Ok(Removal::Otherwise);
    }
    let mut edit = Edit::default();
    let mut recipients = 0;
    for row in reader.prefix(&keys::queue_recipients(id)) {
        edit.remove(row?.0.to_vec());
        recipients += 1;
    }
    match readable(entry(reader, id))?.flatten() {
        Some(row) => {
            edit.erase(id, &row);
            forget_from_id(reader, &mut edit, id, &row)?;
        }
        None => edit.count_damaged(i64::from(recipients), -1),
    }
    for key in [keys::queue(id), keys::queue_prefix(id), keys::queue_meta(id), keys::queue_claimed(id)] {
        edit.remove(key);
    }
    for key in &traces.listed {
        edit.remove(key.clone());
        if key.starts_with(&keys::of_table(SYSTEM, table::BLOBREF)) {
            let [blob, _, _] = keys::numbers(key, [8, 4, 8])?;
            edit.insert(keys::blob_gc(BlobId(blob), SYSTEM, id.0), MARK);
        }
    }
    Ok(Removal::Removed { edit, recipients })
}

/// Fails where an entry can't be taken out of the queue since it is damaged, which is found out by doing so without writing
/// it; none when it is gone.
fn can_be_ended(reader: &Reader, id: QueueId) -> Result<Option<()>, StoreError> {
    let nothing_said = End {
        retirement: Retirement::Dropped,
        result: AttemptResult::new(0, 0, None, "", ""),
        retired_until: None,
    };
    Ok(match end(reader, id, Chosen::All, &nothing_said)? {
        Changed::Gone => None,
        Changed::Done(_) | Changed::Busy => Some(()),
    })
}

/// Removes the id that leads to an entry, where its row for programs has it.
fn forget_from_id(reader: &Reader, edit: &mut Edit, id: QueueId, row: &QueueRow) -> Result<(), StoreError> {
    let meta = readable(meta(reader, id))?.flatten();
    let Some(meta) = meta.filter(|meta| !meta.from_id.is_empty()) else { return Ok(()) };
    let key = keys::from_id(row.sender, &meta.from_id);
    let is_its = reader.get(&key)?.is_some_and(|value| value[..] == FromIdRow::Queued { id }.encode()[..]);
    if is_its {
        edit.remove(key);
    }
    Ok(())
}

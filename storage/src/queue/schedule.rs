//! When entries are due, by domain.

use std::ops::{Bound, RangeInclusive};

use crate::account::hash;
use crate::engine::Space;
use crate::ids::QueueId;
use crate::keys::{self, SYSTEM, table};
use crate::reader::{Raw, Reader};
use crate::rows::{Held, QueueRow};
use crate::store::StoreError;

/// Where the schedule has an entry during an attempt: behind all that can be due, so that nobody who looks for that passes
/// over what was delivered.
pub const UNDERWAY: i64 = i64::MAX - 1;

/// An entry's place in the schedule.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Scheduled {
    /// The hash of its domain.
    pub domain: u64,
    /// When the next attempt is due, seconds since 1970; [`UNDERWAY`] during an attempt, [`i64::MAX`] when it is held.
    pub due: i64,
    /// The entry.
    pub id: QueueId,
}

impl Scheduled {
    /// Before everything that can wait for a domain.
    pub const fn start(domain: u64) -> Self {
        Self { domain, due: i64::MIN, id: QueueId(0) }
    }

    /// Behind everything that can be due for a domain.
    pub const fn end(domain: u64) -> Self {
        Self { domain, due: UNDERWAY, id: QueueId(0) }
    }

    /// The place of an entry.
    pub fn of(id: QueueId, row: &QueueRow) -> Self {
        Self { domain: domain_hash(&row.domain), due: row.scheduled(), id }
    }

    fn from_key(key: &[u8]) -> Result<Self, StoreError> {
        let (domain, due, id) = keys::queue_due_parts(key)?;
        Ok(Self { domain, due, id })
    }
}

impl QueueRow {
    /// The time at which the schedule has it: when it is due, [`UNDERWAY`] during an attempt, or [`i64::MAX`] when it is
    /// held.
    pub fn scheduled(&self) -> i64 {
        match (self.held, self.claimed) {
            (Held::No, false) => self.due,
            (Held::No, true) => UNDERWAY,
            (Held::Operator | Held::Rule(_), _) => i64::MAX,
        }
    }
}

/// The hash of a recipient domain (lower-case ASCII, or an address literal with its brackets): XXH3, never 0.
/// It decides which shard owns the domain's entries.
pub fn domain_hash(domain: &str) -> u64 {
    hash(domain.as_bytes())
}

/// The shard that owns a domain, of `shards` (at least one): each owns a contiguous range of hashes.
pub fn shard_of(domain: u64, shards: usize) -> usize {
    // The product is below shards · 2^64, so the result is below `shards`.
    ((u128::from(domain) * shards as u128) >> 64) as usize
}

/// The hashes that a shard of `shards` owns, as [`shard_of`] says.
pub fn range_of(shard: usize, shards: usize) -> RangeInclusive<u64> {
    let first = |shard: usize| ((shard as u128) << 64).div_ceil(shards as u128);
    // At most 2^64 - 1, since the first of the shard behind the last would be 2^64.
    first(shard) as u64..=(first(shard + 1) - 1) as u64
}

/// How many rows of one domain are passed over before the next domain is sought: a seek costs about as much.
const PASSED_MAX: usize = 64;

/// The domains in a range of hashes for which something waits, ascending, each with its first entry in the
/// schedule. What a domain costs is bounded, however much waits for it. To go on later, begin behind the last hash.
///
/// A domain of which everything is held comes with [`i64::MAX`].
pub fn waiting(
    reader: &Reader,
    range: RangeInclusive<u64>,
) -> impl Iterator<Item = Result<Scheduled, StoreError>> + '_ {
    waiting_in(reader, table::QUEUEDUE, range)
}

/// As [`waiting`], of a table whose keys are a hash, a time and an id.
pub(crate) fn waiting_in(
    reader: &Reader,
    table: u8,
    range: RangeInclusive<u64>,
) -> impl Iterator<Item = Result<Scheduled, StoreError>> + '_ {
    Waiting { reader, table, end: *range.end(), next: Some(*range.start()), rows: None }
}

struct Waiting<'a> {
    reader: &'a Reader,
    table: u8,
    end: u64,
    /// The first hash that wasn't seen yet; none at the end.
    next: Option<u64>,
    /// The schedule from somewhere before it on.
    rows: Option<Box<dyn Iterator<Item = Result<Raw, StoreError>> + 'a>>,
}

impl Waiting<'_> {
    /// The first entry of the next domain.
    fn find(&mut self) -> Result<Option<Scheduled>, StoreError> {
        let Some(next) = self.next.filter(|next| *next <= self.end) else { return Ok(None) };
        let (reader, table) = (self.reader, keys::of_table(SYSTEM, self.table));
        loop {
            let rows = self.rows.get_or_insert_with(|| {
                Box::new(reader.from(&[&table[..], &next.to_be_bytes()].concat(), &table))
            });
            for row in rows.take(PASSED_MAX) {
                let entry = Scheduled::from_key(&row?.0)?;
                if entry.domain >= next {
                    self.next = entry.domain.checked_add(1);
                    return Ok((entry.domain <= self.end).then_some(entry));
                }
            }
            // Either there are no more rows, which the next look says again, or too many of the last domain.
            if rows.next().is_none() {
                return Ok(None);
            }
            self.rows = None;
        }
    }
}

impl Iterator for Waiting<'_> {
    type Item = Result<Scheduled, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = self.find();
        if !matches!(found, Ok(Some(_))) {
            self.next = None;
        }
        found.transpose()
    }
}

/// The first entry of a domain in the schedule, at `from` or behind, that isn't held and of which no attempt is under way;
/// none when nothing waits there.
///
/// What left the schedule before `from` costs nothing here. Before its tables are merged, the store passes over each row
/// that was removed, so whoever reads often says from where on there can be any.
pub fn first(reader: &Reader, from: Scheduled) -> Result<Option<Scheduled>, StoreError> {
    rows(reader, from).next().transpose()
}

/// Entries of a domain that are due.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Due {
    /// Those that have been due longest, in the order of their places.
    pub entries: Vec<Scheduled>,
    /// The first one behind them, due or not; none when nothing else waits.
    pub next: Option<Scheduled>,
}

/// The entries of a domain that are due at `now` (seconds since 1970), at most `count_max`; only those at `from` or behind,
/// as for [`first`]. Held ones are never due.
pub fn due(reader: &Reader, from: Scheduled, now: i64, count_max: usize) -> Result<Due, StoreError> {
    let mut entries = Vec::new();
    for entry in rows(reader, from) {
        let entry = entry?;
        if entry.due > now || entries.len() == count_max {
            return Ok(Due { entries, next: Some(entry) });
        }
        entries.push(entry);
    }
    Ok(Due { entries, next: None })
}

/// What can be due for the domain of `from`, there or behind.
fn rows(reader: &Reader, from: Scheduled) -> impl Iterator<Item = Result<Scheduled, StoreError>> + '_ {
    let Scheduled { domain, due, id } = from;
    let (first, end) = (keys::queue_due(domain, due, id), keys::queue_due(domain, UNDERWAY, QueueId(0)));
    let rows = reader.snapshot().range(Space::Rows, Bound::Included(&first), Bound::Excluded(&end));
    rows.map(|row| Scheduled::from_key(&row?.0))
}

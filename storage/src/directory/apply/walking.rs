//! Point reads that follow each other walk.
//!
//! The passes go over their rows in order, so what they look up elsewhere is often in order, too, one row behind
//! the other. To step to the next row costs a tenth of looking it up, and a look that finds nothing costs nothing.
//! Where it isn't so, rows are looked up one by one; and also where a walk is slow: rows that were removed, as those
//! of an earlier document, are in its way for as long as the engine hasn't cleaned up.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::super::rows::{PREFIX_OCTETS, STAGED, WANTED};
use crate::engine::{Bytes, EngineError, Row, Rows, Snapshot, Space, prefix_end};

/// Rows that are stepped over for one that is asked for.
const STEPS_MAX: usize = 16;
/// Looks in ascending order before a walk begins; more after walks that were in vain.
const PATIENCE: u32 = 4;
const PATIENCE_MAX: u32 = 256;
/// A walk that answered so many times was worth it.
const WORTH: u32 = 32;
/// A walk that takes so much of a processor to its first row is the last one in its table.
const SLOW: Duration = Duration::from_millis(1);
/// Walks in one table: an account has its addresses in several places.
const WALKS: usize = 2;

/// The tables in which walks are slow.
pub(super) type Unwalkable = BTreeSet<Vec<u8>>;

/// A snapshot, for one step.
pub(super) struct Walking<'a> {
    below: &'a dyn Snapshot,
    state: Mutex<State<'a>>,
}

struct State<'a> {
    tables: BTreeMap<Vec<u8>, [Walk<'a>; WALKS]>,
    unwalkable: Unwalkable,
}

/// Looks at one place of a table after the other.
struct Walk<'a> {
    /// The key that was asked for last.
    last: Vec<u8>,
    rows: Option<Rows<'a>>,
    /// The row that the walk stands at: the first that isn't before `last`.
    at: Option<Row>,
    ascending: u32,
    patience: u32,
    answers: u32,
    slow: bool,
}

impl Default for Walk<'_> {
    fn default() -> Self {
        Self {
            last: Vec::new(),
            rows: None,
            at: None,
            ascending: 0,
            patience: PATIENCE,
            answers: 0,
            slow: false,
        }
    }
}

impl<'a> Walking<'a> {
    pub(super) const fn new(below: &'a dyn Snapshot, unwalkable: Unwalkable) -> Self {
        Self { below, state: Mutex::new(State { tables: BTreeMap::new(), unwalkable }) }
    }

    /// What the snapshot of the next step is to know.
    pub(super) fn unwalkable(&self) -> Unwalkable {
        std::mem::take(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner).unwalkable)
    }
}

impl Snapshot for Walking<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let Some(table) = table(key).filter(|_| space == Space::Rows) else {
            return self.below.get(space, key);
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { tables, unwalkable } = &mut *state;
        if unwalkable.contains(table) {
            return self.below.get(space, key);
        }
        if !tables.contains_key(table) {
            tables.insert(table.to_vec(), Default::default());
        }
        let Some(walks) = tables.get_mut(table) else { return self.below.get(space, key) };
        // The one that comes nearest; otherwise the one that is furthest on begins anew.
        let nearest =
            walks.iter_mut().filter(|walk| walk.last[..] <= *key).max_by(|a, b| a.last.cmp(&b.last));
        let Some(walk) = nearest else {
            if let Some(walk) = walks.iter_mut().max_by(|a, b| a.last.cmp(&b.last)) {
                walk.begin_anew(key);
            }
            return self.below.get(space, key);
        };
        let found = walk.ahead(self.below, table, key);
        if walk.slow {
            tables.remove(table);
            unwalkable.insert(table.to_vec());
        }
        found
    }

    fn range<'a>(&'a self, space: Space, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Rows<'a> {
        self.below.range(space, from, to)
    }
}

/// The start of the keys that belong together: those of a table, and in two of them those of a kind.
fn table(key: &[u8]) -> Option<&[u8]> {
    let kind = matches!(key.get(PREFIX_OCTETS - 1), Some(&STAGED | &WANTED));
    key.get(..PREFIX_OCTETS + usize::from(kind))
}

impl<'a> Walk<'a> {
    /// Looks up a key that isn't before the last one.
    fn ahead(
        &mut self,
        below: &'a dyn Snapshot,
        table: &[u8],
        key: &[u8],
    ) -> Result<Option<Bytes>, EngineError> {
        key.clone_into(&mut self.last);
        if self.rows.is_none() {
            self.ascending += 1;
            if self.ascending <= self.patience {
                return below.get(Space::Rows, key);
            }
            let end = prefix_end(table);
            let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let begun = processor_time();
            let rows = self.rows.insert(below.range(Space::Rows, Bound::Included(key), to));
            self.at = rows.next().transpose()?;
            self.slow = processor_time() - begun > SLOW;
            self.answers = 0;
        }
        for _ in 0..STEPS_MAX {
            // Behind the last row of the table is nothing.
            let Some((at, value)) = &self.at else { return Ok(None) };
            if at[..] >= *key {
                let found = (at[..] == *key).then(|| value.clone());
                self.answers = self.answers.saturating_add(1);
                if self.answers == WORTH {
                    self.patience = PATIENCE;
                }
                return Ok(found);
            }
            self.at = self.rows.as_mut().and_then(Iterator::next).transpose()?;
        }
        if self.answers < WORTH {
            self.patience = (self.patience * 2).min(PATIENCE_MAX);
        }
        self.begin_anew(key);
        below.get(Space::Rows, key)
    }

    fn begin_anew(&mut self, key: &[u8]) {
        key.clone_into(&mut self.last);
        (self.rows, self.at, self.ascending) = (None, None, 0);
    }
}

/// The processor time of this thread: on a busy machine other time says little.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;
    use crate::engine::memory::MemoryEngine;
    use crate::engine::{Batch, Durability, Engine};

    /// Counts what is asked of it.
    struct Counting {
        below: Box<dyn Snapshot>,
        gets: AtomicUsize,
        ranges: AtomicUsize,
        /// What a range takes to begin.
        pause: Duration,
    }

    impl Snapshot for Counting {
        fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
            self.gets.fetch_add(1, Relaxed);
            self.below.get(space, key)
        }

        fn range<'a>(&'a self, space: Space, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Rows<'a> {
            self.ranges.fetch_add(1, Relaxed);
            let begun = processor_time();
            while processor_time() - begun < self.pause {
                std::hint::spin_loop();
            }
            self.below.range(space, from, to)
        }
    }

    fn key(table: u8, number: u32) -> Vec<u8> {
        [&[0, 0, 0, 0, table][..], &number.to_be_bytes()].concat()
    }

    /// Every third number of two tables.
    fn counting() -> Counting {
        let engine = MemoryEngine::new();
        let mut batch = Batch::new();
        for number in 0..3000 {
            for table in [0x42, 0x44] {
                batch.insert(Space::Rows, key(table, 3 * number), number.to_be_bytes());
            }
        }
        engine.commit(batch, Durability::Buffered).unwrap();
        Counting {
            below: engine.snapshot(),
            gets: AtomicUsize::new(0),
            ranges: AtomicUsize::new(0),
            pause: Duration::ZERO,
        }
    }

    #[test]
    fn what_is_asked_for_in_order_is_walked() {
        let counting = counting();
        let walking = Walking::new(&counting, Unwalkable::new());
        for number in 0..9000 {
            // Two places of one table in turn, and another table.
            for key in [key(0x42, number), key(0x42, number + 100_000), key(0x44, number / 2)] {
                let found = walking.get(Space::Rows, &key).unwrap();
                assert_eq!(found, counting.below.get(Space::Rows, &key).unwrap(), "{key:?}");
            }
        }
        let (gets, ranges) = (counting.gets.load(Relaxed), counting.ranges.load(Relaxed));
        assert!(gets < 50 && ranges <= 4, "{gets} rows were looked up, and {ranges} walks begun");
    }

    #[test]
    fn where_walks_are_slow_rows_are_looked_up() {
        let counting = Counting { pause: 2 * SLOW, ..counting() };
        let mut unwalkable = Unwalkable::new();
        for step in 0..10 {
            let walking = Walking::new(&counting, unwalkable);
            for number in 0..100 {
                let key = key(0x42, 100 * step + number);
                let found = walking.get(Space::Rows, &key).unwrap();
                assert_eq!(found, counting.below.get(Space::Rows, &key).unwrap(), "{key:?}");
            }
            unwalkable = walking.unwalkable();
        }
        assert_eq!(counting.ranges.load(Relaxed), 1, "one walk is enough to know");
        assert_eq!(unwalkable.len(), 1);
    }

    #[test]
    fn what_is_asked_for_in_any_order_is_found() {
        let counting = counting();
        let walking = Walking::new(&counting, Unwalkable::new());
        let mut chance = 1_u64;
        for _ in 0..20_000 {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let number = (chance >> 33) as u32 % 9100;
            for key in [key(0x42, number), key(0x42, number), key(0x43, number)] {
                let found = walking.get(Space::Rows, &key).unwrap();
                assert_eq!(found, counting.below.get(Space::Rows, &key).unwrap(), "{key:?}");
            }
        }
        let ranges = counting.ranges.load(Relaxed);
        assert!(ranges < 2000, "{ranges} walks were begun in vain");
    }
}

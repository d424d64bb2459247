//! Accounts in order, each with a reader that knows its rows already when they are few.
//!
//! A check of an account looks for rows in some thirty places, and in a store of hundreds of thousands of small
//! accounts nearly all of these looks find nothing: each costs a seek in all tables of the engine. So all rows
//! are walked once, and those of an account that has few are kept while it is checked.

use std::iter::Peekable;
use std::num::NonZeroU32;
use std::ops::Bound;
use std::sync::Arc;

use crate::engine::{Bytes, EngineError, Row, Rows, Snapshot, Space, prefix_end};
use crate::ids::AccountId;
use crate::keys::{self, BadKey};
use crate::reader::Reader;
use crate::store::StoreError;

/// Rows of an account that are kept, and octets of them.
pub(super) const ROWS_MAX: usize = 2048;
pub(super) const OCTETS_MAX: usize = 1 << 20;

/// The accounts that have rows, ascending.
pub(super) struct Accounts<'a> {
    snapshot: &'a Arc<dyn Snapshot>,
    rows: Peekable<Rows<'a>>,
}

impl<'a> Accounts<'a> {
    /// All of them.
    pub(super) fn of(snapshot: &'a Arc<dyn Snapshot>) -> Self {
        Self { snapshot, rows: rows_from(snapshot, NonZeroU32::MIN.get()).peekable() }
    }

    /// The next account, and a reader of the whole snapshot to check it with.
    fn account(&mut self) -> Result<Option<(AccountId, Reader)>, StoreError> {
        let Some(first) = self.rows.next().transpose()? else { return Ok(None) };
        let account = AccountId::new(keys::split(&first.0)?.0).ok_or_else(|| BadKey(first.0.to_vec()))?;
        let owner = keys::owner(account.get());
        let (mut rows, mut octets) = (Vec::new(), first.0.len() + first.1.len());
        rows.push(first);
        while let Some(row) =
            self.rows.next_if(|row| row.as_ref().map_or(true, |(key, _)| key.starts_with(&owner)))
        {
            let (key, value) = row?;
            octets += key.len() + value.len();
            rows.push((key, value));
            if rows.len() > ROWS_MAX || octets > OCTETS_MAX {
                // The check itself will read them, and the walk goes on behind them.
                self.rows = match account.get().checked_add(1) {
                    Some(next) => rows_from(self.snapshot, next).peekable(),
                    None => (Box::new(std::iter::empty()) as Rows<'a>).peekable(),
                };
                return Ok(Some((account, Reader::new(Box::new(Arc::clone(self.snapshot))))));
            }
        }
        let window = Window { below: Arc::clone(self.snapshot), end: prefix_end(&owner), owner, rows };
        Ok(Some((account, Reader::new(Box::new(window)))))
    }
}

impl Iterator for Accounts<'_> {
    type Item = Result<(AccountId, Reader), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.account().transpose()
    }
}

fn rows_from(snapshot: &Arc<dyn Snapshot>, owner: u32) -> Rows<'_> {
    snapshot.range(Space::Rows, Bound::Included(&keys::owner(owner)), Bound::Unbounded)
}

/// A snapshot of which the rows of one owner are at hand.
struct Window {
    below: Arc<dyn Snapshot>,
    owner: Vec<u8>,
    /// Behind the last key that the owner can have.
    end: Option<Vec<u8>>,
    /// All rows of the owner, in order.
    rows: Vec<Row>,
}

impl Window {
    /// Whether a range is of the owner's rows only.
    fn covers(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
        let begins = match from {
            Bound::Included(from) | Bound::Excluded(from) => from.starts_with(&self.owner),
            Bound::Unbounded => false,
        };
        let ends = match (to, self.end.as_deref()) {
            (Bound::Included(to), _) => to.starts_with(&self.owner),
            (Bound::Excluded(to), Some(end)) => to <= end,
            (Bound::Excluded(_) | Bound::Unbounded, None) => true,
            (Bound::Unbounded, Some(_)) => false,
        };
        begins && ends
    }
}

impl Snapshot for Window {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        if space != Space::Rows || !key.starts_with(&self.owner) {
            return self.below.get(space, key);
        }
        let at = self.rows.binary_search_by(|(other, _)| other.as_slice().cmp(key)).ok();
        Ok(at.and_then(|at| self.rows.get(at)).map(|(_, value)| value.clone()))
    }

    fn range<'a>(&'a self, space: Space, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Rows<'a> {
        if space != Space::Rows || !self.covers(from, to) {
            return self.below.range(space, from, to);
        }
        let first = self.rows.partition_point(|(key, _)| match from {
            Bound::Included(from) => key[..] < *from,
            Bound::Excluded(from) => key[..] <= *from,
            Bound::Unbounded => false,
        });
        let end = self.rows.partition_point(|(key, _)| match to {
            Bound::Included(to) => key[..] <= *to,
            Bound::Excluded(to) => key[..] < *to,
            Bound::Unbounded => true,
        });
        // A reversed range has none.
        Box::new(self.rows.get(first..end).unwrap_or_default().iter().cloned().map(Ok))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::engine::memory::MemoryEngine;
    use crate::engine::{Batch, Durability, Engine};

    fn key(owner: u32, number: u32) -> Vec<u8> {
        [&owner.to_be_bytes()[..], &[1], &number.to_be_bytes()].concat()
    }

    /// Accounts with so many rows of so many octets each.
    fn world(accounts: &[(u32, usize, usize)]) -> Arc<dyn Snapshot> {
        let engine = MemoryEngine::new();
        let mut batch = Batch::new();
        batch.insert(Space::Rows, key(0, 7), b"of the system");
        for (account, rows, octets) in accounts {
            for number in 0..*rows {
                batch.insert(Space::Rows, key(*account, number as u32), vec![1; *octets]);
            }
        }
        engine.commit(batch, Durability::Buffered).unwrap();
        engine.snapshot().into()
    }

    fn all(snapshot: &dyn Snapshot, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Vec<Row> {
        let forward: Vec<Row> = snapshot.range(Space::Rows, from, to).map(Result::unwrap).collect();
        let mut backward: Vec<Row> =
            snapshot.range(Space::Rows, from, to).rev().map(Result::unwrap).collect();
        backward.reverse();
        assert_eq!(forward, backward);
        forward
    }

    #[test]
    fn each_account_comes_once_with_a_reader_that_shows_all_there_is() {
        let few = OCTETS_MAX / 16 - 9;
        let snapshot = world(&[
            (1, 3, 10),
            (2, ROWS_MAX, 1),
            (3, ROWS_MAX + 1, 1),
            (4, 16, few),
            (5, 16, few + 1),
            (u32::MAX, 2, 5),
        ]);
        let mut seen = Vec::new();
        for account in Accounts::of(&snapshot) {
            let (account, reader) = account.unwrap();
            seen.push(account.get());
            let (own, next) = (keys::owner(account.get()), prefix_end(&keys::owner(account.get())));
            let (first, some) = (key(account.get(), 1), key(account.get(), 9));
            let end = next.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            for (from, to) in [
                (Bound::Included(&own[..]), end),
                (Bound::Excluded(&first[..]), Bound::Included(&some[..])),
                (Bound::Included(&first[..]), Bound::Excluded(&some[..])),
                (Bound::Included(&some[..]), Bound::Excluded(&first[..])),
                (Bound::Unbounded, Bound::Included(&first[..])),
                (Bound::Included(&first[..]), Bound::Unbounded),
                (Bound::Included(&key(0, 0)[..]), end),
            ] {
                assert_eq!(all(reader.snapshot(), from, to), all(&*snapshot, from, to), "{from:?} {to:?}");
            }
            for key in [first, some, key(0, 7), key(0, 8), key(1, 2), key(account.get(), 5000)] {
                assert_eq!(reader.get(&key).unwrap(), snapshot.get(Space::Rows, &key).unwrap());
            }
        }
        assert_eq!(seen, [1, 2, 3, 4, 5, u32::MAX]);
    }

    #[test]
    fn what_is_kept_of_an_account_is_bounded() {
        /// Counts the looks that come through.
        struct Counting(Arc<dyn Snapshot>, std::sync::atomic::AtomicUsize);
        impl Snapshot for Counting {
            fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
                self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                self.0.get(space, key)
            }

            fn range<'a>(&'a self, space: Space, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Rows<'a> {
                self.0.range(space, from, to)
            }
        }
        let octets = OCTETS_MAX / 16 - 9;
        for (rows, octets, kept) in
            [(ROWS_MAX, 1, true), (ROWS_MAX + 1, 1, false), (16, octets, true), (16, octets + 1, false)]
        {
            let counting = Arc::new(Counting(world(&[(1, rows, octets), (2, 1, 1)]), 0.into()));
            let snapshot: Arc<dyn Snapshot> = Arc::clone(&counting) as _;
            let (_, reader) = Accounts::of(&snapshot).next().unwrap().unwrap();
            reader.get(&key(1, 0)).unwrap().unwrap();
            assert_eq!(counting.1.load(std::sync::atomic::Ordering::Relaxed) == 0, kept, "{rows} {octets}");
        }
    }
}

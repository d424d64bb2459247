//! The engine on disk, the committer on top of it, and what crashes leave, tested from outside.
#![expect(clippy::unwrap_used, reason = "a failed test may panic")]

mod child;
mod committer;
mod crash;
mod failing;
mod model;
mod torn;
mod upkeep;

use postrider_storage::engine::fjall::{FjallEngine, Options};
use postrider_storage::engine::{Batch, Snapshot, Space};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;

/// Options with small tables, so that little data already flushes.
fn small(path: &Path) -> Options {
    Options {
        cache_octets: 1024 * 1024,
        rows_memtable_octets: 16 * 1024,
        blobs_memtable_octets: 64 * 1024,
        ..Options::at(path)
    }
}

fn open(path: &Path) -> FjallEngine {
    FjallEngine::open(Options::at(path)).unwrap()
}

/// All rows of a space.
fn all(snapshot: &dyn Snapshot, space: Space) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let rows = snapshot.range(space, Bound::Unbounded, Bound::Unbounded);
    rows.map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap()).collect()
}

/// Pseudo-random numbers that a failing test can repeat.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Octets, half of them compressible.
    fn octets(&mut self, length: usize) -> Vec<u8> {
        let plain = self.below(2) == 0;
        (0..length).map(|at| if plain { b"mail text "[at % 10] } else { self.next() as u8 }).collect()
    }
}

/// The batch of a numbered message: one chunk of content and two rows, which belong together.
fn message(number: u64, content: &[u8]) -> Batch {
    let mut batch = Batch::new();
    batch.insert(Space::Blobs, number.to_be_bytes(), content);
    batch.insert(Space::Rows, row_key(1, number), number.to_le_bytes());
    batch.insert(Space::Rows, row_key(2, number), (content.len() as u64).to_le_bytes());
    batch
}

fn row_key(table: u8, number: u64) -> Vec<u8> {
    let mut key = vec![0, 0, 0, 1, table];
    key.extend(number.to_be_bytes());
    key
}

/// Whether the numbered message is there; panics when only a part of it is.
fn has_message(snapshot: &dyn Snapshot, number: u64) -> bool {
    let content = snapshot.get(Space::Blobs, &number.to_be_bytes()).unwrap();
    let first = snapshot.get(Space::Rows, &row_key(1, number)).unwrap();
    let second = snapshot.get(Space::Rows, &row_key(2, number)).unwrap();
    match (content, first, second) {
        (Some(content), Some(first), Some(second)) => {
            assert_eq!(first[..], number.to_le_bytes());
            assert_eq!(second[..], (content.len() as u64).to_le_bytes());
            true
        }
        (None, None, None) => false,
        parts => panic!("message {number} is there in part: {parts:?}"),
    }
}

//! The ordered key-value engine below the schema: two spaces, atomic batches, snapshots.
//!
//! Two engines do the same: [`fjall`] keeps the store on disk, [`memory`] is the model that tests compare it
//! with, and the place where tests inject faults. Everything here blocks; only the committer thread calls
//! [`Engine::commit`].
//!
//! What always holds: a batch is seen whole or not at all, also after a crash; a snapshot never changes; a
//! batch that was committed with [`Durability::Synced`] survives power loss, and with it every batch that was
//! committed before it.

mod batch;
mod bytes;
pub mod fjall;
pub mod memory;

pub use batch::{BATCH_OCTETS_MAX, Batch, KEY_OCTETS_MAX, VALUE_OCTETS_MAX, WRITE_OVERHEAD_OCTETS, Write};
pub use bytes::Bytes;

pub use crate::error::EngineError;
use std::ops::Bound;

/// The two key spaces of a store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Space {
    /// All small rows.
    Rows,
    /// Message content in chunks.
    Blobs,
}

/// When a commit is done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Durability {
    /// When it is visible and handed to the operating system. It survives a crash of the process; power loss
    /// may take it, together with everything later, until the next synced commit.
    Buffered,
    /// When it is on the disk, together with everything before it.
    Synced,
}

/// One life of the opened engine. It grows when the engine is reopened in-process after a failed write;
/// batches that were only [`Durability::Buffered`] in an earlier life may be gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Incarnation(pub u64);

/// A row of a range.
pub type Row = (Bytes, Bytes);

/// Rows in key order, from both ends.
pub type Rows<'a> = Box<dyn DoubleEndedIterator<Item = Result<Row, EngineError>> + Send + 'a>;

/// An ordered key-value engine.
pub trait Engine: Send + Sync {
    /// The committed state of this moment. Keep snapshots short-lived: they pin disk space.
    fn snapshot(&self) -> Box<dyn Snapshot>;

    /// Applies `batch` atomically. After [`EngineError::Bounds`] the engine goes on, after any other error it
    /// is poisoned: whether the batch is there after reopening is not known.
    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), EngineError>;

    /// Makes every batch durable that was committed before.
    fn sync(&self) -> Result<(), EngineError>;

    /// Whether a read that begins now may have to wait for the disk's syncs, because the engine is putting
    /// tables in place, or is about to. Takes no lock that is held for long: threads that must not wait ask
    /// this first, and leave the read to another thread when it may.
    fn reads_may_wait(&self) -> bool;

    /// What the engine uses at the moment.
    fn stats(&self) -> EngineStats;

    /// As [`EngineStats::outstanding_flushes`], at no cost: who writes much pauses while there are some.
    fn outstanding_flushes(&self) -> u64 {
        0
    }

    /// The present life.
    fn incarnation(&self) -> Incarnation;

    /// Grows with each change of the directory, and when the engine is opened again: what is remembered of the directory
    /// counts for one number. It is odd from before a change can be seen until it can be, which is before its commit returns.
    fn directory_version(&self) -> u64;

    /// Closes and opens again, in-process, after a failed write. Everything that was ever synced is there
    /// again. Snapshots from before stay readable or fail; they never show anything else.
    fn reopen(&self) -> Result<(), EngineError>;

    /// Rewrites `space` so that removed and replaced values give their disk space back. Blocks, for seconds
    /// in a large store; reads and commits go on meanwhile.
    fn compact(&self, space: Space) -> Result<(), EngineError>;
}

/// An unchanging view of the store.
pub trait Snapshot: Send + Sync {
    /// The value at `key`.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError>;

    /// All rows between two bounds, in key order, from both ends. An empty or reversed range has none.
    fn range<'a>(&'a self, space: Space, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Rows<'a>;

    /// All rows whose key begins with `prefix`; an empty prefix is all rows.
    fn prefix<'a>(&'a self, space: Space, prefix: &[u8]) -> Rows<'a> {
        match prefix_end(prefix) {
            Some(end) => self.range(space, Bound::Included(prefix), Bound::Excluded(&end)),
            None => self.range(space, Bound::Included(prefix), Bound::Unbounded),
        }
    }

    /// Whether `key` exists.
    fn contains(&self, space: Space, key: &[u8]) -> Result<bool, EngineError> {
        Ok(self.get(space, key)?.is_some())
    }
}

impl<S: Snapshot + ?Sized> Snapshot for &S {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        (**self).get(space, key)
    }

    fn range<'a>(&'a self, space: Space, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Rows<'a> {
        (**self).range(space, from, to)
    }
}

impl<S: Snapshot + ?Sized> Snapshot for Box<S> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        (**self).get(space, key)
    }

    fn range<'a>(&'a self, space: Space, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Rows<'a> {
        (**self).range(space, from, to)
    }
}

impl<S: Snapshot + ?Sized> Snapshot for std::sync::Arc<S> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        (**self).get(space, key)
    }

    fn range<'a>(&'a self, space: Space, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Rows<'a> {
        (**self).range(space, from, to)
    }
}

/// What an engine uses. Sizes are octets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EngineStats {
    /// Memory that holds writes which are not yet in tables.
    pub write_buffer_octets: u64,
    /// Memory tables that wait to be written.
    pub outstanding_flushes: u64,
    /// Disk space of all journal files, as allocated; they are sparse.
    pub journal_octets: u64,
    /// Journal files.
    pub journal_count: u64,
    /// Disk space of everything, as the engine counts it.
    pub disk_octets: u64,
    /// Disk space of the rows' tables.
    pub rows_octets: u64,
    /// Disk space of the blobs' tables and blob files.
    pub blobs_octets: u64,
    /// Blob files.
    pub blob_files: u64,
    /// Octets in blob files that no key refers to any more, as far as compactions have found out.
    pub blob_garbage_octets: u64,
    /// Octets in the block cache.
    pub cache_octets: u64,
    /// Compactions that run at the moment.
    pub compactions_running: u64,
    /// True when the engine refuses writes since one failed.
    pub poisoned: bool,
}

/// The first key behind all keys that begin with `prefix`; none when there is no such key.
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&octet| octet != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// True when no key can lie between the bounds. `BTreeMap` panics on these, so every engine asks first.
fn is_empty_range(from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
    match (from, to) {
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to))
        | (Bound::Excluded(from), Bound::Included(to)) => from >= to,
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_carries_over_trailing_ff() {
        assert_eq!(prefix_end(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(prefix_end(&[1, 0xff, 0xff]), Some(vec![2]));
        assert_eq!(prefix_end(&[0xff, 0xff]), None);
        assert_eq!(prefix_end(b""), None);
    }
}

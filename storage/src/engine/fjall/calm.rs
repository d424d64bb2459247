//! Knows when a read may have to wait for the crate's background work.
//!
//! Every read takes a lock of its keyspace for a moment. A flush or compaction takes the same lock for
//! itself when it puts its tables in place, and keeps it over several syncs: of the last table that was
//! written, of the new list of tables, of directories. On a busy disk that is tens of milliseconds.
//! The crate doesn't say when; but it can be known that nothing of the kind is under way.

use ::fjall::{AbstractTree, Database, Keyspace};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What was last seen of the memory tables, and what runs on demand.
#[derive(Default)]
pub(super) struct Calm {
    /// Octets in memory tables that no flush takes before the next write: more than these means that some
    /// wait to be flushed, or are being flushed.
    staying: AtomicU64,
    /// Compactions that were asked for; the crate doesn't count these.
    on_demand: AtomicUsize,
}

/// A compaction on demand runs for as long as this lives.
pub(super) struct Compacting<'a>(&'a Calm);

impl Drop for Compacting<'_> {
    fn drop(&mut self) {
        self.0.on_demand.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Calm {
    /// Looks at memory tables, given with the size at which they are flushed. The one thread that writes
    /// calls it after each batch; it may wait.
    pub fn note_written(&self, keyspaces: [(&Keyspace, u64); 2]) {
        let staying = |(keyspace, octets_max): (&Keyspace, u64)| {
            let octets = keyspace.tree.active_memtable().size();
            // A full one is about to be flushed.
            if octets > octets_max { 0 } else { octets }
        };
        self.staying.store(keyspaces.map(staying).iter().sum(), Ordering::Release);
    }

    /// Counts a compaction on demand.
    pub fn compacting(&self) -> Compacting<'_> {
        self.on_demand.fetch_add(1, Ordering::AcqRel);
        Compacting(self)
    }

    /// Whether a flush or compaction is under way or due. Reads counters only.
    pub fn reads_may_wait(&self, db: &Database) -> bool {
        self.on_demand.load(Ordering::Acquire) > 0
            || db.active_compactions() > 0
            || db.write_buffer_size() > self.staying.load(Ordering::Acquire)
    }
}

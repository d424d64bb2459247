//! An engine that takes its time for commits and counts what is read.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use postrider_storage::engine::memory::MemoryEngine;
use postrider_storage::engine::{
    Batch, Bytes, Durability, Engine, EngineError, EngineStats, Incarnation, Rows, Snapshot, Space,
};

/// The engine in memory, watched.
#[derive(Default)]
pub(super) struct Probe {
    pub(super) memory: MemoryEngine,
    /// Microseconds between a batch's appearance and the end of its sync.
    pub(super) sync_micros: AtomicU64,
    rows: Arc<AtomicU64>,
    /// How many reads from now the one is that fails; 0: none does.
    failing: Arc<AtomicU64>,
    asked: AtomicU64,
}

impl Probe {
    /// Makes the `nth` read from now fail, once; 0 takes that back. Gives how many were left of an earlier order.
    pub(super) fn fail_read(&self, nth: u64) -> u64 {
        self.failing.swap(nth, Ordering::Relaxed)
    }

    /// Rows that were read so far.
    pub(super) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }
}

impl Engine for Probe {
    fn snapshot(&self) -> Box<dyn Snapshot> {
        let (rows, failing) = (Arc::clone(&self.rows), Arc::clone(&self.failing));
        Box::new(Counting { inner: self.memory.snapshot(), rows, failing })
    }

    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), EngineError> {
        self.memory.commit(batch, durability)?;
        let micros = self.sync_micros.load(Ordering::Relaxed);
        if micros > 0 {
            std::thread::sleep(Duration::from_micros(micros));
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.memory.sync()
    }

    /// In turn, so that both ways of reading are taken.
    fn reads_may_wait(&self) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed) % 2 == 1
    }

    fn stats(&self) -> EngineStats {
        self.memory.stats()
    }

    fn incarnation(&self) -> Incarnation {
        self.memory.incarnation()
    }

    fn directory_version(&self) -> u64 {
        self.memory.directory_version()
    }

    fn reopen(&self) -> Result<(), EngineError> {
        self.memory.reopen()
    }

    fn compact(&self, space: Space) -> Result<(), EngineError> {
        self.memory.compact(space)
    }
}

struct Counting {
    inner: Box<dyn Snapshot>,
    rows: Arc<AtomicU64>,
    failing: Arc<AtomicU64>,
}

impl Counting {
    /// Counts a read, and fails it when it is its turn.
    fn read<T>(&self, read: Result<T, EngineError>) -> Result<T, EngineError> {
        self.rows.fetch_add(1, Ordering::Relaxed);
        let down = |left: u64| left.checked_sub(1);
        if self.failing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, down) == Ok(1) {
            return Err(EngineError::io("reading", std::io::Error::other("injected fault")));
        }
        read
    }
}

impl Snapshot for Counting {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.read(self.inner.get(space, key))
    }

    fn range<'a>(&'a self, space: Space, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Rows<'a> {
        Box::new(self.inner.range(space, from, to).map(|row| self.read(row)))
    }
}

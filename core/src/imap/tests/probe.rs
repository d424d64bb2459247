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
}

impl Probe {
    /// Rows that were read so far.
    pub(super) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }
}

impl Engine for Probe {
    fn snapshot(&self) -> Box<dyn Snapshot> {
        Box::new(Counting { inner: self.memory.snapshot(), rows: Arc::clone(&self.rows) })
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

    fn stats(&self) -> EngineStats {
        self.memory.stats()
    }

    fn incarnation(&self) -> Incarnation {
        self.memory.incarnation()
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
}

impl Snapshot for Counting {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.rows.fetch_add(1, Ordering::Relaxed);
        self.inner.get(space, key)
    }

    fn range<'a>(&'a self, space: Space, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Rows<'a> {
        Box::new(self.inner.range(space, from, to).inspect(|_| {
            self.rows.fetch_add(1, Ordering::Relaxed);
        }))
    }
}

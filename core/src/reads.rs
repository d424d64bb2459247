//! Short reads of the store that don't hold up a shard.
//!
//! A read takes microseconds, unless the engine just puts tables in place: then it waits for several syncs of
//! the disk. The engine says when that may be (`Engine::reads_may_wait`); then the read is left to another
//! thread, and the shard goes on with its other tasks.

use std::sync::Arc;

use postrider_storage::reader::Reader;
use postrider_storage::store::{Store, StoreError};

use crate::runtime::Pool;

/// Reads the store for a shard.
#[derive(Clone)]
pub struct Reads {
    store: Arc<Store>,
    pool: Pool,
}

impl Reads {
    /// Reads of `store`; `pool` waits when one has to wait.
    pub const fn new(store: Arc<Store>, pool: Pool) -> Self {
        Self { store, pool }
    }

    /// The threads that wait in the place of shards: for short work only.
    pub const fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Runs a read of a millisecond at most.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        if !self.store.engine().reads_may_wait() {
            return work(&self.store.reader());
        }
        let store = Arc::clone(&self.store);
        let done = self.pool.run_anyway(move || work(&store.reader())).await;
        // The panic was logged where it happened.
        done.unwrap_or(Err(StoreError::Inconsistent("a read panicked")))
    }

    /// Waits until the store can be read without waiting, for a moment at least: what is read right after this
    /// hardly ever waits. For reads that are too rare or too entangled to be handed to another thread.
    pub async fn calm(&self) {
        if self.store.engine().reads_may_wait() {
            let store = Arc::clone(&self.store);
            // When it fails, the read that follows does so too, and says why.
            let _ = self.pool.run_anyway(move || store.touch()).await;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::thread::ThreadId;

    use postrider_storage::engine::memory::MemoryEngine;

    use super::*;
    use crate::runtime::tests::on_shard;
    use crate::runtime::{PoolLimits, Priority};

    /// Reads of an empty store, and its engine.
    pub(crate) fn of_nothing() -> (Reads, Arc<MemoryEngine>) {
        let engine = Arc::new(MemoryEngine::new());
        let store = Arc::new(Store::open(Arc::clone(&engine) as _).unwrap());
        let pool = Pool::start("test", PoolLimits { threads: 1, queue_max: 1 }, Priority::Usual).unwrap();
        (Reads::new(store, pool), engine)
    }

    async fn read_on(reads: &Reads) -> ThreadId {
        reads.run(|_| Ok(std::thread::current().id())).await.unwrap()
    }

    #[test]
    fn a_read_that_may_wait_leaves_the_shard_alone() {
        on_shard(|| async {
            let (reads, engine) = of_nothing();
            let here = std::thread::current().id();
            assert_eq!(read_on(&reads).await, here);
            engine.say_reads_may_wait(true);
            assert_ne!(read_on(&reads).await, here);
            reads.calm().await;
            let panicked = reads.run(|_| -> Result<(), StoreError> { panic!("as the test wants") }).await;
            assert!(matches!(panicked, Err(StoreError::Inconsistent(_))));
            assert_ne!(read_on(&reads).await, here, "the thread lives on");
        });
    }
}

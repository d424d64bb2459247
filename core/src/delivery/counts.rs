//! How much waits in the queue: counted once from what was there at the start, and kept up by every change.

use std::sync::atomic::{AtomicI64, Ordering};

use postrider_storage::ids::QueueId;
use postrider_storage::queue::{Delta, count_some};
use postrider_storage::reader::Reader;
use tracing::error;

use crate::runtime::sleep;
use crate::shard::Shard;

/// Entries that one step counts.
const STEP: usize = 2000;
/// The pause between two steps.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(2);

/// What waits.
#[derive(Debug, Default)]
pub struct Counts {
    entries: AtomicI64,
    recipients: AtomicI64,
    held: AtomicI64,
}

impl Counts {
    /// Adds what a committed change changed.
    pub fn add(&self, delta: Delta) {
        self.entries.fetch_add(delta.entries, Ordering::Relaxed);
        self.recipients.fetch_add(delta.recipients, Ordering::Relaxed);
        self.held.fetch_add(delta.held, Ordering::Relaxed);
    }

    /// What waits now; while the first count is under way, less.
    pub fn get(&self) -> Delta {
        let get = |count: &AtomicI64| count.load(Ordering::Relaxed).max(0);
        Delta { entries: get(&self.entries), recipients: get(&self.recipients), held: get(&self.held) }
    }
}

/// Counts what was there when `before` was taken. What changed since is added by those who change it.
pub(super) async fn count(shard: &Shard, before: Reader) {
    let before = std::sync::Arc::new(before);
    let mut from = QueueId(0);
    while !shard.shared.shutdown.is_stopping() {
        let reader = std::sync::Arc::clone(&before);
        let counted = shard.shared.pool.run_anyway(move || count_some(&reader, from, STEP)).await;
        let counted = match counted {
            Ok(Ok(counted)) => counted,
            Ok(Err(error)) => return error!(%error, "the queue can't be counted"),
            Err(_) => return,
        };
        let counts = counted.counts;
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        shard.shared.queue_counts.add(Delta {
            entries: signed(counts.entries),
            recipients: signed(counts.recipients),
            held: signed(counts.held),
        });
        match counted.next {
            Some(next) => from = next,
            None => return,
        }
        sleep(PAUSE).await;
    }
}

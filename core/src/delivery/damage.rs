//! Removing damaged entries of the queue, which operators name: nothing else takes them out of it.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use postrider_storage::engine::Durability;
use postrider_storage::ids::QueueId;
use postrider_storage::queue::{Edit, Removal, Traces, remove_damaged};
use tracing::warn;

use super::edits::Place;
use super::operate::{Trouble, tell};
use crate::commit;
use crate::shard::Shard;

/// What was done to damaged entries.
#[derive(Debug, Default)]
pub(crate) struct Removed {
    /// How many were removed.
    pub(crate) entries: u64,
    /// How many rows of recipients they had.
    pub(crate) recipients: u64,
    /// Those that can be read now, or of which more is damaged than was: once more.
    pub(crate) otherwise: Vec<QueueId>,
}

/// Removes damaged entries, which are of this shard, in one batch: while nobody else builds an edit of them, and in front of
/// the strays, which are told.
pub(crate) async fn remove(shard: &Rc<Shard>, traces: Vec<Traces>) -> Result<Removed, Trouble> {
    let (shared, deliveries) = (&shard.shared, &shard.deliveries);
    // No domain has the hash 0.
    let places: Vec<Place> = traces.iter().map(|one| (one.domain.unwrap_or(0), one.id)).collect();
    let editing = deliveries.edits.operate(&places).await;
    let store = Arc::clone(&shared.store);
    let built = shared.pool.run(move || {
        let reader = store.reader();
        let (mut all, mut removed, mut ids) = (Edit::default(), Removed::default(), Vec::new());
        for one in &traces {
            match remove_damaged(&reader, one)? {
                Removal::Removed { edit, recipients } => {
                    all.append(edit);
                    removed.entries += 1;
                    removed.recipients += u64::from(recipients);
                    ids.push((one.id, recipients));
                }
                Removal::Gone => {}
                Removal::Otherwise => removed.otherwise.push(one.id),
            }
        }
        Ok::<(Edit, Removed, Vec<(QueueId, u32)>), Trouble>((all, removed, ids))
    });
    let (edit, removed, ids) = built.await??;
    if !edit.batch.is_empty() {
        commit::commit(&shared.committer, edit.batch, Durability::Synced).await?;
        shared.queue_counts.add(edit.delta);
    }
    // Strays that are just being set right are not theirs: that has the same lock.
    let known = deliveries.strays.forget(ids.iter().map(|(id, _)| *id));
    shard.recorder.change(shared.metrics.queue.damaged, -i64::try_from(known).unwrap_or(0));
    drop(editing);
    for (id, recipients) in ids {
        warn!(entry = %id.0, recipients, "a damaged entry of the queue was removed by an operator; its message is lost, and nobody is told");
    }
    let domains: BTreeSet<u64> = places.iter().map(|(domain, _)| *domain).filter(|hash| *hash != 0).collect();
    tell(shard, domains, false).await?;
    Ok(removed)
}

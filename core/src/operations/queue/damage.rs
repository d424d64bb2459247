//! Removing damaged entries that are named.

use std::collections::BTreeMap;

use postrider_storage::ids::QueueId;
use postrider_storage::queue::{Search, Traces, shard_of};

use super::changes::{Changed, troubled};
use super::{ServerOperations, Teller, refused};
use crate::control::protocol::FailureKind;
use crate::control::{Exchange, OperationError, Transport};
use crate::delivery::damage;
use crate::runtime::ShardId;

/// Rows that one step looks at; so few in tests that there are several.
const LOOKED_AT_MAX: usize = if cfg!(test) { 2 } else { 20_000 };
/// Entries that are removed in one batch: each has at most some thousand rows.
const REMOVED_MAX: usize = 16;

impl ServerOperations {
    /// Removes what was found damaged. What lists the entries is looked for on the worker pool, for all of them together, and
    /// nobody is kept from anything by that.
    pub(super) async fn remove_damaged<T: Transport>(
        &self,
        changed: &mut Changed,
        exchange: &mut Exchange<T>,
    ) -> Result<(), OperationError> {
        if changed.damaged_ids.is_empty() {
            return Ok(());
        }
        let ids = std::mem::take(&mut changed.damaged_ids);
        // They were named, and no more of them can be than are kept.
        changed.damaged = 0;
        let shards = self.shard.shared.shards.len();
        let mut owned: BTreeMap<usize, Vec<Traces>> = BTreeMap::new();
        for traces in self.search(ids, exchange).await? {
            // Of which nobody knows the domain, nobody delivers.
            owned.entry(traces.domain.map_or(0, |domain| shard_of(domain, shards))).or_default().push(traces);
        }
        for (owner, all) in owned {
            for some in all.chunks(REMOVED_MAX) {
                let some = some.to_vec();
                let removed = self.shard.at_shard(ShardId(owner), move |owner| {
                    Box::pin(async move { damage::remove(&owner, some).await })
                });
                let Ok(removed) = removed.await else {
                    return Err(OperationError::new(FailureKind::Unavailable, "the server stops"));
                };
                let removed = removed.map_err(troubled)?;
                changed.entries += removed.entries;
                changed.recipients += removed.recipients;
                changed.damaged += removed.otherwise.len() as u64;
                changed.damaged_ids.extend(removed.otherwise);
            }
        }
        Ok(())
    }

    async fn search<T: Transport>(
        &self,
        ids: Vec<QueueId>,
        exchange: &mut Exchange<T>,
    ) -> Result<Vec<Traces>, OperationError> {
        let begun = self.on_pool(move |shared| Search::new(&shared.store.reader(), &ids).map_err(refused));
        let (mut search, mut looked) = (begun.await?, 0);
        let mut teller = Teller::new("looked at");
        loop {
            let stepped = self.on_idle_pool(move |shared| {
                let more = search.step(&shared.store.reader(), LOOKED_AT_MAX).map_err(refused)?;
                Ok((search, more))
            });
            let more;
            (search, more) = stepped.await?;
            if !more {
                break;
            }
            looked += LOOKED_AT_MAX as u64;
            teller.tell(exchange, looked, None).await?;
        }
        self.on_pool(move |shared| search.finish(&shared.store.reader()).map_err(refused)).await
    }
}

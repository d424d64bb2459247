//! Changes of entries: what is meant is found first, and then changed some entries at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider_storage::ids::QueueId;
use postrider_storage::queue::{self, Bounds, Change, Cursor, Filter, Order, domain_hash, shard_of};
use postrider_storage::rows::{Held, RequireTls};

use super::{ServerOperations, Teller, id_of, no_entry, refused, text};
use crate::control::protocol::{Answer, FailureKind, QueueChange, QueueFilter, QueueRequireTls};
use crate::control::{Exchange, OperationError, Transport};
use crate::delivery::edits::Place;
use crate::delivery::operate::{Operated, Trouble, Wish, operate};
use crate::operations::{failure, internal};
use crate::runtime::{ShardId, sleep};

/// Entries that are found in one step.
const FOUND_MAX: usize = 1000;
/// Entries that are changed in one step, and that are failed, which takes a report each.
const CHANGED_MAX: usize = 64;
const FAILED_MAX: usize = 8;
/// How long an entry is waited for whose attempt is under way, and between looks.
const BUSY_TIME: Duration = Duration::from_secs(3);
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// What was done to entries.
#[derive(Debug, Default)]
pub(super) struct Changed {
    pub(super) entries: u64,
    recipients: u64,
    busy: u64,
}

impl ServerOperations {
    pub(super) async fn change_queue<T: Transport>(
        &self,
        filter: QueueFilter,
        change: QueueChange,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        let wish = self.wish(change)?;
        let one = match filter.ids.as_slice() {
            [id] => Some(id_of(id)?),
            _ => None,
        };
        let filter = self.filter(filter).await?;
        let missing = self.missing(filter.ids.clone().unwrap_or_default()).await?;
        let Changed { entries, recipients, busy } = self.change_all(&filter, &wish, exchange).await?;
        if let (Some(id), 0, 0) = (one, entries, busy) {
            return Err(no_entry(id));
        }
        tracing::info!(?wish, entries, recipients, busy, "entries of the queue were changed");
        Ok(Answer::QueueChanged { entries, recipients, busy, missing })
    }

    /// Which of these ids no entry has.
    async fn missing(&self, ids: Vec<QueueId>) -> Result<Vec<String>, OperationError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        self.on_pool(move |shared| {
            let reader = shared.store.reader();
            let mut missing = Vec::new();
            for id in ids {
                if queue::entry(&reader, id).map_err(refused)?.is_none() {
                    missing.push(id.0.to_string());
                }
            }
            Ok(missing)
        })
        .await
    }

    fn wish(&self, change: QueueChange) -> Result<Wish, OperationError> {
        Ok(match change {
            QueueChange::Hold => Wish::Change(Change::Hold(Held::Operator)),
            QueueChange::Release => Wish::Change(Change::Release),
            QueueChange::Schedule { at } => Wish::Change(Change::Due(at)),
            QueueChange::Transport { name: None } => Wish::Change(Change::Transport(Box::default())),
            QueueChange::Transport { name: Some(name) } => {
                let known = &self.shard.shared.config.delivery.transports;
                if !known.contains_key(name.as_str()) {
                    let names: Vec<&str> = known.keys().map(AsRef::as_ref).collect();
                    let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                    let message =
                        format!("there is no transport {name:?} in the configuration, which has {known}");
                    return Err(OperationError::new(FailureKind::NotFound, message));
                }
                Wish::Change(Change::Transport(name.into()))
            }
            QueueChange::RequireTls { wish } => Wish::Change(Change::RequireTls(match wish {
                QueueRequireTls::Default => RequireTls::Unset,
                QueueRequireTls::Yes => RequireTls::Required,
                QueueRequireTls::No => RequireTls::No,
            })),
            QueueChange::Fail { reason } => Wish::Fail(text(reason, "the reason")?),
            QueueChange::Drop => Wish::Drop,
        })
    }

    /// Does something to all entries that a filter means at the start, and still means when it is their turn. Those
    /// that an attempt is under way for are waited for, a short time.
    pub(super) async fn change_all<T: Transport>(
        &self,
        filter: &Filter,
        wish: &Wish,
        exchange: &mut Exchange<T>,
    ) -> Result<Changed, OperationError> {
        let mut waiting = self.find_entries(filter, exchange).await?;
        let total = waiting.values().map(Vec::len).sum::<usize>() as u64;
        let mut changed = Changed::default();
        let mut teller = Teller::new("changed");
        let began = Instant::now();
        loop {
            let mut busy: BTreeMap<usize, Vec<Place>> = BTreeMap::new();
            for (shard, mut entries) in waiting {
                // What is taken from the end costs nothing.
                entries.reverse();
                while !entries.is_empty() {
                    let most = if matches!(wish, Wish::Fail(_)) { FAILED_MAX } else { CHANGED_MAX };
                    let some = entries.split_off(entries.len().saturating_sub(most));
                    let done = self.operate(ShardId(shard), filter.clone(), some, wish.clone()).await?;
                    changed.entries += done.entries;
                    changed.recipients += done.recipients;
                    if !done.busy.is_empty() {
                        busy.entry(shard).or_default().extend(done.busy);
                    }
                    entries.extend(done.left);
                    teller.tell(exchange, changed.entries, Some(total)).await?;
                }
            }
            if busy.is_empty() || began.elapsed() >= BUSY_TIME {
                changed.busy = busy.values().map(Vec::len).sum::<usize>() as u64;
                return Ok(changed);
            }
            waiting = busy;
            sleep(BUSY_PAUSE).await;
            teller.tell(exchange, changed.entries, Some(total)).await?;
        }
    }

    /// The entries that a filter means, by the shard that owns them. All pages are of one moment: what is tried or moved
    /// meanwhile is neither missed nor found twice.
    async fn find_entries<T: Transport>(
        &self,
        filter: &Filter,
        exchange: &mut Exchange<T>,
    ) -> Result<BTreeMap<usize, Vec<Place>>, OperationError> {
        let shards = self.shard.shared.shards.len();
        let mut found: BTreeMap<usize, Vec<Place>> = BTreeMap::new();
        let mut teller = Teller::new("looked at");
        let (mut cursor, mut looked): (Option<Cursor>, u64) = (None, 0);
        let reader = Arc::new(self.shard.shared.store.reader());
        loop {
            let (filter, from, reader) = (filter.clone(), cursor.take(), Arc::clone(&reader));
            let page = self.on_idle_pool(move |_| {
                let bounds = Bounds { entries_max: FOUND_MAX, ..Bounds::default() };
                let page = queue::list(&reader, &filter, Order::Ascending, from.as_ref(), bounds);
                let page = page.map_err(refused)?;
                let entries = page.entries.iter().map(|listed| (domain_hash(&listed.row.domain), listed.id));
                Ok((entries.collect::<Vec<_>>(), page.next, page.rows))
            });
            let (entries, next, rows) = page.await?;
            for (domain, id) in entries {
                found.entry(shard_of(domain, shards)).or_default().push((domain, id));
            }
            looked += rows as u64;
            cursor = next;
            if cursor.is_none() {
                return Ok(found);
            }
            teller.tell(exchange, looked, None).await?;
        }
    }

    async fn operate(
        &self,
        shard: ShardId,
        filter: Filter,
        entries: Vec<Place>,
        wish: Wish,
    ) -> Result<Operated, OperationError> {
        let done = self.shard.at_shard(shard, move |owner| {
            Box::pin(async move { operate(&owner, &filter, entries, &wish).await })
        });
        match done.await {
            Ok(done) => done.map_err(troubled),
            Err(_) => Err(OperationError::new(FailureKind::Unavailable, "the server stops")),
        }
    }
}

fn troubled(trouble: Trouble) -> OperationError {
    match trouble {
        Trouble::Pool(error) => failure::busy(error),
        Trouble::Commit(error) => failure::commit(&error),
        Trouble::Store(error) => refused(error),
        trouble @ Trouble::Report(_) => internal(trouble),
    }
}

//! Changes of entries: what is meant is found first, and then changed some entries at a time.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider_storage::ids::QueueId;
use postrider_storage::queue::{self, Bounds, Change, Cursor, Filter, Order, domain_hash, shard_of};
use postrider_storage::reader::Reader;
use postrider_storage::rows::{Held, RequireTls};

use super::{ServerOperations, Teller, id_of, no_entry, refused, text};
use crate::control::protocol::{
    Answer, FailureKind, QUEUE_DAMAGED_MAX, QUEUE_IDS_MAX, QueueChange, QueueFilter, QueueRequireTls,
};
use crate::control::{Exchange, OperationError, Transport};
use crate::delivery::edits::Place;
use crate::delivery::operate::{Operated, Trouble, Wish, operate};
use crate::operations::{failure, internal};
use crate::runtime::{ShardId, sleep, spawn_task};
use crate::shard::Shard;

/// Entries that are found in one step; so few in tests that there are several.
const FOUND_MAX: usize = if cfg!(test) { 3 } else { 4096 };
/// Entries that are changed in one step, and that are failed, which takes a report each.
const CHANGED_MAX: usize = 512;
const FAILED_MAX: usize = 8;
/// How long an entry is waited for whose attempt is under way, and between looks.
const BUSY_TIME: Duration = Duration::from_secs(3);
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// What was done to entries.
#[derive(Debug, Default)]
pub(super) struct Changed {
    pub(super) entries: u64,
    pub(super) recipients: u64,
    pub(super) busy: u64,
    /// To how many nothing was done, since a row of them is damaged; and the first of them.
    pub(super) damaged: u64,
    pub(super) damaged_ids: Vec<QueueId>,
}

impl Changed {
    fn damaged(&mut self, ids: impl IntoIterator<Item = QueueId>) {
        for id in ids {
            self.damaged += 1;
            if self.damaged_ids.len() < QUEUE_IDS_MAX {
                self.damaged_ids.push(id);
            }
        }
    }
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
        let mut changed = self.change_all(&filter, &wish, exchange).await?;
        // Of whatever else is said, nobody knows whether it is so of a damaged entry.
        let is_named = filter.ids.is_some() && Filter { ids: None, ..filter } == Filter::default();
        if is_named && matches!(wish, Wish::Drop) {
            self.remove_damaged(&mut changed, exchange).await?;
        }
        let Changed { entries, recipients, busy, damaged, mut damaged_ids } = changed;
        if let (Some(id), 0, 0, 0) = (one, entries, busy, damaged) {
            return Err(no_entry(id));
        }
        tracing::info!(?wish, entries, recipients, busy, damaged, "entries of the queue were changed");
        damaged_ids.sort_unstable();
        damaged_ids.truncate(QUEUE_DAMAGED_MAX);
        let damaged_ids = damaged_ids.iter().map(|id| id.0.to_string()).collect();
        Ok(Answer::QueueChanged { entries, recipients, busy, missing, damaged, damaged_ids })
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
                match queue::entry(&reader, id) {
                    Ok(None) => missing.push(id.0.to_string()),
                    Ok(Some(_)) => {}
                    // It is there.
                    Err(error) if error.is_damage() => {}
                    Err(error) => return Err(refused(error)),
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
    /// that an attempt is under way for are waited for, a short time. They are found page by page in one moment's view of the
    /// queue: what is tried or moved meanwhile is neither missed nor found twice, and memory doesn't follow their number. Those
    /// that are damaged are passed over.
    pub(super) async fn change_all<T: Transport>(
        &self,
        filter: &Filter,
        wish: &Wish,
        exchange: &mut Exchange<T>,
    ) -> Result<Changed, OperationError> {
        let reader = Arc::new(self.shard.shared.store.reader());
        let total = self.count_entries(&reader, filter, exchange).await?;
        let mut changed = Changed::default();
        let mut teller = Teller::new("changed");
        let (mut cursor, mut busy): (Option<Cursor>, Vec<Place>) = (None, Vec::new());
        loop {
            let page = self.page(&reader, filter, cursor.take()).await?;
            changed.damaged(page.damaged);
            busy.extend(self.change_some(filter, wish, page.entries, &mut changed).await?);
            teller.tell(exchange, changed.entries, Some(total)).await?;
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        drop(reader);
        let began = Instant::now();
        while !busy.is_empty() && began.elapsed() < BUSY_TIME {
            sleep(BUSY_PAUSE).await;
            let again = std::mem::take(&mut busy);
            busy = self.change_some(filter, wish, again, &mut changed).await?;
            teller.tell(exchange, changed.entries, Some(total)).await?;
        }
        changed.busy = busy.len() as u64;
        Ok(changed)
    }

    /// How many entries a filter means.
    async fn count_entries<T: Transport>(
        &self,
        reader: &Arc<Reader>,
        filter: &Filter,
        exchange: &mut Exchange<T>,
    ) -> Result<u64, OperationError> {
        let mut teller = Teller::new("looked at");
        let (mut cursor, mut looked, mut count): (Option<Cursor>, u64, u64) = (None, 0, 0);
        loop {
            let page = self.page(reader, filter, cursor.take()).await?;
            looked += page.rows;
            count += page.entries.len() as u64;
            cursor = page.next;
            if cursor.is_none() {
                return Ok(count);
            }
            teller.tell(exchange, looked, None).await?;
        }
    }

    async fn page(
        &self,
        reader: &Arc<Reader>,
        filter: &Filter,
        from: Option<Cursor>,
    ) -> Result<Page, OperationError> {
        let (filter, reader) = (filter.clone(), Arc::clone(reader));
        let page = self.on_idle_pool(move |_| {
            let bounds = Bounds { entries_max: FOUND_MAX, ..Bounds::default() };
            let page =
                queue::list(&reader, &filter, Order::Ascending, from.as_ref(), bounds).map_err(refused)?;
            let entries = page.entries.iter().map(|listed| (domain_hash(&listed.row.domain), listed.id));
            let damaged = page.damaged.iter().map(|damaged| damaged.id).collect();
            Ok(Page { entries: entries.collect(), damaged, next: page.next, rows: page.rows as u64 })
        });
        page.await
    }

    /// Does something to entries, on all shards that own some at once. Returns those for which an attempt is under way.
    async fn change_some(
        &self,
        filter: &Filter,
        wish: &Wish,
        entries: Vec<Place>,
        changed: &mut Changed,
    ) -> Result<Vec<Place>, OperationError> {
        let shards = self.shard.shared.shards.len();
        let mut owned: BTreeMap<usize, Vec<Place>> = BTreeMap::new();
        for place in entries {
            owned.entry(shard_of(place.0, shards)).or_default().push(place);
        }
        let tasks: Vec<_> = owned
            .into_iter()
            .map(|(owner, entries)| {
                let (shard, filter, wish) = (Rc::clone(&self.shard), filter.clone(), wish.clone());
                spawn_task("change entries of a shard", async move {
                    change_owned(&shard, ShardId(owner), &filter, &wish, entries).await
                })
            })
            .collect();
        let (mut busy, mut trouble) = (Vec::new(), None);
        for task in tasks {
            match task.await {
                Ok(Ok(done)) => {
                    changed.entries += done.entries;
                    changed.recipients += done.recipients;
                    changed.damaged(done.damaged);
                    busy.extend(done.busy);
                }
                Ok(Err(error)) => trouble = Some(error),
                Err(_) => trouble = Some(internal("it made the server panic")),
            }
        }
        trouble.map_or(Ok(busy), Err)
    }
}

/// Entries that a filter means.
struct Page {
    entries: Vec<Place>,
    damaged: Vec<QueueId>,
    next: Option<Cursor>,
    /// Rows that were looked at for it.
    rows: u64,
}

/// Does something to entries of one shard, some at a time.
async fn change_owned(
    shard: &Rc<Shard>,
    owner: ShardId,
    filter: &Filter,
    wish: &Wish,
    mut entries: Vec<Place>,
) -> Result<Operated, OperationError> {
    let most = if matches!(wish, Wish::Fail(_)) { FAILED_MAX } else { CHANGED_MAX };
    let mut all = Operated::default();
    // What is taken from the end costs nothing.
    entries.reverse();
    while !entries.is_empty() {
        let some = entries.split_off(entries.len().saturating_sub(most));
        let (filter, wish) = (filter.clone(), wish.clone());
        let done = shard.at_shard(owner, move |owner| {
            Box::pin(async move { operate(&owner, &filter, some, &wish).await })
        });
        let Ok(done) = done.await else {
            return Err(OperationError::new(FailureKind::Unavailable, "the server stops"));
        };
        let done = done.map_err(troubled)?;
        all.entries += done.entries;
        all.recipients += done.recipients;
        all.busy.extend(done.busy);
        all.damaged.extend(done.damaged);
        entries.extend(done.left);
    }
    Ok(all)
}

pub(super) fn troubled(trouble: Trouble) -> OperationError {
    match trouble {
        Trouble::Pool(error) => failure::busy(error),
        Trouble::Commit(error) => failure::commit(&error),
        Trouble::Store(error) => refused(error),
        trouble @ Trouble::Report(_) => internal(trouble),
    }
}

//! What operators do to entries of the queue. On the shard that owns them: only there an edit is built, and only while
//! nobody else builds one of the same entry.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use postrider_delivery::outcome::{Failure, Status, Verdict};
use postrider_delivery::report::Event;
use postrider_storage::committer::CommitError;
use postrider_storage::directory::WebhookEvent;
use postrider_storage::engine::Durability;
use postrider_storage::ids::QueueId;
use postrider_storage::queue::{
    self, Bounds, Change, Changed, Chosen, Done, Edit, End, Filter, Listed, Order, domain_hash,
};
use postrider_storage::reader::Reader;
use postrider_storage::rows::{AttemptResult, Kind, RecipientRow, Retirement};
use postrider_storage::store::{Store, StoreError};
use postrider_storage::webhooks::ScheduledHook;
use tracing::info;

use super::edits::Place;
use super::events::{self, Happened, Listener};
use super::outcome::{Keep, Tried, backoff_of, configured_keep, keep_of, until};
use super::reports::News;
use super::session::chance;
use super::{first, letters, translate};
use crate::clock::unix_now;
use crate::commit;
use crate::runtime::{PoolError, spawn_task};
use crate::shard::Shard;
use crate::webhooks;

/// About the most octets that one edit writes: moving many recipients to entries of their own takes some.
const EDIT_OCTETS_MAX: usize = 4 << 20;
/// The status of what an operator gave up: other mail system status (RFC 3463 §3.4).
const GIVEN_UP: Status = Status::permanent(3, 0);
/// Why, before the operator's own words.
const BY_OPERATOR: &str = "who runs this server gave it up";

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    /// This change.
    Change(Change),
    /// Giving up, and telling the sender why.
    Fail(String),
    /// Giving up without a word.
    Drop,
}

/// Why nothing could be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error("an entry can't be given up: {0}")]
    Report(String),
}

/// What was done.
#[derive(Debug, Default)]
pub(crate) struct Operated {
    /// To how many entries.
    pub(crate) entries: u64,
    /// To how many of their recipients.
    pub(crate) recipients: u64,
    /// Entries to which it couldn't be done: an attempt is under way.
    pub(crate) busy: Vec<Place>,
    /// Entries to which nothing was done: a row of them is damaged.
    pub(crate) damaged: Vec<QueueId>,
    /// Entries that weren't looked at: once more.
    pub(crate) left: Vec<Place>,
}

/// An edit of several entries.
#[derive(Default)]
struct Built {
    edit: Edit,
    operated: Operated,
    /// The hashes of their domains.
    domains: BTreeSet<u64>,
    /// What senders' programs are told of it.
    calls: Vec<ScheduledHook>,
}

/// Does something to those of some entries that a filter means; all of them are of this shard.
pub(crate) async fn operate(
    shard: &Rc<Shard>,
    filter: &Filter,
    entries: Vec<Place>,
    wish: &Wish,
) -> Result<Operated, Trouble> {
    match wish {
        Wish::Fail(reason) => fail(shard, filter, entries, reason).await,
        Wish::Change(_) | Wish::Drop => change(shard, filter, entries, wish).await,
    }
}

async fn change(
    shard: &Rc<Shard>,
    filter: &Filter,
    entries: Vec<Place>,
    wish: &Wish,
) -> Result<Operated, Trouble> {
    let shared = &shard.shared;
    let editing = shard.deliveries.edits.operate(&entries).await;
    let filter = filter.clone();
    let now = unix_now();
    let (store, wanted) = (Arc::clone(&shared.store), wish.clone());
    let keep = configured_keep(&shared.config);
    let built = shared.pool.run(move || build(&store, filter, &entries, &wanted, now, keep)).await??;
    let Built { edit, operated, domains, calls } = built;
    if !edit.batch.is_empty() {
        commit::commit(&shared.committer, edit.batch, Durability::Synced).await?;
        shared.queue_counts.add(edit.delta);
    }
    drop(editing);
    webhooks::announce(shard, calls).await;
    let kicks = matches!(wish, Wish::Change(Change::Due(at)) if *at <= now);
    tell(shard, domains, kicks).await?;
    Ok(operated)
}

fn build(
    store: &Store,
    filter: Filter,
    entries: &[Place],
    wish: &Wish,
    now: i64,
    configured: Keep,
) -> Result<Built, StoreError> {
    let reader = store.reader();
    let filter = Filter { ids: Some(entries.iter().map(|(_, id)| *id).collect()), ..filter };
    let mut built = Built::default();
    let mut cursor = None;
    // Entries that follow each other are mostly of one account.
    let mut listener: Option<(u32, Option<Listener>)> = None;
    loop {
        let page = queue::list(&reader, &filter, Order::Ascending, cursor.as_ref(), Bounds::default())?;
        for listed in &page.entries {
            let chosen = listed.part.as_deref().map_or(Chosen::All, Chosen::These);
            let mut damaged = |read: Result<Changed, StoreError>| match read {
                Err(error) if error.is_damage() => {
                    built.operated.damaged.push(listed.id);
                    Ok(None)
                }
                read => read.map(Some),
            };
            let changed = match wish {
                Wish::Change(change) => {
                    let changed = queue::change(&reader, listed.id, chosen, change, || store.new_queue_id());
                    let Some(changed) = damaged(changed)? else { continue };
                    changed
                }
                Wish::Fail(_) | Wish::Drop => {
                    let text = "dropped by an operator";
                    let end = End {
                        retirement: Retirement::Dropped,
                        result: AttemptResult::new(now, 0, Some([5, 3, 0]), "", text),
                        retired_until: until(keep_of(&reader, listed.row.sender, configured)?, now),
                    };
                    let Some(changed) = damaged(queue::end(&reader, listed.id, chosen, &end))? else {
                        continue;
                    };
                    if listener.as_ref().is_none_or(|(sender, _)| *sender != listed.row.sender) {
                        listener =
                            Some((listed.row.sender, events::listener_now(&reader, listed.row.sender)?));
                    }
                    if let (Changed::Done(_), Some((_, Some(listener)))) = (&changed, &listener) {
                        built.tell(store, &reader, listener, listed, &end.result)?;
                    }
                    changed
                }
            };
            built.take(listed, changed);
            if built.edit.batch.octets() >= EDIT_OCTETS_MAX {
                let left = entries.iter().copied().filter(|(_, id)| *id > listed.id);
                built.operated.left = left.collect();
                let damaged = page.damaged.iter().map(|one| one.id).filter(|id| *id < listed.id);
                built.operated.damaged.extend(damaged);
                return Ok(built);
            }
        }
        built.operated.damaged.extend(page.damaged.iter().map(|one| one.id));
        cursor = page.next;
        if cursor.is_none() {
            return Ok(built);
        }
    }
}

impl Built {
    /// Adds that recipients of an entry were dropped.
    fn tell(
        &mut self,
        store: &Store,
        reader: &Reader,
        listener: &Listener,
        listed: &Listed,
        result: &AttemptResult,
    ) -> Result<(), StoreError> {
        if listed.row.kind != Kind::Ordinary {
            return Ok(());
        }
        let rows = chosen(reader, listed)?;
        let meta = events::meta(reader, listed.id, &listed.row)?;
        let event = WebhookEvent::Canceled;
        let happened: Vec<Happened<'_>> = rows
            .iter()
            .map(|(_, row)| Happened { event, recipient: &row.address, result, suppressing: false })
            .collect();
        let about = (listed.id, &listed.row, &meta);
        self.calls.extend(listener.add(store, about, &happened, &mut self.edit.batch));
        Ok(())
    }

    fn take(&mut self, listed: &Listed, changed: Changed) {
        let domain = domain_hash(&listed.row.domain);
        match changed {
            Changed::Done(done) => {
                self.edit.append(done.edit);
                self.operated.entries += 1;
                self.operated.recipients += u64::from(done.recipients);
                self.domains.insert(domain);
            }
            Changed::Busy => self.operated.busy.push((domain, listed.id)),
            Changed::Gone => {}
        }
    }
}

/// Tells the schedule what the store says of domains.
pub(super) async fn tell(shard: &Rc<Shard>, domains: BTreeSet<u64>, kicks: bool) -> Result<(), Trouble> {
    for domain in domains {
        shard.deliveries.fronts.forget(domain);
        let mark = shard.deliveries.mark(domain);
        let first = first(shard, domain).await?;
        shard.deliveries.set(domain, mark, first.map(|first| first.due));
        if kicks {
            shard.deliveries.kick(domain);
        }
    }
    Ok(())
}

/// Removes entries, each in the batch that tells its sender of it. All at once, so that they share a sync.
async fn fail(
    shard: &Rc<Shard>,
    filter: &Filter,
    entries: Vec<Place>,
    reason: &str,
) -> Result<Operated, Trouble> {
    let editing = shard.deliveries.edits.operate(&entries).await;
    let filter = Filter { ids: None, ..filter.clone() };
    let fail = |place: &Place| {
        let (shard, reason, place) = (Rc::clone(shard), reason.to_owned(), *place);
        let filter = Filter { ids: Some(vec![place.1]), ..filter.clone() };
        spawn_task("give an entry up", async move { fail_one(&shard, filter, place, &reason).await })
    };
    let tasks: Vec<_> = entries.iter().map(fail).collect();
    let mut operated = Operated::default();
    let mut trouble = None;
    for (task, place) in tasks.into_iter().zip(&entries) {
        match task.await {
            Ok(Ok(Given::Up { recipients })) => {
                operated.entries += 1;
                operated.recipients += u64::from(recipients);
            }
            Ok(Ok(Given::Busy)) => operated.busy.push(*place),
            Ok(Ok(Given::Damaged)) => operated.damaged.push(place.1),
            Ok(Ok(Given::Gone)) => {}
            Ok(Err(error)) => trouble = Some(error),
            Err(_) => trouble = Some(Trouble::Report("it made the server panic".to_owned())),
        }
    }
    drop(editing);
    tell(shard, entries.iter().map(|(domain, _)| *domain).collect(), false).await?;
    trouble.map_or(Ok(operated), Err)
}

/// What giving an entry up came to.
enum Given {
    /// Its recipients were told of.
    Up {
        recipients: u32,
    },
    Busy,
    /// A row of it is damaged.
    Damaged,
    Gone,
}

async fn fail_one(shard: &Rc<Shard>, filter: Filter, (_, id): Place, reason: &str) -> Result<Given, Trouble> {
    let shared = &shard.shared;
    let store = Arc::clone(&shared.store);
    let found = match shared.pool.run(move || find(&store.reader(), &filter)).await? {
        Err(error) if error.is_damage() => return Ok(Given::Damaged),
        found => found?,
    };
    let Some(Found { listed, recipients }) = found else { return Ok(Given::Gone) };
    if listed.row.claimed {
        return Ok(Given::Busy);
    }
    let now = unix_now();
    let failure = Failure::ours(GIVEN_UP, format!("{BY_OPERATOR}: {reason}"));
    let result = translate::failed(&failure, now);
    let mut tried = Tried::new(id, listed.row, recipients, now);
    tried.all(&Verdict::Failed { failure, is_expired: false });
    let news = news(shard, &tried);
    let letters = letters::prepare(shard, &news).await.map_err(Trouble::Report)?;
    let (done, calls) = match end(shard, &tried, listed.part, result).await {
        Ok(Ended::Done(done, calls)) => (done, calls),
        Ok(Ended::Not(given)) => {
            letters.abandon(shard);
            return Ok(given);
        }
        Err(error) => {
            letters.abandon(shard);
            return Err(error);
        }
    };
    letters.commit(shard, &news, done.edit.batch).await.map_err(Trouble::Report)?;
    shared.queue_counts.add(done.edit.delta);
    webhooks::announce(shard, calls).await;
    info!(entry = %id.0, recipients = done.recipients, reason, "given up by an operator");
    Ok(Given::Up { recipients: done.recipients })
}

/// The end of recipients, as it can be written.
enum Ended {
    /// With what programs are told of it.
    Done(Done, Vec<ScheduledHook>),
    Not(Given),
}

/// Builds the edit that takes recipients out of the queue.
async fn end(
    shard: &Rc<Shard>,
    tried: &Tried,
    part: Option<Vec<u32>>,
    result: AttemptResult,
) -> Result<Ended, Trouble> {
    let (shared, id, entry) = (&shard.shared, tried.id, tried.entry.clone());
    let listener = events::listener(shard, &tried.entry).await?;
    let configured = configured_keep(&shared.config);
    let ending = result.clone();
    let changed = shared.reads.run(move |reader| {
        let retired_until = until(keep_of(reader, entry.sender, configured)?, ending.time);
        let end = End { retirement: Retirement::Failed, result: ending, retired_until };
        let chosen = part.as_deref().map_or(Chosen::All, Chosen::These);
        let changed = queue::end(reader, id, chosen, &end);
        match changed.and_then(|changed| Ok((changed, events::meta(reader, id, &entry)?))) {
            Err(error) if error.is_damage() => Ok(None),
            changed => changed.map(Some),
        }
    });
    let Some((changed, meta)) = changed.await? else { return Ok(Ended::Not(Given::Damaged)) };
    let mut done = match changed {
        Changed::Done(done) => done,
        Changed::Busy => return Ok(Ended::Not(Given::Busy)),
        Changed::Gone => return Ok(Ended::Not(Given::Gone)),
    };
    let event = WebhookEvent::Failed;
    let happened: Vec<Happened<'_>> = tried
        .recipients
        .iter()
        .map(|(_, row)| Happened { event, recipient: &row.address, result: &result, suppressing: false })
        .collect();
    let about = (id, &tried.entry, &meta);
    let calls = listener
        .map(|listener| listener.add(&shared.store, about, &happened, &mut done.edit.batch))
        .unwrap_or_default();
    Ok(Ended::Done(done, calls))
}

/// An entry that can be read, with all recipients that are meant.
struct Found {
    listed: Listed,
    recipients: Vec<(u32, RecipientRow)>,
}

fn find(reader: &Reader, filter: &Filter) -> Result<Option<Found>, StoreError> {
    let page = queue::list(reader, filter, Order::Ascending, None, Bounds::default())?;
    if let Some(damaged) = page.damaged.into_iter().next() {
        return Err(damaged.error);
    }
    let Some(listed) = page.entries.into_iter().next() else { return Ok(None) };
    let recipients = chosen(reader, &listed)?;
    Ok(Some(Found { listed, recipients }))
}

/// The recipients of an entry that are meant.
fn chosen(reader: &Reader, listed: &Listed) -> Result<Vec<(u32, RecipientRow)>, StoreError> {
    let is_meant = |number: &u32| listed.part.as_ref().is_none_or(|part| part.binary_search(number).is_ok());
    let all = queue::recipients(reader, listed.id);
    all.filter(|row| row.as_ref().map_or(true, |(number, _)| is_meant(number))).collect()
}

/// That all recipients failed.
fn news<'a>(shard: &Shard, tried: &'a Tried) -> News<'a> {
    let verdicts: Vec<&Verdict> = tried.verdicts.iter().flatten().collect();
    let made = u16::try_from(tried.entry.attempts).unwrap_or(u16::MAX);
    let backoff = backoff_of(shard.shared.config.delivery.backoff, &tried.entry);
    let promise = backoff.promise(made, unix_now(), chance(tried.id));
    let events = tried.recipients.iter().map(|_| Some(Event::Failed));
    News::new(tried, verdicts, events, promise)
}

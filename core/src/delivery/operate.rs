//! What operators do to entries of the queue. On the shard that owns them: only there an edit is built, and only while
//! nobody else builds one of the same entry.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use postrider_delivery::outcome::{Failure, Status, Verdict};
use postrider_delivery::report::{Event, decide};
use postrider_storage::committer::CommitError;
use postrider_storage::directory::WebhookEvent;
use postrider_storage::engine::Durability;
use postrider_storage::queue::{
    self, Bounds, Change, Changed, Chosen, Edit, End, Filter, Listed, Order, domain_hash,
};
use postrider_storage::reader::Reader;
use postrider_storage::rows::{AttemptResult, Kind, RecipientRow, Retirement};
use postrider_storage::store::{Store, StoreError};
use postrider_storage::webhooks::ScheduledHook;
use tracing::info;

use super::edits::Place;
use super::events::{self, Happened, Listener};
use super::outcome::{Keep, Tried, backoff_of, configured_keep, keep_of, until};
use super::session::chance;
use super::{first, reports, translate};
use crate::clock::unix_now;
use crate::commit;
use crate::runtime::PoolError;
use crate::shard::Shard;
use crate::webhooks;

/// About the most octets that one edit writes: moving many recipients to entries of their own takes some.
const EDIT_OCTETS_MAX: usize = 4 << 20;
/// The status of what an operator gave up: other mail system status (RFC 3463 §3.4).
const GIVEN_UP: Status = Status::permanent(3, 0);

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
    #[error("the report to the sender can't be written: {0}")]
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
        Wish::Fail(reason) => {
            let mut operated = Operated::default();
            for place in entries {
                fail(shard, filter, place, reason, &mut operated).await?;
            }
            Ok(operated)
        }
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
            let changed = match wish {
                Wish::Change(change) => {
                    queue::change(&reader, listed.id, chosen, change, || store.new_queue_id())?
                }
                Wish::Fail(_) | Wish::Drop => {
                    let text = "dropped by an operator";
                    let end = End {
                        retirement: Retirement::Dropped,
                        result: AttemptResult::new(now, 0, Some([5, 3, 0]), "", text),
                        retired_until: until(keep_of(&reader, listed.row.sender, configured)?, now),
                    };
                    let changed = queue::end(&reader, listed.id, chosen, &end)?;
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
                return Ok(built);
            }
        }
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
async fn tell(shard: &Rc<Shard>, domains: BTreeSet<u64>, kicks: bool) -> Result<(), Trouble> {
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

/// Tells the sender that an entry failed, and removes it.
async fn fail(
    shard: &Rc<Shard>,
    filter: &Filter,
    place: Place,
    reason: &str,
    operated: &mut Operated,
) -> Result<(), Trouble> {
    let (shared, (domain, id)) = (&shard.shared, place);
    let _editing = shard.deliveries.edits.operate(&[place]).await;
    let filter = Filter { ids: Some(vec![id]), ..filter.clone() };
    let store = Arc::clone(&shared.store);
    let Some(found) = shared.pool.run(move || find(&store.reader(), &filter)).await?? else { return Ok(()) };
    let Found { listed, recipients } = found;
    if listed.row.claimed {
        operated.busy.push(place);
        return Ok(());
    }
    let now = unix_now();
    let failure = Failure::ours(GIVEN_UP, reason);
    let mut end =
        End { retirement: Retirement::Failed, result: translate::failed(&failure, now), retired_until: None };
    let (sender, configured) = (listed.row.sender, configured_keep(&shared.config));
    let mut tried = Tried::new(id, listed.row, recipients, now);
    tried.all(&Verdict::Failed { failure, is_expired: false });
    report(shard, &tried).await.map_err(Trouble::Report)?;
    let listener = events::listener(shard, &tried.entry).await?;
    let (part, entry, result) = (listed.part, tried.entry.clone(), end.result.clone());
    let changed = shared.reads.run(move |reader| {
        end.retired_until = until(keep_of(reader, sender, configured)?, now);
        let chosen = part.as_deref().map_or(Chosen::All, Chosen::These);
        Ok((queue::end(reader, id, chosen, &end)?, events::meta(reader, id, &entry)?))
    });
    let (changed, meta) = changed.await?;
    match changed {
        Changed::Done(mut done) => {
            let event = WebhookEvent::Failed;
            let happened: Vec<Happened<'_>> = tried
                .recipients
                .iter()
                .map(|(_, row)| Happened {
                    event,
                    recipient: &row.address,
                    result: &result,
                    suppressing: false,
                })
                .collect();
            let about = (id, &tried.entry, &meta);
            let calls = listener
                .map(|listener| listener.add(&shared.store, about, &happened, &mut done.edit.batch))
                .unwrap_or_default();
            commit::commit(&shared.committer, done.edit.batch, Durability::Synced).await?;
            shared.queue_counts.add(done.edit.delta);
            webhooks::announce(shard, calls).await;
            info!(entry = %id.0, recipients = done.recipients, reason, "given up by an operator");
            operated.entries += 1;
            operated.recipients += u64::from(done.recipients);
        }
        Changed::Busy => operated.busy.push(place),
        Changed::Gone => {}
    }
    tell(shard, [domain].into(), false).await
}

/// An entry with all recipients that are meant.
struct Found {
    listed: Listed,
    recipients: Vec<(u32, RecipientRow)>,
}

fn find(reader: &Reader, filter: &Filter) -> Result<Option<Found>, StoreError> {
    let page = queue::list(reader, filter, Order::Ascending, None, Bounds::default())?;
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

/// Writes the reports on recipients that failed.
async fn report(shard: &Rc<Shard>, tried: &Tried) -> Result<(), String> {
    let verdicts: Vec<&Verdict> = tried.verdicts.iter().flatten().collect();
    let told: Vec<(usize, Event)> = (0..tried.recipients.len()).map(|place| (place, Event::Failed)).collect();
    let asked: Vec<_> =
        told.iter().map(|(place, event)| (*event, tried.recipients[*place].1.notify)).collect();
    let wanted = decide(&reports::about(&tried.entry), &asked);
    let made = u16::try_from(tried.entry.attempts).unwrap_or(u16::MAX);
    let backoff = backoff_of(shard.shared.config.delivery.backoff, &tried.entry);
    let promise = backoff.promise(made, unix_now(), chance(tried.id));
    reports::write(shard, tried, &told, &wanted, &verdicts, &promise, &mut 0).await
}

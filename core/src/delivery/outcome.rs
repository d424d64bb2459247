//! Writing what came of an attempt: who got the message, who waits, and who is told what.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::future::or;
use postrider_delivery::backoff::Backoff;
use postrider_delivery::destination::Target;
use postrider_delivery::outcome::{Failure, Signal, Status, Verdict};
use postrider_delivery::report::{Event, decide};
use postrider_delivery::route::Route;
use postrider_delivery::suppression::{Suppress, decide as suppresses};
use postrider_storage::directory::{Directory, WebhookEvent};
use postrider_storage::engine::Durability;
use postrider_storage::ids::{AccountId, QueueId};
use postrider_storage::queue::suppression::base_address;
use postrider_storage::queue::{self, Consequence, Edit, Fate, Outcome};
use postrider_storage::reader::Reader;
use postrider_storage::rows::{AttemptResult, Kind, QueueRow, RecipientRow};
use postrider_storage::store::StoreError;
use tracing::{error, info};

use super::events::Happened;
use super::routing::Routing;
use super::session::{chance, is_service_report};
use super::strays::Stray;
use super::{attempt, events, first, reports, translate};
use crate::clock::unix_now;
use crate::commit;
use crate::config::Config;
use crate::metrics;
use crate::runtime::oneshot::{Receiver, oneshot};
use crate::runtime::{sleep, spawn, spawn_task, timeout_at};
use crate::shard::Shard;
use crate::webhooks;

/// The pauses before an outcome that couldn't be written is written again; they double.
const PAUSE_FIRST: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(5 * 60);
/// How long a session waits for the outcome of the message before.
const WRITING_TIME: Duration = Duration::from_secs(60);
/// Entries of a domain that cannot be reached which are looked at in one step.
const SHARED_MAX: usize = 64;
/// Entries of the domain that go by another transport, after which no more are looked at.
const OTHERS_MAX: usize = 256;

/// Whether an outcome is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// It is.
    Synced,
    /// Writing it failed for good, or the server stops.
    No,
}

/// An attempt, and what came of it.
pub(super) struct Tried {
    pub(super) id: QueueId,
    pub(super) entry: QueueRow,
    pub(super) recipients: Vec<(u32, RecipientRow)>,
    /// What becomes of each recipient; none as long as it isn't known.
    pub(super) verdicts: Vec<Option<Verdict>>,
    /// Places of recipients that are on the suppression list, ascending.
    pub(super) suppressed: Vec<usize>,
    /// Addresses that were dialed.
    pub(super) dialed: Vec<IpAddr>,
    /// What was learnt of the domain.
    pub(super) signal: Signal,
    /// How long what becomes of it is known, where the account was looked at.
    pub(super) keep: Option<Keep>,
    pub(super) began: i64,
}

/// For how many seconds it is known what became of a message; none is not at all.
pub(super) type Keep = Option<u32>;

impl Tried {
    pub(super) fn new(
        id: QueueId,
        entry: QueueRow,
        recipients: Vec<(u32, RecipientRow)>,
        began: i64,
    ) -> Self {
        let verdicts = vec![None; recipients.len()];
        Self {
            id,
            entry,
            recipients,
            verdicts,
            suppressed: Vec::new(),
            dialed: Vec::new(),
            signal: Signal::Neutral,
            keep: None,
            began,
        }
    }

    /// Says the same of all of whom nothing is known.
    pub(super) fn all(&mut self, verdict: &Verdict) {
        self.verdicts.iter_mut().filter(|known| known.is_none()).for_each(|known| {
            *known = Some(verdict.clone());
        });
    }
}

/// When an entry is tried.
pub(super) fn backoff_of(configured: Backoff, entry: &QueueRow) -> Backoff {
    let backoff = if is_service_report(entry.kind) {
        let most = Backoff::REPORTS.attempts_max.min(configured.attempts_max);
        Backoff { attempts_max: most, delayed_after: 0, ..configured }
    } else {
        configured
    };
    backoff.with_attempts(u16::try_from(entry.max_attempts).unwrap_or(u16::MAX))
}

/// An outcome on its way to the disk. Nothing happens to it when this is dropped.
pub(super) struct Writing(Receiver<Written>);

impl Writing {
    /// Waits until it is there, and says whether it is; not for ever.
    pub(super) async fn done(&mut self) -> Option<Written> {
        let told = timeout_at(Instant::now() + WRITING_TIME, &mut self.0).await.ok()?;
        Some(told.unwrap_or(Written::No))
    }
}

/// Has an outcome written. One that makes the server panic, would do so again: its entry is held.
pub(super) fn start(shard: &Rc<Shard>, tried: Tried, backoff: Backoff) -> Writing {
    let (tell, written) = oneshot();
    let (shard, id) = (Rc::clone(shard), tried.id);
    spawn("look after an outcome", async move {
        let writer = Rc::clone(&shard);
        let written =
            spawn_task("write an outcome", async move { write(&writer, tried, backoff).await }).await;
        if written.is_err() {
            shard.deliveries.strays.add([id], Stray::Endless);
        }
        // A session that is over doesn't want to know.
        let _ = tell.send(written.unwrap_or(Written::No));
    });
    Writing(written)
}

/// An outcome that couldn't be written yet, as operators see it.
struct Unwritten<'a>(&'a Shard);

impl<'a> Unwritten<'a> {
    fn new(shard: &'a Shard) -> Self {
        shard.recorder.change(shard.shared.metrics.queue.unwritten, 1);
        Self(shard)
    }
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        self.0.recorder.change(self.0.shared.metrics.queue.unwritten, -1);
    }
}

/// Writes the outcome of an attempt: first the reports on it, then the rows. It is written again until it is on the
/// disk, or the server stops.
pub(super) async fn write(shard: &Rc<Shard>, tried: Tried, backoff: Backoff) -> Written {
    let now = unix_now();
    let made = u16::try_from(tried.entry.attempts).unwrap_or(u16::MAX);
    let unknown = Verdict::Retry(Failure::ours(Status::temporary(4, 0), "no host was tried"));
    let verdicts: Vec<&Verdict> =
        tried.verdicts.iter().map(|known| known.as_ref().unwrap_or(&unknown)).collect();
    let tells = backoff.tells_of_delay(made) && !tried.entry.delay_reported;
    let events: Vec<Option<Event>> = verdicts.iter().map(|verdict| event(verdict, tells)).collect();
    let due = backoff.due_when_cut_off(made, now, chance(tried.id));
    let promise = backoff.promise(made, now, chance(tried.id));
    let outcome = Outcome {
        now,
        due,
        recipients: tried
            .recipients
            .iter()
            .zip(&verdicts)
            .map(|((number, _), verdict)| (*number, fate(verdict, now)))
            .collect(),
        dialed: tried.dialed.clone(),
        error: verdicts.iter().find_map(|verdict| match verdict {
            Verdict::Retry(failure) => Some(translate::failed(failure, now)),
            _ => None,
        }),
        delay_reported: tells,
        retired_until: tried.keep.and_then(|keep| until(keep, now)),
    };
    let told: Vec<(usize, Event)> =
        events.iter().enumerate().filter_map(|(place, event)| Some((place, (*event)?))).collect();
    let wanted = {
        let asked: Vec<_> =
            told.iter().map(|(place, event)| (*event, tried.recipients[*place].1.notify)).collect();
        decide(&reports::about(&tried.entry), &asked)
    };
    let mut written = 0;
    let (mut pause, mut unwritten) = (PAUSE_FIRST, None);
    loop {
        let reported = reports::write(shard, &tried, &told, &wanted, &verdicts, &promise, &mut written).await;
        match reported {
            Ok(()) => match conclude(shard, &tried, &outcome).await {
                Ok(()) => break,
                Err(error) => {
                    error!(entry = %tried.id.0, %error, "an outcome can't be written; it is tried again");
                }
            },
            Err(error) => {
                error!(entry = %tried.id.0, %error, "a report can't be written; it is tried again");
            }
        }
        if shard.shared.shutdown.is_stopping() {
            return Written::No;
        }
        unwritten.get_or_insert_with(|| Unwritten::new(shard));
        let stopped = async {
            shard.shared.shutdown.wait().await;
        };
        or(stopped, sleep(pause)).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
    drop(unwritten);
    log(shard, &tried, &verdicts, now);
    Written::Synced
}

/// For how long the configuration says that it is known what became of a message.
pub(super) fn configured_keep(config: &Config) -> Keep {
    config.delivery.keep_retired.map(|time| u32::try_from(time.as_secs()).unwrap_or(u32::MAX))
}

/// For how long it is known what became of messages of an account, 0 is the system.
pub(super) fn keep_of(reader: &Reader, sender: u32, configured: Keep) -> Result<Keep, StoreError> {
    let Some(account) = AccountId::new(sender) else { return Ok(configured) };
    let account = Directory::new(reader.snapshot()).account(account)?;
    Ok(account.map_or(configured, |account| account.settings.mail.keep_messages(configured)))
}

/// Until when it is known what became of a recipient that leaves the queue now.
pub(super) fn until(keep: Keep, now: i64) -> Option<i64> {
    keep.map(|seconds| now.saturating_add(i64::from(seconds)))
}

async fn conclude(shard: &Rc<Shard>, tried: &Tried, outcome: &Outcome) -> Result<(), String> {
    let (shared, id) = (&shard.shared, tried.id);
    let (sender, is_known) = (tried.entry.sender, tried.keep.is_some());
    let listener = events::listener(shard, &tried.entry).await.map_err(|error| error.to_string())?;
    let editing = shard.deliveries.edits.conclude(&[id]).await;
    let built = {
        let (mut outcome, configured) = (outcome.clone(), configured_keep(&shared.config));
        let entry = listener.is_some().then(|| tried.entry.clone());
        let read = shared.reads.run(move |reader| {
            if !is_known {
                outcome.retired_until = until(keep_of(reader, sender, configured)?, outcome.now);
            }
            let Some(concluded) = queue::outcome(reader, id, &outcome)? else { return Ok(None) };
            let meta = entry.map(|entry| events::meta(reader, id, &entry)).transpose()?;
            Ok(Some((concluded, meta.unwrap_or_default())))
        });
        read.await
    };
    let Some((concluded, meta)) = built.map_err(|error| error.to_string())? else { return Ok(()) };
    let (mut edit, left) = (concluded.edit, concluded.left);
    let calls = listener.map(|listener| {
        let happened = happened(tried, outcome, &concluded.suppressed);
        listener.add(&shared.store, (id, &tried.entry, &meta), &happened, &mut edit.batch)
    });
    commit::commit(&shared.committer, edit.batch, Durability::Synced)
        .await
        .map_err(|error| error.to_string())?;
    drop(editing);
    shared.queue_counts.add(edit.delta);
    webhooks::announce(shard, calls.into_iter().flatten()).await;
    for address in concluded.suppressed {
        info!(%address, "the address is suppressed from now on");
    }
    if let Some(left) = left {
        // The schedule reads the store again when the session ends; a long session is not waited for.
        shard.deliveries.notify(left, 0);
    }
    Ok(())
}

/// What happened to each recipient; `suppressed` has the base addresses that are suppressed from now on.
fn happened<'a>(tried: &'a Tried, outcome: &'a Outcome, suppressed: &[String]) -> Vec<Happened<'a>> {
    let rows = tried.recipients.iter().zip(&outcome.recipients).enumerate();
    rows.map(|(place, ((_, row), (_, fate)))| {
        let recipient = &row.address;
        let (event, result) = match fate {
            Fate::Delivered(result) => (WebhookEvent::Delivered, result),
            Fate::Failed(result, _) if tried.suppressed.binary_search(&place).is_ok() => {
                (WebhookEvent::Suppressed, result)
            }
            Fate::Failed(result, _) => (WebhookEvent::Failed, result),
            Fate::Waits(result) => (WebhookEvent::Delayed, result),
        };
        let suppressing = event == WebhookEvent::Failed
            && !suppressed.is_empty()
            && suppressed.contains(&base_address(&attempt::text(recipient)));
        Happened { event, recipient, result, suppressing }
    })
    .collect()
}

fn event(verdict: &Verdict, tells_of_delay: bool) -> Option<Event> {
    match verdict {
        Verdict::Delivered { has_dsn: true, .. } => Some(Event::HandedOn),
        Verdict::Delivered { has_dsn: false, .. } => Some(Event::Relayed),
        Verdict::Failed { .. } => Some(Event::Failed),
        Verdict::Retry(_) => tells_of_delay.then_some(Event::Delayed),
    }
}

fn fate(verdict: &Verdict, now: i64) -> Fate {
    match verdict {
        Verdict::Delivered { host, answer, .. } => Fate::Delivered(translate::replied(answer, host, now)),
        Verdict::Retry(failure) => Fate::Waits(translate::failed(failure, now)),
        Verdict::Failed { failure, .. } => {
            // Strikes are counted by the store.
            let consequence = match suppresses(failure, 0) {
                Suppress::Now => Consequence::Suppress,
                Suppress::Strike => Consequence::Strike,
                Suppress::No => Consequence::None,
            };
            Fate::Failed(translate::failed(failure, now), consequence)
        }
    }
}

fn log(shard: &Shard, tried: &Tried, verdicts: &[&Verdict], now: i64) {
    let known = &shard.shared.metrics.queue;
    let (entry, attempt, seconds) = (tried.id.0, tried.entry.attempts, now - tried.began);
    for ((_, row), verdict) in tried.recipients.iter().zip(verdicts) {
        let to = attempt::text(&row.address);
        let result = match verdict {
            Verdict::Delivered { host, answer, .. } => {
                info!(entry, attempt, %to, %host, reply = %answer, seconds, "delivered to another server");
                metrics::Leaving::Delivered
            }
            Verdict::Retry(failure) => {
                info!(entry, attempt, %to, reason = %failure.reason, "not delivered yet");
                metrics::Leaving::Deferred
            }
            Verdict::Failed { failure, is_expired } => {
                info!(entry, attempt, %to, reason = %failure.reason, expired = is_expired, "not delivered");
                if tried.entry.kind == Kind::DmarcReport {
                    shard.recorder.increment(known.dmarc_report_failures);
                }
                metrics::Leaving::Failed
            }
        };
        shard.recorder.increment(known.results.at([result as usize]));
    }
    shard.recorder.add(known.suppressed, tried.suppressed.len() as u64);
}

/// Counts an attempt for everything of a domain that is due and would go by a transport that reaches nobody, without
/// connecting for each. What goes another way is left alone: nothing is known of that.
pub(super) async fn share(shard: &Rc<Shard>, domain: u64, transport: &str, failure: &Failure) {
    let configured = shard.shared.config.delivery.backoff;
    let mut others = 0;
    loop {
        let now = unix_now();
        let editing = shard.deliveries.edits.claim(domain).await;
        let (config, transport) = (Arc::clone(&shard.shared.config), Box::<str>::from(transport));
        let (strays, keep) = (shard.deliveries.strays.ids(), configured_keep(&shard.shared.config));
        let from = shard.deliveries.fronts.ask(domain).from;
        let due = shard.shared.reads.run(move |reader| {
            let (mut rows, mut left) = (Vec::new(), 0);
            let mut known: HashMap<_, Routing> = HashMap::new();
            for due in queue::due(reader, from, now, others + SHARED_MAX)?.entries {
                let Some(entry) = queue::entry(reader, due.id)? else { continue };
                let routing = match known.entry((entry.sender, entry.mail_from.clone())) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(vacant) => vacant.insert(Routing::read(reader, &entry, keep)?),
                };
                if strays.contains(&due.id) || !goes_by(routing, &entry, &transport, &config.delivery.routes)
                {
                    left += 1;
                    continue;
                }
                let made = u16::try_from(entry.attempts.saturating_add(1)).unwrap_or(u16::MAX);
                let backoff = backoff_of(configured, &entry);
                let next = backoff.due_when_cut_off(made, now, chance(due.id));
                let Some(claimed) = queue::claim_row(reader, due.id, entry, queue::Attempt { now, next })?
                else {
                    continue;
                };
                rows.push((due.id, claimed, backoff));
            }
            Ok((rows, left))
        });
        let mut rows = match due.await {
            Ok((rows, left)) => {
                others = left;
                rows
            }
            Err(error) => {
                error!(%error, "the queue can't be read");
                break;
            }
        };
        if rows.is_empty() || shard.shared.shutdown.is_stopping() {
            break;
        }
        let mut edit = Edit::default();
        for (_, claimed, _) in &mut rows {
            edit.append(std::mem::take(&mut claimed.edit));
        }
        if commit::commit(&shard.shared.committer, edit.batch, Durability::Buffered).await.is_err() {
            // Whether they are claimed, nobody knows.
            shard.deliveries.strays.add(rows.iter().map(|(id, ..)| *id), Stray::Untried);
            return;
        }
        drop(editing);
        let mut is_written = true;
        for (id, claimed, backoff) in rows {
            let entry = claimed.entry;
            let made = u16::try_from(entry.attempts).unwrap_or(u16::MAX);
            let mut tried = Tried::new(id, entry, claimed.recipients, now);
            tried.all(&Verdict::of(failure.clone(), made, backoff.attempts_max));
            is_written &= start(shard, tried, backoff).done().await.is_some();
        }
        if others > OTHERS_MAX || !is_written {
            break;
        }
    }
    let mark = shard.deliveries.mark(domain);
    if let Ok(first) = first(shard, domain).await {
        shard.deliveries.set(domain, mark, first.map(|first| first.due));
    }
}

/// Whether the next attempt of an entry would go by this transport.
fn goes_by(routing: &Routing, entry: &QueueRow, transport: &str, global: &[Route]) -> bool {
    let before = u16::try_from(entry.attempts).unwrap_or(u16::MAX);
    Target::parse(&entry.domain)
        .is_ok_and(|target| *routing.transport(entry, &target, global, before) == *transport)
}

/// A result as a report has it.
pub(super) fn result_of(verdict: &Verdict, now: i64) -> AttemptResult {
    match fate(verdict, now) {
        Fate::Delivered(result) | Fate::Failed(result, _) | Fate::Waits(result) => result,
    }
}

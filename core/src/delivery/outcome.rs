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
use postrider_delivery::report::Event;
use postrider_delivery::route::Route;
use postrider_delivery::suppression::{Suppress, decide as suppresses};
use postrider_storage::directory::{Directory, WebhookEvent};
use postrider_storage::engine::Durability;
use postrider_storage::ids::{AccountId, QueueId};
use postrider_storage::queue::suppression::base_address;
use postrider_storage::queue::{self, Concluded, Consequence, Edit, Fate, Outcome, Scheduled};
use postrider_storage::reader::Reader;
use postrider_storage::rows::{AttemptResult, Kind, QueueRow, RecipientRow};
use postrider_storage::store::StoreError;
use tracing::{error, info};

use super::ending::One;
use super::events::Happened;
use super::reports::News;
use super::routing::Routing;
use super::session::{chance, is_service_report};
use super::strays::Stray;
use super::{attempt, events, first, letters, translate};
use crate::clock::unix_now;
use crate::commit;
use crate::config::Config;
use crate::metrics;
use crate::runtime::oneshot::{Receiver, oneshot};
use crate::runtime::{sleep, spawn, spawn_task, timeout_at};
use crate::shard::Shard;
use crate::webhooks::{self, Meta};

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
    /// What TLS had to give.
    pub(super) tls: metrics::AttemptTls,
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
            tls: metrics::AttemptTls::None,
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
    let under_way = One::new(&shard.shared);
    spawn("look after an outcome", async move {
        let _under_way = under_way;
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
struct Unwritten<'a> {
    shard: &'a Shard,
    id: QueueId,
}

impl<'a> Unwritten<'a> {
    fn new(shard: &'a Shard, id: QueueId) -> Self {
        shard.recorder.change(shard.shared.metrics.queue.unwritten, 1);
        Self { shard, id }
    }

    /// Notes why.
    fn failed(&self, error: String) {
        self.shard.deliveries.unwritten.borrow_mut().insert(self.id, error);
    }
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        self.shard.recorder.change(self.shard.shared.metrics.queue.unwritten, -1);
        self.shard.deliveries.unwritten.borrow_mut().remove(&self.id);
    }
}

/// Writes the outcome of an attempt, with the reports on it. It is written again until it is on the disk, or the server
/// stops.
pub(super) async fn write(shard: &Rc<Shard>, tried: Tried, backoff: Backoff) -> Written {
    let now = unix_now();
    let made = u16::try_from(tried.entry.attempts).unwrap_or(u16::MAX);
    let unknown = Verdict::Retry(Failure::ours(Status::temporary(4, 0), "no host was tried"));
    let verdicts: Vec<&Verdict> =
        tried.verdicts.iter().map(|known| known.as_ref().unwrap_or(&unknown)).collect();
    let tells = backoff.tells_of_delay(made) && !tried.entry.delay_reported;
    let outcome = Outcome {
        attempt: tried.entry.attempts,
        now,
        due: backoff.due_when_cut_off(made, now, chance(tried.id)),
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
    let events: Vec<Option<Event>> = verdicts.iter().map(|verdict| event(verdict, tells)).collect();
    let promise = backoff.promise(made, now, chance(tried.id));
    let news = News::new(&tried, verdicts, events.into_iter(), promise);
    let (mut pause, mut unwritten) = (PAUSE_FIRST, None);
    while let Err(error) = conclude(shard, &news, &outcome).await {
        error!(entry = %tried.id.0, %error, "an outcome can't be written; it is tried again");
        if shard.shared.shutdown.is_stopping() {
            return Written::No;
        }
        unwritten.get_or_insert_with(|| Unwritten::new(shard, tried.id)).failed(error);
        let stopped = async {
            shard.shared.shutdown.wait().await;
        };
        or(stopped, sleep(pause)).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
    drop(unwritten);
    log(shard, &tried, &news.verdicts, now);
    Written::Synced
}

/// For how long the configuration says that it is known what became of a message.
pub(crate) fn configured_keep(config: &Config) -> Keep {
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

/// Writes an outcome once, with its reports in the same batch.
async fn conclude(shard: &Rc<Shard>, news: &News<'_>, outcome: &Outcome) -> Result<(), String> {
    let (shared, tried) = (&shard.shared, news.tried);
    let id = tried.id;
    let listener = events::listener(shard, &tried.entry).await.map_err(|error| error.to_string())?;
    let letters = letters::prepare(shard, news).await?;
    let editing = shard.deliveries.edits.conclude(&[id]).await;
    let entry = listener.is_some().then(|| tried.entry.clone());
    let (concluded, meta) = match build(shard, tried, outcome, entry).await {
        Ok(Built::Outcome(concluded, meta)) => (concluded, meta),
        Ok(Built::Nothing(left)) => {
            letters.abandon(shard);
            left.into_iter().for_each(|left| shard.deliveries.notify(left, 0));
            return Ok(());
        }
        Err(error) => {
            letters.abandon(shard);
            return Err(error.to_string());
        }
    };
    let Concluded { mut edit, left, suppressed } = concluded;
    let calls = listener.map(|listener| {
        let happened = happened(tried, outcome, &suppressed);
        listener.add(&shared.store, (id, &tried.entry, &meta), &happened, &mut edit.batch)
    });
    letters.commit(shard, news, edit.batch).await?;
    drop(editing);
    shared.queue_counts.add(edit.delta);
    webhooks::announce(shard, calls.into_iter().flatten()).await;
    for address in suppressed {
        info!(%address, "the address is suppressed from now on");
    }
    if let Some(left) = left {
        // The schedule reads the store again when the session ends; a long session is not waited for.
        shard.deliveries.notify(left, 0);
    }
    Ok(())
}

/// An outcome as it is to be written.
enum Built {
    /// With what programs are told of the message.
    Outcome(Concluded, Meta),
    /// It is there already: an earlier try of which that wasn't known. What waits of the entry has this place.
    Nothing(Option<Scheduled>),
}

/// Builds the edit; `told` is the entry when a program is told of it.
async fn build(
    shard: &Shard,
    tried: &Tried,
    outcome: &Outcome,
    told: Option<QueueRow>,
) -> Result<Built, StoreError> {
    let (id, sender, is_known) = (tried.id, tried.entry.sender, tried.keep.is_some());
    let (mut outcome, configured) = (outcome.clone(), configured_keep(&shard.shared.config));
    let read = move |reader: &Reader| {
        if !is_known {
            outcome.retired_until = until(keep_of(reader, sender, configured)?, outcome.now);
        }
        forget_consequences(reader, sender, &mut outcome)?;
        let Some(concluded) = queue::outcome(reader, id, &outcome)? else {
            let left = queue::entry(reader, id)?.map(|row| Scheduled::of(id, &row));
            return Ok(Built::Nothing(left.filter(|left| left.due < queue::UNDERWAY)));
        };
        let meta = told.map(|entry| events::meta(reader, id, &entry)).transpose()?;
        Ok(Built::Outcome(concluded, meta.unwrap_or_default()))
    };
    shard.shared.reads.run(read).await
}

/// What failed says nothing about later mail of an account that was removed meanwhile.
fn forget_consequences(reader: &Reader, sender: u32, outcome: &mut Outcome) -> Result<(), StoreError> {
    let mut consequences = outcome.recipients.iter_mut().filter_map(|(_, fate)| match fate {
        Fate::Failed(_, consequence) if *consequence != Consequence::None => Some(consequence),
        _ => None,
    });
    let (Some(first), Some(account)) = (consequences.next(), AccountId::new(sender)) else { return Ok(()) };
    if Directory::new(reader.snapshot()).account(account)?.is_none() {
        *first = Consequence::None;
        consequences.for_each(|consequence| *consequence = Consequence::None);
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
    let (account, from) = (tried.entry.sender, attempt::text(&tried.entry.mail_from));
    for ((_, row), verdict) in tried.recipients.iter().zip(verdicts) {
        let to = attempt::text(&row.address);
        let result = match verdict {
            Verdict::Delivered { host, answer, .. } => {
                info!(entry, attempt, account, %from, %to, %host, reply = %answer, seconds, "delivered to another server");
                metrics::Leaving::Delivered
            }
            Verdict::Retry(failure) => {
                info!(entry, attempt, account, %from, %to, reason = %failure.reason, "not delivered yet");
                metrics::Leaving::Deferred
            }
            Verdict::Failed { failure, is_expired } => {
                info!(entry, attempt, account, %from, %to, reason = %failure.reason, expired = is_expired, "not delivered");
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
            let directory = Directory::new(reader.snapshot());
            let mut known: HashMap<_, Routing> = HashMap::new();
            let mut claim = |id: QueueId| {
                let Some(entry) = queue::entry(reader, id)? else { return Ok(None) };
                let routing = match known.entry((entry.sender, entry.mail_from.clone())) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(vacant) => vacant.insert(Routing::of_entry(&directory, &entry, keep)?),
                };
                if !goes_by(routing, &entry, &transport, &config.delivery.routes) {
                    return Ok(None);
                }
                let made = u16::try_from(entry.attempts.saturating_add(1)).unwrap_or(u16::MAX);
                let backoff = backoff_of(configured, &entry);
                let next = backoff.due_when_cut_off(made, now, chance(id));
                let claimed = queue::claim_row(reader, id, entry, queue::Attempt { now, next })?;
                Ok::<_, StoreError>(claimed.map(|claimed| (id, claimed, backoff)))
            };
            for due in queue::due(reader, from, now, others + SHARED_MAX)?.entries {
                match if strays.contains(&due.id) { Ok(None) } else { claim(due.id) } {
                    Ok(Some(row)) => rows.push(row),
                    Ok(None) => left += 1,
                    // One that is damaged is told of when it is to be claimed.
                    Err(error) if error.is_of_rows() => left += 1,
                    Err(error) => return Err(error),
                }
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
        // All at once, so that they share a sync.
        let mut written: Vec<Writing> = Vec::with_capacity(rows.len());
        for (id, claimed, backoff) in rows {
            let entry = claimed.entry;
            let made = u16::try_from(entry.attempts).unwrap_or(u16::MAX);
            let mut tried = Tried::new(id, entry, claimed.recipients, now);
            tried.all(&Verdict::of(failure.clone(), made, backoff.attempts_max));
            let result = metrics::AttemptResult::of(&tried.verdicts);
            shard.recorder.increment(shard.shared.metrics.queue.attempts(tried.entry.attempts, result));
            written.push(start(shard, tried, backoff));
        }
        let mut is_written = true;
        for mut writing in written {
            // What the store refuses now goes its own way.
            is_written = is_written && writing.done().await.is_some();
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

//! Writing what came of an attempt: who got the message, who waits, and who is told what.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use postrider_delivery::backoff::Backoff;
use postrider_delivery::outcome::{Failure, Signal, Status, Verdict};
use postrider_delivery::report::{Event, decide};
use postrider_delivery::suppression::{Suppress, decide as suppresses};
use postrider_storage::engine::Durability;
use postrider_storage::ids::QueueId;
use postrider_storage::queue::{self, Consequence, Edit, Fate, Outcome};
use postrider_storage::rows::{AttemptResult, QueueRow, RecipientRow};
use tracing::{error, info};

use super::session::{chance, is_service_report};
use super::{attempt, first, reports, translate};
use crate::clock::unix_now;
use crate::commit;
use crate::metrics;
use crate::runtime::sleep;
use crate::shard::Shard;

/// The pause before an outcome that couldn't be written is written again.
const PAUSE: Duration = Duration::from_secs(5);
/// Entries of a domain that cannot be reached which are looked at in one step.
const SHARED_MAX: usize = 64;

/// Whether an outcome is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// It is.
    Synced,
    /// The server stops, and the store takes no writes.
    No,
}

/// An attempt, and what came of it.
pub(super) struct Tried {
    pub(super) id: QueueId,
    pub(super) entry: QueueRow,
    pub(super) recipients: Vec<(u32, RecipientRow)>,
    /// What becomes of each recipient; none as long as it isn't known.
    pub(super) verdicts: Vec<Option<Verdict>>,
    /// Recipients that are on the suppression list.
    pub(super) suppressed: usize,
    /// Addresses that were dialed.
    pub(super) dialed: Vec<IpAddr>,
    /// What was learnt of the domain.
    pub(super) signal: Signal,
    pub(super) began: i64,
}

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
            suppressed: 0,
            dialed: Vec::new(),
            signal: Signal::Neutral,
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
        retired_until: retired_until(shard, now),
    };
    let told: Vec<(usize, Event)> =
        events.iter().enumerate().filter_map(|(place, event)| Some((place, (*event)?))).collect();
    let wanted = {
        let asked: Vec<_> =
            told.iter().map(|(place, event)| (*event, tried.recipients[*place].1.notify)).collect();
        decide(&reports::about(&tried.entry), &asked)
    };
    let mut written = 0;
    loop {
        let reported = reports::write(shard, &tried, &told, &wanted, &verdicts, &promise, &mut written).await;
        match reported {
            Ok(()) => match conclude(shard, tried.id, &outcome).await {
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
        sleep(PAUSE).await;
    }
    log(shard, &tried, &verdicts, now);
    Written::Synced
}

/// Until when it is known what became of a recipient that leaves the queue now.
pub(super) fn retired_until(shard: &Shard, now: i64) -> Option<i64> {
    let keep = shard.shared.config.delivery.keep_retired;
    keep.map(|time| now.saturating_add(i64::try_from(time.as_secs()).unwrap_or(i64::MAX)))
}

async fn conclude(shard: &Rc<Shard>, id: QueueId, outcome: &Outcome) -> Result<(), String> {
    let shared = &shard.shared;
    let editing = shard.deliveries.edits.conclude(&[id]).await;
    let built = {
        let outcome = outcome.clone();
        shared.reads.run(move |reader| queue::outcome(reader, id, &outcome)).await
    };
    let Some(concluded) = built.map_err(|error| error.to_string())? else { return Ok(()) };
    let (edit, left) = (concluded.edit, concluded.left);
    commit::commit(&shared.committer, edit.batch, Durability::Synced)
        .await
        .map_err(|error| error.to_string())?;
    drop(editing);
    shared.queue_counts.add(edit.delta);
    for address in concluded.suppressed {
        info!(%address, "the address is suppressed from now on");
    }
    if let Some(left) = left {
        // The schedule reads the store again when the session ends; a long session is not waited for.
        shard.deliveries.notify(left, 0);
    }
    Ok(())
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
                metrics::Leaving::Failed
            }
        };
        shard.recorder.increment(known.results.at([result as usize]));
    }
    shard.recorder.add(known.suppressed, tried.suppressed as u64);
}

/// Counts an attempt for everything of a domain that is due and that nobody can reach, without connecting for each.
pub(super) async fn share(shard: &Rc<Shard>, domain: u64, failure: Option<Failure>) {
    let failure = failure
        .unwrap_or_else(|| Failure::ours(Status::temporary(4, 1), "the domain's servers can't be reached"));
    let configured = shard.shared.config.delivery.backoff;
    loop {
        let now = unix_now();
        let editing = shard.deliveries.edits.claim(domain).await;
        let from = shard.deliveries.fronts.ask(domain).from;
        let due = shard.shared.reads.run(move |reader| {
            let mut rows = Vec::new();
            for due in queue::due(reader, from, now, SHARED_MAX)? {
                let Some(entry) = queue::entry(reader, due.id)? else { continue };
                let made = u16::try_from(entry.attempts.saturating_add(1)).unwrap_or(u16::MAX);
                let backoff = backoff_of(configured, &entry);
                let next = backoff.due_when_cut_off(made, now, chance(due.id));
                let Some(claimed) = queue::claim(reader, due.id, queue::Attempt { now, next })? else {
                    continue;
                };
                rows.push((due.id, claimed, backoff));
            }
            Ok(rows)
        });
        let mut rows = match due.await {
            Ok(rows) => rows,
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
            return;
        }
        drop(editing);
        for (id, claimed, backoff) in rows {
            let entry = claimed.entry;
            let made = u16::try_from(entry.attempts).unwrap_or(u16::MAX);
            let mut tried = Tried::new(id, entry, claimed.recipients, now);
            tried.all(&Verdict::of(failure.clone(), made, backoff.attempts_max));
            let _ = write(shard, tried, backoff).await;
        }
    }
    let mark = shard.deliveries.mark(domain);
    if let Ok(first) = first(shard, domain).await {
        shard.deliveries.set(domain, mark, first.map(|first| first.due));
    }
}

/// A result as a report has it.
pub(super) fn result_of(verdict: &Verdict, now: i64) -> AttemptResult {
    match fate(verdict, now) {
        Fate::Delivered(result) | Fate::Failed(result, _) | Fate::Waits(result) => result,
    }
}

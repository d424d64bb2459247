//! One session: entries of a domain, one after the other, over one connection while that lasts.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::pending;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_lite::future::or;
use postrider_delivery::backoff::Backoff;
use postrider_delivery::outcome::{Failure, Signal};
use postrider_delivery::schedule::{Afterwards, Ended, Next, Notice, SessionId, Turn, pick};
use postrider_delivery::security::Channel;
use postrider_delivery::tls_results;
use postrider_storage::account::hash;
use postrider_storage::engine::Durability;
use postrider_storage::ids::QueueId;
use postrider_storage::queue::{self, Attempt, Claimed, Edit, Scheduled};
use postrider_storage::reader::Reader;
use postrider_storage::rows::{Held, Kind, QueueRow};
use postrider_storage::store::StoreError;
use tracing::{error, warn};

use super::connection::Connection;
use super::ending::One;
use super::ends::Slot;
use super::hosts::Busy;
use super::outcome::{Writing, Written};
use super::shares::Share;
use super::strays::Stray;
use super::{attempt, first, outcome};
use crate::clock::unix_now;
use crate::commit;
use crate::runtime::{sleep, spawn, spawn_task};
use crate::shard::Shard;

/// Due entries that are looked at for each that is claimed, so that accounts have their turns.
const CANDIDATES: usize = 4;
/// Seconds until a domain is tried again whose entries could not be claimed.
const PAUSE_AFTER_FAILURE: i64 = 30;
/// Seconds until a domain is looked at again of which only accounts have due entries that have their share of sessions.
const PAUSE_OF_SHARE: i64 = 5;
/// How often so many entries are passed over, all of accounts that have their share of sessions, to find one of another.
const PAGES_PASSED_MAX: usize = 20;
/// How long one message may take until those behind it are given back, so that others may deliver them; up to twice that.
const WAITING_TIME: Duration = Duration::from_secs(5);

/// A connection that took a message.
pub(super) struct Open {
    pub(super) connection: Connection,
    /// The transport that it belongs to; empty for direct delivery.
    pub(super) transport: Box<str>,
    pub(super) host: String,
    pub(super) address: IpAddr,
    pub(super) channel: Channel,
    /// What reports on TLS say of it.
    pub(super) seen: Option<tls_results::Session>,
    /// Since when it lies idle, or lay until it was taken up again.
    pub(super) rested: Option<Instant>,
}

/// A session.
pub(super) struct Session {
    pub(super) shard: Rc<Shard>,
    pub(super) id: SessionId,
    pub(super) domain: u64,
    pub(super) open: Option<Open>,
    /// The outcome of the message before, on its way to the disk.
    pub(super) writing: Option<Writing>,
    /// Where it notes whose end it sends.
    pub(super) slot: Rc<Slot>,
    /// What it has claimed, the entry that it delivers in front; without those whose outcome is being written.
    in_hand: Rc<RefCell<VecDeque<QueueId>>>,
    /// Why the last attempt failed, when that would be the same for every message to the domain by this transport.
    pub(super) shared: Option<(Box<str>, Failure)>,
}

/// What a turn has to deliver.
struct Batch {
    claimed: Vec<(QueueId, Claimed)>,
    /// The first due entry of those that are left.
    left: Option<Scheduled>,
    /// Some were left since their accounts have their share of sessions.
    waits_for_share: bool,
}

/// How a turn went.
enum Turned {
    /// All that was claimed is done.
    Done(Signal),
    /// Nothing was tried: not before this.
    Postponed(i64),
}

/// Starts a session, or goes on with one.
pub(super) fn spawn_one(shard: &Rc<Shard>, turn: Turn, open: Option<Open>) {
    let in_hand = Rc::new(RefCell::default());
    let session = Session {
        shard: Rc::clone(shard),
        id: turn.session,
        domain: turn.domain,
        open,
        writing: None,
        slot: Rc::new(shard.deliveries.ends.slot()),
        in_hand: Rc::clone(&in_hand),
        shared: None,
    };
    count_sessions(shard, 1);
    let shard = Rc::clone(shard);
    let id = turn.session;
    let under_way = One::new(&shard.shared);
    spawn("look after a session", async move {
        let _under_way = under_way;
        if spawn_task("deliver to a domain", session.run(turn)).await.is_err() {
            // The entry that it delivered may have arrived; the others were not tried. The domain goes on after a pause.
            let mut in_hand = in_hand.take();
            let attempts_max = shard.shared.config.delivery.backoff.attempts_max;
            shard.deliveries.strays.add(in_hand.pop_front(), Stray::CutOff { attempts_max });
            shard.deliveries.strays.add(in_hand, Stray::Untried);
            let now = unix_now();
            let postponed = Some(now + PAUSE_AFTER_FAILURE);
            let ended = Ended { signal: Signal::Neutral, postponed, first_due: Some(now) };
            let _ = shard.deliveries.schedule.borrow_mut().finished(id, ended, now);
        }
        count_sessions(&shard, -1);
        shard.deliveries.changed.notify();
    });
}

fn count_sessions(shard: &Shard, change: i64) {
    let sessions = &shard.deliveries.sessions;
    sessions.set(sessions.get() + change);
    shard.recorder.set(shard.shared.metrics.queue.sessions, sessions.get());
}

/// The chance of an entry: drawn once, so that all its times are known ahead.
pub(super) fn chance(id: QueueId) -> u64 {
    hash(&id.0.to_le_bytes())
}

impl Session {
    async fn run(mut self, first: Turn) {
        let mut turn = first;
        let (signal, postponed) = loop {
            if let Err(Busy(until)) = self.take_place() {
                break (Signal::Neutral, Some(until));
            }
            let turned = self.turn(turn).await;
            let is_written = self.written().await;
            let signal = match turned {
                Turned::Done(signal) if !is_written => {
                    break (signal, Some(unix_now() + PAUSE_AFTER_FAILURE));
                }
                Turned::Done(signal) => signal,
                Turned::Postponed(until) => break (Signal::Neutral, Some(until)),
            };
            let Some(open) = &mut self.open else { break (signal, None) };
            if !open.connection.is_ready() || self.shard.shared.shutdown.is_stopping() {
                break (signal, None);
            }
            let first_due = self.first_due().await;
            let next = self.schedule(|schedule, id, now| schedule.next(id, signal, first_due, now));
            match next {
                Next::Claim(next) => turn = next,
                Next::Idle => {
                    if let Some(open) = self.open.take() {
                        let open = Open { rested: Some(Instant::now()), ..open };
                        self.shard.deliveries.idle.borrow_mut().insert(self.id, open);
                    }
                    return;
                }
                Next::Close => break (signal, None),
            }
        };
        self.hang_up(signal);
        let first_due = self.first_due().await;
        let ended = Ended { signal, postponed, first_due };
        let afterwards = self.schedule(|schedule, id, now| schedule.finished(id, ended, now));
        if afterwards == Afterwards::Share
            && let Some((transport, failure)) = self.shared.take()
        {
            outcome::share(&self.shard, self.domain, &transport, &failure).await;
        }
    }

    pub(super) fn schedule<T>(
        &self,
        ask: impl FnOnce(&mut postrider_delivery::schedule::Schedule, SessionId, i64) -> T,
    ) -> T {
        let deliveries = &self.shard.deliveries;
        let answer = ask(&mut deliveries.schedule.borrow_mut(), self.id, unix_now());
        // A domain with more to claim, or one that waited for the host, may have its turn now.
        deliveries.changed.notify();
        answer
    }

    /// Ends the connection, and tells what was learnt of its host.
    pub(super) fn hang_up(&mut self, signal: Signal) {
        if self.say_good_bye() {
            self.schedule(|schedule, id, now| schedule.disconnected(id, signal, now));
        }
    }

    /// Ends the connection, and keeps its place at the host. Says whether there was one.
    pub(super) fn say_good_bye(&mut self) -> bool {
        let Some(open) = self.open.take() else { return false };
        spawn("say good-bye", open.connection.quit());
        true
    }

    /// Waits for the outcome of the message before to be on the disk, and says whether it is: one that the store refuses
    /// is left to itself after a while, and holds up nobody.
    pub(super) async fn written(&mut self) -> bool {
        let Some(writing) = &mut self.writing else { return true };
        let Some(written) = writing.done().await else { return false };
        if written == Written::Synced {
            self.slot.settle();
        }
        self.writing = None;
        true
    }

    async fn first_due(&self) -> Option<i64> {
        match first(&self.shard, self.domain).await {
            Ok(first) => first.map(|first| first.due),
            Err(error) => {
                error!(%error, "the queue can't be read");
                Some(unix_now() + PAUSE_AFTER_FAILURE)
            }
        }
    }

    async fn turn(&mut self, turn: Turn) -> Turned {
        let now = unix_now();
        let Batch { claimed, left, waits_for_share } = match self.claim(turn, now).await {
            Ok(claimed) => claimed,
            Err(error) => {
                warn!(%error, "entries of the queue can't be claimed; they are later");
                self.schedule(|schedule, id, now| schedule.claimed(id, 0, Some(now), now));
                return Turned::Postponed(now + PAUSE_AFTER_FAILURE);
            }
        };
        // What is told since the store was read for it is known to the schedule.
        let first_due = left.map(|left| left.due);
        let count = claimed.len();
        self.schedule(|schedule, id, now| schedule.claimed(id, count, first_due, now));
        if count == 0
            && first_due.is_some_and(|due| due <= now)
            && !self.shard.deliveries.strays.ids().is_empty()
        {
            return Turned::Postponed(now + PAUSE_AFTER_FAILURE);
        }
        if count == 0 && waits_for_share {
            return Turned::Postponed(now + PAUSE_OF_SHARE);
        }
        let cut_off = cut_off(Rc::clone(&self.shard), Rc::clone(&self.slot), Rc::clone(&self.in_hand));
        let none_waits = let_none_wait(Rc::clone(&self.shard), Rc::clone(&self.in_hand), (self.domain, now));
        let turned = or(async { Some(self.each(claimed, now).await) }, or(cut_off, none_waits)).await;
        let turned = turned.unwrap_or_else(|| {
            // In the midst of a message, nothing else can be said.
            self.open = None;
            Turned::Postponed(now)
        });
        let rest: Vec<QueueId> = self.in_hand.borrow().iter().copied().collect();
        if !rest.is_empty() {
            give_back(&self.shard, rest, now).await;
            self.in_hand.borrow_mut().clear();
        }
        turned
    }

    /// Delivers what was claimed, until something is in the way of the rest.
    async fn each(&mut self, claimed: Vec<(QueueId, Claimed)>, now: i64) -> Turned {
        let mut signal = Signal::Neutral;
        // That of the account whose entry is being delivered; mostly all are of one.
        let mut share: Option<Share> = None;
        for (id, entry) in claimed {
            if self.shard.shared.shutdown.is_stopping() {
                return Turned::Postponed(now);
            }
            if self.in_hand.borrow().front() != Some(&id) {
                // Others may have it by now.
                break;
            }
            if signal == Signal::Good && self.open.is_some() {
                self.schedule(|schedule, id, now| schedule.delivered(id, now));
            }
            let account = entry.entry.sender;
            if share.as_ref().is_none_or(|share| share.account() != account) {
                drop(share.take());
                share = Some(self.shard.shared.deliveries.shares.take(account));
            }
            match attempt::run(self, id, entry).await {
                attempt::Ended::Tried(learnt) => signal = learnt,
                // They stay due: whoever makes room wakes the domain, before that time.
                attempt::Ended::Busy(until) => return Turned::Postponed(until),
                attempt::Ended::Stuck => return Turned::Postponed(now + PAUSE_AFTER_FAILURE),
            }
        }
        Turned::Done(signal)
    }

    /// Claims entries, and says which one is the first of those that are left.
    async fn claim(&self, turn: Turn, now: i64) -> Result<Batch, String> {
        let deliveries = &self.shard.deliveries;
        let _editing = deliveries.edits.claim(turn.domain).await;
        let shared = &self.shard.shared;
        let backoff = shared.config.delivery.backoff;
        let asked = deliveries.fronts.ask(turn.domain);
        let strays = deliveries.strays.ids();
        let sessions_max = usize::try_from(shared.config.delivery.sessions_max).unwrap_or(usize::MAX);
        let used_up = shared.deliveries.shares.used_up(shared.hosts.sessions(), sessions_max);
        let claim = move |reader: &Reader| {
            let candidates = CANDIDATES * turn.entries_max;
            let mut due = queue::due(reader, asked.from, now, candidates)?;
            let (mut ids, waits_for_share) = choose(reader, &turn, &due.entries, &used_up)?;
            // Others may stand behind those that have their share.
            let mut passed = None;
            for _ in 0..PAGES_PASSED_MAX {
                let Some(next) = due.next.filter(|next| ids.is_empty() && waits_for_share && next.due <= now)
                else {
                    break;
                };
                passed = passed.or(due.entries.first().copied());
                due = queue::due(reader, next, now, candidates)?;
                ids = choose(reader, &Turn { first: Vec::new(), ..turn.clone() }, &due.entries, &used_up)?.0;
            }
            ids.retain(|id| !strays.contains(id));
            let claimed = claim_these(reader, ids, now, backoff)?;
            let is_left = |one: &Scheduled| claimed.iter().all(|(id, _)| *id != one.id);
            let left = passed.or_else(|| due.entries.iter().copied().find(is_left).or(due.next));
            Ok(Batch { claimed, left, waits_for_share })
        };
        let Batch { mut claimed, left, waits_for_share } =
            shared.reads.run(claim).await.map_err(|error| error.to_string())?;
        let mut edit = Edit::default();
        for (_, one) in &mut claimed {
            edit.append(std::mem::take(&mut one.edit));
        }
        let ids = claimed.iter().map(|(id, _)| *id);
        if !edit.batch.is_empty() {
            let committed = commit::commit(&shared.committer, edit.batch, Durability::Buffered).await;
            if let Err(error) = committed {
                // Whether they are claimed, nobody knows.
                deliveries.strays.add(ids, Stray::Untried);
                return Err(error.to_string());
            }
        }
        deliveries.fronts.found(asked, left);
        *self.in_hand.borrow_mut() = ids.collect();
        Ok(Batch { claimed, left, waits_for_share })
    }

    /// Takes what the front entry of those in hand came to, to be written. Its outcome goes its own way from here, whatever
    /// becomes of the session.
    pub(super) fn conclude(&mut self, tried: outcome::Tried, backoff: Backoff) {
        self.in_hand.borrow_mut().pop_front();
        self.writing = Some(outcome::start(&self.shard, tried, backoff));
    }
}

/// Gives entries back that were not tried. Those that can't be are strays.
async fn give_back(shard: &Rc<Shard>, ids: Vec<QueueId>, due: i64) {
    let (shared, deliveries) = (&shard.shared, &shard.deliveries);
    let _editing = deliveries.edits.conclude(&ids).await;
    let these = ids.clone();
    let undo = move |reader: &Reader| {
        let mut edit = Edit::default();
        let mut places = Vec::with_capacity(these.len());
        for id in &these {
            if let Some((one, place)) = queue::unclaim(reader, *id, due)? {
                edit.append(one);
                places.push(place);
            }
        }
        Ok::<_, StoreError>((edit, places))
    };
    let given = match shared.reads.run(undo).await {
        Ok((edit, _)) if edit.batch.is_empty() => Ok(()),
        Ok((edit, places)) => {
            let done = commit::commit(&shared.committer, edit.batch, Durability::Buffered).await;
            places.into_iter().for_each(|place| deliveries.fronts.placed(place));
            done.map(drop).map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = given {
        error!(%error, "claimed entries of the queue can't be given back; they are later");
        deliveries.strays.add(ids, Stray::Untried);
    }
}

/// When the message in front takes long, gives those behind it back, which other sessions may deliver then. Never ends.
async fn let_none_wait<T>(
    shard: Rc<Shard>,
    in_hand: Rc<RefCell<VecDeque<QueueId>>>,
    (domain, due): (u64, i64),
) -> T {
    let front = || in_hand.borrow().front().copied();
    loop {
        let before = front();
        sleep(WAITING_TIME).await;
        if front() != before {
            continue;
        }
        let behind: Vec<QueueId> = {
            let mut in_hand = in_hand.borrow_mut();
            let begun = in_hand.len().min(1);
            in_hand.drain(begun..).collect()
        };
        if behind.is_empty() {
            continue;
        }
        let (shard, under_way) = (Rc::clone(&shard), One::new(&shard.shared));
        spawn("give back what waits behind a message", async move {
            let _under_way = under_way;
            give_back(&shard, behind, due).await;
            let notice = Notice { domain, due, entry: None };
            shard.deliveries.schedule.borrow_mut().notify(notice, unix_now());
            shard.deliveries.changed.notify();
        });
    }
}

/// Ends when the server stops and has no more time, unless the other side may have the message in front: that one is waited
/// for.
async fn cut_off<T>(shard: Rc<Shard>, slot: Rc<Slot>, in_hand: Rc<RefCell<VecDeque<QueueId>>>) -> Option<T> {
    shard.deliveries.cut_off.changed(0).await;
    let front = in_hand.borrow().front().copied();
    if front.is_some_and(|front| slot.is_noted(front)) {
        pending::<()>().await;
    }
    None
}

/// Chooses what to claim of what is due of a domain: what has to come first, then entries of all accounts in turn, but for those
/// that have used up their share of sessions. Says whether some were left for that.
fn choose(
    reader: &Reader,
    turn: &Turn,
    due: &[Scheduled],
    used_up: &[u32],
) -> Result<(Vec<QueueId>, bool), StoreError> {
    let first = turn.first.iter().map(|id| QueueId(*id));
    let rest = due.iter().map(|due| due.id).filter(|id| !turn.first.contains(&id.0));
    if due.len() <= turn.entries_max && used_up.is_empty() {
        return Ok((first.chain(rest).take(turn.entries_max).collect(), false));
    }
    let (mut ids, mut accounts, mut waits_for_share) = (Vec::new(), Vec::new(), false);
    let mut chosen = Vec::new();
    for (id, is_first) in first.map(|id| (id, true)).chain(rest.map(|id| (id, false))) {
        let account = queue::entry(reader, id)?.map_or(0, |row| row.sender);
        if used_up.contains(&account) {
            waits_for_share = true;
        } else if is_first {
            chosen.push(id);
        } else {
            ids.push(id);
            accounts.push(account);
        }
    }
    chosen.extend(pick(&accounts, turn.entries_max).into_iter().map(|place| ids[place]));
    chosen.truncate(turn.entries_max);
    Ok((chosen, waits_for_share))
}

/// Claims those of entries that are still due.
fn claim_these(
    reader: &Reader,
    ids: Vec<QueueId>,
    now: i64,
    backoff: Backoff,
) -> Result<Vec<(QueueId, Claimed)>, StoreError> {
    let mut claimed: Vec<(QueueId, Claimed)> = Vec::with_capacity(ids.len());
    for id in ids {
        // Nothing is claimed twice, whoever named it twice.
        if claimed.iter().any(|(known, _)| *known == id) {
            continue;
        }
        let Some(row) = queue::entry(reader, id)?.filter(|row| is_due(row, now)) else { continue };
        let made = u16::try_from(row.attempts.saturating_add(1)).unwrap_or(u16::MAX);
        let next = outcome::backoff_of(backoff, &row).due_when_cut_off(made, now, chance(id));
        let claim = queue::claim_row(reader, id, row, Attempt { now, next })?;
        claimed.extend(claim.map(|claimed| (id, claimed)));
    }
    Ok(claimed)
}

fn is_due(row: &QueueRow, now: i64) -> bool {
    row.held == Held::No && !row.claimed && row.due <= now
}

/// Whether nobody waits for it: attempts are fewer.
pub(super) fn is_service_report(kind: Kind) -> bool {
    matches!(kind, Kind::DmarcReport | Kind::TlsReport)
}

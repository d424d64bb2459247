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
use postrider_delivery::schedule::{Afterwards, Ended, Next, Notice, SessionId, Turn};
use postrider_delivery::security::Channel;
use postrider_delivery::tls_results;
use postrider_storage::account::hash;
use postrider_storage::engine::Durability;
use postrider_storage::ids::QueueId;
use postrider_storage::queue::{self, Claimed, Edit};
use postrider_storage::reader::Reader;
use postrider_storage::rows::Kind;
use postrider_storage::store::StoreError;
use tracing::{error, warn};

use super::claim::{Found, Wanted};
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

/// Seconds until a domain is tried again whose entries could not be claimed.
const PAUSE_AFTER_FAILURE: i64 = 30;
/// Seconds until a domain is looked at again of which only accounts have due entries that have their share of sessions.
const PAUSE_OF_SHARE: i64 = 5;
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
        let Found { claimed, left, waits_for_share, .. } = match self.claim(turn, now).await {
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
        if count == 0 && waits_for_share {
            return Turned::Postponed(now + PAUSE_OF_SHARE);
        }
        if let Some(left) = left.filter(|left| count == 0 && left.due <= now) {
            warn!(
                entry = left.id.0,
                "what is due of a domain can't be claimed; it is looked at again after a pause. See postrider verifydata"
            );
            return Turned::Postponed(now + PAUSE_AFTER_FAILURE);
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
    async fn claim(&self, turn: Turn, now: i64) -> Result<Found, String> {
        let deliveries = &self.shard.deliveries;
        let _editing = deliveries.edits.claim(turn.domain).await;
        let shared = &self.shard.shared;
        let backoff = shared.config.delivery.backoff;
        let asked = deliveries.fronts.ask(turn.domain);
        let strays = deliveries.strays.ids();
        let sessions_max = usize::try_from(shared.config.delivery.sessions_max).unwrap_or(usize::MAX);
        let used_up = shared.deliveries.shares.used_up(shared.hosts.sessions(), sessions_max);
        let wanted = Wanted { turn, from: asked.from, now, backoff, strays, used_up };
        let found = shared.reads.run(move |reader| wanted.find(reader)).await;
        let mut found = found.map_err(|error| error.to_string())?;
        if !found.damaged.is_empty() {
            // They wait for themselves alone.
            deliveries.strays.add(std::mem::take(&mut found.damaged), Stray::Unreadable);
        }
        let mut edit = Edit::default();
        for (_, one) in &mut found.claimed {
            edit.append(std::mem::take(&mut one.edit));
        }
        let ids = found.claimed.iter().map(|(id, _)| *id);
        if !edit.batch.is_empty() {
            let committed = commit::commit(&shared.committer, edit.batch, Durability::Buffered).await;
            if let Err(error) = committed {
                // Whether they are claimed, nobody knows.
                deliveries.strays.add(ids, Stray::Untried);
                return Err(error.to_string());
            }
        }
        deliveries.fronts.found(asked, found.left);
        *self.in_hand.borrow_mut() = ids.collect();
        Ok(found)
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

/// Whether nobody waits for it: attempts are fewer.
pub(super) fn is_service_report(kind: Kind) -> bool {
    matches!(kind, Kind::DmarcReport | Kind::TlsReport)
}

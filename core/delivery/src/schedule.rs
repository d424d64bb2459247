//! The schedule of a shard: which domain has its turn, over how many connections, and when to look again.
//!
//! The driver tells what happens ([`Schedule::notify`], [`Schedule::claimed`], [`Schedule::finished`], ...) with the
//! time, and takes commands by [`Schedule::poll`] until there are none. Entries stay in the store: here is one small
//! record for each domain that has some (see [`Schedule::octets`]).
//!
//! Each shard of a server has one. What is known of hosts they have in common ([`Hosts`]); what one has to tell another of
//! them is taken by [`Schedule::next_call`], and given to the other's [`Schedule::called`].
//!
//! Always holds:
//! - Domains that are due have their turns in a ring, so that none waits for another's backlog.
//! - There are never more sessions, connections to a host (of all shards), or connections from an address than the
//!   settings say.
//! - A domain or host that can't be reached costs one connection at a time, and with pauses that grow.
//! - A due time that was told is never lost, whatever is read from the store at the same time: a record's `epoch`
//!   says whether what a session read may be older than what the schedule knows.

mod command;
mod host;
mod lane;
mod record;
mod session;
mod source;
#[cfg(test)]
mod tests;
mod window;

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

pub use command::{Afterwards, Call, Command, Ended, Mark, Next, Notice, SessionId, Settings, Turn};
pub use host::{Admission, Hosts};
pub use lane::pick;

use crate::limits::ENTRIES_MAX;
use crate::outcome::Signal;
use command::Told;
use host::{Waiter, Waiting};
use lane::Lanes;
use record::{Place, Record};
use session::{Session, State};
use source::Sources;

/// After so many sessions in a row that were told to come later, all that is due comes later.
const SLOWER_SHARED_AFTER: u8 = 3;

/// The schedule. See the module.
#[derive(Debug)]
pub struct Schedule {
    settings: Settings,
    records: HashMap<u64, Record>,
    waiting: BTreeSet<(i64, u64)>,
    ready: VecDeque<u64>,
    sessions: HashMap<SessionId, Session>,
    sessions_made: u64,
    /// Sessions that aren't idle.
    active: usize,
    idle: BTreeSet<(i64, SessionId)>,
    /// The idle ones of a domain.
    idle_of: HashMap<u64, Vec<SessionId>>,
    hosts: Arc<Hosts>,
    /// Which of those that have the hosts in common this one is.
    shard: usize,
    /// What others are to be told.
    calls: VecDeque<Call>,
    sources: Sources,
    lanes: Lanes,
    last_now: i64,
}

impl Schedule {
    /// A schedule without entries, of a server with one shard.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self::of_shard(settings, Arc::new(Hosts::new(settings)), 0)
    }

    /// The same for one of several shards.
    #[must_use]
    pub fn of_shard(settings: Settings, hosts: Arc<Hosts>, shard: usize) -> Self {
        Self {
            records: HashMap::new(),
            waiting: BTreeSet::new(),
            ready: VecDeque::new(),
            sessions: HashMap::new(),
            sessions_made: 0,
            active: 0,
            idle: BTreeSet::new(),
            idle_of: HashMap::new(),
            hosts,
            shard,
            calls: VecDeque::new(),
            sources: Sources::default(),
            lanes: Lanes::default(),
            last_now: i64::MIN,
            settings,
        }
    }

    /// Takes a due time.
    pub fn notify(&mut self, notice: Notice, now: i64) {
        if notice.due == i64::MAX {
            return;
        }
        let record = self.records.entry(notice.domain).or_insert_with(|| Record::new(self.settings));
        let is_behind = record.running > 0 || record.is_claiming || record.place == Place::Ready;
        record.told(notice.due);
        if let (true, Some((entry, account))) = (is_behind && notice.due <= now, notice.entry) {
            self.lanes.add(notice.domain, entry, account);
        }
        self.place(notice.domain, now);
    }

    /// What is known of a domain now, to be passed to [`Schedule::set`]: to be taken before its first row is read.
    #[must_use]
    pub fn mark(&self, domain: u64) -> Mark {
        Mark(self.records.get(&domain).map(|record| record.epoch))
    }

    /// Takes the due time of a domain's first row, after entries were held, released, moved or removed. Where
    /// something was told since `mark`, the earlier time stays, and is found to be void at its turn if it is.
    pub fn set(&mut self, domain: u64, mark: Mark, first_due: Option<i64>, now: i64) {
        let first_due = first_due.unwrap_or(i64::MAX);
        let is_exact = self.mark(domain) == mark;
        let record = self.records.entry(domain).or_insert_with(|| Record::new(self.settings));
        if is_exact {
            record.due = first_due;
        }
        record.told(first_due);
        self.place(domain, now);
    }

    /// Lets a domain have its turn without waiting for the end of a pause: an operator wants to know.
    pub fn kick(&mut self, domain: u64, now: i64) {
        if let Some(record) = self.records.get_mut(&domain) {
            record.not_before = i64::MIN;
            self.place(domain, now);
        }
    }

    /// What is to be done now; to be called until it is nothing.
    pub fn poll(&mut self, now: i64) -> Option<Command> {
        self.look_at_clock(now);
        if let Some(session) =
            self.idle.first().filter(|(until, _)| *until <= now).map(|(_, session)| *session)
        {
            self.forget_idle(session, now);
            return Some(Command::Close(session));
        }
        while let Some((at, domain)) = self.waiting.first().copied().filter(|(at, _)| *at <= now) {
            self.waiting.remove(&(at, domain));
            if let Some(record) = self.records.get_mut(&domain) {
                record.place = Place::Ready;
                self.ready.push_back(domain);
            }
        }
        while self.active < self.settings.sessions_max {
            let domain = self.ready.pop_front()?;
            let Some(record) = self.records.get_mut(&domain) else { continue };
            if record.place != Place::Ready {
                continue;
            }
            record.place = Place::None;
            if record.is_startable(now) {
                return Some(self.start(domain));
            }
            self.place(domain, now);
        }
        None
    }

    /// When to call [`Schedule::poll`] again, if nothing else happens before.
    #[must_use]
    pub fn next_wake(&self) -> Option<i64> {
        let waiting = self.waiting.first().map(|(at, _)| *at);
        let idle = self.idle.first().map(|(until, _)| *until);
        waiting.into_iter().chain(idle).min()
    }

    /// How many domains are due, and wait for their turn: until there is a session for one of them.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    fn start(&mut self, domain: u64) -> Command {
        let idle = self.idle_of.get(&domain).and_then(|sessions| sessions.last().copied());
        match idle {
            Some(session) => {
                self.leave_idle(session);
                Command::Reuse(self.turn(session, domain))
            }
            None => {
                self.sessions_made += 1;
                let session = SessionId(self.sessions_made);
                self.sessions.insert(session, Session::new(domain));
                Command::Start(self.turn(session, domain))
            }
        }
    }

    /// Gives a session its turn; it counts as active from here.
    fn turn(&mut self, session: SessionId, domain: u64) -> Turn {
        self.active += 1;
        let record = self.records.entry(domain).or_insert_with(|| Record::new(self.settings));
        record.running += 1;
        record.is_claiming = true;
        record.waits_for_host = false;
        // What it reads counts, and what is told meanwhile.
        record.due = i64::MAX;
        if let Some(state) = self.sessions.get_mut(&session) {
            state.state = State::Claiming;
            state.epoch = record.epoch;
        }
        Turn { session, domain, entries_max: ENTRIES_MAX, first: self.lanes.take(domain) }
    }

    /// Takes that a session has claimed this many entries, and what the domain's first row says after that. With no
    /// entries, [`Schedule::next`] or [`Schedule::finished`] follows at once.
    pub fn claimed(&mut self, session: SessionId, entries: usize, first_due: Option<i64>, now: i64) {
        let Some(state) = self.sessions.get_mut(&session) else { return };
        if state.state != State::Claiming {
            return;
        }
        state.state = State::Running;
        state.transactions = state.transactions.saturating_add(u32::try_from(entries).unwrap_or(u32::MAX));
        let domain = state.domain;
        if let Some(record) = self.records.get_mut(&domain) {
            record.is_claiming = false;
        }
        self.read(session, first_due);
        self.place(domain, now);
    }

    /// Takes what a session read of its domain's first row.
    fn read(&mut self, session: SessionId, first_due: Option<i64>) {
        let Some(state) = self.sessions.get_mut(&session) else { return };
        let Some(record) = self.records.get_mut(&state.domain) else { return };
        let first_due = first_due.unwrap_or(i64::MAX);
        if record.epoch == state.epoch {
            record.due = first_due;
        }
        record.told(first_due);
        state.epoch = record.epoch;
    }

    /// Asks whether a session may connect from `source` (none: the system's choice) to an address. A connection that
    /// the session had counts as ended; one to the same address leaves its place to this one.
    pub fn connect(
        &mut self,
        session: SessionId,
        address: IpAddr,
        source: Option<IpAddr>,
        now: i64,
    ) -> Admission {
        let kept =
            self.sessions.get_mut(&session).filter(|state| state.connection == Some((address, source)));
        if let Some(state) = kept {
            state.is_shared = false;
            return Admission::Go;
        }
        self.disconnect(session, None, now);
        let Some(state) = self.sessions.get_mut(&session) else {
            return Admission::Busy { until: now.saturating_add(1) };
        };
        let Some(record) = self.records.get_mut(&state.domain) else {
            return Admission::Busy { until: now.saturating_add(1) };
        };
        if self.sources.is_full(source, self.settings.source_connections_max) {
            return Admission::Busy { until: now.saturating_add(source::LOOK_AGAIN) };
        }
        let (waits, waiter) =
            (&mut record.waits_for_host, Waiter { shard: self.shard, domain: state.domain });
        let (admission, idle) = self.hosts.admit(address, waiter, waits, now);
        match admission {
            Admission::Go => {
                self.sources.add(source);
                state.connection = Some((address, source));
                state.is_shared = false;
            }
            Admission::Busy { .. } => {
                state.waits_for_host = record.waits_for_host;
                match idle {
                    Some((shard, at_once)) if shard == self.shard => {
                        self.close_idle_to(address, at_once, now);
                    }
                    Some((shard, at_once)) => {
                        self.calls.push_back(Call { shard, address, told: Told::MakeRoom { at_once } });
                    }
                    None => {}
                }
            }
            Admission::Down { .. } => {}
        }
        admission
    }

    /// Takes that a session's connection, or its attempt at one, has ended, and what was learnt of the host.
    pub fn disconnected(&mut self, session: SessionId, signal: Signal, now: i64) {
        self.disconnect(session, Some(signal), now);
    }

    fn disconnect(&mut self, session: SessionId, signal: Option<Signal>, now: i64) {
        let Some((address, source)) =
            self.sessions.get_mut(&session).and_then(|state| state.connection.take())
        else {
            return;
        };
        self.sources.remove(source);
        for waiter in self.hosts.release(address, self.shard, signal, now) {
            self.wake_or_pass_on(address, waiter, now);
        }
    }

    /// Wakes a domain for which a place at a host is kept, or the next one where it has nothing to send.
    fn wake_or_pass_on(&mut self, address: IpAddr, waiter: Waiter, now: i64) {
        let mut called = Some(waiter);
        while let Some(waiter) = called {
            let Waiter { shard, domain } = waiter;
            if shard != self.shard {
                return self.calls.push_back(Call { shard, address, told: Told::Woken(domain) });
            }
            called = if self.wake(domain, now) { None } else { self.hosts.pass_on(address, waiter, now) };
        }
    }

    /// What another shard is to be told; to be called until it is nothing, as [`Schedule::poll`].
    pub fn next_call(&mut self) -> Option<Call> {
        self.calls.pop_front()
    }

    /// Takes what another shard told.
    pub fn called(&mut self, call: &Call, now: i64) {
        match call.told {
            Told::Woken(domain) => {
                let waiter = Waiter { shard: self.shard, domain };
                self.wake_or_pass_on(call.address, waiter, now);
            }
            Told::MakeRoom { at_once } => self.close_idle_to(call.address, at_once, now),
        }
    }

    /// Wakes a domain that waits for a host; whether it did.
    fn wake(&mut self, domain: u64, now: i64) -> bool {
        let Some(record) = self.records.get_mut(&domain).filter(|record| record.waits_for_host) else {
            return false;
        };
        record.waits_for_host = false;
        if record.failures > 0 {
            return false;
        }
        record.not_before = record.not_before.min(now);
        self.place(domain, now);
        true
    }

    /// Asks what a session does after its claimed entries are done, and written, over a connection that is good.
    pub fn next(&mut self, session: SessionId, signal: Signal, first_due: Option<i64>, now: i64) -> Next {
        let Some(state) = self.sessions.get(&session) else { return Next::Close };
        let (domain, transactions, connection) = (state.domain, state.transactions, state.connection);
        let is_shared = state.is_shared;
        if state.state != State::Running || connection.is_none() {
            return Next::Close;
        }
        self.read(session, first_due);
        self.learn(domain, signal, now);
        if let Some((address, _)) = connection {
            self.hosts.learn(address, signal, now);
        }
        let is_used_up = transactions >= crate::limits::TRANSACTIONS_MAX;
        let Some(record) = self.records.get_mut(&domain).filter(|_| !is_used_up) else { return Next::Close };
        // As if it had ended: whether it goes on is decided like every other turn.
        record.running -= 1;
        self.active -= 1;
        let others_wait = self.active + 1 >= self.settings.sessions_max && !self.ready.is_empty();
        if record.is_startable(now) && !others_wait {
            // Its place in the ring is found to be void when its turn comes.
            return Next::Claim(self.turn(session, domain));
        }
        // A connection that lies idle would keep a place from who waits for one, unless that can take it over: which those
        // of other shards can't. They have their own for that, as a new one for each message would cost more than it gives;
        // what isn't used soon, there are too many of here. That it serves the own ones first doesn't last, as it is used
        // up one day.
        let waiting = connection.map_or(Waiting::Nobody, |(to, _)| self.hosts.waiting(to, self.shard));
        let wait = match waiting {
            Waiting::Nobody => Some(self.settings.idle_wait),
            Waiting::Here if is_shared => Some(self.settings.idle_wait),
            Waiting::Elsewhere if is_shared => Some(session::IDLE_WHILE_OTHERS_WAIT),
            Waiting::Here | Waiting::Elsewhere | Waiting::Without => None,
        };
        if let Some(wait) = wait.filter(|_| self.idle.len() < self.settings.idle_max) {
            self.enter_idle(session, domain, now.saturating_add(i64::from(wait)));
            self.place(domain, now);
            while let (Waiting::Here, Some((address, _))) = (waiting, connection)
                && let Some(next) = self.hosts.next_here(address, self.shard)
            {
                if self.wake(next, now) {
                    break;
                }
            }
            return Next::Idle;
        }
        record.running += 1;
        self.active += 1;
        Next::Close
    }

    /// Takes that a session has ended: once for each [`Command::Start`], unless [`Command::Close`] came.
    pub fn finished(&mut self, session: SessionId, ended: Ended, now: i64) -> Afterwards {
        let is_idle = self.sessions.get(&session).is_some_and(|state| state.state == State::Idle);
        if is_idle {
            // Its connection ended by itself.
            self.leave_idle(session);
        }
        self.disconnect(session, None, now);
        self.read(session, ended.first_due);
        let Some(state) = self.sessions.remove(&session) else { return Afterwards::Nothing };
        self.learn(state.domain, ended.signal, now);
        if !is_idle {
            self.active -= 1;
            if let Some(record) = self.records.get_mut(&state.domain) {
                record.running -= 1;
                record.is_claiming &= state.state != State::Claiming;
                // Room that was made between its answer and its end counts: nobody would wake the domain again.
                let is_woken = state.waits_for_host && !record.waits_for_host;
                if let Some(until) = ended.postponed.filter(|_| !is_woken) {
                    record.not_before = record.not_before.max(until);
                }
            }
        }
        let shares = self.records.get(&state.domain).is_some_and(|record| {
            let is_settled = match ended.signal {
                Signal::Down => true,
                Signal::Slower => record.failures >= SLOWER_SHARED_AFTER,
                Signal::Good | Signal::Neutral => false,
            };
            is_settled && record.due <= now && record.running == 0
        });
        self.place(state.domain, now);
        if shares { Afterwards::Share } else { Afterwards::Nothing }
    }

    /// Takes what was learnt of a domain.
    fn learn(&mut self, domain: u64, signal: Signal, now: i64) {
        let settings = self.settings;
        let Some(record) = self.records.get_mut(&domain) else { return };
        match signal {
            Signal::Good => {
                record.failures = 0;
                record.window.grow(settings.domain_sessions_max);
            }
            Signal::Neutral => record.failures = 0,
            // There were too many at a time.
            Signal::Slower if record.running > 1 => record.window.shrink(),
            Signal::Slower | Signal::Down => {
                // What runs at the same time fails at the same time, and counts once.
                if record.not_before <= now {
                    record.failures = record.failures.saturating_add(1);
                    let pause = window::pause(settings, record.failures);
                    record.not_before = now.saturating_add(pause);
                }
                if signal == Signal::Down { record.window.close() } else { record.window.shrink() }
            }
        }
    }

    /// Puts a record where it belongs, and forgets it when nothing is left of it.
    fn place(&mut self, domain: u64, now: i64) {
        let Entry::Occupied(mut entry) = self.records.entry(domain) else { return };
        let record = entry.get_mut();
        let at = record.due.max(record.not_before);
        match record.place {
            // Looked at again when its turn comes.
            Place::Ready => return,
            Place::Waiting if record.has_room() && record.waits_until == at => return,
            Place::Waiting => {
                self.waiting.remove(&(record.waits_until, domain));
                record.place = Place::None;
            }
            Place::None => {}
        }
        if record.due == i64::MAX {
            if record.running == 0 && !self.idle_of.contains_key(&domain) {
                entry.remove();
                self.lanes.take(domain);
            }
        } else if record.has_room() {
            if at <= now {
                record.place = Place::Ready;
                self.ready.push_back(domain);
            } else {
                record.place = Place::Waiting;
                record.waits_until = at;
                self.waiting.insert((at, domain));
            }
        }
    }

    /// After the clock was set back, pauses would last by so much longer.
    fn look_at_clock(&mut self, now: i64) {
        let pause_max = i64::from(self.settings.pause_max);
        if now.saturating_add(pause_max) < self.last_now {
            let latest = now.saturating_add(pause_max);
            let mut domains: Vec<u64> = self.records.keys().copied().collect();
            domains.sort_unstable();
            for domain in domains {
                if let Some(record) = self.records.get_mut(&domain) {
                    record.not_before = record.not_before.min(latest);
                }
                self.place(domain, now);
            }
            self.hosts.clock_went_back(latest, now);
        }
        self.last_now = now;
    }
}

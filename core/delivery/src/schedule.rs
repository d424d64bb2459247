//! The schedule of a shard: which domain has its turn, over how many connections, and when to look again.
//!
//! The driver tells what happens ([`Schedule::notify`], [`Schedule::claimed`], [`Schedule::finished`], ...) with the
//! time, and takes commands by [`Schedule::poll`] until there are none. Entries stay in the store: here is one small
//! record for each domain that has some (see [`Schedule::octets`]).
//!
//! Each shard of a server has one. What is known of hosts, and how many connections there are, they have in common
//! ([`Hosts`]); what one has to tell another of that is taken by [`Schedule::next_call`], and given to the other's
//! [`Schedule::called`].
//!
//! Always holds:
//! - Domains that are due have their turns in a ring, so that none waits for another's backlog.
//! - There are never more sessions, connections to a host, or connections from an address, of all shards, than the
//!   settings say; and who waits for one to end is woken when it ends, whichever shard it is of.
//! - A domain or host that can't be reached costs one connection at a time, and with pauses that grow.
//! - A due time that was told is never lost, whatever is read from the store at the same time: a record's `epoch`
//!   says whether what a session read may be older than what the schedule knows.

mod command;
mod host;
mod kept;
mod lane;
mod places;
mod record;
mod session;
#[cfg(test)]
mod tests;
mod window;

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

pub use command::{
    Afterwards, Call, Command, Ended, Mark, Next, Notice, Obstacle, SessionId, Settings, Turn,
};
pub use host::{Admission, Hosts};
pub use lane::pick;

use crate::limits::ENTRIES_MAX;
use crate::outcome::Signal;
use command::Told;
use kept::Kept;
use lane::Lanes;
use places::{Asked, Scope, Waiter, Waiting};
use record::{Place, Record};
use session::{Connection, Session, State};

/// After so many sessions in a row that were told to come later, all that is due comes later.
const SLOWER_SHARED_AFTER: u8 = 3;

/// What a session does when there is no place for its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IfBusy {
    /// It ends, and its domain waits.
    Leave,
    /// It does without.
    GoOn,
}

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
    /// It is among the shards that wait for a place for a session.
    waits_for_place: bool,
    /// One is kept for it.
    has_place: bool,
    /// What is kept for domains that waited for a place for a connection.
    kept: Kept,
    idle: BTreeSet<(i64, SessionId)>,
    /// The idle ones of a domain.
    idle_of: HashMap<u64, Vec<SessionId>>,
    hosts: Arc<Hosts>,
    /// Which of those that have the hosts in common this one is.
    shard: usize,
    /// What others are to be told.
    calls: VecDeque<Call>,
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
            waits_for_place: false,
            has_place: false,
            kept: Kept::default(),
            idle: BTreeSet::new(),
            idle_of: HashMap::new(),
            hosts,
            shard,
            calls: VecDeque::new(),
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

    /// What keeps a domain whose entries are due from its turn.
    #[must_use]
    pub fn obstacle(&self, domain: u64, now: i64) -> Option<Obstacle> {
        let record = self.records.get(&domain).filter(|record| record.due <= now)?;
        if record.not_before > now {
            Some(Obstacle::Pause { until: record.not_before, failures: record.failures })
        } else if record.waits_for_place {
            Some(Obstacle::Connections)
        } else if record.place == Place::Ready && self.hosts.sessions() >= self.settings.sessions_max {
            Some(Obstacle::Sessions)
        } else {
            None
        }
    }

    /// What is to be done now; to be called until it is nothing.
    pub fn poll(&mut self, now: i64) -> Option<Command> {
        self.look_at_clock(now);
        self.give_up_until(now);
        while let Some((at, domain)) = self.waiting.first().copied().filter(|(at, _)| *at <= now) {
            self.waiting.remove(&(at, domain));
            if let Some(record) = self.records.get_mut(&domain) {
                record.place = Place::Ready;
                self.ready.push_back(domain);
            }
        }
        loop {
            let over = self.idle.first().filter(|(until, _)| *until <= now).map(|(_, session)| *session);
            if let Some(session) = over {
                self.forget_idle(session, now);
                return Some(Command::Close(session));
            }
            let Some(domain) = self.ready.pop_front() else { break };
            let Some(record) = self.records.get_mut(&domain).filter(|record| record.place == Place::Ready)
            else {
                continue;
            };
            record.place = Place::None;
            if !record.is_startable(now) {
                self.place(domain, now);
                self.give_up_unheld(domain, now);
                continue;
            }
            match self.start(domain, now) {
                Ok(command) => return Some(command),
                Err(asked) => {
                    // It is first when there is a place.
                    self.ready.push_front(domain);
                    if let Some(record) = self.records.get_mut(&domain) {
                        record.place = Place::Ready;
                    }
                    let asked = asked?;
                    self.ask(Scope::Server, asked, now);
                    if asked.shard != self.shard {
                        return None;
                    }
                }
            }
        }
        if std::mem::take(&mut self.has_place) {
            let waiter = Waiter { shard: self.shard, domain: 0 };
            let called = self.hosts.pass_on(Scope::Server, waiter, now);
            self.call(Scope::Server, called, now);
        }
        None
    }

    /// When to call [`Schedule::poll`] again, if nothing else happens before.
    #[must_use]
    pub fn next_wake(&self) -> Option<i64> {
        let waiting = self.waiting.first().map(|(at, _)| *at);
        let idle = self.idle.first().map(|(until, _)| *until);
        waiting.into_iter().chain(idle).chain(self.kept.first_end()).min()
    }

    /// How many domains are due, and wait for their turn: until there is a session for one of them.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Gives a domain its turn, if there is a place for its session; otherwise says who may make room.
    fn start(&mut self, domain: u64, now: i64) -> Result<Command, Option<Asked>> {
        let idle = self.idle_of.get(&domain).and_then(|sessions| sessions.last().copied());
        if let Some(session) = idle {
            self.leave_idle(session);
            // It has a connection.
            self.give_up_unheld(domain, now);
            return Ok(Command::Reuse(self.turn(session, domain)));
        }
        let waiter = Waiter { shard: self.shard, domain: 0 };
        self.has_place = false;
        self.hosts.take(Scope::Server, waiter, Some(&mut self.waits_for_place), now)?;
        self.sessions_made += 1;
        let session = SessionId(self.sessions_made);
        self.kept.begins(domain, session);
        self.sessions.insert(session, Session::new(domain));
        Ok(Command::Start(self.turn(session, domain)))
    }

    /// Gives a session its turn; it counts as active from here.
    fn turn(&mut self, session: SessionId, domain: u64) -> Turn {
        self.active += 1;
        let record = self.records.entry(domain).or_insert_with(|| Record::new(self.settings));
        record.running += 1;
        record.is_claiming = true;
        record.waits_for_place = false;
        // What it reads counts, and what is told meanwhile.
        record.due = i64::MAX;
        if let Some(state) = self.sessions.get_mut(&session) {
            state.state = State::Claiming;
            state.epoch = record.epoch;
        }
        Turn { session, domain, entries_max: ENTRIES_MAX, first: self.lanes.give(domain, session) }
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
    ///
    /// If there is no place, its domain waits for one, and the session ends as postponed.
    pub fn connect(
        &mut self,
        session: SessionId,
        address: IpAddr,
        source: Option<IpAddr>,
        now: i64,
    ) -> Admission {
        self.admit(session, (address, source), IfBusy::Leave, now)
    }

    /// The same for a session that has tried something already, and goes on if there is no place: nobody waits for one.
    pub fn try_connect(
        &mut self,
        session: SessionId,
        address: IpAddr,
        source: Option<IpAddr>,
        now: i64,
    ) -> Admission {
        self.admit(session, (address, source), IfBusy::GoOn, now)
    }

    fn admit(
        &mut self,
        session: SessionId,
        (address, source): Connection,
        if_busy: IfBusy,
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
        let domain = state.domain;
        let waiter = Waiter { shard: self.shard, domain };
        let waits = (if_busy == IfBusy::Leave).then_some(&mut record.waits_for_place);
        let admitted = self.hosts.admit(address, source, waiter, waits, now);
        match admitted.admission {
            Admission::Go => {
                state.connection = Some((address, source));
                state.is_shared = false;
            }
            Admission::Busy { .. } if if_busy == IfBusy::Leave => {
                state.waits_for_place = record.waits_for_place;
                record.is_leaving = record.waits_for_place;
            }
            Admission::Busy { .. } | Admission::Down { .. } => {}
        }
        if let Some(scope) = self.kept.of(domain, session) {
            let is_of_host = scope == Scope::Host(address);
            let is_of_source = source.is_some_and(|source| scope == Scope::Source(source));
            match admitted.admission {
                Admission::Go if is_of_host || is_of_source => {
                    self.kept.take(domain);
                }
                // Another address may be the one.
                Admission::Down { .. } if !is_of_host => {}
                _ => self.give_up_of(session, now),
            }
        }
        self.call(Scope::Host(address), admitted.called, now);
        if let (Some(full), Some(asked)) = (admitted.full, admitted.asked) {
            self.ask(full, asked, now);
        }
        admitted.admission
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
        // First, since who is woken at the host will want that, too.
        let from = source.map(Scope::Source);
        let called = from.map_or_else(Vec::new, |from| self.hosts.release(from, self.shard, now));
        let at_host = self.hosts.disconnected(address, self.shard, signal, now);
        if let Some(from) = from {
            self.call(from, called, now);
        }
        self.call(Scope::Host(address), at_host, now);
    }

    /// What another shard is to be told; to be called until it is nothing, as [`Schedule::poll`].
    pub fn next_call(&mut self) -> Option<Call> {
        self.calls.pop_front()
    }

    /// Takes what another shard told.
    pub fn called(&mut self, call: &Call, now: i64) {
        match call.told {
            Told::Woken { scope, domain } => {
                self.call(scope, vec![Waiter { shard: self.shard, domain }], now);
            }
            Told::MakeRoom { scope, session, at_once } => {
                self.ask(scope, Asked { shard: self.shard, session, at_once }, now);
            }
        }
    }

    /// Takes that a session's host took a message, and that it goes on with the next one that it claimed. The host may take
    /// more; more sessions for the domain would be for what this one has claimed.
    pub fn delivered(&mut self, session: SessionId, now: i64) {
        let connection = self.sessions.get(&session).and_then(|state| state.connection);
        if let Some((address, _)) = connection {
            let called = self.hosts.learn(address, Signal::Good, now);
            self.call(Scope::Host(address), called, now);
        }
    }

    /// Asks what a session does after its claimed entries are done, and written, over a connection that is good.
    pub fn next(&mut self, session: SessionId, signal: Signal, first_due: Option<i64>, now: i64) -> Next {
        let Some(state) = self.sessions.get(&session) else { return Next::Close };
        let (domain, transactions, connection) = (state.domain, state.transactions, state.connection);
        let is_shared = state.is_shared;
        if state.state != State::Running || connection.is_none() {
            return Next::Close;
        }
        self.lanes.settle(session);
        self.read(session, first_due);
        self.give_up_of(session, now);
        self.learn(domain, signal, now);
        if let Some((address, _)) = connection {
            let called = self.hosts.learn(address, signal, now);
            self.call(Scope::Host(address), called, now);
        }
        let is_used_up = transactions >= crate::limits::TRANSACTIONS_MAX;
        let Some(record) = self.records.get_mut(&domain).filter(|_| !is_used_up) else { return Next::Close };
        // As if it had ended: whether it goes on is decided like every other turn.
        record.running -= 1;
        self.active -= 1;
        let others_wait = self.hosts.is_wanted();
        if record.is_startable(now) && !others_wait {
            // Its place in the ring is found to be void when its turn comes.
            return Next::Claim(self.turn(session, domain));
        }
        if !others_wait
            && let Some(connection) = connection
            && let Some((wait, waiting)) = self.rest(session, connection, is_shared)
        {
            self.enter_idle(session, domain, now.saturating_add(i64::from(wait)));
            self.place(domain, now);
            while waiting == Waiting::Here
                && let Some(next) = self.hosts.next_here(connection.0, self.shard)
            {
                if self.wake(next, now) {
                    break;
                }
            }
            return Next::Idle;
        }
        let Some(record) = self.records.get_mut(&domain) else { return Next::Close };
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
        self.give_up_of(session, now);
        let Some(state) = self.sessions.remove(&session) else { return Afterwards::Nothing };
        if ended.postponed.is_some() {
            self.lanes.take_back(state.domain, session);
        } else {
            self.lanes.settle(session);
        }
        self.learn(state.domain, ended.signal, now);
        if !is_idle {
            self.active -= 1;
            if let Some(record) = self.records.get_mut(&state.domain) {
                record.running -= 1;
                record.is_claiming &= state.state != State::Claiming;
                record.is_leaving &= !state.waits_for_place;
                // Room that was made between its answer and its end counts: nobody would wake the domain again.
                let is_woken = state.waits_for_place && !record.waits_for_place;
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
        if state.waits_for_place && self.records.get(&state.domain).is_none_or(|it| it.place != Place::Ready)
        {
            // It was woken on its way out, and has nothing to send.
            self.give_up_unheld(state.domain, now);
        }
        self.release_place(now);
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
                self.lanes.forget(domain);
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
            self.give_up_all(now);
        }
        self.last_now = now;
    }
}

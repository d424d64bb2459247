//! Sessions: those that do something, and those whose connection waits for a next message.

use std::net::IpAddr;

use super::places::{Scope, Waiting};
use super::record::Record;
use super::{Schedule, SessionId};
use crate::outcome::Signal;

/// Seconds for which a connection may lie idle while domains of other shards wait for one to its host.
pub(super) const IDLE_WHILE_OTHERS_WAIT: u32 = 1;

/// What a session does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It reads and claims entries.
    Claiming,
    /// It delivers them.
    Running,
    /// Its connection waits.
    Idle,
}

/// Where a connection goes to, and where it comes from.
pub(super) type Connection = (IpAddr, Option<IpAddr>);

/// What a session with this connection has places of.
fn scopes(connection: Option<Connection>) -> [Option<Scope>; 3] {
    let (host, source) = connection.map_or((None, None), |(host, source)| (Some(host), source));
    [host.map(Scope::Host), source.map(Scope::Source), Some(Scope::Server)]
}

/// One session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    pub(super) domain: u64,
    /// Its domain's epoch when it began to read.
    pub(super) epoch: u32,
    pub(super) state: State,
    pub(super) transactions: u32,
    pub(super) connection: Option<Connection>,
    /// It was told that there is no place for a connection, and its domain is woken when there is one.
    pub(super) waits_for_place: bool,
    /// Its connection is as good for every other domain that wants one to the same address.
    pub(super) is_shared: bool,
}

impl Session {
    pub(super) fn new(domain: u64) -> Self {
        Self {
            domain,
            epoch: 0,
            state: State::Claiming,
            transactions: 0,
            connection: None,
            waits_for_place: false,
            is_shared: false,
        }
    }
}

impl Schedule {
    /// Whether a session's connection may lie idle, for how many seconds, and who waits for one to its host.
    ///
    /// It would keep a place from who waits for one, unless that can take it over: which those of other shards can't. They
    /// have their own for that, as a new one for each message would cost more than it gives; what isn't used soon, there are
    /// too many of here. That it serves the own ones first doesn't last, as it is used up one day.
    pub(super) fn rest(
        &self,
        session: SessionId,
        connection: Connection,
        is_shared: bool,
    ) -> Option<(u32, Waiting)> {
        if self.idle.len() >= self.settings.idle_max {
            return None;
        }
        // Who begins to wait from here on sees that it lies idle.
        let mut waiting = Waiting::Nobody;
        let mut is_wanted = false;
        for scope in scopes(Some(connection)).into_iter().flatten() {
            let wait = self.hosts.lies_idle(scope, self.shard, session);
            match scope {
                Scope::Host(_) => waiting = wait,
                Scope::Server | Scope::Source(_) => is_wanted |= wait != Waiting::Nobody,
            }
        }
        let wait = match waiting {
            _ if is_wanted => None,
            Waiting::Nobody => Some(self.settings.idle_wait),
            Waiting::Here if is_shared => Some(self.settings.idle_wait),
            Waiting::Elsewhere if is_shared => Some(IDLE_WHILE_OTHERS_WAIT),
            Waiting::Here | Waiting::Elsewhere | Waiting::Without => None,
        };
        if wait.is_none() {
            self.is_used(session, Some(connection));
        }
        wait.map(|wait| (wait, waiting))
    }

    fn is_used(&self, session: SessionId, connection: Option<Connection>) {
        for scope in scopes(connection).into_iter().flatten() {
            self.hosts.is_used(scope, self.shard, session);
        }
    }

    /// Lets a session lie idle that may ([`Schedule::rest`]).
    pub(super) fn enter_idle(&mut self, session: SessionId, domain: u64, until: i64) {
        self.idle.insert((until, session));
        self.idle_of.entry(domain).or_default().push(session);
        if let Some(state) = self.sessions.get_mut(&session) {
            state.state = State::Idle;
        }
    }

    pub(super) fn leave_idle(&mut self, session: SessionId) {
        // There are few.
        self.idle.retain(|(_, idle)| *idle != session);
        if let Some(Session { domain, connection, .. }) = self.sessions.get(&session).copied() {
            self.is_used(session, connection);
            self.drop_idle_of(domain, session);
        }
    }

    fn drop_idle_of(&mut self, domain: u64, session: SessionId) {
        if let Some(sessions) = self.idle_of.get_mut(&domain) {
            sessions.retain(|idle| *idle != session);
            if sessions.is_empty() {
                self.idle_of.remove(&domain);
            }
        }
    }

    /// A connection that waits for one domain makes room for another, at once or when it is not used soon; false when it is
    /// used or gone.
    pub(super) fn close_idle(&mut self, session: SessionId, at_once: bool, now: i64) -> bool {
        let wait = if at_once { 0 } else { i64::from(IDLE_WHILE_OTHERS_WAIT) };
        let closed = now.saturating_add(wait);
        let Some((until, _)) = self.idle.iter().find(|(_, idle)| *idle == session).copied() else {
            return false;
        };
        if until > closed {
            self.idle.remove(&(until, session));
            self.idle.insert((closed, session));
        }
        true
    }

    /// Gives the place of a session that has ended back.
    pub(super) fn release_place(&mut self, now: i64) {
        let called = self.hosts.release(Scope::Server, self.shard, now);
        self.call(Scope::Server, called, now);
    }

    /// Takes that a session's connection is as good for other domains at the host.
    pub fn share(&mut self, session: SessionId) {
        if let Some(state) = self.sessions.get_mut(&session) {
            state.is_shared = true;
        }
    }

    /// Gives the connection of an idle session to one that runs, which delivers to the same host for another domain;
    /// false when there is none any more. The idle session is forgotten: nothing is to be called for it.
    pub fn take_over(&mut self, session: SessionId, idle: SessionId, now: i64) -> bool {
        let is_idle = self.sessions.get(&idle).is_some_and(|state| state.state == State::Idle);
        if !is_idle || !self.sessions.contains_key(&session) {
            return false;
        }
        self.disconnected(session, Signal::Neutral, now);
        self.give_up_of(session, now);
        self.leave_idle(idle);
        let Some(before) = self.sessions.remove(&idle) else { return false };
        if let Some(state) = self.sessions.get_mut(&session) {
            state.connection = before.connection;
            state.transactions = state.transactions.saturating_add(before.transactions);
            state.is_shared = before.is_shared;
        }
        self.place(before.domain, now);
        self.release_place(now);
        true
    }

    pub(super) fn forget_idle(&mut self, session: SessionId, now: i64) {
        self.leave_idle(session);
        self.disconnect(session, None, now);
        if let Some(state) = self.sessions.remove(&session) {
            self.place(state.domain, now);
            self.release_place(now);
        }
    }

    /// Sessions that do something, and those whose connections wait.
    #[must_use]
    pub fn sessions(&self) -> (usize, usize) {
        (self.active, self.idle.len())
    }

    #[cfg(test)]
    pub(super) fn is_idle(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(|state| state.state == State::Idle)
    }

    /// Domains with entries.
    #[must_use]
    pub fn domains(&self) -> usize {
        self.records.len()
    }

    /// What the records of domains take in memory, in octets: about 100 for each, whatever the number of entries.
    #[must_use]
    pub fn octets(&self) -> usize {
        // The table keeps an eighth free, and a byte of control for each place. Nodes of the tree have eleven
        // places, of which two thirds are used when keys come at random.
        let table = self.records.capacity() * 8 / 7 * (size_of::<(u64, Record)>() + 1);
        let tree = self.waiting.len() * size_of::<(i64, u64)>() * 3 / 2;
        table + tree + self.ready.capacity() * size_of::<u64>()
    }
}

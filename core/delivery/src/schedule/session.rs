//! Sessions: those that do something, and those whose connection waits for a next message.

use std::net::IpAddr;

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

/// One session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    pub(super) domain: u64,
    /// Its domain's epoch when it began to read.
    pub(super) epoch: u32,
    pub(super) state: State,
    pub(super) transactions: u32,
    /// Where its connection goes to, and where it comes from.
    pub(super) connection: Option<(IpAddr, Option<IpAddr>)>,
    /// It was told that its host is busy, and its domain is woken when there is room.
    pub(super) waits_for_host: bool,
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
            waits_for_host: false,
            is_shared: false,
        }
    }
}

impl Schedule {
    pub(super) fn enter_idle(&mut self, session: SessionId, domain: u64, until: i64) {
        self.idle.insert((until, session));
        self.idle_of.entry(domain).or_default().push(session);
        if let Some(state) = self.sessions.get_mut(&session) {
            state.state = State::Idle;
        }
        self.tell_idle(session, true);
    }

    fn tell_idle(&self, session: SessionId, is_idle: bool) {
        let connection = self.sessions.get(&session).and_then(|state| state.connection);
        if let Some((address, _)) = connection {
            self.hosts.lies_idle(address, self.shard, is_idle);
        }
    }

    pub(super) fn leave_idle(&mut self, session: SessionId) {
        // There are few.
        self.idle.retain(|(_, idle)| *idle != session);
        self.tell_idle(session, false);
        if let Some(state) = self.sessions.get(&session) {
            self.drop_idle_of(state.domain, session);
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

    /// A connection that waits for one domain makes room for another: the one that has waited longest is closed, at once
    /// or when it is not used soon.
    pub(super) fn close_idle_to(&mut self, address: IpAddr, at_once: bool, now: i64) {
        let wait = if at_once { 0 } else { i64::from(IDLE_WHILE_OTHERS_WAIT) };
        let closed = now.saturating_add(wait);
        let goes_there = |session: &SessionId| {
            let connection = self.sessions.get(session).and_then(|state| state.connection);
            connection.is_some_and(|(to, _)| to == address)
        };
        let idle = self.idle.iter().find(|(until, session)| *until > closed && goes_there(session)).copied();
        if let Some((until, session)) = idle {
            self.idle.remove(&(until, session));
            self.idle.insert((closed, session));
        }
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
        self.leave_idle(idle);
        let Some(before) = self.sessions.remove(&idle) else { return false };
        if let Some(state) = self.sessions.get_mut(&session) {
            state.connection = before.connection;
            state.transactions = state.transactions.saturating_add(before.transactions);
            state.is_shared = before.is_shared;
        }
        self.place(before.domain, now);
        true
    }

    pub(super) fn forget_idle(&mut self, session: SessionId, now: i64) {
        self.leave_idle(session);
        self.disconnect(session, None, now);
        if let Some(state) = self.sessions.remove(&session) {
            self.place(state.domain, now);
        }
    }

    /// Sessions that do something, and those whose connections wait.
    #[must_use]
    pub fn sessions(&self) -> (usize, usize) {
        (self.active, self.idle.len())
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

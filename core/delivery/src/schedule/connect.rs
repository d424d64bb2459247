//! Connections of sessions: whether there is a place for one, its end, and what other shards are told of both.

use std::net::IpAddr;

use super::command::Told;
use super::places::{Asked, Scope, Waiter};
use super::{Admission, Call, Schedule, SessionId};
use crate::outcome::Signal;

/// What a session does when there is no place for its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfBusy {
    /// It ends as postponed, and its domain waits for a place.
    Leave,
    /// It has tried something already, and goes on without: nobody waits for a place.
    GoOn,
}

impl Schedule {
    /// Asks whether a session may connect from `source` (none: the system's choice) to an address. A connection that
    /// the session had counts as ended; one to the same address leaves its place to this one. If there is no place, what
    /// becomes of the session is what it says.
    pub fn connect(
        &mut self,
        session: SessionId,
        address: IpAddr,
        source: Option<IpAddr>,
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

    pub(super) fn disconnect(&mut self, session: SessionId, signal: Option<Signal>, now: i64) {
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
}

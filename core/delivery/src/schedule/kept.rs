//! Places that are kept for domains of this shard that were woken, until one of their sessions has taken them.
//!
//! A place that turns out not to be needed is passed on at once, and one that isn't taken in time when that is over: nobody
//! who waits behind it waits longer than that.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::command::Told;
use super::places::{Asked, KEPT, Scope, Waiter};
use super::record::Place;
use super::{Call, Schedule, SessionId};

#[derive(Clone, Copy, Debug)]
struct One {
    scope: Scope,
    until: i64,
    /// The session that is about to take it.
    taker: Option<SessionId>,
}

/// What is kept, at most one place for a domain.
#[derive(Debug, Default)]
pub(super) struct Kept {
    of: HashMap<u64, One>,
    until: BTreeSet<(i64, u64)>,
}

impl Kept {
    fn has(&self, domain: u64) -> bool {
        self.of.contains_key(&domain)
    }

    /// Takes that a session begins, which will take what is kept for its domain.
    pub(super) fn begins(&mut self, domain: u64, session: SessionId) {
        if let Some(one) = self.of.get_mut(&domain) {
            one.taker.get_or_insert(session);
        }
    }

    /// What a session of a domain is about to take.
    pub(super) fn of(&self, domain: u64, session: SessionId) -> Option<Scope> {
        self.of.get(&domain).filter(|one| one.taker == Some(session)).map(|one| one.scope)
    }

    /// When the first one is over.
    pub(super) fn first_end(&self) -> Option<i64> {
        self.until.first().map(|(until, _)| *until)
    }

    fn add(&mut self, domain: u64, scope: Scope, until: i64) {
        self.of.insert(domain, One { scope, until, taker: None });
        self.until.insert((until, domain));
    }

    /// Takes that it was taken, or is given up.
    pub(super) fn take(&mut self, domain: u64) -> Option<Scope> {
        let One { scope, until, .. } = self.of.remove(&domain)?;
        self.until.remove(&(until, domain));
        Some(scope)
    }
}

impl Schedule {
    /// Wakes those for whom places are kept, or the next ones where they have nothing to send.
    pub(super) fn call(&mut self, scope: Scope, called: Vec<Waiter>, now: i64) {
        if called.is_empty() {
            return;
        }
        let mut called = VecDeque::from(called);
        while let Some(waiter) = called.pop_front() {
            if waiter.shard != self.shard {
                let told = Told::Woken { scope, domain: waiter.domain };
                self.calls.push_back(Call { shard: waiter.shard, told });
            } else if !self.is_woken(scope, waiter.domain, now) {
                called.extend(self.hosts.pass_on(scope, waiter, now));
            }
        }
    }

    /// Wakes who waits for a place; whether it will take it.
    fn is_woken(&mut self, scope: Scope, domain: u64, now: i64) -> bool {
        if scope == Scope::Server {
            self.waits_for_place = false;
            // Whether it is needed is known when it is polled.
            self.has_place = true;
            return true;
        }
        let is_woken = self.wake(domain, now) && !self.kept.has(domain);
        if is_woken {
            self.kept.add(domain, scope, now.saturating_add(KEPT));
        }
        is_woken
    }

    /// Wakes a domain that waits for a place; whether it has its turn at once.
    pub(super) fn wake(&mut self, domain: u64, now: i64) -> bool {
        let Some(record) = self.records.get_mut(&domain).filter(|record| record.waits_for_place) else {
            return false;
        };
        record.waits_for_place = false;
        if record.failures > 0 {
            return false;
        }
        record.not_before = record.not_before.min(now);
        self.place(domain, now);
        self.records.get(&domain).is_some_and(|record| record.place == Place::Ready || record.is_leaving)
    }

    /// Gives up the place that is kept for a domain: others may need it.
    fn give_up(&mut self, domain: u64, now: i64) {
        if let Some(scope) = self.kept.take(domain) {
            let called = self.hosts.pass_on(scope, Waiter { shard: self.shard, domain }, now);
            self.call(scope, called, now);
        }
    }

    /// The same while no session is about to take it.
    pub(super) fn give_up_unheld(&mut self, domain: u64, now: i64) {
        if self.kept.of.get(&domain).is_some_and(|one| one.taker.is_none()) {
            self.give_up(domain, now);
        }
    }

    /// The same for the one that a session was to take.
    pub(super) fn give_up_of(&mut self, session: SessionId, now: i64) {
        if !self.kept.of.is_empty()
            && let Some(domain) = self.sessions.get(&session).map(|state| state.domain)
            && self.kept.of(domain, session).is_some()
        {
            self.give_up(domain, now);
        }
    }

    /// Gives up what was kept until now.
    pub(super) fn give_up_until(&mut self, now: i64) {
        while let Some((_, domain)) = self.kept.until.first().copied().filter(|(until, _)| *until <= now) {
            self.give_up(domain, now);
        }
    }

    /// After the clock was set back, places would be kept for longer.
    pub(super) fn give_up_all(&mut self, now: i64) {
        while let Some((_, domain)) = self.kept.until.first().copied() {
            self.give_up(domain, now);
        }
    }

    /// Has a session with an idle connection make room.
    pub(super) fn ask(&mut self, scope: Scope, asked: Asked, now: i64) {
        let mut next = Some(asked);
        while let Some(Asked { shard, session, at_once }) = next {
            if shard != self.shard {
                let told = Told::MakeRoom { scope, session, at_once };
                return self.calls.push_back(Call { shard, told });
            }
            next = if self.close_idle(session, at_once, now) {
                None
            } else {
                // It is used again, and says by itself that it is over. Maybe another one isn't.
                let another = self.hosts.ask_another(scope, self.shard);
                another.map(|(shard, session)| Asked { shard, session, at_once })
            };
        }
    }
}

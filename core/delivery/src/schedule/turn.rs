//! The turn of a domain: from its start, by way of what its session claims, to its end, and what is learnt of the domain.

use super::command::{Afterwards, Command, Ended, Next, Turn};
use super::places::{Asked, Scope, Waiter, Waiting};
use super::record::{Place, Record};
use super::session::{Session, State};
use super::{Schedule, SessionId, window};
use crate::limits::{ENTRIES_MAX, TRANSACTIONS_MAX};
use crate::outcome::Signal;

/// After so many sessions in a row that were told to come later, all that is due comes later.
const SLOWER_SHARED_AFTER: u8 = 3;

impl Schedule {
    /// Gives a domain its turn, if there is a place for its session; otherwise says who may make room.
    pub(super) fn start(&mut self, domain: u64, now: i64) -> Result<Command, Option<Asked>> {
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
        let is_used_up = transactions >= TRANSACTIONS_MAX;
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
}

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
mod connect;
mod host;
mod kept;
mod lane;
mod places;
mod record;
mod session;
#[cfg(test)]
mod tests;
mod turn;
mod window;

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

pub use command::{
    Afterwards, Call, Command, Ended, Mark, Next, Notice, Obstacle, SessionId, Settings, Turn,
};
pub use connect::IfBusy;
pub use host::{Admission, Hosts};
pub use lane::pick;

use kept::Kept;
use lane::Lanes;
use places::{Scope, Waiter};
use record::{Place, Record};
use session::Session;

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

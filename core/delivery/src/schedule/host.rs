//! Hosts by their addresses, whatever domains they serve. All shards of a server have them in common: domains of several
//! shards may be at one host, and it doesn't matter to a host which of our threads connects to it.
//!
//! Always holds: there are never more connections to an address than its window lets through, whoever opens them; who waits
//! for one to end is woken in the order of waiting, on whatever shard.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Settings;
use super::window::{Window, pause};
use crate::limits::{HOST_WAITING_MAX, HOSTS_REMEMBERED_MAX};
use crate::outcome::Signal;

/// Seconds after which a domain looks again at a host that is being tried by another.
const LOOK_AGAIN: i64 = 30;
/// The same for one that waits for a connection to end, should nobody wake it.
const LOOK_AGAIN_BUSY: i64 = 300;

/// Seconds for which a place is kept for a domain that was woken.
const KEPT: i64 = 10;

/// Parts of the table, each with a lock of its own. It is held for the look at one host.
const PARTS: usize = 64;

/// Whether to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Connect.
    Go,
    /// The address couldn't be reached a short while ago: count it as unreachable without trying.
    Down {
        /// When it is tried again.
        until: i64,
    },
    /// There are enough connections: undo the claim, and finish the session as postponed. The domain is woken.
    Busy {
        /// Until when to wait at most.
        until: i64,
    },
}

/// A domain that waits for a connection to end, and its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiter {
    pub(super) shard: usize,
    pub(super) domain: u64,
}

/// Who waits for a connection to end, seen from a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    Nobody,
    /// A domain of this shard, maybe among others.
    Here,
    /// Domains of other shards alone, of which each has connections of its own for them.
    Elsewhere,
    /// Domains of other shards alone, and one of these shards has no connection.
    Without,
}

#[derive(Debug)]
struct Host {
    connections: u16,
    /// How many of them each shard has; those without aren't here.
    shards: Vec<(usize, u16)>,
    window: Window,
    failures: u8,
    down_until: i64,
    /// Domains that wait for a connection to end, by their shards, with the number by which they came.
    waiting: HashMap<usize, VecDeque<(u64, u64)>>,
    /// Domains that ever waited.
    waited: u64,
    /// Domains that were woken, for which places are kept until a time: those that come meanwhile don't pass them.
    kept: Vec<(Waiter, i64)>,
    /// The shard of each connection that lies idle.
    idle: Vec<usize>,
}

impl Host {
    fn new(settings: Settings) -> Self {
        Self {
            connections: 0,
            shards: Vec::new(),
            window: Window::new(settings.host_connections_max),
            failures: 0,
            down_until: i64::MIN,
            waiting: HashMap::new(),
            waited: 0,
            kept: Vec::new(),
            idle: Vec::new(),
        }
    }

    fn most(&self) -> u16 {
        if self.failures > 0 { 1 } else { self.window.size() }
    }

    /// Connections that may be opened, those for domains that were woken not counted.
    fn room(&self) -> usize {
        let taken = usize::from(self.connections) + self.kept.len();
        usize::from(self.most()).saturating_sub(taken)
    }

    fn opened(&mut self, shard: usize) {
        self.connections += 1;
        match self.shards.iter_mut().find(|(one, _)| *one == shard) {
            Some((_, connections)) => *connections += 1,
            None => self.shards.push((shard, 1)),
        }
    }

    fn ended(&mut self, shard: usize) {
        self.connections -= 1;
        if let Some(place) = self.shards.iter().position(|(one, _)| *one == shard) {
            self.shards[place].1 -= 1;
            if self.shards[place].1 == 0 {
                self.shards.swap_remove(place);
            }
        }
    }

    fn has_some(&self, shard: usize) -> bool {
        self.shards.iter().any(|(one, _)| *one == shard)
    }

    /// Whether nothing of it is worth to be remembered.
    fn is_as_new(&self, settings: Settings) -> bool {
        let is_unused = self.connections == 0 && self.waiting.is_empty() && self.kept.is_empty();
        is_unused && self.failures == 0 && self.window == Window::new(settings.host_connections_max)
    }

    fn enter(&mut self, waiter: Waiter) -> bool {
        if self.waiting.values().map(VecDeque::len).sum::<usize>() >= HOST_WAITING_MAX {
            return false;
        }
        self.waiting.entry(waiter.shard).or_default().push_back((self.waited, waiter.domain));
        self.waited += 1;
        true
    }

    /// Takes the domain of a shard that waits longest.
    fn take_of(&mut self, shard: usize) -> Option<u64> {
        let queue = self.waiting.get_mut(&shard)?;
        let first = queue.pop_front();
        if queue.is_empty() {
            self.waiting.remove(&shard);
        }
        first.map(|(_, domain)| domain)
    }

    /// Takes the one that waits longest, and keeps a place for it.
    fn call(&mut self, now: i64) -> Option<Waiter> {
        let first = |(shard, queue): (&usize, &VecDeque<(u64, u64)>)| Some((queue.front()?.0, *shard));
        let (_, shard) = self.waiting.iter().filter_map(first).min()?;
        let waiter = Waiter { shard, domain: self.take_of(shard)? };
        self.kept.push((waiter, now.saturating_add(KEPT)));
        Some(waiter)
    }
}

/// A part of the table.
#[derive(Debug)]
struct Part {
    hosts: HashMap<IpAddr, Host>,
    /// From so many on it is looked for those that can be forgotten.
    crowd: usize,
}

impl Part {
    const CROWD: usize = HOSTS_REMEMBERED_MAX / PARTS;

    /// Forgets those without connections when too many are remembered: they are found out anew.
    fn make_room(&mut self) {
        if self.hosts.len() >= self.crowd {
            self.hosts.retain(|_, host| host.connections > 0);
            // Where most have connections, looking each time would be for nothing.
            self.crowd = Self::CROWD.max(2 * self.hosts.len());
        }
    }
}

/// All hosts that the server connects to.
#[derive(Debug)]
pub struct Hosts {
    settings: Settings,
    places: RandomState,
    parts: [Mutex<Part>; PARTS],
}

impl Hosts {
    /// None that is known.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let part = |_| Mutex::new(Part { hosts: HashMap::new(), crowd: Part::CROWD });
        Self { settings, places: RandomState::new(), parts: std::array::from_fn(part) }
    }

    fn part(&self, address: IpAddr) -> MutexGuard<'_, Part> {
        let place = self.places.hash_one(address) as usize % PARTS;
        // What is held by a lock is whole at each step.
        self.parts[place].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a domain may connect. `waits` is whether it is among those that wait for a host. When it has to wait, the
    /// shard that may make room by closing an idle connection is told, and whether it is to do so at once: where the waiting
    /// one's shard has connections, it can wait for these.
    pub(super) fn admit(
        &self,
        address: IpAddr,
        waiter: Waiter,
        waits: &mut bool,
        now: i64,
    ) -> (Admission, Option<(usize, bool)>) {
        let mut part = self.part(address);
        part.make_room();
        let host = part.hosts.entry(address).or_insert_with(|| Host::new(self.settings));
        if host.down_until > now {
            return (Admission::Down { until: host.down_until }, None);
        }
        host.kept.retain(|(kept, until)| *kept != waiter && *until > now);
        if host.room() == 0 {
            // While one looks whether it is back, the others need not.
            if host.failures > 0 {
                return (Admission::Down { until: now.saturating_add(LOOK_AGAIN) }, None);
            }
            *waits = *waits || host.enter(waiter);
            let own = host.idle.iter().find(|shard| **shard == waiter.shard);
            let at_once = own.is_some() || !host.has_some(waiter.shard);
            let idle = own.or(host.idle.first()).map(|shard| (*shard, at_once));
            return (Admission::Busy { until: now.saturating_add(LOOK_AGAIN_BUSY) }, idle);
        }
        host.opened(waiter.shard);
        (Admission::Go, None)
    }

    /// Forgets a connection of a shard; gives the domains that may have their turn now, for which places are kept.
    pub(super) fn release(
        &self,
        address: IpAddr,
        shard: usize,
        signal: Option<Signal>,
        now: i64,
    ) -> Vec<Waiter> {
        let mut part = self.part(address);
        let Some(host) = part.hosts.get_mut(&address) else { return Vec::new() };
        if let Some(signal) = signal {
            learn(self.settings, host, signal, now);
        }
        host.ended(shard);
        host.kept.retain(|(_, until)| *until > now);
        let called = (0..host.room()).map_while(|_| host.call(now)).collect();
        if host.is_as_new(self.settings) {
            part.hosts.remove(&address);
        }
        called
    }

    /// Takes that a domain that was called has nothing to send; gives the next one.
    pub(super) fn pass_on(&self, address: IpAddr, waiter: Waiter, now: i64) -> Option<Waiter> {
        let mut part = self.part(address);
        let host = part.hosts.get_mut(&address)?;
        host.kept.retain(|(kept, until)| *kept != waiter && *until > now);
        let next = if host.room() > 0 { host.call(now) } else { None };
        if host.is_as_new(self.settings) {
            part.hosts.remove(&address);
        }
        next
    }

    /// Who waits for a connection to end.
    pub(super) fn waiting(&self, address: IpAddr, shard: usize) -> Waiting {
        let part = self.part(address);
        match part.hosts.get(&address) {
            Some(host) if host.waiting.contains_key(&shard) => Waiting::Here,
            Some(host) if !host.waiting.keys().all(|shard| host.has_some(*shard)) => Waiting::Without,
            Some(host) if !host.waiting.is_empty() => Waiting::Elsewhere,
            _ => Waiting::Nobody,
        }
    }

    /// Takes the domain of a shard that waits longest: there is a connection for it already.
    pub(super) fn next_here(&self, address: IpAddr, shard: usize) -> Option<u64> {
        self.part(address).hosts.get_mut(&address)?.take_of(shard)
    }

    /// Takes that a connection of a shard lies idle, or no longer.
    pub(super) fn lies_idle(&self, address: IpAddr, shard: usize, is_idle: bool) {
        if let Some(host) = self.part(address).hosts.get_mut(&address) {
            if is_idle {
                host.idle.push(shard);
            } else if let Some(place) = host.idle.iter().position(|idle| *idle == shard) {
                host.idle.swap_remove(place);
            }
        }
    }

    pub(super) fn learn(&self, address: IpAddr, signal: Signal, now: i64) {
        if let Some(host) = self.part(address).hosts.get_mut(&address) {
            learn(self.settings, host, signal, now);
        }
    }

    pub(super) fn clock_went_back(&self, latest: i64, now: i64) {
        for part in &self.parts {
            for host in part.lock().unwrap_or_else(PoisonError::into_inner).hosts.values_mut() {
                host.down_until = host.down_until.min(latest);
                host.kept.retain(|(_, until)| *until <= now.saturating_add(KEPT));
            }
        }
    }

    #[cfg(test)]
    pub(super) fn connections(&self, address: IpAddr) -> u16 {
        self.part(address).hosts.get(&address).map_or(0, |host| host.connections)
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.parts.iter().map(|part| part.lock().unwrap_or_else(PoisonError::into_inner).hosts.len()).sum()
    }
}

fn learn(settings: Settings, host: &mut Host, signal: Signal, now: i64) {
    match signal {
        Signal::Good => {
            host.failures = 0;
            host.window.grow(settings.host_connections_max);
        }
        Signal::Neutral => host.failures = 0,
        Signal::Slower => {
            host.failures = 0;
            host.window.shrink();
        }
        Signal::Down => {
            if host.down_until <= now {
                host.failures = host.failures.saturating_add(1);
                host.down_until = now.saturating_add(pause(settings, host.failures));
            }
            host.window.close();
        }
    }
}

//! Limits that all shards of a server have in common: of hosts by their addresses, whatever domains they serve, of local
//! addresses, and of the server. Domains of several shards may be at one host, and it doesn't matter to a host, or to who
//! counts what comes from an address, which of our threads connects.
//!
//! Always holds: there are never more connections to an address than its window lets through, from a local address and in all
//! than the settings say, whoever opens them; who waits for one to end is woken in the order of waiting, on whatever shard.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::places::{Asked, Places, Scope, Waiter, Waiting};
use super::window::{Window, pause};
use super::{SessionId, Settings};
use crate::limits::HOSTS_REMEMBERED_MAX;
use crate::outcome::Signal;

/// Seconds after which a domain looks again at a host that is being tried by another.
const LOOK_AGAIN: i64 = 30;
/// The same for one that waits for a connection to end, should nobody wake it.
const LOOK_AGAIN_BUSY: i64 = 300;

/// Parts of the table, each with a lock of its own. It is held for the look at one host or local address.
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
    /// There are enough connections. With [`super::IfBusy::Leave`]: undo the claim, and finish the session as postponed;
    /// the domain is woken. With [`super::IfBusy::GoOn`]: go on without.
    Busy {
        /// Until when to wait at most.
        until: i64,
    },
}

/// Whether to connect, and what else is to be done.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) admission: Admission,
    /// Where there was no place.
    pub(super) full: Option<Scope>,
    /// Who may make room there.
    pub(super) asked: Option<Asked>,
    /// Who may have the place that was not taken.
    pub(super) called: Vec<Waiter>,
}

impl Admitted {
    fn of(admission: Admission) -> Self {
        Self { admission, full: None, asked: None, called: Vec::new() }
    }

    fn busy(full: Scope, asked: Option<Asked>, now: i64) -> Self {
        let admission = Admission::Busy { until: now.saturating_add(LOOK_AGAIN_BUSY) };
        Self { full: Some(full), asked, ..Self::of(admission) }
    }
}

#[derive(Debug)]
struct Host {
    places: Places,
    window: Window,
    failures: u8,
    down_until: i64,
}

impl Host {
    fn new(settings: Settings) -> Self {
        Self {
            places: Places::default(),
            window: Window::new(settings.host_connections_max),
            failures: 0,
            down_until: i64::MIN,
        }
    }

    fn most(&self) -> usize {
        if self.failures > 0 { 1 } else { usize::from(self.window.size()) }
    }

    /// Whether nothing of it is worth to be remembered.
    fn is_as_new(&self, settings: Settings) -> bool {
        let is_good = self.failures == 0 && self.window == Window::new(settings.host_connections_max);
        is_good && self.places.is_unused()
    }
}

/// A part of the table.
#[derive(Debug)]
struct Part {
    hosts: HashMap<IpAddr, Host>,
    sources: HashMap<IpAddr, Places>,
    /// From so many hosts on it is looked for those that can be forgotten.
    crowd: usize,
}

impl Part {
    const CROWD: usize = HOSTS_REMEMBERED_MAX / PARTS;

    fn new() -> Self {
        Self { hosts: HashMap::new(), sources: HashMap::new(), crowd: Self::CROWD }
    }

    /// Forgets hosts that nobody has, keeps or waits for a connection to when too many are remembered: they are found out anew.
    fn make_room(&mut self) {
        if self.hosts.len() >= self.crowd {
            self.hosts.retain(|_, host| !host.places.is_unused());
            // Where most have connections, looking each time would be for nothing.
            self.crowd = Self::CROWD.max(2 * self.hosts.len());
        }
    }
}

/// All hosts that the server connects to, where it connects from, and its sessions.
#[derive(Debug)]
pub struct Hosts {
    settings: Settings,
    hashes: RandomState,
    parts: [Mutex<Part>; PARTS],
    sessions: Mutex<Places>,
    /// A shard waits for a place for a session.
    is_wanted: AtomicBool,
}

impl Hosts {
    /// None that is known.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            hashes: RandomState::new(),
            parts: std::array::from_fn(|_| Mutex::new(Part::new())),
            sessions: Mutex::default(),
            is_wanted: AtomicBool::new(false),
        }
    }

    fn part(&self, address: IpAddr) -> MutexGuard<'_, Part> {
        let place = self.hashes.hash_one(address) as usize % PARTS;
        // What is held by a lock is whole at each step.
        self.parts[place].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the places of something, of which there are so many.
    fn at<T>(&self, scope: Scope, look: impl FnOnce(&mut Places, usize) -> T) -> T {
        match scope {
            Scope::Server => {
                let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
                let seen = look(&mut sessions, self.settings.sessions_max);
                self.is_wanted.store(sessions.is_wanted(), Ordering::Relaxed);
                seen
            }
            Scope::Source(address) => {
                let mut part = self.part(address);
                let most = self.settings.source_connections_max;
                match part.sources.entry(address) {
                    Entry::Occupied(mut entry) => {
                        let seen = look(entry.get_mut(), most);
                        if entry.get().is_unused() {
                            entry.remove();
                        }
                        seen
                    }
                    Entry::Vacant(entry) => {
                        let mut places = Places::default();
                        let seen = look(&mut places, most);
                        if !places.is_unused() {
                            entry.insert(places);
                        }
                        seen
                    }
                }
            }
            Scope::Host(address) => self.at_host(address, |host| {
                let most = host.most();
                look(&mut host.places, most)
            }),
        }
    }

    fn at_host<T>(&self, address: IpAddr, look: impl FnOnce(&mut Host) -> T) -> T {
        let mut part = self.part(address);
        part.make_room();
        let mut entry = match part.hosts.entry(address) {
            Entry::Occupied(entry) => entry,
            Entry::Vacant(entry) => entry.insert_entry(Host::new(self.settings)),
        };
        let seen = look(entry.get_mut());
        if entry.get().is_as_new(self.settings) {
            entry.remove();
        }
        seen
    }

    /// Whether a domain may connect. `waits` is whether it is among those that wait for a place; none if it never is.
    pub(super) fn admit(
        &self,
        address: IpAddr,
        source: Option<IpAddr>,
        waiter: Waiter,
        mut waits: Option<&mut bool>,
        now: i64,
    ) -> Admitted {
        let to = Scope::Host(address);
        let admitted = self.at_host(address, |host| {
            if host.down_until > now {
                return Admitted::of(Admission::Down { until: host.down_until });
            }
            if host.places.take(waiter, host.most(), now) {
                return Admitted::of(Admission::Go);
            }
            // While one looks whether it is back, the others need not.
            if host.failures > 0 {
                return Admitted::of(Admission::Down { until: now.saturating_add(LOOK_AGAIN) });
            }
            let asked = waits.as_deref_mut().and_then(|waits| host.places.wait(waiter, waits));
            let asked = asked.map(|(shard, session)| {
                // Where the waiting one's shard has connections, it can wait for these.
                let at_once = shard == waiter.shard || !host.places.has_some(waiter.shard);
                Asked { shard, session, at_once }
            });
            Admitted::busy(to, asked, now)
        });
        if let (Admission::Go, Some(source)) = (admitted.admission, source) {
            let from = Scope::Source(source);
            if let Err(asked) = self.take(from, waiter, waits, now) {
                let called = self.release(to, waiter.shard, now);
                return Admitted { called, ..Admitted::busy(from, asked, now) };
            }
        }
        admitted
    }

    /// Takes a place, or waits for one and says who may make room at once. `waits` is as in [`Hosts::admit`].
    pub(super) fn take(
        &self,
        scope: Scope,
        waiter: Waiter,
        waits: Option<&mut bool>,
        now: i64,
    ) -> Result<(), Option<Asked>> {
        self.at(scope, |places, most| {
            if places.take(waiter, most, now) {
                return Ok(());
            }
            let Some(waits) = waits.filter(|waits| !**waits) else { return Err(None) };
            Err(places.wait(waiter, waits).map(|(shard, session)| Asked { shard, session, at_once: true }))
        })
    }

    /// Gives a place of a shard back; gives those that may have their turn now, for which places are kept.
    pub(super) fn release(&self, scope: Scope, shard: usize, now: i64) -> Vec<Waiter> {
        self.at(scope, |places, most| {
            places.give_back(shard);
            places.call(most, now)
        })
    }

    /// The same at a host, of which something was learnt.
    pub(super) fn disconnected(
        &self,
        address: IpAddr,
        shard: usize,
        signal: Option<Signal>,
        now: i64,
    ) -> Vec<Waiter> {
        self.at_host(address, |host| {
            if let Some(signal) = signal {
                learn(self.settings, host, signal, now);
            }
            host.places.give_back(shard);
            host.places.call(host.most(), now)
        })
    }

    /// Takes what was learnt of a host; gives those that may have their turn now.
    pub(super) fn learn(&self, address: IpAddr, signal: Signal, now: i64) -> Vec<Waiter> {
        self.at_host(address, |host| {
            learn(self.settings, host, signal, now);
            host.places.call(host.most(), now)
        })
    }

    /// Takes that who was woken needs no place; gives those that may have their turn now.
    pub(super) fn pass_on(&self, scope: Scope, waiter: Waiter, now: i64) -> Vec<Waiter> {
        self.at(scope, |places, most| {
            places.give_up(waiter);
            places.call(most, now)
        })
    }

    /// Whether a shard waits for a place for a session. One that does so from now on may not be seen: what has a place gives
    /// it back later.
    pub(super) fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Relaxed)
    }

    /// Sessions that do something, of all shards.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.at(Scope::Server, |places, _| places.in_use())
    }

    /// Takes that a session's connection lies idle; says who waits for its place.
    pub(super) fn lies_idle(&self, scope: Scope, shard: usize, session: SessionId) -> Waiting {
        self.at(scope, |places, _| {
            places.lies_idle(shard, session, true);
            places.waiting(shard)
        })
    }

    /// Takes that it no longer does.
    pub(super) fn is_used(&self, scope: Scope, shard: usize, session: SessionId) {
        self.at(scope, |places, _| places.lies_idle(shard, session, false));
    }

    /// Another session to ask to make room, when the one that was asked can't and somebody waits.
    pub(super) fn ask_another(&self, scope: Scope, shard: usize) -> Option<(usize, SessionId)> {
        self.at(scope, |places, _| if places.is_wanted() { places.ask(shard) } else { None })
    }

    /// Takes the domain of a shard that waits longest: there is a connection for it already.
    pub(super) fn next_here(&self, address: IpAddr, shard: usize) -> Option<u64> {
        self.at(Scope::Host(address), |places, _| places.first_of(shard))
    }

    pub(super) fn clock_went_back(&self, latest: i64, now: i64) {
        for part in &self.parts {
            let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
            for host in part.hosts.values_mut() {
                host.down_until = host.down_until.min(latest);
                host.places.clock_went_back(now);
            }
            part.sources.values_mut().for_each(|places| places.clock_went_back(now));
        }
        self.at(Scope::Server, |places, _| places.clock_went_back(now));
    }

    /// Connections to a host, from a local address, or sessions.
    #[cfg(test)]
    pub(super) fn taken(&self, scope: Scope) -> usize {
        self.at(scope, |places, _| places.taken())
    }

    #[cfg(test)]
    pub(super) fn connections(&self, address: IpAddr) -> u16 {
        u16::try_from(self.taken(Scope::Host(address))).unwrap_or(u16::MAX)
    }

    /// Hosts and local addresses.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        let lock = |part: &'_ Mutex<Part>| {
            let part = part.lock().unwrap_or_else(PoisonError::into_inner);
            part.hosts.len() + part.sources.len()
        };
        self.parts.iter().map(lock).sum()
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

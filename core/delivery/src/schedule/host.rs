//! Hosts by their addresses, whatever domains they serve, and the local addresses that connections come from.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use super::Settings;
use super::window::{Window, pause};
use crate::limits::{HOST_WAITING_MAX, HOSTS_REMEMBERED_MAX};
use crate::outcome::Signal;

/// Seconds after which a domain looks again at a host that is being tried by another.
const LOOK_AGAIN: i64 = 30;
/// The same for one that waits for a connection to end, should nobody wake it.
const LOOK_AGAIN_BUSY: i64 = 300;
/// The same for one that waits for a connection from a local address; nobody wakes it.
const LOOK_AGAIN_SOURCE: i64 = 2;

/// Seconds for which a place is kept for a domain that was woken.
const KEPT: i64 = 10;

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

#[derive(Debug)]
struct Host {
    connections: u8,
    window: Window,
    failures: u8,
    down_until: i64,
    /// Domains that wait for a connection to end.
    waiting: VecDeque<u64>,
    /// Domains that were woken, for which places are kept until a time: those that come meanwhile don't pass them.
    kept: Vec<(u64, i64)>,
}

impl Host {
    const fn new() -> Self {
        Self {
            connections: 0,
            window: Window::NEW,
            failures: 0,
            down_until: i64::MIN,
            waiting: VecDeque::new(),
            kept: Vec::new(),
        }
    }

    fn most(&self) -> u8 {
        if self.failures > 0 { 1 } else { self.window.size() }
    }

    /// Connections that may be opened, those for domains that were woken not counted.
    fn room(&self) -> usize {
        let taken = usize::from(self.connections) + self.kept.len();
        usize::from(self.most()).saturating_sub(taken)
    }
}

/// All hosts.
#[derive(Debug)]
pub(super) struct Hosts {
    settings: Settings,
    hosts: HashMap<IpAddr, Host>,
    sources: HashMap<IpAddr, u16>,
}

impl Hosts {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, hosts: HashMap::new(), sources: HashMap::new() }
    }

    /// Whether a domain may connect. `waits` is whether it is among those that wait for a host.
    pub(super) fn admit(
        &mut self,
        address: IpAddr,
        source: Option<IpAddr>,
        domain: u64,
        waits: &mut bool,
        now: i64,
    ) -> Admission {
        if let Some(source) = source
            && self.sources.get(&source).is_some_and(|open| *open >= self.settings.source_connections_max)
        {
            return Admission::Busy { until: now.saturating_add(LOOK_AGAIN_SOURCE) };
        }
        self.make_room();
        let host = self.hosts.entry(address).or_insert_with(Host::new);
        if host.down_until > now {
            return Admission::Down { until: host.down_until };
        }
        host.kept.retain(|(kept, until)| *kept != domain && *until > now);
        if host.room() == 0 {
            // While one looks whether it is back, the others need not.
            if host.failures > 0 {
                return Admission::Down { until: now.saturating_add(LOOK_AGAIN) };
            }
            if !*waits && host.waiting.len() < HOST_WAITING_MAX {
                host.waiting.push_back(domain);
                *waits = true;
            }
            return Admission::Busy { until: now.saturating_add(LOOK_AGAIN_BUSY) };
        }
        host.connections += 1;
        if let Some(source) = source {
            *self.sources.entry(source).or_default() += 1;
        }
        Admission::Go
    }

    /// Forgets a connection; gives how many domains may have their turn now.
    pub(super) fn release(
        &mut self,
        address: IpAddr,
        source: Option<IpAddr>,
        signal: Option<Signal>,
        now: i64,
    ) -> usize {
        if let Some(source) = source
            && let Some(open) = self.sources.get_mut(&source)
        {
            *open -= 1;
            if *open == 0 {
                self.sources.remove(&source);
            }
        }
        if let Some(signal) = signal {
            self.learn(address, signal, now);
        }
        let Some(host) = self.hosts.get_mut(&address) else { return 0 };
        host.connections -= 1;
        host.kept.retain(|(_, until)| *until > now);
        let free = host.room();
        let is_new = host.failures == 0 && host.window == Window::NEW;
        if host.connections == 0 && host.waiting.is_empty() && host.kept.is_empty() && is_new {
            self.hosts.remove(&address);
        }
        free
    }

    /// Keeps a place for a domain that was woken.
    pub(super) fn keep(&mut self, address: IpAddr, domain: u64, now: i64) {
        if let Some(host) = self.hosts.get_mut(&address) {
            host.kept.push((domain, now.saturating_add(KEPT)));
        }
    }

    /// Whether a domain waits for a connection to end.
    pub(super) fn is_waited_for(&self, address: IpAddr) -> bool {
        self.hosts.get(&address).is_some_and(|host| !host.waiting.is_empty())
    }

    /// The domain that waits longest.
    pub(super) fn next_waiting(&mut self, address: IpAddr) -> Option<u64> {
        self.hosts.get_mut(&address)?.waiting.pop_front()
    }

    pub(super) fn learn(&mut self, address: IpAddr, signal: Signal, now: i64) {
        let settings = self.settings;
        let Some(host) = self.hosts.get_mut(&address) else { return };
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

    /// When too many are remembered, those without connections are forgotten: they are found out anew.
    fn make_room(&mut self) {
        if self.hosts.len() >= HOSTS_REMEMBERED_MAX {
            self.hosts.retain(|_, host| host.connections > 0);
        }
    }

    pub(super) fn clock_went_back(&mut self, latest: i64) {
        for host in self.hosts.values_mut() {
            host.down_until = host.down_until.min(latest);
        }
    }

    #[cfg(test)]
    pub(super) fn connections(&self, address: IpAddr) -> u8 {
        self.hosts.get(&address).map_or(0, |host| host.connections)
    }

    #[cfg(test)]
    pub(super) fn sources_open(&self) -> usize {
        self.sources.len()
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.hosts.len()
    }
}

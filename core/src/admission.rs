//! Who may connect, how often, and who has failed to authenticate too often.
//!
//! Addresses are counted in three classes: the address itself (for IPv6 its /64), its neighbourhood
//! and its region, so that neither one host nor a rented range takes everything. Rates are counted
//! in fixed windows; an attempt that is over a limit is not counted. Networks on the allow-list, such
//! as a proxy's, are never refused: a ban there would shut out everybody behind it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::Network;

/// Counters that a table keeps at most. Beyond it new addresses are only counted in the classes that
/// are there already.
const COUNTERS_MAX: usize = 200_000;

/// What one class of addresses may do, from the finest class to the coarsest.
pub type PerClass = [u32; 3];

/// The limits of admission.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// New connections in a minute.
    pub connections_per_minute: PerClass,
    /// Connections that are open at the same time.
    pub connections_open: PerClass,
    /// Failed authentications in a minute.
    pub failures_per_minute: PerClass,
    /// Failed authentications in a day.
    pub failures_per_day: PerClass,
    /// Networks that are never limited.
    pub allowed: Vec<Network>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_per_minute: [300, 900, 2700],
            connections_open: [30, 90, 270],
            failures_per_minute: [10, 30, 90],
            failures_per_day: [50, 150, 450],
            allowed: Vec::new(),
        }
    }
}

/// The addresses that share the leading bits that a class counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Class {
    bits: u128,
    length: u8,
}

/// IPv4 addresses are counted as the IPv6 addresses that map them (RFC 4291 §2.5.5.2).
fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

const fn mask(length: u8) -> u128 {
    match length {
        0 => 0,
        length => u128::MAX << (128 - length as u32),
    }
}

impl Class {
    /// The classes of an address: /32, /26 and /21 of IPv4, /64, /48 and /32 of IPv6.
    pub(crate) fn all(address: IpAddr) -> [Self; 3] {
        let is_v4 = match address {
            IpAddr::V4(_) => true,
            IpAddr::V6(v6) => v6.to_ipv4_mapped().is_some(),
        };
        let lengths: [u8; 3] = if is_v4 { [128, 122, 117] } else { [64, 48, 32] };
        lengths.map(|length| Self { bits: bits_of(address) & mask(length), length })
    }
}

/// Why a connection is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// Too many new connections from this address or its surroundings.
    #[error("too many new connections")]
    Rate,
    /// Too many open connections.
    #[error("too many open connections")]
    Open,
    /// Too many failed authentications.
    #[error("too many failed authentications")]
    Failures,
}

/// Which connections count failed authentications against a peer before it says anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Users log in here: submission, IMAP.
    Login,
    /// Other servers deliver mail here.
    Delivery,
}

/// Counts in windows of a fixed length; everything is forgotten when a window ends.
#[derive(Default)]
struct Window {
    number: u64,
    counts: HashMap<Class, u32>,
}

impl Window {
    fn advance(&mut self, now: u64, seconds: u64) {
        let number = now / seconds;
        if number > self.number {
            self.number = number;
            self.counts.clear();
        }
    }

    fn exceeds(&self, classes: &[Class; 3], limits: &PerClass) -> bool {
        classes
            .iter()
            .zip(limits)
            .any(|(class, limit)| self.counts.get(class).is_some_and(|count| count >= limit))
    }

    fn count(&mut self, classes: &[Class; 3]) {
        for class in classes {
            let full = self.counts.len() >= COUNTERS_MAX;
            match self.counts.get_mut(class) {
                Some(count) => *count = count.saturating_add(1),
                None if full => {}
                None => drop(self.counts.insert(*class, 1)),
            }
        }
    }

    /// Takes what the finest class did out of all three.
    fn forgive(&mut self, classes: &[Class; 3]) {
        let own = self.counts.get(&classes[0]).copied().unwrap_or(0);
        for class in classes {
            if let Some(count) = self.counts.get_mut(class) {
                *count = count.saturating_sub(own);
            }
        }
    }
}

const MINUTE: u64 = 60;
const DAY: u64 = 24 * 60 * 60;

#[derive(Default)]
struct Tables {
    connections: Window,
    failures_minute: Window,
    failures_day: Window,
    open: HashMap<Class, u32>,
}

struct Shared {
    limits: Limits,
    tables: Mutex<Tables>,
}

/// The counters of all listeners, shared by all shards: a short lock at connect, close and failure.
#[derive(Clone)]
pub struct Admission(Arc<Shared>);

/// A connection that was let in; it stops counting as open when this is dropped.
#[must_use = "the connection stops counting as open when this is dropped"]
pub struct Admitted {
    admission: Admission,
    classes: [Class; 3],
}

impl Admission {
    /// Starts to count.
    pub fn new(limits: Limits) -> Self {
        Self(Arc::new(Shared { limits, tables: Mutex::default() }))
    }

    /// Decides on a new connection. `now` is in seconds since the epoch.
    pub fn connect(&self, peer: IpAddr, purpose: Purpose, now: u64) -> Result<Admitted, Refusal> {
        let classes = Class::all(peer);
        let limits = &self.0.limits;
        let mut tables = self.tables(now);
        if !self.is_allowed(peer) {
            if tables.connections.exceeds(&classes, &limits.connections_per_minute) {
                return Err(Refusal::Rate);
            }
            // Those who are refused for this are told why, which may take a TLS handshake: they count.
            let failed = tables.failures_minute.exceeds(&classes, &limits.failures_per_minute)
                || tables.failures_day.exceeds(&classes, &limits.failures_per_day);
            if purpose == Purpose::Login && failed {
                tables.connections.count(&classes);
                return Err(Refusal::Failures);
            }
            let open =
                |class: &Class, limit: &u32| tables.open.get(class).is_some_and(|count| count >= limit);
            if classes.iter().zip(&limits.connections_open).any(|(class, limit)| open(class, limit)) {
                return Err(Refusal::Open);
            }
            tables.connections.count(&classes);
        }
        for class in classes {
            *tables.open.entry(class).or_insert(0) += 1;
        }
        drop(tables);
        Ok(Admitted { admission: self.clone(), classes })
    }

    /// Whether a peer may try to authenticate (again).
    pub fn may_authenticate(&self, peer: IpAddr, now: u64) -> bool {
        let classes = Class::all(peer);
        let limits = &self.0.limits;
        let tables = self.tables(now);
        self.is_allowed(peer)
            || !(tables.failures_minute.exceeds(&classes, &limits.failures_per_minute)
                || tables.failures_day.exceeds(&classes, &limits.failures_per_day))
    }

    /// Counts a failed authentication.
    pub fn failed(&self, peer: IpAddr, now: u64) {
        let classes = Class::all(peer);
        let mut tables = self.tables(now);
        tables.failures_minute.count(&classes);
        tables.failures_day.count(&classes);
    }

    /// Forgets the failures of an address that has authenticated.
    pub fn succeeded(&self, peer: IpAddr, now: u64) {
        let classes = Class::all(peer);
        let mut tables = self.tables(now);
        tables.failures_minute.forgive(&classes);
        tables.failures_day.forgive(&classes);
    }

    /// Whether a peer is in a network that is never limited.
    pub fn is_allowed(&self, peer: IpAddr) -> bool {
        self.0.limits.allowed.iter().any(|network| network.contains(peer))
    }

    fn tables(&self, now: u64) -> MutexGuard<'_, Tables> {
        let mut tables = self.0.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.connections.advance(now, MINUTE);
        tables.failures_minute.advance(now, MINUTE);
        tables.failures_day.advance(now, DAY);
        tables
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut tables = self.admission.0.tables.lock().unwrap_or_else(PoisonError::into_inner);
        for class in &self.classes {
            if let Some(count) = tables.open.get_mut(class) {
                *count -= 1;
                if *count == 0 {
                    tables.open.remove(class);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn limits() -> Limits {
        Limits { connections_per_minute: [3, 4, 5], connections_open: [2, 3, 4], ..Limits::default() }
    }

    #[test]
    fn open_connections_are_limited_in_each_class_and_end_when_dropped() {
        let admission = Admission::new(Limits { connections_per_minute: [99; 3], ..limits() });
        let connect = |text| admission.connect(ip(text), Purpose::Delivery, 0);
        let first = [connect("192.0.2.1").unwrap(), connect("192.0.2.1").unwrap()];
        assert_eq!(connect("192.0.2.1").err(), Some(Refusal::Open));
        let neighbour = connect("192.0.2.2").unwrap();
        assert_eq!(connect("192.0.2.3").err(), Some(Refusal::Open), "the /26 has three");
        let region = connect("192.0.7.1").unwrap();
        assert_eq!(connect("192.0.3.1").err(), Some(Refusal::Open), "the /21 has four");
        drop((first, neighbour, region));
        assert!(admission.tables(0).open.is_empty());
        assert!(connect("192.0.2.1").is_ok());
    }

    #[test]
    fn rates_count_in_windows_and_refusals_do_not_count() {
        let admission = Admission::new(Limits { connections_open: [99; 3], ..limits() });
        let connect = |now| admission.connect(ip("2001:db8::1"), Purpose::Delivery, now).map(drop);
        assert_eq!([connect(0), connect(1), connect(59)], [Ok(()); 3]);
        assert_eq!([connect(59), connect(59)], [Err(Refusal::Rate); 2]);
        assert_eq!(connect(60), Ok(()), "a new window");
        // Any address of the same /64 counts as the same.
        assert_eq!(admission.connect(ip("2001:db8::2"), Purpose::Delivery, 61).map(drop), Ok(()));
        assert_eq!(admission.connect(ip("2001:db8::3"), Purpose::Delivery, 61).map(drop), Ok(()));
        assert_eq!(admission.connect(ip("2001:db8::4"), Purpose::Delivery, 61).map(drop), Err(Refusal::Rate));
    }

    #[test]
    fn failures_shut_out_logins_but_not_mail_and_success_forgives() {
        let admission = Admission::new(Limits::default());
        let peer = ip("192.0.2.1");
        for _ in 0..10 {
            assert!(admission.may_authenticate(peer, 0));
            admission.failed(peer, 0);
        }
        assert!(!admission.may_authenticate(peer, 0));
        assert_eq!(admission.connect(peer, Purpose::Login, 0).err(), Some(Refusal::Failures));
        assert!(admission.connect(peer, Purpose::Delivery, 0).is_ok());
        // Being told why may cost a handshake, and so counts.
        let told = (0..500).map(|_| admission.connect(peer, Purpose::Login, 0).err());
        assert_eq!(told.filter(|refusal| *refusal == Some(Refusal::Failures)).count(), 298);
        assert_eq!(admission.connect(peer, Purpose::Login, 0).err(), Some(Refusal::Rate));
        assert!(admission.may_authenticate(peer, 60), "the next minute");
        admission.succeeded(peer, 60);
        for _ in 0..9 {
            admission.failed(peer, 60);
        }
        assert!(admission.may_authenticate(peer, 60));
    }

    #[test]
    fn allowed_networks_are_never_refused() {
        let allowed = vec![Network::parse("192.0.2.0/24").unwrap()];
        let admission = Admission::new(Limits { allowed, ..limits() });
        let open: Vec<_> =
            (0..50).map(|_| admission.connect(ip("192.0.2.9"), Purpose::Login, 0).unwrap()).collect();
        for _ in 0..100 {
            admission.failed(ip("192.0.2.9"), 0);
        }
        assert!(admission.may_authenticate(ip("192.0.2.9"), 0));
        assert_eq!(open.len(), 50);
    }

    #[test]
    fn the_tables_stay_bounded() {
        let mut window = Window::default();
        for number in 0..u32::try_from(COUNTERS_MAX).unwrap() + 10 {
            let address = IpAddr::V6(std::net::Ipv6Addr::from_bits(u128::from(number) << 64));
            window.count(&Class::all(address));
        }
        assert!(window.counts.len() <= COUNTERS_MAX);
    }
}

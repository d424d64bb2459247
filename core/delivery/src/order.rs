//! In which order hosts and addresses are tried (RFC 5321 §5.1).

use std::net::IpAddr;

use postrider_dns::lookups::Exchanger;

use crate::limits::{ADDRESSES_MAX, DIALED_HOSTS_MAX, DIALED_MAX, HOSTS_MAX};
use crate::transport::Families;

/// The hosts of an attempt: by preference, in random order within one, at most [`HOSTS_MAX`].
#[must_use]
pub fn hosts(exchangers: &[Exchanger], chance: &mut impl FnMut() -> u64) -> Vec<Exchanger> {
    let mut hosts = exchangers.to_vec();
    // Fisher and Yates, then a stable sort.
    for last in (1..hosts.len()).rev() {
        let other = usize::try_from(chance() % (last as u64 + 1)).unwrap_or(0);
        hosts.swap(last, other);
    }
    hosts.sort_by_key(|host| host.preference);
    hosts.truncate(HOSTS_MAX);
    hosts
}

/// The addresses of a host that are connected to, in order, at most [`ADDRESSES_MAX`].
///
/// For the first time, in the order of `found`. Later, addresses of the other family than that of the last
/// connection come first; within a family, the address that was connected to comes first the second time, for
/// hosts that want to see a client again before they take its mail, and after that those that were connected to
/// least often. When there are too many, both families keep their share.
#[must_use]
pub fn addresses(found: &[IpAddr], families: Families, dialed: &[IpAddr]) -> Vec<IpAddr> {
    let mut six: Vec<IpAddr> = Vec::new();
    let mut four: Vec<IpAddr> = Vec::new();
    let found = found.iter().map(IpAddr::to_canonical).filter(|address| families.have(address));
    let mut first_is_six = None;
    for address in found {
        first_is_six = first_is_six.or(Some(address.is_ipv6()));
        let list = if address.is_ipv6() { &mut six } else { &mut four };
        if !list.contains(&address) {
            list.push(address);
        }
    }
    for list in [&mut six, &mut four] {
        by_history(list, dialed);
    }
    let six_first = match dialed.last() {
        Some(last) => last.is_ipv4(),
        None => first_is_six.unwrap_or(true),
    };
    let (first, second) = if six_first { (six, four) } else { (four, six) };
    let kept = ADDRESSES_MAX - second.len().min(ADDRESSES_MAX / 2);
    first.into_iter().take(kept).chain(second).take(ADDRESSES_MAX).collect()
}

fn by_history(list: &mut [IpAddr], dialed: &[IpAddr]) {
    let Some(family) = list.first().map(IpAddr::is_ipv6) else { return };
    let of_family: Vec<&IpAddr> = dialed.iter().filter(|address| address.is_ipv6() == family).collect();
    match of_family.as_slice() {
        [] => {}
        [once] => list.sort_by_key(|address| address != *once),
        many => list.sort_by_key(|address| many.iter().filter(|dialed| **dialed == address).count()),
    }
}

/// To which addresses of which hosts connections were made for a message, in the order of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dialed {
    /// Hosts, the latest last, and their addresses.
    pub hosts: Vec<(Box<str>, Vec<IpAddr>)>,
}

impl Dialed {
    /// The addresses of a host.
    #[must_use]
    pub fn of(&self, host: &str) -> &[IpAddr] {
        let known = self.hosts.iter().find(|(name, _)| **name == *host);
        known.map(|(_, addresses)| addresses.as_slice()).unwrap_or_default()
    }

    /// Adds a connection. The oldest are forgotten: at most [`DIALED_MAX`] of a host, of the [`DIALED_HOSTS_MAX`]
    /// latest hosts.
    pub fn add(&mut self, host: &str, address: IpAddr) {
        let known = self.hosts.iter().position(|(name, _)| **name == *host);
        let mut entry = match known {
            Some(at) => self.hosts.remove(at),
            None => (host.into(), Vec::new()),
        };
        if entry.1.len() == DIALED_MAX {
            entry.1.remove(0);
        }
        entry.1.push(address);
        if self.hosts.len() == DIALED_HOSTS_MAX {
            self.hosts.remove(0);
        }
        self.hosts.push(entry);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use std::collections::BTreeMap;

    use postrider_dns::Name;

    use super::*;

    fn list(text: &str) -> Vec<IpAddr> {
        text.split_whitespace().map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn addresses_come_in_the_order_that_history_asks_for() {
        let both = "2001:db8::1 2001:db8::2 192.0.2.1 192.0.2.2";
        for (found, dialed, order) in [
            (both, "", both),
            ("192.0.2.1 2001:db8::1", "", "192.0.2.1 2001:db8::1"),
            // The other family first, and the same address for the second time in each.
            (both, "2001:db8::2", "192.0.2.1 192.0.2.2 2001:db8::2 2001:db8::1"),
            (both, "2001:db8::2 192.0.2.2", "2001:db8::2 2001:db8::1 192.0.2.2 192.0.2.1"),
            // From the third time on those that had fewer connections.
            (both, "2001:db8::1 192.0.2.1 2001:db8::1", "192.0.2.1 192.0.2.2 2001:db8::2 2001:db8::1"),
            ("192.0.2.1 192.0.2.2", "192.0.2.2", "192.0.2.2 192.0.2.1"),
            ("192.0.2.1 192.0.2.2", "192.0.2.2 192.0.2.2", "192.0.2.1 192.0.2.2"),
            // An address that is gone changes nothing.
            ("192.0.2.1 192.0.2.2", "192.0.2.9", "192.0.2.1 192.0.2.2"),
            ("192.0.2.1 192.0.2.1 ::ffff:192.0.2.1", "", "192.0.2.1"),
            ("", "192.0.2.9", ""),
        ] {
            assert_eq!(
                addresses(&list(found), Families::Both, &list(dialed)),
                list(order),
                "{found} {dialed}"
            );
        }
    }

    #[test]
    fn families_can_be_left_out() {
        let found = list("2001:db8::1 192.0.2.1");
        assert_eq!(addresses(&found, Families::Four, &[]), list("192.0.2.1"));
        assert_eq!(addresses(&found, Families::Six, &list("2001:db8::1")), list("2001:db8::1"));
    }

    #[test]
    fn both_families_keep_their_share_of_too_many() {
        let six: Vec<IpAddr> = (0..20).map(|n| format!("2001:db8::{n:x}").parse().unwrap()).collect();
        let four: Vec<IpAddr> = (0..20).map(|n| format!("192.0.2.{n}").parse().unwrap()).collect();
        let all = [six.clone(), four.clone()].concat();
        let count = |found: &[IpAddr], dialed: &[IpAddr]| {
            let order = addresses(found, Families::Both, dialed);
            (order.iter().filter(|one| one.is_ipv6()).count(), order.len())
        };
        assert_eq!(count(&all, &[]), (3, 6));
        assert_eq!(count(&all, &six[..1]), (3, 6));
        assert_eq!(count(&six, &[]), (6, 6));
        assert_eq!(count(&[&six[..], &four[..1]].concat(), &[]), (5, 6));
        assert_eq!(count(&[&six[..1], &four[..]].concat(), &[]), (1, 6));
    }

    #[test]
    fn hosts_come_by_preference_and_at_random_within_one() {
        let exchanger =
            |preference, name: &str| Exchanger { preference, host: Name::from_ascii(name).unwrap() };
        let exchangers = [exchanger(20, "z."), exchanger(10, "a."), exchanger(10, "b."), exchanger(10, "c.")];
        let mut state = 1_u64;
        let mut chance = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state >> 33
        };
        let mut seen: BTreeMap<String, u32> = BTreeMap::new();
        for _ in 0..600 {
            let order: String =
                hosts(&exchangers, &mut chance).iter().map(|one| one.host.to_ascii()).collect();
            *seen.entry(order).or_default() += 1;
        }
        assert_eq!(seen.len(), 6, "{seen:?}");
        assert!(seen.iter().all(|(order, times)| order.ends_with("z.") && *times > 50), "{seen:?}");
        let many: Vec<Exchanger> = (0..40).map(|n| exchanger(n, "a.")).collect();
        let order = hosts(&many, &mut chance);
        assert_eq!((order.len(), order[HOSTS_MAX - 1].preference), (HOSTS_MAX, 9));
    }

    #[test]
    fn connections_are_remembered_within_bounds() {
        let mut dialed = Dialed::default();
        for n in 0..=DIALED_MAX {
            dialed.add("a", format!("192.0.2.{n}").parse().unwrap());
        }
        assert_eq!((dialed.of("a").len(), dialed.of("a")[0]), (DIALED_MAX, "192.0.2.1".parse().unwrap()));
        for n in 0..DIALED_HOSTS_MAX {
            dialed.add(&format!("h{n}"), "192.0.2.1".parse().unwrap());
        }
        assert!(dialed.of("a").is_empty() && dialed.hosts.len() == DIALED_HOSTS_MAX);
        assert_eq!(dialed.of("h0").len(), 1);
    }
}

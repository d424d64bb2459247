//! Blocklists of a listener, and which of them are in order.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use postrider_authentication::dnsbl::{Health, Kind, Status, check_address, check_health};
use postrider_dns::Lookup;
use postrider_proto::address::Domain;
use tracing::{debug, warn};

/// How long what was found of a list's health counts.
const HEALTH_LASTS: Duration = Duration::from_secs(4 * 60 * 60);

/// What is known of the lists of one listener on one shard. As many entries as the configuration has lists, for
/// each kind of address.
#[derive(Default)]
pub(in crate::smtp) struct Healths(RefCell<HashMap<(Domain, bool), (Instant, bool)>>);

/// What a list says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::smtp) enum Said {
    /// The address is listed.
    Listed,
    /// It isn't.
    NotListed,
    /// Nothing that can be used: such a list must not cost mail.
    Nothing,
}

impl Healths {
    /// Whether a list can be believed. One that doesn't answer now is asked all the same: then it says nothing.
    async fn is_healthy(&self, dns: &impl Lookup, list: &Domain, address: IpAddr) -> bool {
        let key = (list.clone(), address.is_ipv4());
        let known = self.0.borrow().get(&key).copied();
        if let Some((until, healthy)) = known
            && Instant::now() < until
        {
            return healthy;
        }
        let kind = if address.is_ipv4() { Kind::Ipv4 } else { Kind::Ipv6 };
        let healthy = match check_health(dns, list, kind).await {
            Health::Healthy => true,
            Health::Unhealthy(problem) => {
                warn!(%list, %problem, "a blocklist is not in order and isn't asked");
                false
            }
            Health::Unknown(problem) => {
                debug!(%list, %problem, "whether a blocklist is in order can't be found out");
                return true;
            }
        };
        self.0.borrow_mut().insert(key, (Instant::now() + HEALTH_LASTS, healthy));
        healthy
    }

    /// Asks a list about an address.
    pub(in crate::smtp) async fn ask(&self, dns: &impl Lookup, list: &Domain, address: IpAddr) -> Said {
        let address = address.to_canonical();
        if !self.is_healthy(dns, list, address).await {
            return Said::Nothing;
        }
        match check_address(dns, list, address).await.status {
            Status::Listed { .. } => Said::Listed,
            Status::NotListed => Said::NotListed,
            Status::Odd(problem) | Status::Failed(problem) => {
                debug!(%list, %problem, "a blocklist says nothing");
                Said::Nothing
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use futures_lite::future::block_on;

    #[test]
    fn only_lists_in_order_are_asked_and_their_health_is_remembered() {
        let script = crate::testing::script_of(
            "$ORIGIN example.
             2.0.0.127.good  A 127.0.0.2
             1.2.0.192.good  A 127.0.0.4
             *.all           A 127.0.0.2
             1.2.0.192.empty A 127.0.0.4
             2.0.0.127.half  A 127.0.0.2
             $SERVFAIL 1.2.0.192.half
             $SERVFAIL *.down",
        );
        let healths = Healths::default();
        let ask = |list: &str, address: &str| {
            let list = Domain::parse(&format!("{list}.example")).unwrap();
            block_on(healths.ask(&script, &list, address.parse().unwrap()))
        };
        assert_eq!(ask("good", "192.0.2.1"), Said::Listed);
        assert_eq!(ask("good", "::ffff:192.0.2.1"), Said::Listed, "an IPv4 client of an IPv6 socket");
        let before = script.lookups();
        assert_eq!(ask("good", "192.0.2.2"), Said::NotListed);
        assert_eq!(script.lookups(), before + 1, "its health is known");
        // One that lists everything, or nothing.
        assert_eq!(ask("all", "192.0.2.1"), Said::Nothing);
        assert_eq!(ask("empty", "192.0.2.1"), Said::Nothing);
        let before = script.lookups();
        assert_eq!(ask("all", "192.0.2.1"), Said::Nothing);
        assert_eq!(script.lookups(), before);
        assert_eq!(ask("half", "192.0.2.1"), Said::Nothing);
        assert_eq!(ask("down", "192.0.2.1"), Said::Nothing);
        // For another kind of address it must be shown again.
        assert_eq!(ask("good", "2001:db8::1"), Said::Nothing);
    }
}

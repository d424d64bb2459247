//! The system's resolver configuration (resolv.conf(5)).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::upstream::{PORT, Upstream};
use crate::limits::UPSTREAMS_MAX;

/// What of `resolv.conf` is of use to a resolver of absolute names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemResolver {
    /// `nameserver` lines, in order; 127.0.0.1 when there is none, as the C library does. Those on loopback
    /// are trusted, and all with `options trust-ad`.
    pub upstreams: Vec<Upstream>,
    /// `options timeout:n`.
    pub timeout: Option<Duration>,
    /// `options attempts:n`.
    pub attempts: Option<u32>,
}

/// Reads the text of a `resolv.conf`. What isn't understood is passed over, as the C library does.
#[must_use]
pub fn parse_resolv_conf(text: &str) -> SystemResolver {
    /// The C library's own bounds of `timeout` and `attempts`.
    const TIMEOUT_MAX: u64 = 30;
    const ATTEMPTS_MAX: u32 = 5;
    let mut system = SystemResolver { upstreams: Vec::new(), timeout: None, attempts: None };
    let mut trust = false;
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("nameserver") => {
                // A zone of a link-local address (`%eth0`) names an interface; such a server isn't reachable
                // without it, and isn't used.
                let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                if let Some(address) = address.filter(|_| system.upstreams.len() < UPSTREAMS_MAX) {
                    system.upstreams.push(Upstream::plain(SocketAddr::new(address, PORT)));
                }
            }
            Some("options") => {
                for option in words {
                    match option.split_once(':') {
                        Some(("timeout", number)) => {
                            let seconds = number.parse::<u64>().ok().map(|n| n.clamp(1, TIMEOUT_MAX));
                            system.timeout = seconds.map(Duration::from_secs).or(system.timeout);
                        }
                        Some(("attempts", number)) => {
                            let attempts = number.parse::<u32>().ok().map(|n| n.clamp(1, ATTEMPTS_MAX));
                            system.attempts = attempts.or(system.attempts);
                        }
                        None if option == "trust-ad" => trust = true,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if system.upstreams.is_empty() {
        system.upstreams.push(Upstream::plain((Ipv4Addr::LOCALHOST, PORT).into()));
    }
    if trust {
        system.upstreams.iter_mut().for_each(|upstream| upstream.trusted = true);
    }
    system
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(text: &str) -> Vec<String> {
        parse_resolv_conf(text).upstreams.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn servers_and_options_are_read() {
        let text = "# made by hand\nsearch example.org\n nameserver 192.0.2.1\nnameserver\t2001:db8::1 # two\n\
            ; nameserver 192.0.2.9\noptions edns0 timeout:2 attempts:4 rotate\n";
        let system = parse_resolv_conf(text);
        assert_eq!(servers(text), ["192.0.2.1:53", "[2001:db8::1]:53"]);
        assert_eq!((system.timeout, system.attempts), (Some(Duration::from_secs(2)), Some(4)));
        assert!(system.upstreams.iter().all(|upstream| !upstream.trusted));
    }

    #[test]
    fn trust_is_said_for_all_or_follows_from_loopback() {
        let trusted = |text: &str| -> Vec<bool> {
            parse_resolv_conf(text).upstreams.iter().map(|upstream| upstream.trusted).collect()
        };
        assert_eq!(trusted("nameserver 127.0.0.53\nnameserver 192.0.2.1"), [true, false]);
        assert_eq!(trusted("options trust-ad\nnameserver 192.0.2.1"), [true]);
    }

    #[test]
    fn without_a_server_it_is_this_host_and_nonsense_is_passed_over() {
        for text in
            ["", "nameserver", "nameserver dns.example", "nameserver fe80::1%eth0", "\0\u{feff}nameserver"]
        {
            assert_eq!(servers(text), ["127.0.0.1:53"], "{text:?}");
        }
        let odd = parse_resolv_conf("options timeout:99999999999999999999 attempts: timeout:0 attempts:99");
        assert_eq!((odd.timeout, odd.attempts), (Some(Duration::from_secs(1)), Some(5)));
    }

    #[test]
    fn the_number_of_servers_is_bounded() {
        let text = "nameserver 192.0.2.1\n".repeat(UPSTREAMS_MAX + 1);
        assert_eq!(servers(&text).len(), UPSTREAMS_MAX);
    }
}

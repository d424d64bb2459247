//! Which addresses may be connected to when a user says where to.
//!
//! Users set URLs, and the server is inside of networks that they are outside of. So by default only addresses that
//! anybody on the internet could reach are connected to, by the registries of special addresses (RFC 6890), as they are
//! kept by IANA. An address of this host isn't one of them, public as it may be: what listens there may be out of reach for
//! all others, by a firewall that this host doesn't pass. Nor are the ports of mail called: whoever answers there would take it for
//! an attack, and this server for the attacker.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::config::Network;

/// Which addresses may be connected to.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Reach {
    /// All of them.
    All,
    /// Public ones.
    #[default]
    Public,
    /// Public ones, and those of these networks.
    PublicAnd(Vec<Network>),
}

/// Why an address may not be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// Not everybody can reach it.
    #[error("the host's address {0} is not a public one, and the configuration doesn't allow it")]
    Private(IpAddr),
    /// It is this host.
    #[error("the host's address {0} is one of this server, and the configuration doesn't allow it")]
    Own(IpAddr),
    /// Mail is spoken there.
    #[error("port {0} is one for mail, where nobody speaks HTTP")]
    Port(u16),
}

/// Ports where servers of mail, and of its filters, answer: SMTP, POP3, IMAP, ManageSieve.
const MAIL_PORTS: [u16; 9] = [25, 110, 143, 465, 587, 993, 995, 2525, 4190];

impl Reach {
    /// Whether this address may be connected to.
    pub fn check(&self, address: SocketAddr) -> Result<(), Forbidden> {
        self.check_with(address, is_own)
    }

    fn check_with(&self, address: SocketAddr, is_own: impl Fn(IpAddr) -> bool) -> Result<(), Forbidden> {
        let (address, port) = (address.ip(), address.port());
        let is_named = match self {
            Self::All => true,
            Self::Public => false,
            Self::PublicAnd(networks) => networks.iter().any(|network| network.contains(address)),
        };
        if is_named {
            return Ok(());
        }
        if !is_public(address) {
            return Err(Forbidden::Private(address));
        }
        if MAIL_PORTS.contains(&port) {
            return Err(Forbidden::Port(port));
        }
        if is_own(address.to_canonical()) { Err(Forbidden::Own(address)) } else { Ok(()) }
    }
}

/// Whether an address is one of this host, as far as the kernel knows. Nothing is sent.
fn is_own(address: IpAddr) -> bool {
    let (any, nobodys): (IpAddr, IpAddr) = match address {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into()),
        IpAddr::V6(_) => {
            (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into())
        }
    };
    // Whoever speaks to itself speaks from the same address.
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    if source.is_ok_and(|source| source.ip() == address) {
        return true;
    }
    // But to a further address of an interface, from its first one. A socket can be bound to addresses of this host alone, unless
    // the kernel is told to bind to any: then to one for documentation as well.
    let can_bind = |address| UdpSocket::bind((address, 0)).is_ok();
    can_bind(address) && !can_bind(nobodys)
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_4(address),
        IpAddr::V6(address) => is_public_6(address),
    }
}

fn is_public_4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = match (a, b, c) {
        // This network; private; loopback; multicast and what is reserved.
        (0 | 10 | 127 | 224.., ..)
        // Shared with the customers of a provider.
        | (100, 64..=127, _)
        // Link-local, where clouds keep secrets; private.
        | (169, 254, _) | (172, 16..=31, _) | (192, 168, _)
        // Assignments of protocols; documentation; 6to4 relays; benchmarks.
        | (192, 0, 0 | 2) | (192, 88, 99) | (198, 18..=19, _) | (198, 51, 100) | (203, 0, 113) => true,
        _ => false,
    };
    !is_special
}

fn is_public_6(address: Ipv6Addr) -> bool {
    if let Some(mapped) = address.to_ipv4_mapped() {
        return is_public_4(mapped);
    }
    let [a, b, c, d, e, f, g, h] = address.segments();
    let in_last = || Ipv4Addr::from(u32::from(g) << 16 | u32::from(h));
    match (a, b) {
        // Translated by NAT64 (RFC 6052): what is behind it counts. The prefix for local use is local.
        (0x64, 0xff9b) => [c, d, e, f] == [0; 4] && is_public_4(in_last()),
        // 6to4 (RFC 3056) leads to the address within.
        (0x2002, _) => is_public_4(Ipv4Addr::from(u32::from(b) << 16 | u32::from(c))),
        // Assignments of protocols, Teredo among them; documentation.
        (0x2001, 0..=0x1ff | 0xdb8) | (0x3fff, 0..=0xfff) => false,
        // All else that is given out is of 2000::/3.
        _ => a & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn only_what_anybody_can_reach_is_public() {
        for text in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.0.0.1",
            "128.0.0.1",
            "169.253.255.255",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "192.167.0.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:200::1",
            "2a00::1",
            "3ffe::1",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "2002:101:101::1",
        ] {
            let address = SocketAddr::new(text.parse().unwrap(), 443);
            assert_eq!(Reach::Public.check(address), Ok(()), "{text}");
        }
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::101:101",
            "64:ff9b::1:0:101:101",
            "100::1",
            "2001::1",
            "2001:1::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:c0a8:101::1",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            let address = SocketAddr::new(text.parse().unwrap(), 443);
            assert_eq!(Reach::Public.check(address), Err(Forbidden::Private(address.ip())), "{text}");
            assert_eq!(Reach::All.check(address), Ok(()), "{text}");
        }
    }

    #[test]
    fn networks_can_be_allowed() {
        let network = Network::parse("10.1.0.0/16").unwrap();
        let reach = Reach::PublicAnd(vec![network]);
        for (text, allowed) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("10.2.0.1", false),
            ("127.0.0.1", false),
            ("1.1.1.1", true),
        ] {
            let address = SocketAddr::new(text.parse().unwrap(), 443);
            assert_eq!(reach.check(address).is_ok(), allowed, "{text}");
        }
    }

    #[test]
    fn this_host_is_not_called_however_public_its_address_is() {
        for text in ["127.0.0.1", "127.0.0.2", "::1"] {
            let address: IpAddr = text.parse().unwrap();
            assert!(is_own(address) || UdpSocket::bind((address, 0)).is_err(), "{text}");
        }
        for text in ["198.51.100.77", "2001:db8::77"] {
            assert!(!is_own(text.parse().unwrap()), "{text}");
        }
        let own = |address: IpAddr| address == IpAddr::from([1, 1, 1, 1]);
        let network = |text| Reach::PublicAnd(vec![Network::parse(text).unwrap()]);
        for (reach, address, expected) in [
            (Reach::Public, "1.1.1.1:443", Err(Forbidden::Own([1, 1, 1, 1].into()))),
            (Reach::Public, "1.1.1.2:443", Ok(())),
            (network("10.0.0.0/8"), "1.1.1.1:443", Err(Forbidden::Own([1, 1, 1, 1].into()))),
            (network("1.1.1.1/32"), "1.1.1.1:443", Ok(())),
            (Reach::All, "1.1.1.1:443", Ok(())),
        ] {
            assert_eq!(reach.check_with(address.parse().unwrap(), own), expected, "{reach:?} {address}");
        }
        let mapped = "[::ffff:1.1.1.1]:443".parse().unwrap();
        assert!(matches!(Reach::Public.check_with(mapped, own), Err(Forbidden::Own(_))));
    }

    #[test]
    fn ports_of_mail_are_not_called() {
        let port = |port| SocketAddr::from(([1, 1, 1, 1], port));
        for mail in MAIL_PORTS {
            assert_eq!(Reach::Public.check(port(mail)), Err(Forbidden::Port(mail)));
            assert_eq!(Reach::All.check(port(mail)), Ok(()));
        }
        for other in [1, 80, 443, 8025, 65535] {
            assert_eq!(Reach::Public.check(port(other)), Ok(()));
        }
    }
}

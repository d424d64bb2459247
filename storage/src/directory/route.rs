//! Routes: by which transport mail of an account or a domain leaves (product 3.4).

use std::fmt;

use postrider_proto::address::{AddressError, Domain};

/// Mail that matches leaves by a transport of the configuration; of several routes, the first one that matches
/// counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Domains of senders; none is any.
    pub from_domains: Vec<RouteDomain>,
    /// Domains of recipients; none is any.
    pub to_domains: Vec<RouteDomain>,
    /// Attempts that were made before, at least.
    pub minimum_attempts: u32,
    /// The transport's name.
    pub transport: TransportName,
}

/// Domains in a route.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RouteDomain {
    /// `.`: no domain at all, as of the empty sender.
    Empty,
    /// `example.com`: this one.
    Exact(Domain),
    /// `.example.com`: this one and all below it.
    AtOrBelow(Domain),
}

impl RouteDomain {
    /// Parses `.`, `example.com` or `.example.com`.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        match text.strip_prefix('.') {
            Some("") => Ok(Self::Empty),
            Some(domain) => Ok(Self::AtOrBelow(Domain::parse(domain)?)),
            None => Ok(Self::Exact(Domain::parse(text)?)),
        }
    }
}

impl fmt::Display for RouteDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("."),
            Self::Exact(domain) => domain.fmt(f),
            Self::AtOrBelow(domain) => write!(f, ".{domain}"),
        }
    }
}

/// The name of a transport of the configuration. Whether there is one of that name is seen when mail leaves.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TransportName(Box<str>);

/// A text that is no name of a transport.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the name of a transport has 1 to 64 letters, digits, - and _ of ASCII")]
pub struct BadTransportName;

impl TransportName {
    /// The longest one.
    pub const OCTETS_MAX: usize = 64;

    /// Checks a name.
    pub fn new(text: &str) -> Result<Self, BadTransportName> {
        let fits = (1..=Self::OCTETS_MAX).contains(&text.len());
        let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
        if fits && text.bytes().all(is_plain) { Ok(Self(text.into())) } else { Err(BadTransportName) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TransportName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn domains_of_routes_are_written_as_they_are_read() {
        for text in [".", "example.com", ".example.com"] {
            assert_eq!(RouteDomain::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "..", ".exa mple", "*.example"] {
            assert!(RouteDomain::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_of_transports_are_plain() {
        let longest = "a".repeat(TransportName::OCTETS_MAX);
        for text in ["smarthost", "Relay_2-b", &longest] {
            assert_eq!(TransportName::new(text).unwrap().as_str(), text);
        }
        for text in ["", "a b", "a.b", "\u{e4}", &format!("{longest}a")] {
            assert!(TransportName::new(text).is_err(), "{text}");
        }
    }
}

//! Address literals (RFC 5321 §4.1.3).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::AddressError;

/// An address in brackets in the place of a domain: `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
///
/// `IPv6` is the only tag that was ever registered, so a General-address-literal is none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AddressLiteral(pub IpAddr);

impl AddressLiteral {
    /// Parses a literal with its brackets.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let inside = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let inside = inside.ok_or(AddressError::Literal)?;
        let address = match inside.split_once(':') {
            Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6") => {
                address.parse::<Ipv6Addr>().map(IpAddr::V6).ok()
            }
            Some(_) => None,
            None => inside.parse::<Ipv4Addr>().map(IpAddr::V4).ok(),
        };
        address.map(Self).ok_or(AddressError::Literal)
    }
}

impl fmt::Display for AddressLiteral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(ip) => write!(f, "[{ip}]"),
            IpAddr::V6(ip) => write!(f, "[IPv6:{ip}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_come_back_as_written() {
        for text in ["[192.0.2.1]", "[IPv6:2001:db8::1]"] {
            assert_eq!(AddressLiteral::parse(text).map(|l| l.to_string()), Ok(text.into()));
        }
        assert_eq!(
            AddressLiteral::parse("[ipv6:2001:DB8:0::1]").map(|l| l.to_string()),
            Ok("[IPv6:2001:db8::1]".into())
        );
    }

    #[test]
    fn broken_literals_are_refused() {
        for text in [
            "",
            "[",
            "[]",
            "[1.2.3]",
            "[1.2.3.4",
            "1.2.3.4",
            "[1.2.3.256]",
            "[2001:db8::1]",
            "[IPv6:zz]",
            "[tag:x]",
            "[:x]",
            "[1.2.3.4]]",
            "[ 1.2.3.4]",
            "[IPv6:::1%lo]",
            "[IPv6:1.2.3.4]",
            "[[1.2.3.4]]",
            "[0x7f.1]",
        ] {
            assert_eq!(AddressLiteral::parse(text), Err(AddressError::Literal), "{text}");
        }
    }
}

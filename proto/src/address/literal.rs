//! Address literals (RFC 5321 §4.1.3).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::AddressError;

/// An address in brackets in the place of a domain.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AddressLiteral {
    /// `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
    Ip(IpAddr),
    /// `[tag:content]` of another kind, as written between the brackets.
    General(Box<str>),
}

impl AddressLiteral {
    /// The longest literal, brackets not counted.
    pub const OCTETS_MAX: usize = 253;

    /// Parses a literal with its brackets.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let inside = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let inside = inside.filter(|inside| inside.len() <= Self::OCTETS_MAX).ok_or(AddressError::Literal)?;
        if let Some((tag, content)) = inside.split_once(':') {
            return Self::parse_tagged(inside, tag, content);
        }
        inside.parse::<Ipv4Addr>().map(|ip| Self::Ip(ip.into())).map_err(|_| AddressError::Literal)
    }

    fn parse_tagged(inside: &str, tag: &str, content: &str) -> Result<Self, AddressError> {
        if tag.eq_ignore_ascii_case("IPv6") {
            return content
                .parse::<Ipv6Addr>()
                .map(|ip| Self::Ip(ip.into()))
                .map_err(|_| AddressError::Literal);
        }
        // Standardized-tag = Ldh-str; dcontent = %d33-90 / %d94-126.
        let tag_fits = !tag.is_empty()
            && !tag.ends_with('-')
            && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let content_fits =
            !content.is_empty() && content.bytes().all(|byte| matches!(byte, 33..=90 | 94..=126));
        if tag_fits && content_fits { Ok(Self::General(inside.into())) } else { Err(AddressError::Literal) }
    }
}

impl fmt::Display for AddressLiteral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V4(ip)) => write!(f, "[{ip}]"),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[IPv6:{ip}]"),
            Self::General(inside) => write!(f, "[{inside}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_come_back_as_written() {
        for text in ["[192.0.2.1]", "[IPv6:2001:db8::1]", "[x-tag:some(thing)]"] {
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
            "[tag:]",
            "[:x]",
            "[tag:a b]",
            "[tag:a]b]",
            "[tag:\u{fc}]",
            "[ 1.2.3.4]",
            "[IPv6:::1%lo]",
        ] {
            assert_eq!(AddressLiteral::parse(text), Err(AddressError::Literal), "{text}");
        }
    }
}

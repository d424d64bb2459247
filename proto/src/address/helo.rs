//! What a client calls itself in EHLO or HELO (RFC 5321 §4.1.1.1).

use std::fmt;

use super::{AddressError, AddressLiteral, Domain};

/// The name a client gave. It proves nothing; it goes into trace fields and policy.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum HeloName {
    /// A domain.
    Domain(Domain),
    /// An address literal.
    Literal(AddressLiteral),
    /// Something else without spaces and control characters (`my_host`, `192.0.2.1:25`).
    ///
    /// Deviation: RFC 5321 §4.1.1.1 allows only the other two, but real clients send their machine's name
    /// whatever it is, and nothing depends on it.
    Other(Box<str>),
}

impl HeloName {
    /// The longest name.
    pub const OCTETS_MAX: usize = 255;

    /// Parses the argument of EHLO or HELO. Text after an address literal, set apart by a space, is
    /// tolerated and dropped.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() || text.len() > Self::OCTETS_MAX {
            return Err(AddressError::Name);
        }
        let first = text.split_once(' ').map_or(text, |(first, _)| first);
        if let Ok(literal) = AddressLiteral::parse(first) {
            return Ok(Self::Literal(literal));
        }
        if let Ok(domain) = Domain::parse(text) {
            return Ok(Self::Domain(domain));
        }
        let tolerated =
            |c: char| c.is_ascii_graphic() && !matches!(c, '(' | ')' | '<' | '>' | '"' | '\\' | ';');
        if text.chars().all(tolerated) { Ok(Self::Other(text.into())) } else { Err(AddressError::Name) }
    }

    /// The domain, if the name is one.
    pub fn domain(&self) -> Option<&Domain> {
        if let Self::Domain(domain) = self { Some(domain) } else { None }
    }
}

impl fmt::Display for HeloName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(domain) => domain.fmt(f),
            Self::Literal(literal) => literal.fmt(f),
            Self::Other(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_by_kind() {
        assert!(matches!(HeloName::parse("mx.example.org"), Ok(HeloName::Domain(_))));
        assert!(matches!(HeloName::parse("[192.0.2.1]"), Ok(HeloName::Literal(_))));
        assert!(matches!(HeloName::parse("[192.0.2.1] some text"), Ok(HeloName::Literal(_))));
        assert!(matches!(HeloName::parse("my_host"), Ok(HeloName::Other(_))));
        assert!(matches!(HeloName::parse("a."), Ok(HeloName::Other(_))));
    }

    #[test]
    fn names_that_could_forge_a_trace_field_are_refused() {
        for text in ["", "a b", "a\tb", "a\r\nb", "a;b", "a(b", "a)b", "\u{202e}", "<a>", "\"a\"", "a\0b"] {
            assert_eq!(HeloName::parse(text), Err(AddressError::Name), "{text:?}");
        }
    }

    #[test]
    fn the_length_limit_holds() {
        assert!(HeloName::parse(&"_".repeat(HeloName::OCTETS_MAX)).is_ok());
        assert!(HeloName::parse(&"_".repeat(HeloName::OCTETS_MAX + 1)).is_err());
    }
}

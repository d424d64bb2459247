//! Numbers and flags of IMAP messages (RFC 9051 §2.3, RFC 7162 §3.1).

use std::fmt;
use std::num::NonZeroU32;

/// A unique identifier of a message in its mailbox: 1 ..= 2^32 - 1 (RFC 9051 §2.3.1.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Uid(pub NonZeroU32);

impl Uid {
    /// The smallest uid.
    pub const MIN: Self = Self(NonZeroU32::MIN);
    /// The largest uid.
    pub const MAX: Self = Self(NonZeroU32::MAX);

    /// Makes a uid; zero is none.
    pub const fn new(value: u32) -> Option<Self> {
        match NonZeroU32::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// The bare number.
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// The uid after this one, none at the end of the number space.
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Tells incarnations of a mailbox apart (RFC 9051 §2.3.1.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UidValidity(pub NonZeroU32);

impl fmt::Display for UidValidity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A modification sequence: 1 ..= 2^63 - 1 (RFC 7162 §3.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ModSeq(u64);

impl ModSeq {
    /// The smallest modification sequence.
    pub const MIN: Self = Self(1);
    /// The largest modification sequence.
    pub const MAX: Self = Self((1 << 63) - 1);

    /// Makes a modification sequence; none when out of range.
    pub const fn new(value: u64) -> Option<Self> {
        if value >= Self::MIN.0 && value <= Self::MAX.0 { Some(Self(value)) } else { None }
    }

    /// The bare number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The modification sequence after this one, none at the end of the number space.
    pub const fn next(self) -> Option<Self> {
        Self::new(self.0 + 1)
    }
}

impl fmt::Display for ModSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The system flags of a message, one bit each (RFC 9051 §2.3.2). `\Recent` is never set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(u8);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// `\Seen`
    pub const SEEN: Self = Self(1);
    /// `\Answered`
    pub const ANSWERED: Self = Self(1 << 1);
    /// `\Flagged`
    pub const FLAGGED: Self = Self(1 << 2);
    /// `\Deleted`
    pub const DELETED: Self = Self(1 << 3);
    /// `\Draft`
    pub const DRAFT: Self = Self(1 << 4);
    /// Every flag, in the order in which they are written.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::ANSWERED, "\\Answered"),
        (Self::FLAGGED, "\\Flagged"),
        (Self::DELETED, "\\Deleted"),
        (Self::SEEN, "\\Seen"),
        (Self::DRAFT, "\\Draft"),
    ];
    const MASK: u8 = 0b1_1111;

    /// The flags of stored bits; bits that no flag has are ignored.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & Self::MASK)
    }

    /// The bits as stored.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether all of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These and `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These except `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(Self::ALL.iter().filter(|(flag, _)| self.contains(*flag)).map(|(_, name)| name))
            .finish()
    }
}

/// A keyword: a flag that users and clients define; an atom, compared without regard to ASCII case
/// (RFC 9051 §2.3.2). Keeps its spelling; `$Important` (RFC 8457) is one like any other.
#[derive(Clone, Debug)]
pub struct Keyword(Box<str>);

impl Keyword {
    /// The longest keyword, in octets.
    pub const OCTETS_MAX: usize = 200;

    /// Makes a keyword of an atom that doesn't begin with a backslash; none when it isn't one.
    pub fn new(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.len() <= Self::OCTETS_MAX;
        (fits && text.bytes().all(is_atom_octet)).then(|| Self(text.into()))
    }

    /// The keyword as it was first written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// RFC 9051 §9, `ATOM-CHAR`: any CHAR except atom-specials.
fn is_atom_octet(octet: u8) -> bool {
    octet.is_ascii_graphic() && !b"(){%*\"\\]".contains(&octet)
}

impl PartialEq for Keyword {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Keyword {}

impl std::hash::Hash for Keyword {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        for octet in self.0.bytes() {
            octet.to_ascii_lowercase().hash(state);
        }
    }
}

impl fmt::Display for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_where_their_standards_say() {
        assert_eq!(Uid::new(0), None);
        assert_eq!(Uid::MAX.next(), None);
        assert_eq!(Uid::MIN.next(), Uid::new(2));
        assert_eq!(ModSeq::new(0), None);
        assert_eq!(ModSeq::new(1 << 63), None);
        assert_eq!(ModSeq::MAX.next(), None);
    }

    #[test]
    fn keywords_are_atoms_and_ignore_case() {
        assert_eq!(Keyword::new("$Forwarded"), Keyword::new("$forwarded"));
        for bad in ["", "\\Seen", "a b", "a]", "a\u{e9}", "a(", "%"] {
            assert_eq!(Keyword::new(bad), None, "{bad}");
        }
        assert!(Keyword::new(&"a".repeat(Keyword::OCTETS_MAX)).is_some());
        assert!(Keyword::new(&"a".repeat(Keyword::OCTETS_MAX + 1)).is_none());
    }
}

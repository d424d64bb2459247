//! The record that a domain publishes (RFC 7208 §3, §4.5, §4.6.1, §5, §6, §12).

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::SpfResult;
use super::macros::{DomainSpec, MacroError, check_unknown};

/// What a directive says when its mechanism matches (RFC 7208 §4.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qualifier {
    /// `+`, or nothing.
    Pass,
    /// `-`
    Fail,
    /// `~`
    Softfail,
    /// `?`
    Neutral,
}

impl Qualifier {
    fn parse(octet: u8) -> Option<Self> {
        match octet {
            b'+' => Some(Self::Pass),
            b'-' => Some(Self::Fail),
            b'~' => Some(Self::Softfail),
            b'?' => Some(Self::Neutral),
            _ => None,
        }
    }

    /// The result of the record.
    #[must_use]
    pub fn result(self) -> SpfResult {
        match self {
            Self::Pass => SpfResult::Pass,
            Self::Fail => SpfResult::Fail,
            Self::Softfail => SpfResult::Softfail,
            Self::Neutral => SpfResult::Neutral,
        }
    }
}

/// How many bits of an address are compared, for both kinds of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DualPrefix {
    /// 0 to 32.
    pub v4: u8,
    /// 0 to 128.
    pub v6: u8,
}

impl DualPrefix {
    /// Whole addresses.
    pub const FULL: Self = Self { v4: 32, v6: 128 };
}

/// What a client is tested for (RFC 7208 §5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// Always matches.
    All,
    /// The other record says pass.
    Include(DomainSpec),
    /// An address of the name, or of the domain itself.
    A(Option<DomainSpec>, DualPrefix),
    /// An address of a mail host of the name.
    Mx(Option<DomainSpec>, DualPrefix),
    /// A validated name of the client is at or below the name.
    Ptr(Option<DomainSpec>),
    /// The network, and how many of its bits count.
    Ip4(Ipv4Addr, u8),
    /// The network, and how many of its bits count.
    Ip6(Ipv6Addr, u8),
    /// The name has an IPv4 address.
    Exists(DomainSpec),
}

impl Mechanism {
    /// Whether it asks DNS and so counts against the limit of ten (RFC 7208 §4.6.4).
    #[must_use]
    pub fn asks_dns(&self) -> bool {
        !matches!(self, Self::All | Self::Ip4(..) | Self::Ip6(..))
    }
}

/// A mechanism and what it says when it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// What a match means.
    pub qualifier: Qualifier,
    /// What is tested.
    pub mechanism: Mechanism,
}

/// A modifier that this product doesn't know; without effect (RFC 7208 §6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Modifier {
    /// Its name, as written.
    pub name: Box<str>,
    /// Its value, as written.
    pub value: Box<str>,
}

/// A record without syntax errors.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Record {
    /// The directives in their order.
    pub directives: Vec<Directive>,
    /// Whose record counts when no mechanism matches.
    pub redirect: Option<DomainSpec>,
    /// Where the explanation of a failure is.
    pub explanation: Option<DomainSpec>,
    /// Modifiers without meaning.
    pub unknown: Vec<Modifier>,
}

/// What is wrong with a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TermError {
    /// A character that isn't printable ASCII.
    #[error("a character that may not stand in a record")]
    Character,
    /// Neither a known mechanism nor a modifier.
    #[error("no mechanism has this name")]
    Unknown,
    /// A mechanism that needs a domain or a network has none.
    #[error("what belongs after the colon is missing")]
    Missing,
    /// Something follows where nothing may.
    #[error("nothing may follow the mechanism's name")]
    Surplus,
    /// A domain or a macro string.
    #[error("{0}")]
    Macro(#[from] MacroError),
    /// An address that isn't one.
    #[error("not an address of the right kind")]
    Network,
    /// A length of a prefix that isn't one.
    #[error("not a prefix length")]
    Prefix,
    /// `redirect` or `exp` for a second time (RFC 7208 §6).
    #[error("a modifier that may stand once")]
    Twice,
}

/// Why a record can't be interpreted: a permerror (RFC 7208 §4.6).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Over [`Record::OCTETS_MAX`].
    #[error("the record is over {max} octets", max = Record::OCTETS_MAX)]
    TooLong,
    /// A term breaks the grammar.
    #[error("term \"{term}\": {error}")]
    Term {
        /// The start of the term, printable.
        term: String,
        /// What is wrong with it.
        error: TermError,
    },
}

impl Record {
    /// The longest record that is read. RFC 7208 §3.4 asks for no more than 450 octets.
    pub const OCTETS_MAX: usize = 16 * 1024;
    /// Octets of a term that are shown in an error.
    const SHOWN_OCTETS_MAX: usize = 80;

    /// Whether the text of a TXT record is an SPF record: `v=spf1` and a space or the end (RFC 7208 §4.5).
    #[must_use]
    pub fn is_one(text: &[u8]) -> bool {
        after_version(text).is_some()
    }

    /// Parses the text of a TXT record for which [`Record::is_one`] holds; without a version, what is read as
    /// terms is all of it.
    pub fn parse(text: &[u8]) -> Result<Self, RecordError> {
        if text.len() > Self::OCTETS_MAX {
            return Err(RecordError::TooLong);
        }
        let mut record = Self::default();
        let terms = after_version(text).unwrap_or(text);
        for term in terms.split(|octet| *octet == b' ').filter(|term| !term.is_empty()) {
            record.add(term).map_err(|error| RecordError::Term { term: shown(term), error })?;
        }
        Ok(record)
    }

    /// Whether an `all` mechanism is in it, with which `redirect` has no effect (RFC 7208 §6.1).
    #[must_use]
    pub fn has_all(&self) -> bool {
        self.directives.iter().any(|directive| directive.mechanism == Mechanism::All)
    }

    fn add(&mut self, term: &[u8]) -> Result<(), TermError> {
        if !term.iter().all(u8::is_ascii_graphic) {
            return Err(TermError::Character);
        }
        let Some((name, value)) = as_modifier(term) else {
            self.directives.push(parse_directive(term)?);
            return Ok(());
        };
        let known = if name.eq_ignore_ascii_case(b"redirect") {
            &mut self.redirect
        } else if name.eq_ignore_ascii_case(b"exp") {
            &mut self.explanation
        } else {
            check_unknown(value)?;
            let text = |octets| String::from_utf8_lossy(octets).into();
            self.unknown.push(Modifier { name: text(name), value: text(value) });
            return Ok(());
        };
        if known.is_some() {
            return Err(TermError::Twice);
        }
        *known = Some(DomainSpec::parse(value)?);
        Ok(())
    }
}

/// What follows the version section.
fn after_version(text: &[u8]) -> Option<&[u8]> {
    const VERSION: &[u8] = b"v=spf1";
    // ABNF literals have no case (RFC 5234 §2.3).
    let (version, rest) = text.split_at_checked(VERSION.len())?;
    let is_ended = rest.first().is_none_or(|octet| *octet == b' ');
    (version.eq_ignore_ascii_case(VERSION) && is_ended).then_some(rest)
}

fn shown(term: &[u8]) -> String {
    let start = &term[..term.len().min(Record::SHOWN_OCTETS_MAX)];
    let visible = |octet: &u8| if octet.is_ascii_graphic() { char::from(*octet) } else { '?' };
    start.iter().map(visible).collect()
}

/// Splits `name "=" value`, where the name is one of modifiers.
fn as_modifier(term: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = term.iter().position(|octet| *octet == b'=')?;
    let (name, value) = (&term[..at], &term[at + 1..]);
    let may_stand = |octet: &u8| octet.is_ascii_alphanumeric() || b"-_.".contains(octet);
    let is_name = name.first().is_some_and(u8::is_ascii_alphabetic) && name.iter().all(may_stand);
    is_name.then_some((name, value))
}

fn parse_directive(term: &[u8]) -> Result<Directive, TermError> {
    let (qualifier, term) = match term {
        [first, rest @ ..] if Qualifier::parse(*first).is_some() => (Qualifier::parse(*first), rest),
        _ => (None, term),
    };
    let qualifier = qualifier.unwrap_or(Qualifier::Pass);
    let end = term.iter().position(|octet| matches!(octet, b':' | b'/')).unwrap_or(term.len());
    let (name, rest) = term.split_at(end);
    let name = name.to_ascii_lowercase();
    let after_colon = rest.strip_prefix(b":");
    let spec = || DomainSpec::parse(after_colon.ok_or(TermError::Missing)?).map_err(TermError::from);
    let mechanism = match name.as_slice() {
        b"all" if rest.is_empty() => Mechanism::All,
        b"all" => return Err(TermError::Surplus),
        b"include" => Mechanism::Include(spec()?),
        b"exists" => Mechanism::Exists(spec()?),
        b"ptr" if rest.is_empty() => Mechanism::Ptr(None),
        b"ptr" => Mechanism::Ptr(Some(spec()?)),
        b"a" => {
            let (spec, prefix) = parse_spec_and_prefix(rest)?;
            Mechanism::A(spec, prefix)
        }
        b"mx" => {
            let (spec, prefix) = parse_spec_and_prefix(rest)?;
            Mechanism::Mx(spec, prefix)
        }
        b"ip4" => {
            let (network, prefix) = parse_network(after_colon.ok_or(TermError::Missing)?, 32)?;
            Mechanism::Ip4(network, prefix)
        }
        b"ip6" => {
            let (network, prefix) = parse_network(after_colon.ok_or(TermError::Missing)?, 128)?;
            Mechanism::Ip6(network, prefix)
        }
        _ => return Err(TermError::Unknown),
    };
    Ok(Directive { qualifier, mechanism })
}

/// Reads `[ ":" domain-spec ] [ dual-cidr-length ]`.
fn parse_spec_and_prefix(text: &[u8]) -> Result<(Option<DomainSpec>, DualPrefix), TermError> {
    let mut prefix = DualPrefix::FULL;
    let mut rest = text;
    // A domain can't end in slash and digits, so what ends so is a prefix length.
    if let Some((before, digits)) = split_digits(rest)
        && let Some(before) = before.strip_suffix(b"//")
    {
        prefix.v6 = parse_prefix(digits, 128)?;
        rest = before;
    }
    if let Some((before, digits)) = split_digits(rest)
        && let Some(before) = before.strip_suffix(b"/")
    {
        prefix.v4 = parse_prefix(digits, 32)?;
        rest = before;
    }
    match rest {
        [] => Ok((None, prefix)),
        [b':', spec @ ..] => Ok((Some(DomainSpec::parse(spec)?), prefix)),
        _ => Err(TermError::Prefix),
    }
}

/// Splits digits off the end.
fn split_digits(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let digits = text.iter().rev().take_while(|octet| octet.is_ascii_digit()).count();
    (digits > 0).then(|| text.split_at(text.len() - digits))
}

/// A number without zeros before it, up to `max`.
fn parse_prefix(digits: &[u8], max: u8) -> Result<u8, TermError> {
    let is_number = digits.first().is_some_and(|first| *first != b'0' || digits.len() == 1);
    let number = digits.iter().try_fold(0_u8, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(digit)
    });
    number.filter(|number| is_number && *number <= max).ok_or(TermError::Prefix)
}

/// Reads a network and the length of its prefix.
fn parse_network<T: std::str::FromStr>(text: &[u8], full: u8) -> Result<(T, u8), TermError> {
    let (network, prefix) = match text.iter().position(|octet| *octet == b'/') {
        Some(at) => (&text[..at], parse_prefix(&text[at + 1..], full)?),
        None => (text, full),
    };
    if network.is_empty() {
        return Err(TermError::Missing);
    }
    let network = std::str::from_utf8(network).ok().and_then(|text| text.parse().ok());
    Ok((network.ok_or(TermError::Network)?, prefix))
}

impl fmt::Display for Qualifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "",
            Self::Fail => "-",
            Self::Softfail => "~",
            Self::Neutral => "?",
        })
    }
}

impl fmt::Display for DualPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.v4 != Self::FULL.v4 {
            write!(f, "/{}", self.v4)?;
        }
        if self.v6 == Self::FULL.v6 { Ok(()) } else { write!(f, "//{}", self.v6) }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Include(spec) => write!(f, "include:{spec}"),
            Self::Exists(spec) => write!(f, "exists:{spec}"),
            Self::A(None, prefix) => write!(f, "a{prefix}"),
            Self::A(Some(spec), prefix) => write!(f, "a:{spec}{prefix}"),
            Self::Mx(None, prefix) => write!(f, "mx{prefix}"),
            Self::Mx(Some(spec), prefix) => write!(f, "mx:{spec}{prefix}"),
            Self::Ptr(None) => f.write_str("ptr"),
            Self::Ptr(Some(spec)) => write!(f, "ptr:{spec}"),
            Self::Ip4(network, 32) => write!(f, "ip4:{network}"),
            Self::Ip4(network, prefix) => write!(f, "ip4:{network}/{prefix}"),
            Self::Ip6(network, 128) => write!(f, "ip6:{network}"),
            Self::Ip6(network, prefix) => write!(f, "ip6:{network}/{prefix}"),
        }
    }
}

impl fmt::Display for Directive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.qualifier, self.mechanism)
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("v=spf1")?;
        self.directives.iter().try_for_each(|directive| write!(f, " {directive}"))?;
        if let Some(spec) = &self.redirect {
            write!(f, " redirect={spec}")?;
        }
        if let Some(spec) = &self.explanation {
            write!(f, " exp={spec}")?;
        }
        self.unknown.iter().try_for_each(|modifier| write!(f, " {}={}", modifier.name, modifier.value))
    }
}

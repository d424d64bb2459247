//! Paths of MAIL and RCPT (RFC 5321 §4.1.2). Source routes are parsed and ignored (appendix C).

use std::fmt;

use super::localpart::parse_prefix;
use super::{AddressError, AddressLiteral, Domain, Localpart};
use crate::mime::parameter::percent_decode;

/// A mailbox at a domain.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Address {
    /// What stands before the `@`.
    pub localpart: Localpart,
    /// What stands after it.
    pub domain: Domain,
}

impl Address {
    /// Parses `localpart@domain`, without brackets.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        match parse_mailbox(text)? {
            Mailbox::Address(address) => Ok(address),
            Mailbox::Literal(_) => Err(AddressError::LiteralRefused),
        }
    }

    /// The address of a `mailto` URI (RFC 6068 §2). Header fields that it may carry are passed over.
    #[must_use]
    pub fn of_mailto(uri: &str) -> Option<Self> {
        let (scheme, rest) = uri.split_once(':')?;
        if !scheme.eq_ignore_ascii_case("mailto") {
            return None;
        }
        let address = percent_decode(rest.split('?').next()?.as_bytes());
        Self::parse(std::str::from_utf8(&address).ok()?).ok()
    }

    /// Whether it can be sent without SMTPUTF8. The domain always can.
    pub fn is_ascii(&self) -> bool {
        self.localpart.is_ascii()
    }

    /// The address with the domain in U-label form.
    pub fn unicode(&self) -> String {
        format!("{}@{}", self.localpart, self.domain.unicode())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.localpart, self.domain)
    }
}

/// A mailbox at an address literal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LiteralAddress {
    /// What stands before the `@`.
    pub localpart: Localpart,
    /// What stands after it.
    pub literal: AddressLiteral,
}

/// Where reports about a message go: the argument of MAIL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ReversePath {
    /// `<>`: nothing is to be reported.
    Null,
    /// An address.
    Address(Address),
}

impl ReversePath {
    /// Parses a path with its brackets. An address literal is [`AddressError::LiteralRefused`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text == "<>" {
            return Ok(Self::Null);
        }
        match parse_path(text)? {
            Mailbox::Address(address) => Ok(Self::Address(address)),
            Mailbox::Literal(_) => Err(AddressError::LiteralRefused),
        }
    }

    /// The address, unless null.
    pub fn address(&self) -> Option<&Address> {
        if let Self::Address(address) = self { Some(address) } else { None }
    }
}

/// With its brackets, as in `Return-Path`.
impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("<>"),
            Self::Address(address) => write!(f, "<{address}>"),
        }
    }
}

/// Where a message goes: the argument of RCPT.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ForwardPath {
    /// `<postmaster>` without a domain (RFC 5321 §4.5.1), in any case.
    Postmaster,
    /// An address.
    Address(Address),
    /// An address literal: well-formed, told apart so that it can be refused as what it is.
    Literal(LiteralAddress),
}

impl ForwardPath {
    /// The longest path, brackets included (RFC 5321 §4.5.3.1.3).
    pub const OCTETS_MAX: usize = 256;

    /// Parses a path with its brackets.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.eq_ignore_ascii_case("<postmaster>") {
            return Ok(Self::Postmaster);
        }
        Ok(match parse_path(text)? {
            Mailbox::Address(address) => Self::Address(address),
            Mailbox::Literal(address) => Self::Literal(address),
        })
    }

    /// The address, if it is at a domain.
    pub fn address(&self) -> Option<&Address> {
        if let Self::Address(address) = self { Some(address) } else { None }
    }
}

/// Without brackets.
impl fmt::Display for ForwardPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postmaster => f.write_str("postmaster"),
            Self::Address(address) => address.fmt(f),
            Self::Literal(address) => write!(f, "{}@{}", address.localpart, address.literal),
        }
    }
}

/// Where the path that `text` starts with ends, its `>` included; brackets inside quotes do not count.
pub(crate) fn path_length(text: &str) -> Result<usize, AddressError> {
    if !text.starts_with('<') {
        return Err(AddressError::Brackets);
    }
    let mut quoted = false;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Ok(at + 1),
            _ => {}
        }
    }
    Err(AddressError::Brackets)
}

enum Mailbox {
    Address(Address),
    Literal(LiteralAddress),
}

fn parse_path(text: &str) -> Result<Mailbox, AddressError> {
    if text.len() > ForwardPath::OCTETS_MAX {
        return Err(AddressError::PathTooLong);
    }
    let inside = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
    let inside = inside.ok_or(AddressError::Brackets)?;
    parse_mailbox(skip_route(inside)?)
}

/// Drops `@a,@b:` before a mailbox, after a look at its grammar.
fn skip_route(inside: &str) -> Result<&str, AddressError> {
    if !inside.starts_with('@') {
        return Ok(inside);
    }
    let (route, mailbox) = inside.split_once(':').ok_or(AddressError::Route)?;
    for hop in route.split(',') {
        let domain = hop.strip_prefix('@').ok_or(AddressError::Route)?;
        Domain::parse(domain).map_err(|_| AddressError::Route)?;
    }
    Ok(mailbox)
}

fn parse_mailbox(text: &str) -> Result<Mailbox, AddressError> {
    if text.len() + 2 > ForwardPath::OCTETS_MAX {
        return Err(AddressError::PathTooLong);
    }
    let (localpart, rest) = parse_prefix(text)?;
    let domain = match rest.strip_prefix('@') {
        Some(domain) => domain,
        None if rest.is_empty() => return Err(AddressError::NoDomain),
        None => return Err(AddressError::Localpart),
    };
    if domain.starts_with('[') {
        return Ok(Mailbox::Literal(LiteralAddress { localpart, literal: AddressLiteral::parse(domain)? }));
    }
    let address = Address { localpart, domain: Domain::parse(domain)? };
    // Once more in the form that is sent on: normalising and A-labels lengthen.
    let octets = address.localpart.as_str().len() + 1 + address.domain.unicode().len();
    if address.to_string().len().max(octets) + 2 > ForwardPath::OCTETS_MAX {
        return Err(AddressError::PathTooLong);
    }
    Ok(Mailbox::Address(address))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use super::*;

    fn forward(text: &str) -> Result<String, AddressError> {
        ForwardPath::parse(text).map(|path| path.to_string())
    }

    #[test]
    fn mailto_uris_name_one_address() {
        let of = |uri: &str| Address::of_mailto(uri).map(|address| address.to_string());
        assert_eq!(of("mailto:a@b.example"), Some("a@b.example".into()));
        assert_eq!(of("MAILTO:a%2Bdmarc@B.example?subject=x@y"), Some("a+dmarc@b.example".into()));
        for none in
            ["mailto:", "mailto:a", "a@b.example", "https:a@b.example", "mailto:a@b.example,c@d.example"]
        {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn paths_are_parsed() {
        assert_eq!(forward("<a@B.example>"), Ok("a@b.example".into()));
        assert_eq!(forward("<PostMaster>"), Ok("postmaster".into()));
        assert_eq!(forward("<Postmaster@b.example>"), Ok("Postmaster@b.example".into()));
        assert_eq!(forward("<@x.example,@y.example:a@b.example>"), Ok("a@b.example".into()));
        assert_eq!(forward("<\"a>b\"@c.example>"), Ok("\"a>b\"@c.example".into()));
        assert_eq!(forward("<a@[192.0.2.1]>"), Ok("a@[192.0.2.1]".into()));
        assert_eq!(ReversePath::parse("<>"), Ok(ReversePath::Null));
        assert_eq!(ReversePath::parse("<a@b>").unwrap().to_string(), "<a@b>");
        assert_eq!(ReversePath::parse("<a@[192.0.2.1]>"), Err(AddressError::LiteralRefused));
        assert_eq!(Address::parse("a@b\u{fc}cher.example").unwrap().unicode(), "a@b\u{fc}cher.example");
    }

    /// The address forms of an open-relay test that the grammar decides on; what is left is a plain
    /// address whose domain decides (RFC 5321; espoofer A7, A16).
    #[test]
    fn relay_tricks_are_either_refused_or_plain_addresses() {
        for (text, expected) in [
            ("<>", Err(AddressError::Localpart)),
            ("<a>", Err(AddressError::NoDomain)),
            ("<a@b@c>", Err(AddressError::Domain)),
            ("<a@b.example.>", Err(AddressError::Domain)),
            ("<a@b.example..>", Err(AddressError::Domain)),
            ("<a@b.example@>", Err(AddressError::Domain)),
            ("a@b.example", Err(AddressError::Brackets)),
            ("<a@b.example", Err(AddressError::Brackets)),
            ("<<a@b.example>>", Err(AddressError::Localpart)),
            ("<@us.example:>", Err(AddressError::Localpart)),
            ("<@us.example:a>", Err(AddressError::NoDomain)),
            ("<@us.example@them.example:a@b>", Err(AddressError::Route)),
            ("<@us.example,them.example:a@b>", Err(AddressError::Route)),
            ("<a@b,c@d>", Err(AddressError::Domain)),
            ("<a@b c>", Err(AddressError::Domain)),
            ("<a @b>", Err(AddressError::Localpart)),
            ("<a@b\u{0}>", Err(AddressError::Domain)),
            ("<a@[127.0.0.1>", Err(AddressError::Literal)),
            ("<a@127.0.0.1]>", Err(AddressError::Domain)),
            ("<\"a@b\">", Err(AddressError::NoDomain)),
            ("<a%them.example@us.example>", Ok("a%them.example@us.example")),
            ("<them.example!a@us.example>", Ok("them.example!a@us.example")),
            ("<\"a@them.example\"@us.example>", Ok("\"a@them.example\"@us.example")),
            ("<@us.example:a@them.example>", Ok("a@them.example")),
            ("<a@US.Example>", Ok("a@us.example")),
            ("<a@\u{ff55}s.example>", Ok("a@us.example")),
        ] {
            assert_eq!(forward(text), expected.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn the_length_limit_holds() {
        let domain = format!("{}.{}.{}", "d".repeat(63), "d".repeat(63), "d".repeat(60));
        let fits = format!("<{}@{domain}>", "a".repeat(256 - 3 - domain.len()));
        assert_eq!(fits.len(), ForwardPath::OCTETS_MAX);
        assert!(forward(&fits).is_ok());
        assert_eq!(forward(&fits.replace("<a", "<aa")), Err(AddressError::PathTooLong));
    }

    #[test]
    fn the_end_of_a_path_is_found_through_quotes() {
        assert_eq!(path_length("<a@b> SIZE=1"), Ok(5));
        assert_eq!(path_length("<\"\\\">\"@b> X"), Ok(9));
        assert_eq!(path_length("<\">@b> X"), Err(AddressError::Brackets));
        assert_eq!(path_length("a@b"), Err(AddressError::Brackets));
    }
}

//! The TXT record that asks for reports (RFC 8460 §3).

use crate::address::Address;

/// Octets of the name of a field.
const NAME_OCTETS_MAX: usize = 32;
/// Destinations that are kept.
const DESTINATIONS_MAX: usize = 10;
/// Octets of a URI.
const URI_OCTETS_MAX: usize = 1024;

/// Why a record isn't one that can be used: the domain counts as one that wants no reports then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Over [`Record::OCTETS_MAX`].
    #[error("the record is over {max} octets", max = Record::OCTETS_MAX)]
    TooLong,
    /// Something between semicolons that is no field.
    #[error("not name=value between semicolons")]
    Field,
    /// No `rua`, or nothing in it where reports can be sent.
    #[error("the record names no address of a kind that is known")]
    NoDestination,
}

/// Where reports go.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Destination {
    /// To a mailbox.
    Mail(Address),
    /// By POST to this URI, which begins with `https://` and a host.
    Https(Box<str>),
}

/// A record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// At least one; one of them is enough.
    pub destinations: Vec<Destination>,
}

impl Record {
    /// The longest record that is read.
    pub const OCTETS_MAX: usize = 4096;

    /// Whether the text of a TXT record is one: it begins with `v=TLSRPTv1;`, blanks allowed before the semicolon, as
    /// the grammar has it. All others are discarded; of several that are left, none counts.
    #[must_use]
    pub fn is_one(text: &[u8]) -> bool {
        after_version(text).is_some()
    }

    /// Parses the strings of a TXT record, put together without anything between them, for which [`Record::is_one`]
    /// holds. Of a field that stands there twice the first counts; destinations of other kinds are passed over.
    pub fn parse(text: &[u8]) -> Result<Self, RecordError> {
        if text.len() > Self::OCTETS_MAX {
            return Err(RecordError::TooLong);
        }
        let rest = after_version(text).ok_or(RecordError::Field)?;
        let rest = std::str::from_utf8(rest).map_err(|_| RecordError::Field)?;
        let mut rua = None;
        let mut fields = rest.split(';').map(trim_blanks).peekable();
        while let Some(field) = fields.next() {
            if field.is_empty() && fields.peek().is_none() {
                break;
            }
            let (name, value) =
                field.split_once('=').filter(|(name, _)| is_name(name)).ok_or(RecordError::Field)?;
            if name == "rua" {
                rua = rua.or(Some(value));
            } else if value.is_empty()
                || !value.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'=')
            {
                return Err(RecordError::Field);
            }
        }
        let uris = rua.unwrap_or_default().split(',').map(trim_blanks);
        let destinations: Vec<Destination> = uris.filter_map(destination).take(DESTINATIONS_MAX).collect();
        if destinations.is_empty() { Err(RecordError::NoDestination) } else { Ok(Self { destinations }) }
    }
}

/// What follows the version and its semicolon.
fn after_version(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text.strip_prefix(b"v=TLSRPTv1")?;
    while let [b' ' | b'\t', after @ ..] = rest {
        rest = after;
    }
    rest.strip_prefix(b";")
}

fn trim_blanks(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn is_name(name: &str) -> bool {
    let fits = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'_' | b'-' | b'.');
    (1..=NAME_OCTETS_MAX).contains(&name.len())
        && name.as_bytes()[0].is_ascii_alphanumeric()
        && name.bytes().all(fits)
}

fn destination(uri: &str) -> Option<Destination> {
    if uri.len() > URI_OCTETS_MAX || !uri.bytes().all(|octet| octet.is_ascii_graphic()) {
        return None;
    }
    let (scheme, rest) = uri.split_once(':')?;
    if scheme.eq_ignore_ascii_case("mailto") {
        return Address::of_mailto(uri).map(Destination::Mail);
    }
    let host = rest.strip_prefix("//")?.split(['/', '?', '#']).next()?;
    let is_https = scheme.eq_ignore_ascii_case("https") && !host.is_empty() && !host.contains('@');
    is_https.then(|| Destination::Https(format!("https:{rest}").into()))
}

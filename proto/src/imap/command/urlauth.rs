//! GENURLAUTH, RESETKEY, URLFETCH (RFC 4467 §7, RFC 5524 §3).

use super::cursor::{Cursor, Parsed};
use super::{Fault, MailboxArgument};

/// GENURLAUTH.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GenUrlAuth {
    /// URLs to authorise, each with its mechanism in upper case; never empty.
    pub urls: Vec<(Box<str>, Box<str>)>,
}

/// RESETKEY.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResetKey {
    /// The mailbox whose key is made anew; without one, the keys of all are removed.
    pub mailbox: Option<MailboxArgument>,
    /// The mechanisms, in upper case.
    pub mechanisms: Vec<Box<str>>,
}

/// URLFETCH.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UrlFetch {
    /// The URLs; never empty.
    pub urls: Vec<UrlFetchItem>,
}

/// One URL of URLFETCH.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UrlFetchItem {
    /// The URL as written.
    pub url: Box<str>,
    /// What of it, in the extended form (RFC 5524 §3.1).
    pub extended: Option<UrlFetchParameters>,
}

/// What the extended form asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct UrlFetchParameters {
    /// The octets; with `Some(Decoded::Yes)`, without their transfer encoding.
    pub content: Option<Decoded>,
    /// BODYPARTSTRUCTURE.
    pub structure: bool,
}

/// Whether content is wanted without its transfer encoding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decoded {
    /// BODY: as it is.
    No,
    /// BINARY: decoded.
    Yes,
}

impl GenUrlAuth {
    /// Takes the arguments, from the space on.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let mut urls = Vec::new();
        loop {
            cursor.space()?;
            check_count(cursor, urls.len())?;
            let url = cursor.astring()?.into();
            cursor.space()?;
            urls.push((url, mechanism(cursor)?));
            if cursor.peek() != Some(b' ') {
                return Ok(Self { urls });
            }
        }
    }
}

impl ResetKey {
    /// Takes the arguments, from the space on.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let mut mechanisms = Vec::new();
        if !cursor.take(b' ') {
            return Ok(Self { mailbox: None, mechanisms });
        }
        let mailbox = Some(MailboxArgument::parse(cursor)?);
        while cursor.take(b' ') {
            check_count(cursor, mechanisms.len())?;
            mechanisms.push(mechanism(cursor)?);
        }
        Ok(Self { mailbox, mechanisms })
    }
}

impl UrlFetch {
    /// Takes the arguments, from the space on.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let mut urls = Vec::new();
        while urls.is_empty() || cursor.peek() == Some(b' ') {
            cursor.space()?;
            check_count(cursor, urls.len())?;
            urls.push(UrlFetchItem::parse(cursor)?);
        }
        Ok(Self { urls })
    }
}

impl UrlFetchItem {
    fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        if !cursor.take(b'(') {
            return Ok(Self { url: cursor.astring()?.into(), extended: None });
        }
        let url = cursor.astring()?.into();
        let mut parameters = UrlFetchParameters::default();
        while !cursor.take(b')') {
            cursor.space()?;
            let content = match cursor.label()?.as_str() {
                "BODY" => Decoded::No,
                "BINARY" => Decoded::Yes,
                "BODYPARTSTRUCTURE" => {
                    parameters.structure = true;
                    continue;
                }
                _ => return Err(Fault::Syntax("unknown URLFETCH parameter")),
            };
            if parameters.content.is_some_and(|before| before != content) {
                return Err(Fault::Syntax("BODY or BINARY, not both"));
            }
            parameters.content = Some(content);
        }
        Ok(Self { url, extended: Some(parameters) })
    }
}

fn check_count(cursor: &Cursor<'_>, count: usize) -> Parsed<()> {
    if count == cursor.context().limits.urls_max { Err(Fault::Limit("too many URLs")) } else { Ok(()) }
}

/// `mechanism`: letters, digits, hyphen, point.
fn mechanism(cursor: &mut Cursor<'_>) -> Parsed<Box<str>> {
    let name = cursor.while_octets(|octet| octet.is_ascii_alphanumeric() || b"-.".contains(&octet));
    match std::str::from_utf8(name) {
        Ok(name) if !name.is_empty() => Ok(name.to_ascii_uppercase().into()),
        _ => Err(Fault::Syntax("mechanism expected")),
    }
}

//! IMAP URLs that name a message or a part of one (RFC 5092, RFC 4467 §3, RFC 5550 §5.7.1).
//!
//! [`MessageUrl::parse`] reads the absolute form and the forms that begin with a slash; RFC 5092 §7.2
//! forbids others. URLs of servers, lists, whole mailboxes and searches are none here: no command that
//! takes a URL can do anything with them. A URL has no octets but those that the grammar allows, so it
//! can be echoed.

#[cfg(test)]
mod tests;

use std::num::{NonZeroU32, NonZeroU64};

use super::command::{Section, parse_section};
use super::limits::Limits;
use super::mailbox::MailboxName;
use super::types::{Uid, UidValidity};

/// Octets of a URL.
pub const URL_OCTETS_MAX: usize = 8 * 1024;
/// Octets of a token in hexadecimal: RFC 4467 §2.5 asks for 32 at least.
const TOKEN_DIGITS_MIN: usize = 32;
const TOKEN_DIGITS_MAX: usize = 256;

/// Why a text is no URL of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadUrl {
    /// Against the grammar, or longer than [`URL_OCTETS_MAX`].
    #[error("no valid IMAP URL")]
    Syntax,
    /// Of another scheme, or relative to a path.
    #[error("no IMAP URL")]
    Scheme,
    /// Of a server, a mailbox, a list or a search.
    #[error("the URL doesn't name a message")]
    NoMessage,
}

/// The URL of a message or a part of one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MessageUrl {
    /// The server; none in the relative form.
    pub server: Option<Server>,
    /// The mailbox.
    pub mailbox: MailboxName,
    /// The mailbox's UIDVALIDITY, when it has to be that.
    pub uid_validity: Option<UidValidity>,
    /// The message.
    pub uid: Uid,
    /// What of the message; all without.
    pub section: Option<Section>,
    /// Which octets of that.
    pub partial: Option<UrlPartial>,
    /// Who may use the URL, and until when (RFC 4467).
    pub authorisation: Option<Authorisation>,
}

/// The server of a URL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Server {
    /// The user.
    pub user: Option<Box<str>>,
    /// The host as written.
    pub host: Box<str>,
}

/// Some octets of what a URL names: to the end without a length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UrlPartial {
    /// The first octet.
    pub offset: u64,
    /// At most this many.
    pub length: Option<NonZeroU64>,
}

/// `;URLAUTH=` with what belongs to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authorisation {
    /// The last moment at which the URL is valid, seconds since 1970.
    pub expires: Option<i64>,
    /// Who may use it.
    pub access: Access,
    /// The proof; none in a URL that is still to be authorised.
    pub verifier: Option<Verifier>,
}

/// Who may use a URL (RFC 4467 §3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Access {
    /// `submit+user`: a server of submission on behalf of the user.
    Submit(Box<str>),
    /// `user+user`: that user.
    User(Box<str>),
    /// `authuser`: every user.
    AuthUser,
    /// `anonymous`: everybody.
    Anonymous,
}

/// The proof that a URL was authorised.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verifier {
    /// Octets of the URL before the proof: what is authorised (RFC 4467 §6).
    pub rump_octets: usize,
    /// The mechanism, in upper case.
    pub mechanism: Box<str>,
    /// The token.
    pub token: Box<[u8]>,
}

impl MessageUrl {
    /// Reads a URL.
    pub fn parse(text: &str) -> Result<Self, BadUrl> {
        if text.len() > URL_OCTETS_MAX {
            return Err(BadUrl::Syntax);
        }
        let mut reader = Reader { text, at: 0 };
        let server = if reader.take("imap://") || text.starts_with("//") && reader.take("//") {
            Some(Server::parse(&mut reader)?)
        } else if text.starts_with('/') {
            None
        } else {
            return Err(BadUrl::Scheme);
        };
        if reader.is_at_end() {
            return Err(BadUrl::NoMessage);
        }
        if !reader.take("/") {
            return Err(BadUrl::Syntax);
        }
        let (mailbox, mut has_slash) = reader.mailbox()?;
        let mut uid_validity = None;
        if reader.take(";UIDVALIDITY=") {
            uid_validity = Some(UidValidity(reader.nz_number()?));
            has_slash = reader.take("/");
        }
        if reader.is_at_end() || reader.rest().starts_with('?') {
            return Err(BadUrl::NoMessage);
        }
        if !has_slash || !reader.take(";UID=") {
            return Err(BadUrl::Syntax);
        }
        let uid = Uid(reader.nz_number()?);
        let section = if reader.take("/;SECTION=") { Some(reader.section()?) } else { None };
        let partial = if reader.take("/;PARTIAL=") { Some(UrlPartial::parse(&mut reader)?) } else { None };
        let authorisation = Authorisation::parse(&mut reader)?;
        if !reader.is_at_end() {
            return Err(BadUrl::Syntax);
        }
        Ok(Self { server, mailbox, uid_validity, uid, section, partial, authorisation })
    }
}

/// A URL with the token that authorises it by the mechanism INTERNAL (RFC 4467 §5).
pub fn authorised(rump: &str, token: &[u8]) -> String {
    format!("{rump}:internal:{}", data_encoding::HEXLOWER.encode(token))
}

impl Server {
    /// Takes `[user [;AUTH=type] "@"] host [":" port]`.
    fn parse(reader: &mut Reader<'_>) -> Result<Self, BadUrl> {
        let end = reader.rest().find('/').unwrap_or(reader.rest().len());
        let (written, _) = reader.rest().split_at(end);
        let mut user = None;
        if written.contains('@') {
            let name = reader.encoded(is_achar)?;
            user = (!name.is_empty()).then_some(name);
            if reader.take(";AUTH=") && !reader.take("*") && reader.encoded(is_achar)?.is_empty() {
                return Err(BadUrl::Syntax);
            }
            if !reader.take("@") {
                return Err(BadUrl::Syntax);
            }
        }
        let host = reader
            .while_octets(|octet| octet.is_ascii_alphanumeric() || b"-._~!$&'()*+,=%[]:".contains(&octet));
        let (host, port) = match host.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => (host, ""),
        };
        if host.is_empty() || !port.bytes().all(|octet| octet.is_ascii_digit()) {
            return Err(BadUrl::Syntax);
        }
        Ok(Self { user, host: host.into() })
    }
}

impl UrlPartial {
    /// Takes `offset ["." length]`.
    fn parse(reader: &mut Reader<'_>) -> Result<Self, BadUrl> {
        let offset = reader.number()?;
        let mut length = None;
        if reader.take(".") {
            length = Some(NonZeroU64::new(reader.number()?).ok_or(BadUrl::Syntax)?);
        }
        Ok(Self { offset, length })
    }
}

impl Authorisation {
    /// Takes `[;EXPIRE=time] ;URLAUTH=access [":" mechanism ":" token]`, if it is there.
    fn parse(reader: &mut Reader<'_>) -> Result<Option<Self>, BadUrl> {
        let mut expires = None;
        if reader.take(";EXPIRE=") {
            let time = reader.while_octets(|o| o.is_ascii_digit() || b"-:.+TtZz".contains(&o));
            let time = time.to_ascii_uppercase();
            let time: jiff::Timestamp =
                time.parse().ok().filter(|_| time.contains('T')).ok_or(BadUrl::Syntax)?;
            expires = Some(time.as_second());
        }
        if !reader.take(";URLAUTH=") {
            return if expires.is_none() { Ok(None) } else { Err(BadUrl::Syntax) };
        }
        let access = Access::parse(reader)?;
        let rump_octets = reader.at;
        let mut verifier = None;
        if reader.take(":") {
            let mechanism = reader.while_octets(|o| o.is_ascii_alphanumeric() || b"-.".contains(&o));
            let named = !mechanism.is_empty() && reader.take(":");
            let digits = reader.while_octets(|octet| octet.is_ascii_hexdigit());
            let fits = (TOKEN_DIGITS_MIN..=TOKEN_DIGITS_MAX).contains(&digits.len());
            let token = data_encoding::HEXLOWER_PERMISSIVE.decode(digits.as_bytes());
            let token = token.ok().filter(|_| named && fits).ok_or(BadUrl::Syntax)?;
            let mechanism = mechanism.to_ascii_uppercase().into();
            verifier = Some(Verifier { rump_octets, mechanism, token: token.into() });
        }
        Ok(Some(Self { expires, access, verifier }))
    }
}

impl Access {
    fn parse(reader: &mut Reader<'_>) -> Result<Self, BadUrl> {
        if reader.take("submit+") {
            return reader.user().map(Self::Submit);
        }
        if reader.take("user+") {
            return reader.user().map(Self::User);
        }
        if reader.take("authuser") {
            return Ok(Self::AuthUser);
        }
        if reader.take("anonymous") { Ok(Self::Anonymous) } else { Err(BadUrl::Syntax) }
    }
}

/// A position in a URL.
struct Reader<'a> {
    text: &'a str,
    /// Only ever behind an ASCII octet.
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn is_at_end(&self) -> bool {
        self.at == self.text.len()
    }

    /// Takes `wanted` if it is next, in whatever case.
    fn take(&mut self, wanted: &str) -> bool {
        let next = self.rest().as_bytes().get(..wanted.len());
        let found = next.is_some_and(|next| next.eq_ignore_ascii_case(wanted.as_bytes()));
        if found {
            self.at += wanted.len();
        }
        found
    }

    /// ASCII octets while `wanted`; may be none.
    fn while_octets(&mut self, wanted: impl Fn(u8) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.bytes().position(|octet| !octet.is_ascii() || !wanted(octet));
        let taken = &rest[..end.unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    /// Percent-encoded UTF-8; may be nothing.
    fn encoded(&mut self, wanted: fn(u8) -> bool) -> Result<Box<str>, BadUrl> {
        decode(self.while_octets(|octet| octet == b'%' || wanted(octet)))
    }

    fn user(&mut self) -> Result<Box<str>, BadUrl> {
        self.encoded(is_achar).and_then(|user| if user.is_empty() { Err(BadUrl::Syntax) } else { Ok(user) })
    }

    /// Takes a mailbox name, and the slash behind it, if there is one.
    fn mailbox(&mut self) -> Result<(MailboxName, bool), BadUrl> {
        let written = self.while_octets(|octet| octet == b'%' || is_bchar(octet));
        let bare = written.strip_suffix('/').unwrap_or(written);
        if bare.is_empty() {
            return Err(BadUrl::NoMessage);
        }
        let name = MailboxName::new(&decode(bare)?).map_err(|_| BadUrl::Syntax)?;
        Ok((name, bare.len() < written.len()))
    }

    fn section(&mut self) -> Result<Section, BadUrl> {
        // A section has no slash: what follows one is a partial.
        let written = self.encoded(|octet| is_bchar(octet) && octet != b'/')?;
        parse_section(&written, &Limits::AUTHENTICATED).ok_or(BadUrl::Syntax)
    }

    /// A number of up to 63 bits.
    fn number(&mut self) -> Result<u64, BadUrl> {
        let digits = self.while_octets(|octet| octet.is_ascii_digit());
        digits.parse().ok().filter(|number| *number <= i64::MAX as u64).ok_or(BadUrl::Syntax)
    }

    fn nz_number(&mut self) -> Result<NonZeroU32, BadUrl> {
        u32::try_from(self.number()?).ok().and_then(NonZeroU32::new).ok_or(BadUrl::Syntax)
    }
}

/// RFC 5092 §11, `achar` without `pct-encoded`.
fn is_achar(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-._~!$'()*+,&=".contains(&octet)
}

/// RFC 5092 §11, `bchar` without `pct-encoded`.
fn is_bchar(octet: u8) -> bool {
    is_achar(octet) || b":@/".contains(&octet)
}

/// Undoes percent-encoding; what it gives has to be UTF-8 without NUL.
fn decode(text: &str) -> Result<Box<str>, BadUrl> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((octet, after)) = rest.split_first() {
        rest = after;
        if *octet != b'%' {
            octets.push(*octet);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2).ok_or(BadUrl::Syntax)?;
        octets.extend(data_encoding::HEXLOWER_PERMISSIVE.decode(digits).map_err(|_| BadUrl::Syntax)?);
        rest = after;
    }
    let text = String::from_utf8(octets).map_err(|_| BadUrl::Syntax)?;
    if text.contains('\0') { Err(BadUrl::Syntax) } else { Ok(text.into()) }
}

//! ID, ENABLE, AUTHENTICATE, LOGIN, COMPRESS (RFC 2971, RFC 5161, RFC 4959, RFC 9051 §6.2, RFC 4978).

use data_encoding::BASE64;

use super::cursor::{Cursor, Parsed};
use super::{Command, Fault};
use crate::sasl::Secret;

/// ID (RFC 2971 §3.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Id {
    /// What the client tells about itself; empty for NIL.
    pub fields: Vec<(Box<str>, Option<Box<str>>)>,
}

/// AUTHENTICATE (RFC 9051 §6.2.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authenticate {
    /// The SASL mechanism, in upper case.
    pub mechanism: Box<str>,
    /// The initial response, decoded from base64; `=` is an empty one (RFC 4959 §3).
    pub initial: Option<Secret<Vec<u8>>>,
}

/// LOGIN (RFC 9051 §6.2.3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Login {
    /// The user name.
    pub user: Box<str>,
    /// The password.
    pub password: Secret<Box<str>>,
}

/// ENABLE (RFC 5161); names that aren't known here are ignored (RFC 9051 §6.3.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Enable {
    /// The known ones, each once, in the order asked.
    pub extensions: Vec<Extension>,
}

/// What can be enabled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extension {
    /// `IMAP4rev2` (RFC 9051 §6.3.1)
    Imap4Rev2,
    /// `UTF8=ACCEPT` (RFC 6855 §3)
    Utf8Accept,
    /// `CONDSTORE` (RFC 7162 §3.1)
    Condstore,
    /// `QRESYNC` (RFC 7162 §3.2); implies CONDSTORE
    Qresync,
    /// `UIDONLY` (RFC 9586)
    UidOnly,
}

impl Extension {
    /// All.
    pub const ALL: [Self; 5] =
        [Self::Imap4Rev2, Self::Utf8Accept, Self::Condstore, Self::Qresync, Self::UidOnly];

    /// The name as announced.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Imap4Rev2 => "IMAP4rev2",
            Self::Utf8Accept => "UTF8=ACCEPT",
            Self::Condstore => "CONDSTORE",
            Self::Qresync => "QRESYNC",
            Self::UidOnly => "UIDONLY",
        }
    }
}

/// Takes the argument of COMPRESS, from the space on: DEFLATE is all there is (RFC 4978 §3).
pub(super) fn compress(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    cursor.space()?;
    let algorithm = cursor.atom()?;
    let known = algorithm.eq_ignore_ascii_case("DEFLATE");
    known.then_some(Command::Compress).ok_or(Fault::Syntax("unknown compression"))
}

impl Id {
    /// Takes the arguments, from the space on: `(field value ...)` or NIL.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        cursor.space()?;
        let mut fields = Vec::new();
        if cursor.take_text("NIL") {
            return Ok(Self { fields });
        }
        cursor.open()?;
        if cursor.take(b')') {
            return Ok(Self { fields });
        }
        cursor.list(|cursor| {
            if fields.len() == cursor.context().limits.id_pairs_max {
                return Err(Fault::Limit("too many fields"));
            }
            let field = cursor.string()?.into();
            cursor.space()?;
            fields.push((field, cursor.nstring()?.map(Into::into)));
            Ok(())
        })?;
        Ok(Self { fields })
    }
}

impl Authenticate {
    /// Takes the arguments, from the space on.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        cursor.space()?;
        let mechanism = cursor.atom()?.to_ascii_uppercase().into();
        if !cursor.take(b' ') {
            return Ok(Self { mechanism, initial: None });
        }
        let text = cursor.while_octets(|o| o.is_ascii_alphanumeric() || matches!(o, b'+' | b'/' | b'='));
        let initial = match text {
            [] => return Err(Fault::Syntax("base64 expected")),
            b"=" => Vec::new(),
            text => BASE64.decode(text).map_err(|_| Fault::Syntax("base64 is malformed"))?,
        };
        Ok(Self { mechanism, initial: Some(Secret::new(initial)) })
    }
}

impl Login {
    /// Takes the arguments, from the space on.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        cursor.space()?;
        let user = cursor.astring()?.into();
        cursor.space()?;
        Ok(Self { user, password: Secret::new(cursor.astring()?.into()) })
    }
}

impl Enable {
    /// Takes the arguments, from the space on.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let mut extensions = Vec::new();
        let mut names = 0;
        cursor.space()?;
        loop {
            let name = cursor.atom()?;
            names += 1;
            if names > cursor.context().limits.enable_names_max {
                return Err(Fault::Limit("too many names"));
            }
            let known = Extension::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(name));
            if let Some(known) = known.filter(|known| !extensions.contains(known)) {
                extensions.push(known);
            }
            if !cursor.take(b' ') {
                return Ok(Self { extensions });
            }
        }
    }
}

//! ID, ENABLE, AUTHENTICATE, LOGIN (RFC 2971, RFC 5161, RFC 4959, RFC 9051 §6.2).

use super::Secret;

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
}

impl Extension {
    /// The name as announced.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Imap4Rev2 => "IMAP4rev2",
            Self::Utf8Accept => "UTF8=ACCEPT",
            Self::Condstore => "CONDSTORE",
            Self::Qresync => "QRESYNC",
        }
    }
}

//! SASL exchanges as pure code (RFC 4422): PLAIN (RFC 4616), LOGIN, CRAM-MD5 (RFC 2195),
//! SCRAM-SHA-1 and SCRAM-SHA-256 with their -PLUS forms (RFC 5802, RFC 7677, RFC 9266), EXTERNAL
//! (RFC 4422 §A).
//!
//! SMTP and IMAP use the same [`Exchange`]; [`wire`] holds what both say on the line. What always
//! holds: an account that does not exist takes the same steps, of the same shape and cost, as a
//! wrong password, and ends with the same failure; comparisons of secrets take constant time; a
//! secret is never in a `Debug` text; names and passwords are data, whatever characters they hold.

pub mod client;
mod cram;
mod exchange;
mod login;
mod md5;
mod plain;
mod scram;
mod secret;
pub mod secrets;
pub mod text;
pub mod wire;

use std::fmt;

pub use exchange::{Context, Exchange, FailureKind, PlusOffer, SecretKind, ServerNonce, Step, Verdict};
pub use secret::Secret;
pub use text::Login;

/// What bounds one exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The longest message of the client, decoded. RFC 4954 §4 asks for 12288 octets of base64.
    pub message_octets_max: usize,
    /// The longest login name.
    pub login_octets_max: usize,
    /// The longest password.
    pub password_octets_max: usize,
    /// The longest nonce of a SCRAM client.
    pub nonce_octets_max: usize,
}

impl Limits {
    /// What is used when nothing else is configured.
    pub const DEFAULT: Self = Self {
        message_octets_max: 9216,
        login_octets_max: 512,
        password_octets_max: 1024,
        nonce_octets_max: 512,
    };
}

const _: () = {
    let limits = Limits::DEFAULT;
    // A message must have room for its parts, twice the name for an authorization identity.
    assert!(2 * limits.login_octets_max + limits.password_octets_max + 2 <= limits.message_octets_max);
    assert!(6 * limits.login_octets_max + limits.nonce_octets_max + 64 <= limits.message_octets_max);
};

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A mechanism, in the order of strength: the greatest is the strongest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Mechanism {
    /// Name and password in turn, in clear; never standardised, still used by SMTP clients.
    Login,
    /// RFC 4616: name and password in clear.
    Plain,
    /// RFC 2195.
    CramMd5,
    /// RFC 5802.
    ScramSha1,
    /// RFC 5802, bound to the TLS connection.
    ScramSha1Plus,
    /// RFC 7677.
    ScramSha256,
    /// RFC 7677, bound to the TLS connection.
    ScramSha256Plus,
    /// RFC 4422 §A: the key of a client certificate.
    External,
}

impl Mechanism {
    /// Every mechanism with a password, strongest first, as servers announce them.
    pub const ALL: [Self; 7] = [
        Self::ScramSha256Plus,
        Self::ScramSha256,
        Self::ScramSha1Plus,
        Self::ScramSha1,
        Self::CramMd5,
        Self::Plain,
        Self::Login,
    ];

    /// Reads a mechanism's name; case does not matter (RFC 4954 §3, RFC 9051 §6.2.2).
    pub fn parse(name: &[u8]) -> Option<Self> {
        let mut all = Self::ALL.into_iter().chain([Self::External]);
        all.find(|mechanism| mechanism.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// The registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Login => "LOGIN",
            Self::Plain => "PLAIN",
            Self::CramMd5 => "CRAM-MD5",
            Self::ScramSha1 => "SCRAM-SHA-1",
            Self::ScramSha1Plus => "SCRAM-SHA-1-PLUS",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::External => "EXTERNAL",
        }
    }

    /// Whether the password itself crosses the line, so that TLS is needed (RFC 8314 §3).
    pub const fn sends_password(self) -> bool {
        matches!(self, Self::Plain | Self::Login)
    }

    /// Whether the mechanism binds to the TLS connection.
    pub const fn binds_channel(self) -> bool {
        matches!(self, Self::ScramSha1Plus | Self::ScramSha256Plus)
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What identifies the TLS connection; each is absent where the connection cannot give it.
#[derive(Clone, Default, Debug)]
pub struct ChannelBinding {
    /// `tls-exporter` (RFC 9266 §2): 32 octets exported with `EXPORTER-Channel-Binding`.
    pub exporter: Option<Secret<Vec<u8>>>,
    /// `tls-unique` (RFC 5929 §3): TLS 1.2 with extended master secret only.
    pub unique: Option<Secret<Vec<u8>>>,
}

impl ChannelBinding {
    /// Whether a -PLUS mechanism can work here.
    pub const fn is_possible(&self) -> bool {
        self.exporter.is_some() || self.unique.is_some()
    }
}

#[cfg(test)]
mod tests;

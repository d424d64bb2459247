//! Addresses of mail envelopes (RFC 5321 §4.1.2, RFC 6531 §3.3): domains, localparts, paths and the
//! names of EHLO.
//!
//! Always holds: a [`Domain`] is lower-case ASCII in A-label form; a [`Localpart`] is decoded (no
//! quoting left) and in normal form C; nothing here holds a control character, so each of them can be
//! written into a header line or a reply as it is displayed.

mod domain;
mod helo;
mod literal;
mod localpart;
mod path;
#[cfg(test)]
mod suites;

pub use domain::Domain;
pub use helo::HeloName;
pub use literal::AddressLiteral;
pub use localpart::Localpart;
pub(crate) use path::path_length;
pub use path::{Address, ForwardPath, LiteralAddress, ReversePath};

/// Why a text is no address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AddressError {
    /// The domain is not one of letters, digits and hyphens, nor an internationalised one.
    #[error("domain is not valid")]
    Domain,
    /// A domain over [`Domain::OCTETS_MAX`] or a label over 63 octets.
    #[error("domain is too long")]
    DomainTooLong,
    /// What stands between brackets is no address literal of RFC 5321 §4.1.3.
    #[error("address literal is not valid")]
    Literal,
    /// A well-formed address literal where only a domain will do.
    #[error("address literals are not accepted")]
    LiteralRefused,
    /// The localpart breaks the grammar of RFC 5321 §4.1.2.
    #[error("localpart is not valid")]
    Localpart,
    /// A localpart over [`Localpart::OCTETS_MAX`].
    #[error("localpart is too long")]
    LocalpartTooLong,
    /// No `<`, no `>`, or something else where they belong.
    #[error("path must be an address between < and >")]
    Brackets,
    /// The source route breaks its grammar (RFC 5321 §4.1.2, A-d-l).
    #[error("source route is not valid")]
    Route,
    /// No `@` after the localpart.
    #[error("address has no domain")]
    NoDomain,
    /// A path over [`ForwardPath::OCTETS_MAX`].
    #[error("path is too long")]
    PathTooLong,
    /// Nothing, a control character, or too long, as the name in EHLO.
    #[error("name is not valid")]
    Name,
}

//! DANE for SMTP (RFC 6698, RFC 7671, RFC 7672): which TLSA records apply to a server, which of them are usable,
//! and whether the certificate that it shows is one of them.
//!
//! - [`find`] looks up what applies to a host; it is the only part that asks the resolver.
//! - [`Associations`] are the usable records of a host, after digest algorithm agility.
//! - [`Verification`] decides on a chain of certificates; [`Verifier`] does so within a handshake of `rustls`.
//!
//! What always holds: records count only when they are secure, and a lookup that failed is never taken for one
//! that found nothing.

mod certificate;
mod decide;
mod find;
mod names;
mod record;
mod verifier;

pub use decide::{Matched, Mismatch, Verification};
pub use find::{Applies, Found, NextHop, find, tlsa_name};
pub use record::{Association, Associations, Unusable, describe, presented, usable};
pub use verifier::Verifier;

/// Certificates of a chain that are looked at. A longer chain is refused.
pub const CERTIFICATES_MAX: usize = 16;
/// Usable records of a host that are looked at, the first in the order of the answer.
pub const ASSOCIATIONS_MAX: usize = 64;
/// Names of a certificate that are looked at.
pub const NAMES_MAX: usize = 1024;

#[cfg(test)]
mod tests;

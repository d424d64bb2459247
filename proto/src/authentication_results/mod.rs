//! `Authentication-Results` (RFC 8601) and its sealed form, `ARC-Authentication-Results` (RFC 8617 §4.1.1):
//! written for our own checks, and read to find what others claim.
//!
//! Always holds: what is written is one field, whatever the texts in it are; what is read is bounded.

mod read;
#[cfg(test)]
mod tests;
mod write;

pub use read::{Claim, ParseError, Parsed, ParsedProperty, ParsedResult, claim, parse, parse_arc};
pub use write::{AuthenticationResults, Dnssec, Method, MethodResult};

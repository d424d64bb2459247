//! `Authentication-Results` (RFC 8601), and the results in `ARC-Authentication-Results` (RFC 8617 §4.1.1): written for
//! our own checks, and read where others are trusted. What strangers write in our name is taken out before, by
//! `smtp::body`.
//!
//! Always holds: what is written is one field, whatever the texts in it are; what is read is bounded.

mod read;
#[cfg(test)]
mod tests;
mod write;

pub use read::{ParseError, Parsed, ParsedProperty, ParsedResult, parse};
pub use write::{AuthenticationResults, Dnssec, Method, MethodResult};

//! The formats of DKIM (RFC 6376, RFC 8301, RFC 8463, RFC 8616): signatures, key records, canonical forms.
//!
//! Nothing here computes a hash or a signature, and nothing asks the DNS; `postrider-authentication` does.
//! Everything that is parsed is bounded by [`limits`], and what is parsed can be written into a header line:
//! it holds no control character.

pub mod canonical;
pub mod header;
pub mod key;
pub mod limits;
mod names;
pub mod public_key;
pub mod signature;
pub mod tags;
pub mod write;

pub use names::{Identity, Selector};

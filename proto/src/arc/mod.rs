//! The formats of ARC, the Authenticated Received Chain (RFC 8617): sets of three fields that each handler of
//! a message added.
//!
//! Which sets there are and whether they can be a chain at all is decided here; whether their signatures
//! verify, in `postrider-authentication`.

mod chain;
mod set;

pub use chain::{Chain, ChainError, Newest, Set, collect, newest};
pub use set::{ChainStatus, Instance, MessageSignature, Seal, results_instance};

/// The field of authentication results of a set (AAR).
pub const RESULTS: &str = "ARC-Authentication-Results";
/// The field that signs the message (AMS).
pub const MESSAGE_SIGNATURE: &str = "ARC-Message-Signature";
/// The field that signs the sets (AS).
pub const SEAL: &str = "ARC-Seal";

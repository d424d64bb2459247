//! Validates answers from the trust anchors down (RFC 4033, 4034, 4035, 5155, 6840).
//!
//! [`Validator::validate`] takes a response as it came, with the signatures that it was asked for, and says of
//! each step of it whether it is secure, insecure, bogus or indeterminate, why, and by which chain of trust. What
//! it needs besides (DS and DNSKEY records) it asks its [`Fetch`] for. It has no clock, no sockets and no
//! randomness.
//!
//! - *What is believed.* RSASHA256, RSASHA512, ECDSA P-256 and P-384, Ed25519. A zone that is signed by other
//!   algorithms alone counts as unsigned (RFC 6840 §5.2); RSASHA1 is one of them (RFC 9905 §2).
//! - *What is bounded.* Everything that a hostile zone could multiply: see [`Limits`].
//! - *What is kept.* Zone cuts and keys, for as long as their TTLs and signatures allow.

#![expect(clippy::result_large_err, reason = "a reason is made once for an answer, and names are large")]

mod anchors;
mod canonical;
mod chain;
mod denial;
mod explain;
mod kept;
mod keys;
mod limits;
mod reason;
mod sets;
mod signature;
#[cfg(test)]
mod tests;
mod time;
mod trace;
mod validator;
mod verdict;

pub use anchors::{
    AnchorError, AnchorFault, KeyState, Observation, Rollover, RolloverChange, StateError, TrustAnchors,
};
pub use explain::explain;
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RecordType};
pub use limits::{Limits, Spent};
pub use reason::Reason;
pub use trace::{Denied, DigestSeen, KeySeen, Link, ProofSeen, Says, SignatureSeen};
pub use validator::{Attempt, Validator};
pub use verdict::{End, Verdict};

/// Gets the responses that a chain of trust is made of.
///
/// A response is to be as it came from a server that was asked with the DO and CD bits set: an upstream that
/// validates, too, then gives what it would withhold otherwise.
pub trait Fetch {
    /// Asks for the DS or DNSKEY records of a name. Futures stay on their shard, so they need not be `Send`.
    fn fetch(&self, name: &Name, kind: RecordType) -> impl Future<Output = Result<Message, FetchError>>;
}

/// No response could be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct FetchError {
    /// What happened: a part of a sentence for operators.
    pub why: String,
}

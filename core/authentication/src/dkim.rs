//! DKIM: who takes responsibility for a message (RFC 6376, RFC 8301, RFC 8463).

mod private_key;
mod report;
mod result;
mod sign;
mod verify;

#[cfg(test)]
mod tests;

pub use private_key::{PrivateKey, PrivateKeyError, RSA_BITS_GENERATED, pkcs8_of_pem};
pub use report::method_results;
pub use result::{DkimResult, Reason, SignatureResult};
pub use sign::{BODY_HASH, FIELDS, SignError, Signer, SignerKey, SigningKey};
pub use verify::{PartialBody, Policy, verify};

pub(crate) use verify::{Part, check_part};

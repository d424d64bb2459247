//! Why something isn't secure, as a value: what it makes of the answer, its extended error code, its sentence.

use hickory_proto::rr::{Name, RecordType};

use super::time;
use crate::answer::{Authenticity, ExtendedError};

/// Why data, or the proof that there is none, isn't secure.
///
/// Its `Display` is a sentence for operators.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    // Not known whether there should be a chain of trust.
    /// No trust anchor covers the name.
    #[error("no trust anchor covers {name}")]
    NoAnchor {
        /// What was looked up.
        name: Name,
    },
    /// A part of the chain of trust could not be had.
    #[error("{kind} records of {name}, which the chain of trust needs, could not be looked up: {why}")]
    Unobtainable {
        /// Whose records.
        name: Name,
        /// DS or DNSKEY.
        kind: RecordType,
        /// What the transport, or the response code, said.
        why: String,
    },
    /// The response is no answer.
    #[error("there is nothing to validate: the response code is {code}")]
    NoAnswer {
        /// The response code.
        code: String,
    },
    /// Records of this type have no signatures of their own (RFC 4035 §2.2).
    #[error("{kind} records can't be signed")]
    Unsignable {
        /// The type.
        kind: RecordType,
    },

    // Proven to have no chain of trust.
    /// A delegation without DS records.
    #[error("{name} is delegated without DS records, as {zone} proves: what is below isn't signed")]
    Unsigned {
        /// The delegated name.
        name: Name,
        /// The signed zone above.
        zone: Name,
    },
    /// An NSEC3 with the Opt-Out flag: there may be an unsigned delegation (RFC 5155 §6).
    #[error("{zone} doesn't say whether {name} exists: its NSEC3 has the Opt-Out flag set")]
    OptOut {
        /// The name that may exist.
        name: Name,
        /// The zone.
        zone: Name,
    },
    /// A zone signed by algorithms that aren't supported alone (RFC 4035 §5.2, RFC 6840 §5.2).
    #[error("{zone} is signed by unsupported algorithms alone ({})", numbers(algorithms))]
    UnsupportedAlgorithm {
        /// The zone.
        zone: Name,
        /// Numbers of the registry "DNS Security Algorithm Numbers".
        algorithms: Vec<u8>,
    },
    /// A zone whose DS records have digests that aren't supported alone.
    #[error("the DS records of {zone} have unsupported digests alone ({})", numbers(digests))]
    UnsupportedDigest {
        /// The zone.
        zone: Name,
        /// Numbers of the registry "DS RR Type Digest Algorithms".
        digests: Vec<u8>,
    },
    /// NSEC3 with more iterations than are computed (RFC 9276 §3.2).
    #[error("NSEC3 of {zone} has {iterations} iterations, more than are supported: it counts as unsigned")]
    Iterations {
        /// The zone.
        zone: Name,
        /// What its NSEC3 says.
        iterations: u16,
    },

    // Broken.
    /// No signature, where there must be one.
    #[error("{kind} records of {name} have no signature, and must have one of {zone}")]
    SignatureMissing {
        /// The owner.
        name: Name,
        /// The type.
        kind: RecordType,
        /// The zone that they belong to.
        zone: Name,
    },
    /// Signatures, none of an algorithm that is supported, in a zone that has keys of one that is.
    #[error("{kind} records of {name} are signed by unsupported algorithms alone, though {zone} is not")]
    SignatureUnsupported {
        /// The owner.
        name: Name,
        /// The type.
        kind: RecordType,
        /// The zone that they belong to.
        zone: Name,
    },
    /// A signature whose time is over.
    #[error("the signature of {kind} records of {name} expired on {}", time::words(*at))]
    SignatureExpired {
        /// The owner.
        name: Name,
        /// The type.
        kind: RecordType,
        /// Seconds since 1970.
        at: u64,
    },
    /// A signature whose time is yet to come.
    #[error("the signature of {kind} records of {name} is not valid before {}", time::words(*at))]
    SignatureNotYet {
        /// The owner.
        name: Name,
        /// The type.
        kind: RecordType,
        /// Seconds since 1970.
        at: u64,
    },
    /// A signature that the key doesn't verify.
    #[error("the signature of {kind} records of {name} is wrong: key {tag} of {zone} doesn't verify it")]
    SignatureWrong {
        /// The owner.
        name: Name,
        /// The type.
        kind: RecordType,
        /// The zone whose key it is.
        zone: Name,
        /// The tag of the key.
        tag: u16,
    },
    /// A signature that can't be one of the records (RFC 4035 §5.3.1).
    #[error("the signature of {kind} records of {name} can't be theirs: {why}")]
    SignatureMisfit {
        /// The owner.
        name: Name,
        /// The type.
        kind: RecordType,
        /// What doesn't fit.
        why: &'static str,
    },
    /// A signer that is no zone.
    #[error("{kind} records of {name} are signed by {signer}, which is no zone")]
    SignerNoZone {
        /// The owner.
        name: Name,
        /// The type.
        kind: RecordType,
        /// The signer.
        signer: Name,
    },
    /// A signature by a key that the zone doesn't have.
    #[error("{kind} records of {name} are signed by key {tag}, which {zone} doesn't have")]
    KeyMissing {
        /// The owner.
        name: Name,
        /// The type.
        kind: RecordType,
        /// The zone.
        zone: Name,
        /// The tag of the key.
        tag: u16,
    },
    /// A delegation with DS records to a zone without keys.
    #[error("{zone} must be signed, and has no DNSKEY records")]
    KeysMissing {
        /// The zone.
        zone: Name,
    },
    /// No key is what a DS record or a trust anchor says.
    #[error("no DNSKEY of {zone} is one that {said_by} names (tags {})", tags(wanted))]
    KeysUnmatched {
        /// The zone.
        zone: Name,
        /// "its DS records" or "the trust anchor".
        said_by: &'static str,
        /// The tags of keys that would do.
        wanted: Vec<u16>,
    },
    /// The keys that a DS record or a trust anchor names didn't sign the keys of the zone.
    #[error("no key that {said_by} names signed the DNSKEY records of {zone}")]
    KeysUnsigned {
        /// The zone.
        zone: Name,
        /// "its DS records" or "the trust anchor".
        said_by: &'static str,
    },
    /// The key that a DS record names may not sign zones (RFC 4034 §2.1.1).
    #[error("DNSKEY {tag} of {zone} is the one that {said_by} names, but isn't marked as a key of a zone")]
    KeyNoZone {
        /// The zone.
        zone: Name,
        /// "its DS records" or "the trust anchor".
        said_by: &'static str,
        /// The tag of the key.
        tag: u16,
    },
    /// No proof that there are no records.
    #[error("nothing proves that {name} has no {kind} records: the response has no NSEC or NSEC3 of {zone}")]
    ProofMissing {
        /// The name.
        name: Name,
        /// The type.
        kind: RecordType,
        /// The zone that must prove it.
        zone: Name,
    },
    /// A proof that doesn't prove what it should.
    #[error("what is to prove that {name} has no {kind} records doesn't: {why}")]
    ProofWrong {
        /// The name.
        name: Name,
        /// The type.
        kind: RecordType,
        /// What is missing or wrong.
        why: &'static str,
    },
    /// Records made of a wildcard, without a proof that there are none of the name itself (RFC 4035 §5.3.4).
    #[error(
        "{kind} records of {name} come of a wildcard, and nothing proves that the name itself doesn't exist: {why}"
    )]
    WildcardUnproven {
        /// The name.
        name: Name,
        /// The type.
        kind: RecordType,
        /// What is missing or wrong.
        why: &'static str,
    },
    /// Aliases that can't be.
    #[error("the alias at {name} can't be: {why}")]
    Alias {
        /// The name.
        name: Name,
        /// What is wrong.
        why: &'static str,
    },
    /// More work than one answer may cause.
    #[error("the answer needs more than {max} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much may be.
        max: u32,
    },
}

impl Reason {
    /// What this makes of an answer.
    #[must_use]
    pub fn authenticity(&self) -> Authenticity {
        match self {
            Self::NoAnchor { .. }
            | Self::NoAnswer { .. }
            | Self::Unobtainable { .. }
            | Self::Unsignable { .. } => Authenticity::Indeterminate,
            Self::Unsigned { .. }
            | Self::OptOut { .. }
            | Self::UnsupportedAlgorithm { .. }
            | Self::UnsupportedDigest { .. }
            | Self::Iterations { .. } => Authenticity::Insecure,
            _ => Authenticity::Bogus,
        }
    }

    /// Whether data must not be used at all: it is bogus, or the chain of trust could not be looked up. Without
    /// an anchor, data may be used as data of an unsigned zone is.
    #[must_use]
    pub fn forbids_use(&self) -> bool {
        matches!(self, Self::Unobtainable { .. } | Self::NoAnswer { .. })
            || self.authenticity() == Authenticity::Bogus
    }

    /// INFO-CODE of the registry "Extended DNS Error Codes" (RFC 8914 §4), if one says this.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        Some(match self {
            Self::UnsupportedAlgorithm { .. } => 1,
            Self::UnsupportedDigest { .. } => 2,
            Self::Unobtainable { .. } => 5,
            Self::SignatureExpired { .. } => 7,
            Self::SignatureNotYet { .. } => 8,
            Self::KeyMissing { .. } | Self::KeysMissing { .. } | Self::KeysUnmatched { .. } => 9,
            Self::SignatureMissing { .. } | Self::KeysUnsigned { .. } => 10,
            Self::KeyNoZone { .. } => 11,
            Self::ProofMissing { .. } => 12,
            Self::Iterations { .. } => 27,
            Self::NoAnchor { .. }
            | Self::NoAnswer { .. }
            | Self::Unsignable { .. }
            | Self::Unsigned { .. }
            | Self::OptOut { .. } => {
                return None;
            }
            _ => 6,
        })
    }

    /// The extended error for it, if there is a code.
    #[must_use]
    pub fn extended_error(&self) -> Option<ExtendedError> {
        let mut text = self.to_string();
        let end =
            text.char_indices().map(|(at, one)| at + one.len_utf8()).take_while(|end| *end <= 256).last();
        text.truncate(end.unwrap_or(0));
        self.code().map(|code| ExtendedError { code, text })
    }
}

fn numbers(numbers: &[u8]) -> String {
    numbers.iter().map(u8::to_string).collect::<Vec<_>>().join(", ")
}

fn tags(tags: &[u16]) -> String {
    tags.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}

//! A chain of trust as data: what was looked at, step by step, and what came of it.

use hickory_proto::rr::{Name, RecordType};

use super::reason::Reason;

/// One step of a chain of trust, in the order in which they were taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// A trust anchor that the chain starts at.
    Anchor {
        /// The zone that it is of.
        zone: Name,
        /// The keys that are trusted.
        vouchers: Vec<DigestSeen>,
    },
    /// DS records: a signed delegation.
    Delegation {
        /// The zone below.
        zone: Name,
        /// The zone above, whose key signed.
        parent: Name,
        /// The DS records.
        digests: Vec<DigestSeen>,
        /// What signed them.
        signature: SignatureSeen,
    },
    /// The keys of a zone, vouched for by what came before.
    Keys {
        /// The zone.
        zone: Name,
        /// All of them.
        keys: Vec<KeySeen>,
        /// What signed them.
        signature: SignatureSeen,
    },
    /// A name that is proven to be in the zone above, and no zone of its own.
    Inside {
        /// The name.
        name: Name,
        /// The zone.
        zone: Name,
        /// The records that prove it; none when an alias at the name does.
        proof: Vec<ProofSeen>,
    },
    /// The chain ends here, by proof: what is below isn't signed.
    Unsigned {
        /// The name from which on nothing is signed.
        name: Name,
        /// Why.
        reason: Reason,
        /// The records that prove it; none where DS records are there and can't be used.
        proof: Vec<ProofSeen>,
    },
    /// Records of the answer, or an alias on the way to them.
    Data {
        /// Their owner.
        name: Name,
        /// Their type.
        kind: RecordType,
        /// How many there are.
        count: usize,
        /// What signed them.
        signature: SignatureSeen,
        /// The wildcard that they were made of.
        wildcard: Option<Name>,
    },
    /// An alias that was made of a DNAME, which the step before this one is about (RFC 6672 §5.3.1).
    Rewritten {
        /// The alias.
        name: Name,
        /// What it is an alias of.
        target: Name,
    },
    /// A proof that there are no records, or none of the name itself.
    Denial {
        /// The name.
        name: Name,
        /// The type; none where all that is proven is that the name, or a closer one, doesn't exist.
        kind: Option<RecordType>,
        /// What is proven.
        denied: Denied,
        /// The zone that proves it.
        zone: Name,
        /// The records that prove it.
        proof: Vec<ProofSeen>,
    },
    /// Here it is known that something isn't secure, and why.
    Failed {
        /// The name.
        name: Name,
        /// The type.
        kind: RecordType,
        /// Why.
        reason: Reason,
    },
}

/// What there is none of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The name doesn't exist.
    Name,
    /// The name has no records of the type.
    Type,
}

/// A DS record or a trust anchor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestSeen {
    /// Key tag.
    pub tag: u16,
    /// Number of the registry "DNS Security Algorithm Numbers".
    pub algorithm: u8,
    /// Number of the registry "DS RR Type Digest Algorithms"; none for an anchor that is a whole key.
    pub digest: Option<u8>,
    /// Whether algorithm and digest are supported.
    pub supported: bool,
}

/// A DNSKEY record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySeen {
    /// Key tag.
    pub tag: u16,
    /// Number of the registry "DNS Security Algorithm Numbers".
    pub algorithm: u8,
    /// The Secure Entry Point flag.
    pub entry_point: bool,
    /// The Zone Key flag.
    pub zone_key: bool,
    /// The REVOKE flag (RFC 5011 §2.1).
    pub revoked: bool,
    /// Whether its signatures are verified.
    pub supported: bool,
}

/// A signature that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureSeen {
    /// The zone.
    pub signer: Name,
    /// Tag of the key.
    pub tag: u16,
    /// Number of the registry "DNS Security Algorithm Numbers".
    pub algorithm: u8,
    /// Seconds since 1970.
    pub inception: u64,
    /// Seconds since 1970.
    pub expiration: u64,
}

/// An NSEC or NSEC3 record that is part of a proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofSeen {
    /// NSEC or NSEC3.
    pub kind: RecordType,
    /// Its owner.
    pub owner: Name,
    /// What it says of which name.
    pub says: Says,
    /// The Opt-Out flag of an NSEC3.
    pub opt_out: bool,
    /// What signed it.
    pub signature: SignatureSeen,
}

/// What an NSEC or NSEC3 record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Says {
    /// It is of this name, and lists its types.
    Matches(Name),
    /// This name would be between its owner and its next name, and so doesn't exist.
    Covers(Name),
}

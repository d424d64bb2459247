//! What one validation may cost, and the count of what it has cost.
//!
//! A hostile zone can ask for work without end: keys that all have one tag and signatures that all fail (KeyTrap,
//! CVE-2023-50387), NSEC3 with many iterations (CVE-2023-50868), chains of delegations. Everything that such a
//! zone can multiply is counted here, in one place. A validation that used up a limit ends as
//! [`Reason::Limit`], which must not be believed.

use std::cell::Cell;

use super::reason::Reason;

/// Limits of one validation, and of what a validator keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// DS and DNSKEY responses that are fetched for one validation. A name of ip6.arpa has 34 labels, each of
    /// which may have to be asked whether it is a zone cut.
    pub fetches_max: u32,
    /// Signatures that are verified.
    pub verifications_max: u32,
    /// Verifications that may fail.
    pub failures_max: u32,
    /// Signatures of one RRset that are looked at; the others are ignored.
    pub set_signatures_max: usize,
    /// Keys that are tried for one signature, since several may have its tag and algorithm.
    pub tag_collisions_max: usize,
    /// Digests of keys that are computed, to be compared with DS records.
    pub digests_max: u32,
    /// Keys of one zone that are used; the others are ignored.
    pub zone_keys_max: usize,
    /// Octets of a key that is used. An RSA key of 4,096 bits has some 520 and others are shorter; only its exponent
    /// could make it longer, and such keys verify nothing.
    pub key_octets_max: usize,
    /// DS records of one delegation that are used; the others are ignored.
    pub delegation_digests_max: usize,
    /// NSEC3 iterations (RFC 9276 §3.2) above which a zone counts as unsigned.
    pub nsec3_iterations_max: u16,
    /// Names that are hashed for NSEC3.
    pub nsec3_hashes_max: u32,
    /// RRsets of NSEC or NSEC3 of one response that are verified; the others are ignored.
    pub denial_sets_max: usize,
    /// Aliases that are followed within one response.
    pub aliases_max: usize,
    /// Names whose zone cuts and keys a validator keeps.
    pub kept_names_max: usize,
    /// Seconds for which a name is kept at most.
    pub kept_seconds_max: u32,
    /// Seconds for which a broken delegation is kept, so that it isn't validated again for every question.
    pub broken_seconds: u32,
}

impl Limits {
    /// The limits that are used unless told otherwise.
    pub const DEFAULT: Self = Self {
        fetches_max: 48,
        verifications_max: 96,
        failures_max: 16,
        set_signatures_max: 8,
        tag_collisions_max: 4,
        digests_max: 64,
        zone_keys_max: 32,
        key_octets_max: 1024,
        delegation_digests_max: 16,
        nsec3_iterations_max: 50,
        nsec3_hashes_max: 256,
        denial_sets_max: 24,
        aliases_max: 16,
        kept_names_max: 2048,
        kept_seconds_max: 86_400,
        broken_seconds: 60,
    };
}

// One signature must not use up what all may fail, and a response with one alias after the other, each with its
// proof, must be within what may be verified.
const _: () = assert!(Limits::DEFAULT.tag_collisions_max < Limits::DEFAULT.failures_max as usize);
const _: () = assert!(Limits::DEFAULT.failures_max < Limits::DEFAULT.verifications_max);
const _: () = assert!(Limits::DEFAULT.aliases_max * 4 < Limits::DEFAULT.verifications_max as usize);

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What one validation has cost so far.
pub(super) struct Work<'l> {
    pub(super) limits: &'l Limits,
    fetches: Cell<u32>,
    verifications: Cell<u32>,
    failures: Cell<u32>,
    digests: Cell<u32>,
    hashes: Cell<u32>,
}

impl<'l> Work<'l> {
    pub(super) fn new(limits: &'l Limits) -> Self {
        let zero = || Cell::new(0);
        Self {
            limits,
            fetches: zero(),
            verifications: zero(),
            failures: zero(),
            digests: zero(),
            hashes: zero(),
        }
    }

    pub(super) fn fetch(&self) -> Result<(), Reason> {
        spend(&self.fetches, self.limits.fetches_max, "fetches of DS and DNSKEY")
    }

    pub(super) fn verification(&self) -> Result<(), Reason> {
        spend(&self.verifications, self.limits.verifications_max, "signatures to verify")
    }

    pub(super) fn failure(&self) -> Result<(), Reason> {
        spend(&self.failures, self.limits.failures_max, "signatures that don't verify")
    }

    pub(super) fn digest(&self) -> Result<(), Reason> {
        spend(&self.digests, self.limits.digests_max, "digests of keys")
    }

    pub(super) fn hash(&self) -> Result<(), Reason> {
        spend(&self.hashes, self.limits.nsec3_hashes_max, "names to hash for NSEC3")
    }

    pub(super) fn spent(&self) -> Spent {
        Spent {
            fetches: self.fetches.get(),
            verifications: self.verifications.get(),
            failures: self.failures.get(),
            digests: self.digests.get(),
            hashes: self.hashes.get(),
        }
    }
}

fn spend(count: &Cell<u32>, max: u32, what: &'static str) -> Result<(), Reason> {
    if count.get() >= max {
        return Err(Reason::Limit { what, max });
    }
    count.set(count.get() + 1);
    Ok(())
}

/// What one validation has cost, for metrics and tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Responses fetched.
    pub fetches: u32,
    /// Signatures verified.
    pub verifications: u32,
    /// Of these, those that failed.
    pub failures: u32,
    /// Digests of keys computed.
    pub digests: u32,
    /// Names hashed for NSEC3.
    pub hashes: u32,
}

//! Proofs that something isn't there: NSEC (RFC 4035 §5.4, RFC 6840 §4) and NSEC3 (RFC 5155 §8, RFC 9276).
//!
//! The records of one response and one zone are verified once and then asked. What a record says counts only
//! within the zone that signed it, and never below a delegation or a DNAME at its owner (RFC 6840 §4.1).

mod nsec;
mod nsec3;

use hickory_proto::dnssec::rdata::DNSSECRData;
use hickory_proto::rr::{Name, RData, RecordType, RecordTypeSet};

use super::limits::Work;
use super::reason::Reason;
use super::sets::Section;
use super::signature::{self, Signed, Signer};
use super::trace::{Denied, ProofSeen, Says};
use nsec::Nsec;
use nsec3::Nsec3Set;

/// The type that says in an NSEC that the name itself doesn't exist (RFC 9824 §2).
const NXNAME: RecordType = RecordType::Unknown(128);

/// The verified NSEC and NSEC3 records of one zone in a response.
pub(super) struct Proofs<'m> {
    zone: &'m Name,
    nsec: Vec<Nsec<'m>>,
    nsec3: Nsec3Set<'m>,
    /// The iterations of an NSEC3 that has too many.
    iterations: Option<u16>,
    /// What is wrong with the first record that couldn't be verified.
    fault: Option<Reason>,
}

/// What was proven, and by what.
#[derive(Debug)]
pub(super) struct Proven {
    pub(super) denied: Denied,
    /// An NSEC3 with Opt-Out is part of it: there may still be an unsigned delegation, so the proof isn't one that
    /// is secure (RFC 5155 §9.2).
    pub(super) opt_out: bool,
    /// Seconds for which it may be kept.
    pub(super) ttl: u32,
    pub(super) proof: Vec<ProofSeen>,
}

impl Proven {
    fn of(denied: Denied) -> Self {
        Self { denied, opt_out: false, ttl: u32::MAX, proof: Vec::new() }
    }

    fn with(mut self, part: ProofSeen, ttl: u32) -> Self {
        self.opt_out |= part.opt_out && matches!(part.says, Says::Covers(_));
        self.ttl = self.ttl.min(ttl);
        // One record may prove two things; the same thing is told once.
        if !self.proof.contains(&part) {
            self.proof.push(part);
        }
        self
    }
}

/// What the absence of DS records at a name says.
#[derive(Debug)]
pub(super) enum Cut {
    /// An unsigned delegation is there, or may be there.
    Unsigned(Proven),
    /// No delegation is there.
    Inside(Proven),
}

/// Why a proof fails: a sentence's end, or a limit.
enum Fail {
    Why(&'static str),
    Reason(Reason),
}

impl From<&'static str> for Fail {
    fn from(why: &'static str) -> Self {
        Self::Why(why)
    }
}

impl From<Reason> for Fail {
    fn from(reason: Reason) -> Self {
        Self::Reason(reason)
    }
}

impl<'m> Proofs<'m> {
    /// Verifies the NSEC and NSEC3 records that a zone signed.
    ///
    /// # Errors
    /// Only when a limit of work is used up.
    pub(super) fn gather(section: &Section<'m>, signer: Signer<'m>, work: &Work<'_>) -> Result<Self, Reason> {
        let zone = signer.zone;
        let mut proofs =
            Self { zone, nsec: Vec::new(), nsec3: Nsec3Set::default(), iterations: None, fault: None };
        let sets =
            section.with_records().filter(|set| matches!(set.kind, RecordType::NSEC | RecordType::NSEC3));
        for set in sets.filter(|set| zone.zone_of(set.name)).take(work.limits.denial_sets_max) {
            let signed = match signature::verify(set, signer, work) {
                // What was made of a wildcard is no record of the name that it is at.
                Ok(signed) if signed.encloser.is_some() => continue,
                Ok(signed) => signed,
                Err(limit @ Reason::Limit { .. }) => return Err(limit),
                Err(reason) => {
                    proofs.fault.get_or_insert(reason);
                    continue;
                }
            };
            let [record] = set.records[..] else { continue };
            match &record.data {
                RData::DNSSEC(DNSSECRData::NSEC(data)) => {
                    proofs.nsec.push(Nsec { owner: set.name, data, signed });
                }
                RData::DNSSEC(DNSSECRData::NSEC3(data))
                    if data.iterations() > work.limits.nsec3_iterations_max =>
                {
                    proofs.iterations.get_or_insert(data.iterations());
                }
                RData::DNSSEC(DNSSECRData::NSEC3(data)) => proofs.nsec3.add(set.name, data, zone, signed),
                _ => {}
            }
        }
        Ok(proofs)
    }

    /// Proves that a name doesn't exist or has no records of a type. `name_error` is what the response code says;
    /// what is proven may be less: of an empty non-terminal, some servers say that it doesn't exist.
    pub(super) fn deny(
        &self,
        name: &Name,
        kind: RecordType,
        name_error: bool,
        work: &Work<'_>,
    ) -> Result<Proven, Reason> {
        let by_nsec = || {
            let no_type = || nsec::no_type(self.zone, &self.nsec, name, kind);
            if name_error {
                nsec::no_name(self.zone, &self.nsec, name).or_else(|fail| no_type().map_err(|_| fail))
            } else {
                no_type()
            }
        };
        let by_nsec3 = || {
            let no_type = || self.nsec3.no_type(self.zone, name, kind, work);
            if name_error {
                self.nsec3.no_name(self.zone, name, work).or_else(|fail| no_type().map_err(|_| fail))
            } else {
                no_type()
            }
        };
        self.either(name, kind, by_nsec, by_nsec3)
    }

    /// Proves that a name with no DS records is no zone, or one that isn't signed (RFC 6840 §4.4).
    pub(super) fn cut(&self, name: &Name, work: &Work<'_>) -> Result<Cut, Reason> {
        self.either(
            name,
            RecordType::DS,
            || nsec::cut(self.zone, &self.nsec, name),
            || self.nsec3.cut(self.zone, name, work),
        )
    }

    /// Proves that a name, which the wildcard below `encloser` was used for, doesn't exist, and none between the
    /// two (RFC 4035 §5.3.4, RFC 5155 §8.8).
    pub(super) fn no_closer(
        &self,
        name: &Name,
        encloser: &Name,
        kind: RecordType,
        work: &Work<'_>,
    ) -> Result<Proven, Reason> {
        self.either(
            name,
            kind,
            || nsec::no_closer(self.zone, &self.nsec, name, encloser),
            || self.nsec3.no_closer(name, encloser, work),
        )
        .map_err(|reason| match reason {
            Reason::ProofMissing { name, kind, .. } => {
                Reason::WildcardUnproven { name, kind, why: "the response has no NSEC or NSEC3" }
            }
            Reason::ProofWrong { name, kind, why } => Reason::WildcardUnproven { name, kind, why },
            other => other,
        })
    }

    fn either<T>(
        &self,
        name: &Name,
        kind: RecordType,
        by_nsec: impl FnOnce() -> Result<T, Fail>,
        by_nsec3: impl FnOnce() -> Result<T, Fail>,
    ) -> Result<T, Reason> {
        let mut why = None;
        if !self.nsec.is_empty() {
            match by_nsec() {
                Ok(proven) => return Ok(proven),
                Err(Fail::Reason(reason)) => return Err(reason),
                Err(Fail::Why(text)) => why = Some(text),
            }
        }
        if !self.nsec3.is_empty() {
            match by_nsec3() {
                Ok(proven) => return Ok(proven),
                Err(Fail::Reason(reason)) => return Err(reason),
                Err(Fail::Why(text)) => why = Some(text),
            }
        } else if let Some(iterations) = self.iterations {
            return Err(Reason::Iterations { zone: self.zone.clone(), iterations });
        }
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let name = name.clone();
        Err(match why {
            Some(why) => Reason::ProofWrong { name, kind, why },
            None => Reason::ProofMissing { name, kind, zone: self.zone.clone() },
        })
    }
}

/// Whether the owner of a list of types is delegated, seen from above.
fn is_delegation(types: &RecordTypeSet) -> bool {
    types.contains(RecordType::NS) && !types.contains(RecordType::SOA)
}

/// Whether a list of types at a name, or at the wildcard that would be used for it, says that there are none of
/// one type.
fn lacks(types: &RecordTypeSet, name: &Name, kind: RecordType) -> Result<(), &'static str> {
    if kind == RecordType::DS {
        if types.contains(RecordType::SOA) && !name.is_root() {
            return Err("it is from the zone below, and DS records are of the one above");
        }
    } else if is_delegation(types) {
        return Err("it is from above a delegation, and says nothing of what is below");
    }
    if types.contains(kind) {
        return Err("it says that there are records of the type");
    }
    if types.contains(RecordType::CNAME) {
        return Err("it says that there is an alias");
    }
    Ok(())
}

/// What a list of types at a name without DS records says of a zone cut.
fn cut_of(types: &RecordTypeSet, name: &Name, proven: Proven) -> Result<Cut, Fail> {
    if types.contains(RecordType::SOA) && !name.is_root() {
        return Err("it is from the zone below, and DS records are of the one above".into());
    }
    if types.contains(RecordType::DS) {
        return Err("it says that there are DS records".into());
    }
    Ok(if types.contains(RecordType::NS) { Cut::Unsigned(proven) } else { Cut::Inside(proven) })
}

/// What a list of types at the name says is missing.
fn denied_by(types: &RecordTypeSet) -> Denied {
    if types.contains(NXNAME) { Denied::Name } else { Denied::Type }
}

fn part(kind: RecordType, owner: &Name, signed: &Signed, opt_out: bool, says: Says) -> ProofSeen {
    ProofSeen { kind, owner: owner.clone(), says, opt_out, signature: signed.signature.clone() }
}

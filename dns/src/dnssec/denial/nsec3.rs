//! Proofs by NSEC3 records (RFC 5155 §8).

use std::cell::RefCell;
use std::collections::HashMap;

use data_encoding::BASE32_DNSSEC;
use hickory_proto::dnssec::rdata::NSEC3;
use hickory_proto::rr::{Name, RecordType};

use super::super::canonical::{labels, wildcard_of};
use super::super::limits::Work;
use super::super::signature::Signed;
use super::{Cut, Denied, Fail, Proven, Says, cut_of, denied_by, is_delegation, lacks, part};

/// Octets of a hash; SHA-1 is the only algorithm that there is.
const HASH_OCTETS: usize = 20;

type Hash = [u8; HASH_OCTETS];

pub(super) struct Nsec3<'m> {
    owner: &'m Name,
    hash: Hash,
    next: Hash,
    data: &'m NSEC3,
    signed: Signed,
}

impl Nsec3<'_> {
    fn covers(&self, hash: &Hash) -> bool {
        if self.hash < self.next {
            self.hash < *hash && *hash < self.next
        } else {
            // The last one of the zone.
            self.hash < *hash || *hash < self.next
        }
    }

    fn add_to(&self, proven: Proven, says: Says) -> Proven {
        let part = part(RecordType::NSEC3, self.owner, &self.signed, self.data.opt_out(), says);
        proven.with(part, self.signed.ttl)
    }
}

/// The NSEC3 records of a response that have the parameters of the first of them (RFC 5155 §8.2).
#[derive(Default)]
pub(super) struct Nsec3Set<'m> {
    records: Vec<Nsec3<'m>>,
    hashes: RefCell<HashMap<Name, Hash>>,
}

/// The longest ancestor that exists, and what says that the next longer doesn't.
struct Closest<'n, 'm> {
    encloser: Name,
    of_encloser: &'n Nsec3<'m>,
    next_closer: Name,
    cover: &'n Nsec3<'m>,
}

impl Closest<'_, '_> {
    fn add_to(&self, proven: Proven) -> Proven {
        let proven = self.of_encloser.add_to(proven, Says::Matches(self.encloser.clone()));
        self.cover.add_to(proven, Says::Covers(self.next_closer.clone()))
    }
}

impl<'m> Nsec3Set<'m> {
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Adds a verified record. One that isn't directly below the zone, or whose hashes have another length, or with
    /// other parameters, is ignored.
    pub(super) fn add(&mut self, owner: &'m Name, data: &'m NSEC3, zone: &Name, signed: Signed) {
        let own = labels(owner) == labels(zone) + 1;
        let hash = owner.iter().next().and_then(|label| BASE32_DNSSEC.decode(label).ok());
        let hash = hash.and_then(|hash| Hash::try_from(hash).ok());
        let next = Hash::try_from(data.next_hashed_owner_name()).ok();
        let alike = self.records.first().is_none_or(|first| {
            first.data.salt() == data.salt() && first.data.iterations() == data.iterations()
        });
        if let (true, true, Some(hash), Some(next)) = (own, alike, hash, next) {
            self.records.push(Nsec3 { owner, hash, next, data, signed });
        }
    }

    fn hash(&self, name: &Name, work: &Work<'_>) -> Result<Hash, Fail> {
        if let Some(hash) = self.hashes.borrow().get(name) {
            return Ok(*hash);
        }
        let first = self.records.first().ok_or("there is no NSEC3")?;
        work.hash()?;
        let hash = first.data.hash_algorithm().hash(first.data.salt(), name, first.data.iterations());
        let hash =
            hash.ok().and_then(|hash| Hash::try_from(hash.as_ref()).ok()).ok_or("a name can't be hashed")?;
        self.hashes.borrow_mut().insert(name.clone(), hash);
        Ok(hash)
    }

    fn matching(&self, name: &Name, work: &Work<'_>) -> Result<Option<&Nsec3<'m>>, Fail> {
        let hash = self.hash(name, work)?;
        Ok(self.records.iter().find(|record| record.hash == hash))
    }

    fn covering(&self, name: &Name, work: &Work<'_>) -> Result<Option<&Nsec3<'m>>, Fail> {
        let hash = self.hash(name, work)?;
        Ok(self.records.iter().find(|record| record.covers(&hash)))
    }

    /// The closest encloser proof of RFC 5155 §8.3, for a name that has no record of its own.
    fn closest(&self, zone: &Name, name: &Name, work: &Work<'_>) -> Result<Closest<'_, 'm>, Fail> {
        for count in (labels(zone)..labels(name)).rev() {
            let encloser = name.trim_to(count);
            let Some(of_encloser) = self.matching(&encloser, work)? else { continue };
            let types = of_encloser.data.type_set();
            if is_delegation(types) || types.contains(RecordType::DNAME) {
                return Err("the closest encloser is a delegation or has a DNAME".into());
            }
            let next_closer = name.trim_to(count + 1);
            let cover = self.covering(&next_closer, work)?.ok_or("no NSEC3 spans the next closer name")?;
            return Ok(Closest { encloser, of_encloser, next_closer, cover });
        }
        Err("no NSEC3 is of a closest encloser".into())
    }

    pub(super) fn no_type(
        &self,
        zone: &Name,
        name: &Name,
        kind: RecordType,
        work: &Work<'_>,
    ) -> Result<Proven, Fail> {
        if let Some(record) = self.matching(name, work)? {
            lacks(record.data.type_set(), name, kind)?;
            let denied = denied_by(record.data.type_set());
            return Ok(record.add_to(Proven::of(denied), Says::Matches(name.clone())));
        }
        let closest = self.closest(zone, name, work)?;
        let proven = closest.add_to(Proven::of(Denied::Type));
        let wildcard = wildcard_of(&closest.encloser).ok_or("the name is too long")?;
        if let Some(record) = self.matching(&wildcard, work)? {
            lacks(record.data.type_set(), &wildcard, kind)?;
            return Ok(record.add_to(proven, Says::Matches(wildcard)));
        }
        // RFC 5155 §8.6 for DS; for other types, an empty non-terminal above unsigned delegations may have no NSEC3
        // (§7.1).
        if proven.opt_out {
            return Ok(proven);
        }
        Err("no NSEC3 is of the name or of the wildcard".into())
    }

    pub(super) fn no_name(&self, zone: &Name, name: &Name, work: &Work<'_>) -> Result<Proven, Fail> {
        if self.matching(name, work)?.is_some() {
            return Err("it says that the name exists".into());
        }
        let closest = self.closest(zone, name, work)?;
        let wildcard = wildcard_of(&closest.encloser).ok_or("the name is too long")?;
        let of_wildcard = self.covering(&wildcard, work)?.ok_or("no NSEC3 spans the wildcard")?;
        let proven = closest.add_to(Proven::of(Denied::Name));
        Ok(of_wildcard.add_to(proven, Says::Covers(wildcard)))
    }

    pub(super) fn cut(&self, zone: &Name, name: &Name, work: &Work<'_>) -> Result<Cut, Fail> {
        if let Some(record) = self.matching(name, work)? {
            let proven = record.add_to(Proven::of(Denied::Type), Says::Matches(name.clone()));
            return cut_of(record.data.type_set(), name, proven);
        }
        let proven = self.closest(zone, name, work)?.add_to(Proven::of(Denied::Name));
        Ok(if proven.opt_out { Cut::Unsigned(proven) } else { Cut::Inside(proven) })
    }

    pub(super) fn no_closer(&self, name: &Name, encloser: &Name, work: &Work<'_>) -> Result<Proven, Fail> {
        let next_closer = name.trim_to(labels(encloser) + 1);
        let cover = self.covering(&next_closer, work)?.ok_or("no NSEC3 spans the next closer name")?;
        Ok(cover.add_to(Proven::of(Denied::Name), Says::Covers(next_closer)))
    }
}

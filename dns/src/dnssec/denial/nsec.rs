//! Proofs by NSEC records (RFC 4035 §5.4).

use hickory_proto::dnssec::rdata::NSEC;
use hickory_proto::rr::{Name, RecordType};

use super::super::canonical::{common_ancestor, is_below, labels, wildcard_of};
use super::super::signature::Signed;
use super::{Cut, Denied, Fail, Proven, Says, cut_of, denied_by, is_delegation, lacks, part};

pub(super) struct Nsec<'m> {
    pub(super) owner: &'m Name,
    pub(super) data: &'m NSEC,
    pub(super) signed: Signed,
}

impl Nsec<'_> {
    /// Whether a name would be between the owner and the next name, in a zone that holds it.
    fn covers(&self, zone: &Name, name: &Name) -> bool {
        let next = self.data.next_domain_name();
        let within = if self.owner < next { name < next } else { next == zone };
        // Below a delegation, and below a DNAME, the zone says nothing.
        let types = self.data.type_set();
        let silent = self.owner.zone_of(name) && (is_delegation(types) || types.contains(RecordType::DNAME));
        self.owner < name && within && !silent
    }

    /// Whether a covered name exists all the same, as there are names below it.
    fn has_below(&self, name: &Name) -> bool {
        is_below(self.data.next_domain_name(), name)
    }

    /// The closest encloser of a covered name.
    fn encloser(&self, name: &Name) -> Name {
        let one = common_ancestor(name, self.owner);
        let other = common_ancestor(name, self.data.next_domain_name());
        if labels(&one) >= labels(&other) { one } else { other }
    }

    fn add_to(&self, proven: Proven, says: Says) -> Proven {
        proven.with(part(RecordType::NSEC, self.owner, &self.signed, false, says), self.signed.ttl)
    }
}

fn matching<'n, 'm>(all: &'n [Nsec<'m>], name: &Name) -> Option<&'n Nsec<'m>> {
    all.iter().find(|nsec| nsec.owner == name)
}

fn covering<'n, 'm>(zone: &Name, all: &'n [Nsec<'m>], name: &Name) -> Option<&'n Nsec<'m>> {
    all.iter().find(|nsec| nsec.covers(zone, name))
}

pub(super) fn no_type(zone: &Name, all: &[Nsec<'_>], name: &Name, kind: RecordType) -> Result<Proven, Fail> {
    if let Some(nsec) = matching(all, name) {
        lacks(nsec.data.type_set(), name, kind)?;
        let denied = denied_by(nsec.data.type_set());
        return Ok(nsec.add_to(Proven::of(denied), Says::Matches(name.clone())));
    }
    let cover = covering(zone, all, name).ok_or("no NSEC is of the name or spans it")?;
    let proven = cover.add_to(Proven::of(Denied::Type), Says::Covers(name.clone()));
    if cover.has_below(name) {
        return Ok(proven);
    }
    let wildcard = wildcard_of(&cover.encloser(name)).ok_or("the name is too long")?;
    let nsec = matching(all, &wildcard)
        .ok_or("it says that the name doesn't exist, and no NSEC is of the wildcard")?;
    lacks(nsec.data.type_set(), &wildcard, kind)?;
    Ok(nsec.add_to(proven, Says::Matches(wildcard)))
}

pub(super) fn no_name(zone: &Name, all: &[Nsec<'_>], name: &Name) -> Result<Proven, Fail> {
    if matching(all, name).is_some() {
        return Err("it says that the name exists".into());
    }
    let cover = covering(zone, all, name).ok_or("no NSEC spans the name")?;
    if cover.has_below(name) {
        return Err("it says that there are names below the name".into());
    }
    let wildcard = wildcard_of(&cover.encloser(name)).ok_or("the name is too long")?;
    let of_wildcard = covering(zone, all, &wildcard).ok_or("no NSEC spans the wildcard")?;
    if of_wildcard.has_below(&wildcard) {
        return Err("it says that there are names below the wildcard".into());
    }
    let proven = cover.add_to(Proven::of(Denied::Name), Says::Covers(name.clone()));
    Ok(of_wildcard.add_to(proven, Says::Covers(wildcard)))
}

pub(super) fn cut(zone: &Name, all: &[Nsec<'_>], name: &Name) -> Result<Cut, Fail> {
    if let Some(nsec) = matching(all, name) {
        let proven = nsec.add_to(Proven::of(Denied::Type), Says::Matches(name.clone()));
        return cut_of(nsec.data.type_set(), name, proven);
    }
    // A name without an NSEC of its own has no NS records, whether or not there are names below it.
    let cover = covering(zone, all, name).ok_or("no NSEC is of the name or spans it")?;
    let denied = if cover.has_below(name) { Denied::Type } else { Denied::Name };
    Ok(Cut::Inside(cover.add_to(Proven::of(denied), Says::Covers(name.clone()))))
}

pub(super) fn no_closer(zone: &Name, all: &[Nsec<'_>], name: &Name, encloser: &Name) -> Result<Proven, Fail> {
    let cover = covering(zone, all, name).ok_or("no NSEC spans the name")?;
    // Where there are names below it, the name itself is what it is closest to.
    if cover.encloser(name) != *encloser {
        return Err("the NSEC that spans it says that a closer name exists".into());
    }
    Ok(cover.add_to(Proven::of(Denied::Name), Says::Covers(name.clone())))
}

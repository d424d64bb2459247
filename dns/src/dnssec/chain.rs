//! Walks from a trust anchor down to the zone of a name (RFC 4035 §5).
//!
//! Zone cuts aren't told by anybody: below a zone whose keys are known, each further label is asked for its DS
//! records. Either they are there, signed by the zone above; or it is proven that there are none, and the proof
//! says whether the name is delegated.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;

use hickory_proto::dnssec::PublicKey;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RecordType};

use super::Fetch;
use super::anchors::TrustAnchors;
use super::canonical::{is_below, labels};
use super::denial::{Cut, Proofs};
use super::kept::{Kept, Known, Place};
use super::keys::{self, Verification, Voucher, Zone, ZoneKey, digests_in, keys_in, usable, vouched};
use super::limits::Work;
use super::reason::Reason;
use super::sets::Section;
use super::signature::{self, Signer};
use super::trace::Link;
use super::validator::Attempt;

/// What the walk needs, and what it has told.
pub(super) struct Chain<'v, F> {
    pub(super) anchors: &'v TrustAnchors,
    /// The anchors that are trusted now, which others may have put in the place of `anchors`.
    pub(super) current: &'v RefCell<Rc<TrustAnchors>>,
    pub(super) attempt: Attempt,
    /// Whether a place was found broken in a later attempt than this one, and short ago.
    pub(super) settled: Cell<bool>,
    pub(super) kept: &'v RefCell<Kept>,
    pub(super) fetch: &'v F,
    pub(super) verification: Verification,
    pub(super) now: u64,
    pub(super) work: &'v Work<'v>,
    pub(super) links: RefCell<Vec<Link>>,
    /// The names whose links were told already.
    pub(super) told: RefCell<HashSet<Name>>,
}

impl<F: Fetch> Chain<'_, F> {
    /// The signed zone that a name is in.
    ///
    /// # Errors
    /// Why there is none: proven, broken or not to be found out.
    pub(super) async fn zone_of(&self, name: &Name) -> Result<Rc<Zone>, Reason> {
        let Some((anchor, vouchers)) = self.anchors.closest(name) else {
            return Err(Reason::NoAnchor { name: name.clone() });
        };
        let mut zone = match self.place(anchor, || self.start(anchor, vouchers)).await {
            Place::Zone(zone) => zone,
            Place::Unsigned(reason) | Place::Broken(reason) => return Err(reason),
            Place::Inside => return Err(Reason::NoAnchor { name: name.clone() }),
        };
        for count in labels(anchor) + 1..=labels(name) {
            let at = name.trim_to(count);
            match self.place(&at, || self.below(&zone, &at)).await {
                Place::Zone(next) => zone = next,
                Place::Inside => {}
                Place::Unsigned(reason) | Place::Broken(reason) => return Err(reason),
            }
        }
        Ok(zone)
    }

    /// What is verified with the keys of a zone.
    pub(super) fn signer<'z>(&self, zone: &'z Zone) -> Signer<'z> {
        Signer { zone: &zone.name, keys: &zone.keys, verification: self.verification, now: self.now }
    }

    /// What a name is, kept or found out now.
    async fn place<Found>(&self, name: &Name, find: impl FnOnce() -> Found) -> Place
    where
        Found: Future<Output = (Result<(Place, u32), Reason>, Vec<Link>)>,
    {
        let kept = self.kept.borrow().get(name, self.now).filter(|known| self.counts(known));
        let known = match kept {
            Some(known) => known,
            None => {
                let (found, mut links) = find().await;
                let limits = self.work.limits;
                let (place, seconds) = match found {
                    Ok((place, ttl)) => (place, Some(ttl.min(limits.kept_seconds_max))),
                    // What may be different in a moment, or for another answer, isn't kept.
                    Err(reason @ (Reason::Unobtainable { .. } | Reason::Limit { .. })) => {
                        (Place::Broken(reason), None)
                    }
                    Err(reason) => (Place::Broken(reason), Some(limits.broken_seconds)),
                };
                if let Place::Broken(reason) = &place {
                    let kind = if links.is_empty() { RecordType::DS } else { RecordType::DNSKEY };
                    links.push(Link::Failed { name: name.clone(), kind, reason: reason.clone() });
                }
                // At least as long as this validation lasts: others may come by here, too.
                let until = self.now + u64::from(seconds.unwrap_or(0).max(1));
                let known = Known { place, links: links.into(), until, found_in: self.attempt };
                // What other anchors vouched for isn't kept for those that are trusted now.
                let current = std::ptr::eq(self.anchors, Rc::as_ptr(&self.current.borrow()));
                if seconds.is_some() && current {
                    self.kept.borrow_mut().put(name.clone(), known.clone(), self.now, limits.kept_names_max);
                }
                known
            }
        };
        if matches!(known.place, Place::Broken(_)) && known.found_in > self.attempt {
            self.settled.set(true);
        }
        if self.told.borrow_mut().insert(name.clone()) {
            self.links.borrow_mut().extend(known.links.iter().cloned());
        }
        known.place
    }

    /// Whether what is kept of a place counts in this attempt.
    fn counts(&self, known: &Known) -> bool {
        let is_broken = matches!(known.place, Place::Broken(_));
        !is_broken || self.attempt == Attempt::FIRST || known.found_in >= self.attempt
    }

    /// The zone of a trust anchor.
    async fn start(&self, zone: &Name, vouchers: &[Voucher]) -> (Result<(Place, u32), Reason>, Vec<Link>) {
        let seen = vouchers.iter().map(|voucher| voucher.seen(self.verification)).collect();
        let mut links = vec![Link::Anchor { zone: zone.clone(), vouchers: seen }];
        let found = self.enter(zone, vouchers, "the trust anchor", u32::MAX, &mut links).await;
        (found, links)
    }

    /// A name one label further down.
    async fn below(&self, zone: &Zone, at: &Name) -> (Result<(Place, u32), Reason>, Vec<Link>) {
        let mut links = Vec::new();
        let found = self.descend(zone, at, &mut links).await;
        (found, links)
    }

    async fn descend(&self, zone: &Zone, at: &Name, links: &mut Vec<Link>) -> Result<(Place, u32), Reason> {
        let response = self.get(at, RecordType::DS).await?;
        let answers = Section::of(&response.answers);
        let authorities = Section::of(&response.authorities);
        let signer = self.signer(zone);
        if let Some(set) = answers.find(at, RecordType::DS) {
            let signed = signature::verify(set, signer, self.work)?;
            if signed.encloser.is_some() {
                let (name, kind) = (at.clone(), RecordType::DS);
                return Err(Reason::SignatureMisfit {
                    name,
                    kind,
                    why: "a delegation isn't made of a wildcard",
                });
            }
            let vouchers: Vec<_> =
                digests_in(set.records.iter().copied()).cloned().map(Voucher::Digest).collect();
            links.push(Link::Delegation {
                zone: at.clone(),
                parent: zone.name.clone(),
                digests: vouchers.iter().map(|voucher| voucher.seen(self.verification)).collect(),
                signature: signed.signature,
            });
            return self.enter(at, &vouchers, "its DS records", signed.ttl, links).await;
        }
        // An alias at the name, or a DNAME above it, can't be where there is a delegation.
        let alias = answers.with_records().find(|set| match set.kind {
            RecordType::DNAME => {
                zone.name.zone_of(set.name) && is_below(at, set.name) && !set.signatures.is_empty()
            }
            RecordType::CNAME => set.name == at && !set.signatures.is_empty(),
            _ => false,
        });
        if let Some(set) = alias {
            let signed = signature::verify(set, signer, self.work)?;
            let mut proof = Vec::new();
            if let Some(encloser) = &signed.encloser {
                // Made of a wildcard: then it must not hide a delegation.
                let proofs = Proofs::gather(&authorities, signer, self.work)?;
                proof = proofs.no_closer(set.name, encloser, set.kind, self.work)?.proof;
            }
            links.push(Link::Inside { name: at.clone(), zone: zone.name.clone(), proof });
            return Ok((Place::Inside, signed.ttl));
        }
        let proofs = Proofs::gather(&authorities, signer, self.work)?;
        let (name, zone) = (at.clone(), zone.name.clone());
        match proofs.cut(at, self.work) {
            Ok(Cut::Inside(proven)) => {
                links.push(Link::Inside { name, zone, proof: proven.proof });
                Ok((Place::Inside, proven.ttl))
            }
            Ok(Cut::Unsigned(proven)) => {
                let reason = match proven.opt_out {
                    true => Reason::OptOut { name: name.clone(), zone },
                    false => Reason::Unsigned { name: name.clone(), zone },
                };
                links.push(Link::Unsigned { name, reason: reason.clone(), proof: proven.proof });
                Ok((Place::Unsigned(reason), proven.ttl))
            }
            Err(reason @ Reason::Iterations { .. }) => {
                links.push(Link::Unsigned { name, reason: reason.clone(), proof: Vec::new() });
                Ok((Place::Unsigned(reason), self.work.limits.broken_seconds))
            }
            Err(reason) => Err(reason),
        }
    }

    /// The keys of a zone that something vouches for.
    async fn enter(
        &self,
        zone: &Name,
        vouchers: &[Voucher],
        said_by: &'static str,
        ttl: u32,
        links: &mut Vec<Link>,
    ) -> Result<(Place, u32), Reason> {
        let limits = self.work.limits;
        let unsigned = |links: &mut Vec<Link>, reason: Reason| {
            links.push(Link::Unsigned { name: zone.clone(), reason: reason.clone(), proof: Vec::new() });
            Ok((Place::Unsigned(reason), ttl))
        };
        let vouchers = match usable(zone, vouchers, self.verification, limits.delegation_digests_max) {
            Ok(vouchers) => vouchers,
            Err(reason) => return unsigned(links, reason),
        };
        let response = self.get(zone, RecordType::DNSKEY).await?;
        let answers = Section::of(&response.answers);
        let missing = || Reason::KeysMissing { zone: zone.clone() };
        let set = answers.find(zone, RecordType::DNSKEY).ok_or_else(missing)?;
        let keys: Vec<_> = keys_in(set.records.iter().copied()).filter_map(ZoneKey::of).collect();
        let entries = match vouched(zone, &keys, &vouchers, said_by, self.verification, self.work) {
            Ok(entries) => entries.into_iter().cloned().collect::<Vec<_>>(),
            Err(reason @ Reason::UnsupportedAlgorithm { .. }) => return unsigned(links, reason),
            Err(reason) => return Err(reason),
        };
        let signer = Signer { zone, keys: &entries, verification: self.verification, now: self.now };
        let signed = signature::verify(set, signer, self.work).map_err(|reason| match reason {
            // There are signatures, by other keys.
            Reason::KeyMissing { zone, .. } => Reason::KeysUnsigned { zone, said_by },
            other => other,
        })?;
        links.push(Link::Keys {
            zone: zone.clone(),
            keys: keys
                .iter()
                .take(limits.zone_keys_max)
                .map(|key| keys::seen(key, self.verification))
                .collect(),
            signature: signed.signature,
        });
        let signs = |key: &ZoneKey| {
            key.data.zone_key()
                && !key.data.revoke()
                && self.verification.supports_key(&key.data)
                // One that verifies nothing would only take room.
                && key.data.public_key().public_bytes().len() <= limits.key_octets_max
        };
        let keys = keys.into_iter().filter(signs).take(limits.zone_keys_max).collect();
        Ok((Place::Zone(Rc::new(Zone { name: zone.clone(), keys })), signed.ttl.min(ttl)))
    }

    async fn get(&self, name: &Name, kind: RecordType) -> Result<Message, Reason> {
        self.work.fetch()?;
        let failed = |why| Reason::Unobtainable { name: name.clone(), kind, why };
        let response = self.fetch.fetch(name, kind).await.map_err(|error| failed(error.why))?;
        match response.metadata.response_code {
            ResponseCode::NoError | ResponseCode::NXDomain => Ok(response),
            other => Err(failed(other.to_str().to_owned())),
        }
    }
}

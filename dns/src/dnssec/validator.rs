//! Judges a response: its aliases one by one, and the records or the proof that they lead to.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};

use super::Fetch;
use super::anchors::TrustAnchors;
use super::canonical::{is_below, labels};
use super::chain::Chain;
use super::denial::{Proofs, Proven};
use super::kept::Kept;
use super::keys::{Verification, Zone};
use super::limits::{Limits, Work};
use super::reason::Reason;
use super::sets::{Section, Set};
use super::signature;
use super::trace::{Denied, Link};
use super::verdict::{End, Verdict};
use crate::answer::{Authenticity, Step};
use crate::names::{dname_target, replace_end};

/// How often something was judged before, each time with what another upstream gave.
///
/// In the first attempt, what was found broken a short while ago counts as broken. In others it doesn't, since that
/// may be the fault of whoever was asked then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attempt(u8);

impl Attempt {
    /// The first attempt.
    pub const FIRST: Self = Self(0);

    /// The attempt after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Validates responses, and keeps the zone cuts and keys that it found on the way.
pub struct Validator {
    anchors: RefCell<Rc<TrustAnchors>>,
    limits: Limits,
    kept: RefCell<Kept>,
    verification: Verification,
}

impl Validator {
    /// A validator that knows nothing but its anchors.
    #[must_use]
    pub fn new(anchors: TrustAnchors, limits: Limits) -> Self {
        Self {
            anchors: RefCell::new(Rc::new(anchors)),
            limits,
            kept: RefCell::default(),
            verification: Verification::default(),
        }
    }

    /// The same, with weak algorithms taken as good.
    #[cfg(test)]
    pub(super) fn weak(anchors: TrustAnchors, limits: Limits) -> Self {
        Self { verification: Verification { weak_count_as_good: true }, ..Self::new(anchors, limits) }
    }

    /// Trusts other anchors from now on, and forgets all that was found by those before.
    pub fn set_anchors(&self, anchors: TrustAnchors) {
        *self.anchors.borrow_mut() = Rc::new(anchors);
        self.kept.borrow_mut().clear();
    }

    /// How many names are kept, for metrics.
    #[must_use]
    pub fn kept_names(&self) -> usize {
        self.kept.borrow().len()
    }

    /// Judges the response to a question. `now` is in seconds since 1970.
    ///
    /// The response may follow aliases or not; where it doesn't, [`End::Alias`] says what to ask for next.
    pub async fn validate(
        &self,
        fetch: &impl Fetch,
        now: u64,
        name: &Name,
        kind: RecordType,
        response: &Message,
    ) -> Verdict {
        self.validate_as(Attempt::FIRST, fetch, now, name, kind, response).await
    }

    /// The same, saying which attempt it is.
    pub async fn validate_as(
        &self,
        attempt: Attempt,
        fetch: &impl Fetch,
        now: u64,
        name: &Name,
        kind: RecordType,
        response: &Message,
    ) -> Verdict {
        let work = Work::new(&self.limits);
        let anchors = Rc::clone(&self.anchors.borrow());
        let mut name = name.clone();
        name.set_fqdn(true);
        let judge = Judge {
            chain: Chain {
                anchors: &anchors,
                current: &self.anchors,
                kept: &self.kept,
                attempt,
                settled: Cell::new(false),
                fetch,
                verification: self.verification,
                now,
                work: &work,
                links: RefCell::default(),
                told: RefCell::default(),
            },
            answers: Section::of(&response.answers),
            authorities: Section::of(&response.authorities),
            code: response.metadata.response_code,
            kind,
            ttl: Cell::new(u32::MAX),
            proven: RefCell::default(),
        };
        let mut course = Course::default();
        let end = judge.follow(name, &mut course).await;
        let ttl_max = judge.ttl.get();
        let settled = judge.chain.settled.get();
        let trace = judge.chain.links.into_inner();
        course.verdict(end, ttl_max, settled, trace, &work)
    }
}

/// The steps so far.
#[derive(Default)]
struct Course {
    aliases: Vec<Step>,
    reason: Option<Reason>,
    end: Option<Authenticity>,
}

impl Course {
    /// Takes note of how a step was judged, and gives what it is worth.
    fn note(&mut self, judged: Result<(), Reason>) -> Authenticity {
        let Err(reason) = judged else { return Authenticity::Secure };
        let authenticity = reason.authenticity();
        if self.reason.as_ref().is_none_or(|known| authenticity < known.authenticity()) {
            self.reason = Some(reason);
        }
        authenticity
    }

    fn verdict(self, end: End, ttl_max: u32, settled: bool, trace: Vec<Link>, work: &Work<'_>) -> Verdict {
        let limited = matches!(self.reason, Some(Reason::Limit { .. }));
        let end_authenticity = self.end.unwrap_or(Authenticity::Secure);
        let steps = self.aliases.iter().map(|step| step.authenticity);
        Verdict {
            authenticity: steps.fold(end_authenticity, Authenticity::and),
            aliases: self.aliases,
            end,
            end_authenticity,
            reason: self.reason,
            ttl_max,
            settled: settled || limited,
            trace,
            spent: work.spent(),
        }
    }
}

/// One response, being judged.
struct Judge<'v, F> {
    chain: Chain<'v, F>,
    answers: Section<'v>,
    authorities: Section<'v>,
    code: ResponseCode,
    kind: RecordType,
    ttl: Cell<u32>,
    /// Wildcard proofs that were told already.
    proven: RefCell<HashSet<(Name, Name)>>,
}

/// An alias at a name.
struct Alias<'j, 'v> {
    /// The records that are judged for it.
    set: &'j Set<'v>,
    target: Name,
    /// Whether it was made of a DNAME.
    rewritten: bool,
}

impl<'v, F: Fetch> Judge<'v, F> {
    async fn follow(&self, mut name: Name, course: &mut Course) -> End {
        if !matches!(self.code, ResponseCode::NoError | ResponseCode::NXDomain) {
            let reason = Reason::NoAnswer { code: self.code.to_string() };
            course.end = Some(course.note(Err(reason)));
            return End::Failed;
        }
        let mut seen = HashSet::from([name.clone()]);
        loop {
            let found: Vec<_> = match self.kind {
                RecordType::ANY => self.answers.with_records().filter(|set| *set.name == name).collect(),
                kind => self.answers.find(&name, kind).into_iter().collect(),
            };
            if let [set] = found[..]
                && set.kind == RecordType::CNAME
                && set.signatures.is_empty()
                && let Ok(Some(alias)) = self.alias(&name)
                && alias.rewritten
            {
                let judged = self.step(&name, &alias).await;
                return self.end(judged, course);
            }
            if !found.is_empty() {
                return self.found(&found, course).await;
            }
            if self.kind == RecordType::RRSIG && self.answers.sets.iter().any(|set| *set.name == name) {
                course.end = Some(course.note(Err(Reason::Unsignable { kind: self.kind })));
                return End::Found;
            }
            match self.alias(&name) {
                Ok(None) => break,
                Ok(Some(alias)) => {
                    let judged = self.step(&name, &alias).await;
                    let forbidden = judged.as_ref().is_err_and(Reason::forbids_use);
                    let authenticity = course.note(judged);
                    let from = std::mem::replace(&mut name, alias.target.clone());
                    course.aliases.push(Step { from: from.clone(), to: alias.target, authenticity });
                    if forbidden {
                        course.end = Some(authenticity);
                        return End::Failed;
                    }
                    let max = self.chain.work.limits.aliases_max;
                    let reason = if !seen.insert(name.clone()) {
                        Reason::Alias { name: from, why: "it leads back to where it came from" }
                    } else if course.aliases.len() > max {
                        Reason::Limit { what: "aliases", max: u32::try_from(max).unwrap_or(u32::MAX) }
                    } else {
                        continue;
                    };
                    return self.fail(reason, &name, course);
                }
                Err(reason) => return self.fail(reason, &name, course),
            }
        }
        // A negative answer has the SOA of its zone (RFC 2308 §2). Without one, the response just ends here.
        let negative = self.code == ResponseCode::NXDomain
            || self
                .authorities
                .with_records()
                .any(|set| set.kind == RecordType::SOA && set.name.zone_of(&name));
        if !course.aliases.is_empty() && !negative {
            return End::Alias(name);
        }
        self.denied(&name, course).await
    }

    fn fail(&self, reason: Reason, name: &Name, course: &mut Course) -> End {
        self.tell(Link::Failed { name: name.clone(), kind: self.kind, reason: reason.clone() });
        course.end = Some(course.note(Err(reason)));
        End::Failed
    }

    fn tell(&self, link: Link) {
        self.chain.links.borrow_mut().push(link);
    }

    /// Ends at records that were judged.
    fn end(&self, judged: Result<(), Reason>, course: &mut Course) -> End {
        let end = if judged.as_ref().is_err_and(Reason::forbids_use) { End::Failed } else { End::Found };
        course.end = Some(course.note(judged));
        end
    }

    async fn found(&self, sets: &[&Set<'v>], course: &mut Course) -> End {
        let mut end = End::Found;
        let mut authenticity = Authenticity::Secure;
        for set in sets {
            let judged = self.set(set).await;
            if judged.as_ref().is_err_and(Reason::forbids_use) {
                end = End::Failed;
            }
            authenticity = authenticity.and(course.note(judged));
        }
        course.end = Some(authenticity);
        end
    }

    async fn denied(&self, name: &Name, course: &mut Course) -> End {
        let judged = self.deny(name).await;
        let said = if self.code == ResponseCode::NXDomain { Denied::Name } else { Denied::Type };
        let end = match &judged {
            Ok(denied) => End::Denied(*denied),
            Err(reason) if reason.forbids_use() => End::Failed,
            Err(_) => End::Denied(said),
        };
        if let Err(reason) = &judged {
            self.tell(Link::Failed { name: name.clone(), kind: self.kind, reason: reason.clone() });
        }
        course.end = Some(course.note(judged.map(|_| ())));
        end
    }

    /// The alias at a name, if the answer has one. An alias that a DNAME made has no signature of its own (RFC 6672
    /// §5.3.1): the DNAME is judged then, and the alias must be what it makes.
    fn alias(&self, name: &Name) -> Result<Option<Alias<'_, 'v>>, Reason> {
        let malformed = |why| Reason::Alias { name: name.clone(), why };
        let own = self.answers.find(name, RecordType::CNAME);
        let target = match own.map(|set| &set.records[..]) {
            None => None,
            Some([record]) => match &record.data {
                RData::CNAME(target) => Some(target.0.clone()),
                _ => return Err(malformed("it has no target")),
            },
            Some(_) => return Err(malformed("there is more than one")),
        };
        if let (Some(set), Some(target)) = (own, &target)
            && !set.signatures.is_empty()
        {
            return Ok(Some(Alias { set, target: target.clone(), rewritten: false }));
        }
        let above = self
            .answers
            .with_records()
            .filter(|set| set.kind == RecordType::DNAME && is_below(name, set.name));
        if let Some(set) = above.max_by_key(|set| labels(set.name)) {
            let [record] = set.records[..] else { return Err(malformed("there is more than one DNAME")) };
            let to = dname_target(&record.data).ok_or_else(|| malformed("the DNAME has no target"))?;
            let rewritten = replace_end(name, set.name, &to);
            let rewritten = rewritten.ok_or_else(|| malformed("the DNAME makes a name that is too long"))?;
            if target.is_none_or(|target| target == rewritten) {
                return Ok(Some(Alias { set, target: rewritten, rewritten: true }));
            }
            return Err(malformed("it isn't the one that the DNAME makes"));
        }
        Ok(own.zip(target).map(|(set, target)| Alias { set, target, rewritten: false }))
    }

    async fn step(&self, name: &Name, alias: &Alias<'_, 'v>) -> Result<(), Reason> {
        self.set(alias.set).await?;
        if alias.rewritten {
            self.tell(Link::Rewritten { name: name.clone(), target: alias.target.clone() });
        }
        Ok(())
    }

    /// Whether an RRset is secure.
    async fn set(&self, set: &Set<'v>) -> Result<(), Reason> {
        let holder = holder(set.name, set.kind);
        let signers = set.signatures.iter().map(|signature| &signature.data.input().signer_name);
        let signer = signers.filter(|signer| signer.zone_of(&holder)).max_by_key(|signer| labels(signer));
        let judged = match signer {
            Some(signer) => self.signed_by(set, signer).await,
            None => Err(self.unsigned(set)),
        };
        let judged = self.or_unsigned(&holder, judged).await;
        if let Err(reason) = &judged {
            self.tell(Link::Failed { name: set.name.clone(), kind: set.kind, reason: reason.clone() });
        }
        judged
    }

    /// What is wrong with an RRset that no zone above signed.
    fn unsigned(&self, set: &Set<'v>) -> Reason {
        let (name, kind) = (set.name.clone(), set.kind);
        match set.signatures.is_empty() {
            true => Reason::SignatureMissing { name, kind, zone: Name::root() },
            false => Reason::SignatureMisfit { name, kind, why: "the signer isn't a zone above" },
        }
    }

    async fn signed_by(&self, set: &Set<'v>, signer: &Name) -> Result<(), Reason> {
        let zone = self.chain.zone_of(signer).await?;
        if zone.name != *signer {
            let (name, kind) = (set.name.clone(), set.kind);
            return Err(Reason::SignerNoZone { name, kind, signer: signer.clone() });
        }
        let signed = signature::verify(set, self.chain.signer(&zone), self.chain.work)?;
        let mut wildcard = None;
        if let Some(encloser) = &signed.encloser {
            let proven = self.no_closer(&zone, set, encloser)?;
            self.ttl.set(self.ttl.get().min(proven.ttl));
            wildcard = super::canonical::wildcard_of(encloser);
            let opt_out = proven.opt_out;
            if self.proven.borrow_mut().insert((zone.name.clone(), set.name.clone())) {
                self.tell(Link::Denial {
                    name: set.name.clone(),
                    kind: None,
                    denied: proven.denied,
                    zone: zone.name.clone(),
                    proof: proven.proof,
                });
            }
            if opt_out {
                return Err(Reason::OptOut { name: set.name.clone(), zone: zone.name.clone() });
            }
        }
        self.ttl.set(self.ttl.get().min(signed.ttl));
        self.tell(Link::Data {
            name: set.name.clone(),
            kind: set.kind,
            count: set.records.len(),
            signature: signed.signature,
            wildcard,
        });
        Ok(())
    }

    fn no_closer(&self, zone: &Zone, set: &Set<'v>, encloser: &Name) -> Result<Proven, Reason> {
        let proofs = Proofs::gather(&self.authorities, self.chain.signer(zone), self.chain.work)?;
        proofs.no_closer(set.name, encloser, set.kind, self.chain.work)
    }

    /// What isn't secure may still be proven to be in a zone that isn't signed; a missing signature may name its
    /// zone then.
    async fn or_unsigned<T>(&self, holder: &Name, judged: Result<T, Reason>) -> Result<T, Reason> {
        let Err(reason) = judged else { return judged };
        if reason.authenticity() != Authenticity::Bogus || matches!(reason, Reason::Limit { .. }) {
            return Err(reason);
        }
        let missing = matches!(reason, Reason::SignatureMissing { .. } | Reason::ProofMissing { .. });
        match self.chain.zone_of(holder).await {
            Ok(zone) => Err(match reason {
                Reason::SignatureMissing { name, kind, .. } => {
                    Reason::SignatureMissing { name, kind, zone: zone.name.clone() }
                }
                Reason::ProofMissing { name, kind, .. } => {
                    Reason::ProofMissing { name, kind, zone: zone.name.clone() }
                }
                other => other,
            }),
            Err(other) if missing || other.authenticity() == Authenticity::Insecure => Err(other),
            Err(_) => Err(reason),
        }
    }

    /// Whether it is proven that a name doesn't exist or has no records of the type.
    async fn deny(&self, name: &Name) -> Result<Denied, Reason> {
        let holder = holder(name, self.kind);
        let tells = |kind| matches!(kind, RecordType::SOA | RecordType::NSEC | RecordType::NSEC3);
        let sets = || self.authorities.with_records().filter(|set| tells(set.kind));
        let signers =
            sets().flat_map(|set| &set.signatures).map(|signature| &signature.data.input().signer_name);
        let signer = signers.filter(|signer| signer.zone_of(&holder)).max_by_key(|signer| labels(signer));
        let judged = match signer {
            Some(signer) => self.denied_by(name, signer).await,
            None => {
                let (name, kind, zone) = (name.clone(), self.kind, Name::root());
                Err(match sets().next() {
                    Some(set) => Reason::SignatureMissing { name: set.name.clone(), kind: set.kind, zone },
                    None => Reason::ProofMissing { name, kind, zone },
                })
            }
        };
        self.or_unsigned(&holder, judged).await
    }

    async fn denied_by(&self, name: &Name, signer: &Name) -> Result<Denied, Reason> {
        let zone = self.chain.zone_of(signer).await?;
        if zone.name != *signer {
            let (name, kind) = (name.clone(), self.kind);
            return Err(Reason::SignerNoZone { name, kind, signer: signer.clone() });
        }
        let proofs = Proofs::gather(&self.authorities, self.chain.signer(&zone), self.chain.work)?;
        let name_error = self.code == ResponseCode::NXDomain;
        let proven = proofs.deny(name, self.kind, name_error, self.chain.work)?;
        self.ttl.set(self.ttl.get().min(proven.ttl));
        let (denied, opt_out) = (proven.denied, proven.opt_out);
        self.tell(Link::Denial {
            name: name.clone(),
            kind: Some(self.kind),
            denied,
            zone: zone.name.clone(),
            proof: proven.proof,
        });
        match opt_out {
            true => Err(Reason::OptOut { name: name.clone(), zone: zone.name.clone() }),
            false => Ok(denied),
        }
    }
}

/// A name whose zone holds the records: DS records are of the zone above.
fn holder(name: &Name, kind: RecordType) -> Name {
    if kind == RecordType::DS { name.base_name() } else { name.clone() }
}

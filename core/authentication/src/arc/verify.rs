//! Validation of a chain (RFC 8617 §5.2).

use postrider_dns::{Authenticity, Lookup};
use postrider_proto::address::Domain;
use postrider_proto::arc::{Chain, ChainError, ChainStatus, Instance, Set, results_instance};
use postrider_proto::dkim::Selector;
use postrider_proto::dkim::canonical::{Algorithm as Canonical, FieldEnd, write_field, write_field_without};
use postrider_proto::dkim::header::{Header, HeaderError};
use postrider_proto::dkim::key::Service;
use postrider_proto::dkim::signature::{Algorithm, Core};

use crate::content::Content;
use crate::dkim::{Part, Policy, Reason as PartReason, check_part};
use crate::keys::{KeyFault, Keys, pause, usable};

/// Why a chain isn't valid.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Reason {
    /// The header of the message is over a limit.
    #[error("{0}")]
    Header(#[from] HeaderError),
    /// The sets can't be a chain.
    #[error("{0}")]
    Chain(#[from] ChainError),
    /// The newest message signature doesn't verify.
    #[error("message signature {0}: {1}")]
    Signature(u8, PartReason),
    /// A seal doesn't verify.
    #[error("seal {0}: {1}")]
    Seal(u8, PartReason),
}

/// What was found of one set.
#[derive(Clone, Debug)]
pub struct SetResult {
    /// Its number.
    pub instance: Instance,
    /// Who sealed it: `d=` of the seal.
    pub domain: Domain,
    /// `s=` of the seal.
    pub selector: Option<Selector>,
    /// `a=` of the seal.
    pub algorithm: Option<Algorithm>,
    /// `t=` of the seal.
    pub timestamp: Option<u64>,
    /// Whether its seal verified. None where it wasn't tried.
    pub seal: Option<bool>,
    /// Whether its message signature verified: whether the message is what it was when the handler passed it
    /// on. None where it wasn't tried.
    pub signature: Option<bool>,
    /// What the handler found: as in an Authentication-Results field, its line breaks included.
    pub results: Vec<u8>,
    /// Whether the lookups of keys for it can be believed. None where none was made.
    pub authenticity: Option<Authenticity>,
}

/// What was found of a chain.
#[derive(Clone, Debug)]
pub struct ArcResult {
    /// The status.
    pub status: ChainStatus,
    /// Why it is fail.
    pub reason: Option<Reason>,
    /// The oldest set whose message signature and that of all after it verified; 0 where all did (RFC 8617
    /// §5.2 step 5). None where the chain isn't valid.
    pub oldest_pass: Option<u8>,
    /// A field that readers are shown and that the newest message signature doesn't cover: after the last sealer
    /// anybody could have added it. The chain is valid all the same (RFC 8617 §4.1.2), but vouches for nobody.
    pub unsigned_field: Option<&'static str>,
    /// The sets from the oldest to the newest, when they could be a chain.
    pub sets: Vec<SetResult>,
    /// Whether all lookups that the status rests on can be believed. None where none was made.
    pub authenticity: Option<Authenticity>,
}

impl ArcResult {
    /// One for a message without a chain.
    #[must_use]
    pub fn none() -> Self {
        Self {
            status: ChainStatus::None,
            reason: None,
            oldest_pass: None,
            unsigned_field: None,
            sets: Vec::new(),
            authenticity: None,
        }
    }

    /// One for a message whose header isn't looked at: it may have a chain.
    #[must_use]
    pub fn refused(error: HeaderError) -> Self {
        Self::failed(Reason::Header(error))
    }

    fn failed(reason: Reason) -> Self {
        Self { status: ChainStatus::Fail, reason: Some(reason), ..Self::none() }
    }
}

impl SetResult {
    /// One of which nothing but the sealer is known.
    #[must_use]
    pub fn untested(instance: Instance, domain: Domain) -> Self {
        Self {
            instance,
            domain,
            selector: None,
            algorithm: None,
            timestamp: None,
            seal: None,
            signature: None,
            results: Vec::new(),
            authenticity: None,
        }
    }

    fn of(set: &Set, header: &Header) -> Self {
        let core = &set.seal.core;
        let results = results_instance(header.get(set.results).value).map(|(_, payload)| payload.to_vec());
        Self {
            selector: Some(core.selector.clone()),
            algorithm: Some(core.algorithm),
            timestamp: core.timestamp,
            results: results.unwrap_or_default(),
            ..Self::untested(set.instance, core.domain.clone())
        }
    }
}

/// Validates the chain of a message, at a time in seconds since 1970.
///
/// Everything is checked from the newest set down, and nothing more after the first check that fails: who
/// makes up a chain gets one lookup of a name that isn't theirs. A lookup that fails makes the chain fail, as
/// RFC 8617 §5.2.1 wants it.
pub async fn verify(content: &Content, now: u64, lookup: &impl Lookup) -> ArcResult {
    let chain = match &content.chain {
        None => return ArcResult::none(),
        Some(Err(error)) => return ArcResult::failed(Reason::Chain(*error)),
        Some(Ok(chain)) => chain,
    };
    let mut result = ArcResult::none();
    result.sets = chain.sets.iter().map(|set| SetResult::of(set, &content.header)).collect();
    let newest = chain.sets.last().and_then(|set| set.signature.as_ref().ok());
    result.unsigned_field =
        newest.and_then(|newest| Policy::default().unsigned_field(&content.header, &newest.content));
    let mut known = Known { keys: Vec::new(), authenticity: None, lookup };
    let validated = validate(content, chain, now, &mut known, &mut result).await;
    result.authenticity = known.authenticity;
    match validated {
        Ok(oldest_pass) => {
            result.status = ChainStatus::Pass;
            result.oldest_pass = Some(oldest_pass);
        }
        Err(reason) => {
            result.status = ChainStatus::Fail;
            result.reason = Some(reason);
        }
    }
    result
}

/// Steps 4 to 6 of RFC 8617 §5.2, the seals before the older message signatures.
async fn validate(
    content: &Content,
    chain: &Chain,
    now: u64,
    known: &mut Known<'_, impl Lookup>,
    result: &mut ArcResult,
) -> Result<u8, Reason> {
    let length = chain.sets.len();
    let Some(newest) = chain.sets.last() else { return Ok(0) };
    let checked = signature(content, newest, now, known, &mut result.sets[length - 1]).await;
    checked.map_err(|reason| Reason::Signature(newest.instance.number(), reason))?;
    let sealed = Sealed::of(&content.header, chain);
    for (at, set) in chain.sets.iter().enumerate().rev() {
        let number = set.instance.number();
        let checked = sealed.check(&content.header, chain, at, known, &mut result.sets[at]).await;
        checked.map_err(|reason| Reason::Seal(number, reason))?;
        pause().await;
    }
    // What is known from here on doesn't change the status, so neither does what it rests on.
    let authenticity = known.authenticity;
    let mut oldest_pass = 0;
    for (at, set) in chain.sets.iter().enumerate().rev().skip(1) {
        if signature(content, set, now, known, &mut result.sets[at]).await.is_err() {
            oldest_pass = set.instance.number() + 1;
            break;
        }
        pause().await;
    }
    known.authenticity = authenticity;
    Ok(oldest_pass)
}

/// Keys that were looked up for this chain: a sealer has one for both of its signatures.
struct Known<'a, L> {
    keys: Vec<(String, Keys)>,
    authenticity: Option<Authenticity>,
    lookup: &'a L,
}

impl<L: Lookup> Known<'_, L> {
    async fn get(&mut self, core: &Core, set: &mut SetResult) -> &Keys {
        let name = core.selector.key_name(&core.domain);
        let at = match self.keys.iter().position(|(other, _)| *other == name) {
            Some(at) => at,
            None => {
                let keys = Keys::lookup_name(&name, self.lookup).await;
                self.keys.push((name, keys));
                self.keys.len() - 1
            }
        };
        let keys = &self.keys[at].1;
        let both = |known: Option<Authenticity>| match (known, keys.authenticity) {
            (Some(known), Some(new)) => Some(known.and(new)),
            (known, new) => known.or(new),
        };
        set.authenticity = both(set.authenticity);
        self.authenticity = both(self.authenticity);
        keys
    }
}

/// Tries the keys at a name until one does.
fn any_key<T>(
    keys: &Keys,
    mut check: impl FnMut(&postrider_proto::dkim::key::KeyRecord) -> Result<T, PartReason>,
) -> Result<T, PartReason> {
    let mut told = PartReason::Key(KeyFault::Missing);
    for record in keys.records.as_ref().map_err(|fault| PartReason::Key(fault.clone()))? {
        let checked = match record {
            Ok(record) => check(record),
            Err(error) => Err(PartReason::Key(KeyFault::Record(*error))),
        };
        match checked {
            Ok(value) => return Ok(value),
            Err(reason) => told = reason,
        }
    }
    Err(told)
}

/// Checks the message signature of a set. A part of the body that it doesn't cover makes it fail: what is
/// passed on there isn't what the handler had.
async fn signature(
    content: &Content,
    set: &Set,
    now: u64,
    known: &mut Known<'_, impl Lookup>,
    result: &mut SetResult,
) -> Result<(), PartReason> {
    let checked = match &set.signature {
        Err(error) => Err(PartReason::Signature(*error)),
        Ok(signature) if signature.core.algorithm == Algorithm::RsaSha1 => Err(PartReason::Sha1),
        Ok(signature) if signature.content.expiration.is_some_and(|expires| expires < now) => {
            Err(PartReason::Expired)
        }
        Ok(signature) => {
            let part =
                Part { core: &signature.core, content: &signature.content, field: set.signature_field };
            let keys = known.get(&signature.core, result).await;
            any_key(keys, |record| {
                match check_part(&content.header, &content.hashes, &part, record, Service::Email)? {
                    0 => Ok(()),
                    unsigned => Err(PartReason::PartialBody(unsigned)),
                }
            })
        }
    };
    result.signature = Some(checked.is_ok());
    checked
}

/// The canonical fields of all sets, as seals sign them.
struct Sealed {
    octets: Vec<u8>,
    /// Where the own seal of each set begins, and so ends what is signed before it.
    seals: Vec<usize>,
}

impl Sealed {
    fn of(header: &Header, chain: &Chain) -> Self {
        let mut sealed =
            Self { octets: Vec::with_capacity(4096), seals: Vec::with_capacity(chain.sets.len()) };
        for set in &chain.sets {
            for field in [set.results, set.signature_field, set.seal_field] {
                if field == set.seal_field {
                    sealed.seals.push(sealed.octets.len());
                }
                write_field(&mut sealed.octets, header.get(field), Canonical::Relaxed, FieldEnd::LineBreak);
            }
        }
        sealed
    }

    /// Checks the seal of a set: over the sets before it, its own two fields, and itself (RFC 8617 §5.1.1).
    async fn check(
        &self,
        header: &Header,
        chain: &Chain,
        at: usize,
        known: &mut Known<'_, impl Lookup>,
        result: &mut SetResult,
    ) -> Result<(), PartReason> {
        let set = &chain.sets[at];
        let core = &set.seal.core;
        let checked = if core.algorithm == Algorithm::RsaSha1 {
            Err(PartReason::Sha1)
        } else {
            let keys = known.get(core, result).await;
            let mut signed = self.octets[..self.seals[at]].to_vec();
            let own = header.get(set.seal_field);
            let place = core.signature_place.clone();
            write_field_without(&mut signed, own, place, Canonical::Relaxed, FieldEnd::Nothing);
            any_key(keys, |record| {
                if !record.serves(Service::Email) {
                    return Err(PartReason::Key(KeyFault::Service));
                }
                let key = usable(record, core.algorithm)?;
                if key.verifies(&signed, &core.signature) { Ok(()) } else { Err(PartReason::Mismatch) }
            })
        };
        result.seal = Some(checked.is_ok());
        checked
    }
}

//! Sealing: adding a set to a message that is passed on (RFC 8617 §5.1).

use postrider_proto::address::Domain;
use postrider_proto::arc::{self, ChainStatus, Instance, MESSAGE_SIGNATURE, RESULTS, SEAL};
use postrider_proto::dkim::Selector;
use postrider_proto::dkim::canonical::{Algorithm as Canonical, FieldEnd, write_field};
use postrider_proto::dkim::header::{Field, Header};
use postrider_proto::dkim::signature::Canonicalization;
use postrider_proto::dkim::tags::to_base64;
use postrider_proto::dkim::write::SignatureWriter;

use crate::content::{BodyHasher, BodyHashes, Wanted};
use crate::dkim::{SignError, SigningKey};

/// Why no set is added.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SealError {
    /// A sealer before found that the chain was broken: nothing is added to it (RFC 8617 §5.1 step 2).
    #[error("the chain has failed before")]
    FailedBefore,
    /// There are 50 sets.
    #[error("the chain has no room for another set")]
    Full,
    /// The status is none that the sets of the message can have: they are no chain and it isn't `fail`, or there is
    /// none where there are sets, or the other way round.
    #[error("the status is not one of the message's chain")]
    Status,
    /// It can't be signed.
    #[error("{0}")]
    Sign(#[from] SignError),
}

/// How a handler seals.
#[derive(Debug)]
pub struct Sealer<K> {
    /// `d=`.
    pub domain: Domain,
    /// `s=`.
    pub selector: Selector,
    /// The key of both signatures.
    pub key: K,
    /// Names of the fields that the message signature covers, in their order; each as often as the message
    /// has it. Those of ARC and Authentication-Results can't be among them (RFC 8617 §4.1.2).
    pub fields: Vec<String>,
}

impl<K> Sealer<K> {
    /// What hashes the body.
    #[must_use]
    pub fn body_hasher(&self) -> BodyHasher {
        BodyHasher::new([WANTED])
    }

    /// Names for `h=`.
    fn names(&self, header: &Header) -> Vec<&str> {
        let excluded = [RESULTS, MESSAGE_SIGNATURE, SEAL, "Authentication-Results"];
        let allowed = self
            .fields
            .iter()
            .filter(|name| !excluded.iter().any(|excluded| excluded.eq_ignore_ascii_case(name)));
        let mut names: Vec<&str> =
            allowed.flat_map(|name| std::iter::repeat_n(name.as_str(), header.named(name).len())).collect();
        // The list has at least one name; one that the message hasn't stands for nothing.
        if names.is_empty() {
            names.push("From");
        }
        names
    }
}

const WANTED: Wanted = Wanted { algorithm: Canonical::Relaxed, length: None };

/// Seals a message at a time in seconds since 1970. `status` is what validation of its chain gave; `results`
/// gives the ARC-Authentication-Results field for the number of the set, with its line breaks. Gives the three
/// fields that go before the header.
pub fn seal<K: SigningKey>(
    sealer: &Sealer<K>,
    header: Vec<u8>,
    hashes: &BodyHashes,
    (status, results): (ChainStatus, impl FnOnce(Instance) -> String),
    now: u64,
) -> Result<String, SealError> {
    let header = Header::parse(header).map_err(SignError::from)?;
    let mut sealed = Vec::with_capacity(4096);
    let instance = continue_chain(&header, status, &mut sealed)?;
    let results = results(instance);
    write_field(&mut sealed, field(&results, RESULTS), Canonical::Relaxed, FieldEnd::LineBreak);

    let signature = sign_message(sealer, &header, hashes, instance, now)?;
    write_field(&mut sealed, field(&signature, MESSAGE_SIGNATURE), Canonical::Relaxed, FieldEnd::LineBreak);

    let unsigned = SignatureWriter::new(SEAL)
        .tag("i", instance.number())
        .tag("a", sealer.key.algorithm().word())
        .tag("t", now)
        .tag("cv", status.word())
        .tag("d", &sealer.domain)
        .tag("s", &sealer.selector)
        .unsigned();
    unsigned.write_canonical(&mut sealed, Canonical::Relaxed);
    let seal = unsigned.signed(&sealer.key.sign(&sealed).ok_or(SignError::Key)?);
    Ok([seal, signature, results].concat())
}

/// The number of the new set. Appends the canonical fields of the sets before it, unless the chain failed:
/// then the new set is sealed as if it were alone (RFC 8617 §5.1.2), so that it doesn't matter what is wrong with them.
fn continue_chain(header: &Header, status: ChainStatus, sealed: &mut Vec<u8>) -> Result<Instance, SealError> {
    let newest = arc::newest(header);
    if newest.is_some_and(|newest| newest.is_failed) {
        return Err(SealError::FailedBefore);
    }
    match (arc::collect(header), status) {
        (None, ChainStatus::None) | (Some(_), ChainStatus::Fail) => {}
        (Some(Err(arc::ChainError::Failed(_))), _) => return Err(SealError::FailedBefore),
        (Some(Ok(chain)), ChainStatus::Pass) => {
            for set in &chain.sets {
                for number in [set.results, set.signature_field, set.seal_field] {
                    write_field(sealed, header.get(number), Canonical::Relaxed, FieldEnd::LineBreak);
                }
            }
        }
        _ => return Err(SealError::Status),
    }
    match newest {
        None => Ok(Instance::FIRST),
        Some(newest) => newest.instance.next().ok_or(SealError::Full),
    }
}

fn sign_message<K: SigningKey>(
    sealer: &Sealer<K>,
    header: &Header,
    hashes: &BodyHashes,
    instance: Instance,
    now: u64,
) -> Result<String, SignError> {
    let hash = hashes.get(WANTED).ok_or(SignError::Hash)?;
    let names = sealer.names(header);
    let mut signed = Vec::with_capacity(4096);
    for field in header.select(&names) {
        write_field(&mut signed, field, Canonical::Relaxed, FieldEnd::LineBreak);
    }
    let Canonicalization { header, body } = Canonicalization::RELAXED;
    let unsigned = SignatureWriter::new(MESSAGE_SIGNATURE)
        .tag("i", instance.number())
        .tag("a", sealer.key.algorithm().word())
        .tag("c", format_args!("{}/{}", header.word(), body.word()))
        .tag("d", &sealer.domain)
        .tag("s", &sealer.selector)
        .tag("t", now)
        .list("h", &names)
        .tag("bh", to_base64(&hash.digest))
        .unsigned();
    unsigned.write_canonical(&mut signed, Canonical::Relaxed);
    Ok(unsigned.signed(&sealer.key.sign(&signed).ok_or(SignError::Key)?))
}

/// A field that was written here.
fn field<'a>(text: &'a str, name: &str) -> Field<'a> {
    let octets = text.as_bytes();
    Field { name: &octets[..name.len()], value: &octets[name.len() + 1..], octets }
}

//! Verification of the signatures of a message (RFC 6376 §6).

use postrider_dns::Lookup;
use postrider_proto::address::Domain;
use postrider_proto::dkim::canonical::{FieldEnd, write_field, write_field_without};
use postrider_proto::dkim::header::{FieldNumber, Header};
use postrider_proto::dkim::key::{KeyRecord, Service};
use postrider_proto::dkim::signature::{Algorithm, Content as Signed, Core, Signature};
use postrider_proto::public_suffix::{Division, is_public_suffix};

use crate::content::{BodyHashes, Candidate, Content, wanted};
use crate::keys::{KeyFault, Keys, join_all, pause, usable};

use super::result::{DkimResult, Reason, SignatureResult};

/// What is done with a signature that covers only the start of the body (`l=`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PartialBody {
    /// It is `policy` as soon as there is more than it covers: what was appended can replace all that a
    /// reader sees (RFC 6376 §8.2). One that covers the whole body is like any other.
    #[default]
    Refuse,
    /// It may pass.
    Accept,
}

/// What is asked of signatures beyond the standard.
#[derive(Clone, Debug)]
pub struct Policy {
    /// What `l=` may do.
    pub partial_body: PartialBody,
    /// Fields of which every one that the message has must be signed. A second From or Subject on top of the
    /// signed one is what readers are shown (RFC 6376 §8.15).
    pub covered: Vec<&'static str>,
    /// Fields of which a second one must be signed, since readers take only one of them. Many don't sign these at
    /// all, so one alone may be unsigned; but one on top of a signed one makes another message of the same body.
    pub once: Vec<&'static str>,
    /// What keys must be for.
    pub service: Service,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            partial_body: PartialBody::Refuse,
            covered: vec!["From", "Subject"],
            once: vec!["Content-Type", "Content-Transfer-Encoding"],
            service: Service::Email,
        }
    }
}

impl Policy {
    /// A field of the message that a signature would have to cover, and doesn't.
    pub(crate) fn unsigned_field(&self, header: &Header, signed: &Signed) -> Option<&'static str> {
        let repeated = self.once.iter().filter(|name| header.named(name).len() > 1);
        let has_unsigned = |name: &&&'static str| {
            let mentions = signed.fields.iter().filter(|field| field.eq_ignore_ascii_case(name)).count();
            header.named(name).len() > mentions
        };
        self.covered.iter().chain(repeated).find(has_unsigned).copied()
    }
}

/// Whether a domain is one under which others register theirs, so that it signs for nobody (RFC 6376 §6.1.1). A
/// host that talks to itself has no registry.
fn is_registry(domain: &Domain) -> bool {
    domain.as_str() != "localhost" && is_public_suffix(domain, Division::Icann)
}

/// Verifies the signatures of a message, at a time in seconds since 1970. Results are in the order of the
/// fields; without signatures there are none.
///
/// Keys are looked up all at once, and each once.
pub async fn verify(
    content: &Content,
    policy: &Policy,
    now: u64,
    lookup: &impl Lookup,
) -> Vec<SignatureResult> {
    let mut results: Vec<SignatureResult> = Vec::with_capacity(content.signatures.len());
    let mut names: Vec<String> = Vec::new();
    // Each signature whose key is needed, with the number of its name.
    let mut open: Vec<(usize, &Signature, FieldNumber, usize)> = Vec::new();
    for candidate in &content.signatures {
        let mut result = begin(candidate);
        match check_before_key(candidate, now) {
            Err(reason) => result.set(reason),
            Ok(signature) => {
                let name = signature.core.selector.key_name(&signature.core.domain);
                let number = names.iter().position(|other| *other == name).unwrap_or_else(|| {
                    names.push(name);
                    names.len() - 1
                });
                open.push((results.len(), signature, candidate.field, number));
            }
        }
        results.push(result);
    }
    let keys = join_all(names.iter().map(|name| Keys::lookup_name(name, lookup))).await;
    for (at, signature, field, number) in open {
        let part = Part { core: &signature.core, content: &signature.content, field };
        finish(&mut results[at], content, (signature, &part), &keys[number], policy);
        pause().await;
    }
    results
}

/// What can be told of a signature before anything was checked.
fn begin(candidate: &Candidate) -> SignatureResult {
    let mut result = SignatureResult::unknown();
    result.domain.clone_from(&candidate.claims.domain);
    result.selector.clone_from(&candidate.claims.selector);
    result.algorithm.clone_from(&candidate.claims.algorithm);
    if let Ok(signature) = &candidate.signature {
        result.identity = Some(signature.identity.clone());
        result.signature = Some(signature.core.signature.clone());
        result.timestamp = signature.core.timestamp;
        result.expiration = signature.content.expiration;
        result.body_length = signature.content.length;
    }
    result
}

/// What needs no key (RFC 6376 §6.1.1).
fn check_before_key(candidate: &Candidate, now: u64) -> Result<&Signature, Reason> {
    let signature = candidate.signature.as_ref().map_err(|error| Reason::Signature(*error))?;
    if !candidate.within_limit {
        return Err(Reason::TooMany);
    }
    if signature.core.algorithm == Algorithm::RsaSha1 {
        return Err(Reason::Sha1);
    }
    if signature.content.expiration.is_some_and(|expires| expires < now) {
        return Err(Reason::Expired);
    }
    if is_registry(&signature.core.domain) {
        return Err(Reason::PublicSuffix);
    }
    Ok(signature)
}

/// Checks a signature with the keys at its name; one that fits is enough (RFC 6376 §6.1.2 step 4). What is
/// told otherwise is of the first record that is one.
fn finish(
    result: &mut SignatureResult,
    content: &Content,
    (signature, part): (&Signature, &Part<'_>),
    keys: &Keys,
    policy: &Policy,
) {
    result.authenticity = keys.authenticity;
    let records = match &keys.records {
        Ok(records) => records,
        Err(fault) => return result.set(Reason::Key(fault.clone())),
    };
    let mut told: Option<(Reason, Option<&KeyRecord>)> = None;
    for record in records {
        let checked = match record {
            Err(error) => Err(Reason::Key(KeyFault::Record(*error))),
            Ok(record) => check(content, signature, part, record, policy),
        };
        let record = record.as_ref().ok();
        match checked {
            Ok(()) => {
                told = None;
                describe_key(result, signature, record);
                break;
            }
            Err(reason) if told.as_ref().is_none_or(|(_, other)| other.is_none() && record.is_some()) => {
                told = Some((reason, record));
            }
            Err(_) => {}
        }
    }
    if let Some((reason, record)) = told {
        describe_key(result, signature, record);
        result.set(reason);
        if result.testing {
            // RFC 6376 §3.6.1: no different from a message that isn't signed.
            result.result = DkimResult::None;
        }
    }
}

fn describe_key(result: &mut SignatureResult, signature: &Signature, record: Option<&KeyRecord>) {
    let Some(record) = record else { return };
    result.testing = record.testing;
    result.key_bits = match usable(record, signature.core.algorithm) {
        Ok(key) => Some(key.bits()),
        Err(KeyFault::Weak(bits) | KeyFault::Large(bits)) => Some(bits),
        Err(_) => None,
    };
}

fn check(
    content: &Content,
    signature: &Signature,
    part: &Part<'_>,
    record: &KeyRecord,
    policy: &Policy,
) -> Result<(), Reason> {
    if record.strict && signature.identity.domain != signature.core.domain {
        return Err(Reason::Subdomain);
    }
    let unsigned = check_part(&content.header, &content.hashes, part, record, policy.service)?;
    if unsigned > 0 && policy.partial_body == PartialBody::Refuse {
        return Err(Reason::PartialBody(unsigned));
    }
    match policy.unsigned_field(&content.header, &signature.content) {
        Some(name) => Err(Reason::UnsignedField(name)),
        None => Ok(()),
    }
}

/// A signature over fields and a body: a DKIM-Signature, or an ARC-Message-Signature.
pub(crate) struct Part<'a> {
    pub(crate) core: &'a Core,
    pub(crate) content: &'a Signed,
    pub(crate) field: FieldNumber,
}

/// Checks a signature with a key (RFC 6376 §6.1.2 steps 6 to 8, §6.1.3). Gives how many octets of the body it
/// doesn't cover.
pub(crate) fn check_part(
    header: &Header,
    hashes: &BodyHashes,
    part: &Part<'_>,
    record: &KeyRecord,
    service: Service,
) -> Result<u64, Reason> {
    if !record.serves(service) {
        return Err(Reason::Key(KeyFault::Service));
    }
    let key = usable(record, part.core.algorithm)?;
    let hash = hashes.get(wanted(part.content)).ok_or(Reason::BodyTooShort)?;
    if part.content.body_hash != hash.digest {
        return Err(Reason::BodyHash);
    }
    let signed = signed_octets(header, part);
    if key.verifies(&signed, &part.core.signature) { Ok(hash.rest) } else { Err(Reason::Mismatch) }
}

/// What a signature is made over (RFC 6376 §3.7, hash step 2).
pub(crate) fn signed_octets(header: &Header, part: &Part<'_>) -> Vec<u8> {
    let mut signed = Vec::with_capacity(4096);
    let algorithm = part.content.canonicalization.header;
    for field in header.select(&part.content.fields) {
        write_field(&mut signed, field, algorithm, FieldEnd::LineBreak);
    }
    let own = header.get(part.field);
    write_field_without(&mut signed, own, part.core.signature_place.clone(), algorithm, FieldEnd::Nothing);
    signed
}

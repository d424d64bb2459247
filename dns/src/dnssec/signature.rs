//! Verifies the signatures of an RRset (RFC 4035 §5.3).

use hickory_proto::rr::Name;

use super::canonical::{signed_data, signed_name};
use super::keys::{Verification, ZoneKey};
use super::limits::Work;
use super::reason::Reason;
use super::sets::{Set, Signature};
use super::time;
use super::trace::SignatureSeen;

/// An RRset that a key of its zone signed.
#[derive(Clone, Debug)]
pub(super) struct Signed {
    /// What signed it.
    pub(super) signature: SignatureSeen,
    /// The closest encloser, where the records were made of a wildcard below it.
    pub(super) encloser: Option<Name>,
    /// Seconds for which it may be kept (RFC 4035 §5.3.3): the TTL of the records, that of the signature, the one
    /// that was signed, and the time that the signature has left, whichever is least.
    pub(super) ttl: u32,
}

/// What signatures are verified with.
#[derive(Clone, Copy)]
pub(super) struct Signer<'k> {
    pub(super) zone: &'k Name,
    pub(super) keys: &'k [ZoneKey],
    pub(super) verification: Verification,
    pub(super) now: u64,
}

/// Finds one signature that holds; one is enough (RFC 6840 §5.11, §5.12).
///
/// # Errors
/// What is wrong with the signature that came furthest.
pub(super) fn verify(set: &Set<'_>, signer: Signer<'_>, work: &Work<'_>) -> Result<Signed, Reason> {
    let mut worst = None;
    let mut keep = |reason: Reason| {
        if worst.as_ref().is_none_or(|known| progress(known) < progress(&reason)) {
            worst = Some(reason);
        }
    };
    let mut others = 0usize;
    for signature in set.signatures.iter().take(work.limits.set_signatures_max) {
        let input = signature.data.input();
        if &input.signer_name != signer.zone {
            others += 1;
            continue;
        }
        if !signer.verification.supports(u8::from(input.algorithm)) {
            keep(Reason::SignatureUnsupported {
                name: set.name.clone(),
                kind: set.kind,
                zone: signer.zone.clone(),
            });
            continue;
        }
        match one(set, signature, signer, work) {
            Ok(signed) => return Ok(signed),
            Err(limit @ Reason::Limit { .. }) => return Err(limit),
            Err(reason) => keep(reason),
        }
    }
    Err(worst.unwrap_or_else(|| match others {
        0 => Reason::SignatureMissing { name: set.name.clone(), kind: set.kind, zone: signer.zone.clone() },
        _ => Reason::SignatureMisfit {
            name: set.name.clone(),
            kind: set.kind,
            why: "another zone is the signer",
        },
    }))
}

/// How far a signature came before it failed.
fn progress(reason: &Reason) -> u8 {
    match reason {
        Reason::SignatureUnsupported { .. } => 0,
        Reason::SignatureMisfit { .. } => 1,
        Reason::KeyMissing { .. } => 2,
        Reason::SignatureNotYet { .. } | Reason::SignatureExpired { .. } => 3,
        _ => 4,
    }
}

fn one(
    set: &Set<'_>,
    signature: &Signature<'_>,
    signer: Signer<'_>,
    work: &Work<'_>,
) -> Result<Signed, Reason> {
    let input = signature.data.input();
    let (name, kind) = (set.name.clone(), set.kind);
    let misfit = |why| Reason::SignatureMisfit { name: set.name.clone(), kind: set.kind, why };
    if !signer.zone.zone_of(set.name) {
        return Err(misfit("the name isn't in the zone of the signer"));
    }
    let Some((owner, encloser)) = signed_name(set.name, input.num_labels) else {
        return Err(misfit("it is of a name with more labels"));
    };
    if encloser.as_ref().is_some_and(|encloser| !signer.zone.zone_of(encloser)) {
        return Err(misfit("it is of a wildcard above the zone of the signer"));
    }
    let left = time::until(input.sig_expiration.get(), signer.now);
    let expiration = time::absolute(input.sig_expiration.get(), signer.now);
    let inception = time::absolute(input.sig_inception.get(), signer.now);
    if left < 0 {
        return Err(Reason::SignatureExpired { name, kind, at: expiration });
    }
    if inception > signer.now {
        return Err(Reason::SignatureNotYet { name, kind, at: inception });
    }

    let algorithm = u8::from(input.algorithm);
    let mut data = None;
    let fitting = signer.keys.iter().filter(|key| key.tag == input.key_tag && key.algorithm == algorithm);
    for key in fitting.take(work.limits.tag_collisions_max) {
        let data = match &mut data {
            Some(data) => data,
            none => none.insert(
                signed_data(set, signature, &owner).map_err(|_| misfit("the records can't be encoded"))?,
            ),
        };
        work.verification()?;
        if signer.verification.verifies(&key.data, data, signature.data.sig()) {
            let left = u32::try_from(left).unwrap_or(u32::MAX);
            return Ok(Signed {
                signature: SignatureSeen {
                    signer: signer.zone.clone(),
                    tag: key.tag,
                    algorithm,
                    inception,
                    expiration,
                },
                encloser,
                ttl: set.ttl().min(signature.ttl).min(input.original_ttl).min(left),
            });
        }
        work.failure()?;
    }
    let (zone, tag) = (signer.zone.clone(), input.key_tag);
    Err(match data {
        None => Reason::KeyMissing { name, kind, zone, tag },
        Some(_) => Reason::SignatureWrong { name, kind, zone, tag },
    })
}

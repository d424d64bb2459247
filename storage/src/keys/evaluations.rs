//! Keys of evaluations of DMARC.

use super::{BadKey, Key, SYSTEM, bad, be32, be64, build, numbers, split, table, time, to_time};
use crate::evaluations::{EvaluationId, Group};
use crate::ids::BlobId;

/// Octets of a key behind the domain: a 0, time, blob and recipient.
const TAIL: usize = 1 + 8 + 8 + 4;

/// An evaluation.
pub fn evaluation(group: &Group, id: EvaluationId) -> Key {
    let mut key = evaluations(group);
    key.extend_from_slice(&time(id.time));
    key.extend_from_slice(&id.blob.0.to_be_bytes());
    key.extend_from_slice(&id.recipient.to_be_bytes());
    key
}

/// The prefix of all evaluations of one report. No domain has an octet 0.
pub fn evaluations(group: &Group) -> Key {
    build(SYSTEM, table::EVALUATION, &[&time(group.due), group.domain.as_bytes(), &[0]])
}

/// The report and the evaluation that a key names.
pub fn evaluation_parts(key: &[u8]) -> Result<(Group, EvaluationId), BadKey> {
    let (_, _, rest) = split(key)?;
    let parts = rest.split_first_chunk::<8>().and_then(|(due, rest)| {
        let (domain, tail) = rest.split_last_chunk::<TAIL>()?;
        let domain = std::str::from_utf8(domain).ok().filter(|domain| !domain.contains('\0'))?;
        (tail[0] == 0).then_some((due, domain, tail))
    });
    let (due, domain, tail) = parts.ok_or_else(|| bad(key))?;
    let group = Group { due: to_time(u64::from_be_bytes(*due)), domain: domain.into() };
    let id =
        EvaluationId { time: to_time(be64(tail, 1)), blob: BlobId(be64(tail, 9)), recipient: be32(tail, 17) };
    Ok((group, id))
}

/// An evaluation in the table by time.
pub fn evaluation_v1(id: EvaluationId) -> Key {
    let parts: [&[u8]; 3] = [&time(id.time), &id.blob.0.to_be_bytes(), &id.recipient.to_be_bytes()];
    build(SYSTEM, table::EVALUATION_V1, &parts)
}

/// The evaluation that a key of the table by time names.
pub fn evaluation_v1_parts(key: &[u8]) -> Result<EvaluationId, BadKey> {
    let [time, blob, recipient] = numbers(key, [8, 8, 4])?;
    let recipient = u32::try_from(recipient).map_err(|_| bad(key))?;
    Ok(EvaluationId { time: to_time(time), blob: BlobId(blob), recipient })
}

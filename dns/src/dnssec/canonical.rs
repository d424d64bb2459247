//! The octets that a signature is of (RFC 4034 §3.1.8.1 and §6), and names cut at labels.

use hickory_proto::ProtoError;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};

use super::sets::{Set, Signature};

/// How many labels a name has, `*` and all.
pub(super) fn labels(name: &Name) -> usize {
    name.iter().len()
}

/// `name` with a first label `*`.
pub(super) fn wildcard_of(name: &Name) -> Option<Name> {
    name.prepend_label("*").ok()
}

/// The longest name that both are at or below.
pub(super) fn common_ancestor(one: &Name, other: &Name) -> Name {
    let same = one
        .iter()
        .rev()
        .zip(other.iter().rev())
        .take_while(|(one, other)| one.eq_ignore_ascii_case(other))
        .count();
    one.trim_to(same)
}

/// Whether `name` is below `ancestor`, and not it.
pub(super) fn is_below(name: &Name, ancestor: &Name) -> bool {
    ancestor.zone_of(name) && labels(name) > labels(ancestor)
}

/// The name whose records are signed, and where they were made of a wildcard, the closest encloser that it is
/// below (RFC 4035 §5.3.2); none where the signature is of more labels than the name has.
pub(super) fn signed_name(name: &Name, signed_labels: u8) -> Option<(Name, Option<Name>)> {
    let own = name.num_labels();
    if signed_labels > own {
        return None;
    }
    if signed_labels == own {
        return Some((name.clone(), None));
    }
    let encloser = name.trim_to(usize::from(signed_labels));
    Some((wildcard_of(&encloser)?, Some(encloser)))
}

/// What `signature` signs: its own data without the signature, then each record once, in canonical order. `owner`
/// is the signed name.
pub(super) fn signed_data(
    set: &Set<'_>,
    signature: &Signature<'_>,
    owner: &Name,
) -> Result<Vec<u8>, ProtoError> {
    let mut data = Vec::with_capacity(512);
    encode(&mut data, signature.data.input())?;

    // What each record begins with, up to its length.
    let mut head = Vec::with_capacity(64);
    {
        let mut encoder = BinEncoder::new(&mut head);
        encoder.set_name_encoding(NameEncoding::UncompressedLowercase);
        owner.emit(&mut encoder)?;
    }
    head.extend_from_slice(&u16::from(set.kind).to_be_bytes());
    head.extend_from_slice(&1u16.to_be_bytes());
    head.extend_from_slice(&signature.data.input().original_ttl.to_be_bytes());

    let mut bodies = set.records.iter().map(|record| rdata(record)).collect::<Result<Vec<_>, _>>()?;
    bodies.sort_unstable();
    bodies.dedup();
    for body in &bodies {
        let length =
            u16::try_from(body.len()).map_err(|_| ProtoError::from("record data of over 65,535 octets"))?;
        data.extend_from_slice(&head);
        data.extend_from_slice(&length.to_be_bytes());
        data.extend_from_slice(body);
    }
    Ok(data)
}

/// The data of a record in canonical form (RFC 4034 §6.2, RFC 6840 §5.1).
fn rdata(record: &Record) -> Result<Vec<u8>, ProtoError> {
    let mut octets = Vec::new();
    match &record.data {
        // Types with names that the library keeps as plain octets. A length of a label is below 64, so it is never
        // taken for a letter.
        RData::Unknown { code, rdata } => {
            octets.extend_from_slice(&rdata.anything);
            if let Some(names) = names_from(*code).and_then(|start| octets.get_mut(start..)) {
                names.make_ascii_lowercase();
            }
        }
        data => encode(&mut octets, data)?,
    }
    Ok(octets)
}

/// Where the names begin in data of a type that ends with names to be lowered.
fn names_from(kind: RecordType) -> Option<usize> {
    match u16::from(kind) {
        // MD, MF, MB, MG, MR, MINFO, RP, DNAME
        3 | 4 | 7 | 8 | 9 | 14 | 17 | 39 => Some(0),
        // AFSDB, RT, PX, KX
        18 | 21 | 26 | 36 => Some(2),
        _ => None,
    }
}

fn encode(octets: &mut Vec<u8>, data: &impl BinEncodable) -> Result<(), ProtoError> {
    let mut encoder = BinEncoder::new(octets);
    encoder.set_canonical_form(true);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    data.emit(&mut encoder)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    #[test]
    fn wildcards_are_told_by_the_labels_of_the_signature() {
        let owner = name("a.b.example.");
        assert_eq!(signed_name(&owner, 3), Some((owner.clone(), None)));
        assert_eq!(signed_name(&owner, 1), Some((name("*.example."), Some(name("example.")))));
        assert_eq!(signed_name(&owner, 0), Some((name("*."), Some(Name::root()))));
        assert_eq!(signed_name(&owner, 4), None);
        // The wildcard itself was asked for: nothing was expanded.
        let wildcard = name("*.b.example.");
        assert_eq!(signed_name(&wildcard, 2), Some((wildcard.clone(), None)));
    }

    #[test]
    fn names_are_compared_without_case() {
        assert_eq!(common_ancestor(&name("a.B.example."), &name("c.b.EXAMPLE.")), name("b.example."));
        assert_eq!(common_ancestor(&name("a.example."), &name("b.test.")), Name::root());
        assert!(is_below(&name("a.Example."), &name("example.")));
        assert!(!is_below(&name("example."), &name("example.")));
    }
}

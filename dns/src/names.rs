//! Names: what the library's type leaves to its users.

use hickory_proto::rr::{Name, RData, RecordType};

/// The target of a DNAME (RFC 6672 §2.1), which the library gives as octets only; none for other records and
/// for data that is no uncompressed name.
///
/// RFC 6672 §2.5: the target must not be compressed, so octets are enough.
#[must_use]
pub(crate) fn dname_target(data: &RData) -> Option<Name> {
    let RData::Unknown { code: RecordType::DNAME, rdata } = data else { return None };
    let mut rest = rdata.anything.as_slice();
    let mut labels = Vec::new();
    loop {
        let (length, after) = rest.split_first()?;
        match usize::from(*length) {
            0 if after.is_empty() => break,
            length @ 1..=63 => {
                let (label, after) = after.split_at_checked(length)?;
                labels.push(label);
                rest = after;
            }
            _ => return None,
        }
    }
    let mut name = Name::from_labels(labels).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// `name`, which lies below `end`, with `other` in the place of `end` (RFC 6672 §2.2). None when it doesn't
/// lie below, or when the result is too long.
#[must_use]
pub(crate) fn replace_end(name: &Name, end: &Name, other: &Name) -> Option<Name> {
    if name == end || !end.zone_of(name) {
        return None;
    }
    let kept = usize::from(wire_labels(name)).checked_sub(usize::from(wire_labels(end)))?;
    let mut made = Name::from_labels(name.iter().take(kept).chain(other.iter())).ok()?;
    made.set_fqdn(true);
    Some(made)
}

/// Labels without the root, a wildcard's asterisk included (the library's own count leaves it out).
#[must_use]
pub(crate) fn wire_labels(name: &Name) -> u8 {
    u8::try_from(name.iter().count()).unwrap_or(u8::MAX)
}

//! Trust anchors: the keys that every chain of trust starts at (RFC 4033 §2).

mod rollover;
mod text;

use std::collections::BTreeMap;

use hickory_proto::dnssec::rdata::DS;
use hickory_proto::dnssec::{Algorithm, DigestType};
use hickory_proto::rr::Name;

pub use rollover::{KeyState, Observation, Rollover, RolloverChange, StateError};
pub use text::{AnchorError, AnchorFault};

use super::keys::Voucher;

/// Key signing keys of the root zone, as IANA publishes them (RFC 9718): tag and SHA-256 digest. Both are of
/// algorithm 8 (RSASHA256).
const ROOT: [(u16, [u8; 32]); 2] = [
    (
        20326,
        [
            0xe0, 0x6d, 0x44, 0xb8, 0x0b, 0x8f, 0x1d, 0x39, 0xa9, 0x5c, 0x0b, 0x0d, 0x7c, 0x65, 0xd0, 0x84,
            0x58, 0xe8, 0x80, 0x40, 0x9b, 0xbc, 0x68, 0x34, 0x57, 0x10, 0x42, 0x37, 0xc7, 0xf8, 0xec, 0x8d,
        ],
    ),
    (
        38696,
        [
            0x68, 0x3d, 0x2d, 0x0a, 0xcb, 0x8c, 0x9b, 0x71, 0x2a, 0x19, 0x48, 0xb2, 0x7f, 0x74, 0x12, 0x19,
            0x29, 0x8d, 0x0a, 0x45, 0x0d, 0x61, 0x2c, 0x48, 0x3a, 0xf4, 0x44, 0xa4, 0xc0, 0xfb, 0x2b, 0x16,
        ],
    ),
];

/// What is trusted without a signature: keys, or digests of keys, by zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustAnchors {
    zones: BTreeMap<Name, Vec<Voucher>>,
}

impl TrustAnchors {
    /// No anchors: nothing can be secure.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The keys of the root zone that this program was built with.
    #[must_use]
    pub fn built_in() -> Self {
        let digest = |(tag, digest): &(u16, [u8; 32])| {
            Voucher::Digest(DS::new(*tag, Algorithm::RSASHA256, DigestType::SHA256, digest.to_vec()))
        };
        Self { zones: BTreeMap::from([(Name::root(), ROOT.iter().map(digest).collect())]) }
    }

    /// Reads DS and DNSKEY records in presentation form, as `unbound-anchor`, `dig` and IANA's files have them:
    /// owner, optional TTL and class, type, data; comments from `;` on, parentheses over several lines.
    ///
    /// # Errors
    /// Says the line and what is wrong with it, or that there is no record.
    pub fn parse(text: &str) -> Result<Self, AnchorError> {
        text::parse(text)
    }

    /// The zones that there are anchors of, the root first.
    pub fn zones(&self) -> impl Iterator<Item = &Name> {
        self.zones.keys()
    }

    /// Tags of the trusted keys of a zone.
    pub fn tags(&self, zone: &Name) -> impl Iterator<Item = u16> {
        self.zones.get(zone).into_iter().flatten().map(Voucher::tag)
    }

    /// Trusts what `voucher` vouches for, once.
    fn add(&mut self, zone: Name, voucher: Voucher) {
        let vouchers = self.zones.entry(zone).or_default();
        if !vouchers.contains(&voucher) {
            vouchers.push(voucher);
        }
    }

    /// The closest zone at or above a name that has anchors.
    pub(super) fn closest(&self, name: &Name) -> Option<(&Name, &[Voucher])> {
        let above = self.zones.iter().filter(|(zone, _)| zone.zone_of(name));
        above
            .max_by_key(|(zone, _)| super::canonical::labels(zone))
            .map(|(zone, vouchers)| (zone, &vouchers[..]))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use hickory_proto::dnssec::rdata::DNSKEY;

    use super::*;

    #[test]
    fn the_built_in_digests_are_those_of_the_keys_of_the_root() {
        let keys = hickory_proto::dnssec::TrustAnchors::default();
        let anchors = TrustAnchors::built_in();
        let (zone, vouchers) = anchors.closest(&Name::root()).unwrap();
        assert!(zone.is_root());
        for (at, voucher) in vouchers.iter().enumerate() {
            let key = DNSKEY::with_flags(257, keys.get(at).unwrap().clone());
            assert_eq!(key.calculate_key_tag().unwrap(), voucher.tag());
            let Voucher::Digest(ds) = voucher else { panic!("a digest") };
            assert_eq!(key.to_digest(&Name::root(), DigestType::SHA256).unwrap().as_ref(), ds.digest());
        }
        assert_eq!(vouchers.len(), keys.len());
    }

    #[test]
    fn the_closest_anchor_counts() {
        let text = "example. DS 1 8 2 0000000000000000000000000000000000000000000000000000000000000000\n\
                    . DS 2 8 2 0000000000000000000000000000000000000000000000000000000000000000\n\
                    a.example. DS 3 8 2 0000000000000000000000000000000000000000000000000000000000000000";
        let anchors = TrustAnchors::parse(text).unwrap();
        let tag_for = |name: &str| anchors.closest(&Name::from_ascii(name).unwrap()).unwrap().1[0].tag();
        assert_eq!(tag_for("b.A.example."), 3);
        assert_eq!(tag_for("a.example."), 3);
        assert_eq!(tag_for("b.example."), 1);
        assert_eq!(tag_for("test."), 2);
        assert_eq!(TrustAnchors::none().closest(&Name::root()), None);
    }
}

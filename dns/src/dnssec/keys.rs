//! Keys of zones, the DS records that vouch for them, and which algorithms are believed.

use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData, DS};
use hickory_proto::dnssec::{DigestType, PublicKey};
use hickory_proto::rr::{Name, RData, Record};

use super::limits::Work;
use super::reason::Reason;
use super::trace::{DigestSeen, KeySeen};

/// Bits of an RSA modulus that are believed: what signs is no weaker than 1,024 bits, and RFC 5702 §2 allows no
/// more than 4,096, which bounds what a verification costs.
const RSA_BITS: std::ops::RangeInclusive<usize> = 1024..=4096;

/// How signatures are verified.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Verification {
    /// Takes signatures of algorithms that are too weak for use as good, and looks at no key sizes: conformance
    /// data from before 2010 has no others.
    #[cfg(test)]
    pub(super) weak_count_as_good: bool,
}

impl Verification {
    /// Whether signatures of an algorithm are verified. The others count as no signatures at all: a zone that has
    /// no others is unsigned.
    ///
    /// RSASHA1 (5) and RSASHA1-NSEC3-SHA1 (7) are not: RFC 9905 §2 wants them treated as unsupported.
    pub(super) fn supports(self, algorithm: u8) -> bool {
        #[cfg(test)]
        if self.weak_count_as_good && is_weak(algorithm) {
            return true;
        }
        matches!(algorithm, 8 | 10 | 13 | 14 | 15)
    }

    /// Whether signatures by this key are verified.
    pub(super) fn supports_key(self, key: &DNSKEY) -> bool {
        let algorithm = u8::from(key.public_key().algorithm());
        #[cfg(test)]
        if self.weak_count_as_good {
            return self.supports(algorithm);
        }
        let sized = match algorithm {
            8 | 10 => rsa_bits(key.public_key().public_bytes()).is_some_and(|bits| RSA_BITS.contains(&bits)),
            _ => true,
        };
        sized && self.supports(algorithm)
    }

    pub(super) fn verifies(self, key: &DNSKEY, data: &[u8], signature: &[u8]) -> bool {
        #[cfg(test)]
        if self.weak_count_as_good && is_weak(u8::from(key.public_key().algorithm())) {
            return true;
        }
        key.public_key().verify(data, signature).is_ok()
    }
}

#[cfg(test)]
fn is_weak(algorithm: u8) -> bool {
    matches!(algorithm, 3 | 5 | 6 | 7)
}

/// Bits of the modulus of an RSA key (RFC 3110 §2).
pub(super) fn rsa_bits(key: &[u8]) -> Option<usize> {
    let (start, exponent): (usize, usize) = match key {
        [0, high, low, ..] => (3, usize::from(u16::from_be_bytes([*high, *low]))),
        [length, ..] => (1, usize::from(*length)),
        [] => return None,
    };
    let modulus = key.get(start.checked_add(exponent)?..)?;
    let leading = modulus.iter().position(|octet| *octet != 0)?;
    Some((modulus.len() - leading) * 8 - modulus[leading].leading_zeros() as usize)
}

/// A key that a zone may sign with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ZoneKey {
    pub(super) tag: u16,
    pub(super) algorithm: u8,
    pub(super) data: DNSKEY,
}

impl ZoneKey {
    pub(super) fn of(data: &DNSKEY) -> Option<Self> {
        let tag = data.calculate_key_tag().ok()?;
        Some(Self { tag, algorithm: u8::from(data.public_key().algorithm()), data: data.clone() })
    }
}

/// A zone whose keys are known to be its own.
#[derive(Debug)]
pub(super) struct Zone {
    pub(super) name: Name,
    pub(super) keys: Vec<ZoneKey>,
}

/// The keys in records of a DNSKEY RRset.
pub(super) fn keys_in<'m>(records: impl IntoIterator<Item = &'m Record>) -> impl Iterator<Item = &'m DNSKEY> {
    records.into_iter().filter_map(|record| match &record.data {
        RData::DNSSEC(DNSSECRData::DNSKEY(key)) => Some(key),
        _ => None,
    })
}

/// The DS data in records of a DS RRset.
pub(super) fn digests_in<'m>(records: impl IntoIterator<Item = &'m Record>) -> impl Iterator<Item = &'m DS> {
    records.into_iter().filter_map(|record| match &record.data {
        RData::DNSSEC(DNSSECRData::DS(ds)) => Some(ds),
        _ => None,
    })
}

/// What vouches for a key of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Voucher {
    /// Its digest.
    Digest(DS),
    /// The key itself; a trust anchor may be one.
    Key(ZoneKey),
}

impl Voucher {
    pub(super) fn tag(&self) -> u16 {
        match self {
            Self::Digest(ds) => ds.key_tag(),
            Self::Key(key) => key.tag,
        }
    }

    pub(super) fn algorithm(&self) -> u8 {
        match self {
            Self::Digest(ds) => u8::from(ds.algorithm()),
            Self::Key(key) => key.algorithm,
        }
    }

    /// How it is told of in a trace.
    pub(super) fn seen(&self, verification: Verification) -> DigestSeen {
        let (digest, known) = match self {
            Self::Digest(ds) => (Some(u8::from(ds.digest_type())), ds.digest_type().is_supported()),
            Self::Key(_) => (None, true),
        };
        let supported = known && verification.supports(self.algorithm());
        DigestSeen { tag: self.tag(), algorithm: self.algorithm(), digest, supported }
    }

    /// Whether it vouches for a key, flags aside.
    pub(super) fn vouches(&self, zone: &Name, key: &ZoneKey, work: &Work<'_>) -> Result<bool, Reason> {
        if self.tag() != key.tag || self.algorithm() != key.algorithm {
            return Ok(false);
        }
        match self {
            Self::Key(own) => Ok(own.data.public_key() == key.data.public_key()),
            Self::Digest(ds) => {
                work.digest()?;
                let digest = key.data.to_digest(zone, ds.digest_type());
                Ok(digest.is_ok_and(|digest| digest.as_ref() == ds.digest()))
            }
        }
    }
}

/// The vouchers that count: those of supported algorithms and digests, and digests of SHA-1 only where there is
/// none that is better (RFC 4509 §3). An error when none is left: the zone is unsigned then.
pub(super) fn usable(
    zone: &Name,
    all: &[Voucher],
    verification: Verification,
    max: usize,
) -> Result<Vec<Voucher>, Reason> {
    let known = |voucher: &&Voucher| match voucher {
        Voucher::Digest(ds) => ds.digest_type().is_supported(),
        Voucher::Key(_) => true,
    };
    let sha1 =
        |voucher: &Voucher| matches!(voucher, Voucher::Digest(ds) if ds.digest_type() == DigestType::SHA1);
    let by_algorithm: Vec<_> =
        all.iter().filter(|voucher| verification.supports(voucher.algorithm())).collect();
    if by_algorithm.is_empty() {
        let mut algorithms: Vec<_> = all.iter().map(Voucher::algorithm).collect();
        algorithms.sort_unstable();
        algorithms.dedup();
        return Err(Reason::UnsupportedAlgorithm { zone: zone.clone(), algorithms });
    }
    let mut usable: Vec<_> = by_algorithm.iter().copied().filter(known).cloned().collect();
    if usable.is_empty() {
        let mut digests: Vec<_> =
            by_algorithm.iter().filter_map(|voucher| voucher.seen(verification).digest).collect();
        digests.sort_unstable();
        digests.dedup();
        return Err(Reason::UnsupportedDigest { zone: zone.clone(), digests });
    }
    if usable.iter().any(|voucher| !sha1(voucher)) {
        usable.retain(|voucher| !sha1(voucher));
    }
    usable.truncate(max);
    Ok(usable)
}

/// The keys that are vouched for, among those of the zone.
///
/// # Errors
/// When there is none: broken. When those that are vouched for have a size that isn't supported: unsigned, as with
/// an algorithm that isn't.
pub(super) fn vouched<'k>(
    zone: &Name,
    keys: &'k [ZoneKey],
    vouchers: &[Voucher],
    said_by: &'static str,
    verification: Verification,
    work: &Work<'_>,
) -> Result<Vec<&'k ZoneKey>, Reason> {
    let mut found: Vec<&'k ZoneKey> = Vec::new();
    let mut unmarked = None;
    let mut unsupported = Vec::new();
    for voucher in vouchers {
        for key in keys {
            if found.iter().any(|known| std::ptr::eq(*known, key)) || !voucher.vouches(zone, key, work)? {
                continue;
            }
            if !key.data.zone_key() {
                unmarked = Some(key.tag);
            } else if !verification.supports_key(&key.data) {
                unsupported.push(key.algorithm);
            } else if !key.data.revoke() {
                found.push(key);
            }
        }
    }
    if !found.is_empty() {
        return Ok(found);
    }
    if !unsupported.is_empty() {
        return Err(Reason::UnsupportedAlgorithm { zone: zone.clone(), algorithms: unsupported });
    }
    if let Some(tag) = unmarked {
        return Err(Reason::KeyNoZone { zone: zone.clone(), said_by, tag });
    }
    let wanted = vouchers.iter().map(Voucher::tag).collect();
    Err(Reason::KeysUnmatched { zone: zone.clone(), said_by, wanted })
}

/// How a key is told of in a trace.
pub(super) fn seen(key: &ZoneKey, verification: Verification) -> KeySeen {
    KeySeen {
        tag: key.tag,
        algorithm: key.algorithm,
        entry_point: key.data.secure_entry_point(),
        zone_key: key.data.zone_key(),
        revoked: key.data.revoke(),
        supported: verification.supports_key(&key.data),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_an_rsa_key_is_that_of_its_modulus() {
        let mut key = vec![3, 1, 0, 1];
        key.extend([0x80; 256]);
        assert_eq!(rsa_bits(&key), Some(2048));
        key[4] = 0x01;
        assert_eq!(rsa_bits(&key), Some(2041));
        let mut long = vec![0, 0, 3, 1, 0, 1, 0];
        long.extend([0xff; 64]);
        assert_eq!(rsa_bits(&long), Some(512), "an exponent whose length takes three octets, a leading zero");
        assert_eq!(rsa_bits(&[]), None);
        assert_eq!(rsa_bits(&[5, 1]), None, "shorter than its exponent");
        assert_eq!(rsa_bits(&[1, 3]), None, "no modulus");
    }
}

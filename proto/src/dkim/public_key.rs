//! The numbers of an RSA public key in DER, in either of the forms in which domains publish it.
//!
//! RFC 6376 §3.6.1 names RSAPublicKey, and its examples (Appendix C) are SubjectPublicKeyInfo: both are in
//! use.

/// An RSA public key: its numbers in big-endian order without leading zeros.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RsaPublicKey<'a> {
    /// The modulus.
    pub modulus: &'a [u8],
    /// The public exponent.
    pub exponent: &'a [u8],
}

/// Algorithm identifier of rsaEncryption with parameters NULL (RFC 3279 §2.3.1), content of its SEQUENCE.
const RSA_ENCRYPTION: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

impl<'a> RsaPublicKey<'a> {
    /// Reads DER of RSAPublicKey (RFC 8017 §A.1.1) or of SubjectPublicKeyInfo (RFC 5280 §4.1.2.7) of one.
    #[must_use]
    pub fn parse(der: &'a [u8]) -> Option<Self> {
        let content = all(SEQUENCE, der)?;
        if content.first() == Some(&INTEGER) {
            return Self::numbers(content);
        }
        let (algorithm, rest) = value(SEQUENCE, content)?;
        if algorithm != RSA_ENCRYPTION {
            return None;
        }
        // No unused bits.
        let key = all(BIT_STRING, rest)?.strip_prefix(&[0])?;
        Self::numbers(all(SEQUENCE, key)?)
    }

    fn numbers(content: &'a [u8]) -> Option<Self> {
        let (modulus, rest) = positive(content)?;
        let (exponent, rest) = positive(rest)?;
        rest.is_empty().then_some(Self { modulus, exponent })
    }

    /// Bits of the modulus.
    #[must_use]
    pub fn bits(&self) -> u32 {
        let zeros = self.modulus.first().map_or(0, |byte| byte.leading_zeros());
        u32::try_from(self.modulus.len()).unwrap_or(u32::MAX / 8).min(u32::MAX / 8) * 8 - zeros
    }
}

/// A positive INTEGER and what follows it.
fn positive(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (content, rest) = value(INTEGER, der)?;
    let number = match content {
        [0, second, ..] if *second >= 0x80 => &content[1..],
        [first, ..] if (1..0x80).contains(first) => content,
        _ => return None,
    };
    Some((number, rest))
}

/// The content of a value that is all there is.
fn all(tag: u8, der: &[u8]) -> Option<&[u8]> {
    value(tag, der).and_then(|(content, rest)| rest.is_empty().then_some(content))
}

/// The content of a value, and what follows it. Lengths over 65,535 octets are refused.
fn value(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match der {
        [first, length, rest @ ..] if *first == tag && *length < 0x80 => (usize::from(*length), rest),
        [first, 0x81, length, rest @ ..] if *first == tag && *length >= 0x80 => (usize::from(*length), rest),
        [first, 0x82, high, low, rest @ ..] if *first == tag && *high > 0 => {
            (usize::from(u16::from_be_bytes([*high, *low])), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use super::super::tags::base64;
    use super::*;

    /// The key of RFC 6376 Appendix C.
    const PUBLIC_KEY_INFO: &str = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1\
        fWn7/zYtIxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhi\
        tdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB";

    #[test]
    fn both_forms_of_a_key_are_the_same_key() {
        let der = base64(PUBLIC_KEY_INFO).unwrap();
        let key = RsaPublicKey::parse(&der).unwrap();
        assert_eq!((key.bits(), key.exponent), (1024, &[1, 0, 1][..]));
        // What is wrapped begins after two headers and the algorithm.
        let bare = &der[22..];
        assert_eq!(RsaPublicKey::parse(bare), Some(key));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let der = base64(PUBLIC_KEY_INFO).unwrap();
        for length in 0..der.len() {
            assert_eq!(RsaPublicKey::parse(&der[..length]), None, "cut at {length}");
        }
        assert_eq!(RsaPublicKey::parse(&[der.as_slice(), &[0]].concat()), None);
        for bad in [
            &[0x30, 6, 2, 1, 0, 2, 1, 3][..],
            &[0x30, 6, 2, 1, 0x80, 2, 1, 3],
            &[0x30, 0x80, 2, 1, 1, 2, 1, 3],
            &[0x30, 0x81, 6, 2, 1, 1, 2, 1, 3],
            &[0x30, 9, 2, 1, 1, 2, 1, 3, 2, 1, 1],
            &[0x30, 7, 2, 2, 0, 1, 2, 1, 3],
        ] {
            assert_eq!(RsaPublicKey::parse(bad), None, "{bad:?}");
        }
        assert_eq!(RsaPublicKey::parse(&[0x30, 6, 2, 1, 5, 2, 1, 3]).unwrap().bits(), 3);
    }

    #[test]
    fn fuzz_no_octets_are_read_that_are_not_there() {
        let der = base64(PUBLIC_KEY_INFO).unwrap();
        let mut state = 0x1234_5678_9abc_def1u64;
        let mut below = |bound: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % bound as u64) as usize
        };
        let mut keys = 0;
        for _ in 0..20_000 {
            let mut octets = der.clone();
            let at = below(36);
            octets[at] = below(256) as u8;
            octets.truncate(octets.len() - below(3).saturating_sub(1));
            keys += usize::from(RsaPublicKey::parse(&octets).is_some_and(|key| key.bits() <= 1024));
        }
        assert!(keys > 100, "{keys}");
    }
}

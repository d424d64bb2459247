//! What of a certificate DANE looks at, in place (RFC 5280 §4.1).
//!
//! Usage DANE-EE(3) takes certificates that a validator of chains refuses: of version 1, expired, of an
//! authority. So they are read here, with nothing required that isn't needed. Chains are left to `rustls`.

use super::NAMES_MAX;

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// `[0]` and `[3]`, constructed: version and extensions.
const CONTEXT_0: u8 = 0xa0;
const CONTEXT_3: u8 = 0xa3;
/// `[2]`, a dNSName among general names.
const DNS_NAME: u8 = 0x82;

/// id-ce-subjectAltName, id-ce-basicConstraints, id-at-commonName.
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// A certificate, as slices of its octets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Certificate<'a> {
    /// Content of the issuer, without tag and length.
    pub issuer: &'a [u8],
    /// The whole SubjectPublicKeyInfo.
    pub key: &'a [u8],
    /// Seconds since 1970, both ends included.
    pub valid: (i64, i64),
    subject: &'a [u8],
    extensions: &'a [u8],
}

/// A public key (RFC 5280 §4.1.2.7).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key<'a> {
    /// Content of the AlgorithmIdentifier.
    pub algorithm: &'a [u8],
    /// The key itself.
    pub bits: &'a [u8],
}

/// Takes one element off `input`: its content and all of it. Lengths take the shortest form (DER).
fn element<'a>(input: &mut &'a [u8], tag: u8) -> Option<(&'a [u8], &'a [u8])> {
    let whole = *input;
    let [first, length, rest @ ..] = whole else { return None };
    if *first != tag {
        return None;
    }
    let (length, rest) = match *length {
        short @ 0..=0x7f => (usize::from(short), rest),
        0x81 => {
            let (length, rest) = rest.split_first()?;
            (usize::from(*length).checked_sub(0x80)? + 0x80, rest)
        }
        0x82 => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*length)).checked_sub(0x100)? + 0x100, rest)
        }
        // No certificate in use is over 64 KiB, and none that is a handshake's.
        _ => return None,
    };
    let (content, after) = rest.split_at_checked(length)?;
    *input = after;
    Some((content, &whole[..whole.len() - after.len()]))
}

fn content<'a>(input: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    element(input, tag).map(|(content, _)| content)
}

impl<'a> Certificate<'a> {
    /// Reads a certificate. None when it isn't one.
    pub fn parse(der: &'a [u8]) -> Option<Self> {
        let mut input = der;
        let mut outer = content(&mut input, SEQUENCE)?;
        if !input.is_empty() {
            return None;
        }
        let mut inner = content(&mut outer, SEQUENCE)?;
        content(&mut outer, SEQUENCE)?;
        content(&mut outer, BIT_STRING)?;
        if inner.first() == Some(&CONTEXT_0) {
            content(&mut inner, CONTEXT_0)?;
        }
        content(&mut inner, INTEGER)?;
        content(&mut inner, SEQUENCE)?;
        let issuer = content(&mut inner, SEQUENCE)?;
        let mut validity = content(&mut inner, SEQUENCE)?;
        let valid = (time(&mut validity)?, time(&mut validity)?);
        let subject = content(&mut inner, SEQUENCE)?;
        let (_, key) = element(&mut inner, SEQUENCE)?;
        Key::parse(key)?;
        // Unique identifiers may come between; nobody uses them.
        let mut extensions: &[u8] = &[];
        while let Some(&tag) = inner.first() {
            let found = content(&mut inner, tag)?;
            if tag == CONTEXT_3 {
                extensions = content(&mut { found }, SEQUENCE)?;
            }
        }
        Some(Self { issuer, key, valid, subject, extensions })
    }

    /// The value of an extension.
    fn extension(&self, identifier: &[u8]) -> Option<&'a [u8]> {
        let mut list = self.extensions;
        while !list.is_empty() {
            let mut extension = content(&mut list, SEQUENCE)?;
            let found = content(&mut extension, OBJECT_IDENTIFIER)?;
            if extension.first() == Some(&BOOLEAN) {
                content(&mut extension, BOOLEAN)?;
            }
            if found == identifier {
                return content(&mut extension, OCTET_STRING);
            }
        }
        None
    }

    /// The DNS names that it is for: of its alternative names; where there is none, the common name
    /// (RFC 7672 §3.2.3). At most [`NAMES_MAX`].
    pub fn names(&self) -> Vec<&'a [u8]> {
        let mut names = Vec::new();
        if let Some(mut value) = self.extension(SUBJECT_ALTERNATIVE_NAME)
            && let Some(mut list) = content(&mut value, SEQUENCE)
        {
            while let Some(&tag) = list.first()
                && let Some(name) = content(&mut list, tag)
                && names.len() < NAMES_MAX
            {
                if tag == DNS_NAME {
                    names.push(name);
                }
            }
        }
        if names.is_empty() {
            names.extend(self.common_name());
        }
        names
    }

    /// The most specific common name: the last.
    fn common_name(&self) -> Option<&'a [u8]> {
        let mut found = None;
        let mut subject = self.subject;
        while let Some(mut set) = content(&mut subject, SET) {
            while let Some(mut attribute) = content(&mut set, SEQUENCE) {
                let is_name = content(&mut attribute, OBJECT_IDENTIFIER) == Some(COMMON_NAME);
                if is_name && let Some(&tag) = attribute.first() {
                    found = content(&mut attribute, tag);
                }
            }
        }
        found
    }

    /// How many authorities may stand between this one and the certificate at the end of the chain; none
    /// when it doesn't say (RFC 5280 §4.2.1.9).
    pub fn path_length_max(&self) -> Option<usize> {
        let mut value = self.extension(BASIC_CONSTRAINTS)?;
        let mut constraints = content(&mut value, SEQUENCE)?;
        content(&mut constraints, BOOLEAN)?;
        let number = content(&mut constraints, INTEGER)?;
        match number {
            [] => None,
            [octet @ 0..0x80] => Some(usize::from(*octet)),
            // Over 127 is as good as no bound, for a chain that is bounded anyway.
            [..] => None,
        }
    }
}

impl<'a> Key<'a> {
    /// Reads a SubjectPublicKeyInfo. None when it isn't one.
    pub fn parse(der: &'a [u8]) -> Option<Self> {
        let mut input = der;
        let mut inner = content(&mut input, SEQUENCE)?;
        if !input.is_empty() {
            return None;
        }
        let algorithm = content(&mut inner, SEQUENCE)?;
        // A bit string begins with the number of unused bits; keys are whole octets.
        let bits = content(&mut inner, BIT_STRING)?.strip_prefix(&[0])?;
        inner.is_empty().then_some(Self { algorithm, bits })
    }
}

/// The content of a SubjectPublicKeyInfo, without tag and length.
pub(crate) fn without_tag(der: &[u8]) -> Option<&[u8]> {
    content(&mut { der }, SEQUENCE)
}

/// A time (RFC 5280 §4.1.2.5), in seconds since 1970.
fn time(input: &mut &[u8]) -> Option<i64> {
    let (digits, year_digits) = match *input.first()? {
        UTC_TIME => (content(input, UTC_TIME)?, 2),
        GENERALIZED_TIME => (content(input, GENERALIZED_TIME)?, 4),
        _ => return None,
    };
    let digits = digits.strip_suffix(b"Z")?;
    if digits.len() != year_digits + 10 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |part: &[u8]| part.iter().fold(0_i64, |value, digit| value * 10 + i64::from(digit - b'0'));
    let (year, rest) = digits.split_at(year_digits);
    let year = match (year_digits, number(year)) {
        // RFC 5280 §4.1.2.5.1: two digits are of 1950 to 2049.
        (2, year @ 50..) => 1900 + year,
        (2, year) => 2000 + year,
        (_, year) => year,
    };
    let [month, day, hour, minute, second] =
        [0, 2, 4, 6, 8].map(|at| number(rest.get(at..at + 2).unwrap_or_default()));
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some(((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

/// Days from 1970-01-01 to a date. A year begins in March here, so that the leap day is its last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leaps + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_since_1970() {
        let read = |tag: u8, text: &str| {
            let mut der = vec![tag, u8::try_from(text.len()).unwrap_or(0)];
            der.extend_from_slice(text.as_bytes());
            time(&mut der.as_slice())
        };
        assert_eq!(read(UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(read(UTC_TIME, "491231235959Z"), Some(2_524_607_999));
        assert_eq!(read(UTC_TIME, "500101000000Z"), Some(-631_152_000));
        assert_eq!(read(GENERALIZED_TIME, "20000229120000Z"), Some(951_825_600));
        assert_eq!(read(GENERALIZED_TIME, "20240301000000Z"), Some(1_709_251_200));
        assert_eq!(read(GENERALIZED_TIME, "99991231235959Z"), Some(253_402_300_799));
        for text in [
            "700101000000",
            "701301000000Z",
            "700100000000Z",
            "700101240000Z",
            "7001010000Z",
            "70010100000-Z",
        ] {
            assert_eq!(read(UTC_TIME, text), None, "{text}");
        }
    }

    #[test]
    fn elements_are_read_within_their_bounds() {
        let mut input: &[u8] = &[0x30, 0x02, 1, 2, 9];
        assert_eq!(element(&mut input, SEQUENCE), Some((&[1_u8, 2][..], &[0x30_u8, 2, 1, 2][..])));
        assert_eq!(input, [9]);
        for bad in [
            &[0x30_u8][..],
            &[],
            &[0x30, 3, 1, 2],
            &[0x31, 0],
            &[0x30, 0x81, 0x7f],
            &[0x30, 0x82, 0, 0xff],
            &[0x30, 0x80, 0, 0],
        ] {
            assert_eq!(element(&mut { bad }, SEQUENCE), None, "{bad:?}");
        }
    }
}

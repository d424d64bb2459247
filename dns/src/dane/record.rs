//! TLSA records: which can be used, and what of the certificates they are about.

use std::fmt;

use hickory_proto::rr::rdata::TLSA;
use ring::digest::{SHA256, SHA512, digest};

use super::ASSOCIATIONS_MAX;
use super::certificate::{Certificate, Key};

/// Certificate usage (RFC 6698 §2.1.1), of those that SMTP has a use for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Usage {
    /// DANE-TA(2): an authority that issued the certificate.
    Authority,
    /// DANE-EE(3): the certificate that the server shows.
    EndEntity,
}

/// What is compared (RFC 6698 §2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// Cert(0).
    Certificate,
    /// SPKI(1).
    Key,
}

/// How it is compared (RFC 6698 §2.1.3), weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Matching {
    /// Full(0).
    Full,
    /// SHA2-256(1).
    Sha256,
    /// SHA2-512(2).
    Sha512,
}

/// Why a record can't be used (RFC 6698 §4.1, RFC 7671 §9, RFC 7672 §3.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unusable {
    /// PKIX-TA(0) or PKIX-EE(1): of no use between mail servers (RFC 7672 §3.1.3).
    #[error("certificate usage {0} needs public authorities, which mail servers don't rely on")]
    PublicAuthorities(u8),
    /// A certificate usage that isn't assigned.
    #[error("certificate usage {0} is unknown")]
    Usage(u8),
    /// A selector that isn't assigned.
    #[error("selector {0} is unknown")]
    Selector(u8),
    /// A matching type that isn't assigned.
    #[error("matching type {0} is unknown")]
    Matching(u8),
    /// A digest of the wrong length.
    #[error("a digest of {0} octets has the wrong length")]
    Length(usize),
    /// Full data that is no certificate.
    #[error("its data is no certificate")]
    Certificate,
    /// Full data that is no public key.
    #[error("its data is no public key")]
    Key,
}

/// A record that can be used.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Association {
    pub(crate) usage: Usage,
    pub(crate) part: Part,
    pub(crate) matching: Matching,
    pub(crate) data: Box<[u8]>,
}

impl fmt::Debug for Association {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As in a master file, a long value cut.
impl fmt::Display for Association {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Octets that tell one key from another for people.
        const SHOWN: usize = 8;
        let usage = if self.usage == Usage::Authority { 2 } else { 3 };
        write!(f, "{usage} {} {} ", self.part as u8, self.matching as u8)?;
        for octet in self.data.iter().take(SHOWN) {
            write!(f, "{octet:02x}")?;
        }
        if self.data.len() > SHOWN { f.write_str("...") } else { Ok(()) }
    }
}

/// Whether a record can be used, and as what.
pub fn usable(record: &TLSA) -> Result<Association, Unusable> {
    let usage = match u8::from(record.cert_usage) {
        number @ (0 | 1) => return Err(Unusable::PublicAuthorities(number)),
        2 => Usage::Authority,
        3 => Usage::EndEntity,
        number => return Err(Unusable::Usage(number)),
    };
    let part = match u8::from(record.selector) {
        0 => Part::Certificate,
        1 => Part::Key,
        number => return Err(Unusable::Selector(number)),
    };
    let data = record.cert_data.as_slice();
    let (matching, length) = match u8::from(record.matching) {
        0 => (Matching::Full, None),
        1 => (Matching::Sha256, Some(SHA256.output_len())),
        2 => (Matching::Sha512, Some(SHA512.output_len())),
        number => return Err(Unusable::Matching(number)),
    };
    match (length, part) {
        (Some(length), _) if data.len() != length => return Err(Unusable::Length(data.len())),
        (None, Part::Certificate) if Certificate::parse(data).is_none() => return Err(Unusable::Certificate),
        (None, Part::Key) if Key::parse(data).is_none() => return Err(Unusable::Key),
        _ => {}
    }
    Ok(Association { usage, part, matching, data: data.into() })
}

/// A record as master files have it, its data without blanks (RFC 6698 §2.2).
#[must_use]
pub fn presented(record: &TLSA) -> String {
    let numbers = [u8::from(record.cert_usage), u8::from(record.selector), u8::from(record.matching)];
    let [usage, selector, matching] = numbers;
    format!("{usage} {selector} {matching} {}", crate::present::hexadecimal(&record.cert_data))
}

/// The names of the registries for the three numbers of a record (RFC 7218), and the numbers.
#[must_use]
pub fn describe(record: &TLSA) -> String {
    let numbers = [u8::from(record.cert_usage), u8::from(record.selector), u8::from(record.matching)];
    let word = |number: u8, words: &[&str]| {
        let word = words.get(usize::from(number)).copied();
        format!("{}({number})", word.unwrap_or(if number == 255 { "Private" } else { "unknown" }))
    };
    let usage = word(numbers[0], &["PKIX-TA", "PKIX-EE", "DANE-TA", "DANE-EE"]);
    let selector = word(numbers[1], &["Cert", "SPKI"]);
    format!("{usage} {selector} {}", word(numbers[2], &["Full", "SHA2-256", "SHA2-512"]))
}

/// The records of a host that count: those that can be used, and of them, for each usage and selector, full
/// data and the strongest digest (RFC 7671 §9).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Associations {
    list: Vec<Association>,
}

impl Associations {
    /// Picks those that count; none when no record can be used. At most [`ASSOCIATIONS_MAX`].
    #[must_use]
    pub fn of<'a>(records: impl IntoIterator<Item = &'a TLSA>) -> Self {
        let mut list: Vec<Association> = Vec::new();
        let mut strongest = [[Matching::Full; 2]; 2];
        let place = |one: &Association| {
            (usize::from(one.usage == Usage::EndEntity), usize::from(one.part == Part::Key))
        };
        for one in records.into_iter().filter_map(|record| usable(record).ok()).take(ASSOCIATIONS_MAX) {
            let (usage, part) = place(&one);
            strongest[usage][part] = strongest[usage][part].max(one.matching);
            list.push(one);
        }
        list.retain(|one| {
            let (usage, part) = place(one);
            one.matching == Matching::Full || one.matching == strongest[usage][part]
        });
        Self { list }
    }

    /// Whether none counts: TLS is then required, and nobody can be authenticated (RFC 7672 §2.2).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Those that count.
    pub fn iter(&self) -> impl Iterator<Item = &Association> {
        self.list.iter()
    }
}

impl Association {
    /// Whether it is about this certificate. `der` is all of it, `key` its SubjectPublicKeyInfo.
    pub(crate) fn is_about(&self, der: &[u8], key: &[u8]) -> bool {
        let part = match self.part {
            Part::Certificate => der,
            Part::Key => key,
        };
        match self.matching {
            Matching::Full => *self.data == *part,
            Matching::Sha256 => *self.data == *digest(&SHA256, part).as_ref(),
            Matching::Sha512 => *self.data == *digest(&SHA512, part).as_ref(),
        }
    }
}

//! Public keys: getting their records from the DNS, and checking signatures with them.

use std::pin::pin;
use std::task::Poll;

use postrider_dns::{Answer, Authenticity, Lookup, Outcome, RData, RecordType};
use postrider_proto::dkim::key::{KeyError, KeyRecord, Kind};
use postrider_proto::dkim::limits::{RSA_BITS_MAX, RSA_BITS_MIN};
use postrider_proto::dkim::public_key::RsaPublicKey;
use postrider_proto::dkim::signature::Algorithm;
use ring::digest::{SHA256, digest};
use ring::signature::{
    ED25519, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, RsaPublicKeyComponents, UnparsedPublicKey,
};

use crate::names;

/// Records at one name that are tried. There should be one (RFC 6376 §3.6.2.2); domains that move keys have
/// more for a while.
pub const KEY_RECORDS_MAX: usize = 4;

/// Why there is no usable key, or why it doesn't verify a signature.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyFault {
    /// The name of the key record can't be one of the DNS.
    #[error("the name of the key is not valid")]
    Name,
    /// No usable answer. It may come later.
    #[error("the key could not be looked up: {0}")]
    Unavailable(String),
    /// There is no record at the name, or none that is for keys.
    #[error("there is no key")]
    Missing,
    /// What is there is no key record.
    #[error("{0}")]
    Record(#[from] KeyError),
    /// `p=` is empty.
    #[error("the key is revoked")]
    Revoked,
    /// `s=` is for other services.
    #[error("the key is for another service")]
    Service,
    /// `h=` doesn't allow the hash of the signature.
    #[error("the key does not allow the hash")]
    Hash,
    /// The key is of another kind than the signature.
    #[error("the key is of another kind")]
    Kind,
    /// What is in `p=` is no key of its kind.
    #[error("the key is not valid")]
    Invalid,
    /// An RSA key under 1024 bits (RFC 8301 §3.2).
    #[error("the key is too weak: {0} bits")]
    Weak(u32),
    /// An RSA key over 8192 bits.
    #[error("the key is too large: {0} bits")]
    Large(u32),
}

/// Key records of one name.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Records, and what looked like some; at most [`KEY_RECORDS_MAX`].
    pub records: Result<Vec<Result<KeyRecord, KeyError>>, KeyFault>,
    /// Whether the answer, or that there is none, can be believed. None where nothing was asked.
    pub authenticity: Option<Authenticity>,
}

impl Keys {
    /// Whether there was no usable answer.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self.records, Err(KeyFault::Unavailable(_)))
    }

    /// Looks up the key records of a name that is written without a dot at its end.
    pub async fn lookup_name(name: &str, lookup: &impl Lookup) -> Self {
        let Some(name) = names::absolute(name) else {
            return Self { records: Err(KeyFault::Name), authenticity: None };
        };
        let answer = lookup.lookup(&name, RecordType::TXT).await;
        Self { records: records(&answer), authenticity: Some(answer.authenticity) }
    }
}

fn records(answer: &Answer) -> Result<Vec<Result<KeyRecord, KeyError>>, KeyFault> {
    match answer.outcome {
        Outcome::Found => {}
        Outcome::NoData | Outcome::NoName => return Err(KeyFault::Missing),
        Outcome::Failed => return Err(KeyFault::Unavailable(answer.reason.clone())),
    }
    let texts = answer.data().filter_map(|data| match data {
        RData::TXT(text) => Some(text.txt_data.concat()),
        _ => None,
    });
    // A record of another version is that of another service, such as one that a wildcard brings.
    let records: Vec<Result<KeyRecord, KeyError>> = texts
        .map(|text| KeyRecord::parse(&text))
        .filter(|record| *record != Err(KeyError::Version))
        .take(KEY_RECORDS_MAX)
        .collect();
    if records.is_empty() {
        // One that is for keys, but of a version that isn't known, isn't none.
        let other = answer.data().next().is_some();
        return Err(if other { KeyFault::Record(KeyError::Version) } else { KeyFault::Missing });
    }
    Ok(records)
}

/// A key that can check signatures.
#[derive(Clone, Copy, Debug)]
pub enum PublicKey<'a> {
    /// An RSA key of an allowed size.
    Rsa(RsaPublicKey<'a>),
    /// An Ed25519 key.
    Ed25519(&'a [u8; 32]),
}

impl<'a> PublicKey<'a> {
    /// The key of a record.
    pub fn of(record: &'a KeyRecord) -> Result<Self, KeyFault> {
        if record.key.is_empty() {
            return Err(KeyFault::Revoked);
        }
        match record.kind {
            Kind::Rsa => {
                let key = RsaPublicKey::parse(&record.key).ok_or(KeyFault::Invalid)?;
                match key.bits() {
                    bits if bits < RSA_BITS_MIN => Err(KeyFault::Weak(bits)),
                    bits if bits > RSA_BITS_MAX => Err(KeyFault::Large(bits)),
                    _ => Ok(Self::Rsa(key)),
                }
            }
            Kind::Ed25519 => {
                Ok(Self::Ed25519(record.key.as_slice().try_into().map_err(|_| KeyFault::Invalid)?))
            }
        }
    }

    /// Bits of the key.
    #[must_use]
    pub fn bits(&self) -> u32 {
        match self {
            Self::Rsa(key) => key.bits(),
            Self::Ed25519(_) => 256,
        }
    }

    /// Whether a signature of what was signed is one of this key.
    #[must_use]
    pub fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Rsa(key) => RsaPublicKeyComponents { n: key.modulus, e: key.exponent }
                .verify(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, signed, signature)
                .is_ok(),
            // RFC 8463 §3: what is signed is the hash.
            Self::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key)
                .verify(digest(&SHA256, signed).as_ref(), signature)
                .is_ok(),
        }
    }
}

/// The key of a record, if a signature of that algorithm may use it (RFC 6376 §6.1.2 steps 6 to 8).
pub fn usable(record: &KeyRecord, algorithm: Algorithm) -> Result<PublicKey<'_>, KeyFault> {
    if !record.sha256 {
        return Err(KeyFault::Hash);
    }
    let kind = match algorithm {
        Algorithm::RsaSha256 | Algorithm::RsaSha1 => Kind::Rsa,
        Algorithm::Ed25519Sha256 => Kind::Ed25519,
    };
    if record.kind != kind {
        return Err(KeyFault::Kind);
    }
    PublicKey::of(record)
}

/// Waits for all of several futures at once, and gives what they gave in their order.
pub(crate) async fn join_all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut pending = false;
        for (future, output) in &mut waiting {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    Poll::Ready(value) => *output = Some(value),
                    Poll::Pending => pending = true,
                }
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    waiting.into_iter().filter_map(|(_, output)| output).collect()
}

/// Lets other tasks run: a check of a large RSA key takes half a millisecond, and there may be many.
pub(crate) async fn pause() {
    let mut polled = false;
    let pause = std::future::poll_fn(|context| {
        if polled {
            return Poll::Ready(());
        }
        polled = true;
        context.waker().wake_by_ref();
        Poll::Pending
    });
    pin!(pause).await;
}

//! DKIM-Signature fields (RFC 6376 §3.5), and the syntax that ARC-Message-Signature and ARC-Seal share.

use std::ops::Range;

use crate::address::Domain;

use super::canonical::Algorithm as Canonical;
use super::limits::{SIGNATURE_OCTETS_MAX, SIGNED_FIELDS_MAX};
use super::tags::{TagError, TagList, base64, elements, number};
use super::{Identity, Selector};

/// How a signature is computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 6376 §3.3.2).
    RsaSha256,
    /// Ed25519 over a SHA-256 hash (RFC 8463 §3).
    Ed25519Sha256,
    /// Of old signers. RFC 8301 §3.1: must not be used, for signing or verifying.
    RsaSha1,
}

impl Algorithm {
    /// The word in `a=`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::RsaSha256 => "rsa-sha256",
            Self::Ed25519Sha256 => "ed25519-sha256",
            Self::RsaSha1 => "rsa-sha1",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::RsaSha256, Self::Ed25519Sha256, Self::RsaSha1]
            .into_iter()
            .find(|algorithm| algorithm.word() == word)
    }
}

/// The algorithms of `c=`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Canonicalization {
    /// For fields.
    pub header: Canonical,
    /// For the body.
    pub body: Canonical,
}

impl Canonicalization {
    /// What a signature means that doesn't say (RFC 6376 §3.5).
    pub const SIMPLE: Self = Self { header: Canonical::Simple, body: Canonical::Simple };
    /// What survives most of what happens to mail.
    pub const RELAXED: Self = Self { header: Canonical::Relaxed, body: Canonical::Relaxed };

    /// Parses the value of `c=`.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let (header, body) = value.split_once('/').unwrap_or((value, Canonical::Simple.word()));
        Some(Self { header: Canonical::from_word(header)?, body: Canonical::from_word(body)? })
    }
}

/// Why a field is no signature that can be verified (RFC 6376 §6.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SignatureError {
    /// Over [`SIGNATURE_OCTETS_MAX`].
    #[error("the signature field is too long")]
    TooLong,
    /// Not a list of tags.
    #[error("{0}")]
    Tags(#[from] TagError),
    /// A required tag is missing.
    #[error("the tag {0}= is missing")]
    Missing(&'static str),
    /// The value of a tag breaks its grammar.
    #[error("the value of {0}= is not valid")]
    Value(&'static str),
    /// Another version than 1.
    #[error("the version is not 1")]
    Version,
    /// An algorithm that isn't implemented.
    #[error("the algorithm is unknown")]
    Algorithm,
    /// A canonicalisation that isn't implemented.
    #[error("the canonicalization is unknown")]
    Canonicalization,
    /// No way to get the key that is implemented.
    #[error("no known query method")]
    Query,
    /// More names in `h=` than [`SIGNED_FIELDS_MAX`].
    #[error("too many signed fields")]
    TooManyFields,
    /// From isn't in `h=`.
    #[error("the From field is not signed")]
    FromNotSigned,
    /// The domain of `i=` isn't that of `d=` or below it.
    #[error("the identity is not of the signing domain")]
    Identity,
    /// `x=` isn't after `t=`.
    #[error("the signature expires before it is made")]
    Times,
}

/// What all three kinds of signatures have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Core {
    /// `a=`.
    pub algorithm: Algorithm,
    /// `b=`, decoded.
    pub signature: Vec<u8>,
    /// Where the value of `b=` stands in the value of the field, white space around it included.
    pub signature_place: Range<usize>,
    /// `d=`: who signed.
    pub domain: Domain,
    /// `s=`.
    pub selector: Selector,
    /// `t=`: when it was signed, in seconds since 1970.
    pub timestamp: Option<u64>,
}

/// What a signature says of the content of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Content {
    /// `bh=`, decoded.
    pub body_hash: Vec<u8>,
    /// `c=`.
    pub canonicalization: Canonicalization,
    /// `h=` in its order.
    pub fields: Vec<Box<str>>,
    /// `l=`: octets of the canonical body that are signed.
    pub length: Option<u64>,
    /// `x=`: from when on it isn't valid, in seconds since 1970.
    pub expiration: Option<u64>,
}

/// A DKIM-Signature that can be verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signature {
    /// What every signature has.
    pub core: Core,
    /// What it says of the content.
    pub content: Content,
    /// `i=`; what it means where it is missing.
    pub identity: Identity,
}

/// What a field claims, whether or not it is a signature that can be verified: for reports.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Claims {
    /// `d=`, where it is a domain.
    pub domain: Option<Domain>,
    /// `s=`, where it is a selector.
    pub selector: Option<Selector>,
    /// `a=`, where it is a word of at most 32 letters, digits and hyphens.
    pub algorithm: Option<String>,
}

impl Claims {
    /// Reads what can be read of the value of a field.
    #[must_use]
    pub fn parse(value: &[u8]) -> Self {
        const WORD_OCTETS_MAX: usize = 32;
        let Ok(tags) = list(value) else { return Self::default() };
        let word = |text: &&str| {
            (1..=WORD_OCTETS_MAX).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        Self {
            domain: tags.value("d").and_then(|text| Domain::parse(text).ok()),
            selector: tags.value("s").and_then(Selector::parse),
            algorithm: tags.value("a").filter(word).map(ToOwned::to_owned),
        }
    }
}

/// The tags of the value of a field.
pub(crate) fn list(value: &[u8]) -> Result<TagList<'_>, SignatureError> {
    if value.len() > SIGNATURE_OCTETS_MAX {
        return Err(SignatureError::TooLong);
    }
    Ok(TagList::parse(value)?)
}

impl Signature {
    /// Parses what stands after the colon of a DKIM-Signature field.
    pub fn parse(value: &[u8]) -> Result<Self, SignatureError> {
        let tags = list(value)?;
        if required(&tags, "v")? != "1" {
            return Err(SignatureError::Version);
        }
        let core = Core::from_tags(&tags)?;
        let content = Content::from_tags(&tags, Names::Strict, Canonicalization::SIMPLE)?;
        let signs = |name: &str| content.fields.iter().any(|field| field.eq_ignore_ascii_case(name));
        if !signs("from") {
            return Err(SignatureError::FromNotSigned);
        }
        content.check_times(core.timestamp)?;
        let identity = match tags.value("i") {
            None => Identity { localpart: String::new(), domain: core.domain.clone() },
            Some(text) => Identity::parse(text).ok_or(SignatureError::Value("i"))?,
        };
        if !identity.domain.is_at_or_below(&core.domain) {
            return Err(SignatureError::Identity);
        }
        Ok(Self { core, content, identity })
    }
}

fn required<'a>(tags: &TagList<'a>, name: &'static str) -> Result<&'a str, SignatureError> {
    tags.value(name).ok_or(SignatureError::Missing(name))
}

fn optional_number(tags: &TagList<'_>, name: &'static str) -> Result<Option<u64>, SignatureError> {
    tags.value(name).map(|text| number(text).ok_or(SignatureError::Value(name))).transpose()
}

/// Base64 that has to be something.
fn octets(tags: &TagList<'_>, name: &'static str) -> Result<Vec<u8>, SignatureError> {
    let octets = base64(required(tags, name)?).ok_or(SignatureError::Value(name))?;
    if octets.is_empty() { Err(SignatureError::Value(name)) } else { Ok(octets) }
}

impl Core {
    pub(crate) fn from_tags(tags: &TagList<'_>) -> Result<Self, SignatureError> {
        let algorithm = Algorithm::from_word(required(tags, "a")?).ok_or(SignatureError::Algorithm)?;
        let signature = octets(tags, "b")?;
        let signature_place = tags.get("b").map(|tag| tag.place.clone()).unwrap_or_default();
        let domain = Domain::parse(required(tags, "d")?).map_err(|_| SignatureError::Value("d"))?;
        let selector = Selector::parse(required(tags, "s")?).ok_or(SignatureError::Value("s"))?;
        let timestamp = optional_number(tags, "t")?;
        Ok(Self { algorithm, signature, signature_place, domain, selector, timestamp })
    }
}

/// How strictly the names in `h=` are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Names {
    /// At least one, none empty: RFC 6376 §3.5.
    Strict,
    /// Any number; an empty one is a field that isn't there.
    MayBeEmpty,
}

impl Content {
    /// `default` is what a missing `c=` means.
    pub(crate) fn from_tags(
        tags: &TagList<'_>,
        names: Names,
        default: Canonicalization,
    ) -> Result<Self, SignatureError> {
        let body_hash = octets(tags, "bh")?;
        let canonicalization = match tags.value("c") {
            None => default,
            Some(text) => Canonicalization::parse(text).ok_or(SignatureError::Canonicalization)?,
        };
        let fields = signed_fields(required(tags, "h")?, names)?;
        if let Some(methods) = tags.value("q")
            && !elements(methods).any(|method| method == "dns/txt")
        {
            return Err(SignatureError::Query);
        }
        let length = optional_number(tags, "l")?;
        let expiration = optional_number(tags, "x")?;
        Ok(Self { body_hash, canonicalization, fields, length, expiration })
    }

    pub(crate) fn check_times(&self, timestamp: Option<u64>) -> Result<(), SignatureError> {
        match (timestamp, self.expiration) {
            (Some(made), Some(expires)) if expires <= made => Err(SignatureError::Times),
            _ => Ok(()),
        }
    }
}

fn signed_fields(value: &str, names: Names) -> Result<Vec<Box<str>>, SignatureError> {
    let mut fields: Vec<Box<str>> = Vec::with_capacity(16);
    for name in elements(value) {
        // RFC 5322 §3.6.8 ftext; what separates tags and names can't be here.
        let valid = name.bytes().all(|byte| byte.is_ascii_graphic());
        if !valid || (name.is_empty() && names == Names::Strict) {
            return Err(SignatureError::Value("h"));
        }
        if fields.len() == SIGNED_FIELDS_MAX {
            return Err(SignatureError::TooManyFields);
        }
        fields.push(name.into());
    }
    Ok(fields)
}

#[cfg(test)]
mod tests;

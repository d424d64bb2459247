//! What came of a signature (RFC 6376 §3.9, RFC 8601 §2.7.1).

use postrider_dns::Authenticity;
use postrider_proto::address::Domain;
use postrider_proto::dkim::header::HeaderError;
use postrider_proto::dkim::signature::SignatureError;
use postrider_proto::dkim::{Identity, Selector};

use crate::keys::KeyFault;

/// The words of RFC 8601 §2.7.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum DkimResult {
    /// As if there were no signature: one of a domain that tests DKIM, and that didn't pass.
    None,
    /// The signature is valid.
    Pass,
    /// It isn't: the message was changed, or another key made it.
    Fail,
    /// It is valid, but covers less than it must, or is one too many.
    Policy,
    /// It can't be read, or is of a kind that isn't known.
    Neutral,
    /// Its key can't be had now.
    Temperror,
    /// It breaks a rule, or its key can't be used.
    Permerror,
}

impl DkimResult {
    /// The word for Authentication-Results.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Policy => "policy",
            Self::Neutral => "neutral",
            Self::Temperror => "temperror",
            Self::Permerror => "permerror",
        }
    }
}

/// Why a signature didn't pass.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Reason {
    /// The header of the message is over a limit, so no signature is looked at.
    #[error("{0}")]
    Header(#[from] HeaderError),
    /// The field is no signature that can be verified.
    #[error("{0}")]
    Signature(#[from] SignatureError),
    /// More signatures than are verified.
    #[error("there are too many signatures")]
    TooMany,
    /// `a=rsa-sha1`: has permanently failed (RFC 8301 §3.1).
    #[error("SHA-1 is not accepted")]
    Sha1,
    /// `x=` is past.
    #[error("the signature has expired")]
    Expired,
    /// `d=` is a name under which others register theirs (RFC 6376 §6.1.1).
    #[error("the domain is a public suffix")]
    PublicSuffix,
    /// The key can't be had or not be used.
    #[error("{0}")]
    Key(#[from] KeyFault),
    /// The key wants the domain of `i=` to be that of `d=` (`t=s`).
    #[error("the key is not for subdomains")]
    Subdomain,
    /// The canonical body is shorter than `l=` says.
    #[error("the body is shorter than what was signed")]
    BodyTooShort,
    /// The body isn't what was signed.
    #[error("the body was changed")]
    BodyHash,
    /// The fields aren't what was signed, or the key isn't that of the signature.
    #[error("the signature does not match")]
    Mismatch,
    /// The body goes on after what `l=` says was signed.
    #[error("the last {0} octets of the body are not signed")]
    PartialBody(u64),
    /// There is a field of this name that isn't signed.
    #[error("a {0} field is not signed")]
    UnsignedField(&'static str),
}

impl Reason {
    /// The word that it leads to.
    #[must_use]
    pub fn result(&self) -> DkimResult {
        use SignatureError as Bad;
        match self {
            // RFC 8601 §2.7.1: neutral is for syntax errors and for what can't be processed; permerror for
            // rules that are broken, and for keys.
            Self::Signature(Bad::FromNotSigned | Bad::Identity | Bad::Times) => DkimResult::Permerror,
            Self::Signature(_) => DkimResult::Neutral,
            Self::Header(_) | Self::TooMany | Self::PartialBody(_) | Self::UnsignedField(_) => {
                DkimResult::Policy
            }
            Self::Sha1 | Self::Expired | Self::PublicSuffix | Self::Subdomain => DkimResult::Permerror,
            Self::Key(KeyFault::Unavailable(_)) => DkimResult::Temperror,
            Self::Key(_) => DkimResult::Permerror,
            Self::BodyTooShort | Self::BodyHash | Self::Mismatch => DkimResult::Fail,
        }
    }
}

/// What came of one signature. What couldn't be read of it is none.
#[derive(Clone, Debug)]
pub struct SignatureResult {
    /// The result.
    pub result: DkimResult,
    /// Why it isn't pass.
    pub reason: Option<Reason>,
    /// `d=`.
    pub domain: Option<Domain>,
    /// `s=`.
    pub selector: Option<Selector>,
    /// `a=`, a word of letters, digits and hyphens.
    pub algorithm: Option<String>,
    /// `i=`, or what it means where it is missing.
    pub identity: Option<Identity>,
    /// `b=`, decoded: RFC 6008 tells signatures apart by its start.
    pub signature: Option<Vec<u8>>,
    /// Bits of the key.
    pub key_bits: Option<u32>,
    /// Whether the domain tests DKIM (`t=y` of the key): what isn't pass then is none.
    pub testing: bool,
    /// Whether the lookup of the key can be believed. None where it wasn't looked up.
    pub authenticity: Option<Authenticity>,
    /// `t=`, in seconds since 1970.
    pub timestamp: Option<u64>,
    /// `x=`, in seconds since 1970.
    pub expiration: Option<u64>,
    /// `l=`.
    pub body_length: Option<u64>,
}

impl SignatureResult {
    /// One for a message whose header isn't looked at.
    #[must_use]
    pub fn refused(error: HeaderError) -> Self {
        let mut result = Self::unknown();
        result.set(Reason::Header(error));
        result
    }

    pub(super) fn unknown() -> Self {
        Self {
            result: DkimResult::Pass,
            reason: None,
            domain: None,
            selector: None,
            algorithm: None,
            identity: None,
            signature: None,
            key_bits: None,
            testing: false,
            authenticity: None,
            timestamp: None,
            expiration: None,
            body_length: None,
        }
    }

    pub(super) fn set(&mut self, reason: Reason) {
        self.result = reason.result();
        self.reason = Some(reason);
    }
}

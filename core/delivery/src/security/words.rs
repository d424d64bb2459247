//! Why a host gets no message, and what is counted.

use super::Requirement;
use crate::outcome::{Class, Status};

/// Why a host gets no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Skip {
    /// The policy doesn't have it (RFC 8461 §4.1).
    NotInPolicy,
    /// It can't be known whether there is a policy.
    PolicyUnknown,
    /// Its TLSA records can't be looked up (RFC 7672 §2.1.2).
    TlsaUnknown,
    /// REQUIRETLS, and nothing says how to verify it.
    NothingToVerify,
    /// TLS is promised or required, and we can't do it.
    NoTlsHere,
}

impl Skip {
    /// The enhanced status code.
    #[must_use]
    pub fn status(self, requirement: Requirement) -> Status {
        let (class, detail) = match self {
            Self::NothingToVerify => (Class::Permanent, 30),
            Self::NoTlsHere if requirement == Requirement::Required => (Class::Temporary, 10),
            _ => (Class::Temporary, 5),
        };
        Status { class, subject: 7, detail }
    }

    /// It in words.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::NotInPolicy => "the MTA-STS policy of the domain does not allow this host",
            Self::PolicyUnknown => "whether the domain has an MTA-STS policy cannot be looked up",
            Self::TlsaUnknown => "the TLSA records of the host cannot be looked up",
            Self::NothingToVerify => {
                "the message requires TLS, and the host has neither DANE nor an enforced MTA-STS policy"
            }
            Self::NoTlsHere => "TLS is needed with this host, and this server has none for outgoing mail",
        }
    }

    /// Whether it is the lack of what REQUIRETLS needs.
    #[must_use]
    pub fn lacks_requiretls(self) -> bool {
        self == Self::NothingToVerify
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counter {
    /// A host has TLSA records that can be used.
    DaneRequired,
    /// A host has TLSA records, and none can be used.
    DaneUnverified,
    /// The TLSA records of a host can't be looked up.
    TlsaFailed,
    /// `TLS-Required: No` set something aside.
    Ignored(Ignored),
    /// REQUIRETLS met a host that lacks something.
    RequireTlsUnsupported(Unsupported),
    /// TLS failed, and a connection in clear follows.
    PlaintextFallback,
}

/// What `TLS-Required: No` set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ignored {
    /// A policy that can't be looked up.
    StsPolicy,
    /// A host that isn't in the policy.
    StsMx,
    /// TLS that failed, or a certificate that isn't right.
    BadTls,
    /// TLSA records that can't be looked up.
    BadTlsa,
}

impl Ignored {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::StsPolicy, Self::StsMx, Self::BadTls, Self::BadTlsa];

    /// The label.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::StsPolicy => "mtastspolicy",
            Self::StsMx => "mtastsmx",
            Self::BadTls => "badtls",
            Self::BadTlsa => "badtlsa",
        }
    }
}

/// What a host lacks for REQUIRETLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unsupported {
    /// A way to verify it.
    NoPolicy,
    /// REQUIRETLS among its extensions.
    NoRequireTls,
}

impl Unsupported {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::NoPolicy, Self::NoRequireTls];

    /// The label.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::NoPolicy => "nopolicy",
            Self::NoRequireTls => "norequiretls",
        }
    }
}

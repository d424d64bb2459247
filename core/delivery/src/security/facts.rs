//! What decisions on TLS rest on.

use postrider_dns::dane::Applies;
use postrider_proto::address::Domain;
use postrider_proto::mta_sts::{Mode, Policy};

/// What the sender wants of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Requirement {
    /// Nothing: what the recipient's domain publishes decides.
    #[default]
    Unset,
    /// REQUIRETLS (RFC 8689 §2).
    Required,
    /// `TLS-Required: No` (RFC 8689 §3): delivery comes before policies.
    No,
}

/// What kind of message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Kind {
    /// One with a sender.
    #[default]
    Message,
    /// One with the null sender: a report about another message, which must not be lost for the lack of
    /// REQUIRETLS (RFC 8689 §5).
    Notification,
    /// A report about DMARC. It isn't worth sending in clear when TLS fails.
    DmarcReport,
    /// A report about TLS, which must arrive although TLS fails (RFC 8460 §3).
    TlsReport,
}

impl Kind {
    /// Whether the server made it as a service to others, so that nobody waits for it.
    #[must_use]
    pub fn is_service_report(self) -> bool {
        matches!(self, Self::DmarcReport | Self::TlsReport)
    }
}

/// What is known of the MTA-STS policy of a recipient's domain: always the domain of the address, never where its
/// aliases lead (RFC 8461 §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sts {
    /// There is none, or it can't be fetched and none is cached.
    None,
    /// DNS failed, and none is cached: it can't be known whether there is one. The reason.
    Unknown(String),
    /// This one, fetched or cached, not expired.
    Policy(Policy),
}

/// What the policy says of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StsHost {
    /// There is none, or its mode is "none".
    None,
    /// Mode "testing": what is wrong is reported only.
    Testing(Listed),
    /// Mode "enforce".
    Enforce(Listed),
    /// It can't be known whether there is one.
    Unknown,
}

/// Whether a policy has a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Listed {
    /// It does.
    Yes,
    /// It doesn't.
    No,
}

impl Sts {
    /// What the policy says of a host. A name that isn't one of mail, as those with `_`, is in no policy.
    #[must_use]
    pub fn of_host(&self, host: &str) -> StsHost {
        let policy = match self {
            Self::None => return StsHost::None,
            Self::Unknown(_) => return StsHost::Unknown,
            Self::Policy(policy) => policy,
        };
        let has = Domain::parse(host)
            .is_ok_and(|host| policy.patterns.iter().any(|pattern| pattern.matches(&host)));
        let listed = if has { Listed::Yes } else { Listed::No };
        match policy.mode {
            Mode::Enforce => StsHost::Enforce(listed),
            Mode::Testing => StsHost::Testing(listed),
            Mode::None => StsHost::None,
        }
    }
}

/// What DANE says of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DaneHost {
    /// It doesn't apply.
    No,
    /// There are records that can be used.
    Usable,
    /// There are records, and none can be used: TLS is still promised (RFC 7672 §2.2).
    Unusable,
    /// It can't be known.
    Unknown,
}

impl From<&Applies> for DaneHost {
    fn from(applies: &Applies) -> Self {
        match applies {
            Applies::No(_) => Self::No,
            Applies::Records { verification, .. } if verification.associations.is_empty() => Self::Unusable,
            Applies::Records { .. } => Self::Usable,
            Applies::Unknown(_) | Applies::NoAddresses(_) => Self::Unknown,
        }
    }
}

/// Whether we can do TLS at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Here {
    /// We can.
    #[default]
    Tls,
    /// It isn't available or switched off.
    NoTls,
}

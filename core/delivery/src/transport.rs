//! Transports: the ways on which a message can leave.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use postrider_proto::address::Domain;
use postrider_proto::sasl::{Mechanism, Secret};

use crate::limits::FAIL_TEXT_OCTETS_MAX;
use crate::security::Begins;

/// One way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// To the hosts of the recipient's domain.
    Direct(Direct),
    /// To a relay, port 25 unless given; usually without authentication.
    Smtp(Relay),
    /// To a submission server with STARTTLS (RFC 6409), port 587 unless given.
    Submission(Relay),
    /// To a submission server with TLS from the start (RFC 8314), port 465 unless given.
    Submissions(Relay),
    /// To the hosts of the recipient's domain, through a proxy.
    Socks(Socks),
    /// Nowhere: every attempt fails.
    Fail(Refusal),
}

impl Transport {
    /// What is done without a route.
    pub const DEFAULT: Self = Self::Direct(Direct::DEFAULT);

    /// The word for its kind in explanations and JSON.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Direct(_) => "direct",
            Self::Smtp(_) => "smtp",
            Self::Submission(_) => "submission",
            Self::Submissions(_) => "submissions",
            Self::Socks(_) => "socks",
            Self::Fail(_) => "fail",
        }
    }

    /// The relay, and its port.
    #[must_use]
    pub fn relay(&self) -> Option<(&Relay, u16)> {
        let (relay, port) = match self {
            Self::Smtp(relay) => (relay, 25),
            Self::Submission(relay) => (relay, 587),
            Self::Submissions(relay) => (relay, 465),
            _ => return None,
        };
        Some((relay, relay.port.unwrap_or(port)))
    }

    /// Of a relay, what TLS has to give there, and how it begins.
    #[must_use]
    pub fn relay_tls(&self) -> Option<(RelayTls, Begins)> {
        let begins = if matches!(self, Self::Submissions(_)) { Begins::AtOnce } else { Begins::Starttls };
        self.relay().map(|(relay, _)| (relay.tls, begins))
    }

    /// The families of addresses that are connected to.
    #[must_use]
    pub fn families(&self) -> Families {
        if let Self::Direct(direct) = self { direct.families } else { Families::Both }
    }
}

/// Which families of addresses are connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Families {
    /// Both.
    #[default]
    Both,
    /// IPv4 alone.
    Four,
    /// IPv6 alone.
    Six,
}

impl Families {
    /// Whether an address is of these.
    #[must_use]
    pub fn have(self, address: &IpAddr) -> bool {
        match self {
            Self::Both => true,
            Self::Four => address.is_ipv4(),
            Self::Six => address.is_ipv6(),
        }
    }
}

/// Direct delivery.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Direct {
    /// Which families are connected to.
    pub families: Families,
    /// Where connections come from.
    pub local: LocalAddresses,
}

impl Direct {
    /// Both families, from wherever the system likes.
    pub const DEFAULT: Self =
        Self { families: Families::Both, local: LocalAddresses { four: None, six: None } };
}

/// The addresses that connections come from: at most one for each family, the system's choice without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct LocalAddresses {
    /// For hosts with IPv4.
    pub four: Option<Ipv4Addr>,
    /// For hosts with IPv6.
    pub six: Option<Ipv6Addr>,
}

impl LocalAddresses {
    /// Those of listeners of SMTP, when all of them have addresses and these are at most one for each family:
    /// other servers then see the address that they would connect to.
    #[must_use]
    pub fn of_listeners(listeners: &[IpAddr]) -> Self {
        let (mut four, mut six) = (Vec::new(), Vec::new());
        for address in listeners.iter().map(IpAddr::to_canonical) {
            match address {
                IpAddr::V4(address) if !four.contains(&address) => four.push(address),
                IpAddr::V6(address) if !six.contains(&address) => six.push(address),
                _ => {}
            }
        }
        let is_open = |address: &IpAddr| address.is_unspecified() || address.is_loopback();
        if listeners.iter().any(is_open) || four.len() > 1 || six.len() > 1 {
            return Self::default();
        }
        Self { four: four.pop(), six: six.pop() }
    }

    /// The address that a connection to `remote` comes from.
    #[must_use]
    pub fn to(&self, remote: &IpAddr) -> Option<IpAddr> {
        match remote {
            IpAddr::V4(_) => self.four.map(IpAddr::V4),
            IpAddr::V6(_) => self.six.map(IpAddr::V6),
        }
    }
}

/// The host of a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayHost {
    /// By its name.
    Name(Domain),
    /// By its address: its certificate must be for the address.
    Address(IpAddr),
}

/// What TLS has to give with a relay. TLS-Required: No doesn't change it: it is about policies of recipients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum RelayTls {
    /// TLS, and a certificate for the host.
    #[default]
    Verified,
    /// TLS with any certificate.
    Unverified,
    /// None.
    None,
}

/// A relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// Its host.
    pub host: RelayHost,
    /// Its port, when it isn't the usual one.
    pub port: Option<u16>,
    /// What TLS has to give.
    pub tls: RelayTls,
    /// Who we are there.
    pub auth: Option<Auth>,
}

/// A name and a password at a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// The name.
    pub username: Box<str>,
    /// The password.
    pub password: Secret<Box<str>>,
    /// The mechanisms that may be used, when it isn't [`Auth::MECHANISMS`].
    pub mechanisms: Option<Vec<Mechanism>>,
}

impl Auth {
    /// What may be used when nothing is listed, strongest first: nothing that sends the password.
    pub const MECHANISMS: [Mechanism; 5] = [
        Mechanism::ScramSha256Plus,
        Mechanism::ScramSha256,
        Mechanism::ScramSha1Plus,
        Mechanism::ScramSha1,
        Mechanism::CramMd5,
    ];

    /// The mechanisms that may be used over a connection, strongest first.
    ///
    /// What sends the password is used only when it is listed, and never to a server that nobody verified.
    #[must_use]
    pub fn allowed(&self, is_verified: bool) -> Vec<Mechanism> {
        let listed: &[Mechanism] = self.mechanisms.as_deref().unwrap_or(&Self::MECHANISMS);
        let may = |mechanism: &Mechanism| {
            listed.contains(mechanism) && (is_verified || !mechanism.sends_password())
        };
        Mechanism::ALL.into_iter().filter(may).collect()
    }

    /// The mechanism to use: the strongest that both sides have. None is a failure for good.
    ///
    /// `binds` is whether this connection has something to bind to. Where the -PLUS form could have been used and
    /// isn't offered, the client signals that it supports it (RFC 5802 §6), which [`Choice::signal`] says.
    #[must_use]
    pub fn choose(&self, offered: &[Mechanism], is_verified: bool, binds: bool) -> Option<Choice> {
        let allowed = self.allowed(is_verified);
        let usable = |mechanism: &&Mechanism| binds || !mechanism.binds_channel();
        let mechanism = *allowed.iter().filter(usable).find(|mechanism| offered.contains(mechanism))?;
        let plus = match mechanism {
            Mechanism::ScramSha256 => Some(Mechanism::ScramSha256Plus),
            Mechanism::ScramSha1 => Some(Mechanism::ScramSha1Plus),
            _ => None,
        };
        let signal = binds && plus.is_some_and(|plus| allowed.contains(&plus) && !offered.contains(&plus));
        Some(Choice { mechanism, signal })
    }
}

/// A mechanism that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The mechanism.
    pub mechanism: Mechanism,
    /// Whether to say that the client would bind to the channel: a server that offers that then knows that
    /// somebody took its offer away.
    pub signal: bool,
}

/// A proxy (RFC 1928).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socks {
    /// Where it listens.
    pub address: SocketAddr,
    /// The name to greet with: that of the address from which the proxy connects.
    pub hostname: Domain,
    /// The addresses from which it connects, for SPF.
    pub remote_addresses: Vec<IpAddr>,
}

/// A reply that attempts fail with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    code: u16,
    message: Box<str>,
}

/// Why values are no refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusalError {
    /// The code is none of 400 to 459 and of 500 to 559.
    #[error("the code must be one of 400 to 459 or of 500 to 559")]
    Code,
    /// The text is empty, too long, or not printable ASCII.
    #[error("the text must be printable ASCII, of 1 to {FAIL_TEXT_OCTETS_MAX} characters")]
    Text,
}

impl Refusal {
    /// The code where none is configured.
    pub const CODE_DEFAULT: u16 = 554;

    /// A refusal; the second digit of a code is 0 to 5 (RFC 5321 §4.2).
    pub fn new(code: u16, message: &str) -> Result<Self, RefusalError> {
        if !(400..600).contains(&code) || code % 100 >= 60 {
            return Err(RefusalError::Code);
        }
        let printable = message.bytes().all(|octet| matches!(octet, b' '..=b'~'));
        if message.is_empty() || message.len() > FAIL_TEXT_OCTETS_MAX || !printable {
            return Err(RefusalError::Text);
        }
        Ok(Self { code, message: message.into() })
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The text.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

#[cfg(test)]
mod tests;

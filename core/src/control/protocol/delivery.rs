//! What delivery to a domain would do, and the policies of MTA-STS (RFC 8461) that are kept for it.

use serde::{Deserialize, Serialize};

use super::Route;

/// What is kept of a domain's policy.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MtaStsRow {
    /// The policy domain.
    pub domain: String,
    /// The id of the record that announced it.
    pub id: String,
    /// `enforce`, `testing` or `none`; none when there is no policy that can be read.
    pub mode: Option<String>,
    /// For how many seconds it may be kept.
    pub max_age: Option<u32>,
    /// The hosts that it allows.
    pub mx: Vec<String>,
    /// Its text, as it was served.
    pub policy: Option<String>,
    /// When it was fetched, in seconds since 1970.
    pub fetched: Option<i64>,
    /// Until when it is valid.
    pub valid_until: Option<i64>,
    /// Whether it is valid now.
    pub valid: bool,
    /// When it was last used, as far as that is noted: once a day.
    pub used: i64,
    /// When fetching failed last, if that is known.
    pub failed: Option<i64>,
    /// Until when it isn't fetched again for that.
    pub waits_until: Option<i64>,
}

/// What delivery to a domain would do, as far as the server alone knows it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DeliveryDetails {
    /// What is kept of the domain's policy.
    pub kept: Option<MtaStsRow>,
    /// Who sends.
    pub sender: DeliverySender,
    /// The account whose routes were looked at.
    pub account: Option<String>,
    /// The route that is taken; none is direct delivery.
    pub route: Option<DeliveryRoute>,
    /// Routes of the server that are for certain senders, and weren't looked at since none was named.
    pub left_out: u32,
    /// The transport; none when the configuration doesn't have it.
    pub transport: Option<DeliveryTransport>,
    /// Why nothing is delivered, whatever the domain publishes.
    pub failure: Option<DeliveryFailure>,
    /// The file of certificates of authorities by which deliveries verify hosts; none is the system's.
    pub tls_roots: Option<String>,
    /// Names of the server: a host with one of them, or at one of its addresses, is itself and takes none of this mail.
    pub own_names: Vec<String>,
    /// Its addresses.
    pub own_addresses: Vec<std::net::IpAddr>,
}

/// Who may send with the address that was named.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum DeliverySender {
    /// None was named.
    Anybody,
    /// There is none, as in reports.
    Null,
    /// The account whose address it is.
    Account,
    /// Members of the alias whose address it is.
    Alias {
        /// The names of their accounts, at most [`Self::ACCOUNTS_MAX`].
        accounts: Vec<String>,
        /// Whether there are more.
        more: bool,
    },
    /// Nobody: it is an alias with which its members may not send.
    ClosedAlias,
    /// Nobody: it is an address that refuses its mail.
    Refused {
        /// The code that it does so with.
        code: u16,
    },
    /// Nobody: the domain has no such address.
    Unknown,
    /// Nobody: the domain is none of the server's.
    NotOurs,
}

impl DeliverySender {
    /// Accounts of an alias that are named.
    pub const ACCOUNTS_MAX: usize = 20;
}

/// A route that was chosen.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DeliveryRoute {
    /// Whose it is: `account`, `domain` or `global`.
    pub level: String,
    /// Which one it is there, from 1.
    pub number: u32,
    /// It.
    #[serde(flatten)]
    pub route: Route,
}

/// A transport.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum DeliveryTransport {
    /// To the hosts of the recipients' domain.
    Direct {
        /// Whether hosts are connected to by IPv4.
        ipv4: bool,
        /// Whether they are by IPv6.
        ipv6: bool,
    },
    /// To a relay.
    Smtp(DeliveryRelay),
    /// To a submission server with STARTTLS.
    Submission(DeliveryRelay),
    /// To a submission server with TLS from the start.
    Submissions(DeliveryRelay),
    /// To the hosts of the recipients' domain, through a proxy.
    Socks {
        /// Where it listens.
        proxy: String,
    },
    /// Nowhere: every attempt fails.
    Fail {
        /// The reply that it fails with.
        code: u16,
        /// Its text.
        message: String,
    },
}

/// A relay.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DeliveryRelay {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What TLS has to give there.
    pub tls: DeliveryTls,
}

/// What TLS has to give with a relay.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryTls {
    /// TLS, and a certificate for the host.
    Verified,
    /// TLS with any certificate.
    Unverified,
    /// None.
    None,
}

/// Why nothing is delivered.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DeliveryFailure {
    /// The enhanced status code (RFC 3463).
    pub status: String,
    /// It in words.
    pub reason: String,
}

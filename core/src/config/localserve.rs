//! The configuration of `postrider localserve`: a complete instance on loopback, on ports that
//! need no rights, with everything in one directory.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use postrider_proto::imap::mailbox::MailboxName;

use super::checks::Checks;
use super::delivery::Delivery;
use super::limits::{Classes, Limits};
use super::model::{
    AccountDefaults, Certificates, Config, HostName, Listener, Log, Mode, Network, Passwords, Postmaster,
    Protocol, Search, Storage, Switch, Tls, TlsMode, TlsVersion,
};
use super::reports::Reports;
use super::resolve::WORKER_THREADS;
use super::webhooks::Webhooks;

/// The account of a local instance.
pub const ACCOUNT: &str = "user";
/// Its address.
pub const ADDRESS: &str = "user@localhost";
/// Its password. Known to all: a local instance listens on loopback only.
pub const PASSWORD: &str = "localserve";

const SMTP_PORT: u16 = 1025;

const LISTENERS: [(&str, Protocol, u16, TlsMode); 6] = [
    ("smtp", Protocol::Smtp, SMTP_PORT, TlsMode::Optional),
    ("submission", Protocol::Submission, 1587, TlsMode::Required),
    ("submissions", Protocol::Submissions, 1465, TlsMode::Implicit),
    ("imap", Protocol::Imap, 1143, TlsMode::Required),
    ("imaps", Protocol::Imaps, 1993, TlsMode::Implicit),
    ("metrics", Protocol::Metrics, 1081, TlsMode::Off),
];

impl Config {
    /// The configuration of a local instance with everything in `dir`.
    pub fn localserve(dir: &Path) -> Self {
        let hostname = HostName::localhost();
        let data_dir = dir.join("data");
        let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let listeners = LISTENERS.map(|(name, protocol, port, tls)| Listener {
            name: name.to_owned(),
            protocol,
            addresses: loopback.map(|ip| SocketAddr::new(ip, port)).into(),
            hostname: hostname.clone(),
            tls,
            requiretls: Switch::On,
            session_tickets: if protocol == Protocol::Smtp { Switch::Off } else { Switch::On },
            preauth: Switch::Off,
            disabled_capabilities: Vec::new(),
            checks: Checks::default(),
            limits: limits(),
        });
        Self {
            control_socket: data_dir.join("ctl"),
            data_dir,
            user: None,
            shards: None,
            worker_threads: WORKER_THREADS,
            log: Log::default(),
            listeners: listeners.into(),
            tls: Tls { certificates: Certificates::SelfSigned, min_version: TlsVersion::Tls12 },
            storage: Storage { min_free_octets: 64 << 20, ..Storage::default() },
            search: Search::default(),
            dns: None,
            delivery: Delivery::to_itself(
                hostname.clone(),
                SocketAddr::new(Ipv4Addr::LOCALHOST.into(), SMTP_PORT),
            ),
            reports: Reports::default(),
            webhooks: Webhooks::anywhere(),
            accounts: AccountDefaults::default(),
            share_with_anyone: true,
            postmaster: Some(Postmaster { account: ACCOUNT.to_owned(), mailbox: MailboxName::inbox() }),
            passwords: Passwords::default(),
            unlimited: loopback.map(Network::host).into(),
            hostname,
            mode: Mode::Local,
        }
    }
}

/// Tests come from one address, in numbers, and don't want to wait.
fn limits() -> Limits {
    let mut limits = Limits::default();
    let many = Classes::new(1_000_000, 1_000_000, 1_000_000);
    limits.connections.open = many;
    limits.connections.per_minute = many;
    limits.authentication.failures_per_minute = many;
    limits.authentication.failures_per_day = many;
    limits.smtp.first_time_sender_delay = Duration::ZERO;
    limits.smtp.unknown_recipients_delay = Duration::ZERO;
    limits
}

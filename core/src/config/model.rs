//! The configuration as the server uses it: resolved, checked, with every default filled in.
//!
//! A value of these types is only made by [`Config::load`](super::Config::load),
//! [`Config::parse`](super::Config::parse) or
//! [`Config::localserve`](super::Config::localserve), so what they hold has passed every check.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use postrider_dns::resolver::{Mode as Belief, Upstream};
use postrider_proto::address::Domain;
use postrider_proto::imap::mailbox::MailboxName;

use super::checks::Checks;
use super::delivery::Delivery;
use super::limits::Limits;
use super::reports::Reports;
use super::webhooks::Webhooks;
use crate::log::{Format, Levels};

/// Everything that `postrider.toml` says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// The name of this host in greetings, `Received` fields and reports.
    pub hostname: HostName,
    /// Where everything that the server keeps is stored.
    pub data_dir: PathBuf,
    /// The control socket, `ctl` in the data directory.
    pub control_socket: PathBuf,
    /// The user to become after the ports are bound; none keeps the current one.
    pub user: Option<RunAs>,
    /// Threads that serve connections; none means one for each core.
    pub shards: Option<NonZeroUsize>,
    /// Threads for work that would block a shard.
    pub worker_threads: NonZeroUsize,
    /// Log lines.
    pub log: Log,
    /// Where connections are accepted.
    pub listeners: Vec<Listener>,
    /// Certificates and versions.
    pub tls: Tls,
    /// The store.
    pub storage: Storage,
    /// How texts are searched.
    pub search: Search,
    /// How names are resolved; none in a local instance that was given no resolver.
    pub dns: Option<Dns>,
    /// How messages leave.
    pub delivery: Delivery,
    /// What is reported to other domains.
    pub reports: Reports,
    /// How webhooks of accounts are called.
    pub webhooks: Webhooks,
    /// What new accounts get.
    pub accounts: AccountDefaults,
    /// Whether users can share mailboxes with every user of the server.
    pub share_with_anyone: bool,
    /// Who reads the mail for `postmaster`.
    pub postmaster: Option<Postmaster>,
    /// How passwords are kept.
    pub passwords: Passwords,
    /// Networks that connection and authentication limits don't apply to.
    pub unlimited: Vec<Network>,
    /// Whether this is a server of its own or a local instance for tries and tests.
    pub mode: Mode,
}

/// How names are resolved.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dns {
    /// Who is asked.
    pub upstreams: DnsUpstreams,
    /// How it is decided what can be believed.
    pub mode: Belief,
    /// Upstreams in these networks are believed in mode `trust`, as those on loopback are.
    pub trusted: Vec<Network>,
    /// Trust anchors instead of those that are built in.
    pub trust_anchors: Option<PathBuf>,
    /// Certificates of authorities for DNS over TLS; none for the system's.
    pub tls_roots: Option<PathBuf>,
    /// Memory for answers, on each shard.
    pub cache_octets: usize,
}

/// Which upstreams are asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DnsUpstreams {
    /// Those of this `resolv.conf`.
    System(PathBuf),
    /// These.
    Listed(Vec<Upstream>),
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            upstreams: DnsUpstreams::System(PathBuf::from("/etc/resolv.conf")),
            mode: Belief::default(),
            trusted: Vec::new(),
            trust_anchors: None,
            tls_roots: None,
            cache_octets: 4 << 20,
        }
    }
}

/// What kind of instance runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// A server on a network.
    Serve,
    /// `postrider localserve`: loopback only, any recipient is accepted, test replies on demand,
    /// loopback peers aren't limited.
    Local,
}

/// The name of a host.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct HostName(pub(super) Domain);

impl HostName {
    /// `localhost`, the name of a local instance, and what stands in for a name that has a mistake.
    pub(super) fn localhost() -> Self {
        Self(Domain::parse("localhost").expect("a domain"))
    }

    /// The name in ASCII.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The name as a domain.
    pub const fn domain(&self) -> &Domain {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The user to run as.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RunAs {
    /// A name to be looked up in the system's user database.
    Name(String),
    /// Numbers, written `uid:gid`.
    Ids {
        /// The user's number.
        uid: u32,
        /// The group's number.
        gid: u32,
    },
}

/// Log lines: how they look and which are written.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Log {
    /// How a line looks.
    pub format: Format,
    /// Which lines are written.
    pub levels: Levels,
}

/// What is spoken on a listener.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Protocol {
    /// Mail from other servers, port 25.
    Smtp,
    /// Mail from our users with STARTTLS, port 587.
    Submission,
    /// Mail from our users over TLS, port 465.
    Submissions,
    /// IMAP with STARTTLS, port 143.
    Imap,
    /// IMAP over TLS, port 993.
    Imaps,
    /// Metrics over HTTP.
    Metrics,
}

impl Protocol {
    /// Every protocol, in the order of the documentation.
    pub const ALL: [Self; 6] =
        [Self::Smtp, Self::Submission, Self::Submissions, Self::Imap, Self::Imaps, Self::Metrics];

    /// The name, as in the configuration and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Submission => "submission",
            Self::Submissions => "submissions",
            Self::Imap => "imap",
            Self::Imaps => "imaps",
            Self::Metrics => "metrics",
        }
    }

    /// The port used when the configuration names none.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Smtp => 25,
            Self::Submission => 587,
            Self::Submissions => 465,
            Self::Imap => 143,
            Self::Imaps => 993,
            Self::Metrics => 8010,
        }
    }

    /// True where the TLS handshake comes before the first protocol byte.
    pub const fn implicit_tls(self) -> bool {
        matches!(self, Self::Submissions | Self::Imaps)
    }
}

/// When a listener's connections are encrypted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TlsMode {
    /// Never: STARTTLS isn't offered.
    Off,
    /// STARTTLS is offered.
    Optional,
    /// STARTTLS is offered and needed: before AUTH or LOGIN, and on port 25 before RCPT.
    Required,
    /// From the first byte.
    Implicit,
}

/// Whether an optional behaviour is on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Switch {
    /// It is on.
    On,
    /// It is off.
    Off,
}

/// One place where connections are accepted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listener {
    /// The name in logs and metrics.
    pub name: String,
    /// What is spoken.
    pub protocol: Protocol,
    /// Where.
    pub addresses: Vec<SocketAddr>,
    /// The name in the greeting.
    pub hostname: HostName,
    /// When connections are encrypted.
    pub tls: TlsMode,
    /// Whether the REQUIRETLS extension is offered once TLS is active (RFC 8689).
    pub requiretls: Switch,
    /// Whether TLS sessions can be resumed by ticket.
    pub session_tickets: Switch,
    /// Whether a client certificate logs in at once (`imaps` only).
    pub preauth: Switch,
    /// Capabilities of IMAP that are neither announced nor enabled, in upper case.
    pub disabled_capabilities: Vec<String>,
    /// What is looked at before mail is accepted (`smtp` only).
    pub checks: Checks,
    /// Its limits.
    pub limits: Limits,
}

/// TLS of all listeners.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tls {
    /// Certificates; the one that fits the name that the client asks for is used, else the first.
    pub certificates: Certificates,
    /// The lowest version that is spoken.
    pub min_version: TlsVersion,
}

/// Where certificates come from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Certificates {
    /// From files in PEM form. Empty when no listener uses TLS.
    Files(Vec<CertificateFiles>),
    /// One that signs itself, made at the first start and kept in the data directory.
    SelfSigned,
}

/// A certificate chain and its key, both PEM.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateFiles {
    /// The chain, the host's own certificate first.
    pub cert_file: PathBuf,
    /// The private key.
    pub key_file: PathBuf,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum TlsVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// The store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Storage {
    /// Octets of memory for cached blocks.
    pub cache_octets: u64,
    /// Octets of memory for rows that are not yet in a table.
    pub rows_memtable_octets: u64,
    /// The same for message content.
    pub blobs_memtable_octets: u64,
    /// Octets that the journal may take on disk.
    pub journal_octets: u64,
    /// Octets that must stay free on the disk: below, nothing is accepted.
    pub min_free_octets: u64,
    /// How long removed messages are remembered for clients that synchronise.
    pub tombstone_retention: Duration,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            cache_octets: 16 << 20,
            rows_memtable_octets: 8 << 20,
            blobs_memtable_octets: 8 << 20,
            journal_octets: 64 << 20,
            min_free_octets: 256 << 20,
            tombstone_retention: Duration::from_secs(90 * 24 * 60 * 60),
        }
    }
}

/// How texts are searched.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Search {
    /// Which accounts have a text index.
    pub text_index: TextIndex,
}

/// Which accounts have a text index.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TextIndex {
    /// Those whose texts were searched for at least once.
    #[default]
    Used,
    /// All.
    Always,
    /// None: searches read the messages.
    Off,
}

/// What a new account gets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AccountDefaults {
    /// Octets of all messages; none is unlimited.
    pub quota_octets: Option<u64>,
    /// Mailboxes made beside `Inbox`.
    pub mailboxes: Vec<InitialMailbox>,
    /// Accounts of submission servers, which may use URLs for `submit+` (RFC 4467 §3).
    pub submission_servers: Vec<String>,
    /// What accounts may send, for which nothing else is set.
    pub sending: SendingLimits,
}

/// To how many recipients of other servers an account may send in 24 hours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SendingLimits {
    /// All of them.
    pub recipients_per_day: u32,
    /// Those to whom it never sent before.
    pub first_time_recipients_per_day: u32,
}

impl Default for SendingLimits {
    fn default() -> Self {
        Self { recipients_per_day: 1000, first_time_recipients_per_day: 200 }
    }
}

/// A mailbox that every new account has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InitialMailbox {
    /// Its name.
    pub name: MailboxName,
    /// Its special use (RFC 6154), if it has one.
    pub special_use: Option<SpecialUse>,
}

/// The special uses of RFC 6154 that a new account's mailboxes can have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SpecialUse {
    /// `\Sent`
    Sent,
    /// `\Archive`
    Archive,
    /// `\Trash`
    Trash,
    /// `\Drafts`
    Drafts,
    /// `\Junk`
    Junk,
}

impl SpecialUse {
    /// Each one with its key in the configuration and its usual mailbox name.
    pub const ALL: [(Self, &'static str, &'static str); 5] = [
        (Self::Sent, "sent", "Sent"),
        (Self::Archive, "archive", "Archive"),
        (Self::Trash, "trash", "Trash"),
        (Self::Drafts, "drafts", "Drafts"),
        (Self::Junk, "junk", "Junk"),
    ];
}

impl Default for AccountDefaults {
    fn default() -> Self {
        // The names are valid; a test says so.
        let mailbox = |name: &str, special_use| {
            Some(InitialMailbox { name: MailboxName::new(name).ok()?, special_use: Some(special_use) })
        };
        let mailboxes =
            SpecialUse::ALL.iter().filter_map(|(special_use, _, name)| mailbox(name, *special_use));
        Self {
            quota_octets: None,
            mailboxes: mailboxes.collect(),
            submission_servers: Vec::new(),
            sending: SendingLimits::default(),
        }
    }
}

/// Who reads the mail for `postmaster` at this host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Postmaster {
    /// The account's name.
    pub account: String,
    /// The mailbox that gets the mail.
    pub mailbox: MailboxName,
}

/// How passwords are kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Passwords {
    /// Rounds of PBKDF2 in new SCRAM verifiers (RFC 5802 §5.1).
    pub iterations: u32,
    /// Octets that a new password must have at least.
    pub min_octets: u32,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { iterations: 16_384, min_octets: 8 }
    }
}

/// A network: an address and the number of its leading bits that count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network {
    pub(super) address: IpAddr,
    pub(super) bits: u8,
}

impl Network {
    /// The network of one address.
    pub fn host(address: IpAddr) -> Self {
        Self { address, bits: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// Parses `address/bits`, or an address alone for one host. Bits after the prefix must be 0.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= width)?,
            None => width,
        };
        let network = Self { address, bits };
        (mask(address, bits) == address).then_some(network)
    }

    /// Whether `address` is in the network. An IPv4 address mapped to IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && mask(address, self.bits) == self.address
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

fn mask(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}

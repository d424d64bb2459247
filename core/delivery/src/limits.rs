//! Every limit of delivery, in one table.
//!
//! What belongs to the operator is in [`crate::backoff::Backoff`] and [`crate::schedule::Settings`]; what is here
//! bounds what strangers publish, say or cause.

/// Aliases from a recipient's domain to the name that has MX records (RFC 5321 §5.1). The resolver has the same
/// limit, so a longer way is a failed lookup.
pub const ALIASES_MAX: usize = 16;
/// MX hosts that are kept of a domain, the most preferred.
pub const EXCHANGERS_MAX: usize = 64;
/// Hosts that one attempt looks at.
pub const HOSTS_MAX: usize = 10;
/// Addresses of a host that one attempt connects to. RFC 5321 §5.1 asks for at least two.
pub const ADDRESSES_MAX: usize = 6;
/// Connections that one attempt opens, those in clear after failed TLS included.
pub const DIALS_MAX: usize = 20;
/// Addresses that are remembered of the connections for a message to one host, the latest.
pub const DIALED_MAX: usize = 16;
/// Hosts for which they are remembered.
pub const DIALED_HOSTS_MAX: usize = 16;
/// Extended DNS errors that are kept of an attempt.
pub const DNS_ERRORS_MAX: usize = 32;
/// Octets of a remote text that are kept.
pub const TEXT_OCTETS_MAX: usize = 1024;
/// Patterns of each side of a route.
pub const PATTERNS_MAX: usize = 1000;
/// Octets of the text of a transport that fails.
pub const FAIL_TEXT_OCTETS_MAX: usize = 256;
/// Attempts after which a route may begin to match.
pub const MINIMUM_ATTEMPTS_MAX: u16 = 1000;
/// Strikes after which an address is suppressed: this many messages in a row that failed for good.
pub const STRIKES_MAX: u8 = 3;

/// Recipients of one entry that are claimed together with others: entries for one session at a time.
pub const ENTRIES_MAX: usize = 20;
/// Transactions over one connection, before it is closed and opened anew.
pub const TRANSACTIONS_MAX: u32 = 200;
/// Due rows that are read to choose entries of several accounts from.
pub const ROWS_READ_MAX: usize = 256;
/// New entries of one domain that are remembered to let every account have its turn.
pub const LANE_MAX: usize = 64;
/// Of these, for one account.
pub const LANE_ACCOUNT_MAX: usize = 4;
/// Domains with such a memory.
pub const LANES_MAX: usize = 4096;
/// Hosts whose state is remembered beyond those that are connected to: those that can't be reached, or are slow.
pub const HOSTS_REMEMBERED_MAX: usize = 16_384;
/// Domains that wait for a connection to one host to end; others look again after a while.
pub const HOST_WAITING_MAX: usize = 131_072;

const _: () = assert!(ALIASES_MAX == postrider_dns::limits::ALIASES_MAX);
const _: () = assert!(ADDRESSES_MAX >= 2 && HOSTS_MAX * ADDRESSES_MAX >= DIALS_MAX);
const _: () = assert!(ENTRIES_MAX <= ROWS_READ_MAX && LANE_ACCOUNT_MAX < LANE_MAX);
const _: () = assert!(HOSTS_MAX <= EXCHANGERS_MAX && HOSTS_MAX <= DIALED_HOSTS_MAX);

//! Every bound of the resolver that isn't configuration, in one place.

use std::time::Duration;

/// Aliases that one answer may go through (CNAME and those made of a DNAME). RFC 1034 §3.6.2 asks for care
/// and gives no number; chains of over a few are mistakes or attacks.
pub const ALIASES_MAX: usize = 16;
/// Octets of a response over UDP that we ask for: what crosses nearly every path unfragmented.
pub const UDP_OCTETS: u16 = 1232;
/// Records of one type that an answer may hold. More are refused: nobody who asks for mail needs them.
pub const RECORDS_MAX: usize = 1024;
/// Queries to upstreams that one lookup may cause: tries, aliases, and what validation fetches.
pub const QUERIES_PER_LOOKUP_MAX: u32 = 96;
/// Upstreams that are asked beside the first when what it gave is bogus: an attack on the way to one, or one that
/// drops signatures, isn't an attack on all.
pub const OTHERS_ASKED_MAX: usize = 2;
/// Lookups that may be under way at once. The next fails at once, so that a flood costs bounded memory.
pub const LOOKUPS_UNDER_WAY_MAX: usize = 4096;
/// Datagrams that may come instead of the answer before TCP is used: somebody may be guessing
/// (RFC 5452 §9.1).
pub const DATAGRAMS_WRONG_MAX: u32 = 8;
/// Extended errors that are kept of one response (RFC 8914 allows any number).
pub const EXTENDED_ERRORS_MAX: usize = 8;
/// Octets that are kept of the text of an extended error.
pub const EXTENDED_TEXT_OCTETS_MAX: usize = 256;
/// Upstreams that are used.
pub const UPSTREAMS_MAX: usize = 16;
/// How long a failed lookup is remembered: at first, and after it failed again and again. RFC 9520 §3.2:
/// at least 1 second, at most 5 minutes.
pub const FAILURE_KEPT: Duration = Duration::from_secs(5);
/// The longest time that a failure is remembered.
pub const FAILURE_KEPT_MAX: Duration = Duration::from_secs(300);
/// How long an expired answer may stand in when every upstream fails. RFC 8767 §5 suggests one to three days;
/// mail rather waits.
pub const STALE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Seconds for which an expired answer may be kept by who gets it (RFC 8767 §4 recommends 30).
pub const STALE_TTL: u32 = 30;
/// Longest time that any answer is kept, in seconds (RFC 8767 §4 recommends to bound it by days).
pub const TTL_MAX: u32 = 24 * 3600;
/// Longest time that is kept what doesn't exist, in seconds (RFC 2308 §5 suggests one to three hours).
pub const NEGATIVE_TTL_MAX: u32 = 3 * 3600;
/// An upstream that failed this often in a row is asked last.
pub const FAILURES_BEFORE_REST: u32 = 2;
/// The longest time for which an upstream that fails is asked last.
pub const REST_MAX: Duration = Duration::from_secs(60);
/// How long it is remembered what an upstream can't do (EDNS, keeping the case of a name).
pub const QUIRK_KEPT: Duration = Duration::from_secs(3600);

const _: () = assert!(FAILURE_KEPT.as_secs() >= 1 && FAILURE_KEPT_MAX.as_secs() <= 300);
// A lookup may need all that one validation may fetch, and its own tries beside.
const _: () = assert!(crate::dnssec::Limits::DEFAULT.fetches_max < QUERIES_PER_LOOKUP_MAX);
const _: () = assert!(crate::dnssec::Limits::DEFAULT.aliases_max == ALIASES_MAX);

//! Every bound of the resolver that isn't configuration, in one place.

/// Aliases that one answer may go through (CNAME and those made of a DNAME). RFC 1034 §3.6.2 asks for care
/// and gives no number; chains of over a few are mistakes or attacks.
pub const ALIASES_MAX: usize = 16;

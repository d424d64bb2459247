//! SMTP MTA Strict Transport Security (RFC 8461): the record, the policy, and the response that brings it.
//!
//! Nothing here asks DNS or connects. What a policy means for a delivery is the sender's; here is which hosts it
//! allows.
//!
//! Always holds: what is read is bounded, and a [`Policy`] is one that can be applied.

mod policy;
mod record;
mod response;
#[cfg(test)]
mod tests;

pub use policy::{Mode, Pattern, Policy, PolicyError};
pub use record::{Record, RecordError};
pub use response::{request, response_reader};

use crate::address::Domain;

/// Where a policy is on its host (RFC 8461 §3.2).
pub const PATH: &str = "/.well-known/mta-sts.txt";

/// The name of the record of a domain, without a dot at its end (RFC 8461 §3.1). It may be too long for DNS.
#[must_use]
pub fn record_name(domain: &Domain) -> String {
    format!("_mta-sts.{domain}")
}

/// The host that has the policy of a domain (RFC 8461 §3.2). None where its name would be too long.
#[must_use]
pub fn policy_host(domain: &Domain) -> Option<Domain> {
    Domain::parse(&format!("mta-sts.{domain}")).ok()
}

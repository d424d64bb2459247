//! Whether a message is from whom it says.
//!
//! The formats are `postrider-proto`'s; here is what they mean, over a resolver that is passed in
//! ([`postrider_dns::Lookup`]). No sockets, clocks or threads.

pub mod arc;
pub mod content;
pub mod dkim;
pub mod dmarc;
pub mod dnsbl;
pub mod iprev;
pub mod keys;
mod names;
pub mod spf;
#[cfg(test)]
mod testing;

use postrider_dns::Authenticity;
use postrider_proto::authentication_results::Dnssec;

/// The status of DNS as comments of `Authentication-Results` tell it.
pub(crate) fn dnssec(authenticity: Authenticity) -> Dnssec {
    if authenticity.is_secure() { Dnssec::With } else { Dnssec::Without }
}

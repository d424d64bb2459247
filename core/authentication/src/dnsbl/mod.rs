//! Blocklists in DNS (RFC 5782): whether an address or a domain is listed, and whether a list is in order.
//!
//! A list that went away, answers everything or refuses us must never cost mail: only an answer within 127.0.0.0/8
//! that isn't one of the known codes for errors is a listing.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use postrider_dns::{Answer, Authenticity, Lookup, Name, Outcome, RecordType};
use postrider_proto::address::Domain;

use crate::names;

/// Octets of a reason that are kept.
const REASON_OCTETS_MAX: usize = 400;
/// Codes of one listing that are kept.
const CODES_MAX: usize = 16;

/// Whether something is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is.
    Listed {
        /// What the list says, in its own codes (RFC 5782 §2.1).
        codes: Vec<Ipv4Addr>,
        /// Why, in the list's words (RFC 5782 §2.1): printable ASCII of a third party.
        reason: Option<String>,
    },
    /// It is not.
    NotListed,
    /// The list doesn't answer as lists do: it refuses us, or is in other hands.
    Odd(String),
    /// DNS failed, and how.
    Failed(String),
}

impl Status {
    /// The word for it in JSON.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Listed { .. } => "listed",
            Self::NotListed => "notlisted",
            Self::Odd(_) | Self::Failed(_) => "error",
        }
    }
}

/// What a list says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Whether something is listed.
    pub status: Status,
    /// The least of the answers.
    pub authenticity: Authenticity,
}

/// Whether a list is in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is.
    Healthy,
    /// It lists what it must not, or doesn't list what it must (RFC 5782 §5), and how.
    Unhealthy(String),
    /// DNS failed, and how: nothing can be said.
    Unknown(String),
}

/// What a list lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// IPv4 addresses.
    Ipv4,
    /// IPv6 addresses.
    Ipv6,
    /// Domains.
    Domains,
}

/// Looks an address up in a list.
pub async fn check_address<L: Lookup>(dns: &L, list: &Domain, address: IpAddr) -> Listing {
    ask(dns, list, &names::reversed(names::unmapped(address))).await
}

/// Looks a domain up in a list (RFC 5782 §4).
pub async fn check_domain<L: Lookup>(dns: &L, list: &Domain, domain: &Domain) -> Listing {
    ask(dns, list, domain.as_str()).await
}

/// Checks a list by the entries that it must and must not have (RFC 5782 §5).
pub async fn check_health<L: Lookup>(dns: &L, list: &Domain, kind: Kind) -> Health {
    let mapped = |last| Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0x7f00, last);
    let (listed, unlisted) = match kind {
        Kind::Ipv4 => ("2.0.0.127".to_owned(), "1.0.0.127".to_owned()),
        Kind::Ipv6 => (names::reversed(mapped(2).into()), names::reversed(mapped(1).into())),
        Kind::Domains => ("test".to_owned(), "invalid".to_owned()),
    };
    match status(dns, list, &listed).await.0 {
        Status::Listed { .. } => {}
        Status::NotListed => return Health::Unhealthy(format!("{listed}.{list} is not listed, and must be")),
        Status::Odd(problem) => return Health::Unhealthy(problem),
        Status::Failed(problem) => return Health::Unknown(problem),
    }
    match status(dns, list, &unlisted).await.0 {
        Status::NotListed => Health::Healthy,
        Status::Listed { .. } => Health::Unhealthy(format!("{unlisted}.{list} is listed, and must not be")),
        Status::Odd(problem) => Health::Unhealthy(problem),
        Status::Failed(problem) => Health::Unknown(problem),
    }
}

async fn ask<L: Lookup>(dns: &L, list: &Domain, what: &str) -> Listing {
    let (mut status, mut authenticity) = status(dns, list, what).await;
    if let Status::Listed { reason, .. } = &mut status
        && let Some(name) = names::below(what, list.as_str())
    {
        let answer = dns.lookup(&name, RecordType::TXT).await;
        authenticity = authenticity.and(answer.authenticity);
        *reason = answer
            .data()
            .find_map(names::text_of)
            .map(|text| names::printable(&text[..text.len().min(REASON_OCTETS_MAX)]));
    }
    Listing { status, authenticity }
}

async fn status<L: Lookup>(dns: &L, list: &Domain, what: &str) -> (Status, Authenticity) {
    let Some(name) = names::below(what, list.as_str()) else {
        // Nobody can list what is too long for DNS.
        return (Status::NotListed, Authenticity::Indeterminate);
    };
    let answer = dns.lookup(&name, RecordType::A).await;
    (read(&answer, &name), answer.authenticity)
}

fn read(answer: &Answer, name: &Name) -> Status {
    match answer.outcome {
        Outcome::Failed => return Status::Failed(names::failure(answer)),
        Outcome::NoData | Outcome::NoName => return Status::NotListed,
        Outcome::Found => {}
    }
    let mut codes = Vec::new();
    for address in answer.data().filter_map(names::address_of) {
        match address {
            IpAddr::V4(code) if is_listing(code) => codes.push(code),
            other => {
                // One such answer makes all of them doubtful: a hijacked or a refusing list.
                let name = name.to_ascii();
                return Status::Odd(format!("the list answers {other} for {name}, which is no listing"));
            }
        }
    }
    codes.truncate(CODES_MAX);
    if codes.is_empty() { Status::NotListed } else { Status::Listed { codes, reason: None } }
}

/// Whether a code says that something is listed. Those of 127.255.255.0/24 say that the question was wrong, came
/// by a public resolver, or too often (Spamhaus and those that follow it); 127.0.0.1 that it was refused (URIBL,
/// SURBL).
fn is_listing(code: Ipv4Addr) -> bool {
    code.is_loopback() && code != Ipv4Addr::LOCALHOST && code.octets()[..3] != [127, 255, 255]
}

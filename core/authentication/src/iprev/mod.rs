//! Whether a client's name in reverse DNS is its own: iprev (RFC 8601 §2.7.3, §3).

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use postrider_dns::{Authenticity, Lookup, Name, Outcome, RData};
use postrider_proto::address::Domain;
use postrider_proto::authentication_results::{Method, MethodResult};

use crate::names;

/// Names of a client that are looked at (RFC 8601 §3 leaves the number to us); one question for each, and one for
/// the names.
pub const NAMES_MAX: usize = 10;

/// What a check says (RFC 8601 §2.7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IprevResult {
    /// A name of the client has its address.
    Pass,
    /// The names have other addresses, or none.
    Fail,
    /// DNS failed; a later check may succeed.
    Temperror,
    /// The client has no name.
    Permerror,
}

impl IprevResult {
    /// The word for it in fields and JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Temperror => "temperror",
            Self::Permerror => "permerror",
        }
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// One of four words.
    pub result: IprevResult,
    /// The client, never an IPv4 address mapped to IPv6.
    pub address: IpAddr,
    /// The verified name, where it is one that mail can have.
    pub name: Option<Domain>,
    /// The names that reverse DNS tells, verified or not, at most [`NAMES_MAX`].
    pub names: Vec<String>,
    /// Why it didn't pass.
    pub problem: Option<String>,
    /// The least of the answers that it rests on.
    pub authenticity: Authenticity,
}

/// Checks a client.
pub async fn check<L: Lookup>(dns: &L, client: IpAddr) -> Verdict {
    let address = names::unmapped(client);
    let mut verdict = Verdict {
        result: IprevResult::Permerror,
        address,
        name: None,
        names: Vec::new(),
        problem: None,
        authenticity: Authenticity::Indeterminate,
    };
    // Every address has such a name; it is no longer than names can be.
    let Some(reverse) = names::of_address(address) else { return verdict };
    let answer = dns.lookup(&reverse, postrider_dns::RecordType::PTR).await;
    verdict.authenticity = answer.authenticity;
    let mut found: Vec<&Name> = answer.data().filter_map(target).collect();
    found.truncate(NAMES_MAX);
    if answer.outcome == Outcome::Failed {
        return verdict.with(IprevResult::Temperror, names::failure(&answer));
    }
    if found.is_empty() {
        return verdict.with(IprevResult::Permerror, format!("{address} has no name"));
    }
    verdict.names = found.iter().map(|name| shown(name)).collect();
    let mut failure = None;
    let mut all = verdict.authenticity;
    for name in found {
        let forward = dns.lookup(name, names::address_type(address)).await;
        if forward.data().filter_map(names::address_of).any(|has| has == address) {
            // The other names don't matter.
            verdict.authenticity = verdict.authenticity.and(forward.authenticity);
            verdict.name = names::host_name(name).and_then(|name| Domain::parse(&name).ok());
            verdict.result = IprevResult::Pass;
            return verdict;
        }
        all = all.and(forward.authenticity);
        if forward.outcome == Outcome::Failed && failure.is_none() {
            failure = Some(names::failure(&forward));
        }
    }
    verdict.authenticity = all;
    match failure {
        Some(problem) => verdict.with(IprevResult::Temperror, problem),
        None => verdict.with(IprevResult::Fail, format!("no name of {address} has this address")),
    }
}

fn target(data: &RData) -> Option<&Name> {
    match data {
        RData::PTR(name) => Some(&name.0),
        _ => None,
    }
}

/// A name for people, with escapes for what isn't printable.
fn shown(name: &Name) -> String {
    let text = name.to_ascii();
    text.strip_suffix('.').map_or_else(|| text.clone(), str::to_owned)
}

impl Verdict {
    fn with(self, result: IprevResult, problem: String) -> Self {
        Self { result, problem: Some(problem), ..self }
    }

    /// The result for `Authentication-Results`.
    #[must_use]
    pub fn method_result(&self) -> MethodResult {
        let mut result =
            MethodResult::new(Method::Iprev, self.result.word()).dnssec(crate::dnssec(self.authenticity));
        if let Some(problem) = &self.problem {
            result = result.reason(problem.as_str());
        }
        result.property("policy", "iprev", self.address.to_string())
    }
}

//! Whether a client may use a domain in HELO or MAIL FROM: SPF (RFC 7208), as RFC 8616 extends it.
//!
//! [`check`] is the standard's `check_host()`. It loops over an explicit stack of records, whose depth the limit of
//! terms bounds. How often DNS is asked is bounded by [`Limits`], whatever a domain publishes. There is no clock
//! here: who calls bounds the time (RFC 7208 §4.6.4 asks for at least 20 seconds) and takes what doesn't end for a
//! temperror.

mod ask;
mod evaluate;
#[cfg(test)]
mod suites;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use postrider_dns::{Authenticity, Lookup, Outcome, RecordType};
use postrider_proto::address::{Domain, HeloName, ReversePath};
use postrider_proto::authentication_results::{Method, MethodResult};
use postrider_proto::smtp::trace::Charset;
use postrider_proto::spf::ReceivedSpf;

pub use postrider_proto::spf::{Identity, Record, SpfResult};

use crate::names;
use evaluate::Evaluation;

/// How much is done for one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Terms that ask DNS (RFC 7208 §4.6.4).
    pub lookups_max: u32,
    /// Terms for which there is nothing in DNS (RFC 7208 §4.6.4).
    pub void_lookups_max: u32,
    /// Mail hosts of an `mx` term, and names of a client that are looked at (RFC 7208 §4.6.4).
    pub hosts_max: usize,
    /// Questions to DNS in all, but for the one for an explanation's text.
    ///
    /// Deviation: RFC 7208 §4.6.4 allows ten addresses for each of ten `mx` terms, which are 111 questions, maybe
    /// to a victim that never agreed. Repeated questions are asked once.
    pub queries_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { lookups_max: 10, void_lookups_max: 2, hosts_max: 10, queries_max: 20 }
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The client.
    pub client_ip: IpAddr,
    /// Whose name is checked.
    pub identity: Identity,
    /// The local part of the sender; empty: `postmaster` is put in its place (RFC 7208 §4.3).
    pub local_part: &'a str,
    /// The domain that is checked, whatever the peer wrote there.
    pub domain: &'a str,
    /// The name in HELO or EHLO, for macros.
    pub helo: &'a str,
    /// Our name, for macros; `unknown` when it is not to be told.
    pub receiver: &'a str,
    /// The time, in seconds since 1970, for macros.
    pub unix_seconds: u64,
}

/// The sender of a session, in the form that a query needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// MAIL FROM, or HELO where the reverse-path is empty (RFC 7208 §2.4).
    pub identity: Identity,
    /// The local part, empty with HELO.
    pub local_part: String,
    /// The domain; that of an address literal is none.
    pub domain: String,
}

impl Sender {
    /// The sender of a transaction: the reverse-path, or the client's name where it is empty.
    #[must_use]
    pub fn of(reverse_path: &ReversePath, helo: &HeloName) -> Self {
        match reverse_path.address() {
            Some(address) => Self {
                identity: Identity::MailFrom,
                local_part: address.localpart.as_str().into(),
                domain: address.domain.to_string(),
            },
            None => Self::of_helo(helo),
        }
    }

    /// The sender of the HELO identity (RFC 7208 §2.3).
    #[must_use]
    pub fn of_helo(helo: &HeloName) -> Self {
        Self { identity: Identity::Helo, local_part: String::new(), domain: helo.to_string() }
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// One of seven words.
    pub result: SpfResult,
    /// Whose name was checked.
    pub identity: Identity,
    /// The domain that was checked, in A-labels and lower case where it is one.
    pub domain: String,
    /// The directive that matched, of the domain's own record or of the one that it redirects to; none when none did.
    pub mechanism: Option<String>,
    /// What the domain says of a failure: printable ASCII, of a third party.
    pub explanation: Option<String>,
    /// Why there is no result: for temperror and permerror.
    pub problem: Option<String>,
    /// Terms that asked DNS.
    pub lookups: u32,
    /// Those for which there was nothing.
    pub void_lookups: u32,
    /// Questions to DNS.
    pub queries: u32,
    /// The least of all answers, that for the explanation included. Indeterminate when nothing was asked.
    pub authenticity: Authenticity,
}

/// Checks whether a client may use a domain.
pub async fn check<L: Lookup>(dns: &L, limits: &Limits, query: &Query<'_>) -> Verdict {
    let domain = ascii_domain(query.domain);
    let mut evaluation = Evaluation::new(dns, limits, query, &domain);
    let outcome = evaluation.run().await;
    let mut verdict = Verdict {
        result: outcome.result,
        identity: query.identity,
        domain: domain.to_ascii_lowercase(),
        mechanism: outcome.mechanism,
        explanation: None,
        problem: outcome.problem,
        lookups: evaluation.lookups(),
        void_lookups: evaluation.void_lookups(),
        queries: 0,
        authenticity: Authenticity::Indeterminate,
    };
    if let Some((spec, domain)) = outcome.explanation {
        verdict.explanation = evaluation.explain(&spec, &domain).await;
    }
    verdict.queries = evaluation.queries();
    verdict.authenticity = evaluation.authenticity();
    verdict
}

/// What a domain publishes, for people who look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The SPF records as they are published; octets that aren't printable are replaced. There should be one.
    pub texts: Vec<String>,
    /// The record, when there is one and it has no error.
    pub record: Option<Record>,
    /// Why there is no record that could be evaluated.
    pub problem: Option<String>,
    /// Whether DNS failed, so that it is unknown what the domain publishes.
    pub is_temporary: bool,
    /// Whether the answer can be believed.
    pub authenticity: Authenticity,
}

/// Looks up the record of a domain.
pub async fn lookup<L: Lookup>(dns: &L, domain: &str) -> Published {
    let mut published = Published {
        texts: Vec::new(),
        record: None,
        problem: None,
        is_temporary: false,
        authenticity: Authenticity::Indeterminate,
    };
    let domain = ascii_domain(domain);
    let Some(name) = names::absolute(&domain).filter(|_| domain.is_ascii()) else {
        published.problem = Some(format!("{domain} is no name of DNS"));
        return published;
    };
    let answer = dns.lookup(&name, RecordType::TXT).await;
    published.authenticity = answer.authenticity;
    published.is_temporary = answer.outcome == Outcome::Failed;
    let texts: Vec<Vec<u8>> =
        answer.data().filter_map(names::text_of).filter(|text| Record::is_one(text)).collect();
    published.texts = texts.iter().map(|text| names::printable(text)).collect();
    match &texts[..] {
        _ if published.is_temporary => published.problem = Some(names::failure(&answer)),
        [] => published.problem = Some(format!("{domain} has no SPF record")),
        [text] => match Record::parse(text) {
            Ok(record) => published.record = Some(record),
            Err(error) => published.problem = Some(error.to_string()),
        },
        _ => published.problem = Some(format!("{domain} has more than one SPF record")),
    }
    published
}

/// The domain in A-labels (RFC 8616 §4), without a dot at its end. What can't be converted stays, and is then no
/// name.
fn ascii_domain(domain: &str) -> String {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    if domain.is_ascii() {
        return domain.into();
    }
    Domain::parse(domain).map_or_else(|_| domain.into(), |domain| domain.to_string())
}

impl Verdict {
    /// The result for `Authentication-Results`.
    #[must_use]
    pub fn method_result(&self) -> MethodResult {
        let mut result =
            MethodResult::new(Method::Spf, self.result.word()).dnssec(crate::dnssec(self.authenticity));
        if let Some(problem) = &self.problem {
            result = result.reason(problem.as_str());
        }
        let property = match self.identity {
            Identity::MailFrom => "mailfrom",
            Identity::Helo => "helo",
        };
        if self.domain.is_empty() { result } else { result.property("smtp", property, self.domain.as_str()) }
    }

    /// The `Received-SPF` field, with its line breaks. `envelope_from` is none for an empty reverse-path.
    #[must_use]
    pub fn received_field(&self, query: &Query<'_>, envelope_from: Option<&str>, charset: Charset) -> String {
        let received = ReceivedSpf {
            result: self.result,
            identity: self.identity,
            domain: &self.domain,
            client_ip: names::unmapped(query.client_ip),
            envelope_from,
            helo: query.helo,
            problem: self.problem.as_deref(),
            mechanism: self.mechanism.as_deref(),
            receiver: query.receiver,
            charset,
        };
        received.field()
    }
}

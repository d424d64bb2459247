//! Questions to DNS within the limits of a check.

use std::net::IpAddr;

use postrider_dns::{Answer, Authenticity, Lookup, Name, Outcome, RData, RecordType};

use super::Limits;
use crate::names;

/// Why an evaluation ends without a match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// temperror
    Temporary(String),
    /// permerror
    Permanent(String),
}

/// The addresses of a host, as far as they can be the client's.
#[derive(Clone, Debug)]
pub(super) enum Addresses {
    /// These; none when there are none.
    Known(Vec<IpAddr>),
    /// DNS failed, and how.
    Failed(String),
}

/// DNS, with what was asked of it.
pub(super) struct Budgeted<'a, L> {
    dns: &'a L,
    queries_max: u32,
    pub(super) queries: u32,
    /// The least of all answers; none before the first.
    pub(super) authenticity: Option<Authenticity>,
    /// Addresses that were asked for: no question is asked twice.
    hosts: Vec<(Name, RecordType, Addresses)>,
}

impl<'a, L: Lookup> Budgeted<'a, L> {
    pub(super) fn new(dns: &'a L, limits: &Limits) -> Self {
        Self { dns, queries_max: limits.queries_max, queries: 0, authenticity: None, hosts: Vec::new() }
    }

    /// Whether there is a question left.
    pub(super) fn may_ask(&self) -> bool {
        self.queries < self.queries_max
    }

    /// Asks, when there is a question left.
    pub(super) async fn ask(&mut self, name: &Name, kind: RecordType) -> Result<Answer, Stop> {
        if !self.may_ask() {
            return Err(Stop::Permanent(format!("more than {} questions to DNS", self.queries_max)));
        }
        Ok(self.ask_beyond(name, kind).await)
    }

    /// Asks, also when no question is left.
    pub(super) async fn ask_beyond(&mut self, name: &Name, kind: RecordType) -> Answer {
        self.queries += 1;
        let answer = self.dns.lookup(name, kind).await;
        let known = self.authenticity.unwrap_or(Authenticity::Secure);
        self.authenticity = Some(known.and(answer.authenticity));
        answer
    }

    /// The addresses of a host.
    pub(super) async fn addresses(&mut self, host: &Name, kind: RecordType) -> Result<Addresses, Stop> {
        if let Some((.., known)) = self.hosts.iter().find(|(name, of, _)| name == host && *of == kind) {
            return Ok(known.clone());
        }
        let answer = self.ask(host, kind).await?;
        let addresses = match answer.outcome {
            Outcome::Failed => Addresses::Failed(names::failure(&answer)),
            _ => Addresses::Known(answer.data().filter_map(names::address_of).collect()),
        };
        self.hosts.push((host.clone(), kind, addresses.clone()));
        Ok(addresses)
    }
}

/// The mail hosts of an answer, the preferred first. A null MX (RFC 7505) is none.
pub(super) fn mail_hosts(answer: &Answer) -> Vec<Name> {
    let mut hosts: Vec<(u16, &Name)> = answer
        .data()
        .filter_map(|data| match data {
            RData::MX(mx) if !mx.exchange.is_root() => Some((mx.preference, &mx.exchange)),
            _ => None,
        })
        .collect();
    hosts.sort_by_key(|(preference, _)| *preference);
    hosts.into_iter().map(|(_, host)| host.clone()).collect()
}

/// The names of an answer to a PTR question.
pub(super) fn pointed_at(answer: &Answer) -> Vec<Name> {
    let target = |data: &RData| match data {
        RData::PTR(name) => Some(name.0.clone()),
        _ => None,
    };
    answer.data().filter_map(target).collect()
}

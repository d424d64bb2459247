//! `postrider tls`: what delivery to a domain would do, and why, by the same decisions that the server makes.
//!
//! The JSON is documented in `docs/cli-json.md`.

mod dialog;
#[cfg(test)]
mod tests;
mod words;

use std::path::Path;

use anyhow::Result;
use futures_lite::future::block_on;
use postrider_core::resolver::authorities;
use postrider_delivery::attempt::{Attempt, Plan, Step, Tried};
use postrider_delivery::destination::{Destination, Own, Target, Unfound, find, text_of};
use postrider_delivery::order::Dialed;
use postrider_delivery::outcome::{Failure, HostEnd, Stage, Unreachable};
use postrider_delivery::security::{Here, Kind, Requirement, Sts};
use postrider_delivery::transport::Families;
use postrider_dns::{ExtendedError, Lookup, Outcome, RecordType, parse_name};
use postrider_proto::address::{Domain, HeloName};
use postrider_proto::mta_sts::{Policy, policy_host, record_name};
use rustls::RootCertStore;
use serde_json::{Value, json};

use super::mta_sts;
use super::resolver::open;
use crate::arguments::{QueueWish, TlsCommand, TlsExplain};
use crate::terminal;
use dialog::{Dialed as Reached, Dialer};

/// `postrider tls`
pub fn tls(command: TlsCommand) -> Result<()> {
    let TlsCommand::Explain(arguments) = command;
    let dns = open(arguments.asking())?;
    let policy = match &arguments.domain {
        Target::Domain(domain) => policy(&dns, domain, arguments.ca_file.as_deref(), arguments.policy_port),
        Target::Literal(_) => Known { sts: Sts::None, words: "an address has no policy".to_owned() },
    };
    let roots = if arguments.dial { Some(authorities(arguments.ca_file.as_deref())) } else { None };
    let explained = explain(&dns, &arguments, policy, roots);
    if arguments.json {
        terminal::print(&explained.json().to_string());
    } else {
        explained.lines().iter().for_each(|line| terminal::print(line));
    }
    Ok(())
}

/// What is known of the policy of MTA-STS.
struct Known {
    sts: Sts,
    words: String,
}

/// Looks for the policy of a domain, as a server that has none in its store.
fn policy(dns: &impl Lookup, domain: &Domain, ca_file: Option<&Path>, port: u16) -> Known {
    let none = |words: String| Known { sts: Sts::None, words };
    let Ok(name) = parse_name(&record_name(domain)) else {
        return none("the name of its record is too long".to_owned());
    };
    let answer = block_on(dns.lookup(&name, RecordType::TXT));
    if answer.outcome == Outcome::Failed {
        let words = format!("its record can't be looked up: {}", answer.reason);
        return Known { sts: Sts::Unknown(answer.reason), words };
    }
    let record = match mta_sts::find(&answer).record {
        Ok(record) => record,
        Err(why) => return none(why),
    };
    let Some(host) = policy_host(domain) else {
        return none("the name of its host is too long".to_owned());
    };
    let fetched = mta_sts::addresses_of(dns, &host)
        .and_then(|addresses| mta_sts::fetch_text(&host, &addresses, port, ca_file))
        .and_then(|text| Ok(Policy::parse(&text)?));
    match fetched {
        Ok(policy) => {
            let hosts: Vec<String> = policy.patterns.iter().map(ToString::to_string).collect();
            let words = format!(
                "policy {} in mode {}, for {} s, with {}",
                record.id,
                policy.mode.word(),
                policy.max_age,
                if hosts.is_empty() { "no hosts".to_owned() } else { hosts.join(", ") }
            );
            Known { sts: Sts::Policy(policy), words }
        }
        Err(error) => none(format!(
            "policy {} is announced and can't be fetched ({error:#}); a server that keeps none goes on without",
            record.id
        )),
    }
}

/// A host, and what a connection to it came to.
struct Host {
    tried: Tried,
    /// Why it gets no message, where that is decided without a connection, or came of one.
    reason: Option<String>,
    reached: Option<Reached>,
}

/// Everything that there is to say.
struct Explained {
    target: Target,
    policy: Known,
    destination: Result<Destination, Unfound>,
    hosts: Vec<Host>,
    errors: Vec<ExtendedError>,
}

fn explain(
    dns: &impl Lookup,
    arguments: &TlsExplain,
    policy: Known,
    roots: Option<Result<RootCertStore, String>>,
) -> Explained {
    let target = arguments.domain.clone();
    let destination = block_on(find(dns, &target, Own::default()));
    let mut explained = Explained { target, policy, destination, hosts: Vec::new(), errors: Vec::new() };
    let Ok(destination) = &explained.destination else { return explained };
    let requirement = match arguments.requiretls {
        QueueWish::Default => Requirement::Unset,
        QueueWish::Yes => Requirement::Required,
        QueueWish::No => Requirement::No,
    };
    let plan = Plan {
        kind: Kind::Message,
        requirement,
        attempts_before: 0,
        recipients: 1,
        sts: &explained.policy.sts,
        dialed: Dialed::default(),
        families: Families::Both,
        port: arguments.port,
        here: Here::Tls,
        relay: None,
        own: Own::default(),
    };
    let hello = arguments.hello.clone().unwrap_or_else(|| HeloName::Other("localhost".into()));
    let dialer = roots.map(|roots| Dialer::new(roots, hello.clone()));
    // The order of equal hosts is that of the answer.
    let mut attempt = Attempt::new(plan, destination.clone(), &mut || 0);
    let mut reached = Vec::new();
    while let Step::Dial(dial) = block_on(attempt.next(dns)) {
        match &dialer {
            Some(dialer) => {
                let (ended, address) = dialer.dial(&dial);
                // A host that would take the message is no reason not to look at the next one.
                let end = ended.end.clone().unwrap_or(HostEnd::Broken {
                    stage: Stage::Mail,
                    how: postrider_delivery::outcome::Broken::Closed,
                });
                reached.push(Some(ended));
                attempt.ended(going_on(end), &address.into_iter().collect::<Vec<_>>());
            }
            None => {
                reached.push(None);
                attempt.ended(HostEnd::Unreachable(Unreachable::NoRoute), &[]);
            }
        }
    }
    let conclusion = attempt.conclude(1, 1);
    let mut reached = reached.into_iter();
    for tried in conclusion.tried {
        let reached = if tried.rule.is_some() { reached.next().flatten() } else { None };
        let end = reached
            .as_ref()
            .map_or_else(|| tried.rule.is_none().then(|| tried.end.clone()), |reached| reached.end.clone());
        let failure = end.and_then(|end| Failure::of_host(&tried.host, &end, requirement, false));
        explained.hosts.push(Host { tried, reason: failure.map(|failure| failure.reason), reached });
    }
    explained.errors = conclusion.errors;
    explained
}

/// What came of a host, so that the next one is looked at in any case.
fn going_on(end: HostEnd) -> HostEnd {
    if end.goes_on(false) {
        return end;
    }
    HostEnd::Broken { stage: Stage::Mail, how: postrider_delivery::outcome::Broken::Closed }
}

impl Explained {
    fn json(&self) -> Value {
        let destination = self.destination.as_ref();
        let found = destination.ok();
        json!({
            "domain": self.target.to_string(),
            "result": if found.is_some() { "hosts" } else { "undeliverable" },
            "reason": destination.err().map(ToString::to_string),
            "status": destination.err().map(|unfound| unfound.status().to_string()),
            "via": found.map(|found| words::via(found.via)),
            "mx": found.map_or_else(Vec::new, |found| found.hosts.iter().map(|host| json!({
                "preference": host.preference,
                "host": text_of(&host.host),
            })).collect()),
            "mx_status": found.map(|found| found.chain.word()),
            "mx_authentic": found.is_some_and(|found| found.chain.is_secure()),
            "mx_reason": found.map(|found| found.reason.clone()),
            "ignored": found.map_or_else(Vec::new, |found| found.ignored.iter().map(|ignored| json!({
                "host": ignored.host,
                "reason": words::why(ignored.why),
            })).collect()),
            "mta_sts": {
                "mode": match &self.policy.sts {
                    Sts::None => "none",
                    Sts::Unknown(_) => "unknown",
                    Sts::Policy(policy) => policy.mode.word(),
                },
                "words": self.policy.words,
            },
            "hosts": self.hosts.iter().map(Host::json).collect::<Vec<_>>(),
            "extended_errors": self.errors.iter().map(|error| json!({
                "code": error.code,
                "text": error.text,
            })).collect::<Vec<_>>(),
        })
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("Mail for {}", self.target)];
        let destination = match &self.destination {
            Ok(destination) => destination,
            Err(unfound) => {
                lines.push(format!("is not delivered: {unfound} ({})", unfound.status()));
                return lines;
            }
        };
        lines.extend(words::destination(destination));
        lines.push(format!("MTA-STS: {}", self.policy.words));
        for host in &self.hosts {
            lines.push(String::new());
            lines.extend(host.lines());
        }
        lines
    }
}

impl Host {
    fn json(&self) -> Value {
        let tried = &self.tried;
        json!({
            "host": tried.host,
            "in_clear": self.is_again(),
            "dane": tried.facts.map(|facts| words::dane(facts.dane)),
            "dane_reason": tried.dane,
            "mta_sts": tried.facts.map(|facts| words::sts(facts.sts)),
            "tls": tried.rule.map(|rule| words::starttls(rule.starttls)),
            "certificate": tried.rule.map(|rule| words::verification(rule.verification)),
            "requiretls": tried.rule.map(|rule| words::announce(rule.requiretls)),
            "on_failure": tried.rule.map(|rule| words::on_failure(rule.on_failure)),
            "rule": tried.rule.map(|rule| words::rule(&rule)),
            "dial": self.reached.as_ref().map(Reached::json),
            "reason": self.reason,
        })
    }

    /// Whether it is the connection in clear after TLS failed.
    fn is_again(&self) -> bool {
        self.tried.rule.is_some_and(|rule| rule.starttls == postrider_delivery::security::Starttls::Never)
    }

    fn lines(&self) -> Vec<String> {
        let tried = &self.tried;
        let again = if self.is_again() { ", once more without TLS" } else { "" };
        let mut lines = vec![format!("{}{again}", tried.host)];
        if let Some(facts) = tried.facts {
            lines.push(format!("  DANE: {}", words::dane_line(facts.dane, &tried.dane)));
            lines.push(format!("  MTA-STS: {}", words::sts_line(facts.sts)));
        }
        lines.extend(tried.rule.map(|rule| format!("  Rule: {}", words::rule(&rule))));
        if let Some(reached) = &self.reached {
            lines.extend(reached.lines().into_iter().map(|line| format!("  {line}")));
        }
        lines.extend(self.reason.as_ref().map(|reason| format!("  No message goes there: {reason}")));
        lines
    }
}

//! `postrider tls`: what delivery to a domain would do, and why, by the same decisions that the server makes. What only the
//! running server knows, it is asked: routes, and kept policies.
//!
//! The JSON is documented in `docs/cli-json.md`.

mod dialog;
mod policy;
mod route;
mod sender;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod told_tests;
mod words;

use std::net::IpAddr;

use anyhow::{Result, bail};
use futures_lite::future::block_on;
use postrider_delivery::attempt::{Attempt, Plan, Step, Tried};
use postrider_delivery::destination::{Destination, Own, Target, Unfound, find, text_of};
use postrider_delivery::order::Dialed;
use postrider_delivery::outcome::{Failure, HostEnd, Stage, Unreachable};
use postrider_delivery::security::{Here, Kind, Requirement, Starttls, Sts};
use postrider_delivery::transport::Transport;
use postrider_dns::{ExtendedError, Lookup, Name, parse_name};
use postrider_proto::address::HeloName;
use rustls::RootCertStore;
use serde_json::{Value, json};

use super::locate::Server;
use super::resolver::open;
use crate::arguments::{QueueWish, TlsCommand, TlsExplain, TlsSender};
use crate::terminal;
use dialog::{Dialed as Reached, Dialer};
use policy::Known;
use route::Told;

/// `postrider tls`
pub fn tls(server: &Server, command: TlsCommand) -> Result<()> {
    let TlsCommand::Explain(arguments) = command;
    if arguments.account.is_some() && arguments.from.is_none() {
        bail!("--account is for a sender. Name one with --from, or --from '' for a message without one");
    }
    let told = route::ask(server, &arguments)?;
    let dns = open(arguments.asking())?;
    let explained = explain(&dns, &arguments, told)?;
    if arguments.json {
        terminal::print(&explained.json().to_string());
    } else {
        explained.lines().iter().for_each(|line| terminal::print(line));
    }
    Ok(())
}

/// The policy that counts for a message over a transport.
fn policy(dns: &impl Lookup, arguments: &TlsExplain, told: &Told, transport: &Transport) -> Known {
    match &arguments.domain {
        _ if transport.relay().is_some() => Known::none("what the domain publishes doesn't count at a relay"),
        Target::Literal(_) => Known::none("an address has no policy"),
        Target::Domain(domain) => policy::find(dns, domain, told, || {
            policy::fetch(dns, domain, route::roots_file(arguments, told), arguments.policy_port)
        }),
    }
}

/// Why nothing is delivered, whatever hosts there are.
struct Undeliverable {
    status: String,
    reason: String,
}

impl From<Unfound> for Undeliverable {
    fn from(unfound: Unfound) -> Self {
        Self { status: unfound.status().to_string(), reason: unfound.to_string() }
    }
}

/// A host, and what a connection to it came to.
struct Host {
    tried: Tried,
    /// Whether it is the connection in clear after TLS failed.
    is_again: bool,
    /// Why it gets no message, where that is decided without a connection, or came of one.
    reason: Option<String>,
    reached: Option<Reached>,
}

/// Everything that there is to say.
struct Explained {
    target: Target,
    from: Option<TlsSender>,
    told: Told,
    policy: Known,
    destination: Result<Destination, Undeliverable>,
    hosts: Vec<Host>,
    errors: Vec<ExtendedError>,
}

fn explain(dns: &impl Lookup, arguments: &TlsExplain, told: Told) -> Result<Explained> {
    let details = told.as_ref().ok();
    let transport =
        details.and_then(|details| details.transport.as_ref()).map(route::transport).transpose()?;
    let transport = transport.unwrap_or(Transport::DEFAULT);
    let failure = details.and_then(|details| details.failure.as_ref());
    if let Some(failure) = failure {
        let destination =
            Err(Undeliverable { status: failure.status.clone(), reason: failure.reason.clone() });
        return Ok(Explained::new(arguments, told, Known::none("it doesn't come to that"), destination));
    }
    let policy = policy(dns, arguments, &told, &transport);
    let roots = arguments.dial.then(|| route::roots(arguments, &told));
    Ok(over(dns, arguments, told, policy, &transport, roots))
}

/// Explains delivery over a transport that connects to somebody.
fn over(
    dns: &impl Lookup,
    arguments: &TlsExplain,
    told: Told,
    policy: Known,
    transport: &Transport,
    roots: Option<Result<RootCertStore, String>>,
) -> Explained {
    let (names, addresses) = own(&told);
    let own = Own { names: &names, addresses: &addresses };
    let destination = match transport.relay() {
        Some((relay, _)) => Ok(Destination::relay(arguments.domain.clone(), &relay.host)),
        None => block_on(find(dns, &arguments.domain, own)).map_err(Undeliverable::from),
    };
    let mut explained = Explained::new(arguments, told, policy, destination);
    let Ok(destination) = &explained.destination else { return explained };
    let requirement = match arguments.requiretls {
        QueueWish::Default => Requirement::Unset,
        QueueWish::Yes => Requirement::Required,
        QueueWish::No => Requirement::No,
    };
    let plan = Plan {
        kind: Kind::Message,
        requirement,
        attempts_before: arguments.attempt.saturating_sub(1),
        recipients: 1,
        sts: &explained.policy.sts,
        dialed: Dialed::default(),
        families: transport.families(),
        port: transport.relay().map_or(arguments.port, |(_, port)| port),
        here: Here::Tls,
        relay: transport.relay_tls(),
        own,
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
        let is_again = is_in_clear(&tried)
            && explained.hosts.last().is_some_and(|before| before.tried.host == tried.host);
        let reason = failure.map(|failure| failure.reason);
        explained.hosts.push(Host { tried, is_again, reason, reached });
    }
    explained.errors = conclusion.errors;
    explained
}

fn is_in_clear(tried: &Tried) -> bool {
    tried.rule.is_some_and(|rule| rule.starttls == Starttls::Never)
}

/// What the server is called, and where it listens.
fn own(told: &Told) -> (Vec<Name>, Vec<IpAddr>) {
    let Ok(details) = told else { return (Vec::new(), Vec::new()) };
    let names = details.own_names.iter().filter_map(|name| parse_name(name).ok());
    (names.collect(), details.own_addresses.clone())
}

/// What came of a host, so that the next one is looked at in any case.
fn going_on(end: HostEnd) -> HostEnd {
    if end.goes_on(false) {
        return end;
    }
    HostEnd::Broken { stage: Stage::Mail, how: postrider_delivery::outcome::Broken::Closed }
}

impl Explained {
    fn new(
        arguments: &TlsExplain,
        told: Told,
        policy: Known,
        destination: Result<Destination, Undeliverable>,
    ) -> Self {
        let (target, from) = (arguments.domain.clone(), arguments.from.clone());
        Self { target, from, told, policy, destination, hosts: Vec::new(), errors: Vec::new() }
    }

    fn json(&self) -> Value {
        let destination = self.destination.as_ref();
        let found = destination.ok();
        let told = self.told.as_ref().ok();
        json!({
            "domain": self.target.to_string(),
            "result": if found.is_some() { "hosts" } else { "undeliverable" },
            "reason": destination.err().map(|undeliverable| &undeliverable.reason),
            "status": destination.err().map(|undeliverable| &undeliverable.status),
            "server": if told.is_some() { "asked" } else { "not-asked" },
            "server_reason": self.told.as_ref().err(),
            "sender": told.map(|told| sender::word(&told.sender)),
            "sender_accounts": told.and_then(|told| sender::accounts(&told.sender)),
            "sender_accounts_more": told.and_then(|told| sender::has_more(&told.sender)),
            "sender_reason": told.and_then(|told| sender::reason(told, self.from.as_ref())),
            "account": told.and_then(|told| told.account.as_ref()),
            "route": told.and_then(|told| told.route.as_ref()),
            "routes_left_out": told.map(|told| told.left_out),
            "transport": told.and_then(|told| told.transport.as_ref()),
            "authorities": told.and_then(|told| told.tls_roots.as_ref()),
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
                "source": self.policy.source.map(words::source),
                "words": self.policy.words,
                "kept": told.and_then(|told| told.kept.as_ref()),
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
        lines.extend(route::lines(&self.told, self.from.as_ref()));
        let destination = match &self.destination {
            Ok(destination) => destination,
            Err(Undeliverable { status, reason }) => {
                lines.push(format!("It is not delivered: {reason} ({status})"));
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
            "in_clear": is_in_clear(tried),
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

    fn lines(&self) -> Vec<String> {
        let tried = &self.tried;
        let again = if self.is_again { ", once more without TLS" } else { "" };
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

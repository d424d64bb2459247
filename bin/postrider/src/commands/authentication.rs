//! The checks of incoming mail, for people who look into a message or into what they publish.
//!
//! Each prints lines, or one JSON object whose members `docs/cli-json.md` describes.

use std::net::IpAddr;

use anyhow::{Context as _, Result, bail};
use futures_lite::future::block_on;
use postrider_authentication::dmarc::{Author, DmarcResult, Identifier, Mode, Request};
use postrider_authentication::dnsbl::{Health, Kind, Status};
use postrider_authentication::spf::{Identity, Limits, Query, Record};
use postrider_authentication::{dkim, dmarc, dnsbl, iprev, spf};
use postrider_dns::Authenticity;
use postrider_proto::address::Domain;
use postrider_proto::dmarc::AuthorProblem;
use postrider_proto::spf::{DomainSpec, Modifier};
use serde_json::{Map, Value, json};

use super::dkim::{now, read_message};
use super::resolver::open;
use crate::arguments::{
    DmarcCommand, DmarcLookup, DmarcVerify, DnsblCommand, IprevCommand, SpfCheck, SpfCommand, SpfLookup,
};
use crate::terminal;

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A line for each member.
    Lines,
    /// One object.
    Json,
}

impl Format {
    /// The format that the switch asks for.
    pub fn of(json: bool) -> Self {
        if json { Self::Json } else { Self::Lines }
    }

    /// Prints an object.
    pub(super) fn print(self, object: &Value) {
        match self {
            Self::Json => terminal::print(&object.to_string()),
            Self::Lines => {
                let members = object.as_object().map(lines).unwrap_or_default();
                members.iter().for_each(|line| terminal::print(line));
            }
        }
    }
}

/// A line for each member that is there.
fn lines(object: &Map<String, Value>) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let line = |(name, value): (&String, &Value)| match value {
        Value::Null => None,
        Value::Array(values) if values.is_empty() => None,
        Value::Array(values) => {
            Some(format!("{name}: {}", values.iter().map(text).collect::<Vec<_>>().join(", ")))
        }
        value => Some(format!("{name}: {}", text(value))),
    };
    object.iter().filter_map(line).collect()
}

/// The members that every result has that rests on DNS.
fn believed(authenticity: Authenticity) -> (Value, Value) {
    (json!(authenticity.is_secure()), json!(authenticity.word()))
}

/// `postrider spf`
pub fn spf(command: SpfCommand) -> Result<()> {
    match command {
        SpfCommand::Check(arguments) => spf_check(&arguments),
        SpfCommand::Lookup(arguments) => spf_lookup(&arguments),
        SpfCommand::Parse(arguments) => spf_parse(&arguments.record, Format::of(arguments.json)),
    }
}

fn spf_check(arguments: &SpfCheck) -> Result<()> {
    let client_ip = address(&arguments.ip)?;
    let query = query(client_ip, &arguments.helo, &arguments.mail_from, &arguments.receiver);
    let dns = open(arguments.asking())?;
    let verdict = block_on(spf::check(&dns, &Limits::default(), &query));
    Format::of(arguments.json).print(&spf_object(&verdict));
    Ok(())
}

/// A query of what a peer wrote, however odd: that is what people look into.
fn query<'a>(client_ip: IpAddr, helo: &'a str, mail_from: &'a str, receiver: &'a str) -> Query<'a> {
    let mail_from = mail_from.trim_start_matches('<').trim_end_matches('>');
    let (identity, local_part, domain) = match mail_from.rsplit_once('@') {
        Some((local, domain)) => (Identity::MailFrom, local, domain),
        None if mail_from.is_empty() => (Identity::Helo, "", helo),
        None => (Identity::MailFrom, "", mail_from),
    };
    Query { client_ip, identity, local_part, domain, helo, receiver, unix_seconds: now() }
}

fn spf_object(verdict: &spf::Verdict) -> Value {
    let (authentic, status) = believed(verdict.authenticity);
    json!({
        "result": verdict.result.word(),
        "identity": verdict.identity.word(),
        "domain": verdict.domain,
        "mechanism": verdict.mechanism,
        "explanation": verdict.explanation,
        "problem": verdict.problem,
        "lookups": verdict.lookups,
        "void_lookups": verdict.void_lookups,
        "queries": verdict.queries,
        "authentic": authentic,
        "status": status,
    })
}

fn spf_lookup(arguments: &SpfLookup) -> Result<()> {
    let dns = open(arguments.asking())?;
    let published = block_on(spf::lookup(&dns, &arguments.domain));
    let (authentic, status) = believed(published.authenticity);
    if published.is_temporary {
        bail!("{}", published.problem.unwrap_or_default());
    }
    let mut object = json!({
        "domain": arguments.domain,
        "records": published.texts,
        "problem": published.problem,
        "authentic": authentic,
        "status": status,
    });
    add_terms(&mut object, published.record.as_ref());
    Format::of(arguments.json).print(&object);
    Ok(())
}

fn spf_parse(text: &str, format: Format) -> Result<()> {
    if !Record::is_one(text.as_bytes()) {
        bail!("an SPF record begins with v=spf1 and a space");
    }
    let parsed = Record::parse(text.as_bytes());
    let mut object = json!({
        "valid": parsed.is_ok(),
        "problem": parsed.as_ref().err().map(ToString::to_string),
    });
    add_terms(&mut object, parsed.as_ref().ok());
    format.print(&object);
    Ok(())
}

/// Adds the terms of a record to an object; nulls when there is none.
fn add_terms(object: &mut Value, record: Option<&Record>) {
    let directives = record.map(|record| {
        record
            .directives
            .iter()
            .map(|directive| {
                json!({
                    "result": directive.qualifier.result().word(),
                    "mechanism": directive.mechanism.to_string(),
                    "asks_dns": directive.mechanism.asks_dns(),
                })
            })
            .collect::<Vec<Value>>()
    });
    let spec = |spec: Option<&DomainSpec>| spec.map(ToString::to_string);
    object["record"] = json!(record.map(ToString::to_string));
    object["directives"] = json!(directives);
    object["redirect"] = json!(spec(record.and_then(|record| record.redirect.as_ref())));
    object["exp"] = json!(spec(record.and_then(|record| record.explanation.as_ref())));
    let unknown = |modifier: &Modifier| format!("{}={}", modifier.name, modifier.value);
    object["unknown_modifiers"] =
        json!(record.map(|record| record.unknown.iter().map(unknown).collect::<Vec<_>>()));
}

/// `postrider dmarc`
pub fn dmarc(command: DmarcCommand) -> Result<()> {
    match command {
        DmarcCommand::Lookup(arguments) => dmarc_lookup(&arguments),
        DmarcCommand::Verify(arguments) => dmarc_verify(&arguments),
    }
}

fn organizational(public_suffix_list: bool) -> Mode {
    if public_suffix_list { Mode::PublicSuffixList } else { Mode::TreeWalk }
}

fn dmarc_lookup(arguments: &DmarcLookup) -> Result<()> {
    let name = &arguments.domain;
    let domain = Domain::parse(name).with_context(|| format!("{name} is no domain"))?;
    let dns = open(arguments.asking())?;
    let verdict = block_on(dmarc::lookup(&dns, &domain, organizational(arguments.public_suffix_list)));
    if verdict.result == DmarcResult::Temperror {
        bail!("{}", verdict.problem.unwrap_or_default());
    }
    Format::of(arguments.json).print(&dmarc_object(&verdict));
    Ok(())
}

fn dmarc_verify(arguments: &DmarcVerify) -> Result<()> {
    let client_ip = address(&arguments.ip)?;
    let message = read_message(arguments.file.as_ref())?;
    let dns = open(arguments.asking())?;
    let query = query(client_ip, &arguments.helo, &arguments.mail_from, "unknown");
    let verdict = block_on(async {
        // A header that can't be read has no author, and no signatures that count.
        let (author, signatures) = match &message {
            Ok(content) => {
                let policy = dkim::Policy::default();
                let signatures = dkim::verify(content, &policy, query.unix_seconds, &dns).await;
                (Author::of_header(content.header.octets()), signatures)
            }
            Err(_) => {
                (Author::Unclear { problem: AuthorProblem::Malformed, domains: Vec::new() }, Vec::new())
            }
        };
        let spf = Identifier::of_spf(&spf::check(&dns, &Limits::default(), &query).await);
        let dkim: Vec<Identifier> = signatures.iter().filter_map(Identifier::of_signature).collect();
        let mode = organizational(arguments.public_suffix_list);
        // What `pct` leaves to chance is decided for the stricter policy.
        let request = Request { author: &author, spf: spf.as_ref(), dkim: &dkim, mode, sample: 0 };
        dmarc::evaluate(&dns, &request).await
    });
    Format::of(arguments.json).print(&dmarc_object(&verdict));
    Ok(())
}

fn dmarc_object(verdict: &dmarc::Verdict) -> Value {
    let (authentic, status) = believed(verdict.authenticity);
    let policies = verdict.policies.as_ref();
    let faults =
        policies.map(|policies| policies.record.faults.iter().map(ToString::to_string).collect::<Vec<_>>());
    json!({
        "result": verdict.result.word(),
        "domain": verdict.domain.as_ref().map(ToString::to_string),
        "policy": policies.map(|_| verdict.policy.word()),
        "applied": verdict.applied.word(),
        "at_stake": verdict.at_stake.word(),
        "testing": verdict.testing,
        "sampled_out": verdict.sampled_out,
        "aligned_spf": verdict.aligned_spf,
        "aligned_dkim": verdict.aligned_dkim,
        "record": policies.map(|policies| policies.text.as_str()),
        "record_domain": policies.map(|policies| policies.domain.to_string()),
        "source": policies.map(|policies| policies.source.word()),
        "faults": faults,
        "problem": verdict.problem,
        "queries": verdict.queries,
        "authentic": authentic,
        "status": status,
    })
}

/// `postrider iprev`
pub fn iprev(command: IprevCommand) -> Result<()> {
    let IprevCommand::Check(arguments) = command;
    let client = address(&arguments.ip)?;
    let dns = open(arguments.asking())?;
    let verdict = block_on(iprev::check(&dns, client));
    let (authentic, status) = believed(verdict.authenticity);
    Format::of(arguments.json).print(&json!({
        "result": verdict.result.word(),
        "ip": verdict.address.to_string(),
        "name": verdict.name.as_ref().map(ToString::to_string),
        "names": verdict.names,
        "problem": verdict.problem,
        "authentic": authentic,
        "status": status,
    }));
    Ok(())
}

/// `postrider dnsbl`
pub fn dnsbl(command: DnsblCommand) -> Result<()> {
    let DnsblCommand::Check(arguments) = command;
    let (list, what) = (&arguments.list, &arguments.what);
    let list = Domain::parse(list).with_context(|| format!("{list} is no domain"))?;
    let dns = open(arguments.asking())?;
    let (kind, listing) = match what.parse::<IpAddr>() {
        Ok(address) => {
            let kind = if address.to_canonical().is_ipv4() { Kind::Ipv4 } else { Kind::Ipv6 };
            (kind, block_on(dnsbl::check_address(&dns, &list, address)))
        }
        Err(_) => {
            let domain =
                Domain::parse(what).with_context(|| format!("{what} is neither an address nor a domain"))?;
            (Kind::Domains, block_on(dnsbl::check_domain(&dns, &list, &domain)))
        }
    };
    let (codes, reason, problem) = match &listing.status {
        Status::Listed { codes, reason } => (codes.clone(), reason.clone(), None),
        Status::NotListed => (Vec::new(), None, None),
        Status::Odd(problem) | Status::Failed(problem) => (Vec::new(), None, Some(problem.clone())),
    };
    let (healthy, health) = match block_on(dnsbl::check_health(&dns, &list, kind)) {
        Health::Healthy => (Some(true), None),
        Health::Unhealthy(problem) => (Some(false), Some(problem)),
        Health::Unknown(problem) => (None, Some(problem)),
    };
    let (authentic, status) = believed(listing.authenticity);
    Format::of(arguments.json).print(&json!({
        "list": list.to_string(),
        "what": what,
        "result": listing.status.word(),
        "codes": codes,
        "reason": reason,
        "problem": problem,
        "healthy": healthy,
        "health_problem": health,
        "authentic": authentic,
        "status": status,
    }));
    Ok(())
}

fn address(text: &str) -> Result<IpAddr> {
    text.parse().with_context(|| format!("{text} is no IP address"))
}

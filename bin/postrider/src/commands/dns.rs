//! `postrider dns`, `dnssec` and `dane`: what DNS says, and whether it can be believed.
//!
//! The JSON is documented in `docs/cli-json.md`.

use anyhow::bail;
use futures_lite::future::block_on;
use postrider_core::resolver::Blocking;
use postrider_dns::dane::{Applies, Found, NextHop, describe, find, tlsa_name, usable};
use postrider_dns::lookups::associations;
use postrider_dns::resolver::Resolver;
use postrider_dns::{
    Answer, Authenticity, ExtendedError, Lookup, Outcome, RData, Record, hexadecimal, present,
};
use serde_json::{Value, json};

use super::dial::dial;
use super::resolver::open;
use crate::arguments::{
    Asking, Belief, DaneCommand, DaneLookup, DnsCommand, DnsLookup, DnssecCommand, DnssecExplain,
};
use crate::terminal;

/// `postrider dns`
pub fn dns(command: DnsCommand) -> anyhow::Result<()> {
    let DnsCommand::Lookup(arguments) = command;
    lookup(&arguments)
}

/// `postrider dnssec`
pub fn dnssec(command: DnssecCommand) -> anyhow::Result<()> {
    let DnssecCommand::Explain(arguments) = command;
    explain(&arguments)
}

/// `postrider dane`
pub fn dane(command: DaneCommand) -> anyhow::Result<()> {
    match command {
        DaneCommand::Lookup(arguments) => dane_lookup(&arguments),
        DaneCommand::Dial(arguments) => dial(&arguments),
    }
}

fn lookup(arguments: &DnsLookup) -> anyhow::Result<()> {
    let resolver = open(arguments.asking())?;
    let answer = block_on(resolver.lookup(&arguments.name, arguments.kind));
    if arguments.json {
        print_json(&of_answer(&answer));
    } else {
        show(&answer);
    }
    obtained(&answer)
}

fn explain(arguments: &DnssecExplain) -> anyhow::Result<()> {
    let resolver = open(Asking {
        resolvers: &arguments.resolver,
        trust_anchor: arguments.trust_anchor.as_ref(),
        belief: Some(Belief::Validate),
    })?;
    let (answer, steps) = block_on(resolver.explain(&arguments.name, arguments.kind));
    if arguments.json {
        let mut shown = of_answer(&answer);
        shown["steps"] = json!(steps);
        print_json(&shown);
    } else {
        steps.iter().for_each(|step| terminal::print(step));
        if steps.is_empty() {
            terminal::print(&format!("Outcome: {}, {}.", answer.reason, answer.authenticity.word()));
        }
    }
    obtained(&answer)
}

/// Fails when nothing was learnt: nobody answered.
fn obtained(answer: &Answer) -> anyhow::Result<()> {
    if answer.is_silence() {
        bail!("no answer: {}", answer.reason);
    }
    Ok(())
}

fn print_json(value: &Value) {
    terminal::print(&value.to_string());
}

fn of_answer(answer: &Answer) -> Value {
    let aliases = answer.aliases.iter().map(|step| {
        json!({"from": step.from.to_ascii(), "to": step.to.to_ascii(), "status": step.authenticity.word()})
    });
    json!({
        "name": answer.name.to_ascii(),
        "type": answer.kind.to_string(),
        "rcode": answer.response_code(),
        "outcome": outcome(answer.outcome),
        "status": answer.authenticity.word(),
        "authentic": answer.authenticity.is_secure(),
        "reason": answer.reason,
        "records": answer.records.iter().map(of_record).collect::<Vec<_>>(),
        "aliases": aliases.collect::<Vec<_>>(),
        "extended_errors": answer.errors.iter().map(of_error).collect::<Vec<_>>(),
        "ttl": answer.ttl,
    })
}

fn of_record(record: &Record) -> Value {
    let mut shown = json!({
        "name": record.name.to_ascii(),
        "type": record.record_type().to_string(),
        "ttl": record.ttl,
        "data": present(&record.data),
    });
    if let RData::TXT(text) = &record.data {
        shown["text"] = json!(String::from_utf8_lossy(&text.txt_data.concat()));
    }
    shown
}

fn of_error(error: &ExtendedError) -> Value {
    json!({"code": error.code, "text": error.text})
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Found => "found",
        Outcome::NoData => "nodata",
        Outcome::NoName => "noname",
        Outcome::Failed => "failed",
    }
}

fn show(answer: &Answer) {
    for step in &answer.aliases {
        terminal::print(&format!("{} is an alias of {} ({})", step.from, step.to, step.authenticity.word()));
    }
    for record in &answer.records {
        let name = record.name.to_ascii();
        terminal::print(&format!(
            "{name}\t{}\t{}\t{}",
            record.ttl,
            record.record_type(),
            present(&record.data)
        ));
    }
    let said = match answer.outcome {
        Outcome::Found => String::new(),
        Outcome::NoData => format!("{} has no {} records. ", answer.name, answer.kind),
        Outcome::NoName => format!("{} doesn't exist. ", answer.name),
        Outcome::Failed => "No usable answer. ".to_owned(),
    };
    let reason = if answer.reason.is_empty() { String::new() } else { format!(": {}", answer.reason) };
    terminal::print(&format!("{said}Status: {}{reason}", answer.authenticity.word()));
    for error in &answer.errors {
        terminal::print(&format!("Extended error {}: {}", error.code, error.text));
    }
}

fn dane_lookup(arguments: &DaneLookup) -> anyhow::Result<()> {
    let resolver = open(arguments.asking())?;
    let found = block_on(find(&resolver, &arguments.host, arguments.port, &NextHop::Host));
    let shown = of_dane(arguments, &found, &resolver);
    if arguments.json {
        print_json(&shown);
    } else {
        show_dane(&shown);
    }
    let silent = found.addresses.answers.iter().chain(&found.answers).any(Answer::is_silence);
    if silent && !matches!(found.applies, Applies::Records { .. }) {
        bail!("no answer: {}", shown["reason"].as_str().unwrap_or_default());
    }
    Ok(())
}

/// The records that there are, whether they apply or not, and what applies.
fn of_dane(arguments: &DaneLookup, found: &Found, resolver: &Resolver<Blocking>) -> Value {
    // Where records don't apply nobody asks for them, but here somebody wants to see them.
    let asked = found.answers.iter().rfind(|answer| answer.outcome == Outcome::Found).cloned();
    let answer = asked.or_else(|| found.answers.last().cloned()).or_else(|| {
        let name = tlsa_name(&arguments.host, arguments.port)?;
        Some(block_on(associations(resolver, &name)).answer)
    });
    let records = answer.iter().flat_map(Answer::data).filter_map(|data| match data {
        RData::TLSA(tlsa) => {
            let usability = usable(tlsa);
            Some(json!({
                "usage": u8::from(tlsa.cert_usage),
                "selector": u8::from(tlsa.selector),
                "matching_type": u8::from(tlsa.matching),
                "data": hexadecimal(&tlsa.cert_data),
                "meaning": describe(tlsa),
                "usable": usability.is_ok(),
                "why": usability.err().map(|why| why.to_string()).unwrap_or_default(),
            }))
        }
        _ => None,
    });
    let records: Vec<Value> = records.collect();
    let (applies, reason, base, names, tls) = match &found.applies {
        Applies::Records { base, verification, .. } => {
            let names: Vec<String> = verification.names.iter().map(postrider_dns::Name::to_ascii).collect();
            let tls = if verification.associations.is_empty() { "required" } else { "authenticated" };
            ("records", String::new(), Some(base.to_ascii()), names, tls)
        }
        Applies::No(why) => ("no", why.clone(), None, Vec::new(), "opportunistic"),
        Applies::Unknown(why) => ("unknown", why.clone(), None, Vec::new(), "unreachable"),
        Applies::NoAddresses(why) => ("no-addresses", why.clone(), None, Vec::new(), "unreachable"),
    };
    let status = answer.as_ref().map_or(Authenticity::Indeterminate, |answer| answer.authenticity);
    let errors = answer.iter().flat_map(|answer| &answer.errors).chain(found.addresses.errors());
    let addresses: Vec<String> = found.addresses.values.iter().map(ToString::to_string).collect();
    json!({
        "host": arguments.host.to_ascii(),
        "port": arguments.port,
        "addresses": addresses,
        "addresses_status": found.addresses.authenticity().word(),
        "applies": applies,
        "reason": reason,
        "tls": tls,
        "base": base,
        "names": names,
        "name": answer.as_ref().map(|answer| answer.name.to_ascii()),
        "status": status.word(),
        "authentic": status.is_secure(),
        "records": records,
        "extended_errors": errors.map(of_error).collect::<Vec<_>>(),
    })
}

fn show_dane(shown: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for record in shown["records"].as_array().into_iter().flatten() {
        let usable = if record["usable"] == true {
            "usable".to_owned()
        } else {
            format!("unusable: {}", text(&record["why"]))
        };
        let name = text(&shown["name"]);
        terminal::print(&format!(
            "{name}\t{}\t{}\t{usable}",
            text(&record["meaning"]),
            text(&record["data"])
        ));
    }
    terminal::print(&format!("Status: {}", text(&shown["status"])));
    terminal::print(&match text(&shown["tls"]).as_str() {
        "authenticated" => format!(
            "TLS is required, with a certificate of these records. Names of authorities' certificates: {}",
            names(shown)
        ),
        "required" => "TLS is required; no record can be used to authenticate the server.".to_owned(),
        "opportunistic" => format!("DANE doesn't apply: {}.", text(&shown["reason"])),
        _ => format!("Mail can't be delivered to this host: {}.", text(&shown["reason"])),
    });
}

fn names(shown: &Value) -> String {
    let names = shown["names"].as_array().into_iter().flatten();
    names.filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}

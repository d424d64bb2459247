//! Which policy of MTA-STS counts, and why: decided as delivery decides, with what the server keeps.

use std::path::Path;

use anyhow::{Context as _, Result};
use futures_lite::future::block_on;
use postrider_core::control::protocol::MtaStsRow;
use postrider_delivery::security::Sts;
use postrider_delivery::sts::{Announced, Found, Kept, NoRecord, Source, announced, fetched, known};
use postrider_dns::Lookup;
use postrider_proto::address::Domain;
use postrider_proto::mta_sts::{Policy, policy_host};

use super::Told;
use crate::commands::mta_sts;
use crate::commands::queue::times::local;

/// The type of failure is one of reports, which nobody gets from here.
const FETCH_ERROR: &str = "sts-policy-fetch-error";

/// What is known of the policy of MTA-STS.
pub struct Known {
    pub sts: Sts,
    pub source: Option<Source>,
    pub words: String,
}

impl Known {
    /// No policy is asked for.
    pub fn none(words: &str) -> Self {
        Self { sts: Sts::None, source: None, words: words.to_owned() }
    }
}

/// What a domain announces, and what was tried to fetch.
#[derive(Clone, Copy)]
struct Asked<'a> {
    announced: &'a Announced,
    /// Why it couldn't be fetched, if that was tried and failed.
    fetch: Option<&'a str>,
    /// What is kept; an error when the server wasn't asked.
    kept: Result<Option<&'a MtaStsRow>, ()>,
}

/// Looks for the policy of a domain.
pub fn find(
    dns: &impl Lookup,
    domain: &Domain,
    told: &Told,
    fetch: impl FnOnce() -> Result<Policy>,
) -> Known {
    let row = told.as_ref().map(|details| details.kept.as_ref()).map_err(|_| ());
    let kept = row.ok().flatten().map(kept_of);
    let announced = block_on(announced(dns, domain));
    let (found, failure) = match known(&announced, kept.as_ref()) {
        Some(found) => (found, None),
        None => match fetch() {
            Ok(policy) => (fetched(Ok(policy), kept.as_ref()), None),
            Err(error) => {
                let error = format!("{error:#}");
                (fetched(Err((FETCH_ERROR, &error)), kept.as_ref()), Some(error))
            }
        },
    };
    let words = words(&found, Asked { announced: &announced, fetch: failure.as_deref(), kept: row });
    Known { sts: found.sts, source: Some(found.source), words }
}

/// Fetches the policy that a domain announces.
pub fn fetch(dns: &impl Lookup, domain: &Domain, ca_file: Option<&Path>, port: u16) -> Result<Policy> {
    let host = policy_host(domain).context("the name of its host is too long")?;
    let addresses = mta_sts::addresses_of(dns, &host)?;
    let text = mta_sts::fetch_text(&host, &addresses, port, ca_file)?;
    Ok(Policy::parse(&text)?)
}

/// As decisions know it. Whether it is valid, and waited for, is told by the clock of the server.
fn kept_of(row: &MtaStsRow) -> Kept {
    let policy = row.policy.as_ref().filter(|_| row.valid);
    Kept {
        id: row.id.as_str().into(),
        policy: policy.and_then(|text| Policy::parse(text.as_bytes()).ok()),
        is_backing_off: row.waits_until.is_some(),
    }
}

fn words(found: &Found, asked: Asked<'_>) -> String {
    let row = asked.kept.ok().flatten();
    let kept = match (row, &found.sts) {
        (Some(row), Sts::Policy(policy)) => {
            let until = row.valid_until.map_or_else(String::new, |until| format!(", until {}", local(until)));
            format!("{}, which the server keeps{until}", policy_words(&row.id, policy))
        }
        _ => String::new(),
    };
    match found.source {
        Source::Kept => format!("{kept}; the domain announces the same, so it isn't fetched"),
        Source::StandsIn => format!("{}; in its place stands {kept}", without(asked)),
        Source::Domain => {
            let words = match (&found.sts, asked.announced) {
                (Sts::Policy(policy), Announced::Yes(record)) => policy_words(record.id.as_ref(), policy),
                (_, Announced::Yes(_)) => match asked.kept {
                    Ok(_) => format!(
                        "{}; the server keeps none that is valid, and goes on without",
                        without(asked)
                    ),
                    Err(()) => format!("{}; a server that keeps none goes on without", without(asked)),
                },
                _ => without(asked),
            };
            match row.and_then(|row| row.valid_until.filter(|_| !row.valid).map(|until| (row, until))) {
                Some((row, until)) => {
                    format!("{words} (policy {}, which the server keeps, expired {})", row.id, local(until))
                }
                None => words,
            }
        }
    }
}

/// Why the domain has no policy of its own at the moment.
fn without(asked: Asked<'_>) -> String {
    match (asked.announced, asked.fetch) {
        (Announced::Yes(record), Some(error)) => {
            format!("policy {} is announced and can't be fetched ({error})", record.id)
        }
        (Announced::Yes(record), None) => {
            let row = asked.kept.ok().flatten();
            let until = row
                .and_then(|row| row.waits_until)
                .map_or_else(String::new, |until| format!(", and doesn't try again before {}", local(until)));
            format!("policy {} is announced, and the server could not fetch it lately{until}", record.id)
        }
        (Announced::No(NoRecord::Absent), _)
            if asked.kept.is_ok_and(|row| row.is_some_and(|row| row.valid)) =>
        {
            "its record is gone".to_owned()
        }
        (Announced::No(error), _) => error.to_string(),
        (Announced::Unknown(reason), _) => format!("its record can't be looked up: {reason}"),
    }
}

fn policy_words(id: &str, policy: &Policy) -> String {
    let hosts: Vec<String> = policy.patterns.iter().map(ToString::to_string).collect();
    format!(
        "policy {id} in mode {}, for {} s, with {}",
        policy.mode.word(),
        policy.max_age,
        if hosts.is_empty() { "no hosts".to_owned() } else { hosts.join(", ") }
    )
}

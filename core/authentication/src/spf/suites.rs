//! SPF data of other projects (`shared/suites/spf`).
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use futures_lite::future::block_on;
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, PTR, TXT};
use postrider_dns::script::{Failure, Scope, Script};
use postrider_dns::{Name, RData, Record, RecordType};
use serde_json::Value;

use super::{Identity, Limits, Query, SpfResult, Verdict, check};
use crate::names;

fn load(name: &str) -> Option<String> {
    let file = postrider_testing::suite(&format!("spf/{name}"))?;
    Some(std::fs::read_to_string(file).unwrap())
}

fn add(script: &mut Script, name: &Name, data: RData) {
    script.add_record(Record::from_rdata(name.clone(), 300, data));
}

/// A TXT record of strings whose characters are octets; a string of DNS holds 255, which the suites don't heed.
fn txt(strings: &[&str]) -> RData {
    let octets = |text: &&str| text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    let strings: Vec<Vec<u8>> = strings.iter().map(octets).collect();
    RData::TXT(TXT::from_bytes(strings.iter().flat_map(|text| text.chunks(255)).collect()))
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

fn name(text: &str) -> Name {
    if text.trim_end_matches('.').is_empty() { Name::root() } else { names::absolute(text).unwrap() }
}

/// Adds the record of a row of the openspf suites.
fn add_row(script: &mut Script, owner: &Name, row: &Value, has_txt: bool) {
    let value = &row["value"];
    let kind = row["type"].as_str().unwrap();
    if value == "TIMEOUT" {
        let kind: RecordType = kind.replace("SPF", "TXT").parse().unwrap();
        return script.fail(Scope::Name(owner.clone()), &[kind], Failure::Timeout);
    }
    let text = value.as_str().unwrap_or_default();
    let data = match kind {
        "TIMEOUT" => return script.fail(Scope::Name(owner.clone()), &[], Failure::Timeout),
        // Published as TXT, unless the suite says what is published so.
        "SPF" if has_txt => return,
        "TXT" if texts(value) == ["NONE"] => return,
        "SPF" | "TXT" => txt(&texts(value)),
        "A" => RData::A(A(text.parse().unwrap())),
        "AAAA" => RData::AAAA(AAAA(text.parse().unwrap())),
        "PTR" => RData::PTR(PTR(name(text))),
        "CNAME" => RData::CNAME(CNAME(name(text))),
        "MX" => {
            let preference = value["pref"].as_u64().unwrap();
            RData::MX(MX::new(u16::try_from(preference).unwrap(), name(value["host"].as_str().unwrap())))
        }
        other => panic!("{other}"),
    };
    add(script, owner, data);
}

fn openspf_zone(zone: &Value) -> Script {
    let mut script = Script::new();
    script.fail(Scope::Starting(b"error".to_vec()), &[], Failure::Timeout);
    for (owner, rows) in zone.as_object().unwrap() {
        // Names that DNS can't have can't be asked for.
        let Some(owner) = names::absolute(owner) else { continue };
        let rows = rows.as_array().unwrap();
        let has_txt = rows.iter().any(|row| row["type"] == "TXT");
        for row in rows {
            add_row(&mut script, &owner, row, has_txt);
        }
    }
    script
}

/// Local part and domain of a sender; with none, those of the HELO identity.
fn sender<'a>(mail_from: &'a str, helo: &'a str) -> (Identity, &'a str, &'a str) {
    match mail_from.rsplit_once('@') {
        Some((local, domain)) => (Identity::MailFrom, local, domain),
        None if mail_from.is_empty() => (Identity::Helo, "", helo),
        None => (Identity::MailFrom, "", mail_from),
    }
}

fn run(script: &Script, mail_from: &str, helo: &str, ip: &str) -> Verdict {
    let (identity, local_part, domain) = sender(mail_from, helo);
    let client_ip = ip.parse().unwrap();
    let (receiver, unix_seconds) = ("mx.us.example", 1_700_000_000);
    let query = Query { client_ip, identity, local_part, domain, helo, receiver, unix_seconds };
    script.forget();
    let verdict = block_on(check(script, &Limits::default(), &query));
    assert_eq!(usize::try_from(verdict.queries).unwrap(), script.lookups());
    assert!(verdict.queries <= Limits::default().queries_max + 1, "{verdict:?}");
    verdict
}

/// Runs a suite of openspf; rows of `adjudicated` must not give what the suite says.
fn openspf(folder: &str, rows: usize, adjudicated: &[(&str, &str, &str)]) {
    let Some(text) = load(&format!("{folder}/cases.json")) else { return };
    let suite: Value = serde_json::from_str(&text).unwrap();
    let (mut count, mut wrong, mut followed) = (0, Vec::new(), 0);
    for scenario in suite.as_array().unwrap() {
        let script = openspf_zone(&scenario["zone"]);
        for row in scenario["tests"].as_array().unwrap() {
            let text = |key: &str| row[key].as_str().unwrap_or_default();
            let verdict = run(&script, text("mailfrom"), text("helo"), text("ip"));
            count += 1;
            let explanation = row["explanation"].as_str();
            let results = texts(&row["results"]);
            let is_explained = explanation.is_none_or(|expected| {
                let expected = if expected == "DEFAULT" { None } else { Some(expected) };
                verdict.explanation.as_deref() == expected
            });
            let is_right = results.contains(&verdict.result.word()) && is_explained;
            let ruling = adjudicated
                .iter()
                .find(|(scenario_, id, _)| scenario["scenario"] == *scenario_ && row["id"] == *id);
            match ruling {
                Some((.., result)) if verdict.result.word() == *result => followed += 1,
                Some(_) => wrong.push(format!("ruled otherwise: {} {verdict:?}", row["id"])),
                None if is_right => {}
                None => wrong.push(format!(
                    "{} / {}: {results:?} {explanation:?}, got {verdict:#?}",
                    scenario["scenario"], row["id"]
                )),
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!((count, followed), (rows, adjudicated.len()));
}

#[test]
fn openspf_rfc7208() {
    openspf("openspf-rfc7208", 203, &[]);
}

#[test]
fn openspf_rfc4408() {
    openspf("openspf-rfc4408-legacy", 191, &[]);
}

/// Adds an MX, PTR or address record in the shorthand of mail-auth.
fn add_shorthand(script: &mut Script, kind: &str, owner: &str, values: &[&str]) {
    for (number, value) in values.iter().enumerate() {
        match kind {
            "A" | "AAAA" | "a" => match value.parse().unwrap() {
                std::net::IpAddr::V4(address) => add(script, &name(owner), RData::A(A(address))),
                std::net::IpAddr::V6(address) => add(script, &name(owner), RData::AAAA(AAAA(address))),
            },
            "MXHOSTS_OR_ADDR" | "mx" => {
                // One host for each address.
                let host = format!("mx-{number}.{owner}");
                add(script, &name(owner), RData::MX(MX::new(10, name(&host))));
                add_shorthand(script, "a", &host, &[value]);
            }
            "PTR_OF_IP" | "ptr" => {
                let owner = names::of_address(owner.parse().unwrap()).unwrap();
                add(script, &owner, RData::PTR(PTR(name(value))));
            }
            other => panic!("{other}"),
        }
    }
}

fn is_as_expected(verdict: &Verdict, expected: &str) -> bool {
    let (result, explanation) = expected.split_once(' ').unwrap_or((expected, ""));
    verdict.result.word() == result
        && (explanation.is_empty() || verdict.explanation.as_deref() == Some(explanation))
}

/// A row of mail-auth that isn't followed.
struct Ruling {
    scenario: &'static str,
    sender: &'static str,
    ip: &'static str,
    result: &'static str,
    #[expect(dead_code, reason = "for those who read the list")]
    reason: &'static str,
}

const MAIL_AUTH_ADJUDICATED: &[Ruling] = &[
    Ruling {
        scenario: "All test",
        sender: "sender@test.org",
        ip: "10.0.0.1",
        result: "permerror",
        reason: "\"ip:\" is no mechanism. RFC 7208 §4.6: \"if there are any syntax errors anywhere in the record, \
                 check_host() returns immediately with the result permerror\"",
    },
    Ruling {
        scenario: "DNS Lookup Limits",
        sender: "sender@ok.test.org",
        ip: "172.168.0.1",
        result: "permerror",
        reason: "ten names that don't exist. RFC 7208 §4.6.4: \"SPF implementations SHOULD limit void lookups to two\"",
    },
    Ruling {
        scenario: "Exists",
        sender: "sender@ip6.test.org",
        ip: "167.1.2.3",
        result: "fail",
        reason: "RFC 7208 §5.7: \"used for a DNS A RR lookup (even when the connection type is IPv6)\"; there is AAAA",
    },
    Ruling {
        scenario: "Macro expansion 2",
        sender: "strong-bad@email.example.com",
        ip: "2001:db8::cb01",
        result: "fail",
        reason: "the same",
    },
    Ruling {
        scenario: "IPv6 match",
        sender: "sender@test.org",
        ip: "10.1.2.3",
        result: "fail",
        reason: "RFC 7208 §5: \"IPv4 <ip> addresses are only listed in an SPF record using the ip4 mechanism\"",
    },
];

/// mail-auth checks the name of HELO first, and stops when that fails.
fn run_both(script: &Script, mail_from: &str, helo: &str, ip: &str) -> Verdict {
    let verdict = run(script, "", helo, ip);
    if verdict.result == SpfResult::Fail { verdict } else { run(script, mail_from, helo, ip) }
}

#[test]
fn mail_auth() {
    let Some(text) = load("mail-auth/cases.json") else { return };
    let suite: Value = serde_json::from_str(&text).unwrap();
    let (mut count, mut wrong, mut followed) = (0, Vec::new(), 0);
    // The examples lost their intermediate states there; they are read from their own file.
    for scenario in suite.as_array().unwrap().iter().filter(|scenario| scenario["file"] != "examples") {
        let mut script = Script::new();
        script.fail(Scope::Starting(b"_dns_error".to_vec()), &[], Failure::ServerFailure);
        for (owner, rows) in scenario["zone"].as_object().unwrap() {
            // Names that DNS can't have can't be asked for.
            if names::absolute(owner).is_none() && owner.parse::<std::net::IpAddr>().is_err() {
                continue;
            }
            for row in rows.as_array().unwrap() {
                let value = &row["value"];
                match (row["type"].as_str().unwrap(), value.as_str()) {
                    ("TXT", _) => add(&mut script, &name(owner), txt(&texts(value))),
                    (kind, Some(value)) => add_shorthand(&mut script, kind, owner, &[value]),
                    (kind, None) => add_shorthand(&mut script, kind, owner, &texts(value)),
                }
            }
        }
        for row in scenario["tests"].as_array().unwrap() {
            let text = |key: &str| row[key].as_str().unwrap_or_default();
            let helo = if text("helo").is_empty() { text("domain") } else { text("helo") };
            let verdict = run_both(&script, text("sender"), helo, text("ip"));
            count += 1;
            let ruling = MAIL_AUTH_ADJUDICATED.iter().find(|ruling| {
                scenario["scenario"] == ruling.scenario
                    && (text("sender"), text("ip")) == (ruling.sender, ruling.ip)
            });
            match ruling {
                Some(ruling) if verdict.result.word() == ruling.result => followed += 1,
                None if is_as_expected(&verdict, text("expect")) => {}
                _ => wrong.push(format!(
                    "{} / {} / {row}: got {verdict:#?}",
                    scenario["file"], scenario["scenario"]
                )),
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!((count, followed), (128, MAIL_AUTH_ADJUDICATED.len()));
}

/// The examples of RFC 7208 appendix A, as mail-auth wrote them down.
#[test]
fn examples_of_the_standard() {
    let Some(text) = load("mail-auth/examples.yml") else { return };
    let mut records: Vec<(String, String)> = Vec::new();
    let mut policies: Vec<(String, String)> = Vec::new();
    let (mut mail_from, mut domain, mut ip) = (String::new(), String::new(), String::new());
    let mut count = 0;
    for line in text.lines() {
        let Some((key, value)) = line.trim_start_matches([' ', '-']).split_once(": ") else { continue };
        let value = value.trim();
        match key {
            "mx" | "a" | "ptr" => records.push((key.into(), value.into())),
            "spf" => {
                let (owner, policy) = value.split_once(' ').unwrap();
                policies.retain(|(known, _)| known != owner);
                policies.push((owner.into(), policy.into()));
            }
            "sender" => mail_from = value.into(),
            "domain" => domain = value.into(),
            "ip" => ip = value.into(),
            "expect" => {
                let mut script = Script::new();
                for (owner, policy) in &policies {
                    add(&mut script, &name(owner), txt(&[policy]));
                }
                for (kind, value) in &records {
                    let (owner, values) = value.split_once(' ').unwrap();
                    let values: Vec<&str> = values.split(", ").collect();
                    add_shorthand(&mut script, kind, owner, &values);
                }
                let verdict = run_both(&script, &mail_from, &domain, &ip);
                assert!(is_as_expected(&verdict, value), "{line} {policies:?} {ip}: {verdict:?}");
                count += 1;
            }
            _ => {}
        }
    }
    assert_eq!(count, 35);
}

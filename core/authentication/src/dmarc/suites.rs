//! DMARC data of other projects (`shared/suites/dmarc`).
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
use futures_lite::future::block_on;
use hickory_proto::rr::rdata::TXT;
use postrider_dns::script::{Failure, Scope, Script};
use postrider_dns::{RData, Record as DnsRecord, RecordType};
use serde_json::Value;

use super::*;
use crate::names;

/// Rows that aren't followed: a part of the title, and why.
const ADJUDICATED: &[(&str, &str)] = &[(
    "Should handle invalid pct value as 0",
    "RFC 7489 §6.3: \"Syntax errors in the remainder of the record SHOULD be discarded in favor of default values\", \
     which is 100",
)];

fn script(dns: &Value) -> Script {
    let mut script = Script::new();
    for (name, types) in dns.as_object().unwrap() {
        // An address in the place of a domain makes a name as well.
        let name = names::absolute(name).unwrap();
        for (kind, answer) in types.as_object().unwrap() {
            assert_eq!(kind, "TXT");
            match &answer["error"] {
                Value::String(error) if error == "ENOTFOUND" || error == "ENODATA" => {}
                Value::String(_) => {
                    script.fail(Scope::Name(name.clone()), &[RecordType::TXT], Failure::Timeout)
                }
                _ => {
                    for strings in answer.as_array().unwrap() {
                        let strings: Vec<&[u8]> = strings
                            .as_array()
                            .unwrap()
                            .iter()
                            .map(|text| text.as_str().unwrap().as_bytes())
                            .collect();
                        let data = RData::TXT(TXT::from_bytes(strings));
                        script.add_record(DnsRecord::from_rdata(name.clone(), 300, data));
                    }
                }
            }
        }
    }
    script
}

/// Whether what was found is what the suite expects of its own tags.
fn is_as_expected(verdict: &Verdict, row: &Value) -> bool {
    if !row["mailauth_error"].is_null() {
        return verdict.result == DmarcResult::Temperror;
    }
    let expected = &row["mailauth"];
    let Some(policies) = &verdict.policies else { return expected == &Value::Bool(false) };
    if expected == &Value::Bool(false) {
        return false;
    }
    let is_policy = |policy: Option<Policy>, tag: &str| {
        // The suite gives some tags in its assertions alone.
        expected[tag].is_null() || expected[tag].as_str() == policy.map(Policy::word)
    };
    let record = &policies.record;
    let percent = expected["pct"].as_u64();
    is_policy(record.policy, "p")
        && is_policy(record.subdomain_policy, "sp")
        && percent.is_none_or(|percent| record.percent.map(u64::from) == Some(percent))
        && expected["isOrgRecord"].as_bool() == Some(policies.source == Source::OrganizationalDomain)
        && expected["rr"].as_str().unwrap().trim() == policies.text.trim()
}

#[test]
fn record_discovery_of_mailauth() {
    let Some(file) = postrider_testing::suite("dmarc/mailauth-record/cases.json") else { return };
    let rows: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 26);
    for mode in [Mode::TreeWalk, Mode::PublicSuffixList] {
        let (mut wrong, mut ruled) = (Vec::new(), 0);
        for row in rows {
            let title = row["title"].as_str().unwrap();
            let name = row["input"]["domain"].as_str().unwrap();
            let verdict = block_on(lookup(&script(&row["dns"]), &Domain::parse(name).unwrap(), mode));
            let is_adjudicated = ADJUDICATED.iter().any(|(part, _)| title.contains(part));
            ruled += usize::from(is_adjudicated);
            if is_as_expected(&verdict, row) == is_adjudicated {
                wrong.push(format!("{title}: {} {:?}", row["mailauth"], verdict));
            }
        }
        assert!(wrong.is_empty(), "{mode:?}:\n{}", wrong.join("\n"));
        assert_eq!(ruled, ADJUDICATED.len());
    }
}

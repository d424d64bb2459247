//! Chains and seals of other projects (`shared/suites/arc`).

use postrider_dns::script::Script;
use postrider_proto::arc::{MessageSignature, Seal};
use postrider_proto::dkim::canonical::{Algorithm, Crlf, FieldEnd, write_field, write_field_without};
use postrider_proto::dkim::header::Header;
use postrider_proto::dkim::tags::TagList;
use postrider_testing::suite;
use serde_json::Value;

use super::*;
use crate::dkim::SigningKey as _;
use crate::testing::{ShortKey, block_on, content, read};

/// Scenarios of a file.
fn scenarios(name: &str) -> Option<Vec<Value>> {
    let folder = suite("arc/valimail")?;
    Some(serde_json::from_slice(&read(&folder, name)).unwrap())
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn keys(scenario: &Value) -> Script {
    match &scenario["txt-records"] {
        Value::Null => Script::new(),
        map => crate::testing::script(map),
    }
}

/// Cases whose status is empty, which its description takes for none: the newest set, or one before it, says
/// that the chain failed. RFC 8617 §5.2 step 2: "If the Chain Validation Status of the highest instance value ARC
/// Set is "fail", then the Chain Validation Status is "fail", and the algorithm stops here"; step 3 C for older
/// ones: "The "cv" value for all ARC-Seal header fields MUST NOT be "fail"".
const SUPERSEDED: [&str; 3] = ["cv_fail_i1_as_cv_fail", "cv_fail_i2_as1_fail", "cv_fail_i2_as2_fail"];

#[test]
fn chains_have_the_status_that_the_suite_gives() {
    let Some(scenarios) = scenarios("arc-draft-validation-tests.json") else { return };
    let mut cases = 0;
    let mut wrong = Vec::new();
    for scenario in &scenarios {
        let keys = keys(scenario);
        for (name, case) in scenario["tests"].as_object().unwrap() {
            let content = content(text(case, "message").as_bytes());
            let result = block_on(verify(&content, 1_500_000_000, &keys));
            let expected = match text(case, "cv").to_ascii_lowercase() {
                empty if empty.is_empty() && SUPERSEDED.contains(&name.as_str()) => "fail".to_owned(),
                empty if empty.is_empty() => "none".to_owned(),
                word => word,
            };
            if result.status.word() != expected {
                wrong.push(format!("{name}: {:?}, {expected} expected: {:?}", result.status, result.reason));
            }
            cases += 1;
        }
    }
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(cases, 171);
}

/// What the fields Authentication-Results of a host say together (RFC 8617 §4.1.1).
fn merged(header: &Header, host: &str) -> String {
    let mut results = vec![host.to_owned()];
    for field in header.named("Authentication-Results") {
        let value = String::from_utf8_lossy(field.value);
        let mut elements =
            value.split(';').map(|element| element.split_whitespace().collect::<Vec<_>>().join(" "));
        if elements.next().as_deref() == Some(host) {
            results.extend(elements);
        }
    }
    results.join(";\r\n ")
}

#[test]
fn seals_have_the_tags_and_the_signatures_that_the_suite_gives() {
    let Some(scenarios) = scenarios("arc-draft-sign-tests.json") else { return };
    let mut cases = 0;
    for scenario in &scenarios {
        let keys = keys(scenario);
        let key = || ShortKey::from_pem(text(scenario, "privatekey"));
        for (name, case) in scenario["tests"].as_object().unwrap() {
            cases += 1;
            let message = Crlf::whole(text(case, "message").as_bytes());
            let content = content(&message);
            let end = content.header.octets().len();
            let now = case["t"].as_u64().unwrap_or_else(|| text(case, "t").parse().unwrap());
            let sealer = Sealer {
                domain: Domain::parse(text(scenario, "domain")).unwrap(),
                selector: Selector::parse(text(scenario, "sel")).unwrap(),
                key: key(),
                fields: text(case, "sig-headers").split(':').map(str::to_owned).collect(),
            };
            let mut hasher = sealer.body_hasher();
            hasher.push(&message[end..]);
            let status = block_on(verify(&content, now, &keys)).status;
            let results = merged(&content.header, text(case, "srv-id"));
            let field = |instance: Instance| {
                format!("ARC-Authentication-Results: i={}; {results}\r\n", instance.number())
            };
            let octets = content.header.octets().to_vec();
            let made = seal(&sealer, octets, &hasher.finish(), (status, field), now);
            if text(case, "AS").is_empty() {
                assert_eq!(made, Err(SealError::FailedBefore), "{name}");
                continue;
            }
            let made = made.unwrap();
            check_tags(name, &made, case);
            check_signatures(name, &content.header, case, &key(), status);
            // And what was made verifies, unless it says that the chain failed.
            let sealed = [made.as_bytes(), &message].concat();
            let result = block_on(verify(&crate::testing::content(&sealed), now, &keys));
            assert_eq!(
                result.status == ChainStatus::Fail,
                status == ChainStatus::Fail,
                "{name}: {:?}",
                result.reason
            );
        }
    }
    assert_eq!(cases, 17);
}

/// All tags but the signatures are those of the suite; these depend on the order of tags.
fn check_tags(name: &str, made: &str, case: &Value) {
    let header = Header::parse(made.as_bytes().to_vec()).unwrap();
    for (field, expected) in [("ARC-Seal", "AS"), ("ARC-Message-Signature", "AMS")] {
        let expected = Crlf::whole(text(case, expected).trim().replace('\n', "\n ").as_bytes());
        let made = header.named(field).next().unwrap();
        let tags = |octets| {
            let list = TagList::parse(octets).unwrap();
            let mut tags: Vec<(String, String)> = list
                .iter()
                .filter(|tag| tag.name != "b")
                .map(|tag| (tag.name.to_owned(), tag.value.split_whitespace().collect()))
                .collect();
            tags.sort();
            tags
        };
        assert_eq!(tags(made.value), tags(&expected), "{name}");
    }
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let results = header.named("ARC-Authentication-Results").next().unwrap();
    assert_eq!(plain(std::str::from_utf8(results.value).unwrap()), plain(text(case, "AAR")), "{name}");
}

/// The signatures of the suite are what our key makes of the fields of the suite, octet for octet: RSA
/// signatures of this kind depend on nothing else. The suite sealed before it folded its signatures.
fn check_signatures(name: &str, header: &Header, case: &Value, key: &ShortKey, status: ChainStatus) {
    let folded = |field: &str, kind: &str| {
        let mut value = text(case, kind).trim().replace('\n', "\n ");
        if let Some(start) = value.find("b=") {
            let end = start + value[start..].find(';').unwrap();
            let dense: String = value[start..end].split_whitespace().collect();
            value.replace_range(start..end, &dense);
        }
        Crlf::whole(format!("{field}: {value}\n").as_bytes())
    };
    let fields =
        [("ARC-Authentication-Results", "AAR"), ("ARC-Message-Signature", "AMS"), ("ARC-Seal", "AS")]
            .map(|(field, kind)| Header::parse(folded(field, kind)).unwrap());
    let [results, signature, seal] = fields.each_ref().map(|header| header.fields().next().unwrap());

    let parsed = MessageSignature::parse(signature.value).unwrap();
    let mut signed = Vec::new();
    for field in header.select(&parsed.content.fields) {
        write_field(&mut signed, field, Algorithm::Relaxed, FieldEnd::LineBreak);
    }
    let place = parsed.core.signature_place;
    write_field_without(&mut signed, signature, place, Algorithm::Relaxed, FieldEnd::Nothing);
    assert_eq!(key.sign(&signed).unwrap(), parsed.core.signature, "{name}: message signature");

    let parsed = Seal::parse(seal.value).unwrap();
    let mut sealed = Vec::new();
    if status == ChainStatus::Pass {
        let Some(Ok(chain)) = postrider_proto::arc::collect(header) else { panic!("{name}") };
        for set in &chain.sets {
            for number in [set.results, set.signature_field, set.seal_field] {
                write_field(&mut sealed, header.get(number), Algorithm::Relaxed, FieldEnd::LineBreak);
            }
        }
    }
    for field in [results, signature] {
        write_field(&mut sealed, field, Algorithm::Relaxed, FieldEnd::LineBreak);
    }
    let place = parsed.core.signature_place;
    write_field_without(&mut sealed, seal, place, Algorithm::Relaxed, FieldEnd::Nothing);
    assert_eq!(key.sign(&sealed).unwrap(), parsed.core.signature, "{name}: seal");
}

#[test]
fn sealed_messages_of_other_software() {
    let Some(folder) = suite("arc/samples") else { return };
    let keys = crate::testing::script(&serde_json::from_slice(&read(&folder, "dns.json")).unwrap());
    let mut messages = 0;
    for line in String::from_utf8(read(&folder, "expected.tsv")).unwrap().lines() {
        let (name, expected) = line.split_once('\t').unwrap();
        let content = content(&read(&folder, name));
        messages += 1;
        if expected.starts_with("real-world chain") {
            // Its keys are gone: it is a chain as far as that can be told without them.
            assert!(matches!(content.chain, Some(Ok(_))), "{name}: {:?}", content.chain);
            continue;
        }
        let result = block_on(verify(&content, 1_700_000_000, &keys));
        if name == "rspamd-arcallow.eml" {
            // The key of its first sealer isn't in the suite. RFC 8617 §5.2 step 6: "If any AS fails to
            // validate, the Chain Validation Status is "fail""; all that has a key verifies.
            assert_eq!(result.reason.unwrap().to_string(), "seal 1: there is no key");
            assert_eq!((result.sets[1].seal, result.sets[1].signature), (Some(true), Some(true)));
            continue;
        }
        let word = expected.split(' ').next().unwrap();
        assert_eq!(result.status.word(), word, "{name}: {:?}", result.reason);
    }
    assert_eq!(messages, 6);
}

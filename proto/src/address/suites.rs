//! Address data of other projects (`shared/suites/address`).
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use serde_json::Value;

use super::Address;

fn load(name: &str) -> Option<Value> {
    let file = postrider_testing::suite(&format!("address/{name}"))?;
    Some(serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap())
}

/// Whether `text` is a mailbox of RFC 5321 §4.1.2, address literals included.
fn is_mailbox(text: &str) -> bool {
    super::ForwardPath::parse(&format!("<{text}>")).is_ok() && !text.starts_with('@')
}

/// Rows whose verdict is not followed, with the reason.
const ISEMAIL_ADJUDICATED: &[(u64, &str)] = &[
    (26, "localparts of up to 128 octets are accepted: RFC 5321 §4.5.3.1 asks not to impose limits"),
    (59, "the same"),
    (60, "the same"),
    (71, "RFC 4291 §2.2 lets :: stand for one group; RFC 5321's text on it was never enforced"),
];

#[test]
fn isemail() {
    let Some(rows) = load("isemail/tests.json") else { return };
    let mut wrong = Vec::new();
    for row in rows.as_array().unwrap() {
        let (id, address) = (row["id"].as_u64().unwrap(), row["address"].as_str().unwrap());
        let expected = row["smtp_valid"].as_bool().unwrap();
        let adjudicated = ISEMAIL_ADJUDICATED.iter().any(|(known, _)| *known == id);
        if (is_mailbox(address) == expected) == adjudicated {
            wrong.push(format!("{id} {address:?} {} expected {expected}", row["diagnosis"]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Why a row's verdict is not followed.
fn python_adjudicated(test: &str, address: &str) -> Option<&'static str> {
    match (test, address) {
        ("test_email_valid", text) if text.ends_with('>') => Some("display names belong to header fields"),
        ("test_email_valid_intl_local_part", text) if text.ends_with('>') => {
            Some("display names belong to header fields")
        }
        ("test_email_valid_only_if_quoted_local_part", _) => {
            Some("the suite's option refuses quoted strings; RFC 5321 §4.1.2 has them")
        }
        ("test_email_invalid_character_smtputf8_off", _) => {
            Some("whether SMTPUTF8 was said is the session's to check")
        }
        ("test_email_invalid_syntax_strict", _) => Some("localparts of up to 128 octets are accepted"),
        (_, "my@localhost" | "me@bad-tld-1") => Some("RFC 5321 §4.1.2 has domains of one label"),
        (_, "me@bad.tld-2") => Some("which top-level domains exist is not syntax"),
        (_, "me@yy--0.tld" | "me@yy\u{ff0d}\u{ff0d}0.tld") => {
            Some("names with -- in third place exist and RFC 5321 has them; RFC 5891 binds registries")
        }
        _ => None,
    }
}

#[test]
fn python_email_validator() {
    let Some(rows) = load("python-email-validator/addresses.json") else { return };
    let mut wrong = Vec::new();
    for row in rows["valid"].as_array().unwrap() {
        let (test, text) = (row["test"].as_str().unwrap(), row["address"].as_str().unwrap());
        let parsed = Address::parse(text);
        let expect = &row["expect"];
        let (normalized, domain) = (expect["normalized"].as_str(), expect["ascii_domain"].as_str());
        let fits = parsed.as_ref().is_ok_and(|address| {
            normalized.is_none_or(|normalized| address.unicode() == normalized)
                && domain.is_none_or(|domain| address.domain.as_str() == domain)
        });
        if fits == python_adjudicated(test, text).is_some() {
            wrong.push(format!("valid {text:?} {normalized:?} {domain:?} got {parsed:?}"));
        }
    }
    for row in rows["invalid"].as_array().unwrap() {
        let (test, text) = (row["test"].as_str().unwrap(), row["address"].as_str().unwrap());
        let parsed = Address::parse(text);
        if parsed.is_err() == python_adjudicated(test, text).is_some() {
            wrong.push(format!("invalid {text:?} {test} {} got {parsed:?}", row["error"]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

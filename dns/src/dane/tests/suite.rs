//! The generated chains of `shared/suites/dane`.

use std::path::{Path, PathBuf};

use hickory_proto::rr::Name;
use hickory_proto::rr::rdata::TLSA;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use serde_json::Value;

use crate::dane::{Associations, Verification};

pub(super) fn folder() -> Option<PathBuf> {
    postrider_testing::suite("dane/smtp-generated")
}

pub(super) fn cases() -> Option<(PathBuf, Vec<Value>)> {
    let folder = folder()?;
    let cases: Value = serde_json::from_slice(&std::fs::read(folder.join("cases.json")).unwrap()).unwrap();
    Some((folder, cases.as_array().unwrap().clone()))
}

pub(super) fn chain(folder: &Path, case: &Value) -> Vec<CertificateDer<'static>> {
    let names = case["chain"].as_array().unwrap().iter();
    names
        .map(|name| CertificateDer::from_pem_file(folder.join("certs").join(name.as_str().unwrap())).unwrap())
        .collect()
}

pub(super) fn records(case: &Value) -> Vec<TLSA> {
    let number = |record: &Value, key: &str| u8::try_from(record[key].as_u64().unwrap()).unwrap();
    let data = |text: &str| -> Vec<u8> {
        (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
    };
    let records = case["tlsa"].as_array().unwrap().iter();
    records
        .map(|record| {
            TLSA::new(
                number(record, "usage").into(),
                number(record, "selector").into(),
                number(record, "mtype").into(),
                data(record["data"].as_str().unwrap()),
            )
        })
        .collect()
}

pub(super) fn verification(case: &Value) -> Verification {
    let names = case["reference_names"].as_array().unwrap().iter();
    Verification {
        associations: Associations::of(&records(case)),
        names: names.map(|name| Name::from_ascii(format!("{}.", name.as_str().unwrap())).unwrap()).collect(),
    }
}

#[test]
fn generated_chains_are_decided_as_expected() {
    let Some((folder, cases)) = cases() else { return };
    assert_eq!(cases.len(), 53);
    let provider = rustls::crypto::ring::default_provider();
    let mut wrong = Vec::new();
    for case in &cases {
        let verification = verification(case);
        let chain = chain(&folder, case);
        let algorithms = &provider.signature_verification_algorithms;
        let found = if verification.associations.is_empty() {
            "unusable"
        } else {
            match verification.decide(&chain[0], &chain[1..], UnixTime::now(), algorithms) {
                Ok(_) => "match",
                Err(_) => "fail",
            }
        };
        if found != case["expect"] {
            let why = verification.decide(&chain[0], &chain[1..], UnixTime::now(), algorithms);
            wrong.push(format!("{}: {found} instead of {}: {why:?}", case["id"], case["expect"]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

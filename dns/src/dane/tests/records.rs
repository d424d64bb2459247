//! Which records can be used, and certificates that tools rarely make.

use hickory_proto::rr::Name;
use hickory_proto::rr::rdata::TLSA;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use ring::digest::{SHA256, digest};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::dane::certificate::Certificate;
use crate::dane::{
    ASSOCIATIONS_MAX, Associations, CERTIFICATES_MAX, Matched, Mismatch, Unusable, Verification, usable,
};

fn record(usage: u8, selector: u8, matching: u8, data: &[u8]) -> TLSA {
    TLSA::new(usage.into(), selector.into(), matching.into(), data.to_vec())
}

#[test]
fn what_cannot_be_used_is_told_with_why() {
    let digest = [7; 32];
    for (usage, selector, matching, data, why) in [
        (0, 1, 1, &digest[..], Unusable::PublicAuthorities(0)),
        (1, 1, 1, &digest, Unusable::PublicAuthorities(1)),
        (4, 1, 1, &digest, Unusable::Usage(4)),
        (255, 1, 1, &digest, Unusable::Usage(255)),
        (3, 2, 1, &digest, Unusable::Selector(2)),
        (3, 255, 1, &digest, Unusable::Selector(255)),
        (3, 1, 3, &digest, Unusable::Matching(3)),
        (3, 1, 255, &digest, Unusable::Matching(255)),
        (3, 1, 1, &digest[1..], Unusable::Length(31)),
        (3, 1, 1, &[7; 33], Unusable::Length(33)),
        (3, 1, 2, &digest, Unusable::Length(32)),
        (3, 1, 1, &[], Unusable::Length(0)),
        (3, 0, 0, &[], Unusable::Certificate),
        (3, 1, 0, &[], Unusable::Key),
        (2, 1, 0, &[0x30, 0], Unusable::Key),
    ] {
        assert_eq!(usable(&record(usage, selector, matching, data)), Err(why));
    }
    let shown = usable(&record(3, 1, 1, &digest)).unwrap();
    assert_eq!(shown.to_string(), "3 1 1 0707070707070707...");
    assert_eq!(crate::dane::describe(&record(3, 1, 1, &digest)), "DANE-EE(3) SPKI(1) SHA2-256(1)");
    assert_eq!(crate::dane::describe(&record(9, 255, 7, &[])), "unknown(9) Private(255) unknown(7)");
}

#[test]
fn of_digests_the_strongest_counts_for_each_usage_and_selector() {
    let all = [
        record(3, 1, 1, &[1; 32]),
        record(3, 1, 2, &[2; 64]),
        record(3, 0, 1, &[3; 32]),
        record(2, 1, 1, &[4; 32]),
        record(3, 1, 2, &[5; 63]),
    ];
    let shown: Vec<String> =
        Associations::of(&all).iter().map(|one| one.to_string()[..8].to_owned()).collect();
    assert_eq!(shown, ["3 1 2 02", "3 0 1 03", "2 1 1 04"]);
    // A malformed record of the stronger digest doesn't make the weaker one go (RFC 7671 §9).
    let malformed = [record(3, 1, 2, &[2; 63]), record(3, 1, 1, &[1; 32])];
    assert_eq!(Associations::of(&malformed).iter().count(), 1);
}

#[test]
fn the_number_of_records_is_bounded() {
    let many = vec![record(3, 1, 1, &[1; 32]); ASSOCIATIONS_MAX + 1];
    assert_eq!(Associations::of(&many).iter().count(), ASSOCIATIONS_MAX);
    assert_eq!(Associations::of(&many[1..]).iter().count(), ASSOCIATIONS_MAX);
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn decide(records: &[TLSA], chain: &[CertificateDer<'_>]) -> Result<Matched, Mismatch> {
    let verification =
        Verification { associations: Associations::of(records), names: vec![name("mx.example.")] };
    let provider = rustls::crypto::ring::default_provider();
    let algorithms = &provider.signature_verification_algorithms;
    verification.decide(&chain[0], &chain[1..], UnixTime::now(), algorithms)
}

fn key_digest(certificate: &CertificateDer<'_>) -> Vec<u8> {
    digest(&SHA256, Certificate::parse(certificate).unwrap().key).as_ref().to_vec()
}

fn authority(name: &str, constraints: BasicConstraints) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(constraints);
    (params, KeyPair::generate().unwrap())
}

/// A server's certificate below an authority and `below` more, in the order of TLS, the authority last.
fn chain(constraints: BasicConstraints, below: usize) -> Vec<CertificateDer<'static>> {
    let (params, key) = authority("anchor", constraints);
    let mut chain = vec![params.self_signed(&key).unwrap().der().clone()];
    let mut issuer = Issuer::new(params, key);
    for index in 0..below {
        let (params, key) = authority(&format!("below {index}"), BasicConstraints::Unconstrained);
        chain.insert(0, params.signed_by(&key, &issuer).unwrap().der().clone());
        issuer = Issuer::new(params, key);
    }
    let leaf = CertificateParams::new(vec!["mx.example".into()]).unwrap();
    let key = KeyPair::generate().unwrap();
    chain.insert(0, leaf.signed_by(&key, &issuer).unwrap().der().clone());
    chain
}

#[test]
fn an_authority_binds_those_below_it_by_its_path_length() {
    for (constraints, below, holds) in [
        (BasicConstraints::Unconstrained, 2, true),
        (BasicConstraints::Constrained(0), 0, true),
        (BasicConstraints::Constrained(0), 1, false),
        (BasicConstraints::Constrained(1), 1, true),
        (BasicConstraints::Constrained(1), 2, false),
    ] {
        let chain = chain(constraints, below);
        let anchor = chain.last().unwrap();
        let found = decide(&[record(2, 1, 1, &key_digest(anchor))], &chain);
        assert_eq!(found.is_ok(), holds, "{below} {found:?}");
        assert_eq!(found.ok().map(|matched| matched.depth), holds.then_some(Some(below + 1)));
    }
}

#[test]
fn an_authority_of_the_records_must_have_signed() {
    let (ours, others) =
        (chain(BasicConstraints::Unconstrained, 0), chain(BasicConstraints::Unconstrained, 0));
    // Somebody else's certificate, shown with our authority beside it.
    let forged = [others[0].clone(), ours[1].clone()];
    let found = decide(&[record(2, 0, 1, digest(&SHA256, &ours[1]).as_ref())], &forged);
    assert!(matches!(found, Err(Mismatch::Chain(_))), "{found:?}");
    // The same name of the authority, and another key.
    let found = decide(&[record(2, 1, 0, Certificate::parse(&ours[1]).unwrap().key)], &others[..1]);
    assert!(matches!(found, Err(Mismatch::Chain(_))), "{found:?}");
    let found = decide(&[record(2, 1, 0, Certificate::parse(&ours[1]).unwrap().key)], &ours[..1]);
    assert_eq!(found.map(|matched| matched.depth), Ok(None));
}

#[test]
fn a_certificate_of_an_authority_is_taken_as_a_server_of_its_own() {
    let (params, key) = authority("mx.example", BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let found = decide(&[record(3, 1, 1, &key_digest(&certificate))], std::slice::from_ref(&certificate));
    assert_eq!(found.map(|matched| matched.depth), Ok(Some(0)));
    // Usage 2 isn't about the server's own certificate.
    let found = decide(&[record(2, 1, 1, &key_digest(&certificate))], &[certificate]);
    assert_eq!(found, Err(Mismatch::NoMatch));
}

#[test]
fn the_length_of_chains_is_bounded() {
    let chain = chain(BasicConstraints::Unconstrained, 0);
    let records = [record(3, 1, 1, &key_digest(&chain[0]))];
    let mut long = vec![chain[0].clone(); CERTIFICATES_MAX];
    assert!(decide(&records, &long).is_ok());
    long.push(chain[0].clone());
    assert_eq!(decide(&records, &long), Err(Mismatch::TooMany));
}

#[test]
fn changed_octets_of_certificates_never_panic_and_never_match() {
    let chain = chain(BasicConstraints::Constrained(3), 1);
    let records = [
        record(3, 0, 1, digest(&SHA256, &chain[0]).as_ref()),
        record(2, 0, 1, digest(&SHA256, &chain[2]).as_ref()),
    ];
    assert!(decide(&records, &chain).is_ok());
    let mut state = 0x1234_5678_9abc_def0_u64;
    let mut next = |end: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % end
    };
    for _ in 0..3000 {
        let mut octets = chain[0].to_vec();
        let at = next(octets.len());
        match next(3) {
            0 => octets[at] ^= 1 << next(8),
            1 => octets.truncate(at),
            _ => octets.insert(at, u8::try_from(next(256)).unwrap()),
        }
        let changed = CertificateDer::from(octets);
        if let Some(read) = Certificate::parse(&changed) {
            read.names();
            read.path_length_max();
        }
        // Signed by the authority of the records, so any change breaks the signature.
        assert!(decide(&records, &[changed, chain[1].clone(), chain[2].clone()]).is_err());
    }
}

/// `CN=v1.example`, version 1, expired, made with OpenSSL.
const VERSION_1: &str = include_str!("version1.pem");

#[test]
fn an_expired_certificate_of_version_1_is_good_for_end_entity_records() {
    use rustls_pki_types::pem::PemObject;
    let certificate = CertificateDer::from_pem_slice(VERSION_1.as_bytes()).unwrap();
    let read = Certificate::parse(&certificate).unwrap();
    assert_eq!(read.names(), [b"v1.example"]);
    assert_eq!(read.path_length_max(), None);
    assert!(read.valid.1 < i64::try_from(UnixTime::now().as_secs()).unwrap());
    let found = decide(&[record(3, 1, 1, &key_digest(&certificate))], &[certificate]);
    assert!(found.is_ok(), "{found:?}");
}

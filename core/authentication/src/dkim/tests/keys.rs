//! Key records and their lookup.

use postrider_dns::Authenticity;
use postrider_proto::dkim::key::{KeyError, Service};
use postrider_proto::dkim::tags::TagError;

use super::*;
use crate::keys::{KEY_RECORDS_MAX, KeyFault};

/// DER of an RSAPublicKey with a modulus of so many bits.
fn rsa(bits: usize) -> Vec<u8> {
    let mut modulus = vec![0xff; bits.div_ceil(8)];
    modulus[0] >>= (8 - bits % 8) % 8;
    if modulus[0] >= 0x80 {
        modulus.insert(0, 0);
    }
    let long = |tag: u8, content: &[u8]| {
        let [high, low] = (content.len() as u16).to_be_bytes();
        let start = match content.len() {
            0..0x80 => vec![tag, low],
            0x80..0x100 => vec![tag, 0x81, low],
            _ => vec![tag, 0x82, high, low],
        };
        [&start, content].concat()
    };
    long(0x30, &[long(2, &modulus), vec![2, 3, 1, 0, 1]].concat())
}

#[test]
fn records_that_can_t_be_used_are_told_why() {
    use KeyFault::{Hash, Invalid, Kind, Large, Missing, Record, Revoked, Service, Weak};
    let rsa_key = |bits: usize| format!("p={}", to_base64(&rsa(bits)));
    let weak = rsa_key(1023);
    let tags = [("a", "rsa-sha256")];
    for (record, fault, bits) in [
        (format!("k=ed25519; p={PUBLIC}"), Kind, None),
        ("k=rsa; p=".into(), Revoked, None),
        ("v=DKIM1; k=rsa;".into(), Record(KeyError::NoKey), None),
        ("k=rsa; p=AAEC".into(), Invalid, None),
        ("k=future; p=AAEC".into(), Record(KeyError::Kind), None),
        ("k=rsa; p=*".into(), Record(KeyError::Base64), None),
        ("k=rsa; k=rsa; p=AAEC".into(), Record(KeyError::Tags(TagError::Twice)), None),
        ("v=DKIM2; p=AAEC".into(), Record(KeyError::Version), None),
        ("v=spf1 -all".into(), Record(KeyError::Version), None),
        (format!("h=sha1; {}", rsa_key(2048)), Hash, None),
        (format!("s=tlsrpt; {}", rsa_key(2048)), Service, Some(2048)),
        (rsa_key(512), Weak(512), Some(512)),
        (weak, Weak(1023), Some(1023)),
        (rsa_key(8193), Large(8193), Some(8193)),
    ] {
        let result = only(&message(&tags), &with_record(&record));
        assert_eq!(told(&result), ("permerror", Some(Reason::Key(fault))), "{record}");
        assert_eq!(result.key_bits, bits, "{record}");
    }
    // At the limits the key is used, and isn't the one that signed.
    for bits in [1024, 8192] {
        let result = only(&message(&tags), &with_record(&rsa_key(bits)));
        assert_eq!((told(&result), result.key_bits), (("fail", Some(Reason::Mismatch)), Some(bits as u32)));
    }
    let long = format!("k=ed25519; p={PUBLIC}; n={}", "x".repeat(8 * 1024));
    let result = only(&message(&[]), &with_record(&long));
    assert_eq!(told(&result), ("permerror", Some(Reason::Key(Record(KeyError::TooLong)))));
    let result = only(&message(&[]), &Script::new());
    assert_eq!(told(&result), ("permerror", Some(Reason::Key(Missing))));
}

#[test]
fn an_ed25519_key_has_32_octets() {
    for length in [31, 33, 44] {
        let record = format!("k=ed25519; p={}", to_base64(&vec![7; length]));
        let result = only(&message(&[]), &with_record(&record));
        assert_eq!(told(&result), ("permerror", Some(Reason::Key(KeyFault::Invalid))));
    }
}

#[test]
fn lookups_that_fail_may_be_tried_again_and_nothing_else_may() {
    let name = format!("{NAME}.");
    for (directive, word) in [
        (format!("$SERVFAIL {name}"), "temperror"),
        (format!("$TIMEOUT {name}"), "temperror"),
        (format!("$BOGUS {name}"), "temperror"),
        (format!("x.{name} A 192.0.2.1"), "permerror"),
        (format!("{name} A 192.0.2.1"), "permerror"),
        (format!("{name} CNAME nowhere.example."), "permerror"),
    ] {
        let script = Script::parse(&format!("$TTL 60\n{directive}\n")).unwrap();
        assert_eq!(only(&message(&[]), &script).result.word(), word, "{directive}");
    }
    let long = "a.".repeat(120);
    let result = only(&message(&[("s", &format!("{long}a"))]), &good_script());
    assert_eq!(told(&result), ("permerror", Some(Reason::Key(KeyFault::Name))));
    assert_eq!(result.authenticity, None);
}

#[test]
fn the_result_says_whether_the_lookup_can_be_believed() {
    for (directive, authenticity) in [
        ("$SECURE", Authenticity::Secure),
        ("$INSECURE", Authenticity::Insecure),
        ("$INDETERMINATE", Authenticity::Indeterminate),
        ("$BOGUS", Authenticity::Bogus),
    ] {
        let mut script = good_script();
        script.add(&format!("{directive} example.com.\n")).unwrap();
        assert_eq!(only(&message(&[]), &script).authenticity, Some(authenticity));
    }
}

#[test]
fn one_of_several_records_is_enough() {
    let good = format!("k=ed25519; p={PUBLIC}");
    let other = format!("k=ed25519; p={}", to_base64(&[1; 32]));
    let with = |records: &[&str]| {
        let mut script = Script::new();
        records.iter().for_each(|record| add_text(&mut script, NAME, record));
        told(&only(&message(&[]), &script))
    };
    assert_eq!(with(&[&other, &good]), ("pass", None));
    assert_eq!(with(&["garbage", "v=spf1 -all", &good]), ("pass", None));
    assert_eq!(with(&["garbage", &other]), ("fail", Some(Reason::Mismatch)));
    // Those that aren't for keys cost nothing; of the others only so many are tried.
    let many: Vec<String> = (0..KEY_RECORDS_MAX as u8)
        .map(|number| format!("k=ed25519; p={}", to_base64(&[number + 1; 32])))
        .collect();
    let with_good = |count: usize| {
        let mut records: Vec<&str> = many[..count].iter().map(String::as_str).collect();
        records.push(&good);
        with(&records).0
    };
    assert_eq!(with_good(KEY_RECORDS_MAX - 1), "pass");
    assert_eq!(with_good(KEY_RECORDS_MAX), "fail");
}

#[test]
fn keys_for_reports_are_for_nothing_else() {
    let script = with_record(&format!("k=ed25519; s=tlsrpt; p={PUBLIC}"));
    let message = message(&[]);
    assert_eq!(told(&only(&message, &script)), ("permerror", Some(Reason::Key(KeyFault::Service))));
    let reports = Policy { service: Service::TlsReports, ..Policy::default() };
    assert_eq!(verified(&content(message.as_bytes()), &reports, &script)[0].result, DkimResult::Pass);
    let email = with_record(&format!("k=ed25519; s=email; p={PUBLIC}"));
    assert_eq!(verified(&content(message.as_bytes()), &reports, &email)[0].result, DkimResult::Permerror);
}

#[test]
fn a_domain_that_tests_has_no_failures() {
    let testing = with_record(&format!("k=ed25519; t=y; p={PUBLIC}"));
    let result = only(&message(&[]), &testing);
    assert_eq!((told(&result), result.testing), (("pass", None), true));
    let result = only(&message(&[]).replace("game", "match"), &testing);
    assert_eq!((told(&result), result.testing), (("none", Some(Reason::BodyHash)), true));
    let result = only(&message(&[]), &with_record("k=ed25519; t=s:y; p="));
    assert_eq!(told(&result), ("none", Some(Reason::Key(KeyFault::Revoked))));
}

#[test]
fn a_strict_key_is_not_for_subdomains() {
    let strict = with_record(&format!("k=ed25519; t=s; p={PUBLIC}"));
    for (identity, strict_word) in
        [("@example.com", "pass"), ("joe@example.com", "pass"), ("joe@a.example.com", "permerror")]
    {
        let message = message(&[("i", identity)]);
        assert_eq!(only(&message, &strict).result.word(), strict_word, "{identity}");
        assert_eq!(only(&message, &good_script()).result.word(), "pass", "{identity}");
    }
}

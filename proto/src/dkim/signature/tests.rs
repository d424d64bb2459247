#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
use super::*;

/// The tags of a signature that is valid.
const GOOD: [(&str, &str); 8] = [
    ("v", "1"),
    ("a", "rsa-sha256"),
    ("d", "example.net"),
    ("s", "brisbane"),
    ("h", "from:to"),
    ("bh", "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="),
    ("b", "AAEC"),
    ("c", "relaxed/simple"),
];

/// [`GOOD`] with a tag replaced, added, or, when there is no value, left away.
fn changed(name: &str, value: Option<&str>) -> Result<Signature, SignatureError> {
    let mut tags: Vec<(&str, &str)> = GOOD.iter().copied().filter(|(other, _)| *other != name).collect();
    tags.extend(value.map(|value| (name, value)));
    let text: Vec<String> = tags.iter().map(|(name, value)| format!(" {name}={value}")).collect();
    Signature::parse(format!("{}\r\n", text.join(";")).as_bytes())
}

#[test]
fn the_example_of_the_standard_is_read() {
    // RFC 6376 §3.5, the example below `z=`, with the version that it must have.
    let text = b" v=1; a=rsa-sha256; d=example.net; s=brisbane;\r\n\
        \x20  c=simple; q=dns/txt; i=@eng.example.net;\r\n\
        \x20  t=1117574938; x=1118006938;\r\n\
        \x20  h=from:to:subject:date;\r\n\
        \x20  z=From:foo@eng.example.net|To:joe@example.com|\r\n\
        \x20   Subject:demo=20run|Date:July=205,=202005=203:44:08=20PM=20-0700;\r\n\
        \x20  bh=MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=;\r\n\
        \x20  b=dzdVyOfAKCdLXdJOc9G2q8LoXSlEniSbav+yuU4zGeeruD00lszZVoG4ZHRNiYzR\r\n";
    let signature = Signature::parse(text).unwrap();
    assert_eq!(signature.core.algorithm, Algorithm::RsaSha256);
    assert_eq!(signature.core.domain.as_str(), "example.net");
    assert_eq!(signature.core.selector.as_str(), "brisbane");
    assert_eq!(signature.core.timestamp, Some(1_117_574_938));
    assert_eq!(signature.core.signature.len(), 48);
    assert!(text[signature.core.signature_place.clone()].starts_with(b"dzdVy"));
    assert_eq!(signature.content.expiration, Some(1_118_006_938));
    assert_eq!(signature.content.canonicalization, Canonicalization::SIMPLE);
    assert_eq!(signature.content.fields, ["from", "to", "subject", "date"].map(Box::from));
    assert_eq!(signature.content.body_hash, b"12345678901234567890123456789012");
    assert_eq!(signature.identity.to_string(), "@eng.example.net");
}

#[test]
fn every_required_tag_is_missed() {
    for name in ["v", "a", "b", "bh", "d", "h", "s"] {
        assert_eq!(changed(name, None), Err(SignatureError::Missing(name)));
    }
    assert_eq!(changed("c", None).unwrap().content.canonicalization, Canonicalization::SIMPLE);
}

#[test]
fn values_that_break_their_grammar_are_refused() {
    use SignatureError::{Algorithm, Canonicalization, Query, Value, Version};
    for (name, value, error) in [
        ("v", "2", Version),
        ("v", "1.0", Version),
        ("v", "", Version),
        ("a", "", Algorithm),
        ("a", "RSA-SHA256", Algorithm),
        ("a", "rsa-sha512", Algorithm),
        ("b", "", Value("b")),
        ("b", "!", Value("b")),
        ("bh", "", Value("bh")),
        ("bh", "*", Value("bh")),
        ("c", "", Canonicalization),
        ("c", "relaxed/", Canonicalization),
        ("c", "nowsp", Canonicalization),
        ("c", "relaxed/relaxed/relaxed", Canonicalization),
        ("d", "", Value("d")),
        ("d", "exa mple.net", Value("d")),
        ("d", "[192.0.2.1]", Value("d")),
        ("d", "a@example.net", Value("d")),
        ("d", "example.net'", Value("d")),
        ("d", "example.net(x", Value("d")),
        ("s", "", Value("s")),
        ("s", "a/b", Value("s")),
        ("h", "", Value("h")),
        ("h", "from::to", Value("h")),
        ("h", "from:to:", Value("h")),
        ("h", "from to", Value("h")),
        ("l", "", Value("l")),
        ("l", "-1", Value("l")),
        ("l", "1 0", Value("l")),
        ("t", "", Value("t")),
        ("t", "now", Value("t")),
        ("x", "1e9", Value("x")),
        ("i", "", Value("i")),
        ("i", "user", Value("i")),
        ("q", "", Query),
        ("q", "dns", Query),
        ("q", "http/x", Query),
    ] {
        assert_eq!(changed(name, Some(value)), Err(error), "{name}={value}");
    }
}

#[test]
fn values_with_white_space_and_unknown_neighbours_are_taken() {
    assert_eq!(changed("h", Some("FROM :\r\n\tto : x-any!")).unwrap().content.fields.len(), 3);
    assert!(changed("q", Some("x-http/a : dns/txt")).is_ok());
    assert!(changed("unknown_1", Some("anything | else")).is_ok());
    assert_eq!(changed("b", Some("AA\r\n EC")).unwrap().core.signature, [0, 1, 2]);
    assert_eq!(changed("l", Some(&"9".repeat(76))).unwrap().content.length, Some(u64::MAX));
    assert_eq!(
        changed("d", Some("b\u{fc}cher.example")).unwrap().core.domain.as_str(),
        "xn--bcher-kva.example"
    );
}

#[test]
fn the_identity_is_of_the_domain_or_below_it() {
    let identity = |value| changed("i", value).map(|signature| signature.identity.to_string());
    assert_eq!(identity(None), Ok("@example.net".into()));
    assert_eq!(identity(Some("joe@a.b.example.net")), Ok("joe@a.b.example.net".into()));
    for other in ["joe@net", "joe@badexample.net", "joe@example.org", "joe@example.net@example.org"] {
        assert_eq!(identity(Some(other)), Err(SignatureError::Identity), "{other}");
    }
}

#[test]
fn from_is_signed() {
    assert_eq!(changed("h", Some("to:subject")), Err(SignatureError::FromNotSigned));
    assert!(changed("h", Some("to:fRoM")).is_ok());
}

#[test]
fn it_expires_after_it_was_made() {
    let times = |made: u64, expires: u64| {
        Signature::parse(
            format!("v=1;a=rsa-sha256;d=a.b;s=c;h=from;bh=AA==;b=AA==;t={made};x={expires}").as_bytes(),
        )
    };
    assert!(times(10, 11).is_ok());
    assert_eq!(times(10, 10), Err(SignatureError::Times));
    assert_eq!(times(10, 9), Err(SignatureError::Times));
}

#[test]
fn limits_hold_at_the_limit_and_one_past_it() {
    let names = |count: usize| vec!["from"; count].join(":");
    assert!(changed("h", Some(&names(SIGNED_FIELDS_MAX))).is_ok());
    assert_eq!(changed("h", Some(&names(SIGNED_FIELDS_MAX + 1))), Err(SignatureError::TooManyFields));
    let start = "v=1;a=rsa-sha256;d=a.b;s=c;h=from;bh=AA==;b=AA==;z=";
    let long =
        |octets: usize| Signature::parse(format!("{start}{}", "z".repeat(octets - start.len())).as_bytes());
    assert!(long(SIGNATURE_OCTETS_MAX).is_ok());
    assert_eq!(long(SIGNATURE_OCTETS_MAX + 1), Err(SignatureError::TooLong));
}

#[test]
fn claims_are_read_of_signatures_that_are_none() {
    let claims = Claims::parse(b"v=3; a=future-sha3; d=Example.NET; s=x");
    assert_eq!(claims.domain.unwrap().as_str(), "example.net");
    assert_eq!(claims.selector.unwrap().as_str(), "x");
    assert_eq!(claims.algorithm.as_deref(), Some("future-sha3"));
    let claims = Claims::parse(b"a=(x; d=a b; s=;");
    assert_eq!(claims, Claims::default());
    assert_eq!(Claims::parse(b"d=a.b; d=a.b"), Claims::default());
}

#[test]
fn fuzz_nothing_that_is_read_can_break_a_line() {
    let text = b"v=1; a=ed25519-sha256; c=relaxed; d=example.net; s=b; i=a=40@x.example.net; l=1; t=1; x=2; q=dns/txt;\r\n \
        h=from:to; bh=AAAA; b=AA\r\n AA; z=a|b\r\n";
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut below = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound as u64) as usize
    };
    let mut read = 0;
    for _ in 0..30_000 {
        let mut octets = text.to_vec();
        for _ in 0..=below(3) {
            let at = below(octets.len());
            match below(4) {
                0 => octets[at] = below(256) as u8,
                1 => octets[at] = b";=:@\r\n \t="[below(9)],
                2 => drop(octets.remove(at)),
                _ => octets.insert(at, text[below(text.len())]),
            }
        }
        let claims = Claims::parse(&octets);
        if let Ok(signature) = Signature::parse(&octets) {
            read += 1;
            let place = signature.core.signature_place.clone();
            assert_eq!(base64(std::str::from_utf8(&octets[place]).unwrap()), Some(signature.core.signature));
            let shown = format!("{}{}{}", signature.identity, signature.core.domain, signature.core.selector);
            assert!(!shown.contains(char::is_control), "{octets:?}");
            assert_eq!(claims.domain, Some(signature.core.domain));
        }
    }
    assert!(read > 1_000, "{read} of the mutations were still signatures");
}

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use super::*;
use crate::smtp::trace::Charset;

fn field(results: &[MethodResult]) -> String {
    AuthenticationResults { authserv_id: "mx.us.example", charset: Charset::Ascii, results }.field()
}

fn value(field: &str) -> &[u8] {
    field.split_once(':').unwrap().1.as_bytes()
}

fn all_methods() -> Vec<MethodResult> {
    vec![
        MethodResult::new(Method::Iprev, "pass").dnssec(Dnssec::With).property(
            "policy",
            "iprev",
            "2001:db8::1",
        ),
        MethodResult::new(Method::Dkim, "pass")
            .comment("2048 bit rsa")
            .dnssec(Dnssec::Without)
            .property("header", "d", "example.org")
            .property("header", "b", "abc+/=def"),
        MethodResult::new(Method::Spf, "fail").dnssec(Dnssec::With).reason("not one of ours").property(
            "smtp",
            "mailfrom",
            "a@example.org",
        ),
        MethodResult::new(Method::Dmarc, "none").property("header", "from", "example.org"),
        MethodResult::new(Method::Arc, "none"),
        MethodResult::new(Method::Auth, "pass").property("smtp", "auth", "a b@example.org"),
        MethodResult::new(Method::DnsList, "pass").property("dns", "zone", "list.example"),
    ]
}

#[test]
fn the_field_says_all() {
    assert_eq!(
        field(&all_methods()),
        "Authentication-Results: mx.us.example; iprev=pass (with dnssec)\r\n\
         \tpolicy.iprev=\"2001:db8::1\"; dkim=pass (2048 bit rsa, without dnssec)\r\n\
         \theader.d=example.org header.b=\"abc+/=def\"; spf=fail (with dnssec)\r\n\
         \treason=\"not one of ours\" smtp.mailfrom=a@example.org; dmarc=none\r\n\
         \theader.from=example.org; arc=none; auth=pass smtp.auth=\"a b@example.org\";\r\n\
         \tdnswl=pass dns.zone=list.example\r\n"
    );
    assert_eq!(field(&[]), "Authentication-Results: mx.us.example; none\r\n");
    let results = [MethodResult::new(Method::Spf, "pass")];
    let sealed = AuthenticationResults { authserv_id: "us", charset: Charset::Ascii, results: &results };
    assert_eq!(sealed.payload(), "us; spf=pass");
    let long = AuthenticationResults { results: &all_methods(), ..sealed }.payload();
    let field = format!("ARC-Authentication-Results: i=50; {long}");
    assert!(field.lines().all(|line| line.len() <= 78), "{field}");
}

#[test]
fn what_is_written_is_read_again() {
    let text = field(&all_methods());
    let parsed = parse(value(&text)).unwrap();
    assert_eq!(parsed.authserv_id, "mx.us.example");
    assert_eq!(parsed.version, 1);
    assert_eq!(parsed.results.len(), all_methods().len());
    assert_eq!(parsed.results[0].properties[0].value, "2001:db8::1");
    assert_eq!(parsed.results[1].properties[1].value, "abc+/=def");
    let spf = &parsed.results[2];
    assert_eq!((spf.method.as_str(), spf.result.as_str()), ("spf", "fail"));
    assert_eq!(spf.reason.as_deref(), Some("not one of ours"));
    let property = &spf.properties[0];
    let shown = (property.kind.as_str(), property.name.as_str(), property.value.as_str());
    assert_eq!(shown, ("smtp", "mailfrom", "a@example.org"));
    assert_eq!(parse(value(&field(&[]))).unwrap().results, []);
    let (instance, results) = crate::arc::results_instance(b" i=3; us; spf=pass smtp.mailfrom=x; ").unwrap();
    let sealed = parse(results).unwrap();
    assert_eq!((instance.number(), sealed.authserv_id.as_str(), sealed.results.len()), (3, "us", 1));
}

#[test]
fn examples_of_the_standard_are_read() {
    // RFC 8601 appendix B.
    let parsed = parse(b" example.org 1; none").unwrap();
    assert_eq!((parsed.version, parsed.results.len()), (1, 0));
    let parsed = parse(
        b" example.com;\r\n auth=pass (cram-md5) smtp.auth=sender@example.net;\r\n spf=pass smtp.mailfrom=example.net",
    )
    .unwrap();
    assert_eq!(parsed.results.len(), 2);
    let strange = b" foo.example.net (foobar) 1 (baz);\r\n dkim (Because I like it) / 1 (One yay) = (wait for it) \
        fail\r\n policy (A dot can go here) . (like that) expired\r\n (this surprised me) = (as I wasn't expecting \
        it) 1362471462";
    let parsed = parse(strange).unwrap();
    assert_eq!(parsed.authserv_id, "foo.example.net");
    assert_eq!((parsed.results[0].method.as_str(), parsed.results[0].result.as_str()), ("dkim", "fail"));
    assert_eq!(parsed.results[0].properties[0].name, "expired");
    assert_eq!(parsed.results[0].properties[0].value, "1362471462");
}

#[test]
fn hostile_texts_stay_in_their_place() {
    let text = field(&[MethodResult::new(Method::Spf, "permerror")
        .comment("a) b\r\nX: y (\\")
        .reason("say \"\r\n; dkim=pass\"")
        .property("smtp", "helo", "a;dkim=pass")
        .property("smtp", "mailfrom", "\"a b\"@c.example")
        .property("header", "from", "x".repeat(5000))
        .property("header", "i", "\"\\".repeat(5000))]);
    assert_eq!(text.matches("\r\n").count(), text.matches("\r\n\t").count() + 1, "{text}");
    assert!(text.lines().all(|line| line.len() <= 998));
    let parsed = parse(value(&text)).unwrap();
    assert_eq!(parsed.results.len(), 1, "{text}");
    assert_eq!(parsed.results[0].reason.as_deref(), Some("say \"??; dkim=pass\""));
    assert_eq!(parsed.results[0].properties[0].value, "a;dkim=pass");
    assert_eq!(parsed.results[0].properties[1].value, "\"a b\"@c.example");
}

#[test]
fn what_breaks_the_grammar_is_refused() {
    use ParseError::{Grammar, Unclosed};
    for (text, error) in [
        ("", Grammar),
        (";", Grammar),
        ("a b", Grammar),
        ("a; spf", Grammar),
        ("a; spf=", Grammar),
        ("a; =pass", Grammar),
        ("a; spf/x=pass", Grammar),
        ("a; spf=pass smtp", Grammar),
        ("a; spf=pass smtp.", Grammar),
        ("a; spf=pass smtp.x", Grammar),
        ("a; spf=pass reason=", Grammar),
        ("a; spf=pass (", Unclosed),
        ("a; spf=pass reason=\"x", Unclosed),
    ] {
        assert_eq!(parse(text.as_bytes()), Err(error), "{text:?}");
    }
}

#[test]
fn limits_hold_at_the_limit_and_one_past_it() {
    let many = |count| format!("a{}", "; spf=pass".repeat(count));
    assert_eq!(parse(many(100).as_bytes()).unwrap().results.len(), 100);
    assert_eq!(parse(many(101).as_bytes()), Err(ParseError::TooMany));
    let wide = |count| format!("a; spf=pass{}", " smtp.x=1".repeat(count));
    assert_eq!(parse(wide(50).as_bytes()).unwrap().results[0].properties.len(), 50);
    assert_eq!(parse(wide(51).as_bytes()), Err(ParseError::TooMany));
    let long = |length: usize| format!("{}a", " ".repeat(length - 1));
    assert!(parse(long(64 * 1024).as_bytes()).is_ok());
    assert_eq!(parse(long(64 * 1024 + 1).as_bytes()), Err(ParseError::TooLong));
    // Depth costs nothing.
    assert_eq!(parse("(".repeat(60_000).as_bytes()), Err(ParseError::Unclosed));
}

#[test]
fn random_fields_are_read_or_refused() {
    const PIECES: &[&str] = &[
        "mx.us.example",
        "spf",
        "dkim",
        "=",
        "pass",
        "fail",
        ";",
        " ",
        "\r\n\t",
        "(",
        ")",
        "\\",
        "\"",
        "reason",
        "smtp",
        ".",
        "mailfrom",
        "a@b.example",
        "/",
        "1",
        "none",
        "i=1;",
        "\u{fc}",
        "\0",
    ];
    let mut read = 0;
    for seed in 1..=20_000_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut below = |end: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % (end as u64)).unwrap()
        };
        let mut text = String::from(if seed % 2 == 0 { "us; spf=pass" } else { "" });
        for _ in 0..below(16) {
            text.push_str(PIECES[below(PIECES.len())]);
        }
        read += usize::from(parse(text.as_bytes()).is_ok());
    }
    assert!(read > 300, "{read}");
}

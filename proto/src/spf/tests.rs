#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::net::IpAddr;

use super::*;
use crate::smtp::trace::Charset;

fn error(text: &[u8]) -> TermError {
    match Record::parse(text).unwrap_err() {
        RecordError::Term { error, .. } => error,
        RecordError::TooLong => panic!("too long"),
    }
}

/// The sender of RFC 7208 §7.4, and a second domain.
fn values(address: &str) -> Values<'static> {
    Values {
        local_part: "strong-bad",
        sender_domain: "email.example.com",
        domain: "email.example.com",
        address: address.parse::<IpAddr>().unwrap(),
        validated_name: "mx.example.org",
        helo: "mx.example.org",
        receiver: "mx.us.example",
        unix_seconds: 1_700_000_000,
    }
}

fn target(spec: &str, address: &str) -> String {
    DomainSpec::parse(spec.as_bytes()).unwrap().target_name(&values(address)).unwrap()
}

#[test]
fn records_print_as_they_are_read() {
    for text in [
        "v=spf1",
        "v=spf1 -all",
        "v=spf1 mx a:colo.example.com/28 -all",
        "v=spf1 a/24//64 a//64 mx:%{d}/8 ptr ptr:%{d2}.example exists:%{ir}.%{l1r-+}._spf.%{d} ?all",
        "v=spf1 ip4:192.0.2.0/24 ip4:192.0.2.1 ip6:2001:db8::/32 ip6:::1 ~include:_spf.example.com",
        "v=spf1 redirect=_spf.%{d} exp=explain._spf.%{d} unknown.1-x=%{c}%%%_%-",
    ] {
        let record = Record::parse(text.as_bytes()).unwrap();
        assert_eq!(record.to_string(), text);
    }
    let record = Record::parse(b"V=SPF1  +MX   iNcLuDe:A.B -ALL ").unwrap();
    assert_eq!(record.to_string(), "v=spf1 mx include:A.B -all");
    assert!(record.has_all());
    assert!(record.directives[0].mechanism.asks_dns() && !record.directives[2].mechanism.asks_dns());
}

#[test]
fn what_is_no_record_is_not_one() {
    for text in ["v=spf1", "v=spf1 ", "V=Spf1 -all"] {
        assert!(Record::is_one(text.as_bytes()), "{text}");
    }
    for text in ["", "v=spf10", "v=spf1\t-all", " v=spf1", "v=spf2.0/pra", "v=spf", "v=spf1,"] {
        assert!(!Record::is_one(text.as_bytes()), "{text}");
    }
}

#[test]
fn syntax_errors_are_found_anywhere() {
    use TermError::{Character, Macro, Missing, Network, Prefix, Surplus, Twice, Unknown};
    let cases: &[(&str, TermError)] = &[
        ("-all foo", Unknown),
        ("-all a\tb", Character),
        ("all:", Surplus),
        ("all/8", Surplus),
        ("include", Missing),
        ("exists", Missing),
        ("ip4", Missing),
        ("ip4:", Missing),
        ("ip6:/8", Missing),
        ("include:", Macro(MacroError::Empty)),
        ("a:", Macro(MacroError::Empty)),
        ("a:/24", Macro(MacroError::Empty)),
        ("mx:foo", Macro(MacroError::TopLabel)),
        ("a:foo.1", Macro(MacroError::TopLabel)),
        ("a:foo.-a", Macro(MacroError::TopLabel)),
        ("a:foo.a-", Macro(MacroError::TopLabel)),
        ("a:%{d}com", Macro(MacroError::TopLabel)),
        ("a:example.com:8080", Macro(MacroError::TopLabel)),
        ("a:foo.com/", Macro(MacroError::TopLabel)),
        ("include:foo.com/24", Macro(MacroError::TopLabel)),
        ("a/33", Prefix),
        ("a/08", Prefix),
        ("a/00", Prefix),
        ("a//129", Prefix),
        ("a/", Prefix),
        ("a//", Prefix),
        ("a/24/64", Prefix),
        ("ip4:1.2.3.4/33", Prefix),
        ("ip4:1.2.3.4/", Prefix),
        ("ip4:1.2.3.4//32", Prefix),
        ("ip4:1.2.3", Network),
        ("ip4:1.2.3.4:8080", Network),
        ("ip4:01.2.3.4", Network),
        ("ip4:::1", Network),
        ("ip6:1.2.3.4", Network),
        ("ip6:fe80::1%eth0", Network),
        ("exists:%{x}.a.b", Macro(MacroError::Macro)),
        ("exists:%{", Macro(MacroError::Macro)),
        ("exists:%{d", Macro(MacroError::Macro)),
        ("exists:%{d2r*}.a.b", Macro(MacroError::Macro)),
        ("exists:%{dr2}.a.b", Macro(MacroError::Macro)),
        ("exists:%{d0}.a.b", Macro(MacroError::NoParts)),
        ("exists:%(ir).a.b", Macro(MacroError::Percent)),
        ("exists:a.b%", Macro(MacroError::Percent)),
        ("exists:%{c}.a.b", Macro(MacroError::ExplanationsAlone)),
        ("exp=%{t}", Macro(MacroError::ExplanationsAlone)),
        ("redirect=", Macro(MacroError::Empty)),
        ("exp=", Macro(MacroError::Empty)),
        ("redirect=a.b redirect=a.b", Twice),
        ("EXP=a.b exp=a.b", Twice),
        ("x=%", Macro(MacroError::Percent)),
        ("-redirect=a.b", Unknown),
        ("=a.b", Unknown),
        ("++a", Unknown),
    ];
    for (terms, expected) in cases {
        assert_eq!(error(format!("v=spf1 {terms}").as_bytes()), *expected, "{terms}");
    }
    assert_eq!(error(b"v=spf1 a:\xc3\xbc.example"), Character);
    let text = Record::parse(b"v=spf1 \x1b[31m -all").unwrap_err().to_string();
    assert_eq!(text, "term \"?[31m\": a character that may not stand in a record");
}

#[test]
fn long_records_are_refused_at_the_limit() {
    let longest = format!("v=spf1 {}", " ".repeat(Record::OCTETS_MAX - 7));
    assert_eq!(Record::parse(longest.as_bytes()), Ok(Record::default()));
    assert_eq!(Record::parse(format!("{longest} ").as_bytes()), Err(RecordError::TooLong));
}

#[test]
fn macros_expand_as_in_the_standard() {
    for (spec, expected) in [
        ("%{s}", "strong-bad@email.example.com"),
        ("%{o}", "email.example.com"),
        ("%{d}", "email.example.com"),
        ("%{d4}", "email.example.com"),
        ("%{d3}", "email.example.com"),
        ("%{d2}", "example.com"),
        ("%{d1}", "com"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{l}", "strong-bad"),
        ("%{l-}", "strong.bad"),
        ("%{lr}", "strong-bad"),
        ("%{lr-}", "bad.strong"),
        ("%{l1r-}", "strong"),
        ("%{p}", "mx.example.org"),
        ("%{h}.%{v}", "mx.example.org.in-addr"),
        ("%{i}", "192.0.2.3"),
        ("%{D99999999999999999999}", "email.example.com"),
        ("%{S}", "strong-bad%40email.example.com"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
        ("%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
        ("%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com"),
        ("%{d2}.trusted-domains.example.net.", "example.com.trusted-domains.example.net"),
    ] {
        assert_eq!(target(spec, "192.0.2.3"), expected, "{spec}");
    }
    assert_eq!(
        target("%{ir}.%{v}._spf.%{d2}", "2001:db8::cb01"),
        "1.0.B.C.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.B.D.0.1.0.0.2.ip6._spf.example.com"
    );
    let text = ExplainString::parse(b"%{c} at %{t} by %{r}: 100%%%_%- %{L}").unwrap();
    let said = text.expand(&values("2001:db8::cb01")).unwrap();
    assert_eq!(said, "2001:db8::cb01 at 1700000000 by mx.us.example: 100% %20 strong-bad");
    assert_eq!(text.to_string(), "%{c} at %{t} by %{r}: 100%%%_%- %{L}");
}

#[test]
fn names_that_are_too_long_lose_labels_at_the_left() {
    let label = "a".repeat(50);
    let long = format!("{label}.{label}.{label}.{label}.{label}.example.com");
    assert_eq!(target(&long, "192.0.2.3"), long[51..]);
    // What fits exactly is kept.
    let fits = format!("{}.{}", "b.".repeat(124).trim_end_matches('.'), "abc.de");
    assert_eq!(fits.len(), 254);
    assert_eq!(target(&fits, "192.0.2.3"), fits[2..]);
    assert_eq!(target(&fits[1..].replacen('.', "b", 1), "192.0.2.3"), fits[1..].replacen('.', "b", 1));
    // A record of thousands of macros expands to no more.
    let many = format!("v=spf1 exists:{}.a.b", "%{s}".repeat(4000));
    let record = Record::parse(many.as_bytes()).unwrap();
    let Mechanism::Exists(spec) = &record.directives[0].mechanism else { panic!() };
    assert!(spec.target_name(&values("192.0.2.3")).unwrap().len() <= 253);
}

#[test]
fn local_parts_beyond_ascii_make_no_name() {
    let spec = DomainSpec::parse(b"%{l}.a.b").unwrap();
    let values = Values { local_part: "\u{fc}", ..values("192.0.2.3") };
    assert_eq!(spec.target_name(&values), Err(NotAscii));
    assert_eq!(DomainSpec::parse(b"%{S}.a.b").unwrap().target_name(&values), Err(NotAscii));
    assert!(DomainSpec::parse(b"%{o}.a.b").unwrap().target_name(&values).is_ok());
    assert_eq!(ExplainString::parse(b"%{l}").unwrap().expand(&values), Err(NotAscii));
    assert_eq!(ExplainString::parse(b"%{L}").unwrap().expand(&values).unwrap(), "%C3%BC");
}

#[test]
fn explanations_are_bounded_and_printable() {
    let long = ExplainString::parse("x".repeat(5000).as_bytes()).unwrap();
    assert_eq!(long.expand(&values("192.0.2.3")).unwrap().len(), ExplainString::OCTETS_MAX);
    for text in [&b"a\nb"[..], b"a\tb", b"\xc3\xbc", b"%"] {
        assert!(ExplainString::parse(text).is_err());
    }
    let hostile = Values { helo: "a\r\nb", ..values("192.0.2.3") };
    assert_eq!(ExplainString::parse(b"%{h}").unwrap().expand(&hostile), Err(NotAscii));
}

#[test]
fn fields_say_what_was_found() {
    let mut received = ReceivedSpf {
        result: SpfResult::Pass,
        identity: Identity::MailFrom,
        domain: "example.org",
        client_ip: "192.0.2.1".parse().unwrap(),
        envelope_from: Some("a@example.org"),
        helo: "mx.example.org",
        problem: None,
        mechanism: Some("ip4:192.0.2.0/24"),
        receiver: "mx.us.example",
        charset: Charset::Ascii,
    };
    assert_eq!(
        received.field(),
        "Received-SPF: pass (domain example.org) client-ip=192.0.2.1;\r\n\
         \tenvelope-from=\"a@example.org\"; helo=mx.example.org;\r\n\
         \tmechanism=\"ip4:192.0.2.0/24\"; receiver=mx.us.example; identity=mailfrom\r\n"
    );
    received.result = SpfResult::Neutral;
    received.mechanism = None;
    assert!(received.field().contains(" mechanism=default;"));
    received = ReceivedSpf {
        result: SpfResult::Permerror,
        identity: Identity::Helo,
        envelope_from: None,
        problem: Some("term \"a)b\\\": bad\r\nX: y"),
        domain: "e(vil)\r\n.example",
        helo: "he\"lo\u{fc}",
        ..received
    };
    let field = received.field();
    let unfolded = field.replace("\r\n\t", " ");
    let comment = "(domain e[vil]??.example, from ehlo because mailfrom is empty)";
    assert!(unfolded.contains(comment), "{field}");
    assert!(field.contains("problem=\"term \\\"a)b\\\\\\\": bad??X: y\""), "{field}");
    assert!(field.contains("helo=\"he\\\"lo?\""), "{field}");
    assert!(!field.contains("mechanism") && !field.contains("envelope-from"), "{field}");
    assert_eq!(field.matches("\r\n").count(), field.matches("\r\n\t").count() + 1);
}

/// Pseudo-random numbers (xorshift) from a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (end as u64)).unwrap()
    }
}

#[test]
fn random_records_print_as_they_are_read_and_expand_within_bounds() {
    const PIECES: &[&str] = &[
        "a",
        "mx",
        "ptr",
        "all",
        "include",
        "exists",
        "ip4",
        "ip6",
        "redirect",
        "exp",
        "x",
        ":",
        "/",
        "//",
        "=",
        " ",
        "  ",
        "%{d}",
        "%{",
        "}",
        "%{s2r.-}",
        "%{L}",
        "%%",
        "%_",
        "%-",
        "%",
        ".",
        "com",
        "example.org",
        "1.2.3.4",
        "::1",
        "24",
        "0",
        "128",
        "-",
        "+",
        "~",
        "?",
        "\t",
        "\u{fc}",
        "%{p1}",
        "%{h}",
        "_",
    ];
    const TERMS: &[&str] =
        &[" exists:", " include:", " a:", " -all", " mx:%{d}", " redirect=", " ip4:1.2.3.4"];
    let values = values("2001:db8::1");
    let (mut valid, mut specs) = (0, 0);
    for seed in 1..=20_000_u64 {
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut text = String::from("v=spf1 ");
        for _ in 0..chance.below(14) {
            let from = if chance.below(3) == 0 { TERMS } else { PIECES };
            text.push_str(from[chance.below(from.len())]);
        }
        let Ok(record) = Record::parse(text.as_bytes()) else { continue };
        valid += 1;
        let printed = record.to_string();
        assert_eq!(Record::parse(printed.as_bytes()).as_ref(), Ok(&record), "seed {seed}: {text:?}");
        for directive in &record.directives {
            let (Mechanism::Include(spec) | Mechanism::Exists(spec) | Mechanism::A(Some(spec), _)) =
                &directive.mechanism
            else {
                continue;
            };
            specs += 1;
            let name = spec.target_name(&values).unwrap();
            assert!(name.len() <= 253 || !name.contains('.'), "seed {seed}: {name}");
        }
        let _ = ExplainString::parse(text.as_bytes()).map(|text| text.expand(&values));
    }
    assert!(valid > 1000 && specs > 100, "{valid} {specs}");
    // Any octets.
    for seed in 1..=5000_u64 {
        let mut chance = Chance(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let octets: Vec<u8> =
            (0..chance.below(40)).map(|_| u8::try_from(chance.below(256)).unwrap()).collect();
        let _ = Record::parse(&octets).map(|record| record.to_string());
        let _ = ExplainString::parse(&octets).map(|text| text.expand(&values));
    }
}

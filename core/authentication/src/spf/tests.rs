#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::fmt::Write as _;

use futures_lite::future::block_on;
use postrider_dns::Authenticity;
use postrider_dns::script::Script;
use postrider_proto::smtp::trace::Charset;

use super::*;

fn query(domain: &str) -> Query<'_> {
    Query {
        client_ip: "192.0.2.1".parse().unwrap(),
        identity: Identity::MailFrom,
        local_part: "user",
        domain,
        helo: "mx.example",
        receiver: "mx.us.example",
        unix_seconds: 1_700_000_000,
    }
}

fn check_with(script: &Script, query: &Query<'_>) -> Verdict {
    script.forget();
    let verdict = block_on(check(script, &Limits::default(), query));
    assert_eq!(usize::try_from(verdict.queries).unwrap(), script.lookups());
    verdict
}

fn check_zone(zone: &str) -> Verdict {
    check_with(&Script::parse(&format!("$ORIGIN example.\n{zone}\n")).unwrap(), &query("a.example"))
}

fn asked(script: &Script) -> Vec<String> {
    script.questions().iter().map(|asked| format!("{} {}", asked.kind, asked.name.to_ascii())).collect()
}

#[test]
fn a_verdict_says_what_matched() {
    let zone = "a TXT \"v=spf1 a:b.example include:c.example ~all exp=why.example\"\n\
        b A 192.0.2.2\nc TXT \"v=spf1 redirect=d.example\"\nd TXT \"v=spf1 ip4:192.0.2.0/24 -all\"";
    let verdict = check_zone(zone);
    assert_eq!(verdict.result, SpfResult::Pass);
    assert_eq!(verdict.mechanism.as_deref(), Some("include:c.example"));
    assert_eq!((verdict.lookups, verdict.void_lookups, verdict.queries), (3, 0, 4));
    assert_eq!(verdict.authenticity, Authenticity::Insecure);
    let verdict = check_zone(
        "a TXT \"v=spf1 a:nothing.example -ip4:192.0.2.1/32 exp=why.example\"\n\
        why TXT \"%{i} is not %{d}'s\"",
    );
    assert_eq!(verdict.result, SpfResult::Fail);
    assert_eq!(verdict.mechanism.as_deref(), Some("-ip4:192.0.2.1"));
    assert_eq!(verdict.explanation.as_deref(), Some("192.0.2.1 is not a.example's"));
    assert_eq!((verdict.lookups, verdict.void_lookups, verdict.queries), (1, 1, 3));
    let verdict = check_zone("a TXT \"v=spf1 ?all\"");
    assert_eq!((verdict.result, verdict.mechanism.as_deref()), (SpfResult::Neutral, Some("?all")));
    let verdict = check_zone("a TXT \"v=spf1\"");
    assert_eq!((verdict.result, verdict.mechanism), (SpfResult::Neutral, None));
}

#[test]
fn a_verdict_claims_no_more_than_its_least_lookup() {
    let zone = "$SECURE @\n$INSECURE b\n\
        a TXT \"v=spf1 include:c.example mx:b.example -all exp=why.example\"\n\
        b MX 10 c\nc TXT \"v=spf1 ip4:192.0.2.9 -all\"\nc A 192.0.2.1\n$INDETERMINATE why\nwhy TXT \"no\"";
    assert_eq!(check_zone(zone).authenticity, Authenticity::Insecure);
    assert_eq!(check_zone(&zone.replace("mx:b", "mx:x")).authenticity, Authenticity::Indeterminate);
    assert_eq!(check_zone(&zone.replace("mx:b.example", "a:c.example")).authenticity, Authenticity::Secure);
    let bogus = check_zone(&format!("{zone}\n$BOGUS b MX"));
    assert_eq!((bogus.result, bogus.authenticity), (SpfResult::Temperror, Authenticity::Bogus));
    let problem = bogus.problem.unwrap();
    assert!(problem.starts_with("looking up MX of b.example failed: "), "{problem}");
    // Nothing asked, nothing claimed.
    let script = Script::new();
    let none = check_with(&script, &query("[192.0.2.1]"));
    assert_eq!((none.result, none.queries), (SpfResult::None, 0));
    assert_eq!(none.authenticity, Authenticity::Indeterminate);
}

#[test]
fn senders_are_those_of_the_session() {
    let helo = HeloName::parse("Mx.example").unwrap();
    let sender = Sender::of(&ReversePath::parse("<\"a b\"@b\u{fc}cher.example>").unwrap(), &helo);
    assert_eq!(sender.identity, Identity::MailFrom);
    assert_eq!((sender.local_part.as_str(), sender.domain.as_str()), ("a b", "xn--bcher-kva.example"));
    let sender = Sender::of(&ReversePath::Null, &helo);
    assert_eq!((sender.identity, sender.local_part.as_str()), (Identity::Helo, ""));
    assert_eq!(sender.domain, "mx.example");
    let literal = Sender::of_helo(&HeloName::parse("[192.0.2.1]").unwrap());
    let script = Script::new();
    let verdict = check_with(&script, &Query { identity: Identity::Helo, ..query(&literal.domain) });
    assert_eq!(verdict.result, SpfResult::None);
}

#[test]
fn internationalised_domains_are_asked_for_in_a_labels() {
    let script =
        Script::parse("xn--bcher-kva.example. TXT \"v=spf1 exists:%{d}.%{o}.x.example -all\"").unwrap();
    let verdict = check_with(&script, &query("B\u{fc}cher.example"));
    assert_eq!(verdict.domain, "xn--bcher-kva.example");
    assert_eq!(asked(&script)[1], "A xn--bcher-kva.example.xn--bcher-kva.example.x.example.");
    // RFC 8616 §4: what needs a local part beyond ASCII matches nothing.
    let script = Script::parse(
        "a.example. TXT \"v=spf1 exists:%{l}.example include:%{s}.example ip4:192.0.2.1 -all\"\n*.example. A 192.0.2.3",
    )
    .unwrap();
    let verdict = check_with(&script, &Query { local_part: "\u{fc}", ..query("a.example") });
    assert_eq!((verdict.result, verdict.mechanism.as_deref()), (SpfResult::Pass, Some("ip4:192.0.2.1")));
    assert_eq!((verdict.lookups, verdict.queries), (2, 1));
    let script = Script::parse("a.example. TXT \"v=spf1 redirect=%{l}.example\"").unwrap();
    let verdict = check_with(&script, &Query { local_part: "\u{fc}", ..query("a.example") });
    assert_eq!(verdict.result, SpfResult::Permerror);
    // U+200B, which once brought a server down, and what is no name at all.
    for domain in
        ["a\u{200b}.example", "\u{200b}", "a..example", ".", "", "example", "a b.example", "\0.example"]
    {
        let verdict = check_with(&Script::new(), &query(domain));
        assert_eq!(verdict.result, SpfResult::None, "{domain:?}");
    }
}

#[test]
fn records_are_looked_up_for_people() {
    let published = |zone: &str, domain: &str| block_on(lookup(&Script::parse(zone).unwrap(), domain));
    let one = published("$SECURE .\na.example. TXT \"v=spf1 A -all\"\na.example. TXT other", "a.example.");
    assert_eq!(one.texts, ["v=spf1 A -all"]);
    assert_eq!(one.record.unwrap().to_string(), "v=spf1 a -all");
    assert_eq!((one.problem, one.authenticity), (None, Authenticity::Secure));
    let problem = |zone: &str, domain: &str| {
        let published = published(zone, domain);
        assert_eq!(published.record, None);
        (published.problem.unwrap(), published.is_temporary)
    };
    assert_eq!(problem("", "a.example"), ("a.example has no SPF record".into(), false));
    assert_eq!(problem("", "a..example"), ("a..example is no name of DNS".into(), false));
    let two = "a.example. TXT v=spf1\na.example. TXT \"v=spf1 -all\"";
    assert_eq!(problem(two, "a.example"), ("a.example has more than one SPF record".into(), false));
    let broken = problem("a.example. TXT \"v=spf1 -al\"", "a.example");
    assert_eq!(broken, ("term \"-al\": no mechanism has this name".into(), false));
    let (failed, is_temporary) = problem("$SERVFAIL a.example.", "a.example");
    assert!(is_temporary && failed.starts_with("looking up TXT of a.example failed"), "{failed}");
}

#[test]
fn mapped_clients_are_those_of_ipv4() {
    let script = Script::parse("a.example. TXT \"v=spf1 ip4:192.0.2.0/24 -all\"").unwrap();
    let mapped = Query { client_ip: "::ffff:192.0.2.7".parse().unwrap(), ..query("a.example") };
    assert_eq!(check_with(&script, &mapped).result, SpfResult::Pass);
    let field = check_with(&script, &mapped).received_field(&mapped, Some("user@a.example"), Charset::Ascii);
    assert!(field.contains("client-ip=192.0.2.7;"), "{field}");
}

#[test]
fn fields_tell_the_verdict() {
    let script = Script::parse("$SECURE .\na.example. TXT \"v=spf1 a:x -all\"").unwrap();
    let query = query("a.example");
    let verdict = check_with(&script, &query);
    let results = [verdict.method_result()];
    let field = postrider_proto::authentication_results::AuthenticationResults {
        authserv_id: "us",
        charset: Charset::Ascii,
        results: &results,
    };
    let text = field.field().replace("\r\n\t", " ");
    assert_eq!(
        text,
        "Authentication-Results: us; spf=permerror (with dnssec) reason=\"SPF record of a.example: term \
         \\\"a:x\\\": a domain that ends in no top-level label\" smtp.mailfrom=a.example\r\n"
    );
    let received = verdict.received_field(&query, Some("user@a.example"), Charset::Ascii);
    assert!(received.replace("\r\n\t", " ").contains("problem=\"SPF record of a.example: "), "{received}");
    let helo = check_with(&script, &Query { identity: Identity::Helo, ..query });
    let results = [helo.method_result()];
    assert!(
        postrider_proto::authentication_results::AuthenticationResults { results: &results, ..field }
            .field()
            .contains("smtp.helo=a.example")
    );
}

/// A zone in which each of some names includes the next.
fn chain(length: usize) -> String {
    let mut zone = String::new();
    for number in 0..length {
        let _ = writeln!(zone, "i{number} TXT \"v=spf1 include:i{}.example -all\"", number + 1);
    }
    let _ = writeln!(zone, "i{length} TXT \"v=spf1 ip4:192.0.2.1 -all\"");
    zone
}

#[test]
fn terms_are_bounded_at_the_limit_and_one_past_it() {
    let at = check_zone(&format!("a TXT \"v=spf1 include:i0.example -all\"\n{}", chain(9)));
    assert_eq!((at.result, at.lookups, at.queries), (SpfResult::Pass, 10, 11));
    let past = check_zone(&format!("a TXT \"v=spf1 include:i0.example -all\"\n{}", chain(10)));
    assert_eq!((past.result, past.queries), (SpfResult::Permerror, 11));
    assert_eq!(past.problem.as_deref(), Some("more than 10 terms that ask DNS"));
    let void = |terms: &str| check_zone(&format!("a TXT \"v=spf1 {terms} ip4:192.0.2.1 -all\""));
    assert_eq!(void("a:x.example mx:y.example").result, SpfResult::Pass);
    let past = void("a:x.example mx:y.example exists:z.example");
    assert_eq!((past.result, past.void_lookups), (SpfResult::Permerror, 3));
    // A host that has no address of the client's kind isn't a term without an answer.
    let zone =
        "a TXT \"v=spf1 mx ip4:192.0.2.1 -all\"\na MX 1 b\na MX 2 c\na MX 3 d\na MX 4 e\nb A 192.0.2.9";
    let verdict = check_zone(zone);
    assert_eq!((verdict.result, verdict.void_lookups), (SpfResult::Pass, 0));
}

/// Zones by which a domain or a client would have us ask much, and what comes of it at most.
#[test]
fn hostile_records_cause_no_more_than_the_documented_number_of_questions() {
    let mut many_hosts = String::new();
    for number in 0..10 {
        let _ = writeln!(many_hosts, "m{number} TXT \"unused\"");
        for host in 0..10 {
            let _ = writeln!(many_hosts, "m{number} MX 10 h{host}-{number}.victim.example.");
            let _ = writeln!(many_hosts, "h{host}-{number}.victim A 198.51.100.1");
        }
    }
    let terms: Vec<String> = (0..10).map(|number| format!("mx:m{number}.example")).collect();
    let mut names = String::new();
    for number in 0..100 {
        let _ = writeln!(names, "1.2.0.192.in-addr.arpa. PTR n{number}.victim.example.");
        let _ = writeln!(names, "n{number}.victim A 198.51.100.1");
    }
    let long = format!("v=spf1 {}", "a:b.example ".repeat(1000));
    let cut: Vec<String> =
        long.as_bytes().chunks(250).map(|part| format!("\"{}\"", String::from_utf8_lossy(part))).collect();
    let too_long = vec![format!("\"{}\"", "x".repeat(250)); 250].join(" ");
    let cases: &[(&str, String, SpfResult, u32)] = &[
        ("include loop", "a TXT \"v=spf1 include:a.example -all\"".into(), SpfResult::Permerror, 11),
        ("redirect loop", "a TXT \"v=spf1 redirect=a.example\"".into(), SpfResult::Permerror, 11),
        (
            "ten terms of ten mail hosts",
            format!("a TXT \"v=spf1 {} -all\"\n{many_hosts}", terms.join(" ")),
            SpfResult::Permerror,
            20,
        ),
        (
            "eleven mail hosts",
            format!("a TXT \"v=spf1 mx:m0.example -all\"\n{many_hosts}m0 MX 10 x\n"),
            SpfResult::Permerror,
            12,
        ),
        (
            "a hundred names of the client",
            format!("a TXT \"v=spf1 ptr:victim.example -all\"\n{names}"),
            SpfResult::Fail,
            12,
        ),
        (
            "a hundred names of the client in macros",
            format!("a TXT \"v=spf1 exists:%{{p}}.x.example exists:%{{p1}}.y.example -all\"\n{names}"),
            SpfResult::Fail,
            14,
        ),
        (
            "names of the client and of mail hosts",
            format!("a TXT \"v=spf1 ptr:victim.example mx:m0.example -all exp=%{{p}}.example\"\n{names}{many_hosts}"),
            SpfResult::Permerror,
            20,
        ),
        ("a thousand terms", format!("a TXT {}\nb A 192.0.2.9", cut.join(" ")), SpfResult::Permerror, 2),
        ("64 kB of text", format!("a TXT \"v=spf1 \" {too_long}"), SpfResult::Permerror, 1),
        (
            "names that don't exist",
            "a TXT \"v=spf1 a:1.victim.example a:2.victim.example a:3.victim.example a:4.victim.example -all\"".into(),
            SpfResult::Permerror,
            4,
        ),
        (
            "an explanation of macros",
            "a TXT \"v=spf1 -all exp=%{p}.%{s}.example\"".into(),
            SpfResult::Fail,
            3,
        ),
    ];
    for (what, zone, result, queries) in cases {
        let verdict = check_zone(zone);
        assert_eq!((verdict.result, verdict.queries), (*result, *queries), "{what}: {verdict:?}");
        assert!(verdict.queries <= Limits::default().queries_max + 1);
    }
}

#[test]
fn local_parts_cannot_ask_for_what_is_no_name() {
    let script =
        Script::parse("a.example. TXT \"v=spf1 exists:%{l}.x.example exists:%{lr+-}.y.example -all\"");
    let script = script.unwrap();
    let long = "x".repeat(200);
    for local_part in ["a..b", ".", "%{d}", "a b\\", &long, "a\u{1}b", "+++---", "a@b"] {
        let verdict = check_with(&script, &Query { local_part, ..query("a.example") });
        assert_eq!(verdict.result, SpfResult::Fail, "{local_part}");
        assert!(verdict.queries <= 3);
    }
}

/// Records of random terms over random zones: always a result, always within the limits.
#[test]
fn random_zones_are_evaluated_within_the_limits() {
    const TERMS: &[&str] = &[
        "a",
        "mx",
        "ptr",
        "-all",
        "~all",
        "include:b.example",
        "include:c.example",
        "a:d.example",
        "mx:d.example",
        "mx:b.example",
        "exists:%{ir}.%{d}",
        "exists:%{p}.example",
        "ptr:example",
        "redirect=c.example",
        "exp=d.example",
        "ip4:192.0.2.0/24",
        "ip6:::/0",
        "a:%{l}.%{o}/8",
        "?include:%{d}",
        "x=%{c}",
        "bad",
        "a:-",
        "include:%{h}",
    ];
    let mut results = std::collections::BTreeMap::new();
    for seed in 1..=3000_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut below = |end: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % (end as u64)).unwrap()
        };
        let mut zone = String::from("$ORIGIN example.\n1.2.0.192.in-addr.arpa. PTR b\n$TIMEOUT d MX\n");
        for owner in ["a", "b", "c", "d"] {
            // Half of the zones have no term that is broken or that nothing is known of.
            let kinds = TERMS.len() - 4 * below(2);
            let terms: Vec<&str> = (0..below(5)).map(|_| TERMS[below(kinds)]).collect();
            let _ = writeln!(zone, "{owner} TXT \"v=spf1 {}\"", terms.join(" "));
            if below(2) == 0 {
                let _ = writeln!(zone, "{owner} A 192.0.2.{}", below(3));
                let _ = writeln!(zone, "{owner} MX 10 b");
            }
        }
        let verdict = check_with(&Script::parse(&zone).unwrap(), &query("a.example"));
        assert!(verdict.queries <= Limits::default().queries_max + 1, "seed {seed}");
        assert!(verdict.lookups <= Limits::default().lookups_max + 1, "seed {seed}");
        let is_error = matches!(verdict.result, SpfResult::Temperror | SpfResult::Permerror);
        assert_eq!(verdict.problem.is_some(), is_error, "seed {seed}");
        assert!(verdict.explanation.is_none() || verdict.result == SpfResult::Fail, "seed {seed}");
        *results.entry(verdict.result.word()).or_insert(0) += 1;
    }
    // Each word but none, as there is always a record.
    assert_eq!(results.len(), 6, "{results:?}");
}

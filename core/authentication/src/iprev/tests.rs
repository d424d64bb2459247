#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::fmt::Write as _;

use futures_lite::future::block_on;
use postrider_dns::script::Script;
use postrider_proto::authentication_results::AuthenticationResults;
use postrider_proto::smtp::trace::Charset;

use super::*;

fn run(zone: &str, client: &str) -> (Verdict, usize) {
    let script = Script::parse(zone).unwrap();
    let verdict = block_on(check(&script, client.parse().unwrap()));
    (verdict, script.lookups())
}

#[test]
fn a_name_must_have_the_address() {
    let zone = "$SECURE .\n1.2.0.192.in-addr.arpa. PTR other.example.\n1.2.0.192.in-addr.arpa. PTR mx.example.\n\
        mx.example. A 192.0.2.9\nmx.example. A 192.0.2.1\nother.example. A 192.0.2.2\n$INSECURE other.example.\n\
        2.2.0.192.in-addr.arpa. PTR other.example.\n3.2.0.192.in-addr.arpa. PTR other.example.\n\
        4.2.0.192.in-addr.arpa. PTR none.example.";
    let (verdict, lookups) = run(zone, "192.0.2.1");
    assert_eq!((verdict.result, lookups), (IprevResult::Pass, 3));
    assert_eq!(verdict.name, Some(Domain::parse("mx.example").unwrap()));
    assert_eq!(verdict.names, ["other.example", "mx.example"]);
    // The insecure name isn't what it rests on.
    assert_eq!(verdict.authenticity, Authenticity::Secure);
    assert_eq!(run(zone, "::ffff:192.0.2.1").0, verdict);
    let (verdict, _) = run(zone, "192.0.2.2");
    assert_eq!((verdict.result, verdict.authenticity), (IprevResult::Pass, Authenticity::Insecure));
    let (verdict, _) = run(zone, "192.0.2.3");
    assert_eq!((verdict.result, verdict.name.clone()), (IprevResult::Fail, None));
    assert_eq!(verdict.problem.as_deref(), Some("no name of 192.0.2.3 has this address"));
    assert_eq!(run(zone, "192.0.2.4").0.result, IprevResult::Fail);
    let (verdict, lookups) = run(zone, "192.0.2.5");
    assert_eq!((verdict.result, lookups), (IprevResult::Permerror, 1));
    assert_eq!(verdict.problem.as_deref(), Some("192.0.2.5 has no name"));
}

#[test]
fn clients_of_ipv6_have_names() {
    let reverse = "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.";
    let zone = format!("{reverse} PTR mx.example.\nmx.example. AAAA 2001:db8::cb01");
    let (verdict, _) = run(&zone, "2001:db8::cb01");
    assert_eq!(verdict.result, IprevResult::Pass);
    let results = [verdict.method_result()];
    let field = AuthenticationResults { authserv_id: "us", charset: Charset::Ascii, results: &results };
    let expected =
        "Authentication-Results: us; iprev=pass (without dnssec) policy.iprev=\"2001:db8::cb01\"\r\n";
    assert_eq!(field.field().replace("\r\n\t", " "), expected);
}

#[test]
fn failures_of_dns_are_told() {
    let (verdict, _) = run("$SERVFAIL 1.2.0.192.in-addr.arpa.", "192.0.2.1");
    assert_eq!(verdict.result, IprevResult::Temperror);
    let zone =
        "1.2.0.192.in-addr.arpa. PTR a.example.\n1.2.0.192.in-addr.arpa. PTR b.example.\n$TIMEOUT a.example.";
    let (verdict, _) = run(zone, "192.0.2.1");
    assert_eq!(verdict.result, IprevResult::Temperror);
    assert!(verdict.problem.unwrap().starts_with("looking up A of a.example failed"));
    // A name that matches is enough.
    let (verdict, _) = run(&format!("{zone}\nb.example. A 192.0.2.1"), "192.0.2.1");
    assert_eq!(verdict.result, IprevResult::Pass);
    let bogus = "$BOGUS mx.example.\n1.2.0.192.in-addr.arpa. PTR mx.example.\nmx.example. A 192.0.2.1";
    let (verdict, _) = run(bogus, "192.0.2.1");
    assert_eq!((verdict.result, verdict.authenticity), (IprevResult::Temperror, Authenticity::Bogus));
}

#[test]
fn names_are_bounded() {
    let zone = |names: usize| {
        let mut zone = String::from("last.example. A 192.0.2.1\n");
        for number in 0..names {
            let _ = writeln!(zone, "1.2.0.192.in-addr.arpa. PTR n{number}.example.");
        }
        zone + "1.2.0.192.in-addr.arpa. PTR last.example."
    };
    let (verdict, lookups) = run(&zone(NAMES_MAX - 1), "192.0.2.1");
    assert_eq!((verdict.result, lookups), (IprevResult::Pass, NAMES_MAX + 1));
    let (verdict, lookups) = run(&zone(NAMES_MAX), "192.0.2.1");
    assert_eq!((verdict.result, lookups), (IprevResult::Fail, NAMES_MAX + 1));
    assert_eq!(verdict.names.len(), NAMES_MAX);
}

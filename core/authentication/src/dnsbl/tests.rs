#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::fmt::Write as _;

use futures_lite::future::block_on;
use postrider_dns::script::Script;

use super::*;

const ZONE: &str = "$ORIGIN list.example.\n\
    2.0.0.127 A 127.0.0.2\n\
    9.2.0.192 A 127.0.0.4\n9.2.0.192 A 127.0.0.10\n9.2.0.192 TXT \"see\\009 https://list.example/?ip=192.0.2.9\"\n\
    1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2 A 127.0.0.2\n\
    2.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0 A 127.0.0.2\n\
    spam.example A 127.0.1.2\ntest A 127.0.1.2";

fn list() -> Domain {
    Domain::parse("list.example").unwrap()
}

fn status(zone: &str, address: &str) -> Status {
    let script = Script::parse(zone).unwrap();
    block_on(check_address(&script, &list(), address.parse().unwrap())).status
}

fn health(zone: &str, kind: Kind) -> Health {
    block_on(check_health(&Script::parse(zone).unwrap(), &list(), kind))
}

#[test]
fn addresses_and_domains_are_looked_up() {
    let codes = vec![Ipv4Addr::new(127, 0, 0, 4), Ipv4Addr::new(127, 0, 0, 10)];
    let reason = Some("see? https://list.example/?ip=192.0.2.9".to_owned());
    let expected = Status::Listed { codes, reason };
    assert_eq!(status(ZONE, "192.0.2.9"), expected);
    assert_eq!(status(ZONE, "::ffff:192.0.2.9"), expected);
    assert_eq!(status(ZONE, "192.0.2.8"), Status::NotListed);
    assert_eq!(status(ZONE, "2001:db8::cb01").word(), "listed");
    assert_eq!(status(ZONE, "2001:db8::cb02").word(), "notlisted");
    let script = Script::parse(ZONE).unwrap();
    let domain = |name: &str| {
        let domain = Domain::parse(name).unwrap();
        block_on(check_domain(&script, &list(), &domain)).status.word()
    };
    assert_eq!(domain("Spam.example"), "listed");
    assert_eq!(domain("ham.example"), "notlisted");
    assert_eq!(domain(&format!("{0}.{0}.{0}.{0}", "a".repeat(60))), "notlisted");
}

#[test]
fn what_a_listing_claims_is_what_dns_claims() {
    let claims = |zone: &str| {
        let script = Script::parse(zone).unwrap();
        block_on(check_address(&script, &list(), "192.0.2.9".parse().unwrap())).authenticity
    };
    assert_eq!(claims(&format!("$SECURE .\n{ZONE}")), Authenticity::Secure);
    let mixed = format!("$SECURE .\n$INSECURE 9.2.0.192.list.example. TXT\n{ZONE}");
    assert_eq!(claims(&mixed), Authenticity::Insecure);
}

#[test]
fn odd_answers_never_list() {
    for code in ["127.255.255.254", "127.255.255.252", "127.0.0.1", "192.0.2.1", "128.0.0.2", "0.0.0.0"] {
        let zone = format!("9.2.0.192.list.example. A {code}\n2.0.0.127.list.example. A {code}");
        let Status::Odd(problem) = status(&zone, "192.0.2.9") else { panic!("{code}") };
        assert!(problem.starts_with(&format!("the list answers {code} for ")), "{problem}");
        assert!(matches!(health(&zone, Kind::Ipv4), Health::Unhealthy(_)), "{code}");
    }
    // Not even beside a proper one.
    let zone = "9.2.0.192.list.example. A 127.0.0.2\n9.2.0.192.list.example. A 198.51.100.1";
    assert_eq!(status(zone, "192.0.2.9").word(), "error");
    assert!(matches!(status("$SERVFAIL 9.2.0.192.list.example.", "192.0.2.9"), Status::Failed(_)));
}

#[test]
fn a_list_is_in_order_when_it_has_the_entries_for_tests() {
    for kind in [Kind::Ipv4, Kind::Ipv6, Kind::Domains] {
        assert_eq!(health(ZONE, kind), Health::Healthy, "{kind:?}");
        assert!(matches!(health("", kind), Health::Unhealthy(_)), "{kind:?}");
        // A list that went away and whose new owner answers everything.
        assert!(matches!(health("*.list.example. A 127.0.0.2", kind), Health::Unhealthy(_)), "{kind:?}");
        assert!(matches!(health("$SERVFAIL *.list.example.", kind), Health::Unknown(_)), "{kind:?}");
    }
    let Health::Unhealthy(problem) = health("*.list.example. A 127.0.0.2", Kind::Ipv4) else { panic!() };
    assert_eq!(problem, "1.0.0.127.list.example is listed, and must not be");
}

#[test]
fn reasons_and_codes_are_bounded() {
    let mut zone = format!("9.2.0.192.list.example. TXT \"{}\" \"{}\"\n", "x".repeat(250), "y".repeat(250));
    for code in 2..100 {
        let _ = writeln!(zone, "9.2.0.192.list.example. A 127.0.0.{code}");
    }
    let Status::Listed { codes, reason } = status(&zone, "192.0.2.9") else { panic!() };
    assert_eq!((codes.len(), reason.unwrap().len()), (CODES_MAX, REASON_OCTETS_MAX));
}

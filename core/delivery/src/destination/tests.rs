#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
use futures_lite::future::block_on;
use postrider_dns::dane::Applies;
use postrider_dns::script::Script;

use super::*;

const ZONES: &str = r#"
$ORIGIN example.
@        MX 20 b
@        MX 10 a
a        A  192.0.2.1
b        A  192.0.2.2
plain    A  192.0.2.3
null     MX 0 .
text     TXT here
alias    CNAME example.
far      CNAME alias
toplain  CNAME plain
gone     CNAME nothing
loop     CNAME pool
pool     CNAME loop
lenient  MX 10 _a_.b-c.example.
lenient  MX 20 192.0.2.9.
lenient  MX 30 b\032c.example.
lenient  MX 40 a
lenient  MX 50 a
noname   MX 10 192.0.2.9.
out      CNAME signed.test.
self     MX 10 a
self     MX 20 us
self     MX 20 b
self     MX 30 c
first    MX 10 us
us       A  192.0.2.100
signed.test. MX 10 mx.signed.test.
mx.signed.test. A 192.0.2.7
_25._tcp.mx.signed.test. TLSA 3 1 1 0000000000000000000000000000000000000000000000000000000000000000
_25._tcp.plain TLSA 3 1 1 0000000000000000000000000000000000000000000000000000000000000000
to.signed.test. CNAME plain.example.
$SERVFAIL broken
$TIMEOUT silent MX
$ERROR   broken 22 "no reachable authority"
$BOGUS   bogus MX
$SECURE  signed.test.
$SECURE  plain
"#;

fn find_with(target: &str, own: Own<'_>) -> Result<Destination, Unfound> {
    let script = Script::parse(ZONES).unwrap();
    block_on(find(&script, &Target::parse(target).unwrap(), own))
}

fn found(target: &str) -> String {
    shown(find_with(target, Own::default()))
}

fn shown(found: Result<Destination, Unfound>) -> String {
    match found {
        Ok(destination) => {
            let hosts: Vec<String> = destination.hosts.iter().map(|one| text_of(&one.host)).collect();
            format!("{:?} {}", destination.via, hosts.join(" "))
        }
        Err(unfound) => format!("{} {} {unfound}", unfound.code(), unfound.status()),
    }
}

#[test]
fn hosts_are_those_of_the_standard() {
    for (target, expected) in [
        ("example", "Exchangers a.example b.example"),
        ("alias.example", "Exchangers a.example b.example"),
        ("far.example", "Exchangers a.example b.example"),
        ("plain.example", "Implicit plain.example"),
        ("toplain.example", "Implicit toplain.example"),
        ("text.example", "Implicit text.example"),
        ("lenient.example", "Exchangers _a_.b-c.example a.example"),
        ("[192.0.2.1]", "Literal "),
        ("null.example", "556 5.1.10 the domain null.example takes no mail"),
        ("nothing.example", "550 5.1.2 the domain nothing.example does not exist"),
        ("gone.example", "550 5.1.2 the domain gone.example does not exist"),
        ("noname.example", "554 5.4.4 none of the MX records of noname.example names a host"),
    ] {
        assert_eq!(found(target), expected, "{target}");
    }
    for target in ["broken.example", "silent.example", "loop.example", "bogus.example"] {
        let text = found(target);
        assert!(text.starts_with("451 4.4.3 looking up the mail hosts of "), "{target}: {text}");
    }
}

#[test]
fn what_is_no_host_is_told_with_why() {
    let destination = find_with("lenient.example", Own::default()).unwrap();
    let ignored: Vec<(&str, Why)> = destination.ignored.iter().map(|one| (&one.host[..1], one.why)).collect();
    assert_eq!(ignored, [("1", Why::NoHostName), ("b", Why::NoHostName), ("a", Why::Surplus)]);
}

#[test]
fn errors_of_dns_are_kept() {
    let Err(Unfound::Failed { errors, .. }) = find_with("broken.example", Own::default()) else { panic!() };
    assert_eq!((errors.len(), errors[0].code), (1, 22));
}

/// RFC 5321 §5.1: what isn't preferred to ourselves would send mail in circles.
#[test]
fn mail_does_not_come_back_to_ourselves() {
    let names = [parse_name("us.example").unwrap()];
    let own = Own { names: &names, addresses: &[] };
    let destination = find_with("self.example", own).unwrap();
    assert_eq!(shown(Ok(destination.clone())), "Exchangers a.example");
    let why: Vec<Why> = destination.ignored.iter().map(|one| one.why).collect();
    assert_eq!(why, [Why::Ourselves, Why::BehindOurselves, Why::BehindOurselves]);
    assert_eq!(
        shown(find_with("first.example", own)),
        "554 5.4.6 mail for first.example would come back to this server"
    );
    assert_eq!(
        shown(find_with("us.example", own)),
        "554 5.4.6 mail for us.example would come back to this server"
    );
    assert_eq!(found("self.example"), "Exchangers a.example us.example b.example c.example");
}

#[test]
fn hosts_are_bounded() {
    let text: String = (0..100).map(|n| format!("many.example. MX {n} h{n}.example.\n")).collect();
    let script = Script::parse(&text).unwrap();
    let target = Target::parse("many.example").unwrap();
    let destination = block_on(find(&script, &target, Own::default())).unwrap();
    assert_eq!((destination.hosts.len(), destination.ignored.len()), (EXCHANGERS_MAX, 100 - EXCHANGERS_MAX));
    assert_eq!(destination.hosts[63].preference, 63);
}

#[test]
fn what_can_be_believed_is_kept_for_the_name_and_for_all_of_it() {
    use Authenticity::{Insecure, Secure};
    for (target, original, chain, expanded) in [
        ("signed.test", Secure, Secure, "signed.test."),
        ("out.example", Insecure, Insecure, "signed.test."),
        ("to.signed.test", Secure, Secure, "plain.example."),
        ("example", Insecure, Insecure, "example."),
        ("plain.example", Secure, Secure, "plain.example."),
    ] {
        let destination = find_with(target, Own::default()).unwrap();
        let name = destination.expanded.unwrap().to_ascii();
        assert_eq!(
            (destination.original, destination.chain, name.as_str()),
            (original, chain, expanded),
            "{target}"
        );
    }
}

#[test]
fn dane_applies_to_hosts_that_were_found_securely() {
    let script = Script::parse(ZONES).unwrap();
    for (target, base) in [
        ("signed.test", Some("mx.signed.test.")),
        ("out.example", None),
        ("plain.example", Some("plain.example.")),
        // Without MX records the address' own name is what counts, and where it leads.
        ("to.signed.test", Some("plain.example.")),
        ("toplain.example", None),
    ] {
        let destination = find_with(target, Own::default()).unwrap();
        let found = block_on(destination.host(&script, &destination.hosts[0].host, 25));
        let found = match found.applies {
            Applies::Records { base, .. } => Some(base.to_ascii()),
            Applies::No(_) => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(found.as_deref(), base, "{target}");
    }
}

#[test]
fn relays_are_what_is_configured() {
    let target = Target::parse("example").unwrap();
    let relay = Destination::relay(target.clone(), &RelayHost::Name(Domain::parse("relay.test").unwrap()));
    assert_eq!((relay.via, text_of(&relay.hosts[0].host).as_str()), (Via::Relay, "relay.test"));
    let relay = Destination::relay(target, &RelayHost::Address("192.0.2.1".parse().unwrap()));
    assert_eq!((relay.hosts.len(), relay.address), (0, Some("192.0.2.1".parse().unwrap())));
}

#[test]
fn targets_come_back_as_written() {
    for text in ["example.org", "[192.0.2.1]", "[IPv6:2001:db8::1]"] {
        assert_eq!(Target::parse(text).unwrap().to_string(), text);
    }
    assert!(Target::parse("[x]").is_err() && Target::parse("").is_err());
}

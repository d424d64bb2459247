#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use futures_lite::future::block_on;

use super::*;

const ZONES: &str = r#"
$ORIGIN example.
$TTL 600
@        MX    10 mx              ; a comment
         MX    20 mx.example.org.
         TXT   "v=spf1 -all" "two \"words\" \; \059\255" bare
mx  60   A     192.0.2.1
         AAAA  2001:db8::1
www      CNAME mx
*.wild   TXT   wild
a.b.wild TXT   "not wild"
old      DNAME new
mx.new   A     192.0.2.9
loop     CNAME loop2
loop2    CNAME loop
_25._tcp.mx TLSA 3 1 1 00ff 10
_sip._tcp SRV  1 2 5060 mx
@        CAA   0 issue "ca.example.net"
@        SOA   ns admin 1 2 3 4 5
short._tcp TLSA 3 1 1
10.2.0.192.in-addr.arpa. PTR mx
out      CNAME mx.example.org.
mx.example.org. A 198.51.100.1
a\.b     A 192.0.2.7

$SECURE @
$INSECURE island
$BOGUS www TXT
$SERVFAIL broken A AAAA
$TIMEOUT slow
slow     A 192.0.2.3
$SERVFAIL *.deep
$TIMEOUT error.*
$ERROR broken 22 "no reachable authority"
"#;

fn script() -> Script {
    Script::parse(ZONES).unwrap()
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn ask(script: &Script, text: &str, kind: RecordType) -> Answer {
    block_on(script.lookup(&name(text), kind))
}

fn shown(answer: &Answer) -> Vec<String> {
    answer.data().map(ToString::to_string).collect()
}

#[test]
fn records_are_found_under_their_names() {
    let script = script();
    let answer = ask(&script, "EXAMPLE.", RecordType::MX);
    assert_eq!(answer.outcome, Outcome::Found);
    assert_eq!(shown(&answer), ["10 mx.example.", "20 mx.example.org."]);
    assert_eq!((answer.authenticity, answer.reason.as_str()), (Authenticity::Secure, ""));
    assert_eq!(shown(&ask(&script, "mx.example.", RecordType::AAAA)), ["2001:db8::1"]);
    assert_eq!(ask(&script, "mx.example.", RecordType::A).ttl, 60);
    assert_eq!(shown(&ask(&script, "_sip._tcp.example.", RecordType::SRV)), ["1 2 5060 mx.example."]);
    assert_eq!(shown(&ask(&script, "example.", RecordType::CAA)), ["0 issue \"ca.example.net\""]);
    assert_eq!(ask(&script, "example.", RecordType::SOA).outcome, Outcome::Found);
    assert_eq!(shown(&ask(&script, r"a\.b.example.", RecordType::A)), ["192.0.2.7"]);
    let answer = ask(&script, "10.2.0.192.in-addr.arpa.", RecordType::PTR);
    assert_eq!(shown(&answer), ["mx.example."]);
    assert_eq!(answer.authenticity, Authenticity::Insecure, "nobody said otherwise");
}

#[test]
fn strings_are_octets() {
    let answer = ask(&script(), "example.", RecordType::TXT);
    let [RData::TXT(text)] = answer.data().collect::<Vec<_>>()[..] else { panic!("{answer:?}") };
    let strings: Vec<&[u8]> = text.txt_data.iter().map(AsRef::as_ref).collect();
    assert_eq!(strings, [&b"v=spf1 -all"[..], b"two \"words\" ; ;\xff", b"bare"]);

    let long = Script::parse(&format!("x. TXT \"{}\" \"\"", "a".repeat(256))).unwrap();
    let answer = ask(&long, "x.", RecordType::TXT);
    let [RData::TXT(text)] = answer.data().collect::<Vec<_>>()[..] else { panic!("{answer:?}") };
    assert_eq!(text.txt_data.iter().map(|string| string.len()).collect::<Vec<_>>(), [255, 1, 0]);
}

#[test]
fn certificate_associations_of_any_length_can_be_written() {
    let script = script();
    let data = |text: &str| {
        let answer = ask(&script, text, RecordType::TLSA);
        let [RData::TLSA(tlsa)] = answer.data().collect::<Vec<_>>()[..] else { panic!("{answer:?}") };
        tlsa.cert_data.clone()
    };
    assert_eq!(data("_25._tcp.mx.example."), [0, 0xff, 0x10]);
    assert_eq!(data("short._tcp.example."), [0_u8; 0]);
}

#[test]
fn what_exists_and_what_does_not_is_told_apart() {
    let script = script();
    let outcome = |text: &str, kind| ask(&script, text, kind).outcome;
    assert_eq!(outcome("mx.example.", RecordType::TXT), Outcome::NoData);
    assert_eq!(outcome("_tcp.mx.example.", RecordType::TXT), Outcome::NoData, "a name with names below it");
    assert_eq!(outcome("none.example.", RecordType::A), Outcome::NoName);
    assert_eq!(ask(&script, "none.example.", RecordType::A).authenticity, Authenticity::Secure);
    assert_eq!(outcome("x.y.wild.example.", RecordType::TXT), Outcome::Found);
    assert_eq!(outcome("x.y.wild.example.", RecordType::A), Outcome::NoData);
    assert_eq!(outcome("b.wild.example.", RecordType::TXT), Outcome::NoData, "it exists, so no wildcard");
    assert_eq!(outcome("c.b.wild.example.", RecordType::TXT), Outcome::NoName);
    assert_eq!(outcome("anything.", RecordType::A), Outcome::NoName);
}

#[test]
fn aliases_are_followed_and_each_step_is_told() {
    let script = script();
    let answer = ask(&script, "www.example.", RecordType::A);
    assert_eq!(shown(&answer), ["192.0.2.1"]);
    let step =
        |from: &str, to: &str| Step { from: name(from), to: name(to), authenticity: Authenticity::Secure };
    assert_eq!(answer.aliases, [step("www.example.", "mx.example.")]);

    let answer = ask(&script, "mx.old.example.", RecordType::A);
    assert_eq!(shown(&answer), ["192.0.2.9"]);
    assert_eq!(answer.aliases, [step("mx.old.example.", "mx.new.example.")]);

    let answer = ask(&script, "out.example.", RecordType::A);
    assert_eq!(shown(&answer), ["198.51.100.1"]);
    assert_eq!(answer.authenticity, Authenticity::Insecure, "it leaves the zone that is secure");
    assert_eq!(answer.aliases[0].authenticity, Authenticity::Secure);

    let answer = ask(&script, "loop.example.", RecordType::A);
    assert_eq!(answer.outcome, Outcome::Failed);
    assert!(answer.reason.contains("loop"), "{answer:?}");
    assert_eq!(ask(&script, "www.example.", RecordType::CNAME).outcome, Outcome::Found);
}

#[test]
fn the_limit_of_aliases_is_hit_and_one_before_it_is_not() {
    let chain = |length: usize| {
        let mut text = String::new();
        for index in 0..length {
            text.push_str(&format!("n{index}. CNAME n{}.\n", index + 1));
        }
        Script::parse(&format!("{text}n{length}. A 192.0.2.1\n")).unwrap()
    };
    assert_eq!(ask(&chain(ALIASES_MAX), "n0.", RecordType::A).outcome, Outcome::Found);
    assert_eq!(ask(&chain(ALIASES_MAX + 1), "n0.", RecordType::A).outcome, Outcome::Failed);
}

#[test]
fn failures_and_forgeries_are_as_directed() {
    let script = script();
    let answer = ask(&script, "broken.example.", RecordType::A);
    assert_eq!((answer.outcome, answer.authenticity), (Outcome::Failed, Authenticity::Indeterminate));
    assert_eq!(answer.errors, [ExtendedError { code: 22, text: "no reachable authority".into() }]);
    assert_eq!(ask(&script, "broken.example.", RecordType::TXT).outcome, Outcome::NoName);

    let answer = ask(&script, "www.example.", RecordType::TXT);
    assert_eq!((answer.outcome, answer.authenticity), (Outcome::Failed, Authenticity::Bogus));

    assert_eq!(ask(&script, "slow.example.", RecordType::A).outcome, Outcome::Found, "there is a record");
    let answer = ask(&script, "slow.example.", RecordType::TXT);
    assert_eq!((answer.outcome, answer.reason.contains("in time")), (Outcome::Failed, true));
    assert_eq!(ask(&script, "x.deep.example.", RecordType::A).outcome, Outcome::Failed);
    assert_eq!(ask(&script, "deep.example.", RecordType::A).outcome, Outcome::NoName);
    assert_eq!(ask(&script, "ERROR.x.y.", RecordType::A).outcome, Outcome::Failed);
    assert_eq!(ask(&script, "x.island.example.", RecordType::A).authenticity, Authenticity::Insecure);
}

#[test]
fn questions_are_counted_and_kept_in_order() {
    let script = script();
    ask(&script, "www.example.", RecordType::A);
    ask(&script, "nothing.", RecordType::TXT);
    assert_eq!(script.lookups(), 2);
    assert_eq!(script.questions()[1], Question { name: name("nothing."), kind: RecordType::TXT });
    script.forget();
    assert_eq!(script.lookups(), 0);
}

#[test]
fn what_cannot_be_read_is_refused_with_its_line() {
    for (text, what) in [
        ("x. A 192.0.2.1\nx. A 192.0.2", "line 2 of the script: no IPv4 address"),
        (" A 192.0.2.1", "line 1 of the script: a record without a name"),
        ("x.", "line 1 of the script: a name without a record"),
        ("x. NIX 1", "line 1 of the script: there is no record type NIX"),
        ("x. TXT \"a", "line 1 of the script: a quote that doesn't end"),
        ("x. TXT \\25", "line 1 of the script: an escape is a character or three digits up to 255"),
        ("x. TXT \\256", "line 1 of the script: an escape is a character or three digits up to 255"),
        ("x..y. A 192.0.2.1", "line 1 of the script: x..y. has an empty label"),
        ("x. MX 10", "line 1 of the script: too little data for MX"),
        ("$NOTHING x", "line 1 of the script: there is no directive $NOTHING"),
        ("x. TLSA 3 1 1 0", "line 1 of the script: no hexadecimal data"),
    ] {
        assert_eq!(Script::parse(text).unwrap_err().to_string(), what);
    }
}

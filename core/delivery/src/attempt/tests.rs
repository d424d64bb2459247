#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
mod random;

use futures_lite::future::block_on;
use postrider_dns::script::Script;
use postrider_proto::mta_sts::Policy;

use super::*;
use crate::destination::{Own, Target, find};
use crate::order::Dialed;
use crate::outcome::{Answer, Broken, Stage, Status, Unable};
use crate::security::{Begins, Channel, Here, Ignored, Kind, Requirement, Starttls, TlsEvent, Unsupported};
use crate::transport::{Families, RelayHost, RelayTls};

const ZONES: &str = r#"
$ORIGIN example.
@        MX 10 a
@        MX 20 b
@        MX 30 c
a        A  192.0.2.1
a        AAAA 2001:db8::1
b        A  192.0.2.2
c        A  192.0.2.3
one      MX 10 a
empty    MX 10 no
empty    MX 20 nothing
half     MX 10 no
half     MX 20 broken
half     MX 30 a
no       TXT nothing
signed.test. MX 10 x.signed.test.
signed.test. MX 20 y.signed.test.
x.signed.test. A 192.0.2.10
y.signed.test. A 192.0.2.11
_25._tcp.x.signed.test. TLSA 3 1 1 0000000000000000000000000000000000000000000000000000000000000000
relay    A  192.0.2.20
$SERVFAIL broken
$SERVFAIL _25._tcp.y.signed.test.
$SECURE  signed.test.
"#;

/// What a test changes of a plan.
struct Case {
    target: &'static str,
    requirement: Requirement,
    sts: Sts,
    attempts_before: u16,
    recipients: usize,
    own: &'static [&'static str],
}

const CASE: Case = Case {
    target: "example",
    requirement: Requirement::Unset,
    sts: Sts::None,
    attempts_before: 0,
    recipients: 1,
    own: &[],
};

const PLAN: Plan<'static> = Plan {
    kind: Kind::Message,
    requirement: Requirement::Unset,
    attempts_before: 0,
    recipients: 1,
    sts: &Sts::None,
    dialed: Dialed { hosts: Vec::new() },
    families: Families::Both,
    port: 25,
    here: Here::Tls,
    relay: None,
    own: Own { names: &[], addresses: &[] },
};

fn enforced(host: &str) -> Sts {
    let text = format!("version: STSv1\nmode: enforce\nmx: {host}\nmax_age: 86400\n");
    Sts::Policy(Policy::parse(text.as_bytes()).unwrap())
}

/// Runs an attempt; `host` says what comes of each connection.
fn run(case: &Case, mut host: impl FnMut(&Dial) -> HostEnd) -> (Vec<String>, Conclusion) {
    let script = Script::parse(ZONES).unwrap();
    let addresses: Vec<IpAddr> = case.own.iter().map(|text| text.parse().unwrap()).collect();
    let own = Own { names: &[], addresses: &addresses };
    let target = Target::parse(case.target).unwrap();
    let destination = block_on(find(&script, &target, own)).unwrap();
    let plan = Plan {
        requirement: case.requirement,
        attempts_before: case.attempts_before,
        recipients: case.recipients,
        sts: &case.sts,
        own,
        ..PLAN
    };
    let mut attempt = Attempt::new(plan, destination, &mut || 0);
    let mut dials = Vec::new();
    while let Step::Dial(dial) = block_on(attempt.next(&script)) {
        dials.push(format!("{} {:?} {:?}", dial.host, dial.rule.starttls, dial.recipients));
        attempt.ended(host(&dial), &dial.addresses[..1]);
    }
    (dials, attempt.conclude(case.attempts_before + 1, 8))
}

fn word(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Delivered { host, .. } => format!("delivered by {host}"),
        Verdict::Retry(failure) => format!("retry {}", failure.status),
        Verdict::Failed { failure, .. } => format!("failed {}", failure.status),
    }
}

fn words(conclusion: &Conclusion) -> Vec<String> {
    conclusion.verdicts.iter().map(word).collect()
}

fn refused(stage: Stage, code: u16, enhanced: (u16, u16, u16)) -> HostEnd {
    HostEnd::Refused { stage, answer: Answer::new(code, Some(enhanced), "") }
}

fn end(code: u16) -> RecipientEnd {
    let answer = Answer::new(code, None, "");
    match code {
        250 => RecipientEnd::Delivered { answer, has_dsn: false },
        _ => RecipientEnd::Refused { stage: Stage::Recipient, answer },
    }
}

#[test]
fn the_first_host_that_takes_the_message_ends_it() {
    let (dials, done) = run(&CASE, |_| HostEnd::Transaction(vec![end(250)]));
    assert_eq!(dials, ["a.example Opportunistic [0]"]);
    assert_eq!((words(&done), done.signal), (vec!["delivered by a.example".to_owned()], Signal::Good));
    assert_eq!(done.dialed.of("a.example"), ["2001:db8::1".parse::<IpAddr>().unwrap()]);
}

#[test]
fn each_recipient_has_its_own_fate_and_is_taken_once() {
    let case = Case { recipients: 4, ..CASE };
    let (dials, done) = run(&case, |dial| match dial.host.as_str() {
        "a.example" => HostEnd::Transaction(vec![end(250), end(450), end(550), end(450)]),
        "b.example" => HostEnd::Transaction(vec![end(250), end(451)]),
        _ => HostEnd::Unreachable(Unreachable::TimedOut),
    });
    let expected = [
        "a.example Opportunistic [0, 1, 2, 3]",
        "b.example Opportunistic [1, 3]",
        "c.example Opportunistic [3]",
    ];
    assert_eq!(dials, expected);
    assert_eq!(
        words(&done),
        ["delivered by a.example", "delivered by b.example", "failed 5.0.0", "retry 4.0.0"]
    );
    // The host that said something is the one that is told of.
    let Verdict::Retry(failure) = &done.verdicts[3] else { panic!() };
    assert_eq!(failure.host.as_deref(), Some("b.example"));
}

#[test]
fn a_driver_that_forgets_recipients_loses_none() {
    let case = Case { recipients: 3, target: "one.example", ..CASE };
    let (_, done) = run(&case, |_| HostEnd::Transaction(vec![end(250)]));
    assert_eq!(words(&done), ["delivered by a.example", "retry 4.4.2", "retry 4.4.2"]);
}

#[test]
fn failures_for_good_end_it_and_others_lead_to_the_next_host() {
    for (first, dials, verdict) in [
        (refused(Stage::Greeting, 554, (5, 0, 0)), 1, "failed 5.0.0"),
        (refused(Stage::Mail, 550, (5, 1, 8)), 1, "failed 5.1.8"),
        (refused(Stage::Mail, 451, (4, 3, 0)), 2, "delivered by b.example"),
        (HostEnd::Unable(Unable::TooLarge), 1, "failed 5.3.4"),
        (HostEnd::Unable(Unable::Utf8), 2, "delivered by b.example"),
        (HostEnd::Broken { stage: Stage::Greeting, how: Broken::Closed }, 2, "delivered by b.example"),
        (HostEnd::Unreachable(Unreachable::Refused), 2, "delivered by b.example"),
        // Policy, at the first attempt, at a host with both families.
        (refused(Stage::Greeting, 554, (5, 7, 1)), 2, "delivered by b.example"),
    ] {
        let shown = format!("{first:?}");
        let (dialed, done) = run(&CASE, |dial| match dial.host.as_str() {
            "a.example" => first.clone(),
            _ => HostEnd::Transaction(vec![end(250)]),
        });
        assert_eq!((dialed.len(), words(&done)), (dials, vec![verdict.to_owned()]), "{shown}");
    }
}

#[test]
fn a_refusal_for_policy_is_softened_once() {
    let policy = |_: &Dial| refused(Stage::Greeting, 554, (5, 7, 1));
    let case = Case { target: "one.example", ..CASE };
    assert_eq!(words(&run(&case, policy).1), ["retry 4.7.1"]);
    let second = Case { attempts_before: 1, ..case };
    assert_eq!(words(&run(&second, policy).1), ["failed 5.7.1"]);
}

/// On a connection of another message the second attempt would come from the same family again.
#[test]
fn a_retry_uses_an_open_connection_only_to_its_first_address() {
    let script = Script::parse(ZONES).unwrap();
    let target = Target::parse("one.example").unwrap();
    let (six, four): (IpAddr, IpAddr) = ("2001:db8::1".parse().unwrap(), "192.0.2.1".parse().unwrap());
    let usable = |dialed: Dialed| {
        let destination = block_on(find(&script, &target, Own::default())).unwrap();
        let mut attempt = Attempt::new(Plan { dialed, ..PLAN }, destination, &mut || 0);
        let Step::Dial(dial) = block_on(attempt.next(&script)) else { panic!() };
        [six, four].map(|address| dial.may_use(&address, &Channel::default()))
    };
    assert_eq!(usable(Dialed::default()), [true, true]);
    let mut dialed = Dialed::default();
    dialed.add("a.example", six);
    assert_eq!(usable(dialed.clone()), [false, true]);
    dialed.add("a.example", four);
    assert_eq!(usable(dialed), [true, false]);
}

#[test]
fn the_last_attempt_fails_for_good() {
    let last = Case { attempts_before: 7, ..CASE };
    let (_, done) = run(&last, |_| HostEnd::Unreachable(Unreachable::TimedOut));
    assert_eq!((words(&done), done.signal), (vec!["failed 5.4.1".to_owned()], Signal::Down));
}

/// Other messages to the domain share what is of its hosts, and nothing that is of this message.
#[test]
fn what_other_messages_share_is_of_the_hosts() {
    let last = Case { attempts_before: 7, ..CASE };
    let shared =
        |end: HostEnd| run(&last, |_| end.clone()).1.shared.map(|failure| failure.status.to_string());
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(shared(HostEnd::Unreachable(Unreachable::Refused)), some("4.4.1"));
    assert_eq!(shared(refused(Stage::Greeting, 421, (4, 3, 2))), some("4.3.2"));
    // What a server says of one message isn't told of others.
    assert_eq!(shared(HostEnd::Transaction(vec![end(421)])), some("4.4.2"));
    let said = run(&last, |_| HostEnd::Transaction(vec![end(421)])).1.shared.unwrap();
    assert!(said.answer.is_none() && !said.reason.contains("421"), "{said:?}");
    assert_eq!(shared(HostEnd::Transaction(vec![end(450)])), None);
    assert_eq!(shared(HostEnd::Tls(TlsEvent::Certificate)), None);
    assert_eq!(shared(HostEnd::Unable(Unable::Utf8)), None);
}

#[test]
fn hosts_without_addresses_are_a_failure_for_good_when_all_are() {
    let none = Case { target: "empty.example", ..CASE };
    let (dials, done) = run(&none, |_| panic!("there is nobody to connect to"));
    assert_eq!((dials.len(), words(&done)), (0, vec!["failed 5.4.4".to_owned()]));
    let half = Case { target: "half.example", ..CASE };
    let (dials, done) = run(&half, |_| HostEnd::Unreachable(Unreachable::Refused));
    assert_eq!((dials.len(), words(&done)), (1, vec!["retry 4.4.1".to_owned()]));
}

#[test]
fn tls_that_fails_leads_to_clear_text_only_where_it_may() {
    let broken_tls = |dial: &Dial| match dial.rule.starttls {
        Starttls::Never => HostEnd::Transaction(vec![end(250)]),
        _ => HostEnd::Tls(TlsEvent::Handshake),
    };
    let (dials, done) = run(&CASE, broken_tls);
    assert_eq!(dials, ["a.example Opportunistic [0]", "a.example Never [0]"]);
    assert_eq!(words(&done), ["delivered by a.example"]);
    assert_eq!(done.counters, [Counter::PlaintextFallback]);
    assert_eq!(done.tried.len(), 2);

    let (dials, done) = run(&Case { sts: enforced("*.example"), ..CASE }, broken_tls);
    assert_eq!(dials, ["a", "b", "c"].map(|host| format!("{host}.example Mandatory [0]")));
    assert_eq!(words(&done), ["retry 4.7.5"]);

    let wish = Case { sts: enforced("*.example"), requirement: Requirement::No, ..CASE };
    let (dials, done) = run(&wish, broken_tls);
    assert_eq!(dials, ["a.example Opportunistic [0]", "a.example Never [0]"]);
    assert_eq!(done.counters, [Counter::Ignored(Ignored::BadTls), Counter::PlaintextFallback]);
}

#[test]
fn a_policy_leaves_out_hosts_that_it_does_not_have() {
    let case = Case { sts: enforced("b.example"), ..CASE };
    let (dials, done) = run(&case, |_| HostEnd::Transaction(vec![end(250)]));
    assert_eq!(
        (dials, words(&done)),
        (vec!["b.example Mandatory [0]".to_owned()], vec!["delivered by b.example".to_owned()])
    );
    let case = Case { sts: enforced("other.test"), ..CASE };
    assert_eq!(words(&run(&case, |_| panic!("no host is allowed")).1), ["retry 4.7.5"]);
}

/// A policy that can't be looked up isn't one that isn't there.
#[test]
fn what_cannot_be_known_of_policies_delays_and_does_not_downgrade() {
    let unknown = Sts::Unknown("SERVFAIL".into());
    let case = Case { sts: unknown.clone(), ..CASE };
    let (_, done) = run(&case, |_| panic!("nobody may be connected to"));
    assert_eq!((words(&done), done.tried.len()), (vec!["retry 4.7.5".to_owned()], 0));
    let wish = Case { sts: unknown, requirement: Requirement::No, ..CASE };
    assert_eq!(words(&run(&wish, |_| HostEnd::Transaction(vec![end(250)])).1), ["delivered by a.example"]);
    let case = Case { target: "signed.test", ..CASE };
    let (dials, done) = run(&case, |_| HostEnd::Tls(TlsEvent::Certificate));
    assert_eq!(
        (dials, words(&done)),
        (vec!["x.signed.test Mandatory [0]".to_owned()], vec!["retry 4.7.5".to_owned()])
    );
    assert_eq!(done.counters, [Counter::DaneRequired, Counter::TlsaFailed]);
}

#[test]
fn requiretls_fails_for_good_when_every_host_lacks_it() {
    let required = Case { requirement: Requirement::Required, ..CASE };
    let (dials, done) = run(&required, |_| panic!("nothing says how to verify a host"));
    assert_eq!((dials.len(), words(&done)), (0, vec!["failed 5.7.30".to_owned()]));
    assert_eq!(done.counters, [Counter::RequireTlsUnsupported(Unsupported::NoPolicy); 3]);

    let case = Case { sts: enforced("*.example"), ..required };
    let (dials, done) = run(&case, |_| HostEnd::Tls(TlsEvent::NoRequireTls));
    assert_eq!((dials.len(), words(&done)), (3, vec!["failed 5.7.30".to_owned()]));
    assert_eq!(done.counters, [Counter::RequireTlsUnsupported(Unsupported::NoRequireTls); 3]);

    // One host that might have it is a reason to come back.
    let (_, done) = run(&case, |dial| match dial.host.as_str() {
        "b.example" => HostEnd::Tls(TlsEvent::Handshake),
        _ => HostEnd::Tls(TlsEvent::NoRequireTls),
    });
    assert_eq!(words(&done), ["retry 4.7.10"]);
    let (_, done) = run(&case, |dial| match dial.host.as_str() {
        "c.example" => HostEnd::Transaction(vec![end(250)]),
        _ => HostEnd::Tls(TlsEvent::NoRequireTls),
    });
    assert_eq!(words(&done), ["delivered by c.example"]);
}

#[test]
fn addresses_of_our_own_end_the_list() {
    let first = Case { own: &["192.0.2.1"], ..CASE };
    assert_eq!(words(&run(&first, |_| panic!("it is us")).1), ["failed 5.4.6"]);
    let second = Case { own: &["192.0.2.2"], ..CASE };
    let (dials, done) = run(&second, |_| HostEnd::Unreachable(Unreachable::Refused));
    assert_eq!((dials.len(), words(&done)), (1, vec!["retry 4.4.1".to_owned()]));
    let literal = Case { target: "[192.0.2.1]", ..first };
    assert_eq!(words(&run(&literal, |_| panic!("it is us")).1), ["failed 5.4.6"]);
}

#[test]
fn literals_have_no_policies() {
    let case = Case { target: "[192.0.2.1]", sts: Sts::Unknown("x".into()), ..CASE };
    let (dials, done) = run(&case, |_| HostEnd::Transaction(vec![end(250)]));
    assert_eq!(
        (dials, words(&done)),
        (vec!["[192.0.2.1] Opportunistic [0]".to_owned()], vec!["delivered by [192.0.2.1]".to_owned()])
    );
}

#[test]
fn connections_of_an_attempt_are_bounded() {
    let text: String = (0..40)
        .flat_map(|n| {
            [
                format!("many. MX {n} h{n}.many.\n"),
                (0..9).map(|m| format!("h{n}.many. A 192.0.{n}.{m}\n")).collect(),
            ]
        })
        .collect();
    let script = Script::parse(&text).unwrap();
    let target = Target::parse("many").unwrap();
    let destination = block_on(find(&script, &target, Own::default())).unwrap();
    let mut attempt = Attempt::new(PLAN, destination, &mut || 0);
    let mut connections = 0;
    while let Step::Dial(dial) = block_on(attempt.next(&script)) {
        connections += dial.addresses.len();
        attempt.ended(HostEnd::Unreachable(Unreachable::TimedOut), &dial.addresses);
    }
    assert_eq!(connections, DIALS_MAX);
}

#[test]
fn relays_are_connected_to_as_configured() {
    let script = Script::parse(ZONES).unwrap();
    let target = Target::parse("signed.test").unwrap();
    let run = |host: &str, requirement, tls, own: &[IpAddr]| {
        let host = RelayHost::Name(postrider_proto::address::Domain::parse(host).unwrap());
        let sts = Sts::Unknown("a relay has no policy".into());
        let plan = Plan {
            requirement,
            sts: &sts,
            port: 587,
            relay: Some((tls, Begins::Starttls)),
            own: Own { names: &[], addresses: own },
            ..PLAN
        };
        let mut attempt = Attempt::new(plan, Destination::relay(target.clone(), &host), &mut || 0);
        let mut dials = Vec::new();
        while let Step::Dial(dial) = block_on(attempt.next(&script)) {
            dials.push(format!(
                "{} {} {:?} {:?}",
                dial.server_name(),
                dial.port,
                dial.rule.starttls,
                dial.rule.verification
            ));
            attempt.ended(HostEnd::Transaction(vec![end(250)]), &dial.addresses);
        }
        (dials.join(","), words(&attempt.conclude(1, 8)).join(","))
    };
    let (unset, required) = (Requirement::Unset, Requirement::Required);
    let delivered = "delivered by relay.example".to_owned();
    assert_eq!(
        run("relay.example", unset, RelayTls::Verified, &[]),
        ("relay.example 587 Mandatory Pkix".to_owned(), delivered.clone())
    );
    assert_eq!(
        run("relay.example", unset, RelayTls::None, &[]),
        ("relay.example 587 Never None".to_owned(), delivered)
    );
    let failed = |status: &str| (String::new(), format!("failed {status}"));
    assert_eq!(run("relay.example", required, RelayTls::Unverified, &[]), failed("5.7.30"));
    assert_eq!(run("nothing.example", unset, RelayTls::Verified, &[]), failed("5.4.4"));
    assert_eq!(run("broken.example", unset, RelayTls::Verified, &[]).1, "retry 4.4.3");
}

/// RFC 9422: a host that takes few recipients for a message, and few messages on a connection.
#[test]
fn recipients_for_whom_there_is_no_place_go_over_another_connection_to_the_same_host() {
    let later = RecipientEnd::Later;
    let mut ends = [
        vec![end(250), end(451), later.clone(), later.clone()],
        vec![end(250), later.clone()],
        vec![end(250)],
        // Who was deferred is for the other hosts.
        vec![end(451)],
        vec![end(250)],
    ]
    .into_iter();
    let (dials, done) = run(&Case { recipients: 4, ..CASE }, |_| HostEnd::Transaction(ends.next().unwrap()));
    assert_eq!(
        dials,
        [
            "a.example Opportunistic [0, 1, 2, 3]",
            "a.example Opportunistic [2, 3]",
            "a.example Opportunistic [3]",
            "b.example Opportunistic [1]",
            "c.example Opportunistic [1]",
        ]
    );
    let (a, c) = ("delivered by a.example", "delivered by c.example");
    assert_eq!(words(&done), [a, c, a, a]);
    // One that broke off with the first ones is not connected to again, and neither is one that says 421.
    let broken = RecipientEnd::Broken { stage: Stage::Content, how: Broken::Closed };
    for trouble in [broken, end(421)] {
        let mut ends = [vec![end(250), trouble, later.clone()], vec![end(250), end(250)]].into_iter();
        let (dials, _) = run(&Case { recipients: 3, ..CASE }, |_| HostEnd::Transaction(ends.next().unwrap()));
        assert_eq!(dials, ["a.example Opportunistic [0, 1, 2]", "b.example Opportunistic [1, 2]"]);
    }
    // A host that takes nobody has no second chance.
    let (dials, done) = run(&CASE, |_| HostEnd::Transaction(vec![later.clone()]));
    assert_eq!((dials.len(), words(&done)), (3, vec!["retry 4.5.3".to_owned()]));
}

#[test]
fn what_is_left_over_is_tried_again() {
    assert_eq!(overall(&[]).status, Status::temporary(4, 0));
}

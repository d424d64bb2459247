use super::*;
use crate::security::Requirement;

fn answer(text: &str) -> Answer {
    let mut parts = text.splitn(3, ' ');
    let code = parts.next().and_then(|code| code.parse().ok()).unwrap_or(0);
    let rest = parts.next().unwrap_or("");
    let numbers: Vec<u16> = rest.split('.').filter_map(|number| number.parse().ok()).collect();
    let enhanced = <[u16; 3]>::try_from(numbers).ok().map(|[a, b, c]| (a, b, c));
    Answer::new(code, enhanced, parts.next().unwrap_or(""))
}

fn refused(stage: Stage, text: &str) -> RecipientEnd {
    RecipientEnd::Refused { stage, answer: answer(text) }
}

fn delivered() -> RecipientEnd {
    RecipientEnd::Delivered { answer: answer("250 2.0.0 ok"), has_dsn: true }
}

#[test]
fn replies_are_judged_as_the_table_says() {
    for (stage, text, softens, status) in [
        (Stage::Greeting, "554 5.7.1 no", false, "5.7.1"),
        (Stage::Greeting, "554", false, "5.0.0"),
        (Stage::Greeting, "421 4.3.2 busy", false, "4.3.2"),
        (Stage::Hello, "550", false, "5.0.0"),
        (Stage::Mail, "550 5.1.8 bad", false, "5.1.8"),
        (Stage::Mail, "451 4.7.1 later", false, "4.7.1"),
        (Stage::Recipient, "550 5.1.1 who", false, "5.1.1"),
        (Stage::Recipient, "450 4.2.0 greylisted", false, "4.2.0"),
        (Stage::Recipient, "452 4.5.3 too many", false, "4.5.3"),
        // Too many recipients, in the old way.
        (Stage::Recipient, "552 5.5.3 too many", false, "4.5.3"),
        (Stage::Content, "552 5.2.2 full", false, "5.2.2"),
        (Stage::Data, "554 5.6.0 no", false, "5.6.0"),
        // Our own password.
        (Stage::Auth, "535 5.7.8 wrong", false, "4.7.8"),
        // Class and code must agree.
        (Stage::Recipient, "550 4.1.1 odd", false, "5.0.0"),
        (Stage::Recipient, "450 5.1.1 odd", false, "4.0.0"),
        (Stage::Recipient, "250 2.1.5 odd", false, "4.0.0"),
        (Stage::Recipient, "354", false, "4.0.0"),
        // The first attempt at a host with both families.
        (Stage::Recipient, "550 5.7.1 blocked", true, "4.7.1"),
        (Stage::Greeting, "554 5.7.26 no", true, "4.7.26"),
        (Stage::Content, "550 5.7.509 dmarc", true, "4.7.509"),
        (Stage::Recipient, "550 5.1.1 who", true, "5.1.1"),
        (Stage::Recipient, "550 blocked", true, "5.0.0"),
    ] {
        assert_eq!(judge(stage, &answer(text), softens).to_string(), status, "{stage:?} {text}");
    }
}

#[test]
fn the_next_host_is_tried_unless_it_is_settled() {
    let host = |stage, text| HostEnd::Refused { stage, answer: answer(text) };
    let tls = HostEnd::Tls(TlsEvent::Handshake);
    for (end, goes_on, signal) in [
        (host(Stage::Greeting, "554 5.7.1 no"), false, Signal::Neutral),
        (host(Stage::Greeting, "521 5.3.2 no"), false, Signal::Neutral),
        (host(Stage::Greeting, "421 4.3.2 busy"), true, Signal::Slower),
        (host(Stage::Mail, "452 4.3.1 space"), true, Signal::Slower),
        (host(Stage::Mail, "550 5.7.1 no"), false, Signal::Neutral),
        (host(Stage::Auth, "535 5.7.8 no"), true, Signal::Neutral),
        (HostEnd::Broken { stage: Stage::Mail, how: Broken::Closed }, true, Signal::Slower),
        (HostEnd::Unreachable(Unreachable::Refused), true, Signal::Down),
        (HostEnd::Unreachable(Unreachable::TimedOut), true, Signal::Down),
        (HostEnd::Unreachable(Unreachable::Known { until: 9 }), true, Signal::Neutral),
        (tls, true, Signal::Neutral),
        (HostEnd::Skipped(Skip::NotInPolicy), true, Signal::Neutral),
        (HostEnd::NoAddresses, true, Signal::Neutral),
        (HostEnd::Ourselves, false, Signal::Neutral),
        (HostEnd::Unable(Unable::TooLarge), false, Signal::Neutral),
        (HostEnd::Unable(Unable::Utf8), true, Signal::Neutral),
        (HostEnd::Unable(Unable::RequireTls), true, Signal::Neutral),
        (HostEnd::Transaction(vec![delivered(), refused(Stage::Recipient, "421")]), true, Signal::Good),
        (HostEnd::Transaction(vec![refused(Stage::Recipient, "450 4.2.0 grey")]), true, Signal::Neutral),
        (HostEnd::Transaction(vec![refused(Stage::Content, "421 4.3.2 x")]), true, Signal::Slower),
    ] {
        assert_eq!((end.goes_on(false), end.signal()), (goes_on, signal), "{end:?}");
    }
    assert!(host(Stage::Greeting, "554 5.7.1 no").goes_on(true));
}

#[test]
fn failures_say_what_happened_with_a_status() {
    let of = |end: &HostEnd, requirement| {
        let failure = Failure::of_host("mx.example", end, requirement, false);
        failure.map_or(String::new(), |failure| format!("{} {}", failure.status, failure.reason))
    };
    let (unset, required) = (Requirement::Unset, Requirement::Required);
    for (end, requirement, text) in [
        (HostEnd::Tls(TlsEvent::Handshake), unset, "4.7.5 mx.example: the TLS handshake failed"),
        (HostEnd::Tls(TlsEvent::Handshake), required, "4.7.10 mx.example: the TLS handshake failed"),
        (
            HostEnd::Tls(TlsEvent::NoRequireTls),
            required,
            "5.7.30 the message requires TLS all the way, and mx.example does not offer REQUIRETLS",
        ),
        (HostEnd::Unreachable(Unreachable::Refused), unset, "4.4.1 mx.example refused the connection"),
        (HostEnd::NoAddresses, unset, "5.4.4 the mail host mx.example has no addresses"),
        (HostEnd::Unable(Unable::TooLarge), unset, "5.3.4 mx.example takes no messages of this size"),
        (
            HostEnd::Broken { stage: Stage::Content, how: Broken::TimedOut },
            unset,
            "4.4.2 mx.example did not answer in time at the message",
        ),
        (
            HostEnd::Refused { stage: Stage::Mail, answer: answer("550 5.1.8 bad sender") },
            unset,
            "5.1.8 mx.example refused the sender: 550 5.1.8 bad sender",
        ),
        (
            HostEnd::Skipped(Skip::NotInPolicy),
            unset,
            "4.7.5 mx.example: the MTA-STS policy of the domain does not allow this host",
        ),
    ] {
        assert_eq!(of(&end, requirement), text);
    }
}

#[test]
fn attempts_end_and_the_last_failure_is_told() {
    let verdict = |status, made| match Verdict::of(Failure::ours(status, "x"), made, 8) {
        Verdict::Retry(failure) => format!("retry {}", failure.status),
        Verdict::Failed { failure, is_expired } => format!("failed {} {is_expired}", failure.status),
        Verdict::Delivered { .. } => String::new(),
    };
    assert_eq!(verdict(Status::temporary(2, 2), 7), "retry 4.2.2");
    assert_eq!(verdict(Status::temporary(2, 2), 8), "failed 5.2.2 true");
    assert_eq!(verdict(Status::temporary(0, 0), 8), "failed 5.4.7 true");
    assert_eq!(verdict(Status::permanent(1, 1), 1), "failed 5.1.1 false");
    assert_eq!(verdict(Status::permanent(0, 0), 9), "failed 5.0.0 false");
}

#[test]
fn texts_of_others_are_bounded_and_harmless() {
    let long = Answer::new(550, None, &"ü".repeat(TEXT_OCTETS_MAX));
    assert_eq!(long.text().len(), TEXT_OCTETS_MAX);
    let odd = Answer::new(550, Some((5, 1, 1)), "a\r\n\0b\u{1b}[2J");
    assert_eq!(odd.to_string(), "550 5.1.1 a? ?b?[2J");
}

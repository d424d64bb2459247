#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
use super::Mechanism::{CramMd5, Login, Plain, ScramSha1, ScramSha1Plus, ScramSha256, ScramSha256Plus};
use super::*;

fn auth(mechanisms: Option<&[Mechanism]>) -> Auth {
    Auth {
        username: "user".into(),
        password: Secret::new("hunter2".into()),
        mechanisms: mechanisms.map(<[Mechanism]>::to_vec),
    }
}

#[test]
fn the_strongest_mechanism_that_both_have_is_used() {
    let all = Mechanism::ALL.as_slice();
    let signal = |mechanism| Some(Choice { mechanism, signal: true });
    let plain = |mechanism| Some(Choice { mechanism, signal: false });
    for (listed, offered, is_verified, binds, chosen) in [
        (None, all, true, true, plain(ScramSha256Plus)),
        (None, all, true, false, plain(ScramSha256)),
        (None, &[ScramSha256, ScramSha1Plus][..], true, true, signal(ScramSha256)),
        (None, &[ScramSha1, CramMd5, Plain], true, true, signal(ScramSha1)),
        (None, &[ScramSha1, CramMd5, Plain], true, false, plain(ScramSha1)),
        (None, &[ScramSha1Plus, CramMd5], true, false, plain(CramMd5)),
        (None, &[Plain, Login], true, true, None),
        (Some(&[Plain, ScramSha256][..]), &[Plain, Login], true, true, plain(Plain)),
        (Some(&[Plain]), &[Plain], false, true, None),
        (Some(&[Plain, CramMd5]), &[CramMd5, Plain], false, false, plain(CramMd5)),
        // Nobody may take PLUS away where it isn't listed at all.
        (Some(&[ScramSha256]), &[ScramSha256], true, true, plain(ScramSha256)),
        (Some(&[]), all, true, true, None),
    ] {
        let found = auth(listed).choose(offered, is_verified, binds);
        assert_eq!(found, chosen, "{listed:?} {offered:?} {is_verified} {binds}");
    }
}

#[test]
fn passwords_are_not_in_debug_texts() {
    assert!(!format!("{:?}", auth(None)).contains("hunter2"));
}

#[test]
fn connections_come_from_the_addresses_of_listeners_when_these_are_clear() {
    let of = |texts: &[&str]| {
        let listeners: Vec<IpAddr> = texts.iter().map(|text| text.parse().unwrap()).collect();
        let local = LocalAddresses::of_listeners(&listeners);
        let from = |remote: &str| local.to(&remote.parse().unwrap()).map(|address| address.to_string());
        (from("192.0.2.99"), from("2001:db8::99"))
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(of(&["192.0.2.1", "2001:db8::1"]), (some("192.0.2.1"), some("2001:db8::1")));
    assert_eq!(of(&["192.0.2.1", "192.0.2.1"]), (some("192.0.2.1"), None));
    assert_eq!(of(&["::ffff:192.0.2.1"]), (some("192.0.2.1"), None));
    assert_eq!(of(&["192.0.2.1", "192.0.2.2"]), (None, None));
    assert_eq!(of(&["192.0.2.1", "::"]), (None, None));
    assert_eq!(of(&["192.0.2.1", "127.0.0.1"]), (None, None));
    assert_eq!(of(&[]), (None, None));
}

#[test]
fn ports_are_those_of_the_protocol_unless_given() {
    let relay = |port| Relay {
        host: RelayHost::Name(Domain::parse("relay.example").unwrap()),
        port,
        tls: RelayTls::Verified,
        auth: None,
    };
    for (transport, port) in [
        (Transport::Smtp(relay(None)), Some(25)),
        (Transport::Submission(relay(None)), Some(587)),
        (Transport::Submissions(relay(None)), Some(465)),
        (Transport::Submissions(relay(Some(4650))), Some(4650)),
        (Transport::DEFAULT, None),
    ] {
        assert_eq!(transport.relay().map(|(_, port)| port), port, "{}", transport.word());
    }
    assert_eq!(Transport::DEFAULT.families(), Families::Both);
}

#[test]
fn refusals_are_replies() {
    assert_eq!(Refusal::new(554, "No mail today").map(|one| one.code()), Ok(554));
    for code in [200, 399, 460, 600, 599] {
        assert_eq!(Refusal::new(code, "x"), Err(RefusalError::Code), "{code}");
    }
    for text in ["", "a\r\nb", "ü", &"a".repeat(257)] {
        assert_eq!(Refusal::new(554, text), Err(RefusalError::Text), "{text}");
    }
    assert!(Refusal::new(454, &"a".repeat(256)).is_ok());
}

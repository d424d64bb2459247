//! EXTERNAL (RFC 4422 §A).

use super::super::*;
use super::context;

fn asked(initial: Option<&[u8]>) -> Step {
    Exchange::start(Mechanism::External, &context(), initial).1
}

#[test]
fn external_tells_whom_the_client_wants_to_be() {
    let Step::Certificate { authzid: None } = asked(Some(b"")) else { panic!() };
    let Step::Certificate { authzid: Some(login) } = asked(Some(b"fred@example.org")) else { panic!() };
    assert_eq!(login.as_str(), "fred@example.org");
    // Without an initial response the client is asked with nothing.
    let (mut exchange, step) = Exchange::start(Mechanism::External, &context(), None);
    assert!(matches!(step, Step::Challenge(challenge) if challenge.is_empty()));
    assert!(matches!(exchange.respond(b""), Step::Certificate { authzid: None }));
    assert!(matches!(exchange.respond(b""), Step::Failure(FailureKind::OutOfTurn)), "it is over");
}

#[test]
fn bad_identities_are_refused() {
    let longest = vec![b'a'; Limits::DEFAULT.login_octets_max];
    assert!(matches!(asked(Some(&longest)), Step::Certificate { .. }));
    let long = [&longest[..], b"a"].concat();
    assert!(matches!(asked(Some(&long)), Step::Failure(FailureKind::TooLong)));
    for bad in [&b"a\0b"[..], b"\xff", b"a\r\nb"] {
        assert!(matches!(asked(Some(bad)), Step::Failure(FailureKind::BadSyntax)), "{bad:?}");
    }
}

#[test]
fn its_name_is_known_though_it_is_not_offered_to_everybody() {
    assert_eq!(Mechanism::parse(b"external"), Some(Mechanism::External));
    assert!(!Mechanism::ALL.contains(&Mechanism::External));
    assert!(!Mechanism::External.sends_password() && !Mechanism::External.binds_channel());
}

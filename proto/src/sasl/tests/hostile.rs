//! What bad clients send (threats.md B8).

use proptest::prelude::*;

use super::*;

fn start(mechanism: Mechanism, message: &[u8]) -> Step {
    Exchange::start(mechanism, &context(), Some(message)).1
}

fn failure(step: Step) -> Option<FailureKind> {
    match step {
        Step::Failure(kind) => Some(kind),
        _ => None,
    }
}

#[test]
fn plain_messages_that_break_the_grammar() {
    for (message, kind) in [
        (&b""[..], FailureKind::BadSyntax),
        (b"user", FailureKind::BadSyntax),
        (b"\0user", FailureKind::BadSyntax),
        (b"\0\0password", FailureKind::BadSyntax),
        (b"\0user\0", FailureKind::BadSyntax),
        (b"\0user\0pass\0word", FailureKind::BadSyntax),
        (b"\0us\xffer\0password", FailureKind::BadSyntax),
        (b"\0us\ner\0password", FailureKind::BadSyntax),
        (b"\0user\0pass\xff", FailureKind::BadCredentials),
        (b"\0user\0pass\tword", FailureKind::BadCredentials),
        (b"other\0user\0password", FailureKind::AuthzidDiffers),
    ] {
        assert_eq!(failure(start(Mechanism::Plain, message)), Some(kind), "{message:?}");
    }
    assert!(matches!(start(Mechanism::Plain, b"user\0user\0password"), Step::VerifyPassword { .. }));
}

#[test]
fn characters_that_mean_something_elsewhere_are_data() {
    for name in ["%u@%d", "*", "a'; DROP TABLE account; --", "(uid=*)", "../../etc", "a b", "\"q\"@x"] {
        let message = format!("\0{name}\0$password%{{x}}");
        let Step::VerifyPassword { login, password } = start(Mechanism::Plain, message.as_bytes()) else {
            panic!("{name}")
        };
        assert_eq!((login.as_str(), password.expose().as_str()), (name, "$password%{x}"));
        let message = format!("n,,n={name},r=abc");
        let Step::NeedSecrets { login, .. } =
            start(Mechanism::ScramSha256, message.replace("uid=", "uid=3D").as_bytes())
        else {
            panic!("{name}")
        };
        assert_eq!(login.as_str(), name);
    }
}

#[test]
fn scram_first_messages_that_break_the_grammar() {
    use FailureKind::{AuthzidDiffers, BadSyntax, ChannelBinding, Unsupported};
    for (message, kind) in [
        ("", BadSyntax),
        ("n", BadSyntax),
        ("n,", BadSyntax),
        ("n,,", BadSyntax),
        ("n,,n=,r=abc", BadSyntax),
        ("n,,n=u", BadSyntax),
        ("n,,n=u,r=", BadSyntax),
        ("n,,n=u,r=a c", BadSyntax),
        ("n,,n=u,r=ab\u{7f}", BadSyntax),
        ("n,,r=abc,n=u", BadSyntax),
        ("n,,n=u=2c,r=abc", BadSyntax),
        ("n,,n=u=,r=abc", BadSyntax),
        ("n,,n=u\0,r=abc", BadSyntax),
        ("n,,n=u,r=abc,", BadSyntax),
        ("n,,n=u,r=abc,1=x", BadSyntax),
        ("n,,n=u,r=abc,x=", BadSyntax),
        ("z,,n=u,r=abc", BadSyntax),
        ("p=,,n=u,r=abc", BadSyntax),
        ("p=a b,,n=u,r=abc", BadSyntax),
        ("n,b=x,n=u,r=abc", BadSyntax),
        ("n,a=,n=u,r=abc", BadSyntax),
        ("n,a=other,n=u,r=abc", AuthzidDiffers),
        ("n,,m=ext,n=u,r=abc", Unsupported),
        ("y,,n=u,r=abc", ChannelBinding),
        ("p=tls-server-end-point,,n=u,r=abc", ChannelBinding),
    ] {
        assert_eq!(failure(start(Mechanism::ScramSha1, message.as_bytes())), Some(kind), "{message:?}");
    }
    let unknown = "p=tls-server-end-point,,n=u,r=abc";
    let step = start(Mechanism::ScramSha1Plus, unknown.as_bytes());
    assert_eq!(failure(step), Some(ChannelBinding));
    let good = start(Mechanism::ScramSha1, b"n,a=u=2Cv,n=u=2Cv,r=abc,x=y");
    assert!(matches!(good, Step::NeedSecrets { login, .. } if login.as_str() == "u,v"));
}

#[test]
fn scram_final_messages_that_lie() {
    let secrets = derived("password");
    let nonce = format!("abc{}", context().nonce.as_str());
    let proof = wire::encode(&[0; 32]);
    let end = |message: String| {
        let (mut exchange, _) = Exchange::start(Mechanism::ScramSha256, &context(), Some(b"n,,n=u,r=abc"));
        exchange.secrets(Some(&secrets), &secrets);
        failure(exchange.respond(message.as_bytes())).unwrap()
    };
    use FailureKind::{BadCredentials, BadSyntax, ChannelBinding};
    assert_eq!(end(format!("c=biws,r={nonce},p={proof}")), BadCredentials);
    assert_eq!(end(format!("c=biws,r={nonce},x=y,p={proof}")), BadCredentials);
    assert_eq!(end(format!("c=eSws,r={nonce},p={proof}")), ChannelBinding, "the header was changed");
    assert_eq!(end(format!("c=biwsAAAA,r={nonce},p={proof}")), ChannelBinding);
    assert_eq!(end(format!("c=biws,r={nonce}x,p={proof}")), BadSyntax);
    assert_eq!(end(format!("c=biws,r=abc,p={proof}")), BadSyntax);
    assert_eq!(end(format!("c=biws,r={nonce},p={}", wire::encode(&[0; 20]))), BadSyntax);
    assert_eq!(end(format!("c=biws,r={nonce},p=*")), BadSyntax);
    assert_eq!(end(format!("c=biws,r={nonce}")), BadSyntax);
    assert_eq!(end(String::new()), BadSyntax);
}

#[test]
fn cram_answers_that_break_the_grammar() {
    let digest = "b913a602c7eda7a495b4e6e7334d3890";
    for answer in [
        String::new(),
        digest.to_owned(),
        format!(" {digest}"),
        format!("u {}", &digest[1..]),
        format!("u {digest}00"),
        format!("u {digest} "),
        format!("u\0 {digest}"),
    ] {
        let (mut exchange, _) = Exchange::start(Mechanism::CramMd5, &context(), None);
        assert_eq!(failure(exchange.respond(answer.as_bytes())), Some(FailureKind::BadSyntax), "{answer:?}");
    }
    let (mut exchange, _) = Exchange::start(Mechanism::CramMd5, &context(), None);
    let step = exchange.respond(format!("a b {digest}").as_bytes());
    assert!(matches!(step, Step::NeedSecrets { login, .. } if login.as_str() == "a b"));
    assert_eq!(failure(start(Mechanism::CramMd5, b"")), Some(FailureKind::BadSyntax));
}

#[test]
fn limits_hold_at_one_past_them() {
    let Limits { message_octets_max, login_octets_max, password_octets_max, nonce_octets_max } =
        Limits::DEFAULT;
    let plain = |login: usize, password: usize| {
        failure(start(
            Mechanism::Plain,
            format!("\0{}\0{}", "u".repeat(login), "p".repeat(password)).as_bytes(),
        ))
    };
    assert_eq!(plain(login_octets_max, password_octets_max), None);
    assert_eq!(plain(login_octets_max + 1, 8), Some(FailureKind::TooLong));
    assert_eq!(plain(1, password_octets_max + 1), Some(FailureKind::TooLong));
    let scram = |nonce: usize, extension: usize| {
        let message = format!("n,,n=u,r={},x={}", "r".repeat(nonce), "x".repeat(extension));
        failure(start(Mechanism::ScramSha256, message.as_bytes()))
    };
    assert_eq!(scram(nonce_octets_max, 1), None);
    assert_eq!(scram(nonce_octets_max + 1, 1), Some(FailureKind::TooLong));
    let fixed = "n,,n=u,r=r,x=".len();
    assert_eq!(scram(1, message_octets_max - fixed), None);
    assert_eq!(scram(1, message_octets_max - fixed + 1), Some(FailureKind::TooLong));
}

#[test]
fn lines_are_decoded_strictly_and_never_when_too_long() {
    let limits = Limits::DEFAULT;
    assert_eq!(wire::decode_response(b"*", &limits), Err(FailureKind::Aborted));
    assert_eq!(wire::decode_response(b"", &limits), Ok(Vec::new()));
    assert_eq!(wire::decode_initial(b"=", &limits), Ok(Vec::new()));
    assert_eq!(wire::decode_initial(b"", &limits), Err(FailureKind::BadBase64));
    assert_eq!(wire::decode_initial(b"*", &limits), Err(FailureKind::BadBase64));
    for bad in ["A", "AB=", "AA==AA==", "A A=", "AA\r\n", "AB==", "\u{e9}"] {
        assert_eq!(wire::decode_response(bad.as_bytes(), &limits), Err(FailureKind::BadBase64), "{bad:?}");
    }
    let octets = limits.message_octets_max;
    assert_eq!(wire::decode_response(&vec![b'A'; octets.div_ceil(3) * 4], &limits).unwrap().len(), octets);
    assert_eq!(
        wire::decode_response(&vec![b'A'; octets.div_ceil(3) * 4 + 1], &limits),
        Err(FailureKind::TooLong)
    );
}

#[test]
fn an_exchange_that_is_over_stays_over() {
    let secrets = derived("password");
    let (mut exchange, _) = Exchange::start(Mechanism::Plain, &context(), Some(b"\0u\0wrong password"));
    assert_eq!(failure(exchange.secrets(Some(&secrets), &secrets)), Some(FailureKind::OutOfTurn));
    assert_eq!(failure(exchange.verified(Verdict::Matches)), Some(FailureKind::OutOfTurn));
    let (mut exchange, _) = Exchange::start(Mechanism::Plain, &context(), Some(b"\0u\0wrong password"));
    assert_eq!(failure(exchange.respond(b"\0u\0password")), Some(FailureKind::OutOfTurn));
    assert_eq!(failure(exchange.verified(Verdict::Matches)), Some(FailureKind::OutOfTurn));
    let (mut exchange, _) = Exchange::start(Mechanism::Plain, &context(), Some(b"\0u\0wrong password"));
    assert_eq!(failure(exchange.verified(Verdict::Differs)), Some(FailureKind::BadCredentials));
    assert_eq!(failure(exchange.verified(Verdict::Matches)), Some(FailureKind::OutOfTurn));
    let (mut exchange, _) = Exchange::start(Mechanism::ScramSha256, &context(), Some(b"n,,n=u,r=abc"));
    assert_eq!(failure(exchange.respond(b"")), Some(FailureKind::OutOfTurn));
    assert_eq!(failure(exchange.secrets(Some(&secrets), &secrets)), Some(FailureKind::OutOfTurn));
}

#[test]
fn debug_texts_hold_no_secret() {
    let (exchange, step) = Exchange::start(Mechanism::Plain, &context(), Some(b"\0user\0hunter22"));
    let client = client(Mechanism::Plain, "user", "hunter22");
    let texts = format!("{exchange:?} {step:?} {client:?} {:?} {:?}", derived("hunter22"), context());
    assert!(!texts.contains("hunter22") && texts.contains("Secret(..)"), "{texts}");
    assert!(!texts.contains("7, 7, 7"), "channel data");
}

#[test]
fn mechanisms_are_named_and_ordered() {
    assert!(Mechanism::ALL.is_sorted_by(|stronger, weaker| stronger > weaker));
    for mechanism in Mechanism::ALL {
        assert_eq!(Mechanism::parse(mechanism.name().to_lowercase().as_bytes()), Some(mechanism));
    }
    for unknown in ["", "PLAIN ", "SCRAM-SHA-512", "OTP", "EXTERNALLY"] {
        assert_eq!(Mechanism::parse(unknown.as_bytes()), None);
    }
}

#[test]
fn new_passwords_have_a_least_length() {
    use text::{BadPassword, prepare_new_password};
    let limits = Limits::DEFAULT;
    assert_eq!(prepare_new_password(b"1234567", &limits).err(), Some(BadPassword::TooShort));
    assert!(prepare_new_password(b"12345678", &limits).is_ok());
}

proptest! {
    /// No message, and no order of messages, gets in without the password or panics.
    #[test]
    fn nothing_but_the_password_gets_in(
        mechanism in 0..Mechanism::ALL.len(),
        messages in proptest::collection::vec(
            prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..40),
                "[nyp],(a=u)?,(m=x,)?n=u(=2C)?,r=[a-z]{0,4}(,x=y)?".prop_map(String::into_bytes),
                "c=biws,r=abc[A-Z]{0,24},p=(AAAA){0,12}".prop_map(String::into_bytes),
                "(u)?\0u\0[a-z]{0,9}".prop_map(String::into_bytes),
                "u [0-9a-f]{32}".prop_map(String::into_bytes),
            ],
            0..5,
        ),
    ) {
        let accounts = Accounts::one("u", "Password");
        let (mut exchange, mut step) = Exchange::start(Mechanism::ALL[mechanism], &context(), None);
        for message in &messages {
            step = accounts.settle(&mut exchange, step);
            if !matches!(step, Step::Challenge(_)) {
                break;
            }
            step = exchange.respond(message);
        }
        let step = accounts.settle(&mut exchange, step);
        prop_assert!(!matches!(step, Step::Success { .. }), "{:?} got in", messages);
    }
}

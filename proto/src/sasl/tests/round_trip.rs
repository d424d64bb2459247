use super::*;

const LOGIN: &str = "zoë+a=b,c@example.org";
const PASSWORD: &str = "pass,wörd=5%";

#[test]
fn every_mechanism_lets_the_right_password_in() {
    let accounts = Accounts::one(LOGIN, PASSWORD);
    for mechanism in Mechanism::ALL {
        let talk = talk(mechanism, &context(), &accounts, client(mechanism, LOGIN, PASSWORD));
        assert_eq!(talk.end.as_ref().map(Login::as_str), Ok(LOGIN), "{mechanism}");
        assert!(talk.proved, "{mechanism}");
    }
}

#[test]
fn unknown_account_and_wrong_password_look_the_same() {
    let accounts = Accounts::one(LOGIN, PASSWORD);
    for mechanism in Mechanism::ALL {
        let wrong = talk(mechanism, &context(), &accounts, client(mechanism, LOGIN, "not this one"));
        let unknown = talk(
            mechanism,
            &context(),
            &accounts,
            client(mechanism, "zoé+a=b,c@example.org", "not this one"),
        );
        assert_eq!(wrong.end, Err(FailureKind::BadCredentials), "{mechanism}");
        assert_eq!(unknown.end, Err(FailureKind::BadCredentials), "{mechanism}");
        let shape = |talk: &Talk| talk.challenges.iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(shape(&wrong), shape(&unknown), "{mechanism}");
    }
}

#[test]
fn the_salt_of_an_unknown_account_stays_and_differs_from_others() {
    let dummy = |secret: &[u8], login| StoredSecrets::dummy(secret, login, ITERATIONS_MIN);
    assert_eq!(dummy(b"s", "a@b").encode(), dummy(b"s", "a@b").encode());
    let (one, other) = (dummy(b"s", "a@b"), dummy(b"s", "a@c"));
    assert_ne!(one.scram_sha_256.salt(), other.scram_sha_256.salt());
    assert_ne!(one.scram_sha_256.salt(), one.scram_sha_1.as_ref().unwrap().salt());
    assert_ne!(one.scram_sha_256.salt(), dummy(b"t", "a@b").scram_sha_256.salt());
    assert_eq!(one.encode().len(), derived("whatever").encode().len(), "the shape of real ones");
    assert_eq!(one.verify_password(""), Verdict::Differs);
}

#[test]
fn an_account_without_some_verifiers_uses_the_dummy_for_them() {
    let mut accounts = Accounts::one(LOGIN, PASSWORD);
    let secrets = accounts.0.get_mut(LOGIN).unwrap();
    secrets.cram_md5 = None;
    secrets.scram_sha_1 = None;
    for mechanism in [Mechanism::CramMd5, Mechanism::ScramSha1] {
        let talk = talk(mechanism, &context(), &accounts, client(mechanism, LOGIN, PASSWORD));
        assert_eq!(talk.end, Err(FailureKind::BadCredentials), "{mechanism}");
    }
    let talk = talk(Mechanism::Plain, &context(), &accounts, client(Mechanism::Plain, LOGIN, PASSWORD));
    assert!(talk.end.is_ok());
}

#[test]
fn channel_binding_works_with_either_type_and_refuses_other_data() {
    let accounts = Accounts::one(LOGIN, PASSWORD);
    let end = |binding, context: &Context| {
        let mechanism = Mechanism::ScramSha256Plus;
        talk(mechanism, context, &accounts, bound_client(mechanism, LOGIN, PASSWORD, binding)).end.err()
    };
    let exporter = |octet| ClientBinding::Exporter(Secret::new(vec![octet; 32]));
    let unique = |octet| ClientBinding::Unique(Secret::new(vec![octet; 12]));
    let context = context();
    assert_eq!(end(exporter(7), &context), None);
    assert_eq!(end(unique(9), &context), None);
    assert_eq!(end(exporter(8), &context), Some(FailureKind::ChannelBinding));
    assert_eq!(end(unique(7), &context), Some(FailureKind::ChannelBinding));
    let mut without = context.clone();
    without.binding.unique = None;
    assert_eq!(end(unique(9), &without), Some(FailureKind::ChannelBinding));
    assert_eq!(end(exporter(7), &without), None);
    assert_eq!(end(ClientBinding::Incapable, &context), Some(FailureKind::ChannelBinding));
}

#[test]
fn a_client_that_was_not_shown_plus_is_refused_when_plus_was_offered() {
    let accounts = Accounts::one(LOGIN, PASSWORD);
    let mechanism = Mechanism::ScramSha1;
    let mut context = context();
    let client = || bound_client(mechanism, LOGIN, PASSWORD, ClientBinding::Unannounced);
    assert_eq!(talk(mechanism, &context, &accounts, client()).end, Err(FailureKind::ChannelBinding));
    context.plus = PlusOffer::NotOffered;
    assert!(talk(mechanism, &context, &accounts, client()).end.is_ok());
    // A mechanism without -PLUS binds nothing.
    let bound = bound_client(mechanism, LOGIN, PASSWORD, ClientBinding::Exporter(Secret::new(vec![7; 32])));
    assert_eq!(talk(mechanism, &context, &accounts, bound).end, Err(FailureKind::ChannelBinding));
}

#[test]
fn names_in_another_normal_form_are_the_same_name() {
    let accounts = Accounts::one("zo\u{eb}@example.org", PASSWORD);
    for mechanism in Mechanism::ALL {
        let decomposed = client(mechanism, "zoe\u{308}@example.org", PASSWORD);
        assert!(talk(mechanism, &context(), &accounts, decomposed).end.is_ok(), "{mechanism}");
    }
}

#[test]
fn a_client_without_initial_response_gets_an_empty_challenge_first() {
    for mechanism in [Mechanism::Plain, Mechanism::ScramSha256] {
        let accounts = Accounts::one(LOGIN, PASSWORD);
        let (mut exchange, step) = Exchange::start(mechanism, &context(), None);
        assert!(matches!(step, Step::Challenge(challenge) if challenge.is_empty()), "{mechanism}");
        let mut client = client(mechanism, LOGIN, PASSWORD);
        let mut message = client.respond(b"").unwrap();
        loop {
            let step = exchange.respond(&message);
            match accounts.settle(&mut exchange, step) {
                Step::Challenge(challenge) => message = client.respond(&challenge).unwrap(),
                Step::Success { .. } => break,
                other => panic!("{mechanism}: {other:?}"),
            }
        }
    }
}

#[test]
fn login_takes_the_name_as_initial_response() {
    let accounts = Accounts::one("u@x", "password");
    let (mut exchange, step) = Exchange::start(Mechanism::Login, &context(), Some(b"u@x"));
    assert!(matches!(step, Step::Challenge(prompt) if prompt == b"Password:"));
    let step = exchange.respond(b"password");
    assert!(matches!(accounts.settle(&mut exchange, step), Step::Success { .. }));
}

#[test]
fn clients_refuse_servers_that_do_not_prove_themselves() {
    use client::ClientFailure;
    let first = |answer: &[u8]| {
        let mut client = client(Mechanism::ScramSha256, "u@x", "password");
        client.initial_response().unwrap();
        let result = client.respond(answer);
        (client, result)
    };
    let good = b"r=client-nonceXYZ,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    let (mut client, result) = first(good);
    result.unwrap();
    assert!(!client.is_proved(), "a success now is none");
    assert_eq!(client.respond(b"v=AAAA"), Err(ClientFailure::ServerSignature));
    assert!(!client.is_proved());
    for (answer, failure) in [
        (&b"r=client-nonce,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"[..], ClientFailure::Nonce),
        (b"r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", ClientFailure::Nonce),
        (b"r=client-nonceXYZ,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4095", ClientFailure::Iterations),
        (b"r=client-nonceXYZ,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4000000000", ClientFailure::Iterations),
        (b"r=client-nonceXYZ,s=,i=4096", ClientFailure::BadSyntax),
        (b"e=other-error", ClientFailure::BadSyntax),
    ] {
        let (client, result) = first(answer);
        assert_eq!(result, Err(failure));
        assert!(!client.is_proved());
    }
}

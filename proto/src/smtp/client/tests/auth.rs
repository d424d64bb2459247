//! AUTH as a client: which mechanism, and exchanges with our own server's side.

use super::*;
use crate::sasl::client::{ClientCredentials, ClientFailure};
use crate::sasl::secrets::{Derivation, SALT_OCTETS, StoredSecrets};
use crate::sasl::{Context, Exchange, Limits, Mechanism, PlusOffer, ServerNonce, Step, Verdict, wire};

fn authentication(mechanisms: &[Mechanism]) -> Authentication {
    Authentication {
        credentials: ClientCredentials { login: "fred".into(), password: Secret::new("secret".into()) },
        mechanisms: mechanisms.to_vec(),
        nonce: "nonce".into(),
    }
}

fn with(mechanisms: &[Mechanism]) -> Settings {
    Settings { authentication: Some(authentication(mechanisms)), ..settings() }
}

/// A conversation under TLS with a server that announces `offer`; gives what AUTH said, decoded, or the end.
fn auth_line(settings: Settings, tls: Option<ChannelBinding>, offer: &str) -> Result<String, End> {
    let mut client = Client::new(settings, tls);
    client.receive(b"220 x\r\n");
    client.next_action();
    client.receive(format!("250-x\r\n250 AUTH {offer}\r\n").as_bytes());
    loop {
        match client.next_action() {
            Action::Send { octets, .. } if octets.starts_with(b"AUTH ") => {
                let line = String::from_utf8(octets).unwrap();
                let mut words = line.split_whitespace().skip(1);
                let mechanism = words.next().unwrap();
                let first =
                    words.next().map(|text| wire::decode_initial(text.as_bytes(), &Limits::DEFAULT).unwrap());
                let first = first.map(|first| String::from_utf8(first).unwrap().replace('\0', "|"));
                return Ok(format!("{mechanism} {}", first.unwrap_or_default()));
            }
            Action::Close(end) => return Err(end),
            Action::Send { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_strongest_mechanism_that_both_have_is_taken_and_a_downgrade_shows() {
    use Mechanism::{CramMd5, External, Plain, ScramSha1, ScramSha256};
    let all = Authentication::MECHANISMS;
    let tls = || Some(binding());
    let no_binding = || Some(ChannelBinding::default());
    let every = "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-1-PLUS SCRAM-SHA-256 SCRAM-SHA-256-PLUS";
    for (mechanisms, tls, offer, expected) in [
        (&all[..], tls(), every, "SCRAM-SHA-256-PLUS p=tls-exporter,,n=fred,r=nonce"),
        // It would have bound, but nobody offered to: a server that did will see from `y` that somebody lied.
        (&all, tls(), "SCRAM-SHA-256 SCRAM-SHA-1", "SCRAM-SHA-256 y,,n=fred,r=nonce"),
        (&all, tls(), "SCRAM-SHA-256 SCRAM-SHA-1-PLUS", "SCRAM-SHA-256 y,,n=fred,r=nonce"),
        // It can't, or mayn't, bind.
        (&all, no_binding(), every, "SCRAM-SHA-256 n,,n=fred,r=nonce"),
        (&[ScramSha256, ScramSha1], tls(), every, "SCRAM-SHA-256 n,,n=fred,r=nonce"),
        (&all, None, every, "SCRAM-SHA-256 n,,n=fred,r=nonce"),
        (&all, tls(), "SCRAM-SHA-1-PLUS CRAM-MD5", "SCRAM-SHA-1-PLUS p=tls-exporter,,n=fred,r=nonce"),
        (&all, tls(), "CRAM-MD5 PLAIN", "CRAM-MD5 "),
        (&[Plain, CramMd5], tls(), "PLAIN", "PLAIN |fred|secret"),
        (&[Plain, CramMd5], tls(), "PLAIN CRAM-MD5", "CRAM-MD5 "),
        (&[External, ScramSha256], tls(), "SCRAM-SHA-256 EXTERNAL", "EXTERNAL "),
        (&[External, ScramSha256], tls(), "SCRAM-SHA-256", "SCRAM-SHA-256 n,,n=fred,r=nonce"),
        (&[External, ScramSha256], None, "SCRAM-SHA-256 EXTERNAL", "SCRAM-SHA-256 n,,n=fred,r=nonce"),
    ] {
        assert_eq!(auth_line(with(mechanisms), tls, offer).as_deref(), Ok(expected), "{offer}");
    }
    // A password is never said in clear, nor PLAIN used that isn't listed.
    for (mechanisms, tls, offer) in [
        (&[Plain][..], None, "PLAIN"),
        (&all, tls(), "PLAIN LOGIN"),
        (&all, tls(), "EXTERNAL X"),
        (&all, tls(), ""),
    ] {
        let end = auth_line(with(mechanisms), tls, offer);
        assert_eq!(end, Err(End::Failed(Failure::NoMechanism)), "{offer}");
    }
    assert!(Failure::NoMechanism.is_permanent());
}

/// A whole exchange with the server's side of this crate.
fn log_in(mechanism: Mechanism, password: &str) -> Action {
    let mut settings = with(&[mechanism]);
    if let Some(authentication) = &mut settings.authentication {
        authentication.credentials.password = Secret::new(password.to_owned());
    }
    let derivation =
        Derivation { iterations: 4096, salt_sha_256: [1; SALT_OCTETS], salt_sha_1: [2; SALT_OCTETS] };
    let stored = StoredSecrets::derive("secret", &derivation);
    let context = Context {
        binding: binding(),
        plus: PlusOffer::Offered,
        nonce: ServerNonce::new("server").unwrap(),
        hostname: "mx.them.example".into(),
        unix_seconds: 1_780_000_000,
        limits: Limits::DEFAULT,
    };
    let mut client = Client::new(settings, Some(binding()));
    client.receive(b"220 x\r\n");
    client.next_action();
    client.receive(format!("250-x\r\n250 AUTH {mechanism}\r\n").as_bytes());
    let mut exchange: Option<Exchange> = None;
    loop {
        let octets = match client.next_action() {
            Action::Send { octets, .. } => octets,
            Action::Read { .. } => panic!("nothing more comes"),
            other => return other,
        };
        let line = std::str::from_utf8(&octets).unwrap().trim_end();
        let mut step = match &mut exchange {
            None => {
                let initial = line.split(' ').nth(2);
                let initial =
                    initial.map(|text| wire::decode_initial(text.as_bytes(), &Limits::DEFAULT).unwrap());
                let (begun, step) = Exchange::start(mechanism, &context, initial.as_deref());
                exchange = Some(begun);
                step
            }
            Some(_) if line == "QUIT" => continue,
            Some(exchange) => {
                exchange.respond(&wire::decode_response(line.as_bytes(), &Limits::DEFAULT).unwrap())
            }
        };
        let server = exchange.as_mut().unwrap();
        loop {
            step = match step {
                Step::NeedSecrets { .. } => server.secrets(Some(&stored), &stored),
                Step::VerifyPassword { password, .. } => {
                    let fits = *password.expose() == "secret";
                    server.verified(if fits { Verdict::Matches } else { Verdict::Differs })
                }
                Step::Challenge(challenge) => {
                    client.receive(format!("334 {}\r\n", wire::encode(&challenge)).as_bytes());
                    break;
                }
                Step::Success { .. } => {
                    client.receive(b"235 2.7.0 in\r\n");
                    break;
                }
                Step::Failure(_) => {
                    client.receive(b"535 5.7.8 no\r\n");
                    break;
                }
                Step::Certificate { .. } => panic!("not this mechanism"),
            };
        }
    }
}

/// An answer to AUTH may be worked on elsewhere.
#[test]
fn a_conversation_can_be_taken_away_and_leaves_one_that_was_given_up() {
    let mut client = Client::new(with(&[Mechanism::ScramSha256]), Some(binding()));
    client.receive(b"220 x\r\n");
    client.next_action();
    client.receive(b"250-x\r\n250 AUTH SCRAM-SHA-256\r\n");
    assert!(!client.is_authenticating() || matches!(client.next_action(), Action::Send { .. }));
    assert!(client.is_authenticating());
    let mut taken = client.take_away();
    let Action::Close(End::Failed(Failure::Broken { reason, .. })) = client.next_action() else { panic!() };
    assert_eq!(reason, Broken::Local);
    assert!(!client.is_authenticating());
    taken.receive(b"535 5.7.8 no\r\n");
    assert!(matches!(taken.next_action(), Action::Send { .. }), "QUIT");
    let Action::Close(End::Failed(Failure::Refused { stage, .. })) = taken.next_action() else { panic!() };
    assert_eq!(stage, Stage::Auth);
}

#[test]
fn exchanges_work_with_our_own_server() {
    for mechanism in Authentication::MECHANISMS.into_iter().chain([Mechanism::Plain]) {
        assert_eq!(log_in(mechanism, "secret"), Action::Ready, "{mechanism}");
        let Action::Close(End::Failed(failure)) = log_in(mechanism, "other") else { panic!("{mechanism}") };
        assert!(matches!(failure, Failure::Refused { stage: Stage::Auth, .. }), "{mechanism}: {failure}");
    }
}

#[test]
fn a_success_that_the_server_did_not_prove_is_none() {
    for mechanism in ["SCRAM-SHA-256", "CRAM-MD5"] {
        let script = format!("S: 220 x\nC: EHLO us.example\nS: 250-x\nS: 250 AUTH {mechanism}\n");
        let rest = match mechanism {
            "CRAM-MD5" => "C: AUTH CRAM-MD5\nS: 235 in\nC: QUIT",
            _ => "C: AUTH SCRAM-SHA-256 biwsbj1mcmVkLHI9bm9uY2U=\nS: 235 in\nC: QUIT",
        };
        let ended = run(&with(&Authentication::MECHANISMS), &(script + rest), &[]);
        assert_eq!(
            ended.end,
            End::Failed(Failure::Authentication(ClientFailure::ServerSignature)),
            "{mechanism}"
        );
    }
}

#[test]
fn a_bad_challenge_is_given_up_on() {
    let start = "S: 220 x\nC: EHLO us.example\nS: 250-x\nS: 250 AUTH SCRAM-SHA-256\nC: AUTH SCRAM-SHA-256 biwsbj1mcmVkLHI9bm9uY2U=\n";
    for (challenge, failure) in [
        ("x", ClientFailure::BadSyntax),
        ("cj1vdGhlcixzPXEsaT00MDk2", ClientFailure::Nonce),
        ("", ClientFailure::BadSyntax),
    ] {
        let script = format!("{start}S: 334 {challenge}\nC: *\nS: 501 as you wish\nC: QUIT");
        let ended = run(&with(&Authentication::MECHANISMS), &script, &[]);
        assert_eq!(ended.end, End::Failed(Failure::Authentication(failure)), "{challenge}");
    }
}

#[test]
fn an_initial_response_that_is_too_long_for_the_command_waits_for_a_challenge() {
    let mut settings = with(&[Mechanism::Plain]);
    let password = "p".repeat(600);
    if let Some(authentication) = &mut settings.authentication {
        authentication.credentials.password = Secret::new(password.clone());
    }
    let message = wire::encode(format!("\0fred\0{password}").as_bytes());
    let script = format!(
        "S: 220 x\nC: EHLO us.example\nS: 250-x\nS: 250 AUTH PLAIN\nC: AUTH PLAIN\nS: 334\nC: {message}\nS: 235 in\nC: QUIT\nS: 221 bye"
    );
    let (ended, _) = drive(Client::new(settings, Some(binding())), &script, &[], usize::MAX);
    assert_eq!(ended.end, End::Quit);
}

#[test]
fn no_secret_is_in_a_debug_text() {
    let client = Client::new(with(&[Mechanism::Plain]), Some(binding()));
    assert!(!format!("{client:?} {:?}", authentication(&[Mechanism::Plain])).contains("secret"));
}

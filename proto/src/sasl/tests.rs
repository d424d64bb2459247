#![expect(clippy::unwrap_used, reason = "a test may stop where it fails")]

mod external;
mod hostile;
mod round_trip;
mod vectors;

use std::collections::HashMap;

use super::client::{Client, ClientBinding, ClientCredentials};
use super::secrets::{Derivation, ITERATIONS_MIN, StoredSecrets};
use super::*;

fn context() -> Context {
    Context {
        binding: ChannelBinding {
            exporter: Some(Secret::new(vec![7; 32])),
            unique: Some(Secret::new(vec![9; 12])),
        },
        plus: PlusOffer::Offered,
        nonce: ServerNonce::from_random(&[1; 18]),
        hostname: "mx.example".into(),
        unix_seconds: 1_790_000_000,
        limits: Limits::DEFAULT,
    }
}

fn derived(password: &str) -> StoredSecrets {
    let derivation = Derivation { iterations: ITERATIONS_MIN, salt_sha_256: [3; 16], salt_sha_1: [4; 16] };
    StoredSecrets::derive(password, &derivation)
}

/// Accounts, and the part of the driver that answers what an exchange asks.
struct Accounts(HashMap<String, StoredSecrets>);

impl Accounts {
    fn one(login: &str, password: &str) -> Self {
        Self(HashMap::from([(login.to_owned(), derived(password))]))
    }

    /// Answers until something has to go to the client.
    fn settle(&self, exchange: &mut Exchange, mut step: Step) -> Step {
        loop {
            step = match step {
                Step::NeedSecrets { login, .. } => {
                    let dummy = StoredSecrets::dummy(b"server secret", login.as_str(), ITERATIONS_MIN);
                    exchange.secrets(self.0.get(login.as_str()), &dummy)
                }
                Step::VerifyPassword { login, password } => {
                    let dummy = StoredSecrets::dummy(b"server secret", login.as_str(), ITERATIONS_MIN);
                    let stored = self.0.get(login.as_str()).unwrap_or(&dummy);
                    exchange.verified(stored.verify_password(password.expose()))
                }
                other => return other,
            };
        }
    }
}

/// What the client saw, and how it ended.
#[derive(Debug)]
struct Talk {
    challenges: Vec<Vec<u8>>,
    end: Result<Login, FailureKind>,
    proved: bool,
}

fn talk(mechanism: Mechanism, context: &Context, accounts: &Accounts, mut client: Client) -> Talk {
    let initial = client.initial_response();
    let (mut exchange, step) = Exchange::start(mechanism, context, initial.as_deref());
    let mut step = accounts.settle(&mut exchange, step);
    let mut challenges = Vec::new();
    let end = loop {
        step = match step {
            Step::Challenge(challenge) => {
                let answer = client.respond(&challenge);
                challenges.push(challenge);
                match answer {
                    Ok(answer) => exchange.respond(&answer),
                    Err(_) => break Err(FailureKind::Aborted),
                }
            }
            Step::Success { login } => break Ok(login),
            Step::Failure(kind) => break Err(kind),
            Step::Certificate { .. } => break Err(FailureKind::OutOfTurn),
            Step::NeedSecrets { .. } | Step::VerifyPassword { .. } => accounts.settle(&mut exchange, step),
        }
    };
    Talk { challenges, end, proved: client.is_proved() }
}

fn client(mechanism: Mechanism, login: &str, password: &str) -> Client {
    let binding = if mechanism.binds_channel() {
        ClientBinding::Exporter(Secret::new(vec![7; 32]))
    } else {
        ClientBinding::Incapable
    };
    bound_client(mechanism, login, password, binding)
}

fn bound_client(mechanism: Mechanism, login: &str, password: &str, binding: ClientBinding) -> Client {
    let credentials =
        ClientCredentials { login: login.to_owned(), password: Secret::new(password.to_owned()) };
    Client::new(mechanism, credentials, binding, "client-nonce")
}

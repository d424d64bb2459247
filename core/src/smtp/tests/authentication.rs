//! Logging in.

use postrider_proto::sasl::Mechanism;

use super::world::World;
use crate::config::Protocol;
use crate::testing::within_one;

const LOGIN: &str = "anna@example.org";
/// The seconds in which failures are counted.
const MINUTE: i64 = 60;

#[test]
fn every_mechanism_works() {
    let world = World::new();
    for mechanism in Mechanism::ALL {
        let mut client = world.submission();
        let reply = client.log_in(mechanism, LOGIN, "secret word");
        assert!(reply.starts_with("235 2.7.0"), "{mechanism}: {reply}");
        client.expect("AUTH PLAIN AGEAYg==", "503");
        client.expect("MAIL FROM:<anna@example.org>", "250");
    }
}

#[test]
fn a_foreign_channel_binding_is_refused() {
    let world = World::new();
    let mut client = world.submission();
    client.exporter = Some(vec![7; 32]);
    let reply = client.log_in(Mechanism::ScramSha256Plus, LOGIN, "secret word");
    assert!(reply.starts_with("535 5.7.7"), "{reply}");
    client.expect("MAIL FROM:<anna@example.org>", "530");
}

#[test]
fn a_wrong_password_and_an_unknown_user_look_the_same() {
    let world = World::new();
    for mechanism in Mechanism::ALL {
        let replies = [(LOGIN, "wrong"), ("nobody@example.org", "wrong"), ("nobody", "wrong")]
            .map(|(login, password)| world.submission().log_in(mechanism, login, password));
        // What follows is the connection's own number.
        let replies = replies.map(|reply| reply.split(" (").next().unwrap().to_owned());
        assert!(replies[0].starts_with("535 5.7.8"), "{mechanism}: {replies:?}");
        assert!(replies.iter().all(|reply| *reply == replies[0]), "{mechanism}: {replies:?}");
    }
}

#[test]
fn failures_end_the_connection_and_then_shut_the_address_out() {
    within_one(MINUTE, failures_shut_out);
}

fn failures_shut_out() {
    let world = World::with(|config| {
        config.unlimited.clear();
        for listener in &mut config.listeners {
            listener.limits.authentication.slow_after = 100;
            listener.limits.authentication.failures_per_connection = 3;
        }
    });
    let mut failures = 0;
    while failures < 9 {
        let mut client = world.submission();
        for _ in 0..3 {
            let reply = client.log_in(Mechanism::Plain, LOGIN, "wrong");
            assert!(reply.starts_with("535"), "{reply}");
            failures += 1;
        }
        assert!(client.reply().starts_with("421 4.7.0"));
        assert_eq!(client.reply(), "");
    }
    let mut client = world.submission();
    assert!(client.log_in(Mechanism::Plain, LOGIN, "wrong").starts_with("535"));
    // The tenth in this minute: even the right password has to wait now.
    let reply = client.log_in(Mechanism::Plain, LOGIN, "secret word");
    assert!(reply.starts_with("421 4.7.0"), "{reply}");
    let mut client = super::client::Client::dial(world.address(Protocol::Submissions)).tls();
    assert!(client.reply().starts_with("421 4.7.0"));
    // Mail for us still comes in.
    assert!(world.smtp().mail("", &["anna@example.org"], "Subject: x\r\n\r\nx").starts_with("250"));
}

#[test]
fn a_handshake_counts_as_a_connection_of_its_address() {
    for protocol in [Protocol::Submissions, Protocol::Imaps] {
        let world = World::with(|config| config.unlimited.clear());
        let address = world.address(protocol);
        // None of them ever says hello.
        let waiting: Vec<_> = (0..30).map(|_| super::client::Client::dial(address)).collect();
        let refused = || {
            let labels = [protocol as usize, crate::metrics::Refusal::Open as usize];
            world.shared.registry.counter(world.shared.metrics.connections_refused.at(labels))
        };
        // Shards accept on their own: this one may come before some of the others.
        let more: Vec<_> = (0..5).map(|_| super::client::Client::dial(address)).collect();
        crate::testing::wait_until(|| refused() == 5);
        drop((waiting, more));
    }
}

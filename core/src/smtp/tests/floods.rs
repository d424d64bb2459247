//! What one client may do to one mailbox.

use std::time::{Duration, Instant};

use super::world::World;
use crate::config::Classes;
use crate::testing::within_one;

/// Two messages of one host, where clients of loopback are like any other. Of the time for a write, five seconds
/// are kept for the rest of a slow answer.
fn world() -> World {
    World::with(|config| {
        config.unlimited.clear();
        for listener in &mut config.listeners {
            let limits = &mut listener.limits.smtp;
            limits.deliveries.messages_per_minute = Classes::new(2, 100, 100);
            // The window of a minute may end during the test, that of a day hardly.
            limits.deliveries.messages_per_day = Classes::new(2, 100, 100);
            limits.idle = Duration::from_secs(7);
            limits.slow_read = Duration::from_millis(1);
        }
    })
}

#[test]
fn what_one_client_sends_to_one_account_is_limited_and_it_is_slowed() {
    within_one(24 * 60 * 60, one_client_is_limited);
}

fn one_client_is_limited() {
    let world = world();
    let text = "From: a@client.example\r\nSubject: hello\r\n\r\nbody";
    let send = |to: &str| {
        let mut client = world.smtp();
        let begun = Instant::now();
        client.expect("MAIL FROM:<a@client.example>", "250");
        let reply = client.ask(&format!("RCPT TO:<{to}>"));
        if !reply.starts_with("250") {
            return (reply, begun.elapsed());
        }
        (client.data(text), begun.elapsed())
    };
    for _ in 0..2 {
        let (reply, _) = send("anna@example.org");
        assert!(reply.starts_with("250"), "{reply}");
    }
    let (reply, took) = send("anna@example.org");
    assert!(reply.starts_with("452 4.2.2"), "{reply}");
    assert!(took >= Duration::from_secs(2), "an octet a second: {took:?}");
    let others = ["ben@example.org", "cleo@example.org", "small@example.org", "ben@example.org"];
    let is_slowed = |other: &&str| {
        let (reply, took) = send(other);
        assert!(reply.starts_with("250"), "another account: {reply}");
        took >= Duration::from_secs(2)
    };
    assert!(!others.iter().all(is_slowed), "a busy machine may slow some of them, and not all");
    assert_eq!(world.inbox("anna").len(), 2);
}

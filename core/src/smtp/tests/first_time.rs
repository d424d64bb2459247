//! The wait before the first message of a sender.

use std::time::{Duration, Instant};

use super::world::World;
use crate::testing::{PATIENCE, once, wait_until};

/// Longer than a message takes, in one of several tries on a busy machine.
const DELAY: Duration = Duration::from_millis(1500);

fn world(delay: Duration) -> World {
    World::with(|config| {
        for listener in &mut config.listeners {
            listener.limits.smtp.first_time_sender_delay = delay;
        }
    })
}

fn from(sender: &str) -> String {
    format!("From: {sender}\r\nSubject: hello\r\n\r\nbody")
}

fn timed(world: &World, to: &[&str], text: &str) -> Duration {
    let mut client = world.smtp();
    let begun = Instant::now();
    let reply = client.mail("a@client.example", to, text);
    assert!(reply.starts_with("250"), "{reply}");
    begun.elapsed()
}

#[test]
fn only_the_first_message_of_a_sender_waits_and_nobody_else_meanwhile() {
    let world = world(DELAY);
    assert!(timed(&world, &["anna@example.org"], &from("a@client.example")) >= DELAY);
    let known_now = once(|number| {
        assert!(timed(&world, &["anna@example.org"], &from(&format!("k{number}@client.example"))) >= DELAY);
        timed(&world, &["anna@example.org"], &from(&format!("K{number}@client.EXAMPLE"))) < DELAY
    });
    assert!(known_now);
    // Each account has its own acquaintances, and all wait at the same time.
    let at_the_same_time = once(|number| {
        let sender = if number == 0 { "a@client.example" } else { &format!("c{number}@client.example") };
        let took = timed(&world, &["anna@example.org", "ben@example.org", "cleo@example.org"], &from(sender));
        assert!(took >= DELAY, "{took:?}");
        took < DELAY * 2
    });
    assert!(at_the_same_time);
    let before = world.inbox("ben").len();
    // Without an author there is nobody to be known.
    for _ in 0..2 {
        assert!(timed(&world, &["anna@example.org"], "Subject: hello\r\n\r\nbody") >= DELAY);
    }
    // Both shards go on while many wait.
    let mut waited = 0;
    let go_on = once(|_| {
        let mut wait = || {
            waited += 1;
            let mut client = world.smtp();
            client.expect("MAIL FROM:<a@client.example>", "250");
            client.expect("RCPT TO:<ben@example.org>", "250");
            client.expect("DATA", "354");
            client.send(format!("{}\r\n.\r\n", from(&format!("b{waited}@client.example"))).as_bytes());
            client
        };
        let waiting: Vec<_> = (0..20).map(|_| wait()).collect();
        let took = timed(&world, &["anna@example.org"], &from("a@client.example"));
        for mut client in waiting {
            assert!(client.reply().starts_with("250"));
        }
        took < DELAY
    });
    assert!(go_on);
    assert_eq!(world.inbox("ben").len(), before + waited);
    assert_eq!(world.panics(), 0);
}

#[test]
fn a_client_that_goes_while_its_message_waits_has_not_delivered_it() {
    let world = world(10 * PATIENCE);
    for to in [&["anna@example.org"][..], &["anna@example.org", "ben@example.org"]] {
        let mut client = world.smtp();
        client.expect("MAIL FROM:<a@client.example>", "250");
        for to in to {
            client.expect(&format!("RCPT TO:<{to}>"), "250");
        }
        client.expect("DATA", "354");
        let body = "0123456789abcdef\r\n".repeat(10_000);
        client.send(format!("{}\r\n{body}.\r\n", from("a@client.example")).as_bytes());
        wait_until(|| world.counts().chunks > 0);
        drop(client);
        wait_until(|| world.counts().blobs_to_collect == 0 && world.counts().chunks == 0);
    }
    let counts = world.counts();
    assert_eq!((counts.messages, counts.blobs, counts.queued), (0, 0, 0), "no report either");
}

#[test]
fn what_a_client_sends_meanwhile_is_done_afterwards() {
    let world = world(DELAY);
    let mut client = world.smtp();
    client.expect("MAIL FROM:<a@client.example>", "250");
    client.expect("RCPT TO:<anna@example.org>", "250");
    client.expect("DATA", "354");
    client.send(format!("{}\r\n.\r\n", from("a@client.example")).as_bytes());
    std::thread::sleep(DELAY / 3);
    client.send(b"NOOP\r\nMAIL FROM:<b@client.example>\r\n");
    for code in ["250 2.2.0", "250 2.0.0", "250 2.1.0"] {
        let reply = client.reply();
        assert!(reply.starts_with(code), "{reply}");
    }
}

#[test]
fn a_stop_does_not_wait() {
    let world = world(10 * PATIENCE);
    let mut client = world.smtp();
    client.expect("MAIL FROM:<a@client.example>", "250");
    client.expect("RCPT TO:<anna@example.org>", "250");
    client.expect("DATA", "354");
    client.send(format!("{}\r\n.\r\n", from("a@client.example")).as_bytes());
    std::thread::sleep(Duration::from_millis(200));
    let begun = Instant::now();
    world.shared.shutdown.begin(PATIENCE);
    let reply = client.reply();
    assert!(reply.starts_with("421"), "{reply}");
    assert!(begun.elapsed() < PATIENCE);
    assert!(world.inbox("anna").is_empty());
}

#[test]
fn our_own_users_do_not_wait() {
    let world = world(10 * PATIENCE);
    let mut client = world.anna();
    let reply = client.mail("anna@example.org", &["ben@example.org"], &from("anna@example.org"));
    assert!(reply.starts_with("250"), "{reply}");
}

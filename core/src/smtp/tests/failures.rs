//! What happens when the disk, the peer or the server fails.

use std::time::{Duration, Instant};

use postrider_storage::engine::memory::Fault;
use postrider_storage::maintenance::Refusal;

use super::client::Client;
use super::world::World;
use crate::config::{Mode, Protocol};
use crate::testing::{PATIENCE, wait_until};

const MESSAGE: &str = "Subject: hello\r\n\r\nbody";
/// One of a user of ours.
const OWN: &str = "From: anna@example.org\r\nSubject: hello\r\n\r\nbody";

fn large() -> String {
    format!("Subject: large\r\n\r\n{}", "0123456789abcdef\r\n".repeat(20_000))
}

#[test]
fn nothing_is_acknowledged_when_a_commit_fails() {
    for fault in [Fault::Full, Fault::Write, Fault::Sync] {
        for to in [&["anna@example.org"][..], &["anna@example.org", "ben@example.org"]] {
            for text in [MESSAGE.to_owned(), large()] {
                for nth in 1..4 {
                    let world = World::new();
                    let mut client = world.smtp();
                    // The first mail of an account makes its mailboxes, with a commit of its own.
                    assert!(client.mail("", &["anna@example.org"], MESSAGE).starts_with("250"));
                    assert!(client.mail("", &["ben@example.org"], MESSAGE).starts_with("250"));
                    let before = (world.inbox("anna").len(), world.inbox("ben").len());
                    world.engine.fail_commit(nth, fault);
                    client.expect("MAIL FROM:<a@client.example>", "250");
                    for to in to {
                        client.expect(&format!("RCPT TO:<{to}>"), "250");
                    }
                    let reply = client.data(&text);
                    let stored = world.inbox("anna").len() - before.0 + world.inbox("ben").len() - before.1;
                    match &reply[..3] {
                        "451" | "452" => assert!(stored < to.len()),
                        "250" => assert!(stored > 0, "{fault:?} {nth}"),
                        _ => panic!("{fault:?} {nth}: {reply}"),
                    }
                    if nth == 1 && to.len() == 1 {
                        let wanted = if fault == Fault::Full { "452 4.3.1" } else { "451 4.3.0" };
                        assert!(reply.starts_with(wanted), "{fault:?}: {reply}");
                        assert_eq!(stored, 0);
                    }
                    // `World` verifies the store when it is dropped.
                }
            }
        }
    }
}

#[test]
fn a_disk_that_fills_up_refuses_mail_at_once() {
    let world = World::new();
    let mut client = world.smtp();
    world.shared.gate.set(Some(Refusal::DiskLow));
    client.expect("MAIL FROM:<a@client.example>", "452 4.3.1");
    world.shared.gate.set(None);
    client.expect("MAIL FROM:<a@client.example>", "250");
    client.expect("RCPT TO:<anna@example.org>", "250");
    world.shared.gate.set(Some(Refusal::DiskLow));
    client.expect("DATA", "452 4.3.1");
    world.shared.gate.set(None);
    assert!(client.mail("a@client.example", &["anna@example.org"], MESSAGE).starts_with("250"));
}

#[test]
fn a_disk_that_does_not_keep_up_is_not_called_full() {
    let world = World::new();
    let mut client = world.smtp();
    for refusal in [Refusal::Congested, Refusal::Stuck] {
        world.shared.gate.set(Some(refusal));
        client.expect("MAIL FROM:<a@client.example>", "451 4.4.5");
    }
    world.shared.gate.set(Some(Refusal::Stopped));
    client.expect("MAIL FROM:<a@client.example>", "451 4.3.0");
    world.shared.gate.set(None);
    assert!(client.mail("a@client.example", &["anna@example.org"], MESSAGE).starts_with("250"));
}

#[test]
fn a_disk_that_does_not_answer_keeps_no_client_for_longer_than_it_waits() {
    // Row E6.
    let limit = Duration::from_secs(1);
    let world = World::with(|config| {
        let listeners = config.listeners.iter_mut();
        listeners
            .filter(|listener| listener.protocol == Protocol::Smtp)
            .for_each(|listener| listener.limits.smtp.store = limit);
    });
    // At this listener one waits for a busy machine as well.
    let mail = || world.anna().mail("anna@example.org", &["anna@example.org"], OWN);
    assert!(mail().starts_with("250"));
    let mut client = world.smtp();
    world.engine.hold_commits(true);
    for to in [&["anna@example.org"][..], &["anna@example.org", "ben@example.org"]] {
        let begun = Instant::now();
        let reply = client.mail("a@client.example", to, MESSAGE);
        assert!(reply.starts_with("451 4.3.0"), "{reply}");
        let took = begun.elapsed();
        assert!(took >= limit && took < PATIENCE, "{took:?}");
    }
    world.engine.hold_commits(false);
    assert!(mail().starts_with("250"));
    // What was handed in is done all the same, and `World` verifies the store.
    wait_until(|| world.inbox("anna").len() == 4 && world.inbox("ben").len() == 1);
}

#[test]
fn a_client_that_hangs_up_in_the_content_leaves_nothing() {
    let world = World::new();
    for content in [MESSAGE.to_owned(), large()] {
        let mut client = world.smtp();
        client.expect("MAIL FROM:<a@client.example>", "250");
        client.expect("RCPT TO:<anna@example.org>", "250");
        client.expect("DATA", "354");
        client.send(content.as_bytes());
        drop(client);
    }
    wait_until(|| {
        let counts = world.counts();
        (counts.messages, counts.blobs, counts.chunks) == (0, 0, 0)
    });
}

/// Sends an octet now and then until the server says something.
fn drip(client: &mut Client) -> String {
    let began = Instant::now();
    while !client.has_reply() {
        assert!(began.elapsed() < PATIENCE, "what drips earns time");
        client.send(b"x");
    }
    client.reply()
}

#[test]
fn a_slow_client_has_its_deadline() {
    // Row A16.
    let world = World::with(|config| {
        for listener in &mut config.listeners {
            let limits = &mut listener.limits.smtp;
            match listener.protocol {
                Protocol::Submission => limits.idle = Duration::from_millis(300),
                // Idle for as long as a busy machine makes it.
                _ => limits.message = Duration::from_millis(800),
            }
        }
    });
    let greeted = || {
        let mut client = Client::dial(world.address(Protocol::Submission));
        assert!(client.reply().starts_with("220"));
        client
    };
    let mut idle = greeted();
    assert!(idle.reply().starts_with("421 4.4.2"));
    assert_eq!(idle.reply(), "");
    // Octet by octet, without a line's end.
    assert!(drip(&mut greeted()).starts_with("421"));
    // Content that never ends, never idle for long.
    let mut slow = world.smtp();
    slow.expect("MAIL FROM:<>", "250");
    slow.expect("RCPT TO:<anna@example.org>", "250");
    slow.expect("DATA", "354");
    assert!(drip(&mut slow).starts_with("421"));
    wait_until(|| world.counts().blobs == 0);
}

#[test]
fn a_stop_says_421_and_keeps_what_was_accepted() {
    let world = World::new();
    let (mut idle, mut sending, mut asleep) = (world.smtp(), world.smtp(), world.smtp());
    assert!(idle.mail("", &["anna@example.org"], MESSAGE).starts_with("250"));
    sending.expect("MAIL FROM:<>", "250");
    sending.expect("RCPT TO:<ben@example.org>", "250");
    sending.expect("DATA", "354");
    sending.send(large().as_bytes());
    asleep.expect("NOOP", "250");
    let began = Instant::now();
    world.shared.shutdown.begin(PATIENCE);
    for client in [&mut idle, &mut sending, &mut asleep] {
        let reply = client.reply();
        assert!(reply.starts_with("421 4.3.2"), "{reply}");
        assert_eq!(client.reply(), "");
    }
    assert!(began.elapsed() < PATIENCE);
    assert_eq!((world.inbox("anna").len(), world.inbox("ben").len()), (1, 0));
}

#[test]
fn a_stop_does_not_wait_for_pauses() {
    let world = World::with(|config| {
        config.mode = Mode::Local;
        for listener in &mut config.listeners {
            listener.limits.smtp.unknown_recipients_delay = 10 * PATIENCE;
        }
    });
    let mut client = world.smtp();
    client.send(b"MAIL FROM:<mailfromtimeout@client.example>\r\n");
    std::thread::sleep(Duration::from_millis(100));
    let began = Instant::now();
    world.shared.shutdown.begin(PATIENCE);
    assert!(client.reply().starts_with("421"));
    assert!(began.elapsed() < PATIENCE);
}

#[test]
fn garbage_instead_of_a_tls_hello_is_a_failed_handshake_and_no_panic() {
    let world = World::new();
    let refused = |protocol: Protocol| {
        let labels = [protocol as usize, crate::metrics::Refusal::Tls as usize];
        world.shared.registry.counter(world.shared.metrics.connections_refused.at(labels))
    };
    let garbage: [&[u8]; 6] = [
        b"EHLO client.example\r\nMAIL FROM:<a@client.example>\r\n",
        &[0; 300],
        b"\x16\x03\x01\x00\x05hello",
        b"\x16\x03\x01\x00\x10\x01\x00\x00\x0c\x03\x03garbage...",
        b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10",
        b"\x15\x03\x03\x00\x02\x02\x28",
    ];
    for (number, octets) in (1..).zip(garbage) {
        let mut client = Client::dial(world.address(Protocol::Submissions));
        client.send(octets);
        assert!(!client.rest().contains("220"), "{octets:?}");
        wait_until(|| refused(Protocol::Submissions) == number);
        let mut client = world.smtp();
        client.expect("STARTTLS", "220");
        client.send(octets);
        assert!(!client.rest().contains("250"), "{octets:?}");
        wait_until(|| refused(Protocol::Smtp) == number);
    }
    assert_eq!(world.panics(), 0);
    assert!(world.smtp_tls().mail("", &["anna@example.org"], MESSAGE).starts_with("250"));
}

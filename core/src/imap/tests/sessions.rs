//! What a dialog can't show: shards, TLS, the stop of the server, sizes.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::server::{Server, Setup};
use crate::config::TlsMode;
use crate::imap::connection::{Connection, Member};
use crate::imap::reading::FAREWELL;
use crate::testing::{PATIENCE, once};

#[test]
fn a_session_moves_home_with_what_it_has_sent_already() {
    let server = Server::start(&Setup { shards: 2, ..Setup::default() });
    // Some of them are accepted on the other shard.
    for _ in 0..8 {
        let mut peer = server.connect();
        peer.line();
        peer.authenticate("user@localhost", "localserve");
        peer.send(b"a1 SELECT Inbox\r\na2 NOOP\r\na3 LOGOUT\r\n");
        let rest = String::from_utf8(peer.rest()).unwrap();
        assert!(rest.starts_with("login OK [CAPABILITY "), "{rest}");
        assert!(rest.ends_with("a2 OK done\r\n* BYE goodbye\r\na3 OK logged out\r\n"), "{rest}");
    }
}

#[test]
fn input_behind_starttls_is_dropped() {
    // Row B1.
    let server = Server::start(&Setup { tls: TlsMode::Required, ..Setup::default() });
    let mut peer = server.connect();
    assert!(peer.line().ends_with("STARTTLS LOGINDISABLED] Postrider at your service"));
    peer.send(b"a1 STARTTLS\r\na2 CAPABILITY\r\n");
    assert_eq!(peer.line(), "a1 OK begin TLS");
    assert!(peer.is_silent(), "the second command isn't executed");
    peer.send(b"a3 CAPABILITY\r\n");
    let rest = peer.rest();
    assert!(!rest.windows(10).any(|window| window == b"CAPABILITY"), "{rest:?}");
}

#[test]
fn a_stop_is_told_at_once_also_in_idle() {
    let server = Server::start(&Setup::default());
    let (mut waiting, mut idle) = (server.log_in(), server.log_in());
    idle.send(b"a1 IDLE\r\n");
    assert_eq!(idle.line(), "+ waiting");
    let began = Instant::now();
    server.stop(PATIENCE);
    assert_eq!(waiting.line(), "* BYE the server stops");
    assert_eq!(idle.line(), "* BYE the server stops");
    assert!(began.elapsed() < PATIENCE);
}

#[test]
fn idle_guests_are_closed() {
    let change: fn(&mut _) = |listener: &mut crate::config::Listener| {
        listener.limits.imap.unauthenticated_idle = Duration::from_millis(200);
    };
    let server = Server::start(&Setup { change, ..Setup::default() });
    let mut peer = server.connect();
    peer.line();
    // Octets that aren't a command don't earn more time.
    peer.send(b"a1 NO");
    assert_eq!(peer.line(), "* BYE inactive for too long");
    assert_eq!(peer.line(), "EOF");
}

#[test]
fn sessions_are_small() {
    let sizes = (size_of::<Connection>(), size_of::<Member>());
    assert!(sizes.0 <= 640 && sizes.1 <= 512, "{sizes:?}");
}

/// Octets of memory of this process.
pub(super) fn resident() -> u64 {
    let pages: u64 =
        std::fs::read_to_string("/proc/self/statm").unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// Ends something when it is dropped, also by a panic.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn pipelined_commands_are_answered_in_order_and_hold_up_nobody() {
    const COMMANDS: u32 = 20_000;
    let server = Server::start(&Setup::default());
    let (mut busy, mut other) = (server.log_in(), server.log_in());
    let mut sending = busy.writer();
    // There is no end to what the busy one sends before the other one was answered again and again.
    let is_answered = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let answered = Ends(&is_answered);
        let sender = scope.spawn(|| {
            let mut number = 0;
            while number < COMMANDS || !is_answered.load(Ordering::Relaxed) {
                sending.write_all(format!("a{number} NOOP\r\n").as_bytes()).unwrap();
                number += 1;
            }
            sending.write_all(format!("a{number} CHECK\r\n").as_bytes()).unwrap();
            number
        });
        let reader = scope.spawn(|| {
            let mut number = 0;
            loop {
                let line = busy.line();
                if line != format!("a{number} OK done") {
                    return (number, line);
                }
                number += 1;
            }
        });
        for _ in 0..20 {
            other.send(b"b NOOP\r\n");
            assert_eq!(other.line(), "b OK done");
        }
        drop(answered);
        let sent = sender.join().unwrap();
        assert_eq!(reader.join().unwrap(), (sent, format!("a{sent} NO not allowed in this state")));
    });
}

/// Reads the last lines of a connection, with how long they took.
fn last_lines(peer: &mut super::server::Peer, began: Instant) -> (String, Duration) {
    let rest = String::from_utf8(peer.rest()).unwrap();
    (rest, began.elapsed())
}

#[test]
fn a_stop_lets_an_append_finish() {
    assert!(once(|number| an_append_finishes(Duration::from_secs(3) * 4_u32.pow(number as u32))));
}

/// False when the machine was too busy for the time in which the server is to stop.
fn an_append_finishes(stop: Duration) -> bool {
    let server = Server::start(&Setup::default());
    let (mut asked, mut streaming, mut silent) = (server.log_in(), server.log_in(), server.log_in());
    for peer in [&mut asked, &mut silent] {
        peer.send(b"a1 APPEND Inbox {10}\r\n");
        assert_eq!(peer.line(), "+ send it");
    }
    streaming.send(b"a1 APPEND Inbox {200000+}\r\n");
    streaming.send(&[b'x'; 100_000]);
    // The idle one shows when the stop has begun.
    let mut idle = server.log_in();
    let began = Instant::now();
    server.stop(stop);
    assert_eq!(idle.line(), "* BYE the server stops");
    asked.send(b"Subject: x\r\na2 NOOP\r\n");
    streaming.send(&[b'y'; 100_000]);
    streaming.send(b"\r\n");
    let finished = [&mut asked, &mut streaming].map(|peer| last_lines(peer, began));
    if finished.iter().any(|(_, time)| *time >= stop - FAREWELL) {
        return false;
    }
    for (rest, _) in finished {
        let mut lines = rest.lines();
        assert!(lines.next().unwrap().starts_with("a1 OK [APPENDUID "), "{rest}");
        assert_eq!((lines.next(), lines.next()), (Some("* BYE the server stops"), None));
    }
    // Who doesn't finish is told before the time is over.
    let (rest, time) = last_lines(&mut silent, began);
    assert_eq!(rest, "* BYE the server stops\r\n");
    assert!(time >= stop - FAREWELL, "{time:?}");
    assert_eq!(server.messages(), 2);
    time < stop
}

#[test]
fn a_burst_of_large_messages_is_seen_whole_by_an_idle_session() {
    // Row E10.
    const EACH: usize = 4;
    let server = Server::start(&Setup::default());
    let mut idle = server.log_in();
    idle.send(b"a1 SELECT Inbox\r\n");
    while !idle.line().starts_with("a1 OK") {}
    idle.send(b"a2 IDLE\r\n");
    assert_eq!(idle.line(), "+ waiting");
    let text = format!("Subject: large\r\n\r\n{}", "0123456789abcdef\r\n".repeat(60_000));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let (server, text) = (&server, &text);
            scope.spawn(move || {
                let mut peer = server.log_in();
                for _ in 0..EACH {
                    peer.send(format!("b APPEND Inbox {{{}+}}\r\n", text.len()).as_bytes());
                    peer.send(text.as_bytes());
                    peer.send(b"\r\n");
                    assert!(peer.line().starts_with("b OK [APPENDUID "));
                }
            });
        }
    });
    while idle.line() != "* 12 EXISTS" {}
    idle.send(b"DONE\r\n");
    while !idle.line().starts_with("a2 OK") {}
    idle.send(b"a3 STATUS Inbox (MESSAGES UNSEEN SIZE UIDNEXT)\r\n");
    let wanted = format!("* STATUS INBOX (MESSAGES 12 UIDNEXT 13 UNSEEN 12 SIZE {})", 12 * text.len());
    let line = idle.line();
    let sorted = |line: &str| {
        let mut words: Vec<String> = line.to_uppercase().split([' ', '(', ')']).map(str::to_owned).collect();
        words.sort();
        words
    };
    assert_eq!(sorted(&line), sorted(&wanted), "{line}");
    assert_eq!(server.messages(), 12);
}

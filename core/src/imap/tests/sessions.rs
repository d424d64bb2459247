//! What a dialog can't show: shards, TLS, the stop of the server, sizes.

use std::time::{Duration, Instant};

use super::server::{Server, Setup};
use crate::config::TlsMode;
use crate::imap::connection::{Connection, Member};

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
    server.stop();
    assert_eq!(waiting.line(), "* BYE the server stops");
    assert_eq!(idle.line(), "* BYE the server stops");
    assert!(began.elapsed() < Duration::from_secs(1));
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

#[test]
#[ignore = "measures the process, so it has to run alone"]
fn idle_sessions_take_little_memory() {
    const SESSIONS: u64 = 400;
    let server = Server::start(&Setup::default());
    let select = || {
        let mut peer = server.log_in();
        peer.send(b"a1 SELECT Inbox\r\na2 IDLE\r\n");
        while peer.line() != "+ waiting" {}
        peer
    };
    let mut peers: Vec<_> = (0..100).map(|_| select()).collect();
    let before = resident();
    peers.extend((0..SESSIONS).map(|_| select()));
    let each = (resident() - before) / SESSIONS;
    println!("{each} octets for an idle session, the test's client with it");
    assert!(each < 10 * 1024, "{each}");
}

#[test]
#[ignore = "takes minutes: looks for a wake-up that gets lost"]
fn a_million_commands_are_answered() {
    let server = Server::start(&Setup::default());
    let mut peer = server.log_in();
    for number in 0..1_000_000 {
        peer.send(b"a1 NOOP\r\n");
        assert_eq!(peer.line(), "a1 OK done", "{number}");
    }
}

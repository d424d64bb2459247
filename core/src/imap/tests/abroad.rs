//! MOVE to another account, while others move the same messages.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::probe::Probe;
use super::server::{Peer, Server, Setup};

const MESSAGES: usize = 5;

/// Up to the tagged response; all lines.
fn run(peer: &mut Peer, command: &str) -> Vec<String> {
    peer.send(format!("x {command}\r\n").as_bytes());
    rest(peer)
}

fn rest(peer: &mut Peer) -> Vec<String> {
    let mut lines = vec![peer.line()];
    while !lines.last().unwrap().starts_with("x ") {
        lines.push(peer.line());
    }
    assert!(lines.last().unwrap().starts_with("x OK"), "{lines:?}");
    lines
}

/// Messages of bob, who may move them to `Archive` of the user, with two clients, and a store that is slow.
fn start(shards: usize) -> (Server, Vec<Peer>) {
    let engine = Arc::new(Probe::default());
    let server = Server::start(&Setup { engine: Arc::clone(&engine), shards, ..Setup::default() });
    server.add_account("bob");
    run(&mut server.log_in(), "SETACL Archive bob lrswipkxtea");
    let mut bob = server.log_in_as("bob");
    for _ in 0..MESSAGES {
        run(&mut bob, "APPEND Inbox {1+}\r\nx");
    }
    let peers = (0..2).map(|_| {
        let mut peer = server.log_in_as("bob");
        run(&mut peer, "SELECT Inbox");
        peer
    });
    let peers = peers.collect();
    // Each sees the other's work long before that is acknowledged.
    engine.sync_micros.store(30_000, Ordering::Relaxed);
    (server, peers)
}

/// How many a STATUS counts.
fn count(server: &Server, user: &str, mailbox: &str) -> usize {
    let lines = run(&mut server.log_in_as(user), &format!("STATUS {mailbox} (MESSAGES)"));
    lines[0].split("MESSAGES ").nth(1).unwrap().trim_end_matches(')').parse().unwrap()
}

/// How many a MOVE says that it moved.
fn moved(lines: &[String]) -> usize {
    let uids = lines.iter().filter_map(|line| line.strip_prefix("* OK [COPYUID ")?.split(' ').nth(1));
    uids.flat_map(|uids| uids.split(','))
        .map(|part| {
            let (from, to) = part.split_once(':').unwrap_or((part, part));
            to.parse::<usize>().unwrap() + 1 - from.parse::<usize>().unwrap()
        })
        .sum()
}

#[test]
fn a_message_that_two_move_at_once_is_moved_once() {
    for shards in [1, 2] {
        let (server, mut peers) = start(shards);
        for peer in &mut peers {
            peer.send(b"x MOVE 1:* \"Other Users/user/Archive\"\r\n");
        }
        let said: Vec<_> = peers.iter_mut().map(rest).collect();
        assert_eq!(said.iter().map(|lines| moved(lines)).sum::<usize>(), MESSAGES, "{said:?}");
        assert_eq!((count(&server, "bob", "Inbox"), count(&server, "user", "Archive")), (0, MESSAGES));
        server.messages();
    }
}

#[test]
fn a_copy_that_somebody_takes_before_the_move_is_done_is_the_only_one() {
    for shards in [1, 2] {
        let (server, mut peers) = start(shards);
        let mut owner = server.log_in();
        run(&mut owner, "SELECT Archive");
        peers[0].send(b"x MOVE 1:* \"Other Users/user/Archive\"\r\n");
        std::thread::sleep(Duration::from_millis(5));
        // Two that would make the removal fail, while the owner of the other account moves the copies on.
        peers[1].send(b"x UID MOVE 2,4 Trash\r\n");
        let mut inbox = server.log_in_as("bob");
        inbox.send(b"x RENAME Inbox Old\r\n");
        for _ in 0..8 {
            run(&mut owner, "UID MOVE 1:* Trash");
        }
        peers.iter_mut().for_each(|peer| drop(rest(peer)));
        rest(&mut inbox);
        run(&mut owner, "UID MOVE 1:* Trash");
        let there = count(&server, "user", "Archive") + count(&server, "user", "Trash");
        let here = ["Inbox", "Trash", "Old"].map(|mailbox| count(&server, "bob", mailbox));
        assert_eq!(there + here.iter().sum::<usize>(), MESSAGES, "{there} there, {here:?} here");
        server.messages();
    }
}

/// A client is told how far MOVE and FETCH are, where they take long (RFC 9585).
#[test]
fn clients_are_told_how_far_move_and_fetch_are() {
    let engine = Arc::new(Probe::default());
    let listener = "[listener.limits.imap]\nprogress_time = \"1ms\"";
    let server = Server::start(&Setup { engine: Arc::clone(&engine), listener, ..Setup::default() });
    server.add_account("bob");
    run(&mut server.log_in(), "SETACL Archive bob lrswipkxtea");
    let mut bob = server.log_in_as("bob");
    for _ in 0..3 {
        run(&mut bob, &format!("APPEND Inbox{}", " {1+}\r\nx".repeat(100)));
    }
    run(&mut bob, "SELECT Inbox");
    engine.sync_micros.store(5_000, Ordering::Relaxed);
    let told = |lines: &[String]| {
        let told = lines.iter().filter_map(|line| line.strip_prefix("* OK [INPROGRESS (\"x\" "));
        told.map(|rest| rest.split(')').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let lines = run(&mut bob, "FETCH 1:* BODY[]");
    assert_eq!(told(&lines), ["256 300"], "{lines:?}");
    let rows = lines.iter().filter(|line| line.contains(" FETCH (")).count();
    assert_eq!(rows, 300);
    let lines = run(&mut bob, "MOVE 1:100 \"Other Users/user/Archive\"");
    assert_eq!(told(&lines), ["64 100"], "{lines:?}");
    assert_eq!(moved(&lines), 100);
    let lines = run(&mut bob, "COPY 1:100 \"Other Users/user/Archive\"");
    assert_eq!(told(&lines), ["64 100"], "{lines:?}");
    server.messages();
}

#[test]
fn a_message_that_is_moved_within_its_account_meanwhile_is_not_in_the_other_account() {
    for shards in [1, 2] {
        let (server, mut peers) = start(shards);
        peers[0].send(b"x MOVE 1:* \"Other Users/user/Archive\"\r\n");
        // Half of the sync of the copies; on a machine that is busy any other moment.
        std::thread::sleep(Duration::from_millis(15));
        peers[1].send(b"x UID MOVE 2,4 Trash\r\n");
        let said: Vec<_> = peers.iter_mut().map(rest).collect();
        let (there, here) = (count(&server, "user", "Archive"), count(&server, "bob", "Trash"));
        assert_eq!((moved(&said[0]), moved(&said[1])), (there, here), "{said:?}");
        assert_eq!((count(&server, "bob", "Inbox"), there + here), (0, MESSAGES), "{said:?}");
        server.messages();
    }
}

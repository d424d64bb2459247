//! Commits and reads that fail under sessions: nothing is acknowledged that isn't there, and nothing stays
//! untold.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use postrider_storage::engine::memory::{Crash, Fault};
use postrider_storage::store::Store;
use postrider_storage::verify;

use super::probe::Probe;
use super::server::{Peer, Server, Setup};
use crate::testing::PATIENCE;

/// Far more commits than a test makes: takes an order back.
const NEVER: u64 = 1 << 40;
const BYE: &str = "* BYE [UNAVAILABLE] the account was closed, log in again";

fn start() -> (Arc<Probe>, Server) {
    let engine = Arc::new(Probe::default());
    let server = Server::start(&Setup { engine: Arc::clone(&engine), ..Setup::default() });
    (engine, server)
}

/// Sends a command and reads up to its tagged response, or to the end.
fn run(peer: &mut Peer, command: &str) -> Vec<String> {
    peer.send(format!("a {command}\r\n").as_bytes());
    let mut lines = Vec::new();
    loop {
        let line = peer.line();
        assert!(!line.starts_with("NOTHING"), "{command}: {lines:?} {line}");
        let ends = line.starts_with("a ") || line == "EOF";
        lines.push(line);
        if ends {
            return lines;
        }
    }
}

fn last(lines: &[String]) -> &str {
    lines.last().unwrap()
}

fn done(peer: &mut Peer, command: &str) -> Vec<String> {
    let lines = run(peer, command);
    assert!(last(&lines).starts_with("a OK"), "{command}: {lines:?}");
    lines
}

fn append(text: &str) -> String {
    format!("APPEND Inbox {{{}+}}\r\n{text}", text.len())
}

fn exists(peer: &mut Peer) -> u64 {
    let lines = done(peer, "SELECT Inbox");
    let line = lines.iter().find_map(|line| line.strip_suffix(" EXISTS")).unwrap();
    line.trim_start_matches("* ").parse().unwrap()
}

/// What a restart finds after losing what was not synced.
fn messages_after_restart(engine: &Arc<Probe>) -> u64 {
    engine.memory.crash(Crash::LoseUnsynced);
    let store = Store::open(Arc::clone(engine) as _).unwrap();
    let report = verify::verify(store.reader(), None, &mut |_| {}).unwrap();
    assert!(report.is_clean(), "{:?}", report.violations);
    report.counts.messages
}

#[test]
fn an_append_whose_commit_fails_is_not_acknowledged() {
    let large = format!("Subject: large\r\n\r\n{}", "0123456789abcdef\r\n".repeat(20_000));
    for fault in [Fault::Full, Fault::Write, Fault::Sync] {
        // The large one has five chunks before its last commit.
        for (text, commits) in [("Subject: small\r\n\r\nbody", 1), (&large, 6)] {
            for nth in 1..=commits {
                append_with_fault(fault, text, nth);
            }
        }
    }
}

fn append_with_fault(fault: Fault, text: &str, nth: u64) {
    let at = format!("{fault:?}, {} octets, commit {nth}", text.len());
    let (engine, server) = start();
    let mut peer = server.log_in();
    done(&mut peer, &append("first"));
    assert_eq!(exists(&mut peer), 1);
    engine.memory.fail_commit(nth, fault);
    let lines = run(&mut peer, &append(text));
    let wanted = if fault == Fault::Full { "a NO [OVERQUOTA] " } else { "a NO [UNAVAILABLE] " };
    assert!(last(&lines).starts_with(wanted), "{at}: {lines:?}");
    assert_eq!(lines.len(), 1, "{at}: nothing is told of it: {lines:?}");
    // Nothing can be stored now: the first to try takes the account along.
    let lines = run(&mut peer, &append("second"));
    assert!(!lines.iter().any(|line| line.starts_with("a OK")), "{at}: {lines:?}");
    assert_eq!(server.messages(), 1, "{at}");
    // Whoever logs in now can read.
    let mut peer = server.log_in();
    assert_eq!(exists(&mut peer), 1, "{at}");
    assert!(done(&mut peer, "FETCH 1 BODY.PEEK[]").concat().contains("first"), "{at}");
    engine.memory.fail_commit(NEVER, fault);
    match server.shared.committer.reopen() {
        Ok(_) => {
            assert_eq!(fault, Fault::Full);
            let mut peer = server.log_in();
            done(&mut peer, &append(text));
            assert_eq!(exists(&mut peer), 2, "{at}");
        }
        Err(_) => assert_ne!(fault, Fault::Full, "{at}"),
    }
    drop(server);
    let found = messages_after_restart(&engine);
    assert_eq!(found, if fault == Fault::Full { 2 } else { 1 }, "{at}");
}

/// A session that works, one that idles and one that waits; two messages, one of them deleted.
fn sessions() -> (Arc<Probe>, Server, [Peer; 3]) {
    let (engine, server) = start();
    let mut peers = [server.log_in(), server.log_in(), server.log_in()];
    done(&mut peers[0], "CREATE Spare");
    done(&mut peers[0], &append("first"));
    done(&mut peers[0], &append("second"));
    for peer in &mut peers {
        done(peer, "SELECT Inbox");
    }
    done(&mut peers[0], "STORE 2 +FLAGS.SILENT (\\Deleted)");
    peers[1].send(b"i IDLE\r\n");
    while peers[1].line() != "+ waiting" {}
    // The flag may come before or after.
    done(&mut peers[2], "NOOP");
    (engine, server, peers)
}

#[test]
fn a_commit_that_fails_ends_the_sessions_of_its_account_and_the_next_login_works() {
    for command in [
        "STORE 1 +FLAGS (\\Flagged)",
        "STORE 1 +FLAGS.SILENT (new)",
        "COPY 1 Spare",
        "MOVE 1 Spare",
        "EXPUNGE",
        "UID EXPUNGE 2",
        "CLOSE",
        "CREATE Other",
        "DELETE Spare",
        "RENAME Spare Other",
        "SUBSCRIBE Other",
        "FETCH 1 BODY[]",
        "APPEND Spare {5+}\r\nthird",
    ] {
        let (engine, server, [mut busy, mut idle, mut waiting]) = sessions();
        engine.memory.fail_commit(1, Fault::Full);
        let lines = run(&mut busy, command);
        assert!(last(&lines).starts_with("a NO [OVERQUOTA] "), "{command}: {lines:?}");
        assert_eq!([busy.line(), busy.line()], [BYE, "EOF"], "{command}");
        let began = Instant::now();
        let mut line = idle.line();
        if line.contains("\\Deleted") {
            line = idle.line();
        }
        assert_eq!([&line, &*idle.line()], [BYE, "EOF"], "{command}");
        assert!(began.elapsed() < PATIENCE, "{command}");
        waiting.send(b"a NOOP\r\n");
        assert_eq!([waiting.line(), waiting.line()], [BYE, "EOF"], "{command}");
        server.shared.committer.reopen().unwrap();
        let mut peer = server.log_in();
        assert_eq!(exists(&mut peer), 2, "{command}");
        let told = done(&mut peer, "FETCH 1:2 FLAGS").concat();
        assert!(told.contains("UID 1 FLAGS ()") && told.contains("UID 2 FLAGS (\\Deleted)"), "{told}");
        let listed = done(&mut peer, "LIST \"\" *").concat();
        assert!(listed.contains("Spare") && !listed.contains("Other"), "{listed}");
        assert!(!done(&mut peer, "LIST (SUBSCRIBED) \"\" *").concat().contains("Other"));
        done(&mut peer, "STORE 1 +FLAGS (\\Flagged)");
        server.messages();
    }
}

#[test]
fn a_reopened_store_ends_the_sessions_of_before_with_their_next_change() {
    let (_engine, server, [mut busy, mut idle, _waiting]) = sessions();
    // As after a full disk that another account met.
    server.shared.committer.engine().reopen().unwrap();
    let lines = run(&mut busy, "STORE 1 +FLAGS (\\Flagged)");
    assert_eq!(last(&lines), "a NO [UNAVAILABLE] the account was reopened, log in again");
    assert_eq!([busy.line(), busy.line()], [BYE, "EOF"]);
    while idle.line() != BYE {}
    assert_eq!(idle.line(), "EOF");
    let mut peer = server.log_in();
    assert_eq!(exists(&mut peer), 2);
    done(&mut peer, "STORE 1 +FLAGS (\\Flagged)");
}

/// The uids whose rows say `\Seen`.
fn seen(lines: &[String]) -> BTreeSet<String> {
    let rows = lines.iter().filter(|line| line.contains(" FETCH (") && line.contains("\\Seen"));
    rows.map(|line| line.split("UID ").nth(1).unwrap().split([' ', ')']).next().unwrap().to_owned()).collect()
}

#[test]
fn what_a_fetch_marked_as_seen_is_told_also_when_it_fails() {
    let mut failed = 0;
    for nth in 1.. {
        let (engine, server) = start();
        let (mut peer, mut other) = (server.log_in(), server.log_in());
        for text in ["first", "second", "third"] {
            done(&mut other, &append(text));
        }
        done(&mut peer, "SELECT Inbox");
        engine.fail_read(nth);
        let mut lines = run(&mut peer, "FETCH 1:3 BODY[]");
        let left = engine.fail_read(0);
        let answer = last(&lines).to_owned();
        if answer != "EOF" {
            lines.extend(done(&mut peer, "NOOP"));
            done(&mut other, "SELECT Inbox");
            let stored = seen(&done(&mut other, "FETCH 1:3 FLAGS"));
            assert_eq!(seen(&lines), stored, "read {nth}: {lines:?}");
            assert!(answer.starts_with("a NO") || stored.len() == 3, "read {nth}: {answer}");
        }
        failed += u32::from(answer.starts_with("a NO"));
        server.messages();
        if left > 0 {
            break;
        }
    }
    assert!(failed > 5, "{failed}");
}

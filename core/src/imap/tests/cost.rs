//! What is read must not grow with the mailbox: counted, not measured.

use std::sync::Arc;

use super::probe::Probe;
use super::server::{Peer, Server, Setup};

fn run(peer: &mut Peer, command: &str) -> Vec<String> {
    peer.send(format!("a {command}\r\n").as_bytes());
    let mut lines = vec![peer.line()];
    while !lines.last().unwrap().starts_with("a ") {
        lines.push(peer.line());
        assert!(!lines.last().unwrap().starts_with("NOTHING"), "{command}");
    }
    assert!(lines.last().unwrap().starts_with("a OK"), "{command}: {lines:?}");
    lines
}

/// Fills the inbox up to `count` messages, all but the last 10 of them seen.
fn fill(peer: &mut Peer, count: u32) {
    run(peer, "APPEND Inbox {3+}\r\none");
    let mut messages = 1;
    while messages < count {
        run(peer, "SELECT Inbox");
        run(peer, &format!("COPY 1:{} Archive", messages.min(count - messages)));
        run(peer, "SELECT Archive");
        run(peer, "MOVE 1:* Inbox");
        messages += messages.min(count - messages);
    }
    run(peer, "SELECT Inbox");
    run(peer, &format!("STORE 1:{} +FLAGS.SILENT (\\Seen)", count - 10));
}

/// Rows read by SELECT, STATUS, QRESYNC with 20 changes, and a wake-up of IDLE.
fn costs(count: u32) -> [u64; 4] {
    let engine = Arc::new(Probe::default());
    let server = Server::start(&Setup { engine: Arc::clone(&engine), ..Setup::default() });
    let (mut peer, mut idle) = (server.log_in(), server.log_in());
    fill(&mut peer, count);
    run(&mut peer, "ENABLE QRESYNC");
    let lines = run(&mut peer, "SELECT Inbox");
    let unseen = format!("* OK [UNSEEN {}] first unseen message", count - 9);
    assert!(lines.contains(&unseen), "{lines:?}");
    let number = |name: &str| {
        let line = lines.iter().find(|line| line.contains(name)).unwrap();
        line.split(name).nth(1).unwrap().split(']').next().unwrap().trim().to_owned()
    };
    let (validity, modseq) = (number("[UIDVALIDITY"), number("[HIGHESTMODSEQ"));
    run(&mut idle, "SELECT Inbox");
    idle.send(b"i IDLE\r\n");
    assert_eq!(idle.line(), "+ waiting");
    let counted = |work: &mut dyn FnMut()| {
        let before = engine.rows();
        work();
        engine.rows() - before
    };
    let select = counted(&mut || assert!(run(&mut peer, "SELECT Inbox").contains(&unseen)));
    let status = counted(&mut || drop(run(&mut peer, "STATUS Archive (MESSAGES UNSEEN UIDNEXT SIZE)")));
    run(&mut peer, "SELECT Inbox");
    // The store's own reads are counted, too: they are those of 20 messages.
    let told = counted(&mut || {
        run(&mut peer, "STORE 1:20 +FLAGS.SILENT (\\Flagged)");
        (0..20).for_each(|_| assert!(idle.line().ends_with("(\\Flagged \\Seen))")));
    });
    let again = format!("SELECT Inbox (QRESYNC ({validity} {modseq}))");
    let resync = counted(&mut || assert!(run(&mut peer, &again).len() >= 20));
    // What was seen isn't any more: the place that is remembered goes back.
    run(&mut peer, "STORE 5 -FLAGS.SILENT (\\Seen)");
    let unseen = "* OK [UNSEEN 5] first unseen message".to_owned();
    assert!(run(&mut peer, "SELECT Inbox").contains(&unseen));
    [select, status, told, resync]
}

#[test]
fn what_is_read_does_not_grow_with_the_mailbox() {
    let (small, large) = (costs(1500), costs(50_000));
    println!("{small:?} {large:?}");
    for (small, large) in small.into_iter().zip(large) {
        assert!(large <= small + 4, "{small} rows became {large}");
    }
}

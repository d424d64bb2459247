//! NOTIFY when more happens than the log remembers (RFC 5465 §5.8).

use super::server::{Peer, Server, Setup};

const MESSAGES: usize = 400;
/// So many changes of all messages are more than the log keeps.
const CHANGES: usize = crate::accounts::CHANGES_MAX / MESSAGES + 2;

fn run(peer: &mut Peer, command: &str) {
    peer.send(format!("x {command}\r\n").as_bytes());
    loop {
        let line = peer.line();
        if let Some(answer) = line.strip_prefix("x ") {
            assert!(answer.starts_with("OK"), "{command}: {answer}");
            return;
        }
        assert!(line.starts_with("* "), "{command}: {line}");
    }
}

/// Changes more in a mailbox than the log remembers.
fn change_much(peer: &mut Peer) {
    for number in 0..CHANGES {
        let sign = if number % 2 == 0 { '+' } else { '-' };
        run(peer, &format!("STORE 1:{MESSAGES} {sign}FLAGS.SILENT (\\Flagged)"));
    }
}

fn fill(peer: &mut Peer, mailbox: &str) {
    for _ in 0..MESSAGES {
        run(peer, &format!("APPEND {mailbox} {{1+}}\r\nx"));
    }
    run(peer, &format!("SELECT {mailbox}"));
}

#[test]
fn a_session_that_misses_too_much_is_told_so_and_then_nothing() {
    let server = Server::start(&Setup::default());
    let (mut slow, mut busy) = (server.log_in(), server.log_in());
    fill(&mut busy, "Sent");
    run(&mut slow, "NOTIFY SET (personal (MessageNew MessageExpunge FlagChange))");
    // While it waits for a message, nothing is told.
    slow.send(b"a1 APPEND Inbox {1}\r\n");
    assert_eq!(slow.line(), "+ send it");
    change_much(&mut busy);
    slow.send(b"x\r\n");
    assert_eq!(slow.line(), "a1 OK [APPENDUID 1000 1] appended");
    assert!(slow.line().starts_with("* OK [NOTIFICATIONOVERFLOW] "));
    run(&mut busy, "APPEND Sent {1+}\r\nx");
    assert!(slow.is_silent());
    // It can ask again.
    run(&mut slow, "NOTIFY SET (personal (MessageNew MessageExpunge))");
    run(&mut busy, "APPEND Sent {1+}\r\nx");
    let messages = MESSAGES + 2;
    assert_eq!(slow.line(), format!("* STATUS Sent (MESSAGES {messages} UIDNEXT {})", messages + 1));
}

#[test]
fn a_session_that_misses_too_much_of_other_users_is_told_so_and_then_nothing() {
    for shards in [1, 2] {
        let server = Server::start(&Setup { shards, ..Setup::default() });
        server.add_account("bob");
        let (mut slow, mut busy) = (server.log_in_as("bob"), server.log_in());
        run(&mut busy, "SETACL Sent bob lr");
        fill(&mut busy, "Sent");
        run(
            &mut slow,
            "NOTIFY SET (mailboxes \"Other Users/user/Sent\" (MessageNew MessageExpunge FlagChange))",
        );
        slow.send(b"a1 APPEND Inbox {1}\r\n");
        assert_eq!(slow.line(), "+ send it");
        // As much as waits for the session and is held by the task, and then more than the log remembers.
        for _ in 0..8 {
            change_much(&mut busy);
        }
        slow.send(b"x\r\n");
        assert!(slow.line().starts_with("a1 OK [APPENDUID "));
        let mut line = slow.line();
        while line.starts_with("* STATUS \"Other Users/user/Sent\" (UIDVALIDITY ") {
            line = slow.line();
        }
        assert!(line.starts_with("* OK [NOTIFICATIONOVERFLOW] "), "{line}");
        run(&mut busy, "APPEND Sent {1+}\r\nx");
        assert!(slow.is_silent());
        run(&mut slow, "NOTIFY SET (mailboxes \"Other Users/user/Sent\" (MessageNew MessageExpunge))");
        run(&mut busy, "APPEND Sent {1+}\r\nx");
        let (messages, next) = (MESSAGES + 2, MESSAGES + 3);
        let told = format!("* STATUS \"Other Users/user/Sent\" (MESSAGES {messages} UIDNEXT {next})");
        assert_eq!(slow.line(), told);
    }
}

#[test]
fn mailboxes_of_so_many_users_and_no_more_are_told_of() {
    let server = Server::start(&Setup { shards: 2, ..Setup::default() });
    let names: Vec<String> = (0..33).map(|number| format!("user{number}")).collect();
    for name in &names {
        server.add_account(name);
        run(&mut server.log_in_as(name), "SETACL Inbox user lr");
    }
    let mut peer = server.log_in();
    let set = |count: usize| {
        let inboxes = names[..count].iter().map(|name| format!("\"Other Users/{name}/Inbox\""));
        let inboxes = inboxes.collect::<Vec<_>>().join(" ");
        format!("NOTIFY SET (mailboxes ({inboxes}) (MessageNew MessageExpunge))")
    };
    peer.send(format!("a {}\r\n", set(33)).as_bytes());
    assert_eq!(peer.line(), "a NO [LIMIT] too many users, name some mailboxes of theirs");
    peer.send(b"a NOTIFY SET (subtree \"Other Users\" (MessageNew MessageExpunge))\r\n");
    assert_eq!(peer.line(), "a NO [LIMIT] too many users, name some mailboxes of theirs");
    run(&mut peer, &set(32));
    run(&mut server.log_in_as("user31"), "APPEND Inbox {1+}\r\nx");
    assert_eq!(peer.line(), "* STATUS \"Other Users/user31/Inbox\" (MESSAGES 1 UIDNEXT 2)");
}

#[test]
fn the_selected_mailbox_is_told_whole_whatever_the_log_has_forgotten() {
    let server = Server::start(&Setup::default());
    let (mut slow, mut busy) = (server.log_in(), server.log_in());
    fill(&mut busy, "Inbox");
    run(&mut slow, "SELECT Inbox");
    run(&mut slow, "NOTIFY SET (selected (MessageNew (UID FLAGS) MessageExpunge FlagChange))");
    slow.send(b"a1 APPEND Sent {1}\r\n");
    assert_eq!(slow.line(), "+ send it");
    change_much(&mut busy);
    run(&mut busy, "APPEND Inbox {1+}\r\nx");
    slow.send(b"x\r\n");
    for _ in 0..MESSAGES {
        let line = slow.line();
        assert!(line.contains(" FETCH (UID "), "{line}");
    }
    let all = MESSAGES + 1;
    assert_eq!(slow.line(), format!("* {all} EXISTS"));
    assert_eq!(slow.line(), format!("* {all} FETCH (UID {all} FLAGS ())"));
    assert_eq!(slow.line(), "a1 OK [APPENDUID 1001 1] appended");
    assert!(slow.is_silent());
}

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

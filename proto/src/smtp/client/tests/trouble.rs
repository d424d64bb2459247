//! Servers that break off, close early, lie, or answer what nobody asked.

use super::*;

const HELLO: &str = "S: 220 x\nC: EHLO us.example\nS: 250-x\nS: 250 PIPELINING\n";
const ENVELOPE: &str =
    "C: MAIL FROM:<a@us.example>\nC: RCPT TO:<b@them.example>\nC: RCPT TO:<c@them.example>\nC: DATA\n";

/// The outcomes of a message to two recipients, whether it is uncertain, and the end.
fn two(script: &str) -> (Vec<String>, bool, End) {
    let script = format!("{HELLO}{ENVELOPE}{script}");
    let mut ended = run(&settings(), &script, &[(envelope(&["b", "c"]), b"x")]);
    assert_eq!(ended.finished.len(), 1);
    let finished = ended.finished.remove(0);
    (outcomes(&finished), finished.uncertain, ended.end)
}

fn fault(stage: Stage, fault: PeerFault) -> End {
    End::Failed(Failure::Broken { stage, reason: Broken::Fault(fault) })
}

#[test]
fn what_was_said_before_a_connection_broke_counts() {
    for (script, expected, uncertain) in [
        ("EOF", ["broken at Mail: Closed", "broken at Mail: Closed"], false),
        // The reply to MAIL is kept.
        (
            "S: 550 5.7.1 blocked\nEOF",
            ["refused at Mail: 550 5.7.1 blocked", "refused at Mail: 550 5.7.1 blocked"],
            false,
        ),
        (
            "S: 451 4.7.1 gray\nLATE",
            ["deferred at Mail: 451 4.7.1 gray", "deferred at Mail: 451 4.7.1 gray"],
            false,
        ),
        // The last refusal of a recipient counts for those behind it, when nobody was accepted.
        (
            "S: 250 ok\nS: 550 5.7.1 blocked\nEOF",
            ["refused at Recipient: 550 5.7.1 blocked", "refused at Recipient: 550 5.7.1 blocked"],
            false,
        ),
        (
            "S: 250 ok\nS: 250 ok\nS: 550 5.1.1 who\nEOF",
            ["broken at Data: Closed, 550 5.1.1 who", "refused at Recipient: 550 5.1.1 who"],
            false,
        ),
        (
            "S: 250 ok\nS: 250 ok\nS: 250 ok\nLATE",
            ["broken at Data: TimedOut", "broken at Data: TimedOut"],
            false,
        ),
        // Only from the end of the content on they may have it.
        (
            "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: x\nC: .\nEOF",
            ["broken at Content: Closed", "broken at Content: Closed"],
            true,
        ),
        (
            "S: 250 ok\nS: 250 ok\nS: 550 5.1.1 who\nS: 354 go\nC: x\nC: .\nLATE",
            ["broken at Content: TimedOut, 550 5.1.1 who", "refused at Recipient: 550 5.1.1 who"],
            true,
        ),
    ] {
        let (outcomes, is_uncertain, end) = two(script);
        assert_eq!((outcomes, is_uncertain), (expected.map(str::to_owned).to_vec(), uncertain), "{script}");
        assert!(matches!(end, End::Failed(Failure::Broken { .. })), "{script}");
    }
}

#[test]
fn after_421_nothing_more_is_said_and_what_has_no_reply_is_tried_again() {
    for (script, expected) in [
        ("S: 421 bye", ["deferred at Mail: 421 bye", "deferred at Mail: 421 bye"]),
        (
            "S: 250 ok\nS: 550 who\nS: 421 bye",
            ["refused at Recipient: 550 who", "deferred at Recipient: 421 bye"],
        ),
        (
            "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 421 bye",
            ["deferred at Data: 421 bye", "deferred at Data: 421 bye"],
        ),
        (
            "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: x\nC: .\nS: 421 bye",
            ["deferred at Content: 421 bye", "deferred at Content: 421 bye"],
        ),
    ] {
        let (outcomes, uncertain, end) = two(script);
        assert_eq!((outcomes, uncertain), (expected.map(str::to_owned).to_vec(), false), "{script}");
        assert!(matches!(end, End::Failed(Failure::Refused { .. })), "{script}");
    }
}

/// A server that closes says so at any time, and nothing is said to it any more.
#[test]
fn after_421_before_the_first_message_nothing_more_is_said() {
    let required = Settings { starttls: StartTls::Required, ..settings() };
    let starttls = "S: 220 x\nC: EHLO us.example\nS: 250-x\nS: 250 STARTTLS\nC: STARTTLS\n";
    for (script, stage) in [
        ("S: 421 4.3.2 bye".to_owned(), Stage::Greeting),
        ("S: 220 x\nC: EHLO us.example\nS: 421-4.3.2 a\nS: 421 4.3.2 bye".to_owned(), Stage::Hello),
        ("S: 220 x\nC: EHLO us.example\nS: 502 no\nC: HELO us.example\nS: 421 bye".to_owned(), Stage::Hello),
        (format!("{starttls}S: 421 4.7.0 bye"), Stage::StartTls),
        (format!("{starttls}S: 220 go\nTLS\nC: EHLO us.example\nS: 421 bye"), Stage::Hello),
    ] {
        for settings in [&settings(), &required] {
            let ended = run(settings, &script, &[(envelope(&["b"]), b"x")]);
            let End::Failed(Failure::Refused { stage: at, reply }) = ended.end else { panic!("{script}") };
            assert_eq!((at, reply.code(), ended.finished.len()), (stage, 421, 0), "{script}");
        }
    }
}

#[test]
fn a_lone_dot_ends_content_that_nobody_is_to_get() {
    for (replies, expected) in [
        (
            "S: 250 ok\nS: 550 who\nS: 450 later\nS: 354 go\nC: .\nS: 554 no recipients\n",
            ["refused at Recipient: 550 who", "deferred at Recipient: 450 later"],
        ),
        // Who accepts recipients of a sender that was refused isn't believed.
        (
            "S: 550 no\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: .\nS: 250 taken\n",
            ["refused at Mail: 550 no", "refused at Mail: 550 no"],
        ),
        (
            "S: 250 ok\nS: 550 who\nS: 450 later\nS: 503 no\n",
            ["refused at Recipient: 550 who", "deferred at Recipient: 450 later"],
        ),
        (
            "S: 250 ok\nS: 250 ok\nS: 450 later\nS: 451 no\n",
            ["deferred at Data: 451 no", "deferred at Recipient: 450 later"],
        ),
    ] {
        let script = format!(
            "{HELLO}{ENVELOPE}{replies}C: RSET\nC: MAIL FROM:<a@us.example>\n\
            C: RCPT TO:<d@them.example>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: y\nC: .\nS: 250 taken\n\
            C: QUIT\nS: 221 bye"
        );
        let messages: [(Envelope, &[u8]); 2] = [(envelope(&["b", "c"]), b"x"), (envelope(&["d"]), b"y")];
        let ended = run(&settings(), &script, &messages);
        assert_eq!(outcomes(&ended.finished[0]), expected);
        assert_eq!(outcomes(&ended.finished[1]), ["delivered: 250 taken"]);
        assert_eq!(ended.end, End::Quit);
    }
}

#[test]
fn replies_that_nobody_asked_for_end_the_connection() {
    // One reply too many would count for the next command, and in the end for content that nobody took.
    let (outcomes, _, end) = two("S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go");
    assert_eq!(outcomes, ["broken at Data: Fault(OutOfStep)", "broken at Data: Fault(OutOfStep)"]);
    assert_eq!(end, fault(Stage::Data, PeerFault::OutOfStep));
    let (_, uncertain, end) = two("S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: x\nC: .\nS: 354 more");
    assert_eq!((uncertain, end), (true, fault(Stage::Content, PeerFault::OutOfStep)));
    let (ended, _) = drive(Client::new(settings(), None), "S: 220 x\nS: 250 x", &[], usize::MAX);
    assert_eq!(ended.end, fault(Stage::Hello, PeerFault::Unsolicited));
    let ended = run(&settings(), "S: 354 x", &[]);
    assert_eq!(ended.end, fault(Stage::Greeting, PeerFault::OutOfStep));
}

#[test]
fn content_that_is_refused_before_its_end_is_refused() {
    let mut client = Client::new(settings(), None);
    for (said, heard) in
        [("220 x", "EHLO"), ("250 x", ""), ("250 ok", "RCPT"), ("250 ok", "DATA"), ("354 go", "")]
    {
        client.receive(format!("{said}\r\n").as_bytes());
        if client.next_action() == Action::Ready {
            client.begin(envelope(&["b"])).unwrap();
            client.next_action();
        }
        let _ = heard;
    }
    assert_eq!(client.next_action(), Action::Content);
    client.content(b"x\r\n");
    client.receive(b"552 5.3.4 too much\r\n");
    client.content(b"y\r\n");
    client.content_end();
    let Action::Done(finished) = client.next_action() else { panic!() };
    assert_eq!(outcomes(&finished), ["refused at Content: 552 5.3.4 too much"]);
    assert!(!finished.uncertain);
    assert!(matches!(client.next_action(), Action::Close(_)));
}

#[test]
fn content_that_breaks_off_here_is_never_completed() {
    let mut client = Client::new(settings(), None);
    for said in ["220 x", "250 x", "250 ok", "250 ok", "354 go"] {
        client.receive(format!("{said}\r\n").as_bytes());
        if client.next_action() == Action::Ready {
            client.begin(envelope(&["b"])).unwrap();
            client.next_action();
        }
    }
    client.content(b"half of it");
    client.broken(Broken::Local);
    let Action::Done(finished) = client.next_action() else { panic!() };
    assert_eq!(outcomes(&finished), ["broken at Content: Local"]);
    assert!(!finished.uncertain);
    assert!(matches!(client.next_action(), Action::Close(_)));
}

#[test]
fn what_is_called_out_of_turn_changes_nothing() {
    let mut client = Client::new(settings(), None);
    client.started_tls(binding());
    client.content(b"x");
    client.content_end();
    for said in ["220 x", "250 x", "250 ok", "250 ok", "354 go"] {
        client.receive(format!("{said}\r\n").as_bytes());
        if client.next_action() == Action::Ready {
            client.begin(envelope(&["b"])).unwrap();
            assert_eq!(client.begin(envelope(&["c"])), Err(Unsendable::NotReady));
            client.content_end();
            client.next_action();
        }
    }
    client.content_end();
    client.content(b"x");
    client.content_end();
    client.reset();
    assert_eq!(client.next_action(), Action::Send { octets: b".\r\n".to_vec(), wait: Wait::Content });
    client.broken(Broken::Closed);
    client.broken(Broken::TimedOut);
    let Action::Done(finished) = client.next_action() else { panic!() };
    assert!(finished.uncertain);
    assert_eq!(outcomes(&finished), ["broken at Content: Closed"]);
    assert!(matches!(client.next_action(), Action::Close(_)));
}

/// CVE-2011-0411 seen from the other side: what comes before the handshake came in clear, so anybody may have
/// put it there.
#[test]
fn what_follows_the_reply_to_starttls_in_clear_is_an_attack() {
    let start = "S: 220 x\nC: EHLO us.example\nS: 250-x\nS: 250 STARTTLS\nC: STARTTLS\n";
    let injected = format!("{start}S: 220 go\nS: 250-evil\nS: 250 AUTH PLAIN");
    let (ended, _) = drive(Client::new(settings(), None), &injected, &[], usize::MAX);
    assert_eq!(ended.end, fault(Stage::StartTls, PeerFault::Injection));
    // Half a line is as much of an attack, and so is what the driver reads before it does the handshake.
    for more in [&b"2"[..], b"\r\n", b"\x16"] {
        let mut client = Client::new(settings(), None);
        client.receive(b"220 x\r\n");
        client.next_action();
        client.receive(b"250-x\r\n250 STARTTLS\r\n");
        client.next_action();
        let mut octets = b"220 go\r\n".to_vec();
        octets.extend_from_slice(more);
        client.receive(&octets);
        assert_eq!(client.next_action(), Action::Close(fault(Stage::StartTls, PeerFault::Injection)));
        let mut client = Client::new(settings(), None);
        client.receive(b"220 x\r\n");
        client.next_action();
        client.receive(b"250-x\r\n250 STARTTLS\r\n");
        client.next_action();
        client.receive(b"220 go\r\n");
        assert_eq!(client.next_action(), Action::StartTls);
        client.receive(more);
        assert_eq!(client.next_action(), Action::Close(fault(Stage::StartTls, PeerFault::Injection)));
    }
}

/// RFC 8446 §4.4: the client of TLS 1.3 is done with the handshake before the server is.
#[test]
fn a_server_that_is_gone_right_behind_the_handshake_did_not_get_through_it() {
    let begin = || {
        let mut client = Client::new(settings(), None);
        for said in ["220 x\r\n", "250-x\r\n250 STARTTLS\r\n", "220 go\r\n"] {
            client.receive(said.as_bytes());
            client.next_action();
        }
        client.started_tls(binding());
        client.next_action();
        client
    };
    for (heard, reason, stage) in [
        ("", Broken::Closed, Stage::StartTls),
        ("", Broken::Io, Stage::StartTls),
        // It is there, and silent.
        ("", Broken::TimedOut, Stage::Hello),
        ("", Broken::Local, Stage::Hello),
        // It spoke under TLS.
        ("2", Broken::Closed, Stage::Hello),
        ("250-x\r\n", Broken::Closed, Stage::Hello),
        ("250 x\r\n", Broken::Closed, Stage::Idle),
    ] {
        let mut client = begin();
        client.receive(heard.as_bytes());
        client.broken(reason);
        let expected = End::Failed(Failure::Broken { stage, reason });
        assert_eq!(client.next_action(), Action::Close(expected), "{heard:?} {reason:?}");
    }
    // Without STARTTLS there is no fallback, and nothing to tell apart.
    let mut client = Client::new(settings(), Some(binding()));
    client.broken(Broken::Closed);
    let expected = End::Failed(Failure::Broken { stage: Stage::Greeting, reason: Broken::Closed });
    assert_eq!(client.next_action(), Action::Close(expected));
}

#[test]
fn a_server_that_refuses_rset_gets_no_message_within_a_message() {
    let script = format!(
        "{HELLO}{ENVELOPE}S: 550 no\nS: 503 no\nS: 503 no\nS: 503 no\nC: RSET\nC: MAIL FROM:<a@us.example>\n\
        C: RCPT TO:<d@them.example>\nC: DATA\nS: 500 what?"
    );
    let messages: [(Envelope, &[u8]); 2] = [(envelope(&["b", "c"]), b"x"), (envelope(&["d"]), b"y")];
    let ended = run(&settings(), &script, &messages);
    assert_eq!(outcomes(&ended.finished[1]), ["broken at Mail: Fault(OutOfStep)"]);
}

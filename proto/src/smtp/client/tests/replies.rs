//! Replies in all forms, and octets that are none.

use super::reply::{KEPT_OCTETS_MAX, LINE_OCTETS_MAX, LINES_MAX, REPLY_OCTETS_MAX};
use super::*;
use crate::sasl::Mechanism;

fn read(input: &[u8], cut: usize) -> (Vec<String>, Option<PeerFault>) {
    let mut reader = ReplyReader::new();
    let mut replies = Vec::new();
    for piece in input.chunks(cut) {
        reader.push(piece);
        loop {
            match reader.next_reply() {
                Ok(Some(reply)) => replies.push(format!("{reply}|{}", reply.text().replace('\n', "/"))),
                Ok(None) => break,
                Err(fault) => return (replies, Some(fault)),
            }
        }
    }
    (replies, None)
}

fn both(input: &[u8]) -> (Vec<String>, Option<PeerFault>) {
    let whole = read(input, usize::MAX);
    assert_eq!(read(input, 1), whole);
    whole
}

#[test]
fn replies_are_read_in_all_their_forms() {
    for (input, expected) in [
        (&b"250 ok\r\n"[..], "250 ok|ok"),
        (b"250\r\n", "250|"),
        (b"250 \r\n", "250|"),
        (b"250ok\r\n", "250ok|ok"),
        (b"250 ok\n", "250 ok|ok"),
        (b"250-a\r\n250-\r\n250 b\r\n", "250 a b|a//b"),
        (b"250-a\r\n250\r\n", "250 a|a/"),
        (b"250-a\n250 b\r\n", "250 a b|a/b"),
        (b"250 2.1.5 ok\r\n", "250 2.1.5 ok|ok"),
        (b"250 2.1.5\r\n", "250 2.1.5|"),
        (b"550-5.7.509 one\r\n550-5.7.509 two\r\n550 three\r\n", "550 5.7.509 one two three|one/two/three"),
        (b"550-5.7.1 one\r\n550 5.7.2 two\r\n", "550 5.7.1 one 5.7.2 two|one/5.7.2 two"),
        // Codes of another class, and what only looks like one, are text.
        (b"550 4.7.1 x\r\n", "550 4.7.1 x|4.7.1 x"),
        (b"250 2.1.5.6 x\r\n", "250 2.1.5.6 x|2.1.5.6 x"),
        (b"250 2.1.1234 x\r\n", "250 2.1.1234 x|2.1.1234 x"),
        (b"354 3.0.0 go\r\n", "354 3.0.0 go|3.0.0 go"),
        (b"571 no\r\n", "571 no|no"),
        (b"250 \xc3\xa4\xff\x00\x1b[31m\x7f\r\n", "250 \u{e4}\u{fffd}??[31m?|\u{e4}\u{fffd}??[31m?"),
        (b"250 a\rb\r\n", "250 a?b|a?b"),
        ("250 \u{202e}a\u{2028}b\u{200b}\r\n".as_bytes(), "250 ?a?b?|?a?b?"),
    ] {
        let (replies, fault) = both(input);
        let (expected, shown) = (expected.replacen("250ok", "250 ok", 1), input.escape_ascii());
        assert_eq!((replies, fault), (vec![expected], None), "{shown}");
    }
}

#[test]
fn what_is_no_reply_is_a_fault() {
    use PeerFault::{CodesDiffer, NotAReply};
    for (input, fault) in [
        (&b"\r\n"[..], NotAReply),
        (b"25\r\n", NotAReply),
        (b"HTTP/1.1 400 Bad Request\r\n", NotAReply),
        (b"SSH-2.0-x\r\n", NotAReply),
        (b"2500 ok\r\n", NotAReply),
        (b"25x ok\r\n", NotAReply),
        (b"150 ok\r\n", NotAReply),
        (b"650 ok\r\n", NotAReply),
        (b" 250 ok\r\n", NotAReply),
        (b"250-a\r\nb\r\n", NotAReply),
        (b"250-a\r\n550 b\r\n", CodesDiffer),
        (b"250-a\r\n251-b\r\n250 c\r\n", CodesDiffer),
        (b"\xff\xff\xff\r\n", NotAReply),
    ] {
        assert_eq!(both(input), (vec![], Some(fault)), "{}", input.escape_ascii());
    }
    assert_eq!(both(b"250 a\r\n251 b\r\n25").0.len(), 2);
}

#[test]
fn the_limits_of_a_reply_hold_at_the_limit_and_one_past_it() {
    let line = |octets: usize| format!("250 {}\r\n", "x".repeat(octets - 6)).into_bytes();
    assert_eq!(both(&line(LINE_OCTETS_MAX)).0.len(), 1);
    assert_eq!(both(&line(LINE_OCTETS_MAX + 1)), (vec![], Some(PeerFault::TooLong)));
    // A line that has no end isn't waited for.
    assert_eq!(both(&vec![b'2'; LINE_OCTETS_MAX]).1, Some(PeerFault::TooLong));
    assert_eq!(both(&vec![b'2'; LINE_OCTETS_MAX - 1]).1, None);
    let lines = |lines: usize| ("250-x\r\n".repeat(lines - 1) + "250 x\r\n").into_bytes();
    assert_eq!(both(&lines(LINES_MAX)).0.len(), 1);
    assert_eq!(both(&lines(LINES_MAX + 1)).1, Some(PeerFault::TooLong));
    let large = |last: usize| {
        let mut input = format!("250-{}\r\n", "x".repeat(10_000 - 6)).repeat(6).into_bytes();
        input.extend_from_slice(&line(last));
        input
    };
    assert_eq!(both(&large(REPLY_OCTETS_MAX - 60_000)).0.len(), 1);
    assert_eq!(both(&large(REPLY_OCTETS_MAX - 60_000 + 1)).1, Some(PeerFault::TooLong));
    // Each reply has them for itself.
    assert_eq!(both(&lines(LINES_MAX).repeat(3)).0.len(), 3);
    // Of replies about mail less is kept.
    let mut client = Client::new(settings(), None);
    client.receive(format!("554 {}\u{e4}\r\n", "x".repeat(KEPT_OCTETS_MAX - 1)).as_bytes());
    client.next_action();
    let Action::Close(End::Failed(Failure::Refused { reply, .. })) = client.next_action() else { panic!() };
    assert_eq!(reply.text().len(), KEPT_OCTETS_MAX - 1);
}

#[test]
fn capabilities_are_what_was_announced_and_understood() {
    let reply = |text: &str| Reply::new(250, None, text).unwrap();
    let all = Capabilities::parse(&reply(
        "PIPELINING\nsize 100\n8bitmime\nAUTH plain SCRAM-SHA-256 X-UNKNOWN\nAUTH=LOGIN PLAIN\nDSN\nLIMITS RCPTMAX=20 MAILMAX=5 \
         X=1\nCHUNKING\nXYZ\n\nSTARTTLS",
    ));
    assert!(!all.has(Extension::Pipelining), "the first line is the server's name");
    for extension in [Extension::EightBitMime, Extension::Dsn, Extension::Chunking, Extension::StartTls] {
        assert!(all.has(extension), "{extension:?}");
    }
    assert!(!all.has(Extension::BinaryMime) && !all.has(Extension::SmtpUtf8));
    assert_eq!(all.mechanisms, [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::Login]);
    assert_eq!((all.message_octets_max, all.recipients_max, all.mails_max), (Some(100), Some(20), Some(5)));
    for odd in [
        "SIZE",
        "SIZE 0",
        "SIZE x",
        "SIZE -1",
        "SIZE 99999999999999999999",
        "LIMITS RCPTMAX=0",
        "LIMITS RCPTMAX=x",
        "LIMITS RCPTMAX=1234567",
        "LIMITS RCPTMAX=+5",
        "LIMITS RCPTMAX",
        "LIMITS",
    ] {
        let found = Capabilities::parse(&reply(&format!("x\n{odd}")));
        assert_eq!((found.message_octets_max, found.recipients_max), (None, None), "{odd}");
    }
}

#[test]
fn a_reply_of_ones_own_is_harmless_too() {
    assert_eq!(
        Reply::new(550, EnhancedCode::parse("5.1.1"), "a\r\nb\tc").unwrap().to_string(),
        "550 5.1.1 a b c"
    );
    assert_eq!(Reply::new(199, None, ""), None);
    assert_eq!(Reply::new(600, None, ""), None);
    assert_eq!(EnhancedCode::parse("5.1.1 x"), None);
    assert_eq!(EnhancedCode::parse("3.1.1"), None);
    assert_eq!(EnhancedCode::parse("5.+1.1"), None);
}

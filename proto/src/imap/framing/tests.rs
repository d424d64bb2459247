#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use super::*;

/// What a framer said, without borrows; data of a message joined.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Seen {
    Command(String),
    Continue,
    Message(String, u64, Synchronising, MessageOrder),
    Data(Vec<u8>),
    End(String),
    Line(String),
    Refused(Option<String>, Fault, Outcome),
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

fn drain(framer: &mut Framer, seen: &mut Vec<Seen>) {
    loop {
        let event = match framer.next_frame() {
            None => return,
            Some(Frame::Command(octets)) => Seen::Command(text(octets)),
            Some(Frame::NeedContinuation) => Seen::Continue,
            Some(Frame::Message(m)) => Seen::Message(text(m.head), m.octets, m.synchronising, m.order),
            Some(Frame::MessageData(octets)) => Seen::Data(octets.to_vec()),
            Some(Frame::MessageEnd(octets)) => Seen::End(text(octets)),
            Some(Frame::Line(octets)) => Seen::Line(text(octets)),
            Some(Frame::Refused(r)) => {
                Seen::Refused(r.tag.map(|t| t.as_str().to_owned()), r.fault, r.outcome)
            }
        };
        // The driver's part: IDLE and AUTHENTICATE ask for a line, messages are let in.
        match &event {
            Seen::Command(command) if command.contains("IDLE") || command.contains("AUTH") => {
                framer.expect_line();
            }
            Seen::Message(head, ..) if head.contains("refused") => {
                let closed = framer.refuse_message() == Outcome::Closes;
                seen.push(event);
                if closed {
                    seen.push(Seen::Line("closed".into()));
                }
                continue;
            }
            Seen::Message(..) => framer.accept_message(),
            _ => {}
        }
        match (seen.last_mut(), event) {
            (Some(Seen::Data(before)), Seen::Data(more)) => before.extend_from_slice(&more),
            (_, event) => seen.push(event),
        }
    }
}

fn frames_in(input: &[u8], cuts: usize, limits: Limits) -> Vec<Seen> {
    let mut framer = Framer::new(Arc::new(limits));
    let mut seen = Vec::new();
    for chunk in input.chunks(cuts) {
        framer.push(chunk);
        drain(&mut framer, &mut seen);
    }
    seen
}

fn frames(input: &[u8]) -> Vec<Seen> {
    frames_in(input, usize::MAX, Limits::AUTHENTICATED)
}

fn command(text: &str) -> Seen {
    Seen::Command(text.into())
}

fn refused(tag: &str, fault: Fault, outcome: Outcome) -> Seen {
    Seen::Refused(Some(tag.into()), fault, outcome)
}

const SMALL: Limits = Limits {
    line_octets_max: 40,
    text_octets_max: 60,
    literal_octets_max: 10,
    literals_octets_max: 15,
    literals_max: 3,
    discard_octets_max: 50,
    message_discard_octets_max: 20,
    sasl_line_octets_max: 12,
    ..Limits::AUTHENTICATED
};

#[test]
fn commands_and_literals_are_cut_apart() {
    let input = b"a NOOP\r\nb LOGIN {4}\r\nfred {3+}\r\na\r\n\r\nc IDLE\r\nDONE\r\nd NOOP\r\n";
    assert_eq!(
        frames(input),
        [
            command("a NOOP\r\n"),
            Seen::Continue,
            command("b LOGIN {4}\r\nfred {3+}\r\na\r\n\r\n"),
            command("c IDLE\r\n"),
            Seen::Line("DONE".into()),
            command("d NOOP\r\n"),
        ]
    );
}

#[test]
fn messages_stream_and_other_literals_of_append_do_not() {
    let input = b"a APPEND {5+}\r\nInbox (\\Seen) {12}\r\nHello\r\nworld\r\nb NOOP\r\n";
    let head = "a APPEND {5+}\r\nInbox (\\Seen) {12}\r\n".to_owned();
    assert_eq!(
        frames(input),
        [
            Seen::Message(head, 12, Synchronising::Waits, MessageOrder::First),
            Seen::Data(b"Hello\r\nworld".to_vec()),
            Seen::End("\r\n".into()),
            command("b NOOP\r\n"),
        ]
    );
    let input =
        b"a APPEND x UTF8 (~{3+}\r\nabc)\r\nb append \"{3}\" {0+}\r\n\r\nc APPEND x {1+}\r\na {2+}\r\nbc\r\n";
    let first =
        |head: &str, octets| Seen::Message(head.into(), octets, Synchronising::Sends, MessageOrder::First);
    assert_eq!(
        frames(input),
        [
            first("a APPEND x UTF8 (~{3+}\r\n", 3),
            Seen::Data(b"abc".to_vec()),
            Seen::End(")\r\n".into()),
            first("b append \"{3}\" {0+}\r\n", 0),
            Seen::End("\r\n".into()),
            first("c APPEND x {1+}\r\n", 1),
            Seen::Data(b"a".to_vec()),
            Seen::Message(" {2+}\r\n".into(), 2, Synchronising::Sends, MessageOrder::Further),
            Seen::Data(b"bc".to_vec()),
            Seen::End("\r\n".into()),
        ]
    );
}

/// Inputs that reach every state.
const INPUTS: &[&[u8]] = &[
    b"a NOOP\r\nb LOGIN {4}\r\nfred {3+}\r\na\r\n\r\nc IDLE\r\nDONE\r\nd NOOP\r\n",
    b"a APPEND {5+}\r\nInbox (\\Seen) {12}\r\nHello\r\nworld\r\nb NOOP\r\n",
    b"a APPEND x {3+}\r\nabc {2}\r\ncd)\r\nb NOOP\r\n",
    b"a APPEND x CATENATE (URL {9+}\r\n/a/;UID=1 TEXT {2}\r\ncd)\r\nb NOOP\r\n",
    b"a UID REPLACE 7 {1+}\r\nx {2}\r\ncd\r\nb REPLACE 7 x (\\Seen) ~{1+}\r\n\0\r\nb NOOP\r\n",
    b"a AUTHENTICATE PLAIN\r\nAGEAYg==\nb NOOP\r\n",
    b"a LOGIN {11+}\r\n0123456789a {3+}\r\nabc\r\nb NOOP\r\n",
    b"a LOGIN {11}\r\nb NOOP\r\n",
    b"a SEARCH 0123456789012345678901234567890123456789 {3+}\r\nabc\r\nb NOOP\r\n",
    b"a SEARCH 0123456789012345678901234567890123456789012345678901234567890123456789\r\nb NOOP\r\n",
    b"a APPEND refused {20+}\r\n01234567890123456789\r\nb NOOP\r\n",
    b"a APPEND refused {21+}\r\n012345678901234567890\r\nb NOOP\r\n",
    b"a LOGIN {5+}\na b\r\nb NOOP\r\n",
    b"a LOGIN {51+}\r\nb NOOP\r\n\r\n\n\nx\r\n",
];

#[test]
fn frames_do_not_depend_on_how_input_is_cut() {
    for input in INPUTS {
        for limits in [SMALL, Limits::AUTHENTICATED, Limits::UNAUTHENTICATED] {
            let whole = frames_in(input, usize::MAX, limits);
            for chunk in 1..input.len() {
                assert_eq!(frames_in(input, chunk, limits), whole, "chunks of {chunk}: {}", text(input));
            }
            for cut in 0..input.len() {
                let mut framer = Framer::new(Arc::new(limits));
                let mut seen = Vec::new();
                for part in [&input[..cut], &input[cut..]] {
                    framer.push(part);
                    drain(&mut framer, &mut seen);
                }
                assert_eq!(seen, whole, "cut at {cut}: {}", text(input));
            }
        }
    }
}

#[test]
fn a_literal_over_the_limit_costs_the_command_only() {
    let too_big = Fault::TooBig("literal is too big");
    // At the limit.
    let at = b"a LOGIN {10}\r\n0123456789\r\n";
    assert_eq!(frames_in(at, 99, SMALL), [Seen::Continue, command(&text(at))]);
    // One more: refused; who waits sends nothing more.
    assert_eq!(
        frames_in(b"a LOGIN {11}\r\nb NOOP\r\n", 99, SMALL),
        [refused("a", too_big, Outcome::Continues), command("b NOOP\r\n")]
    );
    // Who doesn't wait has it thrown away with the rest of the line and the literals there.
    assert_eq!(
        frames_in(b"a LOGIN {11+}\r\n0123456789a {2+}\r\nxx {9}\r\nb NOOP\r\n", 99, SMALL),
        [refused("a", too_big, Outcome::Continues), command("b NOOP\r\n")]
    );
    // More than may be thrown away.
    let most = format!("a LOGIN {{50+}}\r\n{}\r\nb NOOP\r\n", "x".repeat(50));
    assert_eq!(
        frames_in(most.as_bytes(), 99, SMALL),
        [
            refused("a", too_big, Outcome::Continues),
            Seen::Refused(None, Fault::TooBig("command is too long"), Outcome::Closes),
        ]
    );
    let limits = Limits { discard_octets_max: 52, ..SMALL };
    assert_eq!(
        frames_in(most.as_bytes(), 99, limits),
        [refused("a", too_big, Outcome::Continues), command("b NOOP\r\n"),]
    );
    assert_eq!(
        frames_in(b"a LOGIN {51+}\r\nb NOOP\r\n", 99, SMALL),
        [refused("a", too_big, Outcome::Closes)]
    );
}

#[test]
fn absurd_sizes_are_refused_before_any_octet_of_them() {
    let too_big = Fault::TooBig("literal is too big");
    for size in ["4294967295", "18446744073709551615", "99999999999999999999"] {
        for limits in [Limits::AUTHENTICATED, Limits::UNAUTHENTICATED] {
            let sync = format!("a LOGIN {{{size}}}\r\nb NOOP\r\n");
            assert_eq!(
                frames_in(sync.as_bytes(), 7, limits),
                [refused("a", too_big, Outcome::Continues), command("b NOOP\r\n")]
            );
            let sent = format!("a LOGIN {{{size}+}}\r\nb NOOP\r\n");
            assert_eq!(frames_in(sent.as_bytes(), 7, limits), [refused("a", too_big, Outcome::Closes)]);
        }
    }
    // More digits than a number has: no literal; what follows can't be told from commands.
    let sent = b"a LOGIN {000000000000000000001+}\r\nb NOOP\r\n";
    assert!(matches!(&frames(sent)[..], [Seen::Refused(_, _, Outcome::Closes)]));
}

#[test]
fn literals_are_bounded_in_number_and_in_total() {
    let input = b"a X {5+}\r\n12345 {10+}\r\n0123456789\r\n";
    assert_eq!(frames_in(input, 99, SMALL), [command(&text(input))]);
    let input = b"a X {6+}\r\n123456 {10+}\r\n0123456789\r\nb NOOP\r\n";
    assert_eq!(
        frames_in(input, 99, SMALL),
        [refused("a", Fault::TooBig("literals are too big"), Outcome::Continues), command("b NOOP\r\n")]
    );
    let input = b"a X {1+}\r\n1 {1+}\r\n2 {1+}\r\n3\r\n";
    assert_eq!(frames_in(input, 99, SMALL), [command(&text(input))]);
    let input = b"a X {1+}\r\n1 {1+}\r\n2 {1+}\r\n3 {1+}\r\n4\r\nb NOOP\r\n";
    assert_eq!(
        frames_in(input, 99, SMALL),
        [refused("a", Fault::Limit("too many literals"), Outcome::Continues), command("b NOOP\r\n")]
    );
}

#[test]
fn messages_of_one_command_are_bounded_in_number() {
    let three = b"a APPEND x {1+}\r\n1 {1+}\r\n2 {1+}\r\n3\r\n";
    assert_eq!(frames_in(three, 99, SMALL).last(), Some(&Seen::End("\r\n".into())));
    let four = b"a APPEND x {1+}\r\n1 {1+}\r\n2 {1+}\r\n3 {1+}\r\n4\r\nb NOOP\r\n";
    assert_eq!(
        frames_in(four, 99, SMALL)[6..],
        [refused("a", Fault::Limit("too many literals"), Outcome::Continues), command("b NOOP\r\n")]
    );
}

#[test]
fn lines_are_bounded() {
    let long = Fault::TooBig("command line is too long");
    let at = format!("a {}\r\n", "x".repeat(36));
    assert_eq!(frames_in(at.as_bytes(), 99, SMALL), [command(&at)]);
    let over = format!("a {}\r\nb NOOP\r\n", "x".repeat(37));
    assert_eq!(
        frames_in(over.as_bytes(), 99, SMALL),
        [refused("a", long, Outcome::Continues), command("b NOOP\r\n")]
    );
    // The pieces of a command together: 38 + 22 octets, then one more.
    let pieces = |n: usize| format!("a {} {{1+}}\r\nx{}\r\nb NOOP\r\n", "x".repeat(29), "y".repeat(n));
    assert_eq!(frames_in(pieces(20).as_bytes(), 99, SMALL).len(), 2);
    assert_eq!(frames_in(pieces(20).as_bytes(), 99, SMALL)[1], command("b NOOP\r\n"));
    assert_eq!(
        frames_in(pieces(21).as_bytes(), 99, SMALL),
        [refused("a", long, Outcome::Continues), command("b NOOP\r\n")]
    );
    // What is thrown away is bounded: 50 octets with the line end, then one more.
    let thrown = |n: usize| frames_in(format!("a {}\r\nb NOOP\r\n", "x".repeat(n)).as_bytes(), 99, SMALL);
    assert_eq!(thrown(46)[1], command("b NOOP\r\n"));
    assert!(matches!(&thrown(47)[1..], [Seen::Refused(None, _, Outcome::Closes)]));
    // A line of an exchange.
    let line = |n: usize| {
        let input = format!("a AUTHENTICATE X\r\n{}\r\nb NOOP\r\n", "x".repeat(n));
        frames_in(input.as_bytes(), 99, SMALL)
    };
    assert_eq!(line(10)[1..], [Seen::Line("x".repeat(10)), command("b NOOP\r\n")]);
    assert!(matches!(&line(11)[1..], [Seen::Refused(None, _, Outcome::Closes)]));
}

#[test]
fn a_refused_message_is_thrown_away_up_to_a_limit() {
    let seen = frames_in(b"a APPEND refused {20+}\r\n01234567890123456789\r\nb NOOP\r\n", 99, SMALL);
    assert_eq!(seen[1..], [command("b NOOP\r\n")]);
    let seen = frames_in(b"a APPEND refused {21+}\r\n012345678901234567890\r\nb NOOP\r\n", 99, SMALL);
    assert_eq!(seen[1..], [Seen::Line("closed".into())]);
    let seen = frames_in(b"a APPEND refused {99999}\r\nb NOOP\r\n", 99, SMALL);
    assert_eq!(seen[1..], [command("b NOOP\r\n")]);
}

#[test]
fn a_literal_can_be_refused_by_the_driver() {
    let mut framer = Framer::new(Arc::new(SMALL));
    framer.push(b"a LOGIN {5}\r\n");
    assert!(matches!(framer.next_frame(), Some(Frame::NeedContinuation)));
    assert_eq!(framer.refuse_literal().unwrap().as_str(), "a");
    framer.push(b"b NOOP\r\n");
    assert!(matches!(framer.next_frame(), Some(Frame::Command(b"b NOOP\r\n"))));
}

#[test]
fn what_came_before_the_handshake_is_dropped() {
    let mut framer = Framer::new(Arc::new(Limits::UNAUTHENTICATED));
    framer.push(b"a STARTTLS\r\nb LOGIN x y\r\nc LOG");
    assert!(matches!(framer.next_frame(), Some(Frame::Command(b"a STARTTLS\r\n"))));
    assert_eq!(framer.unread(), b"b LOGIN x y\r\nc LOG");
    assert_eq!(framer.discard_unread(), 18);
    assert!(framer.is_idle() && framer.next_frame().is_none());
    framer.push(b"d NOOP\r\n");
    assert!(matches!(framer.next_frame(), Some(Frame::Command(b"d NOOP\r\n"))));
}

#[test]
fn an_idle_framer_holds_no_buffer_and_an_unknown_client_little() {
    fn is_send<T: Send>() {}
    is_send::<Framer>();
    assert!(size_of::<Framer>() <= 160, "{}", size_of::<Framer>());
    let mut framer = Framer::new(Arc::new(Limits::UNAUTHENTICATED));
    framer.push(&b"a NOOP\r\n".repeat(1000));
    while framer.next_frame().is_some() {}
    assert_eq!(framer.input.capacity(), 0);

    // Whatever an unknown client sends in reads of 4 KiB, little is held.
    let floods: [&[u8]; 6] = [
        b"a",
        b"(",
        b"a LOGIN {1000+}\r\n",
        b"a LOGIN {1000}\r\n",
        b"a APPEND x {60000+}\r\n",
        b"a AUTHENTICATE X\r\nAAAAAAAA",
    ];
    for flood in floods {
        let mut framer = Framer::new(Arc::new(Limits::UNAUTHENTICATED));
        let mut seen = Vec::new();
        for _ in 0..500 {
            framer.push(&flood.repeat(4096 / flood.len()));
            drain(&mut framer, &mut seen);
            seen.clear();
            assert!(framer.input.capacity() <= 64 * 1024, "{}", text(flood));
        }
    }
}

/// A small generator with a seed, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

const WORDS: &[&str] = &[
    "REPLACE 1 ",
    "CATENATE (",
    "TEXT ",
    "URL ",
    "/a/;UID=1",
    "a ",
    "b ",
    "NOOP",
    "LOGIN ",
    "SEARCH ",
    "FETCH ",
    "UID ",
    "STORE ",
    "APPEND ",
    "LIST ",
    "SELECT ",
    "x",
    "{3}\r\n",
    "{3+}\r\n",
    "{11+}\r\n",
    "~{2+}\r\n",
    "{99999999999}\r\n",
    "\r\n",
    "\n",
    "\r",
    "\"",
    "\\",
    "(",
    ")",
    " ",
    "1:*",
    "NOT ",
    "OR ",
    "RETURN (MIN) ",
    "BODY[",
    "HEADER.FIELDS (",
    "]",
    "<0.1>",
    "+FLAGS ",
    "\\Seen",
    "(\\Seen) ",
    "&AOk-",
    "\0",
    "\u{e9}",
    "IDLE\r\n",
    "AUTHENTICATE X ",
    "UTF8 (",
    "QRESYNC (1 2 3)",
    "1-Jan-2000",
    "CHARSET UTF-8 ",
    "+}\r\n",
    "$",
    "%*%*",
];

#[test]
fn random_input_is_framed_and_parsed_within_bounds() {
    use super::super::command::{AppendPieces, Command, Context, Utf8, parse};
    for seed in 1..3000u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let limits = if random.below(2) == 0 { SMALL } else { Limits::UNAUTHENTICATED };
        let words = random.below(60);
        let input: Vec<u8> =
            (0..words).flat_map(|_| WORDS[random.below(WORDS.len())].bytes().collect::<Vec<_>>()).collect();
        let whole = frames_in(&input, usize::MAX, limits);
        let chunk = random.below(9) + 1;
        assert_eq!(frames_in(&input, chunk, limits), whole, "seed {seed}: {}", text(&input));
        for utf8 in [Utf8::Off, Utf8::Rev2, Utf8::Accept] {
            let context = Context { utf8, limits: &limits };
            let mut pieces: Option<AppendPieces> = None;
            for seen in &whole {
                match seen {
                    Seen::Command(command) => drop(parse(command.as_bytes(), context)),
                    Seen::Message(head, .., MessageOrder::First) => {
                        pieces = match parse(head.as_bytes(), context).map(|tagged| tagged.command) {
                            Ok(Command::Append(append)) => Some(append.pieces),
                            _ => None,
                        };
                    }
                    Seen::Message(rest, .., MessageOrder::Further) | Seen::End(rest) => {
                        pieces = pieces.and_then(|before| before.go_on(rest.as_bytes(), context).ok());
                    }
                    _ => {}
                }
            }
        }
    }
}

//! What content looks like on the wire, by DATA and by BDAT.

use super::*;
use crate::smtp::body::{DataProgress, DataReader};
use crate::smtp::client::content::{ContentWriter, Transfer};

fn write(transfer: Transfer, content: &[u8], cut: usize) -> Vec<u8> {
    let mut writer = ContentWriter::new(transfer);
    let mut out = Vec::new();
    content.chunks(cut.max(1)).for_each(|piece| writer.push(piece, &mut out));
    writer.end(&mut out);
    out
}

/// SMTP smuggling (CVE-2023-51764 and its kin): whatever is in a message, no end of content is in it.
#[test]
fn only_one_sequence_ends_the_content_and_lines_end_in_cr_lf() {
    for (content, expected) in [
        (&b""[..], &b""[..]),
        (b"a", b"a\r\n"),
        (b"a\r\n", b"a\r\n"),
        (b".", b"..\r\n"),
        (b"..\r\n.a\r\nb.", b"...\r\n..a\r\nb.\r\n"),
        (b"a\n.\nb", b"a\r\n..\r\nb\r\n"),
        (b"a\n.\r\nb", b"a\r\n..\r\nb\r\n"),
        (b"a\r.\rb", b"a\r\n..\r\nb\r\n"),
        (b"a\r.\r\nb", b"a\r\n..\r\nb\r\n"),
        (b"a\r\n.\nb", b"a\r\n..\r\nb\r\n"),
        (b"a\r\n.\rb", b"a\r\n..\r\nb\r\n"),
        (b"a\r\n.\r\r\nb", b"a\r\n..\r\n\r\nb\r\n"),
        (b"a\r\r\n.\r\r\nb", b"a\r\n\r\n..\r\n\r\nb\r\n"),
        (b"a\r\n\0.\r\nb", b"a\r\n\0.\r\nb\r\n"),
        (b"a\r", b"a\r\n"),
        (b"\r\n\n\r", b"\r\n\r\n\r\n"),
    ] {
        let shown = content.escape_ascii();
        for cut in 1..=content.len() {
            let data = write(Transfer::Data, content, cut);
            assert_eq!(data, [expected, b".\r\n"].concat(), "{shown} in pieces of {cut}");
            let chunks = write(Transfer::Chunks, content, cut);
            let mut read = Vec::new();
            assert_eq!(DataReader::new().push(&data, &mut read), DataProgress::Ended(data.len()));
            assert_eq!(read, chunks, "{shown}");
            assert_eq!(write(Transfer::Binary, content, cut), content);
        }
    }
}

const HELLO: &str = "S: 220 x\nC: EHLO us.example\nS: 250-x\nS: 250-CHUNKING\nS: 250-BINARYMIME\n";

#[test]
fn with_chunking_and_pipelining_a_small_message_is_one_flight() {
    let script = format!(
        "{HELLO}S: 250 PIPELINING\nC: MAIL FROM:<a@us.example>\nC: RCPT TO:<b@them.example>\nC: RCPT TO:<c@them.example>\n\
         C: BDAT 5 LAST\nC: x\nS: 250 ok\nS: 250 ok\nS: 550 who\nS: 250 taken\nC: QUIT\nS: 221 bye"
    );
    // Two octets more than the content had: its last line had no end.
    let script = script.replace("BDAT 5", "BDAT 3");
    let mut small = envelope(&["b", "c"]);
    small.declared_octets = Some(1);
    let ended = run(&settings(), &script, &[(small.clone(), b"x")]);
    assert_eq!(outcomes(&ended.finished[0]), ["delivered: 250 taken", "refused at Recipient: 550 who"]);
    // A connection that ends before any reply leaves everything open.
    let script = format!("{}EOF", script.split_once("S: 250 ok\n").unwrap().0);
    let ended = run(&settings(), &script, &[(small, b"x")]);
    assert!(ended.finished[0].uncertain);
}

#[test]
fn a_chunk_for_nobody_changes_nothing() {
    let script = format!(
        "{HELLO}S: 250 PIPELINING\nC: MAIL FROM:<a@us.example>\nC: RCPT TO:<b@them.example>\nC: BDAT 3 LAST\nC: x\n\
         S: 250 ok\nS: 550 who\nS: 503 no recipients\nC: RSET\nC: MAIL FROM:<a@us.example>\nC: RCPT TO:<c@them.example>\n\
         C: BDAT 3 LAST\nC: y\nS: 250 ok\nS: 250 ok\nS: 250 ok\nS: 250 taken\nC: QUIT\nS: 221 bye"
    );
    let small = |name| {
        let mut small = envelope(&[name]);
        small.declared_octets = Some(1);
        small
    };
    let ended = run(&settings(), &script, &[(small("b"), b"x"), (small("c"), b"y")]);
    assert_eq!(outcomes(&ended.finished[0]), ["refused at Recipient: 550 who"]);
    assert_eq!(outcomes(&ended.finished[1]), ["delivered: 250 taken"]);
    // A connection that ends before the reply to the chunk leaves nothing open.
    let script = format!("{}EOF", script.split_once("S: 503").unwrap().0);
    let ended = run(&settings(), &script, &[(small("b"), b"x")]);
    assert_eq!(outcomes(&ended.finished[0]), ["refused at Recipient: 550 who"]);
    assert!(!ended.finished[0].uncertain);
}

#[test]
fn binary_content_goes_as_it_is_in_bounded_chunks() {
    let content: Vec<u8> = (0..200_000_u32).map(|number| (number * 7 % 251) as u8).collect();
    let mut binary = envelope(&["b"]);
    binary.body = BodyType::BinaryMime;
    for pipelining in [false, true] {
        let mut client = Client::new(settings(), None);
        let (mut wire, mut in_flight, mut most) = (Vec::new(), 0_usize, 0);
        let mut pieces = content.chunks(1000);
        client.receive(b"220 x\r\n");
        client.next_action();
        let extra = if pipelining { "250-PIPELINING\r\n" } else { "" };
        client.receive(format!("250-x\r\n{extra}250-BINARYMIME\r\n250 CHUNKING\r\n").as_bytes());
        assert_eq!(client.next_action(), Action::Ready);
        client.begin(binary.clone()).unwrap();
        let finished = loop {
            match client.next_action() {
                Action::Send { octets, .. } if octets.starts_with(b"BDAT") => {
                    in_flight += 1;
                    most = most.max(in_flight);
                    let end = octets.iter().position(|octet| *octet == b'\n').unwrap() + 1;
                    let command = std::str::from_utf8(&octets[..end]).unwrap();
                    let size: usize = command.split_whitespace().nth(1).unwrap().parse().unwrap();
                    assert_eq!(size, octets.len() - end);
                    assert!(size <= 66_000);
                    wire.extend_from_slice(&octets[end..]);
                    client.reuse(octets);
                }
                Action::Send { octets, .. }
                    if octets.starts_with(b"MAIL FROM:<a@us.example> BODY=BINARYMIME\r\n") =>
                {
                    if pipelining {
                        client.receive(b"250 ok\r\n");
                    }
                }
                Action::Send { .. } => {}
                Action::Content => match pieces.next() {
                    Some(piece) => client.content(piece),
                    None => client.content_end(),
                },
                Action::Read { .. } => {
                    in_flight = in_flight.saturating_sub(1);
                    client.receive(b"250 ok\r\n");
                }
                Action::Done(finished) => break finished,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(outcomes(&finished), ["delivered: 250 ok"]);
        assert!(wire == content);
        assert_eq!(most, if pipelining { 4 } else { 1 });
    }
}

#[test]
fn after_a_chunk_that_was_refused_no_more_content_is_wanted() {
    let mut client = Client::new(settings(), None);
    client.receive(b"220 x\r\n");
    client.next_action();
    client.receive(b"250-x\r\n250-BINARYMIME\r\n250 CHUNKING\r\n");
    let mut binary = envelope(&["b"]);
    binary.body = BodyType::BinaryMime;
    assert_eq!(client.next_action(), Action::Ready);
    client.begin(binary).unwrap();
    for _ in 0..2 {
        client.next_action();
        client.receive(b"250 ok\r\n");
    }
    assert_eq!(client.next_action(), Action::Content);
    client.content(&[0; 70_000]);
    client.next_action();
    client.receive(b"552 5.3.4 too much\r\n");
    // The driver may still be reading what comes next.
    client.content(&[0; 70_000]);
    client.content_end();
    let Action::Done(finished) = client.next_action() else { panic!() };
    assert_eq!(outcomes(&finished), ["refused at Content: 552 5.3.4 too much"]);
    assert_eq!(client.next_action(), Action::Ready);
    client.begin(envelope(&["b"])).unwrap();
    assert_eq!(client.next_action(), Action::Send { octets: b"RSET\r\n".to_vec(), wait: Wait::Command });
}

/// With PIPELINING several chunks are on their way when the first of them is refused.
#[test]
fn replies_to_chunks_behind_one_that_was_refused_have_no_consequences() {
    // What a server says to the others is its affair, and that it takes the last doesn't make the message whole.
    for rest in [["503 no", "503 no"], ["250 ok", "250 taken"], ["451 no", "554 no"]] {
        let mut client = Client::new(settings(), None);
        client.receive(b"220 x\r\n");
        client.next_action();
        client.receive(b"250-x\r\n250-PIPELINING\r\n250-BINARYMIME\r\n250 CHUNKING\r\n");
        let mut binary = envelope(&["b", "c"]);
        binary.body = BodyType::BinaryMime;
        assert_eq!(client.next_action(), Action::Ready);
        client.begin(binary).unwrap();
        let mut sent = Vec::new();
        let mut send = |client: &mut Client| {
            let Action::Send { octets, .. } = client.next_action() else { panic!() };
            sent.extend(octets.split(|octet| *octet == b'\n').next().unwrap().to_vec());
        };
        send(&mut client);
        client.receive(b"250 ok\r\n250 ok\r\n550 who\r\n");
        for _ in 0..2 {
            assert_eq!(client.next_action(), Action::Content);
            client.content(&[b'x'; 70_000]);
            send(&mut client);
        }
        client.content(b"end");
        client.content_end();
        send(&mut client);
        let sent = String::from_utf8(sent).unwrap();
        assert!(sent.starts_with("MAIL ") && sent.ends_with("BDAT 70000\rBDAT 3 LAST\r"), "{sent}");
        for said in ["452 4.3.1 full"].iter().chain(&rest) {
            assert!(matches!(client.next_action(), Action::Read { .. }));
            client.receive(format!("{said}\r\n").as_bytes());
        }
        let Action::Done(finished) = client.next_action() else { panic!() };
        assert_eq!(
            outcomes(&finished),
            ["deferred at Content: 452 4.3.1 full", "refused at Recipient: 550 who"]
        );
        assert!(!finished.uncertain);
        // The next message doesn't begin within this one.
        assert_eq!(client.next_action(), Action::Ready);
        client.begin(envelope(&["d"])).unwrap();
        let Action::Send { octets, .. } = client.next_action() else { panic!() };
        assert!(octets.starts_with(b"RSET\r\nMAIL FROM:"), "{}", octets.escape_ascii());
    }
}

#[test]
fn data_leaves_in_bounded_pieces() {
    let mut client = Client::new(settings(), None);
    for said in ["220 x", "250 x", "250 ok", "250 ok", "354 go"] {
        client.receive(format!("{said}\r\n").as_bytes());
        if client.next_action() == Action::Ready {
            client.begin(envelope(&["b"])).unwrap();
            client.next_action();
        }
    }
    let mut largest = 0;
    let mut pieces = 0;
    for number in 0..1000 {
        assert_eq!(client.next_action(), Action::Content, "{number}");
        client.content(
            b".23456789012345678901234567890123456789012345678901234567890123456789012345678\r\n"
                .repeat(10)
                .as_slice(),
        );
        if let Action::Send { octets, wait } = client.next_action() {
            assert_eq!(wait, Wait::Content);
            (largest, pieces) = (largest.max(octets.len()), pieces + 1);
            client.reuse(octets);
        }
    }
    assert!(pieces > 10 && largest < 66_000, "{pieces} of {largest}");
}

/// Writing stays linear in the content, whatever stands in it.
#[test]
fn no_content_is_slow_to_send() {
    let size = 1 << 20;
    for unit in [
        &b"\r\n"[..],
        b"\n",
        b"\r",
        b"\r\r\n",
        b".\r\n.",
        b"\r\n..",
        b"x\r\n",
        b"x\n",
        b"x\r",
        b"x",
        b".\r\n",
    ] {
        let content = [&unit.repeat(size / unit.len()), &b"\r\r\n"[..]].concat();
        let ((), took) = postrider_testing::processor_time(|| {
            let sent = write(Transfer::Data, &content, usize::MAX);
            assert_eq!(write(Transfer::Data, &content, 1000), sent);
        });
        // Some milliseconds; quadratic it would be minutes.
        assert!(took < std::time::Duration::from_secs(5), "{}", unit.escape_ascii());
    }
}

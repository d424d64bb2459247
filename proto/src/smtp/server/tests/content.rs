//! Content: DATA, BDAT, and what must not survive them.

use super::*;

const OPEN: &[u8] = b"MAIL FROM:<a@them.example>\r\nRCPT TO:<c@us.example>\r\n";

/// Each of these, cut anywhere, makes the same transcript and the same messages.
#[test]
fn cutting_the_input_changes_nothing() {
    let scripts: [&[u8]; 7] = [
        b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\na: b\r\n\r\n..x\r\n.\r\nNOOP\r\nQUIT\r\n",
        b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n.\nMAIL FROM:<e@f>\r\n.\r\nDATA\r\nQUIT\r\n",
        b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 3\r\na\r\nBDAT 0\r\nBDAT 4 LAST\r\nb\nc\nQUIT\r\n",
        b"EHLO x\r\nMAIL FROM:<a@b> BODY=BINARYMIME\r\nRCPT TO:<c@d>\r\nDATA\r\nBDAT 4 LAST\r\n\r\0\n.QUIT\r\n",
        b"EHLO x\r\nBDAT 6 LAST\r\nQUIT\r\nMAIL FROM:<a@b>\r\nRCPT TO:<nobody@d>\r\nBDAT 6\r\nQUIT\r\nRSET\r\nQUIT\r\n",
        b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 2\r\n\rxBDAT 3 LAST\r\nx\r\nDATA\r\nNOOP\nQUIT\r\n",
        b"HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n.\r\n.\r\nNOOP\r\nQUIT\r\n",
    ];
    for script in scripts {
        let whole = run(Driver::incoming(), script, &[]);
        assert!(whole.closed, "{:?}", whole.transcript);
        for cut in 0..script.len() {
            let cut_once = run(Driver::incoming(), script, &[cut]);
            assert_eq!(cut_once.transcript, whole.transcript, "{} at {cut}", script.escape_ascii());
            assert_eq!(cut_once.delivered, whole.delivered);
        }
        let every: Vec<usize> = (0..script.len()).collect();
        let octet_by_octet = run(Driver::incoming(), script, &every);
        assert_eq!(octet_by_octet.transcript, whole.transcript);
        assert_eq!(octet_by_octet.delivered, whole.delivered);
    }
}

/// Threat A4.
#[test]
fn commands_after_the_end_of_content_run_once_and_in_order() {
    let script = b"DATA\r\nx\r\n.\r\nMAIL FROM:<e@f>\r\nRCPT TO:<c@d>\r\nDATA\r\ny\r\n.\r\n";
    let driver = run(Driver::greeted(), &[OPEN, script].concat(), &[]);
    let codes: Vec<&str> = driver.transcript.iter().map(|line| &line[..3]).collect();
    assert_eq!(codes, ["250", "250", "354", "250", "250", "250", "354", "250"]);
    assert_eq!(driver.delivered[0].content, b"x\r\n");
    assert_eq!(driver.delivered[1].content, b"y\r\n");
    assert_eq!(driver.delivered[1].envelope.reverse_path.to_string(), "<e@f>");
}

/// Threats A5 and A14.
#[test]
fn a_failed_chunk_leaves_no_envelope() {
    let cases: [&[u8]; 7] = [
        b"BDAT\r\n",
        b"BDAT x\r\n",
        b"BDAT 5 FIRST\r\nNOOP\r\n",
        b"BDAT -1\r\n",
        b"BDAT 3\r\na\rb",
        b"BDAT 1 LAST\r\n\r",
        b"BDAT 209715201\r\n",
    ];
    for bad in cases {
        let mut driver = run(Driver::greeted(), OPEN, &[]);
        if bad == b"BDAT 209715201\r\n" {
            // Over the limit and over what is worth reading over.
            driver.feed(bad);
            assert_eq!(driver.transcript[2..], ["552 5.3.4 message too big", "(closed)"]);
            continue;
        }
        driver.feed(bad);
        let said = driver.transcript[2].clone();
        assert!(said.starts_with("501 5.5.4") || said.starts_with("500 5.5.2"), "{said}");
        assert_eq!(driver.say("DATA"), "503 5.5.1 MAIL first");
        assert_eq!(driver.say("RCPT TO:<c@d>"), "503 5.5.1 MAIL first");
        assert_eq!(driver.say("BDAT 3 LAST\r\nx"), "503 5.5.1 MAIL first");
    }
    // Without MAIL the chunk is read over, never executed.
    let driver = run(Driver::greeted(), b"BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", &[]);
    assert_eq!(driver.transcript, ["503 5.5.1 MAIL first", "250 2.0.0 done"]);
}

/// Threats A6 and A7.
#[test]
fn a_verdict_is_for_one_message() {
    for first in [Reply::LOCAL_ERROR, Reply::NO_SUCH_USER, Reply::DELIVERED] {
        let mut verdicts = vec![Reply::NO_SUCH_USER, first.clone()];
        let mut driver =
            Driver::with_policy(settings(Role::Incoming), Channel::Clear, move |question, session| {
                match question {
                    Question::Deliver { .. } => Answer::Delivered(verdicts.pop().unwrap()),
                    other => kind(other, session),
                }
            });
        driver.say("EHLO x");
        driver.feed(OPEN);
        driver.say("DATA");
        assert_eq!(driver.say("one\r\n."), first.to_wire().trim_end());
        assert_eq!(driver.say("RCPT TO:<c@d>"), "503 5.5.1 MAIL first");
        assert_eq!(driver.say("DATA"), "503 5.5.1 MAIL first");
        assert_eq!(driver.say("BDAT 0 LAST"), "503 5.5.1 MAIL first");
        driver.feed(OPEN);
        driver.say("DATA");
        assert_eq!(driver.say("two\r\n."), "550 5.1.1 no such user");
        assert_eq!(
            driver.questions.iter().filter(|question| matches!(question, Question::Sender(_))).count(),
            2
        );
    }
}

/// The same for refusals before the content.
#[test]
fn no_place_for_content_ends_the_transaction() {
    for script in [&b"DATA\r\n"[..], b"BDAT 6 LAST\r\nQUIT\r\n"] {
        let mut driver =
            Driver::with_policy(settings(Role::Incoming), Channel::Clear, |question, session| {
                if *question == Question::Content {
                    Answer::Refuse(Reply::STORAGE_FULL)
                } else {
                    kind(question, session)
                }
            });
        driver.say("EHLO x");
        driver.feed(OPEN);
        driver.transcript.clear();
        driver.feed(script);
        assert_eq!(driver.transcript, ["452 4.3.1 no space left, try again later"]);
        assert_eq!(driver.say("DATA"), "503 5.5.1 MAIL first");
    }
}

#[test]
fn chunks_make_one_message() {
    let mut driver = run(Driver::greeted(), OPEN, &[]);
    driver.transcript.clear();
    assert_eq!(driver.say("BDAT 8\r\na: b\r\n"), "250 2.0.0 chunk received");
    assert_eq!(driver.say("RCPT TO:<e@f>").split(' ').next(), Some("503"));
    assert_eq!(driver.say("MAIL FROM:<e@f>").split(' ').next(), Some("503"));
    assert_eq!(driver.say("DATA").split(' ').next(), Some("503"));
    assert_eq!(driver.say("NOOP"), "250 2.0.0 done");
    driver.feed(b"BDAT 7 LAST\r\n.\r\n..\r\n");
    assert_eq!(driver.transcript.last().unwrap(), "250 2.2.0 message accepted");
    assert_eq!(driver.delivered[0].content, b"a: b\r\n\r\n.\r\n..\r\n");
    // A message of nothing, in one chunk and in two.
    driver.feed(OPEN);
    assert_eq!(driver.say("BDAT 0 LAST"), "250 2.2.0 message accepted");
    driver.feed(OPEN);
    assert_eq!(driver.say("BDAT 0"), "250 2.0.0 chunk received");
    assert_eq!(driver.say("BDAT 0 LAST"), "250 2.2.0 message accepted");
    // Given up half-way.
    for command in ["RSET", "EHLO y", "QUIT"] {
        driver.feed(OPEN);
        driver.say("BDAT 1\r\nx");
        let discards = driver.discards;
        driver.say(command);
        assert_eq!(driver.discards, discards + 1, "{command}");
    }
}

#[test]
fn binary_content_needs_chunks_and_stays_as_it_is() {
    let mut driver = Driver::greeted();
    driver.say("MAIL FROM:<a@b> BODY=BINARYMIME");
    driver.say("RCPT TO:<c@d>");
    assert!(driver.say("DATA").starts_with("503 5.5.1 BINARYMIME"));
    let content: Vec<u8> = (0..=255).chain(*b"\n.\n\r.\r\r\n.\r\n").collect();
    driver.feed(format!("BDAT {} LAST\r\n", content.len()).as_bytes());
    driver.feed(&content);
    assert_eq!(driver.delivered[0].content, content);
    assert!(driver.delivered[0].facts.has_eight_bit);
}

#[test]
fn back_pressure_stops_the_input_until_content_is_taken() {
    let mut driver = run(Driver::greeted(), OPEN, &[]);
    driver.say("DATA");
    let limit = driver.session.limits().content_buffer_octets;
    let now = driver.now;
    driver.session.receive(&vec![b'x'; limit - 1], now);
    assert!(driver.session.wants_input());
    driver.session.receive(b"x", now);
    assert!(!driver.session.wants_input());
    assert_eq!(driver.session.deadline(), None);
    driver.session.receive(b"y\r\n.\r\nNOOP\r\n", now);
    assert_eq!(driver.session.poll(), None, "nothing is looked at before the content is taken");
    assert_eq!(driver.session.content().len(), limit);
    driver.content.extend(driver.session.take_content(Vec::new(), now));
    driver.pump();
    assert_eq!(
        driver.transcript[driver.transcript.len() - 2..],
        ["250 2.2.0 message accepted", "250 2.0.0 done"]
    );
    assert_eq!(driver.delivered[0].content.len(), limit + 3);
}

/// Threat A15, and that an octet by octet sender is bounded too.
#[test]
fn a_header_line_without_end_counts_as_any_content() {
    let mut settings = settings(Role::Incoming);
    settings.limits.message_octets_max = 1 << 20;
    let mut driver = Driver::new(settings, Channel::Clear);
    driver.say("EHLO x");
    driver.feed(OPEN);
    driver.say("DATA");
    driver.feed(b"From ");
    for _ in 0..640 {
        driver.feed(&[b'x'; 16 << 10]);
        assert!(driver.content.len() <= (1 << 20) + (16 << 10));
    }
    assert_eq!(driver.say("\r\n."), "552 5.3.4 message too big");
    assert_eq!(driver.say("NOOP"), "250 2.0.0 done");
}

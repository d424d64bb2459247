//! Every limit, at it and one past it.

use super::*;

fn with(change: impl FnOnce(&mut Limits)) -> Driver {
    let mut settings = settings(Role::Incoming);
    change(&mut settings.limits);
    let mut driver = Driver::new(settings, Channel::Clear);
    driver.say("EHLO x");
    driver.transcript.clear();
    driver
}

fn open(driver: &mut Driver) {
    driver.feed(b"MAIL FROM:<a@them.example>\r\nRCPT TO:<c@us.example>\r\n");
}

/// Threat A9.
#[test]
fn a_line_has_2048_octets_at_most() {
    let line = |octets: usize| format!("NOOP {}\r\n", "x".repeat(octets - 7));
    let mut driver = Driver::greeted();
    driver.feed(line(2048).as_bytes());
    assert_eq!(driver.transcript, ["250 2.0.0 done"]);
    driver.feed(line(2049).as_bytes());
    assert_eq!(driver.transcript[1..], ["500 5.5.0 line too long", "(closed)"]);
    let mut driver = Driver::greeted();
    for _ in 0..100_000 {
        driver.feed(&[b'x'; 1000]);
        assert!(driver.session.input.capacity() <= 8192);
    }
    assert_eq!(driver.transcript, ["500 5.5.0 line too long", "(closed)"]);
}

#[test]
fn an_authentication_line_has_12288_octets_at_most() {
    for (octets, closes) in [(12_288, false), (12_289, true)] {
        let mut driver = Driver::new(settings(Role::Submission), Channel::Tls);
        driver.say("EHLO x");
        driver.say("AUTH PLAIN");
        driver.say(&"A".repeat(octets - 2));
        assert_eq!(driver.closed, closes, "{octets}");
    }
}

#[test]
fn a_message_has_as_many_octets_as_the_limit() {
    for (octets, reply) in [(100, "250 2.2.0 message accepted"), (101, "552 5.3.4 message too big")] {
        let content = format!("{}\r\n", "x".repeat(octets - 2));
        let mut driver = with(|limits| limits.message_octets_max = 100);
        open(&mut driver);
        driver.say("DATA");
        assert_eq!(driver.say(&format!("{content}.")), reply);
        assert_eq!(driver.say("NOOP"), "250 2.0.0 done", "in step after {octets}");
        open(&mut driver);
        let reply = if octets == 101 { "552 5.2.3 message over the limit that is set here" } else { reply };
        driver.transcript.clear();
        driver.feed(
            format!("BDAT 1\r\n{}BDAT {} LAST\r\n{}", &content[..1], octets - 1, &content[1..]).as_bytes(),
        );
        assert_eq!(driver.transcript[1], reply);
        assert_eq!(driver.say("NOOP"), "250 2.0.0 done", "in step after {octets}");
        let declared = driver.say(&format!("MAIL FROM:<a@b> SIZE={octets}"));
        assert_eq!(declared.starts_with("552 5.2.3"), octets == 101, "{declared}");
    }
    let mut driver = with(|limits| limits.message_octets_max = 100);
    assert_eq!(driver.say("MAIL FROM:<a@b> SIZE=104857600"), "552 5.3.4 message too big");
    assert_eq!(driver.say("MAIL FROM:<a@b> SIZE=99999999999999999999"), "552 5.3.4 message too big");
}

/// Threat A14: a limit of 0 refuses everything, a small SIZE proves nothing.
#[test]
fn odd_sizes_do_no_harm() {
    let mut driver = with(|limits| limits.message_octets_max = 0);
    open(&mut driver);
    driver.say("DATA");
    assert_eq!(driver.say("x\r\n."), "552 5.3.4 message too big");
    open(&mut driver);
    driver.say("DATA");
    assert_eq!(driver.say("."), "250 2.2.0 message accepted");
    let mut driver = with(|limits| limits.message_octets_max = 100);
    driver.say("MAIL FROM:<a@b> SIZE=1");
    driver.say("RCPT TO:<c@d>");
    driver.say("DATA");
    assert_eq!(driver.say(&format!("{}\r\n.", "x".repeat(200))), "552 5.3.4 message too big");
}

#[test]
fn what_is_read_over_is_bounded() {
    for (octets, closes) in [(300, false), (301, true)] {
        let mut driver = with(|limits| {
            limits.message_octets_max = 100;
            limits.discard_octets_max = 300;
        });
        open(&mut driver);
        driver.say("DATA");
        driver.feed(&[b'x'; 101]);
        driver.feed(&vec![b'x'; octets - 101]);
        assert_eq!(driver.closed, closes, "{octets}");
        assert_eq!((driver.discards, driver.delivered.len()), (1, 0));
        let mut driver = with(|limits| limits.discard_octets_max = 300);
        driver.say(&format!("BDAT {octets} LAST"));
        assert_eq!(driver.closed, closes, "{octets}");
    }
    let mut driver = with(|limits| limits.discard_octets_max = 300);
    driver.feed(&[&b"BDAT 200\r\n"[..], &[b'x'; 200]].concat());
    driver.say("BDAT 101");
    assert!(driver.closed, "the bound is for the connection, not for a chunk");
}

#[test]
fn recipients_are_bounded_and_those_before_are_kept() {
    let mut driver = with(|limits| limits.recipients_max = 2);
    driver.say("MAIL FROM:<a@b>");
    assert!(driver.say("RCPT TO:<c1@d>").starts_with("250"));
    assert!(driver.say("RCPT TO:<c2@d>").starts_with("250"));
    assert_eq!(driver.say("RCPT TO:<c3@d>"), "452 4.5.3 too many recipients");
    driver.say("DATA");
    driver.say("x\r\n.");
    assert_eq!(driver.delivered[0].envelope.recipients.len(), 2);
    assert!(driver.say("MAIL FROM:<>").starts_with("250"));
    assert!(driver.say("RCPT TO:<c@d>").starts_with("250"));
    assert_eq!(driver.say("RCPT TO:<c@d>"), "452 4.5.3 null sender may have one recipient only");
}

#[test]
fn a_thousand_recipients_may_be_pipelined() {
    let mut script = b"MAIL FROM:<a@b>\r\n".to_vec();
    for number in 0..=1000 {
        script.extend_from_slice(format!("RCPT TO:<r{number}@d>\r\n").as_bytes());
    }
    script.extend_from_slice(b"DATA\r\nx\r\n.\r\n");
    let driver = run(Driver::greeted(), &script, &[]);
    assert_eq!(driver.delivered[0].envelope.recipients.len(), 1000);
    assert_eq!(driver.transcript[1001], "452 4.5.3 too many recipients");
    assert_eq!(driver.transcript.len(), 1004);
}

#[test]
fn a_hundred_received_fields_and_no_more() {
    for (fields, reply) in
        [(100, "250 2.2.0 message accepted"), (101, "550 5.4.6 mail loop: too many Received fields")]
    {
        let mut driver = Driver::greeted();
        open(&mut driver);
        driver.say("DATA");
        let header = "Received: from a by b; now\r\n".repeat(fields);
        assert_eq!(driver.say(&format!("{header}\r\nx\r\n.")), reply);
        assert_eq!(driver.say("NOOP"), "250 2.0.0 done");
    }
}

#[test]
fn errors_are_counted_and_end_the_connection() {
    let mut driver = Driver::greeted();
    for _ in 0..20 {
        assert_eq!(driver.say("BLURB"), "500 5.5.1 unknown command");
    }
    assert_eq!(driver.say("BLURB"), "421 4.7.0 too many errors|(closed)");
    let mut driver = Driver::greeted();
    driver.say("MAIL FROM:<a@b>");
    for _ in 0..100 {
        assert_eq!(driver.say("RCPT TO:<nobody@d>"), "550 5.1.1 no such user");
    }
    assert_eq!(driver.say("RCPT TO:<nobody@d>"), "421 4.7.0 too many errors|(closed)");
}

/// Threat A10, as far as one connection goes: the DATA/RSET loop.
#[test]
fn idle_commands_and_failed_transactions_are_counted() {
    for command in ["NOOP", "RSET", "HELP", "VRFY x", "EXPN x", "EHLO y"] {
        let mut driver = with(|limits| limits.idle_commands_max = 5);
        for _ in 0..5 {
            assert!(driver.say(command).starts_with('2'));
        }
        assert_eq!(driver.say(command), "421 4.7.0 too many commands without a message|(closed)");
    }
    let fail = |driver: &mut Driver| {
        open(driver);
        driver.say("BDAT 1\r\nx");
        driver.say("RSET");
    };
    let mut driver = Driver::greeted();
    (0..10).for_each(|_| fail(&mut driver));
    fail(&mut driver);
    assert_eq!(driver.say("MAIL FROM:<a@b>"), "550 5.1.0 too many failures|(closed)");
    let mut driver = Driver::greeted();
    (0..10).for_each(|_| fail(&mut driver));
    open(&mut driver);
    driver.say("DATA");
    assert_eq!(driver.say("x\r\n."), "250 2.2.0 message accepted");
    (0..10).for_each(|_| fail(&mut driver));
    assert_eq!(driver.say("MAIL FROM:<a@b>"), "250 2.1.0 sender is fine", "one was good");
}

/// Threat A8.
#[test]
fn tiny_chunks_are_cut_off() {
    for chunk in [&b"BDAT 0\r\n"[..], b"BDAT 1\r\nx"] {
        let mut driver = Driver::greeted();
        open(&mut driver);
        driver.transcript.clear();
        let mut sent = 0;
        let flood = chunk.repeat(1000);
        while !driver.closed && sent < 1000 {
            driver.feed(&flood);
            sent += 1;
            assert!(driver.session.actions.capacity() <= 256, "replies pile up");
        }
        assert_eq!(driver.transcript.len(), 1002);
        assert_eq!(driver.transcript[1000..], ["421 4.7.0 too many tiny chunks", "(closed)"]);
        assert_eq!(driver.delivered.len(), 0);
        // Without a transaction it is no better.
        let mut driver = with(|limits| limits.strikes_max = 100_000);
        (0..1001).for_each(|_| driver.feed(chunk));
        assert!(driver.closed);
    }
    let mut driver = with(|limits| limits.tiny_chunks_max = 0);
    open(&mut driver);
    driver.feed(&[&b"BDAT 512\r\n"[..], &[b'x'; 512]].concat());
    assert!(!driver.closed);
    driver.feed(&[&b"BDAT 511\r\n"[..], &[b'x'; 511]].concat());
    assert!(driver.closed);
}

#[test]
fn replies_do_not_pile_up() {
    let mut driver = Driver::greeted();
    driver.session.receive(&b"NOOP\r\n".repeat(900), driver.now);
    assert_eq!(driver.session.actions.len(), 64);
    driver.pump();
    assert_eq!(driver.transcript.len(), 900);
}

/// Threat A16, as far as one connection goes.
#[test]
fn only_whole_lines_and_content_earn_time() {
    let mut driver = Driver::greeted();
    driver.wait(29);
    assert!(!driver.closed);
    driver.feed(b"N");
    driver.wait(1);
    assert_eq!(driver.transcript, ["421 4.4.2 timeout", "(closed)"]);

    let mut driver = Driver::greeted();
    driver.wait(29);
    driver.say("NOOP");
    driver.wait(29);
    open(&mut driver);
    driver.say("DATA");
    for _ in 0..89 {
        driver.wait(20);
        driver.feed(b"x");
        assert!(!driver.closed);
    }
    driver.wait(19);
    assert!(!driver.closed);
    driver.wait(1);
    assert!(driver.closed, "thirty minutes are enough");
    assert_eq!((driver.discards, driver.delivered.len()), (1, 0));
}

#[test]
fn time_passes_also_between_and_within_chunks() {
    for script in [&b"BDAT 1\r\nx"[..], b"BDAT 2\r\nx", b"DATA\r\n"] {
        let mut driver = Driver::greeted();
        open(&mut driver);
        driver.feed(script);
        driver.wait(30);
        assert!(driver.closed);
        assert_eq!(driver.discards, 1);
    }
    let mut driver = Driver::greeted();
    driver.feed(b"BDAT 1000\r\n");
    for _ in 0..89 {
        driver.wait(20);
        driver.feed(b"x");
    }
    driver.wait(20);
    assert!(driver.closed, "what is read over has a deadline too");
    let mut driver = Driver::greeted();
    open(&mut driver);
    for _ in 0..89 {
        driver.feed(b"BDAT 1\r\nx");
        driver.wait(20);
        assert!(!driver.closed);
    }
    driver.feed(b"BDAT 1\r\nx");
    driver.wait(20);
    assert!(driver.closed, "the whole message has one deadline");
}

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
use std::path::PathBuf;

use super::*;
use crate::address::Address;
use crate::smtp::envelope::Hold;

const NOW: i64 = 1_795_380_000;

fn code(text: &str) -> EnhancedCode {
    EnhancedCode::parse(text).unwrap()
}

fn failed() -> Recipient {
    let reply = Reply::new(550, Some(code("5.1.1")), "no such user\nsee https://them.example/").unwrap();
    Recipient {
        original: Some(TypedAddress { address_type: "rfc822".into(), address: "list@us.example".into() }),
        remote_mta: Some("mx.them.example".into()),
        diagnostic: Some(Diagnostic::smtp(&reply)),
        last_attempt: Some(NOW),
        ..Recipient::new("b@them.example", Action::Failed, code("5.1.1"))
    }
}

fn delayed() -> Recipient {
    Recipient {
        reason: Some("no server of them.example answered (timeout)".into()),
        attempts: 5,
        last_attempt: Some(NOW),
        next_attempt: Some(NOW + 2 * 3600),
        will_retry_until: Some(NOW + 14 * 3600),
        ..Recipient::new("c@them.example", Action::Delayed, code("4.4.1"))
    }
}

fn report(recipients: Vec<Recipient>) -> Report {
    Report {
        reporting_mta: "mx.us.example".into(),
        arrival: Some(NOW - 60),
        envelope_id: Some("abc+1".into()),
        future_release: None,
        recipients,
        utf8: false,
    }
}

fn write(report: &Report, returned: Returned, content: &str) -> String {
    let to = Address::parse("a@us.example").unwrap();
    let letter = Letter {
        to: &to,
        sender: None,
        now: NOW,
        unique: "u1",
        about: Some("<m1@us.example>"),
        subject: Some("Lunch?"),
        returned,
    };
    let Composed { before, after } = compose(report, &letter);
    let message = before + content + &after;
    check(&message, report.utf8);
    message
}

/// What holds of every report.
fn check(message: &str, utf8: bool) {
    assert!(!message.replace("\r\n", "").contains(['\r', '\n']), "a bare line end");
    assert!(message.lines().all(|line| line.len() <= 998), "a long line");
    // The part for a person is UTF-8 whatever the report may have elsewhere.
    let (before, rest) = message.split_once("Content-Type: text/plain; charset=utf-8\r\n").unwrap();
    let after = rest.split_once("\r\n--=_report_").unwrap().1;
    assert!(utf8 || (before.is_ascii() && after.is_ascii()), "eight bits");
    assert!(
        message.chars().all(|c| matches!(c, '\r' | '\n' | '\t') || !c.is_control()),
        "a control character"
    );
}

#[test]
fn a_failure_is_told_to_person_and_machine() {
    let content = "Subject: Lunch?\r\nMessage-ID: <m1@us.example>\r\n\r\n";
    let message = write(&report(vec![failed()]), Returned::Headers, content);
    let expected = "From: Mail Delivery System <postmaster@mx.us.example>\r
To: <a@us.example>\r
Subject: Your message could not be delivered\r
Date: Sun, 22 Nov 2026 20:40:00 +0000\r
Message-ID: <report.u1@mx.us.example>\r
In-Reply-To: <m1@us.example>\r
References: <m1@us.example>\r
Auto-Submitted: auto-replied\r
MIME-Version: 1.0\r
Content-Type: multipart/report; report-type=delivery-status;\r
\tboundary=\"=_report_u1\"\r
Content-Transfer-Encoding: 8bit\r
\r
--=_report_u1\r
Content-Type: text/plain; charset=utf-8\r
Content-Transfer-Encoding: 7bit\r
\r
This is the mail server mx.us.example.\r
\r
Your message could not be delivered to:\r
\r
  b@them.example (for list@us.example)\r
    The address does not exist there.\r
    The server mx.them.example said:\r
      550 5.1.1 no such user see https://them.example/\r
    It was tried on Sunday, 22 November 2026, 20:40 UTC.\r
    Please check how the address is written, and ask the recipient for\r
    the right one.\r
\r
It will not be tried again. You won't get another report about these\r
recipients.\r
\r
About which message:\r
  Subject: Lunch?\r
  Received here on Sunday, 22 November 2026, 20:39 UTC\r
  Message-ID: <m1@us.example>\r
  Its header is attached.\r
\r
--=_report_u1\r
Content-Type: message/delivery-status\r
Content-Transfer-Encoding: 7bit\r
\r
Original-Envelope-Id: abc+1\r
Reporting-MTA: dns; mx.us.example\r
Arrival-Date: Sun, 22 Nov 2026 20:39:00 +0000\r
\r
Original-Recipient: rfc822; list@us.example\r
Final-Recipient: rfc822; b@them.example\r
Action: failed\r
Status: 5.1.1\r
Remote-MTA: dns; mx.them.example\r
Diagnostic-Code: smtp; 550 5.1.1 no such user see https://them.example/\r
Last-Attempt-Date: Sun, 22 Nov 2026 20:40:00 +0000\r
\r
--=_report_u1\r
Content-Type: text/rfc822-headers\r
Content-Transfer-Encoding: 8bit\r
\r
Subject: Lunch?\r
Message-ID: <m1@us.example>\r
\r
\r
--=_report_u1--\r
";
    assert_eq!(message, expected);
}

#[test]
fn a_server_without_a_name_claims_none() {
    let report = Report { reporting_mta: "[192.0.2.1]".into(), ..report(vec![failed()]) };
    let message = write(&report, Returned::Nothing, "");
    assert!(message.contains("Reporting-MTA: x-local-hostname; [192.0.2.1]\r\n"), "{message}");
    assert_eq!(&*read(message.as_bytes()).unwrap().report.reporting_mta, "[192.0.2.1]");
}

#[test]
fn a_subject_is_shown_as_it_was_written() {
    let to = Address::parse("a@us.example").unwrap();
    let letter = Letter {
        to: &to,
        sender: None,
        now: NOW,
        unique: "u1",
        about: None,
        subject: Some("Gr\u{fc}\u{df}e"),
        returned: Returned::Nothing,
    };
    let Composed { before, .. } = compose(&report(vec![failed()]), &letter);
    assert!(before.contains("\r\n  Subject: Gr\u{fc}\u{df}e\r\n"), "{before}");
    // The part and what it is in say so; what programs read stays ASCII.
    assert_eq!(before.matches("Content-Transfer-Encoding: 8bit\r\n").count(), 2, "{before}");
    let status = before.split("message/delivery-status\r\n").nth(1).unwrap();
    assert!(status.starts_with("Content-Transfer-Encoding: 7bit\r\n") && status.is_ascii(), "{status}");
}

#[test]
fn a_delay_is_told_with_the_times_that_come() {
    let message = write(&report(vec![delayed()]), Returned::Nothing, "");
    for expected in [
        "Subject: Your message is delayed\r\n",
        "  c@them.example\r\n    The other server does not answer.\r\n    What happened: no server of them.example answered (timeout).\r\n",
        "It was tried 5 times so far, the last time on Sunday, 22 November\r\n    2026, 20:40 UTC.",
        "It is tried again on Sunday, 22 November 2026,\r\n    22:40 UTC, and if need be until Monday, 23 November 2026, 10:40 UTC.\r\n",
        "need not send it again",
        "Status: 4.4.1 (no server of them.example answered [timeout])\r\n",
        "Will-Retry-Until: Mon, 23 Nov 2026 10:40:00 +0000\r\n",
    ] {
        assert!(message.contains(expected), "{expected} is not in {message}");
    }
    assert!(!message.contains("Please try again later"), "{message}");
    let given_up = Recipient { action: Action::Failed, attempts: 8, ..delayed() };
    let message = write(&report(vec![given_up]), Returned::Nothing, "");
    assert!(message.contains("It was tried 8 times, the last time on Sunday,"), "{message}");
    assert!(message.contains("and then given up") && !message.contains("Will-Retry-Until"), "{message}");
}

#[test]
fn success_is_not_told_as_a_failure() {
    for (action, subject) in [
        (Action::Delivered, "Your message was delivered"),
        (Action::Relayed, "Your message was passed on"),
        (Action::Expanded, "Your message was delivered to a list"),
    ] {
        let message = write(
            &report(vec![Recipient::new("b@them.example", action, code("2.1.5"))]),
            Returned::Headers,
            "\r\n",
        );
        assert!(message.contains(&format!("Subject: {subject}\r\n")), "{message}");
        assert!(message.contains(&format!("Action: {}\r\nStatus: 2.1.5\r\n", action.name())));
        assert!(!message.contains("tried") && !message.contains("Please"), "{message}");
    }
    // The worst comes first.
    let mixed = [Action::Expanded, Action::Delayed, Action::Failed]
        .map(|action| Recipient::new("b@them.example", action, code("5.0.0")));
    let message = write(&report(mixed.to_vec()), Returned::Nothing, "");
    assert!(message.contains("Subject: Your message could not be delivered\r\n"));
}

/// What is read is what was written.
#[test]
fn reports_come_back() {
    for utf8 in [false, true] {
        for returned in [Returned::Nothing, Returned::Headers, Returned::Full] {
            let international = Recipient {
                original: Some(TypedAddress {
                    address_type: "utf-8".into(),
                    address: "\u{fc}+x@us.example".into(),
                }),
                ..Recipient::new("b\u{fc}@them.example", Action::Relayed, code("2.0.0"))
            };
            // Folded, and all of it is there again.
            let folded = Recipient {
                reason: Some("words ".repeat(50).trim_end().into()),
                diagnostic: Some(Diagnostic {
                    kind: "smtp".into(),
                    text: "550 ".repeat(100).trim_end().into(),
                }),
                ..Recipient::new(&format!("{}@them.example", "c".repeat(90)), Action::Failed, code("5.1.1"))
            };
            let mut recipients = vec![failed(), delayed(), international, folded];
            let report = Report { utf8, ..report(recipients.clone()) };
            let content = match returned {
                Returned::Nothing => "",
                Returned::Headers => "Message-ID: <m1@us.example>\r\n\r\n",
                Returned::Full => "Message-ID: <m1@us.example>\r\n\r\n--=_report_\r\n\r\nx\r\n",
            };
            let read = read(write(&report, returned, content).as_bytes()).unwrap();
            // Attempts and the next one are for the person.
            recipients[1].attempts = 0;
            recipients[1].next_attempt = None;
            recipients[1].reason = Some("no server of them.example answered [timeout]".into());
            assert_eq!(read.report, Report { recipients, ..report });
            let message_id = (returned != Returned::Nothing).then(|| b"m1@us.example".to_vec());
            assert_eq!(read.message_id, message_id);
        }
    }
}

#[test]
fn no_text_of_others_leaves_its_field() {
    let evil = "x\r\nAction: delivered\r\n\r\n--=_report_u1--\r\n\0\u{202e}\u{fc})\\(";
    let reply = Diagnostic { kind: "smtp".into(), text: evil.repeat(30).into() };
    let mut recipient = Recipient {
        original: Some(TypedAddress { address_type: "rfc822".into(), address: evil.into() }),
        reason: Some(evil.into()),
        remote_mta: Some(evil.into()),
        diagnostic: Some(reply),
        ..Recipient::new(evil, Action::Failed, code("5.0.0"))
    };
    for utf8 in [false, true] {
        let hostile = Report { envelope_id: Some(evil.into()), utf8, ..report(vec![recipient.clone()]) };
        let message = write(&hostile, Returned::Nothing, "");
        let read = read(message.as_bytes()).unwrap();
        assert_eq!(read.report.recipients.len(), 1);
        assert_eq!(read.report.recipients[0].action, Action::Failed);
        assert_eq!(message.lines().filter(|line| line.starts_with("Action:")).count(), 1);
        assert_eq!(message.lines().filter(|line| line.starts_with("--=_report_u1")).count(), 3);
    }
    // Words without a space at which they could be folded.
    recipient.diagnostic = Some(Diagnostic { kind: "smtp".into(), text: "\u{fc}".repeat(20_000).into() });
    write(&Report { utf8: true, ..report(vec![recipient]) }, Returned::Nothing, "");
}

#[test]
fn a_report_on_many_recipients_names_all_to_machines() {
    let many = (0..250).map(|n| Recipient::new(&format!("r{n}@them.example"), Action::Failed, code("5.1.1")));
    let message = write(&report(many.collect()), Returned::Nothing, "");
    assert!(message.contains("and 150 more, which the attached report names.\r\n"));
    assert_eq!(read(message.as_bytes()).unwrap().report.recipients.len(), 250);
}

fn from_fields(fields: &str) -> Option<Incoming> {
    let message = format!(
        "From: x@y\nContent-Type: multipart/report; report-type=\"delivery-status\"; boundary=b\n\n--b\n\nHello\n\
         --b\nContent-Type: message/delivery-status\n\n{fields}\n--b--\n"
    );
    let crlf = message.replace('\n', "\r\n");
    assert_eq!(read(crlf.as_bytes()), read(message.as_bytes()));
    read(message.as_bytes())
}

#[test]
fn foreign_reports_are_read_kindly() {
    let read = from_fields(
        "\n\nReporting-MTA:mx.them.example\nArrival-date: Sun, 22 Nov 2026 21:39:00 +0100 (CET)\n\n\
         Final-Recipient: <B@them.example>\nACTION: Failed (for good)\nStatus: 5.1.1 (bad\n mailbox)\n\
         Diagnostic-Code: X-Postfix; host mx said:\n\t550-5.1.1 who?\nX-Other: y\nFinal-Recipient: rfc822; second@x\n\n\n\n\
         Original-Recipient: rfc822;c@them.example\nAction: delayed\nDiagnostic-Code: 450 4.7.1 gray\n\
         Will-Retry-Until: Mon, 23 Nov 2026 10:40:00 -0000\n\nAction: failed\n\nFinal-Recipient: rfc822; d@x\nAction: eaten\n\n\
         Final-Recipient: rfc822; e@x\nAction: delivered\nStatus: nonsense\n",
    )
    .unwrap();
    let report = read.report;
    assert_eq!((&*report.reporting_mta, report.arrival), ("mx.them.example", Some(NOW - 60)));
    let said: Vec<String> = report
        .recipients
        .iter()
        .map(|one| format!("{} {:?} {}", one.address.address, one.action, one.status))
        .collect();
    assert_eq!(said, ["B@them.example Failed 5.1.1", "c@them.example Delayed 4.7.1", "e@x Delivered 2.0.0"]);
    assert_eq!(report.recipients[0].reason.as_deref(), Some("bad mailbox"));
    let diagnostics: Vec<&Diagnostic> =
        report.recipients.iter().filter_map(|one| one.diagnostic.as_ref()).collect();
    assert_eq!((&*diagnostics[0].kind, diagnostics[0].enhanced()), ("x-postfix", Some(code("5.1.1"))));
    assert_eq!((&*diagnostics[1].kind, diagnostics[1].code()), ("smtp", Some(450)));
    assert_eq!(report.recipients[1].will_retry_until, Some(NOW + 14 * 3600));
}

#[test]
fn other_messages_are_no_reports() {
    for message in [
        "",
        "Subject: x\n\ny",
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\nFinal-Recipient: x@y\nAction: failed\n--b--",
        "Content-Type: multipart/report; report-type=disposition-notification; boundary=b\n\n--b\nContent-Type: \
         message/delivery-status\n\nFinal-Recipient: x@y\nAction: failed\n--b--",
        "Content-Type: multipart/report; boundary=b\n\n--b\nContent-Type: text/plain\n\nFinal-Recipient: x@y\nAction: failed\n--b--",
    ] {
        assert_eq!(read(message.as_bytes()), None, "{message}");
    }
    for fields in
        ["", "Reporting-MTA: dns; x\n", "Reporting-MTA: dns; x\n\nAction: failed\n", "Final-Recipient: x@y\n"]
    {
        assert_eq!(from_fields(fields), None, "{fields}");
    }
}

#[test]
fn what_is_read_is_bounded() {
    let group = "\nFinal-Recipient: rfc822; x@y\nAction: failed\nStatus: 5.0.0\n";
    let count = |groups: usize| from_fields(&group.repeat(groups)).unwrap().report.recipients.len();
    assert_eq!(count(read::RECIPIENTS_MAX), read::RECIPIENTS_MAX);
    assert_eq!(count(read::RECIPIENTS_MAX + 1), read::RECIPIENTS_MAX);
    let long = format!("{group}Diagnostic-Code: smtp; {}\n", "x".repeat(100_000));
    let read = from_fields(&long).unwrap();
    assert!(read.report.recipients[0].diagnostic.as_ref().unwrap().text.len() < 2100);
    // What lies beyond the octets that are looked at isn't there.
    let part = StatusPart {
        start: 0,
        end: 0,
        encoding: crate::mime::decode::TransferEncoding::Identity,
        utf8: false,
    };
    let late = format!("{}{group}", "X: y\n".repeat(read::STATUS_OCTETS_MAX / 5 + 1));
    assert_eq!(parse(late.as_bytes(), &part), None);
}

#[test]
fn codes_are_found_in_what_servers_write() {
    for (text, basic, enhanced) in [
        ("550 5.1.1 who", Some(550), Some("5.1.1")),
        ("550-5.1.1 who", Some(550), Some("5.1.1")),
        ("5.1.1 (550) who", Some(550), Some("5.1.1")),
        ("#550 who ##rfc", None, None),
        ("delivery error: dd Sorry 550", None, None),
        ("451 4.7.1", Some(451), Some("4.7.1")),
        ("999 x", None, None),
        ("", None, None),
    ] {
        let diagnostic = Diagnostic { kind: "smtp".into(), text: text.into() };
        assert_eq!((diagnostic.code(), diagnostic.enhanced()), (basic, enhanced.map(code)), "{text}");
    }
}

/// The folders of reports of other projects.
fn suite(name: &str) -> Option<Vec<PathBuf>> {
    let folder = postrider_testing::suite(&format!("dsn/{name}"))?;
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    Some(files)
}

#[test]
fn reports_of_other_servers_are_read() {
    for (name, reports_min) in [("sisimai/bsd", 284), ("kumomta/rfc3464", 6), ("enmime", 4)] {
        let Some(files) = suite(name) else { return };
        let mut reports = 0;
        for file in &files {
            let octets = std::fs::read(file).unwrap();
            let found = read(&octets);
            for recipient in found.iter().flat_map(|found| &found.report.recipients) {
                assert!(!recipient.address.address.is_empty(), "{}", file.display());
            }
            reports += usize::from(found.is_some());
        }
        println!("{name}: {reports} reports in {} files", files.len());
        assert!(reports >= reports_min, "{name}: {reports} of {}", files.len());
    }
}

/// Random reports with fixed seeds: no octets make the reader fall over, and what is read can be written.
#[test]
fn any_octets_are_read_or_not() {
    let words: [&str; 26] = [
        "Final-Recipient:",
        "Original-Recipient:",
        "Action:",
        "Status:",
        "Diagnostic-Code:",
        "Reporting-MTA:",
        "Arrival-Date:",
        "Will-Retry-Until:",
        "Remote-MTA:",
        " rfc822; a@b",
        " utf-8; \u{fc}\\x{FC}@b",
        " failed",
        " delayed",
        " 5.1.1",
        " 4.999.1000",
        " smtp; 550",
        "\n",
        "\n",
        "\r\n",
        "\n\n",
        "\0",
        ";",
        "(",
        " Sun, 22 Nov 2026 20:39:00 +9999",
        "\n\nFinal-Recipient: rfc822; c@d\nAction: relayed\n",
        "\n\nFinal-Recipient: x\nAction: failed\nStatus: 5.1.1 (",
    ];
    let part = StatusPart {
        start: 0,
        end: 0,
        encoding: crate::mime::decode::TransferEncoding::Identity,
        utf8: true,
    };
    let mut read = 0;
    for seed in 1..5000_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut text = String::new();
        for _ in 0..40 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            text.push_str(words[(state >> 16) as usize % words.len()]);
        }
        if let Some(report) = parse(text.as_bytes(), &part) {
            read += 1;
            write(&report, Returned::Nothing, "");
            write(&Report { utf8: false, ..report }, Returned::Nothing, "");
        }
    }
    assert!(read > 500, "{read}");
}

/// A failure that its sender can't be told of.
#[test]
fn a_report_to_the_postmaster_says_whose_message_it_is() {
    let to = Address::parse("postmaster@us.example").unwrap();
    let of = |sender| {
        let letter = Letter {
            to: &to,
            sender: Some(sender),
            now: NOW,
            unique: "u1",
            about: None,
            subject: None,
            returned: Returned::Nothing,
        };
        let Composed { before, after } = compose(&report(vec![failed()]), &letter);
        let message = before + &after;
        check(&message, false);
        message
    };
    let message = of("a@us.example");
    assert!(message.contains("\r\nSubject: A message could not be delivered\r\n"), "{message}");
    assert!(message.contains("\r\nA message from a@us.example could not be delivered to:\r\n"), "{message}");
    assert!(
        message.contains("\r\nIt will not be tried again, and its sender was not told.\r\n"),
        "{message}"
    );
    assert!(!message.contains("Your message") && !message.contains("Please"), "{message}");
    assert!(of("").contains("\r\nA message with the null sender could not be delivered to:\r\n"));
}

#[test]
fn a_message_that_was_given_up_says_how_often_it_was_tried() {
    let mut given_up = failed();
    given_up.attempts = 21;
    let message = write(&report(vec![given_up]), Returned::Nothing, "");
    assert!(message.contains("It was tried 21 times, the last time on Sunday"), "{message}");
}

#[test]
fn how_it_was_to_be_held_is_told_again() {
    for (wish, text) in [(Hold::For(60), "for;60"), (Hold::Until(NOW), "until;2026-11-22T20:40:00Z")] {
        let report = Report { future_release: Some(wish.to_string().into()), ..report(vec![failed()]) };
        let message = write(&report, Returned::Nothing, "");
        assert!(message.contains(&format!("\r\nFuture-Release-Request: {text}\r\n")), "{message}");
        let read = read(message.as_bytes()).unwrap().report;
        assert_eq!(read.future_release.as_deref(), Some(text));
    }
}

//! Conversations: which reply which command gets in which state.

use super::*;

#[test]
fn a_message_is_received_with_all_that_was_said_about_it() {
    let mut driver = Driver::new(settings(Role::Incoming), Channel::Tls);
    assert_eq!(driver.transcript, ["220 mx.us.example ESMTP postrider"]);
    assert_eq!(
        driver.say("EHLO them.example"),
        "250-mx.us.example|250-PIPELINING|250-SIZE 104857600|250-REQUIRETLS|250-ENHANCEDSTATUSCODES|250-8BITMIME|\
         250-BINARYMIME|250-CHUNKING|250-DSN|250-LIMITS RCPTMAX=1000|250 SMTPUTF8"
    );
    let mail = "MAIL FROM:<j\u{f6}rg@them.example> SIZE=9 BODY=8BITMIME SMTPUTF8 REQUIRETLS RET=HDRS ENVID=a+2Bb AUTH=<>";
    assert_eq!(driver.say(mail), "250 2.1.0 sender is fine");
    let rcpt = "RCPT TO:<a@us.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x+40y";
    assert_eq!(driver.say(rcpt), "250 2.1.0 recipient is fine");
    assert_eq!(driver.say("RCPT TO:<nobody@us.example>"), "550 5.1.1 no such user");
    assert_eq!(driver.say("RCPT TO:<Postmaster>"), "250 2.1.0 recipient is fine");
    assert_eq!(driver.say("DATA"), "354 end with a dot on a line by itself");
    assert_eq!(driver.say("a: b\r\n\r\n..x\r\n."), "250 2.2.0 message accepted");
    assert_eq!(driver.say("QUIT"), "221 2.0.0 bye|(closed)");
    let delivered = driver.delivered.pop().unwrap();
    assert_eq!(delivered.content, b"a: b\r\n\r\n.x\r\n");
    assert!(delivered.facts.has_separator);
    let envelope = delivered.envelope;
    assert_eq!(envelope.reverse_path.to_string(), "<j\u{f6}rg@them.example>");
    assert_eq!(envelope.body, BodyType::EightBitMime);
    assert!(envelope.smtputf8 && envelope.requiretls);
    assert_eq!(envelope.ret, Some(Return::Headers));
    assert_eq!(envelope.envelope_id.as_deref(), Some("a+b"));
    assert_eq!(envelope.declared_octets, Some(9));
    let [first, second] = &envelope.recipients[..] else { panic!("two recipients") };
    assert_eq!((first.path.to_string().as_str(), first.token), ("a@us.example", 7));
    assert_eq!(first.notify, Some(Notify { success: true, failure: false, delay: true }));
    assert_eq!(first.original.as_ref().map(|original| &*original.address), Some("x@y"));
    assert_eq!((second.path.clone(), second.notify), (ForwardPath::Postmaster, None));
}

#[test]
fn external_is_offered_to_known_certificates_only() {
    let mut settings = settings(Role::Submission);
    settings.mechanisms.push("EXTERNAL".into());
    let mut driver = Driver::new(settings, Channel::Tls);
    assert!(!driver.say("EHLO pc").contains("EXTERNAL"));
    let unknown = driver.say("AUTH NONSENSE");
    assert_eq!(driver.say("AUTH EXTERNAL ="), unknown);
    driver.session.set_certificate(Certificate::Known);
    assert!(driver.say("EHLO pc").contains(" LOGIN EXTERNAL|"));
    assert!(driver.say("AUTH EXTERNAL =").starts_with("535 "), "the driver's policy knows nobody by it");
}

#[test]
fn submission_offers_what_it_should_before_and_under_tls() {
    let mut driver = Driver::new(settings(Role::Submission), Channel::Clear);
    let clear = driver.say("EHLO pc");
    assert!(clear.contains("|250-STARTTLS|250-FUTURERELEASE 5184000 2027-01-21T20:40:00Z|"), "{clear}");
    assert!(!clear.contains("AUTH") && !clear.contains("REQUIRETLS"));
    assert_eq!(driver.say("STARTTLS"), "220 2.0.0 start TLS now|(TLS)");
    driver.session.started_tls(driver.now);
    let tls = driver.say("EHLO pc");
    assert!(
        tls.contains("|250-REQUIRETLS|250-AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN|250-FUTURE"),
        "{tls}"
    );
    assert!(!tls.contains("STARTTLS"));
    let mut settings = settings(Role::Submission);
    settings.clear_auth = ClearAuth::Allowed;
    let mut driver = Driver::new(settings.clone(), Channel::Clear);
    assert!(driver.say("EHLO pc").contains("|250-AUTH SCRAM-SHA-256 PLAIN LOGIN|"));
    settings.tls = TlsOffer::Required;
    assert!(!Driver::new(settings, Channel::Clear).say("EHLO pc").contains("AUTH"));
    assert_eq!(Driver::incoming().say("HELO pc"), "250 mx.us.example");
}

/// Threat B3.
#[test]
fn passwords_are_not_taken_in_clear() {
    let mut driver = Driver::new(settings(Role::Submission), Channel::Clear);
    driver.say("EHLO pc");
    assert_eq!(driver.say("AUTH PLAIN AGZyZWQAc2VjcmV0"), "538 5.7.11 authentication needs TLS");
    assert_eq!(driver.say("MAIL FROM:<a@b>"), "530 5.7.0 authentication required");
    assert_eq!(driver.questions.len(), 1);
    let mut settings = settings(Role::Submission);
    settings.tls = TlsOffer::Required;
    let mut driver = Driver::new(settings, Channel::Clear);
    driver.say("EHLO pc");
    assert_eq!(driver.say("MAIL FROM:<a@b>"), "530 5.7.0 STARTTLS first");
}

#[test]
fn authentication_goes_through_its_states() {
    let mut driver = Driver::new(settings(Role::Submission), Channel::Tls);
    assert_eq!(driver.say("AUTH PLAIN"), "503 5.5.1 say EHLO first");
    driver.say("EHLO pc");
    assert_eq!(driver.say("AUTH"), "501 5.5.2 syntax error");
    assert_eq!(driver.say("AUTH DIGEST-MD5"), "504 5.5.4 unknown authentication mechanism");
    assert_eq!(driver.say("AUTH PLAIN A"), "501 5.5.2 bad base64");
    assert_eq!(driver.say("auth plain"), "334 ");
    assert_eq!(driver.say("*"), "501 5.5.0 authentication aborted");
    assert_eq!(driver.say("AUTH PLAIN"), "334 ");
    assert_eq!(driver.say("!!"), "501 5.5.2 bad base64");
    assert_eq!(driver.say("AUTH PLAIN ="), "535 5.7.8 bad user name or password");
    assert_eq!(driver.say("AUTH PLAIN"), "334 ");
    assert_eq!(driver.say("AGZyZWQAc2VjcmV0"), "235 2.7.0 authenticated");
    assert_eq!(driver.session.login(), Some("fred"));
    assert_eq!(driver.say("AUTH PLAIN"), "503 5.5.1 authenticated already");
    assert_eq!(driver.say("MAIL FROM:<a@b> HOLDFOR=60"), "250 2.1.0 sender is fine");
    assert_eq!(driver.say("EHLO again").matches("250").count(), 13);
    assert_eq!(driver.session.login(), Some("fred"));
    driver.session.receive(b"AUTH PLAIN AGZyZWQAc2VjcmV0", driver.now);
    let printed = format!("{:?} {:?}", driver.questions, driver.session);
    // As text, in base64 and as a list of octets.
    assert!(!["secret\"", "c2VjcmV0", "115, 101"].iter().any(|form| printed.contains(form)), "{printed}");
}

#[test]
fn failed_authentications_slow_the_connection_down_and_then_end_it() {
    let mut driver = Driver::new(settings(Role::Submission), Channel::Tls);
    driver.say("EHLO pc");
    let mut pauses = Vec::new();
    for attempt in 1..=10 {
        let before = driver.paused;
        let said = driver.say("AUTH PLAIN AAAA");
        pauses.push((driver.paused - before).as_secs());
        assert_eq!(said.starts_with("(Slow)|535 5.7.8"), attempt == 3, "{said}");
        assert_eq!(said.contains("421 4.7.0"), attempt == 10, "{said}");
    }
    assert_eq!(pauses, [0, 0, 0, 0, 2, 3, 4, 5, 6, 7]);
    assert!(driver.closed);
}

#[test]
fn out_of_turn_is_503_and_changes_nothing() {
    let mut driver = Driver::incoming();
    for line in ["MAIL FROM:<a@b>", "RCPT TO:<a@b>", "DATA", "STARTTLS"] {
        assert_eq!(driver.say(line), "503 5.5.1 say EHLO first");
    }
    assert!(driver.say("EHLO").starts_with("501 5.5.4"));
    assert!(driver.say("HELO").starts_with("501 5.5.4"));
    driver.say("EHLO x");
    assert_eq!(driver.say("RCPT TO:<a@b>"), "503 5.5.1 MAIL first");
    assert_eq!(driver.say("DATA"), "503 5.5.1 MAIL first");
    assert_eq!(driver.say("AUTH PLAIN"), "503 5.5.1 AUTH is not offered");
    driver.say("MAIL FROM:<a@b>");
    assert_eq!(driver.say("MAIL FROM:<c@d>"), "503 5.5.1 a mail transaction is active already");
    assert_eq!(driver.say("DATA"), "503 5.5.1 no valid recipients");
    assert!(driver.say("EHLO bad(name").starts_with("501"));
    assert!(driver.say("RCPT TO:<c@d>").starts_with("250"));
    assert_eq!(driver.session.envelope().unwrap().reverse_path.to_string(), "<a@b>");
    assert_eq!(driver.say("RSET"), "250 2.0.0 done");
    assert_eq!(driver.say("RCPT TO:<c@d>"), "503 5.5.1 MAIL first");
    driver.say("MAIL FROM:<a@b>");
    assert!(driver.say("EHLO y").starts_with("250"));
    assert_eq!(driver.say("RCPT TO:<c@d>"), "503 5.5.1 MAIL first");
    for (line, reply) in [
        ("VRFY a", "252 2.7.0 "),
        ("EXPN a", "252 2.7.0 "),
        ("VRFY", "501 5.5.2 "),
        ("HELP", "214 2.0.0 "),
        ("NOOP some text", "250 2.0.0 "),
        ("RSET x", "501 5.5.4 "),
        ("BLURB", "500 5.5.1 "),
        ("rset  ", "250 2.0.0 "),
    ] {
        assert!(driver.say(line).starts_with(reply), "{line}");
    }
}

/// RFC 5321 §4.1.4: after a refused EHLO the session is where it was.
#[test]
fn a_refused_greeting_keeps_the_transaction() {
    let mut driver =
        Driver::with_policy(settings(Role::Incoming), Channel::Clear, |question, session| match question {
            Question::Hello(hello) if hello.name.to_string() == "evil" => {
                Answer::Refuse(Reply::new(Class::Permanent, 50, (5, 0), "no such host"))
            }
            other => kind(other, session),
        });
    assert_eq!(driver.say("HELO evil"), "550 5.5.0 no such host");
    assert!(driver.say("MAIL FROM:<a@b>").starts_with("503"));
    driver.say("HELO good");
    driver.say("MAIL FROM:<a@b>");
    assert_eq!(driver.say("HELO evil"), "550 5.5.0 no such host");
    assert!(driver.say("RCPT TO:<a@b>").starts_with("250"));
}

#[test]
fn what_is_not_smtp_is_closed_at_once() {
    for script in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n"[..],
        b"GET / HTTP/1.1\nEHLO x\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"\x80\x2e\x01\r\n",
        b"BLURB\r\n",
        b"\xff\xff\r\nEHLO x\r\n",
        b"\r\nEHLO x\r\n",
    ] {
        let driver = run(Driver::incoming(), script, &[]);
        let expected = ["500 5.5.2 please try again speaking smtp", "(closed)"];
        assert_eq!(driver.transcript[1..], expected, "{}", script.escape_ascii());
    }
}

/// Threats A11 and A13.
#[test]
fn utf8_and_other_octets_are_refused_without_a_slip() {
    let mut driver = Driver::greeted();
    driver.feed(b"MAIL FROM:<\xff@x>\r\n");
    driver.feed(b"MAIL FROM:<\xc3\xbc@x>\r\n");
    driver.feed(
        b"MAIL FROM:<a@b>\r\nRCPT TO:<\xc3\xbc@x>\r\nVRFY \xc3\xbc\r\nEXPN \xc3\xbc\r\nRCPT TO:<a\0@x>\r\n",
    );
    driver.feed(b"RCPT TO:<a@\xc3\xbc.example>\r\nVRFY \xc3\xbc SMTPUTF8\r\nRCPT TO:<c@d>\r\n");
    let codes: Vec<&str> = driver.transcript.iter().map(|line| &line[..9]).collect();
    assert_eq!(
        codes,
        [
            "501 5.5.2",
            "550 5.6.7",
            "250 2.1.0",
            "553 5.6.7",
            "553 5.6.7",
            "553 5.6.7",
            "501 5.5.2",
            "553 5.6.7",
            "252 2.7.0",
            "250 2.1.0"
        ]
    );
    assert_eq!(driver.session.envelope().unwrap().recipients.len(), 1);
    driver.say("RSET");
    assert!(driver.say("MAIL FROM:<\u{fc}@x> SMTPUTF8").starts_with("250"));
    assert!(driver.say("RCPT TO:<\u{fc}@\u{fc}.example>").starts_with("250"));
}

#[test]
fn requiretls_needs_tls_and_an_offer() {
    let mail = "MAIL FROM:<a@b> REQUIRETLS";
    assert_eq!(Driver::greeted().say(mail), "523 5.7.10 REQUIRETLS needs TLS");
    let mut disabled = settings(Role::Incoming);
    disabled.requiretls = RequireTls::Disabled;
    let mut driver = Driver::new(disabled, Channel::Tls);
    assert!(!driver.say("EHLO x").contains("REQUIRETLS"));
    assert!(driver.say(mail).starts_with("555 5.3.3"));
    let mut driver = Driver::new(settings(Role::Incoming), Channel::Tls);
    driver.say("EHLO x");
    assert!(driver.say(mail).starts_with("250"));
    // Without any TLS set up, nothing of it is offered.
    let mut absent = settings(Role::Incoming);
    absent.tls = TlsOffer::Absent;
    let hello = Driver::new(absent, Channel::Clear).say("EHLO x");
    assert!(!hello.contains("TLS"), "{hello}");
}

#[test]
fn holding_is_for_submission_and_within_sixty_days() {
    assert!(Driver::greeted().say("MAIL FROM:<a@b> HOLDFOR=60").starts_with("555 5.3.3"));
    for (parameter, reply) in [
        ("HOLDFOR=5184000", "250"),
        ("HOLDFOR=5184001", "501 5.5.4"),
        ("HOLDUNTIL=2026-11-22T20:40:01Z", "250"),
        ("HOLDUNTIL=2026-11-22T20:40:00Z", "501 5.5.4"),
        ("HOLDUNTIL=2027-01-21T20:40:00Z", "250"),
        ("HOLDUNTIL=2027-01-21T20:40:01Z", "501 5.5.4"),
        ("HOLDFOR=1 HOLDUNTIL=2027-01-21T20:40:00Z", "501 5.5.4"),
    ] {
        let mut driver = Driver::new(settings(Role::Submission), Channel::Tls);
        driver.say("EHLO pc");
        driver.say("AUTH PLAIN AGZyZWQAc2VjcmV0");
        let said = driver.say(&format!("MAIL FROM:<a@b> {parameter}"));
        assert!(said.starts_with(reply), "{parameter}: {said}");
    }
}

/// Threat B1.
#[test]
fn nothing_said_before_tls_counts_under_tls() {
    let mut driver = Driver::greeted();
    driver.feed(b"MAIL FROM:<a@b>\r\n");
    driver.say("STARTTLS");
    assert!(!driver.session.wants_input());
    driver.session.receive(b"MAIL FROM:<evil@b>\r\n", driver.now);
    driver.session.started_tls(driver.now);
    driver.pump();
    assert_eq!(driver.session.hello(), None);
    assert_eq!(driver.say("RCPT TO:<c@d>"), "503 5.5.1 say EHLO first");
    driver.say("EHLO x");
    assert_eq!(driver.say("STARTTLS"), "503 5.5.1 TLS is active already");
    assert_eq!(driver.say("RCPT TO:<c@d>"), "503 5.5.1 MAIL first");

    let driver = run(Driver::greeted(), b"STARTTLS\r\nMAIL FROM:<evil@b>\r\nRCPT TO:<c@d>\r\n", &[]);
    assert_eq!(driver.transcript, ["503 5.5.1 nothing may follow STARTTLS before its reply", "(closed)"]);
}

/// Threat A20, at the session: what is not refused is asked about as a plain address.
#[test]
fn relay_tricks_reach_the_driver_as_plain_addresses_or_not_at_all() {
    let mut driver = Driver::greeted();
    driver.say("MAIL FROM:<a@b>");
    assert_eq!(driver.say("RCPT TO:<a@[127.0.0.1]>"), "550 5.1.1 mail to address literals is not accepted");
    assert_eq!(driver.say("RCPT TO:<a@[IPv6:::1]>"), "550 5.1.1 mail to address literals is not accepted");
    assert!(driver.say("RCPT TO:<a@us.example.>").starts_with("501 5.1.3"));
    assert!(driver.say("RCPT TO:a@us.example").starts_with("501 5.5.2"));
    assert!(driver.say("RCPT TO:<>").starts_with("501 5.1.3"));
    driver.questions.clear();
    driver.say("RCPT TO:<@us.example:a@them.example>");
    driver.say("RCPT TO:<\"a@them.example\"@US.example>");
    let asked: Vec<String> = driver
        .questions
        .iter()
        .map(|question| match question {
            Question::Recipient(path) => path.to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(asked, ["a@them.example", "\"a@them.example\"@us.example"]);
    driver.say("RSET");
    assert_eq!(
        driver.say("MAIL FROM:<a@[127.0.0.1]>"),
        "550 5.7.0 address literal as sender is not accepted"
    );
}

#[test]
fn lines_end_in_cr_lf_only_and_stay_in_step() {
    let driver = run(Driver::greeted(), b"MAIL FROM:<a@b>\nNOOP\r\nNO\rOP\r\nRSET\r\r\nNOOP\r\n", &[]);
    let codes: Vec<&str> = driver.transcript.iter().map(|line| &line[..9]).collect();
    assert_eq!(codes, ["500 5.5.2", "250 2.0.0", "500 5.5.2", "500 5.5.2", "250 2.0.0"]);
    assert!(driver.session.envelope().is_none());
}

#[test]
fn replies_to_pipelined_commands_leave_together_and_in_order() {
    let mut driver = Driver::greeted();
    driver.session.receive(b"NOOP\r\nRSET\r\nNOOP\r\nNO", driver.now);
    let mut replies = 0;
    while let Some(action) = driver.session.poll() {
        assert!(matches!(action, Action::Send(_)));
        replies += 1;
    }
    assert_eq!(replies, 3);
    assert!(driver.session.wants_input());
}

#[test]
fn shutdown_waits_for_an_open_question_only() {
    let mut driver = Driver::greeted();
    driver.session.shutdown();
    driver.pump();
    assert_eq!(driver.transcript, ["421 4.3.2 shutting down, try again soon", "(closed)"]);

    let mut driver = Driver::greeted();
    driver.feed(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx");
    driver.session.shutdown();
    driver.pump();
    assert_eq!((driver.discards, driver.delivered.len()), (1, 0));

    let mut driver = Driver::greeted();
    driver.session.receive(b"MAIL FROM:<a@b>\r\nNOOP\r\n", driver.now);
    assert!(matches!(driver.session.poll(), Some(Action::Ask(Question::Sender(_)))));
    driver.session.shutdown();
    assert_eq!(driver.session.poll(), None);
    driver.session.answer(Answer::Proceed, driver.now);
    driver.pump();
    assert_eq!(
        driver.transcript,
        ["250 2.1.0 sender is fine", "421 4.3.2 shutting down, try again soon", "(closed)"]
    );
}

#[test]
fn an_answer_that_does_not_fit_accepts_nothing() {
    for answer in [
        Answer::Proceed,
        Answer::Recipient(1),
        Answer::Delivered(Reply::DELIVERED),
        Answer::AuthChallenge(Vec::new()),
        Answer::AuthSucceeded { login: "x".into() },
        Answer::Refuse(Reply::DELIVERED),
        Answer::AuthFailed(Reply::DELIVERED),
    ] {
        for wrong in ["Sender", "Recipient", "Content", "Deliver"] {
            let mut driver = Driver::incoming();
            driver.say("EHLO x");
            let given = answer.clone();
            driver.policy = Box::new(move |question, session| {
                if format!("{question:?}").starts_with(wrong) {
                    given.clone()
                } else {
                    kind(question, session)
                }
            });
            let right = matches!(
                (wrong, &answer),
                ("Sender" | "Content", Answer::Proceed)
                    | ("Recipient", Answer::Recipient(_))
                    | ("Deliver", Answer::Delivered(_))
            );
            let script = b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n";
            driver.feed(script);
            if driver.transcript.last().unwrap().starts_with("354") {
                driver.say("x\r\n.");
            }
            assert_eq!(
                right,
                !driver.transcript.iter().any(|line| line.starts_with("451 4.3.0")),
                "{wrong} {answer:?}"
            );
            assert_eq!(right, driver.delivered.len() == 1);
        }
    }
}

/// A driver may answer 421 to anything.
#[test]
fn a_closing_answer_closes() {
    for at in ["Hello", "Sender", "Recipient", "Content", "Deliver"] {
        let mut driver =
            Driver::with_policy(settings(Role::Incoming), Channel::Clear, move |question, session| {
                if format!("{question:?}").starts_with(at) {
                    return Answer::Refuse(Reply::TOO_MANY_CONNECTIONS);
                }
                kind(question, session)
            });
        driver.feed(b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n.\r\nNOOP\r\n");
        let tail = &driver.transcript[driver.transcript.len() - 2..];
        assert_eq!(tail, ["421 4.7.0 too many connections from your network", "(closed)"], "{at}");
    }
}

#[test]
fn a_session_is_small_and_can_move_between_threads() {
    fn can_move<T: Send>(_: &T) {}
    let mut driver = Driver::greeted();
    driver.say("NOOP");
    can_move(&driver.session);
    let octets = size_of::<Session>();
    println!("an idle session takes {octets} octets, and {} of queue", {
        driver.session.actions.capacity() * size_of::<Action>()
    });
    assert!(octets <= 352, "{octets}");
    assert_eq!((driver.session.input.capacity(), driver.session.content.capacity()), (0, 0));
}

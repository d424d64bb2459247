//! Conversations that go as they should, and those in which the other side says no.

use super::*;

const PLAIN: &str = "S: 220 mx.them.example ESMTP\nC: EHLO us.example\nS: 250 mx.them.example\n";
const FULL: &str = "S: 220 mx.them.example ESMTP\nC: EHLO us.example\nS: 250-mx.them.example hello\nS: 250-PIPELINING\n\
    S: 250-SIZE 1000\nS: 250-8BITMIME\nS: 250-SMTPUTF8\nS: 250-DSN\nS: 250 ENHANCEDSTATUSCODES\n";
const BYE: &str = "C: QUIT\nS: 221 bye\n";

fn one(script: &str, envelope: Envelope, content: &[u8]) -> (Vec<String>, bool) {
    let ended = run(&settings(), script, &[(envelope, content)]);
    assert!(ended.unsendable.is_empty(), "{:?}", ended.unsendable);
    assert_eq!(ended.finished.len(), 1);
    (outcomes(&ended.finished[0]), ended.finished[0].uncertain)
}

#[test]
fn without_extensions_every_command_waits_for_its_reply() {
    let script = format!(
        "{PLAIN}C: MAIL FROM:<a@us.example>\nS: 250 ok\nC: RCPT TO:<b@them.example>\nS: 250 ok\n\
         C: RCPT TO:<c@them.example>\nS: 550 5.1.1 who?\nC: DATA\nS: 354 go\nC: a: b\nC:\nC: ..x\nC: .\nS: 250 taken\n{BYE}"
    );
    let result = one(&script, envelope(&["b", "c"]), b"a: b\r\n\r\n.x\r\n");
    assert_eq!(
        result,
        (vec!["delivered: 250 taken".into(), "refused at Recipient: 550 5.1.1 who?".into()], false)
    );
}

#[test]
fn with_pipelining_the_envelope_is_one_write() {
    let script = format!(
        "{FULL}C: MAIL FROM:<a@us.example>\nC: RCPT TO:<b@them.example>\nC: RCPT TO:<c@them.example>\nC: DATA\n\
         S: 250 2.1.0 ok\nS: 250-2.1.5 well\nS: 250 2.1.5 ok\nS: 450 4.2.1 not now\nS: 354 go\nC: x\nC: .\nS: 250 2.0.0 taken\n{BYE}"
    );
    let result = one(&script, envelope(&["b", "c"]), b"x");
    let expected =
        vec!["delivered: 250 2.0.0 taken".into(), "deferred at Recipient: 450 4.2.1 not now".into()];
    assert_eq!(result, (expected, false));
}

#[test]
fn parameters_are_given_where_they_are_announced_only() {
    use crate::smtp::envelope::{Notify, OriginalRecipient, Return};
    let mut rich = envelope(&["b"]);
    rich.declared_octets = Some(1000);
    rich.ret = Some(Return::Headers);
    rich.envelope_id = Some("a+b=c d".into());
    rich.recipients[0].notify = Some(Notify { success: true, failure: false, delay: true });
    let original =
        |kind: &str, address: &str| OriginalRecipient { address_type: kind.into(), address: address.into() };
    rich.recipients[0].original = Some(original("rfc822", "b+c@us.example"));
    let mut international = envelope(&["b"]);
    international.body = BodyType::EightBitMime;
    international.smtputf8 = true;
    international.recipients[0].notify = Some(Notify::default());
    international.recipients[0].original = Some(original("utf-8", "b\u{fc}+@us.example"));
    let taken = "S: 250 ok\nS: 250 ok\nS: 354 go\nC: x\nC: .\nS: 250 taken\n";
    let script = format!(
        "{FULL}C: MAIL FROM:<a@us.example> SIZE=1000 RET=HDRS ENVID=a+2Bb+3Dc+20d\n\
         C: RCPT TO:<b@them.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b+2Bc@us.example\nC: DATA\n{taken}\
         C: MAIL FROM:<a@us.example> BODY=8BITMIME SMTPUTF8\n\
         C: RCPT TO:<b@them.example> NOTIFY=NEVER ORCPT=utf-8;b\\x{{FC}}\\x{{2B}}@us.example\nC: DATA\n{taken}{BYE}"
    );
    let ended = run(&settings(), &script, &[(rich.clone(), b"x"), (international, b"x")]);
    assert_eq!(ended.finished.len(), 2);
    let script = format!(
        "{PLAIN}C: MAIL FROM:<a@us.example>\nS: 250 ok\nC: RCPT TO:<b@them.example>\nS: 250 ok\nC: DATA\n\
         S: 354 go\nC: x\nC: .\nS: 250 taken\n{BYE}"
    );
    assert_eq!(one(&script, rich, b"x").0, ["delivered: 250 taken"]);
}

#[test]
fn the_null_sender_and_postmaster_are_written_as_the_standard_has_them() {
    let mut report = envelope(&["b"]);
    report.reverse_path = ReversePath::Null;
    report.recipients[0].path = ForwardPath::Postmaster;
    let script = format!(
        "{PLAIN}C: MAIL FROM:<>\nS: 250 ok\nC: RCPT TO:<postmaster>\nS: 250 ok\nC: DATA\nS: 354 go\nC: .\nS: 250 taken\n{BYE}"
    );
    assert_eq!(one(&script, report, b"").0, ["delivered: 250 taken"]);
}

#[test]
fn what_the_other_side_cannot_take_is_not_sent() {
    let mut large = envelope(&["b"]);
    large.declared_octets = Some(1001);
    let mut eight_bit = envelope(&["b"]);
    eight_bit.body = BodyType::EightBitMime;
    let mut binary = envelope(&["b"]);
    binary.body = BodyType::BinaryMime;
    let mut international = envelope(&["b"]);
    international.reverse_path = ReversePath::parse("<\u{e4}@us.example>").unwrap();
    let mut strict = envelope(&["b"]);
    strict.requiretls = true;
    let script = format!("{FULL}{BYE}");
    let messages: [(Envelope, &[u8]); 4] = [(large, b""), (binary, b""), (strict, b""), (envelope(&[]), b"")];
    let ended = run(&settings(), &script, &messages);
    use Unsendable::{Binary, EightBit, NoRecipients, RequireTls, TooLarge, Utf8};
    assert_eq!(ended.unsendable, [TooLarge { limit: 1000 }, Binary, RequireTls, NoRecipients]);
    let ended = run(&settings(), &format!("{PLAIN}{BYE}"), &[(eight_bit, b""), (international, b"")]);
    assert_eq!((ended.unsendable, ended.end), (vec![EightBit, Utf8], End::Quit));
}

#[test]
fn helo_is_said_to_a_server_that_does_not_know_ehlo() {
    for code in [500, 501, 502, 503, 504] {
        let script = format!(
            "S: 220 x\nC: EHLO us.example\nS: {code} what?\nC: HELO us.example\nS: 250 x\nC: MAIL FROM:<a@us.example>\n\
             S: 250 ok\nC: RCPT TO:<b@them.example>\nS: 251 elsewhere\nC: DATA\nS: 354 go\nC: x\nC: .\nS: 250 taken\n{BYE}"
        );
        assert_eq!(one(&script, envelope(&["b"]), b"x").0, ["delivered: 250 taken"]);
    }
    for reply in ["550 no", "450 no"] {
        let ended = run(&settings(), &format!("S: 220 x\nC: EHLO us.example\nS: {reply}\nC: QUIT\n"), &[]);
        let End::Failed(Failure::Refused { stage: Stage::Hello, reply: said }) = ended.end else { panic!() };
        assert_eq!(said.to_string(), reply);
    }
}

#[test]
fn starttls_begins_the_conversation_anew() {
    let script = "S: 220 x\nC: EHLO us.example\nS: 250-x\nS: 250-SIZE 5\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nTLS\n\
                  C: EHLO us.example\nS: 250-x\nS: 250 REQUIRETLS\nC: MAIL FROM:<a@us.example> REQUIRETLS\nS: 250 ok\n\
                  C: RCPT TO:<b@them.example>\nS: 250 ok\nC: DATA\nS: 354 go\nC: x\nC: .\nS: 250 taken\nC: QUIT\nS: 221 bye";
    let mut strict = envelope(&["b"]);
    strict.requiretls = true;
    strict.declared_octets = Some(100);
    assert_eq!(one(script, strict, b"x").0, ["delivered: 250 taken"]);
    // Nothing but EHLO is known to it after the handshake.
    let script = "S: 220 x\nC: EHLO us.example\nS: 250-x\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nTLS\n\
                  C: EHLO us.example\nS: 500 what?\nC: QUIT";
    let ended = run(&settings(), script, &[]);
    assert!(matches!(ended.end, End::Failed(Failure::Refused { stage: Stage::Hello, .. })));
}

#[test]
fn a_refused_starttls_is_no_obstacle_unless_it_is_required() {
    let start =
        "S: 220 x\nC: EHLO us.example\nS: 250-x\nS: 250 STARTTLS\nC: STARTTLS\nS: 454 4.7.0 not now\n";
    let (ended, client) = drive(Client::new(settings(), None), &format!("{start}{BYE}"), &[], 7);
    assert_eq!(ended.end, End::Quit);
    assert!(matches!(client.tls(), TlsState::Refused(reply) if reply.code() == 454));
    let required = Settings { starttls: StartTls::Required, ..settings() };
    let ended = run(&required, &format!("{start}C: QUIT"), &[]);
    assert!(
        matches!(&ended.end, End::Failed(failure @ Failure::Refused { stage: Stage::StartTls, .. }) if !failure.is_permanent())
    );
    // It is tried although it isn't offered.
    let ended = run(&required, &format!("{PLAIN}C: STARTTLS\nS: 502 5.5.1 what?\nC: QUIT"), &[]);
    assert!(matches!(ended.end, End::Failed(Failure::Refused { stage: Stage::StartTls, .. })));
    let never = Settings { starttls: StartTls::Never, ..settings() };
    let script = format!("S: 220 x\nC: EHLO us.example\nS: 250-x\nS: 250 STARTTLS\n{BYE}");
    assert_eq!(run(&never, &script, &[]).end, End::Quit);
}

#[test]
fn a_connection_with_tls_from_the_start_needs_no_starttls() {
    let script = format!("S: 220 x\nC: EHLO us.example\nS: 250-x\nS: 250 STARTTLS\n{BYE}");
    let (ended, client) = drive(Client::new(settings(), Some(binding())), &script, &[], 4);
    assert_eq!((ended.end, client.tls()), (End::Quit, &TlsState::Active));
}

#[test]
fn a_server_that_refuses_at_once_is_told_goodbye_unless_it_closes() {
    let ended = run(&settings(), "S: 554-no\nS: 554 service\nC: QUIT", &[]);
    let End::Failed(failure @ Failure::Refused { stage: Stage::Greeting, .. }) = ended.end else { panic!() };
    assert!(failure.is_permanent());
    assert_eq!(failure.to_string(), "554 no service");
    let ended = run(&settings(), "S: 421 4.3.2 later", &[]);
    assert!(matches!(ended.end, End::Failed(Failure::Refused { stage: Stage::Greeting, .. })));
}

#[test]
fn several_messages_go_over_one_connection() {
    let mail = "C: MAIL FROM:<a@us.example>\nC: RCPT TO:<b@them.example>\nC: DATA\n";
    let script = format!(
        "{FULL}{mail}S: 250 ok\nS: 250 ok\nS: 354 go\nC: 1\nC: .\nS: 250 one\n\
         {mail}S: 250 ok\nS: 250 ok\nS: 354 go\nC: 2\nC: .\nS: 554 5.6.0 no\n\
         {mail}S: 550 5.7.1 no\nS: 503 first\nS: 503 first\n\
         C: RSET\n{mail}S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: 4\nC: .\nS: 250 four\n{BYE}"
    );
    let messages: Vec<(Envelope, &[u8])> =
        [b"1", b"2", b"3", b"4"].map(|content| (envelope(&["b"]), &content[..])).to_vec();
    let ended = run(&settings(), &script, &messages);
    let said: Vec<Vec<String>> = ended.finished.iter().map(outcomes).collect();
    assert_eq!(
        said,
        [
            ["delivered: 250 one"],
            ["refused at Content: 554 5.6.0 no"],
            ["refused at Mail: 550 5.7.1 no"],
            ["delivered: 250 four"]
        ]
    );
    assert_eq!(ended.end, End::Quit);
}

#[test]
fn too_many_recipients_go_into_the_next_transaction() {
    let start = "C: MAIL FROM:<a@us.example>\nC: RCPT TO:<b@them.example>\nC: RCPT TO:<c@them.example>\n\
                 C: RCPT TO:<d@them.example>\nC: DATA\nS: 250 ok\n";
    for (replies, expected) in [
        (["250 ok", "452 4.5.3 too many", "552 too many"], ["delivered: 250 taken", "next", "next"]),
        // The first one can't be too many, nor can one whose mailbox is full.
        (
            ["452 no", "250 ok", "452 4.2.2 full"],
            [
                "deferred at Recipient: 452 no",
                "delivered: 250 taken",
                "deferred at Recipient: 452 4.2.2 full",
            ],
        ),
        (
            ["552 no", "250 ok", "553 no"],
            ["deferred at Recipient: 552 no", "delivered: 250 taken", "refused at Recipient: 553 no"],
        ),
    ] {
        let replies: String = replies.iter().map(|reply| format!("S: {reply}\n")).collect();
        let script = format!("{FULL}{start}{replies}S: 354 go\nC: x\nC: .\nS: 250 taken\n{BYE}");
        assert_eq!(one(&script, envelope(&["b", "c", "d"]), b"x").0, expected);
    }
    // Step by step, those behind aren't asked for.
    let script = format!(
        "{PLAIN}C: MAIL FROM:<a@us.example>\nS: 250 ok\nC: RCPT TO:<b@them.example>\nS: 250 ok\n\
         C: RCPT TO:<c@them.example>\nS: 452 too many\nC: DATA\nS: 354 go\nC: x\nC: .\nS: 250 taken\n{BYE}"
    );
    assert_eq!(one(&script, envelope(&["b", "c", "d"]), b"x").0, ["delivered: 250 taken", "next", "next"]);
}

#[test]
fn the_limits_that_are_announced_are_kept() {
    let hello = "S: 220 x\nC: EHLO us.example\nS: 250-x\nS: 250 LIMITS RCPTMAX=2 OTHER=7 MAILMAX=1\n";
    let script = format!(
        "{hello}C: MAIL FROM:<a@us.example>\nS: 250 ok\nC: RCPT TO:<b@them.example>\nS: 250 ok\n\
         C: RCPT TO:<c@them.example>\nS: 250 ok\nC: DATA\nS: 354 go\nC: x\nC: .\nS: 250 taken\n{BYE}"
    );
    let messages: [(Envelope, &[u8]); 2] = [(envelope(&["b", "c", "d"]), b"x"), (envelope(&["d"]), b"x")];
    let ended = run(&settings(), &script, &messages);
    assert_eq!(outcomes(&ended.finished[0]), ["delivered: 250 taken", "delivered: 250 taken", "next"]);
    assert_eq!(ended.unsendable, [Unsendable::UsedUp]);
}

#[test]
fn a_hundred_commands_are_in_flight_at_most() {
    let names: Vec<String> = (0..250).map(|number| format!("r{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut client = Client::new(settings(), None);
    client.receive(b"220 x\r\n");
    client.next_action();
    client.receive(b"250-x\r\n250 PIPELINING\r\n");
    client.begin(envelope(&names)).unwrap();
    let (mut asked, mut answered, mut most) = (0, 0, 0);
    while answered < 252 {
        match client.next_action() {
            Action::Send { octets, .. } => asked += octets.iter().filter(|octet| **octet == b'\n').count(),
            Action::Read { .. } => {
                most = most.max(asked - answered);
                answered += 1;
                client.receive(if answered == 252 { b"354 go\r\n" } else { b"250 ok\r\n" });
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((asked, most, client.next_action()), (252, 100, Action::Content));
}

#[test]
fn each_wait_has_the_time_of_the_standard() {
    let script = format!(
        "{FULL}C: MAIL FROM:<a@us.example>\nC: RCPT TO:<b@them.example>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n\
         C: x\nC: .\nS: 250 taken\n{BYE}"
    );
    let (ended, _) = drive(Client::new(settings(), None), &script, &[(envelope(&["b"]), b"x")], 8);
    let expected = [
        Wait::Greeting,
        Wait::Command,
        Wait::Mail,
        Wait::Recipient,
        Wait::DataStart,
        Wait::Content,
        Wait::ContentEnd,
        Wait::Quit,
    ];
    assert_eq!(ended.waits, expected);
    let minutes: Vec<u64> = expected.iter().map(|wait| wait.timeout().as_secs() / 60).collect();
    assert_eq!(minutes, [5, 5, 5, 5, 2, 3, 10, 0]);
}

#[test]
fn a_connection_that_lay_idle_can_be_tried() {
    let mut client = Client::new(settings(), None);
    client.receive(b"220 x\r\n");
    client.next_action();
    client.receive(b"250 x\r\n");
    assert_eq!(client.next_action(), Action::Ready);
    client.reset();
    assert_eq!(client.next_action(), Action::Send { octets: b"RSET\r\n".to_vec(), wait: Wait::Command });
    assert_eq!(client.begin(envelope(&["b"])), Err(Unsendable::NotReady));
    client.receive(b"250 ok\r\n");
    assert_eq!(client.next_action(), Action::Ready);
    client.receive(b"421 4.3.2 restart\r\n");
    assert!(matches!(
        client.next_action(),
        Action::Close(End::Failed(Failure::Refused { stage: Stage::Idle, .. }))
    ));
}

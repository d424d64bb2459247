//! Commands in unusual orders, and octets that don't belong there.

use super::client::Client;
use super::world::World;
use crate::config::{Mode, Protocol};

const MESSAGE: &str = "Subject: hello\r\n\r\nbody";

#[test]
fn no_smuggled_message_gets_in() {
    // Row A1, end to end.
    for end in [
        "\n.\n",
        "\n.\r",
        "\r.\n",
        "\r.\r",
        "\n.\r\n",
        "\r.\r\n",
        "\r\n.\r\r\n",
        "\r\r\n.\r\r\n",
        "\r\n\0.\r\n",
        "\r\n.\n",
        "\r\n.\r",
    ] {
        let world = World::new();
        let mut client = world.smtp();
        client.expect("MAIL FROM:<a@client.example>", "250");
        client.expect("RCPT TO:<anna@example.org>", "250");
        client.expect("DATA", "354");
        let smuggled =
            "MAIL FROM:<root@example.org>\r\nRCPT TO:<ben@example.org>\r\nDATA\r\nSubject: two\r\n\r\n2";
        client.send(format!("Subject: one\r\n\r\n1{end}{smuggled}\r\n.\r\nQUIT\r\n").as_bytes());
        let replies = client.rest();
        assert_eq!(
            replies.matches("250 ").count() + replies.matches("500 ").count(),
            1,
            "{end:?}: {replies}"
        );
        assert_eq!(world.inbox("ben").len(), 0, "{end:?}");
        assert_eq!(world.inbox("anna").len(), replies.matches("250 2.2.0").count(), "{end:?}");
    }
}

#[test]
fn nothing_said_before_tls_counts_under_it() {
    // Row B1.
    let world = World::new();
    let mut client = world.smtp();
    client.send(b"STARTTLS\r\nMAIL FROM:<injected@client.example>\r\n");
    let rest = client.rest();
    assert!(!rest.contains("250 ") && !rest.contains("220 "), "{rest}");
    let mut client = world.smtp();
    client.expect("MAIL FROM:<a@client.example>", "250");
    client.expect("STARTTLS", "220");
    let mut client = client.tls();
    client.expect("RCPT TO:<anna@example.org>", "503");
    client.expect("MAIL FROM:<a@client.example>", "503");
    assert!(!client.expect("EHLO again.example", "250").contains("STARTTLS"));
}

#[test]
fn no_password_is_asked_for_in_the_clear() {
    // Row B3.
    let world = World::new();
    let mut client = Client::dial(world.address(Protocol::Submission));
    client.reply();
    assert!(!client.expect("EHLO client.example", "250").contains("AUTH"));
    client.expect("AUTH PLAIN AGFubmFAZXhhbXBsZS5vcmcAc2VjcmV0IHdvcmQ=", "538");
    client.expect("MAIL FROM:<anna@example.org>", "530");
    client.expect("STARTTLS", "220");
    let mut client = client.tls();
    assert!(client.expect("EHLO client.example", "250").contains("AUTH SCRAM-SHA-256-PLUS"));
    client.expect("MAIL FROM:<anna@example.org>", "530");
}

#[test]
fn no_envelope_outlives_its_content() {
    let world = World::new();
    // Row A5: a BDAT that is refused.
    let mut client = world.smtp();
    client.expect("MAIL FROM:<a@client.example>", "250");
    client.expect("RCPT TO:<anna@example.org>", "250");
    client.expect("BDAT x", "501");
    client.expect("DATA", "503");
    // Row A6: a refusal at the end of the content.
    assert!(client.mail("", &["nobody@example.org"], MESSAGE).starts_with("550"));
    client.expect("RCPT TO:<anna@example.org>", "503");
    client.expect("DATA", "503");
    // Row A7: what was found of the first message doesn't count for the second.
    assert!(client.mail("", &["anna@example.org"], MESSAGE).starts_with("250"));
    assert!(client.mail("", &["nobody@example.org"], MESSAGE).starts_with("550"));
    assert!(client.mail("", &["team@example.org"], "From: ben@example.org\r\n\r\nx").starts_with("250"));
    assert!(client.mail("", &["team@example.org"], MESSAGE).starts_with("550"));
    assert_eq!(world.inbox("anna").len(), 2);
    // Row A13.
    client.send(b"MAIL FROM:<\xff@client.example>\r\n");
    assert!(client.reply().starts_with("501"));
    client.expect("NOOP", "250");
}

#[test]
fn chunks_and_utf8_addresses_work() {
    let world = World::new();
    let mut client = world.smtp();
    client.expect("MAIL FROM:<a@client.example> BODY=BINARYMIME", "250");
    client.expect("RCPT TO:<anna@example.org>", "250");
    client.send(b"BDAT 16\r\nSubject: x\r\n\r\nab");
    assert!(client.reply().starts_with("250"));
    client.send(b"BDAT 3 LAST\r\ncd\n");
    assert!(client.reply().starts_with("250 2.2.0"));
    assert!(world.inbox("anna")[0].ends_with("Subject: x\r\n\r\nabcd\n"));
    client.expect("MAIL FROM:<b\u{fc}cher@client.example>", "550 5.6.7");
    client.expect("MAIL FROM:<b\u{fc}cher@client.example> SMTPUTF8", "250");
    client.expect("RCPT TO:<anna@example.org>", "250");
    assert!(client.data(MESSAGE).starts_with("250"));
    let text = &world.inbox("anna")[1];
    assert!(text.contains("Return-Path: <b\u{fc}cher@client.example>\r\n"), "{text}");
    assert!(text.contains("UTF8SMTP"), "{text}");
}

#[test]
fn a_message_that_comes_in_one_piece_is_whole() {
    let world = World::new();
    let mut client = world.smtp();
    client.send(
        b"MAIL FROM:<a@client.example>\r\nRCPT TO:<anna@example.org>\r\nBDAT 18 LAST\r\nSubject: x\r\n\r\nab\r\n",
    );
    for _ in 0..3 {
        assert!(client.reply().starts_with("250"));
    }
    assert!(world.inbox("anna")[0].ends_with("Subject: x\r\n\r\nab\r\n"));
}

#[test]
fn a_local_instance_rehearses_failures() {
    let world = World::with(|config| config.mode = Mode::Local);
    let mut client = world.smtp();
    client.expect("MAIL FROM:<mailfromtemperror@x.example>", "451");
    client.expect("MAIL FROM:<a@x.example>", "250");
    client.expect("RCPT TO:<rcpttopermerror@x.example>", "550");
    client.expect("RCPT TO:<rcptto452@x.example>", "452");
    client.expect("RSET", "250");
    assert!(client.mail("a@x.example", &["x-553@x.example"], MESSAGE).starts_with("553"));
    assert!(client.mail("a@x.example", &["anything@x.example"], MESSAGE).starts_with("250"));
    assert_eq!(world.inbox("anna").len(), 1, "everything is for the one account");
}

#[test]
fn commands_replies_and_limits_are_counted() {
    use crate::metrics::{Limit, ReplyClass, SmtpCommand};
    let world = World::new();
    let mut client = world.smtp();
    assert!(client.mail("", &["anna@example.org"], MESSAGE).starts_with("250"));
    let full = "x".repeat(990);
    assert!(client.mail("", &["small@example.org"], &format!("Subject: x\r\n\r\n{full}")).starts_with("452"));
    client.expect("MAIL FROM:<a@client.example> SIZE=999999999999", "552");
    client.send(&[b'x'; 3000]);
    assert!(client.reply().starts_with("500"));
    let (registry, known) = (&world.shared.registry, &world.shared.metrics);
    let replies = |command: SmtpCommand, class: ReplyClass| {
        registry.counter(known.smtp_replies.at([command as usize, class as usize]))
    };
    assert_eq!(replies(SmtpCommand::Ehlo, ReplyClass::Positive), 1);
    assert_eq!(replies(SmtpCommand::Rcpt, ReplyClass::Positive), 2);
    assert_eq!(replies(SmtpCommand::Data, ReplyClass::Intermediate), 2);
    assert_eq!(replies(SmtpCommand::Data, ReplyClass::Positive), 1);
    assert_eq!(replies(SmtpCommand::Data, ReplyClass::Temporary), 1);
    assert_eq!(registry.histogram(known.smtp_command.at([SmtpCommand::Rcpt as usize])).0, 2);
    for limit in [Limit::Quota, Limit::MessageOctets, Limit::SmtpLineOctets] {
        assert_eq!(registry.counter(known.limit(limit)), 1, "{}", limit.name());
    }
    let delivered = crate::metrics::Delivery::Stored as usize;
    assert_eq!(registry.counter(known.deliveries.at([delivered])), 1);
}

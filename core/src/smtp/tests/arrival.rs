//! Mail that comes in: where it ends, and with which trace fields.

use postrider_proto::imap::mailbox::MailboxName;
use postrider_storage::engine::Durability;

use super::world::World;

const MESSAGE: &str = "From: a@client.example\r\nSubject: hello\r\n\r\nbody";

#[test]
fn a_message_ends_in_the_inbox_with_its_trace_fields() {
    let world = World::new();
    let mut client = world.smtp_tls();
    client.expect("MAIL FROM:<a@client.example> REQUIRETLS", "250");
    client.expect("RCPT TO:<anna@example.org>", "250");
    assert!(client.data(MESSAGE).starts_with("250 2.2.0"));
    let inbox = world.inbox("anna");
    assert_eq!(inbox.len(), 1);
    let text = &inbox[0];
    assert!(text.ends_with(&format!("{MESSAGE}\r\n")), "{text}");
    assert!(
        text.starts_with("Delivered-To: anna@example.org\r\nReturn-Path: <a@client.example>\r\n"),
        "{text}"
    );
    let received = text.split("Received: ").nth(1).unwrap();
    for part in [
        "from client.example ([127.0.0.1])",
        "by localhost",
        "ESMTPS",
        "(requiretls)",
        "(TLS",
        "for <anna@example.org>;",
    ] {
        assert!(received.contains(part), "no {part} in {received}");
    }
}

#[test]
fn several_recipients_share_one_content() {
    let world = World::new();
    let body = "0123456789abcdef\r\n".repeat(10_000);
    let reply = world.smtp().mail(
        "a@client.example",
        &["anna@example.org", "ben@example.org", "cleo@example.org"],
        &format!("Subject: long\r\n\r\n{body}end"),
    );
    assert!(reply.starts_with("250"), "{reply}");
    for account in ["anna", "ben", "cleo"] {
        let inbox = world.inbox(account);
        assert_eq!(inbox.len(), 1);
        assert!(inbox[0].starts_with(&format!("Delivered-To: {account}@example.org\r\n")));
        assert!(!inbox[0].contains("for <"), "who else got it is nobody's business");
    }
    let counts = world.counts();
    assert_eq!((counts.blobs, counts.messages), (1, 3));
    crate::testing::wait_until(|| world.counts().blobs_to_collect == 0);
}

#[test]
fn who_is_named_twice_gets_one_message() {
    // Of a sender who is real: others get no alias together with other recipients.
    let script = "$ORIGIN example.\n client A 127.0.0.1\n client TXT \"v=spf1 ip4:127.0.0.1 -all\"\n";
    let world = World::with_script(script, |_| {});
    let reply = world.smtp().mail(
        "ben@client.example",
        &["anna@example.org", "anna@example.org", "cleo@example.org", "team@example.org"],
        "From: ben@example.org\r\n\r\nto all",
    );
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(world.inbox("anna").len(), 1, "named twice, and a member of the alias");
    assert_eq!(world.inbox("cleo").len(), 1);
    assert_eq!(world.inbox("ben").len(), 0, "the author has it already");
}

#[test]
fn a_mailbox_that_is_not_there_falls_back_to_the_inbox_and_first_mail_makes_it() {
    let world = World::new();
    let anna = world.account("anna").unwrap();
    assert!(world.shared.store.reader().head(anna).unwrap().is_none(), "nobody has logged in yet");
    let reply = world.smtp().mail("", &["lists@example.org"], MESSAGE);
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(world.inbox("anna").len(), 1);
    let reader = world.shared.store.reader();
    let names: Vec<_> = reader.mailboxes(anna).map(|row| row.unwrap().1.name).collect();
    assert!(names.contains(&MailboxName::new("Sent").unwrap()), "{names:?}");
}

#[test]
fn unknown_recipients_are_refused_after_the_content() {
    let world = World::new();
    let mut client = world.smtp();
    let reply = client.mail("a@client.example", &["nobody@example.org"], MESSAGE);
    assert!(reply.starts_with("550 5.1.1"), "{reply}");
    let counts = world.counts();
    assert_eq!((counts.blobs, counts.queued), (0, 0));
}

#[test]
fn nothing_is_relayed_for_strangers() {
    // Row A20.
    let world = World::new();
    for to in [
        "<a@remote.example>",
        "<a%remote.example@example.net>",
        "<@example.org:a@remote.example>",
        "<\"a@remote.example\"@example.net>",
        "<a@[127.0.0.1]>",
        "<a@[192.0.2.1]>",
        "<a@[IPv6:::1]>",
        "<a@remote.example.>",
        "<a@REMOTE.EXAMPLE>",
        "<a@xn--bcher-kva.example>",
        "<a@example.org.remote.example>",
        "<a@remoteexample.org>",
        "<remote.example!a@example.net>",
        "<a@remote.example@example.org>",
        "<a@>",
        "<@remote.example>",
        "a@remote.example",
        "<\"\"@remote.example>",
        "<a@localhost.>",
        "<a@127.0.0.1>",
        "<a @remote.example>",
        "<a@remote.example,anna@example.org>",
    ] {
        let mut client = world.smtp();
        client.expect("MAIL FROM:<anna@example.org>", "250");
        let reply = client.ask(&format!("RCPT TO:{to}"));
        assert!(reply.starts_with('5'), "{to}: {reply}");
        client.expect("DATA", "503");
    }
    // These have a domain of ours, and are nobody's address there: refused with the content.
    for to in
        ["<a%remote.example@example.org>", "<\"a@remote.example\"@example.org>", "<remote!a@example.org>"]
    {
        let mut client = world.smtp();
        client.expect("MAIL FROM:<>", "250");
        let reply = client.ask(&format!("RCPT TO:{to}"));
        if reply.starts_with("250") {
            assert!(client.data(MESSAGE).starts_with("550"), "{to}");
        }
    }
    let counts = world.counts();
    assert_eq!((counts.queued, counts.messages), (0, 0));
}

#[test]
fn a_full_mailbox_is_told_and_does_not_stop_others_of_an_alias() {
    let world = World::new();
    let large = format!("Subject: x\r\n\r\n{}", "x".repeat(998));
    let mut client = world.smtp();
    let reply = client.mail("a@client.example", &["small@example.org"], &large);
    assert!(reply.starts_with("452 4.2.2"), "{reply}");
    let several = large.clone() + &"\r\nline".repeat(20_000);
    let reply = client.mail("a@client.example", &["small@example.org"], &several);
    assert!(reply.starts_with("452 4.2.2"), "{reply}");
    crate::testing::wait_until(|| world.counts().blobs == 0);
    // An alias has the message when one of its members has it.
    let reply = client.mail("a@client.example", &["open@example.org"], &large);
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!((world.inbox("ben").len(), world.inbox("small").len(), world.counts().queued), (1, 0, 0));
}

#[test]
fn an_alias_takes_messages_of_its_members() {
    let world = World::new();
    let mut client = world.smtp();
    let reply = client.mail("x@client.example", &["team@example.org"], MESSAGE);
    assert!(reply.starts_with("550 5.7.2"), "{reply}");
    assert_eq!(world.counts().messages, 0);
    let reply = client.mail("x@client.example", &["team@example.org"], "From: ben@example.org\r\n\r\nhello");
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!((world.inbox("anna").len(), world.inbox("cleo").len(), world.inbox("ben").len()), (1, 1, 0));
    assert!(world.inbox("anna")[0].starts_with("Delivered-To: anna@example.org\r\n"));
}

#[test]
fn a_store_that_was_reopened_takes_messages_of_any_size_again() {
    let world = World::new();
    let large = format!("Subject: x\r\n\r\n{}", "0123456789\r\n".repeat(20_000));
    let mut client = world.smtp();
    assert!(client.mail("", &["anna@example.org"], &large).starts_with("250"));
    // The disk is full for a moment, and another account meets it.
    world.engine.fail_commit(1, postrider_storage::engine::memory::Fault::Full);
    let mut batch = postrider_storage::engine::Batch::new();
    batch.insert(postrider_storage::engine::Space::Rows, vec![0, 0, 0, 0, 255, 1], vec![]);
    assert!(world.shared.committer.commit_blocking(batch, Durability::Synced).is_err());
    world.shared.committer.reopen().unwrap();
    assert!(client.mail("", &["anna@example.org"], &large).starts_with("250"), "loaded anew");
    assert_eq!(world.inbox("anna").len(), 2);
}

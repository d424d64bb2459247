//! What our own users send.

use postrider_proto::smtp::envelope::Notify;
use postrider_storage::ids::QueueId;
use postrider_storage::queue;
use postrider_storage::rows::{RequireTls, Ret};

use super::world::World;

const MESSAGE: &str = "From: anna@example.org\r\nSubject: hello\r\n\r\nbody";

#[test]
fn remote_recipients_wait_in_the_queue_with_their_parameters() {
    let world = World::new();
    let mut client = world.anna();
    client.expect("MAIL FROM:<anna@example.org> RET=HDRS ENVID=QQ314 BODY=8BITMIME REQUIRETLS", "250");
    client.expect("RCPT TO:<b@remote.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b@first.example", "250");
    client.expect("RCPT TO:<c@other.example> NOTIFY=NEVER", "250");
    client.expect("RCPT TO:<c@other.example>", "250");
    client.expect("RCPT TO:<ben@example.org>", "250");
    assert!(client.data(MESSAGE).starts_with("250"));
    let reader = world.shared.store.reader();
    let queued: Vec<_> = queue::entries(&reader, QueueId(0)).map(Result::unwrap).collect();
    let [(first, row), (second, other)] = &queued[..] else { panic!("{queued:?}") };
    assert_eq!((&*row.domain, &*other.domain), ("remote.example", "other.example"));
    assert_eq!((row.base, other.base, row.blob), (*first, *first, other.blob));
    assert_eq!(&*row.mail_from, b"anna@example.org");
    assert_eq!((&*row.envelope_id, row.ret), (&b"QQ314"[..], Ret::Headers));
    // What is said to have eight bits, and has not.
    assert!(!row.eight_bit && !row.binary && !row.smtputf8);
    assert_eq!(row.require_tls, RequireTls::Required);
    assert_eq!(row.sender, world.account("anna").unwrap().get());
    let prefix = String::from_utf8(queue::prefix(&reader, *second).unwrap()).unwrap();
    assert!(prefix.starts_with("Authentication-Results: localhost; auth=pass smtp.mailfrom="), "{prefix}");
    assert!(!prefix.contains("127.0.0.1") && prefix.contains("\r\nMessage-ID: <"), "{prefix}");
    assert!(prefix.contains("\r\nDate: "), "{prefix}");
    let recipients: Vec<_> = [first, second]
        .into_iter()
        .flat_map(|id| queue::recipients(&reader, *id))
        .map(|row| row.unwrap().1)
        .collect();
    let facts: Vec<_> = recipients.iter().map(|row| (&*row.address, row.notify, &*row.original)).collect();
    let notify = |success, failure| Some(Notify { success, failure, delay: false });
    assert_eq!(
        facts,
        [
            (&b"b@remote.example"[..], notify(true, true), &b"rfc822;b@first.example"[..]),
            (&b"c@other.example"[..], notify(false, false), &b""[..])
        ]
    );
    assert_eq!(world.inbox("ben").len(), 1);
    assert_eq!(world.counts().blobs, 1, "the queue and the mailbox share the content");
}

#[test]
fn a_single_remote_recipient_keeps_its_content_whatever_its_size() {
    let world = World::new();
    let mut client = world.anna();
    for body in ["short".to_owned(), "0123456789\r\n".repeat(20_000)] {
        let reply = client.mail("anna@example.org", &["b@remote.example"], &format!("{MESSAGE}\r\n{body}"));
        assert!(reply.starts_with("250"), "{reply}");
    }
    let counts = world.counts();
    assert_eq!((counts.queued, counts.blobs, counts.blobs_to_collect), (2, 2, 0));
}

#[test]
fn messages_of_users_are_checked_and_completed() {
    let world = World::new();
    let mut client = world.anna();
    client.expect("MAIL FROM:<ben@example.org>", "550 5.7.1");
    client.expect("MAIL FROM:<anna@example.org>", "250");
    client.expect("RCPT TO:<nobody@example.org>", "550 5.1.1");
    client.expect("RSET", "250");
    let mut send = |content: &str| client.mail("anna@example.org", &["ben@example.org"], content);
    for (content, wanted) in [
        ("From: ben@example.org\r\n\r\nx", "550 5.7.1"),
        ("Subject: no author\r\n\r\nx", "550 5.6.0"),
        ("From: anna@example.org, ben@example.org\r\n\r\nx", "550 5.6.0"),
        ("From: anna@example.org\r\nFrom: ben@example.org\r\n\r\nx", "550 5.6.0"),
        ("From: anna@example.org\r\nSubject: no body", "554 5.6.0"),
    ] {
        let reply = send(content);
        assert!(reply.starts_with(wanted), "{content:?}: {reply}");
    }
    assert_eq!(world.inbox("ben").len(), 0);
    assert!(send(MESSAGE).starts_with("250"));
    assert!(
        send("From: anna@example.org\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <own@example.org>\r\n\r\nx")
            .starts_with("250")
    );
    let inbox = world.inbox("ben");
    let count = |text: &str, name: &str| text.matches(&format!("\r\n{name}: ")).count();
    for text in &inbox {
        assert_eq!((count(text, "Message-ID"), count(text, "Date")), (1, 1), "{text}");
        assert!(text.contains("ESMTPSA") && !text.contains("127.0.0.1"), "{text}");
    }
    crate::testing::wait_until(|| world.counts().blobs == 2);
}

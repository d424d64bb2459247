//! Ids in reverse paths, and what is kept for programs.

use postrider_proto::address::Address;
use postrider_storage::directory::{Change, DomainSettings, MailSettings};
use postrider_storage::ids::QueueId;
use postrider_storage::keys;
use postrider_storage::queue;
use postrider_storage::rows::{FromIdRow, QueueMeta, QueueRow};

use super::world::World;

const MESSAGE: &str = "From: anna@example.org\r\nSubject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <m@x.example>\r\n\
                       X-Postrider-Extra-Order: 17\r\nx-postrider-extra-Shop:  a b\r\n\r\nbody";

/// Anna's messages have ids.
pub(super) fn with_ids(world: &World) {
    let settings = DomainSettings { separators: vec!["+".to_owned(), "-".to_owned()], ..Default::default() };
    let domain = postrider_proto::address::Domain::parse("example.org").unwrap();
    world.change(&[Change::SetDomain { domain, settings }]);
    let from_id_logins = vec![Address::parse("anna@example.org").unwrap()];
    world.set_mail(MailSettings { from_id_logins, ..MailSettings::default() });
}

pub(super) fn queued(world: &World) -> Vec<(QueueId, QueueRow, Option<QueueMeta>)> {
    let reader = world.shared.store.reader();
    let with_meta = |entry: Result<(QueueId, QueueRow), _>| {
        let (id, row) = entry.unwrap();
        (id, row, queue::meta(&reader, id).unwrap())
    };
    queue::entries(&reader, QueueId(0)).map(with_meta).collect()
}

#[test]
fn each_recipient_has_an_id_of_its_own() {
    let world = World::new();
    with_ids(&world);
    let mut client = world.anna();
    let to = ["a@x.example", "b@x.example", "c@y.example", "ben@example.org"];
    assert!(client.mail("anna@example.org", &to, MESSAGE).starts_with("250"));
    let entries = queued(&world);
    assert_eq!(entries.len(), 3, "those of one domain, too");
    let anna = world.account("anna").unwrap().get();
    let reader = world.shared.store.reader();
    let mut ids: Vec<_> = entries
        .iter()
        .map(|(id, row, meta)| {
            let meta = meta.as_ref().unwrap();
            assert_eq!((&*meta.message_id, &*meta.subject), ("m@x.example", "gr\u{fc}\u{df}e"));
            let extra = [("Order".into(), "17".into()), ("Shop".into(), "a b".into())];
            assert_eq!(meta.extra, extra);
            assert_eq!(row.mail_from[..], *format!("anna+{}@example.org", meta.from_id).as_bytes());
            assert_eq!(meta.from_id.len(), 22);
            let found = reader.get(&keys::from_id(anna, &meta.from_id)).unwrap().unwrap();
            assert_eq!(FromIdRow::decode(&found).unwrap(), FromIdRow::Queued { id: *id });
            meta.from_id.clone()
        })
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
    let inbox = world.inbox("ben");
    assert!(inbox[0].contains("Return-Path: <anna@example.org>"), "{inbox:?}");
    // A message without a reverse path has none.
    assert!(client.mail("", &["a@x.example"], MESSAGE).starts_with("250"));
    let last = queued(&world).pop().unwrap();
    assert_eq!((&*last.1.mail_from, last.2), (&b""[..], None));
}

#[test]
fn an_id_of_the_client_is_used_once_and_for_one_recipient() {
    let world = World::new();
    with_ids(&world);
    let mut client = world.anna();
    client.expect("MAIL FROM:<anna+order-1@example.org>", "250");
    client.expect("RCPT TO:<a@x.example>", "250");
    client.expect("RCPT TO:<b@x.example>", "554 5.5.3");
    assert!(client.data(MESSAGE).starts_with("250"));
    let [(_, row, meta)] = &queued(&world)[..] else { panic!() };
    assert_eq!(&*row.mail_from, b"anna+order-1@example.org");
    assert_eq!(&*meta.as_ref().unwrap().from_id, "order-1");
    client.expect("MAIL FROM:<anna+order-1@example.org>", "554 5.1.7");
    // Another separator is none for ids, and nothing behind the first is no id.
    for from in ["anna-x@example.org", "anna+@example.org"] {
        assert!(client.mail(from, &["a@x.example"], MESSAGE).starts_with("250"), "{from}");
    }
    let ids: Vec<_> = queued(&world).into_iter().map(|(_, _, meta)| meta.unwrap().from_id.len()).collect();
    assert_eq!(ids, [7, 22, 22]);
    let last = queued(&world).pop().unwrap();
    let expected = format!("anna+{}@example.org", last.2.unwrap().from_id);
    assert_eq!(last.1.mail_from[..], *expected.as_bytes());
}

#[test]
fn one_of_two_who_give_an_id_at_once_gets_it() {
    let world = World::new();
    with_ids(&world);
    let mut clients: Vec<_> = (0..4).map(|_| world.anna()).collect();
    for client in &mut clients {
        client.expect("MAIL FROM:<anna+once@example.org>", "250");
        client.expect("RCPT TO:<a@x.example>", "250");
    }
    let replies: Vec<String> = std::thread::scope(|scope| {
        let send = |mut client: super::client::Client| scope.spawn(move || client.data(MESSAGE));
        let sessions: Vec<_> = clients.into_iter().map(send).collect();
        sessions.into_iter().map(|session| session.join().unwrap()).collect()
    });
    let count = |begin: &str| replies.iter().filter(|reply| reply.starts_with(begin)).count();
    assert_eq!((count("250"), count("554 5.1.7")), (1, 3), "{replies:?}");
    assert_eq!(queued(&world).len(), 1);
}

#[test]
fn fields_for_programs_are_bounded_and_each_there_once() {
    let world = World::new();
    let mut client = world.anna();
    let message = |fields: &str| format!("From: anna@example.org\r\n{fields}\r\nbody");
    let twice = message("X-Postrider-Extra-A: 1\r\nX-Postrider-Extra-a: 2\r\n");
    // Nobody is told.
    assert!(client.mail("anna@example.org", &["a@x.example"], &twice).starts_with("250"));
    assert_eq!(queued(&world)[0].2, None);
    with_ids(&world);
    let mut send = |content: &str| client.mail("anna@example.org", &["a@x.example"], content);
    assert!(send(&twice).starts_with("554 5.6.0"));
    let many = |count: usize| {
        message(&(0..count).map(|n| format!("X-Postrider-Extra-{n}: x\r\n")).collect::<String>())
    };
    assert!(send(&many(QueueMeta::EXTRA_MAX + 1)).starts_with("554 5.6.0"));
    assert!(send(&many(QueueMeta::EXTRA_MAX)).starts_with("250"));
    // What the message lacks and the server added is what programs are told.
    let (_, _, meta) = queued(&world).pop().unwrap();
    let message_id = meta.unwrap().message_id;
    assert!(message_id.ends_with("@localhost"), "{message_id}");
}

#[test]
fn an_id_of_a_message_that_was_refused_is_free_again() {
    let world = World::new();
    with_ids(&world);
    let ids = vec![Address::parse("anna@example.org").unwrap()];
    let limited = |most| MailSettings {
        from_id_logins: ids.clone(),
        recipients_per_day: Some(most),
        ..MailSettings::default()
    };
    world.set_mail(limited(1));
    let (mut client, mut other) = (world.anna(), world.anna());
    client.expect("MAIL FROM:<anna+two@example.org>", "250");
    client.expect("RCPT TO:<b@x.example>", "250");
    // What was left for it goes to another one.
    assert!(other.mail("anna+one@example.org", &["a@x.example"], MESSAGE).starts_with("250"));
    assert!(client.data(MESSAGE).starts_with("451 4.7.1"));
    world.set_mail(limited(2));
    assert!(client.mail("anna+two@example.org", &["b@x.example"], MESSAGE).starts_with("250"));
}

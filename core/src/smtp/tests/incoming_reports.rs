//! Reports of other servers on what our own users sent.

use postrider_storage::account::hash;
use postrider_storage::directory::{MailSettings, OutgoingWebhook, Webhook, WebhookEvents, WebhookUrl};
use postrider_storage::engine::{Batch, Durability, Space};
use postrider_storage::ids::QueueId;
use postrider_storage::keys::{self, SYSTEM, table};
use postrider_storage::queue::{self, Bounds, Chosen, Retired, RetiredFilter, suppression};
use postrider_storage::rows::{AttemptResult, HookRow, QueueMeta, ReportedAction, Retirement};

use super::ids::{queued, with_ids};
use super::world::World;
use crate::clock::unix_now;
use crate::delivery::incoming;
use crate::delivery::incoming::tests::{POSTFIX, report_of};
use crate::testing::wait_until;

const MESSAGE: &str = "From: anna@example.org\r\nSubject: hello\r\nMessage-ID: <m@x.example>\r\n\r\nbody";

/// Anna sent a message, and another server took it: the address that reports go to.
fn sent(world: &World, to: &str) -> (String, QueueMeta) {
    let mut client = world.anna();
    assert!(client.mail("anna@example.org", &[to], MESSAGE).starts_with("250"));
    let (id, row, meta) = queued(world).pop().unwrap();
    let end = queue::End {
        retirement: Retirement::Delivered,
        result: AttemptResult::new(unix_now(), 250, None, "mx.x.example", "ok"),
        retired_until: Some(unix_now() + 1000),
    };
    retire(world, id, &end);
    (String::from_utf8(row.mail_from.to_vec()).unwrap(), meta.unwrap())
}

fn retire(world: &World, id: QueueId, end: &queue::End) {
    let ended = queue::end(&world.shared.store.reader(), id, Chosen::All, end).unwrap();
    let queue::Changed::Done(done) = ended else { panic!("{ended:?}") };
    world.shared.committer.commit_blocking(done.edit.batch, Durability::Synced).unwrap();
}

fn retired(world: &World) -> Vec<Retired> {
    queue::retired(&world.shared.store.reader(), &RetiredFilter::default(), None, Bounds::default())
        .unwrap()
        .recipients
}

/// Whether a message is still to be looked at.
fn waits(world: &World) -> bool {
    !queue::incoming_reports(&world.shared.store.reader(), None, 10).unwrap().is_empty()
}

fn report(world: &World, to: &str, content: &str) {
    let reply = world.smtp().mail("", &[to], content);
    assert!(reply.starts_with("250"), "{reply}");
    wait_until(|| !waits(world));
}

#[test]
fn a_report_is_added_to_what_is_known_and_suppresses_what_was_written_to() {
    let world = World::new();
    with_ids(&world);
    let (from, meta) = sent(&world, "a@x.example");
    report(&world, &from, &report_of(POSTFIX));
    let found = &retired(&world)[0].row;
    assert_eq!(found.meta, Some(meta));
    let [reported] = &found.reports[..] else { panic!("{found:?}") };
    assert_eq!((reported.action, reported.result.code), (ReportedAction::Failed, 550));
    assert_eq!(reported.result.enhanced, Some([5, 1, 1]));
    assert_eq!(reported.result.host(), "inner.remote.example");
    // The message is in the mailbox, too.
    assert_eq!(world.inbox("anna").len(), 1);
    // The address that was written to is suppressed, whatever the report names.
    let anna = world.account("anna").unwrap();
    let reader = world.shared.store.reader();
    assert!(suppression::lookup(&reader, anna, "a@x.example").unwrap().is_some());
    assert!(suppression::lookup(&reader, anna, "gone@remote.example").unwrap().is_none());
    let ben = world.account("ben").unwrap();
    assert!(suppression::lookup(&reader, ben, "a@x.example").unwrap().is_none());
}

#[test]
fn what_is_no_report_or_for_no_id_changes_nothing() {
    let world = World::new();
    with_ids(&world);
    let (from, _) = sent(&world, "a@x.example");
    let before = retired(&world);
    report(&world, &from, "From: x@x.example\r\nSubject: I am away\r\n\r\nUntil Monday.");
    // A guess, an id of another account, and none.
    let id = from.split(['+', '@']).nth(1).unwrap();
    for to in [
        &*format!("anna+{}@example.org", "A".repeat(22)),
        &format!("ben+{id}@example.org"),
        "anna@example.org",
    ] {
        let reply = world.smtp().mail("", &[to], &report_of(POSTFIX));
        assert!(reply.starts_with("250"), "{to} {reply}");
        assert!(!waits(&world));
    }
    assert_eq!(retired(&world), before);
    // A policy refusal is known, and says nothing of the address.
    let policy = POSTFIX.replace("5.1.1", "5.7.1");
    report(&world, &from, &report_of(&policy));
    assert_eq!(retired(&world)[0].row.reports.len(), 1);
    let anna = world.account("anna").unwrap();
    assert!(suppression::lookup(&world.shared.store.reader(), anna, "a@x.example").unwrap().is_none());
}

#[test]
fn a_report_on_what_waits_is_looked_at() {
    let world = World::new();
    with_ids(&world);
    let mut client = world.anna();
    assert!(client.mail("anna@example.org", &["a@x.example"], MESSAGE).starts_with("250"));
    let (_, row, _) = queued(&world).pop().unwrap();
    report(&world, std::str::from_utf8(&row.mail_from).unwrap(), &report_of(POSTFIX));
    assert_eq!(queued(&world).pop().unwrap().1, row);
}

#[test]
fn what_a_crash_cut_off_is_looked_at_after_the_start() {
    let world = World::new();
    with_ids(&world);
    let (from, _) = sent(&world, "a@x.example");
    // A note as a crash leaves it behind: the message is there, and nobody looked at it.
    let reply = world.smtp().mail("", &[&from], &report_of(POSTFIX));
    assert!(reply.starts_with("250"), "{reply}");
    wait_until(|| !waits(&world));
    let id = from.split(['+', '@']).nth(1).unwrap();
    let anna = world.account("anna").unwrap();
    let mut batch = Batch::new();
    let key = keys::incoming_report(anna, world.newest("anna"));
    batch.insert(Space::Rows, key, [&[1][..], id.as_bytes()].concat());
    world.shared.committer.commit_blocking(batch, Durability::Synced).unwrap();
    assert!(waits(&world));
    let world = world.again();
    wait_until(|| !waits(&world));
    assert_eq!(retired(&world)[0].row.reports.len(), 2);
}

/// Whoever looks second finds that it is done: a walk at the start may meet what comes just then.
#[test]
fn a_report_counts_once_whoever_looks_at_it() {
    let world = World::new();
    with_ids(&world);
    let (from, meta) = sent(&world, "a@x.example");
    report(&world, &from, &report_of(POSTFIX));
    assert_eq!(retired(&world)[0].row.reports.len(), 1);
    let (account, email) = (world.account("anna").unwrap(), world.newest("anna"));
    let again = queue::IncomingReport { account, email, id: meta.from_id };
    world.at_home(account, move |home| Box::pin(async move { incoming::look_at(&home, again).await }));
    assert_eq!(retired(&world)[0].row.reports.len(), 1);
}

/// What is in its way is set right by somebody; then it is done without a restart.
#[test]
fn what_could_not_be_looked_at_is_looked_at_later() {
    let world = World::new();
    with_ids(&world);
    let (from, _) = sent(&world, "a@x.example");
    for sender in &world.shared.shards {
        let start: crate::shard::Work = Box::new(|shard| crate::delivery::start(&shard));
        assert!(sender.send_blocking(start).is_ok());
    }
    let anna = world.account("anna").unwrap();
    let damaged = keys::strikes(anna, hash(b"a@x.example"));
    let (mut batch, mut repair) = (Batch::new(), Batch::new());
    batch.insert(Space::Rows, damaged.clone(), b"?".to_vec());
    repair.remove(Space::Rows, damaged);
    world.shared.committer.commit_blocking(batch, Durability::Synced).unwrap();
    let reply = world.smtp().mail("", &[&from], &report_of(POSTFIX));
    assert!(reply.starts_with("250"), "{reply}");
    assert!(waits(&world), "its strikes can't be read");
    world.shared.committer.commit_blocking(repair, Durability::Synced).unwrap();
    wait_until(|| !waits(&world));
    assert_eq!(retired(&world)[0].row.reports.len(), 1);
}

#[test]
fn an_id_goes_with_what_is_known() {
    let world = World::new();
    with_ids(&world);
    let (from, _) = sent(&world, "a@x.example");
    let (batch, count) = queue::purge_retired(&world.shared.store.reader(), unix_now() + 2000, 10).unwrap();
    assert_eq!(count, 1);
    world.shared.committer.commit_blocking(batch, Durability::Synced).unwrap();
    let ids = keys::of_table(SYSTEM, table::FROMID);
    assert!(world.shared.store.reader().prefix(&ids).next().is_none());
    let reply = world.smtp().mail("", &[&from], &report_of(POSTFIX));
    assert!(reply.starts_with("250") && !waits(&world), "{reply}");
}

#[test]
fn what_is_delivered_is_known_by_its_id_without_any_other_setting() {
    let script = "
        $ORIGIN example.
        remote  MX 10 mx.remote
        mx.remote A 127.0.0.1
    ";
    let (port, record) = super::other_server::start(&["PIPELINING"]);
    let world = World::delivering(script, port, |_| {});
    with_ids(&world);
    let mut client = world.anna();
    let to = ["a@remote.example", "nobody@remote.example"];
    assert!(client.mail("anna@example.org", &to, MESSAGE).starts_with("250"));
    wait_until(|| retired(&world).len() == 2 && queued(&world).is_empty());
    let mail = record.messages()[0].mail.clone();
    assert!(mail.starts_with("MAIL FROM:<anna+"), "{mail}");
    let anna = world.account("anna").unwrap();
    for found in retired(&world) {
        let week = i64::from(MailSettings::KEEP_WITH_FROM_ID);
        assert_eq!(found.until, found.row.ended + week);
        let meta = found.row.meta.clone().unwrap();
        let sender = queue::by_id(&world.shared.store.reader(), anna, &meta.from_id).unwrap();
        assert_eq!(sender, Some(queue::Sender::Retired(found)));
    }
    // The report is for the one recipient whose id it came for.
    let address = mail.split(['<', '>']).nth(1).unwrap();
    report(&world, address, &report_of(POSTFIX));
    let reports: Vec<_> = retired(&world)
        .into_iter()
        .map(|found| (String::from_utf8(found.row.address.to_vec()).unwrap(), found.row.reports.len()))
        .collect();
    assert!(reports.contains(&("a@remote.example".to_owned(), 1)), "{reports:?}");
    assert!(reports.contains(&("nobody@remote.example".to_owned(), 0)), "{reports:?}");
}

#[test]
fn programs_are_told_of_a_report_and_not_of_the_message_that_has_it() {
    let world = World::new();
    with_ids(&world);
    let hook = || {
        // Nobody answers there.
        let url = WebhookUrl::parse("http://127.0.0.1:9/x").unwrap();
        Webhook::new(url, None, None).unwrap()
    };
    world.set_mail(MailSettings {
        from_id_logins: vec![postrider_proto::address::Address::parse("anna@example.org").unwrap()],
        outgoing_webhook: Some(OutgoingWebhook { hook: hook(), events: WebhookEvents::ALL }),
        incoming_webhook: Some(hook()),
        ..MailSettings::default()
    });
    let (from, meta) = sent(&world, "a@x.example");
    let calls = || -> Vec<HookRow> {
        let reader = world.shared.store.reader();
        let rows = reader.prefix(&keys::of_table(SYSTEM, table::HOOK));
        rows.map(|row| HookRow::decode(&row.unwrap().1).unwrap()).collect()
    };
    assert_eq!(calls(), []);
    report(&world, &from, &report_of(POSTFIX));
    let [call] = &calls()[..] else { panic!("{:?}", calls()) };
    let payload = String::from_utf8(call.payload.to_vec()).unwrap();
    for part in [
        "\"Event\":\"failed\"",
        "\"DSN\":true",
        "\"Suppressing\":true",
        "\"Recipient\":\"a@x.example\"",
        "\"SMTPCode\":550",
        "\"MessageID\":\"m@x.example\"",
        &format!("\"FromID\":\"{}\"", meta.from_id),
    ] {
        assert!(payload.contains(part), "{part} in {payload}");
    }
    // Other mail is what it is told of as such.
    assert!(world.smtp().mail("", &["anna@example.org"], &report_of(POSTFIX)).starts_with("250"));
    assert_eq!(calls().len(), 2);
}

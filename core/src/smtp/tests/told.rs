//! What senders hear of their messages, whatever is cut off: once, or of what is tried again not yet.

use postrider_proto::smtp::envelope::Notify;
use postrider_storage::account::Quota;
use postrider_storage::directory::{AccountName, Change, HeldMail};
use postrider_storage::engine::Durability;
use postrider_storage::engine::memory::{Crash, Fault};
use postrider_storage::ids::{AccountId, QueueId};
use postrider_storage::queue::{self, NewQueued, NewRecipient, suppression};
use postrider_storage::rows::{Kind, QueueRow};

use super::other_server;
use super::world::{World, address};
use crate::control::protocol::{QueueChange, QueueFilter, Request};
use crate::delivery::release_claims;
use crate::testing::wait_until;

const SCRIPT: &str = "
    $ORIGIN example.
    remote  MX 10 mx.remote
    mx.remote A 127.0.0.1
    null    MX 0 .
";
const MESSAGE: &str = "From: anna@example.org\r\nSubject: hello\r\n\r\nbody\r\n";
const LATER: i64 = 2_000_000_000;

fn start() -> World {
    let (port, _) = other_server::start(&["PIPELINING"]);
    World::delivering(SCRIPT, port, |_| {})
}

fn entries(world: &World) -> Vec<(QueueId, QueueRow)> {
    queue::entries(&world.shared.store.reader(), QueueId(0)).map(Result::unwrap).collect()
}

fn change(change: QueueChange) -> Request {
    Request::QueueChange { filter: Box::new(QueueFilter::default()), change }
}

/// Has everything tried at once.
fn hurry() -> Request {
    change(QueueChange::Schedule { at: 5 })
}

fn give_up() -> Request {
    change(QueueChange::Fail { reason: "no more".to_owned() })
}

/// Of a message that failed its sender is told in the batch in which it goes: wherever the store breaks off, it is there and
/// nobody was told, or it is gone and its sender was told.
#[test]
fn who_is_told_and_what_it_is_told_of_are_one_change() {
    for ends in [hurry, give_up] {
        for fault in [Fault::Full, Fault::Write] {
            let mut seen = [false; 2];
            for nth in 1..=6 {
                let world = start();
                world.enqueue("anna", MESSAGE, &["a@null.example"], LATER);
                // The first mail of an account makes its mailboxes.
                assert!(world.smtp().mail("", &["anna@example.org"], MESSAGE).starts_with("250"));
                let before = world.engine.commits();
                world.engine.fail_commit(nth, fault);
                world.try_to(&ends());
                let told = || world.inbox("anna").len() - 1;
                wait_until(|| entries(&world).is_empty() || world.engine.commits() >= before + nth);
                let is_gone = entries(&world).is_empty();
                assert_eq!(told(), usize::from(is_gone), "{fault:?} {nth}");
                seen[usize::from(is_gone)] = true;
                // After the next start it is tried again, or given up again, and told of once.
                let world = world.restarted(SCRIPT, |engine| engine.crash(Crash::LoseUnsynced));
                release_claims(&world.shared.store, None).unwrap();
                wait_until(|| {
                    world.try_to(&give_up());
                    entries(&world).is_empty()
                });
                assert_eq!(world.inbox("anna").len() - 1, 1, "{fault:?} {nth}");
            }
            assert_eq!(seen, [true; 2], "the faults were before it and behind");
        }
    }
}

/// A disk that is full for one commit, whichever: of a claim, which is set right and made again, or of an outcome, which is
/// written again.
#[test]
fn what_the_store_refuses_once_is_neither_lost_nor_done_twice() {
    for nth in 1..=4 {
        let (port, record) = other_server::start(&["PIPELINING"]);
        let world = World::delivering(SCRIPT, port, |_| {});
        world.enqueue("anna", MESSAGE, &["b@remote.example"], LATER);
        // The first mail of an account makes its mailboxes.
        assert!(world.smtp().mail("", &["anna@example.org"], MESSAGE).starts_with("250"));
        let before = world.engine.commits();
        world.engine.fail_commit(nth, Fault::Full);
        wait_until(|| {
            // There is room again; nothing when it isn't stopped.
            let _ = world.shared.committer.reopen();
            // A domain whose claim failed has a pause, which this ends.
            world.try_to(&hurry());
            entries(&world).is_empty()
        });
        // What operators want, a claim, and an outcome.
        assert!(world.engine.commits() >= before + nth.min(3));
        assert_eq!(record.messages().len(), 1, "{nth}");
        let queue = world.shared.metrics.queue;
        wait_until(|| world.shared.registry.gauge(queue.unwritten) == 0);
        assert_eq!(world.shared.registry.gauge(queue.damaged), 0);
        assert_eq!(world.shared.registry.counter(queue.possible_duplicates), 0);
        assert_eq!(world.inbox("anna").len(), 1, "{nth}: nobody is told of what went well");
    }
}

/// Puts a message into the queue that isn't of one of our users.
fn enqueue(world: &World, sender: Option<AccountId>, notify: Option<Notify>) {
    world.at_home(world.account("anna").unwrap(), move |home| {
        Box::pin(async move {
            let shared = &home.shared;
            let mut intake = crate::intake::Intake::new(&shared.store, &shared.committer, 1 << 20);
            intake.push(MESSAGE.as_bytes()).await.unwrap();
            let message = intake.finish(postrider_storage::blobs::Sharing::One).unwrap();
            let recipient = NewRecipient { notify, ..NewRecipient::new("a@null.example") };
            let queued = NewQueued {
                prefix: b"Received: by here\r\n".to_vec(),
                sender,
                mail_from: b"them@remote.example".to_vec(),
                hold_until: Some(postrider_proto::smtp::envelope::Hold::Until(LATER)),
                ..NewQueued::new(message.content, 1_700_000_000, vec![recipient])
            };
            let batch = postrider_storage::engine::Batch::new();
            crate::delivery::enqueue(&home, queued, message, batch).await.unwrap();
        })
    });
}

/// The same of a report that leaves: it is in the queue, or the message is.
#[test]
fn a_report_that_leaves_takes_the_place_of_its_message() {
    let mut seen = [false; 2];
    for nth in 1..=4 {
        let (port, record) = other_server::start(&["PIPELINING"]);
        let world = World::delivering(SCRIPT, port, |_| {});
        enqueue(&world, None, None);
        let before = world.engine.commits();
        world.engine.fail_commit(nth, Fault::Write);
        world.try_to(&give_up());
        let arrived = || record.messages().len() == 1 && entries(&world).is_empty();
        wait_until(|| arrived() || world.engine.commits() >= before + nth);
        let left = entries(&world);
        if let [(_, row)] = &left[..] {
            // Perhaps it was on its way already when the store broke off.
            assert!(&*row.mail_from == b"them@remote.example" || row.kind == Kind::Report);
            seen[usize::from(row.kind == Kind::Report)] = true;
        } else {
            assert!(arrived(), "{left:?}");
            seen[1] = true;
        }
        assert!(record.messages().iter().all(|seen| seen.mail.starts_with("MAIL FROM:<>")));
    }
    assert_eq!(seen, [true; 2]);
}

/// A full mailbox takes the failure, and what there is no room for besides is left out.
#[test]
fn what_went_well_leaves_room_for_what_failed() {
    let world = start();
    let send = || {
        let mut client = world.anna();
        client.expect("MAIL FROM:<anna@example.org>", "250");
        client.expect("RCPT TO:<nobody@remote.example>", "250");
        client.expect("RCPT TO:<b@remote.example> NOTIFY=SUCCESS", "250");
        assert!(client.data(MESSAGE).starts_with("250"));
        wait_until(|| entries(&world).is_empty());
    };
    send();
    let reports = world.inbox("anna");
    let [failed, relayed] = &reports[..] else { panic!("{reports:?}") };
    assert!(failed.contains("Action: failed\r\n") && relayed.contains("Action: relayed\r\n"), "{reports:?}");
    let used = (failed.len() + relayed.len()) as u64;
    let anna = world.account("anna").unwrap();
    world.change(&[Change::SetPostmaster(Some((
        AccountName::new("ben").unwrap(),
        postrider_proto::imap::mailbox::MailboxName::inbox(),
    )))]);
    world.ok(&Request::SuppressionRemove { account: "anna".into(), address: "nobody@remote.example".into() });
    let octets = Some(used + failed.len() as u64 + 100);
    world.at_home(anna, move |home| {
        Box::pin(async move {
            let handle = home.open_account(anna).await.unwrap();
            handle.set_quota(Quota { octets, ..Quota::default() });
        })
    });
    send();
    let reports = world.inbox("anna");
    assert_eq!(reports.len(), 3, "{reports:?}");
    assert!(reports[2].contains("Action: failed\r\n"), "{reports:?}");
    assert_eq!(world.inbox("ben").len(), 0);
}

/// Nobody is told of what went well, or is delayed, when the sender's account is gone; and its list keeps nothing.
#[test]
fn of_an_account_that_is_gone_the_postmaster_hears_failures_only() {
    let world = start();
    world.change(&[Change::SetPostmaster(Some((
        AccountName::new("ben").unwrap(),
        postrider_proto::imap::mailbox::MailboxName::inbox(),
    )))]);
    let anna = world.account("anna").unwrap();
    let mut client = world.anna();
    client.expect("MAIL FROM:<anna@example.org> HOLDFOR=1000", "250");
    client.expect("RCPT TO:<b@remote.example> NOTIFY=SUCCESS", "250");
    client.expect("RCPT TO:<nobody@remote.example> NOTIFY=SUCCESS,FAILURE", "250");
    assert!(client.data(MESSAGE).starts_with("250"));
    drop(client);
    world.change(&[
        Change::RemoveAlias(address("team@example.org")),
        Change::RemoveAccount { name: AccountName::new("anna").unwrap(), mail: HeldMail::Erase },
    ]);
    world.ok(&hurry());
    wait_until(|| entries(&world).is_empty());
    let reports = world.inbox("ben");
    let [report] = &reports[..] else { panic!("{reports:?}") };
    assert!(report.contains("Action: failed\r\n") && !report.contains("Action: relayed"), "{report}");
    assert!(report.contains("A message from anna@example.org could not be delivered to:"), "{report}");
    let reader = world.shared.store.reader();
    assert_eq!(suppression::lookup(&reader, anna, "nobody@remote.example").unwrap(), None);
}

/// A content that can't be read any more keeps nobody from hearing what became of its message.
#[test]
fn a_damaged_message_is_reported_without_what_it_says() {
    let world = start();
    let id = world.enqueue("anna", MESSAGE, &["a@null.example"], LATER)[0];
    let mut batch = postrider_storage::engine::Batch::new();
    batch.insert(
        postrider_storage::engine::Space::Rows,
        postrider_storage::keys::queue_prefix(id),
        b"?".to_vec(),
    );
    world.shared.committer.commit_blocking(batch, Durability::Synced).unwrap();
    world.ok(&give_up());
    let reports = world.inbox("anna");
    let [report] = &reports[..] else { panic!("{reports:?}") };
    assert!(report.contains("Final-Recipient: rfc822; a@null.example\r\n"), "{report}");
    assert!(!report.contains("hello"), "{report}");
    assert!(entries(&world).is_empty());
}

/// RFC 3461 §5.2.3.
#[test]
fn who_asks_hears_of_what_is_in_mailboxes_here() {
    let world = start();
    let mut client = world.anna();
    client.expect("MAIL FROM:<anna@example.org> ENVID=QQ314", "250");
    client.expect("RCPT TO:<ben@example.org> NOTIFY=SUCCESS ORCPT=rfc822;b@old.example", "250");
    client.expect("RCPT TO:<cleo@example.org> NOTIFY=FAILURE", "250");
    client.expect("RCPT TO:<b@remote.example>", "250");
    assert!(client.data(MESSAGE).starts_with("250"));
    let reports = world.inbox("anna");
    let [report] = &reports[..] else { panic!("{reports:?}") };
    for part in [
        "Subject: Your message was delivered\r\n",
        "Your message was delivered to:",
        "Original-Envelope-Id: QQ314\r\n",
        "Original-Recipient: rfc822; b@old.example\r\nFinal-Recipient: rfc822; ben@example.org\r\n",
        "Action: delivered\r\nStatus: 2.1.5\r\n",
        "\r\n\r\nFrom: anna@example.org\r\nSubject: hello\r\n\r\n",
    ] {
        assert!(report.contains(part), "{part} in {report}");
    }
    assert!(
        !report.contains("cleo@") && !report.contains("b@remote") && !report.contains("\r\nbody"),
        "{report}"
    );
    // Nothing goes to whoever's address an unknown server writes there, nor to the null sender.
    wait_until(|| entries(&world).is_empty());
    for sender in ["them@remote.example", ""] {
        let mut client = world.smtp();
        client.expect(&format!("MAIL FROM:<{sender}>"), "250");
        client.expect("RCPT TO:<ben@example.org> NOTIFY=SUCCESS", "250");
        assert!(client.data(MESSAGE).starts_with("250"));
        assert!(entries(&world).is_empty(), "{sender}");
    }
    assert_eq!((world.inbox("anna").len(), world.inbox("ben").len()), (1, 3));
}

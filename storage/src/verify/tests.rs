//! The checker sees every kind of damage: each row of a sound store is removed in turn.
#![expect(clippy::unwrap_used, reason = "tests")]

use postrider_proto::imap::types::Flags;
use postrider_proto::mime::terms::TermKind;

use super::verify;
use crate::account::tests::{World, name, uid};
use crate::account::{Content, Erase, Expunge};
use crate::engine::{Batch, Durability, Engine, Space};
use crate::ids::{AccountId, EmailId};
use crate::keys::{self, table};
use crate::queue::{self, Consequence, Fate, HoldRules, NewQueued, NewRecipient, Outcome, suppression};
use crate::rows::{
    AttemptResult, HoldRuleRow, HookEnd, HookResult, HookRow, HookSubject, MtaStsRow, SpecialUse, TlsKnownRow,
};
use crate::store::Store;
use crate::text::{Builder, Place};
use crate::webhooks;

/// A store with a row in every table.
fn world() -> World {
    let mut world = World::new();
    let (inbox, trash) = (world.inbox(), world.named("Trash"));
    for content in [&vec![b'x'; 150_000][..], b"two", b"three"] {
        let (mut new, blob) =
            crate::account::tests::message(&world.store, content, Flags::FLAGGED, &["work", "later"]);
        new.thread.message_id = 5;
        new.thread.subject = 6;
        world
            .run(|tx| {
                tx.attach(blob);
                tx.append(inbox, new)
            })
            .unwrap();
    }
    world.run(|tx| tx.copy(inbox, &[uid(1), uid(2)], trash)).unwrap();
    world.run(|tx| tx.expunge(inbox, Expunge::These(&[uid(2), uid(3)]))).unwrap();
    let other = crate::rows::Grantee::Account(AccountId::new(8).unwrap());
    for who in [other, crate::rows::Grantee::Anyone] {
        let read = postrider_proto::imap::rights::Rights::READ;
        world.run(|tx| tx.set_acl(trash, who, crate::rows::Sign::Grants, |_| read)).unwrap();
    }
    let dropped = world.run(|tx| tx.create_mailbox(&name("gone"), SpecialUse::NONE)).unwrap().0;
    world.append(dropped, b"four", Flags::NONE, &[]);
    world.run(|tx| tx.delete_mailbox(dropped)).unwrap();
    add_text_index(&mut world);
    add_queue(&mut world);
    world.verify();
    world
}

/// Messages to two domains, one of them being delivered, and what is known for sending.
fn add_queue(world: &mut World) {
    let account = world.account.id();
    let reader = world.store.reader();
    let blob = reader.email(account, EmailId(1)).unwrap().unwrap().blob;
    let content = Content { blob, size: reader.blob(blob).unwrap().unwrap().size };
    let to = ["c@one.example", "d@one.example", "e@two.example"].map(NewRecipient::new);
    let message = NewQueued {
        prefix: b"P: x\r\n".to_vec(),
        sender: Some(account),
        mail_from: b"a@b.example".to_vec(),
        ..NewQueued::new(content, 5, to.into())
    };
    let commit = |batch| world.engine.commit(batch, Durability::Synced).unwrap();
    let (_, batch) = queue::add_hold_rule(&reader, &HoldRuleRow::default()).unwrap();
    commit(batch);
    let no_rules = HoldRules::default();
    let enqueued = queue::enqueue(|| world.store.new_queue_id(), message, &no_rules).unwrap();
    commit(enqueued.edit.batch);
    let id = enqueued.entries[0].id;
    let claim = || {
        let times = queue::Attempt { now: 6, next: 7 };
        queue::claim(&world.store.reader(), id, times).unwrap().unwrap().edit.batch
    };
    commit(claim());
    let result = AttemptResult::new(6, 550, None, "", "no");
    let mut outcome = Outcome { attempt: 1, retired_until: Some(9), ..Outcome::default() };
    outcome.recipients.push((0, Fate::Failed(result, Consequence::Strike)));
    commit(queue::outcome(&world.store.reader(), id, &outcome).unwrap().unwrap().edit.batch);
    commit(claim());
    let mut batch = Batch::new();
    let failure = suppression::Failure { address: "c@one.example", time: 5, reason: "" };
    suppression::add(&mut batch, account, failure).unwrap();
    crate::mta_sts::put(&mut batch, "one.example", &MtaStsRow::default()).unwrap();
    add_calls(&world.store, account, &mut batch);
    commit(batch);
    world.run(|tx| tx.note_tls_known("one.example", TlsKnownRow::default())).unwrap();
}

/// Calls of webhooks: one that waits, and one that ended.
fn add_calls(store: &Store, account: AccountId, batch: &mut Batch) {
    let hook = HookRow {
        account,
        subject: HookSubject::Outgoing {
            event: crate::directory::WebhookEvent::Failed,
            base: crate::ids::QueueId(1),
            recipient: 2,
        },
        created: 5,
        due: 6,
        attempts: 1,
        url: "https://a.example/".into(),
        payload: b"{}".as_slice().into(),
        results: vec![HookResult::new(5, 1, 500, "", "no")],
    };
    webhooks::add(batch, store.new_hook_id(), &hook).unwrap();
    let ending = webhooks::Ending { end: HookEnd::Delivered, now: 6, until: Some(9) };
    webhooks::end(batch, store.new_hook_id(), &hook, hook.clone(), ending).unwrap();
}

fn add_text_index(world: &mut World) {
    let account = world.account.id();
    let end = EmailId(world.account.head().unwrap().next_email);
    world.run(|tx| tx.open_text()).unwrap();
    let number = world.run(|tx| tx.begin_segment(EmailId(0), end)).unwrap().0;
    let mut builder = Builder::new(EmailId(0));
    builder.begin(EmailId(1));
    builder.add(Place::Body, TermKind::Word, "one");
    let (rows, finished) = builder.finish(account, number);
    world.run(|tx| tx.write_segment(number, rows)).unwrap();
    assert!(world.run(|tx| tx.finish_segment(number, 1, finished, &[])).unwrap().0);
}

#[test]
fn no_row_can_be_missing() {
    let world = world();
    // The seventh: the account began with six.
    let dropped = crate::ids::MailboxId::new(7).unwrap();
    let rows: Vec<_> = world.store.reader().prefix(&[]).map(|row| row.unwrap()).collect();
    let chunks: Vec<_> = world.engine.snapshot().prefix(Space::Blobs, &[]).map(|row| row.unwrap()).collect();
    let rows = rows.into_iter().map(|row| (Space::Rows, row));
    for (space, (key, value)) in rows.chain(chunks.into_iter().map(|row| (Space::Blobs, row))) {
        // Rows that may be missing: subscriptions, blocks of the deleted mailbox, and what nothing refers to.
        let block = keys::mailbox_and_uid(&key).is_ok_and(|(mailbox, _)| mailbox == dropped);
        let known = match key[..4] == keys::owner(keys::SYSTEM) {
            true => {
                [table::RETIRED, table::SUPPRESSION, table::STRIKES, table::MTASTS, table::HOOKRETIRED]
                    .contains(&key[4])
                    || key[4] == table::HOLDRULE && key[8] != 0
            }
            false => key[4] == table::SUBSCRIPTION,
        };
        let may = known || key[4] == table::PACK && block;
        if space == Space::Rows && may {
            continue;
        }
        let mut batch = Batch::new();
        batch.remove(space, key.clone());
        world.engine.commit(batch, Durability::Synced).unwrap();
        let report = verify(world.store.reader(), None, &mut |_| {}).unwrap();
        assert!(!report.is_clean(), "{key:?} is not missed");
        let mut batch = Batch::new();
        batch.insert(space, key, value);
        world.engine.commit(batch, Durability::Synced).unwrap();
    }
    world.verify();
}

#[test]
fn no_row_can_be_cut_or_of_another_version() {
    let world = world();
    let rows: Vec<_> = world.store.reader().prefix(&[]).map(|row| row.unwrap()).collect();
    for (key, value) in rows {
        // Values that only mark their key are not read.
        if value.len() <= 1 {
            continue;
        }
        for bad in [&value[..1], &[&[9], &value[1..]].concat()[..]] {
            let mut batch = Batch::new();
            batch.insert(Space::Rows, key.clone(), bad);
            world.engine.commit(batch, Durability::Synced).unwrap();
            let report = verify(world.store.reader(), None, &mut |_| {}).unwrap();
            assert!(!report.is_clean(), "{key:?} with {bad:02x?} is not noticed");
        }
        let mut batch = Batch::new();
        batch.insert(Space::Rows, key, value);
        world.engine.commit(batch, Durability::Synced).unwrap();
    }
    world.verify();
}

#[test]
fn rows_that_belong_to_nothing_are_seen() {
    let world = world();
    let account = world.account.id();
    let unknown = crate::ids::MailboxId::new(99).unwrap();
    let (email, blob, queued) = (EmailId(99), crate::ids::BlobId(1), crate::ids::QueueId(1));
    for key in [
        keys::message(account, unknown, uid(1)),
        keys::pack(account, unknown, uid(1)),
        keys::email_refs(account, email),
        keys::thread_message(account, 1, email),
        keys::tls_age(account, 1, "one.example"),
        keys::tls_age(account, 0, "two.example"),
        keys::acl(account, unknown),
        keys::shared(crate::rows::Grantee::Anyone, account, unknown),
        keys::thread_subject(account, 1, 1, email),
        keys::blob_ref(blob, account.get(), email.0),
        keys::blob_ref(blob, 0, 1),
        keys::queue_due(1, 1, queued),
        keys::queue_due_v1(1, queued, 1),
        keys::queue_owner(1, queued),
        keys::queue_claimed(queued),
        keys::queue_prefix(queued),
        keys::queue_recipient(queued, 1),
        keys::hook_due(1, 1, crate::ids::HookId(1)),
        keys::hook_about(queued, 1, crate::ids::HookId(1)),
        keys::of_table(account.get(), 0x7f),
        keys::of_table(0, 0x7f),
        keys::owner(1234),
    ] {
        let mut batch = Batch::new();
        batch.insert(Space::Rows, key.clone(), [1, 0, 0, 0, 2, 0, 0, 0]);
        world.engine.commit(batch, Durability::Synced).unwrap();
        let report = verify(world.store.reader(), None, &mut |_| {});
        assert!(report.is_err() || !report.unwrap().is_clean(), "{key:02x?} is not noticed");
        let mut batch = Batch::new();
        batch.remove(Space::Rows, key);
        world.engine.commit(batch, Durability::Synced).unwrap();
    }
    let mut batch = Batch::new();
    batch.insert(Space::Blobs, keys::chunk(blob, 0), [1]);
    world.engine.commit(batch, Durability::Synced).unwrap();
    assert!(!verify(world.store.reader(), None, &mut |_| {}).unwrap().is_clean());
}

#[test]
fn the_report_counts_what_there_is_and_asks_the_directory() {
    let mut world = world();
    let mut asked = 0;
    let mut directory = |_: &crate::reader::Reader, report: &mut super::Report| {
        asked += 1;
        report.violation("domain example.org", "is of no account");
        Ok(())
    };
    let report = verify(world.store.reader(), Some(&mut directory), &mut |_| {}).unwrap();
    assert_eq!((asked, report.violation_count), (1, 1));
    assert_eq!(report.violations[0].to_string(), "domain example.org: is of no account");
    let counts = report.counts;
    assert_eq!((counts.accounts, counts.mailboxes, counts.messages, counts.tombstones), (1, 6, 3, 2));
    assert_eq!((counts.emails, counts.erasures, counts.blobs, counts.chunks), (4, 2, 4, 6));
    world.run(|tx| tx.erase(Erase::UpTo(postrider_proto::imap::types::ModSeq::MAX))).unwrap();
    let counts = verify(world.store.reader(), None, &mut |_| {}).unwrap().counts;
    assert_eq!((counts.emails, counts.erasures, counts.blobs_to_collect), (3, 0, 1));
}

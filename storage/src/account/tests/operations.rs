//! Facts about single operations.

use std::num::NonZeroU32;

use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::rights::Rights;
use postrider_proto::imap::types::{Flags, Keyword, Uid};

use super::{NOW, World, message, name, uid};
use crate::account::{
    Change, Erase, Expunge, FlagChange, FlagOp, FlagScope, Initial, Quota, SENDER_DAYS, Tx, Unchanged,
    knows_sender, remove_account,
};
use crate::blobs::{self, BlobReader};
use crate::directory::removed_account;
use crate::engine::{Batch, Durability, Engine, Space};
use crate::ids::BlobId;
use crate::rows::{Grantee, Sign, SpecialUse, UrlKeyRow};
use crate::store::Refusal;

fn seen() -> FlagChange {
    FlagChange { op: FlagOp::Add, flags: Flags::SEEN, keywords: Vec::new() }
}

#[test]
fn a_new_account_has_its_mailboxes_subscribed_and_hands_out_2_first() {
    let world = World::new();
    let names: Vec<_> = world.account.mailboxes().map(|(name, ..)| name.to_string()).collect();
    assert_eq!(names, ["Archive", "Drafts", "Inbox", "Junk", "Sent", "Trash"]);
    assert_eq!(world.account.subscriptions().count(), 6);
    assert_eq!(world.account.head().unwrap().modseq.get(), 2);
    let sent = world.account.mailbox(world.named("Sent")).unwrap();
    assert_eq!(sent.special_use, SpecialUse::SENT);
    assert_eq!(sent.uid_validity.0.get(), 1001);
    world.verify();
    let mut world = world;
    let again = Initial::usual(NonZeroU32::MIN);
    assert_eq!(world.refused(|tx| tx.create_account(&again)), Some(Refusal::AccountExists));
}

#[test]
fn nothing_changed_takes_no_number_and_writes_nothing() {
    let mut world = World::new();
    let inbox = world.inbox();
    let one = world.append(inbox, b"m", Flags::SEEN, &[]);
    let reader = world.store.reader();
    let mut batch = world.account.begin(&reader);
    let (done, changes) = batch.transact(NOW, |tx| tx.store_flags(inbox, &[one], &seen(), None)).unwrap();
    assert_eq!((done.updated.len(), changes.len()), (1, 0));
    let unknown = FlagChange {
        op: FlagOp::Remove,
        flags: Flags::NONE,
        keywords: vec![Keyword::new("unheard-of").unwrap()],
    };
    batch.transact(NOW, |tx| tx.store_flags(inbox, &[one, uid(99)], &unknown, None)).unwrap();
    batch.transact(NOW, |tx| tx.expunge(inbox, Expunge::Deleted)).unwrap();
    batch.transact(NOW, |tx| tx.subscribe(&name("Sent"))).unwrap();
    let (batch, _) = batch.finish();
    assert!(batch.is_empty(), "{batch:?}");
}

#[test]
fn a_failing_transaction_leaves_the_others_of_its_batch_alone() {
    let mut world = World::new();
    let inbox = world.inbox();
    let reader = world.store.reader();
    let mut batch = world.account.begin(&reader);
    let mut numbers = Vec::new();
    for number in 0..4 {
        let (new, blob) = message(&world.store, b"m", Flags::NONE, &[["k0", "k1", "k2", "k3"][number]]);
        let done = batch.transact(NOW, |tx| {
            tx.attach(blob);
            let done = tx.append(inbox, new)?;
            if number % 2 == 1 { Err(Refusal::OverQuota.into()) } else { Ok(done) }
        });
        numbers.extend(done.ok().map(|(done, _)| (done.uid.get(), done.modseq.get())));
    }
    assert_eq!(numbers, [(1, 3), (2, 4)], "each its own number, and none for the failed");
    let (batch, pending) = batch.finish();
    world.engine.commit(batch, Durability::Synced).unwrap();
    world.account.install(pending);
    assert_eq!(world.account.head().unwrap().keywords, 2);
    world.verify();
}

#[test]
fn unchanged_since_leaves_later_changes_alone() {
    let mut world = World::new();
    let inbox = world.inbox();
    for _ in 0..3 {
        world.append(inbox, b"m", Flags::NONE, &[]);
    }
    let uids = [uid(1), uid(2), uid(3), uid(9)];
    let (done, changes) = world.run(|tx| tx.store_flags(inbox, &uids, &seen(), Some(4))).unwrap();
    assert_eq!(done.updated.iter().map(|done| done.uid.get()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((done.modified, done.missing), (vec![uid(3)], vec![uid(9)]));
    assert_eq!(changes.len(), 2);
    let (done, changes) = world.run(|tx| tx.store_flags(inbox, &uids, &seen(), Some(0))).unwrap();
    assert_eq!((done.modified.len(), changes.len()), (3, 0), "0 leaves all alone");
    assert_eq!(world.account.mailbox(inbox).unwrap().unseen, 1);
    world.verify();
}

#[test]
fn unchanged_since_may_leave_out_changes_of_other_flags_but_not_what_came_after_them() {
    let mut world = World::new();
    let inbox = world.inbox();
    for _ in 0..2 {
        world.append(inbox, b"m", Flags::NONE, &[]);
    }
    let flagged = FlagChange { op: FlagOp::Add, flags: Flags::FLAGGED, keywords: Vec::new() };
    let (done, changes) = world.run(|tx| tx.store_flags(inbox, &[uid(1)], &flagged, None)).unwrap();
    let [Change::Flags { touched, .. }] = changes.as_slice() else { panic!("{changes:?}") };
    assert!(touched.concerns(Flags::FLAGGED, &[]) && !touched.concerns(Flags::SEEN, &[]));
    let later = done.updated[0].modseq;
    let since = later.get() - 1;
    let mut unchanged = Unchanged { since, but_for: [(uid(1), later)].into() };
    let store = |tx: &mut Tx<'_, '_>, unchanged: &Unchanged, op| {
        let change = FlagChange { op, ..seen() };
        tx.store_flags_within(inbox, &[uid(1)], &change, Some(unchanged), FlagScope::ALL)
    };
    let (done, _) = world.run(|tx| store(tx, &unchanged, FlagOp::Add)).unwrap();
    assert_eq!((done.updated.len(), done.modified.len()), (1, 0));
    // That change is one more, which isn't among them.
    let (done, _) = world.run(|tx| store(tx, &unchanged, FlagOp::Remove)).unwrap();
    assert_eq!((done.updated.len(), done.modified), (0, vec![uid(1)]));
    unchanged.but_for.clear();
    let (done, _) = world.run(|tx| store(tx, &unchanged, FlagOp::Remove)).unwrap();
    assert_eq!(done.modified, [uid(1)]);
    world.verify();
}

#[test]
fn contents_live_until_the_last_copy_is_erased() {
    let mut world = World::new();
    let (inbox, trash) = (world.inbox(), world.named("Trash"));
    let content: Vec<u8> = (0..200_000_u32).map(|number| number as u8).collect();
    world.append(inbox, &content, Flags::NONE, &[]);
    world.run(|tx| tx.copy(inbox, &[uid(1)], trash)).unwrap();
    let (_, changes) = world.run(|tx| tx.expunge(inbox, Expunge::These(&[uid(1)]))).unwrap();
    let Some(Change::Removed { modseq, email, .. }) = changes.first() else { panic!("{changes:?}") };
    let (modseq, email) = (*modseq, *email);

    let collect = |world: &mut World| {
        let collected = blobs::collect(&world.store.reader(), BlobId(0), 100).unwrap();
        let chunks = collected.chunks;
        world.engine.commit(collected.batch, Durability::Synced).unwrap();
        chunks
    };
    world.run(|tx| tx.erase(Erase::These(&[(modseq, email)]))).unwrap();
    assert_eq!(collect(&mut world), 0, "the copy still has it");
    let reader = world.store.reader();
    let row = reader.email(world.account.id(), email).unwrap().unwrap();
    let mut read = Vec::new();
    let mut blob = BlobReader::new(row.content(), 100..u64::MAX);
    while let Some(piece) = blob.read(&reader).unwrap() {
        read.extend_from_slice(&piece);
    }
    assert_eq!(read, content[100..]);

    world.run(|tx| tx.expunge(trash, Expunge::These(&[uid(1)]))).unwrap();
    assert_eq!(collect(&mut world), 0, "a session may still fetch it");
    world.verify();
    let head = world.account.head().unwrap().modseq;
    world.run(|tx| tx.erase(Erase::UpTo(head))).unwrap();
    assert_eq!(collect(&mut world), 4);
    assert_eq!(world.store.reader().email(world.account.id(), email).unwrap(), None);
    world.verify();
}

#[test]
fn mailboxes_below_move_with_their_parent_and_subscriptions_stay() {
    let mut world = World::new();
    for text in ["a/b/c", "a-x", "ab"] {
        world.run(|tx| tx.create_mailbox(&name(text), SpecialUse::NONE)).unwrap();
    }
    let below = world.named("a/b/c");
    world.run(|tx| tx.rename_mailbox(&name("a"), &name("z/y"))).unwrap();
    assert_eq!(world.account.mailbox(below).unwrap().name, name("z/y/b/c"));
    assert!(world.account.mailbox_id(&name("z")).is_some(), "the parent was created");
    assert!(world.account.mailbox_id(&name("a-x")).is_some());
    assert!(world.account.is_subscribed(&name("a/b")) && !world.account.is_subscribed(&name("z/y/b")));
    let refusals = [
        (world.refused(|tx| tx.rename_mailbox(&name("z"), &name("z/q"))), Refusal::BelowItself),
        (world.refused(|tx| tx.rename_mailbox(&name("z"), &name("ab"))), Refusal::MailboxExists),
        (world.refused(|tx| tx.rename_mailbox(&name("nil"), &name("q"))), Refusal::NoSuchMailbox),
        (world.refused(|tx| tx.rename_mailbox(&MailboxName::inbox(), &name("q"))), Refusal::Inbox),
    ];
    for (refused, expected) in refusals {
        assert_eq!(refused, Some(expected));
    }
    let long = name(&"n".repeat(MailboxName::OCTETS_MAX));
    assert_eq!(world.refused(|tx| tx.rename_mailbox(&name("z"), &long)), Some(Refusal::ChildName));
    let (z, inbox) = (world.named("z"), world.inbox());
    assert_eq!(world.refused(|tx| tx.delete_mailbox(z)), Some(Refusal::HasChildren));
    assert_eq!(world.refused(|tx| tx.delete_mailbox(inbox)), Some(Refusal::Inbox));
    world.reload();
    assert_eq!(world.account.mailbox_id(&name("z/y/b/c")), Some(below));
    world.verify();
}

#[test]
fn renaming_the_inbox_moves_its_messages_and_keeps_it() {
    let mut world = World::with_limits(crate::account::Limits { messages_max: 2, ..Default::default() });
    let inbox = world.inbox();
    for _ in 0..5 {
        world.append(inbox, b"m", Flags::NONE, &["work"]);
    }
    let mut moved = world.run(|tx| tx.rename_inbox(&name("Old"))).unwrap().0;
    let old = moved.mailbox;
    while let Some(rest) = moved.rest.take() {
        moved = world.run(|tx| tx.move_range(inbox, rest, old)).unwrap().0;
    }
    assert_eq!(world.account.mailbox(inbox).unwrap().exists, 0);
    assert_eq!(world.account.mailbox(old).unwrap().exists, 5);
    assert_eq!(world.append(inbox, b"m", Flags::NONE, &[]), uid(6), "uids are not used again");
    world.verify();
}

#[test]
fn a_special_use_has_one_mailbox() {
    let mut world = World::new();
    let both = SpecialUse::SENT.with(SpecialUse::JUNK);
    let (id, changes) = world.run(|tx| tx.create_mailbox(&name("Both"), both)).unwrap();
    let lost = changes
        .iter()
        .filter(|change| matches!(change, Change::SpecialUse { mailbox, .. } if *mailbox != id));
    assert_eq!(lost.count(), 2);
    assert!(world.account.mailbox(world.named("Sent")).unwrap().special_use.is_empty());
    let sent = world.named("Sent");
    world.run(|tx| tx.set_special_use(sent, SpecialUse::SENT)).unwrap();
    assert_eq!(world.account.mailbox(id).unwrap().special_use, SpecialUse::JUNK);
    world.verify();
}

#[test]
fn a_deleted_mailbox_gives_its_quota_back_at_once_and_its_rows_in_pieces() {
    let mut world = World::with_limits(crate::account::Limits { messages_max: 3, ..Default::default() });
    let mailbox = world.run(|tx| tx.create_mailbox(&name("big"), SpecialUse::NONE)).unwrap().0;
    for _ in 0..8 {
        world.append(mailbox, b"m", Flags::NONE, &[]);
    }
    world.run(|tx| tx.expunge(mailbox, Expunge::These(&[uid(2)]))).unwrap();
    world.run(|tx| tx.delete_mailbox(mailbox)).unwrap();
    assert_eq!(world.account.head().unwrap().quota_used, 0);
    world.verify();
    let again = world.run(|tx| tx.create_mailbox(&name("big"), SpecialUse::NONE)).unwrap().0;
    assert_ne!(again, mailbox);
    let mut pieces = 0;
    while world.run(|tx| tx.sweep(mailbox)).unwrap().0.more {
        pieces += 1;
        world.verify();
    }
    assert_eq!(pieces, 3);
    assert!(world.run(|tx| tx.dropped()).unwrap().0.is_empty());
    let messages = world.store.reader().messages(world.account.id(), mailbox, Uid::MIN..=Uid::MAX).count();
    assert_eq!(messages, 0);
    world.verify();
}

#[test]
fn conversations_follow_references_with_the_same_subject_and_replies_follow_subjects() {
    let mut world = World::new();
    let inbox = world.inbox();
    let mut thread = |id: u64, references: &[u64], subject: u64, is_reply: bool, received: i64| {
        let (mut new, blob) = message(&world.store, b"m", Flags::NONE, &[]);
        new.thread =
            crate::account::ThreadInfo { message_id: id, references: references.to_vec(), subject, is_reply };
        new.received = received;
        let done = world.run(|tx| {
            tx.attach(blob);
            tx.append(inbox, new)
        });
        done.unwrap().0.thread
    };
    let week = 7 * 24 * 3600;
    let first = thread(1, &[], 70, false, NOW);
    assert_eq!(thread(2, &[9, 1], 70, true, NOW), first, "a reference");
    assert_ne!(thread(3, &[1], 71, true, NOW), first, "a reference under another subject");
    assert_eq!(thread(0, &[], 70, true, NOW + 4 * week), first, "a reply without ids");
    assert_ne!(thread(0, &[], 70, false, NOW), first, "no reply");
    assert_ne!(thread(0, &[9], 70, true, NOW), first, "a reply with an unknown id");
    let late = thread(8, &[], 72, false, NOW);
    assert_ne!(thread(0, &[], 72, true, NOW + 4 * week + 1), late, "too late");
    assert_ne!(thread(0, &[], 0, true, NOW), thread(0, &[], 0, true, NOW), "no subject is no match");
    world.verify();
}

#[test]
fn the_horizon_follows_the_removed_tombstones() {
    let mut world = World::new();
    let inbox = world.inbox();
    for _ in 0..3 {
        world.append(inbox, b"m", Flags::NONE, &[]);
    }
    world.run(|tx| tx.expunge(inbox, Expunge::These(&[uid(1), uid(2)]))).unwrap();
    let head = world.account.head().copied().unwrap();
    world.run(|tx| tx.purge_tombstones(inbox, NOW)).unwrap();
    assert_eq!(world.account.mailbox(inbox).unwrap().horizon, 0);
    assert_eq!(world.run(|tx| tx.purge_tombstones(inbox, NOW + 1)).unwrap().0.rows, 2);
    assert_eq!(world.account.mailbox(inbox).unwrap().horizon, head.modseq.get());
    assert_eq!(world.account.head(), Some(&head), "housekeeping takes no number");
    world.verify();
}

#[test]
#[should_panic(expected = "batch out of order")]
fn a_batch_begun_before_another_was_installed_is_not_installed() {
    let mut world = World::new();
    let reader = world.store.reader();
    let (_, early) = world.account.begin(&reader).finish();
    world.append(world.inbox(), b"m", Flags::NONE, &[]);
    world.account.install(early);
}

#[test]
fn a_removed_account_leaves_nothing_and_its_contents_are_collected() {
    let mut world = World::new();
    let inbox = world.inbox();
    world.append(inbox, &vec![b'x'; 100_000], Flags::NONE, &["work"]);
    let dropped = world.run(|tx| tx.create_mailbox(&name("gone"), SpecialUse::NONE)).unwrap().0;
    world.append(dropped, b"m", Flags::NONE, &[]);
    world.run(|tx| tx.delete_mailbox(dropped)).unwrap();
    world.run(|tx| tx.expunge(inbox, Expunge::These(&[uid(1)]))).unwrap();
    world.run(|tx| tx.set_acl(inbox, Grantee::Anyone, Sign::Grants, |_| Rights::READ)).unwrap();
    let id = world.account.id();
    let mut batch = Batch::new();
    batch.insert(Space::Rows, removed_account(id), [1]);
    world.engine.commit(batch, Durability::Synced).unwrap();
    loop {
        let removal = remove_account(&world.store.reader(), id, 3).unwrap();
        world.engine.commit(removal.batch, Durability::Synced).unwrap();
        world.verify();
        if !removal.more {
            break;
        }
    }
    let collected = blobs::collect(&world.store.reader(), BlobId(0), 100).unwrap();
    assert_eq!((collected.blobs, collected.chunks), (2, 3));
    world.engine.commit(collected.batch, Durability::Synced).unwrap();
    assert_eq!(world.store.reader().prefix(&[]).count(), 1, "only the format is left");
}

#[test]
fn a_message_takes_the_place_of_another_in_one_transaction() {
    let mut world = World::new();
    let inbox = world.inbox();
    let old = world.append(inbox, b"old", Flags::SEEN, &[]);
    let size = world.account.mailbox(inbox).unwrap().size;
    // Only the difference counts against the quota.
    world.account.set_quota(Quota { octets: Some(size), messages: Some(1) });
    let (too_long, blob) = message(&world.store, b"longer", Flags::NONE, &[]);
    let refused = world.refused(|tx| {
        tx.attach(blob);
        tx.expunge(inbox, Expunge::These(&[old]))?;
        tx.append(inbox, too_long)
    });
    assert_eq!(refused, Some(Refusal::OverQuota));
    assert_eq!(world.account.mailbox(inbox).unwrap().exists, 1);
    world.verify();
    let (new, blob) = message(&world.store, b"new", Flags::NONE, &["x"]);
    let ((removed, appended), changes) = world
        .run(|tx| {
            tx.attach(blob);
            Ok((tx.expunge(inbox, Expunge::These(&[old]))?, tx.append(inbox, new)?))
        })
        .unwrap();
    assert_eq!((removed.removed, appended.uid), (vec![old], uid(2)));
    assert!(changes.iter().all(|change| change.modseq() == appended.modseq));
    let row = world.account.mailbox(inbox).unwrap();
    assert_eq!((row.exists, row.size, row.modseq), (1, size, appended.modseq));
    world.verify();
    world.reload();
    world.verify();
}

#[test]
fn senders_are_remembered_for_as_long_as_is_said() {
    let mut world = World::new();
    let account = world.account.id();
    let knows =
        |world: &World, sender, now| knows_sender(&world.store.reader(), account, sender, now).unwrap();
    let modseq = world.account.head().unwrap().modseq;
    let now = world.run(|tx| Ok(tx.now())).unwrap().0;
    assert!(!knows(&world, 1, now));
    world.run(|tx| tx.note_sender(1)).unwrap();
    world.run(|tx| tx.note_sender(1)).unwrap();
    // The same bucket.
    world.run(|tx| tx.note_sender(2)).unwrap();
    let last = now + i64::from(SENDER_DAYS) * 86_400;
    assert!(knows(&world, 1, now) && knows(&world, 2, now) && !knows(&world, 3, now));
    assert!(knows(&world, 1, last) && !knows(&world, 1, last + 2 * 86_400));
    assert!(!knows(&world, 1 << 60 | 1, now), "another bucket");
    assert_eq!(world.account.head().unwrap().modseq, modseq, "no client sees a change");
    world.verify();
}

#[test]
fn keys_of_urls_stay_until_they_are_reset_or_their_mailbox_goes() {
    let mut world = World::new();
    let (inbox, sent) = (world.inbox(), world.named("Sent"));
    let account = world.account.id();
    let key = |octet| UrlKeyRow { key: [octet; UrlKeyRow::OCTETS] };
    let stored = |world: &World, mailbox| world.store.reader().url_key(account, mailbox).unwrap();
    assert_eq!(stored(&world, inbox), None);
    let modseq = world.account.head().unwrap().modseq;
    assert_eq!(world.run(|tx| tx.url_key(inbox, key(1))).unwrap().0, key(1));
    assert_eq!(world.run(|tx| tx.url_key(inbox, key(2))).unwrap().0, key(1));
    assert_eq!(world.account.head().unwrap().modseq, modseq, "no client sees a change");
    let ((), changes) = world.run(|tx| tx.reset_url_key(inbox, key(3))).unwrap();
    assert!(matches!(changes[..], [Change::UrlKey { mailbox, .. }] if mailbox == inbox));
    assert_eq!(stored(&world, inbox), Some(key(3)));
    let box_id = world.run(|tx| tx.create_mailbox(&name("box"), SpecialUse::NONE)).unwrap().0;
    for mailbox in [sent, box_id] {
        world.run(|tx| tx.url_key(mailbox, key(4))).unwrap();
    }
    world.verify();
    world.run(|tx| tx.delete_mailbox(box_id)).unwrap();
    assert_eq!(stored(&world, box_id), None);
    assert_eq!(world.refused(|tx| tx.url_key(box_id, key(5))), Some(Refusal::NoSuchMailbox));
    world.verify();
    let ((), changes) = world.run(|tx| tx.remove_url_keys()).unwrap();
    assert_eq!(changes.len(), 2);
    assert_eq!((stored(&world, inbox), stored(&world, sent)), (None, None));
    assert_eq!(world.run(|tx| tx.remove_url_keys()).unwrap().1, []);
    world.verify();
}

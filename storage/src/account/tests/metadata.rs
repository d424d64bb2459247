//! Annotations: their numbers, their limits, and what becomes of them with their mailbox.

use super::{World, name};
use crate::account::{Change, Limits};
use crate::ids::{AccountId, MailboxId};
use crate::keys::{self, MetadataPlace, table};
use crate::store::{Refusal, StoreError};

const SERVER: MetadataPlace = MetadataPlace { mailbox: None, user: None };

fn shared(mailbox: MailboxId) -> MetadataPlace {
    MetadataPlace { mailbox: Some(mailbox), user: None }
}

fn private(mailbox: MailboxId, user: u32) -> MetadataPlace {
    MetadataPlace { mailbox: Some(mailbox), user: AccountId::new(user) }
}

/// All annotations: place, path, value.
fn all(world: &World) -> Vec<(MetadataPlace, String, Vec<u8>)> {
    let prefix = keys::of_table(world.account.id().get(), table::METADATA);
    let reader = world.store.reader();
    let rows = reader.metadata_in(&prefix).map(|row| {
        let (place, path, row) = row.unwrap();
        (place, path, row.value.to_vec())
    });
    rows.collect()
}

fn set(
    world: &mut World,
    place: MetadataPlace,
    path: &str,
    value: Option<&[u8]>,
) -> Result<Vec<Change>, StoreError> {
    world.run(|tx| tx.set_metadata(place, path, value)).map(|((), changes)| changes)
}

#[test]
fn each_user_has_a_value_of_its_own_beside_the_shared_one() {
    let mut world = World::new();
    let inbox = world.inbox();
    for (place, value) in [
        (shared(inbox), b"all".as_slice()),
        (private(inbox, 7), b"mine"),
        (private(inbox, 9), b"\0\xff"),
        (SERVER, b""),
    ] {
        assert_eq!(set(&mut world, place, "/comment", Some(value)).unwrap().len(), 1);
        let read = world.store.reader().metadata(world.account.id(), place, "/comment").unwrap();
        assert_eq!(&*read.unwrap().value, value);
    }
    assert_eq!(all(&world).len(), 4);
    world.verify();
}

#[test]
fn a_change_takes_a_number_and_what_is_already_so_takes_none() {
    let mut world = World::new();
    let inbox = world.inbox();
    let before = *world.account.head().unwrap();
    let changes = world
        .run(|tx| {
            tx.set_metadata(shared(inbox), "/a", Some(b"1"))?;
            tx.set_metadata(shared(inbox), "/b", Some(b"2"))
        })
        .unwrap()
        .1;
    let next = before.modseq.next().unwrap();
    assert!(changes.len() == 2 && changes.iter().all(|change| change.modseq() == next));
    let head = *world.account.head().unwrap();
    assert_eq!((head.modseq, head.annotations, head.annotation_octets), (next, 2, 6));
    // RFC 7162 §3.2.
    assert_eq!(world.account.mailbox(inbox).unwrap().modseq, next);
    assert_eq!(set(&mut world, shared(inbox), "/a", Some(b"1")).unwrap(), []);
    assert_eq!(set(&mut world, shared(inbox), "/c", None).unwrap(), []);
    assert_eq!(*world.account.head().unwrap(), head);
    assert_eq!(set(&mut world, shared(inbox), "/a", Some(b"")).unwrap().len(), 1);
    assert_eq!(set(&mut world, shared(inbox), "/a", None).unwrap().len(), 1);
    assert_eq!(set(&mut world, shared(inbox), "/b", None).unwrap().len(), 1);
    let head = *world.account.head().unwrap();
    assert_eq!((head.annotations, head.annotation_octets), (0, 0));
    // Those of the server are of no mailbox.
    let modseq = world.account.mailbox(inbox).unwrap().modseq;
    assert_eq!(set(&mut world, SERVER, "/a", Some(b"1")).unwrap().len(), 1);
    assert_eq!(world.account.mailbox(inbox).unwrap().modseq, modseq);
    assert_eq!(set(&mut world, SERVER, "/a", None).unwrap().len(), 1);
    assert_eq!(all(&world), []);
    world.verify();
}

#[test]
fn a_refused_transaction_leaves_no_annotation() {
    let mut world = World::new();
    let inbox = world.inbox();
    let gone = MailboxId::new(999).unwrap();
    let refused = world.refused(|tx| {
        tx.set_metadata(shared(inbox), "/a", Some(b"1"))?;
        tx.set_metadata(shared(gone), "/a", Some(b"1"))
    });
    assert_eq!(refused, Some(Refusal::NoSuchMailbox));
    assert_eq!(all(&world), []);
    world.verify();
}

#[test]
fn limits_are_reached_exactly_and_not_passed() {
    let limits = Limits {
        annotations_max: 3,
        annotation_octets_max: 20,
        annotation_value_octets_max: 8,
        ..Limits::default()
    };
    let mut world = World::with_limits(limits);
    let inbox = world.inbox();
    let too_large = |octets_max| Some(Refusal::AnnotationTooLarge { octets_max });
    assert_eq!(world.refused(|tx| tx.set_metadata(SERVER, "/a", Some(&[0; 9]))), too_large(8));
    set(&mut world, SERVER, "/a", Some(&[0; 8])).unwrap();
    set(&mut world, shared(inbox), "/a", Some(&[0; 5])).unwrap();
    // 3 octets are left: 2 for the path.
    assert_eq!(world.refused(|tx| tx.set_metadata(SERVER, "/b", Some(&[0; 2]))), too_large(1));
    assert_eq!(world.refused(|tx| tx.set_metadata(SERVER, "/bcde", Some(&[0; 1]))), too_large(0));
    set(&mut world, SERVER, "/b", Some(&[0; 1])).unwrap();
    set(&mut world, shared(inbox), "/a", Some(&[0; 4])).unwrap();
    set(&mut world, SERVER, "/b", Some(b"")).unwrap();
    assert_eq!(
        world.refused(|tx| tx.set_metadata(SERVER, "/c", Some(b""))),
        Some(Refusal::TooManyAnnotations)
    );
    set(&mut world, SERVER, "/b", None).unwrap();
    set(&mut world, SERVER, "/c", Some(b"")).unwrap();
    world.verify();
}

#[test]
fn annotations_follow_their_mailbox_and_go_with_it() {
    let mut world = World::new();
    let trash = world.named("Trash");
    set(&mut world, shared(trash), "/comment", Some(b"x")).unwrap();
    set(&mut world, private(trash, 9), "/comment", Some(b"y")).unwrap();
    set(&mut world, SERVER, "/comment", Some(b"z")).unwrap();
    world.run(|tx| tx.rename_mailbox(&name("Trash"), &name("Bin"))).unwrap();
    assert_eq!(world.named("Bin"), trash);
    assert_eq!(all(&world).len(), 3);
    world.run(|tx| tx.delete_mailbox(trash)).unwrap();
    assert_eq!(all(&world), [(SERVER, "/comment".to_owned(), b"z".to_vec())]);
    world.run(|tx| tx.create_mailbox(&name("Bin"), crate::rows::SpecialUse::NONE)).unwrap();
    assert_eq!(all(&world).len(), 1);
    world.verify();
}

#[test]
fn those_of_the_inbox_are_copied_when_it_is_renamed() {
    let mut world = World::new();
    let inbox = world.inbox();
    world.append(inbox, b"m", postrider_proto::imap::types::Flags::NONE, &[]);
    set(&mut world, private(inbox, 7), "/comment", Some(b"x")).unwrap();
    let mut moved = world.run(|tx| tx.rename_inbox(&name("Old"))).unwrap().0;
    let old = world.named("Old");
    while let Some(rest) = moved.rest {
        moved = world.run(|tx| tx.move_range(inbox, rest, old)).unwrap().0;
    }
    let expected = [inbox, old].map(|mailbox| (private(mailbox, 7), "/comment".to_owned(), b"x".to_vec()));
    assert_eq!(all(&world), expected);
    assert_eq!(world.account.mailbox(old).unwrap().exists, 1);
    world.verify();
}

#[test]
fn annotations_of_an_account_go_with_it() {
    let mut world = World::new();
    set(&mut world, SERVER, "/comment", Some(b"z")).unwrap();
    let removal = crate::account::remove_account(&world.store.reader(), world.account.id(), 1000).unwrap();
    assert!(!removal.more);
    use crate::engine::Engine as _;
    world.engine.commit(removal.batch, crate::engine::Durability::Synced).unwrap();
    assert_eq!(all(&world), []);
}

//! Every limit is reached at n, and refused at n + 1.

use postrider_proto::imap::types::{Flags, Keyword, Uid};

use super::{World, message, name, uid};
use crate::account::{Expunge, FlagChange, FlagOp, Limits, Quota};
use crate::rows::SpecialUse;
use crate::store::Refusal;

fn add_keywords(keywords: impl Iterator<Item = u32>) -> FlagChange {
    let keywords = keywords.map(|number| Keyword::new(&format!("k{number}")).unwrap()).collect();
    FlagChange { op: FlagOp::Add, flags: Flags::NONE, keywords }
}

#[test]
fn mailboxes_and_subscriptions_are_limited() {
    // Six of each come with the account.
    let mut world =
        World::with_limits(Limits { mailboxes_max: 8, subscriptions_max: 9, ..Limits::default() });
    world.run(|tx| tx.create_mailbox(&name("a/b"), SpecialUse::NONE)).unwrap();
    let refused = world.refused(|tx| tx.create_mailbox(&name("c"), SpecialUse::NONE));
    assert_eq!(refused, Some(Refusal::TooManyMailboxes));
    world.run(|tx| tx.subscribe(&name("x"))).unwrap();
    assert_eq!(world.refused(|tx| tx.subscribe(&name("y"))), Some(Refusal::TooManySubscriptions));
    world.verify();
}

#[test]
fn keywords_are_limited_per_message_and_account() {
    let limits = Limits { keywords_max: 5, message_keywords_max: 3, ..Limits::default() };
    let mut world = World::with_limits(limits);
    let inbox = world.inbox();
    for _ in 0..2 {
        world.append(inbox, b"m", Flags::NONE, &[]);
    }
    let mut store = |uids: &[Uid], change: &FlagChange| {
        world.run(|tx| tx.store_flags(inbox, uids, change, None)).map_err(|error| error.to_string())
    };
    store(&[uid(1)], &add_keywords(0..3)).unwrap();
    assert_eq!(store(&[uid(1)], &add_keywords(3..4)), Err(Refusal::TooManyKeywords.to_string()));
    store(&[uid(2)], &add_keywords(3..5)).unwrap();
    assert_eq!(store(&[uid(2)], &add_keywords(5..6)), Err(Refusal::TooManyKeywords.to_string()));
    assert_eq!(world.account.head().unwrap().keywords, 5, "the refused ones left no trace");
    let (new, _) = message(&world.store, b"m", Flags::NONE, &["k0", "k1", "k2", "k3"]);
    assert_eq!(world.refused(|tx| tx.append(inbox, new)), Some(Refusal::TooManyKeywords));
    world.verify();
}

#[test]
fn messages_of_a_transaction_are_limited() {
    let mut world = World::with_limits(Limits { messages_max: 4, ..Limits::default() });
    let (inbox, trash) = (world.inbox(), world.named("Trash"));
    for _ in 0..9 {
        world.append(inbox, b"m", Flags::DELETED, &[]);
    }
    let five: Vec<_> = (1..=5).map(uid).collect();
    let change = add_keywords(0..1);
    let too_many = Some(Refusal::TooManyMessages);
    assert_eq!(world.refused(|tx| tx.store_flags(inbox, &five, &change, None)), too_many);
    assert_eq!(world.refused(|tx| tx.copy(inbox, &five, trash)), too_many);
    assert_eq!(world.refused(|tx| tx.move_messages(inbox, &five, trash)), too_many);
    assert_eq!(world.refused(|tx| tx.expunge(inbox, Expunge::These(&five))), too_many);
    assert_eq!(world.refused(|tx| tx.expunge(inbox, Expunge::DeletedAmong(&five))), too_many);
    world.run(|tx| tx.store_flags(inbox, &five[..4], &change, None)).unwrap();
    world.run(|tx| tx.copy(inbox, &five[..4], trash)).unwrap();
    let pieces: Vec<_> = std::iter::from_fn(|| {
        let done = world.run(|tx| tx.expunge(inbox, Expunge::Deleted)).unwrap().0;
        (!done.removed.is_empty()).then_some((done.removed.len(), done.more))
    })
    .collect();
    assert_eq!(pieces, [(4, true), (4, true), (1, false)]);
    world.verify();
}

#[test]
fn octets_of_a_transaction_are_limited() {
    let octets = |octets_max| {
        let mut world = World::new();
        let inbox = world.inbox();
        world.account.limits.octets_max = octets_max;
        let (new, blob) = message(&world.store, b"m", Flags::NONE, &[]);
        let done = world.run(|tx| {
            tx.attach(blob);
            tx.append(inbox, new)
        });
        world.verify();
        done.map(|_| ()).map_err(|error| error.to_string())
    };
    let needed = (0..5000).find(|octets_max| octets(*octets_max).is_ok()).unwrap();
    assert!(needed > 500);
    assert_eq!(octets(needed), Ok(()));
    assert_eq!(octets(needed - 1), Err(Refusal::TooLarge.to_string()));
}

#[test]
fn prefixes_are_limited() {
    let mut world = World::with_limits(Limits { prefix_octets_max: 17, ..Limits::default() });
    let inbox = world.inbox();
    world.append(inbox, b"m", Flags::NONE, &[]);
    let (mut new, _) = message(&world.store, b"m", Flags::NONE, &[]);
    assert_eq!(new.prefix.len(), 17);
    new.prefix.push(b' ');
    assert_eq!(world.refused(|tx| tx.append(inbox, new)), Some(Refusal::PrefixTooLong));
}

#[test]
fn the_quota_is_reached_exactly_and_not_passed() {
    let mut world = World::new();
    let (inbox, trash) = (world.inbox(), world.named("Trash"));
    world.account.set_quota(Quota { octets: Some(3 * 27), messages: None });
    for _ in 0..2 {
        world.append(inbox, b"ten octets", Flags::NONE, &[]);
    }
    world.run(|tx| tx.copy(inbox, &[uid(1)], trash)).unwrap();
    assert_eq!(world.account.head().unwrap().quota_used, 81);
    let (new, _) = message(&world.store, b"", Flags::NONE, &[]);
    assert_eq!(world.refused(|tx| tx.append(inbox, new)), Some(Refusal::OverQuota));
    assert_eq!(world.refused(|tx| tx.copy(inbox, &[uid(2)], trash)), Some(Refusal::OverQuota));
    world.run(|tx| tx.move_messages(inbox, &[uid(2)], trash)).unwrap();
    world.run(|tx| tx.expunge(trash, Expunge::These(&[uid(1)]))).unwrap();
    world.run(|tx| tx.copy(trash, &[uid(2)], inbox)).unwrap();
    world.verify();
}

#[test]
fn the_quota_of_messages_is_reached_exactly_and_not_passed() {
    let mut world = World::new();
    let (inbox, trash) = (world.inbox(), world.named("Trash"));
    world.account.set_quota(Quota { octets: None, messages: Some(3) });
    for _ in 0..2 {
        world.append(inbox, b"m", Flags::NONE, &[]);
    }
    assert_eq!(world.refused(|tx| tx.copy(inbox, &[uid(1), uid(2)], trash)), Some(Refusal::OverQuota));
    world.run(|tx| tx.copy(inbox, &[uid(1)], trash)).unwrap();
    let (new, _) = message(&world.store, b"m", Flags::NONE, &[]);
    assert_eq!(world.refused(|tx| tx.append(inbox, new)), Some(Refusal::OverQuota));
    world.run(|tx| tx.move_messages(inbox, &[uid(2)], trash)).unwrap();
    world.run(|tx| tx.expunge(trash, Expunge::These(&[uid(1)]))).unwrap();
    world.append(inbox, b"m", Flags::NONE, &[]);
    world.verify();
}

#[test]
fn references_are_looked_up_to_their_limit() {
    let thread = |references_max| {
        let mut world = World::with_limits(Limits { references_max, ..Limits::default() });
        let inbox = world.inbox();
        let mut threads = Vec::new();
        for (id, references) in [(1, vec![]), (2, vec![7, 8, 1])] {
            let (mut new, blob) = message(&world.store, b"m", Flags::NONE, &[]);
            new.thread.message_id = id;
            new.thread.references = references;
            let appended = world.run(|tx| {
                tx.attach(blob);
                tx.append(inbox, new)
            });
            threads.push(appended.unwrap().0.thread);
        }
        threads[0] == threads[1]
    };
    assert!(thread(3));
    assert!(!thread(2));
}

//! Access control lists, and who finds what is shared.

use postrider_proto::imap::rights::Rights;
use postrider_proto::imap::types::{Flags, Uid};

use super::{World, message, name, uid};
use crate::account::{FlagChange, FlagOp, FlagScope, Source};
use crate::ids::{AccountId, EmailId, MailboxId};
use crate::keys;
use crate::rows::{AclRow, Grantee, Sign, SpecialUse};
use crate::store::Refusal;

fn id(number: u32) -> AccountId {
    AccountId::new(number).unwrap()
}

fn account(number: u32) -> Grantee {
    Grantee::Account(id(number))
}

fn rights(letters: &str) -> Rights {
    Rights::parse(letters).unwrap()
}

fn set(world: &mut World, mailbox: MailboxId, who: Grantee, sign: Sign, letters: &str) {
    let rights = rights(letters);
    world.run(|tx| tx.set_acl(mailbox, who, sign, |_| rights)).unwrap();
    world.verify();
}

fn shared_with(world: &World, who: Grantee) -> Vec<(u32, MailboxId)> {
    let rows = world.store.reader().prefix(&keys::shared_with(who)).map(Result::unwrap).collect::<Vec<_>>();
    let parts = rows.iter().map(|(key, _)| keys::shared_parts(key).unwrap());
    parts.map(|(_, owner, mailbox)| (owner.get(), mailbox)).collect()
}

#[test]
fn rights_are_those_of_the_user_and_of_anyone_less_what_is_denied() {
    let mut world = World::new();
    let inbox = world.inbox();
    assert_eq!(world.account.rights(inbox, id(7), true), Rights::ALL);
    assert_eq!(world.account.rights(inbox, id(8), true), Rights::NONE);
    set(&mut world, inbox, account(8), Sign::Grants, "lrs");
    set(&mut world, inbox, Grantee::Anyone, Sign::Grants, "lip");
    set(&mut world, inbox, account(8), Sign::Denies, "s");
    set(&mut world, inbox, Grantee::Anyone, Sign::Denies, "p");
    world.reload();
    assert_eq!(world.account.rights(inbox, id(8), true), rights("lri"));
    assert_eq!(world.account.rights(inbox, id(8), false), rights("lr"));
    assert_eq!(world.account.rights(inbox, id(9), true), rights("li"));
    assert_eq!(world.account.rights(inbox, id(9), false), Rights::NONE);
    assert_eq!(
        world.account.rights(inbox, id(7), true),
        Rights::ALL,
        "what is said of anyone isn't of the owner"
    );
}

#[test]
fn owners_can_give_up_all_but_two_rights_and_take_them_back() {
    let mut world = World::new();
    let inbox = world.inbox();
    world.run(|tx| tx.delete_acl(inbox, account(7), Sign::Grants)).unwrap();
    assert_eq!(world.account.rights(inbox, id(7), true), Rights::OF_OWNER);
    set(&mut world, inbox, account(7), Sign::Grants, "r");
    set(&mut world, inbox, account(7), Sign::Denies, "ral");
    assert_eq!(world.account.rights(inbox, id(7), true), Rights::OF_OWNER);
    set(&mut world, inbox, account(7), Sign::Denies, "");
    assert_eq!(world.account.rights(inbox, id(7), true), rights("lra"));
    set(&mut world, inbox, account(7), Sign::Grants, "lrswipkxtea");
    assert_eq!(world.account.acl(inbox), None, "as if nothing had been said");
    assert_eq!(world.store.reader().prefix(&keys::acl(id(7), inbox)).count(), 0);
}

#[test]
fn the_index_follows_the_list() {
    let mut world = World::new();
    let (inbox, trash) = (world.inbox(), world.named("Trash"));
    set(&mut world, inbox, account(8), Sign::Grants, "l");
    set(&mut world, trash, account(8), Sign::Grants, "r");
    set(&mut world, trash, account(9), Sign::Denies, "r");
    set(&mut world, trash, Grantee::Anyone, Sign::Grants, "l");
    assert_eq!(shared_with(&world, account(8)), [(7, inbox), (7, trash)]);
    assert_eq!(shared_with(&world, account(9)), []);
    assert_eq!(shared_with(&world, Grantee::Anyone), [(7, trash)]);
    let before = world.account.head().unwrap().modseq;
    set(&mut world, inbox, account(8), Sign::Grants, "l");
    assert_eq!(world.account.head().unwrap().modseq, before, "nothing changed");
    set(&mut world, inbox, account(8), Sign::Grants, "");
    assert_eq!(shared_with(&world, account(8)), [(7, trash)]);
    world.run(|tx| tx.forget_grantee(trash, account(8))).unwrap();
    assert_eq!(shared_with(&world, account(8)), []);
    world.verify();
    world.run(|tx| tx.delete_mailbox(trash)).unwrap();
    assert_eq!(shared_with(&world, Grantee::Anyone), []);
    assert_eq!(world.account.acl(trash), None);
    world.verify();
    assert_eq!(
        world.refused(|tx| tx.set_acl(trash, account(8), Sign::Grants, |all| all)),
        Some(Refusal::NoSuchMailbox)
    );
}

#[test]
fn new_mailboxes_have_the_list_of_the_one_above_and_keep_it_when_renamed() {
    let mut world = World::new();
    let a = world.run(|tx| tx.create_mailbox(&name("a"), SpecialUse::NONE)).unwrap().0;
    set(&mut world, a, account(8), Sign::Grants, "lk");
    let c = world.run(|tx| tx.create_mailbox(&name("a/b/c"), SpecialUse::NONE)).unwrap().0;
    let b = world.named("a/b");
    assert_eq!(shared_with(&world, account(8)), [(7, a), (7, b), (7, c)]);
    world.run(|tx| tx.rename_mailbox(&name("a/b"), &name("z"))).unwrap();
    world.verify();
    assert_eq!(world.account.rights(c, id(8), false), rights("lk"));
    world.reload();
    assert_eq!(world.account.rights(world.named("z/c"), id(8), false), rights("lk"));
}

#[test]
fn entries_are_limited() {
    let mut world = World::new();
    let inbox = world.inbox();
    let most = u32::try_from(AclRow::ENTRIES_MAX).unwrap();
    for number in 0..most {
        let who = account(1000 + number);
        world.run(|tx| tx.set_acl(inbox, who, Sign::Grants, |_| Rights::LOOKUP)).unwrap();
    }
    let one_more = world.refused(|tx| tx.set_acl(inbox, account(1), Sign::Grants, |_| Rights::LOOKUP));
    assert_eq!(one_more, Some(Refusal::TooManyAclEntries));
    assert_eq!(shared_with(&world, account(1)), []);
    world.verify();
}

#[test]
fn names_of_others_are_not_given_to_own_mailboxes() {
    let mut world = World::new();
    for text in ["Other Users", "Other Users/fred/x"] {
        let refused = world.refused(|tx| tx.create_mailbox(&name(text), SpecialUse::NONE));
        assert_eq!(refused, Some(Refusal::ReservedName));
        let refused = world.refused(|tx| tx.rename_mailbox(&name("Trash"), &name(text)));
        assert_eq!(refused, Some(Refusal::ReservedName));
    }
}

#[test]
fn flags_out_of_scope_stay_and_do_not_come_along() {
    let mut world = World::new();
    let (inbox, trash) = (world.inbox(), world.named("Trash"));
    world.append(inbox, b"m", Flags::FLAGGED.with(Flags::DELETED), &["work"]);
    let seen = FlagScope::of(rights("s"));
    let all = Flags::SEEN.with(Flags::ANSWERED);
    let change = |op| FlagChange {
        op,
        flags: all,
        keywords: vec![postrider_proto::imap::types::Keyword::new("new").unwrap()],
    };
    let flags = |world: &World, mailbox, uid| {
        let row = world.store.reader().message(id(7), mailbox, uid).unwrap().unwrap();
        (row.flags, row.keywords.len())
    };
    for op in [FlagOp::Replace, FlagOp::Add] {
        assert!(seen.allows_some(&change(op)));
        world.run(|tx| tx.store_flags_within(inbox, &[uid(1)], &change(op), None, seen)).unwrap();
        assert_eq!(flags(&world, inbox, uid(1)), (Flags::FLAGGED.with(Flags::DELETED).with(Flags::SEEN), 1));
        world.verify();
    }
    assert_eq!(world.account.head().unwrap().keywords, 1, "a keyword that nobody got isn't known");
    let none = FlagScope::of(rights("lri"));
    assert!(!none.allows_some(&change(FlagOp::Add)) && !none.allows_some(&change(FlagOp::Replace)));
    world.run(|tx| tx.copy_within(inbox, &[uid(1)], trash, FlagScope::of(rights("t")))).unwrap();
    assert_eq!(flags(&world, trash, uid(1)), (Flags::DELETED, 0));
    world.run(|tx| tx.move_within(inbox, &[uid(1)], trash, FlagScope::of(rights("w")))).unwrap();
    assert_eq!(flags(&world, trash, uid(2)), (Flags::FLAGGED, 1));
    world.verify();
}

#[test]
fn a_copy_of_a_content_is_made_only_while_somebody_refers_to_it() {
    let mut world = World::new();
    let inbox = world.inbox();
    world.append(inbox, b"content", Flags::NONE, &[]);
    let row = world.store.reader().message(id(7), inbox, Uid::MIN).unwrap().unwrap();
    let content = world.store.reader().email(id(7), row.email).unwrap().unwrap().content();
    let (mut new, _) = message(&world.store, b"content", Flags::NONE, &[]);
    new.content = content;
    let from = |email| Source { account: id(7), email };
    let again = new.clone();
    assert!(world.run(|tx| tx.append_copy(inbox, again, from(row.email))).unwrap().0.is_some());
    assert!(world.run(|tx| tx.append_copy(inbox, new, from(EmailId(99)))).unwrap().0.is_none());
    world.verify();
}

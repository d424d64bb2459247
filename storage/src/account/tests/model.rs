//! Random transactions, with crashes, against a plain model of an account.

use std::collections::{BTreeMap, BTreeSet};

use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::types::{Flags, Keyword, ModSeq, Uid};

use super::{NOW, World, message, name};
use crate::account::{AccountBatch, Change, Erase, Expunge, FlagChange, FlagOp, Limits};
use crate::blobs;
use crate::engine::{Durability, Engine};
use crate::ids::{AccountId, BlobId, EmailId, MailboxId};
use crate::keys::{self, MetadataPlace, Which};
use crate::reader::FlagQuery;
use crate::rows::SpecialUse;
use crate::store::{Refusal, StoreError};

/// A small generator of random numbers (SplitMix64): a seed is a whole run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ value >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        (!of.is_empty()).then(|| of[self.below(of.len())])
    }
}

#[derive(Clone, PartialEq, Debug)]
struct ModelMessage {
    flags: Flags,
    keywords: BTreeSet<String>,
    modseq: u64,
    createseq: u64,
    email: EmailId,
    size: u64,
}

#[derive(Clone, PartialEq, Debug)]
struct ModelMailbox {
    name: MailboxName,
    special_use: SpecialUse,
    uid_next: u32,
    modseq: u64,
    horizon: u64,
    messages: BTreeMap<Uid, ModelMessage>,
    tombstones: BTreeMap<Uid, u64>,
}

#[derive(Clone, PartialEq, Debug)]
struct Model {
    modseq: u64,
    mailboxes: BTreeMap<MailboxId, ModelMailbox>,
    subscriptions: BTreeSet<MailboxName>,
    /// The last change of each annotation.
    annotations: BTreeMap<(MetadataPlace, String), u64>,
}

const NAMES: [&str; 8] = ["a", "a/b", "a/b/c", "a-x", "b", "b/q", "Inbox/z", "Sent"];
const KEYWORDS: [&str; 4] = ["$Forwarded", "work", "WORK", "later"];
const FLAGS: [Flags; 4] = [Flags::SEEN, Flags::DELETED, Flags::FLAGGED, Flags::ANSWERED];

impl Model {
    /// Applies what the transaction says it changed; then the model must equal the store.
    fn apply(&mut self, changes: &[Change], keyword: impl Fn(crate::ids::KeywordId) -> String) {
        let words = |ids: &[crate::ids::KeywordId]| -> BTreeSet<String> {
            ids.iter().map(|id| keyword(*id)).collect()
        };
        for change in changes {
            match change {
                Change::Added { mailbox, uid, modseq, flags, keywords, size, email } => {
                    self.number(*modseq);
                    let target = self.touch(*mailbox, *modseq);
                    assert!(uid.get() >= target.uid_next, "uids only grow");
                    target.uid_next = uid.get() + 1;
                    let added = ModelMessage {
                        flags: *flags,
                        keywords: words(keywords),
                        modseq: modseq.get(),
                        createseq: modseq.get(),
                        email: *email,
                        size: *size,
                    };
                    assert_eq!(target.messages.insert(*uid, added), None);
                }
                Change::Flags { mailbox, uid, modseq, flags, keywords, touched } => {
                    self.number(*modseq);
                    let message = self.touch(*mailbox, *modseq).messages.get_mut(uid).unwrap();
                    let before = (message.flags, message.keywords.clone());
                    assert_eq!(touched.flags.bits(), before.0.bits() ^ flags.bits());
                    let differ: BTreeSet<_> =
                        before.1.symmetric_difference(&words(keywords)).cloned().collect();
                    assert_eq!(words(&touched.keywords), differ);
                    (message.flags, message.keywords) = (*flags, words(keywords));
                    assert_ne!(before, (message.flags, message.keywords.clone()), "a change that is none");
                    message.modseq = modseq.get();
                }
                Change::Removed { mailbox, uid, modseq, email } => {
                    self.number(*modseq);
                    let target = self.touch(*mailbox, *modseq);
                    assert_eq!(target.messages.remove(uid).unwrap().email, *email);
                    target.tombstones.insert(*uid, modseq.get());
                }
                Change::MailboxCreated { mailbox, name, modseq } => {
                    self.number(*modseq);
                    let created = ModelMailbox {
                        name: name.clone(),
                        special_use: SpecialUse::NONE,
                        uid_next: 1,
                        modseq: modseq.get(),
                        horizon: 0,
                        messages: BTreeMap::new(),
                        tombstones: BTreeMap::new(),
                    };
                    assert_eq!(self.mailboxes.insert(*mailbox, created), None);
                }
                Change::MailboxRenamed { mailbox, from, to, modseq } => {
                    self.number(*modseq);
                    let target = self.touch(*mailbox, *modseq);
                    assert_eq!(target.name, *from);
                    target.name = to.clone();
                }
                Change::MailboxDeleted { mailbox, modseq, .. } => {
                    self.number(*modseq);
                    self.mailboxes.remove(mailbox).unwrap();
                    self.annotations.retain(|(place, _), _| place.mailbox != Some(*mailbox));
                }
                Change::Metadata { place, path, modseq } => {
                    self.number(*modseq);
                    if let Some(mailbox) = place.mailbox {
                        self.touch(mailbox, *modseq);
                    }
                    self.annotations.insert((*place, path.to_string()), modseq.get());
                }
                Change::SpecialUse { mailbox, special_use, modseq } => {
                    self.number(*modseq);
                    self.touch(*mailbox, *modseq).special_use = *special_use;
                }
                Change::MailboxKeyword { mailbox, modseq, .. } => {
                    self.number(*modseq);
                    self.touch(*mailbox, *modseq);
                }
                Change::Acl { .. } => unreachable!("nothing is shared"),
                // Not in the model: no client can see a key.
                Change::UrlKey { .. } => {}
                Change::Subscribed { name, modseq } => {
                    self.number(*modseq);
                    assert!(self.subscriptions.insert(name.clone()));
                }
                Change::Unsubscribed { name, modseq } => {
                    self.number(*modseq);
                    assert!(self.subscriptions.remove(name));
                }
            }
        }
    }

    fn number(&mut self, modseq: ModSeq) {
        assert!(modseq.get() == self.modseq || modseq.get() == self.modseq + 1, "numbers without gaps");
        self.modseq = modseq.get();
    }

    fn touch(&mut self, mailbox: MailboxId, modseq: ModSeq) -> &mut ModelMailbox {
        let mailbox = self.mailboxes.get_mut(&mailbox).unwrap();
        mailbox.modseq = modseq.get();
        mailbox
    }
}

/// Everything that the store answers is what the model says.
fn compare(world: &World, model: &Model, random: &mut Random) {
    let reader = world.store.reader();
    let id = world.account.id();
    assert_eq!(world.account.head().unwrap().modseq.get(), model.modseq);
    assert!(world.account.subscriptions().eq(model.subscriptions.iter()));
    for row in reader.metadata_in(&keys::of_table(id.get(), keys::table::METADATA)) {
        let (place, path, row) = row.unwrap();
        assert_eq!(model.annotations.get(&(place, path)), Some(&row.modseq.get()));
    }
    let ids: BTreeSet<_> = world.account.mailboxes().map(|(_, id, _)| id).collect();
    assert!(ids.iter().eq(model.mailboxes.keys()));
    for (mailbox, expected) in &model.mailboxes {
        let row = world.account.mailbox(*mailbox).unwrap();
        assert_eq!(**row, reader.mailbox(id, *mailbox).unwrap().unwrap());
        assert_eq!((&row.name, row.special_use), (&expected.name, expected.special_use));
        assert_eq!((row.uid_next.get(), row.modseq.get()), (expected.uid_next, expected.modseq));
        assert_eq!(world.account.mailbox_id(&row.name), Some(*mailbox));

        let stored = reader.messages(id, *mailbox, Uid::MIN..=Uid::MAX).map(|message| {
            let (uid, row) = message.unwrap();
            let keyword = |id: &crate::ids::KeywordId| world.account.keyword(*id).unwrap().to_string();
            let message = ModelMessage {
                flags: row.flags,
                keywords: row.keywords.iter().map(keyword).collect(),
                modseq: row.modseq.get(),
                createseq: row.createseq.get(),
                email: row.email,
                size: row.size,
            };
            (uid, message)
        });
        assert_eq!(stored.collect::<BTreeMap<_, _>>(), expected.messages);

        let mut uids = Vec::new();
        reader
            .uid_runs(id, *mailbox, |first, count| {
                uids.extend((first.get()..first.get() + count).map(super::uid))
            })
            .unwrap();
        assert!(uids.iter().eq(expected.messages.keys()));
        let unseen =
            expected.messages.iter().zip(0..).find(|((_, message), _)| !message.flags.contains(Flags::SEEN));
        let unseen = unseen.map(|((uid, _), before)| (*uid, before));
        assert_eq!(reader.first_unseen(id, *mailbox).unwrap(), unseen);
        let query = FlagQuery { set: random.pick(&FLAGS).unwrap(), unset: random.pick(&FLAGS).unwrap() };
        let found: Result<Vec<_>, _> = reader.uids_by_flags(id, *mailbox, query).collect();
        let matching = expected.messages.iter().filter(|(_, message)| query.matches(message.flags));
        assert!(found.unwrap().iter().eq(matching.map(|(uid, _)| uid)));

        let since = random.below(model.modseq as usize + 2).max(1) as u64;
        let changed = |which| -> BTreeMap<Uid, u64> {
            let changes = reader.changes(id, *mailbox, ModSeq::new(since).unwrap(), which);
            changes.map(|change| change.map(|c| (c.uid, c.modseq.get())).unwrap()).collect()
        };
        let live = expected.messages.iter().map(|(uid, message)| (*uid, message.modseq));
        assert_eq!(changed(Which::Live), live.filter(|(_, modseq)| *modseq > since).collect());
        if since >= expected.horizon {
            let gone = expected.tombstones.iter().map(|(uid, modseq)| (*uid, *modseq));
            assert_eq!(changed(Which::Tombstones), gone.filter(|(_, modseq)| *modseq > since).collect());
        }
    }
}

fn some_uids(random: &mut Random, mailbox: &ModelMailbox) -> Vec<Uid> {
    let one_in = random.below(4) + 1;
    let mut uids: Vec<_> = mailbox.messages.keys().filter(|_| random.below(one_in) == 0).copied().collect();
    if random.below(4) == 0 {
        uids.push(super::uid(mailbox.uid_next + 3));
    }
    uids.truncate(40);
    uids
}

/// One random transaction.
fn step(
    random: &mut Random,
    model: &Model,
    batch: &mut AccountBatch<'_>,
    store: &crate::store::Store,
) -> Result<Vec<Change>, StoreError> {
    let mailboxes: Vec<_> = model.mailboxes.keys().copied().collect();
    let at = random.pick(&mailboxes).unwrap();
    let here = &model.mailboxes[&at];
    let uids = some_uids(random, here);
    let text = random.pick(&NAMES).unwrap();
    let fails = random.below(8) == 0;
    let kind = random.below(25);
    let seed = random.next();
    let random = &mut Random(seed);
    batch
        .transact(NOW + model.modseq as i64, |tx| {
            match kind {
                0..=6 => {
                    for _ in 0..=random.below(3) {
                        let flags = FLAGS[random.below(4)].with(FLAGS[random.below(4)]);
                        let size = if random.below(20) == 0 { 150_000 } else { random.below(300) };
                        let keywords = random.pick(&[&[][..], &KEYWORDS[..1], &KEYWORDS[1..]]).unwrap();
                        let (mut new, blob) = message(store, &vec![b'x'; size], flags, keywords);
                        new.thread.message_id = random.below(20) as u64;
                        new.thread.subject = random.below(3) as u64;
                        new.thread.references = vec![random.below(20) as u64];
                        tx.attach(blob);
                        tx.append(at, new)?;
                    }
                }
                7..=11 => {
                    let change = FlagChange {
                        op: random.pick(&[FlagOp::Add, FlagOp::Remove, FlagOp::Replace]).unwrap(),
                        flags: if random.below(3) == 0 { Flags::NONE } else { FLAGS[random.below(4)] },
                        keywords: KEYWORDS
                            .iter()
                            .take(random.below(3))
                            .filter_map(|k| Keyword::new(k))
                            .collect(),
                    };
                    let since =
                        (random.below(3) == 0).then(|| random.below(model.modseq as usize + 1) as u64);
                    let done = tx.store_flags(at, &uids, &change, since)?;
                    assert_eq!(done.updated.len() + done.modified.len() + done.missing.len(), uids.len());
                }
                12 | 13 => drop(tx.expunge(at, Expunge::Deleted)?),
                14 => drop(tx.expunge(at, Expunge::DeletedAmong(&uids))?),
                15 => drop(tx.expunge(at, Expunge::These(&uids))?),
                16 | 17 => {
                    let to = random.pick(&mailboxes).unwrap();
                    let copied =
                        if kind == 16 { tx.copy(at, &uids, to)? } else { tx.move_messages(at, &uids, to)? };
                    assert!(copied.pairs.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1));
                }
                18 => drop(tx.create_mailbox(
                    &name(text),
                    random.pick(&[SpecialUse::NONE, SpecialUse::JUNK]).unwrap(),
                )?),
                19 => tx.rename_mailbox(&here.name, &name(text))?,
                20 => tx.delete_mailbox(at)?,
                21 => {
                    tx.subscribe(&name(text))?;
                    tx.unsubscribe(&name(random.pick(&NAMES).unwrap()))?;
                }
                22 => tx.set_special_use(
                    at,
                    random.pick(&[SpecialUse::NONE, SpecialUse::JUNK.with(SpecialUse::SENT)]).unwrap(),
                )?,
                23 => {
                    let mailbox = (random.below(4) > 0).then_some(at);
                    let place = MetadataPlace { mailbox, user: AccountId::new(random.below(3) as u32) };
                    let path = random.pick(&["/comment", "/vendor/x/y"]).unwrap();
                    let value = random.pick(&[None, Some(&b"a"[..]), Some(&b"bcd"[..])]).unwrap();
                    tx.set_metadata(place, path, value)?;
                    tx.set_metadata(place, "/comment", random.pick(&[None, Some(&b"a"[..])]).unwrap())?;
                }
                _ => {
                    let head = tx.head()?.modseq;
                    tx.erase(Erase::UpTo(head))?;
                    for dropped in tx.dropped()? {
                        tx.sweep(dropped)?;
                    }
                }
            }
            if fails { Err(Refusal::NoSuchMailbox.into()) } else { Ok(()) }
        })
        .map(|((), changes)| changes)
}

fn run(seed: u64, steps: usize, prefill: usize) {
    let mut random = Random(seed);
    let mut world = World::with_limits(Limits { messages_max: 50, ..Limits::default() });
    // The world's account was created by a transaction whose changes nobody saw.
    let mut model = Model {
        modseq: 2,
        mailboxes: BTreeMap::new(),
        subscriptions: world.account.subscriptions().cloned().collect(),
        annotations: BTreeMap::new(),
    };
    {
        let reader = world.store.reader();
        for (id, row) in reader.mailboxes(world.account.id()).map(Result::unwrap) {
            let created = ModelMailbox {
                name: row.name,
                special_use: row.special_use,
                uid_next: 1,
                modseq: 2,
                horizon: 0,
                messages: BTreeMap::new(),
                tombstones: BTreeMap::new(),
            };
            model.mailboxes.insert(id, created);
        }
    }
    for piece in (0..prefill).collect::<Vec<_>>().chunks(200) {
        let inbox = world.inbox();
        let new: Vec<_> = piece.iter().map(|_| message(&world.store, b"old", Flags::SEEN, &[])).collect();
        let (_, changes) = world
            .run(|tx| {
                for (message, blob) in new {
                    tx.attach(blob);
                    tx.append(inbox, message)?;
                }
                Ok(())
            })
            .unwrap();
        model.apply(&changes, |_| String::new());
    }
    for number in 0..steps {
        let reader = world.store.reader();
        let mut batch = world.account.begin(&reader);
        let mut after = model.clone();
        let mut all = Vec::new();
        for _ in 0..=random.below(3) {
            match step(&mut random, &after, &mut batch, &world.store) {
                Ok(changes) => {
                    let known = |id: crate::ids::KeywordId| {
                        let new = || {
                            batch.delta.keywords[usize::from(id.0) - world.account.keywords.len()].to_string()
                        };
                        world.account.keyword(id).map_or_else(new, ToString::to_string)
                    };
                    after.apply(&changes, known);
                    all.extend(changes);
                }
                Err(StoreError::Refused(_)) => {}
                Err(error) => panic!("seed {seed} step {number}: {error}"),
            }
        }
        let (batch, pending) = batch.finish();
        if all.is_empty() && !batch.is_empty() {
            assert_eq!(pending.delta.head, world.account.head().copied(), "housekeeping takes no number");
        }
        match random.below(12) {
            0 => world.reload(),
            1 => {
                world.engine.commit(batch, Durability::Synced).unwrap();
                world.reload();
                model = after;
            }
            _ => {
                world.engine.commit(batch, Durability::Synced).unwrap();
                world.account.install(pending);
                model = after;
            }
        }
        if random.below(10) == 0 {
            purge(&mut world, &mut model, &mut random);
        }
        if number % 20 == 0 {
            compare(&world, &model, &mut random);
        }
        if number % 100 == 0 {
            world.verify();
        }
    }
    finish(&mut world, &model, &mut random);
}

fn purge(world: &mut World, model: &mut Model, random: &mut Random) {
    let mailboxes: Vec<_> = model.mailboxes.keys().copied().collect();
    let mailbox = random.pick(&mailboxes).unwrap();
    let before = NOW + (model.modseq / 2) as i64;
    while world.run(|tx| tx.purge_tombstones(mailbox, before)).unwrap().0.more {}
    let horizon = world.account.mailbox(mailbox).unwrap().horizon;
    let expected = model.mailboxes.get_mut(&mailbox).unwrap();
    expected.horizon = horizon;
    expected.tombstones.retain(|_, modseq| *modseq > horizon);
}

/// Empties everything; nothing may stay behind.
fn finish(world: &mut World, model: &Model, random: &mut Random) {
    compare(world, model, random);
    world.verify();
    for mailbox in model.mailboxes.keys() {
        loop {
            let uids: Vec<_> = {
                let reader = world.store.reader();
                let messages = reader.messages(world.account.id(), *mailbox, Uid::MIN..=Uid::MAX);
                messages.take(50).map(|message| message.unwrap().0).collect()
            };
            if uids.is_empty() {
                break;
            }
            world.run(|tx| tx.expunge(*mailbox, Expunge::These(&uids))).unwrap();
        }
    }
    for mailbox in world.run(|tx| tx.dropped()).unwrap().0 {
        while world.run(|tx| tx.sweep(mailbox)).unwrap().0.more {}
    }
    world.verify();
    while world.run(|tx| tx.erase(Erase::UpTo(ModSeq::MAX))).unwrap().0.more {}
    for batch in blobs::recover_pending(&world.store.reader(), 10).unwrap() {
        world.engine.commit(batch, Durability::Synced).unwrap();
    }
    let collected = blobs::collect(&world.store.reader(), BlobId(0), usize::MAX).unwrap();
    assert_eq!(collected.next, None);
    world.engine.commit(collected.batch, Durability::Synced).unwrap();
    world.verify();
    let reader = world.store.reader();
    let counts = crate::verify::verify(reader, None, &mut |_| {}).unwrap().counts;
    assert_eq!((counts.messages, counts.emails, counts.erasures), (0, 0, 0));
    assert_eq!((counts.blobs, counts.chunks, counts.blobs_to_collect), (0, 0, 0));
    assert_eq!(world.account.head().unwrap().quota_used, 0);
}

/// Seeds that once failed stay here.
#[test]
fn random_transactions_and_crashes_leave_what_the_model_says() {
    for seed in [1, 2, 3, 4, 5, 6] {
        run(seed, 700, 0);
    }
}

#[test]
fn mailboxes_of_many_blocks_agree_with_the_model_too() {
    for seed in [11, 12] {
        run(seed, 300, 1400);
    }
}

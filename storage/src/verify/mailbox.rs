//! Invariants of one mailbox: rows, packed blocks, change index and counters say the same.

use postrider_proto::imap::types::{Flags, ModSeq, Uid};

use super::Report;
use super::account::Known;
use crate::ids::MailboxId;
use crate::keys::{self, Which};
use crate::reader::Reader;
use crate::rows::pack::{Block, HAS_KEYWORDS};
use crate::rows::{MailboxRow, MessageRow};
use crate::store::StoreError;

pub(super) fn check(
    reader: &Reader,
    known: &mut Known,
    id: MailboxId,
    row: &MailboxRow,
    report: &mut Report,
) -> Result<(), StoreError> {
    let account = known.account;
    let place = format!("account {account} mailbox {id}");
    report.check(row.createseq <= row.modseq, &place, "has a createseq above its modseq");
    report.check(row.modseq <= known.head.modseq, &place, "has a modseq of the future");
    report.check(row.horizon <= row.modseq.get(), &place, "has a horizon above its modseq");
    let unknown = row.keywords.iter().any(|keyword| keyword.0 >= known.head.keywords);
    report.check(!unknown, &place, "uses a keyword that is not in the dictionary");

    let mut counted =
        MailboxRow { exists: 0, unseen: 0, deleted: 0, size: 0, deleted_size: 0, ..row.clone() };
    let mut packed = Packed::new(reader, known, id);
    for message in reader.messages(account, id, Uid::MIN..=Uid::MAX) {
        let Some((uid, message)) = report.read(message, &place)? else { continue };
        report.counts.messages += 1;
        counted.exists += 1;
        counted.unseen += u32::from(!message.flags.contains(Flags::SEEN));
        counted.deleted += u32::from(message.flags.contains(Flags::DELETED));
        counted.size += message.size;
        counted.deleted_size += if message.flags.contains(Flags::DELETED) { message.size } else { 0 };
        check_message(reader, known, (id, row), (uid, &message), report)?;
        let octet = message.flags.bits() | if message.keywords.is_empty() { 0 } else { HAS_KEYWORDS };
        let found = packed.next(report)?;
        report.check(
            found == Some((uid, octet)),
            format!("{place} uid {uid}"),
            format_args!("is {octet:#04x}, but the PACK blocks have {found:?} at its place"),
        );
    }
    let more = packed.next(report)?;
    report.check(more.is_none(), &place, format_args!("has {more:?} in a PACK block, but no such message"));
    let tail = row.tail.is_none_or(|tail| packed.last_base == Some(tail));
    report.check(tail, &place, "has a tail that is not its last PACK block");
    report.check(
        counted == *row,
        &place,
        format_args!(
            "counts exists {} unseen {} deleted {} size {} deleted size {}, but has {} {} {} {} {}",
            row.exists,
            row.unseen,
            row.deleted,
            row.size,
            row.deleted_size,
            counted.exists,
            counted.unseen,
            counted.deleted,
            counted.size,
            counted.deleted_size
        ),
    );
    check_changes(reader, known, (id, row), report)
}

fn check_message(
    reader: &Reader,
    known: &mut Known,
    (id, mailbox): (MailboxId, &MailboxRow),
    (uid, row): (Uid, &MessageRow),
    report: &mut Report,
) -> Result<(), StoreError> {
    let account = known.account;
    let place = format!("account {account} mailbox {id} uid {uid}");
    report.check(uid < mailbox.uid_next, &place, "is not below the next uid");
    report.check(row.createseq <= row.modseq, &place, "has a createseq above its modseq");
    report.check(row.modseq <= mailbox.modseq, &place, "has a modseq above its mailbox's");
    report.check(row.createseq >= mailbox.createseq, &place, "is older than its mailbox");
    let listed = row.keywords.iter().all(|keyword| mailbox.keywords.contains(keyword));
    report.check(listed, &place, "has a keyword that its mailbox doesn't list");
    let change = reader.get(&keys::change(account, id, Which::Live, row.modseq, uid))?;
    report.check(
        change.is_some_and(|value| value.is_empty()),
        &place,
        "is missing from the change index, or is there with a value",
    );
    if let Some(Some(email)) = report.read(reader.email(account, row.email), &place)? {
        report.check(email.size == row.size, &place, "has another size than its email");
        report.check(email.thread == row.thread, &place, "has another thread than its email");
    }
    known.refs.push(row.email);
    Ok(())
}

fn check_changes(
    reader: &Reader,
    known: &Known,
    (id, row): (MailboxId, &MailboxRow),
    report: &mut Report,
) -> Result<(), StoreError> {
    let account = known.account;
    let place = format!("account {account} mailbox {id}");
    let mut live = 0;
    for entry in reader.prefix(&keys::changes(account, id, Which::Live)) {
        entry?;
        live += 1;
    }
    report.check(live == row.exists, &place, format_args!("has {live} live entries in its change index"));
    let mut removed = Vec::new();
    // From before every number that is given out: the entries of number 1 don't exist.
    for change in reader.changes(account, id, ModSeq::MIN, Which::Tombstones) {
        let Some(change) = report.read(change, &place)? else { continue };
        report.counts.tombstones += 1;
        removed.push(change.uid);
        let place = format!("{place} tombstone {}", change.uid);
        report.check(change.uid < row.uid_next, &place, "is not below the next uid");
        report.check(change.modseq <= row.modseq, &place, "has a modseq above its mailbox's");
        report.check(change.modseq.get() >= row.horizon, &place, "is left below the horizon");
        let created = change.tombstone.is_some_and(|row| row.createseq < change.modseq);
        report.check(created, &place, "was not created before it was removed");
        let exists = reader.get(&keys::message(account, id, change.uid))?.is_some();
        report.check(!exists, &place, "is a message that exists");
    }
    removed.sort_unstable();
    let twice = removed.windows(2).any(|pair| pair[0] == pair[1]);
    report.check(!twice, &place, "has two tombstones for one uid");
    let known = u64::from(row.exists) + removed.len() as u64 + u64::from(row.purged);
    report.check(
        known == u64::from(row.uid_next.get()) - 1,
        &place,
        format_args!("has given out uids up to {}, but knows of {known}", row.uid_next),
    );
    Ok(())
}

/// A mailbox that is deleted and not yet swept.
pub(super) fn check_dropped(
    reader: &Reader,
    known: &mut Known,
    id: MailboxId,
    report: &mut Report,
) -> Result<(), StoreError> {
    let place = format!("account {} deleted mailbox {id}", known.account);
    for message in reader.messages(known.account, id, Uid::MIN..=Uid::MAX) {
        if let Some((uid, row)) = report.read(message, &place)? {
            let change = keys::change(known.account, id, Which::Live, row.modseq, uid);
            report.check(reader.get(&change)?.is_some(), &place, "has a message outside its change index");
            known.refs.push(row.email);
        }
    }
    for change in reader.changes(known.account, id, ModSeq::MIN, Which::Tombstones) {
        report.read(change, &place)?;
    }
    for block in reader.blocks(known.account, id) {
        report.read(block, &place)?;
    }
    Ok(())
}

/// The messages of all PACK blocks, one by one.
struct Packed<'a> {
    blocks: Box<dyn Iterator<Item = Result<Block, StoreError>> + 'a>,
    block: std::vec::IntoIter<(Uid, u8)>,
    last_base: Option<Uid>,
    last_uid: Option<Uid>,
    place: String,
}

impl<'a> Packed<'a> {
    fn new(reader: &'a Reader, known: &Known, id: MailboxId) -> Self {
        Self {
            blocks: Box::new(reader.blocks(known.account, id)),
            block: Vec::new().into_iter(),
            last_base: None,
            last_uid: None,
            place: format!("account {} mailbox {id}", known.account),
        }
    }

    fn next(&mut self, report: &mut Report) -> Result<Option<(Uid, u8)>, StoreError> {
        loop {
            if let Some((uid, octet)) = self.block.next() {
                self.last_uid = Some(uid);
                return Ok(Some((uid, octet)));
            }
            let Some(block) = self.blocks.next() else { return Ok(None) };
            let Some(block) = report.read(block, &self.place)? else { continue };
            let behind = self.last_uid.is_none_or(|last| last < block.base());
            report.check(behind, &self.place, "has PACK blocks that overlap");
            self.last_base = Some(block.base());
            let messages: Vec<_> = block.uids().iter().copied().zip(block.octets().iter().copied()).collect();
            self.block = messages.into_iter();
        }
    }
}

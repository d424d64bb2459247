//! The packed blocks that a batch touches: unpacked once, written once, however many transactions and
//! messages touch them.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use postrider_proto::imap::types::Uid;

use super::overlay::Overlay;
use crate::engine::Space;
use crate::ids::{AccountId, MailboxId};
use crate::keys;
use crate::reader::{FlagQuery, Reader, matches_in};
use crate::rows::pack::{BLOCK_MESSAGES_MAX, Block};
use crate::store::StoreError;

/// Octets that a rewritten block counts for in a transaction's size.
pub(super) const BLOCK_OCTETS: usize = BLOCK_MESSAGES_MAX + 64;

const NOT_THERE: StoreError = StoreError::Inconsistent("a message is missing from its PACK block");

type BlockKey = (MailboxId, Uid);

/// The touched blocks; none is a removed block.
#[derive(Default)]
pub(super) struct Packs {
    blocks: BTreeMap<BlockKey, Option<Block>>,
    undo: Vec<(BlockKey, Option<Option<Block>>)>,
    touched: BTreeSet<BlockKey>,
}

/// Where blocks come from.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub reader: &'a Reader,
    pub account: AccountId,
}

impl Packs {
    /// Blocks touched since the savepoint.
    pub fn touched(&self) -> usize {
        self.touched.len()
    }

    /// Makes everything so far stay.
    pub fn save(&mut self) {
        self.undo.clear();
        self.touched.clear();
    }

    /// Goes back to the savepoint.
    pub fn roll_back(&mut self) {
        while let Some((key, before)) = self.undo.pop() {
            match before {
                Some(block) => self.blocks.insert(key, block),
                None => self.blocks.remove(&key),
            };
        }
        self.touched.clear();
    }

    /// Adds a message behind all others of its mailbox. `tail` is the block that may have room; the
    /// block that took the message is the new tail.
    pub fn push(
        &mut self,
        source: Source<'_>,
        mailbox: MailboxId,
        tail: Option<Uid>,
        uid: Uid,
        octet: u8,
    ) -> Result<Uid, StoreError> {
        if let Some(base) = tail {
            let block = self.load(source, (mailbox, base))?;
            if block.push(uid, octet) {
                return Ok(base);
            }
        }
        let mut block = Block::new(uid);
        let fits = block.push(uid, octet);
        assert!(fits, "an empty block takes its base uid");
        self.keep((mailbox, uid));
        self.blocks.insert((mailbox, uid), Some(block));
        Ok(uid)
    }

    /// Replaces the octets of messages, ascending.
    pub fn set(
        &mut self,
        source: Source<'_>,
        mailbox: MailboxId,
        changes: &[(Uid, u8)],
    ) -> Result<(), StoreError> {
        let mut rest = changes;
        while let Some((uid, _)) = rest.first() {
            let block = self.holding(source, mailbox, *uid)?;
            let last = block.uids().last().copied().ok_or(NOT_THERE)?;
            let (here, behind) = rest.split_at(rest.partition_point(|(uid, _)| *uid <= last));
            if here.is_empty() || !here.iter().all(|(uid, octet)| block.set(*uid, *octet)) {
                return Err(NOT_THERE);
            }
            rest = behind;
        }
        Ok(())
    }

    /// Removes messages, ascending. Gives the bases of the blocks that are gone.
    pub fn remove(
        &mut self,
        source: Source<'_>,
        mailbox: MailboxId,
        uids: &[Uid],
    ) -> Result<Vec<Uid>, StoreError> {
        let mut gone = Vec::new();
        let mut rest = uids;
        while let Some(uid) = rest.first() {
            let block = self.holding(source, mailbox, *uid)?;
            let last = block.uids().last().copied().ok_or(NOT_THERE)?;
            let (here, behind) = rest.split_at(rest.partition_point(|uid| *uid <= last));
            let before = block.len();
            block.remove_all(|uid| here.binary_search(&uid).is_ok());
            if here.is_empty() || before - block.len() != here.len() {
                return Err(NOT_THERE);
            }
            if block.is_empty() {
                let base = block.base();
                gone.push(base);
                self.blocks.insert((mailbox, base), None);
            }
            rest = behind;
        }
        Ok(gone)
    }

    /// The first `count_max` messages of a mailbox whose flags are as asked for, ascending.
    pub fn matching(
        &self,
        source: Source<'_>,
        mailbox: MailboxId,
        query: FlagQuery,
        count_max: usize,
    ) -> Result<Vec<Uid>, StoreError> {
        let matching = |block: &Block| {
            let uids = block.iter().filter(|(_, flags)| query.matches(*flags)).map(|(uid, _)| uid);
            uids.collect::<Vec<_>>()
        };
        let cached = self.blocks.range((mailbox, Uid::MIN)..=(mailbox, Uid::MAX));
        let mut uids: Vec<_> = cached.filter_map(|(_, block)| block.as_ref()).flat_map(matching).collect();
        let mut stored = 0;
        for row in source.reader.prefix(&keys::packs(source.account, mailbox)) {
            let (key, value) = row?;
            let base = keys::mailbox_and_uid(&key)?.1;
            if !self.blocks.contains_key(&(mailbox, base)) {
                let found = matches_in(base, &value, query)?;
                stored += found.len();
                uids.extend(found);
            }
            if stored >= count_max {
                break;
            }
        }
        uids.sort_unstable();
        uids.truncate(count_max);
        Ok(uids)
    }

    /// Writes the blocks of one mailbox into `overlay` and forgets them.
    pub fn flush(&mut self, account: AccountId, mailbox: MailboxId, overlay: &mut Overlay) {
        let keys: Vec<_> =
            self.blocks.range((mailbox, Uid::MIN)..=(mailbox, Uid::MAX)).map(|(key, _)| *key).collect();
        for key in keys {
            self.keep(key);
            write(account, key, self.blocks.remove(&key).flatten(), overlay);
        }
    }

    /// Writes all blocks into `overlay`, at the end of the batch.
    pub fn finish(self, account: AccountId, overlay: &mut Overlay) {
        for (key, block) in self.blocks {
            write(account, key, block, overlay);
        }
    }

    /// The block that `uid` would be in. Flushed blocks are in the overlay, not in the snapshot, so
    /// a flush must be the last thing that touches blocks of a mailbox in a batch.
    fn holding(
        &mut self,
        source: Source<'_>,
        mailbox: MailboxId,
        uid: Uid,
    ) -> Result<&mut Block, StoreError> {
        let first = keys::pack(source.account, mailbox, Uid::MIN);
        let last = keys::pack(source.account, mailbox, uid);
        let stored = source
            .reader
            .snapshot()
            .range(Space::Rows, Bound::Included(&first), Bound::Included(&last))
            .next_back()
            .transpose()?;
        let stored = stored.map(|(key, _)| keys::mailbox_and_uid(&key)).transpose()?.map(|(_, base)| base);
        let cached = self.blocks.range((mailbox, Uid::MIN)..=(mailbox, uid)).next_back();
        let cached = cached.map(|((_, base), _)| *base);
        let base = stored.max(cached).ok_or(NOT_THERE)?;
        self.load(source, (mailbox, base))
    }

    /// A block, to be changed.
    fn load(&mut self, source: Source<'_>, key: BlockKey) -> Result<&mut Block, StoreError> {
        self.keep(key);
        let block = match self.blocks.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let value = source.reader.get(&keys::pack(source.account, key.0, key.1))?.ok_or(NOT_THERE)?;
                entry.insert(Some(Block::decode(key.1, &value)?))
            }
        };
        block.as_mut().ok_or(NOT_THERE)
    }

    /// Remembers a block as it is, before its first change in this transaction.
    fn keep(&mut self, key: BlockKey) {
        if self.touched.insert(key) {
            self.undo.push((key, self.blocks.get(&key).cloned()));
        }
    }
}

fn write(account: AccountId, (mailbox, base): BlockKey, block: Option<Block>, overlay: &mut Overlay) {
    let key = keys::pack(account, mailbox, base);
    match block {
        Some(block) => overlay.insert(key, block.encode()),
        None => overlay.remove(key),
    }
}

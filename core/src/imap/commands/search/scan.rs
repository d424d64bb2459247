//! Finds the messages of a mailbox that satisfy a search, some at a time, on worker threads.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider_proto::imap::types::{Flags, ModSeq, Uid};
use postrider_proto::imap::uidset::UidSet;
use postrider_storage::ids::{AccountId, MailboxId};
use postrider_storage::keys;
use postrider_storage::reader::{FlagQuery, Reader};
use postrider_storage::rows::pack::{Block, BlockCounts, HAS_KEYWORDS, View};
use postrider_storage::store::{Store, StoreError};

use super::facts::{Facts, test_row};
use super::tree::{Test, Tree};
use crate::imap::commands::fetch::Cursor;

/// Messages that are looked at with one snapshot.
const GROUP: u32 = 256;
/// How long one run takes, but for the message that it is at: a worker thread is then free for others.
const RUN_MAX: Duration = Duration::from_millis(10);

/// Which end of the mailbox is looked at first, and how many messages are enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Want {
    /// Every message.
    Every,
    /// So many, the first ones.
    First(u32),
    /// So many, the last ones.
    Last(u32),
}

/// A search under way.
pub struct Scan {
    tree: Arc<Tree>,
    account: AccountId,
    mailbox: MailboxId,
    want: Want,
    /// Messages that are still to be looked at.
    open: UidSet,
    found: Vec<Uid>,
    /// Kept when the search has MODSEQ.
    modseqs: Vec<(Uid, ModSeq)>,
}

/// What the flags alone decide.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sorted {
    /// Messages that satisfy the search.
    pub sure: UidSet,
    /// Messages of which more has to be known.
    pub open: UidSet,
}

/// Decides what flags and sets decide. Reads the packed blocks only: a few octets for each message.
pub fn sort(
    tree: &Tree,
    reader: &Reader,
    (account, mailbox): (AccountId, MailboxId),
    view: &UidSet,
) -> Result<Sorted, StoreError> {
    if let Some(sure) = tree.test.set(view) {
        return Ok(Sorted { sure, open: UidSet::new() });
    }
    let candidates = tree.test.bound(view);
    let has_flags = tree.test.has(|test| matches!(test, Test::Flags(_) | Test::Keyword(_)));
    if candidates.is_empty() || !has_flags {
        return Ok(Sorted { sure: UidSet::new(), open: candidates });
    }
    let query = tree.test.flag_query();
    let (mut sure, mut open) = (Vec::new(), Vec::new());
    for row in reader.prefix(&keys::packs(account, mailbox)) {
        let (key, value) = row?;
        let base = keys::mailbox_and_uid(&key)?.1;
        if candidates.last().is_some_and(|last| last < base) {
            break;
        }
        if excludes(query, View::parse(base, &value)?.counts()) {
            continue;
        }
        let block = Block::decode(base, &value)?;
        for (uid, octet) in block.uids().iter().zip(block.octets()) {
            let flags = Flags::from_bits(*octet);
            if !query.matches(flags) || !candidates.contains(*uid) {
                continue;
            }
            let may_have_keywords = octet & HAS_KEYWORDS != 0;
            let facts = Facts {
                uid: *uid,
                flags,
                may_have_keywords,
                row: None,
                root: None,
                header: None,
                terms: &[],
            };
            match tree.test.decide(&facts) {
                Some(true) => sure.push(*uid),
                Some(false) => {}
                None => open.push(*uid),
            }
        }
    }
    Ok(Sorted { sure: sure.into_iter().collect(), open: open.into_iter().collect() })
}

/// Whether the counts of a block say that no message in it has such flags.
fn excludes(query: FlagQuery, counts: BlockCounts) -> bool {
    (query.unset.contains(Flags::SEEN) && counts.unseen == 0)
        || (query.set.contains(Flags::SEEN) && counts.unseen == counts.messages)
        || (query.set.contains(Flags::DELETED) && counts.deleted == 0)
}

impl Scan {
    /// Looks at `open`.
    pub fn new(
        tree: Arc<Tree>,
        (account, mailbox): (AccountId, MailboxId),
        open: UidSet,
        want: Want,
    ) -> Self {
        Self { tree, account, mailbox, want, open, found: Vec::new(), modseqs: Vec::new() }
    }

    /// How many messages are still to be looked at, at most.
    pub fn left(&self) -> u32 {
        self.open.len()
    }

    /// Whether everything is looked at that has to be.
    pub fn is_finished(&self) -> bool {
        self.open.is_empty() || self.has_enough()
    }

    fn has_enough(&self) -> bool {
        match self.want {
            Want::Every => false,
            Want::First(count) | Want::Last(count) => self.found.len() >= count as usize,
        }
    }

    /// What was found, and, when the search has MODSEQ, the modification sequences.
    pub fn into_found(self) -> (UidSet, Vec<(Uid, ModSeq)>) {
        (self.found.into_iter().collect(), self.modseqs)
    }

    /// Looks at some messages, at least one.
    pub fn run(&mut self, store: &Store) -> Result<(), StoreError> {
        let until = Instant::now() + RUN_MAX;
        loop {
            self.group(&store.reader(), until)?;
            if self.is_finished() || Instant::now() >= until {
                return Ok(());
            }
        }
    }

    /// Looks at messages with one snapshot.
    fn group(&mut self, reader: &Reader, until: Instant) -> Result<(), StoreError> {
        let count = self.open.len();
        let numbers = match self.want {
            Want::Every | Want::First(_) => (1, GROUP.min(count)),
            Want::Last(_) => (count.saturating_sub(GROUP) + 1, count),
        };
        let (Some(first), Some(last)) = (Uid::new(numbers.0), Uid::new(numbers.1)) else { return Ok(()) };
        let group = self.open.at_sequence(&UidSet::from_range(first..=last));
        let mut looked_at = Vec::new();
        let mut look = |this: &mut Self, uid, row: Option<_>| {
            looked_at.push(uid);
            let Some(row) = row else { return Ok(false) };
            let found = test_row(&this.tree, reader, this.account, uid, &row)?;
            if found {
                this.found.push(uid);
                if this.tree.has_modseq {
                    this.modseqs.push((uid, row.modseq));
                }
            }
            Ok::<bool, StoreError>(this.has_enough() || Instant::now() >= until)
        };
        match self.want {
            Want::Every | Want::First(_) => {
                let mut cursor = Cursor::new(reader, self.account, self.mailbox, &group);
                for uid in group.iter() {
                    let row = cursor.at(uid)?;
                    if look(self, uid, row)? {
                        break;
                    }
                }
            }
            Want::Last(_) => {
                for uid in group.iter().rev() {
                    let row = reader.message(self.account, self.mailbox, uid)?;
                    if look(self, uid, row)? {
                        break;
                    }
                }
            }
        }
        self.open.remove_all(&looked_at.into_iter().collect());
        Ok(())
    }
}

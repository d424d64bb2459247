//! A batch of transactions, each with its own modification sequence and its own way back.

use std::sync::Arc;

use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::types::{Keyword, ModSeq, Uid};

use super::overlay::{Delta, Overlay};
use super::packs::{BLOCK_OCTETS, Packs, Source};
use super::{Account, Change};
use crate::engine::Batch;
use crate::ids::{AccountId, KeywordId, MailboxId};
use crate::keys;
use crate::reader::Reader;
use crate::rows::{HeadRow, MailboxRow, MessageRow, encode_keyword};
use crate::store::{Refusal, StoreError};

/// Transactions of one account that are committed together.
#[must_use = "a batch that is not finished and committed changes nothing"]
pub struct AccountBatch<'a> {
    pub(super) account: &'a Account,
    pub(super) reader: &'a Reader,
    pub(super) overlay: Overlay,
    pub(super) packs: Packs,
    pub(super) delta: Delta,
    attached: Batch,
}

/// What a batch will have changed in [`Account`], once it is acknowledged.
#[derive(Debug)]
#[must_use = "install this after the acknowledgement"]
pub struct Pending {
    pub(super) account: AccountId,
    pub(super) generation: u64,
    pub(super) delta: Delta,
}

impl<'a> AccountBatch<'a> {
    pub(super) fn new(account: &'a Account, reader: &'a Reader) -> Self {
        let delta = Delta { head: account.head, ..Delta::default() };
        Self {
            account,
            reader,
            overlay: Overlay::default(),
            packs: Packs::default(),
            delta,
            attached: Batch::new(),
        }
    }

    /// Runs one transaction at the time `now` (seconds since 1970). When `work` fails, nothing of it
    /// stays and no modification sequence is used; the batch goes on.
    pub fn transact<T>(
        &mut self,
        now: i64,
        work: impl FnOnce(&mut Tx<'_, 'a>) -> Result<T, StoreError>,
    ) -> Result<(T, Vec<Change>), StoreError> {
        let before = self.delta.clone();
        let mut tx = Tx { batch: self, now, modseq: None, changes: Vec::new(), attached: Batch::new() };
        let done = work(&mut tx).and_then(|value| tx.check_size().map(|()| value));
        let Tx { changes, attached, modseq, .. } = tx;
        match done {
            Ok(value) => {
                assert_eq!(
                    modseq.is_some(),
                    !changes.is_empty(),
                    "a change without its number, or the reverse"
                );
                self.overlay.save();
                self.packs.save();
                self.attached.append(attached);
                Ok((value, changes))
            }
            Err(error) => {
                self.overlay.roll_back();
                self.packs.roll_back();
                self.delta = before;
                Err(error)
            }
        }
    }

    /// The writes, and what they mean. Without any write there is nothing to commit, but `Pending` may
    /// still be installed.
    pub fn finish(self) -> (Batch, Pending) {
        let Self { account, mut overlay, packs, delta, attached, .. } = self;
        packs.finish(account.id, &mut overlay);
        for (id, row) in &delta.mailboxes {
            let key = keys::mailbox(account.id, *id);
            match row {
                Some(row) => overlay.insert(key, row.encode()),
                None => overlay.remove(key),
            }
        }
        if let Some(head) = delta.head.filter(|head| Some(*head) != account.head) {
            overlay.insert(keys::head(account.id), head.encode());
        }
        let mut batch = attached;
        overlay.into_batch(&mut batch);
        let pending = Pending { account: account.id, generation: account.generation, delta };
        (batch, pending)
    }
}

/// One transaction of an account: what it does is done whole, or not at all.
pub struct Tx<'b, 'a> {
    pub(super) batch: &'b mut AccountBatch<'a>,
    pub(super) now: i64,
    modseq: Option<ModSeq>,
    pub(super) changes: Vec<Change>,
    attached: Batch,
}

impl Tx<'_, '_> {
    /// The account.
    pub fn account(&self) -> AccountId {
        self.batch.account.id
    }

    /// Seconds since 1970.
    pub fn now(&self) -> i64 {
        self.now
    }

    /// Adds the last writes of a message's content, to be committed with this transaction. They don't
    /// count against its size.
    pub fn attach(&mut self, content: Batch) {
        self.attached.append(content);
    }

    /// A mailbox as this transaction sees it.
    pub fn mailbox(&self, id: MailboxId) -> Result<&Arc<MailboxRow>, StoreError> {
        let row = match self.batch.delta.mailboxes.get(&id) {
            Some(row) => row.as_ref(),
            None => self.batch.account.mailboxes.get(&id),
        };
        Ok(row.ok_or(Refusal::NoSuchMailbox)?)
    }

    /// The mailbox of that name as this transaction sees it.
    pub fn mailbox_id(&self, name: &MailboxName) -> Option<MailboxId> {
        match self.batch.delta.names.get(name) {
            Some(id) => *id,
            None => self.batch.account.mailbox_id(name),
        }
    }

    /// Counters as this transaction sees them.
    pub fn head(&self) -> Result<&HeadRow, StoreError> {
        Ok(self.batch.delta.head.as_ref().ok_or(Refusal::NoSuchAccount)?)
    }

    pub(super) fn head_mut(&mut self) -> Result<&mut HeadRow, StoreError> {
        Ok(self.batch.delta.head.as_mut().ok_or(Refusal::NoSuchAccount)?)
    }

    /// The transaction's modification sequence: the first that asks takes it.
    pub(super) fn modseq(&mut self) -> Result<ModSeq, StoreError> {
        if let Some(modseq) = self.modseq {
            return Ok(modseq);
        }
        let head = self.head_mut()?;
        let modseq = head.modseq.next().ok_or(Refusal::CounterEnd)?;
        head.modseq = modseq;
        self.modseq = Some(modseq);
        Ok(modseq)
    }

    pub(super) fn mailbox_mut(&mut self, id: MailboxId) -> Result<&mut MailboxRow, StoreError> {
        let row = Arc::clone(self.mailbox(id)?);
        let entry = self.batch.delta.mailboxes.entry(id).or_insert_with(|| Some(row));
        Ok(Arc::make_mut(entry.as_mut().ok_or(Refusal::NoSuchMailbox)?))
    }

    /// The packed blocks, and where they come from.
    pub(super) fn packs(&mut self) -> (&mut Packs, Source<'_>) {
        let source = Source { reader: self.batch.reader, account: self.batch.account.id };
        (&mut self.batch.packs, source)
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.batch.overlay.get(self.batch.reader, key)
    }

    pub(crate) fn insert(&mut self, key: keys::Key, value: Vec<u8>) {
        self.batch.overlay.insert(key, value);
    }

    pub(crate) fn remove(&mut self, key: keys::Key) {
        self.batch.overlay.remove(key);
    }

    /// The first `count_max` keys with a prefix.
    pub(crate) fn keys(&self, prefix: &[u8], count_max: usize) -> Result<Vec<keys::Key>, StoreError> {
        let rows = self.batch.overlay.scan(self.batch.reader, prefix, prefix);
        rows.take(count_max).map(|row| Ok(row?.0)).collect()
    }

    /// Refuses work on more messages than one transaction may touch.
    pub(super) fn check_messages(&self, messages: usize) -> Result<(), StoreError> {
        if messages > self.batch.account.limits.messages_max {
            return Err(Refusal::TooManyMessages.into());
        }
        Ok(())
    }

    /// The rows of those of `uids` (ascending) that exist, ascending.
    pub(super) fn rows(
        &self,
        mailbox: MailboxId,
        uids: &[Uid],
    ) -> Result<Vec<(Uid, MessageRow)>, StoreError> {
        let mut rows = Vec::with_capacity(uids.len());
        let account = self.account();
        let (Some(first), Some(last)) = (uids.first(), uids.last()) else { return Ok(rows) };
        // Neighbours are cheaper to walk than to look up one by one.
        if uids.len() >= DENSE_MIN && ((last.get() - first.get()) as usize) < uids.len() * DENSE_GAPS {
            let from = keys::message(account, mailbox, *first);
            for row in self.batch.overlay.scan(self.batch.reader, &from, &keys::messages(account, mailbox)) {
                let (key, value) = row?;
                let (_, uid) = keys::mailbox_and_uid(&key)?;
                if uid > *last {
                    break;
                }
                if uids.binary_search(&uid).is_ok() {
                    rows.push((uid, MessageRow::decode(&value)?));
                }
            }
            return Ok(rows);
        }
        for uid in uids {
            if let Some(value) = self.get(&keys::message(account, mailbox, *uid))? {
                rows.push((*uid, MessageRow::decode(&value)?));
            }
        }
        Ok(rows)
    }

    /// The id of a keyword as this transaction sees it.
    pub(super) fn keyword_id(&self, keyword: &Keyword) -> Option<KeywordId> {
        let account = self.batch.account;
        account.keyword_id(keyword).or_else(|| {
            let at = self.batch.delta.keywords.iter().position(|known| known == keyword)?;
            u16::try_from(account.keywords.len() + at).ok().map(KeywordId)
        })
    }

    /// The ids of keywords, ascending and each once; unknown ones join the dictionary.
    pub(super) fn intern(&mut self, keywords: &[Keyword]) -> Result<Box<[KeywordId]>, StoreError> {
        let mut ids = Vec::with_capacity(keywords.len());
        for keyword in keywords {
            ids.push(match self.keyword_id(keyword) {
                Some(id) => id,
                None => self.new_keyword(keyword)?,
            });
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids.into())
    }

    fn new_keyword(&mut self, keyword: &Keyword) -> Result<KeywordId, StoreError> {
        let keywords_max = self.batch.account.limits.keywords_max;
        let head = self.head_mut()?;
        if head.keywords >= keywords_max {
            return Err(Refusal::TooManyKeywords.into());
        }
        let id = KeywordId(head.keywords);
        head.keywords += 1;
        self.batch.delta.keywords.push(keyword.clone());
        self.insert(keys::keyword(self.account(), id), encode_keyword(keyword));
        Ok(id)
    }

    /// Notes that messages of a mailbox have these keywords.
    pub(super) fn use_keywords(&mut self, mailbox: MailboxId, ids: &[KeywordId]) -> Result<(), StoreError> {
        for id in ids {
            if self.mailbox(mailbox)?.keywords.binary_search(id).is_ok() {
                continue;
            }
            let modseq = self.modseq()?;
            let row = self.mailbox_mut(mailbox)?;
            let mut keywords = std::mem::take(&mut row.keywords).into_vec();
            keywords.insert(keywords.partition_point(|known| known < id), *id);
            row.keywords = keywords.into();
            self.changes.push(Change::MailboxKeyword { mailbox, keyword: *id, modseq });
        }
        Ok(())
    }

    fn check_size(&self) -> Result<(), StoreError> {
        let octets = self.batch.overlay.octets() + self.batch.packs.touched() * BLOCK_OCTETS;
        if octets > self.batch.account.limits.octets_max { Err(Refusal::TooLarge.into()) } else { Ok(()) }
    }
}

/// From this many messages on, rows are walked when the uids are dense.
const DENSE_MIN: usize = 8;
/// Dense is at least one wanted message in so many uids.
const DENSE_GAPS: usize = 4;

//! EXPUNGE, COPY and MOVE (RFC 9051 §6.4.3, §6.4.7, RFC 6851).

use std::collections::BTreeMap;

use postrider_proto::imap::types::{Flags, ModSeq, Uid};

use super::packs::Source;
use super::{Change, FlagScope, Tx};
use crate::ids::{EmailId, MailboxId};
use crate::keys::{self, Which};
use crate::reader::FlagQuery;
use crate::rows::{EraseRow, MessageRow, RefsRow, TombstoneRow};
use crate::store::{Refusal, StoreError};

/// Which messages [`Tx::expunge`] removes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expunge<'a> {
    /// All with `\Deleted`, up to the limit of one transaction; [`Expunged::more`] says if any are left.
    Deleted,
    /// Those of these (ascending) that have `\Deleted`.
    DeletedAmong(&'a [Uid]),
    /// These (ascending), whatever their flags.
    These(&'a [Uid]),
}

/// What [`Tx::expunge`] removed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Expunged {
    /// The messages, ascending.
    pub removed: Vec<Uid>,
    /// Whether there may be more to remove, by another transaction.
    pub more: bool,
}

/// What [`Tx::copy`] and [`Tx::move_messages`] did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Copied {
    /// Source and destination uids, both ascending.
    pub pairs: Vec<(Uid, Uid)>,
}

impl Tx<'_, '_> {
    /// Removes messages from a mailbox. Their contents stay until [`Tx::erase`].
    pub fn expunge(&mut self, mailbox: MailboxId, which: Expunge<'_>) -> Result<Expunged, StoreError> {
        let deleted = self.mailbox(mailbox)?.deleted;
        let messages_max = self.batch.account.limits.messages_max;
        let (rows, more) = match which {
            Expunge::These(uids) => {
                self.check_messages(uids.len())?;
                (self.rows(mailbox, uids)?, false)
            }
            Expunge::DeletedAmong(uids) => {
                self.check_messages(uids.len())?;
                let mut rows = if deleted == 0 { Vec::new() } else { self.rows(mailbox, uids)? };
                rows.retain(|(_, row)| row.flags.contains(Flags::DELETED));
                (rows, false)
            }
            Expunge::Deleted if deleted == 0 => (Vec::new(), false),
            Expunge::Deleted => {
                let uids = self.deleted_uids(mailbox, messages_max)?;
                let rows = self.rows(mailbox, &uids)?;
                let more = rows.len() < deleted as usize;
                (rows, more)
            }
        };
        let removed = rows.iter().map(|(uid, _)| *uid).collect();
        let emails = rows.iter().map(|(_, row)| row.email).collect::<Vec<_>>();
        self.take_out(mailbox, &rows)?;
        if !emails.is_empty() {
            let modseq = self.modseq()?;
            self.release(&emails, modseq)?;
        }
        Ok(Expunged { removed, more })
    }

    /// Copies messages (`uids` ascending) to another mailbox, in ascending order.
    pub fn copy(&mut self, from: MailboxId, uids: &[Uid], to: MailboxId) -> Result<Copied, StoreError> {
        self.copy_within(from, uids, to, FlagScope::ALL)
    }

    /// The same for somebody who may set some flags only in the other mailbox: the copies lack all others.
    pub fn copy_within(
        &mut self,
        from: MailboxId,
        uids: &[Uid],
        to: MailboxId,
        scope: FlagScope,
    ) -> Result<Copied, StoreError> {
        let rows = self.rows_to_copy(from, uids, to)?;
        self.check_quota(rows.iter().map(|(_, row)| row.size).sum(), rows.len() as u64)?;
        let mut refs = BTreeMap::<EmailId, u32>::new();
        for (_, row) in &rows {
            *refs.entry(row.email).or_default() += 1;
        }
        for (email, more) in refs {
            let refs = self.refs(email)?.checked_add(more).ok_or(Refusal::CounterEnd)?;
            self.insert(keys::email_refs(self.account(), email), RefsRow { refs }.encode());
        }
        self.put_in(to, rows, scope)
    }

    /// Moves messages (`uids` ascending) to another mailbox, in ascending order.
    pub fn move_messages(
        &mut self,
        from: MailboxId,
        uids: &[Uid],
        to: MailboxId,
    ) -> Result<Copied, StoreError> {
        self.move_within(from, uids, to, FlagScope::ALL)
    }

    /// The same for somebody who may set some flags only in the other mailbox.
    pub fn move_within(
        &mut self,
        from: MailboxId,
        uids: &[Uid],
        to: MailboxId,
        scope: FlagScope,
    ) -> Result<Copied, StoreError> {
        let rows = self.rows_to_copy(from, uids, to)?;
        self.take_out(from, &rows)?;
        self.put_in(to, rows, scope)
    }

    fn rows_to_copy(
        &mut self,
        from: MailboxId,
        uids: &[Uid],
        to: MailboxId,
    ) -> Result<Vec<(Uid, MessageRow)>, StoreError> {
        self.check_messages(uids.len())?;
        self.mailbox(from)?;
        self.mailbox(to)?;
        if from == to {
            return Err(Refusal::SameMailbox.into());
        }
        self.rows(from, uids)
    }

    fn put_in(
        &mut self,
        to: MailboxId,
        rows: Vec<(Uid, MessageRow)>,
        scope: FlagScope,
    ) -> Result<Copied, StoreError> {
        let mut copied = Copied::default();
        for (uid, mut row) in rows {
            row.modseq = self.modseq()?;
            row.createseq = row.modseq;
            row.saved = self.now;
            row.flags = scope.cut(row.flags);
            if !scope.keywords {
                row.keywords = Box::default();
            }
            copied.pairs.push((uid, self.add(to, row)?));
        }
        Ok(copied)
    }

    /// The first messages with `\Deleted`, as this transaction sees them.
    fn deleted_uids(&self, mailbox: MailboxId, messages_max: usize) -> Result<Vec<Uid>, StoreError> {
        let account = self.account();
        let query = FlagQuery { set: Flags::DELETED, unset: Flags::NONE };
        let source = Source { reader: self.batch.reader, account };
        self.batch.packs.matching(source, mailbox, query, messages_max)
    }

    /// The only place that removes messages from a mailbox.
    fn take_out(&mut self, mailbox: MailboxId, rows: &[(Uid, MessageRow)]) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let modseq = self.modseq()?;
        let account = self.account();
        for (uid, row) in rows {
            self.bury(mailbox, *uid, row, modseq);
            let target = self.mailbox_mut(mailbox)?;
            target.exists -= 1;
            target.unseen -= u32::from(!row.flags.contains(Flags::SEEN));
            let deleted = row.flags.contains(Flags::DELETED);
            target.deleted -= u32::from(deleted);
            target.size -= row.size;
            target.deleted_size -= if deleted { row.size } else { 0 };
            let head = self.head_mut()?;
            head.quota_used -= row.size;
            head.messages -= 1;
            self.remove(keys::message(account, mailbox, *uid));
            self.changes.push(Change::Removed { mailbox, uid: *uid, modseq, email: row.email });
        }
        let uids: Vec<_> = rows.iter().map(|(uid, _)| *uid).collect();
        let (packs, source) = self.packs();
        let gone = packs.remove(source, mailbox, &uids)?;
        let target = self.mailbox_mut(mailbox)?;
        target.modseq = modseq;
        if target.tail.is_some_and(|tail| gone.contains(&tail)) {
            target.tail = None;
        }
        Ok(())
    }

    /// Replaces a message's entry in the change index by a tombstone.
    fn bury(&mut self, mailbox: MailboxId, uid: Uid, row: &MessageRow, modseq: ModSeq) {
        let account = self.account();
        let tombstone = TombstoneRow { createseq: row.createseq, removed: self.now };
        self.remove(keys::change(account, mailbox, Which::Live, row.modseq, uid));
        self.insert(keys::change(account, mailbox, Which::Tombstones, modseq, uid), tombstone.encode());
    }

    /// Lists references of removed messages, to be dropped when no session can fetch them any more.
    pub(super) fn release(&mut self, emails: &[EmailId], modseq: ModSeq) -> Result<(), StoreError> {
        let mut refs = BTreeMap::<EmailId, u32>::new();
        for email in emails {
            *refs.entry(*email).or_default() += 1;
        }
        for (email, more) in refs {
            let key = keys::erase(self.account(), modseq, email);
            let listed = self.get(&key)?.map_or(Ok(0), |row| EraseRow::decode(&row).map(|row| row.refs))?;
            self.insert(key, EraseRow { refs: listed + more }.encode());
        }
        Ok(())
    }

    /// How many rows refer to an email.
    pub(super) fn refs(&self, email: EmailId) -> Result<u32, StoreError> {
        let row = self.get(&keys::email_refs(self.account(), email))?;
        row.map_or(Ok(1), |row| Ok(RefsRow::decode(&row)?.refs))
    }
}

//! Housekeeping: what removed messages and deleted mailboxes leave behind. Takes no modification
//! sequence and reports no change, for no session can see any of it.

use postrider_proto::imap::types::{ModSeq, Uid};

use super::Tx;
use crate::ids::{EmailId, MailboxId};
use crate::keys::{self, Which};
use crate::rows::{DropRow, EmailRow, EraseRow, MARK, MessageRow, RefsRow, TombstoneRow};
use crate::store::StoreError;

/// Which removed messages [`Tx::erase`] erases.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Erase<'a> {
    /// Those removed by changes up to this one.
    UpTo(ModSeq),
    /// These: the change that removed them, and what they were.
    These(&'a [(ModSeq, EmailId)]),
}

/// How far a piece of housekeeping came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Swept {
    /// Rows that it dealt with.
    pub rows: usize,
    /// Whether to go on with another transaction.
    pub more: bool,
}

impl Tx<'_, '_> {
    /// Drops the references that removed messages held; contents without any are left to
    /// [`blobs::collect`](crate::blobs::collect). Call it when no session can fetch them any more.
    pub fn erase(&mut self, which: Erase<'_>) -> Result<Swept, StoreError> {
        let messages_max = self.batch.account.limits.messages_max;
        let mut rows = Vec::new();
        let mut more = false;
        match which {
            Erase::UpTo(last) => {
                let prefix = keys::erases(self.account());
                for row in self.batch.overlay.scan(self.batch.reader, &prefix, &prefix) {
                    let (key, value) = row?;
                    let [_, modseq, email] = keys::numbers(&key, [4, 8, 8])?;
                    if modseq > last.get() {
                        break;
                    }
                    if rows.len() == messages_max {
                        more = true;
                        break;
                    }
                    rows.push((key, EmailId(email), EraseRow::decode(&value)?.refs));
                }
            }
            Erase::These(listed) => {
                self.check_messages(listed.len())?;
                for (modseq, email) in listed {
                    let key = keys::erase(self.account(), *modseq, *email);
                    // One entry may stand for several removals of one change.
                    if let Some(value) = self.get(&key)?
                        && !rows.iter().any(|(known, ..)| *known == key)
                    {
                        rows.push((key, *email, EraseRow::decode(&value)?.refs));
                    }
                }
            }
        }
        let count = rows.len();
        for (key, email, refs) in rows {
            self.remove(key);
            self.unref(email, refs)?;
        }
        Ok(Swept { rows: count, more })
    }

    /// Drops references to an email, and the email with the last.
    fn unref(&mut self, email: EmailId, gone: u32) -> Result<(), StoreError> {
        let account = self.account();
        let refs = self.refs(email)?;
        let left =
            refs.checked_sub(gone).ok_or(StoreError::Inconsistent("an email has too few references"))?;
        if left >= 2 {
            self.insert(keys::email_refs(account, email), RefsRow { refs: left }.encode());
            return Ok(());
        }
        if refs >= 2 {
            self.remove(keys::email_refs(account, email));
        }
        if left == 1 {
            return Ok(());
        }
        let row = self.get(&keys::email(account, email))?;
        let row = EmailRow::decode(&row.ok_or(StoreError::Inconsistent("a message has no email"))?)?;
        self.remove(keys::email(account, email));
        if row.message_id != 0 {
            self.remove(keys::thread_message(account, row.message_id, email));
        }
        if row.subject != 0 {
            self.remove(keys::thread_subject(account, row.subject, row.received, email));
        }
        self.remove(keys::blob_ref(row.blob, account.get(), email.0));
        // Whether another account uses it is for the collector to see: two accounts that drop their
        // references at the same time don't see each other's.
        self.insert(keys::blob_gc(row.blob, account.get(), email.0), MARK.to_vec());
        Ok(())
    }

    /// Deleted mailboxes that still have rows.
    pub fn dropped(&self) -> Result<Vec<MailboxId>, StoreError> {
        let prefix = keys::drops(self.account());
        let rows = self.batch.overlay.scan(self.batch.reader, &prefix, &prefix);
        rows.map(|row| {
            let [_, mailbox] = keys::numbers(&row?.0, [4, 4])?;
            let mailbox = u32::try_from(mailbox).ok().and_then(MailboxId::new);
            mailbox.ok_or(StoreError::Inconsistent("mailbox id 0"))
        })
        .collect()
    }

    /// Removes the rows of a deleted mailbox, some per transaction. Its messages become removed
    /// messages, to be erased.
    pub fn sweep(&mut self, mailbox: MailboxId) -> Result<Swept, StoreError> {
        let account = self.account();
        let rows_max = self.batch.account.limits.messages_max;
        let Some(row) = self.get(&keys::dropped(account, mailbox))? else { return Ok(Swept::default()) };
        let modseq = DropRow::decode(&row)?.modseq;
        let prefix = keys::messages(account, mailbox);
        let mut emails = Vec::new();
        for (key, value) in self.first_rows(&prefix, rows_max)? {
            let row = MessageRow::decode(&value)?;
            let (_, uid) = keys::mailbox_and_uid(&key)?;
            emails.push(row.email);
            self.remove(keys::change(account, mailbox, Which::Live, row.modseq, uid));
            self.remove(key);
        }
        self.release(&emails, modseq)?;
        let mut swept = Swept { rows: emails.len(), more: true };
        self.batch.packs.flush(account, mailbox, &mut self.batch.overlay);
        for prefix in [keys::changes(account, mailbox, Which::Tombstones), keys::packs(account, mailbox)] {
            if swept.rows < rows_max {
                let rows = self.first_rows(&prefix, rows_max - swept.rows)?;
                swept.rows += rows.len();
                for (key, _) in rows {
                    self.remove(key);
                }
            }
        }
        if swept.rows < rows_max {
            self.remove(keys::dropped(account, mailbox));
            swept.more = false;
        }
        Ok(swept)
    }

    /// Removes tombstones of messages that were removed before `removed_before` (seconds since 1970),
    /// and moves the mailbox's horizon.
    pub fn purge_tombstones(&mut self, mailbox: MailboxId, removed_before: i64) -> Result<Swept, StoreError> {
        let account = self.account();
        self.mailbox(mailbox)?;
        let rows_max = self.batch.account.limits.messages_max;
        let rows = self.first_rows(&keys::changes(account, mailbox, Which::Tombstones), rows_max)?;
        let mut swept = Swept { rows: 0, more: rows.len() == rows_max };
        for (key, value) in rows {
            if TombstoneRow::decode(&value)?.removed >= removed_before {
                swept.more = false;
                break;
            }
            let (_, _, modseq, _) = keys::change_parts(&key)?;
            let row = self.mailbox_mut(mailbox)?;
            row.horizon = row.horizon.max(modseq.get());
            row.purged += 1;
            self.remove(key);
            swept.rows += 1;
        }
        Ok(swept)
    }

    /// The first rows whose keys begin with `prefix`, as this transaction sees them.
    pub(super) fn first_rows(
        &self,
        prefix: &[u8],
        rows_max: usize,
    ) -> Result<Vec<(keys::Key, Vec<u8>)>, StoreError> {
        self.batch.overlay.scan(self.batch.reader, prefix, prefix).take(rows_max).collect()
    }

    /// The uids of the first messages from `from` up to `last`, as this transaction sees them.
    pub(super) fn first_uids(
        &self,
        mailbox: MailboxId,
        from: Uid,
        last: Uid,
        count_max: usize,
    ) -> Result<Vec<Uid>, StoreError> {
        let account = self.account();
        let from = keys::message(account, mailbox, from);
        let rows = self.batch.overlay.scan(self.batch.reader, &from, &keys::messages(account, mailbox));
        let mut uids = Vec::new();
        for row in rows.take(count_max) {
            let (_, uid) = keys::mailbox_and_uid(&row?.0)?;
            if uid > last {
                break;
            }
            uids.push(uid);
        }
        Ok(uids)
    }
}

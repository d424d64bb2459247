//! Reads what sorting and threading need of messages: rows and structure records, never contents.

use postrider_proto::imap::types::Uid;
use postrider_proto::imap::uidset::UidSet;
use postrider_proto::mime::record::{self, PartRef};
use postrider_storage::ids::{AccountId, MailboxId};
use postrider_storage::reader::Reader;
use postrider_storage::rows::MessageRow;
use postrider_storage::store::{Store, StoreError};

use crate::imap::commands::fetch::Cursor;

/// Messages that are read with one snapshot.
const GROUP: u32 = 1024;
/// Messages that are read in one run, some ten milliseconds.
const RUN: u32 = 4 * GROUP;

/// Whether structure records are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Depth {
    /// Rows alone.
    Rows,
    /// The structure records too.
    Structures,
}

/// A way through messages, ascending.
pub struct Walk {
    account: AccountId,
    mailbox: MailboxId,
    depth: Depth,
    open: UidSet,
}

impl Walk {
    /// Through `uids`.
    pub fn new((account, mailbox): (AccountId, MailboxId), uids: UidSet, depth: Depth) -> Self {
        Self { account, mailbox, depth, open: uids }
    }

    /// Whether every message was read.
    pub fn is_finished(&self) -> bool {
        self.open.is_empty()
    }

    /// Gives the next messages to `each`. Those that were removed are left out.
    pub fn run(
        &mut self,
        store: &Store,
        mut each: impl FnMut(Uid, &MessageRow, Option<&PartRef<'_>>),
    ) -> Result<(), StoreError> {
        let mut left = RUN;
        while left > 0 && !self.open.is_empty() {
            let Some(last) = Uid::new(self.open.len().min(GROUP)) else { return Ok(()) };
            let group = self.open.at_sequence(&UidSet::from_range(Uid::MIN..=last));
            let reader = store.reader();
            let mut cursor = Cursor::new(&reader, self.account, self.mailbox, &group);
            for uid in group.iter() {
                if let Some(row) = cursor.at(uid)? {
                    read(&reader, self.account, self.depth, uid, &row, &mut each)?;
                }
            }
            self.open = self.open.difference(&group);
            left = left.saturating_sub(group.len());
        }
        Ok(())
    }
}

/// Reads one message.
pub fn read(
    reader: &Reader,
    account: AccountId,
    depth: Depth,
    uid: Uid,
    row: &MessageRow,
    each: &mut impl FnMut(Uid, &MessageRow, Option<&PartRef<'_>>),
) -> Result<(), StoreError> {
    if depth == Depth::Rows {
        each(uid, row, None);
        return Ok(());
    }
    let Some(email) = reader.email(account, row.email)? else { return Ok(()) };
    let blob = reader.blob(email.blob)?.ok_or(StoreError::Inconsistent("a message has no content"))?;
    let root = record::root(&blob.structure)
        .map_err(|_| StoreError::Inconsistent("a message's structure record is malformed"))?;
    each(uid, row, Some(&root));
    Ok(())
}

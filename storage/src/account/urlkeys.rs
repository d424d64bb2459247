//! Keys that authorise URLs of messages (RFC 4467 §2.2): one for each mailbox, made when it is needed.

use super::{Change, Tx};
use crate::ids::MailboxId;
use crate::keys::{self, table};
use crate::rows::UrlKeyRow;
use crate::store::StoreError;

impl Tx<'_, '_> {
    /// The key of a mailbox; without one, `new` becomes it.
    pub fn url_key(&mut self, mailbox: MailboxId, new: UrlKeyRow) -> Result<UrlKeyRow, StoreError> {
        self.mailbox(mailbox)?;
        let key = keys::url_key(self.account(), mailbox);
        if let Some(row) = self.get(&key)? {
            return Ok(UrlKeyRow::decode(&row)?);
        }
        self.insert(key, new.encode());
        Ok(new)
    }

    /// Makes `new` the key of a mailbox: URLs that were authorised with another are worth nothing from
    /// then on.
    pub fn reset_url_key(&mut self, mailbox: MailboxId, new: UrlKeyRow) -> Result<(), StoreError> {
        self.mailbox(mailbox)?;
        self.insert(keys::url_key(self.account(), mailbox), new.encode());
        self.note_url_key(mailbox)
    }

    /// Removes the keys of all mailboxes.
    pub fn remove_url_keys(&mut self) -> Result<(), StoreError> {
        let prefix = keys::of_table(self.account().get(), table::URLKEY);
        let mut found = Vec::new();
        for row in self.batch.overlay.scan(self.batch.reader, &prefix, &prefix) {
            found.push(row?.0);
        }
        for key in found {
            let [mailbox] = keys::numbers(&key, [4])?;
            self.remove(key);
            if let Some(mailbox) = u32::try_from(mailbox).ok().and_then(MailboxId::new) {
                self.note_url_key(mailbox)?;
            }
        }
        Ok(())
    }

    fn note_url_key(&mut self, mailbox: MailboxId) -> Result<(), StoreError> {
        let modseq = self.modseq()?;
        self.changes.push(Change::UrlKey { mailbox, modseq });
        Ok(())
    }
}

//! Access control lists of mailboxes (RFC 4314), and the index by which users find what is shared with them.
//!
//! The list is a row of the owner's account. The index has a row of the system for each user to whom a
//! mailbox is shared; its key names the owner, so that only transactions of the owner ever write it, in
//! the batch that changes the list. So both always agree.

use std::collections::BTreeSet;
use std::sync::Arc;

use postrider_proto::imap::rights::Rights;

use super::{Account, Change, Tx};
use crate::engine::{Batch, Space};
use crate::ids::{AccountId, MailboxId};
use crate::keys;
use crate::rows::{AclRow, Grantee, MARK, Sign};
use crate::store::{Refusal, StoreError};

impl Account {
    /// A mailbox's access control list; none when only the owner has rights.
    pub fn acl(&self, mailbox: MailboxId) -> Option<&Arc<AclRow>> {
        self.acls.get(&mailbox)
    }

    /// What `user` may do with a mailbox that exists. Entries of anyone count only where `anyone` says so.
    pub fn rights(&self, mailbox: MailboxId, user: AccountId, anyone: bool) -> Rights {
        match self.acls.get(&mailbox) {
            Some(acl) => acl.rights(self.id, user, anyone),
            None if user == self.id => Rights::ALL,
            None => Rights::NONE,
        }
    }
}

impl Tx<'_, '_> {
    /// Changes the rights of one entry of a mailbox's list. An owner keeps [`Rights::OF_OWNER`]; of others an
    /// entry without rights is removed.
    pub fn set_acl(
        &mut self,
        mailbox: MailboxId,
        who: Grantee,
        sign: Sign,
        change: impl FnOnce(Rights) -> Rights,
    ) -> Result<(), StoreError> {
        self.mailbox(mailbox)?;
        let mut acl = self.acl(mailbox).map(|acl| (**acl).clone()).unwrap_or_default();
        let owner = (who, sign) == (Grantee::Account(self.account()), Sign::Grants);
        let default = if owner { Rights::ALL } else { Rights::NONE };
        let mut rights = change(acl.get(who, sign).unwrap_or(default));
        if owner {
            rights = rights.with(Rights::OF_OWNER);
        }
        acl.set(who, sign, (rights != default).then_some(rights));
        if acl.entries().len() > AclRow::ENTRIES_MAX {
            return Err(Refusal::TooManyAclEntries.into());
        }
        self.put_acl(mailbox, acl)
    }

    /// Removes an entry of a mailbox's list. Without an entry an owner is left with what it always has.
    pub fn delete_acl(&mut self, mailbox: MailboxId, who: Grantee, sign: Sign) -> Result<(), StoreError> {
        self.set_acl(mailbox, who, sign, |_| Rights::NONE)
    }

    /// Removes what a mailbox's list says of `who`, an account that was removed.
    pub fn forget_grantee(&mut self, mailbox: MailboxId, who: Grantee) -> Result<(), StoreError> {
        let Some(acl) = self.acl(mailbox) else { return Ok(()) };
        let mut acl = (**acl).clone();
        acl.set(who, Sign::Grants, None);
        acl.set(who, Sign::Denies, None);
        self.put_acl(mailbox, acl)
    }

    /// A mailbox's list as this transaction sees it.
    pub fn acl(&self, mailbox: MailboxId) -> Option<&Arc<AclRow>> {
        match self.batch.delta.acls.get(&mailbox) {
            Some(acl) => acl.as_ref(),
            None => self.batch.account.acls.get(&mailbox),
        }
    }

    /// Gives a new mailbox the list of the one above it (RFC 4314 §4, CREATE).
    pub(super) fn inherit_acl(&mut self, from: MailboxId, to: MailboxId) -> Result<(), StoreError> {
        match self.acl(from).map(Arc::clone) {
            Some(acl) => self.put_acl(to, (*acl).clone()),
            None => Ok(()),
        }
    }

    /// The only place that writes a list, and the index with it. An empty one is none.
    pub(super) fn put_acl(&mut self, mailbox: MailboxId, acl: AclRow) -> Result<(), StoreError> {
        let before = self.acl(mailbox).map(Arc::clone).unwrap_or_default();
        if *before == acl {
            return Ok(());
        }
        let modseq = self.modseq()?;
        let account = self.account();
        let old: BTreeSet<Grantee> = before.shared_with(account).collect();
        let new: BTreeSet<Grantee> = acl.shared_with(account).collect();
        for who in old.difference(&new) {
            self.remove(keys::shared(*who, account, mailbox));
        }
        for who in new.difference(&old) {
            self.insert(keys::shared(*who, account, mailbox), MARK.to_vec());
        }
        if acl.is_empty() {
            self.remove(keys::acl(account, mailbox));
            self.batch.delta.acls.insert(mailbox, None);
        } else {
            self.insert(keys::acl(account, mailbox), acl.encode());
            self.batch.delta.acls.insert(mailbox, Some(Arc::new(acl)));
        }
        self.changes.push(Change::Acl { mailbox, modseq });
        Ok(())
    }
}

/// Takes a removed account's list out of the index: `key` and `value` are its ACL row.
pub fn unshare(batch: &mut Batch, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    let (owner, _, _) = keys::split(key)?;
    let [mailbox] = keys::numbers(key, [4])?;
    let mailbox = u32::try_from(mailbox).ok().and_then(MailboxId::new);
    if let (Some(owner), Some(mailbox)) = (AccountId::new(owner), mailbox) {
        for who in AclRow::decode(value)?.shared_with(owner) {
            batch.remove(Space::Rows, keys::shared(who, owner, mailbox));
        }
    }
    Ok(())
}

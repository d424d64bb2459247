//! Creating, renaming and deleting mailboxes; special use (RFC 6154); subscriptions.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::sync::Arc;

use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::types::{ModSeq, Uid, UidValidity};

use super::{Change, Copied, Tx, children};
use crate::ids::MailboxId;
use crate::keys;
use crate::rows::{AclRow, DropRow, HeadRow, MARK, MailboxRow, SpecialUse};
use crate::store::{Refusal, StoreError};

/// How a new account begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Initial {
    /// The first UIDVALIDITY. Take the time of creation in seconds since 1970, so that an account that
    /// takes the name of a removed one doesn't repeat its values.
    pub uid_validity: NonZeroU32,
    /// Mailboxes besides the inbox.
    pub mailboxes: Vec<(MailboxName, SpecialUse)>,
}

impl Initial {
    /// The usual mailboxes, one for each special use.
    pub fn usual(uid_validity: NonZeroU32) -> Self {
        let usual = [
            ("Sent", SpecialUse::SENT),
            ("Archive", SpecialUse::ARCHIVE),
            ("Trash", SpecialUse::TRASH),
            ("Drafts", SpecialUse::DRAFTS),
            ("Junk", SpecialUse::JUNK),
        ];
        let mailboxes =
            usual.into_iter().filter_map(|(name, used)| Some((MailboxName::new(name).ok()?, used))).collect();
        Self { uid_validity, mailboxes }
    }
}

/// One step of moving a range of messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moved {
    /// Where to.
    pub mailbox: MailboxId,
    /// What was moved.
    pub copied: Copied,
    /// What is left to move, by another transaction with [`Tx::move_range`].
    pub rest: Option<RangeInclusive<Uid>>,
}

impl Tx<'_, '_> {
    /// Creates the rows of an account with its first mailboxes, all subscribed.
    pub fn create_account(&mut self, initial: &Initial) -> Result<(), StoreError> {
        if self.batch.delta.head.is_some() {
            return Err(Refusal::AccountExists.into());
        }
        self.batch.delta.head = Some(HeadRow {
            // The first number that is given out is 2: clients read 1 as "from before all changes".
            modseq: ModSeq::MIN,
            next_email: 1,
            next_thread: 1,
            next_mailbox: NonZeroU32::MIN,
            next_uid_validity: initial.uid_validity,
            quota_used: 0,
            messages: 0,
            mailboxes: 0,
            keywords: 0,
            annotations: 0,
            annotation_octets: 0,
        });
        self.create_mailbox(&MailboxName::inbox(), SpecialUse::NONE)?;
        for (name, special_use) in &initial.mailboxes {
            self.create_mailbox(name, *special_use)?;
        }
        Ok(())
    }

    /// Creates a mailbox, and those above it that are missing. All are subscribed. Another mailbox that
    /// had one of the special uses loses it.
    pub fn create_mailbox(
        &mut self,
        name: &MailboxName,
        special_use: SpecialUse,
    ) -> Result<MailboxId, StoreError> {
        if self.mailbox_id(name).is_some() {
            return Err(Refusal::MailboxExists.into());
        }
        self.create_parents(name)?;
        self.take_special_use(special_use)?;
        self.create_one(name, special_use)
    }

    fn create_parents(&mut self, name: &MailboxName) -> Result<(), StoreError> {
        let mut missing = Vec::new();
        let mut above = name.parent();
        while let Some(parent) = above.filter(|parent| self.mailbox_id(parent).is_none()) {
            above = parent.parent();
            missing.push(parent);
        }
        for parent in missing.into_iter().rev() {
            self.create_one(&parent, SpecialUse::NONE)?;
        }
        Ok(())
    }

    fn create_one(&mut self, name: &MailboxName, special_use: SpecialUse) -> Result<MailboxId, StoreError> {
        if name.is_of_others() {
            return Err(Refusal::ReservedName.into());
        }
        if self.head()?.mailboxes as usize >= self.batch.account.limits.mailboxes_max {
            return Err(Refusal::TooManyMailboxes.into());
        }
        let modseq = self.modseq()?;
        let head = self.head_mut()?;
        head.mailboxes += 1;
        let id = MailboxId(head.next_mailbox);
        head.next_mailbox = head.next_mailbox.checked_add(1).ok_or(Refusal::CounterEnd)?;
        let uid_validity = UidValidity(head.next_uid_validity);
        head.next_uid_validity = head.next_uid_validity.checked_add(1).ok_or(Refusal::CounterEnd)?;
        let row = MailboxRow {
            name: name.clone(),
            special_use,
            uid_validity,
            uid_next: Uid::MIN,
            modseq,
            createseq: modseq,
            horizon: 0,
            exists: 0,
            unseen: 0,
            deleted: 0,
            purged: 0,
            size: 0,
            deleted_size: 0,
            tail: None,
            keywords: Box::default(),
        };
        self.batch.delta.mailboxes.insert(id, Some(Arc::new(row)));
        self.batch.delta.names.insert(name.clone(), Some(id));
        self.changes.push(Change::MailboxCreated { mailbox: id, name: name.clone(), modseq });
        if let Some(parent) = name.parent().and_then(|parent| self.mailbox_id(&parent)) {
            self.inherit_acl(parent, id)?;
        }
        if !special_use.is_empty() {
            self.changes.push(Change::SpecialUse { mailbox: id, special_use, modseq });
        }
        self.subscribe(name)?;
        Ok(id)
    }

    /// Renames a mailbox and those below it; subscriptions stay with the old names. The inbox is
    /// refused: see [`Self::rename_inbox`].
    pub fn rename_mailbox(&mut self, from: &MailboxName, to: &MailboxName) -> Result<(), StoreError> {
        let mailbox = self.mailbox_id(from).ok_or(Refusal::NoSuchMailbox)?;
        if from.is_inbox() {
            return Err(Refusal::Inbox.into());
        }
        if self.mailbox_id(to).is_some() {
            return Err(Refusal::MailboxExists.into());
        }
        if to.is_below(from) {
            return Err(Refusal::BelowItself.into());
        }
        if to.is_of_others() {
            return Err(Refusal::ReservedName.into());
        }
        let mut renames = vec![(mailbox, from.clone(), to.clone())];
        for (name, id) in self.below(from) {
            let rest = name.as_str().get(from.as_str().len()..).unwrap_or_default();
            let new = MailboxName::new(&format!("{to}{rest}")).map_err(|_| Refusal::ChildName)?;
            if self.mailbox_id(&new).is_some() {
                return Err(Refusal::MailboxExists.into());
            }
            renames.push((id, name, new));
        }
        self.create_parents(to)?;
        let modseq = self.modseq()?;
        for (id, from, to) in renames {
            self.batch.delta.names.insert(from.clone(), None);
            self.batch.delta.names.insert(to.clone(), Some(id));
            let row = self.mailbox_mut(id)?;
            row.name = to.clone();
            row.modseq = modseq;
            self.changes.push(Change::MailboxRenamed { mailbox: id, from, to, modseq });
        }
        Ok(())
    }

    /// Renames the inbox: its messages move to a new mailbox, itself and those below it stay (RFC 9051
    /// §6.3.6). Its annotations are copied (RFC 5464 §4.1), in a transaction of their own. A large inbox
    /// needs [`Self::move_range`] for the rest.
    pub fn rename_inbox(&mut self, to: &MailboxName) -> Result<Moved, StoreError> {
        let inbox = self.mailbox_id(&MailboxName::inbox()).ok_or(Refusal::NoSuchMailbox)?;
        let last = self.mailbox(inbox)?.uid_next;
        let target = self.create_mailbox(to, SpecialUse::NONE)?;
        if self.copy_metadata(inbox, target)? > 0 {
            return Ok(Moved { mailbox: target, copied: Copied::default(), rest: Some(Uid::MIN..=last) });
        }
        self.move_range(inbox, Uid::MIN..=last, target)
    }

    /// Moves the messages with uids in a range, as many as one transaction may.
    pub fn move_range(
        &mut self,
        from: MailboxId,
        uids: RangeInclusive<Uid>,
        to: MailboxId,
    ) -> Result<Moved, StoreError> {
        let messages_max = self.batch.account.limits.messages_max;
        let found = self.first_uids(from, *uids.start(), *uids.end(), messages_max)?;
        let copied = self.move_messages(from, &found, to)?;
        let rest = match found.last().and_then(|uid| uid.next()) {
            Some(next) if found.len() == messages_max && next <= *uids.end() => Some(next..=*uids.end()),
            _ => None,
        };
        Ok(Moved { mailbox: to, copied, rest })
    }

    /// Deletes a mailbox with its messages; not the inbox, and not one with mailboxes below it. Its
    /// subscription stays. The rows go with [`Self::sweep`].
    pub fn delete_mailbox(&mut self, mailbox: MailboxId) -> Result<(), StoreError> {
        let row = Arc::clone(self.mailbox(mailbox)?);
        if row.name.is_inbox() {
            return Err(Refusal::Inbox.into());
        }
        if !self.below(&row.name).is_empty() {
            return Err(Refusal::HasChildren.into());
        }
        self.put_acl(mailbox, AclRow::default())?;
        let modseq = self.modseq()?;
        self.batch.delta.mailboxes.insert(mailbox, None);
        self.batch.delta.names.insert(row.name.clone(), None);
        let head = self.head_mut()?;
        head.quota_used -= row.size;
        head.messages -= u64::from(row.exists);
        head.mailboxes -= 1;
        self.remove(keys::url_key(self.account(), mailbox));
        if row.uid_next > Uid::MIN {
            self.insert(keys::dropped(self.account(), mailbox), DropRow { modseq }.encode());
        }
        self.remove_metadata(mailbox)?;
        self.changes.push(Change::MailboxDeleted { mailbox, name: row.name.clone(), modseq });
        Ok(())
    }

    /// Sets what a mailbox is for; another that had one of these uses loses it.
    pub fn set_special_use(&mut self, mailbox: MailboxId, special_use: SpecialUse) -> Result<(), StoreError> {
        let before = self.mailbox(mailbox)?.special_use;
        if before == special_use {
            return Ok(());
        }
        self.take_special_use(special_use.without(before))?;
        self.put_special_use(mailbox, special_use)
    }

    fn take_special_use(&mut self, special_use: SpecialUse) -> Result<(), StoreError> {
        if special_use.is_empty() {
            return Ok(());
        }
        let account = self.batch.account.mailboxes.iter().map(|(id, row)| (*id, row.special_use));
        let account = account.filter(|(id, _)| !self.batch.delta.mailboxes.contains_key(id));
        let delta = self.batch.delta.mailboxes.iter();
        let delta = delta.filter_map(|(id, row)| Some((*id, row.as_ref()?.special_use)));
        let others: Vec<_> =
            account.chain(delta).filter(|(_, used)| !used.and(special_use).is_empty()).collect();
        for (mailbox, used) in others {
            self.put_special_use(mailbox, used.without(special_use))?;
        }
        Ok(())
    }

    fn put_special_use(&mut self, mailbox: MailboxId, special_use: SpecialUse) -> Result<(), StoreError> {
        let modseq = self.modseq()?;
        let row = self.mailbox_mut(mailbox)?;
        row.special_use = special_use;
        row.modseq = modseq;
        self.changes.push(Change::SpecialUse { mailbox, special_use, modseq });
        Ok(())
    }

    /// Subscribes a name, of a mailbox or not (RFC 9051 §6.3.7).
    pub fn subscribe(&mut self, name: &MailboxName) -> Result<(), StoreError> {
        if self.is_subscribed(name) {
            return Ok(());
        }
        if self.subscription_count() >= self.batch.account.limits.subscriptions_max {
            return Err(Refusal::TooManySubscriptions.into());
        }
        let modseq = self.modseq()?;
        self.batch.delta.subscriptions.insert(name.clone(), true);
        self.insert(keys::subscription(self.account(), name), MARK.to_vec());
        self.changes.push(Change::Subscribed { name: name.clone(), modseq });
        Ok(())
    }

    /// Unsubscribes a name.
    pub fn unsubscribe(&mut self, name: &MailboxName) -> Result<(), StoreError> {
        if !self.is_subscribed(name) {
            return Ok(());
        }
        let modseq = self.modseq()?;
        self.batch.delta.subscriptions.insert(name.clone(), false);
        self.remove(keys::subscription(self.account(), name));
        self.changes.push(Change::Unsubscribed { name: name.clone(), modseq });
        Ok(())
    }

    fn is_subscribed(&self, name: &MailboxName) -> bool {
        let written = self.batch.delta.subscriptions.get(name).copied();
        written.unwrap_or_else(|| self.batch.account.is_subscribed(name))
    }

    fn subscription_count(&self) -> usize {
        let account = &self.batch.account.subscriptions;
        self.batch.delta.subscriptions.iter().fold(account.len(), |count, (name, subscribed)| {
            match (*subscribed, account.contains(name)) {
                (true, false) => count + 1,
                (false, true) => count - 1,
                (true, true) | (false, false) => count,
            }
        })
    }

    /// The mailboxes below a name, by name.
    fn below(&self, name: &MailboxName) -> Vec<(MailboxName, MailboxId)> {
        let delta = &self.batch.delta.names;
        let stored = children(&self.batch.account.names, name).filter(|(name, _)| !delta.contains_key(*name));
        let written = children(delta, name).filter_map(|(name, id)| Some((name.clone(), (*id)?)));
        let mut below: Vec<_> = stored.map(|(name, id)| (name.clone(), *id)).chain(written).collect();
        below.sort_unstable();
        below
    }
}

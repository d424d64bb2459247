//! Adding messages: delivery, APPEND, import; and what COPY and MOVE share with them.

use postrider_proto::imap::types::{Flags, Keyword, ModSeq, Uid};

use super::{Change, ThreadInfo, Tx};
use crate::ids::{AccountId, BlobId, EmailId, KeywordId, MailboxId, ThreadId};
use crate::keys::{self, Which};
use crate::rows::pack::HAS_KEYWORDS;
use crate::rows::{EmailRow, MARK, MessageRow};
use crate::store::{Refusal, StoreError};

/// A message content that is stored, or is stored by the same commit (see [`Tx::attach`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Content {
    /// The content.
    pub blob: BlobId,
    /// Its octets.
    pub size: u64,
}

/// A message to be added.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewMessage {
    /// The content.
    pub content: Content,
    /// Header fields in front of it, which only this account has.
    pub prefix: Vec<u8>,
    /// The system flags.
    pub flags: Flags,
    /// The keywords.
    pub keywords: Vec<Keyword>,
    /// INTERNALDATE, seconds since 1970.
    pub received: i64,
    /// What it says of its conversation.
    pub thread: ThreadInfo,
}

/// A message of another account, whose content a copy shares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Source {
    /// The account.
    pub account: AccountId,
    /// What its copies share.
    pub email: EmailId,
}

/// A message that was added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    /// Its uid.
    pub uid: Uid,
    /// What its copies share with it.
    pub email: EmailId,
    /// Its conversation.
    pub thread: ThreadId,
    /// Its modification sequence.
    pub modseq: ModSeq,
}

impl Tx<'_, '_> {
    /// Adds a message.
    pub fn append(&mut self, mailbox: MailboxId, message: NewMessage) -> Result<Appended, StoreError> {
        let limits = self.batch.account.limits;
        self.mailbox(mailbox)?;
        if message.prefix.len() > limits.prefix_octets_max {
            return Err(Refusal::PrefixTooLong.into());
        }
        let size = message.content.size + message.prefix.len() as u64;
        self.check_quota(size, 1)?;
        let keywords = self.intern(&message.keywords)?;
        if keywords.len() > limits.message_keywords_max {
            return Err(Refusal::TooManyKeywords.into());
        }
        let modseq = self.modseq()?;
        let account = self.account();
        let thread = self.thread_of(&message.thread, message.received)?;
        let head = self.head_mut()?;
        let email = EmailId(head.next_email);
        head.next_email = head.next_email.checked_add(1).ok_or(Refusal::CounterEnd)?;

        let NewMessage { content, prefix, flags, received, thread: info, .. } = message;
        self.insert(keys::blob_ref(content.blob, account.get(), email.0), MARK.to_vec());
        self.index_thread(email, thread, &info, received);
        let row = EmailRow {
            blob: content.blob,
            size,
            thread,
            received,
            message_id: info.message_id,
            subject: info.subject,
            prefix: prefix.into(),
        };
        self.insert(keys::email(account, email), row.encode());
        let row = MessageRow {
            flags,
            keywords,
            modseq,
            createseq: modseq,
            email,
            thread,
            size,
            received,
            saved: self.now,
        };
        let uid = self.add(mailbox, row)?;
        Ok(Appended { uid, email, thread, modseq })
    }

    /// Adds a copy of another account's message, whose content is stored once for both; none when that message
    /// isn't there any more. The other account must keep it until this transaction is committed: a content
    /// to which somebody refers is never collected, so this adds to it as safely as a delivery does.
    pub fn append_copy(
        &mut self,
        mailbox: MailboxId,
        message: NewMessage,
        source: Source,
    ) -> Result<Option<Appended>, StoreError> {
        let listed = keys::blob_ref(message.content.blob, source.account.get(), source.email.0);
        match self.get(&listed)? {
            Some(_) => self.append(mailbox, message).map(Some),
            None => Ok(None),
        }
    }

    /// Refuses `octets` or `messages` more than the account may have.
    pub(super) fn check_quota(&self, octets: u64, messages: u64) -> Result<(), StoreError> {
        match self.batch.account.quota.admits(self.head()?, octets, messages) {
            true => Ok(()),
            false => Err(Refusal::OverQuota.into()),
        }
    }

    /// The only place that adds a message to a mailbox.
    pub(super) fn add(&mut self, mailbox: MailboxId, row: MessageRow) -> Result<Uid, StoreError> {
        assert_eq!((Some(row.modseq), row.createseq), (self.modseq().ok(), row.modseq));
        let account = self.account();
        let modseq = row.modseq;
        self.use_keywords(mailbox, &row.keywords)?;
        let target = self.mailbox_mut(mailbox)?;
        let uid = target.uid_next;
        target.uid_next = uid.next().ok_or(Refusal::NoMoreUids)?;
        target.modseq = modseq;
        target.exists = target.exists.checked_add(1).ok_or(Refusal::CounterEnd)?;
        target.unseen += u32::from(!row.flags.contains(Flags::SEEN));
        let deleted = row.flags.contains(Flags::DELETED);
        target.deleted += u32::from(deleted);
        target.size += row.size;
        target.deleted_size += if deleted { row.size } else { 0 };
        let tail = target.tail;
        let octet = pack_octet(row.flags, &row.keywords);
        let (packs, source) = self.packs();
        let tail = packs.push(source, mailbox, tail, uid, octet)?;
        self.mailbox_mut(mailbox)?.tail = Some(tail);
        let head = self.head_mut()?;
        head.quota_used += row.size;
        head.messages += 1;

        self.insert(keys::message(account, mailbox, uid), row.encode());
        self.insert(keys::change(account, mailbox, Which::Live, modseq, uid), Vec::new());
        let MessageRow { flags, keywords, size, email, .. } = row;
        self.changes.push(Change::Added { mailbox, uid, modseq, flags, keywords, size, email });
        Ok(uid)
    }
}

/// A message's octet in its packed block.
pub(super) fn pack_octet(flags: Flags, keywords: &[KeywordId]) -> u8 {
    flags.bits() | if keywords.is_empty() { 0 } else { HAS_KEYWORDS }
}

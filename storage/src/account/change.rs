//! What a transaction changed, for the sessions that show it.

use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::types::{Flags, ModSeq, Uid};

use crate::ids::{EmailId, KeywordId, MailboxId};
use crate::keys::MetadataPlace;
use crate::rows::SpecialUse;

/// Flags and keywords that a change set or removed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Touched {
    /// System flags.
    pub flags: Flags,
    /// Keywords, ascending.
    pub keywords: Box<[KeywordId]>,
}

impl Touched {
    /// What differs between two states of a message; keywords are ascending.
    pub(super) fn between(
        (before, after): (Flags, Flags),
        (keywords_before, keywords_after): (&[KeywordId], &[KeywordId]),
    ) -> Self {
        let lost = keywords_before.iter().filter(|id| keywords_after.binary_search(id).is_err());
        let won = keywords_after.iter().filter(|id| keywords_before.binary_search(id).is_err());
        let mut keywords: Vec<KeywordId> = lost.chain(won).copied().collect();
        keywords.sort_unstable();
        let flags = Flags::from_bits(before.bits() ^ after.bits());
        Self { flags, keywords: keywords.into() }
    }

    /// Whether any of these is among them.
    pub fn concerns(&self, flags: Flags, keywords: &[KeywordId]) -> bool {
        self.flags.bits() & flags.bits() != 0 || keywords.iter().any(|id| self.keywords.contains(id))
    }
}

/// One change. Publish it after the commit was acknowledged and installed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "publish the changes or other sessions go stale"]
pub enum Change {
    /// A message came into a mailbox.
    Added {
        /// The mailbox.
        mailbox: MailboxId,
        /// The message; above all that were there.
        uid: Uid,
        /// The transaction.
        modseq: ModSeq,
        /// Its flags.
        flags: Flags,
        /// Its keywords, ascending.
        keywords: Box<[KeywordId]>,
        /// Its octets.
        size: u64,
        /// What it shares with its copies.
        email: EmailId,
    },
    /// A message's flags or keywords changed.
    Flags {
        /// The mailbox.
        mailbox: MailboxId,
        /// The message.
        uid: Uid,
        /// The transaction.
        modseq: ModSeq,
        /// Its flags now.
        flags: Flags,
        /// Its keywords now, ascending.
        keywords: Box<[KeywordId]>,
        /// Which of these were set or removed.
        touched: Touched,
    },
    /// A message was removed from a mailbox.
    Removed {
        /// The mailbox.
        mailbox: MailboxId,
        /// The message.
        uid: Uid,
        /// The transaction.
        modseq: ModSeq,
        /// Its content, which stays until [`Tx::erase`](super::Tx::erase).
        email: EmailId,
    },
    /// A keyword was used in a mailbox for the first time (the FLAGS response changes).
    MailboxKeyword {
        /// The mailbox.
        mailbox: MailboxId,
        /// The keyword.
        keyword: KeywordId,
        /// The transaction.
        modseq: ModSeq,
    },
    /// A mailbox was created.
    MailboxCreated {
        /// The mailbox.
        mailbox: MailboxId,
        /// Its name.
        name: MailboxName,
        /// The transaction.
        modseq: ModSeq,
    },
    /// A mailbox was renamed; one change for each mailbox below it, too.
    MailboxRenamed {
        /// The mailbox.
        mailbox: MailboxId,
        /// Its name before.
        from: MailboxName,
        /// Its name now.
        to: MailboxName,
        /// The transaction.
        modseq: ModSeq,
    },
    /// A mailbox was deleted with all its messages. Call [`Tx::sweep`](super::Tx::sweep) until done.
    MailboxDeleted {
        /// The mailbox.
        mailbox: MailboxId,
        /// The name it had.
        name: MailboxName,
        /// The transaction.
        modseq: ModSeq,
    },
    /// A mailbox's special use changed.
    SpecialUse {
        /// The mailbox.
        mailbox: MailboxId,
        /// What it is for now.
        special_use: SpecialUse,
        /// The transaction.
        modseq: ModSeq,
    },
    /// A mailbox's access control list changed.
    Acl {
        /// The mailbox.
        mailbox: MailboxId,
        /// The transaction.
        modseq: ModSeq,
    },
    /// URLs of a mailbox's messages that were authorised before are worth nothing any more.
    UrlKey {
        /// The mailbox.
        mailbox: MailboxId,
        /// The transaction.
        modseq: ModSeq,
    },
    /// An annotation was set or removed.
    Metadata {
        /// What it is of, and whose.
        place: MetadataPlace,
        /// Its name without `/private` or `/shared`.
        path: Box<str>,
        /// The transaction.
        modseq: ModSeq,
    },
    /// A name was subscribed.
    Subscribed {
        /// The name.
        name: MailboxName,
        /// The transaction.
        modseq: ModSeq,
    },
    /// A name was unsubscribed.
    Unsubscribed {
        /// The name.
        name: MailboxName,
        /// The transaction.
        modseq: ModSeq,
    },
}

impl Change {
    /// The transaction that made the change.
    pub const fn modseq(&self) -> ModSeq {
        match self {
            Self::Added { modseq, .. }
            | Self::Flags { modseq, .. }
            | Self::Removed { modseq, .. }
            | Self::MailboxKeyword { modseq, .. }
            | Self::MailboxCreated { modseq, .. }
            | Self::MailboxRenamed { modseq, .. }
            | Self::MailboxDeleted { modseq, .. }
            | Self::SpecialUse { modseq, .. }
            | Self::UrlKey { modseq, .. }
            | Self::Acl { modseq, .. }
            | Self::Metadata { modseq, .. }
            | Self::Subscribed { modseq, .. }
            | Self::Unsubscribed { modseq, .. } => *modseq,
        }
    }
}

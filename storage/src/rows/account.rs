//! Rows of an account as a whole: its counters, its mailboxes.

use std::fmt;
use std::num::NonZeroU32;

use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::types::{ModSeq, Uid, UidValidity};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{BadRow, Fixed, field, keyword_ids, modseq, put_keyword_ids, split, uid, whole};
use crate::ids::KeywordId;

/// Counters of an account, and the ids that it gives out next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeadRow {
    /// The last modification sequence given out.
    pub modseq: ModSeq,
    /// The next email's id.
    pub next_email: u64,
    /// The next conversation's id.
    pub next_thread: u64,
    /// The next mailbox's id, never 0.
    pub next_mailbox: NonZeroU32,
    /// The next mailbox's UIDVALIDITY.
    pub next_uid_validity: NonZeroU32,
    /// Octets of all messages in all mailboxes.
    pub quota_used: u64,
    /// Messages in all mailboxes.
    pub messages: u64,
    /// Mailboxes.
    pub mailboxes: u32,
    /// Keywords in the dictionary; their ids are 0 up to this.
    pub keywords: u16,
    /// Annotations of the server and of all mailboxes.
    pub annotations: u32,
    /// Octets of their paths and values.
    pub annotation_octets: u32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct HeadLayout {
    version: u8,
    reserved: u8,
    keywords: U16,
    next_mailbox: U32,
    next_uid_validity: U32,
    mailboxes: U32,
    modseq: U64,
    next_email: U64,
    next_thread: U64,
    quota_used: U64,
    messages: U64,
    annotations: U32,
    annotation_octets: U32,
}

impl Fixed for HeadLayout {
    const NAME: &'static str = "HEAD";
}

impl HeadRow {
    /// The bytes that are stored.
    pub fn encode(&self) -> Vec<u8> {
        HeadLayout {
            version: HeadLayout::VERSION,
            reserved: 0,
            keywords: self.keywords.into(),
            next_mailbox: self.next_mailbox.get().into(),
            next_uid_validity: self.next_uid_validity.get().into(),
            mailboxes: self.mailboxes.into(),
            modseq: self.modseq.get().into(),
            next_email: self.next_email.into(),
            next_thread: self.next_thread.into(),
            quota_used: self.quota_used.into(),
            messages: self.messages.into(),
            annotations: self.annotations.into(),
            annotation_octets: self.annotation_octets.into(),
        }
        .as_bytes()
        .to_vec()
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        type Layout = HeadLayout;
        let row = whole::<Layout>(bytes)?;
        Ok(Self {
            modseq: modseq::<Layout>(row.modseq.get())?,
            next_email: row.next_email.get(),
            next_thread: row.next_thread.get(),
            next_mailbox: NonZeroU32::new(row.next_mailbox.get()).ok_or(field::<Layout>("mailbox id"))?,
            next_uid_validity: NonZeroU32::new(row.next_uid_validity.get())
                .ok_or(field::<Layout>("uidvalidity"))?,
            quota_used: row.quota_used.get(),
            messages: row.messages.get(),
            mailboxes: row.mailboxes.get(),
            keywords: row.keywords.get(),
            annotations: row.annotations.get(),
            annotation_octets: row.annotation_octets.get(),
        })
    }
}

/// What a mailbox is for (RFC 6154 §2): a set, one bit each. In an account at most one mailbox has
/// each of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SpecialUse(u8);

impl SpecialUse {
    /// Nothing special.
    pub const NONE: Self = Self(0);
    /// `\Archive`
    pub const ARCHIVE: Self = Self(1);
    /// `\Drafts`
    pub const DRAFTS: Self = Self(1 << 1);
    /// `\Junk`
    pub const JUNK: Self = Self(1 << 2);
    /// `\Sent`
    pub const SENT: Self = Self(1 << 3);
    /// `\Trash`
    pub const TRASH: Self = Self(1 << 4);
    /// Every use, in the order in which they are written.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::ARCHIVE, "\\Archive"),
        (Self::DRAFTS, "\\Drafts"),
        (Self::JUNK, "\\Junk"),
        (Self::SENT, "\\Sent"),
        (Self::TRASH, "\\Trash"),
    ];
    const MASK: u8 = 0b1_1111;

    /// The uses of stored bits; bits that none has are ignored.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & Self::MASK)
    }

    /// The bits as stored.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether all of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether none is set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// These and `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These except `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Debug for SpecialUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(Self::ALL.iter().filter(|(used, _)| self.contains(*used)).map(|(_, name)| name))
            .finish()
    }
}

/// A mailbox with its counters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MailboxRow {
    /// The name.
    pub name: MailboxName,
    /// What the mailbox is for.
    pub special_use: SpecialUse,
    /// RFC 9051 §2.3.1.1; never used twice in an account.
    pub uid_validity: UidValidity,
    /// The next message's uid. [`Uid::MAX`] is never given out, so that there always is a next one.
    pub uid_next: Uid,
    /// HIGHESTMODSEQ: the last change of the mailbox or of a message in it.
    pub modseq: ModSeq,
    /// The change that created it.
    pub createseq: ModSeq,
    /// Tombstones with a modseq up to this may have been removed; 0 when none ever was.
    pub horizon: u64,
    /// Messages.
    pub exists: u32,
    /// Messages without `\Seen`.
    pub unseen: u32,
    /// Messages with `\Deleted`.
    pub deleted: u32,
    /// Tombstones that were removed: with these and the tombstones that are there, each uid below the
    /// next one is accounted for.
    pub purged: u32,
    /// Octets of all messages.
    pub size: u64,
    /// Octets of the messages with `\Deleted`.
    pub deleted_size: u64,
    /// The base of the last PACK block; none while there is no block.
    pub tail: Option<Uid>,
    /// Keywords that a message of this mailbox has or had, ascending.
    pub keywords: Box<[KeywordId]>,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct MailboxLayout {
    version: u8,
    special_use: u8,
    keywords: U16,
    uid_validity: U32,
    uid_next: U32,
    tail: U32,
    exists: U32,
    unseen: U32,
    deleted: U32,
    purged: U32,
    size: U64,
    deleted_size: U64,
    modseq: U64,
    createseq: U64,
    horizon: U64,
}

impl Fixed for MailboxLayout {
    const NAME: &'static str = "MAILBOX";
}

impl MailboxRow {
    /// The bytes that are stored.
    pub fn encode(&self) -> Vec<u8> {
        let fixed = MailboxLayout {
            version: MailboxLayout::VERSION,
            special_use: self.special_use.bits(),
            // The dictionary has at most u16::MAX entries, and each is listed once.
            keywords: u16::try_from(self.keywords.len()).unwrap_or(u16::MAX).into(),
            uid_validity: self.uid_validity.0.get().into(),
            uid_next: self.uid_next.get().into(),
            tail: self.tail.map_or(0, Uid::get).into(),
            exists: self.exists.into(),
            unseen: self.unseen.into(),
            deleted: self.deleted.into(),
            purged: self.purged.into(),
            size: self.size.into(),
            deleted_size: self.deleted_size.into(),
            modseq: self.modseq.get().into(),
            createseq: self.createseq.get().into(),
            horizon: self.horizon.into(),
        };
        let mut out = Vec::with_capacity(
            size_of::<MailboxLayout>() + 2 * self.keywords.len() + self.name.as_str().len(),
        );
        out.extend_from_slice(fixed.as_bytes());
        put_keyword_ids(&mut out, &self.keywords);
        out.extend_from_slice(self.name.as_str().as_bytes());
        out
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        type Layout = MailboxLayout;
        let (row, tail) = split::<Layout>(bytes)?;
        let (keywords, name) = tail
            .split_at_checked(2 * usize::from(row.keywords.get()))
            .ok_or(BadRow::Length { row: Layout::NAME, octets: bytes.len() })?;
        let name = std::str::from_utf8(name).map_err(|_| field::<Layout>("name"))?;
        Ok(Self {
            name: MailboxName::new(name).map_err(|_| field::<Layout>("name"))?,
            special_use: SpecialUse::from_bits(row.special_use),
            uid_validity: UidValidity(
                NonZeroU32::new(row.uid_validity.get()).ok_or(field::<Layout>("uidvalidity"))?,
            ),
            uid_next: uid::<Layout>(row.uid_next.get())?,
            modseq: modseq::<Layout>(row.modseq.get())?,
            createseq: modseq::<Layout>(row.createseq.get())?,
            horizon: row.horizon.get(),
            exists: row.exists.get(),
            unseen: row.unseen.get(),
            deleted: row.deleted.get(),
            purged: row.purged.get(),
            size: row.size.get(),
            deleted_size: row.deleted_size.get(),
            tail: Uid::new(row.tail.get()),
            keywords: keyword_ids::<Layout>(keywords)?,
        })
    }
}

/// A deleted mailbox whose rows are still to be removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DropRow {
    /// The change that deleted it.
    pub modseq: ModSeq,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct DropLayout {
    version: u8,
    reserved: [u8; 7],
    modseq: U64,
}

impl Fixed for DropLayout {
    const NAME: &'static str = "DROP";
}

impl DropRow {
    /// The bytes that are stored.
    pub fn encode(&self) -> Vec<u8> {
        DropLayout { version: DropLayout::VERSION, reserved: [0; 7], modseq: self.modseq.get().into() }
            .as_bytes()
            .to_vec()
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let row = whole::<DropLayout>(bytes)?;
        Ok(Self { modseq: modseq::<DropLayout>(row.modseq.get())? })
    }
}

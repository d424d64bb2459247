//! Rows of messages: in a mailbox, removed from one, shared by copies, found for conversations.

use postrider_proto::imap::types::{Flags, ModSeq};
use zerocopy::little_endian::{I64, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{BadRow, Fixed, field, keyword_ids, modseq, put_keyword_ids, split, whole};
use crate::account::Content;
use crate::ids::{BlobId, EmailId, KeywordId, ThreadId};

/// A message in a mailbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MessageRow {
    /// The system flags.
    pub flags: Flags,
    /// The keywords, ascending.
    pub keywords: Box<[KeywordId]>,
    /// The last change.
    pub modseq: ModSeq,
    /// The change that added it to this mailbox.
    pub createseq: ModSeq,
    /// What it shares with its copies.
    pub email: EmailId,
    /// The conversation.
    pub thread: ThreadId,
    /// Octets as IMAP shows it: prefix and blob.
    pub size: u64,
    /// INTERNALDATE, seconds since 1970.
    pub received: i64,
    /// When it came into this mailbox (RFC 8514), seconds since 1970.
    pub saved: i64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct MessageLayout {
    version: u8,
    flags: u8,
    reserved: [u8; 6],
    modseq: U64,
    createseq: U64,
    email: U64,
    thread: U64,
    size: U64,
    received: I64,
    saved: I64,
}

impl Fixed for MessageLayout {
    const NAME: &'static str = "MESSAGE";
}

impl MessageRow {
    /// The bytes that are stored.
    pub fn encode(&self) -> Vec<u8> {
        let fixed = MessageLayout {
            version: MessageLayout::VERSION,
            flags: self.flags.bits(),
            reserved: [0; 6],
            modseq: self.modseq.get().into(),
            createseq: self.createseq.get().into(),
            email: self.email.0.into(),
            thread: self.thread.0.into(),
            size: self.size.into(),
            received: self.received.into(),
            saved: self.saved.into(),
        };
        let mut out = Vec::with_capacity(size_of::<MessageLayout>() + 2 * self.keywords.len());
        out.extend_from_slice(fixed.as_bytes());
        put_keyword_ids(&mut out, &self.keywords);
        out
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let (row, tail) = split::<MessageLayout>(bytes)?;
        Ok(Self {
            flags: Flags::from_bits(row.flags),
            keywords: keyword_ids::<MessageLayout>(tail)?,
            modseq: modseq::<MessageLayout>(row.modseq.get())?,
            createseq: modseq::<MessageLayout>(row.createseq.get())?,
            email: EmailId(row.email.get()),
            thread: ThreadId(row.thread.get()),
            size: row.size.get(),
            received: row.received.get(),
            saved: row.saved.get(),
        })
    }
}

/// A message that was removed from a mailbox. Its uid and modseq are in the key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TombstoneRow {
    /// The change that had added it.
    pub createseq: ModSeq,
    /// When it was removed, seconds since 1970.
    pub removed: i64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct TombstoneLayout {
    version: u8,
    reserved: [u8; 7],
    createseq: U64,
    removed: I64,
}

impl Fixed for TombstoneLayout {
    const NAME: &'static str = "CHANGE";
}

impl TombstoneRow {
    /// The bytes that are stored.
    pub fn encode(&self) -> Vec<u8> {
        TombstoneLayout {
            version: TombstoneLayout::VERSION,
            reserved: [0; 7],
            createseq: self.createseq.get().into(),
            removed: self.removed.into(),
        }
        .as_bytes()
        .to_vec()
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let row = whole::<TombstoneLayout>(bytes)?;
        Ok(Self { createseq: modseq::<TombstoneLayout>(row.createseq.get())?, removed: row.removed.get() })
    }
}

/// What all copies of a message in an account share. The message as IMAP shows it is the prefix
/// followed by the blob.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EmailRow {
    /// The content.
    pub blob: BlobId,
    /// Octets of prefix and blob.
    pub size: u64,
    /// The conversation.
    pub thread: ThreadId,
    /// When it was received, seconds since 1970.
    pub received: i64,
    /// The hash of its Message-ID; 0 without one.
    pub message_id: u64,
    /// The hash of its base subject; 0 without one.
    pub subject: u64,
    /// Header fields that only this recipient has: Return-Path, Delivered-To, Received.
    pub prefix: Box<[u8]>,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct EmailLayout {
    version: u8,
    reserved: [u8; 7],
    blob: U64,
    size: U64,
    thread: U64,
    received: I64,
    message_id: U64,
    subject: U64,
}

impl Fixed for EmailLayout {
    const NAME: &'static str = "EMAIL";
}

impl EmailRow {
    /// The content behind the prefix.
    pub fn content(&self) -> Content {
        Content { blob: self.blob, size: self.size.saturating_sub(self.prefix.len() as u64) }
    }

    /// The bytes that are stored.
    pub fn encode(&self) -> Vec<u8> {
        let fixed = EmailLayout {
            version: EmailLayout::VERSION,
            reserved: [0; 7],
            blob: self.blob.0.into(),
            size: self.size.into(),
            thread: self.thread.0.into(),
            received: self.received.into(),
            message_id: self.message_id.into(),
            subject: self.subject.into(),
        };
        let mut out = Vec::with_capacity(size_of::<EmailLayout>() + self.prefix.len());
        out.extend_from_slice(fixed.as_bytes());
        out.extend_from_slice(&self.prefix);
        out
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let (row, prefix) = split::<EmailLayout>(bytes)?;
        Ok(Self {
            blob: BlobId(row.blob.get()),
            size: row.size.get(),
            thread: ThreadId(row.thread.get()),
            received: row.received.get(),
            message_id: row.message_id.get(),
            subject: row.subject.get(),
            prefix: prefix.into(),
        })
    }
}

/// How many MESSAGE rows, and removals listed in ERASE rows, refer to an email, when there are two or
/// more; without this row it is one. Apart from [`EmailRow`], so that a copy doesn't rewrite a prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RefsRow {
    /// At least 2.
    pub refs: u32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RefsLayout {
    version: u8,
    reserved: [u8; 3],
    refs: U32,
}

impl Fixed for RefsLayout {
    const NAME: &'static str = "EMAILREFS";
}

impl RefsRow {
    /// The bytes that are stored.
    pub fn encode(&self) -> Vec<u8> {
        RefsLayout { version: RefsLayout::VERSION, reserved: [0; 3], refs: self.refs.into() }
            .as_bytes()
            .to_vec()
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let refs = whole::<RefsLayout>(bytes)?.refs.get();
        if refs < 2 { Err(field::<RefsLayout>("count")) } else { Ok(Self { refs }) }
    }
}

/// An email found by its Message-ID or its base subject.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ThreadRow {
    /// The conversation.
    pub thread: ThreadId,
    /// The hash of the email's base subject; 0 without one.
    pub subject: u64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct ThreadLayout {
    version: u8,
    reserved: [u8; 7],
    thread: U64,
    subject: U64,
}

impl Fixed for ThreadLayout {
    const NAME: &'static str = "THREAD";
}

impl ThreadRow {
    /// The bytes that are stored.
    pub fn encode(&self) -> Vec<u8> {
        ThreadLayout {
            version: ThreadLayout::VERSION,
            reserved: [0; 7],
            thread: self.thread.0.into(),
            subject: self.subject.into(),
        }
        .as_bytes()
        .to_vec()
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let row = whole::<ThreadLayout>(bytes)?;
        Ok(Self { thread: ThreadId(row.thread.get()), subject: row.subject.get() })
    }
}

//! FETCH (RFC 9051 §6.4.5, RFC 3501 §6.4.5, RFC 3516, RFC 7162 §3.1.4 and §3.2.6).

use std::num::{NonZeroU32, NonZeroU64};

use super::super::sequence::Messages;

/// FETCH or UID FETCH.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetch {
    /// The messages.
    pub messages: Messages,
    /// What to tell; macros are expanded; each item once.
    pub items: Vec<FetchItem>,
    /// Only messages changed since (RFC 7162 §3.1.4.1).
    pub changed_since: Option<ChangedSince>,
}

/// The CHANGEDSINCE modifier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChangedSince {
    /// Messages with a larger modification sequence.
    pub modseq: u64,
    /// Whether expunged ones are told as well; the executor checks for UID FETCH and QRESYNC.
    pub vanished: Vanished,
}

/// Whether VANISHED (EARLIER) is asked (RFC 7162 §3.2.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vanished {
    /// Not asked.
    Untold,
    /// Asked.
    Told,
}

/// Whether reading sets `\Seen`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peek {
    /// `BODY[...]`: sets it.
    MarksSeen,
    /// `BODY.PEEK[...]`: doesn't.
    Peeks,
}

/// One thing that FETCH tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FetchItem {
    /// UID
    Uid,
    /// FLAGS
    Flags,
    /// INTERNALDATE
    InternalDate,
    /// RFC822.SIZE
    Rfc822Size,
    /// ENVELOPE
    Envelope,
    /// BODY: the structure without extension data
    Body,
    /// BODYSTRUCTURE
    BodyStructure,
    /// MODSEQ (RFC 7162 §3.1.4)
    ModSeq,
    /// RFC822 (RFC 3501): `BODY[]` under its old name
    Rfc822,
    /// RFC822.HEADER: `BODY.PEEK[HEADER]` under its old name
    Rfc822Header,
    /// RFC822.TEXT: `BODY[TEXT]` under its old name
    Rfc822Text,
    /// `BODY[section]<partial>`
    Section(Peek, Section, Option<Partial>),
    /// `BINARY[part]<partial>` (RFC 3516 §4.2)
    Binary(Peek, Box<[NonZeroU32]>, Option<Partial>),
    /// `BINARY.SIZE[part]` (RFC 3516 §4.3)
    BinarySize(Box<[NonZeroU32]>),
}

/// What of a message: a part (none: the message), and what of the part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Section {
    /// The part numbers, outermost first.
    pub part: Box<[NonZeroU32]>,
    /// What of it; none is all.
    pub text: Option<SectionText>,
}

/// What of a part. MIME needs a part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SectionText {
    /// HEADER
    Header,
    /// HEADER.FIELDS; never empty
    HeaderFields(Vec<Box<str>>),
    /// HEADER.FIELDS.NOT; never empty
    HeaderFieldsNot(Vec<Box<str>>),
    /// TEXT
    Text,
    /// MIME
    Mime,
}

/// Some octets of a section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Partial {
    /// The first octet.
    pub offset: u64,
    /// At most this many.
    pub length: NonZeroU64,
}

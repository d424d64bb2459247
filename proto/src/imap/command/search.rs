//! SEARCH (RFC 9051 §6.4.4, RFC 3501 §6.4.4, RFC 4731, RFC 5182, RFC 7162 §3.1.5).

use super::super::date::Date;
use super::super::sequence::{MessageSet, Numbering};
use super::super::types::{Flags, Keyword};

/// SEARCH or UID SEARCH.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Search {
    /// How results are told.
    pub numbering: Numbering,
    /// The RETURN options, none when there was no RETURN: an IMAP4rev1 session answers SEARCH then,
    /// an IMAP4rev2 session ESEARCH. `RETURN ()` is ALL.
    pub returns: Option<SearchReturn>,
    /// What to look for.
    pub key: SearchKey,
}

/// RETURN options (RFC 4731 §3.1, SAVE: RFC 5182).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SearchReturn {
    /// MIN
    pub min: bool,
    /// MAX
    pub max: bool,
    /// ALL
    pub all: bool,
    /// COUNT
    pub count: bool,
    /// SAVE
    pub save: bool,
}

/// A condition on one message. Strings are UTF-8, compared without regard to case as substrings.
/// `\Recent` is never set, so RECENT and NEW are `Nothing` and OLD is `All`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SearchKey {
    /// Every message.
    All,
    /// No message.
    Nothing,
    /// All of these; never empty.
    And(Vec<Self>),
    /// One of these.
    Or(Box<(Self, Self)>),
    /// Not this.
    Not(Box<Self>),
    /// Has the flag (ANSWERED, DELETED, DRAFT, FLAGGED, SEEN); the UN forms are inside `Not`.
    Flag(Flags),
    /// Has the keyword.
    Keyword(Keyword),
    /// Message numbers; those that don't exist match nothing.
    Sequence(MessageSet),
    /// Uids.
    Uid(MessageSet),
    /// Text somewhere in the message.
    Text(TextTarget, Box<str>),
    /// The day of the internal date, without its time and zone.
    InternalDate(DateTest, Date),
    /// The day of the Date field, without its time and zone.
    SentDate(DateTest, Date),
    /// More octets than this.
    Larger(u64),
    /// Fewer octets than this.
    Smaller(u64),
    /// A modification sequence of at least this (RFC 7162 §3.1.5); an entry name that came with it is dropped.
    ModSeq(u64),
}

/// Where text is looked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TextTarget {
    /// BCC
    Bcc,
    /// BODY: texts of the message without headers
    Body,
    /// CC
    Cc,
    /// FROM
    From,
    /// HEADER: the field of this name; with empty text its presence
    Header(Box<str>),
    /// SUBJECT
    Subject,
    /// TEXT: headers and texts
    Text,
    /// TO
    To,
}

/// How a day is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DateTest {
    /// Earlier than the day.
    Before,
    /// On the day.
    On,
    /// On the day or later.
    Since,
}

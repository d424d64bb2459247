//! SEARCH (RFC 9051 §6.4.4, RFC 3501 §6.4.4, RFC 4731, RFC 5182, RFC 5267, RFC 7162 §3.1.5, RFC 5032,
//! RFC 8514 §4.3, RFC 8474 §6, RFC 9394).

use std::num::NonZeroU32;

use super::super::date::Date;
use super::super::objectid::ObjectId;
use super::super::sequence::{
    MessageSet, Numbering, ResultRange, SequenceNumber, SequenceRange, SequenceSet,
};
use super::super::types::{Flags, Keyword};
use super::arguments::parse_keyword;
use super::cursor::{Cursor, Parsed};
use super::{Fault, Utf8};

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

/// RETURN options (RFC 4731 §3.1, SAVE: RFC 5182, CONTEXT, UPDATE and PARTIAL: RFC 5267, RFC 9394).
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
    /// PARTIAL; never together with ALL.
    pub partial: Option<ResultRange>,
    /// UPDATE
    pub update: bool,
    /// CONTEXT, a hint that the same search comes again.
    pub context: bool,
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
    /// The day on which the message came into its mailbox, without time and zone (RFC 8514 §4.3).
    SavedDate(DateTest, Date),
    /// An internal date of so many seconds ago, or of before that (RFC 5032 §2).
    Older(NonZeroU32),
    /// An internal date of so many seconds ago, or of after that (RFC 5032 §2).
    Younger(NonZeroU32),
    /// The email with this identifier (RFC 8474 §6); none is one that no email can have.
    EmailId(Option<ObjectId>),
    /// The emails of the thread with this identifier (RFC 8474 §6).
    ThreadId(Option<ObjectId>),
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

impl SearchKey {
    /// Whether message numbers occur; `$` names messages without them.
    pub fn has_message_numbers(&self) -> bool {
        match self {
            Self::Sequence(set) => matches!(set, MessageSet::Set(_)),
            Self::And(keys) => keys.iter().any(Self::has_message_numbers),
            Self::Or(keys) => keys.0.has_message_numbers() || keys.1.has_message_numbers(),
            Self::Not(key) => key.has_message_numbers(),
            _ => false,
        }
    }
}

impl Search {
    /// Takes the arguments, from the space on.
    pub(super) fn parse(cursor: &mut Cursor<'_>, numbering: Numbering) -> Parsed<Self> {
        cursor.space()?;
        let returns = SearchReturn::parse_optional(cursor)?;
        if cursor.take_text("CHARSET ") {
            if cursor.utf8() == Utf8::Accept {
                return Err(Fault::Syntax("no CHARSET after UTF8=ACCEPT"));
            }
            charset(cursor)?;
            cursor.space()?;
        }
        Ok(Self { numbering, returns, key: criteria(cursor)? })
    }
}

/// Takes the keys of a search: all of them have to match.
pub(super) fn criteria(cursor: &mut Cursor<'_>) -> Parsed<SearchKey> {
    let mut budget = Budget { keys: cursor.context().limits.search_keys_max };
    keys(cursor, 0, &mut budget)
}

impl SearchReturn {
    /// Without options (RFC 4731 §3.1).
    pub const ALL: Self = Self {
        min: false,
        max: false,
        all: true,
        count: false,
        save: false,
        partial: None,
        update: false,
        context: false,
    };

    /// Whether only the smallest, the largest, or both are asked for.
    pub const fn is_of_ends(&self) -> bool {
        (self.min || self.max) && !self.all && !self.count
    }

    /// Whether anything is told of the messages that were found.
    pub const fn tells(&self) -> bool {
        self.min || self.max || self.all || self.count || self.partial.is_some()
    }

    /// Takes `RETURN (option ...)` and the space after it, if it is there.
    pub(super) fn parse_optional(cursor: &mut Cursor<'_>) -> Parsed<Option<Self>> {
        if !cursor.take_text("RETURN ") {
            return Ok(None);
        }
        let returns = Self::parse(cursor)?;
        cursor.space()?;
        Ok(Some(returns))
    }

    /// Takes `(option ...)`; nothing asked is ALL (RFC 4731 §3.1).
    fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let mut returns = Self::default();
        cursor.open()?;
        if cursor.take(b')') {
            return Ok(Self::ALL);
        }
        cursor.list(|cursor| {
            match cursor.label()?.as_str() {
                "MIN" => returns.min = true,
                "MAX" => returns.max = true,
                "ALL" => returns.all = true,
                "COUNT" => returns.count = true,
                "SAVE" => returns.save = true,
                "UPDATE" => returns.update = true,
                "CONTEXT" => returns.context = true,
                "PARTIAL" if returns.partial.is_none() => {
                    cursor.space()?;
                    returns.partial = Some(cursor.result_range()?);
                }
                "PARTIAL" => return Err(Fault::Syntax("one PARTIAL is enough")),
                _ => return Err(Fault::Syntax("unknown RETURN option")),
            }
            Ok(())
        })?;
        // RFC 5267 §4.4, RFC 9394 §3.1
        if returns.all && returns.partial.is_some() {
            return Err(Fault::Syntax("either ALL or PARTIAL"));
        }
        Ok(returns)
    }
}

/// Takes a charset. Strings are read as UTF-8 in any case, of which US-ASCII is a part.
pub(super) fn charset(cursor: &mut Cursor<'_>) -> Parsed<()> {
    let name = cursor.astring()?;
    let known = ["UTF-8", "US-ASCII"].iter().any(|known| known.eq_ignore_ascii_case(&name));
    if known { Ok(()) } else { Err(Fault::Charset) }
}

/// How many keys a search may still have.
struct Budget {
    keys: usize,
}

/// Takes keys separated by spaces: all of them have to match.
fn keys(cursor: &mut Cursor<'_>, depth: usize, budget: &mut Budget) -> Parsed<SearchKey> {
    let first = key(cursor, depth, budget)?;
    if cursor.peek() != Some(b' ') {
        return Ok(first);
    }
    let mut all = vec![first];
    while cursor.take(b' ') {
        all.push(key(cursor, depth, budget)?);
    }
    Ok(SearchKey::And(all))
}

/// Takes one key.
fn key(cursor: &mut Cursor<'_>, depth: usize, budget: &mut Budget) -> Parsed<SearchKey> {
    if depth > cursor.context().limits.search_depth_max {
        return Err(Fault::Limit("search is nested too deeply"));
    }
    budget.keys = budget.keys.checked_sub(1).ok_or(Fault::Limit("search has too many keys"))?;
    match cursor.peek() {
        Some(b'(') => {
            cursor.skip();
            let inner = keys(cursor, depth + 1, budget)?;
            cursor.close()?;
            return Ok(inner);
        }
        Some(b'0'..=b'9' | b'*' | b'$') => return cursor.message_set().map(SearchKey::Sequence),
        _ => {}
    }
    let name = cursor.label()?;
    let name = name.as_str();
    match name {
        "NOT" => {
            cursor.space()?;
            Ok(not(key(cursor, depth + 1, budget)?))
        }
        "OR" => {
            cursor.space()?;
            let left = key(cursor, depth + 1, budget)?;
            cursor.space()?;
            Ok(SearchKey::Or(Box::new((left, key(cursor, depth + 1, budget)?))))
        }
        _ => match plain_key(name) {
            Some(key) => Ok(key),
            None => key_with_argument(cursor, name),
        },
    }
}

fn not(key: SearchKey) -> SearchKey {
    SearchKey::Not(Box::new(key))
}

/// A key without argument.
fn plain_key(name: &str) -> Option<SearchKey> {
    Some(match name {
        // RFC 8514 §4.3: every mailbox has save dates.
        "ALL" | "OLD" | "SAVEDATESUPPORTED" => SearchKey::All,
        "NEW" | "RECENT" => SearchKey::Nothing,
        "ANSWERED" => SearchKey::Flag(Flags::ANSWERED),
        "DELETED" => SearchKey::Flag(Flags::DELETED),
        "DRAFT" => SearchKey::Flag(Flags::DRAFT),
        "FLAGGED" => SearchKey::Flag(Flags::FLAGGED),
        "SEEN" => SearchKey::Flag(Flags::SEEN),
        "UNANSWERED" => not(SearchKey::Flag(Flags::ANSWERED)),
        "UNDELETED" => not(SearchKey::Flag(Flags::DELETED)),
        "UNDRAFT" => not(SearchKey::Flag(Flags::DRAFT)),
        "UNFLAGGED" => not(SearchKey::Flag(Flags::FLAGGED)),
        "UNSEEN" => not(SearchKey::Flag(Flags::SEEN)),
        _ => return None,
    })
}

/// A key with an argument, from the space before that on.
fn key_with_argument(cursor: &mut Cursor<'_>, name: &str) -> Parsed<SearchKey> {
    let text = |cursor: &mut Cursor<'_>, target| Ok(SearchKey::Text(target, cursor.astring()?.into()));
    if !KEYS_WITH_ARGUMENT.contains(&name) {
        return Err(Fault::Syntax("unknown search key"));
    }
    cursor.space()?;
    match name {
        "KEYWORD" => parse_keyword(cursor).map(SearchKey::Keyword),
        "UNKEYWORD" => parse_keyword(cursor).map(SearchKey::Keyword).map(not),
        "UID" => cursor.message_set().map(SearchKey::Uid),
        "UIDAFTER" => Ok(uids(cursor.nz_number()?.checked_add(1), u32::MAX)),
        "UIDBEFORE" => Ok(uids(Some(NonZeroU32::MIN), cursor.nz_number()?.get() - 1)),
        "LARGER" => cursor.number64().map(SearchKey::Larger),
        "SMALLER" => cursor.number64().map(SearchKey::Smaller),
        "MODSEQ" => modseq(cursor).map(SearchKey::ModSeq),
        "HEADER" => {
            let field = cursor.astring()?.into();
            cursor.space()?;
            text(cursor, TextTarget::Header(field))
        }
        "BCC" => text(cursor, TextTarget::Bcc),
        "BODY" => text(cursor, TextTarget::Body),
        "CC" => text(cursor, TextTarget::Cc),
        "FROM" => text(cursor, TextTarget::From),
        "SUBJECT" => text(cursor, TextTarget::Subject),
        "TEXT" => text(cursor, TextTarget::Text),
        "TO" => text(cursor, TextTarget::To),
        "BEFORE" => Ok(SearchKey::InternalDate(DateTest::Before, date(cursor)?)),
        "ON" => Ok(SearchKey::InternalDate(DateTest::On, date(cursor)?)),
        "SINCE" => Ok(SearchKey::InternalDate(DateTest::Since, date(cursor)?)),
        "SENTBEFORE" => Ok(SearchKey::SentDate(DateTest::Before, date(cursor)?)),
        "SENTON" => Ok(SearchKey::SentDate(DateTest::On, date(cursor)?)),
        "SENTSINCE" => Ok(SearchKey::SentDate(DateTest::Since, date(cursor)?)),
        "SAVEDBEFORE" => Ok(SearchKey::SavedDate(DateTest::Before, date(cursor)?)),
        "SAVEDON" => Ok(SearchKey::SavedDate(DateTest::On, date(cursor)?)),
        "SAVEDSINCE" => Ok(SearchKey::SavedDate(DateTest::Since, date(cursor)?)),
        "OLDER" => cursor.nz_number().map(SearchKey::Older),
        "YOUNGER" => cursor.nz_number().map(SearchKey::Younger),
        "EMAILID" => object(cursor).map(SearchKey::EmailId),
        "THREADID" => object(cursor).map(SearchKey::ThreadId),
        _ => Err(Fault::Syntax("unknown search key")),
    }
}

/// Uids from `first` to `last`; nothing when there are none (UIDAFTER, UIDBEFORE: RFC 9738 §3.2).
fn uids(first: Option<NonZeroU32>, last: u32) -> SearchKey {
    let range = first.zip(NonZeroU32::new(last)).map(|(first, last)| SequenceRange {
        from: SequenceNumber::Number(first),
        to: SequenceNumber::Number(last),
    });
    let set = range.and_then(|range| SequenceSet::new(vec![range]));
    set.map_or(SearchKey::Nothing, |set| SearchKey::Uid(MessageSet::Set(set)))
}

/// Takes `objectid` (RFC 8474 §7).
fn object(cursor: &mut Cursor<'_>) -> Parsed<Option<ObjectId>> {
    let text = cursor.while_octets(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'_' | b'-'));
    match text.len() {
        1..=OBJECT_ID_OCTETS_MAX => Ok(ObjectId::parse(text)),
        _ => Err(Fault::Syntax("object identifier expected")),
    }
}

/// RFC 8474 §7, `objectid`.
const OBJECT_ID_OCTETS_MAX: usize = 255;

/// The names that [`key_with_argument`] knows, so that another one is called unknown.
const KEYS_WITH_ARGUMENT: [&str; 29] = [
    "BCC",
    "BEFORE",
    "BODY",
    "CC",
    "EMAILID",
    "FROM",
    "HEADER",
    "KEYWORD",
    "LARGER",
    "MODSEQ",
    "OLDER",
    "ON",
    "SAVEDBEFORE",
    "SAVEDON",
    "SAVEDSINCE",
    "SENTBEFORE",
    "SENTON",
    "SENTSINCE",
    "SINCE",
    "SMALLER",
    "SUBJECT",
    "TEXT",
    "THREADID",
    "TO",
    "UID",
    "UIDAFTER",
    "UIDBEFORE",
    "UNKEYWORD",
    "YOUNGER",
];

/// Takes `date`, in quotes or not.
fn date(cursor: &mut Cursor<'_>) -> Parsed<Date> {
    let quoted = cursor.take(b'"');
    let text = cursor.while_octets(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
    if quoted {
        cursor.expect(b'"', "date doesn't end")?;
    }
    Date::parse(text).ok_or(Fault::Syntax("date expected"))
}

/// Takes `[entry-name entry-type] modseq` (RFC 7162 §3.1.5). Flags have no modification sequences
/// of their own here, so the name only narrows what can't be narrowed.
fn modseq(cursor: &mut Cursor<'_>) -> Parsed<u64> {
    if cursor.peek() == Some(b'"') {
        if !cursor.string()?.starts_with("/flags/") {
            return Err(Fault::Syntax("entry name expected"));
        }
        cursor.space()?;
        if !matches!(cursor.label()?.as_str(), "ALL" | "PRIV" | "SHARED") {
            return Err(Fault::Syntax("all, priv or shared expected"));
        }
        cursor.space()?;
    }
    cursor.number64()
}

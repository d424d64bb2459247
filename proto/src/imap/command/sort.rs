//! SORT and THREAD (RFC 5256, RFC 5957, RFC 5267), CANCELUPDATE (RFC 5267 §4.3.5).

use super::super::sequence::Numbering;
use super::cursor::{Cursor, Parsed};
use super::search::{charset, criteria};
use super::{Fault, SearchKey, SearchReturn};

/// SORT or UID SORT.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sort {
    /// How results are told.
    pub numbering: Numbering,
    /// The RETURN options (RFC 5267 §3); without RETURN the answer is SORT.
    pub returns: Option<SearchReturn>,
    /// By what, the most significant first; each key once, never empty.
    pub criteria: Vec<SortCriterion>,
    /// What to look for.
    pub key: SearchKey,
}

/// One thing to sort by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SortCriterion {
    /// What is compared.
    pub key: SortKey,
    /// Which comes first.
    pub direction: Direction,
}

/// Which comes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// The smallest.
    Ascending,
    /// REVERSE: the largest.
    Descending,
}

/// What is compared (RFC 5256 §3, RFC 5957 §4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SortKey {
    /// ARRIVAL: the internal date
    Arrival,
    /// CC: the local part of the first address
    Cc,
    /// DATE: when it was sent
    Date,
    /// DISPLAYFROM: the name of the first address, or else the address
    DisplayFrom,
    /// DISPLAYTO
    DisplayTo,
    /// FROM
    From,
    /// SIZE
    Size,
    /// SUBJECT: the base subject
    Subject,
    /// TO
    To,
}

/// THREAD or UID THREAD.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Thread {
    /// How results are told.
    pub numbering: Numbering,
    /// How messages are put together.
    pub algorithm: ThreadAlgorithm,
    /// What to look for.
    pub key: SearchKey,
}

/// How messages are put together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ThreadAlgorithm {
    /// ORDEREDSUBJECT (RFC 5256 §3)
    OrderedSubject,
    /// REFERENCES (RFC 5256 §3)
    References,
    /// REFS: REFERENCES that doesn't look at subjects, the thread with the newest message last
    /// (draft-ietf-morg-inthread)
    Refs,
}

/// CANCELUPDATE.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CancelUpdate {
    /// The tags of the commands that asked for updates; never empty.
    pub tags: Vec<Box<str>>,
}

impl Sort {
    /// Takes the arguments, from the space on.
    pub(super) fn parse(cursor: &mut Cursor<'_>, numbering: Numbering) -> Parsed<Self> {
        cursor.space()?;
        let returns = SearchReturn::parse_optional(cursor)?;
        let mut sorted: Vec<SortCriterion> = Vec::new();
        cursor.open()?;
        cursor.list(|cursor| {
            let criterion = SortCriterion::parse(cursor)?;
            // What was compared already is equal.
            if !sorted.iter().any(|other| other.key == criterion.key) {
                sorted.push(criterion);
            }
            Ok(())
        })?;
        cursor.space()?;
        charset(cursor)?;
        cursor.space()?;
        Ok(Self { numbering, returns, criteria: sorted, key: criteria(cursor)? })
    }
}

impl SortCriterion {
    fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let mut direction = Direction::Ascending;
        if cursor.take_text("REVERSE ") {
            direction = Direction::Descending;
        }
        let key = match cursor.label()?.as_str() {
            "ARRIVAL" => SortKey::Arrival,
            "CC" => SortKey::Cc,
            "DATE" => SortKey::Date,
            "DISPLAYFROM" => SortKey::DisplayFrom,
            "DISPLAYTO" => SortKey::DisplayTo,
            "FROM" => SortKey::From,
            "SIZE" => SortKey::Size,
            "SUBJECT" => SortKey::Subject,
            "TO" => SortKey::To,
            _ => return Err(Fault::Syntax("unknown sort criterion")),
        };
        Ok(Self { key, direction })
    }
}

impl Thread {
    /// Takes the arguments, from the space on.
    pub(super) fn parse(cursor: &mut Cursor<'_>, numbering: Numbering) -> Parsed<Self> {
        cursor.space()?;
        let algorithm = match cursor.label()?.as_str() {
            "ORDEREDSUBJECT" => ThreadAlgorithm::OrderedSubject,
            "REFERENCES" => ThreadAlgorithm::References,
            "REFS" => ThreadAlgorithm::Refs,
            _ => return Err(Fault::Syntax("unknown threading algorithm")),
        };
        cursor.space()?;
        charset(cursor)?;
        cursor.space()?;
        Ok(Self { numbering, algorithm, key: criteria(cursor)? })
    }
}

impl CancelUpdate {
    /// Takes the arguments, from the space on: tags in quotes.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let mut tags = Vec::new();
        cursor.space()?;
        loop {
            if tags.len() == cursor.context().limits.cancelled_max {
                return Err(Fault::Limit("too many tags"));
            }
            tags.push(cursor.string()?.into());
            if !cursor.take(b' ') {
                return Ok(Self { tags });
            }
        }
    }
}

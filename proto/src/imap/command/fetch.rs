//! FETCH (RFC 9051 §6.4.5, RFC 3501 §6.4.5, RFC 3516, RFC 7162 §3.1.4 and §3.2.6,
//! RFC 8474 §5, RFC 8514, RFC 8970, RFC 9394 §3.3).

use std::num::{NonZeroU32, NonZeroU64};

use super::super::sequence::{Messages, Numbering, ResultRange};
use super::Fault;
use super::cursor::{Cursor, Parsed};

/// FETCH or UID FETCH.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetch {
    /// The messages.
    pub messages: Messages,
    /// What to tell; macros are expanded; each item once.
    pub items: Vec<FetchItem>,
    /// Only messages changed since (RFC 7162 §3.1.4.1).
    pub changed_since: Option<ChangedSince>,
    /// Only some of the messages; UID FETCH only (RFC 9394 §3.3).
    pub partial: Option<ResultRange>,
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

/// Whether PREVIEW has the modifier LAZY (RFC 8970 §4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lazy {
    /// It hasn't.
    No,
    /// It has.
    Yes,
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
    /// EMAILID (RFC 8474 §5.1)
    EmailId,
    /// THREADID (RFC 8474 §5.2)
    ThreadId,
    /// SAVEDATE (RFC 8514 §4.2)
    SaveDate,
    /// PREVIEW (RFC 8970); with LAZY it may be left out when it takes long
    Preview(Lazy),
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

impl Fetch {
    /// Takes the arguments, from the space on.
    pub(super) fn parse(cursor: &mut Cursor<'_>, numbering: Numbering) -> Parsed<Self> {
        cursor.space()?;
        let messages = Messages { numbering, set: cursor.message_set()? };
        cursor.space()?;
        let mut items = Vec::new();
        if cursor.take(b'(') {
            cursor.list(|cursor| take_item(cursor, &mut items))?;
        } else if let Some(expanded) = macro_items(cursor) {
            items = expanded;
        } else {
            take_item(cursor, &mut items)?;
        }
        let mut fetch = Self { messages, items, changed_since: None, partial: None };
        if cursor.take(b' ') {
            fetch.modifiers(cursor)?;
        }
        if fetch.partial.is_some() && numbering != Numbering::Uid {
            return Err(Fault::Syntax("PARTIAL needs UID FETCH"));
        }
        Ok(fetch)
    }

    /// Takes `([CHANGEDSINCE n] [VANISHED] [PARTIAL range])`, in any order, not empty.
    fn modifiers(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        let mut modseq = None;
        let mut vanished = Vanished::Untold;
        cursor.open()?;
        cursor.list(|cursor| {
            match cursor.label()?.as_str() {
                "CHANGEDSINCE" if modseq.is_none() => {
                    cursor.space()?;
                    modseq = Some(cursor.number64()?);
                }
                "VANISHED" => vanished = Vanished::Told,
                "PARTIAL" if self.partial.is_none() => {
                    cursor.space()?;
                    self.partial = Some(cursor.result_range()?);
                }
                _ => return Err(Fault::Syntax("unknown FETCH modifier")),
            }
            Ok(())
        })?;
        if vanished == Vanished::Told && modseq.is_none() {
            return Err(Fault::Syntax("VANISHED needs CHANGEDSINCE"));
        }
        self.changed_since = modseq.map(|modseq| ChangedSince { modseq, vanished });
        Ok(())
    }
}

/// Takes a macro (RFC 9051 §6.4.5) and tells its items.
fn macro_items(cursor: &mut Cursor<'_>) -> Option<Vec<FetchItem>> {
    let mut ahead = cursor.clone();
    let mut items = vec![FetchItem::Flags, FetchItem::InternalDate, FetchItem::Rfc822Size];
    match ahead.label().ok()?.as_str() {
        "FAST" => {}
        "ALL" => items.push(FetchItem::Envelope),
        "FULL" => items.extend([FetchItem::Envelope, FetchItem::Body]),
        _ => return None,
    }
    *cursor = ahead;
    Some(items)
}

/// Takes one item and adds it.
pub(super) fn take_item(cursor: &mut Cursor<'_>, items: &mut Vec<FetchItem>) -> Parsed<()> {
    let item = FetchItem::parse(cursor)?;
    if !items.contains(&item) {
        if items.len() == cursor.context().limits.fetch_items_max {
            return Err(Fault::Limit("too many FETCH items"));
        }
        items.push(item);
    }
    Ok(())
}

impl FetchItem {
    fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let name = cursor.label()?;
        let has_section = cursor.peek() == Some(b'[');
        Ok(match (name.as_str(), has_section) {
            ("UID", false) => Self::Uid,
            ("FLAGS", false) => Self::Flags,
            ("INTERNALDATE", false) => Self::InternalDate,
            ("RFC822.SIZE", false) => Self::Rfc822Size,
            ("ENVELOPE", false) => Self::Envelope,
            ("BODY", false) => Self::Body,
            ("BODYSTRUCTURE", false) => Self::BodyStructure,
            ("MODSEQ", false) => Self::ModSeq,
            ("EMAILID", false) => Self::EmailId,
            ("THREADID", false) => Self::ThreadId,
            ("SAVEDATE", false) => Self::SaveDate,
            ("PREVIEW", false) => Self::Preview(Lazy::parse(cursor)?),
            ("RFC822", false) => Self::Rfc822,
            ("RFC822.HEADER", false) => Self::Rfc822Header,
            ("RFC822.TEXT", false) => Self::Rfc822Text,
            ("BODY", true) => Self::section(cursor, Peek::MarksSeen)?,
            ("BODY.PEEK", true) => Self::section(cursor, Peek::Peeks)?,
            ("BINARY", true) => Self::binary(cursor, Peek::MarksSeen)?,
            ("BINARY.PEEK", true) => Self::binary(cursor, Peek::Peeks)?,
            ("BINARY.SIZE", true) => Self::BinarySize(binary_part(cursor)?),
            _ => return Err(Fault::Syntax("unknown FETCH item")),
        })
    }

    fn section(cursor: &mut Cursor<'_>, peek: Peek) -> Parsed<Self> {
        let section = Section::parse(cursor)?;
        Ok(Self::Section(peek, section, Partial::parse(cursor)?))
    }

    fn binary(cursor: &mut Cursor<'_>, peek: Peek) -> Parsed<Self> {
        let part = binary_part(cursor)?;
        Ok(Self::Binary(peek, part, Partial::parse(cursor)?))
    }
}

impl Lazy {
    /// Takes ` (LAZY)`, if it is there. A parenthesis after PREVIEW alone is that of CHANGEDSINCE.
    fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let mut ahead = cursor.clone();
        if !ahead.take_text(" (LAZY") {
            return Ok(Self::No);
        }
        // RFC 8970 §6 allows it several times.
        while ahead.take_text(" LAZY") {}
        ahead.close()?;
        *cursor = ahead;
        Ok(Self::Yes)
    }
}

impl Section {
    /// Takes `[...]`.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        cursor.expect(b'[', "[ expected")?;
        let part = part(cursor)?;
        let mut text = None;
        if cursor.peek() != Some(b']') {
            text = Some(SectionText::parse(cursor)?);
        }
        if part.is_empty() && text == Some(SectionText::Mime) {
            return Err(Fault::Syntax("MIME needs a part"));
        }
        cursor.expect(b']', "] expected")?;
        Ok(Self { part, text })
    }
}

impl SectionText {
    fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        Ok(match cursor.label()?.as_str() {
            "HEADER" => Self::Header,
            "TEXT" => Self::Text,
            "MIME" => Self::Mime,
            "HEADER.FIELDS" => Self::HeaderFields(fields(cursor)?),
            "HEADER.FIELDS.NOT" => Self::HeaderFieldsNot(fields(cursor)?),
            _ => return Err(Fault::Syntax("unknown section")),
        })
    }
}

/// Takes ` (name ...)`. Names that no header can have are refused, so that names can be echoed.
fn fields(cursor: &mut Cursor<'_>) -> Parsed<Vec<Box<str>>> {
    let mut names = Vec::new();
    cursor.space()?;
    cursor.open()?;
    cursor.list(|cursor| {
        if names.len() == cursor.context().limits.header_fields_max {
            return Err(Fault::Limit("too many header fields"));
        }
        let name = cursor.astring()?;
        if name.is_empty() || !name.bytes().all(|octet| octet.is_ascii_graphic()) {
            return Err(Fault::Syntax("header field name expected"));
        }
        names.push(name.into());
        Ok(())
    })?;
    Ok(names)
}

/// Takes part numbers, and the point before a text; perhaps nothing.
fn part(cursor: &mut Cursor<'_>) -> Parsed<Box<[NonZeroU32]>> {
    let mut numbers = Vec::new();
    while cursor.peek().is_some_and(|octet| octet.is_ascii_digit()) {
        if numbers.len() == cursor.context().limits.part_depth_max {
            return Err(Fault::Limit("part is nested too deeply"));
        }
        numbers.push(cursor.nz_number()?);
        if !cursor.take(b'.') {
            break;
        }
        if cursor.peek() == Some(b']') {
            return Err(Fault::Syntax("section ends in a point"));
        }
    }
    Ok(numbers.into())
}

/// Takes `[part]`.
fn binary_part(cursor: &mut Cursor<'_>) -> Parsed<Box<[NonZeroU32]>> {
    let section = Section::parse(cursor)?;
    if section.text.is_some() { Err(Fault::Syntax("part expected")) } else { Ok(section.part) }
}

impl Partial {
    /// Takes `<offset.length>`, if it is there.
    fn parse(cursor: &mut Cursor<'_>) -> Parsed<Option<Self>> {
        if !cursor.take(b'<') {
            return Ok(None);
        }
        let offset = cursor.number64()?;
        cursor.expect(b'.', ". expected")?;
        let length = NonZeroU64::new(cursor.number64()?).ok_or(Fault::Syntax("length is 0"))?;
        cursor.expect(b'>', "> expected")?;
        Ok(Some(Self { offset, length }))
    }
}

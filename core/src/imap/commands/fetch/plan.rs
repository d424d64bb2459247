//! What a FETCH tells of each message, made ready for many rows (RFC 9051 §6.4.5).

use std::num::NonZeroU32;

use postrider_proto::imap::command::{FetchItem, Partial, Peek, Section, SectionText, Utf8};
use postrider_proto::imap::response::OldSection;
use postrider_proto::imap::sequence::Numbering;
use postrider_proto::mime::header::FieldFilter;
use postrider_proto::mime::imap::{self, ClientText};

/// What each row has.
#[derive(Debug)]
pub struct Plan {
    /// How rows name messages.
    pub numbering: Numbering,
    /// UID was asked for. Rows with message numbers have it always, others only then (RFC 9586 §3.3).
    pub uid: bool,
    /// FLAGS
    pub flags: bool,
    /// MODSEQ
    pub modseq: bool,
    /// Everything else, in the order in which it was asked for.
    pub items: Vec<Item>,
    /// Whether reading sets `\Seen`.
    pub marks_seen: bool,
    /// Only messages with a larger modification sequence.
    pub changed_since: Option<u64>,
    /// How texts are written.
    pub client: ClientText,
    /// Whether anything needs more than the message's row.
    pub needs_message: bool,
}

/// An item behind UID, FLAGS and MODSEQ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    /// INTERNALDATE
    InternalDate,
    /// RFC822.SIZE
    Size,
    /// SAVEDATE
    SaveDate,
    /// EMAILID
    EmailId,
    /// THREADID
    ThreadId,
    /// ENVELOPE
    Envelope,
    /// PREVIEW
    Preview,
    /// BODY without extension data
    Body,
    /// BODYSTRUCTURE
    BodyStructure,
    /// Octets of the message as they are.
    Octets(Octets),
    /// `BINARY[part]<partial>`
    Binary(Part, Option<Partial>),
    /// `BINARY.SIZE[part]`
    BinarySize(Part),
}

/// Octets of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Octets {
    /// The name under which they are sent.
    pub label: Label,
    /// The part.
    pub path: Box<[u32]>,
    /// What of the part.
    pub text: imap::SectionText,
    /// Which fields of the header; all without.
    pub fields: Option<(FieldFilter, Vec<Box<str>>)>,
    /// Which octets of that.
    pub partial: Option<Partial>,
}

/// The name of octets in the response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Label {
    /// `BODY[section]`
    Section(Section),
    /// RFC822, RFC822.HEADER, RFC822.TEXT
    Old(OldSection),
}

/// A part, in the two forms that are needed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// As it is echoed.
    pub numbers: Box<[NonZeroU32]>,
    /// As it is looked up.
    pub path: Box<[u32]>,
}

impl Plan {
    /// Of the items that the client asked for.
    pub fn new(items: Vec<FetchItem>, utf8: Utf8, condstore: bool) -> Self {
        let mut plan = Self {
            numbering: Numbering::Sequence,
            uid: false,
            flags: false,
            modseq: condstore,
            items: Vec::with_capacity(items.len()),
            marks_seen: false,
            changed_since: None,
            client: if utf8 == Utf8::Off { ClientText::SevenBit } else { ClientText::Utf8 },
            needs_message: false,
        };
        for item in items {
            plan.add(item);
        }
        let is_in_row = |item: &Item| {
            matches!(item, Item::InternalDate | Item::Size | Item::SaveDate | Item::EmailId | Item::ThreadId)
        };
        plan.needs_message = !plan.items.iter().all(is_in_row);
        plan
    }

    fn add(&mut self, item: FetchItem) {
        let item = match item {
            // Every row has it (product: untagged FETCH always begins with UID).
            FetchItem::Uid => {
                self.uid = true;
                return;
            }
            FetchItem::Flags => {
                self.flags = true;
                return;
            }
            FetchItem::ModSeq => {
                self.modseq = true;
                return;
            }
            FetchItem::InternalDate => Item::InternalDate,
            FetchItem::Rfc822Size => Item::Size,
            FetchItem::SaveDate => Item::SaveDate,
            FetchItem::EmailId => Item::EmailId,
            FetchItem::ThreadId => Item::ThreadId,
            // Both forms are answered at once, and under one name.
            FetchItem::Preview(_) if self.items.contains(&Item::Preview) => return,
            FetchItem::Preview(_) => Item::Preview,
            FetchItem::Envelope => Item::Envelope,
            FetchItem::Body => Item::Body,
            FetchItem::BodyStructure => Item::BodyStructure,
            FetchItem::Rfc822 => {
                self.marks_seen = true;
                Item::Octets(Octets::old(OldSection::All, imap::SectionText::Whole))
            }
            FetchItem::Rfc822Header => {
                Item::Octets(Octets::old(OldSection::Header, imap::SectionText::Header))
            }
            FetchItem::Rfc822Text => {
                self.marks_seen = true;
                Item::Octets(Octets::old(OldSection::Text, imap::SectionText::Text))
            }
            FetchItem::Section(peek, section, partial) => {
                self.marks_seen |= peek == Peek::MarksSeen;
                Item::Octets(Octets::section(section, partial))
            }
            FetchItem::Binary(peek, part, partial) => {
                self.marks_seen |= peek == Peek::MarksSeen;
                Item::Binary(Part::new(part), partial)
            }
            FetchItem::BinarySize(part) => Item::BinarySize(Part::new(part)),
        };
        self.items.push(item);
    }

    /// Whether the packed blocks know all that is asked for, besides the names of keywords.
    pub const fn is_packed(&self) -> bool {
        let asks_uid = self.uid && matches!(self.numbering, Numbering::Uid);
        let is_of_flags = self.items.is_empty() && self.flags && !self.modseq;
        is_of_flags && !asks_uid && self.changed_since.is_none()
    }

    /// How strings of UTF-8 are written.
    pub fn utf8(&self) -> Utf8 {
        match self.client {
            ClientText::SevenBit => Utf8::Off,
            ClientText::Utf8 => Utf8::Rev2,
        }
    }

    /// Whether there is nothing to tell of a message of which only the content is known.
    pub fn is_of_flags_only(&self) -> bool {
        self.items.is_empty() && (self.flags || self.modseq)
    }
}

impl Octets {
    fn old(label: OldSection, text: imap::SectionText) -> Self {
        Self { label: Label::Old(label), path: Box::default(), text, fields: None, partial: None }
    }

    /// Of a section.
    pub fn section(section: Section, partial: Option<Partial>) -> Self {
        let (text, fields) = match &section.text {
            None => (imap::SectionText::Whole, None),
            Some(SectionText::Header) => (imap::SectionText::Header, None),
            Some(SectionText::Text) => (imap::SectionText::Text, None),
            Some(SectionText::Mime) => (imap::SectionText::Mime, None),
            Some(SectionText::HeaderFields(names)) => {
                (imap::SectionText::Header, Some((FieldFilter::Named, names.clone())))
            }
            Some(SectionText::HeaderFieldsNot(names)) => {
                (imap::SectionText::Header, Some((FieldFilter::Unnamed, names.clone())))
            }
        };
        let path = path(&section.part);
        Self { label: Label::Section(section), path, text, fields, partial }
    }
}

impl Part {
    fn new(numbers: Box<[NonZeroU32]>) -> Self {
        let path = path(&numbers);
        Self { numbers, path }
    }
}

fn path(numbers: &[NonZeroU32]) -> Box<[u32]> {
    numbers.iter().map(|number| number.get()).collect()
}

//! FETCH responses (RFC 9051 §7.5.2, RFC 3516 §4.2, RFC 7162 §3.1.4, RFC 8474 §5, RFC 8514,
//! RFC 8970).
//!
//! A row is written item by item. The content of a literal may be appended piecewise: the header
//! writer is told its length, and the caller appends exactly so many octets, flushing in between.

use std::num::NonZeroU32;

use super::super::command::{Section, SectionText, Utf8};
use super::super::date::write_date_time;
use super::super::objectid::ObjectId;
use super::super::sequence::Numbering;
use super::super::types::{Flags, ModSeq, Uid};
use super::string::write_literal_header;
use super::{write_astring, write_number, write_string};

/// The state of a FETCH row: whether an item stands before the next one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a row has to be ended"]
pub struct FetchRow {
    empty: bool,
}

/// The items of RFC 3501 that stand for sections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OldSection {
    /// RFC822
    All,
    /// RFC822.HEADER
    Header,
    /// RFC822.TEXT
    Text,
}

impl FetchRow {
    /// Appends the start of the row of message number `sequence`.
    pub fn begin(out: &mut Vec<u8>, sequence: u32) -> Self {
        out.reserve(128);
        out.extend_from_slice(b"* ");
        write_number(out, u64::from(sequence));
        out.extend_from_slice(b" FETCH (");
        Self { empty: true }
    }

    /// Appends the start of the row of a message as the client numbers messages: FETCH with UID, or
    /// UIDFETCH (RFC 9586 §3.3).
    pub fn of(out: &mut Vec<u8>, numbering: Numbering, sequence: u32, uid: Uid) -> Self {
        if numbering == Numbering::Sequence {
            let mut row = Self::begin(out, sequence);
            row.uid(out, uid);
            return row;
        }
        out.reserve(128);
        out.extend_from_slice(b"* ");
        write_number(out, u64::from(uid.get()));
        out.extend_from_slice(b" UIDFETCH (");
        Self { empty: true }
    }

    /// Appends the end of the row.
    pub fn end(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b")\r\n");
    }

    /// Appends UID.
    pub fn uid(&mut self, out: &mut Vec<u8>, uid: Uid) {
        self.item(out, b"UID ");
        write_number(out, u64::from(uid.get()));
    }

    /// Appends FLAGS.
    pub fn flags<'k>(
        &mut self,
        out: &mut Vec<u8>,
        flags: Flags,
        keywords: impl IntoIterator<Item = &'k str>,
    ) {
        self.item(out, b"FLAGS ");
        write_flag_list(out, flags, keywords);
    }

    /// Appends MODSEQ.
    pub fn modseq(&mut self, out: &mut Vec<u8>, modseq: ModSeq) {
        self.item(out, b"MODSEQ (");
        write_number(out, modseq.get());
        out.push(b')');
    }

    /// Appends INTERNALDATE, of seconds since 1970.
    pub fn internal_date(&mut self, out: &mut Vec<u8>, unix: i64) {
        self.item(out, b"INTERNALDATE ");
        write_date_time(out, unix);
    }

    /// Appends SAVEDATE, of seconds since 1970; NIL when it isn't known.
    pub fn save_date(&mut self, out: &mut Vec<u8>, unix: Option<i64>) {
        self.item(out, b"SAVEDATE ");
        match unix {
            Some(unix) => write_date_time(out, unix),
            None => out.extend_from_slice(b"NIL"),
        }
    }

    /// Appends EMAILID.
    pub fn email_id(&mut self, out: &mut Vec<u8>, id: ObjectId) {
        self.item(out, b"EMAILID (");
        id.write(out);
        out.push(b')');
    }

    /// Appends THREADID.
    pub fn thread_id(&mut self, out: &mut Vec<u8>, id: ObjectId) {
        self.item(out, b"THREADID (");
        id.write(out);
        out.push(b')');
    }

    /// Appends PREVIEW; `text` without line ends and NUL.
    pub fn preview(&mut self, out: &mut Vec<u8>, utf8: Utf8, text: &str) {
        self.item(out, b"PREVIEW ");
        write_string(out, utf8, text.as_bytes());
    }

    /// Appends RFC822.SIZE.
    pub fn rfc822_size(&mut self, out: &mut Vec<u8>, octets: u64) {
        self.item(out, b"RFC822.SIZE ");
        write_number(out, octets);
    }

    /// Appends ENVELOPE, already encoded.
    pub fn envelope(&mut self, out: &mut Vec<u8>, encoded: &[u8]) {
        self.item(out, b"ENVELOPE ");
        out.extend_from_slice(encoded);
    }

    /// Appends BODY without extension data, already encoded.
    pub fn body(&mut self, out: &mut Vec<u8>, encoded: &[u8]) {
        self.item(out, b"BODY ");
        out.extend_from_slice(encoded);
    }

    /// Appends BODYSTRUCTURE, already encoded.
    pub fn body_structure(&mut self, out: &mut Vec<u8>, encoded: &[u8]) {
        self.item(out, b"BODYSTRUCTURE ");
        out.extend_from_slice(encoded);
    }

    /// Appends `BODY[section]<origin> {octets}`; the caller appends the octets. `origin` is given
    /// when the request was partial.
    pub fn section(&mut self, out: &mut Vec<u8>, section: &Section, origin: Option<u64>, octets: u64) {
        self.item(out, b"BODY");
        write_section(out, section);
        write_origin(out, origin);
        write_literal_header(out, octets);
    }

    /// Appends `BODY[section] NIL`: there is no such part.
    pub fn section_nil(&mut self, out: &mut Vec<u8>, section: &Section, origin: Option<u64>) {
        self.item(out, b"BODY");
        write_section(out, section);
        write_origin(out, origin);
        out.extend_from_slice(b"NIL");
    }

    /// Appends `RFC822 {octets}` and the like; the caller appends the octets.
    pub fn old_section(&mut self, out: &mut Vec<u8>, section: OldSection, octets: u64) {
        self.item(
            out,
            match section {
                OldSection::All => b"RFC822 ",
                OldSection::Header => b"RFC822.HEADER ",
                OldSection::Text => b"RFC822.TEXT ",
            },
        );
        write_literal_header(out, octets);
    }

    /// Appends `BINARY[part]<origin> ~{octets}`; the caller appends the octets.
    pub fn binary(&mut self, out: &mut Vec<u8>, part: &[NonZeroU32], origin: Option<u64>, octets: u64) {
        self.item(out, b"BINARY[");
        write_part(out, part);
        out.push(b']');
        write_origin(out, origin);
        out.push(b'~');
        write_literal_header(out, octets);
    }

    /// Appends `BINARY[part] NIL`.
    pub fn binary_nil(&mut self, out: &mut Vec<u8>, part: &[NonZeroU32], origin: Option<u64>) {
        self.item(out, b"BINARY[");
        write_part(out, part);
        out.push(b']');
        write_origin(out, origin);
        out.extend_from_slice(b"NIL");
    }

    /// Appends BINARY.SIZE.
    pub fn binary_size(&mut self, out: &mut Vec<u8>, part: &[NonZeroU32], octets: u64) {
        self.item(out, b"BINARY.SIZE[");
        write_part(out, part);
        out.extend_from_slice(b"] ");
        write_number(out, octets);
    }

    fn item(&mut self, out: &mut Vec<u8>, name: &[u8]) {
        if !self.empty {
            out.push(b' ');
        }
        self.empty = false;
        out.extend_from_slice(name);
    }
}

/// Appends a flag list in parentheses.
pub(super) fn write_flag_list<'k>(
    out: &mut Vec<u8>,
    flags: Flags,
    keywords: impl IntoIterator<Item = &'k str>,
) {
    let (text, length) = &FLAG_TEXTS[usize::from(flags.bits()) % FLAG_TEXTS.len()];
    out.extend_from_slice(&text[..*length]);
    let mut empty = flags == Flags::NONE;
    for keyword in keywords {
        if !empty {
            out.push(b' ');
        }
        empty = false;
        out.extend_from_slice(keyword.as_bytes());
    }
    out.push(b')');
}

const FLAG_TEXT_OCTETS_MAX: usize = 48;

/// The list of each combination of flags with its opening parenthesis, so that most rows need one copy.
static FLAG_TEXTS: [([u8; FLAG_TEXT_OCTETS_MAX], usize); 32] = flag_texts();

const fn flag_texts() -> [([u8; FLAG_TEXT_OCTETS_MAX], usize); 32] {
    let mut texts = [([0; FLAG_TEXT_OCTETS_MAX], 0); 32];
    let mut bits = 0;
    while bits < texts.len() {
        texts[bits] = flag_text(Flags::from_bits(bits as u8));
        bits += 1;
    }
    texts
}

const fn flag_text(flags: Flags) -> ([u8; FLAG_TEXT_OCTETS_MAX], usize) {
    let mut text = [0; FLAG_TEXT_OCTETS_MAX];
    text[0] = b'(';
    let mut length = 1;
    let mut index = 0;
    while index < Flags::ALL.len() {
        let (flag, name) = Flags::ALL[index];
        index += 1;
        if !flags.contains(flag) {
            continue;
        }
        if length > 1 {
            text[length] = b' ';
            length += 1;
        }
        let name = name.as_bytes();
        let mut at = 0;
        while at < name.len() {
            text[length] = name[at];
            length += 1;
            at += 1;
        }
    }
    (text, length)
}

/// Appends `[section]`.
fn write_section(out: &mut Vec<u8>, section: &Section) {
    out.push(b'[');
    write_part(out, &section.part);
    if section.text.is_some() && !section.part.is_empty() {
        out.push(b'.');
    }
    match &section.text {
        None => {}
        Some(SectionText::Header) => out.extend_from_slice(b"HEADER"),
        Some(SectionText::Text) => out.extend_from_slice(b"TEXT"),
        Some(SectionText::Mime) => out.extend_from_slice(b"MIME"),
        Some(SectionText::HeaderFields(names)) => write_fields(out, b"HEADER.FIELDS", names),
        Some(SectionText::HeaderFieldsNot(names)) => write_fields(out, b"HEADER.FIELDS.NOT", names),
    }
    out.push(b']');
}

fn write_fields(out: &mut Vec<u8>, name: &[u8], fields: &[Box<str>]) {
    out.extend_from_slice(name);
    for (index, field) in fields.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b" (" } else { b" " });
        write_astring(out, Utf8::Off, field.as_bytes());
    }
    out.push(b')');
}

fn write_part(out: &mut Vec<u8>, part: &[NonZeroU32]) {
    for (index, number) in part.iter().enumerate() {
        if index > 0 {
            out.push(b'.');
        }
        write_number(out, u64::from(number.get()));
    }
}

/// Appends `<origin>` and the space before the content.
fn write_origin(out: &mut Vec<u8>, origin: Option<u64>) {
    if let Some(origin) = origin {
        out.push(b'<');
        write_number(out, origin);
        out.push(b'>');
    }
    out.push(b' ');
}

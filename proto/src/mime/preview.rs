//! The preview of a message (RFC 8970 §3): the first words that a reader would see, as plain text.
//!
//! [`preview_parts`] says which parts to look at, in order; [`Preview`] takes one of them piece by
//! piece and has enough after a few hundred characters. Left out are quoted text, signatures, lines
//! drawn with punctuation, markup with what it hides in styles and scripts, and characters that show
//! nothing. Where only quoted text is left, that is taken.

mod html;
#[cfg(test)]
mod tests;

use std::ops::Range;

use super::decode::TransferEncoding;
use super::parameter::{MediaType, is_multipart_without_boundary, leading_token};
use super::record::StructureRef;
use super::text::TextDecoder;
use super::words::Charset;
use super::{FieldName, Kind, Limits};
use html::Html;

/// Characters of a preview. RFC 8970 §3.3 recommends this, and allows 256.
pub const CHARACTERS_MAX: usize = 200;
/// Octets of a part that are looked at; markup may begin with long styles.
pub const PART_OCTETS_MAX: u64 = 64 * 1024;
/// Parts that are looked at, until one has text.
pub const PARTS_MAX: usize = 3;
/// Octets of a line of plain text of which it is found out what it is: longer ones are taken as text.
const LINE_OCTETS_MAX: usize = 4 * 1024;
/// Octets decoded at a time.
const PIECE_OCTETS: usize = 4 * 1024;

/// A part to look at.
#[derive(Clone, PartialEq)]
pub struct PreviewPart {
    /// The octets of its body, counted from the start of the prefix, at most [`PART_OCTETS_MAX`].
    pub range: Range<u64>,
    encoding: TransferEncoding,
    charset: Charset,
    form: Form,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    /// text/plain; with DelSp of RFC 3676 §4.5, a space before a soft line break isn't one.
    Plain {
        delsp: bool,
    },
    Html,
}

/// The parts to look at, best first: of alternatives the plain text, then what can be read of the
/// others; attachments and messages within the message are left out.
pub fn preview_parts(structure: &StructureRef<'_>, prefix_octets: u64) -> Vec<PreviewPart> {
    let mut parts = Vec::new();
    gather(structure, 0, prefix_octets, 0, &mut parts);
    parts.truncate(PARTS_MAX);
    parts
}

fn gather(
    structure: &StructureRef<'_>,
    index: usize,
    prefix_octets: u64,
    depth: usize,
    parts: &mut Vec<PreviewPart>,
) {
    // The scanner bounds the depth; a damaged record could nest deeper.
    if depth > Limits::DEFAULT.depth_max || parts.len() >= PARTS_MAX {
        return;
    }
    let part = &structure.parts()[index];
    match part.kind {
        Kind::Leaf => parts.extend(text_part(structure, index, prefix_octets)),
        Kind::Message => {}
        Kind::Multipart => {
            let media = part.field(FieldName::ContentType).and_then(MediaType::parse);
            let from = parts.len();
            for child in structure.children(index) {
                gather(structure, child, prefix_octets, depth + 1, parts);
                if parts.len() >= PARTS_MAX {
                    break;
                }
            }
            if media.is_some_and(|media| media.is("multipart", "alternative")) {
                parts[from..].sort_by_key(|part| part.form == Form::Html);
            }
        }
    }
}

fn text_part(structure: &StructureRef<'_>, index: usize, prefix_octets: u64) -> Option<PreviewPart> {
    let part = &structure.parts()[index];
    let disposition = part.field(FieldName::ContentDisposition).map(leading_token);
    if disposition.is_some_and(|(kind, _)| kind.eq_ignore_ascii_case(b"attachment")) {
        return None;
    }
    let media = part.field(FieldName::ContentType).and_then(MediaType::parse);
    let media = media.filter(|media| !is_multipart_without_boundary(media));
    let form = match media {
        None => Form::Plain { delsp: false },
        Some(media) if media.is("text", "html") => Form::Html,
        Some(media) if media.is("text", "plain") => {
            let is = |name: &str, wanted: &[u8]| {
                media.parameter(name).is_some_and(|value| value.eq_ignore_ascii_case(wanted))
            };
            Form::Plain { delsp: is("format", b"flowed") && is("delsp", b"yes") }
        }
        Some(_) => return None,
    };
    let encoding =
        TransferEncoding::parse(part.field(FieldName::ContentTransferEncoding).unwrap_or_default());
    let label = media.and_then(|media| media.parameter("charset"));
    let charset = label.and_then(|label| Charset::new(&label)).unwrap_or(Charset::UTF_8);
    let start = part.body_start + prefix_octets;
    let end = (part.end + prefix_octets).min(start + PART_OCTETS_MAX);
    (encoding != TransferEncoding::Unknown && start < end).then_some(PreviewPart {
        range: start..end,
        encoding,
        charset,
        form,
    })
}

/// Makes the preview of a part's body.
pub struct Preview {
    decoder: TextDecoder,
    reader: Reader,
    decoded: String,
}

/// What is found in decoded text.
enum Reader {
    Plain(Plain),
    Html(Html),
}

impl Preview {
    /// Starts at the first octet of the part's body; none when it can't be decoded.
    pub fn new(part: &PreviewPart) -> Option<Self> {
        let decoder = TextDecoder::new(part.encoding, part.charset)?;
        let reader = match part.form {
            Form::Plain { delsp } => Reader::Plain(Plain { delsp, ..Plain::default() }),
            Form::Html => Reader::Html(Html::default()),
        };
        Some(Self { decoder, reader, decoded: String::new() })
    }

    /// Takes the next octets of the body; true when no more are needed.
    pub fn push(&mut self, octets: &[u8]) -> bool {
        for piece in octets.chunks(PIECE_OCTETS) {
            self.decoded.clear();
            self.decoder.push(piece, &mut self.decoded);
            if self.reader.push(&self.decoded) {
                return true;
            }
        }
        false
    }

    /// Ends the body, or what is looked at of it.
    pub fn finish(mut self) -> String {
        self.decoded.clear();
        self.decoder.finish(&mut self.decoded);
        self.reader.push(&self.decoded);
        match self.reader {
            Reader::Plain(plain) => plain.finish(),
            Reader::Html(html) => html.finish(),
        }
    }
}

impl Reader {
    fn push(&mut self, text: &str) -> bool {
        match self {
            Self::Plain(plain) => plain.push(text),
            Self::Html(html) => html.push(text),
        }
    }
}

/// Reads plain text line by line.
#[derive(Default)]
struct Plain {
    delsp: bool,
    /// The line that isn't ended yet.
    line: String,
    /// A line that may announce a quotation ("Ann wrote:").
    held: String,
    own: Words,
    quoted: Words,
    is_ended: bool,
}

impl Plain {
    fn push(&mut self, text: &str) -> bool {
        let mut rest = text;
        while !self.is_full() {
            let Some(at) = rest.find('\n') else {
                self.line.push_str(rest);
                // Without line ends there is nothing to find out.
                if self.line.len() > LINE_OCTETS_MAX {
                    self.end_line();
                }
                break;
            };
            self.line.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            self.end_line();
        }
        self.is_full()
    }

    fn is_full(&self) -> bool {
        self.is_ended || self.own.is_full()
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix('\r').unwrap_or(&line);
        // RFC 3676 §4.3: what stands below isn't part of the text.
        if line == "-- " {
            self.is_ended = !self.own.is_empty() || !self.held.is_empty();
            return;
        }
        if line.starts_with('>') {
            self.held.clear();
            self.quoted.push(line.trim_start_matches(['>', ' ']));
            self.quoted.space();
            return;
        }
        if is_drawn(line) {
            return;
        }
        if line.trim().is_empty() {
            if self.held.is_empty() {
                self.own.space();
            }
            return;
        }
        self.take_held();
        let soft = self.delsp && line.ends_with(' ');
        let line = if soft { &line[..line.len() - 1] } else { line };
        if line.trim_end().ends_with(':') && !soft {
            self.held.push_str(line);
        } else {
            self.own.push(line);
            if !soft {
                self.own.space();
            }
        }
    }

    fn take_held(&mut self) {
        if !self.held.is_empty() {
            self.own.push(&self.held);
            self.own.space();
            self.held.clear();
        }
    }

    fn finish(mut self) -> String {
        if !self.is_full() {
            self.end_line();
            self.take_held();
        }
        if self.own.is_empty() { self.quoted.finish() } else { self.own.finish() }
    }
}

/// Whether a line is drawn with punctuation.
fn is_drawn(line: &str) -> bool {
    let line = line.trim();
    line.len() >= 3 && line.chars().all(|character| "-_=*#~+.|/\\ ".contains(character))
}

/// Gathers words: white space becomes single spaces, what shows nothing is left out.
#[derive(Default)]
struct Words {
    text: String,
    characters: usize,
    wants_space: bool,
}

impl Words {
    fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    fn is_full(&self) -> bool {
        self.characters >= CHARACTERS_MAX
    }

    fn space(&mut self) {
        self.wants_space = !self.text.is_empty();
    }

    fn push(&mut self, text: &str) {
        for character in text.chars() {
            if self.is_full() {
                return;
            }
            if character.is_whitespace() {
                self.space();
            } else if is_shown(character) && !(is_joiner(character) && self.is_at_start()) {
                self.put(character);
            }
        }
    }

    fn put(&mut self, character: char) {
        if std::mem::take(&mut self.wants_space) && self.characters + 1 < CHARACTERS_MAX {
            self.text.push(' ');
            self.characters += 1;
        }
        self.text.push(character);
        self.characters += 1;
    }

    fn is_at_start(&self) -> bool {
        self.wants_space || self.text.is_empty()
    }

    fn finish(self) -> String {
        self.text
    }
}

/// Whether a character joins two others, and shows nothing alone.
fn is_joiner(character: char) -> bool {
    matches!(character, '\u{200c}' | '\u{200d}')
}

/// Whether a character shows something: no control, no filler, no mark that turns the direction of
/// the text around it.
fn is_shown(character: char) -> bool {
    !character.is_control()
        && !matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffc}')
}

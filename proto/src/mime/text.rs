//! Text of messages for SEARCH (RFC 9051 §6.4.4): decoded, folded as i;unicode-casemap folds
//! ([`collation`](super::collation)), searched while it streams.

use std::ops::Range;

use memchr::memmem;

use super::collation::fold_into;
use super::decode::{Decoder, TransferEncoding};
use super::parameter::{MediaType, is_multipart_without_boundary};
use super::record::StructureRef;
use super::terms::{NeedleRun, RunTooLong, TermCutter, TermKind};
use super::words::Charset;
use super::{FieldName, Kind};

pub use super::collation::fold;

/// A part whose text can be searched.
#[derive(Clone, PartialEq)]
pub struct TextPart {
    /// Index of the part.
    pub index: usize,
    /// The octets of its body, counted from the start of the prefix of `prefix_octets` octets.
    pub range: Range<u64>,
    /// How the body is encoded.
    pub encoding: TransferEncoding,
    /// Its charset; UTF-8 where none or an unknown one is named.
    pub charset: Charset,
}

/// The text parts of a message, in order: leaves of type text/* in an encoding that is known.
pub fn text_parts(structure: &StructureRef<'_>, prefix_octets: u64) -> Vec<TextPart> {
    let text_part = |index: usize| {
        let part = &structure.parts()[index];
        let media = part.field(FieldName::ContentType).and_then(MediaType::parse);
        let media = media.filter(|media| !is_multipart_without_boundary(media));
        if part.kind != Kind::Leaf || media.is_some_and(|media| !media.is_kind("text")) {
            return None;
        }
        let encoding =
            TransferEncoding::parse(part.field(FieldName::ContentTransferEncoding).unwrap_or_default());
        let label = media.and_then(|media| media.parameter("charset"));
        let charset = label.and_then(|label| Charset::new(&label)).unwrap_or(Charset::UTF_8);
        let range = part.body_start + prefix_octets..part.end + prefix_octets;
        (encoding != TransferEncoding::Unknown).then_some(TextPart { index, range, encoding, charset })
    };
    (0..structure.parts().len()).filter_map(text_part).collect()
}

/// Octets of a part in a charset without a streaming decoder that are decoded.
const WHOLE_OCTETS_MAX: usize = 1024 * 1024;

/// Decodes the body of a text part piece by piece: first the transfer encoding, then the charset.
pub struct TextDecoder {
    transfer: Decoder,
    charset: CharsetDecoder,
    octets: Vec<u8>,
}

enum CharsetDecoder {
    Streaming(Box<encoding_rs::Decoder>),
    Whole(Charset, Vec<u8>),
}

impl TextDecoder {
    /// Starts at the first octet of a body; none for an unknown transfer encoding.
    pub fn new(encoding: TransferEncoding, charset: Charset) -> Option<Self> {
        let charset = match charset.encoding() {
            Some(encoding) => CharsetDecoder::Streaming(Box::new(encoding.new_decoder_with_bom_removal())),
            None => CharsetDecoder::Whole(charset, Vec::new()),
        };
        Some(Self { transfer: Decoder::new(encoding)?, charset, octets: Vec::new() })
    }

    /// Decodes the next octets of the body and appends the text.
    pub fn push(&mut self, data: &[u8], out: &mut String) {
        self.octets.clear();
        self.transfer.push(data, &mut self.octets);
        self.charset.push(&self.octets, false, out);
    }

    /// Ends the body.
    pub fn finish(mut self, out: &mut String) {
        self.octets.clear();
        self.transfer.finish(&mut self.octets);
        self.charset.push(&self.octets, true, out);
    }
}

impl CharsetDecoder {
    fn push(&mut self, octets: &[u8], is_last: bool, out: &mut String) {
        match self {
            Self::Streaming(decoder) => {
                // The capacity covers the worst case, so one call takes all octets.
                let needed = decoder.max_utf8_buffer_length(octets.len()).unwrap_or(octets.len() * 3 + 16);
                out.reserve(needed);
                let (_, read, _) = decoder.decode_to_string(octets, out, is_last);
                debug_assert_eq!(read, octets.len());
            }
            Self::Whole(charset, held) => {
                let room = WHOLE_OCTETS_MAX - held.len();
                held.extend_from_slice(&octets[..octets.len().min(room)]);
                if is_last {
                    out.push_str(&charset.decode(held));
                }
            }
        }
    }
}

/// A search term, folded once and looked for in many texts.
pub struct Needle {
    finder: memmem::Finder<'static>,
}

impl Needle {
    /// Prepares a search for `text`; the empty text is in every text.
    pub fn new(text: &str) -> Self {
        Self { finder: memmem::Finder::new(fold(text).as_bytes()).into_owned() }
    }

    /// The runs of the term, for an index of terms, and whether the term is nothing but one run.
    pub fn runs(&self) -> (Vec<NeedleRun>, bool) {
        // A folded text is UTF-8.
        let folded = std::str::from_utf8(self.finder.needle()).unwrap_or_default();
        let runs = NeedleRun::all(folded);
        let is_one = runs.len() == 1 && runs.iter().all(|run| run.text.len() == folded.len());
        (runs, is_one)
    }

    /// Whether `text` has the term in it, in any case.
    pub fn is_in(&self, text: &str) -> bool {
        self.finder.find(fold(text).as_bytes()).is_some()
    }
}

/// Looks for a term in the body of a text part while it streams. Keeps what the term's length asks
/// for between pushes and nothing else.
pub struct BodySearch<'a> {
    needle: &'a Needle,
    decoder: TextDecoder,
    text: String,
    /// The end of the folded text so far, shorter than the term, then the new text.
    folded: String,
    is_found: bool,
}

impl<'a> BodySearch<'a> {
    /// Starts at the first octet of a body; none for an unknown transfer encoding.
    pub fn new(needle: &'a Needle, encoding: TransferEncoding, charset: Charset) -> Option<Self> {
        let decoder = TextDecoder::new(encoding, charset)?;
        let is_found = needle.finder.needle().is_empty();
        Some(Self { needle, decoder, text: String::new(), folded: String::new(), is_found })
    }

    /// Takes the next octets; true as soon as the term was found.
    pub fn push(&mut self, data: &[u8]) -> bool {
        if !self.is_found {
            self.text.clear();
            self.decoder.push(data, &mut self.text);
            self.look();
        }
        self.is_found
    }

    /// Ends the body; whether the term is in it.
    pub fn finish(self) -> bool {
        if self.is_found {
            return true;
        }
        let mut folded = self.folded;
        let mut text = String::new();
        self.decoder.finish(&mut text);
        fold_into(&text, &mut folded);
        self.needle.finder.find(folded.as_bytes()).is_some()
    }

    fn look(&mut self) {
        fold_into(&self.text, &mut self.folded);
        self.is_found = self.needle.finder.find(self.folded.as_bytes()).is_some();
        let mut keep_from = (self.folded.len() + 1).saturating_sub(self.needle.finder.needle().len());
        while !self.folded.is_char_boundary(keep_from) {
            keep_from -= 1;
        }
        self.folded.drain(..keep_from);
    }
}

/// Cuts the body of a text part into terms while it streams: those of the text that [`BodySearch`] looks
/// in.
pub struct BodyTerms {
    decoder: TextDecoder,
    text: String,
    folded: String,
    cutter: TermCutter,
}

impl BodyTerms {
    /// Starts at the first octet of a body; none for an unknown transfer encoding.
    pub fn new(encoding: TransferEncoding, charset: Charset) -> Option<Self> {
        let decoder = TextDecoder::new(encoding, charset)?;
        Some(Self { decoder, text: String::new(), folded: String::new(), cutter: TermCutter::default() })
    }

    /// Takes the next octets.
    pub fn push(&mut self, data: &[u8], each: &mut impl FnMut(TermKind, &str)) {
        self.text.clear();
        self.decoder.push(data, &mut self.text);
        self.folded.clear();
        fold_into(&self.text, &mut self.folded);
        self.cutter.push(&self.folded, each);
    }

    /// Ends the body.
    pub fn finish(self, each: &mut impl FnMut(TermKind, &str)) -> Result<(), RunTooLong> {
        let Self { decoder, mut text, mut folded, mut cutter } = self;
        text.clear();
        decoder.finish(&mut text);
        folded.clear();
        fold_into(&text, &mut folded);
        cutter.push(&folded, each);
        cutter.finish(each)
    }
}

/// Cuts a text that is there as a whole into terms.
pub fn terms(text: &str, each: &mut impl FnMut(TermKind, &str)) -> Result<(), RunTooLong> {
    let mut cutter = TermCutter::default();
    cutter.push(&fold(text), each);
    cutter.finish(each)
}

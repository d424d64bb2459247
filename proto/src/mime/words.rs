//! Encoded words and charsets (RFC 2047), decoded for search and for comparing subjects.

use encoding_rs::{Encoding, WINDOWS_1252};

use super::decode::{self, TransferEncoding};

/// Octets of an encoded word that is recognised. RFC 2047 §2 allows 75; mail in the wild has more.
const WORD_OCTETS_MAX: usize = 2_000;
/// Octets of a charset name.
const CHARSET_OCTETS_MAX: usize = 64;

/// Decodes the encoded words of an unfolded value; what is not one is taken as UTF-8, or as
/// Windows-1252 where it is not that. Nothing fails: words that cannot be decoded stay as written.
pub fn decode(value: &[u8]) -> String {
    let mut out = String::with_capacity(value.len());
    // Octets of adjacent words in one charset are put together first: some senders cut characters.
    let mut pending: Option<(Charset, Vec<u8>)> = None;
    let mut rest = value;
    loop {
        let start = memchr::memmem::find(rest, b"=?");
        let plain = &rest[..start.unwrap_or(rest.len())];
        let is_between = pending.is_some() && plain.trim_ascii().is_empty();
        let word = start.and_then(|start| Word::parse(&rest[start..]));
        // White space between two encoded words is none of the text (RFC 2047 §6.2).
        if !(is_between && word.is_some()) {
            flush(&mut pending, &mut out);
            push_plain(plain, &mut out);
        }
        match (word, start) {
            (Some(word), Some(start)) => {
                match &mut pending {
                    Some((charset, octets)) if *charset == word.charset => {
                        octets.extend_from_slice(&word.octets)
                    }
                    _ => {
                        flush(&mut pending, &mut out);
                        pending = Some((word.charset, word.octets));
                    }
                }
                rest = &rest[start + word.length..];
            }
            (None, Some(start)) => {
                flush(&mut pending, &mut out);
                out.push_str("=?");
                rest = &rest[start + 2..];
            }
            (_, None) => return out,
        }
    }
}

fn flush(pending: &mut Option<(Charset, Vec<u8>)>, out: &mut String) {
    if let Some((charset, octets)) = pending.take() {
        out.push_str(&charset.decode(&octets));
    }
}

fn push_plain(octets: &[u8], out: &mut String) {
    match std::str::from_utf8(octets) {
        Ok(text) => out.push_str(text),
        Err(_) => out.push_str(&WINDOWS_1252.decode_without_bom_handling(octets).0),
    }
}

struct Word {
    charset: Charset,
    octets: Vec<u8>,
    /// Octets of the word in the value.
    length: usize,
}

impl Word {
    /// Reads an encoded word that starts at `=?`.
    fn parse(text: &[u8]) -> Option<Self> {
        let text = &text[2..text.len().min(WORD_OCTETS_MAX)];
        let charset_end = memchr::memchr(b'?', &text[..text.len().min(CHARSET_OCTETS_MAX)])?;
        // RFC 2231 §5: a language may follow the charset.
        let label = text[..charset_end].split(|byte| *byte == b'*').next()?;
        let encoding = match text.get(charset_end + 1..charset_end + 3)? {
            b"B?" | b"b?" => TransferEncoding::Base64,
            b"Q?" | b"q?" => TransferEncoding::QuotedPrintable,
            _ => return None,
        };
        let encoded = &text[charset_end + 3..];
        // In Q an escape may follow the `?` at once, so that `?=` is not the end.
        let end = memchr::memmem::find(encoded, b"?=")?;
        let octets = match encoding {
            TransferEncoding::Base64 => decode::decode(encoding, &encoded[..end])?,
            _ => {
                let spaced: Vec<u8> =
                    encoded[..end].iter().map(|byte| if *byte == b'_' { b' ' } else { *byte }).collect();
                // A guard keeps white space at the end from being taken for that of a line.
                let mut octets = decode::decode(encoding, &[&spaced[..], b"."].concat())?;
                octets.pop();
                octets
            }
        };
        Some(Self { charset: Charset::new(label)?, octets, length: 2 + charset_end + 3 + end + 2 })
    }
}

/// A charset that can be decoded.
#[derive(Clone, Copy, PartialEq)]
pub struct Charset(Decode);

#[derive(Clone, Copy)]
enum Decode {
    Web(&'static Encoding),
    /// Those that browsers do not know, such as UTF-7.
    Other(fn(&[u8]) -> String),
}

impl PartialEq for Decode {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Web(a), Self::Web(b)) => a == b,
            // Words in these are decoded one by one.
            _ => false,
        }
    }
}

impl Charset {
    /// US-ASCII, read as UTF-8.
    pub const UTF_8: Self = Self(Decode::Web(encoding_rs::UTF_8));

    /// The charset with this name; none when it is not known.
    pub fn new(label: &[u8]) -> Option<Self> {
        let label = label.trim_ascii();
        if label.eq_ignore_ascii_case(b"us-ascii") || label.eq_ignore_ascii_case(b"ascii") {
            // Text that says it is ASCII and is not is mostly UTF-8.
            return Some(Self::UTF_8);
        }
        match Encoding::for_label(label) {
            Some(encoding) if encoding != encoding_rs::REPLACEMENT => Some(Self(Decode::Web(encoding))),
            _ => mail_parser::decoders::charsets::map::charset_decoder(label)
                .map(|decode| Self(Decode::Other(decode))),
        }
    }

    /// The streaming decoder, where there is one.
    pub(super) fn encoding(self) -> Option<&'static Encoding> {
        match self.0 {
            Decode::Web(encoding) => Some(encoding),
            Decode::Other(_) => None,
        }
    }

    /// Decodes `octets`; what is not of this charset becomes U+FFFD.
    pub fn decode(self, octets: &[u8]) -> String {
        match self.0 {
            Decode::Web(encoding) => encoding.decode_without_bom_handling(octets).0.into_owned(),
            Decode::Other(decode) => decode(octets),
        }
    }
}

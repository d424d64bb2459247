//! Content transfer encodings (RFC 2045 §6), undone piece by piece.
//!
//! A decoder keeps a few octets between pushes (and the white space that may turn out to end a
//! line, up to a limit). What does not fit an encoding is treated as RFC 2045 §6.7 and §6.8 advise:
//! a wrong escape stays as written, characters outside the alphabet are skipped.

use super::parameter::{hex, leading_token};

/// How the body of a part is encoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransferEncoding {
    /// 7bit, 8bit, binary or no field: the content as it is.
    Identity,
    /// quoted-printable
    QuotedPrintable,
    /// base64
    Base64,
    /// Anything else; its content cannot be decoded.
    Unknown,
}

impl TransferEncoding {
    /// Reads the value of Content-Transfer-Encoding; an empty one is the default, 7bit.
    pub fn parse(value: &[u8]) -> Self {
        let (token, _) = leading_token(value);
        let is = |name: &str| token.eq_ignore_ascii_case(name.as_bytes());
        if token.is_empty() || is("7bit") || is("8bit") || is("binary") {
            Self::Identity
        } else if is("quoted-printable") {
            Self::QuotedPrintable
        } else if is("base64") {
            Self::Base64
        } else {
            Self::Unknown
        }
    }
}

/// Undoes a transfer encoding; content may arrive in any pieces.
#[derive(Debug)]
pub struct Decoder(State);

#[derive(Debug)]
enum State {
    Identity,
    QuotedPrintable(QuotedPrintable),
    Base64(Base64),
}

impl Decoder {
    /// Starts at the first octet of a body; none for an unknown encoding.
    pub fn new(encoding: TransferEncoding) -> Option<Self> {
        Some(Self(match encoding {
            TransferEncoding::Identity => State::Identity,
            TransferEncoding::QuotedPrintable => State::QuotedPrintable(QuotedPrintable::default()),
            TransferEncoding::Base64 => State::Base64(Base64::default()),
            TransferEncoding::Unknown => return None,
        }))
    }

    /// Decodes the next octets of the body and appends the result, which is never longer than what
    /// was pushed so far.
    pub fn push(&mut self, data: &[u8], out: &mut Vec<u8>) {
        match &mut self.0 {
            State::Identity => out.extend_from_slice(data),
            State::QuotedPrintable(decoder) => decoder.push(data, out),
            State::Base64(decoder) => decoder.push(data, out),
        }
    }

    /// Ends the body: appends what was held back.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        match &mut self.0 {
            State::Identity => {}
            State::QuotedPrintable(decoder) => decoder.finish(out),
            State::Base64(decoder) => decoder.finish(out),
        }
    }
}

/// Decodes a whole body; none for an unknown encoding.
pub fn decode(encoding: TransferEncoding, data: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(data.len());
    let mut decoder = Decoder::new(encoding)?;
    decoder.push(data, &mut out);
    decoder.finish(&mut out);
    Some(out)
}

/// White space that is held back because it may end a line. RFC 2045 §6.7 has lines of 76 octets.
const BLANKS_MAX: usize = 1024;

#[derive(Debug, Default)]
struct QuotedPrintable {
    /// White space that is dropped if the line ends after it.
    blanks: Vec<u8>,
    escape: Escape,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    /// After `=`, and the white space that may stand before the line break.
    Equals,
    /// After `=` and one hexadecimal digit, as written.
    Digit(u8),
    /// After `=` and CR.
    Return,
}

impl QuotedPrintable {
    fn push(&mut self, mut data: &[u8], out: &mut Vec<u8>) {
        while let Some(&byte) = data.first() {
            if self.escape == Escape::None && self.blanks.is_empty() {
                let plain =
                    data.iter().position(|byte| matches!(byte, b'=' | b' ' | b'\t')).unwrap_or(data.len());
                if plain > 0 {
                    out.extend_from_slice(&data[..plain]);
                    data = &data[plain..];
                    continue;
                }
            }
            data = &data[1..];
            self.octet(byte, out);
        }
    }

    fn octet(&mut self, byte: u8, out: &mut Vec<u8>) {
        match (self.escape, byte) {
            (Escape::None, b'=') => {
                out.append(&mut self.blanks);
                self.escape = Escape::Equals;
            }
            (Escape::None, b' ' | b'\t') => {
                self.blanks.push(byte);
                if self.blanks.len() == BLANKS_MAX {
                    out.append(&mut self.blanks);
                }
            }
            (Escape::None, b'\r' | b'\n') => {
                self.blanks.clear();
                out.push(byte);
            }
            (Escape::None, _) => {
                out.append(&mut self.blanks);
                out.push(byte);
            }
            (Escape::Equals | Escape::Return, b'\n') => self.end_escape(),
            (Escape::Equals, b'\r') => self.escape = Escape::Return,
            (Escape::Equals, b' ' | b'\t') if self.blanks.len() < BLANKS_MAX => self.blanks.push(byte),
            (Escape::Equals, _) if self.blanks.is_empty() && hex(byte).is_some() => {
                self.escape = Escape::Digit(byte);
            }
            (Escape::Digit(first), _) if hex(byte).is_some() => {
                let high = hex(first).unwrap_or_default();
                out.push(high << 4 | hex(byte).unwrap_or_default());
                self.end_escape();
            }
            _ => {
                self.give_up_escape(out);
                self.octet(byte, out);
            }
        }
    }

    fn end_escape(&mut self) {
        self.blanks.clear();
        self.escape = Escape::None;
    }

    /// Writes a wrong escape as it stands.
    fn give_up_escape(&mut self, out: &mut Vec<u8>) {
        match std::mem::take(&mut self.escape) {
            Escape::None => {}
            Escape::Equals => out.push(b'='),
            Escape::Digit(first) => out.extend([b'=', first]),
            Escape::Return => {
                // A soft line break with a lone CR.
                self.blanks.clear();
            }
        }
        out.append(&mut self.blanks);
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        if self.escape == Escape::Equals {
            // A soft line break at the end of the body.
            self.end_escape();
        }
        self.give_up_escape(out);
    }
}

#[derive(Debug, Default)]
struct Base64 {
    /// Bits of the current group, and how many characters of it were seen.
    bits: u32,
    characters: u8,
}

/// The six bits of each character of the base64 alphabet; 64 padding, 255 others.
const ALPHABET: [u8; 256] = {
    let characters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut table = [255; 256];
    let mut at = 0;
    while at < characters.len() {
        table[characters[at] as usize] = at as u8;
        at += 1;
    }
    table[b'=' as usize] = 64;
    table
};

impl Base64 {
    fn push(&mut self, mut data: &[u8], out: &mut Vec<u8>) {
        out.reserve(data.len() / 4 * 3 + 3);
        loop {
            if self.characters == 0 {
                while let Some((group, rest)) = data.split_first_chunk::<4>() {
                    let [a, b, c, d] = group.map(|byte| ALPHABET[usize::from(byte)]);
                    if (a | b | c | d) >= 64 {
                        break;
                    }
                    let bits = u32::from(a) << 18 | u32::from(b) << 12 | u32::from(c) << 6 | u32::from(d);
                    out.extend_from_slice(&bits.to_be_bytes()[1..]);
                    data = rest;
                }
            }
            let Some((&byte, rest)) = data.split_first() else { return };
            data = rest;
            match ALPHABET[usize::from(byte)] {
                64 => self.finish(out),
                255 => {}
                six => {
                    self.bits = self.bits << 6 | u32::from(six);
                    self.characters += 1;
                    if self.characters == 4 {
                        out.extend_from_slice(&self.bits.to_be_bytes()[1..]);
                        (self.bits, self.characters) = (0, 0);
                    }
                }
            }
        }
    }

    /// Ends a group, by padding or by the end of the body; content after padding is decoded too.
    fn finish(&mut self, out: &mut Vec<u8>) {
        match self.characters {
            2 => out.push((self.bits >> 4) as u8),
            3 => out.extend([(self.bits >> 10) as u8, (self.bits >> 2) as u8]),
            _ => {}
        }
        (self.bits, self.characters) = (0, 0);
    }
}

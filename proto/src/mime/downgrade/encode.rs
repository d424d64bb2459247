//! Encoders of RFC 2045 §6.7 and §6.8, piece by piece.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Encoding;

/// Octets of an encoded line at most, its end not counted.
const COLUMNS: usize = 76;
/// Octets that make a full line of base64.
const BASE64_LINE: usize = COLUMNS / 4 * 3;

/// Encodes one body.
#[derive(Debug)]
pub(super) enum Encoder {
    QuotedPrintable(QuotedPrintable),
    Base64(Base64),
}

impl Encoder {
    pub(super) fn new(encoding: Encoding) -> Self {
        match encoding {
            Encoding::QuotedPrintable => Self::QuotedPrintable(QuotedPrintable::default()),
            Encoding::Base64 => Self::Base64(Base64::default()),
        }
    }

    pub(super) fn push(&mut self, data: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::QuotedPrintable(encoder) => data.iter().for_each(|octet| encoder.octet(*octet, out)),
            Self::Base64(encoder) => encoder.push(data, out),
        }
    }

    pub(super) fn finish(self, out: &mut Vec<u8>) {
        match self {
            Self::QuotedPrintable(mut encoder) => encoder.finish(out),
            Self::Base64(encoder) => encoder.finish(out),
        }
    }
}

/// For text: its CR LF stay what they are.
#[derive(Debug, Default)]
pub(super) struct QuotedPrintable {
    column: usize,
    /// What is written otherwise at the end of a line: a space or a tab, or a CR that may begin a line end.
    held: Option<u8>,
}

impl QuotedPrintable {
    fn octet(&mut self, octet: u8, out: &mut Vec<u8>) {
        match (self.held.take(), octet) {
            (Some(b'\r'), b'\n') => {
                out.extend_from_slice(b"\r\n");
                self.column = 0;
                return;
            }
            (Some(b'\r'), _) => self.escaped(b'\r', out),
            (Some(blank), b'\r') => self.escaped(blank, out),
            (Some(blank), _) => self.plain(blank, out),
            (None, _) => {}
        }
        match octet {
            b'\r' | b' ' | b'\t' => self.held = Some(octet),
            b'=' => self.escaped(octet, out),
            b'!'..=b'~' => self.plain(octet, out),
            _ => self.escaped(octet, out),
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        if let Some(held) = self.held.take() {
            self.escaped(held, out);
        }
    }

    fn plain(&mut self, octet: u8, out: &mut Vec<u8>) {
        self.room(1, out);
        out.push(octet);
    }

    fn escaped(&mut self, octet: u8, out: &mut Vec<u8>) {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        self.room(3, out);
        out.extend_from_slice(&[b'=', DIGITS[usize::from(octet >> 4)], DIGITS[usize::from(octet & 15)]]);
    }

    /// Breaks the line when it has no room for so many octets, and the `=` of a break.
    fn room(&mut self, octets: usize, out: &mut Vec<u8>) {
        if self.column + octets >= COLUMNS {
            out.extend_from_slice(b"=\r\n");
            self.column = 0;
        }
        self.column += octets;
    }
}

/// For anything. Line ends stand between its lines only.
#[derive(Debug, Default)]
pub(super) struct Base64 {
    /// Less than a line.
    held: Vec<u8>,
    line: String,
    has_lines: bool,
}

impl Base64 {
    fn push(&mut self, mut data: &[u8], out: &mut Vec<u8>) {
        if !self.held.is_empty() {
            let (fill, rest) = data.split_at(data.len().min(BASE64_LINE - self.held.len()));
            self.held.extend_from_slice(fill);
            data = rest;
            if self.held.len() < BASE64_LINE {
                return;
            }
            let full = std::mem::take(&mut self.held);
            self.write(&full, out);
        }
        let (lines, rest) = data.as_chunks::<BASE64_LINE>();
        lines.iter().for_each(|line| self.write(line, out));
        self.held = rest.to_vec();
    }

    fn finish(mut self, out: &mut Vec<u8>) {
        if !self.held.is_empty() {
            let rest = std::mem::take(&mut self.held);
            self.write(&rest, out);
        }
    }

    fn write(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.has_lines, true) {
            out.extend_from_slice(b"\r\n");
        }
        self.line.clear();
        STANDARD.encode_string(octets, &mut self.line);
        out.extend_from_slice(self.line.as_bytes());
    }
}

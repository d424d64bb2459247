//! Message content on its way out: line ends, and the dots of DATA (RFC 5321 §4.5.2).
//!
//! Always holds: whatever the input is and however it is cut, text leaves with CR and LF only as CR LF, and
//! ends with one. So no other server can find the end of a message where we saw none.

use memchr::memchr2;

use crate::smtp::body::{Dots, clean_lines};

/// How content is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transfer {
    /// By DATA: lines, with a dot more where one starts a line.
    Data,
    /// By BDAT: lines.
    Chunks,
    /// By BDAT with BODY=BINARYMIME: octets as they are.
    Binary,
}

/// Rewrites content piece by piece.
#[derive(Clone, Debug)]
pub struct ContentWriter {
    transfer: Transfer,
    tail: Tail,
}

/// What was read last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tail {
    LineStart,
    Middle,
    /// A CR whose line end was written already; an LF that follows belongs to it.
    Cr,
}

impl ContentWriter {
    /// One at the start of the content.
    #[must_use]
    pub const fn new(transfer: Transfer) -> Self {
        Self { transfer, tail: Tail::LineStart }
    }

    /// Appends to `out` what is sent for `input`.
    pub fn push(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        if self.transfer == Transfer::Binary {
            out.extend_from_slice(input);
            return;
        }
        let dots = if self.transfer == Transfer::Data { Dots::Special } else { Dots::Plain };
        if self.tail == Tail::Cr && !input.is_empty() {
            input = input.strip_prefix(b"\n").unwrap_or(input);
            self.tail = Tail::LineStart;
        }
        let mut is_clean = true;
        while !input.is_empty() {
            if self.tail == Tail::LineStart {
                if is_clean {
                    let clean = clean_lines(input, dots);
                    out.extend_from_slice(&input[..clean]);
                    input = &input[clean..];
                    if input.is_empty() {
                        break;
                    }
                }
                if dots == Dots::Special && input[0] == b'.' {
                    out.push(b'.');
                }
            }
            let run = memchr2(b'\r', b'\n', input).unwrap_or(input.len());
            out.extend_from_slice(&input[..run]);
            if run == input.len() {
                self.tail = Tail::Middle;
                break;
            }
            out.extend_from_slice(b"\r\n");
            let octets = match input[run..] {
                [b'\r', b'\n', ..] => 2,
                _ => 1,
            };
            // What needed a line end once is likely to need more: looking ahead would be for nothing.
            is_clean &= octets == 2;
            self.tail = if input[run..] == *b"\r" { Tail::Cr } else { Tail::LineStart };
            input = &input[run + octets..];
        }
    }

    /// Appends what ends the content: a line end if there is none, and the dot of DATA.
    pub fn end(self, out: &mut Vec<u8>) {
        if self.transfer != Transfer::Binary && self.tail == Tail::Middle {
            out.extend_from_slice(b"\r\n");
        }
        if self.transfer == Transfer::Data {
            out.extend_from_slice(b".\r\n");
        }
    }
}

//! Tests of the message scanner and of what is written from its result.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod headers;
mod hostile;
mod oracle;
mod records;
mod responses;
mod scanner;
mod texts;

use super::record::{self, StructureRef};
use super::scan::Scanner;
use super::{Limits, Structure};

/// Scans a message that arrives in one piece.
fn scan(message: &[u8]) -> Structure {
    scan_with(message, Limits::DEFAULT)
}

fn scan_with(message: &[u8], limits: Limits) -> Structure {
    let mut scanner = Scanner::new(limits);
    scanner.push(message);
    scanner.finish()
}

fn encoded(structure: &Structure) -> Vec<u8> {
    let mut out = Vec::new();
    record::encode(structure, &mut out);
    out
}

/// Random numbers that are the same in every run (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    /// A message-like text: fragments in any order, so that every rule is met in odd places.
    fn message(&mut self) -> Vec<u8> {
        const FRAGMENTS: [&[u8]; 34] = [
            b"\r\n",
            b"\r\n",
            b"\n",
            b"\r",
            b"\r\n\r\n",
            b"--",
            b"-",
            b"--b",
            b"--bb",
            b"--b--",
            b"--bb--",
            b"--b\r\n",
            b"\r\n--b\r\n",
            b"\r\n--bb\r\n",
            b"\r\n--b--\r\n",
            b"\n--bb--\n",
            b"x",
            b" ",
            b"\t",
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n",
            b"Content-Type: multipart/digest; boundary=\"bb\"\r\n\r\n",
            b"Content-Type: message/rfc822\r\n\r\n",
            b"Content-Type: message/rfc822\r\n",
            b"Content-Type: text/plain;\r\n charset=utf-8\r\n",
            b"Content-Transfer-Encoding: base64\r\n",
            b"Subject: caf\xc3\xa9 \xff\r\n",
            b"From: A <a@b>, c@d (E)\r\n",
            b"To: g: a@b, c@d;\r\n",
            b"To: e@f\n",
            b"References: <a@b>\r\n <c@d>\r\n",
            b"no field\r\n",
            b": empty\r\n",
            b"\0",
            b"words of text",
        ];
        let mut message = Vec::new();
        for _ in 0..self.below(40) {
            message.extend_from_slice(FRAGMENTS[self.below(FRAGMENTS.len())]);
        }
        message
    }
}

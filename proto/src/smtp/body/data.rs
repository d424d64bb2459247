//! The content of DATA: ends with CR LF `.` CR LF and with nothing else, dots unstuffed.
//!
//! A bare LF is rewritten to CR LF. A bare CR, and all that a laxer server might take for the end of the
//! content, is remembered as a fault and read over: refusing at once would leave the rest of the content
//! to be taken for commands (CVE-2023-51764 and its kin).

use memchr::memchr2;

use super::{ContentFault, Dots, clean_lines};

/// Reads DATA content piece by piece. Cutting the input elsewhere changes nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DataReader {
    tail: Tail,
    fault: Option<ContentFault>,
}

/// What was read last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tail {
    /// CR LF, or nothing yet.
    LineStart,
    /// CR LF `.`
    Dot,
    /// CR LF `.` CR
    DotCr,
    /// A bare LF.
    BareLineStart,
    /// A bare LF and `.`
    BareDot,
    /// A bare LF, `.` and CR
    BareDotCr,
    /// CR
    Cr,
    /// Anything else.
    Middle,
}

/// Whether the content ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DataProgress {
    /// All input was content.
    More,
    /// The content ended after this many octets of the input.
    Ended(usize),
}

impl Default for DataReader {
    fn default() -> Self {
        Self::new()
    }
}

impl DataReader {
    /// A reader at the start of the content.
    pub fn new() -> Self {
        Self { tail: Tail::LineStart, fault: None }
    }

    /// The first fault so far.
    pub fn fault(&self) -> Option<ContentFault> {
        self.fault
    }

    /// Reads `input`, appends what is content to `out`.
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) -> DataProgress {
        let mut at = 0;
        while at < input.len() {
            if self.tail == Tail::LineStart && self.fault.is_none() {
                let clean = clean_lines(&input[at..], Dots::Special);
                if clean > 0 {
                    out.extend_from_slice(&input[at..at + clean]);
                    at += clean;
                    continue;
                }
            }
            if self.tail == Tail::Middle {
                let run = memchr2(b'\r', b'\n', &input[at..]).unwrap_or(input.len() - at);
                if run > 0 {
                    out.extend_from_slice(&input[at..at + run]);
                    at += run;
                    continue;
                }
            }
            if self.step(input[at], out) {
                return DataProgress::Ended(at + 1);
            }
            at += 1;
        }
        DataProgress::More
    }

    fn blame(&mut self, fault: ContentFault) {
        self.fault.get_or_insert(fault);
    }

    /// Takes one octet; true when it ends the content.
    fn step(&mut self, byte: u8, out: &mut Vec<u8>) -> bool {
        match (self.tail, byte) {
            (Tail::DotCr, b'\n') => return true,
            (Tail::LineStart, b'.') => self.tail = Tail::Dot,
            (Tail::BareLineStart, b'.') => {
                // Not a stuffed dot: for its sender no line started here.
                out.push(b'.');
                self.tail = Tail::BareDot;
            }
            (Tail::Dot, b'\r') => self.tail = Tail::DotCr,
            (Tail::BareDot, b'\r') => self.tail = Tail::BareDotCr,
            (Tail::Dot | Tail::BareDot, b'\n') => {
                self.blame(ContentFault::FalseEnd);
                self.end_line(out, Tail::BareLineStart);
            }
            (Tail::BareDotCr, b'\n') => {
                self.blame(ContentFault::FalseEnd);
                self.end_line(out, Tail::LineStart);
            }
            (Tail::Cr, b'\n') => self.end_line(out, Tail::LineStart),
            (Tail::Cr | Tail::DotCr | Tail::BareDotCr, _) => {
                self.blame(ContentFault::BareCr);
                self.after_text(byte, out);
            }
            _ => self.after_text(byte, out),
        }
        false
    }

    fn after_text(&mut self, byte: u8, out: &mut Vec<u8>) {
        match byte {
            b'\r' => self.tail = Tail::Cr,
            b'\n' => self.end_line(out, Tail::BareLineStart),
            _ => {
                out.push(byte);
                self.tail = Tail::Middle;
            }
        }
    }

    fn end_line(&mut self, out: &mut Vec<u8>, tail: Tail) {
        out.extend_from_slice(b"\r\n");
        self.tail = tail;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The content, the fault, and how much input was content.
    fn read(input: &[u8], cuts: &[usize]) -> (Vec<u8>, Option<ContentFault>, Option<usize>) {
        let mut reader = DataReader::new();
        let mut out = Vec::new();
        let mut from = 0;
        for to in cuts.iter().copied().chain([input.len()]) {
            if let DataProgress::Ended(used) = reader.push(&input[from..to], &mut out) {
                return (out, reader.fault(), Some(from + used));
            }
            from = to;
        }
        (out, reader.fault(), None)
    }

    #[test]
    fn only_one_sequence_ends_the_content() {
        use ContentFault::{BareCr, FalseEnd};
        for (input, content, fault) in [
            (&b".\r\n"[..], &b""[..], None),
            (b"a\r\n.\r\n", b"a\r\n", None),
            (b"\r\n.\r\n", b"\r\n", None),
            (b"..a\r\n.b\r\n.\r\n", b".a\r\nb\r\n", None),
            (b"...\r\n..\r\n.\r\n", b"..\r\n.\r\n", None),
            (b"a\nb\n\nc\r\n.\r\n", b"a\r\nb\r\n\r\nc\r\n", None),
            (b"a\n..b\r\n.\r\n", b"a\r\n..b\r\n", None),
            (b"a\n.b\r\n.\r\n", b"a\r\n.b\r\n", None),
            (b"a\rb\r\n.\r\n", b"ab\r\n", Some(BareCr)),
            (b"a\n.\nb\r\n.\r\n", b"a\r\n.\r\nb\r\n", Some(FalseEnd)),
            (b"a\n.\r\nb\r\n.\r\n", b"a\r\n.\r\nb\r\n", Some(FalseEnd)),
            (b"a\r\n.\nb\r\n.\r\n", b"a\r\n\r\nb\r\n", Some(FalseEnd)),
            (b"a\n.\rb\r\n.\r\n", b"a\r\n.b\r\n", Some(BareCr)),
            (b"a\r.\nb\r\n.\r\n", b"a.\r\nb\r\n", Some(BareCr)),
            (b"a\r.\rb\r\n.\r\n", b"a.b\r\n", Some(BareCr)),
            (b"a\r.\r\nb\r\n.\r\n", b"a.\r\nb\r\n", Some(BareCr)),
            (b"a\r\n.\rb\r\n.\r\n", b"a\r\nb\r\n", Some(BareCr)),
            (b"a\r\n.\r\r\nb\r\n.\r\n", b"a\r\n\r\nb\r\n", Some(BareCr)),
            (b"a\r\r\n.\r\r\nb\r\n.\r\n", b"a\r\n\r\nb\r\n", Some(BareCr)),
            (b"a\r\n\0.\r\nb\r\n.\r\n", b"a\r\n\0.\r\nb\r\n", None),
            (b"a\r\n.\0\r\nb\r\n.\r\n", b"a\r\n\0\r\nb\r\n", None),
            (b"a\n.\r\n.\r\n", b"a\r\n.\r\n", Some(FalseEnd)),
            (b"a\r\r\n.\r\n", b"a\r\n", Some(BareCr)),
        ] {
            let shown = input.escape_ascii();
            assert_eq!(read(input, &[]), (content.to_vec(), fault, Some(input.len())), "{shown}");
            for cut in 0..input.len() {
                let expected = (content.to_vec(), fault, Some(input.len()));
                assert_eq!(read(input, &[cut]), expected, "{shown} cut at {cut}");
            }
            let every: Vec<usize> = (0..input.len()).collect();
            assert_eq!(read(input, &every), (content.to_vec(), fault, Some(input.len())), "{shown}");
        }
    }

    #[test]
    fn what_follows_the_end_is_left_alone() {
        assert_eq!(read(b"a\r\n.\r\nMAIL", &[]), (b"a\r\n".to_vec(), None, Some(6)));
        assert_eq!(read(b"a\r\n.\r\n.\r\n", &[]), (b"a\r\n".to_vec(), None, Some(6)));
    }

    #[test]
    fn content_without_end_goes_on() {
        for input in [&b""[..], b".", b".\r", b"a\r\n.\r", b"a\r\n..\r\n", b"a\n.\n", b"\r"] {
            assert_eq!(read(input, &[]).2, None, "{}", input.escape_ascii());
        }
    }

    /// Stuffing as RFC 5321 §4.5.2 tells the client, undone by the reader, is the identity.
    #[test]
    fn stuffed_content_comes_back() {
        let mut seed = 0x9e37_79b9_u32;
        for _ in 0..2000 {
            let mut content = Vec::new();
            for _ in 0..8 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                content.extend_from_slice(
                    [&b"."[..], b"..", b"a", b"", b"\0", b"\xff."][(seed >> 16) as usize % 6],
                );
                if seed >> 30 != 0 {
                    content.extend_from_slice(b"\r\n");
                }
            }
            content.extend_from_slice(b"\r\n");
            let mut wire = Vec::new();
            for line in content.split_inclusive(|byte| *byte == b'\n') {
                if line.starts_with(b".") {
                    wire.push(b'.');
                }
                wire.extend_from_slice(line);
            }
            wire.extend_from_slice(b".\r\n");
            let cut = (seed >> 8) as usize % wire.len();
            assert_eq!(read(&wire, &[cut]), (content, None, Some(wire.len())));
        }
    }
}

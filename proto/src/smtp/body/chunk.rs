//! The content of BDAT (RFC 3030): counted octets, no dots.
//!
//! BINARYMIME content is passed on as it is. Other content is text, so it gets what DATA content gets: a
//! bare LF becomes CR LF, a bare CR is a fault. The end needs no search here, so no sequence is special.

use memchr::memchr2;

use super::{ContentFault, Dots, clean_lines};

/// What happens to line ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LineEnds {
    /// CR LF only.
    Text,
    /// Whatever there is.
    Binary,
}

/// Reads the chunks of one message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChunkReader {
    line_ends: LineEnds,
    after_cr: bool,
    fault: Option<ContentFault>,
}

impl ChunkReader {
    /// A reader at the start of a message.
    pub fn new(line_ends: LineEnds) -> Self {
        Self { line_ends, after_cr: false, fault: None }
    }

    /// The first fault so far.
    pub fn fault(&self) -> Option<ContentFault> {
        self.fault
    }

    /// Appends to `out` what `input`, all of it content, means.
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) {
        if self.line_ends == LineEnds::Binary {
            out.extend_from_slice(input);
            return;
        }
        let mut rest = input;
        while let Some(&first) = rest.first() {
            if self.after_cr {
                self.after_cr = false;
                if first == b'\n' {
                    out.extend_from_slice(b"\r\n");
                    rest = &rest[1..];
                    continue;
                }
                self.fault.get_or_insert(ContentFault::BareCr);
            }
            let clean = if self.fault.is_none() { clean_lines(rest, Dots::Plain) } else { 0 };
            out.extend_from_slice(&rest[..clean]);
            rest = &rest[clean..];
            let run = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            out.extend_from_slice(&rest[..run]);
            match rest.get(run) {
                Some(b'\r') => self.after_cr = true,
                Some(_) => out.extend_from_slice(b"\r\n"),
                None => break,
            }
            rest = &rest[run + 1..];
        }
    }

    /// Ends the message: a CR at its very end is a bare one.
    pub fn finish(&mut self) {
        if std::mem::take(&mut self.after_cr) {
            self.fault.get_or_insert(ContentFault::BareCr);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line_ends: LineEnds, input: &[u8], cut: usize) -> (Vec<u8>, Option<ContentFault>) {
        let mut reader = ChunkReader::new(line_ends);
        let mut out = Vec::new();
        reader.push(&input[..cut], &mut out);
        reader.push(&input[cut..], &mut out);
        reader.finish();
        (out, reader.fault())
    }

    #[test]
    fn text_leaves_with_proper_line_ends_however_it_is_cut() {
        let bare = Some(ContentFault::BareCr);
        for (input, content, fault) in [
            (&b""[..], &b""[..], None),
            (b"a\r\nb\r\n", b"a\r\nb\r\n", None),
            (b"a\nb\n\n", b"a\r\nb\r\n\r\n", None),
            (b"\r\n.\r\n..\r\n", b"\r\n.\r\n..\r\n", None),
            (b"\n.\n", b"\r\n.\r\n", None),
            (b"a\rb", b"ab", bare),
            (b"a\r\r\nb\r\n", b"a\r\nb\r\n", bare),
            (b"ok\r\na\r", b"ok\r\na", bare),
            (b"no end", b"no end", None),
        ] {
            for cut in 0..=input.len() {
                let shown = input.escape_ascii();
                assert_eq!(
                    read(LineEnds::Text, input, cut),
                    (content.to_vec(), fault),
                    "{shown} cut at {cut}"
                );
            }
        }
    }

    #[test]
    fn binary_content_is_passed_on_as_it_is() {
        let all: Vec<u8> = (0..=255).chain(*b"\r\n.\r\n\n.\r\r\n").collect();
        for cut in 0..=all.len() {
            assert_eq!(read(LineEnds::Binary, &all, cut), (all.clone(), None));
        }
    }
}

//! Line endings of files made those of messages.

/// Replaces every LF that has no CR before it by CRLF, and every CR that has no LF after it, too, piece by
/// piece (RFC 6376 §5.3).
#[derive(Clone, Copy, Debug, Default)]
pub struct Crlf {
    /// The last octet was a CR, which was not written yet.
    cr: bool,
}

impl Crlf {
    /// Appends a piece.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let mut rest = piece;
        if self.cr && !rest.is_empty() {
            self.cr = false;
            out.extend_from_slice(b"\r\n");
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(at) = memchr::memchr2(b'\r', b'\n', rest) {
            out.extend_from_slice(&rest[..at]);
            let cr = rest[at] == b'\r';
            rest = &rest[at + 1..];
            if cr && rest.is_empty() {
                self.cr = true;
                return;
            }
            out.extend_from_slice(b"\r\n");
            if cr {
                rest = rest.strip_prefix(b"\n").unwrap_or(rest);
            }
        }
        out.extend_from_slice(rest);
    }

    /// Appends what a CR at the very end becomes.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self.cr {
            out.extend_from_slice(b"\r\n");
        }
    }

    /// A whole text.
    #[must_use]
    pub fn whole(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len() + text.len() / 32);
        let mut lines = Self::default();
        lines.push(text, &mut out);
        lines.finish(&mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_ending_becomes_that_of_messages_wherever_the_input_is_cut() {
        for (text, lines) in [
            (&b""[..], &b""[..]),
            (b"a\nb\r\nc\rd", b"a\r\nb\r\nc\r\nd"),
            (b"\n\r\n\r", b"\r\n\r\n\r\n"),
            (b"a\r\r\n\n", b"a\r\n\r\n\r\n"),
        ] {
            assert_eq!(Crlf::whole(text), lines, "{text:?}");
            for cut in 0..=text.len() {
                let mut out = Vec::new();
                let mut state = Crlf::default();
                state.push(&text[..cut], &mut out);
                state.push(&text[cut..], &mut out);
                state.finish(&mut out);
                assert_eq!(out, lines, "{text:?} cut at {cut}");
            }
        }
    }
}

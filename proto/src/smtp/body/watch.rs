//! What the session itself needs to know of content that passes: its size, its `Received` fields (RFC
//! 5321 §6.3) and whether its header ends.

/// What is known of content that was received in whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ContentFacts {
    /// Octets as passed on.
    pub octets: u64,
    /// `Received` fields in the header.
    pub received_fields: u32,
    /// Whether an empty line ended the header.
    pub has_separator: bool,
    /// Whether there is an octet over 127.
    pub has_eight_bit: bool,
}

/// Watches content, cut anywhere.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HeaderWatch {
    facts: ContentFacts,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    /// This many octets of the name matched, from the start of a line.
    #[default]
    LineStart,
    Name(u8),
    /// Blanks between name and colon.
    Colon,
    /// CR at the start of a line.
    EmptyLineCr,
    /// The rest of a line.
    Rest,
    Body,
}

const NAME: &[u8] = b"received";

impl HeaderWatch {
    /// What is known so far.
    pub fn facts(&self) -> ContentFacts {
        self.facts
    }

    /// Looks at the next piece of content.
    pub fn push(&mut self, content: &[u8]) {
        self.facts.octets += content.len() as u64;
        self.facts.has_eight_bit = self.facts.has_eight_bit || !content.is_ascii();
        let mut rest = content;
        while let Some(&byte) = rest.first() {
            match self.state {
                State::Body => return,
                State::Rest => {
                    let Some(line_feed) = memchr::memchr(b'\n', rest) else { return };
                    rest = &rest[line_feed..];
                    self.state = State::LineStart;
                }
                _ => self.step(byte),
            }
            rest = &rest[1..];
        }
    }

    fn step(&mut self, byte: u8) {
        let matched = match self.state {
            State::LineStart => 0,
            State::Name(matched) => usize::from(matched),
            State::Colon => NAME.len(),
            State::EmptyLineCr | State::Rest | State::Body => usize::MAX,
        };
        self.state = match (self.state, byte) {
            (State::EmptyLineCr, b'\n') | (State::LineStart, b'\n') => {
                self.facts.has_separator = true;
                State::Body
            }
            (State::LineStart, b'\r') => State::EmptyLineCr,
            (_, b'\n') => State::LineStart,
            (State::Name(_) | State::Colon, b':') if matched == NAME.len() => {
                self.facts.received_fields = self.facts.received_fields.saturating_add(1);
                State::Rest
            }
            // obs-optional: blanks before the colon (RFC 5322 §4.5).
            (State::Name(_) | State::Colon, b' ' | b'\t') if matched == NAME.len() => State::Colon,
            (State::LineStart | State::Name(_), _)
                if NAME.get(matched).is_some_and(|expected| expected.eq_ignore_ascii_case(&byte)) =>
            {
                State::Name(matched as u8 + 1)
            }
            _ => State::Rest,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(content: &[u8], cut: usize) -> ContentFacts {
        let mut watch = HeaderWatch::default();
        watch.push(&content[..cut]);
        watch.push(&content[cut..]);
        watch.facts()
    }

    #[test]
    fn fields_are_counted_in_the_header_only_however_it_is_cut() {
        for (content, received_fields, has_separator) in [
            (&b""[..], 0, false),
            (b"Received: x\r\nRECEIVED:y\r\nreceived \t: z\r\n\r\nReceived: no\r\n", 3, true),
            (
                b"Received-SPF: x\r\n Received: x\r\nX-Received: y\r\nReceive: z\r\nrreceived: z\r\n\r\n",
                0,
                true,
            ),
            (b"Received: x\r\n\tReceived: folded\r\nReceived: y", 2, false),
            (b"\r\nReceived: body\r\n", 0, true),
            (b"received\r\n:\r\nreceived: 1\n\nreceived: body\n", 1, true),
            (b"Received", 0, false),
            (b"Received:", 1, false),
        ] {
            let expected = ContentFacts {
                octets: content.len() as u64,
                received_fields,
                has_separator,
                has_eight_bit: false,
            };
            for cut in 0..=content.len() {
                assert_eq!(watch(content, cut), expected, "{} cut at {cut}", content.escape_ascii());
            }
        }
    }

    #[test]
    fn eight_bit_content_is_noticed() {
        assert!(watch(b"a: b\r\n\r\n\xc3\xbc", 3).has_eight_bit);
        assert!(watch(b"\xff", 0).has_eight_bit);
    }
}

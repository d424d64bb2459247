//! What the session itself needs to know of content that passes: its size, its `Received` fields (RFC
//! 5321 §6.3), its `From` fields, what it says of TLS (RFC 8689 §3) and whether its header ends.

/// Octets of a line, its end not counted (RFC 5322 §2.1.1, RFC 5321 §4.5.3.1.6).
const LINE_OCTETS_MAX: usize = 998;

/// What is known of content that was received in whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ContentFacts {
    /// Octets as passed on.
    pub octets: u64,
    /// `Received` fields in the header.
    pub received_fields: u32,
    /// `From` fields in the header: one is right (RFC 5322 §3.6).
    pub from_fields: u32,
    /// What its `TLS-Required` fields say.
    pub tls_required: TlsRequired,
    /// `DKIM-Signature` fields in the header: who sent it signed it itself.
    pub dkim_signatures: u32,
    /// Whether an empty line ended the header.
    pub has_separator: bool,
    /// Whether there is an octet over 127.
    pub has_eight_bit: bool,
    /// Whether there is one in the header, which is UTF-8 then or nothing at all (RFC 6532 §3.2).
    pub has_eight_bit_header: bool,
    /// Whether there is a line of over 998 octets, its end not counted.
    pub has_long_line: bool,
}

/// What the `TLS-Required` fields of a message say (RFC 8689 §3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TlsRequired {
    /// There are none.
    #[default]
    Absent,
    /// All of them say `No`: delivery comes before policies.
    No,
    /// One says something else, which means nothing.
    Other,
}

/// Watches content, cut anywhere.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HeaderWatch {
    facts: ContentFacts,
    state: State,
    /// Octets since the last line feed.
    line: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    LineStart,
    /// This many octets of the name matched, from the start of a line.
    Name(Field, u8),
    /// Blanks between name and colon.
    Colon(Field),
    /// CR at the start of a line.
    EmptyLineCr,
    /// The value of `TLS-Required`: blanks, `n`, `no`, then blanks again.
    Value(u8),
    /// The rest of a line.
    Rest,
    Body,
}

/// The fields that are counted. Their names differ in the first octet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Field {
    Received,
    From,
    TlsRequired,
    DkimSignature,
}

impl Field {
    const fn name(self) -> &'static [u8] {
        match self {
            Self::Received => b"received",
            Self::From => b"from",
            Self::TlsRequired => b"tls-required",
            Self::DkimSignature => b"dkim-signature",
        }
    }

    const fn of(first: u8) -> Option<Self> {
        match first {
            b'r' | b'R' => Some(Self::Received),
            b'f' | b'F' => Some(Self::From),
            b't' | b'T' => Some(Self::TlsRequired),
            b'd' | b'D' => Some(Self::DkimSignature),
            _ => None,
        }
    }
}

impl HeaderWatch {
    /// What is known so far.
    pub fn facts(&self) -> ContentFacts {
        self.facts
    }

    /// Looks at the next piece of content.
    pub fn push(&mut self, content: &[u8]) {
        self.facts.octets += content.len() as u64;
        self.facts.has_eight_bit = self.facts.has_eight_bit || !content.is_ascii();
        self.measure(content);
        let mut rest = content;
        while let Some(&byte) = rest.first() {
            match self.state {
                State::Body => return,
                State::Rest => {
                    let end = memchr::memchr(b'\n', rest);
                    let line = &rest[..end.unwrap_or(rest.len())];
                    self.facts.has_eight_bit_header |= !line.is_ascii();
                    let Some(line_feed) = end else { return };
                    rest = &rest[line_feed..];
                    self.state = State::LineStart;
                }
                _ => {
                    self.facts.has_eight_bit_header |= !byte.is_ascii();
                    self.step(byte);
                }
            }
            rest = &rest[1..];
        }
    }

    /// Looks for a long line: in each stretch that has to hold a line feed, for the last one, which is near its end.
    fn measure(&mut self, mut rest: &[u8]) {
        while !self.facts.has_long_line {
            // With CR and LF.
            let Some(stretch) = rest.get(..(LINE_OCTETS_MAX + 2).saturating_sub(self.line)) else {
                self.line = match memchr::memrchr(b'\n', rest) {
                    Some(line_feed) => rest.len() - line_feed - 1,
                    None => self.line + rest.len(),
                };
                return;
            };
            match memchr::memrchr(b'\n', stretch) {
                Some(line_feed) => {
                    rest = &rest[line_feed + 1..];
                    self.line = 0;
                }
                None => self.facts.has_long_line = true,
            }
        }
    }

    fn step(&mut self, byte: u8) {
        let whole = match self.state {
            State::Name(field, matched) if usize::from(matched) == field.name().len() => Some(field),
            State::Colon(field) => Some(field),
            _ => None,
        };
        self.state = match (self.state, byte, whole) {
            (State::EmptyLineCr | State::LineStart, b'\n', _) => {
                self.facts.has_separator = true;
                State::Body
            }
            (State::LineStart, b'\r', _) => State::EmptyLineCr,
            (State::Value(matched), b'\n', _) => {
                let says_no = matched == 2 && self.facts.tls_required != TlsRequired::Other;
                self.facts.tls_required = if says_no { TlsRequired::No } else { TlsRequired::Other };
                State::LineStart
            }
            (_, b'\n', _) => State::LineStart,
            (_, b':', Some(field)) => match field {
                Field::Received => counted(&mut self.facts.received_fields),
                Field::From => counted(&mut self.facts.from_fields),
                Field::DkimSignature => counted(&mut self.facts.dkim_signatures),
                Field::TlsRequired => State::Value(0),
            },
            (State::Value(matched @ (0 | 2)), b' ' | b'\t' | b'\r', _) => State::Value(matched),
            (State::Value(0), b'n' | b'N', _) => State::Value(1),
            (State::Value(1), b'o' | b'O', _) => State::Value(2),
            (State::Value(_), _, _) => {
                self.facts.tls_required = TlsRequired::Other;
                State::Rest
            }
            // obs-optional: blanks before the colon (RFC 5322 §4.5).
            (_, b' ' | b'\t', Some(field)) => State::Colon(field),
            (State::LineStart, _, _) => Field::of(byte).map_or(State::Rest, |field| State::Name(field, 1)),
            (State::Name(field, matched), _, None)
                if field.name()[usize::from(matched)].eq_ignore_ascii_case(&byte) =>
            {
                State::Name(field, matched + 1)
            }
            _ => State::Rest,
        };
    }
}

fn counted(count: &mut u32) -> State {
    *count = count.saturating_add(1);
    State::Rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_not_required_when_all_fields_say_so() {
        use TlsRequired::{Absent, No, Other};
        for (content, expected) in [
            (&b"Subject: x\r\n\r\nTLS-Required: No\r\n"[..], Absent),
            (b"TLS-Required: No\r\n\r\n", No),
            (b"tls-required:no\r\n\r\n", No),
            (b"TLS-Required : \t NO  \r\nTLS-Required: no\n\r\n", No),
            (b"TLS-Required: Yes\r\n\r\n", Other),
            (b"TLS-Required: None\r\n\r\n", Other),
            (b"TLS-Required: n\r\n\r\n", Other),
            (b"TLS-Required:\r\n\r\n", Other),
            (b"TLS-Required: No\r\nTLS-Required: Yes\r\n\r\n", Other),
            (b"TLS-Required: Yes\r\nTLS-Required: No\r\n\r\n", Other),
            (b"TLS-Required-X: No\r\nX-TLS-Required: No\r\nTLS-Report: No\r\n\r\n", Absent),
        ] {
            for cut in 0..content.len() {
                assert_eq!(watch(content, cut).tls_required, expected, "{content:?} at {cut}");
            }
        }
    }

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
                from_fields: 0,
                dkim_signatures: 0,
                tls_required: TlsRequired::Absent,
                has_separator,
                has_eight_bit: false,
                has_eight_bit_header: false,
                has_long_line: false,
            };
            for cut in 0..=content.len() {
                assert_eq!(watch(content, cut), expected, "{} cut at {cut}", content.escape_ascii());
            }
        }
    }

    #[test]
    fn signatures_of_the_sender_are_counted() {
        let content = b"Date: x\r\nDKIM-Signature: v=1\r\n d=x\r\ndkim-signature : y\r\nDKIM: z\r\n\r\nDKIM-Signature: body";
        for cut in 0..=content.len() {
            assert_eq!(watch(content, cut).dkim_signatures, 2, "cut at {cut}");
        }
    }

    #[test]
    fn from_fields_are_counted_too() {
        for (content, from_fields) in [
            (&b"From: a\r\nReceived: b\r\nfROM : c\r\n\r\nFrom: body"[..], 2),
            (b"From a@b Mon Jan 1\r\nFro: m\r\nFromage: x\r\n from: folded\r\n", 0),
        ] {
            for cut in 0..=content.len() {
                assert_eq!(
                    watch(content, cut).from_fields,
                    from_fields,
                    "{} cut at {cut}",
                    content.escape_ascii()
                );
            }
        }
    }

    #[test]
    fn long_lines_are_noticed_wherever_they_stand() {
        let line = |octets: usize| "x".repeat(octets) + "\r\n";
        let fits = [line(998), line(0), line(1), line(998), line(998)].concat();
        for (content, is_long) in [
            (fits.clone(), false),
            (format!("a: b\r\n\r\n{fits}{}", "x".repeat(998)), false),
            (format!("{fits}{}", line(999)), true),
            (format!("{fits}{}{fits}", line(5000)), true),
            (format!("a: {}\r\n b", "x".repeat(996)), true),
            (line(999), true),
            ("x".repeat(1000), true),
            (line(76).repeat(100), false),
        ] {
            for cut in (0..content.len()).step_by(7) {
                let facts = watch(content.as_bytes(), cut);
                assert_eq!(facts.has_long_line, is_long, "{} octets cut at {cut}", content.len());
            }
        }
    }

    #[test]
    fn eight_bit_content_is_noticed() {
        assert!(watch(b"a: b\r\n\r\n\xc3\xbc", 3).has_eight_bit);
        assert!(watch(b"\xff", 0).has_eight_bit);
        for (content, is_in_header) in [
            (&b"a: b\r\n\r\n\xc3\xbc"[..], false),
            (b"a: b\n\n\xc3\xbc", false),
            (b"Subject: \xc3\xbc\r\n\r\nbody", true),
            (b"\xc3: b\r\n\r\nbody", true),
            (b"From\xc3: b\r\n", true),
            (b"TLS-Required: \xc3\r\n", true),
            (b"a: b\r\n c\xc3", true),
        ] {
            for cut in 0..=content.len() {
                let facts = watch(content, cut);
                let shown = content.escape_ascii();
                assert!(facts.has_eight_bit, "{shown} cut at {cut}");
                assert_eq!(facts.has_eight_bit_header, is_in_header, "{shown} cut at {cut}");
            }
        }
    }
}

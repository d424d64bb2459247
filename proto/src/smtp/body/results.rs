//! Takes `Authentication-Results` fields out of a message that claim to be ours (RFC 8601 §5).
//!
//! Readers believe a field that bears the name of their own server, so one that came from outside with it is
//! a forgery. Removed are fields whose authserv-id (RFC 8601 §2.2) is one of our names, however it is
//! written: folded, in comments, quoted, in upper case, as U-label, with a dot at its end; and fields with an
//! authserv-id that can't be read, since another reader may read our name there.
//!
//! Always holds: all other octets pass in their order, and the body is never touched; cutting the input
//! elsewhere changes nothing; at most [`ResultsFilter::HELD_OCTETS_MAX`] octets are held back.

use crate::address::Domain;

const NAME: &[u8] = b"authentication-results";

/// Removes forged fields from the header of a message that passes by.
#[derive(Clone, Debug)]
pub struct ResultsFilter {
    ours: Vec<Domain>,
    state: State,
    /// What is not decided yet: the beginning of one field.
    held: Vec<u8>,
    removed: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum State {
    /// The start of a line. Nothing is held.
    LineStart,
    /// So many octets of the name, from the start of a line.
    Name(usize),
    /// Behind the name: blanks and folds (RFC 5322 §4.5 allows blanks, and some readers more).
    Gap(Line),
    /// Behind the colon.
    Value(IdReader, Line),
    /// The rest of a line that stays.
    Keep,
    /// The rest of a line that goes.
    Drop,
    /// The start of the line behind one that goes.
    DropLineStart,
    /// CR at the start of a line.
    EmptyCr,
    Body,
}

/// Where in a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Line {
    Start,
    Within,
}

impl Line {
    fn after(octet: u8) -> Self {
        if octet == b'\n' { Self::Start } else { Self::Within }
    }
}

/// What is known of a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Open,
    /// Its authserv-id was read.
    Read,
    /// It can't be.
    Unreadable,
}

impl ResultsFilter {
    /// The octets of a field that are held back until its authserv-id was read. A field that needs more is
    /// taken for unreadable.
    pub const HELD_OCTETS_MAX: usize = 4096;

    /// A filter at the start of a message, for fields that bear one of these names.
    pub fn new(ours: Vec<Domain>) -> Self {
        Self { ours, state: State::LineStart, held: Vec::new(), removed: 0 }
    }

    /// How many fields were removed so far.
    pub fn removed(&self) -> u32 {
        self.removed
    }

    /// Whether the header is over, so that all that comes passes as it is.
    pub fn is_in_body(&self) -> bool {
        self.state == State::Body
    }

    /// Appends to `out` what stays of `input` and of what was held.
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let mut rest = input;
        while let Some((&octet, after)) = rest.split_first() {
            match self.state {
                State::Body => {
                    out.extend_from_slice(rest);
                    return;
                }
                State::Keep | State::Drop => {
                    let end = memchr::memchr(b'\n', rest).map(|at| at + 1);
                    let (line, next) = rest.split_at(end.unwrap_or(rest.len()));
                    let keeps = self.state == State::Keep;
                    if keeps {
                        out.extend_from_slice(line);
                    }
                    if end.is_some() {
                        self.state = if keeps { State::LineStart } else { State::DropLineStart };
                    }
                    rest = next;
                }
                _ => {
                    self.step(octet, out);
                    rest = after;
                }
            }
        }
    }

    /// Ends the message, whose header may not have ended.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if let State::Value(reader, _) = &self.state {
            let verdict = reader.end();
            self.decide(verdict, out);
        }
        self.release(out);
        self.state = State::Body;
    }

    fn release(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
    }

    /// Takes one octet where a line isn't just passed or dropped.
    fn step(&mut self, octet: u8, out: &mut Vec<u8>) {
        match std::mem::replace(&mut self.state, State::Keep) {
            State::LineStart => self.start_line(octet, out),
            State::DropLineStart if is_blank(octet) => self.state = State::Drop,
            State::DropLineStart => self.start_line(octet, out),
            State::EmptyCr => {
                self.held.push(octet);
                self.state = if octet == b'\n' { State::Body } else { State::Keep };
                self.release(out);
            }
            State::Name(matched) => {
                self.held.push(octet);
                if NAME.get(matched) == Some(&octet.to_ascii_lowercase()) {
                    self.state = if matched + 1 == NAME.len() {
                        State::Gap(Line::Within)
                    } else {
                        State::Name(matched + 1)
                    };
                } else {
                    self.pass(octet, out);
                }
            }
            // A line that holds the name alone is no field.
            State::Gap(Line::Start) if !is_blank(octet) => {
                self.release(out);
                self.start_line(octet, out);
            }
            State::Gap(_) => {
                self.held.push(octet);
                match octet {
                    b':' => self.state = State::Value(IdReader::default(), Line::Within),
                    // Form feeds are white space to some readers.
                    b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c if self.held.len() < Self::HELD_OCTETS_MAX => {
                        self.state = State::Gap(Line::after(octet));
                    }
                    b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c => self.drop_field(octet),
                    _ => self.pass(octet, out),
                }
            }
            State::Value(reader, Line::Start) if !is_blank(octet) => {
                let verdict = reader.end();
                self.state = State::Value(reader, Line::Start);
                self.decide(verdict, out);
                self.start_line(octet, out);
            }
            State::Value(mut reader, _) => {
                self.held.push(octet);
                let verdict = match reader.push(octet) {
                    Verdict::Open if self.held.len() >= Self::HELD_OCTETS_MAX => Verdict::Unreadable,
                    verdict => verdict,
                };
                self.state = State::Value(reader, Line::after(octet));
                if verdict != Verdict::Open {
                    self.decide(verdict, out);
                    if octet == b'\n' {
                        let keeps = self.state == State::Keep;
                        self.state = if keeps { State::LineStart } else { State::DropLineStart };
                    }
                }
            }
            // These are `push`'s.
            state @ (State::Keep | State::Drop | State::Body) => self.state = state,
        }
    }

    fn start_line(&mut self, octet: u8, out: &mut Vec<u8>) {
        match octet {
            b'\r' => {
                self.held.push(octet);
                self.state = State::EmptyCr;
            }
            b'\n' => {
                out.push(octet);
                self.state = State::Body;
            }
            b'a' | b'A' => {
                self.held.push(octet);
                self.state = State::Name(1);
            }
            _ => {
                out.push(octet);
                self.state = State::Keep;
            }
        }
    }

    /// It is another field.
    fn pass(&mut self, octet: u8, out: &mut Vec<u8>) {
        self.release(out);
        self.state = if octet == b'\n' { State::LineStart } else { State::Keep };
    }

    fn drop_field(&mut self, octet: u8) {
        self.held = Vec::new();
        self.removed = self.removed.saturating_add(1);
        self.state = if octet == b'\n' { State::DropLineStart } else { State::Drop };
    }

    /// Lets the field that is held pass, or removes it.
    fn decide(&mut self, verdict: Verdict, out: &mut Vec<u8>) {
        let State::Value(reader, _) = &self.state else { return };
        let stays = verdict == Verdict::Read && reader.is_of_others(&self.ours);
        if stays {
            self.release(out);
            self.state = State::Keep;
        } else {
            self.drop_field(b' ');
        }
    }
}

fn is_blank(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t')
}

/// Reads `[CFWS] authserv-id [CFWS authres-version] [CFWS] ";"` (RFC 8601 §2.2).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct IdReader {
    phase: Phase,
    /// Comments that are open.
    depth: u8,
    after_backslash: bool,
    id: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Phase {
    #[default]
    Before,
    Token,
    Quoted,
    After,
    Version,
    AfterVersion,
}

/// Comments within comments that are read.
const COMMENT_DEPTH_MAX: u8 = 32;

impl IdReader {
    fn push(&mut self, octet: u8) -> Verdict {
        if self.depth > 0 {
            return self.comment(octet);
        }
        if self.phase == Phase::Quoted {
            return self.quoted(octet);
        }
        self.phase = match (self.phase, octet) {
            (Phase::Token, b' ' | b'\t' | b'\r' | b'\n') => Phase::After,
            (Phase::Version, b' ' | b'\t' | b'\r' | b'\n') => Phase::AfterVersion,
            (phase, b' ' | b'\t' | b'\r' | b'\n') => phase,
            (phase, b'(') => {
                self.depth = 1;
                match phase {
                    Phase::Token => Phase::After,
                    Phase::Version => Phase::AfterVersion,
                    phase => phase,
                }
            }
            (Phase::Before, b'"') => Phase::Quoted,
            (Phase::Before | Phase::Token, octet) if is_token(octet) => {
                self.id.push(octet);
                Phase::Token
            }
            (Phase::After | Phase::Version, b'0'..=b'9') => Phase::Version,
            (Phase::Before, _) => return Verdict::Unreadable,
            (_, b';') => return Verdict::Read,
            _ => return Verdict::Unreadable,
        };
        Verdict::Open
    }

    fn comment(&mut self, octet: u8) -> Verdict {
        match octet {
            _ if self.after_backslash => self.after_backslash = false,
            b'\\' => self.after_backslash = true,
            b'(' if self.depth == COMMENT_DEPTH_MAX => return Verdict::Unreadable,
            b'(' => self.depth += 1,
            b')' => self.depth -= 1,
            _ => {}
        }
        Verdict::Open
    }

    fn quoted(&mut self, octet: u8) -> Verdict {
        match octet {
            _ if self.after_backslash => {
                self.after_backslash = false;
                self.id.push(octet);
            }
            b'\\' => self.after_backslash = true,
            b'"' => self.phase = Phase::After,
            b'\r' | b'\n' => {}
            _ => self.id.push(octet),
        }
        Verdict::Open
    }

    /// What is known when the field ends here. Some writers leave out the semicolon.
    fn end(&self) -> Verdict {
        let is_whole = self.depth == 0 && !matches!(self.phase, Phase::Before | Phase::Quoted);
        if is_whole { Verdict::Read } else { Verdict::Unreadable }
    }

    /// Whether the name is one, and none of `ours`.
    fn is_of_others(&self, ours: &[Domain]) -> bool {
        let Ok(id) = std::str::from_utf8(&self.id) else { return false };
        if id.contains(|c: char| c.is_control() && c != '\t') {
            return false;
        }
        // A quoted name that was folded has a blank in it.
        let id: String = id.split_whitespace().collect();
        let id = id.trim_end_matches('.');
        // What is no domain can be none of ours.
        !id.is_empty() && Domain::parse(id).map_or(true, |domain| !ours.contains(&domain))
    }
}

/// A token of RFC 2045 §5.1, or an octet of UTF-8 (RFC 6532).
fn is_token(octet: u8) -> bool {
    octet > b' ' && octet != 0x7f && !b"()<>@,;:\\\"/[]?=".contains(&octet)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use super::*;

    fn ours() -> Vec<Domain> {
        ["mx.us.example", "b\u{fc}cher.example"].map(|name| Domain::parse(name).unwrap()).into()
    }

    fn filter(input: &[u8], cuts: &[usize]) -> (Vec<u8>, u32) {
        let mut filter = ResultsFilter::new(ours());
        let mut out = Vec::new();
        let mut from = 0;
        for to in cuts.iter().copied().chain([input.len()]) {
            filter.push(&input[from..to], &mut out);
            assert!(filter.held.len() <= ResultsFilter::HELD_OCTETS_MAX);
            from = to;
        }
        filter.finish(&mut out);
        (out, filter.removed())
    }

    const FORGED: &[&str] = &[
        "Authentication-Results: mx.us.example; dmarc=pass header.from=bank.example\r\n",
        "authentication-RESULTS:MX.us.EXAMPLE;none\r\n",
        "Authentication-Results \t: mx.us.example; none\r\n",
        "Authentication-Results\r\n : mx.us.example; none\r\n",
        "Authentication-Results\x0c\x0b: mx.us.example; none\r\n",
        "Authentication-Results:\r\n\tmx.us.example;\r\n\tspf=pass\r\n\t smtp.mailfrom=a\r\n",
        "Authentication-Results: (a (nested \\) one) comment)\r\n (two) mx.us.example (x) 1; none\r\n",
        "Authentication-Results: \"mx.us.example\"; none\r\n",
        "Authentication-Results: \"mx.\\us.ex\r\n ample\"; none\r\n",
        "Authentication-Results: mx.us.example.; none\r\n",
        "Authentication-Results: mx.us.example 1; none\r\n",
        "Authentication-Results: mx.us.example\r\n",
        "Authentication-Results: mx.us.example(; none\r\n",
        "Authentication-Results: b\u{fc}cher.example; none\r\n",
        "Authentication-Results: xn--bcher-kva.EXAMPLE; none\r\n",
        // No readable authserv-id.
        "Authentication-Results: spf=pass smtp.mailfrom=a@mx.us.example\r\n",
        "Authentication-Results: ; none\r\n",
        "Authentication-Results:\r\n",
        "Authentication-Results: (mx.us.example; none\r\n",
        "Authentication-Results: \"mx.us.example; none\r\n",
        "Authentication-Results: them.example mx.us.example; none\r\n",
        "Authentication-Results: them.example, mx.us.example; none\r\n",
        "Authentication-Results: m\0x.us.example; none\r\n",
        "Authentication-Results: \"m\0x.us.example\"; none\r\n",
        "Authentication-Results: \"\"; none\r\n",
        "Authentication-Results: them.example 1 mx.us.example; none\r\n",
        "Authentication-Results: them.example/mx.us.example; none\r\n",
    ];

    const OTHERS: &[&str] = &[
        "Authentication-Results: them.example; dkim=pass header.d=mx.us.example\r\n",
        "Authentication-Results: a.mx.us.example;\r\n\tnone\r\n",
        "Authentication-Results: us.example 1 (x); none\r\n",
        "Authentication-Results: them.example\r\n",
        "Authentication-Results: \"any thing\"; none\r\n",
        "Authentication-Results: them_too; none\r\n",
        "Authentication-Results-Old: mx.us.example; none\r\n",
        "X-Authentication-Results: mx.us.example; none\r\n",
        "ARC-Authentication-Results: i=1; mx.us.example; none\r\n",
        "Authentication-Result: mx.us.example; none\r\n",
        "Authentication-Results\r\n",
        "Authentication-Results x: mx.us.example; none\r\n",
        "Subject: x\r\n Authentication-Results: mx.us.example; none\r\n",
        "A\r\n",
        "\rAuthentication-Results: mx.us.example; none\r\n",
        "From: a@them.example\r\n",
    ];

    #[test]
    fn what_claims_to_be_ours_goes() {
        for forged in FORGED {
            let input = format!("From: a\r\n{forged}To: b\r\n\r\n{forged}");
            let expected = format!("From: a\r\nTo: b\r\n\r\n{forged}");
            let (out, removed) = filter(input.as_bytes(), &[]);
            assert_eq!((String::from_utf8_lossy(&out), removed), (expected.into(), 1), "{forged}");
            assert_eq!(
                filter(forged.as_bytes(), &[]),
                (Vec::new(), 1),
                "without an end of the header: {forged}"
            );
        }
    }

    #[test]
    fn all_else_stays() {
        for other in OTHERS {
            let input = format!("{other}To: b\r\n\r\n{}", FORGED[0]);
            let (out, removed) = filter(input.as_bytes(), &[]);
            assert_eq!((String::from_utf8_lossy(&out), removed), (input.as_str().into(), 0), "{other}");
            assert_eq!(filter(other.as_bytes(), &[]), (other.as_bytes().to_vec(), 0), "{other}");
        }
        for input in [&b""[..], b"\r\n", b"\n", b"\r", b"Authentication-Res", b"no header at all"] {
            assert_eq!(filter(input, &[]), (input.to_vec(), 0));
        }
    }

    /// Who reads whole fields finds nothing in those that stay that would be ours.
    #[test]
    fn the_reader_of_whole_fields_agrees() {
        use crate::authentication_results::parse;

        let mut kept = 0;
        for field in FORGED.iter().chain(OTHERS) {
            let Some((name, value)) = field.split_once(':') else { continue };
            if !name.trim_end().eq_ignore_ascii_case("authentication-results")
                || filter(field.as_bytes(), &[]).1 > 0
            {
                continue;
            }
            let Ok(parsed) = parse(value.as_bytes()) else { continue };
            kept += 1;
            let id = Domain::parse(&parsed.authserv_id);
            assert!(id.is_err() || !ours().contains(&id.unwrap()), "{field}");
        }
        assert!(kept >= 3);
    }

    /// A header of forged and other fields in any order, cut anywhere: what stays is known from its making.
    #[test]
    fn any_mixture_cut_anywhere_loses_what_is_forged_and_nothing_else() {
        let mut seed = 0x2545_f491_u32;
        let mut next = |below: usize| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as usize % below
        };
        for _ in 0..2000 {
            let (mut input, mut expected, mut forged) = (Vec::new(), Vec::new(), 0);
            for _ in 0..next(6) {
                if next(2) == 0 {
                    input.extend_from_slice(FORGED[next(FORGED.len())].as_bytes());
                    forged += 1;
                } else {
                    let other = OTHERS[next(OTHERS.len())].as_bytes();
                    input.extend_from_slice(other);
                    expected.extend_from_slice(other);
                }
            }
            if next(4) > 0 {
                let body = format!("\r\n{}{}", FORGED[next(FORGED.len())], OTHERS[next(OTHERS.len())]);
                input.extend_from_slice(body.as_bytes());
                expected.extend_from_slice(body.as_bytes());
            }
            let mut cuts: Vec<usize> = (0..next(4)).map(|_| next(input.len() + 1)).collect();
            cuts.sort_unstable();
            let shown = input.escape_ascii();
            assert_eq!(filter(&input, &cuts), (expected.clone(), forged), "{shown} cut at {cuts:?}");
            let every: Vec<usize> = (0..input.len()).collect();
            assert_eq!(filter(&input, &every), (expected, forged), "{shown} in single octets");
        }
    }

    /// Octets that mean something, in any order: nothing is held too long, cuts don't matter, the body stays.
    #[test]
    fn octets_without_sense_do_no_harm() {
        let pieces: [&[u8]; 16] = [
            b"Authentication-Results",
            b":",
            b" ",
            b"\r\n",
            b"\n",
            b"\r",
            b"(",
            b")",
            b"\"",
            b"\\",
            b";",
            b"mx.us.example",
            b"them.example",
            b"1",
            b"\0",
            b"\xff",
        ];
        let mut seed = 7_u32;
        let mut next = |below: usize| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as usize % below
        };
        for _ in 0..5000 {
            let mut input = Vec::new();
            for _ in 0..next(24) {
                input.extend_from_slice(pieces[next(pieces.len())]);
            }
            let whole = filter(&input, &[]);
            let cut = next(input.len() + 1);
            assert_eq!(filter(&input, &[cut]), whole, "{} cut at {cut}", input.escape_ascii());
            let mut with_body = b"X: y\r\n\r\n".to_vec();
            with_body.extend_from_slice(&input);
            assert_eq!(filter(&with_body, &[cut]), (with_body.clone(), 0));
        }
    }

    #[test]
    fn a_name_behind_too_much_is_unreadable() {
        let before = "Authentication-Results:".len();
        let field = |blanks: usize| format!("Authentication-Results:{}them.example;\r\n", " ".repeat(blanks));
        let most = ResultsFilter::HELD_OCTETS_MAX - before - "them.example;".len();
        let fits = field(most);
        assert_eq!(filter(fits.as_bytes(), &[]), (fits.clone().into_bytes(), 0));
        assert_eq!(filter(field(most + 1).as_bytes(), &[]), (Vec::new(), 1));
        let gap = |blanks: usize| format!("Authentication-Results{}: a;\r\nTo: b\r\n", " ".repeat(blanks));
        let (out, removed) = filter(gap(ResultsFilter::HELD_OCTETS_MAX).as_bytes(), &[]);
        assert_eq!((out, removed), (b"To: b\r\n".to_vec(), 1));
        let nested = |depth: usize| {
            format!("Authentication-Results: {}{} a;\r\n", "(".repeat(depth), ")".repeat(depth))
        };
        let fits = nested(usize::from(COMMENT_DEPTH_MAX));
        assert_eq!(filter(fits.as_bytes(), &[]), (fits.clone().into_bytes(), 0));
        assert_eq!(filter(nested(usize::from(COMMENT_DEPTH_MAX) + 1).as_bytes(), &[]), (Vec::new(), 1));
    }
}

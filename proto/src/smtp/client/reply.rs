//! What the other server says: lines to replies (RFC 5321 §4.2), enhanced codes (RFC 2034, RFC 3463).
//!
//! Always holds: a reply is bounded by the limits below, however it is cut into pieces; its text has no
//! control character and nothing that turns the direction of writing around, so it can go into logs, reports
//! and header fields as it is.

use std::fmt;

use memchr::memchr;

use crate::smtp::reply::Class;

/// Octets of a line, line break included. RFC 5321 §4.5.3.1.5 has 512; a challenge of AUTH may have 12,288
/// (RFC 4954 §4).
pub const LINE_OCTETS_MAX: usize = 12_288 + 16;
/// Lines of a reply.
pub const LINES_MAX: usize = 256;
/// Octets of a reply.
pub const REPLY_OCTETS_MAX: usize = 64 * 1024;
/// Octets of text that are kept of a reply about mail; a server may send thousands of them.
pub const KEPT_OCTETS_MAX: usize = 2048;

const _: () = assert!(LINE_OCTETS_MAX < REPLY_OCTETS_MAX && KEPT_OCTETS_MAX < LINE_OCTETS_MAX);

/// An enhanced status code; its class is that of the reply (RFC 3463 §2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EnhancedCode {
    /// 2, 4 or 5.
    pub class: u8,
    /// What it is about, 0 to 999.
    pub subject: u16,
    /// What of it, 0 to 999.
    pub detail: u16,
}

impl EnhancedCode {
    /// Reads `2.1.5`, and gives what follows it.
    pub(crate) fn parse_prefix(text: &str) -> Option<(Self, &str)> {
        let (class, rest) = text.split_once('.')?;
        let (subject, rest) = rest.split_once('.')?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (detail, rest) = rest.split_at(digits);
        let class = match class {
            "2" => 2,
            "4" => 4,
            "5" => 5,
            _ => return None,
        };
        Some((Self { class, subject: number(subject)?, detail: number(detail)? }, rest))
    }

    /// Reads a code that is alone.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::parse_prefix(text).filter(|(_, rest)| rest.is_empty()).map(|(code, _)| code)
    }
}

fn number(text: &str) -> Option<u16> {
    let fits = (1..=3).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_digit());
    if fits { text.parse().ok() } else { None }
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// One reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    code: u16,
    enhanced: Option<EnhancedCode>,
    text: Box<str>,
}

impl Reply {
    /// Makes one, for callers that have a code and a text of their own. None for a code outside 200 to 599.
    #[must_use]
    pub fn new(code: u16, enhanced: Option<EnhancedCode>, text: &str) -> Option<Self> {
        let text: String = text.split('\n').map(harmless).collect::<Vec<_>>().join("\n");
        (200..=599).contains(&code).then(|| Self { code, enhanced, text: text.into() })
    }

    /// The basic code, 200 to 599.
    #[must_use]
    pub const fn code(&self) -> u16 {
        self.code
    }

    /// The enhanced code, if there is one of the same class.
    #[must_use]
    pub const fn enhanced(&self) -> Option<EnhancedCode> {
        self.enhanced
    }

    /// The first digit.
    #[must_use]
    pub const fn class(&self) -> Class {
        match self.code / 100 {
            2 => Class::Positive,
            3 => Class::Intermediate,
            4 => Class::Transient,
            _ => Class::Permanent,
        }
    }

    /// The lines without codes, a line break between two.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the other side closes the connection now (RFC 5321 §3.8).
    #[must_use]
    pub const fn is_closing(&self) -> bool {
        self.code == 421
    }

    /// The same with at most [`KEPT_OCTETS_MAX`] octets of text.
    pub(crate) fn kept(mut self) -> Self {
        if self.text.len() > KEPT_OCTETS_MAX {
            let end = self.text.floor_char_boundary(KEPT_OCTETS_MAX);
            self.text = self.text[..end].into();
        }
        self
    }
}

/// On one line: `550 5.1.1 no such user`.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        self.text.split('\n').filter(|line| !line.is_empty()).try_for_each(|line| write!(f, " {line}"))
    }
}

/// What is wrong with what the other side says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum PeerFault {
    /// A line that begins with no code.
    #[error("it sent a line that is no reply")]
    NotAReply,
    /// Lines of one reply with different codes.
    #[error("it sent a reply with several codes")]
    CodesDiffer,
    /// Over [`LINE_OCTETS_MAX`], [`LINES_MAX`] or [`REPLY_OCTETS_MAX`].
    #[error("it sent a reply that is too long")]
    TooLong,
    /// A reply to nothing.
    #[error("it sent a reply that nobody had asked for")]
    Unsolicited,
    /// A reply whose code makes no sense at this place.
    #[error("it sent a reply that doesn't fit the command")]
    OutOfStep,
    /// Something between the reply to STARTTLS and the handshake, where anybody can put it (CVE-2011-0411).
    #[error("something was put into the connection before TLS began")]
    Injection,
}

/// Puts replies together from octets.
#[derive(Clone, Debug, Default)]
pub struct ReplyReader {
    input: Vec<u8>,
    /// Where in the input the next line starts.
    start: usize,
    /// Up to where no line end was found.
    searched: usize,
    /// Of the reply that is being read: code, lines and octets.
    code: Option<u16>,
    lines: Vec<String>,
    octets: usize,
}

impl ReplyReader {
    /// One without input.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what came.
    pub fn push(&mut self, octets: &[u8]) {
        self.input.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.input.extend_from_slice(octets);
    }

    /// Whether all input was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.input.len() && self.code.is_none()
    }

    /// The next reply; none when its end must still come. After a fault nothing can be said of what follows.
    pub fn next_reply(&mut self) -> Result<Option<Reply>, PeerFault> {
        loop {
            let Some(found) = memchr(b'\n', &self.input[self.searched..]) else {
                self.searched = self.input.len();
                let waiting = self.input.len() - self.start;
                return if waiting < LINE_OCTETS_MAX { Ok(None) } else { Err(PeerFault::TooLong) };
            };
            let end = self.searched + found + 1;
            let line = &self.input[self.start..end];
            self.octets += line.len();
            if line.len() > LINE_OCTETS_MAX || self.octets > REPLY_OCTETS_MAX {
                return Err(PeerFault::TooLong);
            }
            let (code, more, text) = read_line(line)?;
            (self.start, self.searched) = (end, end);
            if self.code.is_some_and(|before| before != code) {
                return Err(PeerFault::CodesDiffer);
            }
            if self.lines.len() == LINES_MAX {
                return Err(PeerFault::TooLong);
            }
            self.code = Some(code);
            self.lines.push(text);
            if !more {
                self.octets = 0;
                self.code = None;
                return Ok(Some(assemble(code, std::mem::take(&mut self.lines))));
            }
        }
    }
}

/// Code, whether more lines follow, and text. What stands behind the code is a hyphen, a space, or (which
/// breaks the grammar, but is in use) the text at once.
fn read_line(line: &[u8]) -> Result<(u16, bool, String), PeerFault> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (digits, rest) = line.split_at_checked(3).ok_or(PeerFault::NotAReply)?;
    if !matches!(digits[0], b'2'..=b'5') || !digits.iter().all(u8::is_ascii_digit) {
        return Err(PeerFault::NotAReply);
    }
    let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    let (more, text) = match rest {
        [b'-', text @ ..] => (true, text),
        [b' ', text @ ..] => (false, text),
        [b'0'..=b'9', ..] => return Err(PeerFault::NotAReply),
        text => (false, text),
    };
    Ok((code, more, harmless(&String::from_utf8_lossy(text))))
}

/// The text without what could end a line, hide, or turn the direction of what follows it.
pub(crate) fn harmless(text: &str) -> String {
    let fits = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let shown = |c: char| match c {
        '\t' => ' ',
        c if fits(c) => c,
        _ => '?',
    };
    text.trim_end().chars().map(shown).collect()
}

/// Takes the enhanced code off the lines, each of which repeats it (RFC 2034 §4). It is looked for whether it
/// was announced or not, and one of another class counts as text.
fn assemble(code: u16, lines: Vec<String>) -> Reply {
    let read = |line: &str| {
        let (enhanced, rest) = EnhancedCode::parse_prefix(line)?;
        let fits = u16::from(enhanced.class) == code / 100 && (rest.is_empty() || rest.starts_with(' '));
        fits.then(|| (enhanced, rest.trim_start().to_owned()))
    };
    let enhanced = lines.iter().find_map(|line| read(line)).map(|(enhanced, _)| enhanced);
    let text = |line: &String| match read(line) {
        Some((own, rest)) if Some(own) == enhanced => rest,
        _ => line.clone(),
    };
    let text = lines.iter().map(text).collect::<Vec<_>>().join("\n");
    Reply { code, enhanced, text: text.into() }
}

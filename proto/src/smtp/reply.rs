//! Replies (RFC 5321 §4.2) with enhanced status codes (RFC 2034, RFC 3463).
//!
//! Always holds: basic and enhanced code have one class; a reply leaves as whole lines of at most
//! [`Reply::LINE_OCTETS_MAX`] octets of printable ASCII, whatever its text holds.

use std::borrow::Cow;

/// First digit of both codes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Class {
    /// 2yz: done.
    Positive = 2,
    /// 3yz: go on.
    Intermediate = 3,
    /// 4yz: not now.
    Transient = 4,
    /// 5yz: no.
    Permanent = 5,
}

/// One reply. A line break in its text starts a new line of the reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    class: Class,
    basic: u8,
    detail: Option<(u8, u8)>,
    text: Cow<'static, str>,
}

impl Reply {
    /// The longest line, line break not counted (RFC 5321 §4.5.3.1.5 allows 512 with it).
    pub const LINE_OCTETS_MAX: usize = 510;
    /// Long lines are split at the last space from here on.
    const SPLIT_FROM: usize = 400;

    /// A constant reply: code `class` and `basic` (two digits), enhanced code `class`.`detail`.
    pub const fn new(class: Class, basic: u8, detail: (u8, u8), text: &'static str) -> Self {
        assert!(basic < 60, "the second digit of a reply code is 0 to 5");
        Self { class, basic, detail: Some(detail), text: Cow::Borrowed(text) }
    }

    /// A constant reply without enhanced code: greeting, EHLO and what is of class 3 (RFC 2034 §4).
    pub const fn plain(class: Class, basic: u8, text: &'static str) -> Self {
        assert!(basic < 60, "the second digit of a reply code is 0 to 5");
        Self { class, basic, detail: None, text: Cow::Borrowed(text) }
    }

    /// The same codes with another text.
    #[must_use]
    pub fn with_text(self, text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), ..self }
    }

    /// The class of both codes.
    pub fn class(&self) -> Class {
        self.class
    }

    /// The basic code, 200 to 559.
    pub fn code(&self) -> u16 {
        self.class as u16 * 100 + u16::from(self.basic)
    }

    /// The enhanced code.
    pub fn enhanced(&self) -> Option<(u8, u8, u8)> {
        self.detail.map(|(subject, detail)| (self.class as u8, subject, detail))
    }

    /// The text without codes.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it refuses, for now or for good.
    pub fn is_refusal(&self) -> bool {
        self.class >= Class::Transient
    }

    /// After 421 the connection is closed (RFC 5321 §3.8).
    pub fn is_closing(&self) -> bool {
        self.class == Class::Transient && self.basic == 21
    }

    /// Appends the lines of the reply to `out`. Refusals end in ` (reference)`, by which a postmaster
    /// finds the connection in our log.
    pub fn encode(&self, reference: Option<&str>, out: &mut Vec<u8>) {
        let code = self.code().to_string();
        let enhanced = match self.enhanced() {
            Some((class, subject, detail)) => format!("{class}.{subject}.{detail} "),
            None => String::new(),
        };
        let mut text = self.text.trim_end_matches('\n').replace('\r', "");
        if let Some(reference) = reference.filter(|_| self.is_refusal()) {
            text.push_str(" (");
            text.push_str(reference);
            text.push(')');
        }
        // A challenge (334) is one line however long it is (RFC 4954 §4).
        let room = match self.class {
            Class::Intermediate => usize::MAX,
            _ => Self::LINE_OCTETS_MAX - code.len() - 1 - enhanced.len(),
        };
        let text = printable(&text);
        let lines: Vec<&str> = text.split('\n').flat_map(|line| Wrapped { rest: Some(line), room }).collect();
        for (at, line) in lines.iter().enumerate() {
            let separator = if at + 1 == lines.len() { b' ' } else { b'-' };
            out.extend_from_slice(code.as_bytes());
            out.push(separator);
            out.extend_from_slice(enhanced.as_bytes());
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }

    /// The lines as text, for logs and tests.
    pub fn to_wire(&self) -> String {
        let mut out = Vec::new();
        self.encode(None, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }
}

/// What is neither printable ASCII nor a line break becomes `?`, so no text can end a line early.
fn printable(text: &str) -> String {
    let fits = |c: char| matches!(c, ' '..='~' | '\n');
    text.chars().map(|c| if fits(c) { c } else { '?' }).collect()
}

/// Cuts a line of ASCII into pieces of at most `room` octets.
struct Wrapped<'a> {
    rest: Option<&'a str>,
    room: usize,
}

impl<'a> Iterator for Wrapped<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let line = self.rest?;
        if line.len() <= self.room {
            self.rest = None;
            return Some(line);
        }
        let cut = match line[..=self.room].rfind(' ') {
            Some(space) if space >= Reply::SPLIT_FROM => space,
            _ => self.room,
        };
        let (piece, rest) = line.split_at(cut);
        self.rest = Some(rest.strip_prefix(' ').unwrap_or(rest));
        Some(piece)
    }
}

/// The replies that the session gives by itself, and those that drivers share.
#[expect(missing_docs, reason = "name, codes and text say all")]
impl Reply {
    const fn ok(basic: u8, detail: (u8, u8), text: &'static str) -> Self {
        Self::new(Class::Positive, basic, detail, text)
    }
    const fn later(basic: u8, detail: (u8, u8), text: &'static str) -> Self {
        Self::new(Class::Transient, basic, detail, text)
    }
    const fn no(basic: u8, detail: (u8, u8), text: &'static str) -> Self {
        Self::new(Class::Permanent, basic, detail, text)
    }

    pub const HELP: Self = Self::ok(14, (0, 0), "see RFC 5321");
    pub const READY_FOR_TLS: Self = Self::ok(20, (0, 0), "start TLS now");
    pub const BYE: Self = Self::ok(21, (0, 0), "bye");
    pub const AUTHENTICATED: Self = Self::ok(35, (7, 0), "authenticated");
    pub const DONE: Self = Self::ok(50, (0, 0), "done");
    pub const SENDER_OK: Self = Self::ok(50, (1, 0), "sender is fine");
    pub const RECIPIENT_OK: Self = Self::ok(50, (1, 0), "recipient is fine");
    pub const CHUNK_OK: Self = Self::ok(50, (0, 0), "chunk received");
    pub const DELIVERED: Self = Self::ok(50, (2, 0), "message accepted");
    pub const CANNOT_VERIFY: Self = Self::ok(52, (7, 0), "send the message and see");
    pub const START_CONTENT: Self =
        Self::plain(Class::Intermediate, 54, "end with a dot on a line by itself");

    pub const SHUTTING_DOWN: Self = Self::later(21, (3, 2), "shutting down, try again soon");
    pub const TIMEOUT: Self = Self::later(21, (4, 2), "timeout");
    pub const TOO_MANY_ERRORS: Self = Self::later(21, (7, 0), "too many errors");
    pub const TOO_MANY_COMMANDS: Self = Self::later(21, (7, 0), "too many commands without a message");
    pub const TOO_MANY_CHUNKS: Self = Self::later(21, (7, 0), "too many tiny chunks");
    pub const TOO_MANY_AUTH_FAILURES: Self = Self::later(21, (7, 0), "too many failed authentications");
    pub const TOO_MANY_CONNECTIONS: Self = Self::later(21, (7, 0), "too many connections from your network");
    pub const LOCAL_ERROR: Self = Self::later(51, (3, 0), "local error, try again later");
    pub const CONGESTED: Self = Self::later(51, (4, 5), "the disk doesn't keep up, try again later");
    pub const NOT_STORED_IN_TIME: Self = Self::later(51, (3, 0), "not stored in time, try again later");
    pub const STORAGE_FULL: Self = Self::later(52, (3, 1), "no space left, try again later");
    pub const MAILBOX_FULL: Self = Self::later(52, (2, 2), "mailbox is full");
    pub const TOO_MUCH_MAIL: Self =
        Self::later(52, (2, 2), "too much mail from your network for this mailbox, try again later");
    pub const TOO_MANY_RECIPIENTS: Self = Self::later(52, (5, 3), "too many recipients");
    pub const ONE_RECIPIENT_FOR_NULL: Self =
        Self::later(52, (5, 3), "null sender may have one recipient only");
    pub const AUTH_NOT_NOW: Self = Self::later(54, (7, 0), "authentication is not possible now");

    pub const LINE_TOO_LONG: Self = Self::no(0, (5, 0), "line too long");
    pub const UNKNOWN_COMMAND: Self = Self::no(0, (5, 1), "unknown command");
    pub const NOT_SMTP: Self = Self::no(0, (5, 2), "please try again speaking smtp");
    pub const BARE_LINE_END: Self =
        Self::no(0, (5, 2), "commands end with CR LF, and hold neither elsewhere");
    pub const BARE_CR_LF: Self = Self::no(0, (5, 2), "invalid bare CR or LF, may be smtp smuggling");
    pub const SYNTAX: Self = Self::no(1, (5, 2), "syntax error");
    pub const NOT_UTF8: Self = Self::no(1, (5, 2), "command is not valid UTF-8");
    pub const NO_ARGUMENT: Self = Self::no(1, (5, 4), "command takes no argument");
    pub const BAD_HELO: Self = Self::no(1, (5, 4), "a domain or an address literal is needed");
    pub const BAD_SENDER: Self = Self::no(1, (1, 7), "bad sender address");
    pub const BAD_RECIPIENT: Self = Self::no(1, (1, 3), "bad recipient address");
    pub const BAD_PARAMETER: Self = Self::no(1, (5, 4), "bad value of a parameter");
    pub const DUPLICATE_PARAMETER: Self = Self::no(1, (5, 4), "parameter given twice");
    pub const HOLD_CONFLICT: Self = Self::no(1, (5, 4), "HOLDFOR and HOLDUNTIL exclude each other");
    pub const HOLD_OUT_OF_RANGE: Self = Self::no(1, (5, 4), "time of release is past or too far");
    pub const BAD_CHUNK: Self = Self::no(1, (5, 4), "BDAT needs a size, and LAST at most");
    pub const AUTH_ABORTED: Self = Self::no(1, (5, 0), "authentication aborted");
    pub const BAD_BASE64: Self = Self::no(1, (5, 2), "bad base64");
    pub const BAD_SEQUENCE: Self = Self::no(3, (5, 1), "bad sequence of commands");
    pub const HELO_FIRST: Self = Self::no(3, (5, 1), "say EHLO first");
    pub const MAIL_FIRST: Self = Self::no(3, (5, 1), "MAIL first");
    pub const RCPT_FIRST: Self = Self::no(3, (5, 1), "no valid recipients");
    pub const NESTED_MAIL: Self = Self::no(3, (5, 1), "a mail transaction is active already");
    pub const BDAT_ONLY: Self =
        Self::no(3, (5, 1), "BINARYMIME and begun BDAT transactions end with BDAT LAST or RSET");
    pub const TLS_ACTIVE: Self = Self::no(3, (5, 1), "TLS is active already");
    pub const NO_TLS_HERE: Self = Self::no(3, (5, 1), "STARTTLS is not offered");
    pub const TLS_PIPELINED: Self = Self::no(3, (5, 1), "nothing may follow STARTTLS before its reply");
    pub const NO_AUTH_HERE: Self = Self::no(3, (5, 1), "AUTH is not offered");
    pub const AUTHENTICATED_ALREADY: Self = Self::no(3, (5, 1), "authenticated already");
    pub const UNKNOWN_MECHANISM: Self = Self::no(4, (5, 4), "unknown authentication mechanism");
    pub const REQUIRETLS_NEEDS_TLS: Self = Self::no(23, (7, 10), "REQUIRETLS needs TLS");
    pub const AUTH_REQUIRED: Self = Self::no(30, (7, 0), "authentication required");
    pub const TLS_REQUIRED: Self = Self::no(30, (7, 0), "STARTTLS first");
    pub const BAD_CREDENTIALS: Self = Self::no(35, (7, 8), "bad user name or password");
    pub const AUTH_NEEDS_TLS: Self = Self::no(38, (7, 11), "authentication needs TLS");
    pub const TOO_MANY_FAILURES: Self = Self::no(50, (1, 0), "too many failures");
    pub const NO_SUCH_USER: Self = Self::no(50, (1, 1), "no such user");
    pub const LITERAL_RECIPIENT: Self = Self::no(50, (1, 1), "mail to address literals is not accepted");
    pub const LITERAL_SENDER: Self = Self::no(50, (7, 0), "address literal as sender is not accepted");
    pub const MAIL_LOOP: Self = Self::no(50, (4, 6), "mail loop: too many Received fields");
    pub const SENDER_NEEDS_UTF8: Self = Self::no(50, (6, 7), "address needs SMTPUTF8");
    pub const RECIPIENT_NEEDS_UTF8: Self = Self::no(53, (6, 7), "address needs SMTPUTF8");
    pub const MESSAGE_TOO_BIG: Self = Self::no(52, (3, 4), "message too big");
    pub const MESSAGE_OVER_LIMIT: Self = Self::no(52, (2, 3), "message over the limit that is set here");
    pub const UNKNOWN_PARAMETER: Self = Self::no(55, (3, 3), "unknown parameter, or not offered here");
    pub const UNKNOWN_BODY: Self = Self::no(55, (5, 4), "unknown value of BODY");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(reply: &Reply) -> Vec<String> {
        let wire = reply.to_wire();
        assert!(wire.ends_with("\r\n"));
        wire.trim_end_matches("\r\n").split("\r\n").map(str::to_owned).collect()
    }

    #[test]
    fn codes_share_a_class() {
        assert_eq!(Reply::MAIL_LOOP.to_wire(), "550 5.4.6 mail loop: too many Received fields\r\n");
        assert_eq!(Reply::TOO_MANY_RECIPIENTS.to_wire(), "452 4.5.3 too many recipients\r\n");
        assert_eq!(Reply::START_CONTENT.to_wire(), "354 end with a dot on a line by itself\r\n");
    }

    #[test]
    fn the_reference_stands_in_refusals_only() {
        let mut out = Vec::new();
        Reply::NO_SUCH_USER.encode(Some("abc"), &mut out);
        Reply::DONE.encode(Some("abc"), &mut out);
        assert_eq!(out, b"550 5.1.1 no such user (abc)\r\n250 2.0.0 done\r\n");
    }

    #[test]
    fn long_texts_are_wrapped_at_spaces_with_the_codes_repeated() {
        let words = "word ".repeat(400);
        let lines = lines(&Reply::LOCAL_ERROR.with_text(words.clone()));
        for (at, line) in lines.iter().enumerate() {
            assert!(line.len() <= 510);
            let start = if at + 1 == lines.len() { "451 4.3.0 " } else { "451-4.3.0 " };
            assert!(line.starts_with(start), "{line}");
        }
        let joined: Vec<&str> = lines.iter().map(|line| &line[10..]).collect();
        assert_eq!(joined.join(" "), words);
    }

    #[test]
    fn a_line_of_510_octets_is_one_line_and_of_511_two() {
        assert_eq!(lines(&Reply::LOCAL_ERROR.with_text("x".repeat(500))).len(), 1);
        let two = lines(&Reply::LOCAL_ERROR.with_text("x".repeat(501)));
        assert_eq!((two.len(), two[0].len(), two[1].as_str()), (2, 510, "451 4.3.0 x"));
    }

    #[test]
    fn a_challenge_is_one_line() {
        let challenge = Reply::plain(Class::Intermediate, 34, "").with_text("A".repeat(4000));
        assert_eq!(lines(&challenge).len(), 1);
    }

    #[test]
    fn no_text_can_forge_a_reply() {
        let reply = Reply::LOCAL_ERROR.with_text("a\r250 ok\nb\u{85}\u{2028}\tc\n");
        assert_eq!(lines(&reply), ["451-4.3.0 a250 ok", "451 4.3.0 b???c"]);
    }
}

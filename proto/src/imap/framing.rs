//! Cuts what a client sends into commands (RFC 9051 §2.2.1, literals: §4.3, RFC 7888, RFC 3516 §4).
//!
//! A command is a line, or pieces of a line with literals between them. The framer collects the
//! whole of it within [`Limits`], except the messages of APPEND, which stream. It knows nothing of
//! grammar but where a literal begins (at the end of a line) and which literals are messages.
//!
//! The driver calls [`Framer::push`] with what it read and then [`Framer::next_frame`] until that
//! returns none; only then it reads more, so what is held is bounded. What comes out does not
//! depend on how the input was cut. A frame is answered before the next is taken, because the
//! answer may change how the next octets are read (IDLE, AUTHENTICATE, STARTTLS).

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use memchr::memchr;

use super::command::{Fault, Tag, read_tag, stands_before_message};
use super::limits::Limits;

/// Digits of a literal's size: those of the largest 64-bit number.
const LITERAL_DIGITS_MAX: usize = 20;
/// Octets at the end of a line that can hold a literal header: `~{`, digits, `+}`, CR LF.
const HEADER_OCTETS_MAX: usize = LITERAL_DIGITS_MAX + 6;
/// A buffer larger than this is given back as soon as what is unread fits in half of it.
const BUFFER_KEPT_OCTETS: usize = 16 * 1024;

/// One thing read from a client.
#[derive(Debug)]
pub enum Frame<'a> {
    /// A whole command for [`parse`](super::command::parse), with its literals and its line end.
    Command(&'a [u8]),
    /// A synchronising literal within the limits was announced: the driver sends a continuation
    /// request, or calls [`Framer::refuse_literal`] and answers with the tag.
    NeedContinuation,
    /// A literal of APPEND or REPLACE behind the mailbox was announced: a message, a part or a URL. The driver calls [`Framer::accept_message`]
    /// (and sends a continuation request when the literal is synchronising) or
    /// [`Framer::refuse_message`]; until then no frame comes.
    Message(MessageLiteral<'a>),
    /// Octets of the accepted message.
    MessageData(&'a [u8]),
    /// The rest of the command after its last message, with its line end; for
    /// [`AppendPieces::go_on`](super::command::AppendPieces::go_on).
    MessageEnd(&'a [u8]),
    /// The line asked for with [`Framer::expect_line`], without its line end.
    Line(&'a [u8]),
    /// Input beyond the limits; it is dropped, answered by [`Refused::fault`].
    Refused(Refused),
}

/// An announced message literal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MessageLiteral<'a> {
    /// What was read of the command: up to and with this literal's header. For the first message
    /// of a command from the tag on, for a further one (RFC 3502, RFC 4469) what follows the one before.
    pub head: &'a [u8],
    /// How long the message is.
    pub octets: u64,
    /// Whether the client waits for a continuation request.
    pub synchronising: Synchronising,
    /// Whether this is the first message of its command.
    pub order: MessageOrder,
}

/// Whether a client waits before it sends a literal (RFC 7888).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Synchronising {
    /// `{n}`: it waits.
    Waits,
    /// `{n+}`: it doesn't.
    Sends,
}

/// Which message of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MessageOrder {
    /// The first one.
    First,
    /// A later one (RFC 3502).
    Further,
}

/// Refused input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// The tag of the command, when it could be read.
    pub tag: Option<Tag>,
    /// Why.
    pub fault: Fault,
    /// What becomes of the connection.
    pub outcome: Outcome,
}

/// What becomes of the connection after a refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It goes on with the next command.
    Continues,
    /// It has to be closed with BYE: what follows cannot be told from commands, or is too much to
    /// throw away. No further frame comes.
    Closes,
}

/// The incremental reader of one connection's input.
#[derive(Debug)]
pub struct Framer {
    limits: Arc<Limits>,
    /// Octets not yet handed out, from `start` on.
    input: Vec<u8>,
    start: usize,
    /// From `start`: where the present piece of the line begins; everything before it belongs to
    /// the same command.
    piece: usize,
    /// From `start`: up to where the piece has been searched for its end.
    searched: usize,
    /// Of the present command: literals, their octets, and octets of text.
    literals: usize,
    literal_octets: u64,
    text_octets: usize,
    /// Octets thrown away since the last refusal.
    discarded: u64,
    /// The tag of the command whose messages stream.
    tag: Option<Tag>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Reading a piece of a command.
    Text,
    /// Reading a literal; from `start`, it ends at `end`.
    Literal { end: usize },
    /// A message literal was announced and waits for the driver.
    Offered { octets: u64, synchronising: Synchronising },
    /// Handing out a message.
    Message { left: u64 },
    /// Reading what follows a message.
    AfterMessage,
    /// Reading one line of an exchange.
    Line,
    /// Throwing away the rest of a line.
    DiscardText,
    /// Throwing away a literal and then the rest of its line.
    DiscardLiteral { left: u64 },
    /// No frame comes any more.
    Closed,
}

/// What one step of the reader led to.
enum Progress {
    /// A frame.
    Frame(Step),
    /// The state changed; go on.
    Again,
    /// More input, or an answer of the driver, is needed.
    Starved,
}

/// A frame without its borrow: ranges are of `input`.
enum Step {
    Command(Range<usize>),
    NeedContinuation,
    Message { head: Range<usize>, header: Header, order: MessageOrder },
    MessageData(Range<usize>),
    MessageEnd(Range<usize>),
    Line(Range<usize>),
    Refused(Refused),
}

/// The header of a literal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Header {
    octets: u64,
    synchronising: Synchronising,
}

/// The end of a piece of text, from `start`.
enum PieceEnd {
    At(usize),
    NotYet,
    TooLong,
}

impl Framer {
    /// A framer at the start of a connection.
    pub fn new(limits: Arc<Limits>) -> Self {
        Self {
            limits,
            input: Vec::new(),
            start: 0,
            piece: 0,
            searched: 0,
            literals: 0,
            literal_octets: 0,
            text_octets: 0,
            discarded: 0,
            tag: None,
            state: State::Text,
        }
    }

    /// Other limits from the next octet on, after login.
    pub fn set_limits(&mut self, limits: Arc<Limits>) {
        self.limits = limits;
    }

    /// The present limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Takes octets that were read.
    pub fn push(&mut self, octets: &[u8]) {
        if self.state == State::Closed {
            return;
        }
        self.compact();
        self.input.extend_from_slice(octets);
    }

    /// The octets that no frame has taken, for another framer: feed them to its `push`.
    pub fn unread(&self) -> &[u8] {
        &self.input[self.start..]
    }

    /// Drops what was read and not framed, and any command begun; returns how much it was. After
    /// STARTTLS: plaintext sent before the handshake must not be taken for commands (RFC 9051 §6.2.1).
    pub fn discard_unread(&mut self) -> usize {
        let dropped = self.unread().len();
        *self = Self::new(Arc::clone(&self.limits));
        dropped
    }

    /// Whether nothing is held: no octet unread and no command begun.
    pub fn is_idle(&self) -> bool {
        self.state == State::Text && self.unread().is_empty()
    }

    /// Reads the next line as an answer in an exchange (DONE of IDLE, SASL), not as a command.
    pub fn expect_line(&mut self) {
        if self.state == State::Text {
            self.state = State::Line;
        }
    }

    /// Refuses the literal of the last [`Frame::NeedContinuation`]: the command is dropped; its
    /// client sends nothing more of it (RFC 9051 §4.3). Returns the command's tag.
    pub fn refuse_literal(&mut self) -> Option<Tag> {
        let State::Literal { .. } = self.state else { return None };
        let tag = self.command_tag();
        self.drop_command(self.piece);
        tag
    }

    /// Lets the offered message in.
    pub fn accept_message(&mut self) {
        if let State::Offered { octets, .. } = self.state {
            self.state = if octets == 0 { State::AfterMessage } else { State::Message { left: octets } };
        }
    }

    /// Refuses the offered message and its command. What a client sends of it without waiting is
    /// thrown away; when that is too much, the connection has to be closed.
    pub fn refuse_message(&mut self) -> Outcome {
        let State::Offered { octets, synchronising } = self.state else { return Outcome::Continues };
        self.drop_command(0);
        match synchronising {
            Synchronising::Waits => Outcome::Continues,
            Synchronising::Sends if octets <= self.limits.message_discard_octets_max => {
                self.state = State::DiscardLiteral { left: octets };
                Outcome::Continues
            }
            Synchronising::Sends => {
                self.close();
                Outcome::Closes
            }
        }
    }

    /// The next frame; none when more input is needed or an offered message is unanswered.
    pub fn next_frame(&mut self) -> Option<Frame<'_>> {
        let Some(step) = self.step() else {
            if self.start == self.input.len() && !matches!(self.state, State::Message { .. }) {
                self.start = 0;
                self.input = Vec::new();
            }
            return None;
        };
        Some(match step {
            Step::Command(range) => Frame::Command(&self.input[range]),
            Step::NeedContinuation => Frame::NeedContinuation,
            Step::Message { head, header, order } => Frame::Message(MessageLiteral {
                head: &self.input[head],
                octets: header.octets,
                synchronising: header.synchronising,
                order,
            }),
            Step::MessageData(range) => Frame::MessageData(&self.input[range]),
            Step::MessageEnd(range) => Frame::MessageEnd(&self.input[range]),
            Step::Line(range) => Frame::Line(&self.input[range]),
            Step::Refused(refused) => Frame::Refused(refused),
        })
    }

    /// Advances until a frame is there or input runs out.
    fn step(&mut self) -> Option<Step> {
        loop {
            let progress = match self.state {
                State::Text => self.text(),
                State::Literal { end } => self.literal(end),
                State::Offered { .. } | State::Closed => Progress::Starved,
                State::Message { left } => self.message(left),
                State::AfterMessage => self.after_message(),
                State::Line => self.line(),
                State::DiscardText => self.discard_text(),
                State::DiscardLiteral { left } => self.discard_literal(left),
            };
            match progress {
                Progress::Frame(step) => return Some(step),
                Progress::Again => {}
                Progress::Starved => return None,
            }
        }
    }

    /// Reads a piece of a command: it ends the command, or a literal follows.
    fn text(&mut self) -> Progress {
        let end = match self.piece_end(self.limits.line_octets_max) {
            PieceEnd::NotYet => return Progress::Starved,
            PieceEnd::TooLong => return self.refuse_text(),
            PieceEnd::At(end) => end,
        };
        self.text_octets += end - self.piece;
        let command = self.start..self.start + end;
        let piece = &self.input[self.start + self.piece..self.start + end];
        let Some(header) = literal_header(piece) else {
            if ends_like_sent_literal(piece) {
                return self.refuse_closing(Fault::Syntax("a literal's size and CRLF expected"));
            }
            self.drop_command(end);
            return Progress::Frame(Step::Command(command));
        };
        if stands_before_message(&self.input[command.clone()], &self.limits) {
            self.tag = self.command_tag();
            return self.offer(end, header, MessageOrder::First);
        }
        if let Some(fault) = self.literal_fault(header) {
            return self.refuse_header(end, header, fault);
        }
        self.literals += 1;
        self.literal_octets += header.octets;
        self.begin_piece(end);
        self.state = State::Literal { end: end + usize::try_from(header.octets).unwrap_or(usize::MAX) };
        match header.synchronising {
            Synchronising::Waits => Progress::Frame(Step::NeedContinuation),
            Synchronising::Sends => Progress::Again,
        }
    }

    /// Waits until a literal is whole.
    fn literal(&mut self, end: usize) -> Progress {
        if self.input.len() - self.start < end {
            return Progress::Starved;
        }
        self.begin_piece(end);
        self.state = State::Text;
        Progress::Again
    }

    /// Hands out what is there of the message.
    fn message(&mut self, left: u64) -> Progress {
        let there = self.input.len() - self.start;
        if there == 0 {
            return Progress::Starved;
        }
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(there);
        let range = self.start..self.start + taken;
        self.start += taken;
        let left = left - taken as u64;
        self.state = if left == 0 { State::AfterMessage } else { State::Message { left } };
        Progress::Frame(Step::MessageData(range))
    }

    /// Reads the line after a message: the end of the command, or a further message.
    fn after_message(&mut self) -> Progress {
        let end = match self.piece_end(self.limits.line_octets_max) {
            PieceEnd::NotYet => return Progress::Starved,
            PieceEnd::TooLong => return self.refuse_text(),
            PieceEnd::At(end) => end,
        };
        self.text_octets += end - self.piece;
        let range = self.start..self.start + end;
        let line = &self.input[range.clone()];
        if let Some(header) = literal_header(line) {
            return self.offer(end, header, MessageOrder::Further);
        }
        if ends_like_sent_literal(line) {
            return self.refuse_closing(Fault::Syntax("a literal's size and CRLF expected"));
        }
        self.drop_command(end);
        Progress::Frame(Step::MessageEnd(range))
    }

    /// Reads a line of an exchange. A bare LF ends it as well: DONE and base64 leave no doubt.
    fn line(&mut self) -> Progress {
        let end = match self.piece_end(self.limits.sasl_line_octets_max) {
            PieceEnd::NotYet => return Progress::Starved,
            PieceEnd::TooLong => return self.refuse_closing(Fault::TooBig("line is too long")),
            PieceEnd::At(end) => end,
        };
        let line = &self.input[self.start..self.start + end];
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let range = self.start..self.start + line.len();
        self.drop_command(end);
        Progress::Frame(Step::Line(range))
    }

    /// Throws away text up to the end of its line.
    fn discard_text(&mut self) -> Progress {
        let there = &self.input[self.start..];
        let end = memchr(b'\n', there).map(|at| at + 1);
        // Without a line end, keep what may be the first octets of a literal header.
        let dropped = end.unwrap_or(there.len().saturating_sub(HEADER_OCTETS_MAX));
        let line = &there[..end.unwrap_or(0)];
        let sent = literal_header(line).filter(|header| header.synchronising == Synchronising::Sends);
        let sent_octets = sent.map_or(0, |header| header.octets);
        let unclear = ends_like_sent_literal(line);
        self.start += dropped;
        self.discarded = self.discarded.saturating_add(dropped as u64).saturating_add(sent_octets);
        if unclear || self.discarded > self.limits.discard_octets_max {
            return self.refuse_closing(Fault::TooBig("command is too long"));
        }
        if end.is_none() {
            return Progress::Starved;
        }
        if sent.is_some() {
            self.state = State::DiscardLiteral { left: sent_octets };
        } else {
            self.drop_command(0);
        }
        Progress::Again
    }

    /// Throws away a literal; its line goes on after it.
    fn discard_literal(&mut self, left: u64) -> Progress {
        let there = self.input.len() - self.start;
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(there);
        self.start += taken;
        let left = left - taken as u64;
        self.state = if left == 0 { State::DiscardText } else { State::DiscardLiteral { left } };
        if left == 0 { Progress::Again } else { Progress::Starved }
    }

    /// Looks for the end of the piece within `line_octets_max` and what the command has left.
    fn piece_end(&mut self, line_octets_max: usize) -> PieceEnd {
        let room = line_octets_max.min(self.limits.text_octets_max.saturating_sub(self.text_octets));
        let there = &self.input[self.start..];
        let limit = there.len().min(self.piece + room);
        let searched = self.searched.clamp(self.piece, limit);
        if let Some(at) = memchr(b'\n', &there[searched..limit]) {
            return PieceEnd::At(searched + at + 1);
        }
        self.searched = limit;
        if limit == self.piece + room { PieceEnd::TooLong } else { PieceEnd::NotYet }
    }

    fn literal_fault(&self, header: Header) -> Option<Fault> {
        if header.octets > self.limits.literal_octets_max {
            Some(Fault::TooBig("literal is too big"))
        } else if self.literal_octets + header.octets > self.limits.literals_octets_max {
            Some(Fault::TooBig("literals are too big"))
        } else if self.literals == self.limits.literals_max {
            Some(Fault::Limit("too many literals"))
        } else {
            None
        }
    }

    /// Offers the message whose literal header ends at `end` to the driver.
    fn offer(&mut self, end: usize, header: Header, order: MessageOrder) -> Progress {
        if self.literals == self.limits.literals_max {
            return self.refuse_header(end, header, Fault::Limit("too many literals"));
        }
        self.literals += 1;
        let head = self.start..self.start + end;
        self.start += end;
        self.begin_piece(0);
        self.state = State::Offered { octets: header.octets, synchronising: header.synchronising };
        Progress::Frame(Step::Message { head, header, order })
    }

    /// Refuses a literal whose header ends at `end`.
    fn refuse_header(&mut self, end: usize, header: Header, fault: Fault) -> Progress {
        let tag = self.command_tag();
        self.drop_command(end);
        let mut outcome = Outcome::Continues;
        match header.synchronising {
            Synchronising::Waits => {}
            Synchronising::Sends if header.octets <= self.limits.discard_octets_max => {
                self.discarded = header.octets;
                self.state = State::DiscardLiteral { left: header.octets };
            }
            Synchronising::Sends => {
                self.close();
                outcome = Outcome::Closes;
            }
        }
        Progress::Frame(Step::Refused(Refused { tag, fault, outcome }))
    }

    /// Refuses a line that is too long and throws away the rest of it.
    fn refuse_text(&mut self) -> Progress {
        let tag = self.command_tag();
        // The piece itself stays: its end may be the first octets of a literal header.
        self.drop_command(self.piece);
        self.state = State::DiscardText;
        let fault = Fault::TooBig("command line is too long");
        Progress::Frame(Step::Refused(Refused { tag, fault, outcome: Outcome::Continues }))
    }

    fn refuse_closing(&mut self, fault: Fault) -> Progress {
        let tag = self.command_tag();
        self.close();
        Progress::Frame(Step::Refused(Refused { tag, fault, outcome: Outcome::Closes }))
    }

    /// The tag of the command begun.
    fn command_tag(&self) -> Option<Tag> {
        match self.state {
            State::Line | State::DiscardText => None,
            State::AfterMessage => self.tag.clone(),
            _ => read_tag(&self.input[self.start..], &self.limits),
        }
    }

    fn begin_piece(&mut self, at: usize) {
        self.piece = at;
        self.searched = at;
    }

    /// Ends the present command: the next begins `octets` after `start`.
    fn drop_command(&mut self, octets: usize) {
        self.start += octets;
        self.begin_piece(0);
        self.literals = 0;
        self.literal_octets = 0;
        self.text_octets = 0;
        self.discarded = 0;
        self.tag = None;
        self.state = State::Text;
    }

    fn close(&mut self) {
        self.drop_command(0);
        self.start = 0;
        self.input = Vec::new();
        self.state = State::Closed;
    }

    /// Moves what is unread to the front, and gives memory back.
    fn compact(&mut self) {
        if self.start > 0 {
            self.input.drain(..self.start);
            self.start = 0;
        }
        if self.input.capacity() > BUFFER_KEPT_OCTETS && self.input.len() < BUFFER_KEPT_OCTETS / 2 {
            self.input.shrink_to(BUFFER_KEPT_OCTETS);
        }
    }
}

/// Reads the header of a literal from the end of a piece: `{n}`, `{n+}`, with CR LF after it. A
/// number beyond 64 bits counts as the largest, which every limit refuses.
fn literal_header(piece: &[u8]) -> Option<Header> {
    let text = piece.strip_suffix(b"}\r\n")?;
    let (text, synchronising) = match text.strip_suffix(b"+") {
        Some(text) => (text, Synchronising::Sends),
        None => (text, Synchronising::Waits),
    };
    let digits = text.iter().rev().take_while(|octet| octet.is_ascii_digit()).count();
    let (before, number) = text.split_at(text.len() - digits);
    if !(1..=LITERAL_DIGITS_MAX).contains(&digits) || before.last() != Some(&b'{') {
        return None;
    }
    let octets =
        number.iter().fold(0u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    Some(Header { octets, synchronising })
}

/// Whether a piece ends in `+}` and yet announces no literal: its client may send octets that are
/// no commands.
fn ends_like_sent_literal(piece: &[u8]) -> bool {
    let line = piece.strip_suffix(b"\n").unwrap_or(piece);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    line.ends_with(b"+}") && literal_header(piece).is_none()
}

//! APPEND and REPLACE (RFC 9051 §6.3.12, RFC 3502, RFC 4469, RFC 6855 §4, RFC 3516 §4.4, RFC 8508).
//!
//! Messages are streamed by the framer. Here is what stands before, between and after their literals:
//! [`Append`] goes up to the first literal, [`AppendPieces::go_on`] from one to the next.

use super::super::date::parse_date_time;
use super::super::sequence::{MessageSet, Messages, Numbering, SequenceRange, SequenceSet};
use super::cursor::{Cursor, Parsed};
use super::{Context, Fault, FlagList, MailboxArgument};

/// APPEND, REPLACE or UID REPLACE up to its first literal, or whole when it has none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Append {
    /// The mailbox.
    pub mailbox: MailboxArgument,
    /// The message that REPLACE removes; one, by number or uid.
    pub replaces: Option<Messages>,
    /// The messages.
    pub pieces: AppendPieces,
}

/// What was read of the messages of APPEND up to a literal, or to the end of the command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AppendPieces {
    /// What stands there, in order.
    pub steps: Vec<AppendStep>,
    /// What follows.
    pub next: AppendNext,
    place: Place,
    /// Messages begun so far, and parts of the present one.
    messages: usize,
    parts: usize,
    messages_max: usize,
}

/// One thing that stands between literals.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AppendStep {
    /// A message begins; the one before it is whole.
    Message(AppendMessage),
    /// The octets that a URL names belong to the message (RFC 4469).
    Url(Box<str>),
}

/// What stands before a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AppendMessage {
    /// Its flags.
    pub flags: FlagList,
    /// Its internal date, in seconds since 1970; now when absent.
    pub internal_date: Option<i64>,
}

/// What follows the steps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppendNext {
    /// A literal that is the message, or a part of it.
    Content(MessageForm),
    /// A literal that is a URL.
    Url,
    /// Nothing: the command is whole.
    End,
}

/// How a message literal is written, which decides what has to follow it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MessageForm {
    /// `{n}`: a message without NUL.
    Literal,
    /// `~{n}`: may hold NUL (RFC 3516 §4.4).
    Literal8,
    /// `UTF8 (~{n} ...)`: with headers in UTF-8; a parenthesis follows (RFC 6855 §4).
    Utf8,
}

/// Where reading goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// A message may begin, or the command end.
    Between,
    /// Behind the literal of a message.
    Message(MessageForm),
    /// Behind a literal of CATENATE.
    Part(MessageForm),
}

impl Append {
    /// Takes the arguments of APPEND, from the space on.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        cursor.space()?;
        let mailbox = MailboxArgument::parse(cursor)?;
        let messages_max = cursor.context().limits.append_messages_max;
        Ok(Self { mailbox, replaces: None, pieces: AppendPieces::first(cursor, messages_max)? })
    }

    /// Takes the arguments of REPLACE, from the space on (RFC 8508 §5).
    pub(super) fn parse_replace(cursor: &mut Cursor<'_>, numbering: Numbering) -> Parsed<Self> {
        cursor.space()?;
        let number = cursor.sequence_number()?;
        let set = SequenceSet::new(vec![SequenceRange { from: number, to: number }]);
        let set = MessageSet::Set(set.ok_or(Fault::Syntax("message number expected"))?);
        cursor.space()?;
        let mailbox = MailboxArgument::parse(cursor)?;
        let replaces = Some(Messages { numbering, set });
        // RFC 8508 §4.7: one message takes the place of one.
        Ok(Self { mailbox, replaces, pieces: AppendPieces::first(cursor, 1)? })
    }
}

impl AppendPieces {
    /// Takes what stands before the first literal, from the space on.
    fn first(cursor: &mut Cursor<'_>, messages_max: usize) -> Parsed<Self> {
        let mut pieces = Self {
            steps: Vec::new(),
            next: AppendNext::End,
            place: Place::Between,
            messages: 0,
            parts: 0,
            messages_max,
        };
        pieces.take_message(cursor)?;
        pieces.take_rest(cursor)?;
        Ok(pieces)
    }

    /// Reads what follows the literal that these pieces ended with: up to the next literal, whose header
    /// ends `rest`, or to the end of the command with its line end.
    pub fn go_on(&self, rest: &[u8], context: Context<'_>) -> Result<Self, Fault> {
        let mut pieces = Self { steps: Vec::new(), next: AppendNext::End, ..*self };
        let cursor = &mut Cursor::new(rest, context);
        match pieces.place {
            Place::Message(MessageForm::Utf8) | Place::Part(MessageForm::Utf8) => cursor.close()?,
            Place::Between | Place::Message(_) | Place::Part(_) => {}
        }
        let in_parts = matches!(pieces.place, Place::Part(_));
        pieces.place = Place::Between;
        if in_parts {
            pieces.take_further_parts(cursor)?;
        }
        pieces.take_rest(cursor)?;
        Ok(pieces)
    }

    /// Takes further messages, up to a literal or the end.
    fn take_rest(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        while self.place == Place::Between {
            if cursor.peek() != Some(b' ') {
                return cursor.end();
            }
            self.take_message(cursor)?;
        }
        Ok(())
    }

    /// Takes ` [flags] [date] data`, up to a literal in it or its end (RFC 3502 §6.3.11).
    fn take_message(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        cursor.space()?;
        if self.messages == self.messages_max {
            return Err(Fault::Limit("too many messages"));
        }
        self.messages += 1;
        self.parts = 0;
        let mut flags = FlagList::default();
        if cursor.peek() == Some(b'(') {
            flags = FlagList::parse(cursor)?;
            cursor.space()?;
        }
        let mut internal_date = None;
        if cursor.take(b'"') {
            let text = cursor.while_octets(|octet| octet != b'"');
            cursor.expect(b'"', "date doesn't end")?;
            internal_date = Some(parse_date_time(text).ok_or(Fault::Syntax("date and time expected"))?);
            cursor.space()?;
        }
        self.steps.push(AppendStep::Message(AppendMessage { flags, internal_date }));
        if cursor.take_text("CATENATE (") {
            self.take_part(cursor)?;
            return self.take_further_parts(cursor);
        }
        let form = MessageForm::parse(cursor)?;
        self.stop(Place::Message(form), AppendNext::Content(form));
        Ok(())
    }

    /// Takes parts of CATENATE up to a literal or the closing parenthesis.
    fn take_further_parts(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        while self.place == Place::Between && !cursor.take(b')') {
            cursor.space()?;
            self.take_part(cursor)?;
        }
        Ok(())
    }

    /// Takes a part (RFC 4469 §5, RFC 6855 §4).
    fn take_part(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        if self.parts == cursor.context().limits.catenate_parts_max {
            return Err(Fault::Limit("too many parts"));
        }
        self.parts += 1;
        if cursor.take_text("URL ") {
            if cursor.peek() == Some(b'{') {
                cursor.message_literal_header()?;
                self.stop(Place::Part(MessageForm::Literal), AppendNext::Url);
                return Ok(());
            }
            self.steps.push(AppendStep::Url(cursor.astring()?.into()));
            return Ok(());
        }
        let is_text = cursor.take_text("TEXT ");
        let form = MessageForm::parse(cursor)?;
        if is_text == (form == MessageForm::Utf8) {
            return Err(Fault::Syntax("TEXT, URL or UTF8 expected"));
        }
        self.stop(Place::Part(form), AppendNext::Content(form));
        Ok(())
    }

    fn stop(&mut self, place: Place, next: AppendNext) {
        self.place = place;
        self.next = next;
    }
}

impl MessageForm {
    /// Takes what announces the message, which ends the input.
    fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let mut form = Self::Literal;
        if cursor.take_text("UTF8 (") {
            form = Self::Utf8;
        }
        if cursor.take(b'~') {
            if form == Self::Literal {
                form = Self::Literal8;
            }
        } else if form == Self::Utf8 {
            return Err(Fault::Syntax("literal8 expected"));
        }
        cursor.message_literal_header()?;
        Ok(form)
    }
}

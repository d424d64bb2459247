//! APPEND (RFC 9051 §6.3.12, RFC 6855 §4, RFC 3516 §4.4).
//!
//! The message itself is streamed by the framer; here is what stands before it.

use super::super::date::parse_date_time;
use super::cursor::{Cursor, Parsed};
use super::{Fault, FlagList, MailboxArgument};

/// APPEND up to the literal of its first message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Append {
    /// The mailbox.
    pub mailbox: MailboxArgument,
    /// The first message.
    pub message: AppendMessage,
}

/// What stands before one message literal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AppendMessage {
    /// Its flags.
    pub flags: FlagList,
    /// Its internal date, in seconds since 1970; now when absent.
    pub internal_date: Option<i64>,
    /// How the literal is written.
    pub form: MessageForm,
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

impl Append {
    /// Takes the arguments, from the space on, up to and with the literal header.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        cursor.space()?;
        let mailbox = MailboxArgument::parse(cursor)?;
        Ok(Self { mailbox, message: AppendMessage::parse(cursor)? })
    }
}

impl AppendMessage {
    /// Takes ` [flags] [date] literal-header`, from the space on (RFC 3502 §6.3.11).
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        cursor.space()?;
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
        Ok(Self { flags, internal_date, form: MessageForm::parse(cursor)? })
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

/// Takes what follows the last message.
pub(super) fn parse_end(cursor: &mut Cursor<'_>, form: MessageForm) -> Parsed<()> {
    if form == MessageForm::Utf8 {
        cursor.close()?;
    }
    cursor.end()
}

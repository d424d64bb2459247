//! APPEND (RFC 9051 §6.3.12, RFC 6855 §4, RFC 3516 §4.4).
//!
//! The message itself is streamed by the framer; here is what stands before it.

use super::{FlagList, MailboxArgument};

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

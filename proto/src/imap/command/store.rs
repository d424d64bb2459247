//! STORE, COPY and MOVE (RFC 9051 §6.4.6-6.4.8, RFC 7162 §3.1.3).

use super::super::sequence::Messages;
use super::super::sequence::Numbering;
use super::cursor::{Cursor, Parsed};
use super::{Fault, FlagList, MailboxArgument};

/// STORE or UID STORE.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Store {
    /// The messages.
    pub messages: Messages,
    /// What to do with the flags.
    pub change: FlagChange,
    /// The flags.
    pub flags: FlagList,
    /// Whether the new flags are told.
    pub loudness: Loudness,
    /// Change only messages whose modification sequence isn't above this; 0 fits none.
    pub unchanged_since: Option<u64>,
}

/// What STORE does with the flags it names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlagChange {
    /// `FLAGS`
    Replace,
    /// `+FLAGS`
    Add,
    /// `-FLAGS`
    Remove,
}

/// Whether STORE tells the new flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loudness {
    /// Tells them.
    Loud,
    /// `.SILENT`
    Silent,
}

/// COPY, MOVE and their UID variants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CopyMove {
    /// The messages.
    pub messages: Messages,
    /// Where to.
    pub mailbox: MailboxArgument,
}

impl Store {
    /// Takes the arguments, from the space on.
    pub(super) fn parse(cursor: &mut Cursor<'_>, numbering: Numbering) -> Parsed<Self> {
        cursor.space()?;
        let messages = Messages { numbering, set: cursor.message_set()? };
        cursor.space()?;
        let mut unchanged_since = None;
        if cursor.take(b'(') {
            cursor.list(|cursor| match cursor.label()?.as_str() {
                "UNCHANGEDSINCE" if unchanged_since.is_none() => {
                    cursor.space()?;
                    unchanged_since = Some(cursor.number64()?);
                    Ok(())
                }
                _ => Err(Fault::Syntax("unknown STORE modifier")),
            })?;
            cursor.space()?;
        }
        let change = match cursor.peek() {
            Some(b'+') => FlagChange::Add,
            Some(b'-') => FlagChange::Remove,
            _ => FlagChange::Replace,
        };
        if change != FlagChange::Replace {
            cursor.skip();
        }
        let loudness = match cursor.label()?.as_str() {
            "FLAGS" => Loudness::Loud,
            "FLAGS.SILENT" => Loudness::Silent,
            _ => return Err(Fault::Syntax("FLAGS expected")),
        };
        cursor.space()?;
        Ok(Self { messages, change, flags: store_flags(cursor)?, loudness, unchanged_since })
    }
}

/// Takes flags, with or without parentheses around them.
fn store_flags(cursor: &mut Cursor<'_>) -> Parsed<FlagList> {
    if cursor.peek() == Some(b'(') {
        return FlagList::parse(cursor);
    }
    let mut flags = FlagList::default();
    flags.take(cursor)?;
    while cursor.take(b' ') {
        flags.take(cursor)?;
    }
    Ok(flags)
}

impl CopyMove {
    /// Takes the arguments, from the space on.
    pub(super) fn parse(cursor: &mut Cursor<'_>, numbering: Numbering) -> Parsed<Self> {
        cursor.space()?;
        let messages = Messages { numbering, set: cursor.message_set()? };
        cursor.space()?;
        Ok(Self { messages, mailbox: MailboxArgument::parse(cursor)? })
    }
}

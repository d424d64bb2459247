//! STORE, COPY and MOVE (RFC 9051 §6.4.6-6.4.8, RFC 7162 §3.1.3).

use super::super::sequence::Messages;
use super::{FlagList, MailboxArgument};

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

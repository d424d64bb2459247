//! Commands of clients as values (RFC 9051 §6, RFC 3501 §6 and the extensions named in each file).
//!
//! [`parse`] reads one framed command: recursive descent, bounded in depth and size by
//! [`Limits`](super::limits::Limits). What it returns obeys the grammar; whether a command is
//! allowed in the present state is decided by whoever executes it. One file a command family.

mod append;
mod arguments;
mod fetch;
mod list;
mod mailboxes;
mod search;
mod select;
mod session;
mod store;

pub use append::{Append, AppendMessage, MessageForm};
pub use arguments::{FlagList, MailboxArgument, MailboxFault, Secret, Tag};
pub use fetch::{ChangedSince, Fetch, FetchItem, Partial, Peek, Section, SectionText, Vanished};
pub use list::{List, ListReturn, ListSelect, Lsub};
pub use mailboxes::{Create, Rename, SpecialUse, Status, StatusItem, StatusItems};
pub use search::{DateTest, Search, SearchKey, SearchReturn, TextTarget};
pub use select::{Access, Matched, Qresync, Select};
pub use session::{Authenticate, Enable, Extension, Id, Login};
pub use store::{CopyMove, FlagChange, Loudness, Store};

use super::limits::Limits;
use super::sequence::MessageSet;

/// A command with the tag that its answer repeats.
#[derive(Debug)]
pub struct Tagged {
    /// The tag.
    pub tag: Tag,
    /// The command.
    pub command: Command,
}

/// One command with its arguments. UID variants are the same commands with another
/// [`Numbering`](super::sequence::Numbering).
#[derive(Debug)]
pub enum Command {
    /// CAPABILITY
    Capability,
    /// NOOP
    Noop,
    /// LOGOUT
    Logout,
    /// ID (RFC 2971)
    Id(Id),
    /// STARTTLS
    StartTls,
    /// AUTHENTICATE, with an initial response (RFC 4959)
    Authenticate(Authenticate),
    /// LOGIN
    Login(Login),
    /// ENABLE (RFC 5161)
    Enable(Enable),
    /// SELECT and EXAMINE
    Select(Select),
    /// CREATE
    Create(Create),
    /// DELETE
    Delete(MailboxArgument),
    /// RENAME
    Rename(Rename),
    /// SUBSCRIBE
    Subscribe(MailboxArgument),
    /// UNSUBSCRIBE
    Unsubscribe(MailboxArgument),
    /// LIST
    List(List),
    /// LSUB
    Lsub(Lsub),
    /// NAMESPACE (RFC 2342)
    Namespace,
    /// STATUS
    Status(Status),
    /// APPEND up to its message literal, which streams
    Append(Append),
    /// IDLE (RFC 2177)
    Idle,
    /// CHECK (RFC 3501 §6.4.1)
    Check,
    /// CLOSE
    Close,
    /// UNSELECT (RFC 3691)
    Unselect,
    /// EXPUNGE; with uids UID EXPUNGE (RFC 4315)
    Expunge(Option<MessageSet>),
    /// SEARCH, UID SEARCH
    Search(Search),
    /// FETCH, UID FETCH
    Fetch(Fetch),
    /// STORE, UID STORE
    Store(Store),
    /// COPY, UID COPY
    Copy(CopyMove),
    /// MOVE, UID MOVE (RFC 6851)
    Move(CopyMove),
}

/// How mailbox names and strings are to be read: what the client has enabled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Utf8 {
    /// IMAP4rev1: mailbox names in modified UTF-7 (RFC 3501 §5.1.3), responses in 7 bits.
    #[default]
    Off,
    /// After `ENABLE IMAP4rev2`: names and strings in UTF-8.
    Rev2,
    /// After `ENABLE UTF8=ACCEPT`: as `Rev2`, and SEARCH refuses CHARSET (RFC 6855 §3).
    Accept,
}

/// What the grammar needs to know of the session.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// How names are read.
    pub utf8: Utf8,
    /// The bounds.
    pub limits: &'a Limits,
}

/// Why a command is refused before it is executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// Against the grammar; the text says what was expected. Answer: BAD.
    #[error("{0}")]
    Syntax(&'static str),
    /// No such command. Answer: BAD.
    #[error("unknown command")]
    UnknownCommand,
    /// More than [`Limits`] allow. Answer: `BAD [TOOBIG]` where it is octets, else `NO [LIMIT]`.
    #[error("{0}")]
    Limit(&'static str),
    /// A charset other than US-ASCII and UTF-8. Answer: `NO [BADCHARSET (US-ASCII UTF-8)]`.
    #[error("charset is not supported")]
    Charset,
    /// CREATE with a special use that isn't known. Answer: `NO [USEATTR]` (RFC 6154 §3).
    #[error("special use is not supported")]
    SpecialUse,
}

/// A refused command, with its tag when one could be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadCommand {
    /// The tag; without one the answer is untagged BAD.
    pub tag: Option<Tag>,
    /// Why.
    pub fault: Fault,
}

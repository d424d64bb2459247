//! Commands of clients as values (RFC 9051 §6, RFC 3501 §6 and the extensions named in each file).
//!
//! [`parse`] reads one framed command: recursive descent, bounded in depth and size by
//! [`Limits`]. What it returns obeys the grammar; whether a command is
//! allowed in the present state is decided by whoever executes it. One file a command family.

mod acl;
mod append;
mod arguments;
mod batches;
mod cursor;
mod esearch;
mod fetch;
mod list;
mod mailboxes;
mod metadata;
mod notify;
mod quota;
mod search;
mod select;
mod session;
mod sort;
mod store;
#[cfg(test)]
mod suites;
#[cfg(test)]
mod tests;
mod urlauth;

pub use acl::{AclEntry, Identifier, RightsChange, SetAcl};
pub use append::{Append, AppendMessage, AppendNext, AppendPieces, AppendStep, MessageForm};
pub use arguments::{FlagList, MailboxArgument, MailboxFault, Tag};
pub use batches::UidBatches;
pub use esearch::{Esearch, Source};
pub use fetch::{ChangedSince, Fetch, FetchItem, Lazy, Partial, Peek, Section, SectionText, Vanished};
pub use list::{List, ListReturn, ListSelect, Lsub};
pub use mailboxes::{Create, Rename, SpecialUse, Status, StatusItem, StatusItems};
pub use metadata::{Depth, GetMetadata, SetMetadata};
pub use notify::{EventGroup, Events, MailboxFilter, Notify, NotifySet, SelectedGroup};
pub use quota::SetQuota;
pub use search::{DateTest, Search, SearchKey, SearchReturn, TextTarget};
pub use select::{Access, Matched, Qresync, Select};
pub use session::{Authenticate, Enable, Extension, Id, Login};
pub use sort::{CancelUpdate, Direction, Sort, SortCriterion, SortKey, Thread, ThreadAlgorithm};
pub use store::{CopyMove, FlagChange, Loudness, Store};
pub use urlauth::{Decoded, GenUrlAuth, ResetKey, UrlFetch, UrlFetchItem, UrlFetchParameters};

pub(in crate::imap) use cursor::is_astring_octet;

use super::limits::Limits;
use super::sequence::{MessageSet, Numbering};
use cursor::{Cursor, Label, Parsed};

/// A command with the tag that its answer repeats.
#[derive(Debug)]
pub struct Tagged {
    /// The tag.
    pub tag: Tag,
    /// The command.
    pub command: Command,
}

/// One command with its arguments. UID variants are the same commands with another
/// [`Numbering`].
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
    /// SETACL (RFC 4314)
    SetAcl(SetAcl),
    /// DELETEACL
    DeleteAcl(AclEntry),
    /// GETACL
    GetAcl(MailboxArgument),
    /// LISTRIGHTS
    ListRights(AclEntry),
    /// MYRIGHTS
    MyRights(MailboxArgument),
    /// GETQUOTA of a root (RFC 9208)
    GetQuota(Box<[u8]>),
    /// GETQUOTAROOT
    GetQuotaRoot(MailboxArgument),
    /// SETQUOTA
    SetQuota(SetQuota),
    /// GETMETADATA (RFC 5464)
    GetMetadata(GetMetadata),
    /// SETMETADATA
    SetMetadata(SetMetadata),
    /// NOTIFY (RFC 5465)
    Notify(Notify),
    /// APPEND, REPLACE and UID REPLACE up to the first literal, which streams
    Append(Append),
    /// GENURLAUTH (RFC 4467)
    GenUrlAuth(GenUrlAuth),
    /// RESETKEY (RFC 4467)
    ResetKey(ResetKey),
    /// URLFETCH (RFC 4467)
    UrlFetch(UrlFetch),
    /// IDLE (RFC 2177)
    Idle,
    /// COMPRESS DEFLATE (RFC 4978)
    Compress,
    /// UNAUTHENTICATE (RFC 8437)
    Unauthenticate,
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
    /// ESEARCH
    Esearch(Esearch),
    /// SORT, UID SORT (RFC 5256)
    Sort(Sort),
    /// THREAD, UID THREAD (RFC 5256)
    Thread(Thread),
    /// CANCELUPDATE (RFC 5267 §4.3.5)
    CancelUpdate(CancelUpdate),
    /// FETCH, UID FETCH
    Fetch(Fetch),
    /// STORE, UID STORE
    Store(Store),
    /// COPY, UID COPY
    Copy(CopyMove),
    /// MOVE, UID MOVE (RFC 6851)
    Move(CopyMove),
    /// UIDBATCHES (RFC 10022)
    UidBatches(UidBatches),
}

impl Command {
    /// Whether the command reads or tells message numbers, so that it is refused after
    /// `ENABLE UIDONLY` (RFC 9586 §3).
    pub fn needs_message_numbers(&self) -> bool {
        match self {
            Self::Fetch(fetch) => fetch.messages.numbering == Numbering::Sequence,
            Self::Store(store) => store.messages.numbering == Numbering::Sequence,
            Self::Copy(command) | Self::Move(command) => command.messages.numbering == Numbering::Sequence,
            Self::Append(append) => {
                append.replaces.as_ref().is_some_and(|messages| messages.numbering == Numbering::Sequence)
            }
            Self::Search(search) => {
                search.numbering == Numbering::Sequence || search.key.has_message_numbers()
            }
            Self::Esearch(esearch) => esearch.search.key.has_message_numbers(),
            Self::Sort(sort) => sort.numbering == Numbering::Sequence || sort.key.has_message_numbers(),
            Self::Thread(thread) => {
                thread.numbering == Numbering::Sequence || thread.key.has_message_numbers()
            }
            Self::Select(select) => select.qresync.as_ref().is_some_and(|known| known.matched.is_some()),
            _ => false,
        }
    }
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
    /// More things than [`Limits`] allow. Answer: `NO [LIMIT]`.
    #[error("{0}")]
    Limit(&'static str),
    /// More octets than [`Limits`] allow. Answer: `BAD [TOOBIG]`.
    #[error("{0}")]
    TooBig(&'static str),
    /// A charset other than US-ASCII and UTF-8. Answer: `NO [BADCHARSET (US-ASCII UTF-8)]`.
    #[error("charset is not supported")]
    Charset,
    /// CREATE with a special use that isn't known. Answer: `NO [USEATTR]` (RFC 6154 §3).
    #[error("special use is not supported")]
    SpecialUse,
    /// NOTIFY of an event that isn't supported. Answer: `NO [BADEVENT ...]` (RFC 5465 §3.1).
    #[error("event is not supported")]
    Event,
}

/// A refused command, with its tag when one could be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadCommand {
    /// The tag; without one the answer is untagged BAD.
    pub tag: Option<Tag>,
    /// Why.
    pub fault: Fault,
}

/// Parses one framed command, with its line end. APPEND is parsed up to its first message literal,
/// whose header ends `input` ([`MessageLiteral::head`](super::framing::MessageLiteral)), if it has one.
pub fn parse(input: &[u8], context: Context<'_>) -> Result<Tagged, BadCommand> {
    let mut cursor = Cursor::new(input, context);
    let tag = Tag::parse(&mut cursor).map_err(|fault| BadCommand { tag: None, fault })?;
    match parse_tagged(&mut cursor) {
        Ok(command) => Ok(Tagged { tag, command }),
        Err(fault) => Err(BadCommand { tag: Some(tag), fault }),
    }
}

/// Reads the section that a URL names, without brackets (RFC 5092 §11, `enc-section`); none when it isn't
/// one.
pub(super) fn parse_section(text: &str, limits: &Limits) -> Option<Section> {
    let bracketed = format!("[{text}]\r\n");
    let mut cursor = Cursor::new(bracketed.as_bytes(), Context { utf8: Utf8::Off, limits });
    let section = Section::parse(&mut cursor).ok()?;
    cursor.end().ok()?;
    (!section.part.is_empty() || section.text.is_some()).then_some(section)
}

/// Reads the tag of a command that may be cut off; none when it isn't followed by anything.
pub(super) fn read_tag(input: &[u8], limits: &Limits) -> Option<Tag> {
    let mut cursor = Cursor::new(input, Context { utf8: Utf8::Off, limits });
    let tag = Tag::parse(&mut cursor).ok()?;
    cursor.take(b' ').then_some(tag)
}

/// Whether `text`, a command up to and with a literal header, stands before a message: the mailbox name of
/// APPEND or REPLACE, itself perhaps a literal, is complete before the header (RFC 9051 §6.3.12, RFC 8508
/// §5). What the literal is, a message, a part of one or a URL, is said by [`Append`].
pub(super) fn stands_before_message(text: &[u8], limits: &Limits) -> bool {
    let mut cursor = Cursor::new(text, Context { utf8: Utf8::Off, limits });
    take_up_to_message(&mut cursor).is_ok()
}

fn take_up_to_message(cursor: &mut Cursor<'_>) -> Parsed<()> {
    Tag::parse(cursor)?;
    cursor.space()?;
    let mut name = cursor.label()?;
    if name.as_str() == "UID" {
        cursor.space()?;
        name = cursor.label()?;
        if name.as_str() != "REPLACE" {
            return Err(Fault::UnknownCommand);
        }
    }
    cursor.space()?;
    match name.as_str() {
        "APPEND" => {}
        "REPLACE" => {
            cursor.sequence_number()?;
            cursor.space()?;
        }
        _ => return Err(Fault::UnknownCommand),
    }
    cursor.astring_octets()?;
    cursor.space()
}

fn parse_tagged(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    cursor.space()?;
    let name = cursor.label()?;
    let command = if name.as_str() == "UID" {
        cursor.space()?;
        let name = cursor.label()?;
        parse_messages(cursor, name, Numbering::Uid)?
    } else {
        parse_named(cursor, name)?
    };
    if !matches!(command, Command::Append(_)) {
        cursor.end()?;
    }
    Ok(command)
}

/// Parses the arguments of the command `name`.
fn parse_named(cursor: &mut Cursor<'_>, name: Label) -> Parsed<Command> {
    Ok(match name.as_str() {
        "CAPABILITY" => Command::Capability,
        "NOOP" => Command::Noop,
        "LOGOUT" => Command::Logout,
        "ID" => Command::Id(Id::parse(cursor)?),
        "STARTTLS" => Command::StartTls,
        "AUTHENTICATE" => Command::Authenticate(Authenticate::parse(cursor)?),
        "LOGIN" => Command::Login(Login::parse(cursor)?),
        "ENABLE" => Command::Enable(Enable::parse(cursor)?),
        "SELECT" => Command::Select(Select::parse(cursor, Access::ReadWrite)?),
        "EXAMINE" => Command::Select(Select::parse(cursor, Access::ReadOnly)?),
        "CREATE" => Command::Create(Create::parse(cursor)?),
        "DELETE" => Command::Delete(mailbox(cursor)?),
        "RENAME" => Command::Rename(Rename::parse(cursor)?),
        "SUBSCRIBE" => Command::Subscribe(mailbox(cursor)?),
        "UNSUBSCRIBE" => Command::Unsubscribe(mailbox(cursor)?),
        "LIST" => Command::List(List::parse(cursor)?),
        "LSUB" => Command::Lsub(Lsub::parse(cursor)?),
        "NAMESPACE" => Command::Namespace,
        "STATUS" => Command::Status(Status::parse(cursor)?),
        "SETACL" => Command::SetAcl(SetAcl::parse(cursor)?),
        "DELETEACL" => Command::DeleteAcl(AclEntry::parse(cursor)?),
        "GETACL" => Command::GetAcl(mailbox(cursor)?),
        "LISTRIGHTS" => Command::ListRights(AclEntry::parse(cursor)?),
        "MYRIGHTS" => Command::MyRights(mailbox(cursor)?),
        "GETQUOTA" => Command::GetQuota(quota::quota_root(cursor)?),
        "GETQUOTAROOT" => Command::GetQuotaRoot(mailbox(cursor)?),
        "SETQUOTA" => Command::SetQuota(SetQuota::parse(cursor)?),
        "GETMETADATA" => Command::GetMetadata(GetMetadata::parse(cursor)?),
        "SETMETADATA" => Command::SetMetadata(SetMetadata::parse(cursor)?),
        "NOTIFY" => Command::Notify(Notify::parse(cursor)?),
        "APPEND" => Command::Append(Append::parse(cursor)?),
        "GENURLAUTH" => Command::GenUrlAuth(GenUrlAuth::parse(cursor)?),
        "RESETKEY" => Command::ResetKey(ResetKey::parse(cursor)?),
        "URLFETCH" => Command::UrlFetch(UrlFetch::parse(cursor)?),
        "IDLE" => Command::Idle,
        "COMPRESS" => session::compress(cursor)?,
        "UNAUTHENTICATE" => Command::Unauthenticate,
        "UIDBATCHES" => Command::UidBatches(UidBatches::parse(cursor)?),
        "CHECK" => Command::Check,
        "CLOSE" => Command::Close,
        "UNSELECT" => Command::Unselect,
        "EXPUNGE" => Command::Expunge(None),
        "CANCELUPDATE" => Command::CancelUpdate(CancelUpdate::parse(cursor)?),
        _ => return parse_messages(cursor, name, Numbering::Sequence),
    })
}

/// Parses the arguments of a command that has a UID variant.
fn parse_messages(cursor: &mut Cursor<'_>, name: Label, numbering: Numbering) -> Parsed<Command> {
    Ok(match name.as_str() {
        "SEARCH" => Command::Search(Search::parse(cursor, numbering)?),
        // RFC 7377 §2 has UID ESEARCH in its text, and only ESEARCH in its grammar: both mean uids.
        "ESEARCH" => Command::Esearch(Esearch::parse(cursor)?),
        "SORT" => Command::Sort(Sort::parse(cursor, numbering)?),
        "THREAD" => Command::Thread(Thread::parse(cursor, numbering)?),
        "FETCH" => Command::Fetch(Fetch::parse(cursor, numbering)?),
        "STORE" => Command::Store(Store::parse(cursor, numbering)?),
        "COPY" => Command::Copy(CopyMove::parse(cursor, numbering)?),
        "MOVE" => Command::Move(CopyMove::parse(cursor, numbering)?),
        "REPLACE" => Command::Append(Append::parse_replace(cursor, numbering)?),
        "EXPUNGE" if numbering == Numbering::Uid => {
            cursor.space()?;
            Command::Expunge(Some(cursor.message_set()?))
        }
        _ => return Err(Fault::UnknownCommand),
    })
}

fn mailbox(cursor: &mut Cursor<'_>) -> Parsed<MailboxArgument> {
    cursor.space()?;
    MailboxArgument::parse(cursor)
}

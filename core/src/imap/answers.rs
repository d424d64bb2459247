//! The one place that says on the wire why something could not be done.

use std::borrow::Cow;

use postrider_proto::imap::response::{Code, Status};
use postrider_storage::committer::{CommitError, StopReason};
use postrider_storage::engine::EngineError;
use postrider_storage::store::{Refusal, StoreError};
use tracing::error;

use super::session::{Completion, CompletionCode};
use crate::accounts::WriteError;
use crate::log::ConnectionId;
use crate::shard::Shard;

/// No message has this number.
pub const NO_SUCH_MESSAGE: Completion = Completion::bad("no message with this number");
/// The mailbox doesn't exist.
pub const NO_SUCH_MAILBOX: Completion = Completion::refused(Code::NonExistent, "no such mailbox");
/// The message was removed by another session (RFC 5530).
pub const MESSAGE_GONE: Completion = Completion::refused(Code::ExpungeIssued, "the message was removed");
/// The client asked for uids only (RFC 9586 §3).
pub const UID_REQUIRED: Completion = Completion {
    status: Status::Bad,
    code: CompletionCode::Plain(Code::UidRequired),
    text: Cow::Borrowed("messages are named by uids only"),
};
/// The mailbox was opened by EXAMINE.
pub const READ_ONLY: Completion = Completion::no("the mailbox is open read-only");
/// Nothing can be stored.
const DISK_FULL: Completion = Completion::refused(Code::OverQuota, "the disk is full");

/// The answer to a transaction that failed. Broken accounts end their sessions by themselves.
pub fn write_failed(error: &WriteError, id: ConnectionId) -> Completion {
    match error {
        WriteError::Refused(refusal) => refused(refusal),
        WriteError::Store(error) => store_failed(error, id),
        WriteError::Commit(CommitError::Stopped(StopReason::Full)) => DISK_FULL,
        WriteError::Commit(error) => {
            error!(cid = %id, %error, "a change could not be committed");
            Completion::refused(Code::Unavailable, "the store failed")
        }
        WriteError::Busy => Completion::refused(Code::InUse, "too many changes wait, try again"),
        WriteError::Reopened => {
            Completion::refused(Code::Unavailable, "the account was reopened, log in again")
        }
    }
}

/// The answer to a read that failed.
pub fn store_failed(error: &StoreError, id: ConnectionId) -> Completion {
    match error {
        StoreError::Refused(refusal) => refused(refusal),
        StoreError::Engine(EngineError::Full) => DISK_FULL,
        StoreError::Inconsistent(_) => {
            error!(cid = %id, %error, "the store is inconsistent");
            Completion::refused(Code::Corruption, "the store is damaged here")
        }
        error => {
            error!(cid = %id, %error, "the store could not be read");
            Completion::refused(Code::Unavailable, "the store failed")
        }
    }
}

fn refused(refusal: &Refusal) -> Completion {
    match refusal {
        Refusal::NoSuchMailbox => NO_SUCH_MAILBOX,
        Refusal::NoSuchMessage => MESSAGE_GONE,
        Refusal::MailboxExists => Completion::refused(Code::AlreadyExists, "mailbox exists already"),
        Refusal::HasChildren => Completion::refused(Code::HasChildren, "mailbox has mailboxes below it"),
        Refusal::Inbox => Completion::refused(Code::Cannot, "not possible with the inbox"),
        Refusal::BelowItself => Completion::refused(Code::Cannot, "a mailbox can't go below itself"),
        Refusal::ReservedName => Completion::refused(Code::Cannot, "names that begin so are of other users"),
        Refusal::TooManyAclEntries => Completion::refused(Code::Limit, "too many entries"),
        Refusal::ChildName => Completion::refused(Code::Cannot, "a mailbox below would get a bad name"),
        Refusal::SameMailbox => Completion::refused(Code::Cannot, "source and destination are the same"),
        Refusal::OverQuota => Completion::refused(Code::OverQuota, "over quota"),
        Refusal::TooManyMailboxes => Completion::refused(Code::Limit, "too many mailboxes"),
        Refusal::TooManySubscriptions => Completion::refused(Code::Limit, "too many subscriptions"),
        Refusal::TooManyKeywords => Completion::refused(Code::Limit, "too many keywords"),
        Refusal::TooManyAnnotations => Completion::refused(Code::MetadataTooMany, "too many annotations"),
        Refusal::AnnotationTooLarge { octets_max } => {
            Completion::refused(Code::MetadataMaxSize(*octets_max as u64), "the value is too large")
        }
        Refusal::MessageTooLarge => Completion::refused(Code::TooBig, "message is too large"),
        Refusal::StructureTooLarge => Completion::refused(Code::TooBig, "message structure is too large"),
        Refusal::NoMoreUids => Completion::refused(Code::Limit, "the mailbox has no more uids"),
        _ => Completion::refused(Code::Limit, "the change is beyond a limit"),
    }
}

/// Refuses what adds messages while the disk is nearly full.
pub fn admit(shard: &Shard) -> Result<(), Completion> {
    match shard.shared.gate.admits() {
        Ok(()) => Ok(()),
        Err(_) => {
            shard.recorder.increment(shard.shared.metrics.limit(crate::metrics::Limit::FreeSpace));
            Err(Completion::refused(Code::OverQuota, "no mail can be stored at the moment"))
        }
    }
}

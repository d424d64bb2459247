//! Importing and exporting messages while the server serves.
//!
//! Files are read and written on the worker pool, some at a time; memory depends neither on the number of
//! messages nor on their size. Messages go into an account some at a time, each time as one transaction: an
//! import that is killed leaves whole messages only, and one that is repeated adds them again.
//!
//! What can't be imported is named with the reason and left out; the rest goes on. A failure that every
//! message would meet (quota, a full disk, a removed account) ends the import; what is there stays.

mod convert;
mod date;
mod export;
mod files;
mod flags;
mod import;
mod maildir;
mod mbox;
mod source;
mod target;
#[cfg(test)]
mod tests;
mod write;

use std::path::PathBuf;

use postrider_proto::imap::mailbox::MailboxName;
use postrider_storage::ids::AccountId;

use crate::control::OperationError;
use crate::control::protocol::{Answer, FailureKind, Format};

pub use export::export;
pub use import::import;

/// What is to be imported.
#[derive(Clone, Debug)]
pub struct Import {
    /// The format of the files.
    pub format: Format,
    /// Whose messages they will be.
    pub account: AccountId,
    /// The mailbox for them, made if it is not there.
    pub mailbox: MailboxName,
    /// The directory or file.
    pub path: PathBuf,
}

/// What is to be exported.
#[derive(Clone, Debug)]
pub struct Export {
    /// The format of the files.
    pub format: Format,
    /// Whose messages.
    pub account: AccountId,
    /// Only this mailbox.
    pub mailbox: Option<MailboxName>,
    /// The directory, which is not there yet.
    pub path: PathBuf,
}

/// What is left out that is named.
const NAMED_MAX: usize = 100;
/// The longest text that names one.
const NAMED_OCTETS_MAX: usize = 500;

/// How a transfer came along.
#[derive(Debug, Default)]
struct Tally {
    messages: u64,
    octets: u64,
    skipped: Vec<String>,
    skipped_count: u64,
}

impl Tally {
    /// Notes a message that is left out.
    fn skip(&mut self, what: String) {
        self.skipped_count += 1;
        self.note(what);
    }

    /// Notes something lost that is no message.
    fn note(&mut self, mut what: String) {
        if self.skipped.len() < NAMED_MAX {
            what.truncate(what.floor_char_boundary(NAMED_OCTETS_MAX));
            self.skipped.push(what);
        }
    }

    fn answer(self) -> Answer {
        let Self { messages, octets, skipped, skipped_count } = self;
        Answer::Transferred { messages, octets, skipped, skipped_count }
    }
}

fn files(message: impl Into<String>) -> OperationError {
    OperationError::new(FailureKind::Files, message)
}

//! The one checker that states every invariant of the store. Tests run it whenever they close a store,
//! operators with `postrider verifydata`.
//!
//! It reads one snapshot and changes nothing. Memory: twelve octets for each message, and four for each
//! tombstone, of the account that it is at, or all of its rows when they are few; nothing for what lies behind it.

mod account;
mod mailbox;
mod queue;
mod reports;
mod system;
mod webhooks;
mod window;

use std::fmt;
use std::sync::Arc;

use crate::directory::removed_account;
use crate::engine::Snapshot;
use crate::reader::Reader;
use crate::store::StoreError;

/// The most violations that a report lists; it counts the others.
pub const VIOLATIONS_LISTED_MAX: usize = 1000;

/// Something that must not be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Where: account, mailbox, message, blob.
    pub place: String,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// How much was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Accounts with rows.
    pub accounts: u64,
    /// Mailboxes.
    pub mailboxes: u64,
    /// Messages in mailboxes.
    pub messages: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// Emails: messages without their copies.
    pub emails: u64,
    /// Removed messages that wait to be erased.
    pub erasures: u64,
    /// Message contents.
    pub blobs: u64,
    /// Their chunks.
    pub chunks: u64,
    /// Octets of all chunks.
    pub octets: u64,
    /// Contents that the collector or recovery will look at.
    pub blobs_to_collect: u64,
    /// Entries of the queue: outgoing messages, one for each recipient domain.
    pub queued: u64,
    /// Evaluations of DMARC.
    pub evaluations: u64,
    /// Results of TLS with other servers.
    pub tls_results: u64,
    /// Reports that other servers sent.
    pub reports: u64,
}

/// What the checker found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// The first violations.
    pub violations: Vec<Violation>,
    /// How many there are in all.
    pub violation_count: u64,
    /// How much was looked at.
    pub counts: Counts,
}

impl Report {
    /// Whether everything is as it must be.
    pub const fn is_clean(&self) -> bool {
        self.violation_count == 0
    }

    /// Notes a violation.
    pub fn violation(&mut self, place: impl fmt::Display, what: impl fmt::Display) {
        self.violation_count += 1;
        if self.violations.len() < VIOLATIONS_LISTED_MAX {
            self.violations.push(Violation { place: place.to_string(), what: what.to_string() });
        }
    }

    pub(crate) fn check(&mut self, holds: bool, place: impl fmt::Display, what: impl fmt::Display) {
        if !holds {
            self.violation(place, what);
        }
    }

    /// Unwraps what was read; damage is a violation, a failing engine is an error.
    pub(crate) fn read<T>(
        &mut self,
        read: Result<T, impl Into<StoreError>>,
        place: impl fmt::Display,
    ) -> Result<Option<T>, StoreError> {
        match read.map_err(Into::into) {
            Ok(value) => Ok(Some(value)),
            Err(error @ StoreError::Engine(_)) => Err(error),
            Err(error) => {
                self.violation(place, error);
                Ok(None)
            }
        }
    }
}

/// Checks the directory's tables, which have their own invariants.
pub type DirectoryCheck<'a> = &'a mut dyn FnMut(&Reader, &mut Report) -> Result<(), StoreError>;

/// Checks everything that `reader` shows. `progress` is told the counts now and then.
pub fn verify(
    reader: Reader,
    directory: Option<DirectoryCheck<'_>>,
    progress: &mut dyn FnMut(&Counts),
) -> Result<Report, StoreError> {
    let mut report = Report::default();
    system::check(&reader, &mut report, progress)?;
    if let Some(directory) = directory {
        directory(&reader, &mut report)?;
    }
    let snapshot: Arc<dyn Snapshot> = reader.into_snapshot().into();
    for account in window::Accounts::of(&snapshot) {
        if let Some((account, reader)) = report.read(account, "accounts")? {
            if reader.get(&removed_account(account))?.is_some() {
                // Its rows are being erased, some at a time: which are left says nothing.
                continue;
            }
            account::check(&reader, account, &mut report)?;
            progress(&report.counts);
        }
    }
    Ok(report)
}

#[cfg(test)]
mod tests;

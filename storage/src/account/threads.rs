//! Conversations: a new message joins that of a message it refers to.
//!
//! References from the last to the first, then In-Reply-To, each only to a message with the same base
//! subject; a reply without any id joins the latest message with its base subject of the last four
//! weeks. What is stored are hashes, which never change between versions of the program.

use xxhash_rust::xxh3::xxh3_64;

use super::Tx;
use crate::ids::{EmailId, ThreadId};
use crate::keys;
use crate::rows::ThreadRow;
use crate::store::{Refusal, StoreError};

/// What a new message says of its conversation, as [`hash`]es; 0 is none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ThreadInfo {
    /// Its Message-ID without angle brackets.
    pub message_id: u64,
    /// What it refers to, the closest first: References from the last to the first, then In-Reply-To.
    pub references: Vec<u64>,
    /// Its base subject (RFC 5256 §2.1), in lower case.
    pub subject: u64,
    /// Whether its subject says that it is a reply or a forward.
    pub is_reply: bool,
}

/// How long after a message a reply without ids can join it, in seconds.
const SUBJECT_SECONDS: i64 = 28 * 24 * 3600;

/// How many messages with one Message-ID are looked at: a flood of copies costs no more.
const SAME_ID_MAX: usize = 8;

/// The hash of a Message-ID or base subject; never 0.
pub fn hash(text: &[u8]) -> u64 {
    xxh3_64(text).max(1)
}

impl Tx<'_, '_> {
    /// The conversation of a message received at `received`.
    pub(super) fn thread_of(&mut self, info: &ThreadInfo, received: i64) -> Result<ThreadId, StoreError> {
        let references_max = self.batch.account.limits.references_max;
        for reference in info.references.iter().take(references_max) {
            if let Some(thread) = self.thread_by_id(*reference, info.subject)? {
                return Ok(thread);
            }
        }
        if info.references.is_empty()
            && info.is_reply
            && let Some(thread) = self.thread_by_subject(info.subject, received)?
        {
            return Ok(thread);
        }
        let head = self.head_mut()?;
        let thread = ThreadId(head.next_thread);
        head.next_thread = head.next_thread.checked_add(1).ok_or(Refusal::CounterEnd)?;
        Ok(thread)
    }

    fn thread_by_id(&self, message_id: u64, subject: u64) -> Result<Option<ThreadId>, StoreError> {
        if message_id == 0 {
            return Ok(None);
        }
        let prefix = keys::thread_messages(self.account(), message_id);
        for row in self.batch.overlay.scan(self.batch.reader, &prefix, &prefix).take(SAME_ID_MAX) {
            let row = ThreadRow::decode(&row?.1)?;
            if row.subject == subject {
                return Ok(Some(row.thread));
            }
        }
        Ok(None)
    }

    fn thread_by_subject(&self, subject: u64, received: i64) -> Result<Option<ThreadId>, StoreError> {
        if subject == 0 {
            return Ok(None);
        }
        let oldest = received.saturating_sub(SUBJECT_SECONDS);
        let from = keys::thread_subject(self.account(), subject, oldest, EmailId(0));
        let prefix = keys::thread_subjects(self.account(), subject);
        let latest = self.batch.overlay.scan_back(self.batch.reader, &from, &prefix).next();
        latest.transpose()?.map(|(_, row)| Ok(ThreadRow::decode(&row)?.thread)).transpose()
    }

    /// Writes the rows by which later messages find this one.
    pub(super) fn index_thread(
        &mut self,
        email: EmailId,
        thread: ThreadId,
        info: &ThreadInfo,
        received: i64,
    ) {
        let row = ThreadRow { thread, subject: info.subject };
        let account = self.account();
        if info.message_id != 0 {
            self.insert(keys::thread_message(account, info.message_id, email), row.encode());
        }
        if info.subject != 0 {
            self.insert(keys::thread_subject(account, info.subject, received, email), row.encode());
        }
    }
}

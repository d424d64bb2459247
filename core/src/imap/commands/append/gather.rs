//! The messages of one command on their way into the store.
//!
//! What always holds: the content of every message but the last is there, unsynced and protected by
//! BLOBPENDING, until the transaction takes it; when that never comes, it is given up.

use std::sync::Arc;

use postrider_proto::imap::command::AppendMessage;
use postrider_proto::imap::response::Code;
use postrider_storage::account::{Content, NewMessage, ThreadInfo};
use postrider_storage::blobs::{self, Sharing};
use postrider_storage::committer::Committer;
use postrider_storage::engine::{Batch, Durability, Incarnation};
use postrider_storage::store::Store;

use super::{TOO_LARGE, intake_failed};
use crate::clock::unix_now;
use crate::commit;
use crate::imap::answers;
use crate::imap::session::Completion;
use crate::intake::{self, Intake, Message};
use crate::log::ConnectionId;

/// Octets of all messages of a command, as a multiple of those of the largest message.
const LARGEST_MESSAGES_MAX: u64 = 10;

const NO_MESSAGE: Completion = Completion::no("there is no message");
const REOPENED: Completion = Completion::refused(Code::Unavailable, "the store was reopened, try again");

/// What was read of a command's messages.
pub(super) struct Gathered {
    store: Arc<Store>,
    committer: Arc<Committer>,
    octets_max: u64,
    id: ConnectionId,
    /// The message that is coming in.
    present: Option<(AppendMessage, Intake)>,
    whole: Whole,
    /// Octets of those that are whole.
    octets: u64,
    /// A URL that comes as a literal.
    url: Option<Vec<u8>>,
    failure: Option<Completion>,
}

/// Messages that are whole; they are given up when nobody takes them.
struct Whole {
    committer: Arc<Committer>,
    messages: Vec<NewMessage>,
    incarnation: Option<Incarnation>,
}

impl Drop for Whole {
    fn drop(&mut self) {
        let contents: Vec<_> = self.messages.iter().map(|message| message.content).collect();
        abandon(&self.committer, &contents);
    }
}

/// Messages that are ready for their transaction.
pub(super) struct Ready {
    /// The last writes of the contents.
    pub(super) batch: Batch,
    pub(super) messages: Vec<NewMessage>,
    /// The life of the store that contents were written in.
    pub(super) incarnation: Option<Incarnation>,
}

impl Ready {
    /// The contents.
    pub(super) fn contents(&self) -> Vec<Content> {
        self.messages.iter().map(|message| message.content).collect()
    }
}

impl Gathered {
    pub(super) fn new(
        store: &Arc<Store>,
        committer: &Arc<Committer>,
        octets_max: u64,
        id: ConnectionId,
    ) -> Self {
        let whole = Whole { committer: Arc::clone(committer), messages: Vec::new(), incarnation: None };
        Self {
            store: Arc::clone(store),
            committer: Arc::clone(committer),
            octets_max,
            id,
            present: None,
            whole,
            octets: 0,
            url: None,
            failure: None,
        }
    }

    /// Octets so far, of all messages.
    pub(super) fn octets(&self) -> u64 {
        self.octets + self.present.as_ref().map_or(0, |(_, intake)| intake.octets())
    }

    /// Messages so far.
    pub(super) fn messages(&self) -> u64 {
        self.whole.messages.len() as u64 + u64::from(self.present.is_some())
    }

    /// Whether the present message, and all of them, may have so many octets more.
    pub(super) fn has_room(&self, octets: u64) -> bool {
        let present = self.present.as_ref().map_or(0, |(_, intake)| intake.octets());
        let all_max = self.octets_max.saturating_mul(LARGEST_MESSAGES_MAX);
        present.saturating_add(octets) <= self.octets_max && self.octets().saturating_add(octets) <= all_max
    }

    /// Begins a message. The one before it is whole, and is stored.
    pub(super) async fn begin(&mut self, about: AppendMessage) -> Result<(), Completion> {
        if let Some((about, intake)) = self.present.take() {
            let message = end(intake, Sharing::Several, self.id)?;
            let Message { content, batch, thread, incarnation, .. } = message;
            // From here on, dropping this gives the content up.
            self.octets += content.size;
            self.whole.messages.push(new_message(about, content, thread));
            self.whole.add_life(incarnation)?;
            let written = commit::submit(&self.committer, batch, Durability::Buffered, incarnation).await;
            let written = match written {
                Ok(submitted) => submitted.done().await,
                Err(error) => Err(error),
            };
            let written = written.map_err(|error| answers::write_failed(&error.into(), self.id))?.incarnation;
            self.whole.add_life(Some(written))?;
        }
        self.present = Some((about, Intake::new(&self.store, &self.committer, self.octets_max)));
        Ok(())
    }

    /// Takes octets of the present message.
    pub(super) async fn push(&mut self, octets: &[u8]) -> Result<(), Completion> {
        if self.failure.is_some() {
            return Ok(());
        }
        if !self.has_room(octets.len() as u64) {
            return Err(TOO_LARGE);
        }
        let Some((_, intake)) = &mut self.present else { return Ok(()) };
        intake.push(octets).await.map_err(|error| intake_failed(&error, self.id))
    }

    /// Takes octets of a URL; their number was looked at before.
    pub(super) fn push_url(&mut self, octets: &[u8]) {
        self.url.get_or_insert_default().extend_from_slice(octets);
    }

    /// The URL that came as a literal.
    pub(super) fn take_url(&mut self) -> Option<Box<str>> {
        let octets = self.url.take()?;
        // What isn't UTF-8 is no URL, and becomes none by this.
        Some(String::from_utf8_lossy(&octets).into())
    }

    /// Notes that the command fails; its first failure is what counts.
    pub(super) fn fail(&mut self, completion: Completion) {
        self.failure.get_or_insert(completion);
        self.present = None;
    }

    pub(super) fn take_failure(&mut self) -> Option<Completion> {
        self.failure.take()
    }

    /// Ends the last message.
    pub(super) fn finish(mut self) -> Result<Ready, Completion> {
        let Some((about, intake)) = self.present.take() else { return Err(NO_MESSAGE) };
        let Message { content, batch, thread, incarnation, .. } = end(intake, Sharing::One, self.id)?;
        let added = self.whole.add_life(incarnation);
        let mut ready = Ready {
            batch,
            messages: std::mem::take(&mut self.whole.messages),
            incarnation: self.whole.incarnation,
        };
        // With their references in the same batch, they need no protection any more.
        for message in &ready.messages {
            ready.batch.append(blobs::settle(message.content.blob));
        }
        ready.messages.push(new_message(about, content, thread));
        if let Err(completion) = added {
            abandon(&self.committer, &ready.contents());
            return Err(completion);
        }
        Ok(ready)
    }
}

impl Whole {
    /// Notes in which life of the store content was written: all of it has to be in one.
    fn add_life(&mut self, incarnation: Option<Incarnation>) -> Result<(), Completion> {
        let Some(incarnation) = incarnation else { return Ok(()) };
        match self.incarnation.replace(incarnation) {
            Some(before) if before != incarnation => Err(REOPENED),
            _ => Ok(()),
        }
    }
}

/// Ends a message. An empty one calls the command off (RFC 3502 §6.3.11).
fn end(intake: Intake, sharing: Sharing, id: ConnectionId) -> Result<Message, Completion> {
    if intake.octets() == 0 {
        return Err(NO_MESSAGE);
    }
    intake.finish(sharing).map_err(|error| intake_failed(&error, id))
}

fn new_message(about: AppendMessage, content: Content, thread: ThreadInfo) -> NewMessage {
    NewMessage {
        content,
        prefix: Vec::new(),
        flags: about.flags.flags,
        keywords: about.flags.keywords,
        received: about.internal_date.unwrap_or_else(unix_now),
        thread,
    }
}

/// Gives contents up that nobody took.
pub(super) fn abandon(committer: &Arc<Committer>, contents: &[Content]) {
    for content in contents {
        intake::abandon(committer, *content);
    }
}

//! A message on its way into the store, from wherever it comes: SMTP, APPEND, an import.
//!
//! It is cut into chunks and its structure is found out while it arrives, so memory does not depend on
//! its size. One that is dropped before its end gives its chunks back.

use std::sync::Arc;

use postrider_proto::mime::collation::fold;
use postrider_proto::mime::scan::Scanner;
use postrider_proto::mime::{self, FieldName, Structure, header, record, subject};
use postrider_storage::account::{Content, ThreadInfo, hash};
use postrider_storage::blobs::{self, BlobWriter, FinishedBlob, Sharing};
use postrider_storage::committer::{CommitError, Committer};
use postrider_storage::engine::{Batch, Durability, Incarnation};
use postrider_storage::store::{Store, StoreError};

use crate::commit;
use crate::runtime::spawn;

/// References of a message that decide on its conversation.
const REFERENCES_MAX: usize = 20;

/// Why a message could not be taken.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IntakeError {
    /// It is refused: too large.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// A message that is coming in.
pub struct Intake {
    committer: Arc<Committer>,
    writer: Option<BlobWriter>,
    scanner: Scanner,
    incarnation: Option<Incarnation>,
}

/// A message that is there, all but its last batch.
#[must_use = "the last batch is still to be committed"]
pub struct Message {
    /// What account rows refer to.
    pub content: Content,
    /// The last writes of the content.
    pub batch: Batch,
    /// What it says of its conversation.
    pub thread: ThreadInfo,
    /// What it consists of.
    pub structure: Structure,
    /// The life of the store that the chunks were written in, if any were.
    pub incarnation: Option<Incarnation>,
}

impl Intake {
    /// Begins a message of at most `octets_max` octets.
    pub fn new(store: &Arc<Store>, committer: &Arc<Committer>, octets_max: u64) -> Self {
        Self {
            committer: Arc::clone(committer),
            writer: Some(BlobWriter::new(store.new_blob(), octets_max)),
            scanner: Scanner::new(mime::Limits::DEFAULT),
            incarnation: None,
        }
    }

    /// Octets so far.
    pub fn octets(&self) -> u64 {
        self.writer.as_ref().map_or(0, BlobWriter::size)
    }

    /// Takes some octets of the message; waits while the disk is behind.
    pub async fn push(&mut self, octets: &[u8]) -> Result<(), IntakeError> {
        self.scanner.push(octets);
        let Some(writer) = &mut self.writer else { return Ok(()) };
        if let Some(batch) = writer.push(octets)? {
            let written = commit::submit(&self.committer, batch, Durability::Buffered, self.incarnation)
                .await?
                .done()
                .await?;
            self.incarnation = Some(written.incarnation);
        }
        Ok(())
    }

    /// Ends the message.
    pub fn finish(mut self, sharing: Sharing) -> Result<Message, IntakeError> {
        let structure = std::mem::replace(&mut self.scanner, Scanner::new(mime::Limits::DEFAULT)).finish();
        let mut encoded = Vec::with_capacity(512);
        record::encode(&structure, &mut encoded);
        let Some(writer) = self.writer.take() else { return Err(CommitError::Closed.into()) };
        let FinishedBlob { content, batch } = writer.finish(&encoded, sharing)?;
        let thread = thread_info(&structure);
        Ok(Message { content, batch, thread, structure, incarnation: self.incarnation })
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        if let Some(batch) = self.writer.take().and_then(BlobWriter::abort) {
            write_in_background(Arc::clone(&self.committer), batch);
        }
    }
}

/// Ends the protection of a content that several transactions took.
pub fn settle(committer: &Arc<Committer>, content: Content) {
    write_in_background(Arc::clone(committer), blobs::settle(content.blob));
}

/// Gives up a finished content that nobody took.
pub fn abandon(committer: &Arc<Committer>, content: Content) {
    write_in_background(Arc::clone(committer), blobs::abandon(content.blob));
}

/// What fails here is done again at the next start.
fn write_in_background(committer: Arc<Committer>, batch: Batch) {
    spawn("settle content", async move {
        if let Err(error) = commit::commit(&committer, batch, Durability::Buffered).await {
            tracing::debug!(%error, "content is settled at the next start");
        }
    });
}

/// What a message says of its conversation (RFC 5256 §2.1 and §2.2 for the terms).
fn thread_info(structure: &Structure) -> ThreadInfo {
    let field = |name| structure.root().field(name);
    let message_id = field(FieldName::MessageId).and_then(header::message_id);
    let mut references: Vec<u64> = structure
        .references
        .as_deref()
        .map(|value| header::message_ids(value, REFERENCES_MAX))
        .unwrap_or_default()
        .iter()
        .rev()
        .map(|id| hash(id))
        .collect();
    if let Some(value) = field(FieldName::InReplyTo) {
        references.extend(header::message_ids(value, REFERENCES_MAX).iter().map(|id| hash(id)));
    }
    references.truncate(REFERENCES_MAX);
    let base = field(FieldName::Subject).map(subject::base_subject);
    ThreadInfo {
        message_id: message_id.map_or(0, |id| hash(&id)),
        references,
        subject: base.as_ref().map_or(0, |base| hash(fold(&base.text).as_bytes())),
        is_reply: base.is_some_and(|base| base.is_reply),
    }
}

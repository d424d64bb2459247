//! How the rows of an entry are written together.

use crate::blobs;
use crate::engine::{Batch, Space};
use crate::ids::QueueId;
use crate::keys::{self, SYSTEM};
use crate::reader::Reader;
use crate::rows::{FromIdRow, Held, MARK, QueueMeta, QueueRow, RecipientRow};
use crate::store::{Refusal, StoreError};

use super::{EncodedPrefix, schedule::domain_hash};

/// How an edit changes what [`count_some`](super::count_some) counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Delta {
    /// Entries.
    pub entries: i64,
    /// Recipients that are still to be reached.
    pub recipients: i64,
    /// Entries that are held.
    pub held: i64,
}

/// Writes, and how they change the counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "the batch is to be committed"]
pub struct Edit {
    /// The writes. An empty batch need not be committed.
    pub batch: Batch,
    /// How they change the counts.
    pub delta: Delta,
}

impl Edit {
    /// Moves another edit behind this one.
    pub fn append(&mut self, other: Self) {
        self.batch.append(other.batch);
        self.delta.entries += other.delta.entries;
        self.delta.recipients += other.delta.recipients;
        self.delta.held += other.delta.held;
    }

    pub(super) fn insert(&mut self, key: keys::Key, value: impl Into<crate::engine::Bytes>) {
        self.batch.insert(Space::Rows, key, value);
    }

    pub(super) fn remove(&mut self, key: keys::Key) {
        self.batch.remove(Space::Rows, key);
    }

    /// Writes a new entry, without its recipients.
    pub(super) fn create(
        &mut self,
        id: QueueId,
        row: &QueueRow,
        prefix: &EncodedPrefix,
        meta: Option<&QueueMeta>,
    ) -> Result<(), StoreError> {
        if let Some(meta) = meta {
            self.insert(keys::queue_meta(id), meta.encode().ok_or(Refusal::EnvelopeTooLong)?);
            if !meta.from_id.is_empty() {
                self.insert(keys::from_id(row.sender, &meta.from_id), FromIdRow::Queued { id }.encode());
            }
        }
        self.insert(keys::blob_ref(row.blob, SYSTEM, id.0), MARK);
        self.insert(keys::queue_prefix(id), prefix.0.clone());
        self.insert(keys::queue_owner(row.sender, id), MARK);
        self.insert(place(id, row), MARK);
        self.insert(keys::queue(id), encode(row)?);
        if row.claimed {
            self.insert(keys::queue_claimed(id), MARK);
        }
        self.count(row, 1);
        Ok(())
    }

    /// Writes what changes when an entry's row does.
    pub(super) fn replace(&mut self, id: QueueId, old: &QueueRow, new: &QueueRow) -> Result<(), StoreError> {
        let (from, to) = (place(id, old), place(id, new));
        if from != to {
            self.remove(from);
            self.insert(to, MARK);
        }
        match (old.claimed, new.claimed) {
            (false, true) => self.insert(keys::queue_claimed(id), MARK),
            (true, false) => self.remove(keys::queue_claimed(id)),
            _ => {}
        }
        self.insert(keys::queue(id), encode(new)?);
        self.count(old, -1);
        self.count(new, 1);
        Ok(())
    }

    /// Removes an entry whose recipients are removed, and with them its id. Its content is left to the collector.
    pub(super) fn erase(&mut self, id: QueueId, row: &QueueRow) {
        self.erase_rows(id, row);
        self.remove(keys::blob_ref(row.blob, SYSTEM, id.0));
        self.insert(keys::blob_gc(row.blob, SYSTEM, id.0), MARK);
    }

    /// The same, with its content where nobody else has that: for one that leaves soon after it came. Of what is in a blob
    /// file the collector has to know, which counts it and has such files rewritten.
    pub(super) fn erase_with_content(
        &mut self,
        reader: &Reader,
        id: QueueId,
        row: &QueueRow,
    ) -> Result<(), StoreError> {
        self.erase_rows(id, row);
        blobs::let_go(reader, &mut self.batch, row.blob, (SYSTEM, id.0))
    }

    fn erase_rows(&mut self, id: QueueId, row: &QueueRow) {
        self.remove(keys::queue(id));
        self.remove(keys::queue_prefix(id));
        if row.has_meta {
            self.remove(keys::queue_meta(id));
        }
        self.remove(keys::queue_owner(row.sender, id));
        self.remove(place(id, row));
        if row.claimed {
            self.remove(keys::queue_claimed(id));
        }
        self.count(row, -1);
    }

    /// Writes a recipient.
    pub(super) fn put(&mut self, id: QueueId, number: u32, row: &RecipientRow) -> Result<(), StoreError> {
        let value = row.encode().ok_or(Refusal::EnvelopeTooLong)?;
        self.insert(keys::queue_recipient(id, number), value);
        Ok(())
    }

    /// Counts an entry whose row can't be read, with so many rows of recipients.
    pub(super) fn count_damaged(&mut self, recipients: i64, times: i64) {
        self.delta.entries += times;
        self.delta.recipients += times * recipients;
    }

    fn count(&mut self, row: &QueueRow, times: i64) {
        self.delta.entries += times;
        self.delta.recipients += times * i64::from(row.waiting);
        self.delta.held += times * i64::from(row.held != Held::No);
    }
}

/// An entry's place in the schedule.
pub(crate) fn place(id: QueueId, row: &QueueRow) -> keys::Key {
    keys::queue_due(domain_hash(&row.domain), row.scheduled(), id)
}

fn encode(row: &QueueRow) -> Result<Vec<u8>, StoreError> {
    Ok(row.encode().ok_or(Refusal::EnvelopeTooLong)?)
}

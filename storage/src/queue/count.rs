//! Counting what waits.

use super::{QueueRow, StoreError};
use crate::ids::QueueId;
use crate::keys::{self, SYSTEM, table};
use crate::reader::Reader;
use crate::rows::Held;

/// What waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct QueueCounts {
    /// Entries.
    pub entries: u64,
    /// Recipients that are still to be reached.
    pub recipients: u64,
    /// Entries that are held.
    pub held: u64,
}

/// What a part of the walk counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counted {
    /// What it saw.
    pub counts: QueueCounts,
    /// The first entry that it didn't see; none at the end.
    pub next: Option<QueueId>,
}

/// Counts entries from `from` on, at most `entries_max` of them. Of one snapshot from the start to the end, and with
/// every [`Delta`](super::Delta) of what is committed after it, the sum is right. One that is damaged counts with as many recipients as
/// it has rows of them, and as not held: that is what is known of it.
pub fn count_some(reader: &Reader, from: QueueId, entries_max: usize) -> Result<Counted, StoreError> {
    let mut counts = QueueCounts::default();
    let rows = reader.from(&keys::queue(from), &keys::of_table(SYSTEM, table::QUEUE));
    for (looked, row) in rows.enumerate() {
        let (key, value) = row?;
        let [id] = keys::numbers(&key, [8])?;
        let id = QueueId(id);
        if looked == entries_max {
            return Ok(Counted { counts, next: Some(id) });
        }
        match QueueRow::decode(&value) {
            Ok(row) => counts.add(&row),
            Err(_) => {
                counts.entries += 1;
                for recipient in reader.prefix(&keys::queue_recipients(id)) {
                    recipient?;
                    counts.recipients += 1;
                }
            }
        }
    }
    Ok(Counted { counts, next: None })
}

/// Counts everything; walks all entries, so keep the figures.
pub fn count(reader: &Reader) -> Result<QueueCounts, StoreError> {
    Ok(count_some(reader, QueueId(0), usize::MAX)?.counts)
}

impl QueueCounts {
    fn add(&mut self, row: &QueueRow) {
        self.entries += 1;
        self.recipients += u64::from(row.waiting);
        self.held += u64::from(row.held != Held::No);
    }
}

//! An atomic set of writes.

use super::{Bytes, Space};
use crate::directory::is_directory_key;
use crate::error::EngineError;

/// Longest key in octets. The engine's journal keeps key lengths in 16 bits, so this must stay below 65 536.
pub const KEY_OCTETS_MAX: usize = 4096;

/// Longest value in octets.
pub const VALUE_OCTETS_MAX: usize = 8 * 1024 * 1024;

/// Largest batch in octets, counted as [`Batch::octets`] does. It stays well below the engine's journal file
/// of 64 MiB, and all of it is in memory until it is flushed.
pub const BATCH_OCTETS_MAX: usize = 32 * 1024 * 1024;

/// What every write costs in the journal and in memory besides its key and value.
pub const WRITE_OVERHEAD_OCTETS: usize = 32;

const _: () = assert!(KEY_OCTETS_MAX < 65_536);
const _: () = assert!(VALUE_OCTETS_MAX < BATCH_OCTETS_MAX && BATCH_OCTETS_MAX <= 48 * 1024 * 1024);

/// One write: a value, or none to remove the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub space: Space,
    /// The key, never empty.
    pub key: Bytes,
    /// The new value; none removes.
    pub value: Option<Bytes>,
}

/// Writes that happen together or not at all, in order: a later write of the same key wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    writes: Vec<Write>,
    octets: usize,
    changes_directory: bool,
}

impl Batch {
    /// An empty batch.
    pub const fn new() -> Self {
        Self { writes: Vec::new(), octets: 0, changes_directory: false }
    }

    /// Sets `key` to `value`.
    pub fn insert(&mut self, space: Space, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.push(Write { space, key: key.into(), value: Some(value.into()) });
    }

    /// Removes `key`, whether or not it exists.
    pub fn remove(&mut self, space: Space, key: impl Into<Bytes>) {
        self.push(Write { space, key: key.into(), value: None });
    }

    /// Moves all writes of `other` behind those of this batch. Build each job's writes in a batch of its own
    /// and append it when the job succeeded; a failing one then leaves no trace.
    pub fn append(&mut self, other: Self) {
        self.octets += other.octets;
        self.changes_directory |= other.changes_directory;
        if self.writes.is_empty() {
            self.writes = other.writes;
        } else {
            self.writes.extend(other.writes);
        }
    }

    /// How many writes.
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// True without any write.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Size in octets: keys, values and a fixed overhead for each write.
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// Whether it changes what the directory says.
    pub fn changes_directory(&self) -> bool {
        self.changes_directory
    }

    /// The writes in order.
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// The writes in order, by value.
    pub fn into_writes(self) -> Vec<Write> {
        self.writes
    }

    /// Checks every bound.
    pub fn check(&self) -> Result<(), EngineError> {
        for write in &self.writes {
            bounded("a key", write.key.len(), 1, KEY_OCTETS_MAX)?;
            if write.space == Space::Rows && write.key[..] == super::fjall::MARK_KEY {
                return Err(EngineError::Bounds {
                    what: "a reserved key",
                    octets: 3,
                    allowed_min: 1,
                    allowed_max: 2,
                });
            }
            let value = write.value.as_ref().map_or(0, |value| value.len());
            bounded("a value", value, 0, VALUE_OCTETS_MAX)?;
        }
        bounded("a batch", self.octets, 0, BATCH_OCTETS_MAX)
    }

    fn push(&mut self, write: Write) {
        let value = write.value.as_ref().map_or(0, |value| value.len());
        self.octets += write.key.len() + value + WRITE_OVERHEAD_OCTETS;
        self.changes_directory |= write.space == Space::Rows && is_directory_key(&write.key);
        self.writes.push(write);
    }
}

fn bounded(
    what: &'static str,
    octets: usize,
    allowed_min: usize,
    allowed_max: usize,
) -> Result<(), EngineError> {
    if (allowed_min..=allowed_max).contains(&octets) {
        Ok(())
    } else {
        Err(EngineError::Bounds { what, octets, allowed_min, allowed_max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_values_and_batches_are_taken_up_to_their_bound_and_not_beyond() {
        let with = |key: usize, value: usize| {
            let mut batch = Batch::new();
            batch.insert(Space::Rows, vec![1; key], vec![2; value]);
            batch.check()
        };
        assert!(with(1, 0).is_ok());
        assert!(matches!(with(0, 0), Err(EngineError::Bounds { what: "a key", .. })));
        assert!(with(KEY_OCTETS_MAX, 1).is_ok());
        assert!(matches!(with(KEY_OCTETS_MAX + 1, 1), Err(EngineError::Bounds { what: "a key", .. })));
        assert!(with(1, VALUE_OCTETS_MAX).is_ok());
        assert!(matches!(with(1, VALUE_OCTETS_MAX + 1), Err(EngineError::Bounds { what: "a value", .. })));

        let mut batch = Batch::new();
        while batch.octets() + VALUE_OCTETS_MAX / 2 <= BATCH_OCTETS_MAX {
            batch.insert(Space::Blobs, [1], vec![0; VALUE_OCTETS_MAX / 2 - 1 - WRITE_OVERHEAD_OCTETS]);
        }
        assert_eq!(batch.octets(), BATCH_OCTETS_MAX);
        assert!(batch.check().is_ok());
        let mut longer = Batch::new();
        longer.remove(Space::Rows, [7]);
        batch.append(longer);
        assert!(matches!(batch.check(), Err(EngineError::Bounds { what: "a batch", .. })));
    }

    #[test]
    fn appending_keeps_order_and_adds_sizes() {
        let mut first = Batch::new();
        first.insert(Space::Rows, [1], [1, 1]);
        let mut second = Batch::new();
        second.remove(Space::Rows, [1]);
        let octets = first.octets() + second.octets();
        first.append(second);
        assert_eq!((first.len(), first.octets()), (2, octets));
        assert_eq!(first.writes()[1].value, None);
    }
}

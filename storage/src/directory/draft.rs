//! The directory as it would be: a snapshot with writes on top, read as one.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::lookup::{Directory, corrupt};
use super::rows::{self, AddressRow, BadRow, Place, StateRow};
use super::stage::{Layered, can_be_staged, encode_staged, staged_key};
use crate::engine::{Batch, Bytes, EngineError, Rows, Snapshot, Space, WRITE_OVERHEAD_OCTETS, prefix_end};

/// Writes that are not yet a batch.
#[derive(Default)]
pub(super) struct Pending {
    writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    octets: usize,
    /// Whether any change of the directory was staged.
    staged: bool,
}

/// A snapshot with writes on top.
pub(super) struct Draft<'a> {
    base: &'a dyn Snapshot,
    pending: Pending,
    stored: StateRow,
    pub(super) state: StateRow,
    /// Aliases whose members changed: none may be left without any.
    pub(super) thinned: BTreeSet<Place>,
}

impl Pending {
    fn set(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        let length = |value: &Option<Vec<u8>>| value.as_ref().map_or(0, Vec::len);
        self.octets += key.len() + length(&value) + WRITE_OVERHEAD_OCTETS;
        let key_octets = key.len();
        if let Some(before) = self.writes.insert(key, value) {
            self.octets -= key_octets + length(&before) + WRITE_OVERHEAD_OCTETS;
        }
    }

    /// About what they take.
    pub(super) const fn octets(&self) -> usize {
        self.octets
    }

    /// Whether what was spilled changes the directory.
    pub(super) const fn is_staged(&self) -> bool {
        self.staged
    }

    /// The writes as those of a plan: what changes the directory is staged, all else is written.
    pub(super) fn spill(&mut self) -> Batch {
        let mut batch = Batch::new();
        self.octets = 0;
        for (key, value) in std::mem::take(&mut self.writes) {
            match value {
                value if can_be_staged(&key) => {
                    self.staged = true;
                    batch.insert(Space::Rows, staged_key(&key), encode_staged(value.as_deref()));
                }
                Some(value) => batch.insert(Space::Rows, key, value),
                None => batch.remove(Space::Rows, key),
            }
        }
        batch
    }
}

impl<'a> Draft<'a> {
    pub(super) fn new(base: &'a dyn Snapshot) -> Result<Self, EngineError> {
        Self::resume(base, Pending::default())
    }

    /// Goes on with what [`Draft::pause`] gave.
    pub(super) fn resume(base: &'a dyn Snapshot, pending: Pending) -> Result<Self, EngineError> {
        let stored = Directory::new(base).state()?;
        let mut draft = Self { base, pending, stored, state: StateRow::default(), thinned: BTreeSet::new() };
        draft.state = draft.row(&rows::state(), StateRow::decode)?.unwrap_or_else(|| draft.stored.clone());
        Ok(draft)
    }

    /// The writes, without the snapshot. What was [`thinned`](Self::thinned) is forgotten.
    pub(super) fn pause(mut self) -> Pending {
        self.put_state();
        self.pending
    }

    pub(super) const fn base(&self) -> &'a dyn Snapshot {
        self.base
    }

    pub(super) const fn octets(&self) -> usize {
        self.pending.octets()
    }

    pub(super) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.pending.set(key, Some(value));
    }

    pub(super) fn remove(&mut self, key: Vec<u8>) {
        self.pending.set(key, None);
    }

    pub(super) fn row<T>(
        &self,
        key: &[u8],
        decode: impl FnOnce(&[u8], &[u8]) -> Result<T, BadRow>,
    ) -> Result<Option<T>, EngineError> {
        let row = match self.pending.writes.get(key) {
            Some(value) => value.as_ref().map(|value| decode(key, value)),
            None => self.base.get(Space::Rows, key)?.map(|value| decode(key, &value)),
        };
        row.transpose().map_err(corrupt)
    }

    pub(super) fn contains(&self, key: &[u8]) -> Result<bool, EngineError> {
        Ok(self.row(key, |_, _| Ok(()))?.is_some())
    }

    pub(super) fn address(&self, place: &Place) -> Result<Option<AddressRow>, EngineError> {
        self.row(&rows::address(place), AddressRow::decode)
    }

    /// The first key that begins with `prefix`.
    pub(super) fn first(&self, prefix: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        let row = self.rows(prefix, None).next().transpose()?;
        Ok(row.map(|(key, _)| key.to_vec()))
    }

    /// All rows whose key begins with `prefix`, from behind `after` on, in order.
    pub(super) fn rows<'s>(&'s self, prefix: &[u8], after: Option<&[u8]>) -> Rows<'s> {
        let from = after.map_or(Bound::Included(prefix), Bound::Excluded);
        let end = prefix_end(prefix);
        let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let written = self.pending.writes.range::<[u8], _>((from, to));
        let written =
            written.map(|(key, value)| Ok((Bytes::copy_from(key), value.as_deref().map(Bytes::copy_from))));
        Box::new(Layered::new(written, self.base.range(Space::Rows, from, to)))
    }

    /// All rows whose key begins with `prefix`.
    pub(super) fn all(&self, prefix: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, EngineError> {
        self.rows(prefix, None).map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec()))).collect()
    }

    /// The writes, without those that change nothing, and without what only served to find them.
    pub(super) fn into_batch(mut self) -> Result<Batch, EngineError> {
        self.put_state();
        let mut batch = Batch::new();
        for (key, value) in self.pending.writes {
            if key.starts_with(&rows::table(rows::WANTED)) {
                continue;
            }
            let before = self.base.get(Space::Rows, &key)?;
            match value {
                Some(value) if before.as_deref() != Some(value.as_slice()) => {
                    batch.insert(Space::Rows, key, value);
                }
                None if before.is_some() => batch.remove(Space::Rows, key),
                _ => {}
            }
        }
        Ok(batch)
    }

    fn put_state(&mut self) {
        if self.state != self.stored {
            let state = self.state.encode();
            self.put(rows::state(), state);
        } else if self.pending.writes.contains_key(&rows::state()[..]) {
            let state = self.stored.encode();
            self.put(rows::state(), state);
        }
    }
}

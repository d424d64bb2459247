//! The directory as it would be: a snapshot with writes on top, read as one.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::lookup::{Directory, corrupt};
use super::rows::{self, AddressRow, BadRow, Place, StateRow};
use crate::engine::{Batch, EngineError, Snapshot, Space, prefix_end};

/// Writes that are not yet a batch.
pub(super) struct Draft<'a> {
    base: &'a dyn Snapshot,
    writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    pub(super) state: StateRow,
    /// Aliases whose members changed: none may be left without any.
    pub(super) thinned: BTreeSet<Place>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(base: &'a dyn Snapshot) -> Result<Self, EngineError> {
        let state = Directory::new(base).state()?;
        Ok(Self { base, writes: BTreeMap::new(), state, thinned: BTreeSet::new() })
    }

    pub(super) const fn base(&self) -> &'a dyn Snapshot {
        self.base
    }

    pub(super) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.writes.insert(key, Some(value));
    }

    pub(super) fn remove(&mut self, key: Vec<u8>) {
        self.writes.insert(key, None);
    }

    pub(super) fn row<T>(
        &self,
        key: &[u8],
        decode: impl FnOnce(&[u8], &[u8]) -> Result<T, BadRow>,
    ) -> Result<Option<T>, EngineError> {
        let row = match self.writes.get(key) {
            Some(value) => value.as_ref().map(|value| decode(key, value)),
            None => self.base.get(Space::Rows, key)?.map(|value| decode(key, &value)),
        };
        row.transpose().map_err(corrupt)
    }

    pub(super) fn address(&self, place: &Place) -> Result<Option<AddressRow>, EngineError> {
        self.row(&rows::address(place), AddressRow::decode)
    }

    /// The first key that begins with `prefix`.
    pub(super) fn first(&self, prefix: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        let written = self.written(prefix).find(|(_, value)| value.is_some()).map(|(key, _)| key.clone());
        for row in self.base.prefix(Space::Rows, prefix) {
            let (key, _) = row?;
            if !self.writes.contains_key(&key[..]) {
                let key = key.to_vec();
                return Ok(Some(written.map_or(key.clone(), |written| written.min(key))));
            }
        }
        Ok(written)
    }

    /// All rows whose key begins with `prefix`.
    pub(super) fn all(&self, prefix: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, EngineError> {
        let mut found = BTreeMap::new();
        for row in self.base.prefix(Space::Rows, prefix) {
            let (key, value) = row?;
            found.insert(key.to_vec(), value.to_vec());
        }
        for (key, value) in self.written(prefix) {
            match value {
                Some(value) => found.insert(key.clone(), value.clone()),
                None => found.remove(key),
            };
        }
        Ok(found)
    }

    /// The writes, without those that change nothing.
    pub(super) fn into_batch(mut self) -> Result<Batch, EngineError> {
        if self.state != Directory::new(self.base).state()? {
            let state = self.state.encode();
            self.put(rows::state(), state);
        }
        let mut batch = Batch::new();
        for (key, value) in self.writes {
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

    fn written<'b>(&'b self, prefix: &[u8]) -> impl Iterator<Item = (&'b Vec<u8>, &'b Option<Vec<u8>>)> {
        let end = match prefix_end(prefix) {
            Some(end) => Bound::Excluded(end),
            None => Bound::Unbounded,
        };
        self.writes.range((Bound::Included(prefix.to_vec()), end))
    }
}

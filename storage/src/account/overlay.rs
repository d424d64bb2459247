//! What a batch has written so far: rows over a snapshot, and the in-memory state that they mean.
//! Both can go back to a savepoint, at a cost that follows what was written since.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::sync::Arc;

use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::types::Keyword;

use crate::engine::{Batch, Space, WRITE_OVERHEAD_OCTETS};
use crate::ids::MailboxId;
use crate::keys::{self, Key};
use crate::reader::{Raw, Reader};
use crate::rows::{AclRow, HeadRow, MailboxRow};
use crate::store::StoreError;

/// Changes of the in-memory state.
#[derive(Clone, Debug, Default)]
pub(super) struct Delta {
    pub head: Option<HeadRow>,
    pub mailboxes: BTreeMap<MailboxId, Option<Arc<MailboxRow>>>,
    pub names: BTreeMap<MailboxName, Option<MailboxId>>,
    /// New ones, behind those of the account.
    pub keywords: Vec<Keyword>,
    pub subscriptions: BTreeMap<MailboxName, bool>,
    pub acls: BTreeMap<MailboxId, Option<Arc<AclRow>>>,
}

type Value = Option<Vec<u8>>;

/// Rows written over a snapshot; none is a removed row.
#[derive(Default)]
pub(super) struct Overlay {
    rows: BTreeMap<Key, Value>,
    /// What rows held before the present transaction wrote them; newest last.
    undo: Vec<(Key, Option<Value>)>,
    octets: usize,
}

impl Overlay {
    pub fn insert(&mut self, key: Key, value: Vec<u8>) {
        self.write(key, Some(value));
    }

    pub fn remove(&mut self, key: Key) {
        self.write(key, None);
    }

    fn write(&mut self, key: Key, value: Value) {
        self.octets += key.len() + value.as_ref().map_or(0, Vec::len) + WRITE_OVERHEAD_OCTETS;
        let before = self.rows.insert(key.clone(), value);
        self.undo.push((key, before));
    }

    /// Octets written since the savepoint.
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// Makes everything written so far stay.
    pub fn save(&mut self) {
        self.undo.clear();
        self.octets = 0;
    }

    /// Goes back to the savepoint.
    pub fn roll_back(&mut self) {
        while let Some((key, before)) = self.undo.pop() {
            match before {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
        self.octets = 0;
    }

    /// A row as this batch sees it.
    pub fn get(&self, reader: &Reader, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.rows.get(key) {
            Some(value) => Ok(value.clone()),
            None => Ok(reader.get(key)?.map(|value| value.to_vec())),
        }
    }

    /// Rows from `from` up to the end of `prefix` as this batch sees them, in key order.
    pub fn scan<'a>(
        &'a self,
        reader: &'a Reader,
        from: &[u8],
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<(Key, Vec<u8>), StoreError>> + 'a {
        let written = self.written(from, prefix).peekable();
        Merged { stored: reader.from(from, prefix).peekable(), written, first: |a, b| a <= b }
    }

    /// The same rows from the last on.
    pub fn scan_back<'a>(
        &'a self,
        reader: &'a Reader,
        from: &[u8],
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<(Key, Vec<u8>), StoreError>> + 'a {
        let written = self.written(from, prefix).rev().peekable();
        Merged { stored: reader.from(from, prefix).rev().peekable(), written, first: |a, b| a >= b }
    }

    fn written<'a>(
        &'a self,
        from: &[u8],
        prefix: &[u8],
    ) -> impl DoubleEndedIterator<Item = (&'a Key, &'a Value)> + use<'a> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let end = keys::after(prefix);
        let end = end.as_deref().map_or(Unbounded, Excluded);
        let empty = matches!(end, Excluded(end) if end <= from);
        (!empty).then(|| self.rows.range::<[u8], _>((Included(from), end))).into_iter().flatten()
    }

    /// All writes as a batch, in key order.
    pub fn into_batch(self, batch: &mut Batch) {
        for (key, value) in self.rows {
            match value {
                Some(value) => batch.insert(Space::Rows, key, value),
                None => batch.remove(Space::Rows, key),
            }
        }
    }
}

/// Stored and written rows in one order; a written row replaces a stored one.
struct Merged<S: Iterator, W: Iterator> {
    stored: Peekable<S>,
    written: Peekable<W>,
    /// Whether the first key comes no later than the second.
    first: fn(&[u8], &[u8]) -> bool,
}

impl<'a, S, W> Iterator for Merged<S, W>
where
    S: Iterator<Item = Result<Raw, StoreError>>,
    W: Iterator<Item = (&'a Key, &'a Value)>,
{
    type Item = Result<(Key, Vec<u8>), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let take_written = match (self.stored.peek(), self.written.peek()) {
                (Some(Err(_)), _) | (_, None) => false,
                (None, Some(_)) => true,
                (Some(Ok((stored, _))), Some((written, _))) => (self.first)(written, stored),
            };
            if !take_written {
                let row = self.stored.next()?;
                return Some(row.map(|(key, value)| (key.to_vec(), value.to_vec())));
            }
            let (key, value) = self.written.next()?;
            self.stored.next_if(|row| matches!(row, Ok((stored, _)) if **stored == **key));
            if let Some(value) = value {
                return Some(Ok((key.clone(), value.clone())));
            }
        }
    }
}

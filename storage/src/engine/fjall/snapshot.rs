//! Snapshots of the engine on disk.

use super::{Live, MARK_KEY, typed};
use crate::engine::{Bytes, EngineError, Row, Rows, Snapshot, Space, is_empty_range};
use ::fjall::Readable;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A view of one life of the store. Once that life is about to end, every read fails.
pub(super) struct FjallSnapshot {
    inner: ::fjall::Snapshot,
    live: Arc<Live>,
}

/// What a snapshot is while the store is being reopened.
pub(super) struct Gone(pub(super) EngineError);

impl FjallSnapshot {
    pub(super) fn new(live: Arc<Live>) -> Self {
        Self { inner: live.db.snapshot(), live }
    }

    fn check(&self) -> Result<(), EngineError> {
        if self.live.closing.load(Ordering::Acquire) {
            return Err(EngineError::Poisoned { cause: "the store is being reopened".to_owned() });
        }
        Ok(())
    }

    fn row(&self, guard: ::fjall::Guard) -> Result<Row, EngineError> {
        self.check()?;
        let (key, value) = guard.into_inner().map_err(|error| typed("reading a range", error))?;
        Ok((Bytes::from_engine(key), Bytes::from_engine(value)))
    }
}

impl Snapshot for FjallSnapshot {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.check()?;
        if key.is_empty() || is_mark(space, key) {
            return Ok(None);
        }
        let value = self.inner.get(self.live.keyspace(space), key);
        Ok(value.map_err(|error| typed("reading a row", error))?.map(Bytes::from_engine))
    }

    fn range<'a>(&'a self, space: Space, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Rows<'a> {
        if is_empty_range(from, to) {
            return Box::new(std::iter::empty());
        }
        let guards = self.inner.range::<&[u8], _>(self.live.keyspace(space), (from, to));
        let rows = guards.map(|guard| self.row(guard));
        // A failed read ends a range in either direction only for its caller; the mark is nobody's row.
        Box::new(rows.filter(move |row| !row.as_ref().is_ok_and(|(key, _)| is_mark(space, key))))
    }
}

impl Snapshot for Gone {
    fn get(&self, _: Space, _: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Err(self.0.clone())
    }

    fn range<'a>(&'a self, _: Space, _: Bound<&[u8]>, _: Bound<&[u8]>) -> Rows<'a> {
        Box::new(std::iter::once(Err(self.0.clone())))
    }
}

fn is_mark(space: Space, key: &[u8]) -> bool {
    space == Space::Rows && key == MARK_KEY
}

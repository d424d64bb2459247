//! A snapshot with the staged rows on top of those that they are for.

use std::cmp::Ordering;
use std::ops::Bound;

use super::super::lookup::{corrupt, damaged};
use super::super::rows;
use super::{PlanState, can_be_staged, decode_staged, plan_state, staged_key, unstaged_key};
use crate::engine::{Bytes, EngineError, Row, Rows, Snapshot, Space};

/// The directory as a plan would have it, or, once it is sealed, has it.
pub(in super::super) struct Overlay<S>(pub(in super::super) S);

/// The snapshot as everybody is to read it: with the staged rows, when they hold. When that can't be read,
/// nothing can.
pub(crate) fn reading(snapshot: Box<dyn Snapshot>) -> Box<dyn Snapshot> {
    match plan_state(&*snapshot) {
        Ok(Some(PlanState::Sealed)) => Box::new(Overlay(snapshot)),
        Ok(Some(PlanState::Writing | PlanState::Trying) | None) => snapshot,
        Err(error) => Box::new(Unreadable(error)),
    }
}

/// Neither the directory from before a plan nor that from after it can be told.
struct Unreadable(EngineError);

impl Snapshot for Unreadable {
    fn get(&self, _: Space, _: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Err(self.0.clone())
    }

    fn range<'a>(&'a self, _: Space, _: Bound<&[u8]>, _: Bound<&[u8]>) -> Rows<'a> {
        Box::new(std::iter::once(Err(self.0.clone())))
    }
}

impl<S: Snapshot> Snapshot for Overlay<S> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        if space == Space::Rows && can_be_staged(key) {
            let staged = staged_key(key);
            if let Some(value) = self.0.get(space, &staged)? {
                return decode_staged(&staged, &value).map_err(corrupt);
            }
        }
        self.0.get(space, key)
    }

    fn range<'a>(&'a self, space: Space, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Rows<'a> {
        let below = self.0.range(space, from, to);
        let (first, end) = (rows::table(rows::STATE), rows::table(rows::LAST + 1));
        let ends_before = match to {
            Bound::Included(to) => to < &first[..],
            Bound::Excluded(to) => to <= &first[..],
            Bound::Unbounded => false,
        };
        let begins_after = match from {
            Bound::Included(from) | Bound::Excluded(from) => from >= &end[..],
            Bound::Unbounded => false,
        };
        if space != Space::Rows || ends_before || begins_after {
            return below;
        }
        let clipped = |bound: Bound<&[u8]>, outer: Bound<Vec<u8>>| match bound {
            Bound::Included(key) if can_be_staged(key) => Bound::Included(staged_key(key)),
            Bound::Excluded(key) if can_be_staged(key) => Bound::Excluded(staged_key(key)),
            _ => outer,
        };
        let from = clipped(from, Bound::Included(rows::table(rows::STAGED)));
        let to = clipped(to, Bound::Excluded(rows::table(rows::STAGED + 1)));
        let staged = self
            .0
            .range(space, from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice))
            .map(|row| {
                let (staged, value) = row?;
                let key = unstaged_key(&staged).ok_or_else(|| damaged(&staged))?;
                Ok((Bytes::from(key), decode_staged(&staged, &value).map_err(corrupt)?))
            });
        Box::new(Layered::new(staged, below))
    }
}

/// A row, or that there is none whatever lies below.
type Above = (Bytes, Option<Bytes>);

/// Rows with others on top of them, in order, from both ends.
pub(in super::super) struct Layered<U, B> {
    above: Ends<U, Above>,
    below: Ends<B, Row>,
}

/// An iterator of which one item may have been looked at from each end.
struct Ends<I, T> {
    items: I,
    front: Option<T>,
    back: Option<T>,
}

impl<T, I: DoubleEndedIterator<Item = Result<T, EngineError>>> Ends<I, T> {
    const fn new(items: I) -> Self {
        Self { items, front: None, back: None }
    }

    fn front(&mut self) -> Result<Option<&T>, EngineError> {
        if self.front.is_none() {
            self.front = match self.items.next() {
                Some(item) => Some(item?),
                None => self.back.take(),
            };
        }
        Ok(self.front.as_ref())
    }

    fn back(&mut self) -> Result<Option<&T>, EngineError> {
        if self.back.is_none() {
            self.back = match self.items.next_back() {
                Some(item) => Some(item?),
                None => self.front.take(),
            };
        }
        Ok(self.back.as_ref())
    }
}

impl<U, B> Layered<U, B>
where
    U: DoubleEndedIterator<Item = Result<Above, EngineError>>,
    B: DoubleEndedIterator<Item = Result<Row, EngineError>>,
{
    pub(in super::super) const fn new(above: U, below: B) -> Self {
        Self { above: Ends::new(above), below: Ends::new(below) }
    }

    fn first(&mut self) -> Result<Option<Row>, EngineError> {
        loop {
            let order = match (self.above.front()?, self.below.front()?) {
                (None, None) => return Ok(None),
                (None, Some(_)) => Ordering::Greater,
                (Some(_), None) => Ordering::Less,
                (Some((above, _)), Some((below, _))) => above.cmp(below),
            };
            if order == Ordering::Greater {
                return Ok(self.below.front.take());
            }
            if order == Ordering::Equal {
                self.below.front = None;
            }
            if let Some((key, Some(value))) = self.above.front.take() {
                return Ok(Some((key, value)));
            }
        }
    }

    fn last(&mut self) -> Result<Option<Row>, EngineError> {
        loop {
            let order = match (self.above.back()?, self.below.back()?) {
                (None, None) => return Ok(None),
                (None, Some(_)) => Ordering::Less,
                (Some(_), None) => Ordering::Greater,
                (Some((above, _)), Some((below, _))) => above.cmp(below),
            };
            if order == Ordering::Less {
                return Ok(self.below.back.take());
            }
            if order == Ordering::Equal {
                self.below.back = None;
            }
            if let Some((key, Some(value))) = self.above.back.take() {
                return Ok(Some((key, value)));
            }
        }
    }
}

impl<U, B> Iterator for Layered<U, B>
where
    U: DoubleEndedIterator<Item = Result<Above, EngineError>>,
    B: DoubleEndedIterator<Item = Result<Row, EngineError>>,
{
    type Item = Result<Row, EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.first().transpose()
    }
}

impl<U, B> DoubleEndedIterator for Layered<U, B>
where
    U: DoubleEndedIterator<Item = Result<Above, EngineError>>,
    B: DoubleEndedIterator<Item = Result<Row, EngineError>>,
{
    fn next_back(&mut self) -> Option<Self::Item> {
        self.last().transpose()
    }
}

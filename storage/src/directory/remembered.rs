//! Rows of the directory that are remembered, so that who asks the same again reads nothing.
//!
//! What is remembered counts for one [version of the directory](crate::engine::Engine::directory_version), which is taken
//! before the snapshot that is read: so an answer is never older than the last change that was acknowledged. While a change is
//! being made the version is odd, and nothing is remembered: so no answer is made of rows of both sides of it.

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::lookup::Directory;
use super::rows::is_directory_key;
use crate::engine::{Bytes, EngineError, Row, Rows, Snapshot, Space};

/// What one memory takes at most, with [`OVERHEAD_OCTETS`] for each row. When it is full, all is forgotten.
const OCTETS_MAX: usize = 1 << 20;
/// What a row takes besides its key and value.
const OVERHEAD_OCTETS: usize = 160;
/// Rows of a list that is remembered.
const LIST_MAX: usize = 32;

/// What is remembered of the directory.
#[derive(Default)]
pub struct Remembered {
    version: u64,
    rows: Learnt,
}

impl Remembered {
    /// Asks what is remembered for this version; none when something that it takes isn't. `ask` may be given less than there
    /// is, then: its answer is thrown away.
    pub fn ask<T>(
        &mut self,
        version: u64,
        ask: impl FnOnce(&Directory<'_>) -> Result<T, EngineError>,
    ) -> Option<Result<T, EngineError>> {
        if self.version != version || !version.is_multiple_of(2) {
            return None;
        }
        let known = Known { rows: &self.rows, lacks: AtomicBool::new(false) };
        let answer = ask(&Directory::new(&known));
        (!known.lacks.into_inner()).then_some(answer)
    }

    /// Remembers what was read of a snapshot that was taken when the directory had this version, or after.
    pub fn learn(&mut self, version: u64, learnt: Learnt) {
        if self.version < version {
            *self = Self { version, rows: Learnt::default() };
        }
        if self.version > version || !version.is_multiple_of(2) {
            return;
        }
        if self.rows.octets + learnt.octets > OCTETS_MAX {
            self.rows = Learnt::default();
        }
        if learnt.octets <= OCTETS_MAX {
            self.rows.append(learnt);
        }
    }
}

/// Rows that were read.
#[derive(Default)]
pub struct Learnt {
    rows: HashMap<Box<[u8]>, Option<Bytes>>,
    /// All rows of a prefix.
    lists: HashMap<Box<[u8]>, Vec<Row>>,
    octets: usize,
}

impl Learnt {
    fn put(&mut self, key: &[u8], value: Option<&Bytes>) {
        let octets = key.len() + value.map_or(0, |value| value.len()) + OVERHEAD_OCTETS;
        // Copied: what was read may be a part of a block, which would stay as long.
        let value = value.map(|value| Bytes::copy_from(value));
        if let Some(before) = self.rows.insert(key.into(), value) {
            self.octets -= key.len() + before.map_or(0, |before| before.len()) + OVERHEAD_OCTETS;
        }
        self.octets += octets;
    }

    fn put_list(&mut self, prefix: &[u8], rows: Vec<Row>) {
        self.octets += octets_of_list(prefix, &rows);
        if let Some(before) = self.lists.insert(prefix.into(), rows) {
            self.octets -= octets_of_list(prefix, &before);
        }
    }

    fn append(&mut self, other: Self) {
        for (key, value) in other.rows {
            self.put(&key, value.as_ref());
        }
        for (prefix, rows) in other.lists {
            self.put_list(&prefix, rows);
        }
    }
}

fn octets_of_list(prefix: &[u8], rows: &[Row]) -> usize {
    let of_row = |(key, value): &Row| key.len() + value.len() + OVERHEAD_OCTETS;
    prefix.len() + OVERHEAD_OCTETS + rows.iter().map(of_row).sum::<usize>()
}

/// Whether what is at a key, or below a prefix, is counted by the version of the directory.
fn is_counted(space: Space, key: &[u8]) -> bool {
    space == Space::Rows && is_directory_key(key)
}

/// A snapshot of what is remembered alone.
struct Known<'a> {
    rows: &'a Learnt,
    /// Something was asked for that isn't.
    lacks: AtomicBool,
}

impl Known<'_> {
    /// The answer is thrown away, so it doesn't matter which error it is: it ends the question soon.
    fn lacks(&self) -> EngineError {
        self.lacks.store(true, Ordering::Relaxed);
        EngineError::Corrupt { what: String::new() }
    }
}

impl Snapshot for Known<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let known = self.rows.rows.get(key).filter(|_| space == Space::Rows);
        known.cloned().ok_or_else(|| self.lacks())
    }

    fn range<'a>(&'a self, _: Space, _: Bound<&[u8]>, _: Bound<&[u8]>) -> Rows<'a> {
        Box::new(std::iter::once(Err(self.lacks())))
    }

    fn prefix<'a>(&'a self, space: Space, prefix: &[u8]) -> Rows<'a> {
        match self.rows.lists.get(prefix).filter(|_| space == Space::Rows) {
            Some(rows) => Box::new(rows.iter().cloned().map(Ok)),
            None => Box::new(std::iter::once(Err(self.lacks()))),
        }
    }
}

/// A snapshot of which is noted what is read: single rows, and short lists by their prefix.
pub struct Learning<'a> {
    snapshot: &'a dyn Snapshot,
    learnt: Mutex<Learnt>,
}

impl<'a> Learning<'a> {
    /// Notes what is read of `snapshot`.
    pub fn new(snapshot: &'a dyn Snapshot) -> Self {
        Self { snapshot, learnt: Mutex::default() }
    }

    /// What was read.
    pub fn learnt(self) -> Learnt {
        self.learnt.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, note: impl FnOnce(&mut Learnt)) {
        note(&mut self.learnt.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Snapshot for Learning<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let value = self.snapshot.get(space, key)?;
        if is_counted(space, key) {
            self.note(|learnt| learnt.put(key, value.as_ref()));
        }
        Ok(value)
    }

    fn range<'b>(&'b self, space: Space, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Rows<'b> {
        self.snapshot.range(space, from, to)
    }

    fn prefix<'b>(&'b self, space: Space, prefix: &[u8]) -> Rows<'b> {
        let mut rows = self.snapshot.prefix(space, prefix);
        if !is_counted(space, prefix) {
            return rows;
        }
        let first: Result<Vec<Row>, EngineError> = rows.by_ref().take(LIST_MAX + 1).collect();
        match first {
            Ok(first) if first.len() <= LIST_MAX => {
                let copies =
                    first.iter().map(|(key, value)| (Bytes::copy_from(key), Bytes::copy_from(value)));
                self.note(|learnt| learnt.put_list(prefix, copies.collect()));
                Box::new(first.into_iter().map(Ok))
            }
            // Read from its beginning again: it is too long to be remembered, or can't be read.
            Ok(_) | Err(_) => self.snapshot.prefix(space, prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::engine::memory::{Crash, MemoryEngine};
    use crate::engine::{Batch, Durability, Engine};

    fn row(number: u16) -> Vec<u8> {
        [&super::super::rows::table(super::super::rows::DOMAIN)[..], &number.to_be_bytes()].concat()
    }

    fn put(engine: &MemoryEngine, number: u16, value: &[u8]) {
        let mut batch = Batch::new();
        batch.insert(Space::Rows, row(number), value.to_vec());
        engine.commit(batch, Durability::Buffered).unwrap();
    }

    /// The value of a row, asked as who remembers does, and whether it was remembered.
    fn get(engine: &MemoryEngine, remembered: &mut Remembered, number: u16) -> (Option<Vec<u8>>, bool) {
        let ask = |directory: &Directory<'_>| {
            let value = directory.snapshot.get(Space::Rows, &row(number))?;
            Ok(value.map(|value| value.to_vec()))
        };
        let version = engine.directory_version();
        if let Some(answer) = remembered.ask(version, ask) {
            return (answer.unwrap(), true);
        }
        let snapshot = engine.snapshot();
        let learning = Learning::new(&*snapshot);
        let answer = ask(&Directory::new(&learning)).unwrap();
        remembered.learn(version, learning.learnt());
        (answer, false)
    }

    #[test]
    fn what_was_read_is_remembered_until_the_directory_changes() {
        let (engine, mut remembered) = (MemoryEngine::new(), Remembered::default());
        put(&engine, 1, b"one");
        for known in [false, true] {
            assert_eq!(get(&engine, &mut remembered, 1), (Some(b"one".to_vec()), known));
            assert_eq!(get(&engine, &mut remembered, 2), (None, known), "that there is none, too");
        }
        // What isn't of the directory changes nothing.
        let mut batch = Batch::new();
        batch.insert(Space::Rows, vec![0, 0, 0, 1, 0x41, 7], vec![1]);
        batch.insert(Space::Rows, vec![0, 0, 0, 0, 0x5e, 7], vec![1]);
        batch.insert(Space::Blobs, row(1), vec![1]);
        engine.commit(batch, Durability::Buffered).unwrap();
        assert!(get(&engine, &mut remembered, 1).1);
        put(&engine, 2, b"two");
        assert_eq!(get(&engine, &mut remembered, 1), (Some(b"one".to_vec()), false));
        assert_eq!(get(&engine, &mut remembered, 2), (Some(b"two".to_vec()), false));
        // Power is lost, and with it the change.
        engine.crash(Crash::LoseUnsynced);
        assert_eq!(get(&engine, &mut remembered, 2), (None, false));
        // A plan that is sealed changes what the rows say.
        let mut other = Batch::new();
        other.insert(Space::Rows, super::super::stage::plan_key(), vec![1, 1]);
        let mut batch = Batch::new();
        batch.append(other);
        engine.commit(batch, Durability::Buffered).unwrap();
        assert!(!get(&engine, &mut remembered, 2).1);
    }

    #[test]
    fn what_was_read_before_a_change_and_comes_after_it_is_not_remembered() {
        let (engine, mut remembered) = (MemoryEngine::new(), Remembered::default());
        let version = engine.directory_version();
        let before = engine.snapshot();
        let learning = Learning::new(&*before);
        learning.get(Space::Rows, &row(1)).unwrap();
        put(&engine, 1, b"one");
        assert_eq!(get(&engine, &mut remembered, 2), (None, false));
        remembered.learn(version, learning.learnt());
        assert_eq!(get(&engine, &mut remembered, 1), (Some(b"one".to_vec()), false));
        assert!(get(&engine, &mut remembered, 2).1, "what is known by now stays");
    }

    #[test]
    fn nothing_is_remembered_while_a_change_is_made() {
        let (engine, mut remembered) = (MemoryEngine::new(), Remembered::default());
        let version = engine.directory_version();
        assert!(version.is_multiple_of(2));
        let ask = |_: &Directory<'_>| Ok(());
        assert!(remembered.ask(version, ask).is_none(), "nothing was learnt for it");
        let learn = |remembered: &mut Remembered, version: u64| {
            let snapshot = engine.snapshot();
            let learning = Learning::new(&*snapshot);
            learning.get(Space::Rows, &row(1)).unwrap();
            remembered.learn(version, learning.learnt());
        };
        learn(&mut remembered, version + 1);
        assert!(remembered.ask(version + 1, ask).is_none());
        learn(&mut remembered, version + 2);
        assert!(remembered.ask(version + 2, ask).is_some());
    }

    #[test]
    fn what_changes_without_the_version_is_read_each_time() {
        let (engine, mut remembered) = (MemoryEngine::new(), Remembered::default());
        let foreign = [&super::super::rows::table(0x34)[..], &[7]].concat();
        let version = engine.directory_version();
        let snapshot = engine.snapshot();
        let learning = Learning::new(&*snapshot);
        learning.get(Space::Rows, &foreign).unwrap();
        learning.prefix(Space::Rows, &foreign[..5]).for_each(drop);
        learning.get(Space::Rows, &row(1)).unwrap();
        remembered.learn(version, learning.learnt());
        let get = |key: Vec<u8>| move |directory: &Directory<'_>| directory.snapshot.get(Space::Rows, &key);
        assert!(remembered.ask(version, get(foreign.clone())).is_none());
        assert!(remembered.ask(version, get(row(1))).is_some());
        let list = |directory: &Directory<'_>| {
            directory.snapshot.prefix(Space::Rows, &foreign[..5]).collect::<Result<Vec<_>, _>>()
        };
        assert!(remembered.ask(version, list).is_none());
    }

    #[test]
    fn short_lists_are_remembered_and_long_ones_are_read_whole() {
        let engine = MemoryEngine::new();
        let list = |remembered: &mut Remembered, below: u8| {
            let prefix = [&super::super::rows::table(super::super::rows::DOMAIN)[..], &[below]].concat();
            let ask = |directory: &Directory<'_>| {
                directory.snapshot.prefix(Space::Rows, &prefix).collect::<Result<Vec<_>, _>>()
            };
            let version = engine.directory_version();
            if let Some(answer) = remembered.ask(version, ask) {
                return (answer.unwrap().len(), true);
            }
            let snapshot = engine.snapshot();
            let learning = Learning::new(&*snapshot);
            let answer = ask(&Directory::new(&learning)).unwrap();
            remembered.learn(version, learning.learnt());
            (answer.len(), false)
        };
        let longest = u16::try_from(LIST_MAX).unwrap();
        (0x100..0x100 + longest).for_each(|number| put(&engine, number, b"short"));
        (0x200..0x200 + longest + 1).for_each(|number| put(&engine, number, b"long"));
        let mut remembered = Remembered::default();
        for again in [false, true] {
            assert_eq!(list(&mut remembered, 0), (0, again));
            assert_eq!(list(&mut remembered, 1), (LIST_MAX, again));
            assert_eq!(list(&mut remembered, 2), (LIST_MAX + 1, false));
        }
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let (engine, mut remembered) = (MemoryEngine::new(), Remembered::default());
        let value = vec![7; 1000];
        for number in 0..2000 {
            put(&engine, number, &value);
        }
        for number in 0..2000 {
            get(&engine, &mut remembered, number);
            let rows = remembered.rows.rows.iter();
            let held: usize =
                rows.map(|(key, value)| key.len() + value.as_ref().map_or(0, |value| value.len())).sum();
            assert!(held + remembered.rows.rows.len() * OVERHEAD_OCTETS <= OCTETS_MAX, "{held}");
        }
        assert!(get(&engine, &mut remembered, 1999).1);
        assert!(!get(&engine, &mut remembered, 0).1);
    }
}

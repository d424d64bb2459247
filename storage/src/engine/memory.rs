//! The engine in memory: the model that the engine on disk is compared with, and the place for faults.
//!
//! A commit clones a space's map only while a snapshot of it is alive. `State::disk` is what survives power loss;
//! `unsynced` are the batches since, of which [`Crash`] decides what is left.

use super::{Batch, Bytes, Durability, Engine, EngineError, EngineStats, Incarnation, Rows, Snapshot, Space};
use super::{Write, is_empty_range};
use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A fault to inject into one of the next commits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The disk is full; the batch leaves no trace.
    Full,
    /// The operating system fails the write; the batch leaves no trace.
    Write,
    /// The sync fails: whether the batch survives is decided at the next [`MemoryEngine::crash`].
    Sync,
}

/// What power loss leaves of the batches since the last synced one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Crash {
    /// Nothing but what was synced.
    LoseUnsynced,
    /// The first so many of the batches that were not synced.
    KeepUnsynced(usize),
    /// The first so many, and of the next one a part, so that the store refuses to open until
    /// [`MemoryEngine::repair`] was called.
    Tear(usize),
}

type Map = BTreeMap<Bytes, Bytes>;

#[derive(Clone, Default)]
struct Spaces {
    rows: Arc<Map>,
    blobs: Arc<Map>,
}

struct State {
    visible: Spaces,
    disk: Spaces,
    unsynced: Vec<Vec<Write>>,
    commits: u64,
    fault: Option<(u64, Fault)>,
    poisoned: Option<String>,
    torn: bool,
    incarnation: u64,
    directory_version: u64,
}

/// Commits that wait until they are let go on.
#[derive(Default)]
struct Held {
    /// How many go on first, while commits are held.
    first: Option<u64>,
    waiting: u64,
}

/// An engine in memory.
pub struct MemoryEngine {
    state: Mutex<State>,
    held: Mutex<Held>,
    let_go: Condvar,
    unsettled: AtomicBool,
}

struct MemorySnapshot(Spaces);

impl Default for MemoryEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryEngine {
    /// An empty engine.
    pub fn new() -> Self {
        let state = State {
            visible: Spaces::default(),
            disk: Spaces::default(),
            unsynced: Vec::new(),
            commits: 0,
            fault: None,
            poisoned: None,
            torn: false,
            incarnation: 1,
            directory_version: 2,
        };
        Self {
            state: Mutex::new(state),
            held: Mutex::default(),
            let_go: Condvar::new(),
            unsettled: AtomicBool::new(false),
        }
    }

    /// Lets commits wait, as on a disk that doesn't answer, until they are let go on.
    pub fn hold_commits(&self, held: bool) {
        self.held().first = held.then_some(0);
        self.let_go.notify_all();
    }

    /// Lets one of the commits that are held go on.
    pub fn let_one_commit(&self) {
        self.held().first = Some(1);
        self.let_go.notify_all();
    }

    /// How many commits wait until they are let go on.
    pub fn waiting_commits(&self) -> u64 {
        self.held().waiting
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets what [`Engine::reads_may_wait`] says. No read waits here.
    pub fn say_reads_may_wait(&self, may_wait: bool) {
        self.unsettled.store(may_wait, Ordering::Relaxed);
    }

    fn wait_while_held(&self) {
        let mut held = self.held();
        held.waiting += 1;
        while held.first == Some(0) {
            held = self.let_go.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        held.waiting -= 1;
        held.first = held.first.map(|first| first.saturating_sub(1));
    }

    /// Makes the `nth` commit from now fail; 1 is the next. Replaces an earlier order.
    pub fn fail_commit(&self, nth: u64, fault: Fault) {
        let mut state = self.lock();
        state.fault = Some((state.commits + nth, fault));
    }

    /// How many commits were tried.
    pub fn commits(&self) -> u64 {
        self.lock().commits
    }

    /// How many committed batches power loss could take.
    pub fn unsynced(&self) -> usize {
        self.lock().unsynced.len()
    }

    /// Loses power and starts again. The engine is usable at once, except after [`Crash::Tear`].
    pub fn crash(&self, crash: Crash) {
        let mut state = self.lock();
        let (kept, torn) = match crash {
            Crash::LoseUnsynced => (0, false),
            Crash::KeepUnsynced(kept) => (kept, false),
            Crash::Tear(kept) => (kept, kept < state.unsynced.len()),
        };
        state.unsynced.truncate(kept);
        state.torn = torn;
        state.restart();
    }

    /// Removes the torn batch that [`Crash::Tear`] left.
    pub fn repair(&self) {
        self.lock().torn = false;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn refuse_if_down(&self) -> Result<(), EngineError> {
        if self.torn {
            return Err(EngineError::Corrupt { what: "the journal's last batch is torn".to_owned() });
        }
        match &self.poisoned {
            Some(cause) => Err(EngineError::Poisoned { cause: cause.clone() }),
            None => Ok(()),
        }
    }

    /// What is kept of the journal becomes the store.
    fn restart(&mut self) {
        self.sync();
        self.visible = self.disk.clone();
        self.poisoned = None;
        self.incarnation += 1;
        self.directory_version += 2;
    }

    fn sync(&mut self) {
        for batch in std::mem::take(&mut self.unsynced) {
            self.disk.apply(&batch);
        }
    }

    fn injected(&mut self) -> Option<Fault> {
        let (commit, fault) = self.fault?;
        (commit == self.commits).then(|| {
            self.fault = None;
            fault
        })
    }
}

impl Spaces {
    fn map(&self, space: Space) -> &Map {
        match space {
            Space::Rows => &self.rows,
            Space::Blobs => &self.blobs,
        }
    }

    fn apply(&mut self, writes: &[Write]) {
        for write in writes {
            let map = match write.space {
                Space::Rows => Arc::make_mut(&mut self.rows),
                Space::Blobs => Arc::make_mut(&mut self.blobs),
            };
            match &write.value {
                Some(value) => map.insert(write.key.clone(), value.clone()),
                None => map.remove(&write.key),
            };
        }
    }
}

impl Engine for MemoryEngine {
    fn snapshot(&self) -> Box<dyn Snapshot> {
        Box::new(MemorySnapshot(self.lock().visible.clone()))
    }

    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), EngineError> {
        batch.check()?;
        self.wait_while_held();
        let mut state = self.lock();
        state.refuse_if_down()?;
        if batch.is_empty() {
            if durability == Durability::Synced {
                state.sync();
            }
            return Ok(());
        }
        state.commits += 1;
        // Nobody sees it in between: that takes the lock.
        state.directory_version += 2 * u64::from(batch.changes_directory());
        if let Some(fault) = state.injected() {
            let error = match fault {
                Fault::Full => EngineError::Full,
                Fault::Write => EngineError::io("writing the journal", io::Error::other("injected fault")),
                Fault::Sync => {
                    state.unsynced.push(batch.into_writes());
                    EngineError::io("syncing the journal", io::Error::other("injected fault"))
                }
            };
            state.poisoned = Some(error.to_string());
            return Err(error);
        }
        let writes = batch.into_writes();
        state.visible.apply(&writes);
        state.unsynced.push(writes);
        if durability == Durability::Synced {
            state.sync();
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), EngineError> {
        let mut state = self.lock();
        state.refuse_if_down()?;
        state.sync();
        Ok(())
    }

    fn reads_may_wait(&self) -> bool {
        self.unsettled.load(Ordering::Relaxed)
    }

    fn stats(&self) -> EngineStats {
        let state = self.lock();
        let size = |map: &Map| map.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum::<u64>();
        let (rows_octets, blobs_octets) = (size(&state.visible.rows), size(&state.visible.blobs));
        EngineStats {
            disk_octets: rows_octets + blobs_octets,
            rows_octets,
            blobs_octets,
            poisoned: state.poisoned.is_some(),
            ..EngineStats::default()
        }
    }

    fn incarnation(&self) -> Incarnation {
        Incarnation(self.lock().incarnation)
    }

    fn directory_version(&self) -> u64 {
        self.lock().directory_version
    }

    fn reopen(&self) -> Result<(), EngineError> {
        let mut state = self.lock();
        if state.torn {
            return Err(EngineError::Corrupt { what: "the journal's last batch is torn".to_owned() });
        }
        state.restart();
        Ok(())
    }

    fn compact(&self, _space: Space) -> Result<(), EngineError> {
        Ok(())
    }
}

impl Snapshot for MemorySnapshot {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.0.map(space).get(key).cloned())
    }

    fn range<'a>(&'a self, space: Space, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Rows<'a> {
        if is_empty_range(from, to) {
            return Box::new(std::iter::empty());
        }
        let range = self.0.map(space).range::<[u8], _>((from, to));
        Box::new(range.map(|(key, value)| Ok((key.clone(), value.clone()))))
    }
}

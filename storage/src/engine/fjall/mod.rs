//! The engine on disk, on top of the fjall crate.
//!
//! Two keyspaces share one journal: `rows`, and `blobs` with key-value separation, so that message content is
//! written to the journal once and to a blob file once, and compactions move only references to it.
//!
//! What always holds: at least two workers (with one, fjall can wait for itself for ever); all handles of one
//! life sit in one `Live`, so that reopening can wait until none is left; every batch carries a mark of its own
//! (see `mark.rs`), from which a repair can tell what had been synced.

mod calm;
mod compact;
mod mark;
mod options;
mod room;
mod snapshot;
mod stats;

pub(crate) use mark::{MARK_KEY, Mark};
pub use options::{Compression, Options, TornTail};

use super::{Batch, Durability, Engine, EngineError, EngineStats, Incarnation, Snapshot, Space};
use crate::error::is_full;
use crate::repair::{self, JournalPages};
use ::fjall::{Database, Keyspace, PersistMode};
use calm::Calm;
use snapshot::{FjallSnapshot, Gone};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// How long reopening waits for snapshots of the earlier life to be dropped.
const SNAPSHOTS_GONE_WITHIN: Duration = Duration::from_secs(10);

/// When a background write failed for an unknown reason and less than this is free, the disk was full.
const FULL_BELOW_OCTETS: u64 = 128 * 1024 * 1024;

/// An open store.
pub struct FjallEngine {
    options: Options,
    live: RwLock<Option<Arc<Live>>>,
    writer: Mutex<Writer>,
    incarnation: AtomicU64,
    directory_version: AtomicU64,
    opened: Opened,
}

/// What opening found out.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    /// A torn, never acknowledged tail of the journal that was cut.
    pub cut: Option<repair::Cut>,
    /// True when an earlier process had seen a sync fail, so that the journal's pages were written again.
    pub rewrote_journal: bool,
}

/// All handles of one life.
struct Live {
    db: Database,
    rows: Keyspace,
    blobs: Keyspace,
    calm: Calm,
    /// Reads fail from now on, since the store is about to be reopened.
    closing: AtomicBool,
}

/// The state of the one writer.
struct Writer {
    nonce: u64,
    number: u64,
    synced: u64,
    failed: Option<EngineError>,
}

impl FjallEngine {
    /// Opens the store, or creates it. An unacknowledged torn tail is treated as [`Options::torn_tail`] says.
    pub fn open(options: Options) -> Result<Self, EngineError> {
        let (live, writer, opened) = open_live(&options, JournalPages::Trusted)?;
        Ok(Self {
            options,
            live: RwLock::new(Some(Arc::new(live))),
            writer: Mutex::new(writer),
            incarnation: AtomicU64::new(1),
            directory_version: AtomicU64::new(2),
            opened,
        })
    }

    /// What opening found out.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// The options it was opened with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    fn live(&self) -> Result<Arc<Live>, EngineError> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.clone().ok_or_else(|| EngineError::Poisoned { cause: "the store is being reopened".to_owned() })
    }

    /// Writes a batch with its mark, also an empty one.
    fn write(
        &self,
        writer: &mut Writer,
        live: &Live,
        batch: Batch,
        durability: Durability,
    ) -> Result<(), EngineError> {
        if let Some(error) = &writer.failed {
            return Err(EngineError::Poisoned { cause: error.to_string() });
        }
        let mode = match durability {
            Durability::Buffered => PersistMode::Buffer,
            Durability::Synced => PersistMode::SyncData,
        };
        let mark = Mark {
            nonce: writer.nonce,
            number: writer.number + 1,
            synced: writer.synced,
            syncs: durability == Durability::Synced,
        };
        let capacity = batch.len() + 1;
        let mut inner =
            ::fjall::OwnedWriteBatch::with_capacity(live.db.clone(), capacity).durability(Some(mode));
        inner.insert(&live.rows, MARK_KEY, mark.encode());
        for write in batch.into_writes() {
            let keyspace = live.keyspace(write.space);
            // Copied: a key that was read is often a part of a block, and a table in memory would keep all of it.
            let key = ::fjall::Slice::new(&write.key);
            match write.value {
                Some(value) => inner.insert(keyspace, key, value.into_engine()),
                None => inner.remove(keyspace, key),
            }
        }
        room::wait_for_room(&live.db, live.keyspaces(&self.options));
        match inner.commit() {
            Ok(()) => {
                writer.number = mark.number;
                if durability == Durability::Synced {
                    writer.synced = mark.number;
                }
                live.calm.note_written(live.keyspaces(&self.options));
                Ok(())
            }
            Err(error) => Err(self.fail(writer, "writing the journal", error)),
        }
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the first failure and gives the typed error. Every failed write leaves a note on disk, so
    /// that the next opening writes the journal's pages anew: after a failed sync the operating system shows
    /// pages as clean that never reached the disk.
    fn fail(&self, writer: &mut Writer, doing: &'static str, error: ::fjall::Error) -> EngineError {
        let error = match error {
            ::fjall::Error::Poisoned
                if crate::maintenance::free_octets(&self.options.path) < FULL_BELOW_OCTETS =>
            {
                EngineError::Full
            }
            other => typed(doing, other),
        };
        repair::note_failed_write(&self.options.path);
        writer.failed = Some(error.clone());
        error
    }
}

impl Live {
    /// Both keyspaces, with the size at which their memory tables are flushed.
    fn keyspaces(&self, options: &Options) -> [(&Keyspace, u64); 2] {
        [(&self.rows, options.rows_memtable_octets), (&self.blobs, options.blobs_memtable_octets)]
    }

    fn keyspace(&self, space: Space) -> &Keyspace {
        match space {
            Space::Rows => &self.rows,
            Space::Blobs => &self.blobs,
        }
    }
}

impl Engine for FjallEngine {
    fn snapshot(&self) -> Box<dyn Snapshot> {
        match self.live() {
            Ok(live) => Box::new(FjallSnapshot::new(live)),
            Err(error) => Box::new(Gone(error)),
        }
    }

    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), EngineError> {
        batch.check()?;
        if batch.is_empty() {
            return match durability {
                Durability::Buffered => Ok(()),
                Durability::Synced => self.sync(),
            };
        }
        // The writer's lock comes first: reopening holds it while it waits for `Live` to be let go.
        let mut writer = self.writer();
        let live = self.live()?;
        if !batch.changes_directory() {
            return self.write(&mut writer, &live, batch, durability);
        }
        // Also where it fails: whether it is seen then, nobody knows.
        self.directory_version.fetch_add(1, Ordering::AcqRel);
        let written = self.write(&mut writer, &live, batch, durability);
        self.directory_version.fetch_add(1, Ordering::AcqRel);
        written
    }

    fn sync(&self) -> Result<(), EngineError> {
        let mut writer = self.writer();
        if let Some(error) = &writer.failed {
            return Err(EngineError::Poisoned { cause: error.to_string() });
        }
        match self.live()?.db.persist(PersistMode::SyncData) {
            Ok(()) => {
                writer.synced = writer.number;
                Ok(())
            }
            Err(error) => Err(self.fail(&mut writer, "syncing the journal", error)),
        }
    }

    fn reads_may_wait(&self) -> bool {
        // While it is being reopened, reads fail at once.
        self.live().is_ok_and(|live| live.calm.reads_may_wait(&live.db))
    }

    fn stats(&self) -> EngineStats {
        match self.live() {
            Ok(live) => stats::gather(&live, &self.options.path),
            Err(_) => EngineStats { poisoned: true, ..EngineStats::default() },
        }
    }

    fn outstanding_flushes(&self) -> u64 {
        self.live().map_or(0, |live| live.db.outstanding_flushes() as u64)
    }

    fn incarnation(&self) -> Incarnation {
        Incarnation(self.incarnation.load(Ordering::Acquire))
    }

    fn directory_version(&self) -> u64 {
        self.directory_version.load(Ordering::Acquire)
    }

    fn reopen(&self) -> Result<(), EngineError> {
        let mut writer = self.writer();
        let old = self.live.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(old) = old
            && let Err(old) = close(old)
        {
            old.closing.store(false, Ordering::Release);
            *self.live.write().unwrap_or_else(PoisonError::into_inner) = Some(old);
            let error = std::io::Error::other("snapshots of the store are still in use");
            return Err(EngineError::io("reopening the store", error));
        }
        let (live, fresh, _) = open_live(&self.options, JournalPages::WriteAgain)?;
        *writer = fresh;
        self.incarnation.fetch_add(1, Ordering::AcqRel);
        self.directory_version.fetch_add(1, Ordering::AcqRel);
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(live));
        self.directory_version.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    fn compact(&self, space: Space) -> Result<(), EngineError> {
        let live = self.live()?;
        let _compacting = live.calm.compacting();
        compact::compact(&live, space, || {
            self.write(&mut self.writer(), &live, Batch::new(), Durability::Buffered)
        })
    }
}

/// Waits until nobody uses the old life, and ends it. Gives it back when that takes too long.
fn close(old: Arc<Live>) -> Result<(), Arc<Live>> {
    old.closing.store(true, Ordering::Release);
    let deadline = Instant::now() + SNAPSHOTS_GONE_WITHIN;
    let mut old = old;
    loop {
        match Arc::try_unwrap(old) {
            Ok(live) => {
                drop(live);
                return Ok(());
            }
            Err(shared) if Instant::now() >= deadline => return Err(shared),
            Err(shared) => old = shared,
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn open_live(options: &Options, pages: JournalPages) -> Result<(Live, Writer, Opened), EngineError> {
    let opened = repair::before_opening(&options.path, options.torn_tail, pages)?;
    let db = options.builder().open().map_err(|error| match error {
        ::fjall::Error::Locked => EngineError::Locked { path: options.path.clone() },
        other => typed("opening the store", other),
    })?;
    let opening = |error| typed("opening the store", error);
    let rows = db.keyspace("rows", || options.rows()).map_err(opening)?;
    let blobs = db.keyspace("blobs", || options.blobs()).map_err(opening)?;
    let mark = match rows.get(MARK_KEY).map_err(opening)? {
        Some(octets) => Mark::decode(&octets).ok_or_else(|| EngineError::Corrupt {
            what: "the engine's own row is not readable".to_owned(),
        })?,
        None => Mark {
            nonce: RandomState::new().hash_one(std::process::id()),
            number: 0,
            synced: 0,
            syncs: false,
        },
    };
    // Opening synced the journal.
    let writer = Writer { nonce: mark.nonce, number: mark.number, synced: mark.number, failed: None };
    repair::forget_failed_write(&options.path)?;
    let live = Live { db, rows, blobs, calm: Calm::default(), closing: AtomicBool::new(false) };
    live.calm.note_written(live.keyspaces(options));
    Ok((live, writer, opened))
}

/// Maps an error of the crate.
fn typed(doing: &'static str, error: ::fjall::Error) -> EngineError {
    use ::fjall::Error as Fjall;
    match error {
        Fjall::Io(error) | Fjall::Storage(::fjall::LsmError::Io(error)) => {
            if is_full(&error) {
                EngineError::Full
            } else {
                EngineError::io(doing, error)
            }
        }
        Fjall::Poisoned => EngineError::Poisoned {
            cause: "a background flush or compaction failed; the log of the engine says why".to_owned(),
        },
        Fjall::InvalidVersion(Some(found)) => {
            EngineError::Corrupt { what: format!("{doing}: fjall format {found:?} is not the known one") }
        }
        other => EngineError::Corrupt { what: format!("{doing}: {other}") },
    }
}

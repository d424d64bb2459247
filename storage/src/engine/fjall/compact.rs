//! Compacts a keyspace on demand without long stalls of readers and commits.
//!
//! The crate ends a compaction under the lock that every read and commit takes: it syncs its last files there,
//! and later, under the same lock, removes the files that nobody needs any more. Two things keep both short:
//! a thread that syncs the growing files all the time, so that little is left for the end, and a reference to
//! the old files that is dropped here, outside of the lock, so that they are removed here.

use super::{Live, typed};
use crate::engine::{EngineError, Space};
use ::fjall::AbstractTree;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// How often the growing files are synced.
const SYNC_INTERVAL: Duration = Duration::from_millis(50);

/// How long to wait for compactions that the crate runs by itself.
const OTHERS_DONE_WITHIN: Duration = Duration::from_secs(30);

/// A file that was not written for so long does not grow any more.
const GROWS_WITHIN: Duration = Duration::from_secs(2);

/// Compacts `space`. `touch` commits something small, so that there is a memory table to rotate: only then
/// does the crate let go of old files.
pub(super) fn compact(
    live: &Live,
    space: Space,
    touch: impl FnOnce() -> Result<(), EngineError>,
) -> Result<(), EngineError> {
    let compacting = |error| typed("compacting", error);
    let keyspace = live.keyspace(space);
    keyspace.rotate_memtable_and_wait().map_err(compacting)?;
    // The crate silently declines to compact tables that a compaction of its own holds.
    let deadline = Instant::now() + OTHERS_DONE_WITHIN;
    std::thread::sleep(SYNC_INTERVAL);
    while live.db.active_compactions() > 0 && Instant::now() < deadline {
        std::thread::sleep(SYNC_INTERVAL);
    }
    let old = keyspace.tree.current_version();
    while_syncing(keyspace.path(), || keyspace.major_compact()).map_err(compacting)?;
    touch()?;
    live.rows.rotate_memtable().map_err(compacting)?;
    drop(old);
    Ok(())
}

/// Runs `work` while another thread syncs what grows below `dir`.
fn while_syncing<T>(dir: &Path, work: impl FnOnce() -> T) -> T {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Acquire) {
                growing(dir).iter().for_each(|path| sync(path));
                std::thread::sleep(SYNC_INTERVAL);
            }
        });
        let result = work();
        ended.store(true, Ordering::Release);
        result
    })
}

fn growing(dir: &Path) -> Vec<PathBuf> {
    let now = SystemTime::now();
    let grows = |entry: &std::fs::DirEntry| {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        modified.is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age < GROWS_WITHIN))
    };
    let entries = ["blobs", "tables"].iter().filter_map(|folder| std::fs::read_dir(dir.join(folder)).ok());
    entries.flatten().flatten().filter(grows).map(|entry| entry.path()).collect()
}

/// The sync that counts is the crate's own; this one only makes it short, so its failure says nothing new.
fn sync(path: &Path) {
    if let Ok(file) = File::open(path)
        && let Err(error) = file.sync_data()
    {
        tracing::warn!(%error, path = %path.display(), "syncing a growing file");
    }
}

//! What the engine uses, without taking any lock that a commit holds across a sync.

use super::Live;
use crate::engine::EngineStats;
use ::fjall::AbstractTree;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

pub(super) fn gather(live: &Live, path: &Path) -> EngineStats {
    let (journal_octets, journal_count) = journals(path);
    let rows_octets = live.rows.disk_space();
    let blobs_octets = live.blobs.disk_space();
    EngineStats {
        write_buffer_octets: live.db.write_buffer_size(),
        outstanding_flushes: live.db.outstanding_flushes() as u64,
        journal_octets,
        journal_count,
        disk_octets: journal_octets + rows_octets + blobs_octets,
        rows_octets,
        blobs_octets,
        blob_files: live.blobs.blob_file_count() as u64,
        blob_garbage_octets: live.blobs.tree.stale_blob_bytes(),
        cache_octets: live.db.cache_size(),
        compactions_running: live.db.active_compactions() as u64,
        poisoned: false,
    }
}

/// Allocated size and number of the journal files; they are sparse, so their length says nothing.
fn journals(path: &Path) -> (u64, u64) {
    let Ok(entries) = std::fs::read_dir(path) else { return (0, 0) };
    let journals = entries.flatten().filter(|entry| entry.path().extension().is_some_and(|ext| ext == "jnl"));
    journals
        .filter_map(|entry| entry.metadata().ok())
        .fold((0, 0), |(octets, count), metadata| (octets + metadata.blocks() * 512, count + 1))
}

//! How a store is opened, with the reasons for each figure.

use ::fjall::compaction::Leveled;
use ::fjall::config::{CompressionPolicy, PartitioningPolicy, PinningPolicy};
use ::fjall::{CompressionType, Database, DatabaseBuilder, KeyspaceCreateOptions, KvSeparationOptions};
use std::path::PathBuf;
use std::sync::Arc;

/// What opening does about a torn tail of the journal, as power loss leaves it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TornTail {
    /// Cut it when it certainly was never acknowledged, keep a copy beside, and go on. Refuse to open when
    /// that is not certain.
    #[default]
    Cut,
    /// Refuse to open; `postrider repair` then reports and cuts.
    Refuse,
}

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// The store's directory; it is created when it does not exist.
    pub path: PathBuf,
    /// What to do about a torn tail.
    pub torn_tail: TornTail,
    /// Cache of blocks and blobs, octets.
    pub cache_octets: u64,
    /// Files that stay open for reading, at least 10; the process needs some hundred more descriptors.
    pub cached_files_max: usize,
    /// Journal files are kept down to about this size, at least 64 MiB. Opening replays them: 400 MiB take
    /// 1.5 s.
    pub journal_octets_max: u64,
    /// Memory table of the rows, octets. Stored when the store is created, ignored later.
    pub rows_memtable_octets: u64,
    /// Memory table of the blobs, octets. Stored when the store is created, ignored later.
    pub blobs_memtable_octets: u64,
    /// Threads that flush and compact, at least 2: with one, the crate can wait for itself for ever.
    ///
    /// fjall keeps its first worker for flushes: while all others compact, it takes requests to compact and
    /// puts them back, over and over, which costs a core. A flush asks each worker once, so with four there is
    /// nearly always one that takes what is left.
    pub workers: usize,
    /// Whether values of 4 KiB and more are compressed in the journal.
    pub journal_compression: Compression,
    /// Whether content is compressed in blob files. Stored when the store is created, ignored later.
    pub blob_compression: Compression,
}

/// Compression by LZ4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compression {
    /// As it is.
    None,
    /// LZ4.
    Lz4,
}

/// Values from this size live in blob files; smaller ones stay in the tables with their keys.
const SEPARATED_FROM_OCTETS: u32 = 1024;

/// Size of a blob file. Garbage is collected by whole files, so smaller ones need less rewriting. A flush
/// makes files of this size anyway. The last one that a compaction writes is synced under the lock of
/// [`TABLE_OCTETS`].
const BLOB_FILE_OCTETS: u64 = 16 * 1024 * 1024;

/// Size of a table.
///
/// fjall syncs the last table that a compaction writes under the lock that every read and every commit
/// takes. With its own 64 MiB that took up to some hundred milliseconds. The first level is four tables, so
/// smaller ones make the merges into it shorter too: with memory tables of 8 MiB it is as large as what
/// comes into it twice over.
const TABLE_OCTETS: u64 = 16 * 1024 * 1024;

/// A blob file is rewritten by a compaction that meets it when this share of it is garbage.
const BLOB_GARBAGE_SHARE: f32 = 0.25;

/// Fewest workers, see [`Options::workers`].
const WORKERS_MIN: usize = 2;

/// Smallest value that fjall takes for [`Options::journal_octets_max`].
const JOURNAL_OCTETS_MIN: u64 = 64 * 1024 * 1024;

/// Smallest value that fjall takes for [`Options::cached_files_max`].
const CACHED_FILES_MIN: usize = 10;

impl Options {
    /// The defaults, for a small machine, of a store at `path`.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            torn_tail: TornTail::Cut,
            cache_octets: 16 * 1024 * 1024,
            cached_files_max: 256,
            journal_octets_max: 128 * 1024 * 1024,
            rows_memtable_octets: 8 * 1024 * 1024,
            blobs_memtable_octets: 16 * 1024 * 1024,
            workers: 4,
            journal_compression: Compression::Lz4,
            blob_compression: Compression::Lz4,
        }
    }

    pub(super) fn builder(&self) -> DatabaseBuilder<Database> {
        Database::builder(&self.path)
            .cache_size(self.cache_octets)
            .max_cached_files(Some(self.cached_files_max.max(CACHED_FILES_MIN)))
            .max_journaling_size(self.journal_octets_max.max(JOURNAL_OCTETS_MIN))
            .worker_threads(self.workers.max(WORKERS_MIN))
            .journal_compression(self.journal_compression.of_fjall())
    }

    pub(super) fn rows(&self) -> KeyspaceCreateOptions {
        in_parts(KeyspaceCreateOptions::default()).max_memtable_size(self.rows_memtable_octets)
    }

    pub(super) fn blobs(&self) -> KeyspaceCreateOptions {
        let separation = KvSeparationOptions::default()
            .separation_threshold(SEPARATED_FROM_OCTETS)
            .file_target_size(BLOB_FILE_OCTETS)
            .staleness_threshold(BLOB_GARBAGE_SHARE)
            // Collect garbage in files of every age: mail is deleted in any order.
            .age_cutoff(1.0)
            .compression(self.blob_compression.of_fjall());
        in_parts(KeyspaceCreateOptions::default())
            .max_memtable_size(self.blobs_memtable_octets)
            .data_block_compression_policy(CompressionPolicy::all(CompressionType::None))
            .with_kv_separation(Some(separation))
    }
}

/// Filters and indexes of tables in blocks of a few KiB, but for the small tables of the first level.
///
/// fjall keeps them whole down to its third level: a point read that finds none in the cache then reads and
/// hashes the filter of a table, nearly a megabyte. With 1,100,000 messages stored and 16 MiB of cache, a
/// delivery spent four times as much on that as on all else.
fn in_parts(options: KeyspaceCreateOptions) -> KeyspaceCreateOptions {
    options
        .compaction_strategy(Arc::new(Leveled::default().with_table_target_size(TABLE_OCTETS)))
        .filter_block_pinning_policy(PinningPolicy::new([true, false]))
        .filter_block_partitioning_policy(PartitioningPolicy::new([false, true]))
        .index_block_partitioning_policy(PartitioningPolicy::new([false, true]))
}

impl Compression {
    fn of_fjall(self) -> CompressionType {
        match self {
            Self::None => CompressionType::None,
            Self::Lz4 => CompressionType::Lz4,
        }
    }
}

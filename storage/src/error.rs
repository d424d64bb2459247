//! What can go wrong below the schema: the typed errors of the engine.
//!
//! Every error is for the operator, who reads it once in the log. Errors are cheap to clone, because one
//! failed group commit is reported to each of its members.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why the engine could not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// The disk, or the quota of the file system, has no room. Nothing of the batch was stored.
    /// The engine takes no more writes until it was reopened.
    #[error("no space is left on the disk that holds the store")]
    Full,
    /// An earlier write failed, so the engine takes no more writes. Reads go on.
    #[error("the store is stopped since an earlier write failed: {cause}")]
    Poisoned {
        /// What failed first.
        cause: String,
    },
    /// Stored bytes are not what was written.
    #[error("the store is damaged: {what}")]
    Corrupt {
        /// What was found, and where.
        what: String,
    },
    /// The store was written by a newer version of the program.
    #[error("the store has format {found}, which is newer than the {known} that this version knows")]
    NewerFormat {
        /// The version that was found.
        found: u32,
        /// The newest version that is understood.
        known: u32,
    },
    /// Another process has the store open.
    #[error(
        "the store at {path} is in use by another process; stop the server first, or ask it by its control socket"
    )]
    Locked {
        /// The store's directory.
        path: PathBuf,
    },
    /// A key, value or batch exceeds its bound. Nothing was stored, and the engine goes on.
    #[error("{what} has {octets} octets, allowed are {allowed_min} to {allowed_max}")]
    Bounds {
        /// Which one: "a key", "a value", "a batch".
        what: &'static str,
        /// Its size.
        octets: usize,
        /// The smallest allowed size.
        allowed_min: usize,
        /// The largest allowed size.
        allowed_max: usize,
    },
    /// The operating system refused a read or write.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The operating system's error.
        #[source]
        source: Arc<io::Error>,
    },
}

impl EngineError {
    /// Wraps an error of the operating system; "no space" and "over quota" become [`EngineError::Full`].
    pub fn io(doing: &'static str, source: io::Error) -> Self {
        if is_full(&source) { Self::Full } else { Self::Io { doing, source: Arc::new(source) } }
    }
}

/// Whether the operating system says that there is no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

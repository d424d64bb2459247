//! Opening the store, and settling what an earlier run left.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use postrider_storage::blobs;
use postrider_storage::committer::{self, Committer};
use postrider_storage::engine::fjall::{FjallEngine, Options};
use postrider_storage::engine::{Durability, Engine};
use postrider_storage::maintenance::{self, Watchdog};
use postrider_storage::store::Store;
use ring::rand::{SecureRandom, SystemRandom};
use tracing::{error, warn};

use super::{ServeError, system};
use crate::config::Config;
use crate::delivery::{ENDS_FILE, EndsFile, noted, release_claims};

/// Contents whose protection is ended by one batch at start.
const PENDING_BATCH: usize = 1000;

/// An open store with the threads that look after it.
pub struct Opened {
    /// The store, for reading.
    pub store: Arc<Store>,
    /// The only way to write.
    pub committer: Arc<Committer>,
    /// Decides whether new mail is taken.
    pub watchdog: Watchdog,
    /// Random octets of this store that never change.
    pub secret: [u8; 32],
    /// Attempts to deliver that an earlier process was cut off from, and whose messages may have arrived.
    pub cut_off: u64,
    /// Where it is noted whose end is sent.
    pub ends: EndsFile,
}

/// Opens the store of a configuration.
pub fn open_store(config: &Config) -> Result<Opened, ServeError> {
    let dir = config.data_dir.join("store");
    let failed = |why: String| ServeError::Store { dir: dir.clone(), why };
    let options = Options {
        cache_octets: config.storage.cache_octets,
        journal_octets_max: config.storage.journal_octets,
        rows_memtable_octets: config.storage.rows_memtable_octets,
        blobs_memtable_octets: config.storage.blobs_memtable_octets,
        ..Options::at(&dir)
    };
    let engine = FjallEngine::open(options).map_err(|error| failed(error.to_string()))?;
    if let Some(cut) = &engine.opened().cut {
        warn!(?cut, "the end of the journal was torn and was cut: nothing that was acknowledged");
    }
    let engine: Arc<dyn Engine> = Arc::new(engine);
    let store = Store::open(Arc::clone(&engine)).map_err(|error| failed(error.to_string()))?;
    for batch in blobs::recover_pending(&store.reader(), PENDING_BATCH).map_err(|e| failed(e.to_string()))? {
        engine.commit(batch, Durability::Synced).map_err(|error| failed(error.to_string()))?;
    }
    let ends_path = config.data_dir.join(ENDS_FILE);
    let sent = noted(&ends_path).map_err(system("can't read data/ends-sent"))?;
    let cut_off = release_claims(&store, sent.as_ref()).map_err(|error| failed(error.to_string()))?;
    let ends = EndsFile::create(&ends_path).map_err(system("can't make data/ends-sent"))?;
    let on_stop = |reason: &committer::StopReason| {
        error!(%reason, "the store takes no more writes; nothing is acknowledged any more");
    };
    let committer = Committer::start(engine, committer::Limits::default(), on_stop)
        .map_err(system("can't start the committer's thread"))?;
    let committer = Arc::new(committer);
    let limits = maintenance::Limits {
        free_octets_min: config.storage.min_free_octets,
        free_octets_resume: config.storage.min_free_octets.saturating_add(config.storage.min_free_octets / 4),
        ..maintenance::Limits::default()
    };
    let watchdog = Watchdog::start(Arc::clone(&committer), &dir, limits)
        .map_err(system("can't start the watchdog's thread"))?;
    let secret = secret(&config.data_dir.join("secret")).map_err(system("can't read or make data/secret"))?;
    Ok(Opened { store: Arc::new(store), committer, watchdog, secret, cut_off, ends })
}

/// 32 random octets, made at the first start.
fn secret(path: &Path) -> io::Result<[u8; 32]> {
    let mut octets = [0; 32];
    match File::open(path) {
        Ok(mut file) => {
            file.read_exact(&mut octets)?;
            return Ok(octets);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    SystemRandom::new().fill(&mut octets).map_err(|_| io::Error::other("no randomness"))?;
    let partial = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    file.write_all(&octets)?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    if let Some(dir) = path.parent() {
        File::open(dir)?.sync_all()?;
    }
    Ok(octets)
}

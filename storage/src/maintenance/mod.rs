//! Looks after an open store: refuses new mail before the disk is full or the engine is congested, serves
//! again afterwards, and gives the space of deleted content back.
//!
//! What always holds: reading and deleting are never refused here, since deleting is what makes room; the
//! decision is pure ([`Judge`]), and the thread of [`Watchdog`] only feeds it.

mod collect;
mod judge;

pub use collect::{CollectLimits, Collected, Collector, Progress};
pub use judge::{Judge, Limits, Reading, Refusal};

use crate::committer::{Committer, StopReason};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the watchdog looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Answers, from any shard and without a lock, whether new mail may be stored.
#[derive(Debug, Default)]
pub struct Gate(AtomicU8);

impl Gate {
    /// Whether new mail may be stored; if not, answer 452 or `NO [OVERQUOTA]`-like, and try again later.
    pub fn admits(&self) -> Result<(), Refusal> {
        Refusal::from_code(self.0.load(Ordering::Acquire)).map_or(Ok(()), Err)
    }

    /// Sets the answer; none admits. Returns the one before.
    pub fn set(&self, refusal: Option<Refusal>) -> Option<Refusal> {
        Refusal::from_code(self.0.swap(refusal.map_or(0, Refusal::code), Ordering::AcqRel))
    }
}

/// The thread that watches.
pub struct Watchdog {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    committer: Arc<Committer>,
    gate: Arc<Gate>,
    path: PathBuf,
    ended: Mutex<bool>,
    wake: Condvar,
}

impl Watchdog {
    /// Starts watching the store at `path`. The gate is right from the first moment on.
    pub fn start(committer: Arc<Committer>, path: &Path, limits: Limits) -> std::io::Result<Self> {
        let gate = Arc::new(Gate::default());
        let (ended, wake) = (Mutex::new(false), Condvar::new());
        let shared = Arc::new(Shared { committer, gate, path: path.to_owned(), ended, wake });
        let mut judge = Judge::new(limits);
        shared.look(&mut judge);
        let runs = Arc::clone(&shared);
        let thread =
            std::thread::Builder::new().name("watchdog".to_owned()).spawn(move || runs.run(judge))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// The gate to ask before mail is taken.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.shared.gate
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        *self.shared.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the watchdog thread panicked");
        }
    }
}

impl Shared {
    fn run(&self, mut judge: Judge) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        while !*ended {
            let waited = self.wake.wait_timeout(ended, INTERVAL).unwrap_or_else(PoisonError::into_inner);
            drop(waited);
            self.look(&mut judge);
            ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn look(&self, judge: &mut Judge) {
        let stopped = self.committer.stopped();
        let reading = Reading {
            stats: self.committer.engine().stats(),
            free_octets: free_octets(&self.path),
            stopped: stopped.is_some(),
            commit_running: self.committer.metrics().commit_running(),
        };
        let refusal = judge.judge(&reading);
        let full = matches!(stopped, Some(StopReason::Full));
        if full && judge.has_room() {
            match self.committer.reopen() {
                Ok(_) => tracing::warn!("there is room on the disk again: the store was reopened"),
                Err(error) => tracing::error!(%error, "there is room on the disk, but reopening failed"),
            }
            return;
        }
        let before = self.gate.set(refusal);
        if before == refusal {
            return;
        }
        let (free, stats) = (reading.free_octets, reading.stats);
        match refusal {
            Some(refusal) => tracing::error!(%refusal, free, ?stats, "new mail is refused"),
            None => tracing::warn!(free, "new mail is taken again"),
        }
    }
}

/// Free octets of the file system for an ordinary user; all there is when unknown.
pub fn free_octets(path: &Path) -> u64 {
    rustix::fs::statvfs(path).map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Time since a moment, for [`Progress`].
fn seconds_since(started: Instant) -> f64 {
    started.elapsed().as_secs_f64()
}

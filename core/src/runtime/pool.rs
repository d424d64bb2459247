//! A bounded pool of worker threads for what would hold up a shard: key derivation, cold scans,
//! large parses.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;

use rustix::process::{getpriority_process, setpriority_process};

use super::channel::{self, Receiver, Sender, TrySendError};
use super::oneshot::oneshot;
use super::task::panic_text;

/// Sizes of a [`Pool`].
#[derive(Clone, Copy, Debug)]
pub struct PoolLimits {
    /// Number of worker threads, at least 1.
    pub threads: usize,
    /// Jobs that may wait; one more is refused.
    pub queue_max: usize,
}

/// How the threads of a pool stand to the shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// As the shards, for short work that somebody waits for.
    Usual,
    /// Below them: a shard is pinned to its core, and can't go to another one when long work runs on it.
    Lower,
}

/// Why a job has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// As many jobs wait as may. The caller should answer "try again later".
    #[error("too many jobs wait for a worker thread")]
    Full,
    /// The job panicked. The panic was logged and counted.
    #[error("the job panicked")]
    Panicked,
}

/// Figures of a pool at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolStats {
    /// Jobs that wait for a thread.
    pub queued: usize,
    /// Jobs that run.
    pub running: usize,
    /// Jobs refused because the queue was full.
    pub refused: u64,
    /// Jobs that panicked.
    pub panics: u64,
}

/// How much nicer long work is. With 5 a thread gets a third of the time that a shard does on a busy core.
const NICE_BY: i32 = 5;

type Job = Box<dyn FnOnce() + Send>;

/// Handle of the pool. Clones share it; the threads end when the last one is dropped.
#[derive(Clone)]
pub struct Pool {
    jobs: Sender<Job>,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Counters {
    running: AtomicUsize,
    refused: AtomicU64,
    panics: AtomicU64,
}

impl Pool {
    /// Starts the threads. `name` becomes part of their names.
    pub fn start(name: &str, limits: PoolLimits, priority: Priority) -> io::Result<Self> {
        assert!(limits.threads > 0, "a pool without threads never answers");
        let (jobs, waiting) = channel::bounded::<Job>(limits.queue_max.max(1));
        let counters = Arc::new(Counters::default());
        for number in 0..limits.threads {
            let (waiting, counters) = (waiting.clone(), Arc::clone(&counters));
            thread::Builder::new().name(format!("{name}-{number}")).spawn(move || {
                if priority == Priority::Lower {
                    lower_priority();
                }
                work(&waiting, &counters);
            })?;
        }
        Ok(Self { jobs, counters })
    }

    /// Runs `job` on a worker thread. It is queued before this returns; a dropped future does not
    /// stop a job that has begun, but one that still waits is skipped.
    pub fn run<T, J>(&self, job: J) -> impl Future<Output = Result<T, PoolError>> + use<T, J>
    where
        T: Send + 'static,
        J: FnOnce() -> T + Send + 'static,
    {
        let (sender, receiver) = oneshot::<T>();
        let queued = self.jobs.try_send(Box::new(move || {
            if !sender.is_closed() {
                let _ = sender.send(job());
            }
        }));
        let refused = match queued {
            Ok(()) => false,
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => {
                self.counters.refused.fetch_add(1, Relaxed);
                true
            }
        };
        async move {
            if refused {
                return Err(PoolError::Full);
            }
            receiver.await.map_err(|_| PoolError::Panicked)
        }
    }

    /// As [`Self::run`], for a short job that has to be done: when as many jobs wait as may, it is done by the
    /// thread that asks, before this returns.
    pub fn run_anyway<T, J>(&self, job: J) -> impl Future<Output = Result<T, PoolError>> + use<T, J>
    where
        T: Send + 'static,
        J: FnOnce() -> T + Send + 'static,
    {
        let (sender, receiver) = oneshot::<T>();
        let queued = self.jobs.try_send(Box::new(move || {
            // Also when nobody waits for it any more.
            let _ = sender.send(job());
        }));
        if let Err(TrySendError::Full(job) | TrySendError::Closed(job)) = queued {
            job();
        }
        async move { receiver.await.map_err(|_| PoolError::Panicked) }
    }

    /// The figures of this moment.
    pub fn stats(&self) -> PoolStats {
        PoolStats {
            queued: self.jobs.len(),
            running: self.counters.running.load(Relaxed),
            refused: self.counters.refused.load(Relaxed),
            panics: self.counters.panics.load(Relaxed),
        }
    }
}

/// Nothing depends on it, so it is no matter when the system refuses.
fn lower_priority() {
    // On Linux this is about the calling thread.
    let nice = getpriority_process(None).unwrap_or(0);
    let _ = setpriority_process(None, nice + NICE_BY);
}

fn work(jobs: &Receiver<Job>, counters: &Counters) {
    while let Ok(job) = jobs.recv_blocking() {
        counters.running.fetch_add(1, Relaxed);
        if let Err(payload) = catch_unwind(AssertUnwindSafe(job)) {
            counters.panics.fetch_add(1, Relaxed);
            tracing::error!(panic = panic_text(&*payload), "a job of the worker pool panicked");
        }
        counters.running.fetch_sub(1, Relaxed);
    }
}

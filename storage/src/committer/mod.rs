//! The thread that owns all commits.
//!
//! Shards hand in batches with [`Committer::try_submit`], which never blocks. The thread takes everything that
//! waits, up to [`Limits::group_octets_max`], merges it into one batch, commits it with one sync, and then
//! calls each member's completion. While it syncs, the next group gathers. Where many write at the same time, it
//! also waits a moment for those who were in the last group (`GATHER_MAX`); who writes alone never waits.
//!
//! What always holds:
//! - Batches reach the engine in the order in which they were handed in, and a completion is called exactly
//!   once, in that order, on the committer's thread; it has to be short and must not block.
//! - [`Durability::Synced`] is acknowledged only after a successful sync that covers the batch and everything
//!   before it.
//! - A failed commit is never tried again. The committer stops, and everything that waits or comes later is
//!   refused with the reason. After a full disk, [`Committer::reopen`] brings service back. After any other
//!   failure the state of the disk is unknown (a second `fsync` may succeed although the first one lost the
//!   pages), so nothing is acknowledged any more until the process was started again.

mod metrics;

pub use metrics::{LATENCY_BOUNDS_MICROSECONDS, MEMBER_BOUNDS, Metrics, SIZE_BOUNDS_OCTETS};

use crate::engine::{Batch, Durability, Engine, EngineError, Incarnation};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bounds of the queue and of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Batches that may wait.
    pub queue_members_max: usize,
    /// Octets that may wait, counted as [`Batch::octets`]. One batch is always taken by an empty queue.
    pub queue_octets_max: usize,
    /// Octets in one group; a larger batch makes a group of its own.
    pub group_octets_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue_members_max: 4096,
            queue_octets_max: 32 * 1024 * 1024,
            group_octets_max: 8 * 1024 * 1024,
        }
    }
}

/// How long a group waits for more members, for each member of the last group. A few who write at the same time
/// hardly wait for one another; many gain more by the larger group than they lose by the wait.
const GATHER_EACH: Duration = Duration::from_micros(100);

/// How long a group waits for more members, at most.
const GATHER_MAX: Duration = Duration::from_millis(1);

/// What a completion is told about a commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommitInfo {
    /// Number of the group, from 1, that the batch was part of.
    pub group: u64,
    /// The engine's life in which it was committed. Work that spreads over several batches, of which the
    /// earlier ones are only buffered, names it in [`Request::incarnation`] of the later ones.
    pub incarnation: Incarnation,
}

/// Why a batch was not, or not certainly, committed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// The batch exceeds a bound. Nothing of it was stored, others are not affected.
    #[error(transparent)]
    Bounds(EngineError),
    /// The engine was reopened since the work began, so earlier batches of it may be gone. Nothing was stored.
    #[error("the store was reopened while this was being written")]
    Stale,
    /// The commit failed, or the committer had stopped before. Whether the batch is stored is not known until
    /// the store was reopened: treat it as not acknowledged.
    #[error("the store takes no writes: {0}")]
    Stopped(StopReason),
    /// The committer was shut down. Nothing of the batch was stored.
    #[error("the store is shutting down")]
    Closed,
}

/// Why the committer stopped.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StopReason {
    /// The disk was full. [`Committer::reopen`] may be called when there is room again.
    #[error("the disk is full")]
    Full,
    /// A write or sync failed. Only a restart of the process brings service back.
    #[error("{0}")]
    Failed(EngineError),
}

/// What is called with the outcome, on the committer's thread.
pub type Completion = Box<dyn FnOnce(Result<CommitInfo, CommitError>) + Send>;

/// A batch that is to be committed.
pub struct Request {
    /// What to write. An empty batch with [`Durability::Synced`] makes everything before it durable.
    pub batch: Batch,
    /// When it is done.
    pub durability: Durability,
    /// Refuse with [`CommitError::Stale`] unless the engine is still in this life.
    pub incarnation: Option<Incarnation>,
    /// Who is told.
    pub done: Completion,
}

/// Why a request was not taken. Its completion is not called; the request comes back.
pub enum Refused {
    /// The queue is full. [`Committer::when_room`] tells when to try again.
    Busy(Request),
    /// Will not be taken at all.
    Final(Request, CommitError),
}

/// The committer. Share it by `Arc`; dropping it commits what waits and ends the thread.
pub struct Committer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

type StopHook = Box<dyn Fn(&StopReason) + Send + Sync>;

struct Shared {
    engine: Arc<dyn Engine>,
    limits: Limits,
    queue: Mutex<Queue>,
    filled: Condvar,
    metrics: Arc<Metrics>,
    on_stop: StopHook,
}

struct Queue {
    requests: VecDeque<Request>,
    octets: usize,
    state: State,
    /// With so many requests the thread is woken: none while a group is being committed, when it looks anyway.
    wake_at: Option<usize>,
    /// Members of the last group.
    last_members: usize,
    waiting_for_room: Vec<Box<dyn FnOnce() + Send>>,
}

enum State {
    Running,
    Reopening,
    Stopped(StopReason),
    Closing,
}

impl Committer {
    /// Starts the thread. `on_stop` is called once each time the committer stops, from its thread.
    pub fn start(
        engine: Arc<dyn Engine>,
        limits: Limits,
        on_stop: impl Fn(&StopReason) + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            engine,
            limits,
            queue: Mutex::new(Queue {
                requests: VecDeque::new(),
                octets: 0,
                state: State::Running,
                wake_at: None,
                last_members: 0,
                waiting_for_room: Vec::new(),
            }),
            filled: Condvar::new(),
            metrics: Arc::new(Metrics::default()),
            on_stop: Box::new(on_stop),
        });
        let runs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("committer".to_owned()).spawn(move || runs.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Hands in a request; never blocks longer than a short lock.
    #[expect(clippy::result_large_err, reason = "the request comes back by value, without an allocation")]
    pub fn try_submit(&self, request: Request) -> Result<(), Refused> {
        if let Err(error) = request.batch.check() {
            return Err(Refused::Final(request, CommitError::Bounds(error)));
        }
        let octets = request.batch.octets();
        let mut queue = self.shared.lock();
        match &queue.state {
            State::Running => {}
            State::Reopening => return Err(Refused::Busy(request)),
            State::Stopped(reason) => {
                let error = CommitError::Stopped(reason.clone());
                return Err(Refused::Final(request, error));
            }
            State::Closing => return Err(Refused::Final(request, CommitError::Closed)),
        }
        let limits = &self.shared.limits;
        let too_many = queue.requests.len() >= limits.queue_members_max;
        let too_large = queue.octets + octets > limits.queue_octets_max && !queue.requests.is_empty();
        if too_many || too_large {
            return Err(Refused::Busy(request));
        }
        queue.octets += octets;
        queue.requests.push_back(request);
        self.shared.metrics.note_queue(queue.requests.len(), queue.octets);
        let wake = queue.is_awaited(limits.group_octets_max);
        drop(queue);
        if wake {
            self.shared.filled.notify_one();
        }
        Ok(())
    }

    /// Calls `wake` once, when the queue has room again or the committer stopped; at once if that is so
    /// already. `wake` may come from any thread, and several may be woken for the same room.
    pub fn when_room(&self, wake: impl FnOnce() + Send + 'static) {
        let mut queue = self.shared.lock();
        // Whether the next request fits depends on its size, so room is certain only in an empty queue.
        let waits = match queue.state {
            State::Running => !queue.requests.is_empty(),
            State::Reopening => true,
            State::Stopped(_) | State::Closing => false,
        };
        if waits {
            queue.waiting_for_room.push(Box::new(wake));
        } else {
            drop(queue);
            wake();
        }
    }

    /// Commits and waits for it; for command-line tools and tests. Never call it on a shard.
    pub fn commit_blocking(&self, batch: Batch, durability: Durability) -> Result<CommitInfo, CommitError> {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let done: Completion = Box::new(move |outcome| {
            // The receiver waits below, so this cannot fail.
            let _ = tell.send(outcome);
        });
        let mut request = Request { batch, durability, incarnation: None, done };
        loop {
            match self.try_submit(request) {
                Ok(()) => return told.recv().unwrap_or(Err(CommitError::Closed)),
                Err(Refused::Final(_, error)) => return Err(error),
                Err(Refused::Busy(back)) => {
                    let (tell, told) = std::sync::mpsc::sync_channel(1);
                    self.when_room(move || {
                        let _ = tell.send(());
                    });
                    let _ = told.recv();
                    request = back;
                }
            }
        }
    }

    /// Opens the engine again after [`StopReason::Full`] and takes requests again. Blocks for the time that
    /// opening takes. Everything that was acknowledged as synced is there again; all in-memory state that was
    /// derived from later commits has to be loaded anew.
    pub fn reopen(&self) -> Result<Incarnation, CommitError> {
        {
            let mut queue = self.shared.lock();
            match &queue.state {
                State::Running => return Ok(self.shared.engine.incarnation()),
                State::Closing => return Err(CommitError::Closed),
                State::Stopped(StopReason::Full) => queue.state = State::Reopening,
                State::Stopped(reason) => return Err(CommitError::Stopped(reason.clone())),
                State::Reopening => return Err(CommitError::Stale),
            }
        }
        let outcome = self.shared.engine.reopen();
        let mut queue = self.shared.lock();
        let closing = matches!(queue.state, State::Closing);
        let result = match outcome {
            _ if closing => Err(CommitError::Closed),
            Ok(()) => {
                queue.state = State::Running;
                Ok(self.shared.engine.incarnation())
            }
            Err(error) => {
                let reason = reason_of(&error);
                queue.state = State::Stopped(reason.clone());
                Err(CommitError::Stopped(reason))
            }
        };
        let woken = std::mem::take(&mut queue.waiting_for_room);
        drop(queue);
        woken.into_iter().for_each(|wake| wake());
        result
    }

    /// Why the committer stopped, if it did.
    pub fn stopped(&self) -> Option<StopReason> {
        match &self.shared.lock().state {
            State::Stopped(reason) => Some(reason.clone()),
            State::Running | State::Reopening | State::Closing => None,
        }
    }

    /// The engine, for snapshots.
    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.shared.engine
    }

    /// Counters.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.shared.metrics
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.shared.lock().state = State::Closing;
        self.shared.filled.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the committer thread panicked");
        }
    }
}

impl Queue {
    /// Whether the thread sleeps, and has something to do now.
    fn is_awaited(&self, octets_max: usize) -> bool {
        self.wake_at.is_some_and(|members| self.requests.len() >= members || self.octets >= octets_max)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        while let Some(group) = self.next_group() {
            self.commit(group);
        }
    }

    /// Waits for requests and takes what fits in one group. None when closing and all is done.
    fn next_group(&self) -> Option<Vec<Request>> {
        let mut queue = self.lock();
        while queue.requests.is_empty() {
            if matches!(queue.state, State::Closing) {
                return None;
            }
            queue.wake_at = Some(1);
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue = self.gather(queue);
        let mut group = Vec::new();
        let mut octets = 0;
        while let Some(request) = queue.requests.front() {
            let size = request.batch.octets();
            if !group.is_empty() && octets + size > self.limits.group_octets_max {
                break;
            }
            octets += size;
            group.extend(queue.requests.pop_front());
        }
        queue.octets -= octets;
        queue.wake_at = None;
        queue.last_members = group.len();
        self.metrics.note_queue(queue.requests.len(), queue.octets);
        let woken = std::mem::take(&mut queue.waiting_for_room);
        drop(queue);
        woken.into_iter().for_each(|wake| wake());
        Some(group)
    }

    /// Gives those a moment who were in the last group together and are about to ask again: a group of
    /// more costs each of them less. One who is alone never waits.
    fn gather<'a>(&self, mut queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        let expected = queue.last_members + queue.last_members / 4;
        let members = u32::try_from(queue.last_members).unwrap_or(u32::MAX);
        let until = Instant::now() + GATHER_EACH.saturating_mul(members).min(GATHER_MAX);
        // Who comes meanwhile doesn't wake this thread: two switches of a processor cost more than a small batch.
        queue.wake_at = Some(expected);
        while queue.last_members > 1
            && queue.requests.len() < expected
            && queue.octets < self.limits.group_octets_max
            && matches!(queue.state, State::Running)
        {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            queue = self.filled.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        queue
    }

    fn commit(&self, group: Vec<Request>) {
        let incarnation = self.engine.incarnation();
        let mut merged = Batch::new();
        let mut durability = Durability::Buffered;
        let mut members = Vec::with_capacity(group.len());
        for request in group {
            if request.incarnation.is_some_and(|wanted| wanted != incarnation) {
                complete(request.done, Err(CommitError::Stale));
                continue;
            }
            durability = durability.max(request.durability);
            merged.append(request.batch);
            members.push(request.done);
        }
        if members.is_empty() {
            return;
        }
        let octets = merged.octets();
        let started = Instant::now();
        self.metrics.note_running(Some(started));
        let outcome = catch_unwind(AssertUnwindSafe(|| self.engine.commit(merged, durability)));
        let outcome = outcome
            .unwrap_or_else(|_| Err(EngineError::Poisoned { cause: "the engine panicked".to_owned() }));
        self.metrics.note_running(None);
        match outcome {
            Ok(()) => {
                let group = self.metrics.note_group(members.len(), octets, durability, started.elapsed());
                let info = CommitInfo { group, incarnation };
                members.into_iter().for_each(|done| complete(done, Ok(info)));
            }
            Err(error) => self.stop(&error, members),
        }
    }

    /// Refuses the failed group and everything behind it, and tells the server.
    fn stop(&self, error: &EngineError, members: Vec<Completion>) {
        let reason = reason_of(error);
        let (waiting, woken) = {
            let mut queue = self.lock();
            if !matches!(queue.state, State::Closing) {
                queue.state = State::Stopped(reason.clone());
            }
            queue.octets = 0;
            (std::mem::take(&mut queue.requests), std::mem::take(&mut queue.waiting_for_room))
        };
        self.metrics.note_stop();
        self.metrics.note_queue(0, 0);
        tracing::error!(%error, refused = members.len() + waiting.len(), "the store takes no more writes");
        (self.on_stop)(&reason);
        let refused = members.into_iter().chain(waiting.into_iter().map(|request| request.done));
        refused.for_each(|done| complete(done, Err(CommitError::Stopped(reason.clone()))));
        woken.into_iter().for_each(|wake| wake());
    }
}

fn reason_of(error: &EngineError) -> StopReason {
    match error {
        EngineError::Full => StopReason::Full,
        other => StopReason::Failed(other.clone()),
    }
}

/// A completion that panics must not end the thread that everybody's commits depend on.
fn complete(done: Completion, outcome: Result<CommitInfo, CommitError>) {
    if catch_unwind(AssertUnwindSafe(|| done(outcome))).is_err() {
        tracing::error!("a completion of a commit panicked");
    }
}

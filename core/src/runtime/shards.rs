//! Starting and ending the shards.
//!
//! A shard ends when its main future does. When that future panics, or the executor itself fails,
//! the shard is *dead*: its sessions are gone and its accounts have no home. Nothing can repair
//! that inside the process, so the first death begins an orderly stop of all other shards and
//! [`Runtime::join`] returns it; the process then exits with an error and is restarted.

use std::cell::RefCell;
use std::future::Future;
use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use glommio::{LocalExecutorBuilder, Placement};

use super::net::DetachedStream;
use super::shutdown::Shutdown;
use super::stats::{AllStats, ShardStats};
use super::task::panic_text;

/// How long the other shards may take to finish after one died.
const DEATH_GRACE: Duration = Duration::from_secs(10);
/// Memory registered for file input and output, which shards do not do.
const IO_MEMORY: usize = 64 * 1024;
/// Submission queue of each ring; larger ones accept and echo faster with 10,000 connections.
const RING_DEPTH: usize = 1024;
/// How often every shard is given something to read.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// How long ready tasks run at most before the shard looks at its sockets and timers again. Mostly it does so far sooner:
/// when none is ready, and who [gives way](super::task::yield_now) isn't until then.
///
/// Long, since the library goes to sleep with tasks that are ready when this time passes between two steps of its own, in
/// which the thread doesn't have the processor: with 5 ms, one of 18,000 shards that began on a core that 32 threads shared
/// slept for ever. It is longer than a container with little of a processor (`cpu.max`) is mostly stopped for.
const PREEMPT: Duration = Duration::from_millis(250);

/// Number of a shard, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub usize);

/// How shards are started.
#[derive(Clone, Debug)]
pub struct RuntimeOptions {
    /// Number of shards, at least 1.
    pub shards: usize,
    /// First part of the names of their threads.
    pub name: String,
    /// Pin each shard to a core when there are enough cores.
    pub pin: bool,
}

impl RuntimeOptions {
    /// `shards` pinned shards.
    pub fn new(shards: usize) -> Self {
        Self { shards, name: "shard".to_owned(), pin: true }
    }
}

/// A shard that ended before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardDeath {
    /// Which one.
    pub shard: ShardId,
    /// What is known of the cause.
    pub reason: String,
}

/// Why the runtime could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// A thread could not be started.
    #[error("cannot start shard {}: {reason}", shard.0)]
    Start {
        /// Which shard.
        shard: ShardId,
        /// What went wrong.
        reason: String,
    },
    /// A shard died.
    #[error("shard {} died: {}", .0.shard.0, .0.reason)]
    Died(ShardDeath),
}

struct Context {
    id: ShardId,
    stats: Arc<ShardStats>,
}

thread_local! {
    static CONTEXT: RefCell<Option<Context>> = const { RefCell::new(None) };
}

/// The shard this code runs on; none on other threads.
pub fn current_shard() -> Option<ShardId> {
    CONTEXT.with_borrow(|context| context.as_ref().map(|context| context.id))
}

pub(super) fn with_stats<T>(read: impl FnOnce(&ShardStats) -> T) -> T {
    CONTEXT.with_borrow(|context| match context {
        Some(context) => read(&context.stats),
        None => panic!("not on a shard"),
    })
}

pub(super) fn with_stats_arc() -> Arc<ShardStats> {
    CONTEXT.with_borrow(|context| match context {
        Some(context) => Arc::clone(&context.stats),
        None => panic!("not on a shard"),
    })
}

pub(super) fn record_timer(lag: Duration) {
    with_stats(|stats| stats.timer_fired(lag));
}

/// The running shards.
pub struct Runtime {
    threads: Vec<JoinHandle<()>>,
    stats: AllStats,
    shutdown: Shutdown,
    death: Arc<Mutex<Option<ShardDeath>>>,
}

impl Runtime {
    /// Starts the shards; each runs the future that `main` makes for it, until it ends.
    ///
    /// Call [`super::preflight`] first: on a host that refuses `io_uring` the executor panics with
    /// a less helpful message.
    pub fn start<M, F>(options: &RuntimeOptions, shutdown: Shutdown, main: M) -> Result<Self, RuntimeError>
    where
        M: Fn(ShardId) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + 'static,
    {
        assert!(options.shards > 0, "a runtime needs a shard");
        let stats: AllStats = (0..options.shards).map(|_| Arc::new(ShardStats::default())).collect();
        let death = Arc::new(Mutex::new(None));
        let mut runtime = Self { threads: Vec::new(), stats, shutdown, death };
        let cores = cores();
        let mut hearts = Vec::with_capacity(options.shards);
        for index in 0..options.shards {
            let shard = ShardId(index);
            let placement = match cores.get(index) {
                Some(core) if options.pin && options.shards <= cores.len() => Placement::Fixed(*core),
                _ => Placement::Unbound,
            };
            let guard = DeathGuard {
                shard,
                finished: false,
                shutdown: runtime.shutdown.clone(),
                death: Arc::clone(&runtime.death),
            };
            let context = Context { id: shard, stats: Arc::clone(&runtime.stats[index]) };
            let (beats, beaten) = UnixStream::pair()
                .map_err(|error| RuntimeError::Start { shard, reason: error.to_string() })?;
            hearts.push(beats);
            let main = main.clone();
            let thread = std::thread::Builder::new()
                .name(format!("{}-{index}", options.name))
                .spawn(move || run_shard(placement, context, guard, beaten.into(), main))
                .map_err(|error| {
                    runtime.shutdown.begin(DEATH_GRACE);
                    RuntimeError::Start { shard, reason: error.to_string() }
                })?;
            runtime.threads.push(thread);
        }
        start_heartbeat(hearts)
            .map_err(|error| RuntimeError::Start { shard: ShardId(0), reason: error.to_string() })?;
        Ok(runtime)
    }

    /// Figures of the shards, in their order.
    pub fn stats(&self) -> &AllStats {
        &self.stats
    }

    /// The switch that the shards were started with.
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Waits for all shards to end.
    pub fn join(self) -> Result<(), RuntimeError> {
        for thread in self.threads {
            // A panic was recorded by the guard already.
            let _ = thread.join();
        }
        match self.death.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(death) => Err(RuntimeError::Died(death)),
            None => Ok(()),
        }
    }
}

/// The cores this process may use (an affinity mask may leave out some).
fn cores() -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else { return Vec::new() };
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
}

/// Starts the thread that gives every shard something to read twice a second.
///
/// A shard that sleeps with work to do (see [`PREEMPT`]) wakes for this: such a sleep costs half a second, not the server.
fn start_heartbeat(mut hearts: Vec<UnixStream>) -> std::io::Result<()> {
    for heart in &hearts {
        heart.set_nonblocking(true)?;
    }
    std::thread::Builder::new().name("heartbeat".to_owned()).spawn(move || {
        while !hearts.is_empty() {
            std::thread::sleep(HEARTBEAT);
            // A shard that doesn't come to reading has a full socket, and no need to be woken; one that has
            // ended has closed its side.
            hearts.retain_mut(|heart| match heart.write(&[0]) {
                Ok(_) => true,
                Err(error) => error.kind() == ErrorKind::WouldBlock,
            });
        }
    })?;
    Ok(())
}

async fn feel_heartbeat(beaten: OwnedFd) {
    let mut stream = DetachedStream::from_fd(beaten).attach();
    let mut beats = [0; 64];
    while matches!(stream.read(&mut beats).await, Ok(1..)) {}
}

fn run_shard<M, F>(placement: Placement, context: Context, mut guard: DeathGuard, beaten: OwnedFd, main: M)
where
    M: FnOnce(ShardId) -> F,
    F: Future<Output = ()> + 'static,
{
    let id = context.id;
    CONTEXT.with_borrow_mut(|slot| *slot = Some(context));
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let executor = LocalExecutorBuilder::new(placement)
            .io_memory(IO_MEMORY)
            .ring_depth(RING_DEPTH)
            .preempt_timer(PREEMPT)
            .make()
            .map_err(|error| error.to_string())?;
        executor.run(async move {
            // Not one of the tasks that are counted: it never does any work.
            let heart = glommio::spawn_local(feel_heartbeat(beaten));
            // The first timer of a thread takes some 15 ms (membarrier registration).
            super::time::sleep(Duration::from_nanos(1)).await;
            let ended = super::task::spawn_task("main", main(id)).await;
            // Else its socket would stay open as long as the process, and be written to.
            heart.cancel().await;
            ended.map_err(|_| "its main task panicked".to_owned())
        })
    }));
    match ran {
        Ok(Ok(())) => guard.finished = true,
        Ok(Err(reason)) => guard.died(reason),
        Err(payload) => guard.died(panic_text(&*payload).to_owned()),
    }
}

/// Tells the others of a death, even when the thread unwinds.
struct DeathGuard {
    shard: ShardId,
    finished: bool,
    shutdown: Shutdown,
    death: Arc<Mutex<Option<ShardDeath>>>,
}

impl DeathGuard {
    fn died(&mut self, reason: String) {
        self.finished = true;
        tracing::error!(shard = self.shard.0, reason, "a shard died; the server stops");
        self.death
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(ShardDeath { shard: self.shard, reason });
        self.shutdown.begin(DEATH_GRACE);
    }
}

impl Drop for DeathGuard {
    fn drop(&mut self) {
        if !self.finished {
            self.died("its thread was torn down".to_owned());
        }
    }
}

//! What a shard measures about itself: polls, stalls, panics, late timers.
//!
//! Every poll of a task started by [`super::spawn`] is timed. A poll over [`STALL_MIN`] is a stall:
//! it is counted and logged with the label of the task and with how much of it the thread had a processor,
//! within [`PROCESSOR_READ`]. While a poll runs, its start and label are
//! visible to other threads, so a shard that never comes back can be named as well.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// From this length on a single run of a task counts as a stall.
pub const STALL_MIN: Duration = Duration::from_millis(50);

/// How old the reading of the processor time may be that a stall is compared with: reading takes a
/// system call, as long as many a poll.
const PROCESSOR_READ: Duration = Duration::from_millis(10);

/// Instants are kept as nanoseconds since this one, so that they fit an atomic.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Labels in the order in which they were first used; their index is what tasks carry.
static LABELS: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());

thread_local! {
    static LABEL_IDS: RefCell<HashMap<(*const u8, usize), u32>> = RefCell::new(HashMap::new());
}

/// Figures of one shard. Written by the shard, readable from any thread.
#[derive(Debug, Default)]
pub struct ShardStats {
    polls: AtomicU64,
    stalls: AtomicU64,
    longest_poll_nanos: AtomicU64,
    longest_label: AtomicU32,
    panics: AtomicU64,
    tasks: AtomicU64,
    timer_lag_nanos: AtomicU64,
    running_since: AtomicU64,
    running_label: AtomicU32,
    /// When the shard's processor time was last read, and what it was.
    processor_read: AtomicU64,
    processor_nanos: AtomicU64,
}

/// A copy of [`ShardStats`] at one moment.
#[derive(Clone, Copy, Debug)]
pub struct StatsSnapshot {
    /// Polls of tasks since the start.
    pub polls: u64,
    /// Tasks that are alive.
    pub tasks: u64,
    /// Polls that took 50 ms or more.
    pub stalls: u64,
    /// The longest poll since the start.
    pub longest_stall: Duration,
    /// Label of the task whose poll was the longest.
    pub longest_label: &'static str,
    /// Tasks ended by a panic.
    pub panics: u64,
    /// The longest delay between the time a timer was set for and the time its task ran.
    pub longest_timer_lag: Duration,
    /// The task that is being polled now, and for how long. The sign of a shard that hangs.
    pub running: Option<(&'static str, Duration)>,
}

impl ShardStats {
    /// Copies the figures. They are read one after the other, not as one atomic picture.
    pub fn snapshot(&self) -> StatsSnapshot {
        let since = self.running_since.load(Relaxed);
        let running = (since != 0).then(|| {
            let elapsed = nanos_since_epoch().saturating_sub(since);
            (label_text(self.running_label.load(Relaxed)), Duration::from_nanos(elapsed))
        });
        StatsSnapshot {
            polls: self.polls.load(Relaxed),
            tasks: self.tasks.load(Relaxed),
            stalls: self.stalls.load(Relaxed),
            longest_stall: Duration::from_nanos(self.longest_poll_nanos.load(Relaxed)),
            longest_label: label_text(self.longest_label.load(Relaxed)),
            panics: self.panics.load(Relaxed),
            longest_timer_lag: Duration::from_nanos(self.timer_lag_nanos.load(Relaxed)),
            running,
        }
    }

    /// Only the shard's own thread writes, so plain load and store do instead of a locked add.
    pub(super) fn poll_begins(&self, label: LabelId) -> u64 {
        let began = nanos_since_epoch();
        if began.saturating_sub(self.processor_read.load(Relaxed)) >= PROCESSOR_READ.as_nanos() as u64 {
            self.processor_read.store(began, Relaxed);
            self.processor_nanos.store(thread_nanos(), Relaxed);
        }
        self.running_label.store(label.0, Relaxed);
        self.running_since.store(began, Relaxed);
        began
    }

    pub(super) fn poll_ends(&self, label: LabelId, began: u64) {
        self.running_since.store(0, Relaxed);
        self.count_poll(label, nanos_since_epoch().saturating_sub(began));
    }

    fn count_poll(&self, label: LabelId, nanos: u64) {
        add(&self.polls, 1);
        if nanos > self.longest_poll_nanos.load(Relaxed) {
            self.longest_poll_nanos.store(nanos, Relaxed);
            self.longest_label.store(label.0, Relaxed);
        }
        if nanos >= STALL_MIN.as_nanos() as u64 {
            add(&self.stalls, 1);
            // Of a busy machine and of a slow disk the rest of the time tells.
            let ran = thread_nanos().saturating_sub(self.processor_nanos.load(Relaxed)).min(nanos);
            let (task, millis, processor_millis) = (label_text(label.0), nanos / 1_000_000, ran / 1_000_000);
            tracing::warn!(task, millis, processor_millis, "a task held its shard for too long");
        }
    }

    pub(super) fn running_for(&self) -> Duration {
        let since = self.running_since.load(Relaxed);
        if since == 0 {
            return Duration::ZERO;
        }
        Duration::from_nanos(nanos_since_epoch().saturating_sub(since))
    }

    pub(super) fn task_begins(&self) {
        add(&self.tasks, 1);
    }

    pub(super) fn task_ends(&self) {
        self.tasks.store(self.tasks.load(Relaxed).saturating_sub(1), Relaxed);
    }

    pub(super) fn task_panicked(&self) {
        add(&self.panics, 1);
    }

    pub(super) fn timer_fired(&self, lag: Duration) {
        let nanos = u64::try_from(lag.as_nanos()).unwrap_or(u64::MAX);
        if nanos > self.timer_lag_nanos.load(Relaxed) {
            self.timer_lag_nanos.store(nanos, Relaxed);
        }
    }
}

fn add(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Relaxed) + by, Relaxed);
}

/// Never zero, which stands for "nothing runs".
fn nanos_since_epoch() -> u64 {
    EPOCH.elapsed().as_nanos() as u64 | 1
}

/// The processor time of this thread.
fn thread_nanos() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

/// A label as the small number that tasks carry.
#[derive(Clone, Copy, Debug)]
pub(super) struct LabelId(u32);

impl LabelId {
    /// Labels are string constants, so the table stays as small as the source is.
    pub(super) fn of(label: &'static str) -> Self {
        let key = (label.as_ptr(), label.len());
        LABEL_IDS.with_borrow_mut(|ids| {
            Self(*ids.entry(key).or_insert_with(|| {
                let mut labels = LABELS.lock().unwrap_or_else(PoisonError::into_inner);
                let index = labels.iter().position(|known| *known == label).unwrap_or_else(|| {
                    labels.push(label);
                    labels.len() - 1
                });
                u32::try_from(index).unwrap_or(u32::MAX)
            }))
        })
    }

    pub(super) fn text(self) -> &'static str {
        label_text(self.0)
    }
}

fn label_text(id: u32) -> &'static str {
    let labels = LABELS.lock().unwrap_or_else(PoisonError::into_inner);
    labels.get(id as usize).copied().unwrap_or("none")
}

/// Statistics of a set of shards, in shard order.
pub type AllStats = Arc<[Arc<ShardStats>]>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_begins_at_fifty_milliseconds() {
        let (stats, label) = (ShardStats::default(), LabelId::of("test of stalls"));
        stats.count_poll(label, 49_999_999);
        assert_eq!(stats.snapshot().stalls, 0);
        stats.count_poll(label, 50_000_000);
        let figures = stats.snapshot();
        assert_eq!((figures.stalls, figures.polls), (1, 2));
        assert_eq!(figures.longest_stall, STALL_MIN);
        assert_eq!(figures.longest_label, "test of stalls");
    }
}

//! Counters of the committer: plain atomics, read by the metrics endpoint.

use crate::engine::Durability;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Upper bounds of the latency buckets; one more bucket takes everything above.
pub const LATENCY_BOUNDS_MICROSECONDS: [u64; 13] =
    [125, 250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 128_000, 256_000, 1_000_000];

/// Upper bounds of the size buckets; one more bucket takes everything above.
pub const SIZE_BOUNDS_OCTETS: [u64; 8] =
    [1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20];

/// Upper bounds of the buckets of batches in a group; one more bucket takes everything above.
pub const MEMBER_BOUNDS: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// Counters since the start.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Committed groups.
    pub groups: AtomicU64,
    /// Committed groups with a sync.
    pub groups_synced: AtomicU64,
    /// Batches in committed groups.
    pub members: AtomicU64,
    /// Octets in committed groups.
    pub octets: AtomicU64,
    /// Committed groups by their octets, not cumulative, see [`SIZE_BOUNDS_OCTETS`].
    pub group_octets: [AtomicU64; SIZE_BOUNDS_OCTETS.len() + 1],
    /// Committed groups by their batches, not cumulative, see [`MEMBER_BOUNDS`].
    pub group_members: [AtomicU64; MEMBER_BOUNDS.len() + 1],
    /// How often the committer stopped.
    pub stops: AtomicU64,
    /// Batches that wait now.
    pub queue_members: AtomicU64,
    /// Octets that wait now.
    pub queue_octets: AtomicU64,
    /// Commits with a sync by latency, not cumulative, see [`LATENCY_BOUNDS_MICROSECONDS`].
    pub latency: [AtomicU64; LATENCY_BOUNDS_MICROSECONDS.len() + 1],
    /// Sum of the latencies of commits with a sync, in microseconds.
    pub latency_sum: AtomicU64,
    /// Since when the present commit runs.
    running_since: Mutex<Option<Instant>>,
}

impl Metrics {
    /// How long the present commit takes already; none between commits.
    pub fn commit_running(&self) -> Option<Duration> {
        self.running_since.lock().unwrap_or_else(PoisonError::into_inner).map(|since| since.elapsed())
    }

    pub(super) fn note_running(&self, since: Option<Instant>) {
        *self.running_since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    pub(super) fn note_queue(&self, members: usize, octets: usize) {
        self.queue_members.store(members as u64, Relaxed);
        self.queue_octets.store(octets as u64, Relaxed);
    }

    pub(super) fn note_stop(&self) {
        self.stops.fetch_add(1, Relaxed);
    }

    /// Returns the group's number.
    pub(super) fn note_group(
        &self,
        members: usize,
        octets: usize,
        durability: Durability,
        took: Duration,
    ) -> u64 {
        self.members.fetch_add(members as u64, Relaxed);
        self.octets.fetch_add(octets as u64, Relaxed);
        let size = SIZE_BOUNDS_OCTETS.partition_point(|&bound| bound < octets as u64);
        self.group_octets[size].fetch_add(1, Relaxed);
        let number = MEMBER_BOUNDS.partition_point(|&bound| bound < members as u64);
        self.group_members[number].fetch_add(1, Relaxed);
        if durability == Durability::Synced {
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            let bucket = LATENCY_BOUNDS_MICROSECONDS.partition_point(|&bound| bound < micros);
            self.groups_synced.fetch_add(1, Relaxed);
            self.latency[bucket].fetch_add(1, Relaxed);
            self.latency_sum.fetch_add(micros, Relaxed);
        }
        self.groups.fetch_add(1, Relaxed) + 1
    }
}

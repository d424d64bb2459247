//! Gives the disk space of deleted content back.
//!
//! The engine frees blob files only when a compaction has met the removals, and learns of garbage only then.
//! Its own compactions do so in passing. This job is for the rest: it runs when enough was deleted, at a quiet
//! hour or on the operator's wish. Reads and commits go on meanwhile.

use super::seconds_since;
use crate::engine::{Engine, EngineError, EngineStats, Space};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// When a run pays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CollectLimits {
    /// Less deleted content than this is left alone.
    pub freed_octets_min: u64,
    /// Deleted content has to be at least this share of the blob space, in percent.
    pub freed_percent_min: u64,
    /// A run rewrites up to three times the garbage before it frees any of it. This much stays free meanwhile,
    /// so that no mail has to be refused because of it.
    pub free_octets_min: u64,
    /// When less than that is free already, mail is refused, and a run may be what ends that: then this much
    /// stays free, for a journal and the flushes.
    pub free_octets_floor: u64,
    /// Most rounds of one run.
    pub rounds_max: u32,
}

impl Default for CollectLimits {
    fn default() -> Self {
        Self {
            freed_octets_min: 64 * 1024 * 1024,
            freed_percent_min: 20,
            free_octets_min: 512 * 1024 * 1024,
            free_octets_floor: 128 * 1024 * 1024,
            rounds_max: 4,
        }
    }
}

/// Where a run is.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Progress {
    /// The present round, from 1; 0 before the first.
    pub round: u32,
    /// Most rounds.
    pub rounds_max: u32,
    /// Blob space when the run began.
    pub octets_before: u64,
    /// Blob space after the last finished round.
    pub octets_now: u64,
    /// Seconds since the run began.
    pub seconds: f64,
}

/// What a run did.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Collected {
    /// Blob space before.
    pub octets_before: u64,
    /// Blob space after. It may fall further when snapshots are dropped that were open.
    pub octets_after: u64,
    /// Rounds.
    pub rounds: u32,
    /// How long it took.
    pub seconds: f64,
}

/// Decides and runs; one for each store.
#[derive(Debug)]
pub struct Collector {
    limits: CollectLimits,
    freed: AtomicU64,
    cancelled: AtomicBool,
    running: Mutex<()>,
}

impl Collector {
    /// A collector that knows of no deleted content yet.
    pub fn new(limits: CollectLimits) -> Self {
        Self { limits, freed: AtomicU64::new(0), cancelled: AtomicBool::new(false), running: Mutex::new(()) }
    }

    /// Notes that content of so many octets was deleted.
    pub fn note_freed(&self, octets: u64) {
        self.freed.fetch_add(octets, Ordering::Relaxed);
    }

    /// Octets that were deleted since the last run, as noted.
    pub fn freed(&self) -> u64 {
        self.freed.load(Ordering::Relaxed)
    }

    /// Whether a run pays, and there is room for it.
    pub fn pays(&self, stats: &EngineStats, free_octets: u64) -> bool {
        let garbage = self.freed().max(stats.blob_garbage_octets);
        let enough = garbage >= self.limits.freed_octets_min
            && garbage.saturating_mul(100)
                >= stats.blobs_octets.saturating_mul(self.limits.freed_percent_min);
        let live = stats.blobs_octets.saturating_sub(garbage);
        let rewritten = garbage.saturating_mul(3).min(live);
        let CollectLimits { free_octets_min, free_octets_floor, .. } = self.limits;
        let kept = if free_octets < free_octets_min { free_octets_floor } else { free_octets_min };
        enough && free_octets >= rewritten.saturating_add(kept)
    }

    /// Ends the run after its present round.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    /// Runs until a round frees nothing any more. Blocks; call it on a thread of its own. `tell` hears of
    /// every round. None when a run is under way already.
    pub fn run(
        &self,
        engine: &dyn Engine,
        mut tell: impl FnMut(Progress),
    ) -> Result<Option<Collected>, EngineError> {
        let _running = match self.running.try_lock() {
            Ok(running) => running,
            Err(std::sync::TryLockError::Poisoned(running)) => PoisonError::into_inner(running),
            Err(std::sync::TryLockError::WouldBlock) => return Ok(None),
        };
        self.cancelled.store(false, Ordering::Release);
        let started = Instant::now();
        let noted = self.freed();
        let octets_before = engine.stats().blobs_octets;
        let rounds_max = self.limits.rounds_max;
        let mut octets_now = octets_before;
        let mut rounds = 0;
        while rounds < rounds_max && !self.cancelled.load(Ordering::Acquire) {
            rounds += 1;
            let seconds = seconds_since(started);
            tell(Progress { round: rounds, rounds_max, octets_before, octets_now, seconds });
            engine.compact(Space::Blobs)?;
            let EngineStats { blobs_octets: after, blob_garbage_octets: known, .. } = engine.stats();
            let gained = octets_now.saturating_sub(after);
            octets_now = after;
            // The first round mostly finds out what is garbage, the second one rewrites the files that hold it.
            // The last percent is not worth another round.
            let more_known = known.saturating_mul(100) >= after.saturating_mul(self.limits.freed_percent_min);
            if rounds > 1 && !more_known && gained.saturating_mul(100) < octets_before {
                break;
            }
        }
        self.freed.fetch_sub(noted, Ordering::Relaxed);
        let seconds = seconds_since(started);
        Ok(Some(Collected { octets_before, octets_after: octets_now, rounds, seconds }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_pays_from_its_bounds_on() {
        let limits = CollectLimits::default();
        let collector = Collector::new(limits);
        let stats = EngineStats { blobs_octets: limits.freed_octets_min * 5, ..EngineStats::default() };
        collector.note_freed(limits.freed_octets_min - 1);
        assert!(!collector.pays(&stats, u64::MAX));
        collector.note_freed(1);
        assert!(collector.pays(&stats, u64::MAX));
        // One percent less than a fifth.
        let larger = EngineStats { blobs_octets: stats.blobs_octets + 1, ..stats };
        assert!(!collector.pays(&larger, u64::MAX));
        let needed = 3 * limits.freed_octets_min + limits.free_octets_min;
        assert!(collector.pays(&stats, needed));
        assert!(!collector.pays(&stats, needed - 1));
    }

    #[test]
    fn a_disk_that_is_low_is_no_reason_to_keep_deleted_content() {
        let limits = CollectLimits::default();
        let collector = Collector::new(limits);
        let stats = EngineStats { blobs_octets: limits.freed_octets_min * 5, ..EngineStats::default() };
        collector.note_freed(limits.freed_octets_min);
        let needed = 3 * limits.freed_octets_min + limits.free_octets_floor;
        assert!(needed < limits.free_octets_min);
        assert!(collector.pays(&stats, needed));
        assert!(!collector.pays(&stats, needed - 1));
        // Mail is taken, and would be refused during the run.
        assert!(!collector.pays(&stats, limits.free_octets_min));
    }
}

//! Decides whether new mail may be stored.

use crate::engine::EngineStats;
use std::fmt;
use std::time::Duration;

/// When new mail is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Refuse when less than this is free. The engine needs room for a journal of 64 MiB, its flushes and one
    /// compaction, so that it does not fail in the midst of a write.
    pub free_octets_min: u64,
    /// After that, take mail again when this much is free.
    pub free_octets_resume: u64,
    /// Refuse when more than this waits in memory for being written to tables.
    pub write_buffer_octets_max: u64,
    /// Refuse when more memory tables wait than this.
    pub outstanding_flushes_max: u64,
    /// Refuse when the journals take more than this: flushes do not keep up, or have stopped.
    pub journal_octets_max: u64,
    /// Refuse when one commit takes longer than this.
    pub commit_time_max: Duration,
}

const MIB: u64 = 1024 * 1024;

impl Default for Limits {
    fn default() -> Self {
        Self {
            free_octets_min: 512 * MIB,
            free_octets_resume: 768 * MIB,
            write_buffer_octets_max: 192 * MIB,
            outstanding_flushes_max: 8,
            journal_octets_max: 512 * MIB,
            commit_time_max: Duration::from_secs(20),
        }
    }
}

/// What is looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// From the engine.
    pub stats: EngineStats,
    /// Free octets of the file system.
    pub free_octets: u64,
    /// True when the committer stopped.
    pub stopped: bool,
    /// How long the present commit takes already.
    pub commit_running: Option<Duration>,
}

/// Why new mail is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The disk is nearly full.
    DiskLow,
    /// The engine does not keep up with what is written.
    Congested,
    /// A commit does not come back, or the journals only grow: the engine waits for itself. Only a restart
    /// of the process helps.
    Stuck,
    /// The committer stopped.
    Stopped,
}

/// Judges with hysteresis.
#[derive(Debug)]
pub struct Judge {
    limits: Limits,
    disk_low: bool,
}

impl Judge {
    /// A judge that begins by taking mail.
    pub fn new(limits: Limits) -> Self {
        Self { limits, disk_low: false }
    }

    /// Whether new mail has to be refused.
    pub fn judge(&mut self, reading: &Reading) -> Option<Refusal> {
        let limits = &self.limits;
        let enough = if self.disk_low { limits.free_octets_resume } else { limits.free_octets_min };
        self.disk_low = reading.free_octets < enough;
        let stats = &reading.stats;
        if reading.stopped || stats.poisoned {
            Some(Refusal::Stopped)
        } else if reading.commit_running.is_some_and(|running| running > limits.commit_time_max) {
            Some(Refusal::Stuck)
        } else if self.disk_low {
            Some(Refusal::DiskLow)
        } else if stats.write_buffer_octets > limits.write_buffer_octets_max
            || stats.outstanding_flushes > limits.outstanding_flushes_max
            || stats.journal_octets > limits.journal_octets_max
        {
            Some(Refusal::Congested)
        } else {
            None
        }
    }

    /// Whether the disk had room at the last reading.
    pub fn has_room(&self) -> bool {
        !self.disk_low
    }
}

impl Refusal {
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::DiskLow => 1,
            Self::Congested => 2,
            Self::Stuck => 3,
            Self::Stopped => 4,
        }
    }

    pub(super) const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::DiskLow),
            2 => Some(Self::Congested),
            3 => Some(Self::Stuck),
            4 => Some(Self::Stopped),
            _ => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DiskLow => "the disk is nearly full",
            Self::Congested => "the store does not keep up with what is written",
            Self::Stuck => "a write does not come back; restart the server",
            Self::Stopped => "the store takes no writes",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(free_octets: u64, stats: EngineStats) -> Reading {
        Reading { free_octets, stats, ..Reading::default() }
    }

    #[test]
    fn mail_is_refused_below_the_minimum_and_taken_again_only_with_more_room() {
        let limits = Limits::default();
        let mut judge = Judge::new(limits);
        let mut at = |free| judge.judge(&reading(free, EngineStats::default()));
        assert_eq!(at(limits.free_octets_min), None);
        assert_eq!(at(limits.free_octets_min - 1), Some(Refusal::DiskLow));
        assert_eq!(at(limits.free_octets_min), Some(Refusal::DiskLow));
        assert_eq!(at(limits.free_octets_resume - 1), Some(Refusal::DiskLow));
        assert_eq!(at(limits.free_octets_resume), None);
        assert_eq!(at(limits.free_octets_min), None);
    }

    #[test]
    fn mail_is_refused_beyond_each_bound_of_the_engine() {
        let limits = Limits::default();
        let mut judge = Judge::new(limits);
        let buffer = |write_buffer_octets| EngineStats { write_buffer_octets, ..EngineStats::default() };
        let flushes = |outstanding_flushes| EngineStats { outstanding_flushes, ..EngineStats::default() };
        let journal = |journal_octets| EngineStats { journal_octets, ..EngineStats::default() };
        for (good, bad) in [
            (buffer(limits.write_buffer_octets_max), buffer(limits.write_buffer_octets_max + 1)),
            (flushes(limits.outstanding_flushes_max), flushes(limits.outstanding_flushes_max + 1)),
            (journal(limits.journal_octets_max), journal(limits.journal_octets_max + 1)),
        ] {
            assert_eq!(judge.judge(&reading(u64::MAX, good)), None);
            assert_eq!(judge.judge(&reading(u64::MAX, bad)), Some(Refusal::Congested));
        }
        let running =
            |time| Reading { commit_running: Some(time), ..reading(u64::MAX, EngineStats::default()) };
        assert_eq!(judge.judge(&running(limits.commit_time_max)), None);
        let longer = limits.commit_time_max + Duration::from_micros(1);
        assert_eq!(judge.judge(&running(longer)), Some(Refusal::Stuck));
    }
}

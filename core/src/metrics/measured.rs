//! Figures that others keep, written when they are asked for: those of the store and of the shards.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use postrider_storage::committer::{
    LATENCY_BOUNDS_MICROSECONDS, MEMBER_BOUNDS, Metrics as Commits, SIZE_BOUNDS_OCTETS,
};
use postrider_storage::engine::EngineStats;

use super::registry::in_units;
use super::text::Text;
use crate::runtime::StatsSnapshot;

/// Microseconds in a second.
const MICROSECONDS: u64 = 1_000_000;

/// Writes what the committer counted.
pub fn write_commits(text: &mut Text, commits: &Commits) {
    let bounded =
        |bounds: &[u64], unit| bounds.iter().map(|bound| in_units(*bound, unit)).collect::<Vec<_>>();
    write_buckets(
        text,
        ("postrider_commit_duration_seconds", "Time of a commit with its sync."),
        &bounded(&LATENCY_BOUNDS_MICROSECONDS, MICROSECONDS),
        &commits.latency,
        in_units(commits.latency_sum.load(Relaxed), MICROSECONDS),
    );
    write_buckets(
        text,
        ("postrider_commit_size_bytes", "Size of a commit."),
        &bounded(&SIZE_BOUNDS_OCTETS, 1),
        &commits.group_octets,
        commits.octets.load(Relaxed).to_string(),
    );
    write_buckets(
        text,
        ("postrider_commit_batches", "Batches in a commit."),
        &bounded(&MEMBER_BOUNDS, 1),
        &commits.group_members,
        commits.members.load(Relaxed).to_string(),
    );
    let syncs = commits.groups_synced.load(Relaxed);
    text.counter("postrider_commit_syncs_total", "Commits that waited for the disk.", syncs);
    text.counter(
        "postrider_commit_failures_total",
        "Commits that failed; each stopped the store.",
        commits.stops.load(Relaxed),
    );
}

/// Writes how the store is.
pub fn write_store(text: &mut Text, stats: &EngineStats) {
    text.gauge("postrider_store_disk_bytes", "Disk space of the store.", stats.disk_octets);
    text.gauge("postrider_store_journal_bytes", "Disk space of its journals.", stats.journal_octets);
    text.gauge(
        "postrider_store_garbage_bytes",
        "Known disk space of deleted content that isn't free yet.",
        stats.blob_garbage_octets,
    );
    text.gauge("postrider_store_write_buffer_bytes", "Memory not yet in tables.", stats.write_buffer_octets);
    text.gauge("postrider_store_cache_bytes", "Memory of cached blocks.", stats.cache_octets);
    text.gauge("postrider_store_poisoned", "1 when the store takes no writes.", u8::from(stats.poisoned));
}

/// Writes what the shards measured about themselves.
pub fn write_shards(text: &mut Text, shards: &[StatsSnapshot]) {
    let sum = |field: fn(&StatsSnapshot) -> u64| shards.iter().map(field).sum::<u64>();
    let longest = shards.iter().map(|shard| shard.longest_stall).max().unwrap_or_default();
    text.counter(
        "postrider_stalls_total",
        "Times that a shard ran over 50 ms without a pause.",
        sum(|shard| shard.stalls),
    );
    text.gauge(
        "postrider_shard_longest_run_seconds",
        "The longest run of a task without a pause since the start.",
        longest.as_secs_f64(),
    );
    text.gauge("postrider_shard_tasks", "Tasks that are alive.", sum(|shard| shard.tasks));
    text.counter(
        "postrider_panic_total",
        "Tasks that ended because of a fault of the server.",
        sum(|shard| shard.panics),
    );
}

/// A histogram whose buckets are not cumulative yet.
fn write_buckets(
    text: &mut Text,
    (name, help): (&str, &str),
    bounds: &[String],
    buckets: &[AtomicU64],
    sum: String,
) {
    text.family(name, help, "histogram");
    let mut count = 0;
    let bounds = bounds.iter().map(String::as_str).chain(["+Inf"]);
    for (bound, bucket) in bounds.zip(buckets) {
        count += bucket.load(Relaxed);
        text.sample(name, "_bucket", &[("le", bound)], count);
    }
    text.sample(name, "_sum", &[], sum);
    text.sample(name, "_count", &[], count);
}

//! The simulation of `examples/simulation`, smaller.

#[path = "../examples/simulation/attempts.rs"]
mod attempts;
#[path = "../examples/simulation/engine.rs"]
mod engine;
#[path = "../examples/simulation/servers.rs"]
mod servers;
#[path = "../examples/simulation/world.rs"]
mod world;

use engine::{Engine, FROM_ONE_MAX, Options, SETTINGS, Summary};

fn run(messages: u32, domains: u32, seed: u64, shards: usize) -> Summary {
    let summary = Engine::new(Options { messages, domains, seed, shards }).run();
    // Tables are as large as their hashes happen to fall.
    Summary { schedule_octets_max: 0, ..summary }
}

/// Every message ends delivered or bounced once, limits hold, and times are those that are documented: the engine
/// asserts it at every step.
#[test]
fn every_message_ends_delivered_or_bounced_once() {
    let (messages, domains) = if cfg!(debug_assertions) { (20_000, 2_000) } else { (60_000, 10_000) };
    for (seed, shards) in [(1, 1), (2, 4)] {
        let summary = run(messages, domains, seed, shards);
        assert!(summary.recipients > u64::from(messages) && summary.ended < 14 * world::DAY);
        // Everything happened.
        for status in [
            "5.1.1", "5.1.2", "5.1.10", "5.2.1", "5.3.2", "5.4.1", "5.4.3", "5.4.4", "5.4.6", "5.7.5",
            "5.7.30",
        ] {
            assert!(summary.failed.contains_key(status), "{status}: {:?}", summary.failed);
        }
        for counter in [
            "DaneRequired",
            "TlsaFailed",
            "PlaintextFallback",
            "ignored badtls",
            "ignored badtlsa",
            "ignored mtastsmx",
            "unsupported nopolicy",
        ] {
            assert!(summary.counters.contains_key(counter), "{counter}: {:?}", summary.counters);
        }
        // Limits were reached, and each shard told others of it.
        assert_eq!((summary.sessions_max, summary.from_one_max), (SETTINGS.sessions_max, FROM_ONE_MAX));
        assert_eq!(summary.to_one_max, u32::from(SETTINGS.host_connections_max));
        assert_eq!(summary.calls > 0, shards > 1);
        assert!(summary.reused > 0 && summary.to_postmaster > 0 && summary.reports.contains_key("delayed"));
    }
}

#[test]
fn a_seed_decides_everything() {
    assert_eq!(run(1_500, 300, 7, 3), run(1_500, 300, 7, 3));
    assert_ne!(run(1_500, 300, 7, 3), run(1_500, 300, 8, 3));
}

/// A backlog for a domain that can't be reached ends as soon as a single message would.
#[test]
fn a_backlog_for_one_dead_domain_ends_in_time() {
    // Domain 70 refuses every connection: half of all messages, or more, are for it and the like.
    let summary = run(2_000, 71, 3, 1);
    assert!(summary.latest <= 3600, "{summary:?}");
}

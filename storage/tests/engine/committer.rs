//! The committer, on the engine in memory.

use postrider_storage::committer::{CommitError, Committer, Limits, Refused, Request, StopReason};
use postrider_storage::engine::memory::{Crash, Fault, MemoryEngine};
use postrider_storage::engine::{Batch, Durability, Engine, Space};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};

fn batch(number: u64) -> Batch {
    let mut batch = Batch::new();
    batch.insert(Space::Rows, number.to_be_bytes(), number.to_le_bytes());
    batch
}

fn start(limits: Limits) -> (Arc<MemoryEngine>, Committer) {
    let engine = Arc::new(MemoryEngine::new());
    let committer = Committer::start(engine.clone(), limits, |_| {}).unwrap();
    (engine, committer)
}

/// Holds the committer's thread in a completion, so that the queue fills; returns what lets it go on.
fn hold(committer: &Committer) -> mpsc::Sender<()> {
    let (release, held) = mpsc::channel::<()>();
    let (entered, inside) = mpsc::channel();
    let done = Box::new(move |_| {
        entered.send(()).unwrap();
        let _ = held.recv();
    });
    let request = Request { batch: batch(0), durability: Durability::Buffered, incarnation: None, done };
    assert!(committer.try_submit(request).is_ok());
    inside.recv().unwrap();
    release
}

type Outcomes = Arc<Mutex<Vec<(u64, Result<u64, CommitError>)>>>;

#[expect(clippy::result_large_err, reason = "it is the committer's own error")]
fn submit(
    committer: &Committer,
    number: u64,
    durability: Durability,
    outcomes: &Outcomes,
) -> Result<(), Refused> {
    let outcomes = Arc::clone(outcomes);
    let done = Box::new(move |outcome: Result<postrider_storage::committer::CommitInfo, CommitError>| {
        outcomes.lock().unwrap().push((number, outcome.map(|info| info.group)));
    });
    committer.try_submit(Request { batch: batch(number), durability, incarnation: None, done })
}

#[test]
fn what_waits_is_committed_together_and_acknowledged_in_order() {
    let (engine, committer) = start(Limits::default());
    let outcomes = Outcomes::default();
    let release = hold(&committer);
    for number in 1..=10 {
        let durability = if number == 4 { Durability::Synced } else { Durability::Buffered };
        assert!(submit(&committer, number, durability, &outcomes).is_ok());
    }
    release.send(()).unwrap();
    committer.commit_blocking(Batch::new(), Durability::Synced).unwrap();
    let outcomes = outcomes.lock().unwrap();
    let numbers: Vec<u64> = outcomes.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=10).collect::<Vec<_>>());
    assert!(outcomes.iter().all(|(_, group)| group.as_ref().is_ok_and(|&group| group == 2)));
    assert_eq!(engine.commits(), 2);
    assert_eq!(committer.metrics().members.load(Ordering::Relaxed), 12);
}

#[test]
fn the_queue_takes_up_to_its_bounds_and_tells_when_there_is_room() {
    let octets = batch(0).octets();
    let by_count = Limits { queue_members_max: 3, ..Limits::default() };
    let by_size = Limits { queue_octets_max: 3 * octets, ..Limits::default() };
    for limits in [by_count, by_size] {
        let (_engine, committer) = start(limits);
        let outcomes = Outcomes::default();
        let release = hold(&committer);
        for number in 1..=3 {
            assert!(submit(&committer, number, Durability::Synced, &outcomes).is_ok());
        }
        let refused = submit(&committer, 4, Durability::Synced, &outcomes);
        assert!(matches!(refused, Err(Refused::Busy(request)) if request.batch == batch(4)));
        let (tell, told) = mpsc::channel();
        committer.when_room(move || tell.send(()).unwrap());
        assert!(told.try_recv().is_err());
        release.send(()).unwrap();
        told.recv().unwrap();
        assert!(submit(&committer, 4, Durability::Synced, &outcomes).is_ok());
        drop(committer);
        assert!(outcomes.lock().unwrap().iter().map(|(number, _)| *number).eq(1..=4));
    }
}

#[test]
fn a_group_takes_up_to_its_bound() {
    let octets = batch(0).octets();
    for (bound, groups) in [(4 * octets, 1), (4 * octets - 1, 2)] {
        let (_engine, committer) = start(Limits { group_octets_max: bound, ..Limits::default() });
        let outcomes = Outcomes::default();
        let release = hold(&committer);
        for number in 1..=4 {
            assert!(submit(&committer, number, Durability::Synced, &outcomes).is_ok());
        }
        release.send(()).unwrap();
        let metrics = Arc::clone(committer.metrics());
        drop(committer);
        assert_eq!(metrics.groups.load(Ordering::Relaxed), 1 + groups);
    }
}

#[test]
fn a_batch_out_of_bounds_is_refused_without_harm_to_others() {
    let (_engine, committer) = start(Limits::default());
    let mut bad = Batch::new();
    bad.insert(Space::Rows, [], [1]);
    let refused = committer.commit_blocking(bad, Durability::Synced);
    assert!(matches!(refused, Err(CommitError::Bounds(_))));
    committer.commit_blocking(batch(1), Durability::Synced).unwrap();
}

#[test]
fn a_failed_commit_refuses_everything_that_waits_and_comes_later() {
    for fault in [Fault::Write, Fault::Sync, Fault::Full] {
        let engine = Arc::new(MemoryEngine::new());
        let stops = Arc::new(AtomicU64::new(0));
        let told = Arc::clone(&stops);
        let count = move |_: &StopReason| {
            told.fetch_add(1, Ordering::SeqCst);
        };
        let limits = Limits { group_octets_max: 1, ..Limits::default() };
        let committer = Committer::start(engine.clone(), limits, count).unwrap();
        committer.commit_blocking(batch(1), Durability::Synced).unwrap();
        let outcomes = Outcomes::default();
        let release = hold(&committer);
        engine.fail_commit(2, fault);
        for number in 2..=5 {
            assert!(submit(&committer, number, Durability::Synced, &outcomes).is_ok());
        }
        release.send(()).unwrap();
        while outcomes.lock().unwrap().len() < 4 {
            std::thread::yield_now();
        }
        let stopped = |outcome: &Result<u64, CommitError>| matches!(outcome, Err(CommitError::Stopped(_)));
        let refused: Vec<u64> =
            outcomes.lock().unwrap().iter().filter(|o| stopped(&o.1)).map(|o| o.0).collect();
        assert_eq!(refused, [3, 4, 5]);
        assert!(matches!(submit(&committer, 6, Durability::Synced, &outcomes), Err(Refused::Final(..))));
        assert_eq!(stops.load(Ordering::SeqCst), 1);

        if fault == Fault::Full {
            committer.reopen().unwrap();
            committer.commit_blocking(batch(7), Durability::Synced).unwrap();
        } else {
            assert!(committer.reopen().is_err());
            assert!(committer.stopped().is_some());
        }
        drop(committer);
        engine.crash(Crash::LoseUnsynced);
        let snapshot = engine.snapshot();
        assert!(snapshot.contains(Space::Rows, &2_u64.to_be_bytes()).unwrap());
        assert!(!snapshot.contains(Space::Rows, &4_u64.to_be_bytes()).unwrap());
    }
}

#[test]
fn work_that_began_before_the_store_was_reopened_is_refused() {
    let (engine, committer) = start(Limits::default());
    let first = committer.commit_blocking(batch(1), Durability::Buffered).unwrap();
    engine.fail_commit(1, Fault::Full);
    assert!(committer.commit_blocking(batch(2), Durability::Synced).is_err());
    committer.reopen().unwrap();
    let (tell, told) = mpsc::channel();
    let done = Box::new(move |outcome| tell.send(outcome).unwrap());
    let incarnation = Some(first.incarnation);
    let request = Request { batch: batch(3), durability: Durability::Synced, incarnation, done };
    assert!(committer.try_submit(request).is_ok());
    assert!(matches!(told.recv().unwrap(), Err(CommitError::Stale)));
}

#[test]
fn a_panicking_completion_does_not_end_the_committer() {
    let (_engine, committer) = start(Limits::default());
    let done = Box::new(|_| panic!("on purpose"));
    let request = Request { batch: batch(1), durability: Durability::Synced, incarnation: None, done };
    assert!(committer.try_submit(request).is_ok());
    committer.commit_blocking(batch(2), Durability::Synced).unwrap();
}

#[test]
fn who_waits_while_a_group_gathers_is_woken_in_the_end() {
    const WRITERS: u64 = 4;
    const EACH: u64 = 100;
    let (engine, committer) = start(Limits::default());
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let committer = &committer;
            scope.spawn(move || {
                for number in 0..EACH {
                    let written =
                        committer.commit_blocking(batch(writer * EACH + number), Durability::Synced);
                    assert!(written.is_ok());
                    // Alone for a moment, so that the thread sleeps without a group, too.
                    if number % 10 == writer {
                        std::thread::yield_now();
                    }
                }
            });
        }
    });
    assert_eq!(committer.metrics().members.load(Ordering::Relaxed), WRITERS * EACH);
    assert!(engine.commits() <= WRITERS * EACH);
}

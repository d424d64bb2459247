//! The engine on disk does what the model in memory does.

use crate::{all, small};
use postrider_storage::engine::fjall::FjallEngine;
use postrider_storage::engine::memory::MemoryEngine;
use postrider_storage::engine::{Batch, Durability, Engine, EngineError, Snapshot, Space};
use proptest::prelude::*;
use std::ops::Bound;
use std::time::{Duration, Instant};

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<(Space, Vec<u8>, Option<Vec<u8>>)>, Durability),
    TakeSnapshot,
    CheckSnapshot(usize),
    DropSnapshots,
    Range(Space, Bound<Vec<u8>>, Bound<Vec<u8>>),
    Prefix(Space, Vec<u8>),
    Compact(Space),
    Reopen,
    CloseAndOpen,
}

fn space() -> impl Strategy<Value = Space> {
    prop_oneof![Just(Space::Rows), Just(Space::Blobs)]
}

/// Few keys, so that they meet; some end in 0xff or are prefixes of others.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(0), Just(1), Just(0xfe), Just(0xff)], 1..6)
        .prop_filter("the engine's own key", |key| key[..] != [0, 0, 0])
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let bytes = |size| prop::collection::vec(any::<u8>(), size);
    let text = (1000_usize..9000, any::<u8>()).prop_map(|(length, octet)| vec![octet; length]);
    prop_oneof![bytes(0..40), bytes(1020..1030), text]
}

fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    prop_oneof![key().prop_map(Bound::Included), key().prop_map(Bound::Excluded), Just(Bound::Unbounded)]
}

fn step() -> impl Strategy<Value = Step> {
    let write = (space(), key(), prop::option::weighted(0.7, value()));
    let durability = prop_oneof![Just(Durability::Buffered), Just(Durability::Synced)];
    prop_oneof![
        8 => (prop::collection::vec(write, 0..12), durability).prop_map(|(w, d)| Step::Commit(w, d)),
        2 => Just(Step::TakeSnapshot),
        3 => any::<usize>().prop_map(Step::CheckSnapshot),
        1 => Just(Step::DropSnapshots),
        3 => (space(), bound(), bound()).prop_map(|(s, from, to)| Step::Range(s, from, to)),
        3 => (space(), key()).prop_map(|(s, key)| Step::Prefix(s, key)),
        1 => space().prop_map(Step::Compact),
        1 => Just(Step::Reopen),
        1 => Just(Step::CloseAndOpen),
    ]
}

fn collect(rows: postrider_storage::engine::Rows<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    rows.map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap()).collect()
}

fn same(disk: &dyn Snapshot, model: &dyn Snapshot) {
    for space in [Space::Rows, Space::Blobs] {
        let expected = all(model, space);
        assert_eq!(all(disk, space), expected);
        for (key, value) in &expected {
            assert_eq!(disk.get(space, key).unwrap().unwrap()[..], value[..]);
        }
    }
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    match bound {
        Bound::Included(key) => Bound::Included(key),
        Bound::Excluded(key) => Bound::Excluded(key),
        Bound::Unbounded => Bound::Unbounded,
    }
}

fn run(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let model = MemoryEngine::new();
    let mut disk = FjallEngine::open(small(dir.path())).unwrap();
    let mut snapshots: Vec<(Box<dyn Snapshot>, Box<dyn Snapshot>)> = Vec::new();
    for step in steps {
        match step {
            Step::Commit(writes, durability) => {
                let mut batch = Batch::new();
                for (space, key, value) in writes {
                    match value {
                        Some(value) => batch.insert(space, key, value),
                        None => batch.remove(space, key),
                    }
                }
                disk.commit(batch.clone(), durability).unwrap();
                model.commit(batch, durability).unwrap();
            }
            Step::TakeSnapshot => snapshots.push((disk.snapshot(), model.snapshot())),
            Step::CheckSnapshot(which) if !snapshots.is_empty() => {
                let (disk, model) = &snapshots[which % snapshots.len()];
                same(&**disk, &**model);
            }
            Step::CheckSnapshot(_) => {}
            Step::DropSnapshots => snapshots.clear(),
            Step::Range(space, from, to) => {
                let (disk, model) = (disk.snapshot(), model.snapshot());
                let (from, to) = (as_slice(&from), as_slice(&to));
                let expected = collect(model.range(space, from, to));
                assert_eq!(collect(disk.range(space, from, to)), expected);
                let mut back = collect(Box::new(disk.range(space, from, to).rev()));
                back.reverse();
                assert_eq!(back, expected);
            }
            Step::Prefix(space, prefix) => {
                let (disk, model) = (disk.snapshot(), model.snapshot());
                assert_eq!(collect(disk.prefix(space, &prefix)), collect(model.prefix(space, &prefix)));
            }
            Step::Compact(space) => disk.compact(space).unwrap(),
            Step::Reopen => {
                snapshots.clear();
                disk.reopen().unwrap();
            }
            Step::CloseAndOpen => {
                snapshots.clear();
                drop(disk);
                disk = FjallEngine::open(small(dir.path())).unwrap();
                assert!(disk.opened().cut.is_none());
            }
        }
    }
    same(&*disk.snapshot(), &*model.snapshot());
    snapshots.clear();
    drop(disk);
    same(&*FjallEngine::open(small(dir.path())).unwrap().snapshot(), &*model.snapshot());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_on_disk_does_what_the_model_does(steps in prop::collection::vec(step(), 1..60)) {
        run(steps);
    }
}

#[test]
fn the_engines_own_row_is_neither_shown_nor_taken() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FjallEngine::open(small(dir.path())).unwrap();
    let mut batch = Batch::new();
    batch.insert(Space::Rows, [0, 0, 1], [1]);
    disk.commit(batch, Durability::Synced).unwrap();
    assert_eq!(all(&*disk.snapshot(), Space::Rows).len(), 1);
    assert!(!disk.snapshot().contains(Space::Rows, &[0, 0, 0]).unwrap());
    let mut batch = Batch::new();
    batch.insert(Space::Rows, [0, 0, 0], [1]);
    assert!(matches!(disk.commit(batch, Durability::Synced), Err(EngineError::Bounds { .. })));
}

#[test]
fn a_second_opener_is_told_that_the_store_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let _disk = FjallEngine::open(small(dir.path())).unwrap();
    let second = FjallEngine::open(small(dir.path()));
    assert!(matches!(second.err(), Some(EngineError::Locked { .. })));
    let repair = postrider_storage::repair::repair(dir.path(), postrider_storage::repair::Force::No);
    assert!(matches!(repair.err(), Some(postrider_storage::repair::RepairError::Locked(_))));
}

#[test]
fn reading_an_old_snapshot_fails_once_reopening_began_and_reopening_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FjallEngine::open(small(dir.path())).unwrap();
    disk.commit(crate::message(1, b"x"), Durability::Synced).unwrap();
    let old = disk.snapshot();
    let before = disk.incarnation();
    std::thread::scope(|scope| {
        let reopening = scope.spawn(|| disk.reopen());
        while old.get(Space::Rows, b"k").is_ok() {
            std::thread::yield_now();
        }
        assert!(!reopening.is_finished());
        drop(old);
        reopening.join().unwrap().unwrap();
    });
    assert!(disk.incarnation() > before);
    assert!(crate::has_message(&*disk.snapshot(), 1));
}

#[test]
fn reads_may_wait_while_tables_are_put_in_place_and_not_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let options = small(dir.path());
    let disk = FjallEngine::open(options.clone()).unwrap();
    assert!(!disk.reads_may_wait(), "nothing was written");
    let commit = |number: u64| {
        let mut batch = Batch::new();
        batch.insert(Space::Rows, number.to_be_bytes(), vec![number as u8; 4096]);
        disk.commit(batch, Durability::Buffered).unwrap();
    };
    commit(0);
    assert!(!disk.reads_may_wait(), "the memory table has room");
    // Several memory tables, so that at least one isn't written before it is looked.
    let fill = 8 * options.rows_memtable_octets / 4096;
    let mut seen = false;
    for number in 1..=fill {
        commit(number);
        seen |= disk.reads_may_wait();
    }
    assert!(seen, "full memory tables were due");
    let deadline = Instant::now() + Duration::from_secs(60);
    while disk.reads_may_wait() {
        assert!(Instant::now() < deadline, "it doesn't settle");
        std::thread::sleep(Duration::from_millis(5));
    }
    // The memory table is a table now: nothing of it waits any more.
    assert_eq!(disk.stats().outstanding_flushes, 0);
    assert_eq!(all(&*disk.snapshot(), Space::Rows).len() as u64, fill + 1);
}

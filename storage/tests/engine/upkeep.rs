//! Collecting deleted content, the watchdog, and stores of several journals.

use crate::{Random, has_message, message, row_key, small};
use postrider_storage::committer::{CommitError, Committer, Limits as CommitterLimits};
use postrider_storage::engine::fjall::{FjallEngine, Options};
use postrider_storage::engine::memory::{Fault, MemoryEngine};
use postrider_storage::engine::{Batch, Durability, Engine, EngineError, Space};
use postrider_storage::maintenance::{CollectLimits, Collector, Limits, Refusal, Watchdog};
use postrider_storage::repair::{Force, RepairError, Verdict, inspect, repair};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[test]
fn the_space_of_deleted_content_comes_back_and_the_rest_stays() {
    const MESSAGES: u64 = 3000;
    let dir = tempfile::tempdir().unwrap();
    let options = || Options { blobs_memtable_octets: 2 * 1024 * 1024, ..Options::at(dir.path()) };
    let engine = FjallEngine::open(options()).unwrap();
    let mut random = Random(1);
    let content: Vec<u8> = (0..10_000).map(|_| random.next() as u8).collect();
    for first in (0..MESSAGES).step_by(50) {
        let mut group = Batch::new();
        (first..first + 50).for_each(|number| group.append(message(number, &content)));
        engine.commit(group, Durability::Buffered).unwrap();
    }
    let deleted = |number: u64| number.is_multiple_of(2);
    let mut group = Batch::new();
    for number in (0..MESSAGES).filter(|&number| deleted(number)) {
        group.remove(Space::Blobs, number.to_be_bytes());
        group.remove(Space::Rows, row_key(1, number));
        group.remove(Space::Rows, row_key(2, number));
    }
    engine.commit(group, Durability::Synced).unwrap();
    let collector = Collector::new(CollectLimits::default());
    collector.note_freed(MESSAGES / 2 * 10_000);
    let mut rounds = 0;
    let collected = collector.run(&engine, |_| rounds += 1).unwrap().unwrap();
    assert_eq!((collector.freed(), rounds), (0, collected.rounds));
    let live = MESSAGES / 2 * 10_000;
    let left = engine.stats().blobs_octets;
    assert!(left < live * 5 / 4, "{left} octets for {live} of content");
    drop(engine);
    let engine = FjallEngine::open(options()).unwrap();
    let snapshot = engine.snapshot();
    assert!((0..MESSAGES).all(|number| has_message(&*snapshot, number) != deleted(number)));
}

fn wait_until(what: &str, mut fact: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !fact() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_watchdog_refuses_mail_on_a_low_disk_and_reopens_a_full_store_when_there_is_room() {
    let engine = Arc::new(MemoryEngine::new());
    let start = || Arc::new(Committer::start(engine.clone(), CommitterLimits::default(), |_| {}).unwrap());
    let low = Limits { free_octets_min: u64::MAX, free_octets_resume: u64::MAX, ..Limits::default() };
    let watchdog = Watchdog::start(start(), Path::new("/"), low).unwrap();
    assert_eq!(watchdog.gate().admits(), Err(Refusal::DiskLow));
    drop(watchdog);

    let committer = start();
    let roomy = Limits { free_octets_min: 1, free_octets_resume: 1, ..Limits::default() };
    let watchdog = Watchdog::start(Arc::clone(&committer), Path::new("/"), roomy).unwrap();
    assert_eq!(watchdog.gate().admits(), Ok(()));
    engine.fail_commit(1, Fault::Full);
    let failed = committer.commit_blocking(message(1, b"x"), Durability::Synced);
    assert!(matches!(failed, Err(CommitError::Stopped(_))));
    wait_until("reopened", || committer.stopped().is_none());
    committer.commit_blocking(message(1, b"x"), Durability::Synced).unwrap();

    engine.fail_commit(1, Fault::Sync);
    committer.commit_blocking(message(2, b"x"), Durability::Synced).unwrap_err();
    wait_until("refused", || watchdog.gate().admits() == Err(Refusal::Stopped));
    std::thread::sleep(Duration::from_millis(1200));
    assert!(committer.stopped().is_some(), "a failed sync is for a restart only");
}

/// A store whose first journal is sealed but still needed.
fn two_journals(dir: &Path) -> u64 {
    let options = Options { blobs_memtable_octets: 512 * 1024 * 1024, ..small(dir) };
    let engine = FjallEngine::open(options).unwrap();
    let mut random = Random(2);
    let content: Vec<u8> = (0..250_000).map(|_| random.next() as u8).collect();
    let mut number = 0;
    while engine.stats().journal_count < 2 {
        number += 1;
        let mut batch = message(number, &content);
        for table in 3..60 {
            batch.insert(Space::Rows, row_key(table, number), [1; 60]);
        }
        engine.commit(batch, Durability::Synced).unwrap();
        assert!(number < 1000, "the journal was never rotated");
    }
    for _ in 0..3 {
        number += 1;
        engine.commit(message(number, &content), Durability::Synced).unwrap();
    }
    number
}

#[test]
fn damage_in_a_sealed_journal_needs_force_and_a_torn_end_of_the_newest_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let last = two_journals(dir.path());
    let found = inspect(dir.path()).unwrap();
    assert_eq!((found.verdict, found.journals.len()), (Verdict::Sound, 2));
    let newest = &found.journals[1];
    let end = newest.last.unwrap();
    let file = OpenOptions::new().write(true).open(&newest.path).unwrap();
    file.write_all_at(&[0; 8192], end.offset + 4096).unwrap();
    assert_eq!(inspect(dir.path()).unwrap().verdict, Verdict::TornTail);

    let sealed = OpenOptions::new().write(true).open(&found.journals[0].path).unwrap();
    let middle = found.journals[0].sound_to / 2;
    let mut before = [0; 4096];
    std::fs::File::open(&found.journals[0].path).unwrap().read_exact_at(&mut before, middle).unwrap();
    sealed.write_all_at(&[0; 4096], middle).unwrap();
    let refused = FjallEngine::open(small(dir.path())).err();
    assert!(matches!(refused, Some(EngineError::Corrupt { .. })), "{refused:?}");
    assert!(matches!(repair(dir.path(), Force::No), Err(RepairError::NeedsForce(_))));
    sealed.write_all_at(&before, middle).unwrap();

    let engine = FjallEngine::open(small(dir.path())).unwrap();
    assert_eq!(engine.opened().cut.as_ref().map(|cut| cut.offset), Some(end.offset));
    let snapshot = engine.snapshot();
    assert!((1..last).all(|number| has_message(&*snapshot, number)));
    assert!(!has_message(&*snapshot, last));
}

#[test]
fn the_journal_of_a_compressible_value_stays_the_same() {
    // Replaying compresses values again and compares checksums, so a new version of the compressor that
    // compresses otherwise could not open journals of the old one: empty the journal before such an upgrade.
    let dir = tempfile::tempdir().unwrap();
    let engine = FjallEngine::open(Options::at(dir.path())).unwrap();
    let text: Vec<u8> = (0..6000_u32)
        .flat_map(|line| format!("line {} of the text\r\n", line * 7919 % 1000).into_bytes())
        .collect();
    let mut batch = Batch::new();
    batch.insert(Space::Blobs, [1; 12], text);
    engine.commit(batch, Durability::Synced).unwrap();
    let journal = inspect(dir.path()).unwrap().journals[0].clone();
    let octets = std::fs::read(&journal.path).unwrap();
    let value = &octets[13 + (21 + 3 + 26) + (21 + 12)..journal.sound_to as usize - 13];
    let sum = value.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, &octet| {
        (sum ^ u64::from(octet)).wrapping_mul(0x100_0000_01b3)
    });
    assert_eq!((value.len(), sum), (5493, 318_802_885_295_085_986));
}

//! Failed syncs and full disks, made by a library that is loaded into a child process.

use crate::{child, has_message, message, small};
use postrider_storage::committer::{CommitError, Committer, Limits, StopReason};
use postrider_storage::engine::fjall::FjallEngine;
use postrider_storage::engine::{Durability, Engine};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Builds the library; none without a C compiler.
fn shim(dir: &Path) -> Option<PathBuf> {
    let library = dir.join("shim.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/shim.c");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status();
    match built {
        Ok(status) if status.success() => Some(library),
        Ok(status) => panic!("cc failed: {status}"),
        Err(error) => {
            postrider_testing::skip(format_args!("there is no C compiler ({error})"));
            None
        }
    }
}

fn run(name: &str) -> Option<tempfile::TempDir> {
    let dir = tempfile::tempdir().unwrap();
    let library = shim(dir.path())?;
    let mut command = child::command(name, dir.path());
    command.env("LD_PRELOAD", library).env("SHIM_DIR", dir.path());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("all facts hold"), "{text}");
    Some(dir)
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_until_the_process_starts_again() {
    let Some(dir) = run("failing::sync_fails_in_child") else { return };
    let store = FjallEngine::open(small(&dir.path().join("store"))).unwrap();
    assert!(store.opened().rewrote_journal, "the pages that failed to sync are written again");
    let snapshot = store.snapshot();
    assert!((1..=20).all(|number| has_message(&*snapshot, number)));
    // The one whose sync failed may be there or not, but not in part.
    has_message(&*snapshot, 21);
    assert!(!has_message(&*snapshot, 22));
    drop(snapshot);
    drop(store);
    assert!(!FjallEngine::open(small(&dir.path().join("store"))).unwrap().opened().rewrote_journal);
}

#[test]
#[ignore = "runs as a child of another test"]
fn sync_fails_in_child() {
    let Some(dir) = child::dir() else { return };
    let stops = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&stops);
    let engine = Arc::new(FjallEngine::open(small(&dir.join("store"))).unwrap());
    let count = move |_: &StopReason| {
        told.fetch_add(1, Ordering::SeqCst);
    };
    let committer = Committer::start(engine, Limits::default(), count).unwrap();
    for number in 1..=20 {
        committer.commit_blocking(message(number, &[7; 5000]), Durability::Synced).unwrap();
    }
    std::fs::write(dir.join("sync"), "").unwrap();
    let failed = committer.commit_blocking(message(21, &[8; 5000]), Durability::Synced);
    assert!(matches!(failed, Err(CommitError::Stopped(StopReason::Failed(_)))), "{failed:?}");
    // Syncs work again, which proves nothing about the pages that were lost.
    std::fs::remove_file(dir.join("sync")).unwrap();
    for _ in 0..3 {
        let refused = committer.commit_blocking(message(22, &[9; 5000]), Durability::Synced);
        assert!(matches!(refused, Err(CommitError::Stopped(StopReason::Failed(_)))));
        assert!(matches!(committer.reopen(), Err(CommitError::Stopped(StopReason::Failed(_)))));
    }
    assert_eq!(stops.load(Ordering::SeqCst), 1);
    // Reading goes on.
    assert!(has_message(&*committer.engine().snapshot(), 20));
    assert!(!has_message(&*committer.engine().snapshot(), 21));
    println!("all facts hold");
}

#[test]
fn after_a_full_disk_the_store_serves_again_in_the_same_process() {
    let Some(dir) = run("failing::disk_is_full_in_child") else { return };
    let store = FjallEngine::open(small(&dir.path().join("store"))).unwrap();
    let snapshot = store.snapshot();
    assert!((1..=20).chain([22]).all(|number| has_message(&*snapshot, number)));
}

#[test]
#[ignore = "runs as a child of another test"]
fn disk_is_full_in_child() {
    let Some(dir) = child::dir() else { return };
    let engine = Arc::new(FjallEngine::open(small(&dir.join("store"))).unwrap());
    let committer = Committer::start(engine, Limits::default(), |_| {}).unwrap();
    for number in 1..=20 {
        committer.commit_blocking(message(number, &[7; 5000]), Durability::Synced).unwrap();
    }
    std::fs::write(dir.join("write"), "").unwrap();
    let before = committer.engine().incarnation();
    let random: Vec<u8> = crate::Random(3).octets(60_000);
    let failed = committer.commit_blocking(message(21, &random), Durability::Synced);
    assert!(matches!(failed, Err(CommitError::Stopped(StopReason::Full))), "{failed:?}");
    assert!(has_message(&*committer.engine().snapshot(), 20), "reading goes on");
    std::fs::remove_file(dir.join("write")).unwrap();
    let refused = committer.commit_blocking(message(22, &[9; 5000]), Durability::Synced);
    assert!(matches!(refused, Err(CommitError::Stopped(StopReason::Full))));
    let after = committer.reopen().unwrap();
    assert!(after > before);
    let snapshot = committer.engine().snapshot();
    assert!((1..=20).all(|number| has_message(&*snapshot, number)));
    assert!(!has_message(&*snapshot, 21));
    committer.commit_blocking(message(22, &[9; 5000]), Durability::Synced).unwrap();
    println!("all facts hold");
}

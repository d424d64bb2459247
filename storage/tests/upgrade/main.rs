//! Stores of earlier formats, opened by this program: all that was in them is there. See `README.md`.
#![expect(clippy::unwrap_used, reason = "a failed test may panic")]

mod contents;
mod pack;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use postrider_storage::engine::fjall::{FjallEngine, Options};
use postrider_storage::engine::{Durability, Engine};
use postrider_storage::ids::QueueId;
use postrider_storage::queue;
use postrider_storage::reader::Reader;
use postrider_storage::store::Store;
use postrider_storage::verify::{Counts, verify};

/// A file beside this one.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/upgrade").join(name)
}

/// The store in a folder, converted.
fn open(path: &Path) -> Store {
    let engine: Arc<dyn Engine> = Arc::new(FjallEngine::open(Options::at(path)).unwrap());
    Store::open(engine).unwrap()
}

/// What a store counts that has nothing to be complained of.
fn counts(reader: Reader) -> Counts {
    let report = verify(reader, None, &mut |_| {}).unwrap();
    assert!(report.is_clean(), "{:#?}", report.violations);
    report.counts
}

/// Compares line by line, to tell the first that differs.
fn assert_same(found: &str, expected: &str) {
    for (number, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "line {}", number + 1);
    }
    assert_eq!(found.lines().count(), expected.lines().count(), "lines in all:\n{found}");
}

#[test]
fn format_2() {
    let dir = tempfile::tempdir().unwrap();
    pack::unpack(&std::fs::read(file("format-2.store.gz")).unwrap(), dir.path());
    let store = open(dir.path());
    let counted = counts(store.reader());
    let found = contents::text(&store.reader());
    // How `format-2.txt` is made: see README.md.
    if let Some(path) = std::env::var_os("POSTRIDER_CONTENTS") {
        std::fs::write(path, &found).unwrap();
    }
    assert_same(&found, &std::fs::read_to_string(file("format-2.txt")).unwrap());
    drop(store);

    // Once is enough; and an attempt that was under way when the process was killed ends as one that was cut off.
    let store = open(dir.path());
    assert_same(&contents::text(&store.reader()), &found);
    let released = queue::release_claims(&store.reader(), QueueId(0), 100).unwrap();
    assert_eq!(released.entries.len(), 1, "{:?}", released.entries);
    store.engine().commit(released.edit.batch, Durability::Synced).unwrap();
    assert_eq!(counts(store.reader()), counted);
    let (id, _) = released.entries[0];
    assert!(!queue::entry(&store.reader(), id).unwrap().unwrap().claimed);
}

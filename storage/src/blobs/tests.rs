#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use super::*;
use crate::engine::memory::MemoryEngine;
use crate::engine::{Durability, Engine};
use crate::store::Store;

fn store() -> Store {
    Store::open(Arc::new(MemoryEngine::new())).unwrap()
}

fn commit(store: &Store, batch: Batch) {
    store.engine().commit(batch, Durability::Synced).unwrap();
}

fn write(store: &Store, content: &[u8], piece: usize, sharing: Sharing) -> (Content, usize) {
    let mut writer = BlobWriter::new(store.new_blob(), u64::MAX);
    let mut streamed = 0;
    for bytes in content.chunks(piece) {
        if let Some(batch) = writer.push(bytes).unwrap() {
            streamed += 1;
            commit(store, batch);
        }
    }
    let finished = writer.finish(b"structure", sharing).unwrap();
    commit(store, finished.batch);
    (finished.content, streamed)
}

fn read(store: &Store, content: Content, range: Range<u64>) -> Vec<u8> {
    let mut reader = BlobReader::new(content, range);
    let mut octets = Vec::new();
    while let Some(piece) = reader.read(&store.reader()).unwrap() {
        assert!(piece.len() <= CHUNK_OCTETS && !piece.is_empty());
        octets.extend_from_slice(&piece);
    }
    assert_eq!(reader.left(), 0);
    octets
}

#[test]
fn contents_come_back_in_any_range_however_they_were_pushed() {
    let store = store();
    for size in [0, 1, CHUNK_OCTETS - 1, CHUNK_OCTETS, CHUNK_OCTETS + 1, 2 * CHUNK_OCTETS, 200_001] {
        let octets: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        for piece in [777, CHUNK_OCTETS, 1_000_000] {
            let (content, streamed) = write(&store, &octets, piece, Sharing::Several);
            assert_eq!(streamed > 0, size > CHUNK_OCTETS, "one chunk is not streamed");
            let row = store.reader().blob(content.blob).unwrap().unwrap();
            assert_eq!((row.size, row.chunks as usize), (size as u64, size.div_ceil(CHUNK_OCTETS)));
            assert_eq!(&*row.structure, b"structure");
            let all = size as u64;
            for range in [0..all, 0..u64::MAX, 1..all, 0..all / 2, all / 2..all, all..all, all + 1..all + 2] {
                let expected = &octets[(range.start.min(all) as usize)..(range.end.min(all) as usize)];
                assert_eq!(read(&store, content, range), expected);
            }
        }
    }
}

#[test]
fn sizes_are_refused_one_past_their_limit() {
    let mut writer = BlobWriter::new(BlobId(1), 10);
    assert!(writer.push(&[0; 10]).is_ok());
    assert!(matches!(writer.push(&[0]), Err(StoreError::Refused(Refusal::MessageTooLarge))));
    assert!(writer.abort().is_none(), "nothing was given out");
    let finish = |octets| BlobWriter::new(BlobId(1), 10).finish(&vec![0; octets], Sharing::One);
    assert!(finish(STRUCTURE_OCTETS_MAX).is_ok());
    let refused = finish(STRUCTURE_OCTETS_MAX + 1);
    assert!(matches!(refused, Err(StoreError::Refused(Refusal::StructureTooLarge))));
}

#[test]
fn recovery_and_collection_remove_what_nobody_took() {
    let store = store();
    let clean = |store: &Store| {
        let report = crate::verify::verify(store.reader(), None, &mut |_| {}).unwrap();
        assert!(report.is_clean(), "{:?}", report.violations);
        report.counts
    };
    // Cut off while it streamed in; complete, but no recipient was committed; given up in order.
    let mut cut = BlobWriter::new(store.new_blob(), u64::MAX);
    commit(&store, cut.push(&vec![0; 3 * CHUNK_OCTETS + 1]).unwrap().unwrap());
    write(&store, &vec![0; CHUNK_OCTETS + 1], 100, Sharing::Several);
    let mut aborted = BlobWriter::new(store.new_blob(), u64::MAX);
    commit(&store, aborted.push(&vec![0; CHUNK_OCTETS + 1]).unwrap().unwrap());
    commit(&store, aborted.abort().unwrap());
    assert_eq!(clean(&store).chunks, 6);

    let collected = collect(&store.reader(), BlobId(0), usize::MAX).unwrap();
    assert_eq!((collected.blobs, collected.chunks), (1, 1), "what is pending is left alone");
    commit(&store, collected.batch);
    let batches = recover_pending(&store.reader(), 1).unwrap();
    assert_eq!(batches.len(), 2);
    for batch in batches {
        commit(&store, batch);
    }
    clean(&store);
    let first = collect(&store.reader(), BlobId(0), 1).unwrap();
    assert_eq!((first.blobs, first.chunks), (1, 3), "one at least, then no more");
    commit(&store, first.batch);
    let second = collect(&store.reader(), first.next.unwrap(), 1).unwrap();
    assert_eq!((second.blobs, second.chunks, second.next), (1, 2, None));
    commit(&store, second.batch);
    let counts = clean(&store);
    assert_eq!((counts.blobs, counts.chunks, counts.blobs_to_collect), (0, 0, 0));
}

#[test]
fn a_use_that_ends_while_the_collector_looks_is_not_forgotten() {
    let store = store();
    let (content, _) = write(&store, b"shared", 100, Sharing::Several);
    commit(&store, settle(content.blob));
    let uses = [(1, 10), (2, 20)];
    for (owner, user) in uses {
        let mut batch = Batch::new();
        batch.insert(Space::Rows, keys::blob_ref(content.blob, owner, user), MARK);
        commit(&store, batch);
    }
    let end = |(owner, user)| {
        let mut batch = Batch::new();
        batch.remove(Space::Rows, keys::blob_ref(content.blob, owner, user));
        batch.insert(Space::Rows, keys::blob_gc(content.blob, owner, user), MARK);
        commit(&store, batch);
    };
    end(uses[0]);
    // It sees the other use, which ends before its batch is committed.
    let looked = collect(&store.reader(), BlobId(0), usize::MAX).unwrap();
    assert_eq!((looked.blobs, looked.next), (0, None));
    end(uses[1]);
    commit(&store, looked.batch);
    let collected = collect(&store.reader(), BlobId(0), usize::MAX).unwrap();
    assert_eq!((collected.blobs, collected.chunks), (1, 1));
    commit(&store, collected.batch);
    let report = crate::verify::verify(store.reader(), None, &mut |_| {}).unwrap();
    assert!(report.is_clean(), "{:?}", report.violations);
    assert_eq!((report.counts.blobs, report.counts.chunks, report.counts.blobs_to_collect), (0, 0, 0));
}

#[test]
fn to_do_rows_of_earlier_versions_are_right_and_collected() {
    let store = store();
    let (content, _) = write(&store, b"shared", 100, Sharing::Several);
    let mut batch = settle(content.blob);
    batch.insert(Space::Rows, keys::blob_gcs(content.blob), MARK);
    commit(&store, batch);
    let verified = || crate::verify::verify(store.reader(), None, &mut |_| {}).unwrap();
    assert!(verified().is_clean(), "{:?}", verified().violations);
    assert_eq!(verified().counts.blobs_to_collect, 1);
    let collected = collect(&store.reader(), BlobId(0), usize::MAX).unwrap();
    assert_eq!((collected.blobs, collected.chunks, collected.next), (1, 1, None));
    commit(&store, collected.batch);
    assert_eq!((verified().counts.blobs, verified().counts.blobs_to_collect), (0, 0));
    // Neither of one version nor of the other.
    let mut batch = Batch::new();
    batch.insert(Space::Rows, [&keys::blob_gcs(content.blob)[..], &[0; 4]].concat(), MARK);
    commit(&store, batch);
    assert_eq!(verified().violation_count, 1);
}

#[test]
fn several_uses_that_ended_are_one_content_to_collect() {
    let store = store();
    let (content, _) = write(&store, b"shared", 100, Sharing::Several);
    commit(&store, abandon(content.blob));
    let mut batch = Batch::new();
    for owner in 1..=3 {
        batch.insert(Space::Rows, keys::blob_gc(content.blob, owner, 1), MARK);
    }
    commit(&store, batch);
    let collected = collect(&store.reader(), BlobId(0), 1).unwrap();
    assert_eq!((collected.blobs, collected.chunks, collected.next), (1, 1, None));
    commit(&store, collected.batch);
    let report = crate::verify::verify(store.reader(), None, &mut |_| {}).unwrap();
    assert_eq!((report.counts.blobs, report.counts.blobs_to_collect), (0, 0));
}

#[test]
fn ids_are_never_given_out_twice_even_when_the_clock_goes_back() {
    let engine = Arc::new(MemoryEngine::new());
    let store = Store::open(Arc::clone(&engine) as Arc<dyn Engine>).unwrap();
    let ids: Vec<_> = (0..1000).map(|_| store.new_blob().0).collect();
    assert!(ids.is_sorted_by(|a, b| a < b));
    // A content from the future, as after a clock that was wrong.
    let future = BlobId(u64::MAX / 2);
    let mut writer = BlobWriter::new(future, u64::MAX);
    commit(&store, writer.push(&vec![0; CHUNK_OCTETS + 1]).unwrap().unwrap());
    let store = Store::open(engine).unwrap();
    assert!(store.new_blob() > future && store.new_queue_id().0 > future.0 + 1);
}

#[test]
fn a_store_of_a_newer_format_is_refused_with_advice() {
    let engine = Arc::new(MemoryEngine::new());
    Store::open(Arc::clone(&engine) as Arc<dyn Engine>).unwrap();
    Store::open(Arc::clone(&engine) as Arc<dyn Engine>).unwrap();
    let mut batch = Batch::new();
    let newer = crate::rows::FormatRow { format: crate::store::FORMAT + 1, converting: 0 };
    batch.insert(Space::Rows, keys::format(), newer.encode());
    engine.commit(batch, Durability::Synced).unwrap();
    let error = Store::open(Arc::clone(&engine) as Arc<dyn Engine>).err().unwrap().to_string();
    assert!(error.contains("format 4") && error.contains("up to 3") && error.contains("install"), "{error}");
    let mut batch = Batch::new();
    batch.remove(Space::Rows, keys::format());
    batch.insert(Space::Rows, [1, 2, 3], [4]);
    engine.commit(batch, Durability::Synced).unwrap();
    assert!(Store::open(engine).is_err(), "rows without a format");
}

/// The writes that end a use of a content, committed.
fn let_go_of(store: &Store, blob: BlobId, used: (u32, u64)) {
    let mut batch = Batch::new();
    let_go(&store.reader(), &mut batch, blob, used).unwrap();
    commit(store, batch);
}

fn used_by(store: &Store, blob: BlobId, uses: &[(u32, u64)]) {
    let mut batch = Batch::new();
    for (owner, user) in uses {
        batch.insert(Space::Rows, keys::blob_ref(blob, *owner, *user), MARK);
    }
    commit(store, batch);
}

/// Contents, chunks, and contents to collect.
fn left(store: &Store) -> (u64, u64, u64) {
    let report = crate::verify::verify(store.reader(), None, &mut |_| {}).unwrap();
    (report.counts.blobs, report.counts.chunks, report.counts.blobs_to_collect)
}

#[test]
fn the_last_use_takes_its_content_along() {
    let store = store();
    for (chunks, after) in [(0, (0, 0, 0)), (1, (0, 0, 0)), (16, (0, 0, 0)), (17, (1, 17, 1))] {
        let (content, _) = write(&store, &vec![b'x'; chunks * CHUNK_OCTETS], CHUNK_OCTETS, Sharing::One);
        used_by(&store, content.blob, &[(SYSTEM, 7)]);
        let_go_of(&store, content.blob, (SYSTEM, 7));
        assert_eq!(left(&store), after, "{chunks} chunks");
    }
}

#[test]
fn what_others_use_or_may_use_yet_is_left_to_the_collector() {
    let store = store();
    let (content, _) = write(&store, b"shared", 100, Sharing::One);
    used_by(&store, content.blob, &[(SYSTEM, 7), (3, 8)]);
    let_go_of(&store, content.blob, (SYSTEM, 7));
    assert_eq!(left(&store), (1, 1, 1));
    // Both end at the same time: none sees that it is the last one.
    used_by(&store, content.blob, &[(SYSTEM, 7)]);
    let reader = store.reader();
    for used in [(SYSTEM, 7), (3, 8)] {
        let mut batch = Batch::new();
        let_go(&reader, &mut batch, content.blob, used).unwrap();
        commit(&store, batch);
    }
    assert_eq!(left(&store), (1, 1, 2), "each use left a row");
    let collected = collect(&store.reader(), BlobId(0), usize::MAX).unwrap();
    assert_eq!((collected.blobs, collected.chunks), (1, 1));
    commit(&store, collected.batch);
    assert_eq!(left(&store), (0, 0, 0));
    // Its other recipients are still being written.
    let (content, _) = write(&store, b"shared", 100, Sharing::Several);
    used_by(&store, content.blob, &[(SYSTEM, 7)]);
    let_go_of(&store, content.blob, (SYSTEM, 7));
    assert_eq!(left(&store), (1, 1, 2), "it is still being taken, and then looked at");
}

#[test]
fn a_to_do_row_of_a_content_that_went_at_once_is_no_harm() {
    let store = store();
    let (content, _) = write(&store, b"shared", 100, Sharing::One);
    used_by(&store, content.blob, &[(SYSTEM, 7), (SYSTEM, 8)]);
    let_go_of(&store, content.blob, (SYSTEM, 7));
    let_go_of(&store, content.blob, (SYSTEM, 8));
    let report = crate::verify::verify(store.reader(), None, &mut |_| {}).unwrap();
    assert!(report.is_clean(), "{:?}", report.violations);
    assert_eq!((report.counts.blobs, report.counts.chunks), (0, 0));
    let collected = collect(&store.reader(), BlobId(0), usize::MAX).unwrap();
    assert_eq!((collected.chunks, collected.octets, collected.next), (0, 0, None));
    commit(&store, collected.batch);
    assert_eq!(left(&store), (0, 0, 0));
}

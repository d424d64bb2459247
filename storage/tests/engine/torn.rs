//! What power loss does to the end of the journal, and what damage does elsewhere.

use crate::{Random, has_message, message, open};
use postrider_storage::engine::fjall::{FjallEngine, Options, TornTail};
use postrider_storage::engine::{Durability, Engine, EngineError};
use postrider_storage::repair::{Force, RepairError, Verdict, inspect, repair};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const PAGE: u64 = 4096;

/// A store at the moment of power loss.
struct Scene {
    dir: tempfile::TempDir,
    /// Messages up to here were acknowledged as synced.
    acknowledged: u64,
    /// Messages up to here were written.
    written: u64,
    /// Where the acknowledged part of the journal ends.
    safe_to: u64,
    /// Where the journal ends.
    end: u64,
}

impl Scene {
    /// `acknowledged` synced messages, then `buffered` ones, then one whose sync is under way.
    fn new(random: &mut Random, acknowledged: u64, buffered: u64) -> Self {
        let live = tempfile::tempdir().unwrap();
        let store = open(live.path());
        let mut number = 0;
        let mut write = |durability, random: &mut Random| {
            number += 1;
            let length = random.below(25_000) as usize;
            store.commit(message(number, &random.octets(length)), durability).unwrap();
            inspect(live.path()).unwrap().journals[0].sound_to
        };
        let mut safe_to = 0;
        for _ in 0..acknowledged {
            safe_to = write(Durability::Synced, random);
        }
        for _ in 0..buffered {
            write(Durability::Buffered, random);
        }
        let end = write(Durability::Synced, random);
        let dir = tempfile::tempdir().unwrap();
        copy(live.path(), dir.path());
        Self { dir, acknowledged, written: number, safe_to, end }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn journal(&self) -> PathBuf {
        inspect(self.path()).unwrap().journals[0].path.clone()
    }

    /// Zeroes what a lost page takes with it: all of it behind the acknowledged part.
    fn lose_page(&self, page: u64) {
        let from = (page * PAGE).max(self.safe_to);
        let to = ((page + 1) * PAGE).min(self.end);
        self.overwrite(from, &vec![0; (to - from) as usize]);
    }

    fn overwrite(&self, at: u64, octets: &[u8]) {
        OpenOptions::new().write(true).open(self.journal()).unwrap().write_all_at(octets, at).unwrap();
    }

    fn flip(&self, at: u64) {
        let mut octet = [0];
        File::open(self.journal()).unwrap().read_exact_at(&mut octet, at).unwrap();
        self.overwrite(at, &[octet[0] ^ 0x10]);
    }

    /// Everything acknowledged is there, and of the rest a beginning.
    fn check(&self, store: &FjallEngine) -> u64 {
        let snapshot = store.snapshot();
        let there = (1..=self.written).take_while(|&number| has_message(&*snapshot, number)).count() as u64;
        assert!(there >= self.acknowledged, "{there} of {} acknowledged are left", self.acknowledged);
        assert!((there + 1..=self.written).all(|number| !has_message(&*snapshot, number)));
        there
    }

    /// The store takes and keeps new messages.
    fn goes_on(self, store: FjallEngine) {
        let number = self.written + 1;
        store.commit(message(number, b"after the repair"), Durability::Synced).unwrap();
        drop(store);
        let store = open(self.path());
        assert!(store.opened().cut.is_none());
        assert!(has_message(&*store.snapshot(), number));
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else if target.extension().is_some_and(|ext| ext == "jnl") {
            // The journal is 64 MiB of holes: copy what is written, and the length.
            let written = inspect(from).unwrap().journals[0].written_to;
            let (source, copy) = (File::open(entry.path()).unwrap(), File::create(&target).unwrap());
            let mut octets = vec![0; written as usize];
            source.read_exact_at(&mut octets, 0).unwrap();
            copy.write_all_at(&octets, 0).unwrap();
            copy.set_len(source.metadata().unwrap().len()).unwrap();
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}

#[test]
fn any_pages_lost_of_what_was_never_synced_leave_everything_acknowledged() {
    let mut random = Random(42);
    let mut cuts = 0;
    for round in 0..60 {
        let (acknowledged, buffered) = (1 + random.below(5), random.below(4));
        let scene = Scene::new(&mut random, acknowledged, buffered);
        let (first, last) = (scene.safe_to / PAGE, (scene.end - 1) / PAGE);
        let mut lost = 0;
        for page in first..=last {
            if random.below(2) == 0 {
                scene.lose_page(page);
                lost += 1;
            }
        }
        if random.below(4) == 0 {
            // The length of a journal that is not pre-sized is lost, too.
            let length = scene.safe_to + random.below(scene.end - scene.safe_to);
            OpenOptions::new().write(true).open(scene.journal()).unwrap().set_len(length).unwrap();
            lost += 1;
        }
        let store = FjallEngine::open(Options::at(scene.path()))
            .unwrap_or_else(|error| panic!("round {round}, {lost} pages of {first}..={last} lost: {error}"));
        let there = scene.check(&store);
        if let Some(cut) = &store.opened().cut {
            cuts += 1;
            assert!(cut.offset >= scene.safe_to);
            assert_eq!(std::fs::metadata(&cut.copy).unwrap().len(), cut.octets);
        } else {
            assert!(lost == 0 || there == scene.acknowledged || there == scene.written);
        }
        scene.goes_on(store);
    }
    assert!(cuts > 20, "the test tears too little: {cuts}");
}

#[test]
fn a_torn_tail_is_left_alone_when_asked_and_the_command_cuts_it() {
    let mut random = Random(5);
    let scene = Scene::new(&mut random, 3, 2);
    scene.overwrite(scene.safe_to, &[0; 16]);
    scene.lose_page(scene.safe_to / PAGE);
    let careful = || Options { torn_tail: TornTail::Refuse, ..Options::at(scene.path()) };
    assert!(matches!(FjallEngine::open(careful()).err(), Some(EngineError::Corrupt { .. })));
    let (found, cuts) = repair(scene.path(), Force::No).unwrap();
    assert_eq!((found.verdict, cuts.len()), (Verdict::TornTail, 1));
    assert_eq!(cuts[0].offset, scene.safe_to);
    assert_eq!(cuts[0].octets, scene.end - scene.safe_to);
    let store = FjallEngine::open(careful()).unwrap();
    assert_eq!(scene.check(&store), scene.acknowledged);
}

#[test]
fn a_changed_octet_at_the_end_needs_the_command_and_one_before_whole_batches_needs_force() {
    for seed in 0..12 {
        let mut random = Random(seed);
        let buffered = seed % 2;
        let scene = Scene::new(&mut random, 3, buffered);
        let tail = inspect(scene.path()).unwrap();
        assert_eq!(tail.verdict, Verdict::Sound);
        // An octet of the first batch that was not acknowledged, in its items.
        scene.flip(scene.safe_to + 14);
        let refused = FjallEngine::open(Options::at(scene.path()));
        assert!(matches!(refused.err(), Some(EngineError::Corrupt { .. })));
        if buffered == 0 {
            let (found, cuts) = repair(scene.path(), Force::No).unwrap();
            assert_eq!((found.verdict, cuts.len()), (Verdict::DamagedTail, 1));
        } else {
            let refused = repair(scene.path(), Force::No).err();
            let Some(RepairError::NeedsForce(cut)) = refused else { panic!("{refused:?}") };
            assert_eq!((cut.offset, cut.whole_batches.len()), (scene.safe_to, 1));
            repair(scene.path(), Force::Yes).unwrap();
        }
        let store = open(scene.path());
        assert_eq!(scene.check(&store), scene.acknowledged);
        scene.goes_on(store);
    }
}

#[test]
fn lost_pages_that_had_been_synced_are_never_cut_silently() {
    let mut random = Random(9);
    let mut tried = 0;
    while tried < 12 {
        let scene = Scene::new(&mut random, 6, 0);
        let spans = scene.safe_to / PAGE;
        if spans < 4 {
            continue;
        }
        tried += 1;
        // Whole pages well before the end of what was synced.
        let page = random.below(spans - 2);
        scene.overwrite(page * PAGE, &[0; PAGE as usize]);
        let inspection = inspect(scene.path()).unwrap();
        let proven = inspection.verdict == Verdict::Damaged;
        let last = inspection.journals[0].last.map_or(0, |batch| batch.end);
        assert!(proven, "page {page}, sound to {last} of {}: {inspection}", scene.safe_to);
        assert!(matches!(
            FjallEngine::open(Options::at(scene.path())).err(),
            Some(EngineError::Corrupt { .. })
        ));
        assert!(matches!(repair(scene.path(), Force::No).err(), Some(RepairError::NeedsForce(_))));
    }
}

#[test]
fn content_that_looks_like_a_batch_is_not_taken_for_one() {
    // A sender may put octets of a whole batch, of another store, into a message.
    let other = tempfile::tempdir().unwrap();
    let store = open(other.path());
    for number in 1..=10 {
        store.commit(message(number, b"forged"), Durability::Synced).unwrap();
    }
    let journal = inspect(other.path()).unwrap().journals[0].clone();
    let last = journal.last.unwrap();
    let forged = std::fs::read(&journal.path).unwrap()[last.offset as usize..last.end as usize].to_vec();
    drop(store);

    let live = tempfile::tempdir().unwrap();
    let store = open(live.path());
    store.commit(message(1, b"first"), Durability::Synced).unwrap();
    let safe_to = inspect(live.path()).unwrap().journals[0].sound_to;
    // Below 4 KiB the journal does not compress it.
    let mut random = Random(11);
    let mut content: Vec<u8> = (0..3000).map(|_| random.next() as u8).collect();
    content.extend(&forged);
    store.commit(message(2, &content), Durability::Synced).unwrap();
    let dir = tempfile::tempdir().unwrap();
    copy(live.path(), dir.path());
    let journal = inspect(dir.path()).unwrap().journals[0].clone();
    let file = OpenOptions::new().write(true).open(&journal.path).unwrap();
    file.write_all_at(&[0; 600], safe_to).unwrap();
    assert_eq!(inspect(dir.path()).unwrap().verdict, Verdict::TornTail);
    let store = open(dir.path());
    assert!(has_message(&*store.snapshot(), 1));
    assert!(!has_message(&*store.snapshot(), 2));
}

#![expect(clippy::unwrap_used, reason = "tests")]

use std::ops::Bound;
use std::sync::Arc;

use postrider_delivery::schedule::{Command, Notice, Schedule, Settings};
use postrider_storage::account::Content;
use postrider_storage::engine::memory::MemoryEngine;
use postrider_storage::engine::{Batch, Bytes, Durability, Engine, Rows, Snapshot, Space};
use postrider_storage::error::EngineError;
use postrider_storage::ids::{AccountId, BlobId};
use postrider_storage::keys;
use postrider_storage::queue::{HoldRules, NewQueued, NewRecipient, domain_hash};
use postrider_storage::store::Store;

use super::*;

const NOW: i64 = 1000;

struct World {
    engine: Arc<MemoryEngine>,
    store: Store,
}

impl World {
    fn new() -> Self {
        let engine = Arc::new(MemoryEngine::new());
        let store = Store::open(Arc::clone(&engine) as Arc<dyn Engine>).unwrap();
        Self { engine, store }
    }

    /// An entry of an account.
    fn add(&self, account: u32, due: i64) -> QueueId {
        let to = vec![NewRecipient::new("r@there.example")];
        let queued = NewQueued {
            sender: AccountId::new(account),
            ..NewQueued::new(Content { blob: BlobId(1), size: 1 }, due, to)
        };
        let rules = HoldRules::load(&self.store.reader()).unwrap();
        let enqueued = queue::enqueue(|| self.store.new_queue_id(), queued, &rules).unwrap();
        self.engine.commit(enqueued.edit.batch, Durability::Synced).unwrap();
        enqueued.entries[0].id
    }

    fn damage(&self, key: keys::Key) {
        let mut batch = Batch::new();
        batch.insert(Space::Rows, key, b"?".to_vec());
        self.engine.commit(batch, Durability::Synced).unwrap();
    }

    fn find(&self, wanted: &Wanted) -> Found {
        wanted.find(&self.store.reader()).unwrap()
    }
}

/// A turn with these to come first.
fn wanted(first: &[QueueId]) -> Wanted {
    let domain = domain_hash("there.example");
    let mut schedule = Schedule::new(Settings::DEFAULT);
    schedule.notify(Notice { domain, due: 0, entry: None }, 0);
    let Some(Command::Start(turn)) = schedule.poll(0) else { panic!() };
    Wanted {
        turn: Turn { first: first.iter().map(|id| id.0).collect(), ..turn },
        from: Scheduled::start(domain),
        now: NOW,
        backoff: Backoff::MESSAGES,
        strays: Vec::new(),
        used_up: Vec::new(),
    }
}

fn claimed(found: &Found) -> Vec<QueueId> {
    found.claimed.iter().map(|(id, _)| *id).collect()
}

fn left(found: &Found) -> Option<QueueId> {
    found.left.map(|left| left.id)
}

#[test]
fn one_that_is_damaged_is_passed_over_whichever_row_it_is() {
    let world = World::new();
    let ids: Vec<QueueId> = (0..4).map(|due| world.add(1, due)).collect();
    world.damage(keys::queue(ids[0]));
    world.damage(keys::queue_recipient(ids[2], 0));
    let found = world.find(&wanted(&[]));
    assert_eq!((claimed(&found), left(&found)), (vec![ids[1], ids[3]], None));
    assert_eq!(found.damaged, [ids[0], ids[2]]);
    // As one that comes first, and where accounts share.
    let mut wanted = wanted(&[ids[2], ids[0]]);
    wanted.used_up = vec![7];
    let later = world.add(7, 4);
    let found = world.find(&wanted);
    assert_eq!((claimed(&found), left(&found)), (vec![ids[1], ids[3]], Some(later)));
    assert_eq!((found.damaged, found.waits_for_share), (vec![ids[0], ids[2]], true));
}

#[test]
fn more_that_are_damaged_than_one_turn_or_page_has_hide_nothing() {
    let world = World::new();
    let most = wanted(&[]).turn.entries_max;
    let damaged: Vec<QueueId> = (0..3 * CANDIDATES * most).map(|_| world.add(1, 0)).collect();
    damaged.iter().for_each(|id| world.damage(keys::queue_recipient(*id, 0)));
    let whole = world.add(1, NOW);
    let mut wanted = wanted(&[]);
    let found = world.find(&wanted);
    assert_eq!((claimed(&found), left(&found), found.damaged.len()), (vec![whole], None, damaged.len()));
    // Once that is known, nothing is left that is due.
    wanted.strays = damaged;
    let later = world.add(1, NOW + 1);
    wanted.strays.push(whole);
    let found = world.find(&wanted);
    assert!(found.claimed.is_empty() && found.damaged.is_empty());
    assert_eq!(left(&found), Some(later));
}

#[test]
fn what_is_left_is_the_first_that_can_be_claimed() {
    let world = World::new();
    let most = wanted(&[]).turn.entries_max;
    let first = world.add(1, 0);
    let ids: Vec<QueueId> = (1..=most as i64 + 1).map(|due| world.add(1, due)).collect();
    world.damage(keys::queue(first));
    let found = world.find(&wanted(&[]));
    assert_eq!((claimed(&found), found.damaged.as_slice()), (ids[..most].to_vec(), &[first][..]));
    assert_eq!(left(&found), Some(ids[most]));
}

/// A snapshot of which one row can't be read from the disk.
struct Torn {
    inner: Box<dyn Snapshot>,
    key: keys::Key,
}

impl Snapshot for Torn {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        if key == self.key {
            return Err(EngineError::Corrupt { what: "a block".to_owned() });
        }
        self.inner.get(space, key)
    }

    fn range<'a>(&'a self, space: Space, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Rows<'a> {
        self.inner.range(space, from, to)
    }
}

#[test]
fn a_disk_that_fails_fails_the_claim() {
    let world = World::new();
    let ids = [world.add(1, 0), world.add(1, 1)];
    let mut wanted = wanted(&[]);
    for used_up in [vec![], vec![7]] {
        wanted.used_up = used_up;
        for key in [keys::queue(ids[1]), keys::queue_recipient(ids[1], 0)] {
            let reader = Reader::new(Box::new(Torn { inner: world.engine.snapshot(), key }));
            assert!(matches!(wanted.find(&reader), Err(StoreError::Engine(_))));
        }
    }
}

#[test]
fn so_many_pages_of_accounts_that_have_their_share_are_passed_and_no_more() {
    let world = World::new();
    let mut wanted = wanted(&[]);
    wanted.used_up = vec![7];
    let page = CANDIDATES * wanted.turn.entries_max;
    let ids: Vec<QueueId> = (0..page * (PAGES_PASSED_MAX + 1) - 1).map(|_| world.add(7, 0)).collect();
    let other = world.add(1, 1);
    let found = world.find(&wanted);
    assert_eq!((claimed(&found), left(&found)), (vec![other], Some(ids[0])), "the last of the last page");
    world.add(7, 0);
    let found = world.find(&wanted);
    assert_eq!((claimed(&found), left(&found)), (Vec::new(), Some(ids[0])), "one behind it");
    assert!(found.waits_for_share);
}

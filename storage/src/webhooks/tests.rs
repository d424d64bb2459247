//! Calls of webhooks. Every commit of these tests is followed by a check of all invariants.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use super::*;
use crate::directory::WebhookEvent;
use crate::engine::memory::MemoryEngine;
use crate::engine::{Durability, Engine};
use crate::ids::{AccountId, EmailId, QueueId};
use crate::queue::Bounds;
use crate::rows::HookResult;
use crate::store::Store;
use crate::verify::verify;

struct World {
    engine: Arc<MemoryEngine>,
    store: Store,
}

fn world() -> World {
    let engine = Arc::new(MemoryEngine::new());
    let store = Store::open(Arc::clone(&engine) as Arc<dyn Engine>).unwrap();
    World { engine, store }
}

impl World {
    fn reader(&self) -> Reader {
        self.store.reader()
    }

    fn commit(&self, work: impl FnOnce(&mut Batch)) {
        let mut batch = Batch::new();
        work(&mut batch);
        self.engine.commit(batch, Durability::Synced).unwrap();
        let report = verify(self.reader(), None, &mut |_| {}).unwrap();
        assert!(report.is_clean(), "{:#?}", report.violations);
    }

    fn add(&self, row: &HookRow) -> HookId {
        let id = self.store.new_hook_id();
        self.commit(|batch| {
            assert_eq!(
                add(batch, id, row).unwrap(),
                ScheduledHook { url: url_hash(&row.url), due: row.due, id }
            );
        });
        id
    }

    fn due(&self, url: &str, now: i64) -> DueHook {
        match next(&self.reader(), url_hash(url), now).unwrap() {
            Next::Due(due) => *due,
            other => panic!("{other:?}"),
        }
    }
}

const A: &str = "https://a.example/";
const B: &str = "https://b.example/";

fn row(url: &str, due: i64, subject: HookSubject) -> HookRow {
    HookRow {
        account: AccountId::new(1).unwrap(),
        subject,
        created: 100,
        due,
        attempts: 0,
        url: url.into(),
        payload: b"{}".as_slice().into(),
        results: Vec::new(),
    }
}

fn outgoing(event: WebhookEvent, recipient: &str) -> HookSubject {
    HookSubject::Outgoing { event, base: QueueId(7), recipient: recipient_hash(recipient) }
}

const INCOMING: HookSubject = HookSubject::Incoming { email: EmailId(3) };

#[test]
fn urls_are_found_by_one_seek_each_and_calls_in_the_order_of_their_time() {
    let world = world();
    let mut ids = Vec::new();
    for number in 0..200 {
        ids.push(world.add(&row(A, 300 - number, INCOMING)));
    }
    let b = world.add(&row(B, 5, INCOMING));
    let found: Vec<_> = waiting(&world.reader(), 0..=u64::MAX).map(Result::unwrap).collect();
    let mut expected = vec![
        ScheduledHook { url: url_hash(A), due: 101, id: ids[199] },
        ScheduledHook { url: url_hash(B), due: 5, id: b },
    ];
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(next(&world.reader(), url_hash(A), 100).unwrap(), Next::Later(101));
    assert_eq!(next(&world.reader(), 1, 100).unwrap(), Next::Nothing);
    assert_eq!(world.due(A, 101).id, ids[199]);
    assert_eq!(first(&world.reader(), url_hash(B)).unwrap().map(|first| first.id), Some(b));
}

#[test]
fn a_later_call_about_the_same_supersedes() {
    let world = world();
    let delayed = row(A, 10, outgoing(WebhookEvent::Delayed, "X@y.example"));
    let first = world.add(&delayed);
    let elsewhere = world.add(&row(B, 10, outgoing(WebhookEvent::Delayed, "x@y.example")));
    let other = world.add(&row(A, 500, outgoing(WebhookEvent::Delayed, "z@y.example")));
    let last = world.add(&row(A, 20, outgoing(WebhookEvent::Delivered, "x@y.example")));
    // Whoever is about to make the first sees that there is a later one.
    assert_eq!(world.due(A, 20).id, first);
    assert_eq!(world.due(A, 20).newer, Some(last));
    assert_eq!(world.due(B, 20).newer, Some(last));
    assert_eq!(newer(&world.reader(), first, &delayed).unwrap(), Some(last));
    // Whoever is about to make the last sees earlier ones of the same URL, wherever they are in the schedule.
    let later = HookRow { due: 400, ..delayed.clone() };
    world.commit(|batch| {
        replace(batch, first, &delayed, &later).unwrap();
    });
    let due = world.due(A, 20);
    assert_eq!((due.id, due.newer, due.older), (last, None, vec![(first, later.clone())]));
    world.commit(|batch| {
        let ending = Ending { end: HookEnd::Superseded(last), now: 21, until: Some(1000) };
        end(batch, first, &later, later.clone(), ending).unwrap();
    });
    assert_eq!(hook(&world.reader(), first).unwrap(), None);
    let page = retired(&world.reader(), &HookFilter::default(), None, Bounds::default()).unwrap();
    let [(until, id, retired)] = &page.hooks[..] else { panic!("{page:?}") };
    assert_eq!((*until, *id, retired.end, retired.ended), (1000, first, HookEnd::Superseded(last), 21));
    assert_eq!(retired.hook, later);
    for (id, kept) in [(elsewhere, true), (other, true), (last, true)] {
        assert_eq!(hook(&world.reader(), id).unwrap().is_some(), kept);
    }
}

#[test]
fn lists_have_filters_and_pages() {
    let world = world();
    let two = AccountId::new(2).unwrap();
    let a = world.add(&row(A, 30, outgoing(WebhookEvent::Failed, "x@y.example")));
    let b = world.add(&row(B, 20, INCOMING));
    let c = world.add(&HookRow { account: two, created: 900, ..row(A, 10, INCOMING) });
    let d = world.add(&row(B, 50, INCOMING));
    let ids = |filter: HookFilter| -> Vec<HookId> {
        let bounds = Bounds { entries_max: 1, rows_max: 1 };
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let page = list(&world.reader(), &filter, cursor.as_ref(), bounds).unwrap();
            found.extend(page.hooks.iter().map(|hook| hook.id));
            cursor = page.next;
            if cursor.is_none() {
                return found;
            }
        }
    };
    let all = HookFilter::default;
    assert_eq!(ids(all()), [a, b, c, d]);
    assert_eq!(ids(HookFilter { account: Some(two), ..all() }), [c]);
    assert_eq!(ids(HookFilter { url: Some(A.to_owned()), ..all() }), [c, a], "by time");
    assert_eq!(ids(HookFilter { kind: Some("incoming".to_owned()), ..all() }), [b, c, d]);
    assert_eq!(ids(HookFilter { kind: Some("failed".to_owned()), ..all() }), [a]);
    assert_eq!(ids(HookFilter { from: Some(500), ..all() }), [c]);
    assert_eq!(
        ids(HookFilter { url: Some(B.to_owned()), kind: Some("incoming".to_owned()), ..all() }),
        [b, d]
    );
    let chosen = HookFilter { ids: Some(vec![c, HookId(1), a]), ..all() };
    let page = list(&world.reader(), &chosen, None, Bounds::default()).unwrap();
    assert_eq!(page.hooks.iter().map(|hook| hook.id).collect::<Vec<_>>(), [c, a]);
}

#[test]
fn what_is_old_is_found_by_a_look_at_it_and_one_more() {
    let world = world();
    let add = |url, created| world.add(&HookRow { created, ..row(url, 500, INCOMING) });
    let [a, b] = [add(A, 100), add(B, 100)];
    // A clock that was wrong is passed over, one call that is younger is the end.
    let wrong = add(A, 9_000);
    let c = add(A, 199);
    add(B, 200);
    add(A, 100);
    let found = |after, rows_max| old(&world.reader(), after, (200, 300), rows_max).unwrap();
    let all = vec![(a, url_hash(A)), (b, url_hash(B)), (c, url_hash(A))];
    assert_eq!(found(None, 10), OldHooks { hooks: all.clone(), next: None });
    assert_eq!(found(None, 2), OldHooks { hooks: all[..2].to_vec(), next: Some(b) });
    assert_eq!(found(Some(b), 1), OldHooks { hooks: Vec::new(), next: Some(wrong) });
    assert_eq!(found(Some(wrong), 1), OldHooks { hooks: all[2..].to_vec(), next: Some(c) });
    assert_eq!(found(Some(c), 1), OldHooks::default());
    assert_eq!(old(&world.reader(), None, (100, 300), 10).unwrap(), OldHooks::default());
}

#[test]
fn what_ended_is_forgotten_in_time() {
    let world = world();
    for until in [10, 20, 30] {
        let row = row(A, 5, INCOMING);
        let id = world.add(&row);
        let ending = Ending { end: HookEnd::Delivered, now: 6, until: Some(until) };
        world.commit(|batch| end(batch, id, &row, row.clone(), ending).unwrap());
    }
    let (batch, count) = purge_retired(&world.reader(), 20, 1).unwrap();
    assert_eq!((batch.len(), count), (1, 1));
    let (batch, count) = purge_retired(&world.reader(), 20, 10).unwrap();
    assert_eq!(count, 2);
    world.commit(|into| into.append(batch));
    let page = retired(&world.reader(), &HookFilter::default(), None, Bounds::default()).unwrap();
    assert_eq!(page.hooks.len(), 1);
    let row = row(A, 5, INCOMING);
    let id = world.add(&row);
    world.commit(|batch| {
        end(batch, id, &row, row.clone(), Ending { end: HookEnd::Failed, now: 6, until: None }).unwrap()
    });
    let page = retired(&world.reader(), &HookFilter::default(), None, Bounds::default()).unwrap();
    assert_eq!(page.hooks.len(), 1, "nobody wants to know");
}

#[test]
fn the_last_results_are_kept_and_rows_are_bounded() {
    let mut row = row(A, 5, INCOMING);
    for number in 0..HookRow::RESULTS_MAX as i64 + 3 {
        row.note(HookResult::new(number, 1, 500, &"e".repeat(600), &"\u{e9}".repeat(600)));
    }
    assert_eq!(row.results.len(), HookRow::RESULTS_MAX);
    assert_eq!((row.results[0].time, row.results[0].response().len()), (3, HookResult::RESPONSE_OCTETS_MAX));
    row.payload = vec![b'x'; HookRow::PAYLOAD_OCTETS_MAX].into();
    assert_eq!(HookRow::decode(&row.encode().unwrap()).unwrap(), row);
    row.payload = vec![b'x'; HookRow::PAYLOAD_OCTETS_MAX + 1].into();
    assert_eq!(row.encode(), None);
}

#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, mpsc};

use postrider_storage::engine::memory::MemoryEngine;
use postrider_storage::engine::{Batch, Space};
use postrider_storage::keys;
use postrider_storage::queue::{Scheduled, domain_hash, shard_of};
use postrider_storage::rows::QueueRow;

use super::*;
use crate::control::protocol::{Answer, QueueChange, QueueFilter, Request, Secret};
use crate::runtime::ShardId;
use crate::testing::{TestServer, wait_until};

const LATER: i64 = 2_000_000_000;
const MESSAGE: &str = "Subject: x\r\n\r\nx\r\n";

fn row(server: &TestServer, id: QueueId) -> Option<QueueRow> {
    queue::entry(&server.shared.store.reader(), id).unwrap()
}

fn claim(server: &TestServer, id: QueueId) {
    let times = Attempt { now: unix_now(), next: LATER + 1 };
    let claimed = queue::claim(&server.shared.store.reader(), id, times).unwrap().unwrap();
    server.shared.committer.commit_blocking(claimed.edit.batch, Durability::Synced).unwrap();
}

/// Has something done on the shard that owns the domain.
fn on_owner(server: &TestServer, work: impl FnOnce(Rc<Shard>) + Send + 'static) {
    let owner = shard_of(domain_hash("null.example"), server.shared.shards.len());
    server.at_home(server.account("anna").unwrap(), move |home| {
        Box::pin(async move { assert!(home.send(ShardId(owner), Box::new(work)).await.is_ok()) })
    });
}

/// Tells the shard that owns the domain. Of one that was cut off with attempts left, the end was sent.
fn lose(server: &TestServer, id: QueueId, stray: Stray) {
    on_owner(server, move |owner| {
        if let Stray::CutOff { attempts_max: 5 } = stray {
            owner.deliveries.ends.slot().note((id, 1)).unwrap();
        }
        owner.deliveries.strays.add([id], stray);
    });
}

fn start() -> TestServer {
    let script = "$ORIGIN example.\nnull MX 0 .\n";
    let server = TestServer::delivering(Arc::new(MemoryEngine::new()), script, |config| {
        config.delivery.routes.clear();
    });
    server.ok(&Request::DomainAdd { domain: "example.org".to_owned(), disabled: false });
    server.ok(&Request::AccountAdd {
        account: "anna".to_owned(),
        address: "anna@example.org".to_owned(),
        password: Secret("a password".to_owned()),
        quota: None,
    });
    server
}

#[test]
fn claimed_entries_that_nobody_has_are_set_right() {
    let server = start();
    let add = || server.enqueue("anna", MESSAGE, &["b@null.example"], LATER)[0];

    // One that isn't claimed stays as it is.
    let waits = add();
    lose(&server, waits, Stray::Untried);
    for (stray, held) in [
        (Stray::CutOff { attempts_max: 5 }, Held::No),
        (Stray::CutOff { attempts_max: 1 }, Held::Operator),
        (Stray::Endless, Held::Operator),
    ] {
        let id = add();
        claim(&server, id);
        lose(&server, id, stray);
        wait_until(|| !row(&server, id).unwrap().claimed);
        let row = row(&server, id).unwrap();
        assert_eq!((row.attempts, row.due, row.held), (1, LATER + 1, held), "{stray:?}");
        assert!(row.last_error.is_some());
    }
    let duplicates = server.shared.metrics.queue.possible_duplicates;
    wait_until(|| server.shared.registry.counter(duplicates) == 1);

    // One that was not tried has its turn, and its domain takes no mail.
    let untried = add();
    claim(&server, untried);
    lose(&server, untried, Stray::Untried);
    wait_until(|| row(&server, untried).is_none());
    assert_eq!(row(&server, waits).unwrap().due, LATER);

    // So does one of which it wasn't known whether it was claimed, and that wasn't.
    let unclaimed = server.enqueue("anna", MESSAGE, &["b@null.example"], 1)[0];
    lose(&server, unclaimed, Stray::Untried);
    wait_until(|| row(&server, unclaimed).is_none());
}

#[test]
fn a_damaged_entry_is_told_of_and_looked_at_again_and_others_go_on_at_once() {
    const HOUR: Duration = Duration::from_secs(60 * 60);
    let server = start();
    let add = || server.enqueue("anna", MESSAGE, &["b@null.example"], LATER)[0];
    let pauses = |pauses| on_owner(&server, move |owner| owner.deliveries.strays.pauses.set(pauses));
    let damaged_count = || server.shared.registry.gauge(server.shared.metrics.queue.damaged);
    let write = |rows: Vec<(QueueId, Option<Vec<u8>>)>| {
        let mut batch = Batch::new();
        for (id, value) in rows {
            let key = keys::queue(id);
            match value {
                Some(value) => batch.insert(Space::Rows, key, value),
                None => batch.remove(Space::Rows, key),
            }
        }
        server.shared.committer.commit_blocking(batch, Durability::Synced).unwrap();
    };

    // It is set right once it can be read.
    pauses((Duration::from_millis(1), Duration::from_millis(20)));
    let id = add();
    claim(&server, id);
    let whole = server.shared.store.reader().get(&keys::queue(id)).unwrap().unwrap();
    write(vec![(id, Some(b"?".to_vec()))]);
    lose(&server, id, Stray::Endless);
    wait_until(|| damaged_count() == 1);
    // Whoever finds it once more doesn't count it once more.
    lose(&server, id, Stray::Endless);
    write(vec![(id, Some(whole.to_vec()))]);
    wait_until(|| row(&server, id).unwrap().held == Held::Operator);
    wait_until(|| damaged_count() == 0);

    // More of them than one edit takes, before all others, and not looked at again while this runs.
    pauses((HOUR, HOUR));
    let made_up: Vec<QueueId> = (1..).map(QueueId).take(2 * STEP).collect();
    let many = i64::try_from(made_up.len()).unwrap();
    assert!(made_up.iter().all(|one| *one < id));
    write(made_up.iter().map(|id| (*id, Some(b"?".to_vec()))).collect());
    let these = made_up.clone();
    on_owner(&server, move |owner| owner.deliveries.strays.add(these, Stray::Untried));
    wait_until(|| damaged_count() == many);
    for stray in [Stray::Endless, Stray::CutOff { attempts_max: 1 }] {
        let other = add();
        claim(&server, other);
        lose(&server, other, stray);
        wait_until(|| row(&server, other).unwrap().held == Held::Operator);
    }
    assert_eq!(damaged_count(), many);
    write(made_up.iter().map(|id| (*id, None)).collect());
}

#[test]
fn a_damaged_entry_that_is_due_holds_up_no_other_of_its_domain() {
    let server = start();
    on_owner(&server, |owner| {
        owner.deliveries.strays.pauses.set((Duration::from_millis(1), Duration::from_millis(20)));
    });
    let add = || {
        let id = server.enqueue("anna", MESSAGE, &["b@null.example"], 1)[0];
        (id, Scheduled::of(id, &row(&server, id).unwrap()))
    };
    let tell = |place| on_owner(&server, move |owner| owner.deliveries.notify(place, 0));
    let damaged_count = || server.shared.registry.gauge(server.shared.metrics.queue.damaged);
    let write = |rows: &[(keys::Key, Vec<u8>)]| {
        let mut batch = Batch::new();
        rows.iter().for_each(|(key, value)| batch.insert(Space::Rows, key.clone(), value.clone()));
        server.shared.committer.commit_blocking(batch, Durability::Synced).unwrap();
    };
    let ((damaged, _), (also, _)) = (add(), add());
    let whole = [keys::queue(damaged), keys::queue_recipient(also, 0)].map(|key| {
        let value = server.shared.store.reader().get(&key).unwrap().unwrap();
        (key, value.to_vec())
    });
    write(&whole.clone().map(|(key, _)| (key, b"?".to_vec())));

    // Those behind them go at once, and those that come later.
    for _ in 0..2 {
        let (other, place) = add();
        tell(place);
        wait_until(|| row(&server, other).is_none());
        wait_until(|| damaged_count() == 2);
        // The domain has nothing to do until there is more.
        wait_until(|| {
            let (told, domains) = mpsc::channel();
            on_owner(&server, move |owner| {
                told.send(owner.deliveries.schedule.borrow().domains()).unwrap();
            });
            domains.recv().unwrap() == 0
        });
    }

    // They have their turn once they can be read.
    write(&whole);
    wait_until(|| row(&server, damaged).is_none() && row(&server, also).is_none());
    wait_until(|| damaged_count() == 0);
}

#[test]
fn a_damaged_entry_that_is_dropped_is_no_stray_any_more() {
    const HOUR: Duration = Duration::from_secs(60 * 60);
    let server = start();
    // By itself none is looked at again.
    on_owner(&server, |owner| owner.deliveries.strays.pauses.set((HOUR, HOUR)));
    let damaged_count = || server.shared.registry.gauge(server.shared.metrics.queue.damaged);
    let add = || server.enqueue("anna", MESSAGE, &["b@null.example"], 1)[0];
    let places = [add(), add(), add()].map(|id| Scheduled::of(id, &row(&server, id).unwrap()));
    // The last one was under way.
    claim(&server, places[2].id);
    let mut batch = Batch::new();
    for key in [keys::queue(places[0].id), keys::queue_recipient(places[1].id, 0), keys::queue(places[2].id)]
    {
        batch.insert(Space::Rows, key, b"?".to_vec());
    }
    server.shared.committer.commit_blocking(batch, Durability::Synced).unwrap();
    on_owner(&server, move |owner| owner.deliveries.notify(places[0], 0));
    lose(&server, places[2].id, Stray::Endless);
    wait_until(|| damaged_count() == 3);
    for (number, place) in (0..).zip(places) {
        assert_eq!(damaged_count(), 3 - number);
        let ids = vec![place.id.0.to_string()];
        let filter = Box::new(QueueFilter { ids, ..QueueFilter::default() });
        let (_, answer) = server.ok(&Request::QueueChange { filter, change: QueueChange::Drop });
        assert!(matches!(answer, Answer::QueueChanged { entries: 1, damaged: 0, .. }), "{answer:?}");
    }
    // The metric says so at once, and the queue is empty.
    assert_eq!(damaged_count(), 0);
    assert_eq!(server.shared.queue_counts.get(), queue::Delta::default());
    server.verify();
    let (told, strays) = mpsc::channel();
    on_owner(&server, move |owner| told.send(owner.deliveries.strays.ids()).unwrap());
    assert_eq!(strays.recv().unwrap(), []);
}

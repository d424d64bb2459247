#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use postrider_storage::engine::memory::MemoryEngine;
use postrider_storage::engine::{Batch, Space};
use postrider_storage::queue::{Attempt, domain_hash, shard_of};
use postrider_storage::rows::QueueRow;

use super::*;
use crate::control::protocol::{Request, Secret};
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

/// Tells the shard that owns the domain. Of one that was cut off with attempts left, the end was sent.
fn lose(server: &TestServer, id: QueueId, stray: Stray) {
    let owner = shard_of(domain_hash("null.example"), server.shared.shards.len());
    server.at_home(server.account("anna").unwrap(), move |home| {
        Box::pin(async move {
            let tell = Box::new(move |owner: Rc<Shard>| {
                if let Stray::CutOff { attempts_max: 5 } = stray {
                    owner.deliveries.ends.slot().note((id, 1)).unwrap();
                }
                owner.deliveries.strays.add([id], stray);
            });
            assert!(home.send(ShardId(owner), tell).await.is_ok());
        })
    });
}

#[test]
fn claimed_entries_that_nobody_has_are_set_right() {
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

    // One whose row can't be read keeps no other from being set right.
    let (damaged, other) = (add(), add());
    claim(&server, other);
    let key = postrider_storage::keys::queue(damaged);
    let whole = server.shared.store.reader().get(&key).unwrap().unwrap();
    let write = |value: &[u8]| {
        let mut batch = Batch::new();
        batch.insert(Space::Rows, key.clone(), value.to_vec());
        server.shared.committer.commit_blocking(batch, Durability::Synced).unwrap();
    };
    write(b"?");
    lose(&server, damaged, Stray::Endless);
    lose(&server, other, Stray::Endless);
    wait_until(|| row(&server, other).unwrap().held == Held::Operator);
    write(&whole);
}

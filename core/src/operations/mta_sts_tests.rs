//! What operators see of kept policies of MTA-STS, and that a forgotten one is forgotten by all.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, mpsc};
use std::time::Duration;

use futures_lite::future::poll_once;
use postrider_proto::address::Domain;
use postrider_storage::committer::{Refused, Request as Commit};
use postrider_storage::engine::memory::MemoryEngine;
use postrider_storage::engine::{Batch, Durability};
use postrider_storage::ids::AccountId;
use postrider_storage::mta_sts;
use postrider_storage::rows;

use crate::clock::unix_now;
use crate::control::protocol::{Answer, FailureKind, MtaStsRow, Request};
use crate::delivery::keep_policy;
use crate::runtime::spawn;
use crate::testing::TestServer;

const POLICY: &str =
    "version: STSv1\r\nmode: enforce\r\nmx: mx.remote.example\r\nmx: *.remote.example\r\nmax_age: 86400\r\n";

pub(super) fn row(valid_until: i64) -> rows::MtaStsRow {
    rows::MtaStsRow {
        inserted: 7,
        valid_until,
        updated: 1000,
        used: 2000,
        backoff: false,
        record_id: "20260101".into(),
        policy: POLICY.into(),
    }
}

fn failed(now: i64) -> rows::MtaStsRow {
    rows::MtaStsRow {
        valid_until: now + 200,
        updated: now - 100,
        backoff: true,
        policy: Box::default(),
        ..row(0)
    }
}

pub(super) fn keep(server: &TestServer, rows: &[(&str, rows::MtaStsRow)]) {
    let mut batch = Batch::new();
    for (domain, row) in rows {
        mta_sts::put(&mut batch, domain, row).unwrap();
    }
    server.shared.committer.commit_blocking(batch, Durability::Synced).unwrap();
}

fn list(
    server: &TestServer,
    domain: Option<&str>,
    cursor: Option<&str>,
    limit: u32,
) -> (Vec<MtaStsRow>, Option<String>) {
    let (domain, cursor) = (domain.map(str::to_owned), cursor.map(str::to_owned));
    let (rows, answer) = server.ok(&Request::MtaStsList { domain, cursor, limit: Some(limit) });
    let Answer::Page { next } = answer else { panic!("{answer:?}") };
    (rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), next)
}

fn forget(domain: &str) -> Request {
    Request::MtaStsForget { domain: domain.to_owned() }
}

#[test]
fn what_is_kept_is_told_with_what_it_is_worth() {
    let (server, now) = (TestServer::start(), unix_now());
    keep(&server, &[("a.example", row(now + 500)), ("b.example", row(now - 1)), ("c.example", failed(now))]);
    let valid = list(&server, Some("A.example"), None, 10).0.pop().unwrap();
    assert_eq!((valid.domain.as_str(), valid.id.as_str(), valid.valid), ("a.example", "20260101", true));
    assert_eq!((valid.mode.as_deref(), valid.max_age), (Some("enforce"), Some(86400)));
    assert_eq!(valid.mx, ["mx.remote.example", "*.remote.example"]);
    assert_eq!((valid.fetched, valid.valid_until), (Some(1000), Some(now + 500)));
    assert_eq!((valid.policy.as_deref(), valid.failed, valid.waits_until), (Some(POLICY), None, None));
    let expired = list(&server, Some("b.example"), None, 10).0.pop().unwrap();
    assert_eq!((expired.valid, expired.valid_until), (false, Some(now - 1)));
    assert_eq!(expired.mode.as_deref(), Some("enforce"));
    let failed = list(&server, Some("c.example"), None, 10).0.pop().unwrap();
    assert_eq!((failed.valid, failed.mode, failed.policy, failed.fetched), (false, None, None, None));
    assert_eq!((failed.failed, failed.waits_until), (Some(now - 100), Some(now + 200)));

    let request =
        |domain: &str| Request::MtaStsList { domain: Some(domain.to_owned()), cursor: None, limit: None };
    let (kind, message) = server.fails(&request("d.example"));
    assert!(kind == FailureKind::NotFound && message.contains("no policy of d.example is kept"), "{message}");
    assert_eq!(server.fails(&request("d..example")).0, FailureKind::Invalid);
}

#[test]
fn what_is_kept_is_listed_by_pages() {
    let (server, now) = (TestServer::start(), unix_now());
    let names = ["a.example", "b.example", "c.example", "d.example", "e.example"];
    keep(&server, &names.map(|name| (name, row(now + 500))));
    let domains = |(rows, next): (Vec<MtaStsRow>, Option<String>)| {
        (rows.into_iter().map(|row| row.domain).collect::<Vec<_>>(), next)
    };
    assert_eq!(domains(list(&server, None, None, 100)), (names.map(str::to_owned).to_vec(), None));
    let (first, next) = domains(list(&server, None, None, 3));
    assert_eq!((&*first, next.as_deref()), (&names.map(str::to_owned)[..3], Some("d.example")));
    let (rest, end) = domains(list(&server, None, next.as_deref(), 2));
    assert_eq!((&*rest, end), (&names.map(str::to_owned)[3..], None));
    // A removed one is a place to go on from, too.
    assert_eq!(domains(list(&server, None, Some("dd.example"), 3)).0, ["e.example"]);
    let wrong = Request::MtaStsList { domain: None, cursor: Some("x x".to_owned()), limit: None };
    assert_eq!(server.fails(&wrong).0, FailureKind::Invalid);
}

#[test]
fn a_forgotten_policy_is_forgotten_by_the_store_and_by_each_shard() {
    let (server, now) = (TestServer::start(), unix_now());
    keep(&server, &[("a.example", row(now + 500)), ("b.example", row(now + 500))]);
    let domain = Domain::parse("a.example").unwrap();
    // One account lives on each of two shards.
    let homes = [1, 2].map(|account| AccountId::new(account).unwrap());
    for home in homes {
        let domain = domain.clone();
        server.at_home(home, move |shard| {
            Box::pin(async move { shard.deliveries.policy_failed(&domain, unix_now()) })
        });
    }
    let shown = list(&server, Some("a.example"), None, 1).0.pop().unwrap();
    assert!(shown.valid && shown.failed.is_some_and(|failed| failed >= now), "{shown:?}");
    assert!(shown.waits_until.is_some_and(|until| until > now), "{shown:?}");

    server.ok(&forget("A.example"));
    for home in homes {
        let domain = domain.clone();
        let failed = server.at_home(home, move |shard| {
            Box::pin(async move { shard.deliveries.policy_failed_until(&domain, unix_now()) })
        });
        assert_eq!(failed, None);
    }
    let left: Vec<_> = mta_sts::from(&server.shared.store.reader(), "").map(|row| row.unwrap().0).collect();
    assert_eq!(left, ["b.example"]);
    let (kind, message) = server.fails(&forget("a.example"));
    assert!(kind == FailureKind::NotFound && message.contains("a.example"), "{message}");
    assert_eq!(server.fails(&forget("not a domain")).0, FailureKind::Invalid);
    server.verify();
}

/// Commits nothing until this is dropped, also when the test fails: the server could not end.
struct Holding(Arc<MemoryEngine>);

impl Holding {
    fn new(engine: &Arc<MemoryEngine>) -> Self {
        engine.hold_commits(true);
        Self(Arc::clone(engine))
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.0.hold_commits(false);
    }
}

/// Waits for something that other threads bring about.
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("waited for 30 seconds: {what}");
}

/// Hands in what changes nothing until there is no more room.
fn fill(server: &TestServer, engine: &MemoryEngine) {
    let request = || {
        let mut batch = Batch::new();
        mta_sts::remove(&mut batch, "nobody.example");
        Commit { batch, durability: Durability::Buffered, incarnation: None, done: Box::new(|_| ()) }
    };
    assert!(server.shared.committer.try_submit(request()).is_ok());
    wait_until("the committer has what it commits", || engine.waiting_commits() == 1);
    loop {
        match server.shared.committer.try_submit(request()) {
            Ok(()) => {}
            Err(Refused::Busy(_)) => return,
            Err(Refused::Final(_, error)) => panic!("{error}"),
        }
    }
}

/// Whether shards with these homes are told that the policy of a.example is just being removed.
fn forget_it(server: &TestServer, homes: [AccountId; 2]) -> [bool; 2] {
    homes.map(|home| {
        server.at_home(home, |shard| {
            Box::pin(async move { shard.deliveries.forgets_policy(&Domain::parse("a.example").unwrap()) })
        })
    })
}

/// What waits for room in the committer's queue when a policy is removed may come behind the removal there.
#[test]
fn a_policy_that_waits_to_be_written_is_not_written_behind_its_removal() {
    let domain = || Domain::parse("a.example").unwrap();
    let (engine, now) = (Arc::new(MemoryEngine::new()), unix_now());
    let server = TestServer::on(Arc::clone(&engine) as _);
    keep(&server, &[("a.example", row(now + 500))]);
    // An account of another shard than the first, which removes it.
    let homes = [1, 2].map(|account| AccountId::new(account).unwrap());
    let is_first = |home| server.at_home(home, |shard| Box::pin(async move { shard.id.0 == 0 }));
    let home = homes.into_iter().find(|home| !is_first(*home)).unwrap();
    let holding = Holding::new(&engine);
    fill(&server, &engine);
    let (tell, told) = mpsc::channel();
    server.at_home(home, move |shard| {
        Box::pin(async move {
            let mut write = Box::pin(async move { keep_policy(&shard, &domain(), &row(unix_now())).await });
            assert!(poll_once(write.as_mut()).await.is_none(), "there is no room");
            spawn("a write of a test", async move {
                write.await;
                tell.send(()).unwrap();
            });
        })
    });
    let kept = || mta_sts::get(&server.shared.store.reader(), "a.example").unwrap();
    std::thread::scope(|threads| {
        let forgets = threads.spawn(|| server.ok(&forget("a.example")));
        wait_until("both shards know of it", || forget_it(&server, homes) == [true; 2]);
        // The shard that would write does nothing until the removal is on the disk.
        let (go_on, may_go_on) = mpsc::channel();
        let (stands, standing) = mpsc::channel();
        let server = &server;
        threads.spawn(move || {
            server.at_home(home, move |_| {
                Box::pin(async move {
                    stands.send(()).unwrap();
                    may_go_on.recv().unwrap();
                })
            });
        });
        standing.recv().unwrap();
        drop(holding);
        wait_until("it is removed", || kept().is_none());
        go_on.send(()).unwrap();
        forgets.join().unwrap();
    });
    told.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!(kept(), None);
    // What begins after that is written.
    server.at_home(home, move |shard| {
        Box::pin(async move { keep_policy(&shard, &domain(), &row(unix_now())).await })
    });
    assert!(kept().is_some());
}

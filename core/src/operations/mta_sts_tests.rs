//! What operators see of kept policies of MTA-STS, and that a forgotten one is forgotten by all.
#![expect(clippy::unwrap_used, reason = "tests")]

use postrider_proto::address::Domain;
use postrider_storage::engine::{Batch, Durability};
use postrider_storage::ids::AccountId;
use postrider_storage::mta_sts;
use postrider_storage::rows;

use crate::clock::unix_now;
use crate::control::protocol::{Answer, FailureKind, MtaStsRow, Request};
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

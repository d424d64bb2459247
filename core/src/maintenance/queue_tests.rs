//! What the queue keeps goes when it is too old, and policies are fetched anew.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};

use postrider_storage::engine::memory::MemoryEngine;
use postrider_storage::mta_sts;
use postrider_storage::queue::Bounds;
use postrider_storage::queue::suppression::{self, Failure, Verdict};
use postrider_storage::rows::{HookRow, HookSubject, MtaStsRow};
use postrider_storage::webhooks::{self as hooks, HookFilter};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::*;
use crate::metrics::GivenUp;
use crate::shard::Local;
use crate::testing::TestServer;
use crate::tls::self_signed;
use crate::webhooks::LIFE;

const POLICY: &str = "version: STSv1\r\nmode: enforce\r\nmx: mx.remote.example\r\nmax_age: 86400\r\n";

fn on_first<T: Send + 'static>(
    server: &TestServer,
    work: impl FnOnce(Rc<Shard>) -> Local<T> + Send + 'static,
) -> T {
    // Account 2 lives on the first of two shards, or on the second: any will do.
    server.at_home(AccountId::new(2).unwrap(), work)
}

fn row(updated: i64, used: i64) -> MtaStsRow {
    MtaStsRow {
        inserted: 7,
        valid_until: i64::MAX,
        updated,
        used,
        backoff: false,
        record_id: "old".into(),
        policy: "version: STSv1\r\nmode: none\r\nmax_age: 1\r\n".into(),
    }
}

fn keep(server: &TestServer, rows: &[(&str, MtaStsRow)]) {
    let mut batch = Batch::new();
    for (domain, row) in rows {
        mta_sts::put(&mut batch, domain, row).unwrap();
    }
    server.shared.committer.commit_blocking(batch, Durability::Synced).unwrap();
}

fn kept(server: &TestServer) -> Vec<String> {
    mta_sts::from(&server.shared.store.reader(), "").map(|row| row.unwrap().0).collect()
}

#[test]
fn calls_whose_turn_never_comes_are_given_up_on_the_shards_that_make_them() {
    let server = TestServer::start();
    let now = unix_now();
    let store = &server.shared.store;
    // As if their URLs had much to hear, so that they are due much later: with more than one page of those that are too old.
    let (mut batch, old) = (Batch::new(), 150);
    let row = |url: usize, created| HookRow {
        account: AccountId::new(1).unwrap(),
        subject: HookSubject::Incoming { email: EmailId(1) },
        created,
        due: now + 1_000_000,
        attempts: 0,
        url: format!("https://u{}.example/", url % 10).into(),
        payload: b"{}".as_slice().into(),
        results: Vec::new(),
    };
    for number in 0..old {
        hooks::add(&mut batch, store.new_hook_id(), &row(number, now - LIFE)).unwrap();
    }
    let young: Vec<_> = (0..10).map(|_| store.new_hook_id()).collect();
    for (number, id) in young.iter().enumerate() {
        hooks::add(&mut batch, *id, &row(number, now - LIFE + 1)).unwrap();
    }
    server.shared.committer.commit_blocking(batch, Durability::Synced).unwrap();
    on_first(&server, move |shard| {
        Box::pin(async move { queue::expire_webhooks(&shard, now).await.unwrap() })
    });
    let reader = store.reader();
    let left = hooks::list(&reader, &HookFilter::default(), None, Bounds::default()).unwrap().hooks;
    assert_eq!(left.iter().map(|hook| hook.id).collect::<Vec<_>>(), young);
    let counter = |counter| server.shared.registry.counter(counter);
    let metrics = &server.shared.metrics;
    assert_eq!(counter(metrics.webhooks.given_up.at([GivenUp::Age as usize])), old as u64);
    assert_eq!(counter(metrics.upkeep.removed.at([Upkeep::Webhooks as usize])), old as u64);
}

#[test]
fn strikes_and_policies_that_are_not_used_are_forgotten() {
    let server = TestServer::start();
    keep(&server, &[("a.example", row(0, 50)), ("b.example", row(0, 150))]);
    let anna = AccountId::new(1).unwrap();
    let mut batch = Batch::new();
    let reader = server.shared.store.reader();
    for time in 0..2500 {
        let address = format!("{time}@a.example");
        let failure = Failure { address: &address, time, reason: "no" };
        suppression::note(&reader, &mut batch, anna, Verdict::Strike, failure).unwrap();
    }
    server.shared.committer.commit_blocking(batch, Durability::Synced).unwrap();
    on_first(&server, |shard| {
        Box::pin(async move {
            queue::purge_strikes(&shard, 2400).await.unwrap();
            queue::forget_policies(&shard, 100).await.unwrap();
        })
    });
    assert_eq!(kept(&server), ["b.example"]);
    let strikes = keys::of_table(SYSTEM, table::STRIKES);
    assert_eq!(server.shared.store.reader().snapshot().prefix(Space::Rows, &strikes).count(), 100);
    let counted =
        |work| server.shared.registry.counter(server.shared.metrics.upkeep.removed.at([work as usize]));
    assert_eq!((counted(Upkeep::Strikes), counted(Upkeep::Policies)), (2400, 1));
}

/// A host that serves the policy once, under TLS; gives its port.
fn policy_host(dir: &std::path::Path) -> (u16, PathBuf) {
    let pair = self_signed(dir, &["mta-sts.remote.example"]).unwrap();
    let chain = CertificateDer::pem_file_iter(&pair.chain).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&pair.key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut secured = StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), stream);
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            let mut octet = [0];
            secured.read_exact(&mut octet).unwrap();
            asked.push(octet[0]);
        }
        let length = POLICY.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n");
        secured.write_all(format!("{head}{POLICY}").as_bytes()).unwrap();
        secured.conn.send_close_notify();
        secured.flush().unwrap();
    });
    (port, pair.chain)
}

#[test]
fn policies_are_fetched_anew_before_they_end() {
    const SCRIPT: &str = "
        $ORIGIN example.
        _mta-sts.remote TXT \"v=STSv1; id=new;\"
        mta-sts.remote A 127.0.0.1
    ";
    let dir = tempfile::tempdir().unwrap();
    let (port, roots) = policy_host(dir.path());
    let server = TestServer::with_script(Arc::new(MemoryEngine::new()), SCRIPT, |config| {
        config.delivery.policy_port = port;
        config.delivery.tls_roots = Some(roots);
    });
    let now = unix_now();
    let fresh = row(now - 60 * 60, now);
    let negative = MtaStsRow { backoff: true, ..row(0, now) };
    keep(
        &server,
        &[
            ("remote.example", row(0, 44)),
            ("gone.example", row(0, 44)),
            ("fresh.example", fresh),
            ("negative.example", negative),
        ],
    );
    let (mut domains, fetched) = on_first(&server, move |shard| {
        Box::pin(async move {
            let domains = queue::stale(&shard, now).await.unwrap();
            (domains.clone(), queue::refresh_all(&shard, domains, Duration::ZERO).await)
        })
    });
    domains.sort();
    assert_eq!((domains, fetched), (vec!["gone.example".to_owned(), "remote.example".to_owned()], 1));
    let reader = server.shared.store.reader();
    let renewed = mta_sts::get(&reader, "remote.example").unwrap().unwrap();
    assert_eq!((&*renewed.record_id, &*renewed.policy), ("new", POLICY));
    assert!(renewed.updated >= now && renewed.valid_until >= now + 86_400);
    assert_eq!((renewed.inserted, renewed.used), (7, 44), "a refresh is no use");
    // What isn't announced any more stays until it ends.
    assert_eq!(mta_sts::get(&reader, "gone.example").unwrap(), Some(row(0, 44)));
}

//! What an earlier run left is found again and done.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;

use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::rights::Rights;
use postrider_proto::imap::types::Uid;
use postrider_storage::account::Expunge;
use postrider_storage::directory::{self, AccountName, Change, HeldMail};
use postrider_storage::engine::memory::MemoryEngine;
use postrider_storage::rows::Sign;

use super::*;
use crate::control::protocol::{Format, Request, Secret};
use crate::metrics::Upkeep;
use crate::testing::{TestServer, wait_until};

/// In seconds: longer than any test takes.
const DAY: i64 = 24 * 60 * 60;

fn with_mail(engine: &Arc<MemoryEngine>) -> (TestServer, AccountId) {
    let server = TestServer::on(Arc::clone(engine) as _);
    server.ok(&Request::DomainAdd { domain: "example.org".to_owned(), disabled: false });
    server.ok(&Request::AccountAdd {
        account: "anna".to_owned(),
        address: "anna@example.org".to_owned(),
        password: Secret("long enough".to_owned()),
        quota: None,
    });
    let path = server.path("maildir");
    fs::create_dir_all(path.join("cur")).unwrap();
    for number in 0..700 {
        fs::write(path.join(format!("cur/{number}.x:2,")), format!("Subject: {number}\n\nx\n")).unwrap();
    }
    let (account, mailbox) = ("anna".to_owned(), "Old".to_owned());
    server.ok(&Request::Import { format: Format::Maildir, account, mailbox, path });
    let account = server.account("anna").unwrap();
    (server, account)
}

/// How much of a work was counted.
fn removed(server: &TestServer, work: Upkeep) -> u64 {
    server.shared.registry.counter(server.shared.metrics.upkeep.removed.at([work as usize]))
}

fn is_empty(server: &TestServer, space: Space, prefix: &[u8]) -> bool {
    server.shared.store.reader().snapshot().prefix(space, prefix).next().is_none()
}

#[test]
fn an_account_whose_erasure_was_cut_off_is_erased_at_the_next_start() {
    let engine = Arc::new(MemoryEngine::new());
    let (server, anna) = with_mail(&engine);
    let shared = Arc::clone(&server.shared);
    drop(server);
    let reader = shared.store.reader();
    let name = AccountName::new("anna").unwrap();
    let removal = [Change::RemoveAccount { name, mail: HeldMail::Erase }];
    let batch = directory::plan(reader.snapshot(), &removal, &directory::Limits::DEFAULT, 1).unwrap();
    shared.committer.commit_blocking(batch, Durability::Synced).unwrap();
    // One step was done.
    let rows = keys::owner(anna.get());
    let (batch, next) = erase_step(&shared.store.reader(), anna, &rows, &rows).unwrap();
    assert!(next.is_some() && batch.len() >= ROWS_MAX);
    shared.committer.commit_blocking(batch, Durability::Synced).unwrap();
    drop((reader, shared));
    let server = TestServer::on(engine);
    server.verify();
    wait_until(|| is_empty(&server, Space::Rows, &removed_account(anna)));
    assert!(is_empty(&server, Space::Rows, &rows));
    assert!(removed(&server, Upkeep::Accounts) > 1000, "{}", removed(&server, Upkeep::Accounts));
    wait_until(|| is_empty(&server, Space::Blobs, &[]));
    wait_until(|| removed(&server, Upkeep::Contents) == 700);
    assert!(server.shared.registry.counter(server.shared.metrics.upkeep.content_octets) > 700 * 10);
}

#[test]
fn a_deleted_mailbox_gives_its_rows_and_contents_back() {
    let engine = Arc::new(MemoryEngine::new());
    let (server, anna) = with_mail(&engine);
    server.at_home(anna, move |shard| {
        Box::pin(async move {
            let account = shard.accounts.get(anna).await.unwrap();
            let deleted = account.transact(None, None, |tx| {
                let old = tx.mailbox_id(&MailboxName::new("Old").unwrap()).unwrap();
                tx.delete_mailbox(old)
            });
            deleted.await.unwrap();
        })
    });
    assert!(!is_empty(&server, Space::Rows, &keys::drops(anna)));
    drop(server);
    let server = TestServer::on(engine);
    wait_until(|| is_empty(&server, Space::Rows, &keys::of_table(anna.get(), table::EMAIL)));
    assert!(is_empty(&server, Space::Rows, &keys::drops(anna)));
    assert!(is_empty(&server, Space::Rows, &keys::of_table(anna.get(), table::MESSAGE)));
    wait_until(|| is_empty(&server, Space::Blobs, &[]));
    wait_until(|| removed(&server, Upkeep::Messages) == 700);
    assert!(removed(&server, Upkeep::Mailboxes) >= 700);
    let failures = server.shared.metrics.upkeep.failures;
    let failed = Upkeep::ALL.iter().map(|work| server.shared.registry.counter(failures.at([*work as usize])));
    assert_eq!(failed.sum::<u64>(), 0);
}

#[test]
fn old_removals_are_forgotten_and_young_ones_are_not() {
    let engine = Arc::new(MemoryEngine::new());
    let (server, anna) = with_mail(&engine);
    let purged = server.at_home(anna, move |shard| {
        Box::pin(async move {
            let account = shard.accounts.get(anna).await.unwrap();
            let removed = account.transact(None, None, |tx| {
                let old = tx.mailbox_id(&MailboxName::new("Old").unwrap()).unwrap();
                let uids: Vec<Uid> = (1..=100).filter_map(Uid::new).collect();
                tx.expunge(old, Expunge::These(&uids))
            });
            removed.await.unwrap();
            let young = purge_once(&shard, unix_now() - DAY).await.unwrap();
            (young, purge_once(&shard, unix_now() + DAY).await.unwrap())
        })
    });
    assert_eq!(purged, (0, 100));
    assert_eq!(removed(&server, Upkeep::Tombstones), 100);
}

#[test]
fn what_is_erased_is_forgotten_before_also_when_nobody_was_told() {
    let (server, anna) = with_mail(&Arc::new(MemoryEngine::new()));
    let store = Arc::clone(&server.shared.store);
    let broken = server.at_home(anna, move |shard| {
        Box::pin(async move {
            let session = shard.open_account(anna).await.unwrap();
            let name = AccountName::new("anna").unwrap();
            let removal = [Change::RemoveAccount { name, mail: HeldMail::Erase }];
            let limits = directory::Limits::DEFAULT;
            let batch = directory::plan(store.reader().snapshot(), &removal, &limits, 1).unwrap();
            write(&shard, batch).await.map_err(|error| error.to_string()).unwrap();
            erase_removed(&shard).await;
            session.is_broken()
        })
    });
    assert!(broken, "its sessions have ended before");
    assert!(is_empty(&server, Space::Rows, &keys::owner(anna.get())));
    assert!(is_empty(&server, Space::Rows, &removed_account(anna)));
}

#[test]
fn a_removed_account_is_taken_out_of_the_lists_of_others() {
    let engine = Arc::new(MemoryEngine::new());
    let (server, anna) = with_mail(&engine);
    for name in ["bert", "carl"] {
        server.ok(&Request::AccountAdd {
            account: name.to_owned(),
            address: format!("{name}@example.org"),
            password: Secret("long enough".to_owned()),
            quota: None,
        });
    }
    let (bert, carl) = (server.account("bert").unwrap(), server.account("carl").unwrap());
    // Anna shares with both, and bert with her.
    for (owner, users) in [(anna, vec![bert, carl]), (bert, vec![anna])] {
        server.at_home(owner, move |shard| {
            Box::pin(async move {
                let account = shard.open_account(owner).await.unwrap();
                for user in users {
                    let shared = account.transact(None, None, move |tx| {
                        let inbox = tx.mailbox_id(&MailboxName::inbox()).unwrap();
                        tx.set_acl(inbox, Grantee::Account(user), Sign::Grants, |_| Rights::READ)
                    });
                    shared.await.unwrap();
                }
            })
        });
    }
    let shared = |server: &TestServer, with| {
        let reader = server.shared.store.reader();
        reader.prefix(&keys::shared_with(Grantee::Account(with))).count()
    };
    assert_eq!((shared(&server, anna), shared(&server, bert), shared(&server, carl)), (1, 1, 1));
    server.ok(&Request::AccountRemove { account: "bert".to_owned() });
    wait_until(|| is_empty(&server, Space::Rows, &removed_account(bert)));
    assert_eq!((shared(&server, anna), shared(&server, bert), shared(&server, carl)), (0, 0, 1));
    let left = server.at_home(anna, move |shard| {
        Box::pin(async move {
            let account = shard.accounts.get(anna).await.unwrap();
            let state = account.state();
            let inbox = state.mailbox_id(&MailboxName::inbox()).unwrap();
            (state.rights(inbox, bert, true), state.rights(inbox, carl, true))
        })
    });
    assert_eq!(left, (Rights::NONE, Rights::READ));
}

#[test]
fn evaluations_go_when_they_are_too_old_to_be_reported() {
    use postrider_storage::evaluations::{EvaluationId, all, record};
    use postrider_storage::rows::{Disposition, EvaluationRow};

    let server = TestServer::start();
    let row = EvaluationRow {
        optional: false,
        disposition: Disposition::None,
        dkim_aligned: true,
        spf_aligned: true,
        overrides: "".into(),
        source: "192.0.2.1".parse().unwrap(),
        policy_domain: "them.example".into(),
        record: "v=DMARC1; p=none; ri=3600; rua=mailto:a@them.example".into(),
        header_from: "them.example".into(),
        envelope_from: "them.example".into(),
        envelope_to: "us.example".into(),
        spf_domain: "them.example".into(),
        spf_result: "pass".into(),
        dkim: "".into(),
    };
    let mut batch = Batch::new();
    for time in 0..2500 {
        record(&mut batch, EvaluationId { time: time * 3600, blob: BlobId(1), recipient: 0 }, &row);
    }
    server.shared.committer.commit_blocking(batch, Durability::Synced).unwrap();
    let purged = server.at_home(AccountId::new(1).unwrap(), |shard| {
        Box::pin(async move {
            evaluations::purge_before(&shard, 2400 * 3600 + 1).await.map_err(|error| error.to_string())
        })
    });
    assert_eq!(purged, Ok(()));
    assert_eq!(all(&server.shared.store.reader()).count(), 100);
    assert_eq!(removed(&server, Upkeep::Evaluations), 2400);
}

#[test]
fn reports_go_when_they_are_older_than_they_are_kept() {
    use postrider_storage::ids::ReportId;
    use postrider_storage::reports::{Filter, add, list};
    use postrider_storage::rows::{ReportKind, ReportProof, ReportRow};

    let server = TestServer::start();
    let mut batch = Batch::new();
    for number in 0..250_u64 {
        let mut digest = [0; 16];
        digest[..8].copy_from_slice(&number.to_be_bytes());
        let row = ReportRow {
            kind: ReportKind::Dmarc,
            proof: ReportProof::Spf,
            received: 0,
            begin: 0,
            end: 0,
            total: 0,
            failed: 0,
            quarantined: 0,
            rejected: 0,
            entries: 0,
            left_out: 0,
            text_octets: 1,
            digest,
            organization: "".into(),
            submitter: "them.example".into(),
            report_id: "".into(),
            policy_domain: "us.example".into(),
        };
        let id = ReportId::first_at(number.cast_signed());
        add(&mut batch, if number % 2 == 0 { "us.example" } else { "second.example" }, id, &row, b"x")
            .unwrap();
    }
    server.shared.committer.commit_blocking(batch, Durability::Synced).unwrap();
    let purged = server.at_home(AccountId::new(1).unwrap(), |shard| {
        Box::pin(async move { reports::purge_before(&shard, 240).await.map_err(|error| error.to_string()) })
    });
    assert_eq!(purged, Ok(()));
    let all = Filter { domain: None, kind: None, from: ReportId(0), before: ReportId(u64::MAX) };
    assert_eq!(list(&server.shared.store.reader(), &all, 1000).unwrap().reports.len(), 10);
    assert_eq!(removed(&server, Upkeep::Reports), 240);
}

#[test]
fn the_tls_of_domains_is_forgotten_in_steps_and_only_by_the_home_of_the_account() {
    use postrider_storage::account::tls_known_list;
    use postrider_storage::rows::TlsKnownRow;

    let server = TestServer::start();
    server.ok(&Request::DomainAdd { domain: "example.org".to_owned(), disabled: false });
    let accounts: Vec<AccountId> = ["anna", "bert", "carl", "dora"]
        .into_iter()
        .map(|name| {
            server.ok(&Request::AccountAdd {
                account: name.to_owned(),
                address: format!("{name}@example.org"),
                password: Secret("long enough".to_owned()),
                quota: None,
            });
            server.account(name).unwrap()
        })
        .collect();
    let now = unix_now();
    let old = now - tls_known::KEPT - TlsKnownRow::PERIOD;
    for account in accounts.clone() {
        server.at_home(account, move |home| {
            Box::pin(async move {
                let account = home.open_account(account).await.unwrap();
                for step in 0..5 {
                    let noted = account.transact_many(None, None, 500, move |tx| {
                        for number in 0..500 {
                            let updated = if number < 400 { old } else { now };
                            let row = TlsKnownRow { updated, ..TlsKnownRow::default() };
                            tx.note_tls_known(&format!("d{step}-{number}.example"), row)?;
                        }
                        Ok(())
                    });
                    noted.await.unwrap();
                }
            })
        });
    }
    let left =
        |account: AccountId| tls_known_list(&server.shared.store.reader(), account, "", 9999).unwrap().len();
    let forget = |account| {
        server.at_home(account, move |home| {
            Box::pin(async move {
                let here = home.id;
                let forgotten = tls_known::forget_before(&home, now - tls_known::KEPT).await;
                (here, forgotten.map_err(|error| error.to_string()).unwrap())
            })
        })
    };
    for account in &accounts {
        let (here, forgotten) = forget(*account);
        let shards = server.shared.shards.len();
        let (of_here, others): (Vec<AccountId>, Vec<AccountId>) =
            accounts.iter().copied().partition(|account| home_of(*account, shards) == here);
        // More than a transaction may touch; the second round finds nothing.
        assert!(forgotten == 2000 * of_here.len() || forgotten == 0, "{forgotten}");
        assert!(of_here.iter().all(|account| left(*account) == 500));
        assert!(others.iter().all(|account| [500, 2500].contains(&left(*account))));
    }
    assert_eq!(removed(&server, Upkeep::TlsKnown), 8000);
    server.verify();
}

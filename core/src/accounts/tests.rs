//! Accounts on their shard, when something fails.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::ThreadId;

use postrider_proto::imap::mailbox::MailboxName;
use postrider_storage::account::{Initial, MESSAGES_PER_TRANSACTION_MAX, Quota, Tx};
use postrider_storage::engine::memory::{Fault, MemoryEngine};
use postrider_storage::engine::{Batch, Durability, Space};
use postrider_storage::ids::AccountId;
use postrider_storage::rows::SpecialUse;
use postrider_storage::store::StoreError;

use super::WriteError;
use super::build::HERE_MESSAGES_MAX;
use crate::runtime::{oneshot, spawn_task, yield_now};
use crate::testing::TestServer;

fn account() -> AccountId {
    AccountId::new(7).unwrap()
}

fn initial() -> Initial {
    Initial::usual(NonZeroU32::MIN)
}

#[test]
fn nobody_waits_for_a_transaction_that_panicked() {
    let server = TestServer::start();
    panics(&server);
    assert_eq!(server.panics(), 1, "on the shard");
}

#[test]
fn nobody_waits_for_a_transaction_that_panicked_on_a_worker_thread() {
    let engine = Arc::new(MemoryEngine::new());
    engine.say_reads_may_wait(true);
    let server = TestServer::on(engine);
    panics(&server);
    assert_eq!(server.panics(), 0, "on the shards");
}

fn panics(server: &TestServer) {
    server.at_home(account(), |shard| {
        Box::pin(async move {
            let handle = shard.accounts.get(account()).await.unwrap();
            let panics = {
                let handle = Rc::clone(&handle);
                spawn_task("panics", async move {
                    handle
                        .transact(None, None, |_| -> Result<(), StoreError> { panic!("as the test wants") })
                        .await
                })
            };
            let waits = {
                let handle = Rc::clone(&handle);
                spawn_task("waits", async move {
                    handle.transact(None, None, |tx| tx.create_account(&initial())).await
                })
            };
            assert!(matches!(panics.await, Ok(Err(WriteError::Reopened))));
            assert!(matches!(waits.await, Ok(Err(WriteError::Reopened))));
            assert!(handle.is_broken());
            // Removing the account doesn't wait for ever either.
            handle.quiet().await;
            let handle = shard.accounts.get(account()).await.unwrap();
            handle.transact(None, None, |tx| tx.create_account(&initial())).await.unwrap();
            assert!(handle.state().exists());
        })
    });
}

/// The threads on which transactions of so many messages are built.
fn threads(server: &TestServer, messages: usize) -> (ThreadId, ThreadId) {
    server.at_home(account(), move |shard| {
        Box::pin(async move {
            let handle = shard.open_account(account()).await.unwrap();
            let built = handle.transact_many(None, None, messages, |_| Ok(std::thread::current().id()));
            (std::thread::current().id(), built.await.unwrap())
        })
    })
}

#[test]
fn many_messages_and_reads_that_may_wait_are_left_to_another_thread() {
    let engine = Arc::new(MemoryEngine::new());
    let server = TestServer::on(Arc::clone(&engine) as _);
    let is_here = |messages| {
        let (shard, built) = threads(&server, messages);
        shard == built
    };
    assert!(is_here(HERE_MESSAGES_MAX));
    assert!(!is_here(HERE_MESSAGES_MAX + 1));
    engine.say_reads_may_wait(true);
    assert!(!is_here(1));
}

#[test]
fn what_changes_while_a_batch_is_built_elsewhere_stays() {
    let server = TestServer::start();
    server.at_home(account(), |shard| {
        Box::pin(async move {
            let handle = shard.open_account(account()).await.unwrap();
            let (go_on, waits) = std::sync::mpsc::channel::<()>();
            let (tell, begun) = oneshot::oneshot();
            let many = {
                let handle = Rc::clone(&handle);
                spawn_task("many", async move {
                    let work = move |tx: &mut Tx<'_, '_>| {
                        let _ = tell.send(());
                        waits.recv().unwrap();
                        tx.create_mailbox(&MailboxName::new("Many").unwrap(), SpecialUse::NONE)?;
                        Ok(tx.head()?.modseq)
                    };
                    handle.transact_many(None, None, MESSAGES_PER_TRANSACTION_MAX, work).await
                })
            };
            begun.await.unwrap();
            // The shard goes on meanwhile: what comes now is in the next batch.
            let next = {
                let handle = Rc::clone(&handle);
                spawn_task("next", async move {
                    let work = |tx: &mut Tx<'_, '_>| {
                        tx.create_mailbox(&MailboxName::new("Next").unwrap(), SpecialUse::NONE)?;
                        Ok(tx.head()?.modseq)
                    };
                    handle.transact(None, None, work).await
                })
            };
            yield_now().await;
            let quota = Quota { octets: Some(77), messages: None };
            handle.set_quota(quota);
            go_on.send(()).unwrap();
            let many = many.await.unwrap().unwrap();
            let next = next.await.unwrap().unwrap();
            assert_eq!(Some(next), many.next());
            assert_eq!(handle.state().quota(), quota);
            for name in ["Many", "Next"] {
                assert!(handle.state().mailbox_id(&MailboxName::new(name).unwrap()).is_some(), "{name}");
            }
        })
    });
}

#[test]
fn an_account_from_before_the_store_was_reopened_is_loaded_anew() {
    let engine = Arc::new(MemoryEngine::new());
    let server = TestServer::on(Arc::clone(&engine) as _);
    let outdated = server.at_home(account(), move |shard| {
        Box::pin(async move {
            let before = shard.accounts.get(account()).await.unwrap();
            engine.fail_commit(1, Fault::Full);
            let mut batch = Batch::new();
            batch.insert(Space::Rows, vec![0, 0, 0, 0, 255, 1], Vec::new());
            let failed = crate::commit::commit(&shard.shared.committer, batch, Durability::Synced).await;
            assert!(failed.is_err());
            shard.shared.committer.reopen().unwrap();
            let life = Some(shard.shared.committer.engine().incarnation());
            let after = shard.accounts.get(account()).await.unwrap();
            after.transact(None, life, |tx| tx.create_account(&initial())).await.unwrap();
            before.is_broken() && !Rc::ptr_eq(&before, &after)
        })
    });
    assert!(outdated);
}

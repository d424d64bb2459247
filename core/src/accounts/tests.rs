//! Accounts on their shard, when something fails.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;

use postrider_storage::account::Initial;
use postrider_storage::engine::memory::{Fault, MemoryEngine};
use postrider_storage::engine::{Batch, Durability, Space};
use postrider_storage::ids::AccountId;
use postrider_storage::store::StoreError;

use super::WriteError;
use crate::runtime::spawn_task;
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
    assert_eq!(server.panics(), 1);
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

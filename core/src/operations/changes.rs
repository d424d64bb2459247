//! Changing the directory: planned on a snapshot, committed as one batch, then told to the shards.
//!
//! A new account's own rows are in the batch that adds it to the directory, so there never is an account
//! without an inbox, whatever happens in between.

use std::rc::Rc;

use postrider_storage::account::{Account, Initial, Limits};
use postrider_storage::directory::{
    self, Change, Directory, DirectoryError, Effect, added_accounts, effects_of,
};
use postrider_storage::engine::{Batch, Durability};
use postrider_storage::ids::AccountId;
use postrider_storage::reader::Reader;
use postrider_storage::store::StoreError;

use super::{ServerOperations, failure, internal};
use crate::accounts::{initial, quota_of};
use crate::clock::unix_now;
use crate::commit;
use crate::config::AccountDefaults;
use crate::control::OperationError;
use crate::maintenance;
use crate::runtime::spawn;

/// What is to be committed, and who has to hear of it.
pub(super) struct Planned {
    pub(super) batch: Batch,
    pub(super) effects: Vec<Effect>,
}

impl ServerOperations {
    /// Makes the changes that `make` wants of the present directory.
    pub(super) async fn change(
        &self,
        make: impl FnOnce(&Directory<'_>) -> Result<Vec<Change>, OperationError> + Send + 'static,
    ) -> Result<(), OperationError> {
        let held = self.directory.take().await.map_err(failure::long)?;
        self.settle_leftovers(&held).await?;
        let defaults = self.shard.shared.config.accounts.clone();
        let planned = self.on_pool(move |shared| {
            let reader = shared.store.reader();
            let changes = make(&Directory::new(reader.snapshot()))?;
            plan(&reader, &changes, &defaults)
        });
        let planned = planned.await?;
        self.commit(planned).await?;
        drop(held);
        Ok(())
    }

    /// Commits what was planned since the lock was taken, and tells the accounts' shards.
    pub(super) async fn commit(&self, planned: Planned) -> Result<(), OperationError> {
        let Planned { batch, effects } = planned;
        if !batch.is_empty() {
            commit::commit(&self.shard.shared.committer, batch, Durability::Synced)
                .await
                .map_err(|error| failure::commit(&error))?;
        }
        if self.tell(effects).await? > 0 {
            self.erase_removed();
        }
        Ok(())
    }

    /// Tells the accounts' shards what has become of them; gives how many were removed.
    pub(super) async fn tell(&self, effects: Vec<Effect>) -> Result<u64, OperationError> {
        let mut removed = 0;
        for effect in effects {
            let told = match effect {
                Effect::Set(account, settings) => {
                    let quota = quota_of(&settings);
                    let set = self.shard.at_home(account, move |home| {
                        Box::pin(async move { home.accounts.set_quota(account, quota) })
                    });
                    set.await
                }
                Effect::Removed(account) => {
                    removed += 1;
                    let forget = self.shard.at_home(account, move |home| {
                        Box::pin(async move { home.accounts.forget(account).await })
                    });
                    forget.await
                }
            };
            told.map_err(internal)?;
        }
        Ok(removed)
    }

    /// Erases the rows of accounts that were removed, in the background.
    pub(super) fn erase_removed(&self) {
        let shard = Rc::clone(&self.shard);
        spawn("erase removed accounts", async move { maintenance::erase_removed(&shard).await });
    }
}

/// Plans changes, with the first rows of accounts that they add.
fn plan(reader: &Reader, changes: &[Change], defaults: &AccountDefaults) -> Result<Planned, OperationError> {
    let now = unix_now();
    let mut batch = directory::plan(reader.snapshot(), changes, &directory::Limits::DEFAULT, now)
        .map_err(failure::directory)?;
    let initial = initial(defaults, now);
    for account in added_accounts(&batch).map_err(internal)? {
        batch.append(first_rows(reader, account, &initial, now).map_err(internal)?);
    }
    if batch.check().is_err() {
        let error = DirectoryError::TooMany { changes: changes.len(), octets: batch.octets() };
        return Err(failure::directory(error));
    }
    let effects = effects_of(reader.snapshot(), &batch).map_err(internal)?;
    Ok(Planned { batch, effects })
}

/// The rows of an account that has none.
pub(super) fn first_rows(
    reader: &Reader,
    id: AccountId,
    initial: &Initial,
    now: i64,
) -> Result<Batch, StoreError> {
    let account = Account::load(reader, id, Limits::default())?;
    let mut batch = account.begin(reader);
    // Nobody can have loaded the account, so nobody has to be told.
    batch.transact(now, |tx| tx.create_account(initial)).map(drop)?;
    Ok(batch.finish().0)
}

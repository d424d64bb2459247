//! Changing the directory: planned on a snapshot, committed as one batch, then told to the shards.
//!
//! A new account's own rows are in the batch that adds it to the directory, so there never is an account
//! without an inbox, whatever happens in between.

use postrider_storage::account::{Account, Initial, Limits, Quota};
use postrider_storage::directory::{self, Change, Directory, DirectoryError, added_accounts};
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

/// What is to be committed, and whom it concerns.
pub(super) struct Planned {
    /// The changes.
    pub(super) changes: Vec<Change>,
    batch: Batch,
    quotas: Vec<(AccountId, Quota)>,
    removed: Vec<AccountId>,
}

impl ServerOperations {
    /// Makes the changes that `make` wants of the present directory.
    pub(super) async fn change(
        &self,
        make: impl FnOnce(&Directory<'_>) -> Result<Vec<Change>, OperationError> + Send + 'static,
    ) -> Result<(), OperationError> {
        let held = self.directory.take().await;
        let defaults = self.shard.shared.config.accounts.clone();
        let planned = self.on_pool(move |shared| {
            let reader = shared.store.reader();
            let changes = make(&Directory::new(reader.snapshot()))?;
            plan(&reader, changes, &defaults)
        });
        let planned = planned.await?;
        self.commit(planned).await?;
        drop(held);
        Ok(())
    }

    /// Commits what was planned since the lock was taken, and tells the accounts' shards.
    pub(super) async fn commit(&self, planned: Planned) -> Result<(), OperationError> {
        let Planned { batch, quotas, removed, .. } = planned;
        if !batch.is_empty() {
            commit::commit(&self.shard.shared.committer, batch, Durability::Synced)
                .await
                .map_err(|error| failure::commit(&error))?;
        }
        for (account, quota) in quotas {
            let told = self.shard.at_home(account, move |home| {
                Box::pin(async move { home.accounts.set_quota(account, quota) })
            });
            told.await.map_err(internal)?;
        }
        for account in removed {
            let forgotten = self
                .shard
                .at_home(account, move |home| Box::pin(async move { home.accounts.forget(account).await }));
            forgotten.await.map_err(internal)?;
            let shard = std::rc::Rc::clone(&self.shard);
            spawn("erase a removed account", async move {
                maintenance::erase_account(&shard, account).await;
            });
        }
        Ok(())
    }
}

/// Plans changes, with the first rows of accounts that they add.
pub(super) fn plan(
    reader: &Reader,
    changes: Vec<Change>,
    defaults: &AccountDefaults,
) -> Result<Planned, OperationError> {
    let now = unix_now();
    let known = Directory::new(reader.snapshot());
    let mut batch = directory::plan(reader.snapshot(), &changes, &directory::Limits::DEFAULT, now)
        .map_err(failure::directory)?;
    let initial = initial(defaults, now);
    for account in added_accounts(&batch).map_err(internal)? {
        batch.append(first_rows(reader, account, &initial, now).map_err(internal)?);
    }
    if batch.check().is_err() {
        let error = DirectoryError::TooMany { changes: changes.len(), octets: batch.octets() };
        return Err(failure::directory(error));
    }
    let (mut quotas, mut removed) = (Vec::new(), Vec::new());
    for change in &changes {
        let (Change::SetAccount { name, .. } | Change::RemoveAccount { name, .. }) = change else { continue };
        // One that is added by the same changes is loaded nowhere.
        let Some(account) = known.account_by_name(name).map_err(internal)? else { continue };
        match change {
            Change::SetAccount { settings, .. } if quota_of(settings) != quota_of(&account.settings) => {
                quotas.push((account.id, quota_of(settings)));
            }
            Change::RemoveAccount { .. } => removed.push(account.id),
            _ => {}
        }
    }
    Ok(Planned { changes, batch, quotas, removed })
}

fn first_rows(reader: &Reader, id: AccountId, initial: &Initial, now: i64) -> Result<Batch, StoreError> {
    let account = Account::load(reader, id, Limits::default())?;
    let mut batch = account.begin(reader);
    // Nobody can have loaded the account, so nobody has to be told.
    batch.transact(now, |tx| tx.create_account(initial)).map(drop)?;
    Ok(batch.finish().0)
}

//! Accounts on their home shard.
//!
//! Every account has one home shard. All of its writes are built there, one batch at a time, and all
//! of its sessions run there; so numbers are handed out and changes are told without locks.
//!
//! What always holds: [`AccountHandle`] shows committed state only; a change is in the account's
//! [`ChangeLog`] before its writer is answered; an account whose commit failed is broken for good and
//! is loaded anew by the next who asks for it.

mod build;
mod handle;
mod log;
mod watch;

#[cfg(test)]
mod tests;

pub use handle::{AccountHandle, WriteError};
pub use log::{CHANGES_MAX, ChangeLog, Published, Since};
pub use watch::{Watcher, WatcherId};

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;

use postrider_storage::account::{Account, Initial, Limits, Quota};
use postrider_storage::committer::Committer;
use postrider_storage::directory::{AccountSettings, Directory, removed_account};
use postrider_storage::ids::AccountId;
use postrider_storage::reader::Reader;
use postrider_storage::rows::SpecialUse;
use postrider_storage::store::{Store, StoreError};

use crate::config::{self, AccountDefaults};
use crate::reads::Reads;
use crate::runtime::{Pool, PoolError, ShardId};
use crate::textindex::Demand;

/// Accounts that a shard keeps loaded when nobody uses them.
const LOADED_MAX: usize = 2000;

/// The shard on which an account lives.
pub fn home_of(account: AccountId, shards: usize) -> ShardId {
    // Ids are handed out in order: a multiplication spreads neighbours.
    let mixed = u64::from(account.get()).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    ShardId(usize::try_from(mixed).unwrap_or(0) % shards.max(1))
}

/// What the configuration says that a new account has.
pub fn initial(defaults: &AccountDefaults, now: i64) -> Initial {
    let special_use = |special_use: &Option<config::SpecialUse>| match special_use {
        None => SpecialUse::NONE,
        Some(config::SpecialUse::Sent) => SpecialUse::SENT,
        Some(config::SpecialUse::Archive) => SpecialUse::ARCHIVE,
        Some(config::SpecialUse::Trash) => SpecialUse::TRASH,
        Some(config::SpecialUse::Drafts) => SpecialUse::DRAFTS,
        Some(config::SpecialUse::Junk) => SpecialUse::JUNK,
    };
    let mailboxes = defaults.mailboxes.iter();
    Initial {
        uid_validity: u32::try_from(now).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN),
        mailboxes: mailboxes
            .map(|mailbox| (mailbox.name.clone(), special_use(&mailbox.special_use)))
            .collect(),
    }
}

/// Why an account can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The store could not read it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Too much work waits, or the work panicked.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The account was removed; its rows are being erased.
    #[error("the account was removed")]
    Removed,
}

/// The accounts of one shard.
pub struct Accounts {
    store: Arc<Store>,
    committer: Arc<Committer>,
    pool: Pool,
    reads: Reads,
    limits: Limits,
    loaded: RefCell<HashMap<AccountId, Rc<AccountHandle>>>,
    /// Counts changes of the directory that accounts here had to be told of.
    told: Cell<u64>,
    text: Demand,
}

/// What the directory says of an account that is loaded.
enum Listed {
    /// Its quota.
    Quota(Quota),
    /// It was removed.
    Removed,
}

impl Accounts {
    /// No account is loaded yet. `pool` loads those that are asked for; `reads` is for their sessions and
    /// transactions.
    pub fn new(
        store: Arc<Store>,
        committer: Arc<Committer>,
        pool: Pool,
        reads: Reads,
        limits: Limits,
    ) -> Self {
        Self {
            store,
            committer,
            pool,
            reads,
            limits,
            loaded: RefCell::default(),
            told: Cell::new(0),
            text: Demand::default(),
        }
    }

    /// The account, loaded when it isn't yet, with its quota. Call it on the account's home shard only.
    pub async fn get(&self, id: AccountId) -> Result<Rc<AccountHandle>, LoadError> {
        loop {
            if let Some(handle) = self.loaded(id) {
                return Ok(handle);
            }
            let (store, limits, told) = (Arc::clone(&self.store), self.limits, self.told.get());
            // Before the reading: what was loaded is never younger than what it says.
            let incarnation = self.committer.engine().incarnation();
            let read = self.pool.run(move || {
                let reader = store.reader();
                Ok::<_, StoreError>((Account::load(&reader, id, limits)?, listed(&reader, id)?))
            });
            let (mut account, listed) = read.await??;
            // Another task may have loaded it meanwhile, and may have changed it since.
            if let Some(handle) = self.loaded(id) {
                return Ok(handle);
            }
            if self.told.get() != told {
                // What was read of the directory may be outdated.
                continue;
            }
            match listed {
                Listed::Quota(quota) => account.set_quota(quota),
                Listed::Removed => return Err(LoadError::Removed),
            }
            let (store, committer) = (Arc::clone(&self.store), Arc::clone(&self.committer));
            let reads = self.reads.clone();
            let handle = Rc::new(AccountHandle::new(account, incarnation, store, committer, reads));
            let mut loaded = self.loaded.borrow_mut();
            if loaded.len() >= LOADED_MAX {
                loaded.retain(|_, handle| Rc::strong_count(handle) > 1);
            }
            loaded.insert(id, Rc::clone(&handle));
            return Ok(handle);
        }
    }

    /// The account, when it is loaded.
    pub fn loaded(&self, id: AccountId) -> Option<Rc<AccountHandle>> {
        let handle = self.loaded.borrow().get(&id).cloned()?;
        handle.check_life();
        (!handle.is_broken()).then_some(handle)
    }

    /// The accounts that are loaded.
    pub fn loaded_ids(&self) -> Vec<AccountId> {
        self.loaded.borrow().keys().copied().collect()
    }

    /// Which accounts are to be indexed for searches of their texts.
    pub const fn text(&self) -> &Demand {
        &self.text
    }

    /// Tells of a quota that was changed in the directory.
    pub fn set_quota(&self, id: AccountId, quota: Quota) {
        self.told.set(self.told.get() + 1);
        if let Some(handle) = self.loaded(id) {
            handle.set_quota(quota);
        }
    }

    /// Ends the sessions of an account that was removed from the directory, and waits until its last
    /// commit is done: nothing writes rows of it any more.
    pub async fn forget(&self, id: AccountId) {
        self.told.set(self.told.get() + 1);
        self.text.forget(id);
        let handle = self.loaded.borrow_mut().remove(&id);
        if let Some(handle) = handle {
            handle.break_off();
            handle.quiet().await;
        }
    }
}

/// What the directory says that an account's messages may take.
pub fn quota_of(settings: &AccountSettings) -> Quota {
    Quota { octets: settings.quota, messages: settings.quota_messages }
}

fn listed(reader: &Reader, id: AccountId) -> Result<Listed, StoreError> {
    let directory = Directory::new(reader.snapshot());
    if let Some(account) = directory.account(id)? {
        return Ok(Listed::Quota(quota_of(&account.settings)));
    }
    let removed = reader.get(&removed_account(id))?.is_some();
    Ok(if removed { Listed::Removed } else { Listed::Quota(Quota::default()) })
}

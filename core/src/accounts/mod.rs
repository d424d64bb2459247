//! Accounts on their home shard.
//!
//! Every account has one home shard. All of its writes are built there, one batch at a time, and all
//! of its sessions run there; so numbers are handed out and changes are told without locks.
//!
//! What always holds: [`AccountHandle`] shows committed state only; a change is in the account's
//! [`ChangeLog`] before its writer is answered; an account whose commit failed is broken for good and
//! is loaded anew by the next who asks for it.

mod handle;
mod log;
mod watch;

pub use handle::{AccountHandle, WriteError};
pub use log::{CHANGES_MAX, ChangeLog, Published, Since};
pub use watch::{Watcher, WatcherId};

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use postrider_storage::account::{Account, Limits};
use postrider_storage::committer::Committer;
use postrider_storage::ids::AccountId;
use postrider_storage::store::{Store, StoreError};

use crate::runtime::{Pool, PoolError, ShardId};

/// Accounts that a shard keeps loaded when nobody uses them.
const LOADED_MAX: usize = 2000;

/// The shard on which an account lives.
pub fn home_of(account: AccountId, shards: usize) -> ShardId {
    // Ids are handed out in order: a multiplication spreads neighbours.
    let mixed = u64::from(account.get()).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    ShardId(usize::try_from(mixed).unwrap_or(0) % shards.max(1))
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
}

/// The accounts of one shard.
pub struct Accounts {
    store: Arc<Store>,
    committer: Arc<Committer>,
    pool: Pool,
    limits: Limits,
    loaded: RefCell<HashMap<AccountId, Rc<AccountHandle>>>,
}

impl Accounts {
    /// No account is loaded yet. `pool` reads those that are asked for.
    pub fn new(store: Arc<Store>, committer: Arc<Committer>, pool: Pool, limits: Limits) -> Self {
        Self { store, committer, pool, limits, loaded: RefCell::default() }
    }

    /// The account, loaded when it isn't yet. Call it on the account's home shard only.
    pub async fn get(&self, id: AccountId) -> Result<Rc<AccountHandle>, LoadError> {
        if let Some(handle) = self.present(id) {
            return Ok(handle);
        }
        let (store, limits) = (Arc::clone(&self.store), self.limits);
        // Before the reading: what was loaded is never younger than what it says.
        let incarnation = self.committer.engine().incarnation();
        let account = self.pool.run(move || Account::load(&store.reader(), id, limits)).await??;
        // Another task may have loaded it meanwhile, and may have changed it since.
        if let Some(handle) = self.present(id) {
            return Ok(handle);
        }
        let handle = Rc::new(AccountHandle::new(
            account,
            incarnation,
            Arc::clone(&self.store),
            Arc::clone(&self.committer),
        ));
        let mut loaded = self.loaded.borrow_mut();
        if loaded.len() >= LOADED_MAX {
            loaded.retain(|_, handle| Rc::strong_count(handle) > 1);
        }
        loaded.insert(id, Rc::clone(&handle));
        Ok(handle)
    }

    fn present(&self, id: AccountId) -> Option<Rc<AccountHandle>> {
        self.loaded.borrow().get(&id).filter(|handle| !handle.is_broken()).cloned()
    }

    /// Forgets an account that was removed.
    pub fn forget(&self, id: AccountId) {
        if let Some(handle) = self.loaded.borrow_mut().remove(&id) {
            handle.break_off();
        }
    }
}

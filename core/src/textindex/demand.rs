//! Which accounts of a shard are to be indexed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use postrider_storage::ids::{AccountId, EmailId};

use crate::runtime::LocalNotify;

/// Accounts that a shard remembers the index of.
const KNOWN_MAX: usize = 10_000;

/// What is to be done, and how far indexes are.
#[derive(Default)]
pub struct Demand {
    due: RefCell<BTreeSet<AccountId>>,
    /// Accounts with an index that was used or built in this run, and what it covers.
    known: RefCell<BTreeMap<AccountId, EmailId>>,
    asked: LocalNotify,
}

impl Demand {
    /// Asks for an account to be indexed.
    pub fn ask(&self, account: AccountId) {
        if self.due.borrow_mut().insert(account) {
            self.asked.notify();
        }
    }

    /// Takes an account that is to be indexed; waits for one.
    pub async fn next(&self) -> AccountId {
        loop {
            let version = self.asked.version();
            let account = self.due.borrow_mut().pop_first();
            if let Some(account) = account {
                return account;
            }
            self.asked.changed(version).await;
        }
    }

    /// Notes what an index covers.
    pub fn note(&self, account: AccountId, covered: EmailId) {
        let mut known = self.known.borrow_mut();
        if known.len() < KNOWN_MAX || known.contains_key(&account) {
            known.insert(account, covered);
        }
    }

    /// Forgets an account that can't be indexed any more.
    pub fn forget(&self, account: AccountId) {
        self.known.borrow_mut().remove(&account);
        self.due.borrow_mut().remove(&account);
    }

    /// What is known of indexes.
    pub fn known(&self) -> Vec<(AccountId, EmailId)> {
        self.known.borrow().iter().map(|(account, covered)| (*account, *covered)).collect()
    }
}

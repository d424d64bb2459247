//! What an account wants to be told, remembered: an account without webhooks costs no read of the store.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use postrider_storage::directory::{Directory, OutgoingWebhook, Webhook};
use postrider_storage::ids::AccountId;
use postrider_storage::reader::Reader;
use postrider_storage::store::StoreError;

use crate::shard::Shard;

/// Accounts that a shard remembers.
const KNOWN_MAX: usize = 20_000;

/// Counts changes of the directory: what is remembered of it counts for one number only.
#[derive(Debug, Default)]
pub struct Version(AtomicU64);

impl Version {
    /// The directory was changed.
    pub fn count(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// The webhooks of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// What is called about messages that it sent.
    pub outgoing: Option<OutgoingWebhook>,
    /// What is called about messages that it got.
    pub incoming: Option<Webhook>,
    /// For how many seconds it is to be known what became of calls; none is not at all.
    pub keep: Option<u32>,
}

impl Hooks {
    /// Those that the directory has; none of an account that is gone.
    pub fn read(reader: &Reader, account: AccountId) -> Result<Self, StoreError> {
        let Some(account) = Directory::new(reader.snapshot()).account(account)? else {
            return Ok(Self::default());
        };
        let mail = account.settings.mail;
        Ok(Self {
            outgoing: mail.outgoing_webhook,
            incoming: mail.incoming_webhook,
            keep: mail.keep_retired_webhooks.filter(|seconds| *seconds > 0),
        })
    }

    /// Until when it is to be known what becomes of a call that ends at `now`.
    pub fn until(&self, now: i64) -> Option<i64> {
        self.keep.map(|seconds| now.saturating_add(i64::from(seconds)))
    }
}

/// What a shard remembers.
#[derive(Debug, Default)]
pub(super) struct Known {
    version: u64,
    accounts: HashMap<AccountId, Rc<Hooks>>,
    /// What most accounts have.
    nothing: Rc<Hooks>,
}

/// The webhooks of an account.
pub async fn of(shard: &Shard, account: AccountId) -> Result<Rc<Hooks>, StoreError> {
    // Before the read: a change that comes after it makes what was read count no more.
    let version = shard.shared.directory_version.get();
    if let Some(known) = look(&shard.webhooks.known, version, account) {
        return Ok(known);
    }
    let hooks = shard.shared.reads.run(move |reader| Hooks::read(reader, account)).await?;
    Ok(remember(&shard.webhooks.known, version, account, hooks))
}

fn look(known: &RefCell<Known>, version: u64, account: AccountId) -> Option<Rc<Hooks>> {
    let known = known.borrow();
    known.accounts.get(&account).filter(|_| known.version == version).map(Rc::clone)
}

fn remember(known: &RefCell<Known>, version: u64, account: AccountId, hooks: Hooks) -> Rc<Hooks> {
    let mut known = known.borrow_mut();
    if known.version < version || known.accounts.len() >= KNOWN_MAX {
        known.accounts.clear();
        known.version = known.version.max(version);
    }
    let hooks = if hooks == Hooks::default() { Rc::clone(&known.nothing) } else { Rc::new(hooks) };
    if known.version == version {
        known.accounts.insert(account, Rc::clone(&hooks));
    }
    hooks
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_is_remembered_ends_with_a_change_of_the_directory() {
        let known = RefCell::default();
        let account = |number: u32| AccountId::new(number).unwrap();
        let kept = Hooks { keep: Some(5), ..Hooks::default() };
        assert_eq!(look(&known, 0, account(1)), None);
        remember(&known, 0, account(1), kept.clone());
        let nothing = remember(&known, 0, account(2), Hooks::default());
        assert_eq!(look(&known, 0, account(1)).as_deref(), Some(&kept));
        assert!(Rc::ptr_eq(&look(&known, 0, account(2)).unwrap(), &nothing));
        assert_eq!(look(&known, 1, account(1)), None);
        remember(&known, 1, account(2), kept.clone());
        // What was read before the change, and comes after it.
        remember(&known, 0, account(1), kept.clone());
        assert_eq!((look(&known, 1, account(1)), look(&known, 0, account(1))), (None, None));
        assert_eq!(look(&known, 1, account(2)).as_deref(), Some(&kept));
        for number in 3..KNOWN_MAX as u32 + 10 {
            remember(&known, 1, account(number), Hooks::default());
        }
        assert!(known.borrow().accounts.len() <= KNOWN_MAX);
        assert_eq!((kept.until(1), Hooks::default().until(1)), (Some(6), None));
    }
}

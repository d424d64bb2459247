//! What an account wants to be told.

use postrider_storage::directory::{Directory, OutgoingWebhook, Webhook};
use postrider_storage::engine::EngineError;
use postrider_storage::ids::AccountId;
use postrider_storage::store::StoreError;

use crate::shard::Shard;

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
    pub fn read(directory: &Directory<'_>, account: AccountId) -> Result<Self, EngineError> {
        let Some(account) = directory.account(account)? else { return Ok(Self::default()) };
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

/// The webhooks of an account.
pub async fn of(shard: &Shard, account: AccountId) -> Result<Hooks, StoreError> {
    shard.ask_directory(move |directory| Hooks::read(directory, account)).await
}

//! Forgets what deliveries of an account learned of the TLS of domains that it sent nothing to for long.

use std::rc::Rc;
use std::time::Duration;

use postrider_storage::account::{MESSAGES_PER_TRANSACTION_MAX, has_old_tls_known};
use postrider_storage::ids::AccountId;
use tracing::{info, warn};

use super::{ACCOUNTS_MAX, STEP_PAUSE, Trouble, count, count_failure, pause, read};
use crate::accounts::{LoadError, home_of};
use crate::clock::unix_now;
use crate::delivery::forget_learned;
use crate::metrics::Upkeep;
use crate::shard::Shard;

/// How often it is looked for what is too old, and when first.
const EVERY: Duration = Duration::from_secs(24 * 60 * 60);
const FIRST: Duration = Duration::from_secs(12 * 60);
/// How long it is kept at least, and a period longer at most. Each delivery renews it, so this is for domains that an account
/// stopped writing to: what their servers offered half a year ago is no promise for the next message, which learns it anew.
pub(super) const KEPT: i64 = 180 * 24 * 60 * 60;

pub(super) async fn forget(shard: &Rc<Shard>) {
    let mut wait = FIRST;
    while pause(shard, wait).await {
        wait = EVERY;
        match forget_before(shard, unix_now().saturating_sub(KEPT)).await {
            Ok(0) => {}
            Ok(rows) => {
                info!(rows, "forgot what was known of the TLS of domains that nobody writes to any more")
            }
            Err(error) => {
                warn!(%error, "accounts can't be listed; what they know of the TLS of domains stays another day");
                count_failure(shard, Upkeep::TlsKnown);
            }
        }
    }
}

/// Forgets what this shard's accounts know since before a time, to the period; gives the number of rows. Costs two seeks for
/// each account, and what there is to forget.
pub(super) async fn forget_before(shard: &Rc<Shard>, time: i64) -> Result<usize, Trouble> {
    let (home, shards) = (shard.id, shard.shared.shards.len());
    let mut from = AccountId::new(1);
    let mut forgotten = 0;
    while let Some(first) = from {
        let page = read(shard, move |reader| {
            let (mut due, mut last) = (Vec::new(), None);
            for account in reader.accounts_from(first).take(ACCOUNTS_MAX) {
                let account = account?;
                last = Some(account);
                // One that can't be read is told of below, and keeps no other from its turn.
                let is_due = || has_old_tls_known(reader, account, time).unwrap_or(true);
                if home_of(account, shards) == home && is_due() {
                    due.push(account);
                }
            }
            Ok((due, last))
        });
        let (due, last) = page.await?;
        for account in due {
            match forget_of(shard, account, time).await {
                Ok(rows) => forgotten += rows,
                Err(error) => {
                    warn!(%account, %error, "what an account knows of the TLS of domains stays another day");
                    count_failure(shard, Upkeep::TlsKnown);
                }
            }
        }
        from = last.and_then(|last| AccountId::new(last.get().wrapping_add(1)));
        if !pause(shard, STEP_PAUSE).await {
            break;
        }
    }
    Ok(forgotten)
}

async fn forget_of(shard: &Rc<Shard>, account: AccountId, time: i64) -> Result<usize, Trouble> {
    let handle = match shard.accounts.get(account).await {
        Err(LoadError::Removed) => return Ok(0),
        handle => handle?,
    };
    let mut forgotten = 0;
    loop {
        let work = handle
            .transact_many(None, None, MESSAGES_PER_TRANSACTION_MAX, move |tx| tx.forget_tls_known(time));
        let (swept, domains) = work.await?;
        forgotten += domains.len();
        count(shard, Upkeep::TlsKnown, domains.len());
        forget_learned(shard, account, domains).await;
        if !swept.more || !pause(shard, STEP_PAUSE).await {
            return Ok(forgotten);
        }
    }
}

//! What operators do to calls. On the shard that makes them: only there they are changed, one change at a time.

use std::rc::Rc;

use postrider_storage::engine::{Batch, Durability};
use postrider_storage::ids::{AccountId, HookId};
use postrider_storage::rows::{HookEnd, HookRow};
use postrider_storage::webhooks::{self, Ending};

use super::attempt::{self, Attempted};
use super::turn::Trouble;
use super::{incoming, of, payload};
use crate::clock::unix_now;
use crate::commit;
use crate::runtime::ShardId;
use crate::shard::Shard;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Making them now.
    Retry,
    /// Making them no more.
    Cancel,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Operated {
    /// To how many calls.
    pub(crate) done: u64,
    /// Calls that are being made.
    pub(crate) busy: u64,
}

/// The shard that makes a call.
pub(crate) fn owner_of(shard: &Shard, row: &HookRow) -> ShardId {
    super::owner(shard, webhooks::url_hash(&row.url))
}

/// Does something to calls of this shard.
pub(crate) async fn operate(shard: &Rc<Shard>, ids: Vec<HookId>, wish: Wish) -> Result<Operated, Trouble> {
    let shared = &shard.shared;
    let mut operated = Operated::default();
    let (mut batch, mut scheduled) = (Batch::new(), Vec::new());
    let changing = shard.webhooks.turns.take().await;
    for id in ids {
        let Some(row) = shared.reads.run(move |reader| webhooks::hook(reader, id)).await? else { continue };
        // Meanwhile its webhook may have moved: then it is another shard's.
        if owner_of(shard, &row) != shard.id {
            operated.busy += 1;
            continue;
        }
        if shard.webhooks.underway.borrow().values().any(|underway| *underway == id) {
            operated.busy += 1;
            continue;
        }
        let now = unix_now();
        match wish {
            Wish::Retry => {
                let new = HookRow { due: row.due.min(now), ..row.clone() };
                scheduled.push(webhooks::replace(&mut batch, id, &row, &new)?);
            }
            Wish::Cancel => {
                let until = of(shard, row.account).await?.until(now);
                let ending = Ending { end: HookEnd::Canceled, now, until };
                webhooks::end(&mut batch, id, &row, row.clone(), ending)?;
            }
        }
        operated.done += 1;
    }
    if !batch.is_empty() {
        commit::commit(&shared.committer, batch, Durability::Synced).await?;
    }
    drop(changing);
    scheduled.into_iter().for_each(|scheduled| shard.webhooks.notify(scheduled));
    Ok(operated)
}

/// How a test went: the status of the response (0 without one), what went wrong, how the response begins, and the time it
/// took in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tested {
    pub(crate) status: u16,
    pub(crate) error: String,
    pub(crate) response: String,
    pub(crate) milliseconds: u32,
}

/// Calls a webhook of an account once, beside what waits for it, with something made up; none when it has no such webhook.
pub(crate) async fn test(
    shard: &Rc<Shard>,
    account: AccountId,
    is_incoming: bool,
) -> Result<Option<Tested>, Trouble> {
    let hooks = of(shard, account).await?;
    let now = unix_now();
    let (webhook, body) = if is_incoming {
        (hooks.incoming.as_ref(), incoming::test_body(now))
    } else {
        (hooks.outgoing.as_ref().map(|outgoing| &outgoing.hook), payload::test_outgoing(now))
    };
    let Some(webhook) = webhook else { return Ok(None) };
    let id = shard.shared.store.new_hook_id();
    let Attempted { status, error, response, milliseconds, .. } =
        attempt::send(shard, id, 1, webhook, &body).await;
    Ok(Some(Tested { status, error, response, milliseconds }))
}

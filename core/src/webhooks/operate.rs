//! What operators do to calls. On the shard that makes them: only there they are changed, one change at a time.

use std::collections::BTreeMap;
use std::rc::Rc;

use postrider_storage::engine::{Batch, Durability};
use postrider_storage::ids::{AccountId, HookId};
use postrider_storage::rows::{HookEnd, HookRow};
use postrider_storage::webhooks::{self, Ending};
use tracing::info;

use super::attempt::{self, Attempted};
use super::turn::Trouble;
use super::{backoff, count_end, incoming, of, payload};
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
    /// The same, since they waited for too long.
    Expire,
}

/// Calls that are changed in one step.
const CHANGED_MAX: usize = 64;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Operated {
    /// To how many calls.
    pub(crate) done: u64,
    /// Calls that are being made.
    pub(crate) busy: u64,
}

/// Ends some calls that wait for longer than a call may, whether or not their turn came, from behind an id: how many, and behind
/// which id to go on.
pub(crate) async fn expire(
    shard: &Rc<Shard>,
    after: Option<HookId>,
    now: i64,
) -> Result<(usize, Option<HookId>), Trouble> {
    let before = now.saturating_sub(backoff::LIFE).saturating_add(1);
    let read = move |reader: &_| webhooks::old(reader, after, (before, now), CHANGED_MAX);
    let found = shard.shared.reads.run(read).await?;
    let operated = operate(shard, found.hooks, Wish::Expire).await?;
    Ok((usize::try_from(operated.done).unwrap_or(usize::MAX), found.next))
}

/// Does something to calls that are given with the hashes of their URLs, each on the shard that makes it.
pub(crate) async fn operate(
    shard: &Rc<Shard>,
    hooks: impl IntoIterator<Item = (HookId, u64)>,
    wish: Wish,
) -> Result<Operated, Trouble> {
    let mut owners: BTreeMap<usize, Vec<HookId>> = BTreeMap::new();
    for (id, url) in hooks {
        owners.entry(super::owner(shard, url).0).or_default().push(id);
    }
    let mut operated = Operated::default();
    for (owner, ids) in owners {
        for some in ids.chunks(CHANGED_MAX) {
            let some = some.to_vec();
            let done = shard.at_shard(ShardId(owner), move |owner| {
                Box::pin(async move { operate_here(&owner, some, wish).await })
            });
            let Operated { done, busy } = done.await.unwrap_or(Err(Trouble::Stopping))?;
            operated.done += done;
            operated.busy += busy;
        }
    }
    Ok(operated)
}

/// Does something to calls of this shard.
async fn operate_here(shard: &Rc<Shard>, ids: Vec<HookId>, wish: Wish) -> Result<Operated, Trouble> {
    let shared = &shard.shared;
    let mut operated = Operated::default();
    let (mut batch, mut scheduled, mut ended) = (Batch::new(), Vec::new(), Vec::new());
    let changing = shard.webhooks.turns.take().await;
    for id in ids {
        let Some(row) = shared.reads.run(move |reader| webhooks::hook(reader, id)).await? else { continue };
        // Meanwhile its webhook may have moved: then it is another shard's.
        if super::owner(shard, webhooks::url_hash(&row.url)) != shard.id {
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
            Wish::Cancel | Wish::Expire => {
                let end = if wish == Wish::Cancel { HookEnd::Canceled } else { HookEnd::Expired };
                let until = of(shard, row.account).await?.until(now);
                webhooks::end(&mut batch, id, &row, row.clone(), Ending { end, now, until })?;
                ended.push((id, row.account, end));
            }
        }
        operated.done += 1;
    }
    if !batch.is_empty() {
        // What a power loss forgets to have ended of itself ends again.
        let durability = if wish == Wish::Expire { Durability::Buffered } else { Durability::Synced };
        commit::commit(&shared.committer, batch, durability).await?;
    }
    drop(changing);
    for (id, account, end) in ended {
        count_end(shard, end);
        if end == HookEnd::Expired {
            info!(hook = id.0, %account, "a call of a webhook is given up: it waited for too long");
        }
    }
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

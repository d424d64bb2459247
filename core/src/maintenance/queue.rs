//! What the queue keeps besides messages, and for how long: what became of recipients, calls of webhooks, failures of addresses, and
//! policies of MTA-STS, which are also fetched anew before they end.

use std::rc::Rc;
use std::time::Duration;

use postrider_storage::account::hash;
use postrider_storage::mta_sts;
use postrider_storage::queue::{purge_retired, suppression};
use postrider_storage::reader::Reader;
use postrider_storage::store::StoreError;
use postrider_storage::webhooks;
use tracing::{info, warn};

use super::{STEP_PAUSE, Trouble, count, count_failure, pause, read, write};
use crate::clock::unix_now;
use crate::delivery::refresh_policy;
use crate::metrics::Upkeep;
use crate::shard::Shard;
use crate::webhooks::expire;

/// How often it is looked for what is too old, and when first.
const PURGE_EVERY: Duration = Duration::from_secs(60 * 60);
const PURGE_FIRST: Duration = Duration::from_secs(7 * 60);
/// Rows that one step looks at.
const ROWS_MAX: usize = 1000;
/// How long failures of an address count that nothing was sent to since.
const STRIKES_KEPT: i64 = 180 * DAY;
/// How long a policy is kept that isn't used.
const POLICIES_KEPT: i64 = 180 * DAY;
/// How often policies are fetched anew, and when first.
const REFRESH_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
const REFRESH_FIRST: Duration = Duration::from_secs(10 * 60);
/// How old a policy is that is fetched anew.
const REFRESH_AFTER: i64 = 12 * 60 * 60;
/// The time over which the fetches of one round are spread, and the longest pause between two.
const REFRESH_SPREAD: Duration = Duration::from_secs(3 * 60 * 60);
const REFRESH_PAUSE_MAX: Duration = Duration::from_secs(60);
/// Policies that one round fetches.
const REFRESHED_MAX: usize = 50_000;
const DAY: i64 = 24 * 60 * 60;

/// Forgets what is too old, for as long as the server runs.
pub(super) async fn purge(shard: &Rc<Shard>) {
    let mut wait = PURGE_FIRST;
    while pause(shard, wait).await {
        wait = PURGE_EVERY;
        let now = unix_now();
        for (work, outcome) in [
            (Upkeep::Retired, purge_retired_before(shard, now).await),
            (Upkeep::Webhooks, expire_webhooks(shard, now).await),
            (Upkeep::Webhooks, purge_webhooks_before(shard, now).await),
            (Upkeep::Strikes, purge_strikes(shard, now.saturating_sub(STRIKES_KEPT)).await),
            (Upkeep::Policies, forget_policies(shard, now.saturating_sub(POLICIES_KEPT)).await),
        ] {
            if let Err(error) = outcome {
                warn!(%error, what = work.name(), "what the queue keeps too long stays for now");
                count_failure(shard, work);
            }
        }
    }
}

/// Forgets recipients that are to be known until `now` at most.
pub(super) async fn purge_retired_before(shard: &Shard, now: i64) -> Result<(), Trouble> {
    loop {
        let (batch, removed) = read(shard, move |reader| purge_retired(reader, now, ROWS_MAX)).await?;
        write(shard, batch).await?;
        count(shard, Upkeep::Retired, removed);
        if removed < ROWS_MAX || !pause(shard, STEP_PAUSE).await {
            return Ok(());
        }
    }
}

/// Gives up calls of webhooks that wait for too long: their URL may have no turn for them.
pub(super) async fn expire_webhooks(shard: &Rc<Shard>, now: i64) -> Result<(), Trouble> {
    let mut after = None;
    loop {
        let (ended, next) = expire(shard, after, now).await?;
        count(shard, Upkeep::Webhooks, ended);
        after = next;
        if after.is_none() || !pause(shard, STEP_PAUSE).await {
            return Ok(());
        }
    }
}

/// Forgets calls of webhooks that are to be known until `now` at most.
pub(super) async fn purge_webhooks_before(shard: &Shard, now: i64) -> Result<(), Trouble> {
    loop {
        let (batch, removed) =
            read(shard, move |reader| webhooks::purge_retired(reader, now, ROWS_MAX)).await?;
        write(shard, batch).await?;
        count(shard, Upkeep::Webhooks, removed);
        if removed < ROWS_MAX || !pause(shard, STEP_PAUSE).await {
            return Ok(());
        }
    }
}

/// Forgets failures that were counted last before `time`.
pub(super) async fn purge_strikes(shard: &Shard, time: i64) -> Result<(), Trouble> {
    let mut cursor = None;
    loop {
        let (batch, next) =
            read(shard, move |reader| suppression::purge_strikes(reader, time, cursor.as_ref(), ROWS_MAX))
                .await?;
        count(shard, Upkeep::Strikes, batch.len());
        write(shard, batch).await?;
        cursor = next;
        if cursor.is_none() || !pause(shard, STEP_PAUSE).await {
            return Ok(());
        }
    }
}

/// Forgets policies that were used last before `time`.
pub(super) async fn forget_policies(shard: &Shard, time: i64) -> Result<(), Trouble> {
    let mut first = String::new();
    loop {
        let (batch, next) =
            read(shard, move |reader| mta_sts::forget_unused(reader, &first, time, ROWS_MAX)).await?;
        count(shard, Upkeep::Policies, batch.len());
        write(shard, batch).await?;
        match next {
            Some(next) if pause(shard, STEP_PAUSE).await => first = next,
            _ => return Ok(()),
        }
    }
}

/// Fetches policies anew, once a day: who can keep a server from seeing a new policy at the time at which it needs
/// one can't do so all the time (RFC 8461 §10.2).
pub(super) async fn refresh(shard: &Rc<Shard>) {
    if shard.resolver.is_none() || shard.deliveries.connector().problem().is_some() {
        return;
    }
    let mut wait = REFRESH_FIRST;
    while pause(shard, wait).await {
        wait = REFRESH_EVERY;
        match stale(shard, unix_now()).await {
            Ok(domains) => {
                refresh_all(shard, domains, REFRESH_SPREAD).await;
            }
            Err(error) => {
                warn!(%error, "policies of MTA-STS can't be listed; they are fetched anew another day");
                count_failure(shard, Upkeep::Policies);
            }
        }
    }
}

/// The domains whose policies are to be fetched anew, in an order that nobody knows before.
pub(super) async fn stale(shard: &Shard, now: i64) -> Result<Vec<String>, Trouble> {
    let mut domains = Vec::new();
    let mut first = Some(String::new());
    while let Some(from) = first {
        let (page, next) = read(shard, move |reader| stale_page(reader, &from, now)).await?;
        domains.extend(page);
        if domains.len() >= REFRESHED_MAX || !pause(shard, STEP_PAUSE).await {
            break;
        }
        first = next;
    }
    // Nobody else knows when this began.
    let seed = std::time::Instant::now();
    let seed = hash(format!("{seed:?}").as_bytes());
    domains.sort_by_cached_key(|domain| hash(domain.as_bytes()).wrapping_mul(seed | 1));
    Ok(domains)
}

fn stale_page(reader: &Reader, from: &str, now: i64) -> Result<(Vec<String>, Option<String>), StoreError> {
    let mut domains = Vec::new();
    for (looked, row) in mta_sts::from(reader, from).enumerate() {
        let (domain, row) = row?;
        if looked == ROWS_MAX {
            return Ok((domains, Some(domain)));
        }
        // What couldn't be fetched is fetched by the next delivery.
        if !row.backoff && row.updated < now.saturating_sub(REFRESH_AFTER) {
            domains.push(domain);
        }
    }
    Ok((domains, None))
}

/// Fetches policies, and gives how many came.
pub(super) async fn refresh_all(shard: &Rc<Shard>, domains: Vec<String>, spread: Duration) -> usize {
    let all = domains.len();
    let between = spread / u32::try_from(all.max(1)).unwrap_or(u32::MAX);
    let mut fetched = 0;
    for domain in domains {
        if !pause(shard, between.min(REFRESH_PAUSE_MAX)).await {
            break;
        }
        fetched += usize::from(refresh_policy(shard, &domain).await);
    }
    if all > 0 {
        info!(policies = all, fetched, "policies of MTA-STS were fetched anew");
    }
    fetched
}

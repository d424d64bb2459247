//! Aggregate reports of DMARC to domains that ask for them (RFC 7489 §7.2): which are due, one after the other.
//!
//! A report is due when its interval is over, and until then its evaluations wait (`storage/src/evaluations.rs`). What
//! can't be sent now is due again in the next round, until its evaluations are too old.

mod aggregate;
mod report;

use std::rc::Rc;
use std::time::Duration;

use postrider_storage::engine::{Batch, Durability};
use postrider_storage::evaluations::{self, Group, RETENTION_SECONDS};
use postrider_storage::reader::Reader;
use postrider_storage::store::StoreError;
use tracing::{info, warn};

use super::outgoing::can_sign;
use super::pace::{Pace, Real, interval};
use crate::commit;
use crate::delivery::nonce;
use crate::shard::Shard;
use report::Sent;

/// The time that the reports of a round take.
const SPREAD: Duration = Duration::from_secs(45 * 60);
/// Reports of one round. The others follow in the next.
const REPORTS_MAX: usize = 10_000;
/// Reports that are looked up in one step.
const PAGE: usize = 200;
/// Evaluations that one step moves or removes.
const ROWS_MAX: usize = 1000;
const HOUR: i64 = 3600;

/// Sends reports for as long as the server runs.
pub(super) async fn run(shard: &Rc<Shard>) {
    let pace = Real(shard);
    let chance = nonce().bytes().fold(0_u32, |sum, octet| sum.wrapping_mul(31).wrapping_add(octet.into()));
    while pace.pause(until_next(pace.now(), chance)).await {
        if let Err(error) = round(shard, &pace).await {
            warn!(%error, "aggregate reports of DMARC are sent later");
        }
    }
}

/// The time until the next round: half a minute to one and a half after a whole hour, so that not all servers ask
/// and write at once.
fn until_next(now: i64, chance: u32) -> Duration {
    let at = now.div_euclid(HOUR) * HOUR + HOUR + 30 + i64::from(chance % 61);
    Duration::from_secs(u64::try_from(at - now).unwrap_or(0))
}

/// Sends all reports that are due.
pub(crate) async fn round(shard: &Rc<Shard>, pace: &impl Pace) -> Result<(), String> {
    let due = due(shard, pace.now()).await?;
    if due.is_empty() || !can_sign(shard).await {
        return Ok(());
    }
    let wait = interval(SPREAD, due.len());
    let (mut queued, mut later) = (0, 0);
    for (number, group) in due.iter().enumerate() {
        if number > 0 && !pace.pause(wait).await {
            return Ok(());
        }
        match report::send(shard, pace.now(), group).await {
            Ok(Sent::Reports(count)) => queued += count,
            Ok(Sent::Later) => later += 1,
            Err(error) => {
                warn!(domain = %group.domain, %error, "an aggregate report of DMARC is sent later");
                shard.recorder.increment(shard.shared.metrics.reporting.dmarc_errors);
                later += 1;
            }
        }
    }
    info!(due = due.len(), queued, later, "aggregate reports of DMARC");
    Ok(())
}

/// Reports that are due, without those all of whose evaluations are too old.
async fn due(shard: &Shard, now: i64) -> Result<Vec<Group>, String> {
    let late = Group { due: now.saturating_sub(RETENTION_SECONDS), domain: "".into() };
    let mut found: Vec<Group> = Vec::new();
    while found.len() < REPORTS_MAX {
        let after = found.last().unwrap_or(&late).clone();
        let page = read(shard, move |reader| evaluations::due(reader, now, Some(&after), PAGE)).await?;
        let is_last = page.len() < PAGE;
        found.extend(page);
        if is_last {
            break;
        }
    }
    Ok(found)
}

/// Removes what would have been in a report that nobody wants.
async fn forget(shard: &Shard, group: &Group) -> Result<(), String> {
    loop {
        let group = group.clone();
        let (batch, removed) =
            read(shard, move |reader| evaluations::remove_of(reader, &group, ROWS_MAX)).await?;
        write(shard, batch).await?;
        if removed < ROWS_MAX {
            return Ok(());
        }
    }
}

/// Reads on a thread for work.
async fn read<T: Send + 'static>(
    shard: &Shard,
    work: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, String> {
    let store = std::sync::Arc::clone(&shard.shared.store);
    let done = shard.shared.pool.run(move || work(&store.reader())).await;
    done.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

async fn write(shard: &Shard, batch: Batch) -> Result<(), String> {
    if batch.is_empty() {
        return Ok(());
    }
    let done = commit::commit(&shard.shared.committer, batch, Durability::Buffered).await;
    done.map(drop).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_begin_soon_after_whole_hours() {
        for now in [0, 1, 30, 89, 1800, 3599, 3600, -1, 1_795_600_800] {
            let mut seen: Vec<i64> = (0..61)
                .map(|chance| now + i64::try_from(until_next(now, chance).as_secs()).unwrap_or(0))
                .collect();
            seen.dedup();
            assert_eq!(seen.len(), 61, "{now}");
            assert!(seen.iter().all(|at| (30..=90).contains(&at.rem_euclid(HOUR)) && *at > now), "{now}");
            assert!(seen.iter().all(|at| *at <= now + HOUR + 90), "{now}");
        }
    }
}

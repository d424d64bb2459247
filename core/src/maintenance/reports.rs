//! Removes reports of other servers that are older than they are kept.

use std::rc::Rc;
use std::time::Duration;

use postrider_storage::ids::ReportId;
use postrider_storage::reports;
use tracing::warn;

use super::{STEP_PAUSE, Trouble, count, count_failure, pause, read, write};
use crate::clock::unix_now;
use crate::metrics::Upkeep;
use crate::shard::Shard;

/// How often they are looked for, and when first.
const EVERY: Duration = Duration::from_secs(60 * 60);
const FIRST: Duration = Duration::from_secs(6 * 60);
/// Reports that one step removes.
const REPORTS_MAX: usize = 100;

pub(super) async fn purge(shard: &Rc<Shard>) {
    let keep = i64::try_from(shard.shared.config.reports.keep.as_secs()).unwrap_or(i64::MAX);
    let mut wait = FIRST;
    while pause(shard, wait).await {
        wait = EVERY;
        if let Err(error) = purge_before(shard, unix_now().saturating_sub(keep)).await {
            warn!(%error, "old reports of other servers stay for now");
            count_failure(shard, Upkeep::Reports);
        }
    }
}

/// Removes all that came before a time.
pub(super) async fn purge_before(shard: &Shard, time: i64) -> Result<(), Trouble> {
    loop {
        let (batch, removed) =
            read(shard, move |reader| reports::remove_before(reader, ReportId::first_at(time), REPORTS_MAX))
                .await?;
        write(shard, batch).await?;
        count(shard, Upkeep::Reports, removed);
        if removed < REPORTS_MAX || !pause(shard, STEP_PAUSE).await {
            return Ok(());
        }
    }
}

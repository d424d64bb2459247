//! Removes evaluations of DMARC that are too old to be reported.

use std::rc::Rc;
use std::time::Duration;

use postrider_storage::evaluations::{self, RETENTION_SECONDS};
use tracing::warn;

use super::{STEP_PAUSE, Trouble, count, count_failure, pause, read, write};
use crate::clock::unix_now;
use crate::metrics::Upkeep;
use crate::shard::Shard;

/// How often they are looked for, and when first.
const EVERY: Duration = Duration::from_secs(60 * 60);
const FIRST: Duration = Duration::from_secs(5 * 60);
/// Rows that one step removes.
const ROWS_MAX: usize = 1000;

pub(super) async fn purge(shard: &Rc<Shard>) {
    let mut wait = FIRST;
    while pause(shard, wait).await {
        wait = EVERY;
        if let Err(error) = purge_before(shard, unix_now().saturating_sub(RETENTION_SECONDS)).await {
            warn!(%error, "old evaluations of DMARC stay for now");
            count_failure(shard, Upkeep::Evaluations);
        }
    }
}

/// Removes all from before a time.
pub(super) async fn purge_before(shard: &Shard, time: i64) -> Result<(), Trouble> {
    loop {
        let (batch, removed) =
            read(shard, move |reader| evaluations::remove_before(reader, time, ROWS_MAX)).await?;
        write(shard, batch).await?;
        count(shard, Upkeep::Evaluations, removed);
        if removed < ROWS_MAX || !pause(shard, STEP_PAUSE).await {
            return Ok(());
        }
    }
}

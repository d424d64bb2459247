//! The end of deliveries when the server stops, so that a stop brings no message twice and costs no attempt.
//!
//! No further entry is taken up. What is being handed over has the time that everything else has; then it is given back as if
//! it had not been tried, unless the end of its message was sent: then the other server may have it, and only its answer says so. For
//! such answers, and for outcomes to be written, there is the configuration's `stop_time`.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::shares::Shares;
use crate::runtime::{ShardId, sleep};
use crate::shard::{Shard, Shared};

/// How often what is under way is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// Sessions and outcomes that are being written, on all shards: one may need another shard to end.
#[derive(Debug, Default)]
pub struct UnderWay {
    count: AtomicUsize,
    /// What accounts have of the sessions.
    pub(super) shares: Arc<Shares>,
}

/// One of them, until it is dropped.
pub(super) struct One(Arc<Shared>);

impl One {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        shared.deliveries.count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.deliveries.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Waits for what is under way when the server stops, which it began to do at `began`; what everything else has is over at
/// `deadline`.
pub async fn finish(shard: &Rc<Shard>, began: Instant, deadline: Instant) {
    let shared = &shard.shared;
    let under_way = || shared.deliveries.count.load(Ordering::Relaxed);
    let until = deadline.max(began + shared.config.delivery.stop_time);
    let is_first = shard.id == ShardId(0);
    let mut is_told = !is_first;
    while under_way() > 0 && Instant::now() < until {
        if !is_told && Instant::now() > deadline + LOOK * 5 {
            info!(deliveries = under_way(), "waiting for answers of other servers that may have a message");
            is_told = true;
        }
        sleep(LOOK).await;
    }
    if is_first && under_way() > 0 {
        warn!(
            deliveries = under_way(),
            "deliveries are cut off; what other servers may have is sent again at the next start"
        );
    }
}

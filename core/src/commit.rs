//! Waiting for the committer without blocking a shard.

use std::sync::Arc;

use postrider_storage::committer::{CommitError, CommitInfo, Committer, Refused, Request};
use postrider_storage::engine::{Batch, Durability, Incarnation};

use crate::runtime::oneshot::{Receiver, oneshot};

/// A batch that the committer has taken: it will be committed before every batch that is submitted
/// later. Awaiting it gives the outcome; dropping it changes nothing.
pub struct Submitted(Receiver<Result<CommitInfo, CommitError>>);

impl Submitted {
    /// Waits until the batch is as durable as was asked.
    pub async fn done(self) -> Result<CommitInfo, CommitError> {
        // The committer calls every completion; when it doesn't, its thread is gone.
        self.0.await.unwrap_or(Err(CommitError::Closed))
    }
}

/// Hands a batch to the committer; waits only while its queue is full.
///
/// `incarnation` is that of earlier batches which this one builds on and that were only buffered.
pub async fn submit(
    committer: &Arc<Committer>,
    batch: Batch,
    durability: Durability,
    incarnation: Option<Incarnation>,
) -> Result<Submitted, CommitError> {
    let (tell, outcome) = oneshot();
    let done = Box::new(move |result| {
        // Nobody may be waiting any more: the batch is committed all the same.
        let _ = tell.send(result);
    });
    let mut request = Request { batch, durability, incarnation, done };
    loop {
        match committer.try_submit(request) {
            Ok(()) => return Ok(Submitted(outcome)),
            Err(Refused::Final(_, error)) => return Err(error),
            Err(Refused::Busy(back)) => {
                let (wake, room) = oneshot();
                committer.when_room(move || {
                    let _ = wake.send(());
                });
                // An error means that the committer dropped the hook: the next try tells why.
                let _ = room.await;
                request = back;
            }
        }
    }
}

/// Commits a batch and waits until it is as durable as was asked.
pub async fn commit(
    committer: &Arc<Committer>,
    batch: Batch,
    durability: Durability,
) -> Result<CommitInfo, CommitError> {
    submit(committer, batch, durability, None).await?.done().await
}

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
    let (request, outcome) = request(batch, durability, incarnation);
    hand_in(committer, request, || true).await?;
    Ok(Submitted(outcome))
}

/// Commits a batch and waits until it is as durable as was asked, unless it turns out, at the latest after it waited for room,
/// that it isn't `wanted` any more; says whether it was. What `wanted` says holds at the moment at which the committer takes
/// the batch: what this shard does after that is behind it.
pub async fn commit_if(
    committer: &Arc<Committer>,
    batch: Batch,
    durability: Durability,
    wanted: impl Fn() -> bool,
) -> Result<bool, CommitError> {
    let (request, outcome) = request(batch, durability, None);
    let is_taken = hand_in(committer, request, wanted).await?;
    if is_taken {
        Submitted(outcome).done().await?;
    }
    Ok(is_taken)
}

fn request(
    batch: Batch,
    durability: Durability,
    incarnation: Option<Incarnation>,
) -> (Request, Receiver<Result<CommitInfo, CommitError>>) {
    let (tell, outcome) = oneshot();
    let done = Box::new(move |result| {
        // Nobody may be waiting any more: the batch is committed all the same.
        let _ = tell.send(result);
    });
    (Request { batch, durability, incarnation, done }, outcome)
}

/// Tries until the committer takes a request, which is true, or it isn't wanted any more.
async fn hand_in(
    committer: &Arc<Committer>,
    mut request: Request,
    wanted: impl Fn() -> bool,
) -> Result<bool, CommitError> {
    while wanted() {
        match committer.try_submit(request) {
            Ok(()) => return Ok(true),
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
    Ok(false)
}

/// Commits a batch and waits until it is as durable as was asked.
pub async fn commit(
    committer: &Arc<Committer>,
    batch: Batch,
    durability: Durability,
) -> Result<CommitInfo, CommitError> {
    submit(committer, batch, durability, None).await?.done().await
}

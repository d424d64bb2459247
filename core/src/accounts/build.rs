//! Builds a batch of the transactions that wait, on the account's home shard or on another thread.
//!
//! What always holds: one batch of an account is built at a time, from the state that the last one left,
//! so numbers are handed out by plain arithmetic wherever that happens.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider_storage::account::{
    Account, AccountBatch, Change, MESSAGES_PER_TRANSACTION_MAX, Pending, TRANSACTION_OCTETS_MAX, Tx,
};
use postrider_storage::blobs::CHUNK_OCTETS;
use postrider_storage::engine::{BATCH_OCTETS_MAX, Batch};
use postrider_storage::store::{Store, StoreError};

use super::handle::WriteError;
use super::log::Published;
use super::watch::WatcherId;
use crate::clock::unix_now;
use crate::runtime::{Pool, oneshot};

/// A batch is not added to after this time: what it is made of has to be written and synced, too.
const BUILD_MAX: Duration = Duration::from_millis(5);
/// Transactions in one batch; each is bounded, so the batch is.
const JOBS_PER_BATCH_MAX: usize = 24;
/// Messages that the transactions of one batch may touch when it is built on the shard: about as many as take
/// a millisecond with what a delivery writes for each.
pub(super) const HERE_MESSAGES_MAX: usize = 32;

/// Octets of rows of others with which a transaction may share a batch.
const ATTACHED_OCTETS_MAX: usize = 64 * 1024;

const _: () = assert!(
    JOBS_PER_BATCH_MAX * (TRANSACTION_OCTETS_MAX + CHUNK_OCTETS + ATTACHED_OCTETS_MAX) <= BATCH_OCTETS_MAX
);
const _: () = assert!(JOBS_PER_BATCH_MAX <= HERE_MESSAGES_MAX);
const _: () = assert!(HERE_MESSAGES_MAX < MESSAGES_PER_TRANSACTION_MAX);

/// Tells who asked of the outcome.
pub(super) type Finish = Box<dyn FnOnce(Result<(), WriteError>) + Send>;

/// Runs a transaction within a batch; gives its changes and what is to be called with the outcome.
type Job = Box<dyn FnOnce(&mut AccountBatch<'_>) -> (Vec<Change>, Finish) + Send>;

/// A transaction that waits for its batch.
pub(super) struct Waiting {
    origin: Option<WatcherId>,
    /// How many messages it touches, about.
    messages: usize,
    /// Octets of rows of others that are committed with it.
    attached: usize,
    job: Job,
}

impl Waiting {
    /// A transaction, and its outcome.
    pub fn new<T: Send + 'static>(
        origin: Option<WatcherId>,
        messages: usize,
        attached: Batch,
        work: impl FnOnce(&mut Tx<'_, '_>) -> Result<T, StoreError> + Send + 'static,
    ) -> (Self, oneshot::Receiver<Result<T, WriteError>>) {
        let octets = attached.octets();
        let work = move |tx: &mut Tx<'_, '_>| {
            tx.attach(attached);
            work(tx)
        };
        let (tell, outcome) = oneshot::oneshot();
        let job: Job = Box::new(move |batch| {
            let (changes, value) = match batch.transact(unix_now(), work) {
                Ok((value, changes)) => (changes, Ok(value)),
                Err(error) => (Vec::new(), Err(WriteError::from(error))),
            };
            let finish: Finish = Box::new(move |committed| {
                let outcome = match (value, committed) {
                    // A refusal needs no commit to be true.
                    (Err(error), _) | (Ok(_), Err(error)) => Err(error),
                    (Ok(value), Ok(())) => Ok(value),
                };
                // The one who asked may be gone; the transaction stands.
                let _ = tell.send(outcome);
            });
            (changes, finish)
        });
        (Self { origin, messages, attached: octets, job }, outcome)
    }
}

/// A batch that is built, and what follows from its commit.
pub(super) struct Built {
    pub batch: Batch,
    pub pending: Pending,
    pub published: Vec<Published>,
    pub finishes: Vec<Finish>,
    /// Transactions for which there was no time.
    pub rest: VecDeque<Waiting>,
}

/// Takes what may go into one batch, in order. What brings many rows of others has a batch of its own.
pub(super) fn take(waiting: &mut VecDeque<Waiting>) -> VecDeque<Waiting> {
    let some = waiting.len().min(JOBS_PER_BATCH_MAX);
    let count = match waiting.iter().take(some).position(|job| job.attached > ATTACHED_OCTETS_MAX) {
        Some(0) => 1,
        Some(before) => before,
        None => some,
    };
    waiting.drain(..count).collect()
}

/// Builds a batch of the first of `jobs`. None when a transaction panicked on a worker thread: nothing of the
/// batch is left then, and those who asked are told by the end of their channel.
///
/// What takes its time, and what may have to wait for the disk, goes to a worker thread.
pub(super) async fn build(
    state: Arc<Account>,
    store: &Arc<Store>,
    pool: &Pool,
    jobs: VecDeque<Waiting>,
) -> Option<Built> {
    let messages = jobs.iter().map(|waiting| waiting.messages).sum::<usize>();
    if messages <= HERE_MESSAGES_MAX && !store.engine().reads_may_wait() {
        return Some(run(&state, store, jobs));
    }
    let store = Arc::clone(store);
    pool.run_anyway(move || run(&state, &store, jobs)).await.ok()
}

fn run(state: &Account, store: &Store, mut jobs: VecDeque<Waiting>) -> Built {
    let begun = Instant::now();
    let reader = store.reader();
    let mut batch = state.begin(&reader);
    let (mut published, mut finishes) = (Vec::new(), Vec::new());
    while let Some(Waiting { origin, job, .. }) = jobs.pop_front() {
        let (changes, finish) = job(&mut batch);
        finishes.push(finish);
        published.extend(changes.into_iter().map(|change| Published {
            modseq: change.modseq(),
            change,
            origin,
        }));
        if begun.elapsed() > BUILD_MAX {
            break;
        }
    }
    let (batch, pending) = batch.finish();
    Built { batch, pending, published, finishes, rest: jobs }
}

#[cfg(test)]
mod tests {
    use postrider_storage::engine::Space;

    use super::*;

    /// A transaction that shares its batch with so many octets of rows of others.
    fn job(octets: usize) -> Waiting {
        let mut attached = Batch::new();
        if octets > 0 {
            attached.insert(Space::Rows, b"k".to_vec(), Vec::new());
            let besides = attached.octets();
            attached = Batch::new();
            attached.insert(Space::Rows, b"k".to_vec(), vec![0; octets - besides]);
        }
        assert_eq!(attached.octets(), octets);
        Waiting::new(None, 1, attached, |_| Ok(())).0
    }

    #[test]
    fn what_brings_many_rows_of_others_has_a_batch_of_its_own() {
        let batches = |jobs: &[usize]| {
            let mut waiting: VecDeque<Waiting> = jobs.iter().copied().map(job).collect();
            let mut counts = Vec::new();
            while !waiting.is_empty() {
                counts.push(take(&mut waiting).len());
            }
            counts
        };
        let (most, over) = (ATTACHED_OCTETS_MAX, ATTACHED_OCTETS_MAX + 1);
        assert_eq!(batches(&[0, most, most, 0]), [4]);
        assert_eq!(batches(&[0, most, over, 0]), [2, 1, 1]);
        assert_eq!(batches(&[over, over]), [1, 1]);
        assert_eq!(batches(&[0; JOBS_PER_BATCH_MAX + 1]), [JOBS_PER_BATCH_MAX, 1]);
    }
}

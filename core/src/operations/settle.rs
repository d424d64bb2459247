//! Bringing a large change of the directory to its end: after it was applied, after it failed, and at start.

use std::time::{Duration, Instant};

use postrider_storage::directory::{self, PlanState, Settled, Settling};
use postrider_storage::engine::{Durability, Incarnation};

use super::{ServerOperations, failure, internal};
use crate::commit;
use crate::control::OperationError;
use crate::lock::Held;

/// What others are told meanwhile.
const SETTLING: &str = "the server finishes a large change of the directory that was begun before";
/// What others are told while a document is applied.
pub(super) const APPLYING: &str = "a document is being applied to the directory";

/// A plan on its way to its end.
#[derive(Default)]
pub(super) struct Settler {
    settling: Settling,
    /// The engine's life in which the steps so far were: in another one they may be lost.
    incarnation: Option<Incarnation>,
}

/// How far a step of settling a plan came.
pub(super) enum Went {
    /// So many rows are done with, and more is left.
    On(u64),
    /// There is no plan any more; what it was, if there was one.
    ToItsEnd(Option<PlanState>),
}

impl ServerOperations {
    /// Does what a process that ended had left.
    pub(super) async fn settle_at_start(&self) {
        let outcome = match self.directory.take().await {
            Ok(held) => self.settle_leftovers(&held).await,
            // Whoever has the lock does it first.
            Err(_) => return,
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, "a large change of the directory can't be settled; it is tried again later");
        }
    }

    /// Brings a plan to its end that is there although nobody works on it.
    pub(super) async fn settle_leftovers(&self, held: &Held<'_>) -> Result<(), OperationError> {
        let found = self
            .on_pool(|shared| directory::plan_state(&*shared.store.engine().snapshot()).map_err(internal));
        let Some(state) = found.await? else { return Ok(()) };
        held.for_long(SETTLING);
        tracing::info!(?state, "settling a large change of the directory that was begun before");
        let started = Instant::now();
        let state = self.settle().await?;
        tracing::info!(?state, seconds = started.elapsed().as_secs(), "the directory is settled");
        if state == Some(PlanState::Sealed) {
            self.erase_removed();
        }
        Ok(())
    }

    /// Brings a plan to its end, if there is one.
    async fn settle(&self) -> Result<Option<PlanState>, OperationError> {
        let mut settler = Settler::default();
        loop {
            match self.settle_step(&mut settler).await? {
                Went::On(_) => {}
                Went::ToItsEnd(state) => return Ok(state),
            }
        }
    }

    /// One step of that. Cheap for the shard: what is read is read on the workers. When one fails, a later
    /// change or start begins anew.
    pub(super) async fn settle_step(&self, settler: &mut Settler) -> Result<Went, OperationError> {
        let shared = &self.shard.shared;
        let mut settling = std::mem::take(&mut settler.settling);
        let stepped = self.on_idle_pool(move |shared| {
            let settled = settling.step(&*shared.store.engine().snapshot()).map_err(internal)?;
            Ok((settling, settled))
        });
        let settled;
        (settler.settling, settled) = stepped.await?;
        let (batch, durability, went) = match settled {
            Settled::Nothing => {
                shared.store.end_sealing();
                return Ok(Went::ToItsEnd(None));
            }
            Settled::Step { batch, rows } => (batch, Durability::Buffered, Went::On(rows)),
            Settled::Last { batch, state } => (batch, Durability::Synced, Went::ToItsEnd(Some(state))),
        };
        let submitted = commit::submit(&shared.committer, batch, durability, settler.incarnation).await;
        let done = match submitted {
            Ok(submitted) => submitted.done().await,
            Err(error) => Err(error),
        };
        settler.incarnation = Some(done.map_err(|error| failure::commit(&error))?.incarnation);
        if matches!(went, Went::ToItsEnd(_)) {
            shared.store.end_sealing();
        }
        Ok(went)
    }

    /// Throws away what a change that failed has left. When that fails, too, the next change or the next
    /// start does it.
    pub(super) async fn throw_away(&self) {
        if let Err(error) = self.settle().await {
            tracing::warn!(%error, "what is left of a change that failed is thrown away later");
        }
    }
}

/// Says how often somebody is told how far work is.
pub(super) struct Pace(Instant);

impl Pace {
    /// Twice as often as a client has to hear of the server.
    const EVERY: Duration = Duration::from_millis(500);

    /// Begins now.
    pub(super) fn new() -> Self {
        Self(Instant::now())
    }

    /// Whether it is time.
    pub(super) fn is_due(&mut self) -> bool {
        let due = self.0.elapsed() >= Self::EVERY;
        if due {
            self.0 = Instant::now();
        }
        due
    }
}

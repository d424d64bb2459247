//! The text index of an account, as an operator sees it.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use postrider_storage::ids::AccountId;

use super::{ServerOperations, failure, internal};
use crate::accounts::LoadError;
use crate::control::protocol::{Answer, FailureKind, Progress, TextIndexStatus};
use crate::control::{Exchange, OperationError, Transport};
use crate::runtime::{spawn_task, timeout};
use crate::shard::Shard;
use crate::textindex::{self, Pace, Trouble};

/// How often the client is told how far the work is; twice as often as it has to be.
const TELL_EVERY: Duration = Duration::from_millis(500);

impl ServerOperations {
    pub(super) async fn index_status(&self, account: &str) -> Result<Answer, OperationError> {
        let id = self.account_id(account).await?;
        self.text_index(id).await
    }

    async fn text_index(&self, id: AccountId) -> Result<Answer, OperationError> {
        let (row, next) = textindex::status(&self.shard, id).await.map_err(refused)?;
        let mut status = TextIndexStatus { exists: row.is_some(), next, ..TextIndexStatus::default() };
        if let Some(row) = row {
            status.covered = row.covered.0;
            for segment in row.live() {
                status.segments += 1;
                status.emails += u64::from(segment.emails);
                status.terms += segment.terms;
                status.octets += segment.dictionary_octets + segment.postings_octets;
            }
        }
        Ok(Answer::TextIndex(status))
    }

    pub(super) async fn rebuild_index<T: Transport>(
        &self,
        account: &str,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        let id = self.account_id(account).await?;
        if !textindex::is_on(&self.shard) {
            return Err(failure::invalid("text_index is \"off\" in the configuration: there are no indexes"));
        }
        let progress = Arc::new(textindex::Progress::default());
        let (shard, told) = (Rc::clone(&self.shard), Arc::clone(&progress));
        let mut task = spawn_task("rebuild a text index", async move {
            shard.at_home(id, move |shard| Box::pin(async move { rebuild(&shard, id, &told).await })).await
        });
        loop {
            match timeout(TELL_EVERY, &mut task).await {
                Ok(outcome) => {
                    outcome.map_err(internal)?.map_err(internal)?.map_err(refused)?;
                    return self.text_index(id).await;
                }
                Err(_) => {
                    let done = progress.done.load(Ordering::Relaxed);
                    let total = Some(progress.total.load(Ordering::Relaxed)).filter(|total| *total > 0);
                    let told = exchange.progress(Progress { done, total, what: None }).await;
                    if let Err(gone) = told {
                        // The index is built all the same.
                        task.detach();
                        return Err(gone.into());
                    }
                }
            }
        }
    }
}

async fn rebuild(shard: &Rc<Shard>, id: AccountId, progress: &textindex::Progress) -> Result<(), Trouble> {
    let account = shard.accounts.get(id).await?;
    if !account.state().exists() {
        return Ok(());
    }
    account.transact(None, None, |tx| tx.reset_text()).await?;
    textindex::index(shard, id, Pace::Fast, progress).await
}

fn refused(trouble: Trouble) -> OperationError {
    match trouble {
        Trouble::Pool(error) => failure::busy(error),
        Trouble::Load(LoadError::Removed) => {
            OperationError::new(FailureKind::NotFound, "the account was removed")
        }
        Trouble::Stopping => OperationError::new(FailureKind::Unavailable, "the server stops"),
        other => internal(other),
    }
}

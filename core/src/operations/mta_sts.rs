//! The requests about kept policies of MTA-STS (RFC 8461): what is kept is read on the worker pool; what shards remember
//! besides is asked of each of them, and each is told when a policy is forgotten.

use std::rc::Rc;

use postrider_delivery::destination::Target;
use postrider_proto::address::Domain;
use postrider_proto::mta_sts::Policy;
use postrider_storage::engine::{Batch, Durability};
use postrider_storage::mta_sts;
use postrider_storage::reader::Reader;
use postrider_storage::rows;
use postrider_storage::store::StoreError;

use super::queue::{Teller, page_max};
use super::{ServerOperations, failure, internal};
use crate::clock::unix_now;
use crate::commit;
use crate::control::protocol::{Answer, FailureKind, MtaStsRow};
use crate::control::{Exchange, OperationError, Transport};
use crate::delivery::JudgedPolicy;
use crate::runtime::ShardId;
use crate::shard::Shard;

/// Rows that are read at a time: each may have a policy of 64 KiB.
const PAGE: usize = if cfg!(test) { 2 } else { 64 };

/// What the store keeps of some domains, and where to go on.
type Page = (Vec<(String, rows::MtaStsRow)>, Option<String>);

impl ServerOperations {
    pub(super) async fn list_policies<T: Transport>(
        &self,
        domain: Option<&str>,
        cursor: Option<&str>,
        limit: Option<u32>,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        if let Some(domain) = domain {
            let domain = failure::domain(domain)?;
            let kept = self.kept_policy(&domain).await?.ok_or_else(|| nothing_kept(&domain))?;
            exchange.row(&kept).await?;
            return Ok(Answer::Page { next: None });
        }
        let mut next = Some(match cursor {
            Some(cursor) => Domain::parse(cursor).map(|domain| domain.to_string()).map_err(|_| {
                failure::invalid(format!("{cursor:?} is no cursor of this list. Take one that it ended with"))
            })?,
            None => String::new(),
        });
        let most = page_max(limit);
        let (mut left, mut teller) = (most, Teller::new("found"));
        while let Some(from) = next.take_if(|_| left > 0) {
            let (rows, then) = self
                .on_idle_pool(move |shared| page(&shared.store.reader(), &from, left).map_err(internal))
                .await?;
            left = left.saturating_sub(rows.len());
            for row in self.shown(rows).await {
                exchange.row(&row).await?;
            }
            next = then;
            teller.tell(exchange, (most - left) as u64, None).await?;
        }
        Ok(Answer::Page { next })
    }

    /// What is kept of a domain.
    pub(super) async fn kept_policy(&self, domain: &Domain) -> Result<Option<MtaStsRow>, OperationError> {
        let name = domain.as_str().to_owned();
        let row = self.on_pool(move |shared| {
            let row = mta_sts::get(&shared.store.reader(), &name).map_err(internal)?;
            Ok(row.map(|row| (name, row)))
        });
        Ok(self.shown(row.await?.into_iter().collect()).await.pop())
    }

    pub(super) async fn kept_for(&self, target: &Target) -> Result<Option<MtaStsRow>, OperationError> {
        match target {
            Target::Domain(domain) => self.kept_policy(domain).await,
            Target::Literal(_) => Ok(None),
        }
    }

    /// Rows as operators see them, with what shards remember of them.
    async fn shown(&self, rows: Vec<(String, rows::MtaStsRow)>) -> Vec<MtaStsRow> {
        let now = unix_now();
        let domains: Vec<Option<Domain>> =
            rows.iter().map(|(domain, _)| Domain::parse(domain).ok()).collect();
        let mut failed: Vec<Option<i64>> = vec![None; rows.len()];
        for shard in 0..self.shard.shared.shards.len() {
            let domains = domains.clone();
            let remembered = self.shard.at_shard(ShardId(shard), move |shard| {
                Box::pin(async move {
                    let until = |domain: &Domain| shard.deliveries.policy_failed_until(domain, now);
                    domains.iter().map(|domain| domain.as_ref().and_then(until)).collect::<Vec<_>>()
                })
            });
            // A shard that has ended delivers nothing.
            for (known, remembered) in failed.iter_mut().zip(remembered.await.unwrap_or_default()) {
                *known = (*known).max(remembered);
            }
        }
        rows.into_iter().zip(failed).map(|((domain, row), failed)| shown(domain, &row, failed, now)).collect()
    }

    pub(super) async fn forget_policy(&self, domain: &str) -> Result<Answer, OperationError> {
        let domain = failure::domain(domain)?;
        let held = self.forgotten_policy.take().await.map_err(failure::long)?;
        let name = domain.as_str().to_owned();
        let row = self.on_pool(move |shared| mta_sts::get(&shared.store.reader(), &name).map_err(internal));
        let is_kept = row.await?.is_some();
        // To its end, whether who asked listens or not: no shard keeps anything of the domain before.
        let done = forget(&self.shard, &domain).await;
        drop(held);
        done?;
        if !is_kept {
            return Err(nothing_kept(&domain));
        }
        tracing::info!(%domain, "the kept policy of MTA-STS was forgotten");
        Ok(Answer::Done)
    }
}

/// Removes a policy, also one that is just being written.
async fn forget(shard: &Rc<Shard>, domain: &Domain) -> Result<(), OperationError> {
    // First, so that none of them writes again what it has read before; also where one is just being fetched, or waits for
    // the committer.
    tell(shard, domain, |shard, domain| shard.deliveries.forget_policy(domain)).await?;
    let mut batch = Batch::new();
    mta_sts::remove(&mut batch, domain.as_str());
    let done = commit::commit(&shard.shared.committer, batch, Durability::Synced).await;
    tell(shard, domain, |shard, _| shard.deliveries.forgot_policy()).await?;
    done.map(drop).map_err(|error| failure::commit(&error))
}

async fn tell(
    shard: &Rc<Shard>,
    domain: &Domain,
    tell: impl Fn(&Shard, &Domain) + Clone + Send + 'static,
) -> Result<(), OperationError> {
    for other in 0..shard.shared.shards.len() {
        let (domain, tell) = (domain.clone(), tell.clone());
        let told =
            shard.at_shard(ShardId(other), move |shard| Box::pin(async move { tell(&shard, &domain) }));
        told.await.map_err(|_| stopping())?;
    }
    Ok(())
}

fn stopping() -> OperationError {
    OperationError::new(FailureKind::Unavailable, "the server stops")
}

fn nothing_kept(domain: &Domain) -> OperationError {
    let message = format!("no policy of {domain} is kept. `postrider mtasts cached` lists those that are");
    OperationError::new(FailureKind::NotFound, message)
}

/// At most `most` rows, and fewer than fill the memory.
fn page(reader: &Reader, from: &str, most: usize) -> Result<Page, StoreError> {
    let mut rows = Vec::new();
    for row in mta_sts::from(reader, from) {
        let (domain, row) = row?;
        if rows.len() == most.min(PAGE) {
            return Ok((rows, Some(domain)));
        }
        rows.push((domain, row));
    }
    Ok((rows, None))
}

fn shown(domain: String, row: &rows::MtaStsRow, failed_until: Option<i64>, now: i64) -> MtaStsRow {
    let judged = JudgedPolicy::new(row, failed_until, now);
    let policy = (!row.backoff).then(|| Policy::parse(row.policy.as_bytes()).ok()).flatten();
    MtaStsRow {
        domain,
        id: row.record_id.to_string(),
        mode: policy.as_ref().map(|policy| policy.mode.word().to_owned()),
        max_age: policy.as_ref().map(|policy| policy.max_age),
        mx: policy.iter().flat_map(|policy| &policy.patterns).map(ToString::to_string).collect(),
        policy: (!row.backoff).then(|| row.policy.to_string()),
        fetched: (!row.backoff).then_some(row.updated),
        valid_until: (!row.backoff).then_some(row.valid_until),
        valid: judged.kept.policy.is_some(),
        used: row.used,
        failed: judged.failed,
        waits_until: judged.waits_until,
    }
}

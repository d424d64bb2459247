//! The requests about addresses that an account's mail isn't sent to, and about what became of recipients.

use postrider_proto::address::Address;
use postrider_storage::engine::{Batch, Durability};
use postrider_storage::queue::suppression::{self, Failure, Suppressed};
use postrider_storage::queue::{self, Bounds};

use super::rows::{Names, RETIREMENTS, outcome};
use super::{ServerOperations, Teller, cursor_of, id_of, page_max, refused, submitter, text};
use crate::clock::unix_now;
use crate::commit;
use crate::control::protocol::{Answer, FailureKind, RetiredFilter, SuppressionRow};
use crate::control::{Exchange, OperationError, Transport};
use crate::operations::{failure, internal};
use crate::shard::Shared;

/// Rows that are read at a time; so few in tests that they are read in several steps.
const PAGE: usize = if cfg!(test) { 2 } else { 256 };

impl ServerOperations {
    pub(super) async fn add_suppression(
        &self,
        account: &str,
        address: String,
        reason: String,
    ) -> Result<Answer, OperationError> {
        let reason = text(reason, "the reason")?;
        let address: Address = failure::address(&address)?;
        let account = self.account_id(account).await?;
        let mut batch = Batch::new();
        let failure = Failure { address: &address.to_string(), time: unix_now(), reason: &reason };
        suppression::add(&mut batch, account, failure).map_err(refused)?;
        self.write(batch).await
    }

    pub(super) async fn remove_suppression(
        &self,
        account: &str,
        address: String,
    ) -> Result<Answer, OperationError> {
        failure::address(&address)?;
        let id = self.account_id(account).await?;
        let told = format!("{address} is not on the suppression list of account {account}");
        let batch = self.on_pool(move |shared| {
            let mut batch = Batch::new();
            let reader = shared.store.reader();
            if suppression::remove(&reader, &mut batch, id, &address).map_err(internal)? {
                Ok(batch)
            } else {
                Err(OperationError::new(FailureKind::NotFound, told))
            }
        });
        self.write(batch.await?).await
    }

    async fn write(&self, batch: Batch) -> Result<Answer, OperationError> {
        let committed = commit::commit(&self.shard.shared.committer, batch, Durability::Synced).await;
        committed.map_err(|error| failure::commit(&error))?;
        Ok(Answer::Done)
    }

    pub(super) async fn look_up_suppression<T: Transport>(
        &self,
        account: &str,
        address: String,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        failure::address(&address)?;
        let name = account.to_owned();
        let id = self.account_id(account).await?;
        let found = self.on_pool(move |shared| {
            let row = suppression::lookup(&shared.store.reader(), id, &address).map_err(internal)?;
            let base = suppression::base_address(&address);
            Ok(row.map(|row| shown(Suppressed { account: id, base, row }, name)))
        });
        if let Some(row) = found.await? {
            exchange.row(&row).await?;
        }
        Ok(Answer::Done)
    }

    pub(super) async fn list_suppressions<T: Transport>(
        &self,
        account: Option<&str>,
        cursor: Option<&str>,
        limit: Option<u32>,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        let account = match account {
            Some(name) => Some(self.account_id(name).await?),
            None => None,
        };
        let mut cursor = cursor.map(cursor_of).transpose()?;
        let mut left = page_max(limit);
        while left > 0 {
            let (from, most) = (cursor.take(), left.min(PAGE));
            let page = self.on_pool(move |shared| {
                let reader = shared.store.reader();
                let page = suppression::list(&reader, account, from.as_ref(), most).map_err(refused)?;
                let mut names = Names::new(&reader);
                let mut rows = Vec::with_capacity(page.addresses.len());
                for suppressed in page.addresses {
                    let name = names.of(suppressed.account.get()).map_err(internal)?;
                    rows.push(shown(suppressed, name.unwrap_or_default()));
                }
                Ok((rows, page.next))
            });
            let (rows, next) = page.await?;
            left = left.saturating_sub(rows.len());
            for row in &rows {
                exchange.row(row).await?;
            }
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        Ok(Answer::Page { next: cursor.map(|cursor| cursor.to_string()) })
    }

    pub(super) async fn list_retired<T: Transport>(
        &self,
        asked: RetiredFilter,
        cursor: Option<&str>,
        limit: Option<u32>,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        let mut cursor = cursor.map(cursor_of).transpose()?;
        let filter = self.on_pool(move |shared| retired_filter(shared, asked)).await?;
        let mut left = page_max(limit);
        let mut teller = Teller::new("listed");
        let mut done = 0;
        while left > 0 {
            let (from, bounds) = (cursor.take(), Bounds { entries_max: left, ..Bounds::default() });
            let filter = filter.clone();
            let page = self.on_pool(move |shared| {
                let reader = shared.store.reader();
                let page = queue::retired(&reader, &filter, from.as_ref(), bounds).map_err(refused)?;
                let mut names = Names::new(&reader);
                let rows =
                    page.recipients.iter().map(|row| names.retired(row)).collect::<Result<Vec<_>, _>>();
                Ok((rows.map_err(internal)?, page.next))
            });
            let (rows, next) = page.await?;
            left = left.saturating_sub(rows.len());
            done += rows.len() as u64;
            for row in &rows {
                exchange.row(row).await?;
            }
            cursor = next;
            if cursor.is_none() {
                break;
            }
            teller.tell(exchange, done, None).await?;
        }
        Ok(Answer::Page { next: cursor.map(|cursor| cursor.to_string()) })
    }
}

fn retired_filter(shared: &Shared, asked: RetiredFilter) -> Result<queue::RetiredFilter, OperationError> {
    let wanted = asked.outcome.map(|name| {
        let known = RETIREMENTS.into_iter().find(|known| outcome(*known) == name);
        let problem =
            || failure::invalid(format!("{name:?} is no outcome. Write delivered, failed or dropped"));
        known.ok_or_else(problem)
    });
    Ok(queue::RetiredFilter {
        entry: asked.entry.as_deref().map(id_of).transpose()?,
        account: asked.account.as_deref().map(|name| submitter(shared, name)).transpose()?,
        from: asked.from,
        to: asked.to,
        outcome: wanted.transpose()?,
    })
}

fn shown(suppressed: Suppressed, account: String) -> SuppressionRow {
    let Suppressed { base, row, .. } = suppressed;
    SuppressionRow {
        account,
        base,
        address: row.address.into(),
        created: row.created,
        automatic: row.automatic,
        reason: row.reason.into(),
    }
}

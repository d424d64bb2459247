//! The requests about the queue: lists are read page by page on the worker pool; what changes an entry is done on the
//! shard that owns it, some entries at a time.

mod changes;
mod damage;
mod rows;
mod rules;
mod suppressions;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use postrider_proto::address::Domain;
use postrider_storage::directory::Directory;
use postrider_storage::ids::{AccountId, QueueId};
use postrider_storage::keys::SYSTEM;
use postrider_storage::queue::{self, Bounds, Cursor, Filter, Order, Span, domain_hash};
use postrider_storage::store::{Refusal, StoreError};

use super::edit::find;
use super::{ServerOperations, failure, internal};
use crate::clock::unix_now;
use crate::control::protocol::{
    Answer, FailureKind, Progress, QUEUE_IDS_MAX, QUEUE_PAGE_MAX, QueueFilter, Request,
};
use crate::control::{Exchange, OperationError, Transport};
use crate::delivery::content::Source;
use crate::runtime::ShardId;
use crate::shard::Shared;
pub(super) use rows::Names;

/// How often the client is told how far the work is; twice as often as it has to be.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// Octets of what a sender is told, and of other texts that operators write.
const TEXT_OCTETS_MAX: usize = 500;

/// Tells the client how far the work is, now and then: that is how it is noticed that nobody waits any more.
pub(super) struct Teller {
    told: Instant,
    what: &'static str,
}

impl Teller {
    pub(super) fn new(what: &'static str) -> Self {
        Self { told: Instant::now(), what }
    }

    pub(super) async fn tell<T: Transport>(
        &mut self,
        exchange: &mut Exchange<T>,
        done: u64,
        total: Option<u64>,
    ) -> Result<(), OperationError> {
        if self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            exchange.progress(Progress { done, total, what: Some(self.what.to_owned()) }).await?;
        }
        Ok(())
    }
}

impl ServerOperations {
    /// Carries out a request about the queue.
    pub(super) async fn queue<T: Transport>(
        &self,
        request: Request,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        match request {
            Request::QueueList { filter, descending, cursor, limit } => {
                let order = if descending { Order::Descending } else { Order::Ascending };
                self.list_queue(*filter, order, cursor.as_deref(), limit, exchange).await
            }
            Request::QueueShow { id } => self.show_entry(&id, exchange).await,
            Request::QueueDump { id } => self.dump_entry(&id, exchange).await,
            Request::QueueChange { filter, change } => self.change_queue(*filter, change, exchange).await,
            Request::HoldRuleAdd { rule } => self.add_hold_rule(rule, exchange).await,
            Request::HoldRuleList => self.list_hold_rules(exchange).await,
            Request::HoldRuleRemove { id } => self.remove_hold_rule(id).await,
            Request::SuppressionAdd { account, address, reason } => {
                self.add_suppression(&account, address, reason).await
            }
            Request::SuppressionRemove { account, address } => {
                self.remove_suppression(&account, address).await
            }
            Request::SuppressionLookup { account, address } => {
                self.look_up_suppression(&account, address, exchange).await
            }
            Request::SuppressionList { account, cursor, limit } => {
                self.list_suppressions(account.as_deref(), cursor.as_deref(), limit, exchange).await
            }
            Request::RetiredList { filter, cursor, limit } => {
                self.list_retired(*filter, cursor.as_deref(), limit, exchange).await
            }
            // Every other request is carried out elsewhere.
            other => Err(internal(format!("request {} is not known here", other.name()))),
        }
    }

    async fn filter(&self, asked: QueueFilter) -> Result<Filter, OperationError> {
        self.on_pool(move |shared| filter_of(shared, asked)).await
    }

    async fn list_queue<T: Transport>(
        &self,
        filter: QueueFilter,
        order: Order,
        cursor: Option<&str>,
        limit: Option<u32>,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        let filter = self.filter(filter).await?;
        let mut cursor = cursor.map(cursor_of).transpose()?;
        let mut left = page_max(limit);
        let mut teller = Teller::new("looked at");
        let mut looked = 0;
        while left > 0 {
            let (filter, from) = (filter.clone(), cursor.take());
            let bounds = Bounds { entries_max: left, ..Bounds::default() };
            let page = self.on_pool(move |shared| {
                let reader = shared.store.reader();
                let page = queue::list(&reader, &filter, order, from.as_ref(), bounds).map_err(refused)?;
                let rows = Names::new(&reader).page(&page).map_err(internal)?;
                Ok((rows, page.next, page.rows))
            });
            let (rows, next, count) = page.await?;
            left = left.saturating_sub(rows.len());
            looked += count as u64;
            for row in &rows {
                exchange.row(row).await?;
            }
            cursor = next;
            if cursor.is_none() {
                break;
            }
            teller.tell(exchange, looked, None).await?;
        }
        Ok(Answer::Page { next: cursor.map(|cursor| cursor.to_string()) })
    }

    async fn show_entry<T: Transport>(
        &self,
        id: &str,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        let id = id_of(id)?;
        let shown = self.on_pool(move |shared| {
            let reader = shared.store.reader();
            Names::new(&reader).shown(id).map_err(internal)?.ok_or_else(|| no_entry(id))
        });
        let (recipients, entry) = shown.await?;
        let mut details = match entry {
            Ok(details) => details,
            Err(damaged) => {
                for recipient in &recipients {
                    exchange.row(recipient).await?;
                }
                return Ok(Answer::QueueDamaged(damaged));
            }
        };
        // Whose entry it is knows why what came of it isn't in the store, and why it has no turn.
        let domain = domain_hash(&details.row.domain);
        let owner = queue::shard_of(domain, self.shard.shared.shards.len());
        let known = self.shard.at_shard(ShardId(owner), move |owner| {
            Box::pin(async move { (owner.deliveries.unwritten(id), owner.deliveries.obstacle(domain)) })
        });
        let obstacle;
        (details.unwritten, obstacle) = known.await.unwrap_or_default();
        let is_due = details.row.next_attempt.is_some_and(|time| time <= unix_now());
        details.waits_for = obstacle.filter(|_| is_due && !details.row.underway);
        for recipient in &recipients {
            exchange.row(recipient).await?;
        }
        Ok(Answer::QueueEntry(Box::new(details)))
    }

    async fn dump_entry<T: Transport>(
        &self,
        id: &str,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        let id = id_of(id)?;
        let mut source = self
            .on_pool(move |shared| {
                let reader = shared.store.reader();
                let unreadable = |error: StoreError| {
                    if error.is_damage() { damaged(id, &error) } else { internal(error) }
                };
                let row = queue::entry(&reader, id).map_err(unreadable)?.ok_or_else(|| no_entry(id))?;
                let prefix = queue::prefix(&reader, id).map_err(unreadable)?;
                Ok(Source::stored(prefix, queue::content(&row)))
            })
            .await?;
        let reads = &self.shard.shared.reads;
        loop {
            match source.next(reads).await {
                Ok(Some(part)) => exchange.write(part.as_ref()).await?,
                Ok(None) => return Ok(Answer::Done),
                Err(error) => {
                    // Its content may have gone with it meanwhile.
                    let is_there = reads.run(move |reader| queue::entry(reader, id)).await;
                    let has_left = matches!(is_there, Ok(None));
                    return Err(if has_left { left_meanwhile(id) } else { internal(error) });
                }
            }
        }
    }
}

/// What the store refuses is what was asked for.
pub(super) fn refused(error: StoreError) -> OperationError {
    match error {
        StoreError::Refused(
            refusal @ (Refusal::BadCursor | Refusal::TextTooLong | Refusal::EnvelopeTooLong),
        ) => failure::invalid(refusal.to_string()),
        StoreError::Refused(refusal @ Refusal::TooManyHoldRules) => {
            OperationError::new(FailureKind::Unavailable, refusal.to_string())
        }
        error => internal(error),
    }
}

fn left_meanwhile(id: QueueId) -> OperationError {
    OperationError::new(
        FailureKind::NotFound,
        format!("the entry {} left the queue meanwhile: what was written is not the whole message", id.0),
    )
}

fn damaged(id: QueueId, error: &StoreError) -> OperationError {
    let id = id.0;
    let message = format!(
        "the entry {id} is damaged, and its message can't be written ({error}). Only a backup of the store has it whole; postrider \
         queue drop {id} removes it"
    );
    OperationError::new(FailureKind::Internal, message)
}

fn no_entry(id: QueueId) -> OperationError {
    OperationError::new(
        FailureKind::NotFound,
        format!("there is no entry {} in the queue that is meant", id.0),
    )
}

fn id_of(text: &str) -> Result<QueueId, OperationError> {
    let id = text.parse().map(QueueId);
    id.map_err(|_| failure::invalid(format!("{text:?} is no id of an entry, which is a number")))
}

pub(super) fn cursor_of(text: &str) -> Result<Cursor, OperationError> {
    text.parse().map_err(|error: Refusal| failure::invalid(error.to_string()))
}

pub(super) fn page_max(limit: Option<u32>) -> usize {
    limit.unwrap_or(QUEUE_PAGE_MAX).min(QUEUE_PAGE_MAX) as usize
}

/// A text that an operator writes, as one line.
fn text(text: String, what: &str) -> Result<String, OperationError> {
    if text.len() > TEXT_OCTETS_MAX || text.chars().any(char::is_control) {
        let message = format!("{what} is not one line of at most {TEXT_OCTETS_MAX} octets");
        return Err(failure::invalid(message));
    }
    Ok(text)
}

/// A domain of recipients as the queue has it: an address literal counts as one.
fn recipient_domain(text: &str) -> Result<String, OperationError> {
    if text.starts_with('[') && text.ends_with(']') {
        return Ok(text.to_ascii_lowercase());
    }
    failure::domain(text).map(|domain: Domain| domain.to_string())
}

/// A domain of senders; an empty one is that of reports, which have no sender.
fn sender_domain(text: &str) -> Result<String, OperationError> {
    if text.is_empty() { Ok(String::new()) } else { failure::domain(text).map(|domain| domain.to_string()) }
}

/// The number of an account that is named as one that was removed: `#7`.
pub(super) fn number_of(name: &str) -> Option<AccountId> {
    name.strip_prefix('#').and_then(|number| number.parse().ok()).and_then(AccountId::new)
}

/// The number of an account that submits; that of an empty name is the server's.
fn submitter(shared: &Shared, name: &str) -> Result<u32, OperationError> {
    if name.is_empty() {
        return Ok(SYSTEM);
    }
    let reader = shared.store.reader();
    let found = find(&Directory::new(reader.snapshot()), &failure::account(name)?);
    match (found, number_of(name)) {
        (Err(_), Some(removed)) => Ok(removed.get()),
        (found, _) => found.map(|account| account.id.get()),
    }
}

fn filter_of(shared: &Shared, asked: QueueFilter) -> Result<Filter, OperationError> {
    if asked.ids.len() > QUEUE_IDS_MAX {
        return Err(failure::invalid(format!("there are more than {QUEUE_IDS_MAX} ids")));
    }
    let ids = asked.ids.iter().map(|id| id_of(id)).collect::<Result<Vec<_>, _>>()?;
    Ok(Filter {
        ids: (!ids.is_empty()).then_some(ids),
        account: asked.account.as_deref().map(|name| submitter(shared, name)).transpose()?,
        from: asked.from,
        to: asked.to,
        sender_domain: asked.sender_domain.as_deref().map(sender_domain).transpose()?,
        recipient_domain: asked.recipient_domain.as_deref().map(recipient_domain).transpose()?,
        submitted: Span { from: asked.submitted_from, before: asked.submitted_before },
        next_attempt: Span { from: asked.next_from, before: asked.next_before },
        held: asked.held,
        transport: asked.transport,
        ..Filter::default()
    })
}

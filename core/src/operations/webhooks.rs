//! The requests about calls of webhooks: lists are read page by page on the worker pool; what changes a call is done on the
//! shard that makes it.

use postrider_storage::directory::WebhookEvent;
use postrider_storage::ids::{AccountId, HookId};
use postrider_storage::queue::{Bounds, Cursor};
use postrider_storage::reader::Reader;
use postrider_storage::rows::{HookEnd, HookResult, HookRow, RetiredHookRow};
use postrider_storage::store::StoreError;
use postrider_storage::webhooks::{self, HookFilter};
use serde::Serialize;

use super::queue::{Names, Teller, cursor_of, number_of, page_max, refused};
use super::{ServerOperations, failure, internal};
use crate::control::protocol::{
    Answer, FailureKind, QUEUE_IDS_MAX, Request, RetiredWebhookRow, WebhookChange, WebhookDetails,
    WebhookFilter, WebhookResult, WebhookRow,
};
use crate::control::{Exchange, OperationError, Transport};
use crate::webhooks::{Operated, Trouble, Wish, operate, test};

impl ServerOperations {
    /// Carries out a request about webhooks.
    pub(super) async fn webhooks<T: Transport>(
        &self,
        request: Request,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        match request {
            Request::WebhookList { filter, cursor, limit } => {
                let filter = self.webhook_filter(*filter).await?;
                self.webhook_pages((cursor.as_deref(), limit), exchange, move |reader, from, bounds| {
                    let page = webhooks::list(reader, &filter, from, bounds)?;
                    let mut names = Names::new(reader);
                    let rows = page.hooks.iter().map(|hook| row(&mut names, hook.id, &hook.row));
                    Ok((rows.collect::<Result<_, _>>()?, page.next))
                })
                .await
            }
            Request::WebhookRetired { filter, cursor, limit } => {
                let filter = self.webhook_filter(*filter).await?;
                self.webhook_pages((cursor.as_deref(), limit), exchange, move |reader, from, bounds| {
                    let page = webhooks::retired(reader, &filter, from, bounds)?;
                    let mut names = Names::new(reader);
                    let rows = page.hooks.iter().map(|(until, id, row)| ended(&mut names, *until, *id, row));
                    Ok((rows.collect::<Result<_, _>>()?, page.next))
                })
                .await
            }
            Request::WebhookShow { id } => self.show_webhook(&id).await,
            Request::WebhookChange { filter, change } => {
                let filter = self.webhook_filter(*filter).await?;
                self.change_webhooks(filter, change, exchange).await
            }
            Request::WebhookTest { account, incoming } => self.test_webhook(&account, incoming).await,
            // Every other request is carried out elsewhere.
            other => Err(internal(format!("request {} is not known here", other.name()))),
        }
    }

    async fn webhook_filter(&self, asked: WebhookFilter) -> Result<HookFilter, OperationError> {
        if asked.ids.len() > QUEUE_IDS_MAX {
            return Err(failure::invalid(format!("there are more than {QUEUE_IDS_MAX} ids")));
        }
        let ids = asked.ids.iter().map(|id| id_of(id)).collect::<Result<Vec<_>, _>>()?;
        if let Some(event) = &asked.event
            && event != "incoming"
        {
            WebhookEvent::parse(event)
                .map_err(|error| failure::invalid(format!("{event:?}: {error}, or incoming")))?;
        }
        let account = match &asked.account {
            Some(account) => match (self.account_id(account).await, number_of(account)) {
                (Err(_), Some(removed)) => Some(removed),
                (found, _) => Some(found?),
            },
            None => None,
        };
        Ok(HookFilter {
            ids: (!ids.is_empty()).then_some(ids),
            account,
            url: asked.url,
            kind: asked.event,
            from: None,
        })
    }

    /// Shows pages until there are enough rows: what `page` reads from where it is told, and where to go on.
    async fn webhook_pages<T: Transport, R: Serialize + Send + 'static>(
        &self,
        (cursor, limit): (Option<&str>, Option<u32>),
        exchange: &mut Exchange<T>,
        page: impl Fn(&Reader, Option<&Cursor>, Bounds) -> Result<(Vec<R>, Option<Cursor>), StoreError>
        + Clone
        + Send
        + 'static,
    ) -> Result<Answer, OperationError> {
        let mut cursor = cursor.map(cursor_of).transpose()?;
        let most = page_max(limit);
        let (mut left, mut teller) = (most, Teller::new("found"));
        while left > 0 {
            let (page, from) = (page.clone(), cursor.take());
            let bounds = Bounds { entries_max: left, ..Bounds::default() };
            let read = self.on_idle_pool(move |shared| {
                page(&shared.store.reader(), from.as_ref(), bounds).map_err(refused)
            });
            let (rows, next) = read.await?;
            left = left.saturating_sub(rows.len());
            for row in &rows {
                exchange.row(row).await?;
            }
            cursor = next;
            if cursor.is_none() {
                break;
            }
            teller.tell(exchange, (most - left) as u64, None).await?;
        }
        Ok(Answer::Page { next: cursor.map(|cursor| cursor.to_string()) })
    }

    async fn show_webhook(&self, id: &str) -> Result<Answer, OperationError> {
        let id = id_of(id)?;
        let shown = self.on_pool(move |shared| {
            let reader = shared.store.reader();
            let hook = webhooks::hook(&reader, id).map_err(internal)?.ok_or_else(|| no_call(id))?;
            details(&reader, id, &hook).map_err(internal)
        });
        Ok(Answer::Webhook(Box::new(shown.await?)))
    }

    /// Does something to all calls that a filter means.
    async fn change_webhooks<T: Transport>(
        &self,
        filter: HookFilter,
        change: WebhookChange,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        let wish = match change {
            WebhookChange::Retry => Wish::Retry,
            WebhookChange::Cancel => Wish::Cancel,
        };
        let one = match filter.ids.as_deref() {
            Some([id]) => Some(*id),
            _ => None,
        };
        let (mut cursor, mut changed): (Option<Cursor>, Operated) = (None, Operated::default());
        let mut teller = Teller::new("changed");
        // What is made while this goes on isn't meant.
        let before = self.shard.shared.store.new_hook_id();
        loop {
            let (filter, from) = (filter.clone(), cursor.take());
            let page = self.on_idle_pool(move |shared| {
                let bounds = Bounds { entries_max: QUEUE_IDS_MAX, ..Bounds::default() };
                webhooks::list(&shared.store.reader(), &filter, from.as_ref(), bounds).map_err(refused)
            });
            let page = page.await?;
            let meant = page.hooks.iter().filter(|hook| hook.id < before);
            let meant: Vec<_> = meant.map(|hook| (hook.id, webhooks::url_hash(&hook.row.url))).collect();
            let Operated { done, busy } =
                operate(&self.shard, meant, wish).await.map_err(|error| match error {
                    Trouble::Stopping => OperationError::new(FailureKind::Unavailable, error.to_string()),
                    error => internal(error),
                })?;
            changed.done += done;
            changed.busy += busy;
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
            teller.tell(exchange, changed.done, None).await?;
        }
        let Operated { done, busy } = changed;
        if let (Some(id), 0, 0) = (one, done, busy) {
            return Err(no_call(id));
        }
        tracing::info!(?wish, done, busy, "calls of webhooks were changed");
        Ok(Answer::WebhooksChanged { calls: done, busy })
    }

    async fn test_webhook(&self, account: &str, incoming: bool) -> Result<Answer, OperationError> {
        let id: AccountId = self.account_id(account).await?;
        let tested = test(&self.shard, id, incoming).await.map_err(internal)?.ok_or_else(|| {
            let kind = if incoming { "that come" } else { "that it sends" };
            let message = format!("account {account} has no webhook for messages {kind}");
            OperationError::new(FailureKind::NotFound, message)
        })?;
        Ok(Answer::WebhookTested(WebhookResult {
            time: crate::clock::unix_now(),
            milliseconds: tested.milliseconds,
            status: (tested.status != 0).then_some(tested.status),
            error: tested.error,
            response: tested.response,
        }))
    }
}

fn no_call(id: HookId) -> OperationError {
    OperationError::new(FailureKind::NotFound, format!("no call {} of a webhook waits that is meant", id.0))
}

fn id_of(text: &str) -> Result<HookId, OperationError> {
    let id = text.parse().map(HookId);
    id.map_err(|_| failure::invalid(format!("{text:?} is no id of a call of a webhook, which is a number")))
}

fn result(result: &HookResult) -> WebhookResult {
    WebhookResult {
        time: result.time,
        milliseconds: result.milliseconds,
        status: (result.status != 0).then_some(result.status),
        error: result.error().to_owned(),
        response: result.response().to_owned(),
    }
}

fn row(names: &mut Names<'_>, id: HookId, hook: &HookRow) -> Result<WebhookRow, StoreError> {
    Ok(WebhookRow {
        id: id.0.to_string(),
        account: names.of(hook.account.get())?.unwrap_or_default(),
        event: HookFilter::kind(hook.subject).to_owned(),
        url: hook.url.to_string(),
        created: hook.created,
        attempts: hook.attempts,
        next_attempt: hook.due,
        last: hook.results.last().map(result),
    })
}

fn details(reader: &Reader, id: HookId, hook: &HookRow) -> Result<WebhookDetails, StoreError> {
    Ok(WebhookDetails {
        row: row(&mut Names::new(reader), id, hook)?,
        results: hook.results.iter().map(result).collect(),
        payload: serde_json::from_slice(&hook.payload).unwrap_or_default(),
    })
}

fn ended(
    names: &mut Names<'_>,
    until: i64,
    id: HookId,
    retired: &RetiredHookRow,
) -> Result<RetiredWebhookRow, StoreError> {
    let WebhookRow { id, account, event, url, created, attempts, last, .. } = row(names, id, &retired.hook)?;
    let (outcome, superseded_by) = match retired.end {
        HookEnd::Delivered => ("delivered", None),
        HookEnd::Failed => ("failed", None),
        HookEnd::Superseded(by) => ("superseded", Some(by.0.to_string())),
        HookEnd::Canceled => ("canceled", None),
        HookEnd::Unwanted => ("unwanted", None),
        HookEnd::Expired => ("expired", None),
    };
    Ok(RetiredWebhookRow {
        id,
        account,
        event,
        url,
        created,
        attempts,
        outcome: outcome.to_owned(),
        superseded_by,
        ended: retired.ended,
        until,
        last,
    })
}

//! The requests about rules that hold messages.

use std::time::Duration;

use postrider_storage::directory::Directory;
use postrider_storage::engine::{Batch, Durability};
use postrider_storage::ids::RuleId;
use postrider_storage::queue::{self, Change, Filter, Span};
use postrider_storage::rows::{Held, HoldRuleRow};

use super::rows::Names;
use super::{ServerOperations, recipient_domain, refused, sender_domain, text};
use crate::clock::unix_now;
use crate::commit;
use crate::control::protocol::{self, Answer, FailureKind, HoldRule};
use crate::control::{Exchange, OperationError, Transport};
use crate::delivery::operate::Wish;
use crate::operations::edit::find;
use crate::operations::{failure, internal};
use crate::runtime::sleep;

/// Who took a message just before there was a rule may not have written it yet: it is looked for once more after
/// this time, and after all is committed that was handed to the committer by then, among what came since so many seconds
/// before the rule.
pub(super) const SETTLING: Duration = Duration::from_millis(500);
const RECENT_SECONDS: i64 = 60;

impl ServerOperations {
    pub(super) async fn add_hold_rule<T: Transport>(
        &self,
        rule: HoldRule,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        let comment = text(rule.comment, "the comment")?;
        let (sender, recipient) = (rule.sender_domain.as_deref(), rule.recipient_domain.as_deref());
        let sender = sender.map(sender_domain).transpose()?;
        let recipient = recipient.map(recipient_domain).transpose()?;
        let account = rule.account.as_deref().map(failure::account).transpose()?;
        let held = self.hold_rules.take().await.map_err(failure::long)?;
        held.for_long("a hold rule is just added");
        let now = unix_now();
        let added = self.on_pool(move |shared| {
            let reader = shared.store.reader();
            let account = match account {
                Some(name) => Some(find(&Directory::new(reader.snapshot()), &name)?.id),
                None => None,
            };
            let row = HoldRuleRow {
                account,
                sender_domain: sender.map(Into::into),
                recipient_domain: recipient.map(Into::into),
                created: now,
                comment: comment.into(),
            };
            let (id, batch) = queue::add_hold_rule(&reader, &row).map_err(refused)?;
            Ok((id, row, batch))
        });
        let (id, row, batch) = added.await?;
        let committed = commit::commit(&self.shard.shared.committer, batch, Durability::Synced).await;
        // Also when it is not known whether it was done.
        self.shard.shared.hold_rules.changed();
        committed.map_err(|error| failure::commit(&error))?;
        tracing::info!(rule = id.0, ?row, "a hold rule was added");
        let wish = Wish::Change(Change::Hold(Held::Rule(id)));
        // What is damaged isn't delivered anyway, and told of by who finds it.
        let mut filter = Filter::of_rule(&row, 0..=u64::MAX);
        let mut entries = self.change_all(&filter, &wish, exchange).await?.entries;
        sleep(SETTLING).await;
        // What waits for a slow disk is committed before this, which writes nothing.
        let settled = commit::commit(&self.shard.shared.committer, Batch::new(), Durability::Buffered).await;
        settled.map_err(|error| failure::commit(&error))?;
        filter.submitted = Span { from: Some(now.saturating_sub(RECENT_SECONDS)), before: None };
        entries += self.change_all(&filter, &wish, exchange).await?.entries;
        Ok(Answer::HoldRule { id: id.0, held: entries })
    }

    pub(super) async fn list_hold_rules<T: Transport>(
        &self,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        let rules = self.on_pool(|shared| {
            let reader = shared.store.reader();
            let mut names = Names::new(&reader);
            let mut rows = Vec::new();
            for (id, row) in queue::hold_rules(&reader).map_err(internal)? {
                let account = row.account.map_or(Ok(None), |account| names.of(account.get()));
                let rule = HoldRule {
                    account: account.map_err(internal)?,
                    sender_domain: row.sender_domain.map(Into::into),
                    recipient_domain: row.recipient_domain.map(Into::into),
                    comment: row.comment.into(),
                };
                rows.push(protocol::HoldRuleRow { id: id.0, created: row.created, rule });
            }
            Ok(rows)
        });
        for row in rules.await? {
            exchange.row(&row).await?;
        }
        Ok(Answer::Done)
    }

    pub(super) async fn remove_hold_rule(&self, id: u32) -> Result<Answer, OperationError> {
        let _held = self.hold_rules.take().await.map_err(failure::long)?;
        let batch = self.on_pool(move |shared| {
            queue::remove_hold_rule(&shared.store.reader(), RuleId(id)).map_err(internal)
        });
        let batch = batch.await?.ok_or_else(|| {
            OperationError::new(FailureKind::NotFound, format!("there is no hold rule {id}"))
        })?;
        let committed = commit::commit(&self.shard.shared.committer, batch, Durability::Synced).await;
        // Also when it is not known whether it was done.
        self.shard.shared.hold_rules.changed();
        committed.map_err(|error| failure::commit(&error))?;
        tracing::info!(rule = id, "a hold rule was removed");
        Ok(Answer::Done)
    }
}

//! What the control socket asks of the running server.
//!
//! Runs on the first shard. Reading and planning happen on the worker pool; changes of the directory
//! are made one after the other, under one lock, and are durable when they are answered. A document that is
//! large is applied in many steps; meanwhile other changes are refused with a word why.

mod apply;
#[cfg(test)]
mod apply_tests;
mod changes;
mod dkim;
#[cfg(test)]
mod dkim_tests;
mod edit;
mod explain;
#[cfg(test)]
mod explain_tests;
pub(crate) mod failure;
mod index;
mod listing;
mod mail;
#[cfg(test)]
mod mail_tests;
mod mta_sts;
#[cfg(test)]
mod mta_sts_tests;
mod queue;
mod reports;
mod reports_sent;
mod sender;
mod settings;
#[cfg(test)]
mod settings_tests;
mod settle;
mod status;
#[cfg(test)]
mod tests;
mod webhooks;

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::control::protocol::{Answer, Request};
use crate::control::{Exchange, LocalFuture, OperationError, Operations, Transport};
use crate::runtime::{sleep, spawn};
use crate::shard::{Shard, Shared};
use crate::transfer;

use crate::lock::Lock;
use failure::{busy, internal};

/// How long a step of long work waits at a time while others need the workers, and how often: what waits
/// longer than that for a worker is not helped by more waiting.
const POOL_PAUSE: Duration = Duration::from_millis(20);
const PATIENCE: u32 = 500;
/// Tables in memory that may wait to be written before long work pauses, and how often it does: whoever else
/// writes may keep them waiting.
const FLUSHES_MAX: u64 = 1;
const FLUSH_PATIENCE: u32 = 50;

/// Carries out requests for the running server.
pub struct ServerOperations {
    shard: Rc<Shard>,
    started: Instant,
    /// Held from reading the directory to the commit of what was planned on it.
    directory: Lock,
    /// Held while rules that hold messages change.
    hold_rules: Lock,
    /// Held while a policy of MTA-STS is removed.
    forgotten_policy: Lock,
}

impl ServerOperations {
    /// Serves the server that `shard`, its first one, belongs to. Begins with what an earlier process had
    /// begun to change in the directory.
    pub fn start(shard: Rc<Shard>) -> Rc<Self> {
        let operations = Rc::new(Self {
            shard,
            started: Instant::now(),
            directory: Lock::default(),
            hold_rules: Lock::default(),
            forgotten_policy: Lock::default(),
        });
        let settles = Rc::clone(&operations);
        spawn("settle the directory", async move { settles.settle_at_start().await });
        operations
    }

    /// Runs `work` on the worker pool.
    async fn on_pool<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, OperationError> + Send + 'static,
    ) -> Result<T, OperationError> {
        let shared = Arc::clone(&self.shard.shared);
        self.shard.shared.pool.run(move || work(&shared)).await.map_err(busy)?
    }

    /// As [`Self::on_pool`], for one of many steps: waits while others want a worker, and while tables in memory
    /// wait to be written, for they would take more and more of it.
    async fn on_idle_pool<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, OperationError> + Send + 'static,
    ) -> Result<T, OperationError> {
        let shared = &self.shard.shared;
        let mut patience = PATIENCE;
        while patience > 0 && shared.pool.stats().queued > 0 {
            patience -= 1;
            sleep(POOL_PAUSE).await;
        }
        let mut patience = FLUSH_PATIENCE;
        while patience > 0 && shared.store.engine().outstanding_flushes() > FLUSHES_MAX {
            patience -= 1;
            sleep(POOL_PAUSE).await;
        }
        self.on_pool(work).await
    }

    async fn carry_out<T: Transport>(
        &self,
        request: Request,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        match request {
            Request::Status => Ok(self.status()),
            Request::Stop => {
                self.shard.shared.shutdown.begin(crate::server::STOP_GRACE);
                Ok(Answer::Done)
            }
            Request::LogLevels => Ok(self.log_levels()),
            Request::SetLogLevel { module, level } => self.set_log_level(module.as_deref(), level.as_deref()),
            Request::AccountList => self.list_accounts(exchange).await,
            Request::AccountShow { account } => self.show_account(&account, exchange).await,
            Request::AccountTlsKeyList { account } => self.list_tls_keys(&account, exchange).await,
            Request::AccountSettingsShow { account, secrets } => self.show_mail(&account, secrets).await,
            Request::AccountSettingsSet { account, settings } => self.set_mail(&account, settings).await,
            Request::AddressList { account } => self.list_addresses(account.as_deref(), exchange).await,
            Request::AddressRuleList { address } => self.list_rules(&address, exchange).await,
            Request::RouteList { of } => self.list_routes(&of, exchange).await,
            change @ (Request::AddressRuleAdd { .. }
            | Request::AddressRuleRemove { .. }
            | Request::AddressRuleMove { .. }
            | Request::AddressRequireAuthentication { .. }
            | Request::AddressReports { .. }
            | Request::RouteAdd { .. }
            | Request::RouteRemove { .. }
            | Request::RouteMove { .. }) => self.edit_settings(change).await,
            Request::DomainList => self.list_domains(exchange).await,
            Request::DomainDkimList { domain } => self.list_dkim_keys(&domain, exchange).await,
            change @ (Request::DomainDkimAdd { .. }
            | Request::DomainDkimSign { .. }
            | Request::DomainDkimRemove { .. }) => self.edit_dkim(change).await,
            Request::AliasList { domain } => self.list_aliases(domain.as_deref(), exchange).await,
            Request::DirectoryExport => self.export_directory(exchange).await,
            Request::DirectoryApply { dry_run, files } => {
                self.apply_directory(dry_run, files, exchange).await
            }
            Request::Import { format, account, mailbox, path } => {
                let account = self.account_id(&account).await?;
                let mailbox = failure::mailbox(&mailbox)?;
                let import = transfer::Import { format, account, mailbox, path };
                transfer::import(&self.shard, import, exchange).await
            }
            Request::Export { format, account, mailbox, path } => {
                let account = self.account_id(&account).await?;
                let mailbox = mailbox.as_deref().map(failure::mailbox).transpose()?;
                let export = transfer::Export { format, account, mailbox, path };
                transfer::export(&self.shard, export, exchange).await
            }
            Request::IndexStatus { account } => self.index_status(&account).await,
            Request::IndexRebuild { account } => self.rebuild_index(&account, exchange).await,
            reports @ (Request::ReportList { .. }
            | Request::ReportShow { .. }
            | Request::ReportDump { .. }
            | Request::ReportSummary { .. }) => self.reports(reports, exchange).await,
            reports @ (Request::ReportResults { .. }
            | Request::ReportSuppressAdd { .. }
            | Request::ReportSuppressRemove { .. }
            | Request::ReportSuppressList) => self.reports_sent(reports, exchange).await,
            queue @ (Request::QueueList { .. }
            | Request::QueueShow { .. }
            | Request::QueueDump { .. }
            | Request::QueueChange { .. }
            | Request::HoldRuleAdd { .. }
            | Request::HoldRuleList
            | Request::HoldRuleRemove { .. }
            | Request::SuppressionAdd { .. }
            | Request::SuppressionRemove { .. }
            | Request::SuppressionLookup { .. }
            | Request::SuppressionList { .. }
            | Request::RetiredList { .. }) => self.queue(queue, exchange).await,
            Request::DeliveryExplain { domain, from, account, attempt } => {
                self.explain_delivery(&domain, from.as_deref(), account.as_deref(), attempt).await
            }
            Request::MtaStsList { domain, cursor, limit } => {
                self.list_policies(domain.as_deref(), cursor.as_deref(), limit, exchange).await
            }
            Request::MtaStsForget { domain } => self.forget_policy(&domain).await,
            webhook @ (Request::WebhookList { .. }
            | Request::WebhookShow { .. }
            | Request::WebhookChange { .. }
            | Request::WebhookRetired { .. }
            | Request::WebhookTest { .. }) => self.webhooks(webhook, exchange).await,
            change => self.edit(change).await,
        }
    }
}

impl Operations for ServerOperations {
    fn run<'a, T: Transport>(
        &'a self,
        request: Request,
        exchange: &'a mut Exchange<T>,
    ) -> LocalFuture<'a, Result<Answer, OperationError>> {
        Box::pin(self.carry_out(request, exchange))
    }
}

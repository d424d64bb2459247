//! The requests that list what the directory holds: read page by page on the worker pool, each page from
//! a snapshot of its own, so that a slow reader holds none open.

use std::collections::HashMap;

use postrider_proto::address::Domain;
use postrider_storage::account::sent_in_window;
use postrider_storage::directory::{Account, AddressPattern, Directory, DomainSettings, DomainState, Target};
use postrider_storage::engine::EngineError;
use postrider_storage::ids::AccountId;
use postrider_storage::reader::Reader;

use super::edit::find;
use super::{ServerOperations, failure, internal};
use crate::clock::unix_now;
use crate::control::protocol::{
    AccountDetails, AccountRow, AddressRow, AliasRow, Answer, DomainRow, FailureKind, MailboxRow, TlsKeyRow,
};
use crate::control::{Exchange, OperationError, Transport};
use crate::smtp::sending::limits;

/// Rows that are read at a time.
const PAGE: usize = 256;

impl ServerOperations {
    pub(super) async fn list_accounts<T: Transport>(
        &self,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        // The order of names is that of the index, which has no pages; ids are in order of creation.
        let mut rows = Vec::new();
        let mut after = None;
        loop {
            let page = self.on_pool(move |shared| {
                let reader = shared.store.reader();
                let accounts = Directory::new(reader.snapshot()).accounts(after, PAGE).map_err(internal)?;
                accounts.iter().map(|account| account_row(&reader, account)).collect::<Result<Vec<_>, _>>()
            });
            let page = page.await?;
            let Some(last) = page.last().and_then(|row| AccountId::new(row.id)) else { break };
            after = Some(last);
            rows.extend(page);
        }
        rows.sort_by(|a, b| a.account.cmp(&b.account));
        for row in &rows {
            exchange.row(row).await?;
        }
        Ok(Answer::Done)
    }

    pub(super) async fn show_account<T: Transport>(
        &self,
        account: &str,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        let name = failure::account(account)?;
        let shown = self.on_pool(move |shared| {
            let reader = shared.store.reader();
            let directory = Directory::new(reader.snapshot());
            let account = find(&directory, &name)?;
            let mut mailboxes = Vec::new();
            for mailbox in reader.mailboxes(account.id) {
                let (_, row) = mailbox.map_err(internal)?;
                mailboxes.push(MailboxRow {
                    mailbox: row.name.to_string(),
                    messages: row.exists.into(),
                    unseen: row.unseen.into(),
                    octets: row.size,
                });
            }
            mailboxes.sort_by(|a, b| a.mailbox.cmp(&b.mailbox));
            let addresses = directory.addresses(account.id).map_err(internal)?;
            let head = reader.head(account.id).map_err(internal)?;
            let sent = sent_in_window(&reader, account.id, unix_now()).map_err(internal)?;
            let limits = limits(&account.settings.mail, shared.config.accounts.sending);
            let details = AccountDetails {
                row: account_row(&reader, &account)?,
                disabled_message: account.settings.login_disabled,
                messages: head.map_or(0, |head| head.messages),
                addresses: addresses.into_iter().map(|(address, _)| address.to_string()).collect(),
                sent_recipients: sent.0,
                recipients_per_day: limits.recipients_per_day,
                sent_first_time_recipients: sent.1,
                first_time_recipients_per_day: limits.first_time_recipients_per_day,
            };
            Ok((mailboxes, details))
        });
        let (mailboxes, details) = shown.await?;
        for mailbox in &mailboxes {
            exchange.row(mailbox).await?;
        }
        Ok(Answer::Account(details))
    }

    pub(super) async fn list_tls_keys<T: Transport>(
        &self,
        account: &str,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        let name = failure::account(account)?;
        let keys = self.on_pool(move |shared| {
            let reader = shared.store.reader();
            let directory = Directory::new(reader.snapshot());
            directory.tls_keys(find(&directory, &name)?.id).map_err(internal)
        });
        for key in keys.await? {
            let fingerprint = key.fingerprint.to_string();
            exchange.row(&TlsKeyRow { fingerprint, name: key.name, created: key.created }).await?;
        }
        Ok(Answer::Done)
    }

    pub(super) async fn list_addresses<T: Transport>(
        &self,
        account: Option<&str>,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        if let Some(account) = account {
            let name = failure::account(account)?;
            let addresses = self.on_pool({
                let name = name.clone();
                move |shared| {
                    let reader = shared.store.reader();
                    let directory = Directory::new(reader.snapshot());
                    directory.addresses(find(&directory, &name)?.id).map_err(internal)
                }
            });
            for (address, target) in addresses.await? {
                if let Some(row) = address_row(&address, &target, name.to_string()) {
                    exchange.row(&row).await?;
                }
            }
            return Ok(Answer::Done);
        }
        let mut names = HashMap::new();
        self.each_address(None, exchange, move |directory, address, target| {
            let Target::Account { account, .. } = target else { return Ok(None) };
            if names.len() > PAGE {
                names.clear();
            }
            let name = match names.get(account) {
                Some(name) => String::clone(name),
                None => {
                    let name = directory.account(*account)?.map_or_else(String::new, |a| a.name.to_string());
                    names.insert(*account, name.clone());
                    name
                }
            };
            Ok(address_row(address, target, name))
        })
        .await
    }

    pub(super) async fn list_aliases<T: Transport>(
        &self,
        domain: Option<&str>,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        let domain = domain.map(failure::domain).transpose()?;
        self.each_address(domain, exchange, |directory, address, target| {
            let (Target::Alias(_), AddressPattern::Exact(alias)) = (target, address) else {
                return Ok(None);
            };
            let members = directory.members(alias)?;
            let members = members.into_iter().map(|(_, member)| member.to_string()).collect();
            Ok(Some(AliasRow { alias: alias.to_string(), members }))
        })
        .await
    }

    pub(super) async fn list_domains<T: Transport>(
        &self,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        let mut after = None;
        loop {
            let page = self.domains(after).await?;
            let Some((last, _)) = page.last() else { return Ok(Answer::Done) };
            after = Some(last.clone());
            for (domain, settings) in page {
                let disabled = settings.state == DomainState::Disabled;
                exchange.row(&DomainRow { domain: domain.to_string(), disabled }).await?;
            }
        }
    }

    async fn domains(&self, after: Option<Domain>) -> Result<Vec<(Domain, DomainSettings)>, OperationError> {
        self.on_pool(move |shared| {
            let reader = shared.store.reader();
            Directory::new(reader.snapshot()).domains(after.as_ref(), PAGE).map_err(internal)
        })
        .await
    }

    /// Streams a row for each address that `row` makes one of, of a domain or of all.
    async fn each_address<T: Transport, R: serde::Serialize + Send + 'static>(
        &self,
        only: Option<Domain>,
        exchange: &mut Exchange<T>,
        mut row: impl FnMut(&Directory<'_>, &AddressPattern, &Target) -> Result<Option<R>, EngineError>
        + Send
        + 'static,
    ) -> Result<Answer, OperationError> {
        let mut waiting = match only {
            Some(domain) => {
                let known = domain.clone();
                let known = self.on_pool(move |shared| {
                    let reader = shared.store.reader();
                    Directory::new(reader.snapshot()).domain(&known).map_err(internal)
                });
                if known.await?.is_none() {
                    let message = format!("there is no domain {domain}");
                    return Err(OperationError::new(FailureKind::NotFound, message));
                }
                vec![domain]
            }
            None => Vec::new(),
        };
        let all = waiting.is_empty();
        let mut after_domain = None;
        loop {
            let Some(domain) = waiting.pop() else {
                if !all {
                    return Ok(Answer::Done);
                }
                let page = self.domains(after_domain).await?;
                let Some((last, _)) = page.last() else { return Ok(Answer::Done) };
                after_domain = Some(last.clone());
                waiting = page.into_iter().rev().map(|(domain, _)| domain).collect();
                continue;
            };
            let mut after: Option<String> = None;
            loop {
                let (of, from) = (domain.clone(), after.take());
                let page = self.on_pool(move |shared| {
                    let reader = shared.store.reader();
                    let directory = Directory::new(reader.snapshot());
                    let page = directory.domain_addresses(&of, from.as_deref(), PAGE).map_err(internal)?;
                    let last = page.last().map(|(localpart, ..)| localpart.clone());
                    let rows = page.iter().map(|(_, address, target)| row(&directory, address, target));
                    let rows: Vec<_> =
                        rows.filter_map(Result::transpose).collect::<Result<_, _>>().map_err(internal)?;
                    Ok((last, rows, row))
                });
                let (last, rows, again) = page.await?;
                row = again;
                for row in &rows {
                    exchange.row(row).await?;
                }
                match last {
                    Some(last) => after = Some(last),
                    None => break,
                }
            }
        }
    }
}

/// None for an address that is no account's.
fn address_row(address: &AddressPattern, target: &Target, account: String) -> Option<AddressRow> {
    let Target::Account { mailbox, destination, .. } = target else { return None };
    Some(AddressRow {
        address: address.to_string(),
        account,
        mailbox: mailbox.to_string(),
        rules: u32::try_from(destination.rules.len()).unwrap_or(u32::MAX),
        auth_required: destination.auth_required.clone(),
        reports: destination.reports.names().map(str::to_owned).collect(),
    })
}

fn account_row(reader: &Reader, account: &Account) -> Result<AccountRow, OperationError> {
    let head = reader.head(account.id).map_err(internal)?;
    Ok(AccountRow {
        account: account.name.to_string(),
        id: account.id.get(),
        disabled: account.settings.login_disabled.is_some(),
        used: head.map_or(0, |head| head.quota_used),
        quota: account.settings.quota,
        quota_messages: account.settings.quota_messages,
    })
}

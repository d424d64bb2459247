//! The requests about what is set for the mail of an account.

use postrider_proto::address::Address;
use postrider_proto::sasl::{Limits, Login};
use postrider_storage::directory::{
    AccountName, Change, Directory, LoginAnswer, MailSettings, OutgoingWebhook, Webhook, WebhookEvent,
    WebhookEvents, WebhookUrl,
};

use super::edit::find;
use super::{ServerOperations, failure, internal};
use crate::control::OperationError;
use crate::control::protocol::{self, Answer, MailSetting, Secret, ShownWebhook};

impl ServerOperations {
    pub(super) async fn show_mail(&self, account: &str, secrets: bool) -> Result<Answer, OperationError> {
        let name = failure::account(account)?;
        let found = self.on_pool(move |shared| {
            let reader = shared.store.reader();
            find(&Directory::new(reader.snapshot()), &name)
        });
        let account = found.await?;
        let MailSettings {
            recipients_per_day,
            first_time_recipients_per_day,
            from_id_logins,
            keep_retired_messages,
            keep_retired_webhooks,
            outgoing_webhook,
            incoming_webhook,
        } = account.settings.mail;
        Ok(Answer::MailSettings(Box::new(protocol::MailSettings {
            account: account.name.to_string(),
            recipients_per_day,
            first_time_recipients_per_day,
            from_id_logins: from_id_logins.iter().map(ToString::to_string).collect(),
            keep_retired_messages,
            keep_retired_webhooks,
            outgoing_webhook: outgoing_webhook.map(|outgoing| {
                let names = outgoing.events.iter().map(|event| event.name().to_owned());
                shown(&outgoing.hook, names.collect(), secrets)
            }),
            incoming_webhook: incoming_webhook.map(|hook| shown(&hook, Vec::new(), secrets)),
        })))
    }

    pub(super) async fn set_mail(
        &self,
        account: &str,
        settings: Vec<MailSetting>,
    ) -> Result<Answer, OperationError> {
        let name = failure::account(account)?;
        let change = self.change(move |directory| {
            let mut all = find(directory, &name)?.settings;
            for setting in settings {
                set(&mut all.mail, setting, directory, &name)?;
            }
            Ok(vec![Change::SetAccount { name, settings: all }])
        });
        change.await?;
        Ok(Answer::Done)
    }
}

fn set(
    mail: &mut MailSettings,
    setting: MailSetting,
    directory: &Directory<'_>,
    account: &AccountName,
) -> Result<(), OperationError> {
    match setting {
        MailSetting::RecipientsPerDay(most) => mail.recipients_per_day = most,
        MailSetting::FirstTimeRecipientsPerDay(most) => mail.first_time_recipients_per_day = most,
        MailSetting::KeepRetiredMessages(seconds) => mail.keep_retired_messages = seconds,
        MailSetting::KeepRetiredWebhooks(seconds) => mail.keep_retired_webhooks = seconds,
        MailSetting::FromIdLogins(logins) => {
            let logins = logins.iter().map(|login| from_id_login(directory, account, login));
            mail.from_id_logins = logins.collect::<Result<_, _>>()?;
            mail.from_id_logins.sort();
            mail.from_id_logins.dedup();
        }
        MailSetting::OutgoingWebhook(hook) => {
            mail.outgoing_webhook = hook
                .map(|hook| {
                    let events = hook.events.iter().map(|name| WebhookEvent::parse(name));
                    let events = events.collect::<Result<Vec<_>, _>>();
                    let events = events.map_err(|error| failure::invalid(error.to_string()))?;
                    let (hook, events) = (webhook(&hook)?, WebhookEvents::of(events));
                    Ok::<_, OperationError>(OutgoingWebhook { hook, events })
                })
                .transpose()?;
        }
        MailSetting::IncomingWebhook(hook) => {
            if hook.as_ref().is_some_and(|hook| !hook.events.is_empty()) {
                return Err(failure::invalid("the webhook of incoming mail has no events"));
            }
            mail.incoming_webhook = hook.as_ref().map(webhook).transpose()?;
        }
    }
    Ok(())
}

/// An address with which the account logs in, of a domain whose addresses can hold an id.
fn from_id_login(
    directory: &Directory<'_>,
    account: &AccountName,
    login: &str,
) -> Result<Address, OperationError> {
    let address = failure::address(login)?;
    let is_its = Login::new(login.as_bytes(), &Limits::DEFAULT)
        .ok()
        .map(|login| directory.login(&login))
        .transpose()
        .map_err(internal)?
        .is_some_and(
            |answer| matches!(answer, LoginAnswer::Account { account: of, .. } if of.name == *account),
        );
    if !is_its {
        return Err(failure::invalid(format!(
            "{address} is no address with which account {account} logs in"
        )));
    }
    let domain = directory.domain(&address.domain).map_err(internal)?;
    if domain.is_none_or(|domain| domain.separators.is_empty()) {
        let domain = &address.domain;
        return Err(failure::invalid(format!(
            "domain {domain} has no separators, behind which an id could stand; give it one first, with `directory apply`"
        )));
    }
    Ok(address)
}

fn webhook(hook: &protocol::Webhook) -> Result<Webhook, OperationError> {
    let url = WebhookUrl::parse(&hook.url).map_err(|error| failure::invalid(error.to_string()))?;
    let text = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.0.clone());
    let (authorization, secret) = (text(&hook.authorization), text(&hook.secret));
    Webhook::new(url, authorization.as_deref(), secret.as_deref())
        .map_err(|error| failure::invalid(error.to_string()))
}

fn shown(hook: &Webhook, events: Vec<String>, secrets: bool) -> ShownWebhook {
    let [authorization, secret] = [hook.authorization(), hook.secret()]
        .map(|text| text.filter(|_| secrets).map(|text| Secret(text.expose().to_string())));
    ShownWebhook {
        url: hook.url().to_string(),
        is_authorized: hook.authorization().is_some(),
        is_signed: hook.secret().is_some(),
        authorization,
        secret,
        events,
    }
}

//! Reads what is set for the mail of an account.

use postrider_proto::address::Address;
use toml_edit::TableLike;

use super::Reader;
use crate::directory::mail::MailSettings;
use crate::directory::webhook::{OutgoingWebhook, Webhook, WebhookEvent, WebhookEvents, WebhookUrl};

impl Reader<'_> {
    pub(super) fn mail(&mut self, table: &dyn TableLike) -> MailSettings {
        MailSettings {
            recipients_per_day: self.count(table, "recipients_per_day", "recipients"),
            first_time_recipients_per_day: self.count(table, "first_time_recipients_per_day", "recipients"),
            from_id_logins: self.id_logins(table),
            keep_retired_messages: self.count(table, "keep_retired_messages", "seconds"),
            keep_retired_webhooks: self.count(table, "keep_retired_webhooks", "seconds"),
            outgoing_webhook: self
                .webhook(table, "outgoing_webhook", true)
                .map(|(hook, events)| OutgoingWebhook { hook, events }),
            incoming_webhook: self.webhook(table, "incoming_webhook", false).map(|(hook, _)| hook),
        }
    }

    /// Bounded here already: what is noted of a document has less room for their number.
    fn id_logins(&mut self, table: &dyn TableLike) -> Vec<Address> {
        let texts = self.strings(table, "from_id_logins");
        let most = MailSettings::FROM_ID_LOGINS_MAX;
        if texts.len() > most {
            let span = table.get("from_id_logins").and_then(toml_edit::Item::span);
            self.fault(span, format!("from_id_logins has more than {most} entries, which is the most"));
            return Vec::new();
        }
        let mut logins = Vec::new();
        for (text, span) in texts {
            logins.extend(self.parsed(span, &text, Address::parse));
        }
        logins.sort();
        logins.dedup();
        logins
    }

    /// A webhook with its events, which only some have.
    fn webhook(
        &mut self,
        table: &dyn TableLike,
        key: &str,
        has_events: bool,
    ) -> Option<(Webhook, WebhookEvents)> {
        let item = table.get(key)?;
        let span = item.span();
        let table = self.table(item)?;
        let keys = ["url", "authorization", "secret", "events"];
        self.known(table, if has_events { &keys } else { &keys[..3] });
        if table.get("url").is_none() {
            self.fault(span.clone(), "url is missing".into());
        }
        let (authorization, secret) = (self.string(table, "authorization"), self.string(table, "secret"));
        let mut events = Vec::new();
        for (name, span) in self.strings(table, "events") {
            events.extend(self.parsed(span, &name, WebhookEvent::parse));
        }
        let url = self.value(table, "url", WebhookUrl::parse)?;
        match Webhook::new(url, authorization.as_deref(), secret.as_deref()) {
            Ok(hook) => Some((hook, WebhookEvents::of(events))),
            Err(error) => {
                self.fault(span, error.to_string());
                None
            }
        }
    }
}

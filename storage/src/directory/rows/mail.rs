//! What is set for the mail of an account, as the last part of the third version of ACCOUNT.
//!
//! | part | fields |
//! |---|---|
//! | mail | bits u8 (1 recipients a day, 2 first-time ones, 4 messages are kept, 8 calls are kept, 16 outgoing webhook, 32 incoming one), the first four u32 each, 0 where they aren't set, number of login addresses u8, these, the outgoing webhook with its events u8 (one bit each, in their order) behind it, the incoming one |
//! | webhook | URL, authorization, secret, the last two empty where there are none |

use postrider_proto::address::Address;

use super::{Reader, Writer};
use crate::directory::mail::MailSettings;
use crate::directory::webhook::{OutgoingWebhook, Webhook, WebhookEvents, WebhookUrl};

const NUMBERS: [u8; 4] = [1, 2, 4, 8];
const OUTGOING: u8 = 16;
const INCOMING: u8 = 32;

impl Writer {
    pub(super) fn mail(&mut self, mail: &MailSettings) {
        let numbers = [
            mail.recipients_per_day,
            mail.first_time_recipients_per_day,
            mail.keep_retired_messages,
            mail.keep_retired_webhooks,
        ];
        let mut bits: u8 =
            NUMBERS.iter().zip(numbers).filter(|(_, number)| number.is_some()).map(|(bit, _)| bit).sum();
        if mail.outgoing_webhook.is_some() {
            bits |= OUTGOING;
        }
        if mail.incoming_webhook.is_some() {
            bits |= INCOMING;
        }
        self.0.push(bits);
        numbers.iter().for_each(|number| self.u32(number.unwrap_or(0)));
        // Bounded by `MailSettings::FROM_ID_LOGINS_MAX`.
        self.0.push(mail.from_id_logins.len() as u8);
        mail.from_id_logins.iter().for_each(|login| self.text(&login.to_string()));
        if let Some(OutgoingWebhook { hook, events }) = &mail.outgoing_webhook {
            self.webhook(hook);
            self.0.push(events.bits());
        }
        if let Some(hook) = &mail.incoming_webhook {
            self.webhook(hook);
        }
    }

    fn webhook(&mut self, hook: &Webhook) {
        self.text(hook.url().as_str());
        for text in [hook.authorization(), hook.secret()] {
            self.text(text.map_or("", |text| text.expose()));
        }
    }
}

impl Reader<'_> {
    pub(super) fn mail(&mut self) -> Option<MailSettings> {
        let bits = self.u8()?;
        let mut numbers = [None; 4];
        for (number, bit) in numbers.iter_mut().zip(NUMBERS) {
            *number = Some(self.u32()?).filter(|_| bits & bit != 0);
        }
        let [recipients_per_day, first_time_recipients_per_day, keep_retired_messages, keep_retired_webhooks] =
            numbers;
        let count = self.u8()?;
        let logins: Option<Vec<_>> = (0..count).map(|_| Address::parse(self.text()?).ok()).collect();
        let outgoing_webhook = match bits & OUTGOING {
            0 => None,
            _ => {
                Some(OutgoingWebhook { hook: self.webhook()?, events: WebhookEvents::from_bits(self.u8()?)? })
            }
        };
        let incoming_webhook = if bits & INCOMING == 0 { None } else { Some(self.webhook()?) };
        Some(MailSettings {
            recipients_per_day,
            first_time_recipients_per_day,
            from_id_logins: logins?,
            keep_retired_messages,
            keep_retired_webhooks,
            outgoing_webhook,
            incoming_webhook,
        })
    }

    fn webhook(&mut self) -> Option<Webhook> {
        let url = WebhookUrl::parse(self.text()?).ok()?;
        let mut text = || Some(Some(self.text()?).filter(|text| !text.is_empty()));
        let (authorization, secret) = (text()?, text()?);
        Webhook::new(url, authorization, secret).ok()
    }
}

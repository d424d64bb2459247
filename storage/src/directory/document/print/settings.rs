//! Writes rules of addresses, routes, DKIM keys, and what is set for the mail of accounts.

use postrider_proto::dkim::tags::to_base64;

use super::quoted;
use crate::directory::destination::{Destination, MailRule, Pattern};
use crate::directory::mail::MailSettings;
use crate::directory::route::Route;
use crate::directory::types::{DkimKey, DkimState};
use crate::directory::webhook::{Webhook, WebhookEvents};

/// What else is set for an address, as entries of its inline table, each with `, ` before it.
pub(super) fn destination(destination: &Destination) -> String {
    let mut text = String::new();
    if let Some(required) = &destination.auth_required {
        text += &format!(", auth_required = {}", quoted(required));
    }
    if !destination.reports.is_empty() {
        let names: Vec<_> = destination.reports.names().map(quoted).collect();
        text += &format!(", reports = [{}]", names.join(", "));
    }
    match &*destination.rules {
        [] => {}
        // Lists may go over several lines, tables may not.
        rules => {
            text += ", rules = [\n";
            for one in rules {
                text += &format!("        {},\n", rule(one));
            }
            text += "    ]";
        }
    }
    text
}

fn rule(rule: &MailRule) -> String {
    let mut entries = Vec::new();
    let mut text = |key: &str, value: Option<&str>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            entries.push(format!("{key} = {}", quoted(value)));
        }
    };
    text("mail_from", rule.mail_from.as_ref().map(Pattern::as_str));
    text("msg_from", rule.msg_from.as_ref().map(Pattern::as_str));
    text("verified_domain", rule.verified_domain.as_ref().map(|domain| domain.as_str()));
    text("mailbox", rule.mailbox.as_ref().map(|mailbox| mailbox.as_str()));
    text("list_allow_domain", rule.list_allow_domain.as_ref().map(|domain| domain.as_str()));
    text("accept_rejects_to", rule.accept_rejects_to.as_ref().map(|mailbox| mailbox.as_str()));
    text("comment", Some(&rule.comment));
    if rule.is_forward {
        entries.push("is_forward = true".to_owned());
    }
    if !rule.headers.is_empty() {
        let pair = |name: &Pattern, value: &Pattern| {
            format!("[{}, {}]", quoted(name.as_str()), quoted(value.as_str()))
        };
        let pairs: Vec<_> = rule.headers.iter().map(|header| pair(&header.name, &header.value)).collect();
        entries.push(format!("headers = [{}]", pairs.join(", ")));
    }
    format!("{{ {} }}", entries.join(", "))
}

pub(super) fn route(route: &Route) -> String {
    let mut entries = Vec::new();
    for (key, domains) in [("from_domains", &route.from_domains), ("to_domains", &route.to_domains)] {
        if !domains.is_empty() {
            let domains: Vec<_> = domains.iter().map(|domain| quoted(&domain.to_string())).collect();
            entries.push(format!("{key} = [{}]", domains.join(", ")));
        }
    }
    if route.minimum_attempts > 0 {
        entries.push(format!("minimum_attempts = {}", route.minimum_attempts));
    }
    entries.push(format!("transport = {}", quoted(route.transport.as_str())));
    format!("{{ {} }}", entries.join(", "))
}

pub(super) fn dkim_key(key: &DkimKey) -> String {
    let publish_only = match key.state {
        DkimState::Signs => "",
        DkimState::Published => ", publish_only = true",
    };
    let (selector, secret) = (quoted(key.selector.as_str()), quoted(&to_base64(key.secret.expose())));
    format!("{{ selector = {selector}, key = {secret}{publish_only} }}")
}

/// What is set for the mail of an account, a line for each.
pub(super) fn mail(mail: &MailSettings) -> String {
    let mut lines = Vec::new();
    for (key, number) in [
        ("recipients_per_day", mail.recipients_per_day),
        ("first_time_recipients_per_day", mail.first_time_recipients_per_day),
        ("keep_retired_messages", mail.keep_retired_messages),
        ("keep_retired_webhooks", mail.keep_retired_webhooks),
    ] {
        lines.extend(number.map(|number| format!("{key} = {number}\n")));
    }
    if !mail.from_id_logins.is_empty() {
        let logins: Vec<_> = mail.from_id_logins.iter().map(|login| quoted(&login.to_string())).collect();
        lines.push(format!("from_id_logins = [{}]\n", logins.join(", ")));
    }
    if let Some(outgoing) = &mail.outgoing_webhook {
        let hook = webhook(&outgoing.hook, outgoing.events);
        lines.push(format!("outgoing_webhook = {hook}\n"));
    }
    if let Some(hook) = &mail.incoming_webhook {
        lines.push(format!("incoming_webhook = {}\n", webhook(hook, WebhookEvents::ALL)));
    }
    lines.concat()
}

fn webhook(hook: &Webhook, events: WebhookEvents) -> String {
    let mut entries = vec![format!("url = {}", quoted(hook.url().as_str()))];
    for (key, text) in [("authorization", hook.authorization()), ("secret", hook.secret())] {
        entries.extend(text.map(|text| format!("{key} = {}", quoted(text.expose()))));
    }
    if events != WebhookEvents::ALL {
        let names: Vec<_> = events.iter().map(|event| quoted(event.name())).collect();
        entries.push(format!("events = [{}]", names.join(", ")));
    }
    format!("{{ {} }}", entries.join(", "))
}

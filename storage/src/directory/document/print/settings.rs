//! Writes rules of addresses, routes, and DKIM keys.

use postrider_proto::dkim::tags::to_base64;

use super::quoted;
use crate::directory::destination::{Destination, MailRule, Pattern};
use crate::directory::route::Route;
use crate::directory::types::{DkimKey, DkimState};

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

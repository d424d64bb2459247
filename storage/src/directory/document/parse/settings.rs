//! Reads rules of addresses, and routes.
//!
//! They are bounded here already: what is noted of a document has less room for their numbers than a document.

use toml_edit::{TableLike, Value};

use super::Reader;
use crate::directory::destination::{Destination, HeaderPattern, MailRule, Pattern, ReportKinds};
use crate::directory::route::{Route, RouteDomain, TransportName};
use crate::directory::types::Limits;
use postrider_proto::address::Domain;
use postrider_proto::imap::mailbox::MailboxName;

const LIMITS: Limits = Limits::DEFAULT;

const RULE: [&str; 9] = [
    "mail_from",
    "msg_from",
    "verified_domain",
    "headers",
    "mailbox",
    "is_forward",
    "list_allow_domain",
    "accept_rejects_to",
    "comment",
];

impl Reader<'_> {
    pub(super) fn destination(&mut self, table: &dyn TableLike) -> Destination {
        let rules = self.tables(table, "rules", LIMITS.rules_max, Self::rule);
        let auth_required = self.string(table, "auth_required");
        let octets_max = LIMITS.login_disabled_octets_max;
        let (long, usual): (Vec<_>, Vec<_>) =
            auth_required.into_iter().partition(|text| text.len() > octets_max);
        if !long.is_empty() {
            let span = table.get("auth_required").and_then(toml_edit::Item::span);
            self.fault(span, format!("auth_required has at most {octets_max} octets"));
        }
        Destination { rules, auth_required: usual.into_iter().next(), reports: self.reports(table) }
    }

    fn reports(&mut self, table: &dyn TableLike) -> ReportKinds {
        let texts = self.strings(table, "reports");
        match ReportKinds::parse(texts.iter().map(|(text, _)| text)) {
            Ok(kinds) => kinds,
            Err(text) => {
                let span = table.get("reports").and_then(toml_edit::Item::span);
                self.fault(
                    span,
                    format!("{text} is no kind of reports; possible are {}", ReportKinds::NAMES.join(", ")),
                );
                ReportKinds::default()
            }
        }
    }

    fn rule(&mut self, value: &Value, table: &dyn TableLike) -> Option<MailRule> {
        self.known(table, &RULE);
        let rule = MailRule {
            mail_from: self.value(table, "mail_from", Pattern::new),
            msg_from: self.value(table, "msg_from", Pattern::new),
            verified_domain: self.value(table, "verified_domain", Domain::parse),
            headers: self.headers(table),
            mailbox: self.value(table, "mailbox", MailboxName::new),
            is_forward: self.flag(table, "is_forward"),
            list_allow_domain: self.value(table, "list_allow_domain", Domain::parse),
            accept_rejects_to: self.value(table, "accept_rejects_to", MailboxName::new),
            comment: self.string(table, "comment").unwrap_or_default(),
        };
        // Of a condition that was not understood the fault is told already.
        let is_understood = |key: &str, is_set: bool| is_set || table.get(key).is_none();
        let is_whole = is_understood("mail_from", rule.mail_from.is_some())
            && is_understood("msg_from", rule.msg_from.is_some())
            && is_understood("verified_domain", rule.verified_domain.is_some())
            && is_understood("headers", !rule.headers.is_empty());
        match rule.check(LIMITS.text_octets_max) {
            Ok(()) => Some(rule),
            Err(error) => {
                if is_whole {
                    self.fault(value.span(), error.to_string());
                }
                None
            }
        }
    }

    fn headers(&mut self, table: &dyn TableLike) -> Vec<HeaderPattern> {
        let Some(array) = self.array(table, "headers") else { return Vec::new() };
        let mut headers = Vec::new();
        for value in array {
            let pair = value.as_array().filter(|pair| pair.len() == 2);
            let text = |at| pair.and_then(|pair| pair.get(at)).and_then(Value::as_str);
            let (Some(name), Some(of_value)) = (text(0), text(1)) else {
                self.fault(value.span(), "must be a pair of texts, for name and value".into());
                continue;
            };
            let name = self.parsed(value.span(), name, Pattern::new);
            let of_value = self.parsed(value.span(), of_value, Pattern::new);
            headers.extend(name.zip(of_value).map(|(name, value)| HeaderPattern { name, value }));
        }
        headers
    }

    pub(super) fn routes(&mut self, table: &dyn TableLike) -> Vec<Route> {
        self.tables(table, "routes", LIMITS.routes_max, Self::route)
    }

    fn route(&mut self, value: &Value, table: &dyn TableLike) -> Option<Route> {
        self.known(table, &["from_domains", "to_domains", "minimum_attempts", "transport"]);
        let from_domains = self.route_domains(table, "from_domains");
        let to_domains = self.route_domains(table, "to_domains");
        let minimum_attempts = match table.get("minimum_attempts") {
            None => Some(0),
            Some(item) => {
                let attempts = item.as_integer().and_then(|count| u32::try_from(count).ok());
                if attempts.is_none() {
                    self.fault(item.span(), "minimum_attempts must be a number of attempts".into());
                }
                attempts
            }
        };
        if table.get("transport").is_none() {
            self.fault(value.span(), "transport is missing".into());
        }
        let transport = self.value(table, "transport", TransportName::new)?;
        Some(Route { from_domains, to_domains, minimum_attempts: minimum_attempts?, transport })
    }

    fn route_domains(&mut self, table: &dyn TableLike, key: &str) -> Vec<RouteDomain> {
        let texts = self.strings(table, key);
        if texts.len() > LIMITS.routes_max {
            self.fault(table.get(key).and_then(toml_edit::Item::span), too_many(key, LIMITS.routes_max));
            return Vec::new();
        }
        texts.iter().filter_map(|(text, span)| self.parsed(span.clone(), text, RouteDomain::parse)).collect()
    }

    /// A list of inline tables, with at most `most` of them.
    pub(super) fn tables<T>(
        &mut self,
        table: &dyn TableLike,
        key: &str,
        most: usize,
        each: impl Fn(&mut Self, &Value, &dyn TableLike) -> Option<T>,
    ) -> Vec<T> {
        let Some(array) = self.array(table, key) else { return Vec::new() };
        if array.len() > most {
            self.fault(array.span(), too_many(key, most));
            return Vec::new();
        }
        let mut found = Vec::new();
        for value in array {
            match value {
                Value::InlineTable(entry) => found.extend(each(self, value, entry)),
                _ => self.fault(value.span(), format!("{key} must be a list of tables, each in {{ and }}")),
            }
        }
        found
    }
}

fn too_many(key: &str, most: usize) -> String {
    format!("{key} has more than {most} entries, which is the most")
}

//! Rules of addresses, routes of accounts and domains, and what is set for the mail of accounts. What each field means is said
//! in the directory of the storage crate.

use serde::{Deserialize, Serialize};

use super::Secret;

/// A rule of an address.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct MailRule {
    /// A regular expression for the address in MAIL FROM.
    pub mail_from: Option<String>,
    /// A regular expression for the address in the From field.
    pub msg_from: Option<String>,
    /// A domain for which SPF or a signature passes, or that is above such a one.
    pub verified_domain: Option<String>,
    /// Pairs of regular expressions for name and value of a field, in lower case.
    pub headers: Vec<(String, String)>,
    /// Where the message goes; none is the mailbox of the address.
    pub mailbox: Option<String>,
    /// Whether who sends it forwards it for the account's owner.
    pub is_forward: bool,
    /// A domain of a mailing list, whose messages are accepted when it is verified.
    pub list_allow_domain: Option<String>,
    /// Where messages go that would be refused.
    pub accept_rejects_to: Option<String>,
    /// For people.
    pub comment: String,
}

/// A rule in a list.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RuleRow {
    /// Which one it is, from 1.
    pub number: u32,
    /// The rule.
    #[serde(flatten)]
    pub rule: MailRule,
}

/// Who has routes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouteOwner {
    /// An account, by its name.
    Account(String),
    /// A domain.
    Domain(String),
}

/// A route.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Route {
    /// Domains of senders, each as `example.com`, `.example.com` or `.`; none is any.
    pub from_domains: Vec<String>,
    /// Domains of recipients, in the same form; none is any.
    pub to_domains: Vec<String>,
    /// Attempts that were made before, at least.
    pub minimum_attempts: u32,
    /// The name of the transport.
    pub transport: String,
}

/// A route in a list.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RouteRow {
    /// Which one it is, from 1.
    pub number: u32,
    /// The route.
    #[serde(flatten)]
    pub route: Route,
}

/// A webhook of an account.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Webhook {
    /// Where it is called.
    pub url: String,
    /// The value of `Authorization`; none also where it isn't shown.
    pub authorization: Option<Secret>,
    /// The key that signs bodies; none also where it isn't shown.
    pub secret: Option<Secret>,
    /// Of what it is told; none is everything.
    pub events: Vec<String>,
}

/// One thing that is set for the mail of an account.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MailSetting {
    /// Recipients in 24 hours; none is as configured.
    RecipientsPerDay(Option<u32>),
    /// Recipients in 24 hours to whom it never wrote before; none is as configured.
    FirstTimeRecipientsPerDay(Option<u32>),
    /// Login addresses whose messages have ids of their own.
    FromIdLogins(Vec<String>),
    /// Seconds for which messages are known; none is as configured.
    KeepRetiredMessages(Option<u32>),
    /// Seconds for which calls of webhooks are known.
    KeepRetiredWebhooks(Option<u32>),
    /// Who is told of messages it sent.
    OutgoingWebhook(Option<Webhook>),
    /// Who is told of messages that came; it has no events.
    IncomingWebhook(Option<Webhook>),
}

/// What is set for the mail of an account.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MailSettings {
    /// The account.
    pub account: String,
    /// Recipients in 24 hours; none is as configured.
    pub recipients_per_day: Option<u32>,
    /// Recipients in 24 hours to whom it never wrote before; none is as configured.
    pub first_time_recipients_per_day: Option<u32>,
    /// Login addresses whose messages have ids of their own.
    pub from_id_logins: Vec<String>,
    /// Seconds for which messages are known; none is as configured.
    pub keep_retired_messages: Option<u32>,
    /// Seconds for which calls of webhooks are known.
    pub keep_retired_webhooks: Option<u32>,
    /// Who is told of messages it sent.
    pub outgoing_webhook: Option<ShownWebhook>,
    /// Who is told of messages that came.
    pub incoming_webhook: Option<ShownWebhook>,
}

/// A webhook as it is shown.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ShownWebhook {
    /// Where it is called.
    pub url: String,
    /// Whether `Authorization` is sent.
    pub is_authorized: bool,
    /// Whether bodies are signed.
    pub is_signed: bool,
    /// The value of `Authorization`, where secrets are to be shown.
    pub authorization: Option<Secret>,
    /// The key that signs bodies, where secrets are to be shown.
    pub secret: Option<Secret>,
    /// Of what it is told.
    pub events: Vec<String>,
}

//! Rules of addresses, and routes of accounts and domains. What each field means is said in the directory of the
//! storage crate.

use serde::{Deserialize, Serialize};

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

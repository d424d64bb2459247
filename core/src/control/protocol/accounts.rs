//! Accounts, and what belongs to them, in lists.

use serde::{Deserialize, Serialize};

/// An account in a list.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AccountRow {
    /// Its name.
    pub account: String,
    /// Its number in the store.
    pub id: u32,
    /// Whether logins are refused.
    pub disabled: bool,
    /// Octets of its messages.
    pub used: u64,
    /// Octets that they may have; none is unlimited.
    pub quota: Option<u64>,
    /// Messages that it may have; none is unlimited.
    pub quota_messages: Option<u64>,
}

/// An account with what belongs to it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AccountDetails {
    /// What a list shows.
    #[serde(flatten)]
    pub row: AccountRow,
    /// What a client is told at login, when it is disabled.
    pub disabled_message: Option<String>,
    /// Messages in all mailboxes.
    pub messages: u64,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Recipients of other servers to whom it sent in the last 24 hours.
    pub sent_recipients: u64,
    /// To how many it may send.
    pub recipients_per_day: u32,
    /// How many of them it never wrote to before.
    pub sent_first_time_recipients: u64,
    /// How many these may be.
    pub first_time_recipients_per_day: u32,
}

/// A mailbox of an account.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MailboxRow {
    /// Its name.
    pub mailbox: String,
    /// Messages in it.
    pub messages: u64,
    /// Those without `\Seen`.
    pub unseen: u64,
    /// Octets of them.
    pub octets: u64,
}

/// A public key of TLS in a list.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TlsKeyRow {
    /// SHA-256 of the SubjectPublicKeyInfo, in base64url.
    pub fingerprint: String,
    /// What its owner calls it.
    pub name: String,
    /// When it was added, in seconds since 1970.
    pub created: i64,
}

/// An address in a list.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AddressRow {
    /// The address; `@domain` is a catch-all.
    pub address: String,
    /// The account that gets its mail.
    pub account: String,
    /// The mailbox that its mail goes to, unless a rule says otherwise.
    pub mailbox: String,
    /// How many rules it has.
    pub rules: u32,
    /// What senders are told whose mail nothing confirms; none when such mail is taken.
    pub auth_required: Option<String>,
    /// Which reports of other servers are read there: `dmarc`, `tls`.
    pub reports: Vec<String>,
}

/// An alias in a list.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AliasRow {
    /// The address of the alias.
    pub alias: String,
    /// The addresses that get its mail.
    pub members: Vec<String>,
}

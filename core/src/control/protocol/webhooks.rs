//! Calls of webhooks, as operators see them. Times are in seconds since 1970; ids are decimal numbers, as text since they are
//! larger than what some readers of JSON keep exactly. Nothing secret is in them.

use serde::{Deserialize, Serialize};

/// Which calls are meant: those for which all that is given holds. Without anything, all of them.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookFilter {
    /// One of these, at most [`QUEUE_IDS_MAX`](super::QUEUE_IDS_MAX); none is any.
    pub ids: Vec<String>,
    /// Of this account.
    pub account: Option<String>,
    /// To this URL, as it is written.
    pub url: Option<String>,
    /// What they tell of: the name of an event, or `incoming`.
    pub event: Option<String>,
}

/// What is to be done to calls.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum WebhookChange {
    /// Make them now.
    Retry,
    /// Make them no more.
    Cancel,
}

/// How an attempt went.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct WebhookResult {
    /// When it began.
    pub time: i64,
    /// How long it took.
    pub milliseconds: u32,
    /// The status of the response; none without one.
    pub status: Option<u16>,
    /// What went wrong; empty when nothing did.
    pub error: String,
    /// How the body of the response begins.
    pub response: String,
}

/// A call that waits.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct WebhookRow {
    /// The call, as it is in `X-Postrider-Webhook-ID`.
    pub id: String,
    /// Whose webhook it is; that of one that was removed is `#` and its number.
    pub account: String,
    /// What it tells of: the name of an event, or `incoming`.
    pub event: String,
    /// Where it goes.
    pub url: String,
    /// When it was made.
    pub created: i64,
    /// Attempts made.
    pub attempts: u32,
    /// When the next one is due.
    pub next_attempt: i64,
    /// How the last attempt went; none before the first.
    pub last: Option<WebhookResult>,
}

/// A call with all that is known of it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct WebhookDetails {
    /// What a list shows.
    #[serde(flatten)]
    pub row: WebhookRow,
    /// How the last attempts went, the last one last.
    pub results: Vec<WebhookResult>,
    /// What is stored of what is sent.
    pub payload: serde_json::Value,
}

/// A call that ended.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RetiredWebhookRow {
    /// The call.
    pub id: String,
    /// Whose webhook it was.
    pub account: String,
    /// What it told of.
    pub event: String,
    /// Where it went.
    pub url: String,
    /// When it was made.
    pub created: i64,
    /// Attempts made.
    pub attempts: u32,
    /// `delivered`, `failed`, `superseded`, `canceled`, `unwanted` when the account has no such webhook any more, or `expired` when
    /// it waited for too long.
    pub outcome: String,
    /// The call that took its place.
    pub superseded_by: Option<String>,
    /// When it ended.
    pub ended: i64,
    /// Until when that is known.
    pub until: i64,
    /// How the last attempt went; none without one.
    pub last: Option<WebhookResult>,
}

//! What the command line and the server say to each other over the control socket.
//!
//! The server greets with [`Greeting`], the client sends one [`Request`], and then both sides send
//! [`Frame`]s until the server sends `done` or `failed` and closes. Each of these is one JSON
//! object on a line of at most [`LINE_OCTETS_MAX`] octets, the last one of the server of at most
//! [`ANSWER_OCTETS_MAX`].
//!
//! Streamed data goes as `{"data":n}` followed by `n` octets, `n` at most [`CHUNK_OCTETS_MAX`].
//! The receiver sends `{"ack":n}` *after* it has read the chunk, and the sender waits for it
//! before it sends more: acknowledging before reading deadlocks when both wait to write.
//! `{"data":0}` ends a stream and isn't acknowledged.

mod accounts;
mod answer;
mod delivery;
mod domains;
mod queue;
mod reports;
mod reports_sent;
mod request;
mod settings;
mod status;
mod webhooks;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use accounts::{AccountDetails, AccountRow, AddressRow, AliasRow, MailboxRow, TlsKeyRow};
pub use answer::Answer;
pub use delivery::{
    DeliveryDetails, DeliveryFailure, DeliveryRelay, DeliveryRoute, DeliverySender, DeliveryTls,
    DeliveryTransport, MtaStsRow,
};
pub use domains::{DkimAlgorithm, DkimKeyRow, DomainRow};
pub use queue::{
    HoldRule, HoldRuleRow, QUEUE_DAMAGED_MAX, QUEUE_IDS_MAX, QUEUE_PAGE_MAX, QueueChange, QueueDamagedRow,
    QueueDetails, QueueFilter, QueueListRow, QueueRecipientRow, QueueReport, QueueRequireTls, QueueResult,
    QueueRow, RetiredFilter, RetiredRow, SuppressionRow,
};
pub use reports::{
    DmarcEntry, DmarcSummary, FailureSummary, REPORT_PAGE_MAX, ReportEntry, ReportFilter, ReportKind,
    ReportRow, ReportSummary, SourceSummary, TlsEntry, TlsFailure, TlsSummary,
};
pub use reports_sent::{ReportSuppressionRow, TlsResultFailure, TlsResultPolicy, TlsResultRow};
pub use request::{Format, Request};
pub use settings::{
    MailRule, MailSetting, MailSettings, Route, RouteOwner, RouteRow, RuleRow, ShownWebhook, Webhook,
};
pub use status::{ListenerStatus, Status, StoreStatus, TextIndexStatus};
pub use webhooks::{
    RetiredWebhookRow, WebhookChange, WebhookDetails, WebhookFilter, WebhookResult, WebhookRow,
};

/// The version of the protocol; client and server must have the same. It grows with each change of what is told, once there was a
/// release: until then, what one of them doesn't know makes it fail, and say that both have to be of the same version.
pub const VERSION: u32 = 1;

/// Octets of a line that isn't an answer, its line feed included.
pub const LINE_OCTETS_MAX: usize = 64 << 10;

/// Octets of an answer, its line feed included.
pub const ANSWER_OCTETS_MAX: usize = 1 << 20;

/// Octets of a chunk of streamed data.
pub const CHUNK_OCTETS_MAX: usize = 64 << 10;

const _: () = assert!(CHUNK_OCTETS_MAX <= u32::MAX as usize && LINE_OCTETS_MAX <= ANSWER_OCTETS_MAX);

/// The first line that the server sends.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Greeting {
    /// The version of the protocol.
    #[serde(rename = "postrider-control")]
    pub version: u32,
    /// The version of the server.
    pub server: String,
}

impl Greeting {
    /// The greeting of this server.
    pub fn ours() -> Self {
        Self { version: VERSION, server: env!("CARGO_PKG_VERSION").to_owned() }
    }
}

/// A password on its way; never shown by `Debug`.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// What comes after the request, from either side.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Frame {
    /// A chunk of this many octets follows.
    Data(u32),
    /// A chunk of this many octets was read.
    Ack(u32),
    /// How far a long request is. Server only; not acknowledged.
    Progress(Progress),
    /// The request was carried out. Server only, last.
    Done(Answer),
    /// The request failed. Server only, last.
    Failed(Failure),
}

/// How far a long request is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Messages that are done, or entries of a directory.
    pub done: u64,
    /// How many in all, when that is known.
    pub total: Option<u64>,
    /// The mailbox that is worked on, or what is done with entries. Each begins to count anew.
    pub what: Option<String>,
}

/// Why a request failed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
#[serde(deny_unknown_fields)]
#[error("{message}")]
pub struct Failure {
    /// What kind of failure.
    pub kind: FailureKind,
    /// What went wrong, where, and what to do, as a sentence without a full stop.
    pub message: String,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// Kinds of failure, by who can do something about it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// What was asked for isn't there.
    NotFound,
    /// What was to be made is there already.
    Exists,
    /// What was asked for doesn't make sense.
    Invalid,
    /// Something else depends on what was to be removed.
    InUse,
    /// The server can't do it now: it stops, or the store takes no writes.
    Unavailable,
    /// Reading or writing files failed.
    Files,
    /// The frames don't follow the protocol.
    Protocol,
    /// A fault of the server; its log says more.
    Internal,
}

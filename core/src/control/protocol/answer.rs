//! What a request gives in the end.

use serde::{Deserialize, Serialize};

use super::{
    AccountDetails, DeliveryDetails, DkimKeyRow, MailSettings, QueueDamagedRow, QueueDetails, ReportRow,
    ReportSummary, Status, TextIndexStatus, WebhookDetails, WebhookResult,
};

/// What a request gave.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Answer {
    /// Nothing more to say.
    Done,
    /// How the server is.
    Status(Status),
    /// The levels of log lines.
    LogLevels {
        /// That of modules without their own.
        default: String,
        /// Modules with their own, and it.
        modules: Vec<(String, String)>,
    },
    /// An account.
    Account(AccountDetails),
    /// What is set for the mail of an account.
    MailSettings(Box<MailSettings>),
    /// A public key of TLS.
    TlsKey {
        /// Its fingerprint.
        fingerprint: String,
    },
    /// A key that signs mail of a domain.
    DkimKey(DkimKeyRow),
    /// The directory was compared, and changed unless only asked to compare.
    Applied {
        /// Records that were added, changed or removed, or would be.
        changes: u64,
    },
    /// Messages were imported or exported.
    Transferred {
        /// How many messages.
        messages: u64,
        /// Octets of them.
        octets: u64,
        /// Files or messages that were left out, each with the reason, the first 100 of them.
        skipped: Vec<String>,
        /// How many were left out.
        skipped_count: u64,
    },
    /// The text index of an account.
    TextIndex(TextIndexStatus),
    /// A part of a list was streamed.
    Page {
        /// Where to go on; none at the end.
        next: Option<String>,
    },
    /// A report of another server.
    Report(Box<ReportRow>),
    /// What reports say of a domain.
    ReportSummary(Box<ReportSummary>),
    /// An entry of the queue.
    QueueEntry(Box<QueueDetails>),
    /// An entry of the queue of which the own row can't be read.
    QueueDamaged(QueueDamagedRow),
    /// Entries of the queue were changed.
    QueueChanged {
        /// How many.
        entries: u64,
        /// How many of their recipients.
        recipients: u64,
        /// Entries that were not, since an attempt is under way.
        busy: u64,
        /// Ids that were named, and that no entry has.
        missing: Vec<String>,
        /// Entries that were not, since a row of them is damaged.
        #[serde(default)]
        damaged: u64,
        /// The first of these, at most [`QUEUE_DAMAGED_MAX`](super::QUEUE_DAMAGED_MAX).
        #[serde(default)]
        damaged_ids: Vec<String>,
    },
    /// What delivery would do.
    Delivery(Box<DeliveryDetails>),
    /// A call of a webhook.
    Webhook(Box<WebhookDetails>),
    /// Calls of webhooks were changed.
    WebhooksChanged {
        /// How many.
        calls: u64,
        /// Calls that were not, since they are being made.
        busy: u64,
    },
    /// A webhook was called.
    WebhookTested(WebhookResult),
    /// A rule was made.
    HoldRule {
        /// Its number.
        id: u32,
        /// Entries that waited, and that it holds.
        held: u64,
    },
}

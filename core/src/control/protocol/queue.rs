//! The queue, as operators see it. Times are in seconds since 1970; ids are decimal numbers, as text since they are
//! larger than what some readers of JSON keep exactly.

use serde::{Deserialize, Serialize};

/// The most ids that a filter names.
pub const QUEUE_IDS_MAX: usize = 1000;

/// The most ids of damaged entries that an answer names.
pub const QUEUE_DAMAGED_MAX: usize = 100;

/// The most entries of a page; the default, too.
pub const QUEUE_PAGE_MAX: u32 = 1000;

/// Which recipients that left the queue are meant: those for which all that is given holds. Without anything, all of them.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetiredFilter {
    /// Of this entry, or of one of the same submission.
    pub entry: Option<String>,
    /// Of messages of this account; empty: of the server itself.
    pub account: Option<String>,
    /// A part of the sender's address, in whatever case.
    pub from: Option<String>,
    /// A part of the recipient's address, in whatever case.
    pub to: Option<String>,
    /// `delivered`, `failed` or `dropped`.
    pub outcome: Option<String>,
}

/// Which entries are meant: those for which all that is given holds. Without anything, all of them.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueFilter {
    /// One of these, at most [`QUEUE_IDS_MAX`]; none is any.
    pub ids: Vec<String>,
    /// Submitted by this account; empty: by the server itself.
    pub account: Option<String>,
    /// A part of the sender's address, in whatever case.
    pub from: Option<String>,
    /// A part of a recipient's address, in whatever case. Only such recipients are meant.
    pub to: Option<String>,
    /// The sender is of this domain; empty: there is no sender, as in reports.
    pub sender_domain: Option<String>,
    /// The recipients are of this domain.
    pub recipient_domain: Option<String>,
    /// Submitted then or later.
    pub submitted_from: Option<i64>,
    /// Submitted before.
    pub submitted_before: Option<i64>,
    /// The next attempt is then or later.
    pub next_from: Option<i64>,
    /// The next attempt is before.
    pub next_before: Option<i64>,
    /// Held, or not.
    pub held: Option<bool>,
    /// With this transport set; empty: by routes.
    pub transport: Option<String>,
}

/// What is to be done to entries.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum QueueChange {
    /// Hold them.
    Hold,
    /// Hold them no longer.
    Release,
    /// Have the next attempt at this time; one that has passed is now.
    Schedule {
        /// The time.
        at: i64,
    },
    /// Deliver them by a transport, whatever routes say.
    Transport {
        /// Its name; none is by routes.
        name: Option<String>,
    },
    /// Say what is wanted of transport security.
    RequireTls {
        /// It.
        wish: QueueRequireTls,
    },
    /// Give up, and tell the sender.
    Fail {
        /// What the sender is told, as the end of a sentence.
        reason: String,
    },
    /// Give up, and tell nobody.
    Drop,
}

/// What is wanted of transport security.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueueRequireTls {
    /// What the recipient's domain asks for.
    #[default]
    Default,
    /// Every hop is verified (RFC 8689, REQUIRETLS).
    Yes,
    /// Delivery comes before policies (RFC 8689, `TLS-Required: No`).
    No,
}

impl QueueRequireTls {
    /// The word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Yes => "yes",
            Self::No => "no",
        }
    }
}

/// What came of an attempt.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct QueueResult {
    /// When.
    pub time: i64,
    /// The code of the reply; none when there was no reply.
    pub code: Option<u16>,
    /// The enhanced code, as `5.1.1`.
    pub enhanced: Option<String>,
    /// The host; empty when it came to none.
    pub host: String,
    /// The reply, or what went wrong.
    pub text: String,
}

/// An entry: a message for the recipients of one domain.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct QueueRow {
    /// The entry.
    pub id: String,
    /// What entries of one submission have in common.
    pub base: String,
    /// The account that submitted it; none when the server did.
    pub account: Option<String>,
    /// The sender's address; empty for reports.
    pub from: String,
    /// The recipients' domain.
    pub domain: String,
    /// The recipients that are meant, the first 100.
    pub to: Vec<String>,
    /// How many recipients are still to be reached.
    pub waiting: u32,
    /// `message`, `report`, `dmarc-report` or `tls-report`.
    pub kind: String,
    /// Octets.
    pub size: u64,
    /// When it was submitted.
    pub submitted: i64,
    /// Attempts that were made, one under way included.
    pub attempts: u32,
    /// When the last one began.
    pub last_attempt: Option<i64>,
    /// When the next one is; none while it is held.
    pub next_attempt: Option<i64>,
    /// Whether an attempt is under way.
    pub underway: bool,
    /// Whether it is held.
    pub held: bool,
    /// The rule that holds it; none when an operator does.
    pub held_by_rule: Option<u32>,
    /// The transport that was set; none is by routes.
    pub transport: Option<String>,
    /// What is wanted of transport security.
    pub requiretls: QueueRequireTls,
    /// What the last attempt failed with.
    pub error: Option<QueueResult>,
}

/// A row of a list of entries.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum QueueListRow {
    /// An entry.
    Entry(Box<QueueRow>),
    /// One of which a row can't be read.
    Damaged(QueueDamagedRow),
}

/// An entry of which a row can't be read.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct QueueDamagedRow {
    /// The entry.
    pub id: String,
    /// What is wrong.
    pub damaged: String,
}

/// An entry with what belongs to it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct QueueDetails {
    /// What a list shows; its recipients are rows of their own.
    #[serde(flatten)]
    pub row: QueueRow,
    /// How many recipients it had at first.
    pub recipients: u32,
    /// How many attempts are made; none is the default.
    pub max_attempts: Option<u32>,
    /// The time before which it was not to be sent.
    pub hold_until: Option<i64>,
    /// Whether the sender was told of a delay.
    pub delay_reported: bool,
    /// What is wrong with a row that belongs to it; none when all can be read. Recipients whose rows can't be are left out.
    #[serde(default)]
    pub damaged: Option<String>,
    /// Why the outcome of the last attempt isn't in the store yet, which is tried again; none when nothing keeps it from there.
    #[serde(default)]
    pub unwritten: Option<String>,
    /// What keeps it from its attempt although it is due; none when nothing does, or it isn't due.
    #[serde(default)]
    pub waits_for: Option<String>,
    /// The sender's ENVID.
    pub envelope_id: Option<String>,
    /// What the sender wants back in reports: `full`, `headers` or none.
    pub ret: Option<String>,
    /// Whether it needs SMTPUTF8.
    pub smtputf8: bool,
    /// Whether it needs 8BITMIME or BINARYMIME.
    pub eight_bit: bool,
    /// Addresses that were dialed, the last one last.
    pub dialed: Vec<String>,
    /// Header fields in front of the content.
    pub prefix: String,
}

/// A recipient of an entry.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct QueueRecipientRow {
    /// The address.
    pub to: String,
    /// The sender's NOTIFY, as in SMTP.
    pub notify: Option<String>,
    /// The sender's ORCPT.
    pub original: Option<String>,
    /// What the last attempt gave.
    pub result: Option<QueueResult>,
}

/// A rule that holds messages: all that it says has to be so. One that says nothing holds everything.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HoldRule {
    /// Submitted by this account.
    pub account: Option<String>,
    /// The sender is of this domain.
    pub sender_domain: Option<String>,
    /// The recipients are of this domain.
    pub recipient_domain: Option<String>,
    /// For people.
    pub comment: String,
}

/// A rule in a list.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct HoldRuleRow {
    /// Its number, which no other rule ever had.
    pub id: u32,
    /// When it was made.
    pub created: i64,
    /// The rule.
    #[serde(flatten)]
    pub rule: HoldRule,
}

/// An address to which an account's mail isn't sent.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SuppressionRow {
    /// The account.
    pub account: String,
    /// What all variants of the address have in common.
    pub base: String,
    /// The address as it was given.
    pub address: String,
    /// Since when.
    pub created: i64,
    /// Whether failures brought it here, and no operator.
    pub automatic: bool,
    /// Why.
    pub reason: String,
}

/// A recipient that left the queue.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RetiredRow {
    /// The entry that it was of.
    pub id: String,
    /// What entries of the submission have in common.
    pub base: String,
    /// The account that submitted it; none when the server did.
    pub account: Option<String>,
    /// The sender's address; empty for reports.
    pub from: String,
    /// The recipient.
    pub to: String,
    /// `delivered`, `failed` or `dropped`.
    pub outcome: String,
    /// When it was submitted.
    pub submitted: i64,
    /// When it left.
    pub ended: i64,
    /// Until when this is known.
    pub until: i64,
    /// Attempts that were made.
    pub attempts: u32,
    /// What the last one gave.
    pub result: Option<QueueResult>,
    /// The id in its reverse path, where it was kept.
    pub from_id: Option<String>,
    /// Its Message-ID without angle brackets, where it was kept.
    pub message_id: Option<String>,
    /// What reports of other servers said later.
    pub reports: Vec<QueueReport>,
}

/// What a report of another server said of a recipient.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct QueueReport {
    /// `failed`, `delayed`, `delivered`, `relayed` or `expanded`.
    pub action: String,
    /// What it says that was replied.
    pub result: QueueResult,
}

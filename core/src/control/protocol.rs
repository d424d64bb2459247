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

mod queue;
mod reports;
mod reports_sent;
mod settings;
mod webhooks;

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use queue::{
    HoldRule, HoldRuleRow, QUEUE_IDS_MAX, QUEUE_PAGE_MAX, QueueChange, QueueDetails, QueueFilter,
    QueueRecipientRow, QueueReport, QueueRequireTls, QueueResult, QueueRow, RetiredRow, SuppressionRow,
};
pub use reports::{
    DmarcEntry, DmarcSummary, FailureSummary, REPORT_PAGE_MAX, ReportEntry, ReportFilter, ReportKind,
    ReportRow, ReportSummary, SourceSummary, TlsEntry, TlsFailure, TlsSummary,
};
pub use reports_sent::{ReportSuppressionRow, TlsResultFailure, TlsResultPolicy, TlsResultRow};
pub use settings::{
    MailRule, MailSetting, MailSettings, Route, RouteOwner, RouteRow, RuleRow, ShownWebhook, Webhook,
};
pub use webhooks::{
    RetiredWebhookRow, WebhookChange, WebhookDetails, WebhookFilter, WebhookResult, WebhookRow,
};

/// The version of the protocol; client and server must have the same.
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

/// Which kind of DKIM key is made.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DkimAlgorithm {
    /// Every verifier knows it.
    #[default]
    Rsa2048,
    /// Short, and not known to all (RFC 8463).
    Ed25519,
}

/// The format of messages in files.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// A directory with `cur`, `new` and `tmp`, one file a message; sub-mailboxes as in Maildir++.
    Maildir,
    /// One file a mailbox, in the `mboxrd` variant.
    Mbox,
}

/// What the server is asked to do. What each answers is said with it; requests that list
/// something stream it as lines of JSON, of the type that is named.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Answers [`Answer::Status`].
    Status,
    /// Stops the server gracefully. Answers [`Answer::Done`] before it stops.
    Stop,
    /// Answers [`Answer::LogLevels`].
    LogLevels,
    /// Sets the level of a module, or of all that have none of their own. Answers
    /// [`Answer::LogLevels`], the levels as they are now.
    SetLogLevel {
        /// The module; none is the default.
        module: Option<String>,
        /// The level; none removes the module's own.
        level: Option<String>,
    },
    /// Makes an account with an address.
    AccountAdd {
        /// Its name.
        account: String,
        /// Its first address.
        address: String,
        /// Its password.
        password: Secret,
        /// Octets of all its messages; none is the configured default.
        quota: Option<u64>,
    },
    /// Streams [`AccountRow`]s, ordered by name.
    AccountList,
    /// Streams [`MailboxRow`]s and answers [`Answer::Account`].
    AccountShow {
        /// Its name.
        account: String,
    },
    /// Removes an account and its mail.
    AccountRemove {
        /// Its name.
        account: String,
    },
    /// Gives an account another password.
    AccountSetPassword {
        /// Its name.
        account: String,
        /// The new password.
        password: Secret,
    },
    /// Gives an account another quota.
    AccountSetQuota {
        /// Its name.
        account: String,
        /// Octets of all its messages; none is unlimited.
        quota: Option<u64>,
    },
    /// Gives an account another limit of messages.
    AccountSetQuotaMessages {
        /// Its name.
        account: String,
        /// Messages in all mailboxes; none is unlimited.
        messages: Option<u64>,
    },
    /// Refuses logins to an account; it still gets mail.
    AccountDisable {
        /// Its name.
        account: String,
        /// What a client is told at login.
        message: String,
    },
    /// Allows logins again.
    AccountEnable {
        /// Its name.
        account: String,
    },
    /// Answers [`Answer::MailSettings`].
    AccountSettingsShow {
        /// The account.
        account: String,
        /// Whether secrets are shown.
        secrets: bool,
    },
    /// Changes what is set for the mail of an account, all or nothing.
    AccountSettingsSet {
        /// The account.
        account: String,
        /// What is changed; all else stays.
        settings: Vec<MailSetting>,
    },
    /// Lets the public key of a client certificate log in to an account. Answers [`Answer::TlsKey`].
    AccountTlsKeyAdd {
        /// The account.
        account: String,
        /// The certificate, or the public key alone, in PEM form.
        pem: String,
        /// What its owner calls it.
        name: String,
    },
    /// Takes a public key away from an account.
    AccountTlsKeyRemove {
        /// The account.
        account: String,
        /// The fingerprint of the key.
        fingerprint: String,
    },
    /// Streams [`TlsKeyRow`]s.
    AccountTlsKeyList {
        /// The account.
        account: String,
    },
    /// Gives an account an address; `@domain` is the catch-all of a domain.
    AddressAdd {
        /// The address.
        address: String,
        /// The account that gets its mail.
        account: String,
    },
    /// Removes an address.
    AddressRemove {
        /// The address.
        address: String,
    },
    /// Streams [`AddressRow`]s.
    AddressList {
        /// Only those of this account.
        account: Option<String>,
    },
    /// Streams [`RuleRow`]s, in their order.
    AddressRuleList {
        /// The address.
        address: String,
    },
    /// Gives an address one more rule.
    AddressRuleAdd {
        /// The address.
        address: String,
        /// Which one it will be, from 1; none is the last.
        at: Option<u32>,
        /// The rule.
        rule: Box<MailRule>,
    },
    /// Takes a rule away.
    AddressRuleRemove {
        /// The address.
        address: String,
        /// Which one, from 1.
        number: u32,
    },
    /// Moves a rule before or behind others.
    AddressRuleMove {
        /// The address.
        address: String,
        /// Which one, from 1.
        number: u32,
        /// Which one it will be.
        to: u32,
    },
    /// Refuses mail to an address whose author nothing confirms, or no longer does.
    AddressRequireAuthentication {
        /// The address.
        address: String,
        /// What senders are told; none takes all mail again.
        text: Option<String>,
    },
    /// Says which reports of other servers are read at an address.
    AddressReports {
        /// The address.
        address: String,
        /// `dmarc` and `tls`; none are read when it is empty.
        kinds: Vec<String>,
    },
    /// Streams [`RouteRow`]s, in their order.
    RouteList {
        /// Whose routes.
        of: RouteOwner,
    },
    /// Gives an account or a domain one more route.
    RouteAdd {
        /// Who gets it.
        of: RouteOwner,
        /// Which one it will be, from 1; none is the last.
        at: Option<u32>,
        /// The route.
        route: Route,
    },
    /// Takes a route away.
    RouteRemove {
        /// Whose route.
        of: RouteOwner,
        /// Which one, from 1.
        number: u32,
    },
    /// Moves a route before or behind others.
    RouteMove {
        /// Whose route.
        of: RouteOwner,
        /// Which one, from 1.
        number: u32,
        /// Which one it will be.
        to: u32,
    },
    /// Makes a domain ours.
    DomainAdd {
        /// The domain.
        domain: String,
        /// Whether it is added without taking mail yet.
        disabled: bool,
    },
    /// Removes a domain that has no addresses.
    DomainRemove {
        /// The domain.
        domain: String,
    },
    /// Streams [`DomainRow`]s.
    DomainList,
    /// Takes mail for a domain again.
    DomainEnable {
        /// The domain.
        domain: String,
    },
    /// Refuses mail for a domain with a temporary error.
    DomainDisable {
        /// The domain.
        domain: String,
    },
    /// Gives a domain a key that signs its mail. Answers [`Answer::DkimKey`].
    DomainDkimAdd {
        /// The domain.
        domain: String,
        /// The key's name there; none is the next of this year.
        selector: Option<String>,
        /// Which kind of key is made.
        algorithm: DkimAlgorithm,
        /// A key in PEM form; none is made then.
        key: Option<Secret>,
        /// Whether it doesn't sign yet.
        publish_only: bool,
    },
    /// Streams [`DkimKeyRow`]s.
    DomainDkimList {
        /// The domain.
        domain: String,
    },
    /// Says whether a key signs.
    DomainDkimSign {
        /// The domain.
        domain: String,
        /// The key's name there.
        selector: String,
        /// Whether it signs from now on.
        signs: bool,
    },
    /// Removes a key of a domain.
    DomainDkimRemove {
        /// The domain.
        domain: String,
        /// The key's name there.
        selector: String,
    },
    /// Makes an alias.
    AliasAdd {
        /// The address of the alias.
        alias: String,
        /// The addresses that get its mail.
        members: Vec<String>,
    },
    /// Removes an alias.
    AliasRemove {
        /// The address of the alias.
        alias: String,
    },
    /// Streams [`AliasRow`]s.
    AliasList {
        /// Only those of this domain.
        domain: Option<String>,
    },
    /// Adds members to an alias.
    AliasAddMember {
        /// The address of the alias.
        alias: String,
        /// The addresses that get its mail too.
        members: Vec<String>,
    },
    /// Removes members from an alias.
    AliasRemoveMember {
        /// The address of the alias.
        alias: String,
        /// The addresses that no longer get its mail.
        members: Vec<String>,
    },
    /// Streams the whole directory as text.
    DirectoryExport,
    /// Makes the directory like the text that the client streams, as one transaction. Streams the
    /// lines of the difference as it finds them, which is before anything is changed, and answers
    /// [`Answer::Applied`] when it is.
    DirectoryApply {
        /// Only shows the difference.
        dry_run: bool,
        /// The absolute path of the directory that the text is in: where the files begin that it names.
        files: Option<PathBuf>,
    },
    /// Reads messages from files that the server can read into a mailbox, and its sub-mailboxes.
    /// Answers [`Answer::Transferred`].
    Import {
        /// The format of the files.
        format: Format,
        /// The account that gets the messages.
        account: String,
        /// The mailbox, made if it is not there.
        mailbox: String,
        /// The absolute path of the directory or file.
        path: PathBuf,
    },
    /// Writes an account's messages to a new directory. Answers [`Answer::Transferred`].
    Export {
        /// The format of the files.
        format: Format,
        /// The account.
        account: String,
        /// Only this mailbox.
        mailbox: Option<String>,
        /// The absolute path of the directory.
        path: PathBuf,
    },
    /// How the text index of an account is. Answers [`Answer::TextIndex`].
    IndexStatus {
        /// Its name.
        account: String,
    },
    /// Builds the text index of an account anew. Answers [`Answer::TextIndex`], the index as it is then.
    IndexRebuild {
        /// Its name.
        account: String,
    },
    /// Streams [`ReportRow`]s in the order in which the reports came. Answers [`Answer::Page`].
    ReportList {
        /// Which reports.
        filter: ReportFilter,
        /// Where to go on; none is the start.
        cursor: Option<String>,
        /// How many at most; none is [`REPORT_PAGE_MAX`], which is also the most.
        limit: Option<u32>,
    },
    /// Streams the [`ReportEntry`]s of a report and answers [`Answer::Report`].
    ReportShow {
        /// The report.
        id: String,
    },
    /// Streams the document of a report: JSON of RFC 8460, or XML of RFC 7489.
    ReportDump {
        /// The report.
        id: String,
    },
    /// Streams [`TlsResultRow`]s, by day and domain. Answers [`Answer::Page`].
    ReportResults {
        /// Where to go on; none is the start.
        cursor: Option<String>,
        /// How many at most; none is [`REPORT_PAGE_MAX`], which is also the most.
        limit: Option<u32>,
    },
    /// Sends no reports to an address.
    ReportSuppressAdd {
        /// The address.
        address: String,
        /// Until when; none is for ever.
        until: Option<i64>,
        /// Why.
        comment: String,
    },
    /// Sends reports to an address again.
    ReportSuppressRemove {
        /// The address.
        address: String,
    },
    /// Streams [`ReportSuppressionRow`]s.
    ReportSuppressList,
    /// Answers [`Answer::ReportSummary`].
    ReportSummary {
        /// The domain, which is ours or below one of ours.
        domain: String,
        /// Reports that came then or later.
        since: i64,
        /// Reports that came before; none is until now.
        until: Option<i64>,
    },
    /// Streams [`QueueRow`]s, by the order of submission, and of one recipient domain by the next attempt. Answers
    /// [`Answer::Page`].
    QueueList {
        /// Which entries.
        filter: Box<QueueFilter>,
        /// The last ones first.
        descending: bool,
        /// Where to go on; none is the start.
        cursor: Option<String>,
        /// How many at most; none is [`QUEUE_PAGE_MAX`], which is also the most.
        limit: Option<u32>,
    },
    /// Streams [`QueueRecipientRow`]s and answers [`Answer::QueueEntry`].
    QueueShow {
        /// The entry.
        id: String,
    },
    /// Streams the message of an entry, as it is in the queue.
    QueueDump {
        /// The entry.
        id: String,
    },
    /// Does something to all entries that a filter means, and to the recipients that it means. Answers
    /// [`Answer::QueueChanged`].
    QueueChange {
        /// Which entries.
        filter: Box<QueueFilter>,
        /// What.
        change: QueueChange,
    },
    /// Holds the messages that a rule is about, those that wait, too. Answers [`Answer::HoldRule`].
    HoldRuleAdd {
        /// The rule.
        rule: HoldRule,
    },
    /// Streams [`HoldRuleRow`]s.
    HoldRuleList,
    /// Takes a rule away. What it holds stays held.
    HoldRuleRemove {
        /// Its number.
        id: u32,
    },
    /// Has mail of an account not sent to an address any more.
    SuppressionAdd {
        /// The account.
        account: String,
        /// The address.
        address: String,
        /// Why.
        reason: String,
    },
    /// Has mail of an account sent to an address again.
    SuppressionRemove {
        /// The account.
        account: String,
        /// The address.
        address: String,
    },
    /// Streams the [`SuppressionRow`] of an address, if there is one.
    SuppressionLookup {
        /// The account.
        account: String,
        /// The address.
        address: String,
    },
    /// Streams [`SuppressionRow`]s, by account and address.
    SuppressionList {
        /// Only those of this account.
        account: Option<String>,
    },
    /// Streams [`RetiredRow`]s, the last ones first, and answers [`Answer::Page`].
    RetiredList {
        /// Only those that this account submitted; empty: that the server did.
        account: Option<String>,
        /// Where to go on; none is the start.
        cursor: Option<String>,
        /// How many at most; none is [`QUEUE_PAGE_MAX`], which is also the most.
        limit: Option<u32>,
    },
    /// Streams [`WebhookRow`]s, of a URL by the next attempt, all others by age, and answers [`Answer::Page`].
    WebhookList {
        /// Which calls.
        filter: Box<WebhookFilter>,
        /// Where to go on; none is the start.
        cursor: Option<String>,
        /// How many at most; none is [`QUEUE_PAGE_MAX`], which is also the most.
        limit: Option<u32>,
    },
    /// Answers [`Answer::Webhook`].
    WebhookShow {
        /// The call.
        id: String,
    },
    /// Does something to all calls that a filter means. Answers [`Answer::WebhooksChanged`].
    WebhookChange {
        /// Which calls.
        filter: Box<WebhookFilter>,
        /// What.
        change: WebhookChange,
    },
    /// Streams [`RetiredWebhookRow`]s, those that are known longest first, and answers [`Answer::Page`].
    WebhookRetired {
        /// Which calls.
        filter: Box<WebhookFilter>,
        /// Where to go on; none is the start.
        cursor: Option<String>,
        /// How many at most; none is [`QUEUE_PAGE_MAX`], which is also the most.
        limit: Option<u32>,
    },
    /// Calls a webhook of an account once, with something made up. Answers [`Answer::WebhookTested`].
    WebhookTest {
        /// Its name.
        account: String,
        /// The one for messages that come, and not the one for those that it sends.
        incoming: bool,
    },
}

impl Request {
    /// The name, as in log lines and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Stop => "stop",
            Self::LogLevels => "log-levels",
            Self::SetLogLevel { .. } => "set-log-level",
            Self::AccountAdd { .. } => "account-add",
            Self::AccountList => "account-list",
            Self::AccountShow { .. } => "account-show",
            Self::AccountRemove { .. } => "account-remove",
            Self::AccountSetPassword { .. } => "account-set-password",
            Self::AccountSetQuota { .. } => "account-set-quota",
            Self::AccountSetQuotaMessages { .. } => "account-set-quota-messages",
            Self::AccountDisable { .. } => "account-disable",
            Self::AccountEnable { .. } => "account-enable",
            Self::AccountSettingsShow { .. } => "account-settings-show",
            Self::AccountSettingsSet { .. } => "account-settings-set",
            Self::AccountTlsKeyAdd { .. } => "account-tls-key-add",
            Self::AccountTlsKeyRemove { .. } => "account-tls-key-remove",
            Self::AccountTlsKeyList { .. } => "account-tls-key-list",
            Self::AddressAdd { .. } => "address-add",
            Self::AddressRemove { .. } => "address-remove",
            Self::AddressList { .. } => "address-list",
            Self::AddressRuleList { .. } => "address-rule-list",
            Self::AddressRuleAdd { .. } => "address-rule-add",
            Self::AddressRuleRemove { .. } => "address-rule-remove",
            Self::AddressRuleMove { .. } => "address-rule-move",
            Self::AddressRequireAuthentication { .. } => "address-require-authentication",
            Self::AddressReports { .. } => "address-reports",
            Self::RouteList { .. } => "route-list",
            Self::RouteAdd { .. } => "route-add",
            Self::RouteRemove { .. } => "route-remove",
            Self::RouteMove { .. } => "route-move",
            Self::DomainAdd { .. } => "domain-add",
            Self::DomainRemove { .. } => "domain-remove",
            Self::DomainList => "domain-list",
            Self::DomainEnable { .. } => "domain-enable",
            Self::DomainDisable { .. } => "domain-disable",
            Self::DomainDkimAdd { .. } => "domain-dkim-add",
            Self::DomainDkimList { .. } => "domain-dkim-list",
            Self::DomainDkimSign { .. } => "domain-dkim-sign",
            Self::DomainDkimRemove { .. } => "domain-dkim-remove",
            Self::AliasAdd { .. } => "alias-add",
            Self::AliasRemove { .. } => "alias-remove",
            Self::AliasList { .. } => "alias-list",
            Self::AliasAddMember { .. } => "alias-add-member",
            Self::AliasRemoveMember { .. } => "alias-remove-member",
            Self::DirectoryExport => "directory-export",
            Self::DirectoryApply { .. } => "directory-apply",
            Self::Import { .. } => "import",
            Self::Export { .. } => "export",
            Self::IndexStatus { .. } => "index-status",
            Self::IndexRebuild { .. } => "index-rebuild",
            Self::ReportList { .. } => "report-list",
            Self::ReportShow { .. } => "report-show",
            Self::ReportDump { .. } => "report-dump",
            Self::ReportSummary { .. } => "report-summary",
            Self::ReportResults { .. } => "report-results",
            Self::ReportSuppressAdd { .. } => "report-suppress-add",
            Self::ReportSuppressRemove { .. } => "report-suppress-remove",
            Self::ReportSuppressList => "report-suppress-list",
            Self::QueueList { .. } => "queue-list",
            Self::QueueShow { .. } => "queue-show",
            Self::QueueDump { .. } => "queue-dump",
            Self::QueueChange { .. } => "queue-change",
            Self::HoldRuleAdd { .. } => "hold-rule-add",
            Self::HoldRuleList => "hold-rule-list",
            Self::HoldRuleRemove { .. } => "hold-rule-remove",
            Self::SuppressionAdd { .. } => "suppression-add",
            Self::SuppressionRemove { .. } => "suppression-remove",
            Self::SuppressionLookup { .. } => "suppression-lookup",
            Self::SuppressionList { .. } => "suppression-list",
            Self::RetiredList { .. } => "retired-list",
            Self::WebhookList { .. } => "webhook-list",
            Self::WebhookShow { .. } => "webhook-show",
            Self::WebhookChange { .. } => "webhook-change",
            Self::WebhookRetired { .. } => "webhook-retired",
            Self::WebhookTest { .. } => "webhook-test",
        }
    }

    /// Whether the client streams data to the server after the request.
    pub const fn has_input(&self) -> bool {
        matches!(self, Self::DirectoryApply { .. })
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
    /// Entries of the queue were changed.
    QueueChanged {
        /// How many.
        entries: u64,
        /// How many of their recipients.
        recipients: u64,
        /// Entries that were not, since an attempt is under way.
        busy: u64,
    },
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

/// How a text index is.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TextIndexStatus {
    /// Whether there is one.
    pub exists: bool,
    /// Emails that are in it, some of which may be removed since.
    pub emails: u64,
    /// Numbers of emails up to which the account is indexed, and up to which it has some.
    pub covered: u64,
    /// The number behind the last email's.
    pub next: u64,
    /// Segments that searches look at.
    pub segments: u64,
    /// Different terms of all segments together.
    pub terms: u64,
    /// Octets of dictionaries and postings.
    pub octets: u64,
}

/// How the server is.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// The version of the server.
    pub version: String,
    /// The number of its process.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// Threads that serve connections.
    pub shards: u32,
    /// Where it listens: name, protocol and address of each.
    pub listeners: Vec<ListenerStatus>,
    /// Connections that are open.
    pub connections: u64,
    /// Messages that wait to be delivered elsewhere.
    pub queued: u64,
    /// Whether the store takes writes; otherwise why it doesn't.
    pub store: StoreStatus,
}

/// Whether the store takes writes.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreStatus {
    /// It does.
    #[default]
    Writable,
    /// It doesn't.
    Stopped {
        /// Why, and what to do.
        reason: String,
    },
}

/// Where the server listens.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerStatus {
    /// The name in the configuration.
    pub name: String,
    /// What is spoken.
    pub protocol: String,
    /// Address and port.
    pub address: String,
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

/// A key that signs mail of a domain.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DkimKeyRow {
    /// The key's name in its domain.
    pub selector: String,
    /// `rsa` or `ed25519`.
    pub algorithm: String,
    /// Whether it signs.
    pub signs: bool,
    /// When it was added, in seconds since 1970.
    pub created: i64,
    /// The name of its record in the DNS, without a dot at its end.
    pub name: String,
    /// The text of the record; none when the stored key can't be read.
    pub record: Option<String>,
    /// The record as a line of a zone.
    pub zone: Option<String>,
}

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

/// A domain in a list.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DomainRow {
    /// The domain.
    pub domain: String,
    /// Whether mail for it is refused for now.
    pub disabled: bool,
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

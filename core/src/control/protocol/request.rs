//! What the server is asked to do.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

// The documentation below links to the rows and answers.
#[cfg(doc)]
use super::*;
use super::{
    DkimAlgorithm, HoldRule, MailRule, MailSetting, QueueChange, QueueFilter, ReportFilter, RetiredFilter,
    Route, RouteOwner, Secret, WebhookChange, WebhookFilter,
};

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
    /// Streams [`QueueListRow`]s, by the order of submission, and of one recipient domain by the next attempt. Answers
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
    /// Streams [`QueueRecipientRow`]s and answers [`Answer::QueueEntry`], or [`Answer::QueueDamaged`].
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
    /// [`Answer::QueueChanged`]. Damaged entries are passed over, but dropped when nothing but ids says what is meant.
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
    /// Streams [`SuppressionRow`]s, by account and address, and answers [`Answer::Page`].
    SuppressionList {
        /// Only those of this account.
        account: Option<String>,
        /// Where to go on; none is the start.
        cursor: Option<String>,
        /// How many at most; none is [`QUEUE_PAGE_MAX`], which is also the most.
        limit: Option<u32>,
    },
    /// Streams [`RetiredRow`]s, the last ones first, and answers [`Answer::Page`].
    RetiredList {
        /// Which of them.
        filter: Box<RetiredFilter>,
        /// Where to go on; none is the start.
        cursor: Option<String>,
        /// How many at most; none is [`QUEUE_PAGE_MAX`], which is also the most.
        limit: Option<u32>,
    },
    /// Says what is kept of a domain's policy of MTA-STS, and which transport a message to the domain would take. Answers
    /// [`Answer::Delivery`].
    DeliveryExplain {
        /// The recipients' domain, or an address literal.
        domain: String,
        /// The sender, whose account and domain have routes; an empty one is the null sender. Without one, only routes
        /// for all senders count.
        from: Option<String>,
        /// The account that sends with that address, where several may, or without a sender. The one whose address it is, when
        /// none is named.
        account: Option<String>,
        /// Which attempt it would be, from 1.
        attempt: u16,
    },
    /// Streams [`MtaStsRow`]s, by domain, and answers [`Answer::Page`].
    MtaStsList {
        /// Only what is kept of this domain.
        domain: Option<String>,
        /// Where to go on; none is the start.
        cursor: Option<String>,
        /// How many at most; none is [`QUEUE_PAGE_MAX`], which is also the most.
        limit: Option<u32>,
    },
    /// Forgets what is kept of a domain's policy.
    MtaStsForget {
        /// The domain.
        domain: String,
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
            Self::DeliveryExplain { .. } => "delivery-explain",
            Self::MtaStsList { .. } => "mta-sts-list",
            Self::MtaStsForget { .. } => "mta-sts-forget",
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

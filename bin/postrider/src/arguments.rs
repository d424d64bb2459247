//! The arguments of every command, and the help that is made of them.

mod account_settings;
#[macro_use]
mod asking;
mod checks;
mod dkim;
mod dns;
mod domain_dkim;
mod mta_sts;
mod queue;
mod reports;
mod reports_sent;
mod sendmail;
mod settings;
mod tls;
mod webhook;

use argh::FromArgs;
use postrider_dns::resolver::Upstream;

pub use account_settings::{
    AccountSettings, SettingsCommand, SettingsSet, SettingsShow, SettingsWebhook, Side,
};
pub use asking::{Asking, Belief};
pub use checks::{
    Dmarc, DmarcCommand, DmarcLookup, DmarcVerify, Dnsbl, DnsblCommand, Iprev, IprevCommand, Spf, SpfCheck,
    SpfCommand, SpfLookup,
};
pub use dkim::{
    Arc, ArcCommand, ArcVerify, Dkim, DkimCommand, DkimGen, DkimLookup, DkimSign, DkimTxt, DkimVerify,
};
pub use dns::{
    Dane, DaneCommand, DaneDial, DaneLookup, Dns, DnsCommand, DnsLookup, Dnssec, DnssecCommand, DnssecExplain,
};
pub use domain_dkim::{DomainDkim, DomainDkimAdd, DomainDkimCommand};
pub use mta_sts::{MtaSts, MtaStsCached, MtaStsCommand, MtaStsForget, MtaStsLookup};
pub use queue::{
    Filter, HoldRulesCommand, Queue, QueueCommand, QueueList, QueueRetired, QueueShow, SuppressionsCommand,
    SuppressionsList, Wish as QueueWish,
};
pub use reports::{Reports, ReportsCommand, ReportsList, ReportsShow, ReportsSummary};
pub use reports_sent::{ReportsResults, ReportsSuppress, ReportsSuppressCommand};
pub use sendmail::Sendmail;
pub use settings::{
    AccountRoutes, AddressReports, AddressRequireAuthentication, AddressRules, DomainRoutes, RouteAdd,
    RouteCommand, RouteMove, RouteRm, RuleAdd, RuleCommand, RuleMove, RuleRm,
};
pub use tls::{Sender as TlsSender, Tls, TlsCommand, TlsExplain};
pub use webhook::{Webhook, WebhookCommand, WebhookList, WebhookRetired};

/// What ends the program before a command runs.
#[derive(Debug, Eq, PartialEq)]
pub enum Early {
    /// Help was asked for.
    Help(String),
    /// The arguments make no sense.
    Usage(String),
}

impl Top {
    /// Parses the words after the program's name.
    pub fn parse(words: &[String]) -> Result<Self, Early> {
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        // `--version`, `-h` and `help` mean what they mean everywhere.
        match words.first() {
            Some(&("--version" | "-V")) => words[0] = "version",
            Some(&"-h") => words[0] = "--help",
            Some(&"help") => {
                words.remove(0);
                words.push("--help");
            }
            None => words.push("--help"),
            _ => {}
        }
        // argh takes `-` for a switch; here it is standard input, like no file at all.
        if words.windows(2).any(|pair| pair == ["directory", "apply"]) {
            words.retain(|word| *word != "-");
        }
        Self::from_args(&["postrider"], &words).map_err(|exit| match exit.status {
            Ok(()) => Early::Help(exit.output),
            Err(()) => {
                let output = exit.output.trim_end();
                Early::Usage(format!("{output}\nRun `postrider --help`, or the command with --help"))
            }
        })
    }
}

/// A complete mail system: receives, stores, serves and delivers mail.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(
    example = "A local instance to try:\n  {command_name} localserve\nA server:\n  {command_name} config example > \
               postrider.toml\n  {command_name} serve --config postrider.toml",
    note = "Commands that speak to the running server find it by --socket, or --data, or --config, or else by \
            postrider.toml in the current directory or /etc/postrider, or else by the directory of localserve."
)]
pub struct Top {
    /// the control socket of the server to speak to
    #[argh(option)]
    pub socket: Option<String>,

    /// the data directory of the server to speak to
    #[argh(option)]
    pub data: Option<String>,

    /// the configuration of the server to run or to speak to
    #[argh(option)]
    pub config: Option<String>,

    #[argh(subcommand)]
    pub command: Command,
}

/// Every command.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand)]
pub enum Command {
    Serve(Serve),
    Localserve(Localserve),
    Stop(Stop),
    Status(Status),
    Account(Account),
    Address(Address),
    Domain(Domain),
    Alias(Alias),
    Directory(Directory),
    Loglevels(Loglevels),
    Import(Import),
    Export(Export),
    Index(Index),
    Queue(Queue),
    Webhook(Webhook),
    Reports(Reports),
    Sendmail(Sendmail),
    Dns(Dns),
    Dnssec(Dnssec),
    Dane(Dane),
    Spf(Spf),
    Dkim(Dkim),
    Arc(Arc),
    Dmarc(Dmarc),
    Iprev(Iprev),
    Dnsbl(Dnsbl),
    MtaSts(MtaSts),
    Tls(Tls),
    Config(Config),
    Verifydata(Verifydata),
    Repair(Repair),
    Version(Version),
}

/// Run the server.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "serve", example = "{command_name} --config /etc/postrider/postrider.toml")]
pub struct Serve {
    /// the configuration file
    #[argh(option)]
    pub config: Option<String>,
}

/// Run a complete local instance on loopback, with the account user@localhost and the password localserve.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(
    subcommand,
    name = "localserve",
    example = "{command_name} --dir /tmp/mail\nThen send a message:\n  swaks --server localhost:1025 --to \
               user@localhost"
)]
pub struct Localserve {
    /// where everything is kept (default: a directory of the user's that stays the same)
    #[argh(option)]
    pub dir: Option<String>,
    /// who answers questions to DNS, as ADDRESS or ADDRESS:PORT; repeatable. Without one nothing is asked, and mail that comes in
    /// isn't checked
    #[argh(option, from_str_fn(asking::upstream))]
    pub resolver: Vec<Upstream>,
    /// a file of DS or DNSKEY records to validate from; without one, the AD bit of resolvers on loopback is believed
    #[argh(option)]
    pub trust_anchor: Option<String>,
}

/// Stop the running server: open connections are told, nothing accepted is lost.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "stop", example = "{command_name}")]
pub struct Stop {}

/// Show how the running server is.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "status", example = "{command_name}")]
pub struct Status {}

/// Make, change, list and remove accounts.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "account", example = "{command_name} add anna anna@example.com")]
pub struct Account {
    #[argh(subcommand)]
    pub command: AccountCommand,
}

#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand)]
pub enum AccountCommand {
    Add(AccountAdd),
    List(AccountList),
    Show(AccountShow),
    Rm(AccountRm),
    SetPassword(AccountSetPassword),
    Quota(AccountQuota),
    QuotaMessages(AccountQuotaMessages),
    Disable(AccountDisable),
    Enable(AccountEnable),
    TlsPubKey(AccountTlsPubKey),
    Routes(AccountRoutes),
    Settings(AccountSettings),
}

/// Make an account with its first address. The password is asked for, or read as a line of standard input.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "add", example = "{command_name} --quota '2 GiB' anna anna@example.com")]
pub struct AccountAdd {
    /// what all its messages may take, such as "2 GiB" (default: as configured)
    #[argh(option)]
    pub quota: Option<String>,
    /// the name of the account
    #[argh(positional)]
    pub account: String,
    /// its first address
    #[argh(positional)]
    pub address: String,
}

/// Public keys of client certificates that log in to an account, over IMAP and submission, by SASL EXTERNAL.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "tlspubkey", example = "{command_name} add --name laptop anna client.crt")]
pub struct AccountTlsPubKey {
    #[argh(subcommand)]
    pub command: TlsPubKeyCommand,
}

#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand)]
pub enum TlsPubKeyCommand {
    Add(TlsPubKeyAdd),
    Rm(TlsPubKeyRm),
    List(TlsPubKeyList),
}

/// Let a key log in. A certificate with it may sign itself; only its key and its dates count.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "add", example = "{command_name} --name laptop anna client.crt")]
pub struct TlsPubKeyAdd {
    /// what the key is called (default: nothing)
    #[argh(option, default = "String::new()")]
    pub name: String,
    /// the name of the account
    #[argh(positional)]
    pub account: String,
    /// a file with the certificate or the public key, in PEM form
    #[argh(positional)]
    pub file: String,
}

/// Take a key away. Who is logged in with it stays so. Write -- before a fingerprint that begins with a hyphen.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "rm", example = "{command_name} anna LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ")]
pub struct TlsPubKeyRm {
    /// the name of the account
    #[argh(positional)]
    pub account: String,
    /// the fingerprint of the key
    #[argh(positional)]
    pub fingerprint: String,
}

/// List the keys of an account.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "list", example = "{command_name} anna")]
pub struct TlsPubKeyList {
    /// print rows as JSON
    #[argh(switch)]
    pub json: bool,
    /// the name of the account
    #[argh(positional)]
    pub account: String,
}

/// List all accounts.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "list", example = "{command_name} --json")]
pub struct AccountList {
    /// one JSON object in a line for each
    #[argh(switch)]
    pub json: bool,
}

/// Show an account with its addresses and mailboxes.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "show", example = "{command_name} anna")]
pub struct AccountShow {
    /// the name of the account
    #[argh(positional)]
    pub account: String,
}

/// Remove an account, its addresses and its mail. There is no way back.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "rm", example = "{command_name} anna")]
pub struct AccountRm {
    /// the name of the account
    #[argh(positional)]
    pub account: String,
}

/// Give an account another password, which is asked for, or read as a line of standard input.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(
    subcommand,
    name = "set-password",
    example = "{command_name} anna\n  pwgen 20 1 | {command_name} anna"
)]
pub struct AccountSetPassword {
    /// the name of the account
    #[argh(positional)]
    pub account: String,
}

/// Change what all messages of an account may take.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "quota", example = "{command_name} anna '5 GiB'\n{command_name} anna unlimited")]
pub struct AccountQuota {
    /// the name of the account
    #[argh(positional)]
    pub account: String,
    /// a size such as "5 GiB", or "unlimited"
    #[argh(positional)]
    pub quota: String,
}

/// Change how many messages an account may have.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(
    subcommand,
    name = "quota-messages",
    example = "{command_name} anna 100000\n{command_name} anna unlimited"
)]
pub struct AccountQuotaMessages {
    /// the name of the account
    #[argh(positional)]
    pub account: String,
    /// a number, or "unlimited"
    #[argh(positional)]
    pub messages: String,
}

/// Refuse logins to an account. It still gets mail.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "disable", example = "{command_name} anna 'Call us at extension 12'")]
pub struct AccountDisable {
    /// the name of the account
    #[argh(positional)]
    pub account: String,
    /// what clients are told at login
    #[argh(positional)]
    pub message: String,
}

/// Allow logins to an account again.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "enable", example = "{command_name} anna")]
pub struct AccountEnable {
    /// the name of the account
    #[argh(positional)]
    pub account: String,
}

/// Add, remove and list addresses of accounts, and say what becomes of mail to them.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "address", example = "{command_name} add anna.smith@example.com anna")]
pub struct Address {
    #[argh(subcommand)]
    pub command: AddressCommand,
}

#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand)]
pub enum AddressCommand {
    Add(AddressAdd),
    Rm(AddressRm),
    List(AddressList),
    Rules(AddressRules),
    RequireAuthentication(AddressRequireAuthentication),
    Reports(AddressReports),
}

/// Give an account an address, or with @domain all addresses of a domain that nobody else has.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(
    subcommand,
    name = "add",
    example = "{command_name} anna.smith@example.com anna\n{command_name} @example.com anna"
)]
pub struct AddressAdd {
    /// the address
    #[argh(positional)]
    pub address: String,
    /// the account that gets its mail
    #[argh(positional)]
    pub account: String,
}

/// Remove an address.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "rm", example = "{command_name} anna.smith@example.com")]
pub struct AddressRm {
    /// the address
    #[argh(positional)]
    pub address: String,
}

/// List addresses.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "list", example = "{command_name} anna")]
pub struct AddressList {
    /// one JSON object in a line for each
    #[argh(switch)]
    pub json: bool,
    /// only those of this account
    #[argh(positional)]
    pub account: Option<String>,
}

/// Add, remove and list the domains that mail is taken for.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "domain", example = "{command_name} add example.com")]
pub struct Domain {
    #[argh(subcommand)]
    pub command: DomainCommand,
}

#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand)]
pub enum DomainCommand {
    Add(DomainAdd),
    Rm(DomainRm),
    List(DomainList),
    Enable(DomainEnable),
    Disable(DomainDisable),
    Routes(DomainRoutes),
    Dkim(DomainDkim),
}

/// Take mail for a domain.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "add", example = "{command_name} example.com")]
pub struct DomainAdd {
    /// don't take mail yet
    #[argh(switch)]
    pub disabled: bool,
    /// the domain
    #[argh(positional)]
    pub domain: String,
}

/// Remove a domain that has no addresses any more.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "rm", example = "{command_name} example.com")]
pub struct DomainRm {
    /// the domain
    #[argh(positional)]
    pub domain: String,
}

/// List all domains.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "list", example = "{command_name}")]
pub struct DomainList {
    /// one JSON object in a line for each
    #[argh(switch)]
    pub json: bool,
}

/// Take mail for a domain again.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "enable", example = "{command_name} example.com")]
pub struct DomainEnable {
    /// the domain
    #[argh(positional)]
    pub domain: String,
}

/// Refuse mail for a domain for now: senders try again later. Logins still work.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "disable", example = "{command_name} example.com")]
pub struct DomainDisable {
    /// the domain
    #[argh(positional)]
    pub domain: String,
}

/// Make, change, list and remove aliases: addresses whose mail goes to several others.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(
    subcommand,
    name = "alias",
    example = "{command_name} add team@example.com anna@example.com bo@example.com"
)]
pub struct Alias {
    #[argh(subcommand)]
    pub command: AliasCommand,
}

#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand)]
pub enum AliasCommand {
    Add(AliasAdd),
    Rm(AliasRm),
    List(AliasList),
    AddMember(AliasAddMember),
    RmMember(AliasRmMember),
}

/// Make an alias.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "add", example = "{command_name} team@example.com anna@example.com bo@example.com")]
pub struct AliasAdd {
    /// the address of the alias
    #[argh(positional)]
    pub alias: String,
    /// the addresses that get its mail
    #[argh(positional)]
    pub members: Vec<String>,
}

/// Remove an alias.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "rm", example = "{command_name} team@example.com")]
pub struct AliasRm {
    /// the address of the alias
    #[argh(positional)]
    pub alias: String,
}

/// List aliases with their members.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "list", example = "{command_name} example.com")]
pub struct AliasList {
    /// one JSON object in a line for each
    #[argh(switch)]
    pub json: bool,
    /// only those of this domain
    #[argh(positional)]
    pub domain: Option<String>,
}

/// Add members to an alias.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "add-member", example = "{command_name} team@example.com cleo@example.com")]
pub struct AliasAddMember {
    /// the address of the alias
    #[argh(positional)]
    pub alias: String,
    /// the addresses that get its mail too
    #[argh(positional)]
    pub members: Vec<String>,
}

/// Remove members from an alias.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "rm-member", example = "{command_name} team@example.com bo@example.com")]
pub struct AliasRmMember {
    /// the address of the alias
    #[argh(positional)]
    pub alias: String,
    /// the addresses that no longer get its mail
    #[argh(positional)]
    pub members: Vec<String>,
}

/// Write all domains, accounts, addresses and aliases as text, or make them like a text.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "directory", example = "{command_name} export > directory.txt")]
pub struct Directory {
    #[argh(subcommand)]
    pub command: DirectoryCommand,
}

#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand)]
pub enum DirectoryCommand {
    Export(DirectoryExport),
    Apply(DirectoryApply),
}

/// Write the directory to standard output.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "export", example = "{command_name} > directory.txt")]
pub struct DirectoryExport {}

/// Make the directory like a text, all at once or not at all, and show the difference.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "apply", example = "{command_name} --dry-run directory.txt")]
pub struct DirectoryApply {
    /// only show the difference
    #[argh(switch)]
    pub dry_run: bool,
    /// the file with the text (without one, or with -: standard input)
    #[argh(positional)]
    pub file: Option<String>,
}

/// Show or change which log lines the running server writes. With no argument they are shown.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(
    subcommand,
    name = "loglevels",
    example = "{command_name} debug smtp\nBack to the level of all others:\n  {command_name} default smtp"
)]
pub struct Loglevels {
    /// off, error, warn, info, debug or trace, or default; then the module, such as smtp, imap or storage (without:
    /// all that have no level of their own)
    #[argh(positional, arg_name = "level module")]
    pub level_and_module: Vec<String>,
}

/// Read messages from files that the server can read into a mailbox.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "import", example = "{command_name} maildir anna Archive /home/anna/Maildir")]
pub struct Import {
    /// maildir or mbox
    #[argh(positional, from_str_fn(format))]
    pub format: postrider_core::control::protocol::Format,
    /// the account that gets the messages
    #[argh(positional)]
    pub account: String,
    /// the mailbox, made if it isn't there
    #[argh(positional)]
    pub mailbox: String,
    /// the directory or file
    #[argh(positional)]
    pub path: String,
}

/// Write the messages of an account to a new directory.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "export", example = "{command_name} maildir anna /tmp/anna")]
pub struct Export {
    /// only this mailbox
    #[argh(option)]
    pub mailbox: Option<String>,
    /// maildir or mbox
    #[argh(positional, from_str_fn(format))]
    pub format: postrider_core::control::protocol::Format,
    /// the account
    #[argh(positional)]
    pub account: String,
    /// the directory, which must not exist yet or be empty
    #[argh(positional)]
    pub dir: String,
}

/// Show or rebuild the text index of an account, with which its messages are searched.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "index", example = "{command_name} status anna\n{command_name} rebuild anna")]
pub struct Index {
    #[argh(subcommand)]
    pub command: IndexCommand,
}

#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand)]
pub enum IndexCommand {
    Status(IndexStatus),
    Rebuild(IndexRebuild),
}

/// Show how far the text index of an account is, and how large.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "status", example = "{command_name} anna")]
pub struct IndexStatus {
    /// the account
    #[argh(positional)]
    pub account: String,
}

/// Build the text index of an account anew. Searches find the same meanwhile, only slower.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "rebuild", example = "{command_name} anna")]
pub struct IndexRebuild {
    /// the account
    #[argh(positional)]
    pub account: String,
}

fn format(text: &str) -> Result<postrider_core::control::protocol::Format, String> {
    match text {
        "maildir" => Ok(postrider_core::control::protocol::Format::Maildir),
        "mbox" => Ok(postrider_core::control::protocol::Format::Mbox),
        other => Err(format!("there is no format {other:?}; write maildir or mbox")),
    }
}

/// Write an example of the configuration, or check one.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "config", example = "{command_name} example > postrider.toml")]
pub struct Config {
    #[argh(subcommand)]
    pub command: ConfigCommand,
}

#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand)]
pub enum ConfigCommand {
    Example(ConfigExample),
    Test(ConfigTest),
}

/// Write a configuration with everything that can be set, explained.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "example", example = "{command_name} > postrider.toml")]
pub struct ConfigExample {}

/// Check a configuration and the files that it names.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "test", example = "{command_name} postrider.toml")]
pub struct ConfigTest {
    /// the configuration file
    #[argh(positional)]
    pub file: String,
}

/// Check everything that a store must fulfil. The server must not be running.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "verifydata", example = "{command_name} /var/lib/postrider")]
pub struct Verifydata {
    /// the data directory
    #[argh(positional)]
    pub dir: String,
}

/// Make a store usable again whose last write was cut off by a crash, and say what was cut.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "repair", example = "{command_name} /var/lib/postrider")]
pub struct Repair {
    /// also cut what was acknowledged, and say what is lost
    #[argh(switch)]
    pub force: bool,
    /// the data directory
    #[argh(positional)]
    pub dir: String,
}

/// Show the version.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "version", example = "{command_name}")]
pub struct Version {}

#[cfg(test)]
mod tests;

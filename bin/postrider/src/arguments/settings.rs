//! The arguments about rules of addresses, and about routes.

use argh::FromArgs;

/// Rules of an address: the first one that matches a message says where it goes, and how strictly it is judged.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(
    subcommand,
    name = "rules",
    example = "{command_name} add --verified-domain lists.example --list-allow lists.example --mailbox Lists \
               anna@example.com"
)]
pub struct AddressRules {
    #[argh(subcommand)]
    pub command: RuleCommand,
}

#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand)]
pub enum RuleCommand {
    List(RuleList),
    Add(RuleAdd),
    Rm(RuleRm),
    Move(RuleMove),
}

/// List the rules of an address, in the order in which they are tried.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "list", example = "{command_name} anna@example.com")]
pub struct RuleList {
    /// one JSON object in a line for each
    #[argh(switch)]
    pub json: bool,
    /// the address; @domain is a catch-all
    #[argh(positional)]
    pub address: String,
}

/// Add a rule. It matches when all conditions do that are given, at least one of --mail-from, --msg-from,
/// --verified-domain and --header. Regular expressions match anywhere unless they have ^ and $, and tell capital letters
/// from small ones unless they begin with (?i).
#[derive(Debug, FromArgs, PartialEq)]
#[argh(
    subcommand,
    name = "add",
    example = "A mailing list, whose messages DMARC would refuse:\n  {command_name} --verified-domain lists.example \
               --header 'list-id=<news\\.lists\\.example>' --list-allow lists.example --mailbox Lists/News \
               anna@example.com\nMail that another account forwards here:\n  {command_name} --mail-from \
               '^anna@old\\.example$' --verified-domain old.example --forward anna@example.com\nWhat would be \
               refused, to look at it:\n  {command_name} --msg-from '@partner\\.example$' --accept-rejects-to \
               Rejects anna@example.com"
)]
pub struct RuleAdd {
    /// which rule it will be, from 1 (default: the last)
    #[argh(option)]
    pub at: Option<u32>,
    /// a regular expression for the address in MAIL FROM
    #[argh(option)]
    pub mail_from: Option<String>,
    /// a regular expression for the address in the From field
    #[argh(option)]
    pub msg_from: Option<String>,
    /// a domain for which, or for one below which, SPF or a signature passes
    #[argh(option)]
    pub verified_domain: Option<String>,
    /// regular expressions for name and value of a field, both in lower case, as NAME=VALUE; repeatable, each must match
    /// some field
    #[argh(option, from_str_fn(header))]
    pub header: Vec<(String, String)>,
    /// where the message goes (default: the mailbox of the address)
    #[argh(option)]
    pub mailbox: Option<String>,
    /// the sender forwards mail for the account's owner, so DMARC doesn't count; needs --mail-from and
    /// --verified-domain
    #[argh(switch)]
    pub forward: bool,
    /// the domain of a mailing list: when just this one is verified, the message is accepted whatever DMARC says
    #[argh(option)]
    pub list_allow: Option<String>,
    /// where a message goes, marked as read, that would be refused
    #[argh(option)]
    pub accept_rejects_to: Option<String>,
    /// what the rule is for
    #[argh(option, default = "String::new()")]
    pub comment: String,
    /// the address; @domain is a catch-all
    #[argh(positional)]
    pub address: String,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write regular expressions as NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Remove a rule.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "rm", example = "{command_name} anna@example.com 2")]
pub struct RuleRm {
    /// the address
    #[argh(positional)]
    pub address: String,
    /// which rule, as the list numbers them
    #[argh(positional)]
    pub number: u32,
}

/// Move a rule before or behind others.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "move", example = "{command_name} anna@example.com 3 1")]
pub struct RuleMove {
    /// the address
    #[argh(positional)]
    pub address: String,
    /// which rule, as the list numbers them
    #[argh(positional)]
    pub number: u32,
    /// which one it will be
    #[argh(positional)]
    pub to: u32,
}

/// Refuse mail to an address unless SPF, a signature or DMARC confirms its author, or take all mail again with --off.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(
    subcommand,
    name = "require-authentication",
    example = "{command_name} orders@example.com 'Sign your mail, see https://example.com/mail'\n{command_name} \
               --off orders@example.com"
)]
pub struct AddressRequireAuthentication {
    /// take mail that nothing confirms again
    #[argh(switch)]
    pub off: bool,
    /// the address
    #[argh(positional)]
    pub address: String,
    /// what senders are told (default: that mail to this address must be authenticated)
    #[argh(positional)]
    pub text: Option<String>,
}

/// Read the reports on DMARC and TLS that other servers send to an address, for postrider reports.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(
    subcommand,
    name = "reports",
    example = "{command_name} reports@example.com dmarc tls\n{command_name} --off reports@example.com"
)]
pub struct AddressReports {
    /// read none any more
    #[argh(switch)]
    pub off: bool,
    /// the address
    #[argh(positional)]
    pub address: String,
    /// which kinds: dmarc, tls
    #[argh(positional)]
    pub kinds: Vec<String>,
}

/// Routes of an account: by which transports of the configuration its mail leaves. The first one that matches counts.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "routes", example = "{command_name} add --to .example.net anna smarthost")]
pub struct AccountRoutes {
    #[argh(subcommand)]
    pub command: RouteCommand,
}

/// Routes of a domain: by which transports mail of its addresses leaves, where no route of the account matches.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(
    subcommand,
    name = "routes",
    example = "{command_name} add --minimum-attempts 3 example.com smarthost"
)]
pub struct DomainRoutes {
    #[argh(subcommand)]
    pub command: RouteCommand,
}

#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand)]
pub enum RouteCommand {
    List(RouteList),
    Add(RouteAdd),
    Rm(RouteRm),
    Move(RouteMove),
}

/// List routes, in the order in which they are tried.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "list", example = "{command_name} --json NAME")]
pub struct RouteList {
    /// one JSON object in a line for each
    #[argh(switch)]
    pub json: bool,
    /// the account, or the domain
    #[argh(positional)]
    pub owner: String,
}

/// Add a route. Domains are example.com, .example.com (with all below it), or a single dot for the empty sender.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(
    subcommand,
    name = "add",
    example = "{command_name} --to .example.net NAME smarthost\nWhat could not be delivered three times:\n  \
               {command_name} --minimum-attempts 3 NAME smarthost"
)]
pub struct RouteAdd {
    /// which route it will be, from 1 (default: the last)
    #[argh(option)]
    pub at: Option<u32>,
    /// a domain of senders; repeatable (default: all)
    #[argh(option)]
    pub from: Vec<String>,
    /// a domain of recipients; repeatable (default: all)
    #[argh(option)]
    pub to: Vec<String>,
    /// attempts that must have failed before (default: none)
    #[argh(option, default = "0")]
    pub minimum_attempts: u32,
    /// the account, or the domain
    #[argh(positional)]
    pub owner: String,
    /// the name of the transport
    #[argh(positional)]
    pub transport: String,
}

/// Remove a route.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "rm", example = "{command_name} NAME 2")]
pub struct RouteRm {
    /// the account, or the domain
    #[argh(positional)]
    pub owner: String,
    /// which route, as the list numbers them
    #[argh(positional)]
    pub number: u32,
}

/// Move a route before or behind others.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "move", example = "{command_name} NAME 3 1")]
pub struct RouteMove {
    /// the account, or the domain
    #[argh(positional)]
    pub owner: String,
    /// which route, as the list numbers them
    #[argh(positional)]
    pub number: u32,
    /// which one it will be
    #[argh(positional)]
    pub to: u32,
}

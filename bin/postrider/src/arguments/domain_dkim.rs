//! The arguments about keys that sign mail of domains.

use argh::FromArgs;
use postrider_core::control::protocol::DkimAlgorithm;

/// Keys with which mail of a domain is signed when it leaves (DKIM).
#[derive(Debug, FromArgs, PartialEq)]
#[argh(
    subcommand,
    name = "dkim",
    example = "The first key, and the record to publish for it:\n  {command_name} add example.com\nAnother key in its \
               place, once its record can be looked up everywhere:\n  {command_name} add --publish-only example.com\n  \
               {command_name} records example.com\n  {command_name} sign example.com 2026b on\n  {command_name} sign \
               example.com 2026a off\nA week later, when nothing is on its way that it signed:\n  {command_name} rm \
               example.com 2026a"
)]
pub struct DomainDkim {
    #[argh(subcommand)]
    pub command: DomainDkimCommand,
}

#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand)]
pub enum DomainDkimCommand {
    Add(DomainDkimAdd),
    Rm(DomainDkimRm),
    List(DomainDkimList),
    Sign(DomainDkimSign),
    Records(DomainDkimRecords),
}

/// Give a domain a key, and show the record to publish. It signs at once, unless told otherwise. Every key that signs gives
/// a signature; one of RSA is known to all, so give a domain that first.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(
    subcommand,
    name = "add",
    example = "{command_name} example.com\n{command_name} --algorithm ed25519 --publish-only example.com\n\
               {command_name} --selector mail --key-file mail.pem example.com"
)]
pub struct DomainDkimAdd {
    /// the key's name in the domain (default: the year and a letter, such as 2026a)
    #[argh(option)]
    pub selector: Option<String>,
    /// the kind of key that is made: rsa2048 (default) or ed25519
    #[argh(option, from_str_fn(algorithm))]
    pub algorithm: Option<DkimAlgorithm>,
    /// a file with a private key in PEM form, instead of a new one
    #[argh(option)]
    pub key_file: Option<String>,
    /// don't sign with it yet
    #[argh(switch)]
    pub publish_only: bool,
    /// the domain
    #[argh(positional)]
    pub domain: String,
}

/// Remove a key. What it signed can be verified only while its record is still there: let that stay for a week.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "rm", example = "{command_name} example.com 2026a")]
pub struct DomainDkimRm {
    /// the domain
    #[argh(positional)]
    pub domain: String,
    /// the key's name there
    #[argh(positional)]
    pub selector: String,
}

/// List the keys of a domain.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "list", example = "{command_name} example.com")]
pub struct DomainDkimList {
    /// one JSON object in a line for each
    #[argh(switch)]
    pub json: bool,
    /// the domain
    #[argh(positional)]
    pub domain: String,
}

/// Let a key sign, or no longer.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "sign", example = "{command_name} example.com 2026b on")]
pub struct DomainDkimSign {
    /// the domain
    #[argh(positional)]
    pub domain: String,
    /// the key's name there
    #[argh(positional)]
    pub selector: String,
    /// on or off
    #[argh(positional, from_str_fn(on))]
    pub signs: bool,
}

/// Show the records to publish for the keys of a domain, as lines of its zone.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "records", example = "{command_name} example.com")]
pub struct DomainDkimRecords {
    /// the domain
    #[argh(positional)]
    pub domain: String,
}

fn algorithm(text: &str) -> Result<DkimAlgorithm, String> {
    match text {
        "rsa2048" => Ok(DkimAlgorithm::Rsa2048),
        "ed25519" => Ok(DkimAlgorithm::Ed25519),
        _ => Err(format!("{text} is neither rsa2048 nor ed25519")),
    }
}

fn on(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("{text} is neither on nor off")),
    }
}

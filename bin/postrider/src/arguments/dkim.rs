//! The arguments of the commands about signatures of messages.

use std::path::PathBuf;

use argh::FromArgs;
use postrider_proto::address::Domain;
use postrider_proto::dkim::key::Kind;
use postrider_proto::dkim::signature::Canonicalization;
use postrider_proto::dkim::{Identity, Selector};

use super::asking::{belief, upstream};

/// Look up, verify and make signatures of messages (DKIM), and their keys.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(
    subcommand,
    name = "dkim",
    example = "A key, and what to publish for it:\n  {command_name} gen ed25519 > key.pem\n  {command_name} txt \
               --selector 2026a --domain example.com key.pem\nWhether a message is from whom it says:\n  \
               {command_name} verify message.eml"
)]
pub struct Dkim {
    #[argh(subcommand)]
    pub command: DkimCommand,
}

#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand)]
pub enum DkimCommand {
    Lookup(DkimLookup),
    Verify(DkimVerify),
    Sign(DkimSign),
    Txt(DkimTxt),
    Gen(DkimGen),
}

asking! {
    /// Look up the key of a selector and show what it is.
    #[argh(subcommand, name = "lookup", example = "{command_name} 20230601 gmail.com")]
    pub struct DkimLookup {
        /// the selector
        #[argh(positional, from_str_fn(selector))]
        pub selector: Selector,

        /// the domain
        #[argh(positional, from_str_fn(domain))]
        pub domain: Domain,
    }
}

asking! {
    /// Verify the signatures of a message.
    #[argh(subcommand, name = "verify", example = "{command_name} --json message.eml")]
    pub struct DkimVerify {
        /// the time of the verification in seconds since 1970 (default: now)
        #[argh(option)]
        pub time: Option<u64>,

        /// the message (default: standard input)
        #[argh(positional)]
        pub file: Option<PathBuf>,
    }
}

/// Print a message with signatures on top of it.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(
    subcommand,
    name = "sign",
    example = "{command_name} --domain example.com --key 2026a=key.pem message.eml"
)]
pub struct DkimSign {
    /// who signs
    #[argh(option, from_str_fn(domain))]
    pub domain: Domain,

    /// a selector and the file of its private key, as SELECTOR=FILE (repeatable)
    #[argh(option, from_str_fn(named_key))]
    pub key: Vec<NamedKey>,

    /// whom the domain signs for, an address of the domain or below it
    #[argh(option, from_str_fn(identity))]
    pub identity: Option<Identity>,

    /// how fields and body are made comparable: simple or relaxed, each, as relaxed/simple (default:
    /// relaxed/relaxed)
    #[argh(option, from_str_fn(canonicalization), default = "Canonicalization::RELAXED")]
    pub canonicalization: Canonicalization,

    /// seconds until the signatures expire (default: never)
    #[argh(option)]
    pub lifetime: Option<u64>,

    /// the time of signing in seconds since 1970 (default: now)
    #[argh(option)]
    pub time: Option<u64>,

    /// print the fields alone, as JSON
    #[argh(switch)]
    pub json: bool,

    /// the message (default: standard input)
    #[argh(positional)]
    pub file: Option<PathBuf>,
}

/// Print the DNS record of a private key, as a line of a zone file.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "txt", example = "{command_name} --selector 2026a --domain example.com key.pem")]
pub struct DkimTxt {
    /// the name of the key
    #[argh(option, from_str_fn(selector))]
    pub selector: Selector,

    /// the domain that signs with it
    #[argh(option, from_str_fn(domain))]
    pub domain: Domain,

    /// print JSON
    #[argh(switch)]
    pub json: bool,

    /// the private key in PEM
    #[argh(positional)]
    pub key: PathBuf,
}

/// Make a private key and print it in PEM (PKCS#8).
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "gen", example = "{command_name} rsa > key.pem")]
pub struct DkimGen {
    /// print JSON: the key and the text of its DNS record
    #[argh(switch)]
    pub json: bool,

    /// ed25519, or rsa for one of 2048 bits
    #[argh(positional, from_str_fn(kind))]
    pub kind: Kind,
}

/// Look at the chain of handlers of a message (ARC).
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "arc", example = "{command_name} verify message.eml")]
pub struct Arc {
    #[argh(subcommand)]
    pub command: ArcCommand,
}

#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand)]
pub enum ArcCommand {
    Verify(ArcVerify),
}

asking! {
    /// Validate the chain of a message.
    #[argh(subcommand, name = "verify", example = "{command_name} --json message.eml")]
    pub struct ArcVerify {
        /// a sealer whose results may be used (repeatable)
        #[argh(option, from_str_fn(domain))]
        pub trusted: Vec<Domain>,

        /// the time of the validation in seconds since 1970 (default: now)
        #[argh(option)]
        pub time: Option<u64>,

        /// the message (default: standard input)
        #[argh(positional)]
        pub file: Option<PathBuf>,
    }
}

/// A private key and its name.
#[derive(Debug, PartialEq)]
pub struct NamedKey {
    pub selector: Selector,
    pub file: PathBuf,
}

fn domain(text: &str) -> Result<Domain, String> {
    Domain::parse(text).map_err(|error| error.to_string())
}

fn selector(text: &str) -> Result<Selector, String> {
    Selector::parse(text).ok_or_else(|| format!("{text} is no selector"))
}

fn identity(text: &str) -> Result<Identity, String> {
    let parts = text.rsplit_once('@').filter(|_| !text.contains(char::is_control));
    let (localpart, name) = parts.ok_or_else(|| format!("{text} is no address"))?;
    Ok(Identity { localpart: localpart.to_owned(), domain: domain(name)? })
}

fn canonicalization(text: &str) -> Result<Canonicalization, String> {
    Canonicalization::parse(text)
        .ok_or_else(|| format!("{text} is neither simple nor relaxed, nor two of them"))
}

fn named_key(text: &str) -> Result<NamedKey, String> {
    let (name, file) = text.split_once('=').ok_or_else(|| format!("{text} is not SELECTOR=FILE"))?;
    Ok(NamedKey { selector: selector(name)?, file: file.into() })
}

fn kind(text: &str) -> Result<Kind, String> {
    [Kind::Ed25519, Kind::Rsa]
        .into_iter()
        .find(|kind| kind.word() == text)
        .ok_or_else(|| format!("{text} is neither ed25519 nor rsa"))
}

//! The arguments of the command about TLS with other servers.

use std::fmt;
use std::path::PathBuf;

use argh::FromArgs;
use postrider_delivery::destination::Target;
use postrider_proto::address::{Address, HeloName};
use postrider_storage::directory::AccountName;

use super::asking::{belief, upstream};

/// Look at how mail to a domain would be secured, and why.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "tls", example = "{command_name} explain example.org")]
pub struct Tls {
    #[argh(subcommand)]
    pub command: TlsCommand,
}

#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand)]
pub enum TlsCommand {
    Explain(TlsExplain),
}

/// What a message wants of transport security.
pub type Wish = super::queue::Wish;

asking! {
    /// Say what delivery to a domain would do, and why: the route and its transport, the hosts, DNSSEC, MTA-STS, DANE, and what
    /// TLS has to give with each host. With --dial each host is connected to, up to the point at which a message would be handed
    /// over.
    #[argh(
        subcommand,
        name = "explain",
        example = "{command_name} example.org\nWith connections, for a message with REQUIRETLS:\n  {command_name} --dial \
                   --requiretls yes example.org\nFor the fourth attempt of a message of anna's:\n  {command_name} --from \
                   anna@example.com --attempt 4 example.org\nFor one of an alias that bo may send with:\n  {command_name} --from \
                   team@example.com --account bo example.org",
        note = "The running server says which route and transport count and which policy it keeps; DNS and hosts are asked from \
                here. When no server can be reached, that is said, and what direct delivery without a kept policy would do."
    )]
    pub struct TlsExplain {
        /// connect to each host, and say QUIT before a message is begun
        #[argh(switch)]
        pub dial: bool,
        /// the sender, whose account and domain may have routes; '' is that of reports (default: nobody in particular)
        #[argh(option, from_str_fn(sender))]
        pub from: Option<Sender>,
        /// the account that sends, where several may send with the address of an alias, or with --from ''
        #[argh(option, from_str_fn(account))]
        pub account: Option<AccountName>,
        /// which attempt it is, from 1 (default: 1)
        #[argh(option, default = "1", from_str_fn(attempt))]
        pub attempt: u16,
        /// what the message wants: yes (REQUIRETLS), no (TLS-Required: No) or default
        #[argh(option, default = "Wish::Default", from_str_fn(wish))]
        pub requiretls: Wish,
        /// a file of certificates in PEM whose holders may vouch for hosts (default: what the running server's deliveries use, or else those of the system)
        #[argh(option)]
        pub ca_file: Option<PathBuf>,
        /// the name to say in EHLO (default: localhost)
        #[argh(option, from_str_fn(hello))]
        pub hello: Option<HeloName>,
        /// the port of the hosts (default: 25)
        #[argh(option, default = "25")]
        pub port: u16,
        /// the port of the policy's host (default: 443)
        #[argh(option, default = "443")]
        pub policy_port: u16,
        /// the domain, or an address in brackets
        #[argh(positional, from_str_fn(target))]
        pub domain: Target,
    }
}

/// Whom a message is from.
#[derive(Clone, Debug, PartialEq)]
pub enum Sender {
    /// Nobody, as a report.
    Null,
    Address(Address),
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("<>"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Refuses what the server would, in its words.
fn sender(text: &str) -> Result<Sender, String> {
    match text {
        "" | "<>" => Ok(Sender::Null),
        _ => Address::parse(text)
            .map(Sender::Address)
            .map_err(|error| format!("{text:?} is no address: {error}")),
    }
}

fn account(text: &str) -> Result<AccountName, String> {
    AccountName::new(text).map_err(|error| format!("{text:?} is no account name: {error}"))
}

fn attempt(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(attempt @ 1..) => Ok(attempt),
        _ => Err(format!("{text:?} is no attempt. Write a number from 1 to {}", u16::MAX)),
    }
}

fn wish(text: &str) -> Result<Wish, String> {
    super::queue::wish(text)
}

fn target(text: &str) -> Result<Target, String> {
    Target::parse(text).map_err(|error| error.to_string())
}

fn hello(text: &str) -> Result<HeloName, String> {
    HeloName::parse(text).map_err(|error| error.to_string())
}

//! The arguments of the commands that look at what domains publish, and check clients by it.
//!
//! Those that ask DNS take what all such commands take ([`super::asking`]).

use std::path::PathBuf;

use argh::FromArgs;

use super::asking::{belief, upstream};

/// Check senders by SPF, and look at SPF records.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(
    subcommand,
    name = "spf",
    example = "{command_name} check --ip 192.0.2.1 --helo mx.example.org --mail-from a@example.org"
)]
pub struct Spf {
    #[argh(subcommand)]
    pub command: SpfCommand,
}

#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand)]
pub enum SpfCommand {
    Check(SpfCheck),
    Lookup(SpfLookup),
    Parse(SpfParse),
}

asking! {
    /// Check whether a client may send mail of a domain (RFC 7208).
    #[argh(
        subcommand,
        name = "check",
        example = "{command_name} --ip 192.0.2.1 --helo mx.example.org --mail-from a@example.org"
    )]
    pub struct SpfCheck {
        /// the client's address
        #[argh(option)]
        pub ip: String,
        /// the client's name in EHLO or HELO
        #[argh(option)]
        pub helo: String,
        /// the address in MAIL FROM; without one the name of HELO is checked
        #[argh(option, default = "String::new()")]
        pub mail_from: String,
        /// the name of who checks, for explanations (default: unknown)
        #[argh(option, default = "String::from(\"unknown\")")]
        pub receiver: String,
    }
}

asking! {
    /// Show the SPF record of a domain, and what is wrong with it.
    #[argh(subcommand, name = "lookup", example = "{command_name} example.org")]
    pub struct SpfLookup {
        /// the domain
        #[argh(positional)]
        pub domain: String,
    }
}

/// Read the text of an SPF record, without asking DNS.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "parse", example = "{command_name} 'v=spf1 mx -all'")]
pub struct SpfParse {
    /// print JSON
    #[argh(switch)]
    pub json: bool,
    /// the record
    #[argh(positional)]
    pub record: String,
}

/// Look at DMARC policies.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "dmarc", example = "{command_name} lookup example.org")]
pub struct Dmarc {
    #[argh(subcommand)]
    pub command: DmarcCommand,
}

#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand)]
pub enum DmarcCommand {
    Lookup(DmarcLookup),
    Verify(DmarcVerify),
}

asking! {
    /// Evaluate a message as a server would that got it from a client: SPF, its signatures, and the policy.
    #[argh(
        subcommand,
        name = "verify",
        example = "{command_name} --ip 192.0.2.1 --helo mx.example.org --mail-from a@example.org message.eml"
    )]
    pub struct DmarcVerify {
        /// the client's address
        #[argh(option)]
        pub ip: String,
        /// the client's name in EHLO or HELO
        #[argh(option)]
        pub helo: String,
        /// the address in MAIL FROM; without one the name of HELO counts
        #[argh(option, default = "String::new()")]
        pub mail_from: String,
        /// find organizational domains by the public suffix list, as RFC 7489 did, and not by the tree walk
        #[argh(switch)]
        pub public_suffix_list: bool,
        /// the message (default: standard input)
        #[argh(positional)]
        pub file: Option<PathBuf>,
    }
}

asking! {
    /// Show the policy that counts for mail of a domain, and where it was found.
    #[argh(subcommand, name = "lookup", example = "{command_name} news.example.org")]
    pub struct DmarcLookup {
        /// find organizational domains by the public suffix list, as RFC 7489 did, and not by the tree walk
        #[argh(switch)]
        pub public_suffix_list: bool,
        /// the domain of the From field
        #[argh(positional)]
        pub domain: String,
    }
}

/// Check names of clients.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "iprev", example = "{command_name} check 192.0.2.1")]
pub struct Iprev {
    #[argh(subcommand)]
    pub command: IprevCommand,
}

#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand)]
pub enum IprevCommand {
    Check(IprevCheck),
}

asking! {
    /// Check whether the name of a client in reverse DNS has the client's address (RFC 8601 §3).
    #[argh(subcommand, name = "check", example = "{command_name} 192.0.2.1")]
    pub struct IprevCheck {
        /// the client's address
        #[argh(positional)]
        pub ip: String,
    }
}

/// Look into blocklists.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "dnsbl", example = "{command_name} check bl.example.org 192.0.2.1")]
pub struct Dnsbl {
    #[argh(subcommand)]
    pub command: DnsblCommand,
}

#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand)]
pub enum DnsblCommand {
    Check(DnsblCheck),
}

asking! {
    /// Look an address or a domain up in a blocklist, and check whether the list is in order (RFC 5782).
    #[argh(subcommand, name = "check", example = "{command_name} bl.example.org 192.0.2.1")]
    pub struct DnsblCheck {
        /// the list's zone
        #[argh(positional)]
        pub list: String,
        /// an IP address or a domain
        #[argh(positional)]
        pub what: String,
    }
}

//! Arguments of commands that ask DNS.

use argh::FromArgs;
use postrider_dns::resolver::Upstream;
use postrider_dns::{Name, RecordType, parse_name};

use super::asking::{belief, upstream};

fn name(text: &str) -> Result<Name, String> {
    parse_name(text).map_err(|error| format!("{text:?} is no name: {error}"))
}

fn kind(text: &str) -> Result<RecordType, String> {
    let upper = text.to_ascii_uppercase();
    let numbered =
        upper.strip_prefix("TYPE").and_then(|number| number.parse::<u16>().ok()).map(RecordType::from);
    let known = numbered.or_else(|| upper.parse().ok());
    let asked = known.filter(|kind| {
        // Not types of records, but of requests and of messages.
        !matches!(
            kind,
            RecordType::ANY | RecordType::AXFR | RecordType::IXFR | RecordType::OPT | RecordType::ZERO
        )
    });
    asked.ok_or_else(|| format!("there is no record type {text:?}; write A, MX, TXT, TLSA or the like"))
}

/// Ask DNS.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "dns", example = "{command_name} lookup MX example.org")]
pub struct Dns {
    #[argh(subcommand)]
    pub command: DnsCommand,
}

#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand)]
pub enum DnsCommand {
    Lookup(DnsLookup),
}

asking! {
    /// Look up the records of a name, and say whether they can be believed.
    #[argh(
        subcommand,
        name = "lookup",
        example = "{command_name} TLSA _25._tcp.mail.example.org\nBy a resolver of your own:\n  {command_name} --resolver \
                   192.0.2.53 --json TXT example.org",
        note = "Resolvers are those of /etc/resolv.conf unless named. What they say is validated (DNSSEC) from the root \
                down, or from --trust-anchor. A resolver on loopback that is named without --trust-anchor is believed \
                instead; --mode says otherwise."
    )]
    pub struct DnsLookup {
        /// the type of records, such as MX
        #[argh(positional, from_str_fn(kind))]
        pub kind: RecordType,
        /// the name
        #[argh(positional, from_str_fn(name))]
        pub name: Name,
    }
}

/// Look at chains of trust.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "dnssec", example = "{command_name} explain example.org MX")]
pub struct Dnssec {
    #[argh(subcommand)]
    pub command: DnssecCommand,
}

#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand)]
pub enum DnssecCommand {
    Explain(DnssecExplain),
}

/// Say step by step why the records of a name can be believed, or why not.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(
    subcommand,
    name = "explain",
    example = "{command_name} example.org MX\nFrom an anchor of your own:\n  {command_name} --resolver 127.0.0.1:5353 \
               --trust-anchor root.key example.org TXT",
    note = "Always validates, whatever the resolver is."
)]
pub struct DnssecExplain {
    /// a resolver to ask: ADDRESS, ADDRESS:PORT or tls://ADDRESS#NAME (repeatable)
    #[argh(option, from_str_fn(upstream))]
    pub resolver: Vec<Upstream>,
    /// a file of DS or DNSKEY records to begin validation at
    #[argh(option)]
    pub trust_anchor: Option<String>,
    /// print JSON
    #[argh(switch)]
    pub json: bool,
    /// the name
    #[argh(positional, from_str_fn(name))]
    pub name: Name,
    /// the type of records, such as MX
    #[argh(positional, from_str_fn(kind))]
    pub kind: RecordType,
}

/// Look at certificates in DNS.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "dane", example = "{command_name} lookup mail.example.org")]
pub struct Dane {
    #[argh(subcommand)]
    pub command: DaneCommand,
}

#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand)]
pub enum DaneCommand {
    Lookup(DaneLookup),
    Dial(DaneDial),
}

asking! {
    /// Connect to a host as a sender would, and say whether its certificate is one of its TLSA records.
    #[argh(
        subcommand,
        name = "dial",
        example = "{command_name} mail.example.org\nTLS from the first octet, on another port:\n  {command_name} --port 465 \
                   --implicit mail.example.org",
        note = "With STARTTLS of SMTP, unless --implicit is given."
    )]
    pub struct DaneDial {
        /// the port (default: 25)
        #[argh(option, default = "25")]
        pub port: u16,
        /// TLS from the first octet, without STARTTLS
        #[argh(switch)]
        pub implicit: bool,
        /// the host, as an MX record names it
        #[argh(positional, from_str_fn(name))]
        pub host: Name,
    }
}

asking! {
    /// Show the TLSA records of a host, which of them can be used, and whether they apply.
    #[argh(
        subcommand,
        name = "lookup",
        example = "{command_name} mail.example.org\nOf another port:\n  {command_name} --port 587 mail.example.org"
    )]
    pub struct DaneLookup {
        /// the port that the host is reached at (default: 25)
        #[argh(option, default = "25")]
        pub port: u16,
        /// the host, as an MX record names it
        #[argh(positional, from_str_fn(name))]
        pub host: Name,
    }
}

//! The arguments of the command about policies on TLS for mail (MTA-STS).

use std::path::PathBuf;

use argh::FromArgs;
use postrider_proto::address::Domain;

use super::asking::{belief, upstream};

/// Look at policies on TLS for mail (MTA-STS).
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "mtasts", example = "{command_name} lookup example.org")]
pub struct MtaSts {
    #[argh(subcommand)]
    pub command: MtaStsCommand,
}

#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand)]
pub enum MtaStsCommand {
    Lookup(MtaStsLookup),
}

asking! {
    /// Look up the record of a domain, fetch its policy, and show both (RFC 8461).
    #[argh(
        subcommand,
        name = "lookup",
        example = "{command_name} example.org\nFrom a host of your own:\n  {command_name} --resolver 127.0.0.1:5353 --ca-file \
                   ca.pem --port 8443 example.org",
        note = "The host's certificate must be one of an authority that the system trusts, unless --ca-file names others."
    )]
    pub struct MtaStsLookup {
        /// a file of certificates in PEM whose holders may vouch for the host
        #[argh(option)]
        pub ca_file: Option<PathBuf>,
        /// the port of the policy's host (default: 443)
        #[argh(option, default = "443")]
        pub port: u16,
        /// the domain
        #[argh(positional, from_str_fn(domain))]
        pub domain: Domain,
    }
}

fn domain(text: &str) -> Result<Domain, String> {
    Domain::parse(text).map_err(|error| error.to_string())
}

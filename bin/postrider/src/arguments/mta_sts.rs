//! The arguments of the command about policies on TLS for mail (MTA-STS).

use std::path::PathBuf;

use argh::FromArgs;
use postrider_proto::address::Domain;

use super::asking::{belief, upstream};

/// Look at policies on TLS for mail (MTA-STS), and at those that the server keeps.
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
    Cached(MtaStsCached),
    Forget(MtaStsForget),
}

/// List the policies that the running server keeps of domains that it sent mail to, by domain; or show that of one domain.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(
    subcommand,
    name = "cached",
    example = "{command_name} --limit 20\n{command_name} --json example.org",
    note = "A kept policy counts until it has expired, also when the domain announces none any more or can't be asked. What couldn't \
            be fetched is listed, too: it is tried again after five minutes."
)]
pub struct MtaStsCached {
    /// one JSON object in a line for each
    #[argh(switch)]
    pub json: bool,
    /// the most policies (default: 1000)
    #[argh(option, default = "1000")]
    pub limit: u32,
    /// go on where an earlier list ended
    #[argh(option)]
    pub cursor: Option<String>,
    /// only that of this domain
    #[argh(positional, from_str_fn(domain))]
    pub domain: Option<Domain>,
}

/// Have the running server forget the policy of a domain, so that the next delivery asks the domain anew. Until it has been
/// fetched again, mail to the domain is not protected by it.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "forget", example = "{command_name} example.org")]
pub struct MtaStsForget {
    /// the domain
    #[argh(positional, from_str_fn(domain))]
    pub domain: Domain,
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

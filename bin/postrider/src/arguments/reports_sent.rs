//! The arguments about reports to other domains.

use argh::FromArgs;

/// List how TLS with other servers went, as far as it isn't reported yet: by UTC day, recipient domain and policy. What
/// happened in the last minute may be missing.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "results", example = "{command_name}\n{command_name} --json --limit 100")]
pub struct ReportsResults {
    /// one JSON object in a line for each
    #[argh(switch)]
    pub json: bool,
    /// the most results (default: 1000)
    #[argh(option, default = "1000")]
    pub limit: u32,
    /// go on where an earlier list ended
    #[argh(option)]
    pub cursor: Option<String>,
}

/// Say to which addresses no reports on DMARC and TLS are sent, although a domain asks for them.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "suppress", example = "{command_name} add --until 30d reports@example.org")]
pub struct ReportsSuppress {
    #[argh(subcommand)]
    pub command: ReportsSuppressCommand,
}

#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand)]
pub enum ReportsSuppressCommand {
    List(ReportsSuppressList),
    Add(ReportsSuppressAdd),
    Rm(ReportsSuppressRm),
}

/// List addresses that get no reports.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "list", example = "{command_name}")]
pub struct ReportsSuppressList {
    /// one JSON object in a line for each
    #[argh(switch)]
    pub json: bool,
}

/// Send no reports to an address.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(
    subcommand,
    name = "add",
    example = "{command_name} reports@example.org\n{command_name} --until 30d --comment 'it bounces' reports@example.org"
)]
pub struct ReportsSuppressAdd {
    /// until when, as a length of time such as 30d or a time (default: for ever)
    #[argh(option)]
    pub until: Option<String>,
    /// why
    #[argh(option, default = "String::new()")]
    pub comment: String,
    /// the address
    #[argh(positional)]
    pub address: String,
}

/// Send reports to an address again.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "rm", example = "{command_name} reports@example.org")]
pub struct ReportsSuppressRm {
    /// the address
    #[argh(positional)]
    pub address: String,
}

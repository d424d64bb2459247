//! The arguments about reports on TLS and DMARC.

use argh::FromArgs;

use super::{ReportsResults, ReportsSuppress};

/// Look at the reports on DMARC and TLS that other servers send about the domains of this server (which addresses read
/// them, says postrider address reports), and at what this server sends.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "reports", example = "{command_name} summary example.com")]
pub struct Reports {
    #[argh(subcommand)]
    pub command: ReportsCommand,
}

#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand)]
pub enum ReportsCommand {
    Summary(ReportsSummary),
    List(ReportsList),
    Show(ReportsShow),
    Dump(ReportsDump),
    Results(ReportsResults),
    Suppress(ReportsSuppress),
}

/// Say in words what reports tell of a domain: which addresses sent mail in its name, what of it passed, what failed and
/// why; and which servers could not deliver to it with TLS, and why. Reports that nothing confirms are left out.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(
    subcommand,
    name = "summary",
    example = "{command_name} example.com\n{command_name} --days 30 example.com"
)]
pub struct ReportsSummary {
    /// one JSON object
    #[argh(switch)]
    pub json: bool,
    /// of reports that came in the last so many days (default: 7)
    #[argh(option, default = "7")]
    pub days: u32,
    /// the domain
    #[argh(positional)]
    pub domain: String,
}

/// List reports, in the order in which they came.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(
    subcommand,
    name = "list",
    example = "{command_name} --domain example.com --kind tls --since 7d",
    note = "Times are ages such as 2h or 7d, or times such as 2026-11-26T18:00 (of this host's time zone) or 2026-11-26T18:00Z."
)]
pub struct ReportsList {
    /// one JSON object in a line for each
    #[argh(switch)]
    pub json: bool,
    /// about this domain
    #[argh(option)]
    pub domain: Option<String>,
    /// dmarc or tls (default: both)
    #[argh(option)]
    pub kind: Option<String>,
    /// that came less than so long ago ("7d"), or at this time or later (default: 30d)
    #[argh(option, default = "String::from(\"30d\")")]
    pub since: String,
    /// that came more than so long ago, or before this time (default: now)
    #[argh(option, default = "String::from(\"now\")")]
    pub until: String,
    /// the most reports (default: 1000)
    #[argh(option, default = "1000")]
    pub limit: u32,
    /// go on where an earlier list ended
    #[argh(option)]
    pub cursor: Option<String>,
}

/// Show a report with all its entries.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "show", example = "{command_name} 1874919424000000000")]
pub struct ReportsShow {
    /// print JSON: the report, then a line for each entry
    #[argh(switch)]
    pub json: bool,
    /// the id of the report
    #[argh(positional)]
    pub id: String,
}

/// Write the document of a report to standard output, as it was understood: XML on DMARC, JSON on TLS.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "dump", example = "{command_name} 1874919424000000000 > report.xml")]
pub struct ReportsDump {
    /// the id of the report
    #[argh(positional)]
    pub id: String,
}

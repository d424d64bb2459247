//! Load drivers and scenarios against a running server, and against its peers.
//!
//! Every scenario prints one line of figures with its conditions. Traffic goes to loopback only and is
//! bounded by a number of messages or connections.

mod client;
mod figures;
mod idle;
mod imap;
mod process;
mod smtp;
mod syncs;

use std::process::ExitCode;

use anyhow::Result;
use argh::FromArgs;

/// Load drivers. Each prints what it measured; see perf/README.md for the scenarios.
#[derive(FromArgs)]
struct Arguments {
    #[argh(subcommand)]
    scenario: Scenario,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Scenario {
    Smtp(smtp::Smtp),
    Files(syncs::Files),
    Fdatasync(syncs::Fdatasync),
    Select(imap::Select),
    Bodies(imap::Bodies),
    Idle(idle::Idle),
}

fn main() -> ExitCode {
    let arguments: Arguments = argh::from_env();
    let done: Result<()> = match arguments.scenario {
        Scenario::Smtp(scenario) => smtp::run(&scenario),
        Scenario::Files(scenario) => syncs::run_files(&scenario),
        Scenario::Fdatasync(scenario) => syncs::run_fdatasync(&scenario),
        Scenario::Select(scenario) => imap::run_select(&scenario),
        Scenario::Bodies(scenario) => imap::run_bodies(&scenario),
        Scenario::Idle(scenario) => idle::run(&scenario),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("perf: {error:#}");
            ExitCode::FAILURE
        }
    }
}

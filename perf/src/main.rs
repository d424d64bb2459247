//! Load drivers and scenarios against a running server, and against its peers.
//!
//! Every scenario prints its figures with their conditions, and `suite` runs all of them. Traffic goes to loopback only and is
//! bounded by a number of messages or connections.

mod announce;
mod client;
mod directory;
mod figures;
mod idle;
mod imap;
mod large;
mod metrics;
mod neighbours;
mod outbound;
mod peer;
mod process;
mod smtp;
mod space;
mod suite;
mod syncs;
mod table;

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
    Announce(announce::IdleAnnounce),
    Neighbours(neighbours::Neighbours),
    Large(large::Large),
    Space(space::Space),
    Peer(peer::Peer),
    Outbound(outbound::Outbound),
    Suite(suite::Suite),
}

fn main() -> ExitCode {
    let arguments: Arguments = argh::from_env();
    let done: Result<()> = match arguments.scenario {
        Scenario::Suite(suite) => return suite::run(&suite).unwrap_or_else(|error| failure(&error)),
        Scenario::Smtp(scenario) => smtp::run(&scenario),
        Scenario::Files(scenario) => syncs::run_files(&scenario),
        Scenario::Fdatasync(scenario) => syncs::run_fdatasync(&scenario),
        Scenario::Select(scenario) => imap::run_select(&scenario),
        Scenario::Bodies(scenario) => imap::run_bodies(&scenario),
        Scenario::Idle(scenario) => idle::run(&scenario),
        Scenario::Announce(scenario) => announce::run(&scenario),
        Scenario::Neighbours(scenario) => neighbours::run(&scenario),
        Scenario::Large(scenario) => large::run(&scenario),
        Scenario::Space(scenario) => space::run(&scenario),
        Scenario::Peer(scenario) => peer::run(&scenario),
        Scenario::Outbound(scenario) => outbound::run(&scenario),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure(&error),
    }
}

fn failure(error: &anyhow::Error) -> ExitCode {
    eprintln!("perf: {error:#}");
    ExitCode::FAILURE
}

//! The project's own tasks. `cargo xtask help` lists them.
//!
//! `test` is the whole test suite: the tests that need nothing but Rust, then real mail clients
//! against the release binary. `ci` is `test` after formatting, lints and documentation.

mod cargo;
mod counts;
mod crash;
mod external;
mod fixture;
mod install;
mod localserve;
#[cfg(test)]
mod paths;
mod program;
mod standards;
mod suffixes;
mod summary;
#[cfg(test)]
mod threats;

use std::process::ExitCode;

use anyhow::Result;
use argh::FromArgs;

/// Tasks for those who work on Postrider.
#[derive(FromArgs)]
struct Arguments {
    #[argh(subcommand)]
    task: Task,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Task {
    Test(Test),
    Ci(Ci),
    External(External),
    Clients(external::imap::Clients),
    Lab(external::lab::Lab),
    Crash(crash::Crash),
    Counts(counts::Counts),
    Fixture(fixture::Fixture),
    Install(Install),
    Standards(standards::Standards),
    PublicSuffixes(suffixes::PublicSuffixes),
}

/// Run the whole test suite: unit and model tests, then real clients against the release binary.
#[derive(FromArgs)]
#[argh(subcommand, name = "test")]
struct Test {}

/// Run what must pass before a change lands: formatting, lints, documentation, the whole test suite.
#[derive(FromArgs)]
#[argh(subcommand, name = "ci")]
struct Ci {}

/// Run only the tests with real clients; all of them, or those whose name contains NAME.
#[derive(FromArgs)]
#[argh(subcommand, name = "external")]
struct External {
    /// part of a test's name
    #[argh(positional)]
    names: Vec<String>,
}

/// Install the external programs that the tests use (Debian, Ubuntu; as root), or name what is missing.
#[derive(FromArgs)]
#[argh(subcommand, name = "install")]
struct Install {}

fn main() -> ExitCode {
    let arguments: Arguments = argh::from_env();
    match run(&arguments.task) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a task; false when it ran and something failed.
fn run(task: &Task) -> Result<bool> {
    match task {
        Task::Test(Test {}) => test(),
        Task::Ci(Ci {}) => {
            cargo::check_house()?;
            test()
        }
        Task::External(External { names }) => external::run(names).map(|summary| summary.print()),
        Task::Clients(arguments) => external::imap::run(arguments),
        Task::Lab(arguments) => external::lab::run(arguments),
        Task::Crash(arguments) => crash::run(arguments),
        Task::Counts(arguments) => counts::run(arguments),
        Task::Fixture(arguments) => fixture::run(arguments),
        Task::Standards(arguments) => standards::run(arguments),
        Task::PublicSuffixes(arguments) => suffixes::run(arguments),
        Task::Install(Install {}) => install::install_or_explain().map(|()| true),
    }
}

fn test() -> Result<bool> {
    let skipped = cargo::test_workspace()?;
    let is_good = external::run(&[])?.print();
    summary::print_skipped(&skipped);
    Ok(is_good)
}

//! Runs one case for an instruction counter: `cargo xtask counts` calls this under valgrind.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use argh::FromArgs;
use postrider_benches::{Run, World, all};

/// Runs cases of the benchmarks.
#[derive(FromArgs)]
struct Arguments {
    #[argh(subcommand)]
    task: Task,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Task {
    Prepare(Prepare),
    List(List),
    Run(RunCase),
}

/// Fill the mailboxes.
#[derive(FromArgs)]
#[argh(subcommand, name = "prepare")]
struct Prepare {
    /// directory of the store
    #[argh(positional)]
    directory: PathBuf,
    /// the largest mailbox, in messages
    #[argh(option, default = "1_000_000")]
    messages_max: u32,
}

/// List the cases: name and mailbox.
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
struct List {}

/// Run one case once, after it ran once to fill caches.
#[derive(FromArgs)]
#[argh(subcommand, name = "run")]
struct RunCase {
    /// directory of the store
    #[argh(positional)]
    directory: PathBuf,
    /// name of the case
    #[argh(positional)]
    case: String,
}

fn main() -> Result<()> {
    match argh::from_env::<Arguments>().task {
        Task::Prepare(Prepare { directory, messages_max }) => {
            World::prepare(&directory, messages_max).map(drop)
        }
        Task::List(List {}) => {
            for case in all() {
                println!("{}\t{}", case.name, case.mailbox.unwrap_or(0));
            }
            Ok(())
        }
        Task::Run(RunCase { directory, case }) => run(&directory, &case),
    }
}

fn run(directory: &std::path::Path, name: &str) -> Result<()> {
    let case = all().into_iter().find(|case| case.name == name);
    let case = case.with_context(|| format!("there is no case {name}"))?;
    let world = World::open(directory)?;
    let mut run = case.ready(&world)?;
    case.check(run()?)?;
    case.check(counted_from_here(&mut run)?)
}

/// The counter counts what runs within this function, which it finds by its name.
#[inline(never)]
fn counted_from_here(run: &mut Run<'_>) -> Result<usize> {
    std::hint::black_box(run())
}

//! All scenarios in one run: the server is started, filled and measured, and one table is printed.
//!
//! What the figures are held to are the floors that the project set itself. A scenario that fails is a row
//! of the table too, and doesn't keep the others from running.

mod directory;
mod many;
mod memory;
mod plan;
pub mod server;
mod speed;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use argh::FromArgs;

use crate::process;
use crate::table::{self, Row};
pub use plan::Sizes;
use server::{Ports, Server, Setup, Stalls};

/// Run all scenarios, or some, against a server that is started for it, and print one table.
#[derive(FromArgs)]
#[argh(subcommand, name = "suite")]
pub struct Suite {
    /// only scenarios whose name contains this; may be given several times
    #[argh(option)]
    only: Vec<String>,
    /// small sizes: some two minutes instead of some fifteen
    #[argh(switch)]
    quick: bool,
    /// the server's program (default: postrider beside this program)
    #[argh(option)]
    server: Option<PathBuf>,
    /// an existing directory on the disk to measure (default: the system's for temporary files)
    #[argh(option)]
    dir: Option<PathBuf>,
    /// the first of five ports of loopback that are used (default 17025)
    #[argh(option, default = "17_025")]
    port: u16,
    /// the server's shards (default 2)
    #[argh(option, default = "2")]
    shards: usize,
    /// messages of a round of durable deliveries
    #[argh(option)]
    messages: Option<usize>,
    /// rounds of durable deliveries, each beside one file a message
    #[argh(option)]
    rounds: Option<usize>,
    /// messages of the large mailbox
    #[argh(option)]
    stored: Option<usize>,
    /// idle connections
    #[argh(option)]
    idle: Option<usize>,
    /// octets of a very large message
    #[argh(option)]
    large: Option<usize>,
    /// megabytes that are stored, and of which half is deleted
    #[argh(option)]
    megabytes: Option<usize>,
    /// messages that the peers get in a round
    #[argh(option)]
    peer_messages: Option<usize>,
    /// accounts of the large directory
    #[argh(option)]
    accounts: Option<usize>,
}

/// A scenario by its name.
type Scenario = (&'static str, fn(&mut Bench) -> Result<()>);

const SCENARIOS: &[Scenario] = &[
    ("memory-at-start", memory::at_start),
    ("durable", speed::durable),
    ("peer", speed::peer),
    ("idle-memory", memory::idle),
    ("idle-announce", speed::announce),
    ("large-messages", memory::large_messages),
    ("import", many::import),
    ("start", many::start),
    ("select", many::select),
    ("neighbours", many::neighbours),
    ("space", memory::space),
    ("directory", directory::directory),
];

/// What scenarios work with.
struct Bench {
    setup: Setup,
    sizes: Sizes,
    dir: PathBuf,
    running: Option<(&'static str, Server)>,
    rows: Vec<Row>,
    /// The scenario that runs, for rows about stalls.
    scenario: &'static str,
    stalls: Vec<(&'static str, Stalls)>,
}

pub fn run(suite: &Suite) -> Result<ExitCode> {
    let wanted: Vec<&Scenario> = SCENARIOS
        .iter()
        .filter(|(name, _)| {
            suite.only.is_empty() || suite.only.iter().any(|part| name.contains(part.as_str()))
        })
        .collect();
    if wanted.is_empty() {
        let names: Vec<&str> = SCENARIOS.iter().map(|(name, _)| *name).collect();
        bail!("no scenario has such a name; there are {}", names.join(", "));
    }
    let dir = match &suite.dir {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    }
    .context("a directory for the measurement")?;
    let setup = Setup { binary: binary(suite)?, ports: Ports::from(suite.port), shards: suite.shards };
    let mut bench = Bench {
        setup,
        sizes: sizes(suite),
        dir: dir.path().to_owned(),
        running: None,
        rows: Vec::new(),
        scenario: "",
        stalls: Vec::new(),
    };
    let (begun, load) = (Instant::now(), process::load_average());
    for (name, scenario) in wanted {
        bench.scenario = name;
        eprintln!("== {name} (load average {:.1})", process::load_average());
        let outcome = scenario(&mut bench).and_then(|()| bench.stop());
        if let Err(error) = outcome {
            // The server may be in any state: the next scenario gets another process.
            bench.running = None;
            let error = format!("{error:#}");
            eprintln!("   {error}");
            let first = error.lines().next().unwrap_or_default();
            bench.row(Row::new(format!("{name} failed"), first).floor("to run", false));
        }
    }
    bench.row_of_stalls();
    println!(
        "\nMeasured in {:.0} s on {} cores, {} shards; load average {load:.1} before and {:.1} after.\n\n{}",
        begun.elapsed().as_secs_f64(),
        std::thread::available_parallelism().map_or(0, usize::from),
        bench.setup.shards,
        process::load_average(),
        table::print(&bench.rows)
    );
    let missed = bench.rows.iter().any(Row::misses);
    Ok(if missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn binary(suite: &Suite) -> Result<PathBuf> {
    let beside = || -> Result<PathBuf> {
        let own = std::env::current_exe()?;
        Ok(own.parent().context("this program's directory")?.join("postrider"))
    };
    let binary = suite.server.clone().map_or_else(beside, Ok)?;
    ensure!(binary.exists(), "{} isn't there: cargo build --release makes it", binary.display());
    Ok(binary)
}

fn sizes(suite: &Suite) -> Sizes {
    let defaults = if suite.quick { Sizes::QUICK } else { Sizes::FULL };
    Sizes {
        messages: suite.messages.unwrap_or(defaults.messages),
        rounds: suite.rounds.unwrap_or(defaults.rounds).max(1),
        stored: suite.stored.unwrap_or(defaults.stored),
        idle: suite.idle.unwrap_or(defaults.idle),
        large: suite.large.unwrap_or(defaults.large),
        megabytes: suite.megabytes.unwrap_or(defaults.megabytes),
        peer_messages: suite.peer_messages.unwrap_or(defaults.peer_messages),
        accounts: suite.accounts.unwrap_or(defaults.accounts).max(1),
        ..defaults
    }
}

impl Bench {
    fn row(&mut self, row: Row) {
        let floor = match &row.floor {
            None => String::new(),
            Some((floor, true)) => format!(" (pass: {floor})"),
            Some((floor, false)) => format!(" (MISSED: {floor})"),
        };
        eprintln!("   {}: {}{floor}", row.what, row.figure);
        self.rows.push(row);
    }

    /// The server on the store of this name, started unless it runs.
    fn server(&mut self, store: &'static str) -> Result<&Server> {
        if !matches!(&self.running, Some((running, _)) if *running == store) {
            self.restart(store)?;
        }
        let (_, server) = self.running.as_ref().context("a server was just started")?;
        Ok(server)
    }

    /// The server on the store of this name, started anew.
    fn restart(&mut self, store: &'static str) -> Result<&Server> {
        self.stop()?;
        let server = Server::start(&self.setup, &self.path(store))?;
        let (_, server) = self.running.insert((store, server));
        Ok(server)
    }

    /// Stops the server that runs.
    fn stop(&mut self) -> Result<()> {
        if let Some((_, server)) = self.running.take() {
            self.stalls.push((self.scenario, server.stalls()?));
            server.stop()?;
        }
        Ok(())
    }

    /// Kills the server that runs.
    fn kill(&mut self) -> Result<()> {
        if let Some((_, server)) = self.running.take() {
            self.stalls.push((self.scenario, server.stalls()?));
            server.kill()?;
        }
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(&self.dir).join(name)
    }

    fn row_of_stalls(&mut self) {
        let Some((scenario, worst)) = self.stalls.iter().max_by_key(|(_, stalls)| stalls.longest) else {
            return;
        };
        let longest = worst.longest.as_secs_f64() * 1000.0;
        let mut tasks = BTreeMap::new();
        for (task, count) in self.stalls.iter().flat_map(|(_, stalls)| &stalls.tasks) {
            *tasks.entry(task.as_str()).or_insert(0) += count;
        }
        let over: Vec<String> = tasks.iter().map(|(task, count)| format!("{count} of {task:?}")).collect();
        let over = if over.is_empty() { "none".to_owned() } else { over.join(", ") };
        let longest_run =
            Row::new("longest run of a task of a shard", format!("{longest:.1} ms, in {scenario}"));
        let sum = |time: fn(&Stalls) -> Duration| {
            self.stalls.iter().map(|(_, s)| time(s).as_secs_f64()).sum::<f64>()
        };
        let (ran, waited) = (sum(|stalls| stalls.ran), sum(|stalls| stalls.waited));
        self.row(longest_run.floor("under 50 ms", longest < 50.0));
        self.row(Row::new("runs over 50 ms", over));
        let figure = format!("{ran:.1} s, and waited {waited:.1} s for a processor");
        self.row(Row::new("shards ran, in all scenarios", figure));
    }
}

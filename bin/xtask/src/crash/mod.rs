//! Crash runs: `kill -9` under load, a restart, and a comparison of what was acknowledged with what is there.
//!
//! Each round goes on with the store of the one before. With `--power-cut`, what was not synced is thrown away
//! between the kill and the restart, in part and with holes (see `power.rs`).

mod check;
mod client;
mod load;
mod message;
mod model;
mod power;
mod random;
mod server;
mod shim;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use argh::FromArgs;

pub use check::contents;
pub use client::{Imap, Smtp};
pub use message::Token;
pub use power::Names;
pub use server::Server;
pub use shim::compile as compile_shim;

use crate::cargo;
use load::Load;
use model::Model;
use power::{Loss, Watch};
use random::Random;

/// A store that is larger is verified in place, not in a copy.
const COPY_OCTETS_MAX: u64 = 256 << 20;
/// When the kill comes, from the beginning of the load.
const KILL_AFTER_MS: (u64, u64) = (50, 1500);

/// Kill the release binary under load again and again, and check that nothing acknowledged is lost.
#[derive(FromArgs)]
#[argh(subcommand, name = "crash")]
pub struct Crash {
    /// how many rounds (default 200, or 50 with --power-cut)
    #[argh(option)]
    rounds: Option<u64>,
    /// where the random choices begin (default: from the clock)
    #[argh(option)]
    seed: Option<u64>,
    /// also lose what was not synced, as a power failure does
    #[argh(switch)]
    power_cut: bool,
    /// with --power-cut: a new file's name is only durable after a sync of its directory, as POSIX says (on Linux a sync
    /// of the file is enough)
    #[argh(switch)]
    strict_names: bool,
    /// end after so many minutes, whatever the rounds
    #[argh(option)]
    minutes: Option<u64>,
    /// the server's binary (default: a release build)
    #[argh(option)]
    binary: Option<PathBuf>,
}

/// What dies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// The process: the operating system keeps what was written.
    Process,
    /// The machine: what was not synced may be lost.
    Power,
}

/// How to run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// What dies.
    pub cut: Cut,
    /// When a new file's name is durable.
    pub names: Names,
    /// How often.
    pub rounds: u64,
    /// Where the random choices begin.
    pub seed: u64,
    /// When to end, whatever the rounds.
    pub until: Option<Instant>,
}

/// The task.
pub fn run(arguments: &Crash) -> Result<bool> {
    let binary = match &arguments.binary {
        Some(binary) => binary.clone(),
        None => cargo::release_binary()?,
    };
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let cut = if arguments.power_cut { Cut::Power } else { Cut::Process };
    let names = if arguments.strict_names { Names::WithTheDirectory } else { Names::WithTheFile };
    let plan = Plan {
        cut,
        names,
        rounds: arguments.rounds.unwrap_or(if cut == Cut::Power { 50 } else { 200 }),
        seed: arguments.seed.unwrap_or(u64::from(clock.subsec_nanos())),
        until: arguments.minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes)),
    };
    match rounds(&binary, &plan) {
        Ok(said) => {
            println!("{said}");
            Ok(true)
        }
        Err(error) => {
            println!("crash: FAILED\n{error:#}");
            Ok(false)
        }
    }
}

/// Runs the rounds; a summary, or what was lost. The directory of a failed run stays.
pub fn rounds(binary: &Path, plan: &Plan) -> Result<String> {
    let dir = tempfile::Builder::new().prefix("postrider-crash-").tempdir()?;
    let mut run = Run::new(binary, dir.path(), *plan)?;
    let result = run.all();
    run.progress("");
    if let Err(error) = result {
        let (log, lost) = (run.server.log(), std::mem::take(&mut run.loss.details));
        drop(run);
        let option = if plan.cut == Cut::Power { " --power-cut" } else { "" };
        let dir = dir.keep();
        bail!(
            "seed {}: {error:#}\n\nagain: cargo xtask crash{option} --seed {} (the moment of a kill depends on the machine \
             as well)\nthe directory: {}\nlast power loss:\n  {}\nend of the log:\n{log}",
            plan.seed,
            plan.seed,
            dir.display(),
            lost.join("\n  "),
        );
    }
    Ok(run.summary())
}

struct Run<'a> {
    dir: &'a Path,
    plan: Plan,
    server: Server,
    model: Mutex<Model>,
    library: Option<PathBuf>,
    begun: Instant,
    rounds: u64,
    repairs: u64,
    wanted_repairs: u64,
    loss: Loss,
}

impl<'a> Run<'a> {
    fn new(binary: &Path, dir: &'a Path, plan: Plan) -> Result<Self> {
        let library = match plan.cut {
            Cut::Power => Some(shim::compile(dir)?),
            Cut::Process => None,
        };
        Ok(Self {
            dir,
            plan,
            server: Server::new(binary, &dir.join("server")),
            model: Mutex::default(),
            library,
            begun: Instant::now(),
            rounds: 0,
            repairs: 0,
            wanted_repairs: 0,
            loss: Loss::default(),
        })
    }

    fn all(&mut self) -> Result<()> {
        std::fs::create_dir(self.dir.join("server"))?;
        self.server.start()?;
        check::make_mailboxes()?;
        self.check(0)?;
        self.server.stop()?;
        let mut watch = self.start()?;
        for round in 1..=self.plan.rounds {
            if self.plan.until.is_some_and(|until| Instant::now() > until) {
                break;
            }
            self.progress(&format!("round {round} of {}: load", self.plan.rounds));
            self.load(round)?;
            let mut random = Random::at(self.plan.seed, &[round, u64::MAX]);
            if let Some(watch) = &watch {
                self.progress(&format!("round {round} of {}: power loss", self.plan.rounds));
                self.loss.add(watch.lose_power(self.plan.names, &mut random)?);
                if random.percent(50) {
                    self.repair()?;
                }
            }
            self.progress(&format!("round {round} of {}: check", self.plan.rounds));
            self.verify_or_repair(&mut random).with_context(|| format!("round {round}"))?;
            watch = self.start().with_context(|| format!("round {round}"))?;
            self.check(round)?;
            self.rounds = round;
        }
        self.server.stop()?;
        self.server.verify(&self.server.data())
    }

    /// Starts the server, if it must be after a repair.
    fn start(&mut self) -> Result<Option<Watch>> {
        let attempt = |run: &mut Self| -> Result<Option<Watch>> {
            let watch = match &run.library {
                Some(library) => Some(Watch::new(run.dir, &run.server.data(), library)?),
                None => None,
            };
            run.server.set_environment(watch.as_ref().map(Watch::environment).unwrap_or_default());
            run.server.start()?;
            Ok(watch)
        };
        match attempt(self) {
            Err(error) if self.plan.cut == Cut::Power => {
                self.repair().context(format!("{error:#}"))?;
                self.wanted_repairs += 1;
                attempt(self)
            }
            result => result,
        }
    }

    fn load(&mut self, round: u64) -> Result<()> {
        let killed = AtomicBool::new(false);
        let load = Load { model: &self.model, killed: &killed, seed: self.plan.seed, round };
        let mut random = Random::at(self.plan.seed, &[round, u64::MAX - 1]);
        let moment = Duration::from_millis(random.between(KILL_AFTER_MS.0, KILL_AFTER_MS.1));
        let server = &mut self.server;
        load.run(|| {
            std::thread::sleep(moment);
            killed.store(true, std::sync::atomic::Ordering::SeqCst);
            server.kill()
        })?;
        self.fail_with_problems(round)
    }

    fn repair(&mut self) -> Result<()> {
        self.repairs += 1;
        self.server.command(&["repair", &self.server.data().display().to_string()]).map(drop)
    }

    /// After a power loss the store may want a repair before anything else.
    fn verify_or_repair(&mut self, random: &mut Random) -> Result<()> {
        match self.verify(random) {
            Err(error)
                if self.plan.cut == Cut::Power && format!("{error:#}").contains("see postrider repair") =>
            {
                self.repair()?;
                self.wanted_repairs += 1;
                self.verify(random)
            }
            result => result,
        }
    }

    /// Verifies a copy, so that the server finds the store as the crash left it, or the store itself.
    fn verify(&self, random: &mut Random) -> Result<()> {
        let data = self.server.data();
        if random.percent(50) || disk_octets(&data)? > COPY_OCTETS_MAX {
            return self.server.verify(&data);
        }
        let copy = self.dir.join("copy");
        if copy.exists() {
            std::fs::remove_dir_all(&copy)?;
        }
        let status = std::process::Command::new("cp")
            .args(["-a", "--sparse=always"])
            .arg(&data)
            .arg(&copy)
            .status()?;
        if !status.success() {
            bail!("cp of {} ended with {status}", data.display());
        }
        self.server.verify(&copy)?;
        Ok(std::fs::remove_dir_all(&copy)?)
    }

    fn check(&mut self, round: u64) -> Result<()> {
        let mut random = Random::at(self.plan.seed, &[round, u64::MAX - 2]);
        let mut model = self.model.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        check::check(&mut model, &mut random).with_context(|| format!("round {round}"))?;
        drop(model);
        self.fail_with_problems(round)
    }

    fn fail_with_problems(&self, round: u64) -> Result<()> {
        let model = self.model.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if model.problems.is_empty() {
            return Ok(());
        }
        let first: Vec<&str> = model.problems.iter().take(20).map(String::as_str).collect();
        bail!("round {round}: {} problems:\n  {}", model.problems.len(), first.join("\n  "))
    }

    fn summary(&self) -> String {
        let model = self.model.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut text = format!(
            "crash: seed {}, {} rounds in {:.0} s; {} changes acknowledged, none lost; of those under way {} were done \
             and {} were not; {} messages in the end",
            self.plan.seed,
            self.rounds,
            self.begun.elapsed().as_secs_f32(),
            model.acknowledged,
            model.unanswered.0,
            model.unanswered.1,
            model.len()
        );
        if self.plan.cut == Cut::Power {
            let loss = &self.loss;
            text += &format!(
                "\ncrash: power lost; {} MiB written, {} of {} unsynced pages lost, {} sizes, {} of {} names; {} repairs, {} of them needed",
                loss.written >> 20,
                loss.pages.1,
                loss.pages.0,
                loss.sizes,
                loss.names.1,
                loss.names.0,
                self.repairs,
                self.wanted_repairs
            );
        }
        text
    }

    fn progress(&self, what: &str) {
        let mut err = std::io::stderr();
        if err.is_terminal() {
            let _ = write!(err, "\r\x1b[K{what}");
            let _ = err.flush();
        }
    }
}

fn disk_octets(dir: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut sum = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        sum += if metadata.is_dir() { disk_octets(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(sum)
}

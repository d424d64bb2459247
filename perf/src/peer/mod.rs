//! The peers from Debian, under the same driver: Postfix receives, Dovecot delivers to maildirs by LMTP.
//!
//! Everything of theirs lies in a temporary directory and listens on loopback only. Nothing is installed
//! and no running Postfix or Dovecot is touched.

mod dovecot;
pub mod postfix;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use argh::FromArgs;

use crate::client::{Client, Security};
use crate::figures::Latencies;
use crate::process;
use crate::smtp::{self, Load};
use postfix::Next;

/// The domain that the peers take mail for.
const DOMAIN: &str = "perf.example";
/// How long they may take to start.
const START_MAX: Duration = Duration::from_secs(30);
/// How long the last message may take from its acknowledgement into its maildir.
const DRAIN_MAX: Duration = Duration::from_secs(300);
/// How often it is looked whether all are there.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Messages that are delivered before measuring: the first ones start processes and make maildirs.
const WARMING: usize = 256;

/// Deliver to Postfix with Dovecot, started for that in a temporary directory, and see what it costs them.
#[derive(FromArgs)]
#[argh(subcommand, name = "peer")]
pub struct Peer {
    /// messages in all (default 5000)
    #[argh(option, default = "5_000")]
    messages: usize,
    /// connections at the same time (default 64)
    #[argh(option, default = "64")]
    connections: usize,
    /// octets of a message's body (default 10240)
    #[argh(option, default = "10_240")]
    size: usize,
    /// accounts (default 16)
    #[argh(option, default = "16")]
    accounts: usize,
    /// the port that Postfix gets on loopback (default 17030)
    #[argh(option, default = "17_030")]
    port: u16,
    /// an existing directory, on the disk to measure (default: the system's for temporary files)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// What delivering to the peers came to.
pub struct Measured {
    /// Acknowledged messages a second.
    pub accepted: f64,
    /// Messages a second until the last one was in its maildir.
    pub delivered: f64,
    /// From MAIL to the acknowledgement.
    pub latencies: Latencies,
    /// Processor time of all their processes, in milliseconds a message.
    pub cpu: f64,
}

pub fn run(scenario: &Peer) -> Result<()> {
    let load = Load {
        target: format!("127.0.0.1:{}", scenario.port),
        connections: scenario.connections,
        messages: scenario.messages,
        size: scenario.size,
        recipient: format!("user{{}}@{DOMAIN}"),
        accounts: scenario.accounts,
    };
    let Measured { accepted, delivered, latencies, cpu } =
        measure(&load, scenario.port, scenario.dir.as_deref())?;
    println!(
        "peer: {}: {} messages of {} octets, {} connections, {} accounts: {accepted:.0} messages/s accepted, \
         {delivered:.0} messages/s delivered, {}, {cpu:.3} ms of CPU a message",
        versions(),
        load.messages,
        load.size,
        load.connections,
        load.accounts,
        latencies.describe()
    );
    Ok(())
}

/// What is missing to run the peers, and how to get it; none when all is there.
pub fn missing() -> Option<String> {
    let programs =
        [("postfix", postfix::PROGRAM), ("dovecot-lmtpd", dovecot::LMTP), ("dovecot-core", dovecot::PROGRAM)];
    let packages: Vec<&str> =
        programs.iter().filter(|(_, file)| !Path::new(file).exists()).map(|(package, _)| *package).collect();
    if !packages.is_empty() {
        return Some(format!(
            "not installed: {0}. As root: DEBIAN_FRONTEND=noninteractive apt-get install {0}",
            packages.join(" ")
        ));
    }
    (!rustix::process::geteuid().is_root()).then(|| "Postfix's master has to be started by root".to_owned())
}

/// `Postfix 3.7.11 and Dovecot 2.3.19.1`
pub fn versions() -> String {
    format!("Postfix {} and Dovecot {}", postfix::version(), dovecot::version())
}

/// Starts the peers, delivers, and ends them.
pub fn measure(load: &Load, port: u16, dir: Option<&Path>) -> Result<Measured> {
    if let Some(missing) = missing() {
        bail!("{missing}");
    }
    ensure!(Client::connect(&load.target, Security::Plain).is_err(), "port {port} is in use");
    let dir = match dir {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    }
    .context("a directory for the peers")?;
    // Their processes run as several users.
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755))?;
    let maildirs = dir.path().join("mail");
    let lmtp = dir.path().join("lmtp");
    let mut dovecot = Daemon::new("dovecot", dovecot::start(dir.path(), &maildirs, &lmtp)?);
    let mut postfix =
        Daemon::new("postfix", postfix::start(dir.path(), port, DOMAIN, &Next::Mailboxes(&lmtp))?);
    let measured = wait_for_start(load, &lmtp, [&mut dovecot, &mut postfix])
        .and_then(|()| deliver(load, &maildirs, &[dovecot.pid(), postfix.pid()]));
    let measured = measured.with_context(|| log(dir.path()));
    postfix.end(|| postfix::stop(dir.path()))?;
    dovecot.end(|| dovecot::stop(dir.path()))?;
    measured
}

/// A daemon in the foreground; killed when it was not ended properly.
pub struct Daemon {
    name: &'static str,
    child: Child,
}

impl Daemon {
    /// A process that was started in the foreground.
    pub fn new(name: &'static str, child: Child) -> Self {
        Self { name, child }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has it stopped, and waits for it.
    pub fn end(mut self, stop: impl FnOnce() -> Result<()>) -> Result<()> {
        stop()?;
        let begun = Instant::now();
        while self.child.try_wait()?.is_none() {
            ensure!(begun.elapsed() < START_MAX, "{} doesn't stop", self.name);
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It has ended, unless something failed.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn wait_for_start(load: &Load, lmtp: &Path, daemons: [&mut Daemon; 2]) -> Result<()> {
    let begun = Instant::now();
    let [one, other] = daemons;
    loop {
        for daemon in [&mut *one, &mut *other] {
            if let Some(status) = daemon.child.try_wait()? {
                bail!("{} ended with {status}", daemon.name);
            }
        }
        let greets = || -> Result<()> {
            let mut client = Client::connect(&load.target, Security::Plain)?;
            client.say_hello()?;
            client.send(b"QUIT\r\n")
        };
        if lmtp.exists() && greets().is_ok() {
            return Ok(());
        }
        ensure!(begun.elapsed() < START_MAX, "the peers don't start");
        std::thread::sleep(LOOK_EVERY);
    }
}

fn deliver(load: &Load, maildirs: &Path, pids: &[u32]) -> Result<Measured> {
    let warming = Load { messages: WARMING, ..load.clone() };
    smtp::deliver(&warming)?;
    wait_for_maildirs(maildirs, WARMING)?;
    let time = || -> Result<f64> {
        pids.iter().try_fold(0.0, |sum, pid| Ok(sum + process::tree_time(*pid)?.as_secs_f64()))
    };
    let (before, begun) = (time()?, Instant::now());
    let accepted = smtp::deliver(load)?;
    wait_for_maildirs(maildirs, WARMING + load.messages)?;
    let (seconds, after) = (begun.elapsed().as_secs_f64(), time()?);
    let messages = load.messages as f64;
    Ok(Measured {
        accepted: messages / accepted.seconds,
        delivered: messages / seconds,
        latencies: accepted.latencies,
        cpu: (after - before) * 1000.0 / messages,
    })
}

/// Waits until so many messages are in maildirs.
fn wait_for_maildirs(maildirs: &Path, messages: usize) -> Result<()> {
    let begun = Instant::now();
    loop {
        let found = count(maildirs)?;
        if found >= messages {
            return Ok(());
        }
        ensure!(
            begun.elapsed() < DRAIN_MAX,
            "{found} of {messages} messages were delivered in {DRAIN_MAX:?}"
        );
        std::thread::sleep(LOOK_EVERY);
    }
}

fn count(maildirs: &Path) -> Result<usize> {
    let mut found = 0;
    for account in std::fs::read_dir(maildirs).context("the maildirs")?.flatten() {
        for folder in ["new", "cur"] {
            if let Ok(entries) = std::fs::read_dir(account.path().join(folder)) {
                found += entries.count();
            }
        }
    }
    Ok(found)
}

/// The ends of their logs.
fn log(dir: &Path) -> String {
    let end = |name: &str| {
        let text = std::fs::read_to_string(dir.join(name)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    };
    format!("the ends of their logs:\n{}\n{}", end(postfix::LOG), end(dovecot::LOG))
}

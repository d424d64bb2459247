//! The server under measurement: a configuration and accounts of its own, on loopback.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::client::{Client, Login, Security};
use crate::{metrics, process};

/// The domain of the accounts.
pub const DOMAIN: &str = "perf.example";
/// The password of all accounts.
pub const PASSWORD: &str = "only-for-loopback";
/// Accounts with the names `user0` and so on.
pub const ACCOUNTS: usize = 16;
/// How long a start may take.
const START_MAX: Duration = Duration::from_secs(120);
/// How long the server may take to stop.
const STOP_MAX: Duration = Duration::from_secs(30);
/// How long the ports of an earlier server may stay taken.
const PORTS_MAX: Duration = Duration::from_secs(5);
/// How often it is looked whether the server listens.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// The ports of loopback that are used.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    first: u16,
}

impl Ports {
    /// Some ports from this one on.
    pub fn from(first: u16) -> Self {
        Self { first }
    }

    fn address(self, offset: u16) -> String {
        format!("127.0.0.1:{}", self.first + offset)
    }

    pub fn smtp(self) -> String {
        self.address(0)
    }

    pub fn imap(self) -> String {
        self.address(1)
    }

    pub fn imaps(self) -> String {
        self.address(2)
    }

    pub fn metrics(self) -> String {
        self.address(3)
    }

    /// The port that peers get.
    pub fn peer(self) -> u16 {
        self.first + 4
    }

    /// Submission, where a scenario configures it.
    pub fn submission(self) -> String {
        self.address(5)
    }

    /// The port of a server that takes messages and throws them away.
    pub fn sink(self) -> u16 {
        self.first + 6
    }

    fn all(self) -> [String; 4] {
        [self.smtp(), self.imap(), self.imaps(), self.metrics()]
    }
}

/// How the server is run.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The program.
    pub binary: PathBuf,
    /// The ports.
    pub ports: Ports,
    /// Its shards.
    pub shards: usize,
}

/// A running server.
pub struct Server {
    setup: Setup,
    dir: PathBuf,
    child: Child,
    /// From starting the process to the first accepted connection on each port.
    pub started_in: Duration,
    /// Octets of the log that earlier processes wrote.
    log_from: usize,
}

/// How long tasks held a shard, from a server's start to its end.
#[derive(Clone, Debug)]
pub struct Stalls {
    /// The longest run of a task.
    pub longest: Duration,
    /// Runs over 50 ms, by task.
    pub tasks: BTreeMap<String, u64>,
    /// How long the shards ran, and how long they waited for a processor meanwhile.
    pub ran: Duration,
    pub waited: Duration,
}

impl Server {
    /// Starts the server on a directory, which gets a configuration and accounts when it is new.
    pub fn start(setup: &Setup, dir: &Path) -> Result<Self> {
        Self::start_with(setup, dir, "")
    }

    /// The same with more at the end of the configuration.
    pub fn start_with(setup: &Setup, dir: &Path, more: &str) -> Result<Self> {
        let is_new = !dir.exists();
        if is_new {
            fs::create_dir(dir)?;
            fs::write(dir.join("postrider.toml"), config(setup) + more)?;
        }
        wait_for_ports(setup.ports)?;
        let log = File::options().create(true).append(true).open(dir.join("log"))?;
        let log_from = usize::try_from(log.metadata()?.len())?;
        let begun = Instant::now();
        let child = Command::new(&setup.binary)
            .arg("serve")
            .arg("--config")
            .arg(dir.join("postrider.toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} could not be started", setup.binary.display()))?;
        let mut server =
            Self { setup: setup.clone(), dir: dir.to_owned(), child, started_in: Duration::ZERO, log_from };
        for address in setup.ports.all() {
            while TcpStream::connect(&address).is_err() {
                if let Some(status) = server.child.try_wait()? {
                    bail!("the server ended with {status}:\n{}", server.log());
                }
                ensure!(begun.elapsed() < START_MAX, "the server doesn't listen:\n{}", server.log());
                std::thread::sleep(LOOK_EVERY);
            }
        }
        server.started_in = begun.elapsed();
        if is_new {
            server.control(&["directory", "apply"], &directory())?;
        }
        Ok(server)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn ports(&self) -> Ports {
        self.setup.ports
    }

    /// Where everything is that the server keeps.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// An account by its number.
    pub fn login(number: usize) -> Login {
        Login { user: format!("user{number}@{DOMAIN}"), password: PASSWORD.to_owned() }
    }

    /// A session of an account over TLS.
    pub fn session(&self, number: usize) -> Result<Client> {
        Client::log_in(&self.ports().imaps(), Security::Tls, &Self::login(number))
    }

    /// Runs a command against the server, with this as its standard input.
    pub fn control(&self, arguments: &[&str], input: &str) -> Result<()> {
        let mut child = Command::new(&self.setup.binary)
            .arg("--socket")
            .arg(self.data().join("ctl"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("a command could not be started")?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {said}", arguments.join(" "));
        Ok(())
    }

    /// How long tasks ran without a pause since the start.
    pub fn stalls(&self) -> Result<Stalls> {
        let longest = Duration::from_secs_f64(metrics::value(&self.ports().metrics(), metrics::LONGEST_RUN)?);
        let (ran, waited) = process::threads_time(self.pid(), "shard-")?;
        let log = fs::read_to_string(self.dir.join("log"))?;
        let mut tasks = BTreeMap::new();
        for line in log[self.log_from..].lines().filter(|line| line.contains("held its shard")) {
            let task = line.split_once("task=").and_then(|(_, rest)| rest.split_once(" millis="));
            let task = task.map_or("?", |(task, _)| task).trim_matches('"');
            *tasks.entry(task.to_owned()).or_insert(0) += 1;
        }
        Ok(Stalls { longest, tasks, ran, waited })
    }

    /// Stops the server as an operator would.
    pub fn stop(mut self) -> Result<()> {
        self.control(&["stop"], "")?;
        let begun = Instant::now();
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("the server ended with {status}:\n{}", self.log()),
                None => ensure!(begun.elapsed() < STOP_MAX, "the server doesn't stop:\n{}", self.log()),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends the process without giving it a chance to do anything.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn log(&self) -> String {
        let text = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended, unless something failed.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Waits until the ports are free: the kernel lets go of those of a killed server a little later.
fn wait_for_ports(ports: Ports) -> Result<()> {
    let begun = Instant::now();
    for address in ports.all() {
        while TcpStream::connect(&address).is_ok() {
            ensure!(begun.elapsed() < PORTS_MAX, "{address} is in use; --port takes another first port");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    Ok(())
}

/// Defaults but for what would hold up a driver: it is one address, and has no history and no name in DNS.
fn config(setup: &Setup) -> String {
    let ports = setup.ports;
    let mut text = format!(
        "hostname = \"mail.{DOMAIN}\"\ndata_dir = \"data\"\nshards = {}\n\n[tls]\nself_signed = true\n\n\
         [admission]\nunlimited = [\"127.0.0.1\"]\n\n[checks]\nenabled = false\n\n\
         [limits.smtp]\nfirst_time_sender_delay = \"0s\"\n",
        setup.shards
    );
    for (protocol, address, more) in [
        ("smtp", ports.smtp(), ""),
        // Connections without TLS are measured too.
        ("imap", ports.imap(), "tls = \"optional\"\n"),
        ("imaps", ports.imaps(), ""),
        ("metrics", ports.metrics(), ""),
    ] {
        text += &format!(
            "\n[[listener]]\nname = \"{protocol}\"\nprotocol = \"{protocol}\"\n\
             addresses = [\"{address}\"]\n{more}"
        );
    }
    text
}

fn directory() -> String {
    let mut text = format!("version = 1\n\n[domain.\"{DOMAIN}\"]\n");
    for number in 0..ACCOUNTS {
        text += &format!(
            "\n[account.user{number}]\ndomain = \"{DOMAIN}\"\npassword = \"{PASSWORD}\"\n\
             addresses = [\"user{number}@{DOMAIN}\"]\n"
        );
    }
    text
}

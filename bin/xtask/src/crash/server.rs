//! The server under test: started again and again on one directory, ended by `kill -9`.

use std::fs::File;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::localserve::{port, tail};
use crate::program::{run_command, run_command_within};

/// How long a start may take.
const START_MAX: Duration = Duration::from_secs(60);

/// How long the ports of a killed server may stay taken.
const PORTS_FREE_MAX: Duration = Duration::from_secs(60);

/// A directory for `localserve`, and the process when one runs.
pub struct Server {
    binary: PathBuf,
    dir: PathBuf,
    log: PathBuf,
    environment: Vec<(String, String)>,
    config: Option<PathBuf>,
    files_max: Option<u64>,
    child: Option<Child>,
}

impl Server {
    /// Starts nothing yet.
    pub fn new(binary: &Path, dir: &Path) -> Self {
        let log = dir.join("log");
        Self {
            binary: binary.into(),
            dir: dir.into(),
            log,
            environment: Vec::new(),
            config: None,
            files_max: None,
            child: None,
        }
    }

    /// Where the process writes its log from the next start on.
    pub fn set_log(&mut self, path: PathBuf) {
        self.log = path;
    }

    /// What the process gets in its environment from the next start on.
    pub fn set_environment(&mut self, environment: Vec<(String, String)>) {
        self.environment = environment;
    }

    /// The configuration that is served from the next start on, instead of a local instance. It has to listen
    /// on the same ports.
    pub fn set_config(&mut self, path: PathBuf) {
        self.config = Some(path);
    }

    /// How many files the process may have open, from the next start on.
    pub fn set_files_max(&mut self, files: u64) {
        self.files_max = Some(files);
    }

    /// The number of the process.
    pub fn pid(&self) -> Result<u32> {
        self.child.as_ref().map(Child::id).context("the server isn't running")
    }

    /// Where the store is.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// What the server wrote so far, its last lines.
    pub fn log(&self) -> String {
        tail(&std::fs::read_to_string(&self.log).unwrap_or_default())
    }

    /// The most resident memory that the process ever had, in KiB.
    pub fn peak_kib(&self) -> Result<u64> {
        let child = self.child.as_ref().context("the server isn't running")?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        line.trim_end_matches("kB").trim().parse().context("a number of KiB")
    }

    /// Starts the server and waits until it listens on all ports.
    pub fn start(&mut self) -> Result<()> {
        // The kernel lets go of a killed server's listening sockets a little later than of the process: requests
        // of its io_uring hold them.
        let begun = Instant::now();
        while let Some(taken) =
            port::ALL.iter().find(|port| TcpStream::connect(("127.0.0.1", **port)).is_ok())
        {
            if begun.elapsed() > PORTS_FREE_MAX {
                bail!("port {taken} is in use; crash runs need {:?}", port::ALL);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let log = File::options().create(true).append(true).open(&self.log)?;
        let begun = Instant::now();
        let child = self
            .program()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} could not be started", self.binary.display()))?;
        self.child = Some(child);
        for port in port::ALL {
            while TcpStream::connect(("127.0.0.1", port)).is_err() {
                if let Some(status) = self.child.as_mut().map(Child::try_wait).transpose()?.flatten() {
                    bail!("localserve ended with {status}:\n{}", self.log());
                }
                if begun.elapsed() > START_MAX {
                    bail!("localserve doesn't listen on port {port}:\n{}", self.log());
                }
                std::thread::sleep(Duration::from_millis(3));
            }
        }
        Ok(())
    }

    fn program(&self) -> Command {
        let mut command = match self.files_max {
            None => Command::new(&self.binary),
            Some(files) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\"")]).arg(&self.binary);
                shell
            }
        };
        match &self.config {
            None => command.args(["localserve", "--dir"]).arg(&self.dir),
            Some(config) => command.args(["serve", "--config"]).arg(config),
        };
        command
    }

    /// Ends the process without giving it a chance to do anything.
    pub fn kill(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { bail!("the server isn't running") };
        if let Some(status) = child.try_wait()? {
            bail!("the server had ended by itself with {status}:\n{}", self.log());
        }
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Stops the server as an operator would.
    pub fn stop(&mut self) -> Result<()> {
        self.command(&["--socket", &self.socket(), "stop"])?;
        let Some(mut child) = self.child.take() else { bail!("the server isn't running") };
        let status = child.wait()?;
        if !status.success() {
            bail!("localserve ended with {status}:\n{}", self.log());
        }
        Ok(())
    }

    /// The server's control socket.
    pub fn socket(&self) -> String {
        self.data().join("ctl").display().to_string()
    }

    /// Runs a command of the binary, and returns what it printed.
    pub fn command(&self, arguments: &[&str]) -> Result<String> {
        run_command(&self.binary, arguments)
    }

    /// Has the server say how it is, which takes no longer than `limit`.
    pub fn status_within(&self, limit: Duration) -> Result<String> {
        run_command_within(&self.binary, &["--socket", &self.socket(), "status"], limit)
    }

    /// Checks every invariant of the store, which must not be in use.
    pub fn verify(&self, data: &Path) -> Result<()> {
        self.command(&["verifydata", &data.display().to_string()]).map(drop)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself: then there is nothing to end.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

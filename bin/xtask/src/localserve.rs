//! A `postrider localserve` for the time of one test.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::program::run_command;

/// The ports that `localserve` listens on.
pub mod port {
    /// SMTP, with STARTTLS.
    pub const SMTP: u16 = 1025;
    /// Submission, with STARTTLS.
    pub const SUBMISSION: u16 = 1587;
    /// Submission over TLS.
    pub const SUBMISSIONS: u16 = 1465;
    /// IMAP, with STARTTLS.
    pub const IMAP: u16 = 1143;
    /// IMAP over TLS.
    pub const IMAPS: u16 = 1993;
    /// Metrics.
    pub const METRICS: u16 = 1081;
    /// A DNS server of tests, beside those of `localserve`. None that the system gives to whoever asks for any.
    pub const DNS: u16 = 1053;
    /// All that `localserve` listens on.
    pub const ALL: [u16; 6] = [SMTP, SUBMISSION, SUBMISSIONS, IMAP, IMAPS, METRICS];
}

/// The account that `localserve` makes.
pub const USER: &str = "user@localhost";
/// Its password.
pub const PASSWORD: &str = "localserve";
/// How long a start may take before the tests give up on it (the product's own aim is one second).
const START_MAX: Duration = Duration::from_secs(60);

/// How long the ports of an earlier server may take to be free.
const PORTS_MAX: Duration = Duration::from_secs(60);

/// A running server; stopped when dropped.
pub struct Localserve {
    binary: PathBuf,
    dir: tempfile::TempDir,
    arguments: Vec<String>,
    child: Option<Child>,
    /// From starting the process to the first accepted connection on each port.
    pub started_in: Duration,
}

impl Localserve {
    /// Starts a server on an empty directory.
    pub fn start(binary: &Path) -> Result<Self> {
        Self::start_with(binary, &[])
    }

    /// The same with more arguments.
    pub fn start_with(binary: &Path, arguments: &[&str]) -> Result<Self> {
        let dir = tempfile::tempdir().context("a directory for the server")?;
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut server =
            Self { binary: binary.into(), dir, arguments, child: None, started_in: Duration::ZERO };
        server.launch()?;
        Ok(server)
    }

    /// The server's directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The certificate that clients have to trust.
    pub fn certificate(&self) -> PathBuf {
        self.dir.path().join("data/selfsigned.pem")
    }

    /// What the server wrote so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Runs a command of the binary, and returns what it printed.
    pub fn command(&self, arguments: &[&str]) -> Result<String> {
        run_command(&self.binary, arguments)
    }

    /// The control socket, as the command line wants it.
    pub fn socket(&self) -> String {
        self.dir.path().join("data/ctl").display().to_string()
    }

    fn launch(&mut self) -> Result<()> {
        // The ports of a server that was killed are free only when the kernel has ended its requests.
        let begun = Instant::now();
        while let Some(taken) =
            port::ALL.iter().find(|port| TcpStream::connect(("127.0.0.1", **port)).is_ok())
        {
            if begun.elapsed() > PORTS_MAX {
                bail!("port {taken} is in use; these tests need {:?}", port::ALL);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let log = std::fs::File::options().create(true).append(true).open(self.dir.path().join("log"))?;
        let begun = Instant::now();
        let child = Command::new(&self.binary)
            .args(["localserve", "--dir"])
            .arg(self.dir.path())
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} could not be started", self.binary.display()))?;
        self.child = Some(child);
        for port in port::ALL {
            while TcpStream::connect(("127.0.0.1", port)).is_err() {
                let ended = self.child.as_mut().map(Child::try_wait).transpose()?.flatten();
                if let Some(status) = ended {
                    bail!("localserve ended with {status}:\n{}", self.log());
                }
                if begun.elapsed() > START_MAX {
                    bail!("localserve doesn't listen on port {port}:\n{}", self.log());
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        self.started_in = begun.elapsed();
        Ok(())
    }

    /// Stops the server as an operator would and checks what it left behind.
    pub fn stop_and_verify(mut self) -> Result<()> {
        self.command(&["--socket", &self.socket(), "stop"])?;
        let Some(mut child) = self.child.take() else { bail!("the server isn't running") };
        let status = child.wait()?;
        if !status.success() {
            bail!("localserve ended with {status}:\n{}", tail(&self.log()));
        }
        let data = self.dir.path().join("data").display().to_string();
        self.command(&["verifydata", &data]).map(drop)
    }
}

impl Drop for Localserve {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself: then there is nothing to end.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The last lines of a text.
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

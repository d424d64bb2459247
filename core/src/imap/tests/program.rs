//! The program as users get it: a process of its own with a configuration file, accounts made by its command line,
//! a store on disk that is checked when it has stopped. `POSTRIDER_BINARY` names it; without that, tests run the
//! server in their own process.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant, SystemTime};

use postrider_storage::account::Quota;

use super::server::{Peer, Server, Setup, login};
use crate::testing::wait_until;

/// Names the program.
const BINARY: &str = "POSTRIDER_BINARY";
const HOSTNAME: &str = "mail.example.com";
const START_MAX: Duration = Duration::from_secs(60);
/// Other processes may keep the machine busy.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// The program to test, when one is named.
pub(super) fn binary() -> Option<PathBuf> {
    std::env::var_os(BINARY).map(PathBuf::from)
}

/// A server of either kind.
pub(super) enum Served {
    /// In this process.
    Here(Box<Server>),
    /// A process of its own.
    Program(Program),
}

impl Served {
    /// One of the kind that is to be tested. In both the account `user@localhost` is there.
    pub(super) fn start(setup: &Setup) -> Self {
        match binary() {
            None => Self::Here(Box::new(Server::start(setup))),
            Some(binary) => Self::Program(Program::start(binary, setup)),
        }
    }

    pub(super) fn connect(&self) -> Peer {
        let address = match self {
            Self::Here(server) => server.address,
            Self::Program(program) => program.address,
        };
        Peer::connect(address, ANSWER_MAX)
    }

    /// A client that has logged in to an account.
    pub(super) fn log_in_as(&self, name: &str) -> Peer {
        login(self.connect(), name)
    }

    /// Adds another account, with the address of its name at localhost and the same password.
    pub(super) fn add_account(&self, name: &str, quota: Quota) {
        match self {
            Self::Here(server) => drop(server.add_account_with(name, quota)),
            Self::Program(program) => program.add_account(name, quota),
        }
    }

    /// The name of the host, in URLs.
    pub(super) fn host(&self) -> &str {
        match self {
            Self::Here(_) => "localhost",
            Self::Program(_) => HOSTNAME,
        }
    }

    /// The UIDVALIDITY of the Inbox of `user`; its other first mailboxes, and those that come later, have the
    /// numbers that follow.
    pub(super) fn validity(&self) -> u32 {
        match self {
            Self::Here(_) => 1000,
            Self::Program(program) => program.validity,
        }
    }

    /// Waits until what was begun on connections that are lost is done, and those of so many clients are left. A program
    /// has had the time for it.
    pub(super) fn wait_for_lost(&self, clients: usize) {
        if let Self::Here(server) = self {
            let clients = i64::try_from(clients).unwrap();
            wait_until(|| server.connections() == clients);
        }
    }

    /// Ends it and checks what it has stored.
    pub(super) fn finish(self) {
        match self {
            Self::Here(server) => drop(server.messages()),
            Self::Program(program) => program.finish(),
        }
    }
}

/// A running program.
pub(super) struct Program {
    binary: PathBuf,
    dir: tempfile::TempDir,
    address: SocketAddr,
    child: Option<Child>,
    validity: u32,
}

impl Program {
    fn start(binary: PathBuf, setup: &Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let address = own_address();
        std::fs::write(dir.path().join("postrider.toml"), setup.text(HOSTNAME, address)).unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let begun = now();
        let child = Command::new(&binary)
            .arg("--config")
            .arg(dir.path().join("postrider.toml"))
            .arg("serve")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
        let mut program = Self { binary, dir, address, child: Some(child), validity: 0 };
        program.wait_for_start();
        program.command(&["domain", "add", "localhost"], "");
        program.add_account("user", setup.quota);
        let mut peer = login(Peer::connect(address, ANSWER_MAX), "user");
        peer.send(b"v STATUS Inbox (UIDVALIDITY)\r\n");
        let told = peer.line();
        let told = told.strip_prefix("* STATUS Inbox (UIDVALIDITY ").and_then(|rest| rest.strip_suffix(')'));
        program.validity = told.unwrap().parse().unwrap();
        // Mailboxes of an account made anew have other numbers than those of the one before had.
        assert!((begun..=now()).contains(&u64::from(program.validity)), "{}", program.validity);
        program
    }

    fn wait_for_start(&mut self) {
        let begun = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                panic!("the server ended with {status}: {}", self.log());
            }
            assert!(begun.elapsed() < START_MAX, "the server doesn't listen: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn add_account(&self, name: &str, quota: Quota) {
        self.command(&["account", "add", name, &format!("{name}@localhost")], "localserve\n");
        for (what, quota) in [("quota", quota.octets), ("quota-messages", quota.messages)] {
            if let Some(quota) = quota {
                self.command(&["account", what, name, &quota.to_string()], "");
            }
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn data(&self) -> String {
        self.dir.path().join("data").to_str().unwrap().to_owned()
    }

    /// Runs a command of the program, which succeeds.
    fn command(&self, arguments: &[&str], input: &str) {
        let mut command = Command::new(&self.binary);
        if arguments[0] != "verifydata" {
            command.args(["--data", &self.data()]);
        }
        let mut child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.success(), "{arguments:?}: {}: {said}\n{}", output.status, self.log());
    }

    fn finish(mut self) {
        self.command(&["stop"], "");
        let status = self.child.take().unwrap().wait().unwrap();
        assert!(status.success(), "{status}: {}", self.log());
        // What it says of itself, besides what clients do wrong.
        let log = self.log();
        // Its level is a line's second word; that a name server can't be reached is no more than a warning, which may
        // have that word, too.
        let is_error = |line: &&str| line.split(' ').nth(1) == Some("error") || line.contains("panicked");
        let complaint = log.lines().find(is_error);
        assert_eq!(complaint, None, "{log}");
        self.command(&["verifydata", &self.data()], "");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself: then there is nothing to end.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// An address of the loopback network that no other process of these tests has, so that no port has to be looked for.
fn own_address() -> SocketAddr {
    static STARTED: AtomicU16 = AtomicU16::new(0);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let port = 20_000 + STARTED.fetch_add(1, Ordering::Relaxed);
    SocketAddr::from((Ipv4Addr::new(127, 64 | (high & 0x3f), middle, low), port))
}

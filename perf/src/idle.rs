//! The memory that idle connections hold in the server.

use std::time::Duration;

use anyhow::Result;
use argh::FromArgs;

use crate::client::{Client, Login, Security};
use crate::process;

/// Connections that are opened before measuring: the first ones pay for what all share.
const BEFORE: usize = 20;
/// How long the processor time of the idle connections is watched.
const WATCHED: Duration = Duration::from_secs(5);

/// Open authenticated connections with a mailbox selected, leave them idle, and see what each costs.
#[derive(FromArgs)]
#[argh(subcommand, name = "idle")]
pub struct Idle {
    /// where the server listens (default 127.0.0.1:1143, or :1993 with --tls)
    #[argh(option)]
    target: Option<String>,
    /// connect over TLS
    #[argh(switch)]
    tls: bool,
    /// how many connections (default 1000)
    #[argh(option, default = "1000")]
    connections: usize,
    /// the account's address (default user@localhost)
    #[argh(option, default = "String::from(\"user@localhost\")")]
    user: String,
    /// its password (default localserve)
    #[argh(option, default = "String::from(\"localserve\")")]
    password: String,
    /// the server's process
    #[argh(option)]
    pid: u32,
    /// leave them in IDLE, not only silent
    #[argh(switch)]
    in_idle: bool,
}

/// What idle connections cost.
pub struct Cost {
    /// Resident memory before and after they came, and the most meanwhile, in KiB.
    pub resident: [u64; 3],
    /// Of that, each, in KiB.
    pub each: f64,
    /// The share of a core that all of them take.
    pub core: f64,
}

/// How connections are left.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Silent, between two commands.
    Silent,
    /// In IDLE.
    InIdle,
}

pub fn run(scenario: &Idle) -> Result<()> {
    let (security, default) =
        if scenario.tls { (Security::Tls, "127.0.0.1:1993") } else { (Security::Plain, "127.0.0.1:1143") };
    let target = scenario.target.as_deref().unwrap_or(default);
    let login = Login { user: scenario.user.clone(), password: scenario.password.clone() };
    let left = if scenario.in_idle { Left::InIdle } else { Left::Silent };
    let cost = measure(scenario.pid, scenario.connections, || open(target, security, &login, left))?;
    let [before, after, most] = cost.resident;
    println!(
        "idle: {} connections{}: {:.2} KiB resident each ({before} to {after} KiB, at most {most}), {:.2} % of a core while idle",
        scenario.connections,
        if scenario.tls { " with TLS" } else { "" },
        cost.each,
        cost.core * 100.0
    );
    Ok(())
}

/// A session with Inbox selected.
pub fn open(target: &str, security: Security, login: &Login, left: Left) -> Result<Client> {
    let mut client = Client::log_in(target, security, login)?;
    client.imap("SELECT Inbox")?;
    if left == Left::InIdle {
        client.send(b"i IDLE\r\n")?;
        client.line()?;
    }
    Ok(client)
}

/// Opens connections, and sees what the server's process takes for them.
pub fn measure(pid: u32, connections: usize, open: impl Fn() -> Result<Client>) -> Result<Cost> {
    let mut clients = (0..BEFORE).map(|_| open()).collect::<Result<Vec<_>>>()?;
    std::thread::sleep(Duration::from_millis(500));
    let (before, _) = process::resident_kib(pid)?;
    for _ in 0..connections {
        clients.push(open()?);
    }
    std::thread::sleep(Duration::from_secs(2));
    let (after, most) = process::resident_kib(pid)?;
    let cpu_before = process::processor_time(pid)?;
    std::thread::sleep(WATCHED);
    let cpu = process::processor_time(pid)? - cpu_before;
    Ok(Cost {
        resident: [before, after, most],
        each: after.saturating_sub(before) as f64 / connections as f64,
        core: cpu.as_secs_f64() / WATCHED.as_secs_f64(),
    })
}

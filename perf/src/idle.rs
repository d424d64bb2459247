//! The memory that idle connections hold in the server.

use std::time::Duration;

use anyhow::Result;
use argh::FromArgs;

use crate::client::{Client, Security};
use crate::process;

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

pub fn run(scenario: &Idle) -> Result<()> {
    let (security, default) =
        if scenario.tls { (Security::Tls, "127.0.0.1:1993") } else { (Security::Plain, "127.0.0.1:1143") };
    let target = scenario.target.as_deref().unwrap_or(default);
    let open = || -> Result<Client> {
        let mut client = Client::connect(target, security)?;
        client.line()?;
        match security {
            Security::Tls => drop(client.imap(&format!("LOGIN {} {}", scenario.user, scenario.password))?),
            Security::Plain => client.log_in_by_cram_md5(&scenario.user, &scenario.password)?,
        }
        client.imap("SELECT Inbox")?;
        if scenario.in_idle {
            client.send(b"i IDLE\r\n")?;
            client.line()?;
        }
        Ok(client)
    };
    // The first connections pay for what all share.
    let mut clients = (0..20).map(|_| open()).collect::<Result<Vec<_>>>()?;
    std::thread::sleep(Duration::from_millis(500));
    let (before, _) = process::resident_kib(scenario.pid)?;
    for _ in 0..scenario.connections {
        clients.push(open()?);
    }
    std::thread::sleep(Duration::from_secs(2));
    let (after, most) = process::resident_kib(scenario.pid)?;
    let cpu_before = process::processor_time(scenario.pid)?;
    std::thread::sleep(Duration::from_secs(5));
    let cpu = process::processor_time(scenario.pid)? - cpu_before;
    println!(
        "idle: {} connections{}: {:.2} KiB resident each ({before} to {after} KiB, at most {most}), {:.2} % of a core while idle",
        scenario.connections,
        if scenario.tls { " with TLS" } else { "" },
        (after.saturating_sub(before)) as f64 / scenario.connections as f64,
        cpu.as_secs_f64() / 5.0 * 100.0
    );
    Ok(())
}

//! What a heavy command on one connection does to another of the same shard.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use argh::FromArgs;

use crate::client::{Client, Login, Security};
use crate::figures::Latencies;

/// The pause between two commands of the neighbour.
const PAUSE: Duration = Duration::from_micros(500);
/// How long the neighbour is watched while nothing else runs.
const QUIET: Duration = Duration::from_secs(3);
/// A heavy command takes long.
const PATIENCE: Duration = Duration::from_secs(600);

/// Heavy commands, with `{mailbox}` for another mailbox.
pub const COMMANDS: [&str; 8] = [
    "FETCH 1:* (UID FLAGS)",
    "FETCH 1:* (ENVELOPE BODYSTRUCTURE)",
    "FETCH 1:* (BODY.PEEK[])",
    "SEARCH SUBJECT nowhere",
    "SEARCH TEXT nowhere",
    "STORE 1:* +FLAGS.SILENT (\\Flagged)",
    "STORE 1:* -FLAGS.SILENT (\\Flagged)",
    "COPY 1:* {mailbox}",
];

/// Send NOOPs on one connection while heavy commands run on another of the same account, and so of the
/// same shard.
#[derive(FromArgs)]
#[argh(subcommand, name = "neighbours")]
pub struct Neighbours {
    /// where the server listens with TLS (default 127.0.0.1:1993)
    #[argh(option, default = "String::from(\"127.0.0.1:1993\")")]
    target: String,
    /// the account's address (default user@localhost)
    #[argh(option, default = "String::from(\"user@localhost\")")]
    user: String,
    /// its password (default localserve)
    #[argh(option, default = "String::from(\"localserve\")")]
    password: String,
    /// the mailbox that the heavy commands are about
    #[argh(positional)]
    mailbox: String,
    /// only this command, instead of all
    #[argh(option)]
    command: Option<String>,
}

/// What the neighbour saw of one command.
pub struct Seen {
    /// The command; none for the time before.
    pub command: Option<String>,
    /// How long it took.
    pub took: Duration,
    /// How long the neighbour's NOOPs took meanwhile.
    pub noops: Latencies,
}

pub fn run(scenario: &Neighbours) -> Result<()> {
    let login = Login { user: scenario.user.clone(), password: scenario.password.clone() };
    let only: Option<Vec<&str>> = scenario.command.as_deref().map(|command| vec![command]);
    let commands = only.as_deref().unwrap_or(&COMMANDS);
    for seen in measure(&scenario.target, &login, &scenario.mailbox, commands)? {
        println!(
            "neighbours: {}: {:.2} s, {} NOOPs meanwhile: {}",
            seen.command.as_deref().unwrap_or("nothing else"),
            seen.took.as_secs_f64(),
            seen.noops.count(),
            seen.noops.describe()
        );
    }
    Ok(())
}

/// Runs the commands one after the other on a mailbox; at first comes a time without any.
pub fn measure(target: &str, login: &Login, mailbox: &str, commands: &[&str]) -> Result<Vec<Seen>> {
    let mut heavy = Client::log_in(target, Security::Tls, login)?;
    heavy.set_patience(PATIENCE)?;
    // No mailbox is selected here: being told of changes would be this connection's own work.
    let mut light = Client::log_in(target, Security::Tls, login)?;
    let copies = format!("Copies{}", std::process::id());
    heavy.imap(&format!("CREATE {copies}"))?;
    heavy.imap(&format!("SELECT {mailbox}"))?;
    let mut seen = vec![watch(&mut light, || {
        std::thread::sleep(QUIET);
        Ok(None)
    })?];
    for command in commands {
        let command = command.replace("{mailbox}", &copies);
        seen.push(watch(&mut light, || {
            heavy.imap(&command)?;
            Ok(Some(command.clone()))
        })?);
    }
    heavy.imap(&format!("DELETE {copies}"))?;
    Ok(seen)
}

/// Sends NOOPs while `work` runs.
fn watch(light: &mut Client, work: impl FnOnce() -> Result<Option<String>>) -> Result<Seen> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| -> Result<Latencies> {
            let mut noops = Latencies::new();
            while !done.load(Ordering::Acquire) {
                let begun = Instant::now();
                light.imap("NOOP")?;
                noops.record(begun.elapsed());
                std::thread::sleep(PAUSE);
            }
            Ok(noops)
        });
        let begun = Instant::now();
        let command = work();
        let took = begun.elapsed();
        done.store(true, Ordering::Release);
        let Ok(noops) = watching.join() else { bail!("the neighbour's thread panicked") };
        Ok(Seen { command: command?, took, noops: noops? })
    })
}

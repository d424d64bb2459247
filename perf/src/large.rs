//! Very large messages: what the server's memory is while they come and go.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use argh::FromArgs;

use crate::client::{Client, Login, Security};
use crate::{process, smtp};

/// Octets that are sent at a time.
const PIECE_OCTETS: usize = 256 << 10;
/// How long the acknowledgement, or a large literal, may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Deliver very large messages over several connections at once, then fetch them over as many.
#[derive(FromArgs)]
#[argh(subcommand, name = "large")]
pub struct Large {
    /// where SMTP is (default 127.0.0.1:1025)
    #[argh(option, default = "String::from(\"127.0.0.1:1025\")")]
    smtp: String,
    /// where IMAP with TLS is (default 127.0.0.1:1993)
    #[argh(option, default = "String::from(\"127.0.0.1:1993\")")]
    imap: String,
    /// messages, each on a connection of its own (default 4)
    #[argh(option, default = "4")]
    messages: usize,
    /// octets of a message's body (default 104800000, just below 100 MiB with its header)
    #[argh(option, default = "104_800_000")]
    size: usize,
    /// the account's address (default user@localhost)
    #[argh(option, default = "String::from(\"user@localhost\")")]
    user: String,
    /// its password (default localserve)
    #[argh(option, default = "String::from(\"localserve\")")]
    password: String,
    /// the server's process
    #[argh(option)]
    pid: u32,
}

/// What one direction came to.
pub struct Moved {
    /// How long it took.
    pub seconds: f64,
    /// The most resident memory meanwhile, in KiB.
    pub peak_kib: u64,
}

pub fn run(scenario: &Large) -> Result<()> {
    let login = Login { user: scenario.user.clone(), password: scenario.password.clone() };
    let size = scenario.size;
    let received = receive(&scenario.smtp, &login.user, scenario.messages, size, scenario.pid)?;
    let fetched = fetch(&scenario.imap, &login, scenario.messages, size, scenario.pid)?;
    for (what, moved) in [("received", received), ("fetched", fetched)] {
        println!(
            "large: {} messages of {size} octets {what} in {:.1} s, resident at most {} KiB",
            scenario.messages, moved.seconds, moved.peak_kib
        );
    }
    Ok(())
}

/// Delivers the messages, all at once.
pub fn receive(target: &str, recipient: &str, messages: usize, size: usize, pid: u32) -> Result<Moved> {
    let piece = smtp::body(PIECE_OCTETS);
    let deliver = |number: usize| -> Result<()> {
        let mut client = Client::connect(target, Security::Plain)?;
        client.say_hello()?;
        client.set_patience(PATIENCE)?;
        smtp::begin(&mut client, recipient)?;
        client.send(&smtp::header(number, recipient))?;
        let mut left = size;
        while left > piece.len() {
            client.send(&piece)?;
            left -= piece.len();
        }
        client.send(&smtp::body(left.saturating_sub(72)))?;
        client.send(b".\r\n")?;
        client.expect_reply("250")
    };
    all_at_once(messages, pid, deliver)
}

/// Fetches the last messages of Inbox, each on a connection of its own.
pub fn fetch(target: &str, login: &Login, messages: usize, size: usize, pid: u32) -> Result<Moved> {
    let fetch = |number: usize| -> Result<()> {
        let mut client = Client::log_in(target, Security::Tls, login)?;
        client.set_patience(PATIENCE)?;
        let newest = client.exists("Inbox")?;
        ensure!(newest > number, "there are only {newest} messages");
        let (_, octets) = client.imap(&format!("FETCH {} (BODY.PEEK[])", newest - number))?;
        ensure!(octets >= size, "{octets} octets of {size} were fetched");
        Ok(())
    };
    all_at_once(messages, pid, fetch)
}

fn all_at_once(count: usize, pid: u32, work: impl Fn(usize) -> Result<()> + Sync) -> Result<Moved> {
    process::forget_peak(pid)?;
    let begun = Instant::now();
    std::thread::scope(|scope| -> Result<()> {
        let work = &work;
        let threads: Vec<_> = (0..count).map(|number| scope.spawn(move || work(number))).collect();
        for thread in threads {
            match thread.join() {
                Ok(done) => done?,
                Err(_) => bail!("a connection's thread panicked"),
            }
        }
        Ok(())
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Moved { seconds, peak_kib: process::resident_kib(pid)?.1 })
}

//! What opening and reading mailboxes costs.

use std::time::Instant;

use anyhow::{Result, ensure};
use argh::FromArgs;

use crate::client::{Client, Login, Security};
use crate::figures::Latencies;

/// Open mailboxes again and again, in turn, and compare.
#[derive(FromArgs)]
#[argh(subcommand, name = "select")]
pub struct Select {
    /// where the server listens with TLS (default 127.0.0.1:1993)
    #[argh(option, default = "String::from(\"127.0.0.1:1993\")")]
    target: String,
    /// the account's address (default user@localhost)
    #[argh(option, default = "String::from(\"user@localhost\")")]
    user: String,
    /// its password (default localserve)
    #[argh(option, default = "String::from(\"localserve\")")]
    password: String,
    /// the mailboxes to compare
    #[argh(positional)]
    mailboxes: Vec<String>,
    /// how often each is opened (default 200)
    #[argh(option, default = "200")]
    times: usize,
    /// also resynchronise after this many flag changes (default 100)
    #[argh(option, default = "100")]
    changes: usize,
}

/// Fetch all bodies of a mailbox.
#[derive(FromArgs)]
#[argh(subcommand, name = "bodies")]
pub struct Bodies {
    /// where the server listens with TLS (default 127.0.0.1:1993)
    #[argh(option, default = "String::from(\"127.0.0.1:1993\")")]
    target: String,
    /// the account's address (default user@localhost)
    #[argh(option, default = "String::from(\"user@localhost\")")]
    user: String,
    /// its password (default localserve)
    #[argh(option, default = "String::from(\"localserve\")")]
    password: String,
    /// what to fetch (default BODY.PEEK[])
    #[argh(option, default = "String::from(\"BODY.PEEK[]\")")]
    items: String,
    /// the mailbox
    #[argh(positional)]
    mailbox: String,
}

fn login(user: &str, password: &str) -> Login {
    Login { user: user.to_owned(), password: password.to_owned() }
}

pub fn run_select(scenario: &Select) -> Result<()> {
    let login = login(&scenario.user, &scenario.password);
    let mut client = Client::log_in(&scenario.target, Security::Tls, &login)?;
    client.imap("ENABLE QRESYNC")?;
    for mailbox in &scenario.mailboxes {
        println!("select: {mailbox}: the first: {:.3} ms", select_once(&mut client, mailbox)?);
    }
    let mailboxes: Vec<&str> = scenario.mailboxes.iter().map(String::as_str).collect();
    let opened = select_often(&mut client, &mailboxes, scenario.times, scenario.changes)?;
    for (mailbox, Opened { plain, resync }) in mailboxes.iter().zip(&opened) {
        println!("select: {mailbox}: {}", plain.describe());
        println!("select: {mailbox}: with QRESYNC and {} changes: {}", scenario.changes, resync.describe());
    }
    Ok(())
}

/// How long opening a mailbox takes.
pub struct Opened {
    /// By SELECT.
    pub plain: Latencies,
    /// By SELECT with QRESYNC.
    pub resync: Latencies,
}

/// Opens a mailbox once; in milliseconds.
pub fn select_once(client: &mut Client, mailbox: &str) -> Result<f64> {
    let begun = Instant::now();
    client.imap(&format!("SELECT {mailbox}"))?;
    Ok(begun.elapsed().as_secs_f64() * 1000.0)
}

/// Opens mailboxes again and again, after some flags were changed in each. QRESYNC has to be enabled.
pub fn select_often(
    client: &mut Client,
    mailboxes: &[&str],
    times: usize,
    changes: usize,
) -> Result<Vec<Opened>> {
    let mut opened: Vec<Opened> =
        mailboxes.iter().map(|_| Opened { plain: Latencies::new(), resync: Latencies::new() }).collect();
    let states: Vec<(String, String)> =
        mailboxes.iter().map(|mailbox| change_some(client, mailbox, changes)).collect::<Result<_>>()?;
    // In turn, so that whatever else the machine does falls on all alike.
    for _ in 0..times {
        for ((mailbox, opened), (validity, modseq)) in mailboxes.iter().zip(&mut opened).zip(&states) {
            let begun = Instant::now();
            client.imap(&format!("SELECT {mailbox}"))?;
            opened.plain.record(begun.elapsed());
            let begun = Instant::now();
            let (lines, _) = client.imap(&format!("SELECT {mailbox} (QRESYNC ({validity} {modseq}))"))?;
            opened.resync.record(begun.elapsed());
            ensure!(lines > changes, "{mailbox}: {lines} lines for {changes} changes");
        }
    }
    Ok(opened)
}

/// Changes the flags of the last messages, and says the mailbox's state before that.
fn change_some(client: &mut Client, mailbox: &str, changes: usize) -> Result<(String, String)> {
    client.send(format!("s STATUS {mailbox} (UIDVALIDITY HIGHESTMODSEQ MESSAGES)\r\n").as_bytes())?;
    let line = client.line()?.to_owned();
    let value = |name: &str| -> String {
        let rest = line.split_once(name).map_or("", |(_, rest)| rest.trim_start());
        rest.chars().take_while(char::is_ascii_digit).collect()
    };
    let (validity, modseq, messages) = (value("UIDVALIDITY"), value("HIGHESTMODSEQ"), value("MESSAGES"));
    client.line()?;
    client.imap(&format!("SELECT {mailbox}"))?;
    let messages: usize = messages.parse()?;
    let first = messages.saturating_sub(changes) + 1;
    client.imap(&format!("STORE {first}:* +FLAGS.SILENT ($Perf{})", std::process::id()))?;
    Ok((validity, modseq))
}

pub fn run_bodies(scenario: &Bodies) -> Result<()> {
    let login = login(&scenario.user, &scenario.password);
    let mut client = Client::log_in(&scenario.target, Security::Tls, &login)?;
    client.imap(&format!("EXAMINE {}", scenario.mailbox))?;
    let begun = Instant::now();
    let (lines, octets) = client.imap(&format!("FETCH 1:* ({})", scenario.items))?;
    let elapsed = begun.elapsed().as_secs_f64();
    println!(
        "fetch {}: {lines} lines, {octets} octets in {elapsed:.3} s: {:.0} rows/s, {:.1} MB/s",
        scenario.items,
        lines as f64 / elapsed,
        octets as f64 / elapsed / 1e6
    );
    Ok(())
}

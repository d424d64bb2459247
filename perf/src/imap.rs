//! What opening and reading mailboxes costs.

use std::time::Instant;

use anyhow::{Result, ensure};
use argh::FromArgs;

use crate::client::{Client, Security};
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

fn login(target: &str, user: &str, password: &str) -> Result<Client> {
    let mut client = Client::connect(target, Security::Tls)?;
    client.line()?;
    client.imap(&format!("LOGIN {user} {password}"))?;
    Ok(client)
}

pub fn run_select(scenario: &Select) -> Result<()> {
    let mut client = login(&scenario.target, &scenario.user, &scenario.password)?;
    client.imap("ENABLE QRESYNC")?;
    for mailbox in &scenario.mailboxes {
        let begun = Instant::now();
        client.imap(&format!("SELECT {mailbox}"))?;
        println!("select: {mailbox}: the first: {:.3} ms", begun.elapsed().as_secs_f64() * 1000.0);
    }
    let mut plain: Vec<Latencies> = scenario.mailboxes.iter().map(|_| Latencies::new()).collect();
    let mut resync: Vec<Latencies> = scenario.mailboxes.iter().map(|_| Latencies::new()).collect();
    let states: Vec<(String, String)> = scenario
        .mailboxes
        .iter()
        .map(|mailbox| change_some(&mut client, mailbox, scenario.changes))
        .collect::<Result<_>>()?;
    // In turn, so that whatever else the machine does falls on all alike.
    for _ in 0..scenario.times {
        for (at, mailbox) in scenario.mailboxes.iter().enumerate() {
            let begun = Instant::now();
            client.imap(&format!("SELECT {mailbox}"))?;
            plain[at].record(begun.elapsed());
            let (validity, modseq) = &states[at];
            let begun = Instant::now();
            let (lines, _) = client.imap(&format!("SELECT {mailbox} (QRESYNC ({validity} {modseq}))"))?;
            resync[at].record(begun.elapsed());
            ensure!(lines > scenario.changes, "{mailbox}: {lines} lines for {} changes", scenario.changes);
        }
    }
    for (at, mailbox) in scenario.mailboxes.iter().enumerate() {
        println!("select: {mailbox}: {}", plain[at].describe());
        println!(
            "select: {mailbox}: with QRESYNC and {} changes: {}",
            scenario.changes,
            resync[at].describe()
        );
    }
    Ok(())
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
    let mut client = login(&scenario.target, &scenario.user, &scenario.password)?;
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

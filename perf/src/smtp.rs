//! Durable delivery over SMTP: rate, latency of the acknowledgement, processor time and syncs a message.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use argh::FromArgs;

use crate::client::{Client, Security};
use crate::figures::Latencies;
use crate::{metrics, process};

/// Deliver messages over SMTP on many connections, one message after the other on each.
#[derive(FromArgs)]
#[argh(subcommand, name = "smtp")]
pub struct Smtp {
    /// where the server listens (default 127.0.0.1:1025)
    #[argh(option, default = "String::from(\"127.0.0.1:1025\")")]
    target: String,
    /// connections at the same time (default 64)
    #[argh(option, default = "64")]
    connections: usize,
    /// messages in all (default 20000)
    #[argh(option, default = "20_000")]
    messages: usize,
    /// octets of a message's body (default 10240)
    #[argh(option, default = "10_240")]
    size: usize,
    /// a recipient, with {{}} where a number goes (default user{{}}@localhost)
    #[argh(option, default = "String::from(\"user{}@localhost\")")]
    recipient: String,
    /// how many numbers the recipient's {{}} takes (default 16)
    #[argh(option, default = "16")]
    accounts: usize,
    /// the server's process, for its processor time, memory and writes; several with commas
    #[argh(option)]
    pid: Option<String>,
    /// where the server's metrics are, for the number of its syncs (such as 127.0.0.1:1081)
    #[argh(option)]
    metrics: Option<String>,
}

/// Messages that are to be delivered.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where the server listens.
    pub target: String,
    /// Connections at the same time.
    pub connections: usize,
    /// Messages in all.
    pub messages: usize,
    /// Octets of a message's body.
    pub size: usize,
    /// A recipient, with `{}` where a number goes.
    pub recipient: String,
    /// How many numbers the recipient's `{}` takes.
    pub accounts: usize,
}

/// What delivering came to.
pub struct Delivered {
    /// From the first octet to the last acknowledgement.
    pub seconds: f64,
    /// Each from MAIL to the acknowledgement.
    pub latencies: Latencies,
}

pub fn run(scenario: &Smtp) -> Result<()> {
    let pids: Vec<u32> = match &scenario.pid {
        Some(list) => {
            list.split(',').map(str::parse).collect::<Result<_, _>>().context("--pid takes numbers")?
        }
        None => Vec::new(),
    };
    let usage = || -> Result<(f64, u64)> {
        pids.iter().try_fold((0.0, 0), |(cpu, written), pid| {
            Ok((
                cpu + process::processor_time(*pid)?.as_secs_f64(),
                written + process::written_bytes(*pid).unwrap_or(0),
            ))
        })
    };
    let syncs =
        || scenario.metrics.as_deref().map(|address| metrics::value(address, metrics::SYNCS)).transpose();
    let load = Load {
        target: scenario.target.clone(),
        connections: scenario.connections,
        messages: scenario.messages,
        size: scenario.size,
        recipient: scenario.recipient.clone(),
        accounts: scenario.accounts,
    };
    let (before, syncs_before) = (usage()?, syncs()?);
    let Delivered { seconds, latencies } = deliver(&load)?;
    let (after, syncs_after) = (usage()?, syncs()?);

    let messages = scenario.messages as f64;
    print!(
        "smtp: {} messages of {} octets, {} connections, {} accounts: {:.0} messages/s, {}",
        scenario.messages,
        scenario.size,
        scenario.connections,
        scenario.accounts,
        messages / seconds,
        latencies.describe()
    );
    if !pids.is_empty() {
        print!(", {:.3} ms of CPU a message", (after.0 - before.0) * 1000.0 / messages);
        print!(
            ", {:.2} octets written an octet",
            (after.1 - before.1) as f64 / (messages * scenario.size as f64)
        );
        let (now, most) = pids.iter().try_fold((0, 0), |sum, pid| {
            process::resident_kib(*pid).map(|(now, most)| (sum.0 + now, sum.1 + most))
        })?;
        print!(", resident {} KiB (at most {} KiB)", now, most);
    }
    if let (Some(before), Some(after)) = (syncs_before, syncs_after) {
        print!(", {:.4} syncs a message", (after - before) / messages);
    }
    println!();
    Ok(())
}

/// Delivers all, each acknowledged before the next one on its connection.
pub fn deliver(load: &Load) -> Result<Delivered> {
    let next = AtomicUsize::new(0);
    let begun = Instant::now();
    let latencies = std::thread::scope(|scope| -> Result<Latencies> {
        let workers: Vec<_> =
            (0..load.connections).map(|_| scope.spawn(|| deliver_share(load, &next))).collect();
        let mut all = Latencies::new();
        for worker in workers {
            match worker.join() {
                Ok(latencies) => all.merge(&latencies?),
                Err(_) => bail!("a connection's thread panicked"),
            }
        }
        Ok(all)
    })?;
    Ok(Delivered { seconds: begun.elapsed().as_secs_f64(), latencies })
}

/// One connection's share of the messages.
fn deliver_share(load: &Load, next: &AtomicUsize) -> Result<Latencies> {
    let mut latencies = Latencies::new();
    let mut client = Client::connect(&load.target, Security::Plain)?;
    client.say_hello()?;
    let body = body(load.size);
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= load.messages {
            client.send(b"QUIT\r\n")?;
            return Ok(latencies);
        }
        let recipient = load.recipient.replace("{}", &(number % load.accounts).to_string());
        let begun = Instant::now();
        begin(&mut client, &recipient)?;
        let mut message = header(number, &recipient);
        message.extend_from_slice(&body);
        message.extend_from_slice(b".\r\n");
        client.send(&message)?;
        client.expect_reply("250")?;
        latencies.record(begun.elapsed());
    }
}

/// Sends the envelope and DATA, and reads up to the go-ahead.
pub fn begin(client: &mut Client, recipient: &str) -> Result<()> {
    client.send(format!("MAIL FROM:<sender@example.org>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n").as_bytes())?;
    client.expect_reply("250")?;
    client.expect_reply("250")?;
    client.expect_reply("354")
}

/// The header of a message, with the empty line.
pub fn header(number: usize, recipient: &str) -> Vec<u8> {
    format!(
        "From: Sender <sender@example.org>\r\nTo: <{recipient}>\r\nSubject: message {number}\r\n\
         Message-ID: <{number}.{}@example.org>\r\nDate: Mon, 2 Nov 2026 10:00:00 +0000\r\n\r\n",
        std::process::id()
    )
    .into_bytes()
}

/// Text that doesn't compress to nothing: lines of pseudo-random letters.
pub fn body(size: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut text = Vec::with_capacity(size + 80);
    while text.len() < size {
        for _ in 0..70 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            text.push(
                b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 +"
                    [(state >> 33) as usize % 64],
            );
        }
        text.extend_from_slice(b"\r\n");
    }
    text
}

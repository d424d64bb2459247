//! Durable delivery over SMTP: rate, latency of the acknowledgement, processor time and syncs a message.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use argh::FromArgs;

use crate::client::{Client, Security};
use crate::figures::Latencies;
use crate::process;

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
    let syncs = || {
        scenario.metrics.as_deref().map(|address| metric(address, "postrider_commit_syncs_total")).transpose()
    };

    let next = AtomicUsize::new(0);
    let (before, syncs_before, begun) = (usage()?, syncs()?, Instant::now());
    let latencies = std::thread::scope(|scope| -> Result<Latencies> {
        let workers: Vec<_> =
            (0..scenario.connections).map(|_| scope.spawn(|| deliver(scenario, &next))).collect();
        let mut all = Latencies::new();
        for worker in workers {
            match worker.join() {
                Ok(latencies) => all.merge(&latencies?),
                Err(_) => bail!("a connection's thread panicked"),
            }
        }
        Ok(all)
    })?;
    let elapsed = begun.elapsed().as_secs_f64();
    let (after, syncs_after) = (usage()?, syncs()?);

    let messages = scenario.messages as f64;
    print!(
        "smtp: {} messages of {} octets, {} connections, {} accounts: {:.0} messages/s, {}",
        scenario.messages,
        scenario.size,
        scenario.connections,
        scenario.accounts,
        messages / elapsed,
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

/// One connection's share of the messages.
fn deliver(scenario: &Smtp, next: &AtomicUsize) -> Result<Latencies> {
    let mut latencies = Latencies::new();
    let mut client = Client::connect(&scenario.target, Security::Plain)?;
    client.expect_reply("220")?;
    client.send(b"EHLO client.example\r\n")?;
    client.expect_reply("250")?;
    let body = body(scenario.size);
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= scenario.messages {
            client.send(b"QUIT\r\n")?;
            return Ok(latencies);
        }
        let recipient = scenario.recipient.replace("{}", &(number % scenario.accounts).to_string());
        let begun = Instant::now();
        client.send(
            format!("MAIL FROM:<sender@example.org>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n").as_bytes(),
        )?;
        client.expect_reply("250")?;
        client.expect_reply("250")?;
        client.expect_reply("354")?;
        let mut message = format!(
            "From: Sender <sender@example.org>\r\nTo: <{recipient}>\r\nSubject: message {number}\r\n\
             Message-ID: <{number}.{}@example.org>\r\nDate: Mon, 2 Nov 2026 10:00:00 +0000\r\n\r\n",
            std::process::id()
        )
        .into_bytes();
        message.extend_from_slice(&body);
        message.extend_from_slice(b".\r\n");
        client.send(&message)?;
        client.expect_reply("250")?;
        latencies.record(begun.elapsed());
    }
}

/// Text that doesn't compress to nothing: lines of pseudo-random letters.
fn body(size: usize) -> Vec<u8> {
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

/// The value of a metric without labels, from a Prometheus page.
fn metric(address: &str, name: &str) -> Result<f64> {
    let mut client = Client::connect(address, Security::Plain)?;
    client.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    while let Ok(line) = client.line() {
        if let Some(value) = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(' ')) {
            return value.parse().with_context(|| format!("{name} is {value:?}"));
        }
    }
    bail!("{address} has no metric {name}")
}

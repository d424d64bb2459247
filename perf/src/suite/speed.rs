//! Rates, latencies and processor time.

use anyhow::Result;

use super::Bench;
use super::server::{ACCOUNTS, DOMAIN, Server};
use crate::announce::{self, Places};
use crate::client::Security;
use crate::figures::{Latencies, short};
use crate::peer;
use crate::smtp::{self, Delivered, Load};
use crate::syncs::{self, Files};
use crate::table::Row;
use crate::{metrics, process};

/// The store that mail is delivered to.
const STORE: &str = "mail";
/// Messages before the first round: accounts get their mailboxes then.
const WARMING: usize = 500;
/// How often a single sync is measured before and after each round.
const SYNCS: usize = 200;

/// What rounds came to.
struct Rounds {
    rates: Vec<f64>,
    /// Messages a second with one file each.
    files: Vec<f64>,
    latencies: Latencies,
    one_sync: Latencies,
    cpu: f64,
    written: u64,
    syncs: f64,
    messages: f64,
}

/// Durable deliveries, each round beside one file a message.
pub fn durable(bench: &mut Bench) -> Result<()> {
    let rounds = measure(bench)?;
    let messages = bench.sizes.messages;
    let title = format!("{messages} durable messages to {ACCOUNTS} accounts");
    let rates: Vec<String> = rounds.rates.iter().map(|rate| format!("{rate:.0}")).collect();
    bench.row(Row::new(title, format!("{} messages/s", rates.join(", "))));
    let cpu = rounds.cpu * 1000.0 / rounds.messages;
    let row = Row::new("CPU a durable message", format!("{cpu:.3} ms"));
    bench.row(row.floor("under 0.5 ms", cpu < 0.5));
    let files: Vec<String> = rounds.files.iter().map(|rate| format!("{rate:.0}")).collect();
    bench.row(Row::new("beside: a file a message, both synced", format!("{} messages/s", files.join(", "))));
    // The middle one: the disk changes by the minute.
    let mut ratios: Vec<f64> =
        rounds.rates.iter().zip(&rounds.files).map(|(rate, files)| rate / files).collect();
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios[ratios.len() / 2];
    let row = Row::new("rate, of that with a file a message", format!("{ratio:.2} times"));
    bench.row(row.floor("8 times", ratio >= 8.0));
    bench.row(Row::new("acknowledgement, p50 / p99 / max", rounds.latencies.cell()));
    bench.row(Row::new("one fdatasync, p50 / p99 / max", rounds.one_sync.cell()));
    let times = rounds.latencies.milliseconds(0.99) / rounds.one_sync.milliseconds(0.5);
    let row = Row::new("p99 of the acknowledgement, of one fdatasync", format!("{times:.1} times"));
    bench.row(row.floor("under 20 times", times < 20.0));
    let syncs = rounds.syncs / rounds.messages;
    bench.row(Row::new("syncs a message", format!("{syncs:.4}")).floor("under 0.1", syncs < 0.1));
    let written = rounds.written as f64 / (rounds.messages * bench.sizes.body as f64);
    bench.row(Row::new("octets written for each of a body", format!("{written:.2}")));
    Ok(())
}

fn load(bench: &Bench, messages: usize) -> Load {
    Load {
        target: bench.setup.ports.smtp(),
        connections: bench.sizes.connections,
        messages,
        size: bench.sizes.body,
        recipient: format!("user{{}}@{DOMAIN}"),
        accounts: ACCOUNTS,
    }
}

fn measure(bench: &mut Bench) -> Result<Rounds> {
    let sizes = bench.sizes;
    let files = Files::new(bench.dir.clone(), sizes.connections, sizes.messages / 4, sizes.body);
    let (warming, load) = (load(bench, WARMING), load(bench, sizes.messages));
    let dir = bench.dir.clone();
    let server = bench.server(STORE)?;
    let (pid, metrics_at) = (server.pid(), server.ports().metrics());
    smtp::deliver(&warming)?;
    let mut rounds = Rounds {
        rates: Vec::new(),
        files: Vec::new(),
        latencies: Latencies::new(),
        one_sync: Latencies::new(),
        cpu: 0.0,
        written: 0,
        syncs: 0.0,
        messages: (sizes.rounds * sizes.messages) as f64,
    };
    for _ in 0..sizes.rounds {
        rounds.files.push(files.messages() as f64 / syncs::write_all(&files)?.seconds);
        rounds.one_sync.merge(&syncs::sync_often(&dir, SYNCS, sizes.body)?);
        let usage = || -> Result<(f64, u64, f64)> {
            Ok((
                process::processor_time(pid)?.as_secs_f64(),
                process::written_bytes(pid)?,
                metrics::value(&metrics_at, metrics::SYNCS)?,
            ))
        };
        let before = usage()?;
        let Delivered { seconds, latencies } = smtp::deliver(&load)?;
        let after = usage()?;
        rounds.rates.push(sizes.messages as f64 / seconds);
        rounds.latencies.merge(&latencies);
        rounds.cpu += after.0 - before.0;
        rounds.written += after.1 - before.1;
        rounds.syncs += after.2 - before.2;
        rounds.one_sync.merge(&syncs::sync_often(&dir, SYNCS, sizes.body)?);
    }
    Ok(rounds)
}

/// The same messages to the server and to Postfix with Dovecot, in turn.
pub fn peer(bench: &mut Bench) -> Result<()> {
    if let Some(missing) = peer::missing() {
        bench.row(Row::new("Postfix with Dovecot", missing));
        return Ok(());
    }
    let sizes = bench.sizes;
    let ours = load(bench, sizes.peer_messages);
    let port = bench.setup.ports.peer();
    let theirs = Load { target: format!("127.0.0.1:{port}"), ..ours.clone() };
    let warming = load(bench, WARMING);
    let dir = bench.dir.clone();
    let server = bench.server(STORE)?;
    let pid = server.pid();
    smtp::deliver(&warming)?;
    let (mut rates, mut cpu, mut peers) = (Vec::new(), 0.0, Vec::new());
    for _ in 0..sizes.rounds {
        let before = process::processor_time(pid)?;
        let delivered = smtp::deliver(&ours)?;
        cpu += (process::processor_time(pid)? - before).as_secs_f64();
        rates.push(sizes.peer_messages as f64 / delivered.seconds);
        peers.push(peer::measure(&theirs, port, Some(&dir))?);
    }
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
    let ours = (mean(rates), cpu * 1000.0 / (sizes.peer_messages * sizes.rounds) as f64);
    let theirs_cpu = mean(peers.iter().map(|peer| peer.cpu).collect());
    let delivered = mean(peers.iter().map(|peer| peer.delivered).collect());
    let accepted = mean(peers.iter().map(|peer| peer.accepted).collect());
    let mut latencies = Latencies::new();
    peers.iter().for_each(|peer| latencies.merge(&peer.latencies));
    let figure = format!(
        "{} ms of CPU a message, {accepted:.0} messages/s accepted, {delivered:.0} delivered",
        short(theirs_cpu)
    );
    bench.row(Row::new(peer::versions(), figure));
    bench.row(Row::new("their acknowledgement, p50 / p99 / max", latencies.cell()));
    let figure = format!("{} ms of CPU a message, {:.0} messages/s", short(ours.1), ours.0);
    bench.row(Row::new("this server in turn with them", figure));
    let cheaper = theirs_cpu / ours.1;
    let row = Row::new("CPU of theirs, of this server's", format!("{cheaper:.1} times"));
    bench.row(row.floor("aim: 20 times", cheaper >= 20.0));
    let faster = ours.0 / delivered;
    bench.row(Row::new("this server's rate, of theirs", format!("{faster:.1} times")));
    Ok(())
}

/// Messages to an account with many sessions in IDLE.
pub fn announce(bench: &mut Bench) -> Result<()> {
    let (sessions, messages) = bench.sizes.announced;
    let body = bench.sizes.body;
    let ports = bench.restart("announce")?.ports();
    let (smtp, imap, imaps, metrics) = (ports.smtp(), ports.imap(), ports.imaps(), ports.metrics());
    for (security, imap, how) in [(Security::Plain, &imap, ""), (Security::Tls, &imaps, " with TLS")] {
        let places = Places { smtp: &smtp, imap, metrics: &metrics };
        let announced = announce::measure(&places, security, &Server::login(0), sessions, messages, body)?;
        let title = format!("{sessions} sessions in IDLE{how} told of a message, p50 / p99 / max");
        let within = announced.beside_the_commit.milliseconds(0.5);
        let row = Row::new(format!("{title}, without the commit"), announced.beside_the_commit.cell());
        bench.row(row.floor("p50 under 5 ms", within < 5.0));
        bench.row(Row::new(format!("{title}, after the sender's reply"), announced.after_reply.cell()));
        bench.row(Row::new("the commits meanwhile, p50 / p99 / max", announced.commit.cell()));
    }
    Ok(())
}

//! How soon sessions in IDLE hear of a new message.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use argh::FromArgs;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;

use crate::client::{Client, Login, Security};
use crate::figures::Latencies;
use crate::idle::{self, Left};
use crate::{metrics, smtp};

/// How long all sessions may take to hear of a message.
const PATIENCE: Duration = Duration::from_secs(10);
/// The time of commits, summed up and counted.
const COMMITS: [&str; 2] =
    ["postrider_commit_duration_seconds_sum", "postrider_commit_duration_seconds_count"];

/// Deliver messages to an account with many sessions in IDLE, and see when the last one has been told.
#[derive(FromArgs)]
#[argh(subcommand, name = "idle-announce")]
pub struct IdleAnnounce {
    /// where SMTP is (default 127.0.0.1:1025)
    #[argh(option, default = "String::from(\"127.0.0.1:1025\")")]
    smtp: String,
    /// where IMAP is (default 127.0.0.1:1143, or :1993 with --tls)
    #[argh(option)]
    imap: Option<String>,
    /// where the metrics are (default 127.0.0.1:1081)
    #[argh(option, default = "String::from(\"127.0.0.1:1081\")")]
    metrics: String,
    /// connect to IMAP over TLS
    #[argh(switch)]
    tls: bool,
    /// sessions in IDLE (default 100)
    #[argh(option, default = "100")]
    sessions: usize,
    /// messages, one after the other (default 200)
    #[argh(option, default = "200")]
    messages: usize,
    /// octets of a message's body (default 10240)
    #[argh(option, default = "10_240")]
    size: usize,
    /// the account's address (default user@localhost)
    #[argh(option, default = "String::from(\"user@localhost\")")]
    user: String,
    /// its password (default localserve)
    #[argh(option, default = "String::from(\"localserve\")")]
    password: String,
}

/// Where the server is.
pub struct Places<'a> {
    /// SMTP.
    pub smtp: &'a str,
    /// IMAP.
    pub imap: &'a str,
    /// Metrics.
    pub metrics: &'a str,
}

/// When sessions heard of messages.
pub struct Announced {
    /// From the sender's last octet until all have been told.
    pub from_the_end: Latencies,
    /// The same without the commit's time. It still holds the transfer and the building of the
    /// transaction, so the delay after the commit is shorter.
    pub beside_the_commit: Latencies,
    /// From the sender's acknowledgement on; nothing when all had been told before it came.
    pub after_reply: Latencies,
    /// The commits.
    pub commit: Latencies,
}

pub fn run(scenario: &IdleAnnounce) -> Result<()> {
    let (security, default) =
        if scenario.tls { (Security::Tls, "127.0.0.1:1993") } else { (Security::Plain, "127.0.0.1:1143") };
    let places = Places {
        smtp: &scenario.smtp,
        imap: scenario.imap.as_deref().unwrap_or(default),
        metrics: &scenario.metrics,
    };
    let login = Login { user: scenario.user.clone(), password: scenario.password.clone() };
    let announced = measure(&places, security, &login, scenario.sessions, scenario.messages, scenario.size)?;
    println!("idle-announce: {} messages to {} sessions", scenario.messages, scenario.sessions);
    println!("  from the message's end: {}", announced.from_the_end.describe());
    println!("  the same without the commit: {}", announced.beside_the_commit.describe());
    println!("  after the sender's reply: {}", announced.after_reply.describe());
    println!("  the commits: {}", announced.commit.describe());
    Ok(())
}

/// Delivers messages one after the other, and waits each time until all sessions have been told.
pub fn measure(
    places: &Places<'_>,
    security: Security,
    login: &Login,
    sessions: usize,
    messages: usize,
    size: usize,
) -> Result<Announced> {
    let mut idle = (0..sessions)
        .map(|_| idle::open(places.imap, security, login, Left::InIdle))
        .collect::<Result<Vec<_>>>()?;
    let mut sender = Client::connect(places.smtp, Security::Plain)?;
    sender.say_hello()?;
    let body = smtp::body(size);
    let mut announced = Announced {
        from_the_end: Latencies::new(),
        beside_the_commit: Latencies::new(),
        after_reply: Latencies::new(),
        commit: Latencies::new(),
    };
    for number in 0..messages {
        let [sum_before, count_before] = metrics::values(places.metrics, COMMITS)?;
        smtp::begin(&mut sender, &login.user)?;
        let mut message = smtp::header(number, &login.user);
        message.extend_from_slice(&body);
        message.extend_from_slice(b".\r\n");
        sender.send(&message)?;
        let sent = Instant::now();
        let times = wait_for_all(&mut sender, &mut idle)?;
        let [sum, count] = metrics::values(places.metrics, COMMITS)?;
        ensure!(count > count_before, "a message was acknowledged without a commit");
        // Should another commit have come by, it is taken for a part of this one's time only by its share.
        let commit = Duration::from_secs_f64((sum - sum_before).max(0.0) / (count - count_before));
        let from_the_end = times.told - sent;
        announced.from_the_end.record(from_the_end);
        announced.beside_the_commit.record(from_the_end.saturating_sub(commit));
        announced.after_reply.record(times.told.saturating_duration_since(times.replied));
        announced.commit.record(commit);
    }
    Ok(announced)
}

struct Times {
    /// When the sender was answered.
    replied: Instant,
    /// When the last session was told.
    told: Instant,
}

/// Reads from all at once until the sender has its reply and each session its EXISTS.
fn wait_for_all(sender: &mut Client, idle: &mut [Client]) -> Result<Times> {
    let begun = Instant::now();
    let mut replied = None;
    let mut told = None;
    let mut waiting: Vec<usize> = (0..idle.len()).collect();
    while replied.is_none() || !waiting.is_empty() {
        let ready = ready(sender, idle, &waiting, begun)?;
        if ready.first() == Some(&true) && replied.is_none() {
            sender.expect_reply("250")?;
            replied = Some(Instant::now());
        }
        let mut left = Vec::with_capacity(waiting.len());
        for (at, is_ready) in waiting.iter().zip(ready.iter().skip(1)) {
            if *is_ready && is_told(&mut idle[*at])? {
                told = Some(Instant::now());
            } else {
                left.push(*at);
            }
        }
        waiting = left;
    }
    let now = Instant::now();
    Ok(Times { replied: replied.unwrap_or(now), told: told.unwrap_or(now) })
}

/// Waits until there is something to read: from the sender, and from those that wait.
fn ready(sender: &Client, idle: &[Client], waiting: &[usize], begun: Instant) -> Result<Vec<bool>> {
    let clients = std::iter::once(sender).chain(waiting.iter().map(|at| &idle[*at]));
    let mut polled: Vec<PollFd<'_>> = clients.map(|client| PollFd::new(client, PollFlags::IN)).collect();
    let left = PATIENCE.saturating_sub(begun.elapsed());
    if left.is_zero() {
        bail!("{} sessions were not told of a message within {PATIENCE:?}", waiting.len());
    }
    let timeout = Timespec::try_from(left).context("a time to wait")?;
    poll(&mut polled, Some(&timeout))?;
    Ok(polled.iter().map(|fd| !fd.revents().is_empty()).collect())
}

/// Reads what has come; whether EXISTS was in it.
fn is_told(client: &mut Client) -> Result<bool> {
    let mut told = false;
    loop {
        let line = client.line()?;
        told |= line.starts_with("* ") && line.ends_with(" EXISTS");
        if !client.has_more() {
            return Ok(told);
        }
    }
}

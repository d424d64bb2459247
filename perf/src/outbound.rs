//! Mail that leaves: submitted over many connections and delivered to `smtp-sink`, by our server and by Postfix in one run;
//! and what a queue takes of memory.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use argh::FromArgs;

use crate::client::{Client, Login, Security};
use crate::figures::Latencies;
use crate::peer::{self, Daemon, postfix};
use crate::suite::server::{ACCOUNTS, DOMAIN, PASSWORD, Ports, Server, Setup};
use crate::{metrics, process, smtp};

/// Debian's program that takes messages and throws them away.
const SINK: &str = "/usr/sbin/smtp-sink";
/// Domains that messages go to.
const DOMAINS: usize = 16;
/// Messages before measuring: the first ones start processes.
const WARMING: usize = 256;
/// The time that they have to arrive.
const WARM_AFTER: Duration = Duration::from_secs(5);
/// How long the last message may take from its acknowledgement to the sink.
const DRAIN_MAX: Duration = Duration::from_secs(600);
/// How long a server may take to start.
const START_MAX: Duration = Duration::from_secs(30);
/// How often it is looked whether something happened.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Recipients of a message that fills the queue, each in a domain of its own.
const RECIPIENTS: usize = 100;
/// Domains of a full queue.
const QUEUE_DOMAINS: usize = 100_000;
/// How long a server with a full queue is left alone before its memory is read.
const REST: Duration = Duration::from_secs(10);

/// Submit messages that are delivered to smtp-sink, to our server and to Postfix in turn. Needs root, for Postfix.
#[derive(FromArgs)]
#[argh(subcommand, name = "outbound")]
pub struct Outbound {
    /// messages in all (default 20000)
    #[argh(option, default = "20_000")]
    messages: usize,
    /// connections at the same time (default 16)
    #[argh(option, default = "16")]
    connections: usize,
    /// octets of a message's body (default 10240)
    #[argh(option, default = "10_240")]
    size: usize,
    /// connections that each server may have to the sink (default: what it has by itself, which is 20 for both)
    #[argh(option)]
    to_sink: Option<u16>,
    /// threads of our server that serve connections (default 2)
    #[argh(option, default = "2")]
    shards: usize,
    /// instead of all that: see what so many queued entries take of memory
    #[argh(option)]
    queued: Option<usize>,
    /// the server's program (default: postrider beside this program)
    #[argh(option)]
    binary: Option<PathBuf>,
    /// the first of the ports of loopback (default 17060)
    #[argh(option, default = "17_060")]
    port: u16,
    /// an existing directory, on the disk to measure (default: the system's for temporary files)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// What came of one server.
struct Measured {
    /// Seconds until the last message was acknowledged, and until it was at the sink.
    accepted: f64,
    delivered: f64,
    latencies: Latencies,
    /// Milliseconds of processor time a message, of the server alone.
    cpu: f64,
    /// The same of `smtp-sink`, and of this program: they share the machine with the server.
    sink: f64,
    driver: f64,
}

pub fn run(scenario: &Outbound) -> Result<()> {
    let binary = match &scenario.binary {
        Some(binary) => binary.clone(),
        None => std::env::current_exe()?.with_file_name("postrider"),
    };
    let dir = match &scenario.dir {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    }
    .context("a directory for the servers")?;
    // Postfix runs as several users.
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let setup = Setup { binary, ports: Ports::from(scenario.port), shards: scenario.shards };
    if let Some(entries) = scenario.queued {
        return fill(&setup, dir.path(), entries);
    }
    ensure!(Path::new(SINK).exists(), "{SINK} isn't there; it is in the package postfix");
    let ours = of_ours(scenario, &setup, dir.path())?;
    print("postrider", scenario, &ours);
    if let Some(missing) = peer::missing() {
        println!("outbound: Postfix: {missing}");
        return Ok(());
    }
    let other = of_postfix(scenario, &setup, dir.path())?;
    print(&format!("Postfix {}", postfix::version()), scenario, &other);
    println!("outbound: {:.1} times Postfix's rate", other.delivered / ours.delivered);
    Ok(())
}

fn print(who: &str, scenario: &Outbound, measured: &Measured) {
    let messages = scenario.messages as f64;
    println!(
        "outbound: {who}: {} messages of {} octets, {} connections: {:.0} messages/s accepted, {:.0} messages/s delivered, \
         {}, {:.3} ms of CPU a message (smtp-sink {:.3}, the driver {:.3})",
        scenario.messages,
        scenario.size,
        scenario.connections,
        messages / measured.accepted,
        messages / measured.delivered,
        measured.latencies.describe(),
        measured.cpu,
        measured.sink,
        measured.driver
    );
}

fn of_ours(scenario: &Outbound, setup: &Setup, dir: &Path) -> Result<Measured> {
    let server = Server::start_with(setup, &dir.join("ours"), &config(setup, scenario.to_sink))?;
    let login = |number: usize| {
        let user = format!("user{}@{DOMAIN}", number % ACCOUNTS);
        Some(Login { user, password: PASSWORD.to_owned() })
    };
    let time = || process::processor_time(server.pid());
    let measured = deliver(scenario, setup, &setup.ports.submission(), login, time)?;
    let (now, most) = process::resident_kib(server.pid())?;
    println!("outbound: postrider: resident {now} KiB (at most {most} KiB)");
    server.stop()?;
    Ok(measured)
}

fn of_postfix(scenario: &Outbound, setup: &Setup, dir: &Path) -> Result<Measured> {
    let own = dir.join("postfix");
    std::fs::create_dir(&own)?;
    let port = setup.ports.peer();
    let next = postfix::Next::Relay { port: setup.ports.sink(), connections: scenario.to_sink };
    let started = postfix::start(&own, port, DOMAIN, &next)?;
    let daemon = Daemon::new("postfix", started);
    let pid = daemon.pid();
    let measured =
        wait(START_MAX, "Postfix doesn't start", || Client::connect(&address(port), Security::Tls).is_ok())
            .and_then(|()| deliver(scenario, setup, &address(port), |_| None, || process::tree_time(pid)));
    daemon.end(|| postfix::stop(&own))?;
    measured
}

/// What our server needs besides: submission, and a way to the sink, with so many connections when that is said.
fn config(setup: &Setup, to_sink: Option<u16>) -> String {
    let delivery = to_sink.map(|most| format!("\n[delivery]\nconnections_to_a_host = {most}\n"));
    let delivery = delivery.unwrap_or_default();
    format!(
        "{delivery}\n[accounts]\nrecipients_per_day = 4294967295\nfirst_time_recipients_per_day = 4294967295\n\n\
         [[listener]]\nname = \"submissions\"\nprotocol = \"submissions\"\naddresses = [\"{}\"]\n\n\
         [[transport]]\nname = \"sink\"\nkind = \"smtp\"\nhost = \"127.0.0.1\"\nport = {}\ntls = \"off\"\n\n\
         [[route]]\ntransport = \"sink\"\n",
        setup.ports.submission(),
        setup.ports.sink()
    )
}

/// Submits all and waits until the sink has them.
fn deliver(
    scenario: &Outbound,
    setup: &Setup,
    target: &str,
    login: impl Fn(usize) -> Option<Login> + Sync,
    time: impl Fn() -> Result<Duration>,
) -> Result<Measured> {
    // One for both, since a sink that ends would be a host that broke off, and left alone for a while.
    let mut sink = Sink::start(setup.ports.sink(), WARMING + scenario.messages)?;
    submit(scenario, WARMING, target, &login)?;
    std::thread::sleep(WARM_AFTER);
    let driver = || process::processor_time(std::process::id());
    let (before, before_sink, before_driver, begun) =
        (time()?, process::processor_time(sink.0.id())?, driver()?, Instant::now());
    let latencies = submit(scenario, scenario.messages, target, &login)?;
    let accepted = begun.elapsed().as_secs_f64();
    let after_sink = sink.wait()?;
    let delivered = begun.elapsed().as_secs_f64();
    let each = |before: Duration, after: Duration| {
        after.saturating_sub(before).as_secs_f64() * 1000.0 / scenario.messages as f64
    };
    let (cpu, sink, driver) =
        (each(before, time()?), each(before_sink, after_sink), each(before_driver, driver()?));
    Ok(Measured { accepted, delivered, latencies, cpu, sink, driver })
}

/// A running `smtp-sink`, which ends when it has its messages.
struct Sink(Child);

impl Sink {
    fn start(port: u16, messages: usize) -> Result<Self> {
        let mut command = Command::new(SINK);
        command.args(["-4", "-M", &messages.to_string()]);
        if rustix::process::geteuid().is_root() {
            command.args(["-u", "nobody"]);
        }
        command.arg(address(port)).arg("1000");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("smtp-sink")?;
        let sink = Self(child);
        wait(START_MAX, "smtp-sink doesn't listen", || std::net::TcpStream::connect(address(port)).is_ok())?;
        Ok(sink)
    }

    /// Waits until it has all, and says how much processor time it used, as it was seen last.
    fn wait(&mut self) -> Result<Duration> {
        let mut used = Duration::ZERO;
        wait(DRAIN_MAX, "messages are missing at smtp-sink", || {
            used = process::processor_time(self.0.id()).unwrap_or(used);
            matches!(self.0.try_wait(), Ok(Some(_)))
        })?;
        Ok(used)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // It has ended, unless something failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

fn wait(most: Duration, complaint: &str, mut ready: impl FnMut() -> bool) -> Result<()> {
    let begun = Instant::now();
    while !ready() {
        ensure!(begun.elapsed() < most, "{complaint}");
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// Submits messages, each acknowledged before the next one on its connection.
fn submit(
    scenario: &Outbound,
    messages: usize,
    target: &str,
    login: &(impl Fn(usize) -> Option<Login> + Sync),
) -> Result<Latencies> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..scenario.connections)
            .map(|number| {
                let next = &next;
                scope.spawn(move || share(scenario.size, messages, target, login(number), next))
            })
            .collect();
        let mut all = Latencies::new();
        for worker in workers {
            match worker.join() {
                Ok(latencies) => all.merge(&latencies?),
                Err(_) => bail!("a connection's thread panicked"),
            }
        }
        Ok(all)
    })
}

/// One connection's share.
fn share(
    size: usize,
    messages: usize,
    target: &str,
    login: Option<Login>,
    next: &AtomicUsize,
) -> Result<Latencies> {
    let sender = login.as_ref().map_or_else(|| format!("user0@{DOMAIN}"), |login| login.user.clone());
    let mut client = connect(target, login.as_ref())?;
    let (mut latencies, body) = (Latencies::new(), smtp::body(size));
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= messages {
            client.send(b"QUIT\r\n")?;
            return Ok(latencies);
        }
        let recipient = format!("someone{number}@d{}.example", number % DOMAINS);
        let begun = Instant::now();
        client.send(format!("MAIL FROM:<{sender}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n").as_bytes())?;
        client.expect_reply("250")?;
        client.expect_reply("250")?;
        client.expect_reply("354")?;
        let mut message = header(&sender, number);
        message.extend_from_slice(&body);
        message.extend_from_slice(b".\r\n");
        client.send(&message)?;
        client.expect_reply("250")?;
        latencies.record(begun.elapsed());
    }
}

fn connect(target: &str, login: Option<&Login>) -> Result<Client> {
    let mut client = Client::connect(target, Security::Tls)?;
    client.say_hello()?;
    if let Some(login) = login {
        client.log_in_to_submit(login)?;
    }
    Ok(client)
}

fn header(sender: &str, number: usize) -> Vec<u8> {
    format!(
        "From: <{sender}>\r\nTo: <someone@d.example>\r\nSubject: message {number}\r\n\
         Message-ID: <{number}.{}@{DOMAIN}>\r\nDate: Mon, 2 Nov 2026 10:00:00 +0000\r\n\r\n",
        std::process::id()
    )
    .into_bytes()
}

/// Fills a queue with entries that wait for a day, starts the server anew, and reads its memory.
fn fill(setup: &Setup, dir: &Path, entries: usize) -> Result<()> {
    let (own, more) = (dir.join("ours"), config(setup, None));
    let server = Server::start_with(setup, &own, &more)?;
    let login = Login { user: format!("user0@{DOMAIN}"), password: PASSWORD.to_owned() };
    let mut client = connect(&setup.ports.submission(), Some(&login))?;
    let begun = Instant::now();
    for number in 0..entries.div_ceil(RECIPIENTS) {
        let mut commands = format!("MAIL FROM:<{}> HOLDFOR=86400\r\n", login.user);
        for place in 0..RECIPIENTS {
            let domain = (number * RECIPIENTS + place) % QUEUE_DOMAINS;
            commands += &format!("RCPT TO:<someone{number}@d{domain}.example>\r\n");
        }
        client.send((commands + "DATA\r\n").as_bytes())?;
        for _ in 0..=RECIPIENTS {
            client.expect_reply("250")?;
        }
        client.expect_reply("354")?;
        let mut message = header(&login.user, number);
        message.extend_from_slice(b"It waits.\r\n.\r\n");
        client.send(&message)?;
        client.expect_reply("250")?;
    }
    let (_, most) = process::resident_kib(server.pid())?;
    println!(
        "outbound: {entries} entries queued in {:.1} s, resident at most {most} KiB",
        begun.elapsed().as_secs_f64()
    );
    server.stop()?;
    let server = Server::start_with(setup, &own, &more)?;
    let started = server.started_in;
    std::thread::sleep(REST);
    let waiting = metrics::value(&setup.ports.metrics(), "postrider_queue_entries")?;
    let (now, most) = process::resident_kib(server.pid())?;
    println!(
        "outbound: with {waiting} entries waiting: started in {:.2} s, resident {now} KiB (at most {most} KiB)",
        started.as_secs_f64()
    );
    server.stop()
}

//! Clients that hold connections, dawdle, or come in floods: rows A16 and A17 of docs/threats.md.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::crash::{Imap, Server, Smtp, Token};
use crate::localserve::{USER, port};

/// Connections that say nothing, and the ports they go to.
const SILENT: usize = 10_000;
const SILENT_PORTS: [u16; 4] = [port::SMTP, port::SUBMISSIONS, port::IMAP, port::IMAPS];
/// Fewer would not show it. Both processes need a descriptor for each.
const SILENT_MIN: usize = 1_000;
/// Descriptors that this process and the server need besides.
const FILES_BESIDES: u64 = 1_500;
/// The server's limits in these tests, in seconds: for one read, and for the content of a message.
const IDLE: u64 = 15;
const MESSAGE: u64 = 20;
/// What a closed connection may take beyond its time: the wait for the peer's end, and a busy machine. Without those
/// limits it would be minutes.
const CLOSING_MAX: Duration = Duration::from_secs(60);
/// How long a client that behaves may wait while others don't, in half of all cases: less than [`IDLE`], so it doesn't
/// wait for the others' end, and more than a busy machine needs.
const SERVICE_MAX: Duration = Duration::from_secs(10);
/// The longest that a command of an operator may take meanwhile.
const COMMAND_MAX: Duration = Duration::from_secs(60);
/// How long a flood lasts at least, and at most until it had its effect; how many connections it holds, and how many it
/// opens in a second.
const FLOOD: Duration = Duration::from_secs(6);
const FLOOD_MAX: Duration = Duration::from_secs(120);
const FLOOD_HELD: usize = 600;
const FLOOD_PER_SECOND: u64 = 400;
/// How long the server may take to serve new connections after a flood.
const RECOVERY_MAX: Duration = Duration::from_secs(60);

/// A server with short times, whose account is that of a local instance, which ran before.
pub(super) fn serve(binary: &Path, dir: &Path, user: Option<&str>) -> Result<Server> {
    let mut server = Server::new(binary, dir);
    server.start()?;
    server.stop()?;
    let user = user.map(|user| format!("user = \"{user}\"\n")).unwrap_or_default();
    let mut config = format!(
        "hostname = \"mail.example.org\"\ndata_dir = \"data\"\nshards = 2\n{user}\
         [tls]\nself_signed = true\n\
         [admission]\nunlimited = [\"127.0.0.0/8\"]\n\
         [storage]\nmin_free_space = \"16 MiB\"\n\
         [checks]\nenabled = false\n\
         [limits]\ntls_handshake_time = \"{IDLE}s\"\n\
         [limits.smtp]\nidle_time = \"{IDLE}s\"\nmessage_time = \"{MESSAGE}s\"\nfirst_time_sender_delay = \"0s\"\n\
         [limits.imap]\nunauthenticated_idle_time = \"{IDLE}s\"\n"
    );
    for (protocol, port) in [
        ("smtp", port::SMTP),
        ("submission", port::SUBMISSION),
        ("submissions", port::SUBMISSIONS),
        ("imap", port::IMAP),
        ("imaps", port::IMAPS),
        ("metrics", port::METRICS),
    ] {
        config.push_str(&format!(
            "[[listener]]\nname = \"{protocol}\"\nprotocol = \"{protocol}\"\naddresses = [\"127.0.0.1:{port}\"]\n"
        ));
    }
    let path = dir.join("postrider.toml");
    fs::write(&path, config)?;
    server.set_config(path);
    Ok(server)
}

/// What the process has used of the processors.
fn processor_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Behind the name, which may hold anything, the 14th and 15th field: hundredths of a second.
    let rest = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 =
        rest.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 10))
}

/// What a piece of work took of the processors, as a part of one of them.
fn processor_share(pid: u32, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let (before, begun) = (processor_time(pid)?, Instant::now());
    work()?;
    Ok((processor_time(pid)? - before).as_secs_f64() / begun.elapsed().as_secs_f64())
}

/// A metric's value, all its labels together.
fn metric(name: &str) -> Result<f64> {
    let mut stream = dial(port::METRICS)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let lines = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
    Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}

fn dial(port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).with_context(|| format!("connecting to {port}"))?;
    stream.set_read_timeout(Some(CLOSING_MAX))?;
    stream.set_write_timeout(Some(CLOSING_MAX))?;
    Ok(stream)
}

/// Reads to the end, which has to come by `until`; what was read.
fn to_the_end(stream: &mut TcpStream, until: Instant) -> Result<Vec<u8>> {
    let mut octets = Vec::new();
    let mut piece = [0; 512];
    loop {
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut piece) {
            Ok(0) => return Ok(octets),
            Ok(count) => octets.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(octets),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                bail!("still open after its time; it said {:?}", String::from_utf8_lossy(&octets));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The middle one: what a busy machine does to some doesn't count.
pub(super) fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or(Duration::MAX)
}

/// Delivers and reads as others do, from new connections; how long it took.
pub(super) fn is_served(number: u64) -> Result<Duration> {
    let begun = Instant::now();
    let reply = Smtp::connect()?.deliver(USER, &Token::new(1, 7, number).content())?;
    ensure!(reply.starts_with("250"), "{reply}");
    let mut imap = Imap::login()?;
    imap.done("SELECT Inbox")?;
    imap.done("FETCH * BODY.PEEK[]")?;
    Ok(begun.elapsed())
}

/// Sends `first` and then an octet each half a second until the server ends it; what it said, and when.
fn dawdle(first: &str, octet: u8) -> Result<(String, Duration)> {
    let mut stream = dial(port::SMTP)?;
    stream.write_all(first.as_bytes())?;
    let begun = Instant::now();
    let mut said = Vec::new();
    let mut piece = [0; 512];
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    while begun.elapsed() < Duration::from_secs(MESSAGE) + CLOSING_MAX {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => said.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if stream.write_all(&[octet]).is_err() {
                    break;
                }
            }
            Err(_) => break,
        }
    }
    Ok((String::from_utf8_lossy(&said).into_owned(), begun.elapsed()))
}

/// Raises this process's limit of open files; how many silent connections that allows.
fn connections_possible() -> usize {
    let hard = getrlimit(Resource::Nofile).maximum;
    // Where it can't be raised, fewer connections are held.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard });
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(files.saturating_sub(FILES_BESIDES)).unwrap_or(usize::MAX).min(SILENT)
}

/// Row A16: 10,000 connections that say nothing, and some that send an octet now and then. Others are served
/// meanwhile, and each of them is ended in its time.
pub fn slow_and_half_open_clients(binary: &Path) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut server = serve(binary, &dir.path().canonicalize()?, None)?;
    server.start()?;
    let result = slow_and_half_open_steps(&server);
    result.with_context(|| format!("the end of the server's log:\n{}", server.log()))?;
    server.stop()?;
    server.verify(&server.data())
}

fn slow_and_half_open_steps(server: &Server) -> Result<()> {
    let count = connections_possible();
    ensure!(count >= SILENT_MIN, "the limit of open files allows {count} connections only: ulimit -Hn");
    let envelope = format!("EHLO slow.example\r\nMAIL FROM:<>\r\nRCPT TO:<{USER}>\r\nDATA\r\n");
    thread::scope(|scope| {
        let command = scope.spawn(|| dawdle("", b'N'));
        let content = scope.spawn(|| dawdle(&envelope, b'x'));
        let mut silent = Vec::with_capacity(count);
        for number in 0..count {
            silent.push(dial(SILENT_PORTS[number % SILENT_PORTS.len()])?);
        }
        let opened = Instant::now();
        let mut times = Vec::new();
        let share = processor_share(server.pid()?, || {
            while opened.elapsed() < Duration::from_secs(2) {
                times.push(is_served(times.len() as u64 + 1)?);
                thread::sleep(Duration::from_millis(50));
            }
            Ok(())
        })?;
        let held = metric("postrider_connections_open")?;
        let (served, middle) = (times.len() as u64, median(&mut times));
        ensure!(middle < SERVICE_MAX, "clients that behave waited {times:?}");
        let until = opened + Duration::from_secs(IDLE) + CLOSING_MAX;
        for (number, stream) in silent.iter_mut().enumerate() {
            let port = SILENT_PORTS[number % SILENT_PORTS.len()];
            let said = to_the_end(stream, until).with_context(|| format!("a silent client of {port}"))?;
            let said = String::from_utf8_lossy(&said);
            match port {
                port::SMTP => ensure!(said.contains("421 4.4.2"), "SMTP said {said:?}"),
                port::IMAP => ensure!(said.contains("* BYE "), "IMAP said {said:?}"),
                _ => {}
            }
        }
        for (who, dawdling) in [("a command", command), ("a message", content)] {
            let Ok(outcome) = dawdling.join() else { bail!("the thread that sent {who} died") };
            let (said, time) = outcome?;
            ensure!(said.contains("\r\n421 "), "{who}, octet by octet: {said:?}");
            let limit = Duration::from_secs(MESSAGE) + CLOSING_MAX;
            ensure!(time < limit, "{who}, octet by octet, was ended after {time:?}");
        }
        eprint!(
            "{count} silent ({held} open at once), {served} served meanwhile, half of them within {middle:?}, \
             {:.0} % of a processor ... ",
            share * 100.0
        );
        is_served(served + 1).map(drop)
    })
}

/// Row A17: a flood that uses up all descriptors. The server neither spins nor fails those that it serves, obeys who
/// operates it, and takes new connections when there are descriptors again.
pub fn without_descriptors(binary: &Path) -> Result<()> {
    connections_possible();
    let dir = tempfile::tempdir()?;
    let mut server = serve(binary, &dir.path().canonicalize()?, None)?;
    server.start()?;
    // Who was served has seen all of it.
    is_served(0)?;
    let needs = files_when_settled(&server)?;
    server.stop()?;
    // With the first one the server's own cap is met before the descriptors are used up, with the second not:
    // it lets half of them be connections.
    for files in [256.max(3 * needs), needs + needs / 2] {
        server.set_files_max(files);
        server.start()?;
        let result = without_descriptors_steps(&server, files);
        result.with_context(|| format!("{files} files. The end of the server's log:\n{}", server.log()))?;
        server.stop()?;
        server.verify(&server.data())?;
    }
    Ok(())
}

/// The descriptors that the server has open when nothing is asked of it: it listens before all of its shards
/// have theirs.
fn files_when_settled(server: &Server) -> Result<u64> {
    let mut counts = [0; 10];
    for _ in 0..200 {
        counts.rotate_left(1);
        counts[9] = fs::read_dir(format!("/proc/{}/fd", server.pid()?))?.count() as u64;
        if counts.iter().all(|count| *count == counts[9]) {
            return Ok(counts[9]);
        }
        thread::sleep(Duration::from_millis(50));
    }
    bail!("the server's open files didn't settle: {counts:?}")
}

fn without_descriptors_steps(server: &Server, files: u64) -> Result<()> {
    let (mut smtp, mut imap) = (Smtp::connect()?, Imap::login()?);
    imap.done("SELECT Inbox")?;
    let (over, opened, commands) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let mut times = Vec::new();
    let pid = server.pid()?;
    let share = thread::scope(|scope| {
        scope.spawn(|| flood(&over, &opened));
        let operator = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                server.status_within(COMMAND_MAX).context("during the flood")?;
                commands.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(100));
            }
            anyhow::Ok(())
        });
        let share = processor_share(pid, || {
            let begun = Instant::now();
            // All descriptors have to be used up, and a command to be given, however busy the machine is.
            let lacks = || opened.load(Ordering::Relaxed) <= files || commands.load(Ordering::Relaxed) == 0;
            while begun.elapsed() < FLOOD || (lacks() && begun.elapsed() < FLOOD_MAX) {
                let asked = Instant::now();
                let reply = smtp.deliver(USER, &Token::new(2, 7, times.len() as u64).content())?;
                ensure!(reply.starts_with("250"), "a client from before the flood got {reply}");
                imap.done("FETCH * BODY.PEEK[]")?;
                times.push(asked.elapsed());
                thread::sleep(Duration::from_millis(100));
            }
            Ok(())
        });
        over.store(true, Ordering::Relaxed);
        let Ok(obeyed) = operator.join() else { bail!("the thread that gave commands died") };
        obeyed?;
        share
    })?;
    let commands = commands.load(Ordering::Relaxed);
    ensure!(commands > 0, "no command was obeyed during the flood");
    let opened = opened.load(Ordering::Relaxed);
    ensure!(opened > files, "the flood had {opened} connections only");
    let (served, middle) = (times.len() as u64, median(&mut times));
    ensure!(middle < SERVICE_MAX, "a client from before the flood waited {times:?}");
    ensure!(share < 0.5, "the flood took {:.0} % of a processor", share * 100.0);
    let ended = Instant::now();
    while let Err(error) = is_served(served) {
        ensure!(ended.elapsed() < RECOVERY_MAX, "no service after the flood: {error:#}");
        thread::sleep(Duration::from_millis(50));
    }
    eprint!(
        "{files} files, {opened} connections, {served} served and {commands} commands meanwhile, half of them within {middle:?}, \
         {:.0} % of a processor ... ",
        share * 100.0
    );
    Ok(())
}

/// Opens connections and says nothing, until it is over; those that it holds it closes then.
fn flood(over: &AtomicBool, opened: &AtomicU64) {
    let mut held = Vec::new();
    let begun = Instant::now();
    while !over.load(Ordering::Relaxed) {
        let number = opened.load(Ordering::Relaxed);
        if number as f64 > begun.elapsed().as_secs_f64() * FLOOD_PER_SECOND as f64 {
            thread::sleep(Duration::from_millis(2));
            continue;
        }
        if held.len() >= FLOOD_HELD {
            held.swap_remove(usize::try_from(number).unwrap_or(0) % FLOOD_HELD);
        }
        let address = SocketAddr::from(([127, 0, 0, 1], SILENT_PORTS[held.len() % SILENT_PORTS.len()]));
        // The backlog of the server may be full.
        if let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            opened.fetch_add(1, Ordering::Relaxed);
            held.push(stream);
        }
    }
}

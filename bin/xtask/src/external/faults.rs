//! A full disk, a sync that fails, and short crash runs.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::load::median;
use crate::crash::{self, Cut, Imap, Names, Plan, Server, Smtp, Token, compile_shim, contents};
use crate::localserve::USER;

/// Octets of the small disk at first, and after it got more room. The server refuses mail when less than 64 MiB
/// are free.
const DISK_OCTETS: [u64; 2] = [160 << 20, 400 << 20];
/// Below this, the disk is filled slowly, so that the server, which looks each second, sees it in time.
const SLOW_BELOW_OCTETS: u64 = 80 << 20;
/// Messages that are more than enough to fill the disk.
const FILLING_MAX: u64 = 20_000;
/// How long the server may take to notice that there is room, or none.
const NOTICE_MAX: Duration = Duration::from_secs(120);
/// How long nothing may be acknowledged after a failed sync.
const SILENCE: Duration = Duration::from_secs(4);
/// Rounds of the crash runs, and where their random choices begin.
const ROUNDS: u64 = 10;
const SEED: u64 = 20_261_122;

/// How much longer a sync takes on the slow disk, in milliseconds; clients and messages of each; and how long
/// one of them may wait.
const SLOW_SYNC: u64 = 1000;
const SLOW_CLIENTS: u64 = 64;
const SLOW_MESSAGES: u64 = 3;
const SLOW_WAIT_MAX: Duration = Duration::from_secs(60);
/// What the server may take of memory meanwhile.
const SLOW_MEMORY_MAX: u64 = 96 << 20;

/// Connections that deliver while flushes and compactions stand still, the octets of their messages, and how
/// long that lasts at least, once it is felt, and how long it may take until then.
const SENDERS: u64 = 40;
const LARGE_OCTETS: usize = 100_000;
const STALLED_FOR: Duration = Duration::from_secs(3);
const STALLED_WITHIN: Duration = Duration::from_secs(120);
/// More milliseconds than a stand-still may last.
const FOR_EVER_MS: u64 = 600_000;
/// Reading needs no sync, so flushes that stand still are no reason to wait. Half of all reads take less, whatever else the
/// machine does; one that waited would wait until its client gives up.
const READ_MAX: Duration = Duration::from_secs(2);
/// What the server may take of memory while it can't write what it is sent.
const STALLED_MEMORY_MAX_KIB: u64 = 160 << 10;

/// Numbers of clients in tokens: messages that came by SMTP and by APPEND.
const DELIVERS: u64 = 9;
const APPENDS: u64 = 0;
/// From here on: senders while flushes stand still, whose messages come by SMTP too.
const SENDERS_FROM: u64 = 20;

pub fn crash_loses_nothing(binary: &Path) -> Result<()> {
    rounds(binary, Cut::Process)
}

pub fn power_loss_loses_nothing(binary: &Path) -> Result<()> {
    rounds(binary, Cut::Power)
}

fn rounds(binary: &Path, cut: Cut) -> Result<()> {
    let plan = Plan { cut, names: Names::WithTheFile, rounds: ROUNDS, seed: SEED, until: None };
    let said = crash::rounds(binary, &plan)?;
    eprintln!("{said}");
    Ok(())
}

/// A small filesystem in memory.
struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    fn mount() -> Result<Self> {
        let disk = Self { dir: tempfile::tempdir()? };
        disk.run(&["-t", "tmpfs", "-o", &format!("size={}", DISK_OCTETS[0]), "tmpfs"]).context(
            "this machine, or its container, doesn't let root mount a tmpfs (CAP_SYS_ADMIN is needed)",
        )?;
        Ok(disk)
    }

    fn grow(&self) -> Result<()> {
        self.run(&["-o", &format!("remount,size={}", DISK_OCTETS[1])])
    }

    fn run(&self, arguments: &[&str]) -> Result<()> {
        let output = Command::new("mount").args(arguments).arg(self.dir.path()).output().context("mount")?;
        ensure!(output.status.success(), "mount: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn free(&self) -> Result<u64> {
        let stat = rustix::fs::statvfs(self.dir.path())?;
        Ok(stat.f_bavail * stat.f_frsize)
    }

    /// Takes all the room that is left.
    fn take_all(&self) -> Result<PathBuf> {
        let path = self.dir.path().join("ballast");
        let file = File::create(&path)?;
        let begun = Instant::now();
        loop {
            let free = self.free()?;
            if free == 0 {
                return Ok(path);
            }
            match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, free) {
                Ok(()) => return Ok(path),
                // The server has written since the room was looked at.
                Err(rustix::io::Errno::NOSPC) if begun.elapsed() < NOTICE_MAX => {}
                Err(error) => return Err(error).context("taking all the room that is left"),
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, since a failed test may leave the server's files open for a moment.
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).status();
    }
}

/// Sends messages and keeps account of those that the server took.
#[derive(Default)]
struct Sender {
    number: u64,
    taken: BTreeSet<Token>,
    gone: BTreeSet<Token>,
}

impl Sender {
    fn next(&mut self, client: u64) -> Token {
        self.number += 1;
        Token::new(1, client, self.number)
    }

    /// The reply to a delivery; an error when the server closed the connection.
    fn deliver(&mut self, smtp: &mut Smtp) -> Result<String> {
        let token = self.next(DELIVERS);
        let reply = smtp.deliver(USER, &token.content())?;
        if reply.starts_with("250") {
            self.taken.insert(token);
        }
        Ok(reply)
    }

    /// The answer to an APPEND.
    fn append(&mut self, imap: &mut Imap) -> Result<String> {
        let token = self.next(APPENDS);
        let answer = imap.append("Inbox", "", &token.content())?;
        if answer.is_ok() {
            self.taken.insert(token);
        }
        Ok(answer.tagged.text)
    }

    /// What was taken is there, once and unchanged, and nothing else is.
    fn check(&self, unanswered: u64) -> Result<()> {
        let found = contents("Inbox")?;
        let more = found.difference(&self.taken).count() as u64;
        let lost: Vec<&Token> = self.taken.difference(&found).collect();
        ensure!(lost.is_empty(), "{} acknowledged messages are gone: {lost:?}", lost.len());
        ensure!(more <= unanswered, "{more} messages are there that were not acknowledged");
        ensure!(found.is_disjoint(&self.gone), "messages are back that were expunged");
        Ok(())
    }

    /// Tries until both protocols take a message.
    fn is_served_within(&mut self, limit: Duration) -> Result<()> {
        let begun = Instant::now();
        loop {
            let reply = Smtp::connect().and_then(|mut smtp| self.deliver(&mut smtp));
            let reply = reply.unwrap_or_else(|error| error.to_string());
            let answer = Imap::login().and_then(|mut imap| self.append(&mut imap));
            let answer = answer.unwrap_or_else(|error| error.to_string());
            if reply.starts_with("250") && answer.starts_with("OK") {
                return Ok(());
            }
            ensure!(begun.elapsed() < limit, "no service after {limit:?}: SMTP {reply:?}, APPEND {answer:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Delivers until the answer is 452; no other refusal is allowed.
    fn fill(&mut self, disk: &SmallDisk) -> Result<()> {
        let mut smtp = Smtp::connect()?;
        for _ in 0..FILLING_MAX {
            let reply = self.deliver(&mut smtp)?;
            if reply.starts_with("452") {
                return Ok(());
            }
            ensure!(reply.starts_with("250"), "on a disk with {} octets free: {reply}", disk.free()?);
            if disk.free()? < SLOW_BELOW_OCTETS {
                std::thread::sleep(Duration::from_millis(30));
            }
        }
        bail!("the disk doesn't get full: {} octets are free", disk.free()?);
    }

    /// An APPEND gets NO.
    fn append_is_refused(&mut self) -> Result<()> {
        let answer = self.append(&mut Imap::login()?)?;
        ensure!(answer.starts_with("NO"), "APPEND on a full disk: {answer}");
        Ok(())
    }

    /// Expunges the first messages.
    fn remove_some(&mut self, messages: usize) -> Result<()> {
        let before = contents("Inbox")?;
        let mut imap = Imap::login()?;
        imap.done("SELECT Inbox")?;
        imap.done(&format!("STORE 1:{messages} +FLAGS.SILENT (\\Deleted)"))?;
        imap.done("EXPUNGE")?;
        let after = contents("Inbox")?;
        ensure!(before.len() == after.len() + messages, "{} of {} are left", after.len(), before.len());
        self.gone.extend(before.difference(&after));
        self.taken = self.taken.intersection(&after).copied().collect();
        Ok(())
    }
}

/// First the disk gets low, then it is full to the last octet.
pub fn full_disk(binary: &Path) -> Result<()> {
    let disk = SmallDisk::mount()?;
    let logs = tempfile::tempdir()?;
    let dir = disk.dir.path().join("server");
    fs::create_dir(&dir)?;
    let mut server = Server::new(binary, &dir);
    server.set_log(logs.path().join("log"));
    server.start()?;
    let result = full_disk_steps(&mut server, &disk);
    result.with_context(|| format!("the end of the server's log:\n{}", server.log()))
}

fn full_disk_steps(server: &mut Server, disk: &SmallDisk) -> Result<()> {
    let mut sender = Sender::default();
    sender.fill(disk).context("a disk that gets low")?;
    sender.append_is_refused()?;
    sender.check(0)?;
    sender.remove_some(20).context("deleting on a disk that is low")?;
    disk.grow()?;
    sender.is_served_within(NOTICE_MAX).context("after the disk got room")?;
    sender.check(0)?;

    let ballast = disk.take_all()?;
    let mut refused = false;
    let begun = Instant::now();
    while !refused {
        ensure!(begun.elapsed() < NOTICE_MAX, "a full disk is not noticed");
        let reply = sender.deliver(&mut Smtp::connect()?)?;
        ensure!(["250", "452"].contains(&&reply[..3]), "on a full disk: {reply}");
        refused = reply.starts_with("452");
    }
    sender.append_is_refused()?;
    fs::remove_file(ballast)?;
    sender.is_served_within(NOTICE_MAX).context("after the full disk got room")?;
    // The one that met the full disk was refused, and may be there all the same: its last page may have
    // found room. Whole, or not at all.
    sender.check(1)?;
    server.stop()?;
    server.verify(&server.data())?;
    server.start()?;
    sender.check(1)?;
    server.stop()
}

/// After a sync that failed, nothing is acknowledged until the restart, and then all that was is there.
pub fn failing_sync(binary: &Path) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let library = compile_shim(dir.path())?;
    let trigger = dir.path().canonicalize()?.join("fail-the-next-sync");
    let mut server = Server::new(binary, &dir.path().canonicalize()?);
    server.set_environment(
        [("LD_PRELOAD", &library), ("POSTRIDER_SHIM_DIR", &server.data()), ("POSTRIDER_SHIM_FAIL", &trigger)]
            .map(|(name, value)| (name.to_owned(), value.display().to_string()))
            .into(),
    );
    server.start()?;
    let result = failing_sync_steps(&mut server, &trigger);
    result.with_context(|| format!("the end of the server's log:\n{}", server.log()))
}

fn failing_sync_steps(server: &mut Server, trigger: &Path) -> Result<()> {
    let mut sender = Sender::default();
    let (mut smtp, mut imap) = (Smtp::connect()?, Imap::login()?);
    for _ in 0..20 {
        let reply = sender.deliver(&mut smtp)?;
        ensure!(reply.starts_with("250"), "{reply}");
        let answer = sender.append(&mut imap)?;
        ensure!(answer.starts_with("OK"), "{answer}");
    }
    imap.done("SELECT Inbox")?;
    let taken = sender.taken.len();
    File::create(trigger)?;
    let first = sender.deliver(&mut smtp);
    ensure!(!trigger.exists(), "no sync of a journal came by: {first:?}");
    let begun = Instant::now();
    while begun.elapsed() < SILENCE {
        // Whether the server answers at all is its own affair; it must not say that something is done.
        if let Ok(mut smtp) = Smtp::connect() {
            let _ = sender.deliver(&mut smtp);
        }
        if let Ok(mut other) = Imap::login() {
            let _ = sender.append(&mut other);
        }
        if let Ok(answer) = imap.command("STORE 1 +FLAGS (\\Flagged)") {
            ensure!(!answer.is_ok(), "STORE after a failed sync: {}", answer.tagged.text);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let after = sender.taken.len();
    ensure!(after == taken, "{} messages were acknowledged after a failed sync", after - taken);
    server.kill()?;
    server.set_environment(Vec::new());
    server.start().context("the restart after a failed sync")?;
    // The one whose sync failed may be there.
    sender.check(1)?;
    sender.is_served_within(NOTICE_MAX)?;
    server.stop()?;
    server.verify(&server.data())
}

/// Row E6 of docs/threats.md: a disk whose syncs take a second. Clients wait and are served; who only reads
/// doesn't wait; memory stays bounded.
pub fn slow_disk(binary: &Path) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let library = compile_shim(dir.path())?;
    let mut server = Server::new(binary, &dir.path().canonicalize()?);
    let slow = slow_shim(&mut server, &library);
    server.start()?;
    write_whole(&slow, &format!("{SLOW_SYNC} 0"))?;
    let result = slow_disk_steps(&server);
    result.with_context(|| format!("the end of the server's log:\n{}", server.log()))?;
    server.stop()?;
    server.verify(&server.data())
}

fn slow_disk_steps(server: &Server) -> Result<()> {
    let mut reader = Imap::login()?;
    reader.append("Inbox", "", &Token::new(1, APPENDS, 1).content())?;
    reader.done("SELECT Inbox")?;
    let begun = Instant::now();
    let (slowest, read) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..SLOW_CLIENTS)
            .map(|client| {
                scope.spawn(move || -> Result<Duration> {
                    let mut smtp = Smtp::connect()?;
                    let mut slowest = Duration::ZERO;
                    for number in 0..SLOW_MESSAGES {
                        let token = Token::new(2, DELIVERS, client * SLOW_MESSAGES + number);
                        let asked = Instant::now();
                        let reply = smtp.deliver(USER, &token.content())?;
                        ensure!(reply.starts_with("250"), "on a slow disk: {reply}");
                        slowest = slowest.max(asked.elapsed());
                    }
                    Ok(slowest)
                })
            })
            .collect();
        let mut reads = Vec::new();
        while !clients.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            let asked = Instant::now();
            reader.done("FETCH 1 BODY.PEEK[]")?;
            reads.push(asked.elapsed());
            std::thread::sleep(Duration::from_millis(100));
        }
        let mut slowest = Duration::ZERO;
        for client in clients {
            let Ok(outcome) = client.join() else { bail!("a client died") };
            slowest = slowest.max(outcome?);
        }
        Ok((slowest, median(&mut reads)))
    })?;
    ensure!(slowest > Duration::from_millis(SLOW_SYNC), "the disk isn't slow: {slowest:?}");
    ensure!(slowest < SLOW_WAIT_MAX, "a delivery took {slowest:?}");
    // Who waits for a sync comes in the midst of one, and often has to wait for the next.
    ensure!(read < Duration::from_millis(SLOW_SYNC / 2), "a reader waited {read:?} for the disk");
    let peak = server.peak_kib()? << 10;
    ensure!(peak < SLOW_MEMORY_MAX, "{peak} octets of memory");
    eprint!(
        "{} messages in {:.1?}, the slowest in {slowest:.1?}, half of all reads within {read:.1?}, {} MiB ... ",
        SLOW_CLIENTS * SLOW_MESSAGES,
        begun.elapsed(),
        peak >> 20
    );
    let answer = reader.command("NOOP")?;
    ensure!(answer.is_ok(), "NOOP: {}", answer.tagged.text);
    Ok(())
}

/// Lets the server's syncs be slow while the file exists whose path is returned.
fn slow_shim(server: &mut Server, library: &Path) -> PathBuf {
    let slow = server.data().with_file_name("slow");
    server.set_environment(
        [("LD_PRELOAD", library), ("POSTRIDER_SHIM_DIR", &server.data()), ("POSTRIDER_SHIM_SLOW", &slow)]
            .map(|(name, value)| (name.to_owned(), value.display().to_string()))
            .into(),
    );
    slow
}

/// Row E6 of docs/threats.md: a disk on which flushes and compactions stand still. The server makes its senders
/// wait, who only reads doesn't wait, not even for the mailbox that they send to, and memory stays bounded.
pub fn stalled_disk(binary: &Path) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let library = compile_shim(dir.path())?;
    let mut server = Server::new(binary, &dir.path().canonicalize()?);
    let slow = slow_shim(&mut server, &library);
    server.start()?;
    let result = stalled_disk_steps(&mut server, &slow);
    result.with_context(|| format!("the end of the server's log:\n{}", server.log()))
}

fn stalled_disk_steps(server: &mut Server, slow: &Path) -> Result<()> {
    let mut sender = Sender::default();
    let reply = sender.deliver(&mut Smtp::connect()?)?;
    ensure!(reply.starts_with("250"), "{reply}");
    write_whole(slow, &format!("0 {FOR_EVER_MS}"))?;
    let mut flood = Flood::default();
    let reads = flood.run(|| fs::remove_file(slow))?;
    let peak = server.peak_kib()?;
    eprint!("{flood}, half of all reads within {reads:.1?}, {} MiB ... ", peak >> 10);
    ensure!(flood.slowest >= STALLED_FOR, "nothing stood still");
    ensure!(reads < READ_MAX, "reading took {reads:?} while flushes stood still");
    ensure!(peak < STALLED_MEMORY_MAX_KIB, "{peak} KiB of memory");
    sender.is_served_within(NOTICE_MAX)?;
    sender.taken.extend(&flood.taken);
    sender.check(0)?;
    server.stop()?;
    server.verify(&server.data())
}

/// Many senders at the same time.
#[derive(Default)]
struct Flood {
    taken: BTreeSet<Token>,
    refused: u64,
    slowest: Duration,
}

impl std::fmt::Display for Flood {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { taken, refused, slowest } = self;
        write!(f, "{} messages taken, {refused} refused, the slowest in {slowest:.1?}", taken.len())
    }
}

impl Flood {
    /// Delivers over many connections until one of them has waited for [`STALLED_FOR`], then calls `relieve` and waits for
    /// the last replies. Returns how long reading took meanwhile, in the middle.
    fn run(&mut self, relieve: impl FnOnce() -> std::io::Result<()>) -> Result<Duration> {
        let over = AtomicBool::new(false);
        let waiting: Vec<Mutex<Option<Instant>>> = (0..SENDERS).map(|_| Mutex::default()).collect();
        std::thread::scope(|scope| {
            let over = &over;
            let senders: Vec<_> = (0..SENDERS)
                .zip(&waiting)
                .map(|(number, since)| scope.spawn(move || Self::send(number, since, over)))
                .collect();
            let reads = Self::read(&waiting);
            over.store(true, Ordering::Relaxed);
            relieve()?;
            for sender in senders {
                let Ok(sent) = sender.join() else { bail!("a sender panicked") };
                let Self { taken, refused, slowest } = sent?;
                self.taken.extend(taken);
                self.refused += refused;
                self.slowest = self.slowest.max(slowest);
            }
            ensure!(self.slowest < SLOW_WAIT_MAX, "a reply took {:?}", self.slowest);
            reads
        })
    }

    /// One sender: each reply is a 250 or asks to try again, and comes in time. `since` says what it waits since.
    fn send(number: u64, since: &Mutex<Option<Instant>>, over: &AtomicBool) -> Result<Self> {
        let mut sent = Self::default();
        let mut smtp = Smtp::connect()?;
        let mut messages = (1..).map(|message| Token::new(1, SENDERS_FROM + number, message));
        while !over.load(Ordering::Relaxed) {
            let large = messages.find(|token| token.content().len() > LARGE_OCTETS);
            let token = large.context("numbers never end")?;
            let begun = Instant::now();
            *since.lock().unwrap_or_else(PoisonError::into_inner) = Some(begun);
            let reply = smtp.deliver(USER, &token.content())?;
            *since.lock().unwrap_or_else(PoisonError::into_inner) = None;
            sent.slowest = sent.slowest.max(begun.elapsed());
            match &reply[..1] {
                "2" => drop(sent.taken.insert(token)),
                "4" => {
                    sent.refused += 1;
                    std::thread::sleep(Duration::from_millis(100));
                }
                _ => bail!("a slow disk is no reason for {reply:?}"),
            }
        }
        Ok(sent)
    }

    /// Connects, logs in, opens the mailbox that all send to and reads a message of it, again and again until one who
    /// sends has waited long enough; the middle of how long that took.
    fn read(waiting: &[Mutex<Option<Instant>>]) -> Result<Duration> {
        let stands_still = || {
            let since =
                waiting.iter().filter_map(|since| *since.lock().unwrap_or_else(PoisonError::into_inner));
            since.map(|since| since.elapsed()).max().is_some_and(|longest| longest >= STALLED_FOR)
        };
        let (until, mut times) = (Instant::now() + STALLED_WITHIN, Vec::new());
        while times.is_empty() || (!stands_still() && Instant::now() < until) {
            let begun = Instant::now();
            Smtp::connect()?;
            let mut imap = Imap::login()?;
            imap.done("EXAMINE Inbox")?;
            imap.done("FETCH 1 (BODY.PEEK[])")?;
            imap.done("NOOP")?;
            times.push(begun.elapsed());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(median(&mut times))
    }
}

/// Writes a file that is never seen half-written.
fn write_whole(path: &Path, text: &str) -> Result<()> {
    let partial = path.with_extension("new");
    fs::write(&partial, text)?;
    Ok(fs::rename(partial, path)?)
}

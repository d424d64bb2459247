//! A store with many messages: importing them, starting with them, opening and working on their mailbox.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::Bench;
use super::memory::mib;
use super::server::Server;
use crate::figures::short;
use crate::table::Row;
use crate::{imap, neighbours, process};

/// The store with many messages.
const STORE: &str = "many";
/// Its mailboxes.
const FEW: &str = "Few";
const SOME: &str = "Some";
const MANY: &str = "Many";
/// How long a server that has just started may take to settle.
const SETTLE: Duration = Duration::from_secs(1);

/// Imports the mailboxes, the middle one with its memory measured.
pub fn import(bench: &mut Bench) -> Result<()> {
    fill(bench, FEW, bench.sizes.few)?;
    for (mailbox, messages, floor) in
        [(SOME, bench.sizes.some, Some("under 96 MiB")), (MANY, bench.sizes.stored, None)]
    {
        // A server that did nothing before, so that its memory is that of the import.
        let server = bench.restart(STORE)?;
        let pid = server.pid();
        process::forget_peak(pid)?;
        let seconds = fill(bench, mailbox, messages)?;
        let (_, peak) = process::resident_kib(pid)?;
        let title = format!("import of {messages} messages");
        let figure = format!("{:.1} MiB resident, {:.0} messages/s", mib(peak), messages as f64 / seconds);
        let row = Row::new(title, figure);
        bench.row(match floor {
            Some(floor) => row.floor(floor, peak < 96 * 1024),
            None => row,
        });
    }
    Ok(())
}

/// Imports a mailbox; in seconds.
fn fill(bench: &mut Bench, mailbox: &str, messages: usize) -> Result<f64> {
    let path = bench.path("import.mbox");
    write_mbox(&path, messages)?;
    let begun = Instant::now();
    let server = bench.server(STORE)?;
    let path = path.to_str().context("a path as text")?;
    server.control(&["import", "mbox", "user0", mailbox, path], "")?;
    let seconds = begun.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(seconds)
}

/// Short messages, as an mbox.
fn write_mbox(path: &Path, messages: usize) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for number in 0..messages {
        write!(
            file,
            "From a@example.org Mon Nov  2 10:00:00 2026\nFrom: <a@example.org>\nTo: <b@example.org>\n\
             Subject: message {number}\nMessage-ID: <{number}@example.org>\n\nA line of text.\n\n"
        )?;
    }
    Ok(file.into_inner().map_err(|error| error.into_error())?.sync_all()?)
}

/// Makes sure that the mailboxes are there when the import was left out.
fn ensure_filled(bench: &mut Bench) -> Result<()> {
    if bench.path(STORE).exists() {
        return Ok(());
    }
    for (mailbox, messages) in [(FEW, bench.sizes.few), (SOME, bench.sizes.some), (MANY, bench.sizes.stored)]
    {
        fill(bench, mailbox, messages)?;
    }
    bench.stop()
}

/// Starting with many messages stored, and what a mailbox's first opening costs then.
pub fn start(bench: &mut Bench) -> Result<()> {
    ensure_filled(bench)?;
    let stored = bench.sizes.stored;
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    let server = bench.restart(STORE)?;
    let took = milliseconds(server.started_in);
    std::thread::sleep(SETTLE);
    let (resident, _) = process::resident_kib(server.pid())?;
    let first = imap::select_once(&mut server.session(0)?, MANY)?;
    let title = format!("start to listening with {stored} messages stored");
    bench.row(Row::new(title, format!("{took:.0} ms")).floor("under 1 s", took < 1000.0));
    bench.row(Row::new("resident then", format!("{:.1} MiB", mib(resident))));
    let title = format!("first SELECT of {stored} messages after it");
    bench.row(Row::new(title, format!("{} ms", short(first))).floor("under 20 ms", first < 20.0));
    bench.kill()?;
    let took = milliseconds(bench.restart(STORE)?.started_in);
    bench.row(Row::new("start to listening after kill -9", format!("{took:.0} ms")));
    Ok(())
}

/// Opening a small and a large mailbox in turn.
pub fn select(bench: &mut Bench) -> Result<()> {
    ensure_filled(bench)?;
    let sizes = bench.sizes;
    let server = bench.server(STORE)?;
    let mut session = server.session(0)?;
    session.imap("ENABLE QRESYNC")?;
    let opened = imap::select_often(&mut session, &[FEW, MANY], sizes.selects, sizes.changes)?;
    let [few, many] = &*opened else { anyhow::bail!("two mailboxes were opened") };
    let resync = format!("SELECT with QRESYNC and {} changes", sizes.changes);
    for (what, few, many) in
        [("SELECT", &few.plain, &many.plain), (resync.as_str(), &few.resync, &many.resync)]
    {
        let [few, many] = [few, many].map(|latencies| latencies.milliseconds(0.5));
        let figure = format!("{} and {} ms", short(few), short(many));
        let title = format!("{what} of {} and of {} messages, p50", sizes.few, sizes.stored);
        bench.row(Row::new(title, figure).floor("twice at most", many <= 2.0 * few));
    }
    Ok(())
}

/// Commands on one connection while another works on many messages.
pub fn neighbours(bench: &mut Bench) -> Result<()> {
    ensure_filled(bench)?;
    let server = bench.server(STORE)?;
    let target = server.ports().imaps();
    let seen = neighbours::measure(&target, &Server::login(0), SOME, &neighbours::COMMANDS)?;
    let alone = seen.first().map_or(0.0, |seen| seen.noops.milliseconds(1.0));
    for seen in seen {
        let figure = seen.noops.cell();
        let Some(command) = seen.command else {
            bench.row(Row::new("NOOP while nothing else runs, p50 / p99 / max", figure));
            continue;
        };
        let command = if command.starts_with("COPY") { "COPY 1:*" } else { &command };
        let delay = seen.noops.milliseconds(1.0) - alone;
        let title = format!("NOOP during {command} ({:.1} s)", seen.took.as_secs_f64());
        bench.row(Row::new(title, figure).floor("at most 20 ms more", delay <= 20.0));
    }
    Ok(())
}

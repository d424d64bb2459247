//! A large directory: applied, applied again, written out and verified.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Bench;
use super::memory::mib;
use crate::table::Row;
use crate::{directory, process};

const STORE: &str = "directory";
/// How often the memory of a command is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a command took.
struct Took {
    seconds: f64,
    /// Processor time of the server meanwhile, or of the command where there is no server.
    processor: f64,
    /// The most resident memory of the command, and of the server meanwhile, KiB.
    own_kib: u64,
    server_kib: u64,
}

/// What a large directory takes while it is changed, and who asks for recipients meanwhile.
pub fn directory(bench: &mut Bench) -> Result<()> {
    let accounts = bench.sizes.accounts;
    let file = bench.path("directory.toml");
    let octets = directory::write(&file, accounts)?;
    bench.row(Row::new(
        format!("directory of {accounts} accounts"),
        format!("{:.0} MB of text", octets as f64 / 1e6),
    ));
    let exported = bench.path("exported.toml");
    /// What it is called, the command, and the files that it reads and writes.
    type Step<'a> = (&'a str, &'a [&'a str], Option<&'a Path>, Option<&'a Path>);
    let steps: [Step<'_>; 6] = [
        ("tried", &["directory", "apply", "--dry-run"], Some(&file), None),
        ("applied", &["directory", "apply"], Some(&file), None),
        ("applied again, tried", &["directory", "apply", "--dry-run"], Some(&file), None),
        ("applied again, unchanged", &["directory", "apply"], Some(&file), None),
        ("written out", &["directory", "export"], None, Some(&exported)),
        ("what was written out, applied", &["directory", "apply"], Some(&exported), None),
    ];
    for (what, arguments, input, output) in steps {
        let server = bench.server(STORE)?;
        let (pid, smtp) = (server.pid(), server.ports().smtp());
        let mut command = Command::new(&bench.setup.binary);
        let socket = bench.path(STORE).join("data/ctl");
        command.arg("--socket").arg(socket).args(arguments);
        let (took, found) =
            directory::look_up(&smtp, accounts, || run(&mut command, input, output, Some(pid)))?;
        let title = format!("{what}: time, processor, command, server");
        let Took { seconds, processor, own_kib, server_kib } = took;
        let (own, most) = (mib(own_kib), mib(server_kib));
        let figure = format!("{seconds:.1} s, {processor:.1} s, {own:.1} MiB, {most:.1} MiB");
        bench.row(Row::new(title, figure).floor("under 96 MiB", server_kib < 96 * 1024));
        let title = format!("{what}: RCPT p50 / p99 / max");
        bench.row(Row::new(title, format!("{} of {}", found.cell(), found.count())));
    }
    bench.stop()?;
    let mut verify = Command::new(&bench.setup.binary);
    verify.arg("verifydata").arg(bench.path(STORE).join("data"));
    let took = run(&mut verify, None, None, None)?;
    let figure = format!("{:.1} s, {:.1} s, {:.1} MiB", took.seconds, took.processor, mib(took.own_kib));
    bench.row(Row::new("verified: time, processor, memory", figure));
    Ok(())
}

/// Runs a command to its end.
fn run(
    command: &mut Command,
    input: Option<&Path>,
    output: Option<&Path>,
    server: Option<u32>,
) -> Result<Took> {
    let stdin = input.map(File::open).transpose()?.map_or_else(Stdio::null, Stdio::from);
    let stdout = output.map(File::create).transpose()?.map_or_else(Stdio::null, Stdio::from);
    if let Some(server) = server {
        process::forget_peak(server)?;
    }
    let processor_before = server.map_or(Ok(Duration::ZERO), process::processor_time)?;
    let begun = Instant::now();
    let mut child = command.stdin(stdin).stdout(stdout).spawn().context("a command could not be started")?;
    let (mut own_kib, mut own_time) = (0, Duration::ZERO);
    let status = loop {
        // It may end between the looks.
        own_kib = own_kib.max(process::resident_kib(child.id()).map_or(0, |(_, peak)| peak));
        own_time = own_time.max(process::processor_time(child.id()).unwrap_or_default());
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(LOOK_EVERY);
    };
    let seconds = begun.elapsed().as_secs_f64();
    ensure!(status.success(), "{command:?} ended with {status}");
    let processor = match server {
        Some(server) => process::processor_time(server)?.saturating_sub(processor_before),
        None => own_time,
    };
    let server_kib = server.map_or(Ok(0), |server| process::resident_kib(server).map(|(_, peak)| peak))?;
    Ok(Took { seconds, processor: processor.as_secs_f64(), own_kib, server_kib })
}

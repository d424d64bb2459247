//! Programs that are run to their end, and not waited for longer than they may take.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long a command of `postrider` may take that nothing else is said of; the longest checks all of a store.
const COMMAND_MAX: Duration = Duration::from_secs(600);

/// Runs a command of `postrider`, and returns what it wrote to standard output.
pub fn run_command(binary: &Path, arguments: &[&str]) -> Result<String> {
    run_command_within(binary, arguments, COMMAND_MAX)
}

/// The same with a limit of its own.
pub fn run_command_within(binary: &Path, arguments: &[&str], limit: Duration) -> Result<String> {
    let output = run_program(Command::new(binary).args(arguments), limit)
        .with_context(|| format!("postrider {}", arguments.join(" ")))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program with a limit of time; its output on success, an error with all of it otherwise.
pub fn run_program(command: &mut Command, limit: Duration) -> Result<Output> {
    run_fed(command, Stdio::null(), limit)
}

/// The same with something to read.
pub fn run_fed(command: &mut Command, input: Stdio, limit: Duration) -> Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = tempfile::NamedTempFile::new()?;
    let err = tempfile::NamedTempFile::new()?;
    let mut child = command
        .stdin(input)
        .stdout(out.reopen()?)
        .stderr(err.reopen()?)
        .spawn()
        .with_context(|| format!("{name} could not be started"))?;
    let begun = Instant::now();
    let status = loop {
        match child.try_wait()? {
            Some(status) => break Some(status),
            None if begun.elapsed() > limit => {
                child.kill()?;
                child.wait()?;
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let (stdout, stderr) = (std::fs::read(out.path())?, std::fs::read(err.path())?);
    let text = || format!("{}\n{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    match status {
        None => bail!("{name} was not done after {limit:?}:\n{}", text()),
        Some(status) if !status.success() => bail!("{name} ended with {status}:\n{}", text()),
        Some(status) => Ok(Output { status, stdout, stderr }),
    }
}

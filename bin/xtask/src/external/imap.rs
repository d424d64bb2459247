//! The IMAP tests of `core` that can be played against the program: its dialogs, and clients at random on shared
//! mailboxes. They are in the test executable of `core`, which finds the program by `POSTRIDER_BINARY`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use argh::FromArgs;

use super::run_program;
use crate::cargo;

/// The time for all dialogs; they take half a minute on two idle cores.
const DIALOGS_MAX: Duration = Duration::from_secs(1200);
/// The time for the clients beyond what was asked for: the start, the last commands, the checks.
const CLIENTS_MORE: Duration = Duration::from_secs(300);

/// Run clients at random on mailboxes that several accounts share, against the release binary, and compare what
/// they know with what is there.
#[derive(FromArgs)]
#[argh(subcommand, name = "clients")]
pub struct Clients {
    /// number of clients (24)
    #[argh(option, default = "24")]
    clients: usize,
    /// how long they go on (120)
    #[argh(option, default = "120")]
    seconds: u64,
    /// what their dice begin with (1)
    #[argh(option, default = "1")]
    seed: u64,
}

/// Runs the clients as asked for; false when they found something.
pub fn run(arguments: &Clients) -> Result<bool> {
    let binary = cargo::release_binary()?;
    match play(&binary, arguments) {
        Ok(said) => {
            print!("{said}");
            Ok(true)
        }
        Err(error) => {
            eprintln!("{error:#}");
            Ok(false)
        }
    }
}

/// A short run of them.
pub fn clients(binary: &Path) -> Result<()> {
    play(binary, &Clients { clients: 24, seconds: 15, seed: 1 }).map(|said| eprint!("{said} "))
}

fn play(binary: &Path, Clients { clients, seconds, seed }: &Clients) -> Result<String> {
    let mut command = core_tests(binary, "imap::tests::crowd::")?;
    for (name, value) in [("CLIENTS", *clients as u64), ("SECONDS", *seconds), ("SEED", *seed)] {
        command.env(format!("POSTRIDER_{name}"), value.to_string());
    }
    let output = run_program(&mut command, CLIENTS_MORE + Duration::from_secs(*seconds))?;
    let said = String::from_utf8(output.stdout)?;
    let figures: String = lines(&said, "clients: ").map(|line| format!("{line}\n")).collect();
    ensure!(!figures.is_empty(), "no clients were run:\n{said}");
    Ok(figures)
}

/// Plays every dialog, each on a server of its own.
pub fn dialogs(binary: &Path) -> Result<()> {
    let output = run_program(&mut core_tests(binary, "imap::tests::dialog::")?, DIALOGS_MAX)?;
    let said = String::from_utf8(output.stdout)?;
    let played: Vec<&str> = lines(&said, "played ").filter_map(|line| line.split(',').next()).collect();
    let mut dialogs = 0;
    for folder in fs::read_dir(cargo::root().join("core/tests/imap"))? {
        let folder = folder?;
        for file in fs::read_dir(folder.path())? {
            let name = format!("{}/{}", folder.file_name().display(), file?.file_name().display());
            ensure!(played.contains(&name.as_str()), "{name} was not played");
            dialogs += 1;
        }
    }
    eprint!("{dialogs} dialogs, {} plays ... ", played.len());
    Ok(())
}

fn lines<'a>(said: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    said.lines().filter_map(move |line| line.strip_prefix(start))
}

/// Those tests of `core` whose names begin with `filter`, against the program.
fn core_tests(binary: &Path, filter: &str) -> Result<Command> {
    let mut command = Command::new(core_executable()?);
    command.arg(filter).arg("--show-output").env("POSTRIDER_BINARY", fs::canonicalize(binary)?);
    command.current_dir(cargo::root().join("core"));
    Ok(command)
}

/// Builds the test executable of `core`; where it is. With those of the whole workspace, since what these are
/// built with is there already after the tests of the workspace.
fn core_executable() -> Result<PathBuf> {
    let arguments = ["test", "--workspace", "--lib", "--no-run", "--locked"];
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(arguments)
        .arg("--message-format=json")
        .current_dir(cargo::root())
        .output()
        .context("cargo could not be started")?;
    let said = String::from_utf8(output.stdout)?;
    if !output.status.success() {
        bail!("cargo {}:\n{}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    // One JSON object in a line; only the tests have an executable.
    let executable =
        said.lines().filter(|line| line.contains(r#""name":"postrider_core""#)).find_map(|line| {
            let (_, rest) = line.split_once("\"executable\":\"")?;
            Some(rest.split_once('"')?.0.to_owned())
        });
    executable.map(PathBuf::from).with_context(|| format!("no test executable in what cargo said:\n{said}"))
}

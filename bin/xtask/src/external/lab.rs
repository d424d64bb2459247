//! The laboratory: a DNS of its own, two of our servers, Postfix, a proxy and servers that misbehave, in network
//! namespaces. Python drives it (`bin/xtask/lab/lab.py`).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use argh::FromArgs;
use rustix::process::geteuid;

use super::run_program;
use crate::{cargo, install};

/// Rounds of `kill -9` within the tests.
const ROUNDS: u32 = 4;
/// How long all checks of the tests may take.
const LIMIT: Duration = Duration::from_secs(40 * 60);

/// Start the laboratory in network namespaces and run its checks, all of them or those whose name contains NAME. Needs root.
#[derive(FromArgs)]
#[argh(subcommand, name = "lab")]
pub struct Lab {
    /// how many rounds of kill -9 (default 4)
    #[argh(option, default = "ROUNDS")]
    rounds: u32,
    /// start a shell in the laboratory after the checks; what was started runs until its end
    #[argh(switch)]
    shell: bool,
    /// the server's binary (default: a release build)
    #[argh(option)]
    binary: Option<PathBuf>,
    /// part of a check's name
    #[argh(positional)]
    names: Vec<String>,
}

/// `cargo xtask lab`.
pub fn run(arguments: &Lab) -> Result<bool> {
    ensure!(geteuid().is_root(), "network namespaces need root");
    install::install_or_explain()?;
    let binary = match &arguments.binary {
        Some(binary) => binary.clone(),
        None => cargo::release_binary()?,
    };
    let files = tempfile::tempdir()?;
    let mut command = command(&binary, files.path(), arguments.rounds, arguments.shell);
    let status = command.args(&arguments.names).status().context("unshare could not be started")?;
    Ok(status.success())
}

/// All checks, with few rounds.
pub fn laboratory(binary: &Path) -> Result<()> {
    let files = tempfile::tempdir()?;
    let done = run_program(&mut command(binary, files.path(), ROUNDS, false), LIMIT)?;
    eprint!("{}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// Its first process is the first of a namespace of processes, so that none survives it; mounts and networks are its own.
fn command(binary: &Path, files: &Path, rounds: u32, shell: bool) -> Command {
    let mut command = Command::new("/usr/bin/unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "/usr/bin/python3"]);
    command.arg(cargo::root().join("bin/xtask/lab/lab.py"));
    command.arg(binary).arg(install::unpacked_programs()).arg(files).arg(rounds.to_string());
    command.arg(if shell { "shell" } else { "-" });
    command
}

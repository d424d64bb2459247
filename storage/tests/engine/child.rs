//! Runs a test of this binary in a process of its own.

use std::process::{Command, Stdio};

/// Set for child processes; without it their entry tests do nothing.
const CHILD: &str = "POSTRIDER_TEST_CHILD";

/// A command that runs the ignored test `name` as a child, with a directory to work in.
pub fn command(name: &str, dir: &std::path::Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"]);
    command.env(CHILD, dir).stdout(Stdio::piped());
    command
}

/// The directory, in a child.
pub fn dir() -> Option<std::path::PathBuf> {
    std::env::var_os(CHILD).map(Into::into)
}

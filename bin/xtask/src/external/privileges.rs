//! The change of user: what runs and what is kept belongs to the configured one.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::load::{is_served, serve};

/// A user that every system has, with its number.
const NOBODY: (&str, u32) = ("nobody", 65_534);

/// A store that root made, and then a configuration with a user: the next start gives the files to it.
pub fn started_as_root(binary: &Path) -> Result<()> {
    let dir = tempfile::tempdir()?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
    let mut server = serve(binary, &dir.path().canonicalize()?, Some(NOBODY.0))?;
    ensure!(foreign(&server.data())? > 0, "the first run left nothing of root's");
    // Once with root's files, once with those that it made itself.
    for number in 1..=2 {
        server.start()?;
        let result = is_served(number).and_then(|_| runs_as_nobody(server.pid()?));
        result.with_context(|| format!("the end of the server's log:\n{}", server.log()))?;
        let foreign = foreign(&server.data())?;
        ensure!(foreign == 0, "{foreign} files are not the user's");
        server.stop()?;
    }
    server.verify(&server.data())
}

fn runs_as_nobody(pid: u32) -> Result<()> {
    let mut seen = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = match fs::read_to_string(task?.path().join("status")) {
            Ok(status) => status,
            // A thread may end while the server runs, before its file is opened or after.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => continue,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        seen += 1;
        let uids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
        let all = uids.split_whitespace().all(|uid| uid == NOBODY.1.to_string());
        ensure!(all && !uids.is_empty(), "a thread runs as {uids}");
    }
    ensure!(seen > 0, "the server has no threads");
    Ok(())
}

/// Files, directories and sockets below `path`, itself included, that are not the user's.
fn foreign(path: &Path) -> Result<usize> {
    let metadata = fs::symlink_metadata(path)?;
    let mut count = usize::from(metadata.uid() != NOBODY.1);
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            // A table may go while the server runs.
            count += foreign(&entry?.path()).unwrap_or(0);
        }
    }
    Ok(count)
}

//! Dovecot with a configuration of its own: LMTP into maildirs, synced as its manual wants for delivery.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::postfix::id_of;

pub(super) const PROGRAM: &str = "/usr/sbin/dovecot";
pub(super) const LMTP: &str = "/usr/lib/dovecot/lmtp";
/// Where it logs, below the directory.
pub(super) const LOG: &str = "dovecot.log";
/// Whose the maildirs are.
const OWNER: &str = "nobody";

/// Starts it in the foreground. It takes mail at the socket `lmtp`.
pub(super) fn start(dir: &Path, maildirs: &Path, lmtp: &Path) -> Result<Child> {
    fs::create_dir(maildirs)?;
    let (user, group) = (id_of("-u", OWNER)?, id_of("-g", OWNER)?);
    std::os::unix::fs::chown(maildirs, Some(user), Some(group))?;
    let (at, mail) = (dir.display(), maildirs.display());
    let config = dir.join("dovecot.conf");
    fs::write(
        &config,
        format!(
            "protocols = lmtp\n\
             base_dir = {at}/dovecot-run\n\
             state_dir = {at}/dovecot-state\n\
             instance_name = perf\n\
             log_path = {at}/{LOG}\n\
             ssl = no\n\
             mail_location = maildir:{mail}/%n\n\
             mail_fsync = always\n\
             first_valid_uid = 1\n\
             first_valid_gid = 1\n\
             auth_username_format = %Ln\n\
             userdb {{\n  driver = static\n  args = uid={user} gid={group} home={mail}/%n allow_all_users=yes\n}}\n\
             passdb {{\n  driver = static\n  args = nopassword=y\n}}\n\
             service lmtp {{\n  unix_listener {} {{\n    mode = 0666\n  }}\n}}\n",
            lmtp.display()
        ),
    )?;
    Command::new(PROGRAM)
        .arg("-F")
        .arg("-c")
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::options().create(true).append(true).open(dir.join(LOG))?)
        .spawn()
        .context("dovecot could not be started")
}

pub(super) fn stop(dir: &Path) -> Result<()> {
    let output = Command::new(PROGRAM).arg("-c").arg(dir.join("dovecot.conf")).arg("stop").output()?;
    ensure!(output.status.success(), "dovecot stop: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

pub(super) fn version() -> String {
    let output = Command::new(PROGRAM).arg("--version").output();
    let said =
        output.map_or_else(|_| "?".into(), |output| String::from_utf8_lossy(&output.stdout).into_owned());
    said.split_whitespace().next().unwrap_or("?").to_owned()
}

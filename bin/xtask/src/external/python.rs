//! Scripted sessions of Python's `imaplib`, of `imapclient`, of Python with zlib and openssl, of dkimpy, and of
//! neomutt and Thunderbird, and of name servers and resolvers, which Python drives.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::run_program;
use crate::localserve::{Localserve, PASSWORD, USER, port};
use crate::{cargo, install};

const LIMIT: Duration = Duration::from_secs(600);

pub fn imaplib(binary: &Path) -> Result<()> {
    script(binary, "imaplib_session.py")
}

pub fn imapclient(binary: &Path) -> Result<()> {
    script(binary, "imapclient_session.py")
}

/// Python's zlib on the other side of COMPRESS, and certificates that openssl made on that of EXTERNAL.
pub fn compression_and_certificates(binary: &Path) -> Result<()> {
    let server = Localserve::start(binary)?;
    let files = tempfile::tempdir()?;
    let mut command = Command::new("/usr/bin/python3");
    command.arg(cargo::root().join("bin/xtask/clients/compression_and_certificates.py"));
    command.args([port::IMAPS.to_string(), port::SUBMISSIONS.to_string()]).args([USER, PASSWORD]);
    command.arg(server.certificate()).arg(binary).arg(server.socket()).arg(files.path());
    run_program(&mut command, LIMIT)?;
    server.stop_and_verify()
}

/// dkimpy verifies what `postrider dkim` signs, and the other way round.
pub fn dkimpy(binary: &Path) -> Result<()> {
    let files = tempfile::tempdir()?;
    let mut command = Command::new("/usr/bin/python3");
    command.arg(cargo::root().join("bin/xtask/clients/dkim_with_dkimpy.py")).arg(binary).arg(files.path());
    run_program(&mut command, LIMIT).map(drop)
}

/// A signed tree of zones on other people's servers, and Unbound's word on each answer.
pub fn dns_tree(binary: &Path) -> Result<()> {
    let files = tempfile::tempdir()?;
    // Name servers listen on port 53, so they get a network of their own.
    let mut command = Command::new("/usr/bin/unshare");
    command.args(["--net", "/usr/bin/python3"]);
    command.arg(cargo::root().join("bin/xtask/clients/dns_tree.py"));
    command.arg(binary).arg(install::unpacked_programs()).arg(files.path());
    run_program(&mut command, 2 * LIMIT).map(drop)
}

fn script(binary: &Path, name: &str) -> Result<()> {
    let server = Localserve::start(binary)?;
    // Debian's own Python, which sees Debian's packages whatever else is installed.
    let mut command = Command::new("/usr/bin/python3");
    command.arg(cargo::root().join("bin/xtask/clients").join(name));
    command.args([port::IMAP.to_string(), port::IMAPS.to_string()]).args([USER, PASSWORD]);
    command.arg(server.certificate()).env("PYTHONPATH", install::python_packages());
    run_program(&mut command, LIMIT)?;
    server.stop_and_verify()
}

pub fn neomutt(binary: &Path) -> Result<()> {
    script(binary, "neomutt_session.py")
}

pub fn thunderbird(binary: &Path) -> Result<()> {
    script(binary, "thunderbird_session.py")
}

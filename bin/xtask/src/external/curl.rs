//! `curl` as an IMAP client over TLS.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::run_program;
use crate::localserve::{Localserve, PASSWORD, USER, port};

const LIMIT: Duration = Duration::from_secs(180);

/// One request over imaps; what curl printed.
pub fn imap(server: &Localserve, path: &str, request: Option<&str>) -> Result<String> {
    let certificate = server.certificate();
    let url = format!("imaps://localhost:{}/{path}", port::IMAPS);
    let mut command = Command::new("/usr/bin/curl");
    command.args([
        "--silent",
        "--show-error",
        "--max-time",
        "120",
        "--user",
        &format!("{USER}:{PASSWORD}"),
        "--cacert",
    ]);
    command.arg(certificate).arg(url);
    if let Some(request) = request {
        command.args(["--request", request]);
    }
    let output = run_program(&mut command, LIMIT)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

pub fn fetches(binary: &Path) -> Result<()> {
    let server = Localserve::start(binary)?;
    let message = server.dir().join("message.eml");
    std::fs::write(
        &message,
        "From: a@example.org\r\nTo: user@localhost\r\nSubject: over curl\r\n\r\nthe body\r\n",
    )?;
    let mut send = Command::new("/usr/bin/curl");
    send.args([
        "--silent",
        "--show-error",
        "--max-time",
        "120",
        "--mail-from",
        "a@example.org",
        "--mail-rcpt",
        USER,
    ]);
    send.arg("--upload-file").arg(&message).arg(format!("smtp://127.0.0.1:{}/client.example", port::SMTP));
    run_program(&mut send, LIMIT)?;

    let list = imap(&server, "", None)?;
    for mailbox in ["Inbox", "Sent", "Drafts", "Junk", "Trash", "Archive"] {
        ensure!(list.contains(mailbox), "LIST lacks {mailbox}: {list}");
    }
    let whole = imap(&server, "INBOX;MAILINDEX=1", None)?;
    ensure!(
        whole.contains("\r\nSubject: over curl\r\n") && whole.ends_with("\r\n\r\nthe body\r\n"),
        "{whole:?}"
    );
    ensure!(
        whole.starts_with("Return-Path: <a@example.org>\r\n")
            || whole.contains("\r\nReturn-Path: <a@example.org>\r\n"),
        "{whole:?}"
    );
    let header = imap(&server, "INBOX;MAILINDEX=1;SECTION=HEADER.FIELDS%20(SUBJECT)", None)?;
    ensure!(header == "Subject: over curl\r\n\r\n", "{header:?}");
    let found = imap(&server, "INBOX", Some("SEARCH SUBJECT curl"))?;
    ensure!(found.contains("* SEARCH 1"), "{found:?}");
    server.stop_and_verify()
}

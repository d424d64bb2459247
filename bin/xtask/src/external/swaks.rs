//! `swaks`: delivery on port 25, submission with each mechanism it knows.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use super::run_program;
use crate::localserve::{Localserve, PASSWORD, USER, port};

const LIMIT: Duration = Duration::from_secs(180);

fn swaks(port: u16, more: &[&str]) -> Command {
    let mut command = Command::new("/usr/bin/swaks");
    command.args([
        "--server",
        "127.0.0.1",
        "--port",
        &port.to_string(),
        "--helo",
        "client.example",
        "--timeout",
        "120",
    ]);
    command.args(more);
    command
}

pub fn delivers_and_submits(binary: &Path) -> Result<()> {
    let server = Localserve::start(binary)?;
    let mut delivered = 0;
    let mut send = |port: u16, more: &[&str]| -> Result<()> {
        delivered += 1;
        let subject = format!("Subject: message {delivered}");
        let mut all = vec!["--from", "sender@example.org", "--to", USER, "--header", &subject];
        all.extend(more);
        run_program(&mut swaks(port, &all), LIMIT).map(drop)
    };
    send(port::SMTP, &[])?;
    send(port::SMTP, &["--tls"])?;
    send(port::SMTP, &["--pipeline", "--tls"])?;
    send(port::SMTP, &["--to", "user@localhost,someone.else@localhost"])?;
    let credentials = ["--auth-user", USER, "--auth-password", PASSWORD, "--from", USER];
    for mechanism in ["PLAIN", "LOGIN", "CRAM-MD5"] {
        let mut more = vec!["--auth", mechanism];
        more.extend(credentials);
        send(port::SUBMISSION, &[&more[..], &["--tls"]].concat())?;
        send(port::SUBMISSIONS, &[&more[..], &["--tls-on-connect"]].concat())?;
    }
    // One message had two recipients, and all addresses of localserve lead to one account, which
    // gets a message once for each recipient.
    let status = super::curl::imap(&server, "", Some("STATUS Inbox (MESSAGES)"))?;
    ensure!(
        status.contains(&format!("(MESSAGES {})", delivered + 1)),
        "expected {delivered}+1 messages: {status}"
    );
    server.stop_and_verify()
}

pub fn is_refused(binary: &Path) -> Result<()> {
    let server = Localserve::start(binary)?;
    let refused = |port: u16, more: &[&str], reply: &str| -> Result<()> {
        let mut all = vec!["--from", "sender@example.org", "--to", USER];
        all.extend(more);
        match run_program(&mut swaks(port, &all), LIMIT) {
            Ok(_) => bail!("{more:?} on port {port} went through"),
            Err(error) if format!("{error:#}").contains(reply) => Ok(()),
            Err(error) => bail!("{more:?} on port {port} was refused, but not with {reply}: {error:#}"),
        }
    };
    let wrong = ["--auth", "PLAIN", "--auth-user", USER, "--auth-password", "wrong password", "--tls"];
    refused(port::SUBMISSION, &wrong, "535 5.7.8")?;
    let nobody =
        ["--auth", "LOGIN", "--auth-user", "nobody@elsewhere.example", "--auth-password", "x", "--tls"];
    refused(port::SUBMISSION, &nobody, "535 5.7.8")?;
    refused(port::SUBMISSION, &["--tls"], "530 5.7.0")?;
    let other = ["--auth", "PLAIN", "--auth-user", USER, "--auth-password", PASSWORD, "--tls"];
    refused(port::SUBMISSION, &[&other[..], &["--from", "ceo@elsewhere.example"]].concat(), "550 5.7.1")?;
    // RFC 5321 §4.2.2; product: the codes that localserve's addresses ask for.
    refused(port::SMTP, &["--to", "x-550@localhost"], "550")?;
    refused(port::SMTP, &["--to", "x-permerror@localhost"], "550")?;
    refused(port::SMTP, &["--to", "x-temperror@localhost"], "451")?;
    server.stop_and_verify()
}

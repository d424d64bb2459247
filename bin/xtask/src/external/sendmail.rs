//! `postrider sendmail` as programs call it: under its other name, with a message on standard input.

use std::fs::{File, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use super::{curl, run_fed};
use crate::localserve::{Localserve, PASSWORD, USER, port};

const LIMIT: Duration = Duration::from_secs(180);

/// Messages go to the server with each login over TLS; one that is refused is kept, and can be sent again.
pub fn submits(binary: &Path) -> Result<()> {
    let server = Localserve::start(binary)?;
    let home = tempfile::tempdir()?;
    let program = home.path().join("sendmail");
    symlink(binary, &program)?;
    let configure = |more: &str| -> Result<()> {
        let text = format!(
            "host = \"localhost\"\nca_file = {:?}\nusername = {USER:?}\npassword = {PASSWORD:?}\nfrom = {USER:?}\n\
             default_recipient = {USER:?}\n{more}",
            server.certificate().display().to_string()
        );
        let file = home.path().join("sendmail.toml");
        std::fs::write(&file, text)?;
        Ok(std::fs::set_permissions(&file, Permissions::from_mode(0o600))?)
    };
    let send = |words: &[&str], text: &str| -> Result<()> {
        let message = home.path().join("message.eml");
        std::fs::write(&message, text)?;
        let mut command = Command::new(&program);
        command.args(words).env("HOME", home.path());
        command.env("POSTRIDER_SENDMAIL_CONFIG", home.path().join("sendmail.toml"));
        run_fed(&mut command, Stdio::from(File::open(&message)?), LIMIT).map(drop)
    };
    let submission = format!("port = {}\n", port::SUBMISSION);
    configure(&submission)?;
    let text = "From: Cron <root>\nTo: root\nCc: bob@localhost\nBcc: carl@localhost\nSubject: as programs do\n\n.\nthe body\n";
    send(&["-t", "-oi"], text)?;
    let count = |expected: usize| -> Result<()> {
        let status = curl::imap(&server, "", Some("STATUS Inbox (MESSAGES)"))?;
        ensure!(status.contains(&format!("(MESSAGES {expected})")), "expected {expected} messages: {status}");
        Ok(())
    };
    count(3)?;
    let whole = curl::imap(&server, "INBOX;MAILINDEX=1", None)?;
    for part in [
        &format!("\r\nFrom: Cron <{USER}>\r\n")[..],
        "\r\nTo: root\r\n",
        "\r\nSubject: as programs do\r\n",
        "\r\nDate: ",
        "\r\nMessage-ID: <",
        "\r\n\r\n.\r\nthe body\r\n",
    ] {
        ensure!(whole.contains(part), "{part:?} is missing: {whole:?}");
    }
    ensure!(!whole.contains("carl@localhost\r\nSubject") && !whole.contains("Bcc"), "{whole:?}");

    let mechanisms = [
        "SCRAM-SHA-256-PLUS",
        "SCRAM-SHA-256",
        "SCRAM-SHA-1-PLUS",
        "SCRAM-SHA-1",
        "CRAM-MD5",
        "PLAIN",
        "LOGIN",
    ];
    let implicit = format!("port = {}\ntls = \"implicit\"\n", port::SUBMISSIONS);
    for mechanism in mechanisms {
        configure(&format!("{implicit}mechanism = {mechanism:?}\n"))?;
        send(&["-i", "--", "bob@localhost"], &format!("Subject: with {mechanism}\n\nx\n"))?;
    }
    count(3 + mechanisms.len())?;

    // localserve refuses what is for such an address; the file goes to another one.
    configure(&submission)?;
    match send(&["rcptto550@localhost"], "Subject: kept\n\nx\n") {
        Ok(()) => bail!("a refused message was submitted"),
        Err(error) => ensure!(format!("{error:#}").contains("exit status: 67"), "{error:#}"),
    }
    let mut kept = home.path().join("postrider-sendmail.failures").read_dir()?;
    let Some(file) = kept.next().transpose()? else { bail!("nothing was kept") };
    let text = std::fs::read_to_string(file.path())?;
    ensure!(text.contains("Postrider-Failed-Recipient: rcptto550@localhost"), "{text:?}");
    send(&["bob@localhost"], &text)?;
    let whole = curl::imap(&server, &format!("INBOX;MAILINDEX={}", 4 + mechanisms.len()), None)?;
    ensure!(whole.contains("\r\nSubject: kept\r\n") && !whole.contains("Postrider-Failed"), "{whole:?}");
    // As it is, it is for the same one again, whom the server still refuses; with the recipient changed it goes, and the file with it.
    let (name, text) = (file.path().display().to_string(), text.replace("rcptto550@", "bob@"));
    match send(&["--again", &name], "") {
        Ok(()) => bail!("a refused message was submitted"),
        Err(error) => ensure!(format!("{error:#}").contains("exit status: 67"), "{error:#}"),
    }
    std::fs::write(file.path(), text)?;
    send(&["--again", &name], "")?;
    ensure!(!file.path().exists(), "what was submitted is kept");
    count(5 + mechanisms.len())?;
    server.stop_and_verify()
}

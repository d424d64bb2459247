//! Two-way synchronisation of 5,000 messages by `mbsync` and by `offlineimap`; a second
//! synchronisation must find nothing to do.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::{curl, run_program};
use crate::localserve::{Localserve, PASSWORD, USER, port};

const MESSAGES: usize = 5000;
const LIMIT: Duration = Duration::from_secs(1200);

/// An mbox file with [`MESSAGES`] small messages.
fn write_mbox(path: &Path) -> Result<()> {
    let mut text = String::new();
    for number in 0..MESSAGES {
        write!(
            text,
            "From a@example.org Mon Nov  2 10:00:00 2026\nFrom: a@example.org\nTo: {USER}\nSubject: message {number}\n\
             Message-ID: <{number}@example.org>\nDate: Mon, 2 Nov 2026 10:00:00 +0000\n\nBody {number}\n\n"
        )?;
    }
    Ok(fs::write(path, text)?)
}

fn filled_server(binary: &Path) -> Result<Localserve> {
    let server = Localserve::start(binary)?;
    let mbox = server.dir().join("import.mbox");
    write_mbox(&mbox)?;
    server.command(&[
        "--socket",
        &server.socket(),
        "import",
        "mbox",
        "user",
        "Inbox",
        &mbox.display().to_string(),
    ])?;
    expect_messages(&server, "Inbox", MESSAGES)?;
    Ok(server)
}

fn expect_messages(server: &Localserve, mailbox: &str, number: usize) -> Result<()> {
    let status = curl::imap(server, "", Some(&format!("STATUS {mailbox} (MESSAGES)")))?;
    ensure!(status.contains(&format!("(MESSAGES {number})")), "expected {number} in {mailbox}: {status}");
    Ok(())
}

/// A file name and its content for every message file of a Maildir, flags included.
fn maildir_files(maildir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for part in ["cur", "new"] {
        for entry in fs::read_dir(maildir.join(part))? {
            names.push(format!("{part}/{}", entry?.file_name().to_string_lossy()));
        }
    }
    names.sort();
    Ok(names)
}

pub fn mbsync(binary: &Path) -> Result<()> {
    let server = filled_server(binary)?;
    let dir = tempfile::tempdir()?;
    let (maildir, config) = (dir.path().join("mail"), dir.path().join("mbsyncrc"));
    fs::create_dir(&maildir)?;
    fs::write(
        &config,
        format!(
            "IMAPAccount local\nHost localhost\nPort {}\nUser {USER}\nPass {PASSWORD}\nSSLType IMAPS\n\
             CertificateFile {}\nTimeout 120\n\nIMAPStore far\nAccount local\n\nMaildirStore near\nPath {}/\nInbox {}/Inbox\nSubFolders Verbatim\n\n\
             Channel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nRemove Both\nExpunge Both\nSyncState *\n",
            port::IMAPS,
            server.certificate().display(),
            maildir.display(),
            maildir.display(),
        ),
    )?;
    let sync = || -> Result<String> {
        let output =
            run_program(Command::new("/usr/bin/mbsync").arg("-V").arg("-c").arg(&config).arg("-a"), LIMIT)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
    };
    sync()?;
    let inbox = maildir.join("Inbox");
    ensure!(maildir_files(&inbox)?.len() == MESSAGES);
    check_both_ways(&server, &inbox, &mut || sync().map(drop))?;
    let before = maildir_files(&inbox)?;
    let said = sync()?;
    ensure!(maildir_files(&inbox)? == before, "a second synchronisation changed the near side");
    // Progress lines of mbsync read `F: +added *changed #removed`.
    for line in said.lines().filter(|line| line.contains("F: +")) {
        ensure!(line.contains("F: +0/0 *0/0 #0/0  N: +0/0 *0/0 #0/0"), "there was something to do: {line}");
    }
    server.stop_and_verify()
}

/// Changes on each side reach the other: a new local message, a removed one, a flag from the server.
fn check_both_ways(server: &Localserve, inbox: &Path, sync: &mut dyn FnMut() -> Result<()>) -> Result<()> {
    let fresh =
        "From: me@localhost\nTo: a@example.org\nSubject: made here\nMessage-ID: <near@localhost>\n\nnear\n";
    fs::write(inbox.join("cur/1700000000.M1P1.near:2,S"), fresh)?;
    let victim = maildir_files(inbox)?.into_iter().find(|name| !name.contains("near")).unwrap_or_default();
    fs::remove_file(inbox.join(&victim))?;
    curl::imap(server, "Inbox", Some("STORE 100 +FLAGS (\\Flagged)"))?;
    sync()?;
    sync()?;
    expect_messages(server, "Inbox", MESSAGES)?;
    let found = curl::imap(server, "Inbox", Some("SEARCH SUBJECT \"made here\" SEEN"))?;
    ensure!(
        found.contains(&format!("* SEARCH {MESSAGES}")),
        "the new local message is not on the server: {found}"
    );
    let flagged = maildir_files(inbox)?
        .iter()
        .filter(|name| name.rsplit(',').next().is_some_and(|f| f.contains('F')))
        .count();
    ensure!(flagged == 1, "{flagged} local messages have the flag that one has on the server");
    Ok(())
}

pub fn offlineimap(binary: &Path) -> Result<()> {
    let server = filled_server(binary)?;
    let dir = tempfile::tempdir()?;
    let (maildir, config) = (dir.path().join("mail"), dir.path().join("offlineimaprc"));
    fs::write(
        &config,
        format!(
            "[general]\naccounts = local\nmetadata = {}\nui = basic\n\n[Account local]\nlocalrepository = near\nremoterepository = far\n\n\
             [Repository near]\ntype = Maildir\nlocalfolders = {}\nsync_deletes = yes\n\n\
             [Repository far]\ntype = IMAP\nremotehost = localhost\nremoteport = {}\nremoteuser = {USER}\nremotepass = {PASSWORD}\n\
             ssl = yes\nsslcacertfile = {}\nmaxconnections = 1\n",
            dir.path().join("meta").display(),
            maildir.display(),
            port::IMAPS,
            server.certificate().display(),
        ),
    )?;
    let mut sync = || -> Result<()> {
        let mut command = Command::new("/usr/bin/offlineimap");
        command.arg("-c").arg(&config).args(["-o", "-1"]).env("HOME", dir.path());
        run_program(&mut command, LIMIT).map(drop)
    };
    sync()?;
    let inbox = ["INBOX", "Inbox"].map(|name| maildir.join(name)).into_iter().find(|path| path.exists());
    let Some(inbox) = inbox else { anyhow::bail!("offlineimap made no Inbox") };
    ensure!(maildir_files(&inbox)?.len() == MESSAGES);
    check_both_ways(&server, &inbox, &mut sync)?;
    let before = maildir_files(&inbox)?;
    let exists = curl::imap(&server, "", Some("STATUS Inbox (MESSAGES HIGHESTMODSEQ)"))?;
    sync()?;
    ensure!(maildir_files(&inbox)? == before, "a second synchronisation changed the near side");
    let again = curl::imap(&server, "", Some("STATUS Inbox (MESSAGES HIGHESTMODSEQ)"))?;
    ensure!(exists == again, "a second synchronisation changed the far side: {exists} {again}");
    server.stop_and_verify()
}

//! Commands that open a store themselves rather than speak to a server.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use indicatif::ProgressBar;
use postrider_core::config::{ADDRESS, Config, Dns, PASSWORD};
use postrider_core::server;
use postrider_storage::directory;
use postrider_storage::engine::fjall::{FjallEngine, Options};
use postrider_storage::reader::Reader;
use postrider_storage::repair::{self, Force};
use postrider_storage::store::Store;
use postrider_storage::verify::{self, Counts, Report};

use super::locate::{configuration_file, localserve_dir};
use super::resolver::configure;
use crate::arguments::{Asking, Localserve};
use crate::terminal;

/// `postrider serve`
pub fn serve(config: Option<String>) -> anyhow::Result<()> {
    let file = match config {
        Some(file) => PathBuf::from(file),
        None => configuration_file().context(
            "there is no postrider.toml in the current directory or in /etc/postrider. Name one with --config, or write \
             one with: postrider config example > postrider.toml",
        )?,
    };
    run_server(Config::load(&file)?)
}

/// `postrider localserve`
pub fn localserve(arguments: Localserve) -> anyhow::Result<()> {
    let dns = (!arguments.resolver.is_empty())
        .then(|| Asking {
            resolvers: &arguments.resolver,
            trust_anchor: arguments.trust_anchor.as_ref(),
            belief: None,
        })
        .map(configure);
    let dir = match arguments.dir {
        Some(dir) => std::path::absolute(dir)?,
        None => {
            let dir = localserve_dir().context("there is no home directory. Name a directory with --dir")?;
            terminal::say(&format!("Everything is kept in {}.", dir.display()));
            dir
        }
    };
    run_local(&dir, dns)
}

/// `postrider verifydata`
pub fn verifydata(dir: &str) -> anyhow::Result<()> {
    run_verify(Path::new(dir))
}

/// `postrider repair`
pub fn repair(dir: &str, force: bool) -> anyhow::Result<()> {
    run_repair(Path::new(dir), force)
}

fn run_server(config: Config) -> anyhow::Result<()> {
    Ok(server::serve(config)?)
}

fn run_local(dir: &Path, dns: Option<Dns>) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("can't make {}", dir.display()))?;
    terminal::say(&local_urls(dir));
    let config = Config { dns, ..Config::localserve(dir) };
    Ok(server::serve(config)?)
}

/// What a person pastes into clients.
fn local_urls(dir: &Path) -> String {
    format!(
        "Postrider runs a local instance. Account {ADDRESS}, password {PASSWORD}.\n\n  \
         SMTP         smtp://127.0.0.1:1025\n  \
         Submission   smtp://user%40localhost:{PASSWORD}@127.0.0.1:1587 (STARTTLS)\n  \
         Submission   smtps://user%40localhost:{PASSWORD}@127.0.0.1:1465\n  \
         IMAP         imap://user%40localhost:{PASSWORD}@127.0.0.1:1143 (STARTTLS)\n  \
         IMAP         imaps://user%40localhost:{PASSWORD}@127.0.0.1:1993\n  \
         Metrics      http://127.0.0.1:1081/metrics\n\n\
         Certificate to trust: {cert}\nStop it with Ctrl-C, or: postrider --socket {socket} stop\n",
        cert = dir.join("data/selfsigned.pem").display(),
        socket = dir.join("data/ctl").display(),
    )
}

fn run_verify(dir: &Path) -> anyhow::Result<()> {
    let engine = FjallEngine::open(Options::at(store_in(dir)))?;
    let store = Store::open(Arc::new(engine))?;
    let reader = store.reader();
    // Not drawn when standard error is no terminal.
    let progress = ProgressBar::new_spinner().with_message("messages checked");
    let mut directory = |reader: &Reader, report: &mut Report| {
        for violation in directory::verify(reader.snapshot())? {
            report.violation(
                format_args!("directory, {}", violation.subject),
                format_args!("{:?}", violation.rule),
            );
        }
        Ok(())
    };
    let report = verify::verify(reader, Some(&mut directory), &mut |counts| {
        progress.set_position(counts.messages);
    })?;
    progress.finish_and_clear();
    let Counts { accounts, mailboxes, messages, blobs, octets, queued, .. } = report.counts;
    terminal::say(&format!(
        "{accounts} accounts, {mailboxes} mailboxes, {messages} messages, {blobs} contents of {octets} octets, \
         {queued} queued messages."
    ));
    for violation in &report.violations {
        terminal::say(&violation.to_string());
    }
    if !report.is_clean() {
        bail!(
            "{} things are not as they must be. Keep a copy of {} before anything else, and report this",
            report.violation_count,
            dir.display()
        );
    }
    terminal::say("Everything is as it must be.");
    Ok(())
}

fn run_repair(dir: &Path, force: bool) -> anyhow::Result<()> {
    let store = store_in(dir);
    let force = if force { Force::Yes } else { Force::No };
    let (inspection, cuts) = repair::repair(&store, force)?;
    terminal::say(&inspection.to_string());
    for cut in &cuts {
        terminal::say(&cut.to_string());
    }
    if cuts.is_empty() {
        terminal::say("Nothing was cut.");
    }
    Ok(())
}

/// The store's own directory, for one who names the data directory.
fn store_in(dir: &Path) -> PathBuf {
    let below = dir.join("store");
    if below.is_dir() { below } else { dir.to_owned() }
}

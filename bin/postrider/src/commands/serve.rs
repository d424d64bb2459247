//! Commands that open a store themselves rather than speak to a server.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use postrider_core::config::Config;

use super::locate::{configuration_file, localserve_dir};
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
pub fn localserve(dir: Option<String>) -> anyhow::Result<()> {
    let dir = match dir {
        Some(dir) => std::path::absolute(dir)?,
        None => {
            let dir = localserve_dir().context("there is no home directory. Name a directory with --dir")?;
            terminal::say(&format!("Everything is kept in {}.", dir.display()));
            dir
        }
    };
    run_local(&dir)
}

/// `postrider verifydata`
pub fn verifydata(dir: &str) -> anyhow::Result<()> {
    run_verify(Path::new(dir))
}

/// `postrider repair`
pub fn repair(dir: &str, force: bool) -> anyhow::Result<()> {
    run_repair(Path::new(dir), force)
}

// The four call sites of the server and the store, each to become one call.

fn run_server(config: Config) -> anyhow::Result<()> {
    bail!("serving {} is not yet wired", config.hostname)
}

fn run_local(dir: &Path) -> anyhow::Result<()> {
    bail!("localserve in {} is not yet wired", dir.display())
}

fn run_verify(dir: &Path) -> anyhow::Result<()> {
    bail!("verifying {} is not yet wired", dir.display())
}

fn run_repair(dir: &Path, force: bool) -> anyhow::Result<()> {
    bail!("repairing {} is not yet wired (force: {force})", dir.display())
}

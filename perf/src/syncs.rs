//! What this disk and its file system can do: the yardsticks beside which the server is measured.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Result, bail};
use argh::FromArgs;

use crate::figures::Latencies;

/// Store each message as a file of its own, with a sync of the file and of its directory.
#[derive(FromArgs)]
#[argh(subcommand, name = "files")]
pub struct Files {
    /// an existing directory on the disk to measure
    #[argh(option)]
    dir: PathBuf,
    /// writers at the same time (default 64)
    #[argh(option, default = "64")]
    writers: usize,
    /// messages in all (default 5000)
    #[argh(option, default = "5_000")]
    messages: usize,
    /// octets of a message (default 10240)
    #[argh(option, default = "10_240")]
    size: usize,
    /// directories, as accounts would have (default 16)
    #[argh(option, default = "16")]
    accounts: usize,
}

/// Append to one file and sync it, again and again.
#[derive(FromArgs)]
#[argh(subcommand, name = "fdatasync")]
pub struct Fdatasync {
    /// an existing directory on the disk to measure
    #[argh(option)]
    dir: PathBuf,
    /// how often (default 500)
    #[argh(option, default = "500")]
    times: usize,
    /// octets appended before each sync (default 10240)
    #[argh(option, default = "10_240")]
    size: usize,
}

pub fn run_files(scenario: &Files) -> Result<()> {
    let Written { seconds, latencies } = write_all(scenario)?;
    println!(
        "files: {} messages of {} octets, {} writers, fsync of file and directory: {:.0} messages/s, {}",
        scenario.messages,
        scenario.size,
        scenario.writers,
        scenario.messages as f64 / seconds,
        latencies.describe()
    );
    Ok(())
}

/// What writing files came to.
pub struct Written {
    /// From the first octet to the last sync.
    pub seconds: f64,
    /// Each from opening the file to the sync of its directory.
    pub latencies: Latencies,
}

impl Files {
    /// So many messages of that size, into the directories of 16 accounts.
    pub fn new(dir: PathBuf, writers: usize, messages: usize, size: usize) -> Self {
        Self { dir, writers, messages, size, accounts: 16 }
    }

    /// Messages in all.
    pub fn messages(&self) -> usize {
        self.messages
    }
}

/// Writes all files, and removes them.
pub fn write_all(scenario: &Files) -> Result<Written> {
    let root = scenario.dir.join("postrider-perf-files");
    for account in 0..scenario.accounts {
        fs::create_dir_all(root.join(account.to_string()))?;
    }
    let next = AtomicUsize::new(0);
    let begun = Instant::now();
    let latencies = std::thread::scope(|scope| -> Result<Latencies> {
        let writers: Vec<_> =
            (0..scenario.writers).map(|_| scope.spawn(|| write_files(scenario, &root, &next))).collect();
        let mut all = Latencies::new();
        for writer in writers {
            match writer.join() {
                Ok(latencies) => all.merge(&latencies?),
                Err(_) => bail!("a writer panicked"),
            }
        }
        Ok(all)
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    fs::remove_dir_all(&root)?;
    Ok(Written { seconds, latencies })
}

fn write_files(scenario: &Files, root: &Path, next: &AtomicUsize) -> Result<Latencies> {
    let mut latencies = Latencies::new();
    let content = vec![b'x'; scenario.size];
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= scenario.messages {
            return Ok(latencies);
        }
        let dir = root.join((number % scenario.accounts).to_string());
        let begun = Instant::now();
        let (temporary, name) = (dir.join(format!("{number}.tmp")), dir.join(number.to_string()));
        let mut file = File::create(&temporary)?;
        file.write_all(&content)?;
        file.sync_all()?;
        fs::rename(temporary, name)?;
        File::open(&dir)?.sync_all()?;
        latencies.record(begun.elapsed());
    }
}

pub fn run_fdatasync(scenario: &Fdatasync) -> Result<()> {
    let latencies = sync_often(&scenario.dir, scenario.times, scenario.size)?;
    println!("fdatasync: {} times after {} octets: {}", scenario.times, scenario.size, latencies.describe());
    Ok(())
}

/// The latencies of so many syncs of one file, one after the other.
pub fn sync_often(dir: &Path, times: usize, size: usize) -> Result<Latencies> {
    let mut file = scratch_file(dir)?;
    let content = vec![b'x'; size];
    let mut latencies = Latencies::new();
    for _ in 0..times {
        file.1.write_all(&content)?;
        let begun = Instant::now();
        file.1.sync_data()?;
        latencies.record(begun.elapsed());
    }
    fs::remove_file(&file.0)?;
    Ok(latencies)
}

fn scratch_file(dir: &Path) -> Result<(PathBuf, File)> {
    let path = dir.join("postrider-perf-fdatasync");
    let file = File::create(&path)?;
    Ok((path, file))
}

//! The preloaded library of `perf/shim`, and reading its log.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::cargo;

/// Octets of the log. It is sparse: only what is used takes space.
const LOG_OCTETS: u64 = 4 << 30;
const HEADER: usize = 64;
const RECORD: usize = 64;

/// Compiles the library into `dir`.
pub fn compile(dir: &Path) -> Result<PathBuf> {
    let library = dir.join("shim.so");
    let output = Command::new("cc")
        .args(["-O2", "-Wall", "-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(cargo::root().join("perf/shim/shim.c"))
        .arg("-ldl")
        .output()
        .context("cc could not be started; the package gcc brings it")?;
    if !output.status.success() {
        bail!("cc: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(library)
}

/// Makes an empty log.
pub fn new_log(path: &Path) -> Result<()> {
    let file = std::fs::File::create(path)?;
    Ok(file.set_len(LOG_OCTETS)?)
}

/// What was logged.
#[derive(Debug)]
pub struct Log {
    octets: Vec<u8>,
    /// All records, in their order.
    pub records: Vec<Record>,
    /// Octets that the server wrote below the directory.
    pub written: u64,
}

/// One record. Places are offsets in the log, and serve as time.
#[derive(Debug)]
pub struct Record {
    /// Where the record is.
    pub at: u64,
    /// How far the log was when the call had returned; None when it had not, or failed.
    pub done: Option<u64>,
    /// The file's inode number.
    pub inode: u64,
    /// What was done.
    pub what: What,
}

/// What was done to a file.
#[derive(Debug)]
pub enum What {
    /// A write, or a change of size.
    Write {
        /// Its first octet.
        offset: u64,
        /// Its octets.
        length: u64,
        /// The file's size before and, if it succeeded, after.
        size: (u64, u64),
        /// Where the log has what was there before.
        before: (usize, usize),
    },
    /// A sync.
    Sync,
    /// A sync of a directory, which held these names and inodes.
    SyncDirectory(Vec<(String, u64)>),
}

impl Log {
    /// Reads a log whose server was killed.
    pub fn read(path: &Path) -> Result<Self> {
        use std::os::unix::fs::FileExt;
        let file = std::fs::File::open(path)?;
        let mut header = [0; HEADER];
        file.read_exact_at(&mut header, 0)?;
        let used = usize::try_from(number(&header, 0))?;
        ensure!(used >= HEADER, "the shim was not loaded");
        ensure!(header[16..20] == [0; 4], "the shim had a problem; see the server's log");
        let mut octets = vec![0; used];
        file.read_exact_at(&mut octets, 0)?;
        let mut records = Vec::new();
        let mut at = HEADER;
        while at < used {
            let field = |index: usize| number(&octets, at + 8 * index);
            // A server that was killed while it reserved has left zeros at the end.
            let (kind, complete) = (field(0) as u32, field(0) >> 32);
            if complete != 1 {
                break;
            }
            let payload = (at + RECORD, usize::try_from(field(7))?);
            let what = match kind {
                1 => What::Write {
                    offset: field(2),
                    length: field(3),
                    size: (field(4), field(5)),
                    before: payload,
                },
                2 => What::Sync,
                3 => What::SyncDirectory(listing(&octets[payload.0..payload.0 + payload.1])?),
                _ => bail!("a record of kind {kind} at {at}"),
            };
            let done = Some(field(6)).filter(|done| *done != 0);
            records.push(Record { at: at as u64, done, inode: field(1), what });
            at = (payload.0 + payload.1).next_multiple_of(8);
        }
        Ok(Self { written: number(&header, 8), octets, records })
    }

    /// What was there before a write, from the start of its first page on, without zeros at the end.
    pub fn before(&self, place: (usize, usize)) -> &[u8] {
        &self.octets[place.0..place.0 + place.1]
    }
}

fn number(octets: &[u8], at: usize) -> u64 {
    let mut field = [0; 8];
    field.copy_from_slice(&octets[at..at + 8]);
    u64::from_ne_bytes(field)
}

fn listing(text: &[u8]) -> Result<Vec<(String, u64)>> {
    let text = std::str::from_utf8(text)?;
    text.lines()
        .map(|line| {
            let (inode, name) = line.split_once(' ').context("a line of a listing")?;
            Ok((name.to_owned(), inode.parse()?))
        })
        .collect()
}

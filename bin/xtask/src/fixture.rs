//! Stores for programs of later formats to upgrade from: filled by a program (`bin/xtask/fixture/fill.py`), and packed into
//! the form that `storage/tests/upgrade` reads.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use argh::FromArgs;
use postrider_proto::gzip::compress;

use crate::cargo;

/// Have a program fill a store as users do, kill it while it delivers, and pack the store into FILE.
#[derive(FromArgs)]
#[argh(subcommand, name = "fixture")]
pub struct Fixture {
    /// the program, such as that of a release (default: a release build)
    #[argh(option)]
    binary: Option<PathBuf>,
    /// the file to write, such as storage/tests/upgrade/format-3.store.gz
    #[argh(positional)]
    file: PathBuf,
}

/// `cargo xtask fixture`.
pub fn run(arguments: &Fixture) -> Result<bool> {
    let binary = match &arguments.binary {
        Some(binary) => binary.canonicalize().context("there is no such program")?,
        None => cargo::release_binary()?,
    };
    let directory = tempfile::tempdir()?;
    let mut fill = Command::new("python3");
    fill.arg(cargo::root().join("bin/xtask/fixture/fill.py")).arg(binary).arg(directory.path());
    ensure!(
        fill.status().context("python3 could not be started")?.success(),
        "the store could not be filled"
    );
    let packed = pack(&directory.path().join("data/store"))?;
    fs::write(&arguments.file, &packed)?;
    println!("{}: {} octets", arguments.file.display(), packed.len());
    Ok(true)
}

/// The files of a folder, as `storage/tests/upgrade/pack.rs` says.
fn pack(folder: &Path) -> Result<Vec<u8>> {
    let mut files = Vec::new();
    list(folder, &mut files)?;
    files.sort();
    let mut out = Vec::new();
    for file in files {
        let content = fs::read(&file)?;
        let written = content.iter().rposition(|octet| *octet != 0).map_or(0, |last| last + 1);
        let path = file.strip_prefix(folder)?.to_str().context("a name that isn't UTF-8")?;
        out.extend_from_slice(format!("{written} {} {path}\n", content.len()).as_bytes());
        out.extend_from_slice(&content[..written]);
    }
    Ok(compress(&out))
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed test may panic")]

    use postrider_proto::gzip::decompress;

    use super::*;

    #[test]
    fn zeros_at_the_end_of_files_are_counted_and_left_away() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("b")).unwrap();
        fs::write(folder.path().join("b/c"), b"x\0y\0\0").unwrap();
        fs::write(folder.path().join("a"), b"").unwrap();
        let packed = pack(folder.path()).unwrap();
        assert_eq!(decompress(&packed, 100).unwrap(), b"0 0 a\n3 5 b/c\nx\0y");
    }
}

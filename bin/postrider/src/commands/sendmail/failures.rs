//! Messages that could not be submitted, kept in the caller's home directory.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::message::{Content, KEPT_PREFIX};

/// The directory, in that of the caller.
const DIRECTORY: &str = "postrider-sendmail.failures";
/// Octets that are copied at once.
const PIECE_OCTETS: usize = 64 << 10;

/// Who the message was for, and why it wasn't submitted.
pub struct About<'a> {
    pub sender: Option<String>,
    /// With what was said about each.
    pub recipients: Vec<String>,
    pub reason: &'a str,
}

/// Writes a message into a file of its own below `home`, readable by its owner alone, and on the disk when this
/// returns. Fields at its start say who it was for; they are taken out when it is submitted again.
pub fn keep(home: &Path, unique: &str, about: &About<'_>, content: &mut Content) -> std::io::Result<PathBuf> {
    let directory = home.join(DIRECTORY);
    DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
    let file = directory.join(format!("{unique}.eml"));
    let kept = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file)?;
    write(&kept, about, content)?;
    kept.sync_all()?;
    File::open(&directory)?.sync_all()?;
    Ok(file)
}

fn write(mut file: &File, about: &About<'_>, content: &mut Content) -> std::io::Result<()> {
    let mut field = |name: &str, value: &str| {
        let value: String = value.chars().map(|one| if one.is_control() { ' ' } else { one }).collect();
        file.write_all(format!("{KEPT_PREFIX}{name}: {value}\r\n").as_bytes())
    };
    field("Reason", about.reason)?;
    if let Some(sender) = &about.sender {
        field("Sender", sender)?;
    }
    for recipient in &about.recipients {
        field("Recipient", recipient)?;
    }
    content.rewind()?;
    let mut buffer = vec![0; PIECE_OCTETS];
    loop {
        match content.read(&mut buffer)? {
            0 => return Ok(()),
            octets => file.write_all(&buffer[..octets])?,
        }
    }
}

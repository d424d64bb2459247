//! Messages that could not be submitted, kept in the caller's home directory.
//!
//! Fields at the start of a file say how it is submitted again, a line each: why it is there, the options, the sender, and each
//! recipient with what was said about it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{BufRead, Read as _, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::exit::{Code, Failed};
use super::message::{Content, KEPT_PREFIX};
use super::words::{self, Job, Order};

/// The directory, in that of the caller.
const DIRECTORY: &str = "postrider-sendmail.failures";
/// Octets that are copied at once.
const PIECE_OCTETS: usize = 64 << 10;
/// The longest line of a field: an address as a caller wrote it, and a reply.
const LINE_OCTETS_MAX: u64 = 1 << 20;

/// A message that wasn't submitted, or not for all.
pub struct Unsent {
    /// Whether some recipients have it.
    pub is_partial: bool,
    /// What is told of it.
    pub failed: Failed,
    pub reason: String,
    pub options: Vec<String>,
    pub sender: Option<String>,
    /// Those who don't have it, each as a list with what was said about it as a comment.
    pub recipients: Vec<String>,
    pub content: Content,
}

impl Unsent {
    /// Writes it into a file of its own below `home`, readable by its owner alone, and on the disk when this returns.
    pub fn keep(&mut self, home: &Path, unique: &str) -> std::io::Result<PathBuf> {
        let directory = home.join(DIRECTORY);
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let file = directory.join(format!("{unique}.eml"));
        let kept = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file)?;
        self.write(&kept)?;
        kept.sync_all()?;
        File::open(&directory)?.sync_all()?;
        Ok(file)
    }

    fn write(&mut self, mut file: &File) -> std::io::Result<()> {
        let mut field = |name: &str, value: &str| {
            let value: String = value.chars().map(|one| if one.is_control() { ' ' } else { one }).collect();
            file.write_all(format!("{KEPT_PREFIX}{name}: {value}\r\n").as_bytes())
        };
        field("Reason", &self.reason)?;
        for option in &self.options {
            field("Option", option)?;
        }
        if let Some(sender) = &self.sender {
            field("Sender", sender)?;
        }
        for recipient in &self.recipients {
            field("Recipient", recipient)?;
        }
        self.content.rewind()?;
        let mut buffer = vec![0; PIECE_OCTETS];
        loop {
            match self.content.read(&mut buffer)? {
                0 => return Ok(()),
                octets => file.write_all(&buffer[..octets])?,
            }
        }
    }
}

/// A text as a comment of an address (RFC 5322 §3.2.2).
pub fn comment(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('(', "\\(").replace(')', "\\)");
    format!("({escaped})")
}

/// Reads the fields at the start of a kept message: how it is submitted again, and what was read of the message itself.
pub fn read_fields(input: &mut impl BufRead) -> Result<(Order, Vec<u8>), Failed> {
    let bad = |problem: &str| Failed::new(Code::Data, problem);
    let (mut options, mut sender, mut recipients) = (vec!["-i".to_owned()], Vec::new(), Vec::new());
    let mut is_kept = false;
    loop {
        let mut line = Vec::new();
        input
            .take(LINE_OCTETS_MAX)
            .read_until(b'\n', &mut line)
            .map_err(|error| Failed::io("it can't be read", &error))?;
        if line.len() as u64 == LINE_OCTETS_MAX {
            return Err(bad("a field at its start is too long"));
        }
        let field = str::from_utf8(&line).ok().and_then(|line| line.strip_prefix(KEPT_PREFIX));
        let Some((name, value)) = field.and_then(|field| field.split_once(':')) else {
            if !is_kept {
                return Err(bad(
                    "it is no message that sendmail kept: submit it with -t, or with its recipients",
                ));
            }
            let words = [options, sender, vec!["--".to_owned()], recipients].concat();
            let read = words::read(&words);
            return match read.map_err(|problem| bad(&format!("its fields make no sense: {problem}")))? {
                Job::Submit(order) => Ok((*order, line)),
                _ => Err(bad("its options are not about submitting a message")),
            };
        };
        is_kept = true;
        let value = value.trim().to_owned();
        match name {
            "Option" => options.push(value),
            "Sender" => sender = vec!["-f".to_owned(), value],
            "Recipient" => recipients.push(value),
            _ => {}
        }
    }
}

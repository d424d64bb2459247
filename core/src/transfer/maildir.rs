//! Reading a Maildir: `cur` and `new`, and the folders of Maildir++ below it.
//!
//! Messages come in the order of their files' names, which begin with the time of delivery; of a huge
//! mailbox, some ten thousand at a time are put in order. The date is that of the file.

use std::ffi::OsString;
use std::fs::{self, File, ReadDir};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::types::Keyword;

use super::convert::ToCrlf;
use super::files;
use super::flags::{Marks, read_keywords};
use super::source::{Event, PIECE_MESSAGES, PIECE_OCTETS, READ_OCTETS, Source, changed, open};

/// Names that are put in order together; about 5 MiB.
const NAMES_MAX: usize = 50_000;
/// The longest `dovecot-keywords` that is read.
const KEYWORDS_OCTETS_MAX: u64 = 64 * 1024;

/// A Maildir that is read.
pub(super) struct Maildir {
    /// Folders that are still to be read, the next one last.
    folders: Vec<(MailboxName, PathBuf)>,
    /// Directories of the present folder that are still to be listed, the next one last.
    directories: Vec<(PathBuf, Option<ReadDir>)>,
    keywords: Vec<Option<Keyword>>,
    /// Files that are still to be read, the next one last.
    names: Vec<(PathBuf, OsString)>,
    reading: Option<(File, ToCrlf, Marks)>,
    begin: Vec<Event>,
}

impl Maildir {
    /// Opens the Maildir at `path`, whose messages are `mailbox`.
    pub(super) fn open(path: &Path, mailbox: &MailboxName) -> io::Result<Self> {
        if !path.join("cur").is_dir() && !path.join("new").is_dir() {
            // Tells apart what is not there, what must not be read, and what is something else.
            fs::read_dir(path)?;
            return Err(io::Error::other("it has neither a directory cur nor new, so it is no Maildir"));
        }
        let (mut folders, mut begin) = (vec![(mailbox.clone(), path.to_owned())], Vec::new());
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(folder) = name.as_bytes().strip_prefix(b".") else { continue };
            let folder_path = entry.path();
            if !folder_path.join("cur").is_dir() && !folder_path.join("new").is_dir() {
                continue;
            }
            match std::str::from_utf8(folder).ok().and_then(|folder| files::decode(folder, mailbox)) {
                Some(name) => folders.push((name, folder_path)),
                None => begin.push(Event::Skip(format!(
                    "{}: its name can't be that of a mailbox",
                    folder_path.display()
                ))),
            }
        }
        folders.sort();
        // The one that was named comes first, and the first is taken from the end.
        folders.reverse();
        Ok(Self {
            folders,
            directories: Vec::new(),
            keywords: Vec::new(),
            names: Vec::new(),
            reading: None,
            begin,
        })
    }

    /// The next file; none when all were read.
    fn next_file(&mut self, events: &mut Vec<Event>) -> io::Result<Option<PathBuf>> {
        loop {
            if let Some((directory, name)) = self.names.pop() {
                return Ok(Some(directory.join(name)));
            }
            self.list(events)?;
            if !self.names.is_empty() {
                // The first one is taken from the end.
                self.names.sort_by(|a, b| order(&b.1).cmp(&order(&a.1)));
                continue;
            }
            let Some((mailbox, path)) = self.folders.pop() else { return Ok(None) };
            events.push(Event::Mailbox(mailbox));
            self.keywords = keywords(&path);
            self.directories = ["new", "cur"].map(|directory| (path.join(directory), None)).into();
        }
    }

    /// Lists some files of the present folder.
    fn list(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        while let Some((path, listing)) = self.directories.last_mut() {
            let listing = match listing {
                Some(listing) => listing,
                None => match fs::read_dir(&*path) {
                    Ok(opened) => listing.insert(opened),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        self.directories.pop();
                        continue;
                    }
                    Err(error) => {
                        events.push(Event::Skip(format!("{}: {error}", path.display())));
                        self.directories.pop();
                        continue;
                    }
                },
            };
            for entry in listing.by_ref() {
                let name = entry?.file_name();
                if !name.as_bytes().starts_with(b".") {
                    self.names.push((path.clone(), name));
                }
                if self.names.len() == NAMES_MAX {
                    return Ok(());
                }
            }
            self.directories.pop();
        }
        Ok(())
    }

    fn begin(&mut self, path: &Path, events: &mut Vec<Event>) {
        match open(path) {
            Ok(file) => {
                let name = path.file_name().map(OsStrExt::as_bytes).unwrap_or_default();
                let mut marks = Marks::of_file_name(name, &self.keywords);
                marks.keywords.dedup();
                events.push(Event::Begin(path.display().to_string()));
                self.reading = Some((file, ToCrlf::default(), marks));
            }
            Err(error) => events.push(Event::Skip(format!("{}: {error}", path.display()))),
        }
    }
}

impl Source for Maildir {
    fn count(&mut self) -> Option<u64> {
        let mut count = 0;
        for (_, folder) in &self.folders {
            for directory in ["cur", "new"] {
                let Ok(entries) = fs::read_dir(folder.join(directory)) else { continue };
                let names = entries.filter_map(|entry| entry.ok().map(|entry| entry.file_name()));
                count += names.filter(|name| !name.as_bytes().starts_with(b".")).count() as u64;
            }
        }
        Some(count)
    }

    fn read(&mut self) -> io::Result<Vec<Event>> {
        let mut events = std::mem::take(&mut self.begin);
        let (mut octets, mut messages) = (0, 0);
        let mut buffer = vec![0; READ_OCTETS];
        while octets < PIECE_OCTETS && messages < PIECE_MESSAGES {
            let Some((file, convert, _)) = &mut self.reading else {
                let Some(path) = self.next_file(&mut events)? else { break };
                self.begin(&path, &mut events);
                messages += 1;
                continue;
            };
            let count = match file.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    events.push(Event::Broken(error.to_string()));
                    self.reading = None;
                    continue;
                }
                Ok(count) => count,
            };
            if count == 0 {
                if let Some((file, _, marks)) = self.reading.take() {
                    events.push(Event::End { marks, received: changed(&file) });
                }
                continue;
            }
            let mut converted = Vec::with_capacity(count + count / 32);
            convert.push(buffer.get(..count).unwrap_or_default(), &mut converted);
            octets += converted.len();
            events.push(Event::Octets(converted));
        }
        Ok(events)
    }
}

/// By the number that a name begins with, and then by the name.
fn order(name: &OsString) -> (u64, &[u8]) {
    let name = name.as_bytes();
    let digits = name.iter().take_while(|octet| octet.is_ascii_digit()).count();
    let number = name.get(..digits).and_then(|digits| std::str::from_utf8(digits).ok());
    (number.and_then(|number| number.parse().ok()).unwrap_or(0), name)
}

fn keywords(folder: &Path) -> Vec<Option<Keyword>> {
    let mut text = Vec::new();
    match open(&folder.join("dovecot-keywords")) {
        // What can't be read gives no keywords; the messages count more.
        Ok(file) => drop(file.take(KEYWORDS_OCTETS_MAX).read_to_end(&mut text)),
        Err(_) => return Vec::new(),
    }
    read_keywords(&text)
}

//! Writing messages to a Maildir or an mbox file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::types::{Keyword, Uid};
use postrider_storage::account::Content;
use postrider_storage::blobs::BlobReader;
use postrider_storage::ids::{AccountId, MailboxId};
use postrider_storage::reader::Reader;
use postrider_storage::rows::MessageRow;
use postrider_storage::store::StoreError;

use super::convert::ToLf;
use super::flags::{LETTERS, Marks, write_keywords};
use super::source::moment;
use super::{date, files};
use crate::control::protocol::Format;

/// Octets of an mbox file that are written at once.
const BUFFER_OCTETS: usize = 128 * 1024;

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Exported {
    pub(super) messages: u64,
    pub(super) octets: u64,
    pub(super) skipped: Vec<String>,
}

/// Why a message was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteFailed {
    #[error(transparent)]
    Files(#[from] io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Writes one mailbox.
pub(super) enum Writer {
    /// To a Maildir.
    Maildir {
        /// It.
        path: PathBuf,
        /// Those with letters.
        keywords: Vec<Keyword>,
        /// How many keywords of messages had no letter.
        lost: u64,
    },
    /// To an mbox file.
    Mbox(BufWriter<File>),
}

impl Writer {
    /// Makes the files of a mailbox; `alone` when it is the only one.
    pub(super) fn begin(
        format: Format,
        dir: &Path,
        name: &MailboxName,
        id: MailboxId,
        alone: bool,
    ) -> io::Result<Self> {
        let file = files::encode(name, id);
        match format {
            Format::Maildir => {
                let path =
                    if alone || name.is_inbox() { dir.to_owned() } else { dir.join(format!(".{file}")) };
                let mut builder = fs::DirBuilder::new();
                builder.mode(0o700);
                if path != dir {
                    builder.create(&path)?;
                    // How Maildir++ says that it is a folder.
                    create(&path.join("maildirfolder"))?;
                }
                for directory in ["cur", "new", "tmp"] {
                    builder.create(path.join(directory))?;
                }
                Ok(Self::Maildir { path, keywords: Vec::new(), lost: 0 })
            }
            Format::Mbox => {
                let file = create(&dir.join(format!("{file}.mbox")))?;
                Ok(Self::Mbox(BufWriter::with_capacity(BUFFER_OCTETS, file)))
            }
        }
    }

    /// Writes a message; gives its octets.
    pub(super) fn message(
        &mut self,
        reader: &Reader,
        account: AccountId,
        uid: Uid,
        row: &MessageRow,
    ) -> Result<u64, WriteFailed> {
        let email = reader.email(account, row.email)?;
        let email = email.ok_or(StoreError::Inconsistent("a message has no email"))?;
        let mut marks = Marks { flags: row.flags, keywords: Vec::new() };
        for id in &row.keywords {
            marks.keywords.extend(reader.keyword(account, *id)?);
        }
        let size = email.size.saturating_sub(email.prefix.len() as u64);
        let content = BlobReader::new(Content { blob: email.blob, size }, 0..size);
        match self {
            Self::Maildir { path, keywords, lost } => {
                let (letters, without) = marks.to_file_name(keywords);
                *lost += without.len() as u64;
                let name = format!("{}.M{}.postrider", row.received.max(0), uid);
                let partial = path.join("tmp").join(&name);
                let mut file = create(&partial)?;
                let written = copy(reader, &email.prefix, content, |octets| file.write_all(octets));
                if let Err(error) = written {
                    fs::remove_file(&partial)?;
                    return Err(error);
                }
                file.set_modified(moment(row.received))?;
                fs::rename(&partial, path.join("cur").join(format!("{name}:2,{letters}")))?;
            }
            Self::Mbox(file) => {
                let start = file.stream_position()?;
                write!(file, "From MAILER-DAEMON {}\n{}", date::write(row.received), marks.to_fields())?;
                let mut quoter = Quoter::default();
                let written = copy(reader, &email.prefix, content, |octets| quoter.write(octets, file));
                if let Err(error) = written {
                    file.seek(SeekFrom::Start(start))?;
                    file.get_mut().set_len(start)?;
                    return Err(error);
                }
                quoter.finish(file)?;
            }
        }
        Ok(email.size)
    }

    /// Ends the mailbox; says what could not be written.
    pub(super) fn end(self) -> io::Result<Option<String>> {
        match self {
            Self::Maildir { path, keywords, lost } => {
                if !keywords.is_empty() {
                    create(&path.join("dovecot-keywords"))?
                        .write_all(write_keywords(&keywords).as_bytes())?;
                }
                Ok((lost > 0).then(|| {
                    format!("{lost} keywords of messages: a Maildir has letters for {LETTERS} only")
                }))
            }
            Self::Mbox(mut file) => {
                file.flush()?;
                Ok(None)
            }
        }
    }
}

/// Mail is for its owner only.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Writes a message with LF.
fn copy(
    reader: &Reader,
    prefix: &[u8],
    mut content: BlobReader,
    mut write: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), WriteFailed> {
    let mut convert = ToLf::default();
    let mut out = Vec::new();
    convert.push(prefix, &mut out);
    write(&out)?;
    while let Some(piece) = content.read(reader)? {
        out.clear();
        convert.push(&piece, &mut out);
        write(&out)?;
    }
    out.clear();
    convert.finish(&mut out);
    Ok(write(&out)?)
}

/// Puts a `>` in front of lines that a reader would take for a From_ line, or for one with `>` in front
/// (`mboxrd`).
#[derive(Default)]
struct Quoter {
    /// Octets of the line, as far as it is `>`s and then a beginning of `From `.
    matched: Match,
    /// The last octet, to end the last line.
    last: Option<u8>,
}

#[derive(Clone, Copy, Default)]
enum Match {
    /// At the start of a line, or behind `>`s.
    #[default]
    Quotes,
    /// So many octets of `From `, not written yet.
    From(usize),
    /// Somewhere else in a line.
    No,
}

const FROM: &[u8] = b"From ";

impl Quoter {
    fn write(&mut self, octets: &[u8], out: &mut impl Write) -> io::Result<()> {
        let mut rest = octets;
        while let Some(&octet) = rest.first() {
            self.matched = match self.matched {
                Match::No => {
                    let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
                    let (line, after) = rest.split_at(end);
                    out.write_all(line)?;
                    rest = after;
                    self.last = line.last().copied();
                    if self.last == Some(b'\n') { Match::Quotes } else { Match::No }
                }
                Match::Quotes if octet == b'>' => {
                    out.write_all(b">")?;
                    rest = rest.get(1..).unwrap_or_default();
                    self.last = Some(octet);
                    Match::Quotes
                }
                Match::Quotes => Match::From(0),
                Match::From(count) if FROM.get(count) == Some(&octet) => {
                    rest = rest.get(1..).unwrap_or_default();
                    self.last = Some(octet);
                    if count + 1 == FROM.len() {
                        // One more, wherever in a row of them.
                        out.write_all(b">")?;
                        out.write_all(FROM)?;
                        Match::No
                    } else {
                        Match::From(count + 1)
                    }
                }
                Match::From(count) => {
                    out.write_all(FROM.get(..count).unwrap_or_default())?;
                    Match::No
                }
            };
        }
        Ok(())
    }

    /// Ends the last line, and adds the empty one in front of the next From_ line.
    fn finish(self, out: &mut impl Write) -> io::Result<()> {
        if let Match::From(count) = self.matched {
            out.write_all(FROM.get(..count).unwrap_or_default())?;
        }
        if self.last != Some(b'\n') {
            out.write_all(b"\n")?;
        }
        out.write_all(b"\n")
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn lines_are_quoted_however_they_are_cut() {
        let text = b"From a\nx\n>From b\n>>From c\nFromage\n>Fro\n\nFro";
        let quoted = b">From a\nx\n>>From b\n>>>From c\nFromage\n>Fro\n\nFro\n\n";
        for size in 1..=text.len() {
            let (mut quoter, mut out) = (Quoter::default(), Vec::new());
            text.chunks(size).for_each(|part| quoter.write(part, &mut out).unwrap());
            quoter.finish(&mut out).unwrap();
            assert_eq!(out.escape_ascii().to_string(), quoted.escape_ascii().to_string(), "{size}");
        }
    }
}

//! The one file of a zip archive, whole, in memory, and bounded. Reports come in such archives.
//!
//! Of the format (APPNOTE.TXT of PKWARE) is read what writers of one small file use: the directory at the end, files
//! that are stored or deflated. Not read are archives of several volumes, encrypted ones, and those with sizes of 64
//! bits. Names are not looked at, and one file is expanded at most, so that entries that share their data are no bomb.

use crate::gzip::{self, GzipError};

/// Entries of an archive.
pub const ENTRIES_MAX: u16 = 32;
/// Octets of the comment at the end, behind which nothing follows.
const COMMENT_OCTETS_MAX: usize = u16::MAX as usize;
const END_OCTETS: usize = 22;
const ENTRY_OCTETS: usize = 46;
const LOCAL_OCTETS: usize = 30;
const END: [u8; 4] = *b"PK\x05\x06";
const ENTRY: [u8; 4] = *b"PK\x01\x02";
const LOCAL: [u8; 4] = *b"PK\x03\x04";
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
const ENCRYPTED: u16 = 1;

/// Why an archive isn't read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ZipError {
    /// It isn't one, or it is cut off.
    #[error("not a whole zip archive")]
    Malformed,
    /// It has more than [`ENTRIES_MAX`] entries.
    #[error("the zip archive has more than {ENTRIES_MAX} entries")]
    Entries,
    /// It has no file with anything in it.
    #[error("the zip archive has no file")]
    Empty,
    /// Its file is encrypted, or made in a way that isn't known here.
    #[error("the zip archive is encrypted, or of a kind that is not read")]
    Unsupported,
    /// The checksum of the file is wrong.
    #[error("the checksum of the file in the zip archive is wrong")]
    Checksum,
    /// The file is larger than is allowed.
    #[error("the zip archive expands to more than is allowed")]
    TooLarge,
}

/// Whether octets begin as an archive with a file does.
#[must_use]
pub fn is_zip(octets: &[u8]) -> bool {
    octets.starts_with(&LOCAL)
}

/// The first file that isn't empty, when it has at most so many octets.
pub fn first_file(archive: &[u8], octets_max: usize) -> Result<Vec<u8>, ZipError> {
    let end = end(archive).ok_or(ZipError::Malformed)?;
    let count = u16_at(end, 10).ok_or(ZipError::Malformed)?;
    if count > ENTRIES_MAX {
        return Err(ZipError::Entries);
    }
    let start = at(end, 16).ok_or(ZipError::Malformed)?;
    let mut entries = archive.get(start..).ok_or(ZipError::Malformed)?;
    for _ in 0..count {
        let entry = Entry::read(entries).ok_or(ZipError::Malformed)?;
        if entry.size > 0 {
            return entry.content(archive, octets_max);
        }
        entries = entries.get(entry.octets..).ok_or(ZipError::Malformed)?;
    }
    Err(ZipError::Empty)
}

/// An entry of the directory.
struct Entry {
    flags: u16,
    method: u16,
    checksum: u32,
    compressed: usize,
    size: usize,
    offset: usize,
    /// Octets of the entry itself.
    octets: usize,
}

impl Entry {
    fn read(octets: &[u8]) -> Option<Self> {
        let fixed = octets.get(..ENTRY_OCTETS).filter(|fixed| fixed.starts_with(&ENTRY))?;
        let variable =
            [28, 30, 32].into_iter().map(|at| u16_at(fixed, at).map(usize::from)).sum::<Option<usize>>()?;
        Some(Self {
            flags: u16_at(fixed, 8)?,
            method: u16_at(fixed, 10)?,
            checksum: u32_at(fixed, 16)?,
            compressed: at(fixed, 20)?,
            size: at(fixed, 24)?,
            offset: at(fixed, 42)?,
            octets: ENTRY_OCTETS + variable,
        })
    }

    fn content(&self, archive: &[u8], octets_max: usize) -> Result<Vec<u8>, ZipError> {
        if self.flags & ENCRYPTED != 0 {
            return Err(ZipError::Unsupported);
        }
        if self.size > octets_max {
            return Err(ZipError::TooLarge);
        }
        let data = self.data(archive).ok_or(ZipError::Malformed)?;
        let content = match self.method {
            STORED => data.to_vec(),
            DEFLATED => {
                let mut content = Vec::new();
                // What it says of its size may be wrong: no more is expanded.
                gzip::expand(data, self.size, &mut content).map_err(|error| match error {
                    GzipError::TooLarge => ZipError::TooLarge,
                    GzipError::Malformed | GzipError::Checksum => ZipError::Malformed,
                })?;
                content
            }
            _ => return Err(ZipError::Unsupported),
        };
        let is_whole = content.len() == self.size && gzip::crc32(&content) == self.checksum;
        if is_whole { Ok(content) } else { Err(ZipError::Checksum) }
    }

    /// The data behind the header that stands before it once more.
    fn data<'a>(&self, archive: &'a [u8]) -> Option<&'a [u8]> {
        let local = archive.get(self.offset..)?;
        let fixed = local.get(..LOCAL_OCTETS).filter(|fixed| fixed.starts_with(&LOCAL))?;
        let names = usize::from(u16_at(fixed, 26)?) + usize::from(u16_at(fixed, 28)?);
        local.get(LOCAL_OCTETS + names..)?.get(..self.compressed)
    }
}

/// The record at the end, with its comment.
fn end(archive: &[u8]) -> Option<&[u8]> {
    let last = archive.len().checked_sub(END_OCTETS)?;
    let first = last.saturating_sub(COMMENT_OCTETS_MAX);
    let is_end = |record: &&[u8]| {
        let comment = u16_at(record, 20).map(usize::from);
        record.starts_with(&END) && comment == Some(record.len() - END_OCTETS)
    };
    (first..=last).rev().filter_map(|start| archive.get(start..)).find(is_end)
}

fn u16_at(octets: &[u8], at: usize) -> Option<u16> {
    octets.get(at..)?.first_chunk().map(|octets| u16::from_le_bytes(*octets))
}

fn u32_at(octets: &[u8], at: usize) -> Option<u32> {
    octets.get(at..)?.first_chunk().map(|octets| u32::from_le_bytes(*octets))
}

/// A size or a place. Those of 64 bits stand elsewhere, and are this one in 32 bits, which no archive here has room for.
fn at(octets: &[u8], at: usize) -> Option<usize> {
    u32_at(octets, at).filter(|number| *number != u32::MAX).and_then(|number| usize::try_from(number).ok())
}

/// Archives, for tests.
#[cfg(test)]
pub(crate) mod testing {
    use super::{END, ENTRY, LOCAL};
    use crate::gzip::{compress, crc32};

    /// An archive with one file.
    pub(crate) fn archive(content: &[u8]) -> Vec<u8> {
        archive_of(&[("them!us!1!2.xml", content)])
    }

    /// An archive with these files.
    pub(super) fn archive_of(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut directory = Vec::new();
        for (name, content) in files {
            let offset = out.len() as u32;
            let gzip = compress(content);
            let data = gzip.get(10..gzip.len() - 8).unwrap_or_default();
            let mut common = vec![20, 0, 0, 0, 8, 0, 0, 0, 0, 0];
            for number in [crc32(content), data.len() as u32, content.len() as u32] {
                common.extend_from_slice(&number.to_le_bytes());
            }
            common.extend_from_slice(&(name.len() as u16).to_le_bytes());
            common.extend_from_slice(&[0, 0]);
            out.extend_from_slice(&LOCAL);
            out.extend_from_slice(&common);
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(data);
            directory.extend_from_slice(&ENTRY);
            directory.extend_from_slice(&[20, 0]);
            directory.extend_from_slice(&common);
            directory.extend_from_slice(&[0; 10]);
            directory.extend_from_slice(&offset.to_le_bytes());
            directory.extend_from_slice(name.as_bytes());
        }
        let (count, start, octets) = (files.len() as u16, out.len() as u32, directory.len() as u32);
        out.extend_from_slice(&directory);
        out.extend_from_slice(&END);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&[count.to_le_bytes(), count.to_le_bytes()].concat());
        out.extend_from_slice(&[octets.to_le_bytes(), start.to_le_bytes()].concat());
        out.extend_from_slice(&[0, 0]);
        out
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use super::testing::archive_of as archive;
    use super::*;

    /// What Python's `zipfile` makes of a file `a.xml` with `<a/>` and a line feed: stored.
    const STORED_FILE: &[u8] = b"PK\x03\x04\x14\x00\x00\x00\x00\x00\x00\x00!\x00B\xc1h\xb3\x05\x00\x00\x00\x05\x00\x00\x00\x05\x00\x00\x00a.xml<a/>\x0a\
        PK\x01\x02\x14\x03\x14\x00\x00\x00\x00\x00\x00\x00!\x00B\xc1h\xb3\x05\x00\x00\x00\x05\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x01\x00\x00\x00\x00a.xml\
        PK\x05\x06\x00\x00\x00\x00\x01\x00\x01\x003\x00\x00\x00(\x00\x00\x00\x00\x00";

    #[test]
    fn the_first_file_with_content_is_given() {
        assert!(is_zip(STORED_FILE) && !is_zip(b"PK\x05\x06"));
        assert_eq!(first_file(STORED_FILE, 5), Ok(b"<a/>\n".to_vec()));
        let long = b"<feedback/>".repeat(10_000);
        let several = archive(&[("dir/", b""), ("a.xml", &long), ("b.xml", b"other")]);
        assert_eq!(first_file(&several, long.len()), Ok(long.clone()));
        // With a comment that has the signature in it.
        let mut commented = several;
        commented.truncate(commented.len() - 2);
        commented.extend_from_slice(b"\x08\0PK\x05\x06zips");
        assert_eq!(first_file(&commented, long.len()), Ok(long));
    }

    #[test]
    fn what_is_not_allowed_is_refused() {
        assert_eq!(first_file(STORED_FILE, 4), Err(ZipError::TooLarge));
        assert_eq!(first_file(&archive(&[("dir/", b"")]), 100), Err(ZipError::Empty));
        assert_eq!(first_file(&archive(&[]), 100), Err(ZipError::Empty));
        let many: Vec<(&str, &[u8])> = vec![("", b""); usize::from(ENTRIES_MAX)];
        assert_eq!(first_file(&archive(&many), 100), Err(ZipError::Empty));
        let more: Vec<(&str, &[u8])> = vec![("x", b"x"); 10_000];
        assert_eq!(first_file(&archive(&more), 100), Err(ZipError::Entries));
        let bomb = archive(&[("bomb", &vec![0; 20 << 20])]);
        assert!(bomb.len() < 50_000);
        assert_eq!(first_file(&bomb, 1 << 20), Err(ZipError::TooLarge));
        // The same, which lies about its size.
        let mut liar = bomb;
        let directory = liar.len() - END_OCTETS - ENTRY_OCTETS - 4;
        liar[directory + 24..directory + 28].copy_from_slice(&1000u32.to_le_bytes());
        assert_eq!(first_file(&liar, 1 << 20), Err(ZipError::TooLarge));
        let mut encrypted = STORED_FILE.to_vec();
        let directory = 40;
        assert!(encrypted[directory..].starts_with(&ENTRY));
        encrypted[directory + 8] = 1;
        assert_eq!(first_file(&encrypted, 100), Err(ZipError::Unsupported));
        let mut other = STORED_FILE.to_vec();
        other[directory + 10] = 14;
        assert_eq!(first_file(&other, 100), Err(ZipError::Unsupported));
        let mut wide = STORED_FILE.to_vec();
        wide[directory + 24..directory + 28].fill(0xff);
        assert_eq!(first_file(&wide, 100), Err(ZipError::Malformed));
    }

    #[test]
    fn damaged_archives_are_noticed() {
        let whole = archive(&[("a.xml", b"some words that are said some words again")]);
        let expected = first_file(&whole, 1000).unwrap();
        for end in 0..whole.len() {
            assert!(first_file(&whole[..end], 1000).is_err(), "{end}");
        }
        let mut refused = 0;
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << bit;
                match first_file(&damaged, 1000) {
                    // Times, names and versions say nothing of the content.
                    Ok(content) => assert_eq!(content, expected, "octet {at}, bit {bit}"),
                    Err(_) => refused += 1,
                }
            }
        }
        assert!(refused > 400, "{refused}");
    }
}

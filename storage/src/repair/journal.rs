//! Reads fjall's journal files (format 3) without fjall, and says where whole batches end.
//!
//! A journal is a run of batches. A batch is a start entry, as many items as it announces, and an end entry
//! with the xxh3 checksum of the items' octets as they are stored. The file is pre-sized and sparse, so behind
//! the last batch there are zeros. All numbers are little-endian.
//!
//! | entry | octets |
//! |---|---|
//! | start | 1, item count u32, sequence number u64 |
//! | item | 2, kind u8, compression u8, keyspace u64, key length u16, length u32, stored length u32, key, value |
//! | end | 3, checksum u64, `FJL` 3 |
//! | clear | 4, keyspace u64 |

use crate::engine::fjall::{MARK_KEY, Mark};
use rustix::fs::{SeekFrom, seek};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const MAGIC: [u8; 4] = [b'F', b'J', b'L', 3];
const START_OCTETS: usize = 13;

/// What is lost by power loss is lost in units of at least this size.
const SECTOR_OCTETS: usize = 512;

/// One whole batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Batch {
    /// Where it starts in the file.
    pub offset: u64,
    /// Where the next one starts.
    pub end: u64,
    /// Sequence number that fjall gave it.
    pub sequence: u64,
    /// Rows in it.
    pub items: u32,
    pub(crate) mark: Option<Mark>,
}

/// What follows the last whole batch of a file's sound beginning.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Tail {
    /// Zeros only, or nothing.
    Blank,
    /// Something that is no whole batch.
    Bad {
        /// What is wrong with it.
        why: &'static str,
        /// True when a sector of zeros lies in it, or the file ends in it: what power loss does to pages that
        /// were not synced. A changed octet does not look so.
        lost_pages: bool,
        /// Whole batches behind it.
        later: Vec<Batch>,
    },
}

/// One journal file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Journal {
    /// Its path.
    pub path: PathBuf,
    /// Its number; the largest is the active one.
    pub id: u64,
    /// Whole batches in the sound beginning.
    pub batches: u64,
    /// Where the sound beginning ends.
    pub sound_to: u64,
    /// Where the written part of the file ends.
    pub written_to: u64,
    /// The last whole batch of the sound beginning.
    pub last: Option<Batch>,
    /// What follows.
    pub tail: Tail,
}

/// Lists and reads all journals of a store, oldest first.
pub fn read_all(dir: &Path) -> io::Result<Vec<Journal>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".jnl"));
        if let Some(id) = name.and_then(|name| name.parse::<u64>().ok()) {
            files.push((id, path));
        }
    }
    files.sort();
    let mut sequence = 0;
    let mut journals = Vec::new();
    for (id, path) in files {
        let journal = read(&path, id, sequence)?;
        sequence = journal.last.map_or(sequence, |batch| batch.sequence + 1);
        journals.push(journal);
    }
    Ok(journals)
}

/// Reads one journal whose batches have at least the given sequence number.
fn read(path: &Path, id: u64, sequence_min: u64) -> io::Result<Journal> {
    let octets = read_written(path)?;
    let mut at = 0;
    let mut batches = 0;
    let mut last: Option<Batch> = None;
    let why = loop {
        let sequence_min = last.map_or(sequence_min, |batch| batch.sequence + 1);
        match parse(&octets, at) {
            Ok(batch) if batch.sequence < sequence_min => break Some("its sequence number goes back"),
            Ok(batch) => {
                at = place(batch.end);
                batches += 1;
                last = Some(batch);
            }
            Err(Fault::Blank) if octets[at..].iter().all(|&octet| octet == 0) => break None,
            Err(Fault::Blank) => break Some("zeros stand where it should start"),
            Err(Fault::Bad(why)) => break Some(why),
        }
    };
    let tail = match why {
        None => Tail::Blank,
        Some(why) => {
            let floor = last.map_or(sequence_min, |batch| batch.sequence + 1);
            let later = find_later(&octets, at, floor, last.and_then(|batch| batch.mark));
            // Damage at the end of what was written lies before the first later batch.
            let until = later.first().map_or(octets.len(), |batch| place(batch.offset));
            let lost_pages = why == RAN_OUT || has_blank_sector(&octets, at, until);
            Tail::Bad { why, lost_pages, later }
        }
    };
    let written_to = octets.len() as u64;
    Ok(Journal { path: path.to_owned(), id, batches, sound_to: at as u64, written_to, last, tail })
}

/// Reads the file up to the end of its last extent, without the zeros of the pre-sized rest.
fn read_written(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut end = 0;
    // File systems that know no holes report the whole file as data.
    while let Ok(data) = seek(&file, SeekFrom::Data(end)) {
        end = seek(&file, SeekFrom::Hole(data)).unwrap_or(length);
    }
    file.rewind()?;
    let mut octets = Vec::new();
    file.take(end.min(length)).read_to_end(&mut octets)?;
    let used = octets.iter().rposition(|&octet| octet != 0).map_or(0, |last| last + 1);
    octets.truncate(used);
    Ok(octets)
}

enum Fault {
    /// A zero where an entry should start.
    Blank,
    Bad(&'static str),
}

const RAN_OUT: &str = "it has no end";

struct Reader<'a> {
    octets: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let end = self.at.checked_add(length).filter(|&end| end <= self.octets.len());
        let taken = &self.octets[self.at..end.ok_or(Fault::Bad(RAN_OUT))?];
        self.at += length;
        Ok(taken)
    }

    fn number(&mut self, octets: usize) -> Result<u64, Fault> {
        let mut number = [0; 8];
        number[..octets].copy_from_slice(self.take(octets)?);
        Ok(u64::from_le_bytes(number))
    }
}

/// Parses the batch at `at`.
fn parse(octets: &[u8], at: usize) -> Result<Batch, Fault> {
    let mut reader = Reader { octets, at };
    match octets.get(at) {
        None | Some(0) => return Err(Fault::Blank),
        Some(&START) => reader.at += 1,
        Some(_) => return Err(Fault::Bad("no start entry stands where it should start")),
    }
    let items = u32::try_from(reader.number(4)?).map_err(|_| Fault::Bad(RAN_OUT))?;
    let sequence = reader.number(8)?;
    let from = reader.at;
    let mut mark = None;
    for _ in 0..items {
        match reader.take(1)?[0] {
            ITEM => {
                let [kind, compression] = [reader.number(1)?, reader.number(1)?];
                reader.number(8)?;
                let key_octets = place(reader.number(2)?);
                let (plain, stored) = (reader.number(4)?, place(reader.number(4)?));
                if !matches!(kind, 0 | 1 | 2 | 4) || compression > 1 {
                    return Err(Fault::Bad("an item is not readable"));
                }
                let key = reader.take(key_octets)?;
                let value = reader.take(stored)?;
                if compression == 0 && plain != stored as u64 {
                    return Err(Fault::Bad("an item is not readable"));
                }
                if key == MARK_KEY {
                    mark = Mark::decode(value);
                }
            }
            CLEAR => {
                reader.number(8)?;
            }
            _ => return Err(Fault::Bad("an item is not readable")),
        }
    }
    let checksum = xxhash_rust::xxh3::xxh3_64(&octets[from..reader.at]);
    if reader.take(1)?[0] != END {
        return Err(Fault::Bad("no end entry stands where it should end"));
    }
    let stored = reader.number(8)?;
    if reader.take(4)? != MAGIC {
        return Err(Fault::Bad("its end entry is not readable"));
    }
    if stored != checksum {
        return Err(Fault::Bad("its checksum does not match"));
    }
    Ok(Batch { offset: at as u64, end: reader.at as u64, sequence, items, mark })
}

/// Finds whole batches behind a bad place. Content may contain what looks like a batch, so one counts only
/// with a plausible sequence number and, where batches have marks, with a mark of this store.
fn find_later(octets: &[u8], bad: usize, sequence_min: u64, mark: Option<Mark>) -> Vec<Batch> {
    let mut found = Vec::new();
    let mut at = bad + 1;
    let mut floor = sequence_min;
    while at + START_OCTETS < octets.len() {
        let Some(skip) = memchr::memchr(START, &octets[at..]) else { break };
        at += skip;
        match octets.get(at + START_OCTETS) {
            Some(&ITEM | &CLEAR) => {}
            _ => {
                at += 1;
                continue;
            }
        }
        match parse(octets, at) {
            Ok(batch) if batch.sequence >= floor && batch.items > 0 && is_ours(&batch, mark) => {
                floor = batch.sequence + 1;
                at = place(batch.end);
                found.push(batch);
            }
            _ => at += 1,
        }
    }
    found
}

fn is_ours(batch: &Batch, like: Option<Mark>) -> bool {
    match (like, batch.mark) {
        (Some(like), Some(mark)) => mark.nonce == like.nonce && mark.number > like.number,
        (Some(_), None) => false,
        (None, _) => true,
    }
}

/// Whether a sector between two places is blank. The first one counts from `from`, since what stands before
/// is sound.
fn has_blank_sector(octets: &[u8], from: usize, to: usize) -> bool {
    let mut at = from;
    while at < to {
        let end = (at / SECTOR_OCTETS + 1) * SECTOR_OCTETS;
        if end > octets.len() {
            return false;
        }
        if octets[at..end].iter().all(|&octet| octet == 0) {
            return true;
        }
        at = end;
    }
    false
}

fn place(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

//! Repairs what power loss does to the journal: the command `postrider repair`, and a check at every opening.
//!
//! The journal is a sparse, pre-sized file. Until a sync the operating system writes its pages in any order,
//! so after power loss each page behind the last synced batch is either there or zeros, of the last batch and
//! of all unsynced ones before it. fjall alone either drops such a tail, or, when the end of a batch is there
//! but not its middle, refuses to open; and where zeros stand in place of an entry it drops everything behind
//! them, even batches that had been synced. So the journals are read here before fjall sees them:
//!
//! - Nothing bad: open.
//! - Bad at the end of the newest journal, with zeroed pages, and no whole batch behind it says that syncs had
//!   come that far when it was written (see `engine/fjall/mark.rs`): nobody was told that it is safe.
//!   Opening cuts it, keeps a copy beside, and says so.
//! - Bad without zeroed pages (a changed octet): power loss does not do that, so opening refuses. The command
//!   cuts when no whole batch follows.
//! - Bad, and a later batch or journal proves that it had been synced: damage to acknowledged mail. Only the
//!   command with force cuts it, and tells what is lost.
//!
//! After a failed write, a note in the store's directory asks the next opening to write the journal's pages
//! again: the operating system may show them as clean although they never reached the disk. The note shares
//! the fate of those pages, since both are in the page cache.

mod journal;

pub use journal::{Batch as JournalBatch, Journal, Tail};

use crate::engine::EngineError;
use crate::engine::fjall::{Opened, TornTail};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The note that a write failed.
const FAILED_WRITE_NOTE: &str = "failed-write";

/// fjall's lock file.
const LOCK_FILE: &str = "lock";

/// Octets that are copied or written again at a time.
const BLOCK_OCTETS: usize = 64 * 1024;

/// Whether the command may cut what was acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Force {
    /// Cut only what was never acknowledged.
    No,
    /// Cut from the first bad batch on, whatever is lost.
    Yes,
}

/// What the journals are like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Nothing is wrong.
    Sound,
    /// The end was lost before it was acknowledged.
    TornTail,
    /// The end is damaged in a way that power loss does not explain; whether it was acknowledged is unknown,
    /// and no whole batch follows.
    DamagedTail,
    /// The bad place is followed by whole batches, and power loss does not explain it, or they prove that it
    /// had been synced.
    Damaged,
}

/// What a look at the journals found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inspection {
    /// All journals, oldest first.
    pub journals: Vec<Journal>,
    /// What they are like.
    pub verdict: Verdict,
}

/// What was cut, or would be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cut {
    /// The journal.
    pub journal: PathBuf,
    /// Where it was cut.
    pub offset: u64,
    /// How many written octets were cut.
    pub octets: u64,
    /// What was wrong there.
    pub why: &'static str,
    /// Sequence number of the last batch that stays.
    pub last_kept: Option<u64>,
    /// Whole batches behind the bad place, which were cut as well.
    pub whole_batches: Vec<JournalBatch>,
    /// The copy of what was cut.
    pub copy: PathBuf,
}

/// Why a repair was not done.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// Another process has the store open.
    #[error("the store at {0} is in use; stop the server first")]
    Locked(PathBuf),
    /// There is no store.
    #[error("there is no store at {0}")]
    NoStore(PathBuf),
    /// Acknowledged mail would be lost.
    #[error("refused, since acknowledged mail may be lost: {0}. Restore a backup, or repeat with --force")]
    NeedsForce(Box<Cut>),
    /// The operating system refused something.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Reads the journals of the store at `dir`, and changes nothing.
pub fn inspect(dir: &Path) -> io::Result<Inspection> {
    let journals = journal::read_all(dir)?;
    let verdict = judge(&journals);
    Ok(Inspection { journals, verdict })
}

/// The command: inspects, cuts, and returns what was cut, journal by journal. The store must not be open.
pub fn repair(dir: &Path, force: Force) -> Result<(Inspection, Vec<Cut>), RepairError> {
    let _lock = lock(dir)?;
    let before = inspect(dir)?;
    if before.verdict == Verdict::Damaged && force == Force::No {
        let first = before.journals.iter().find_map(planned);
        if let Some(cut) = first {
            return Err(RepairError::NeedsForce(Box::new(cut)));
        }
    }
    let mut cuts = Vec::new();
    for journal in &before.journals {
        cuts.extend(cut(journal)?);
    }
    Ok((before, cuts))
}

/// Whether the journal's pages in memory are those on the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum JournalPages {
    /// Yes, unless a note says that a write had failed.
    Trusted,
    /// Not certain, so write them again.
    WriteAgain,
}

/// What opening does before fjall sees the store.
pub(crate) fn before_opening(
    dir: &Path,
    torn_tail: TornTail,
    pages: JournalPages,
) -> Result<Opened, EngineError> {
    if !dir.join(LOCK_FILE).exists() {
        return Ok(Opened::default());
    }
    let lock = lock(dir).map_err(|error| match error {
        RepairError::Io(error) => EngineError::io("locking the store", error),
        _ => EngineError::Locked { path: dir.to_owned() },
    })?;
    let reading = |error| EngineError::io("reading the journal", error);
    let rewrote_journal = pages == JournalPages::WriteAgain || dir.join(FAILED_WRITE_NOTE).exists();
    if rewrote_journal {
        tracing::warn!(path = %dir.display(), "a write had failed: the journal is written again");
        write_again(dir).map_err(|error| EngineError::io("writing the journal again", error))?;
    }
    let inspection = inspect(dir).map_err(reading)?;
    let cut = match (inspection.verdict, inspection.journals.last()) {
        (Verdict::Sound, _) | (_, None) => None,
        (Verdict::TornTail, Some(last)) if torn_tail == TornTail::Cut => {
            cut(last).map_err(|error| EngineError::io("cutting the journal", error))?
        }
        _ => return Err(EngineError::Corrupt { what: inspection.to_string() }),
    };
    if let Some(cut) = &cut {
        tracing::warn!(%cut, "cut the end of the journal that was never acknowledged");
    }
    drop(lock);
    Ok(Opened { cut, rewrote_journal })
}

/// Leaves the note that a write failed. The disk may be full or failing, so it is only an attempt.
pub(crate) fn note_failed_write(dir: &Path) {
    if let Err(error) = File::create(dir.join(FAILED_WRITE_NOTE)) {
        tracing::warn!(%error, "could not leave a note of the failed write");
    }
}

/// Removes the note, after the journal was synced again.
pub(crate) fn forget_failed_write(dir: &Path) -> Result<(), EngineError> {
    match std::fs::remove_file(dir.join(FAILED_WRITE_NOTE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(EngineError::io("removing the note of a failed write", error))
        }
        _ => Ok(()),
    }
}

fn judge(journals: &[Journal]) -> Verdict {
    let Some((active, sealed)) = journals.split_last() else { return Verdict::Sound };
    // A journal is synced before the next one is made.
    if sealed.iter().any(|journal| journal.tail != Tail::Blank) {
        return Verdict::Damaged;
    }
    let Tail::Bad { lost_pages, later, .. } = &active.tail else { return Verdict::Sound };
    // The mark of the last whole batch, maybe in an earlier journal, tells the number of the first bad one.
    let last = journals.iter().rev().find_map(|journal| journal.last);
    let last_kept = last.and_then(|batch| batch.mark).map(|mark| mark.number);
    let proves = |batch: &JournalBatch| match (batch.mark, last_kept) {
        (Some(mark), Some(last_kept)) => mark.synced > last_kept,
        // The first batch of a journal that follows none.
        (Some(mark), None) => mark.synced > 0,
        (None, _) => true,
    };
    match (lost_pages, later.is_empty()) {
        _ if later.iter().any(proves) => Verdict::Damaged,
        (true, _) => Verdict::TornTail,
        (false, true) => Verdict::DamagedTail,
        (false, false) => Verdict::Damaged,
    }
}

fn planned(journal: &Journal) -> Option<Cut> {
    let Tail::Bad { why, later, .. } = &journal.tail else { return None };
    Some(Cut {
        journal: journal.path.clone(),
        offset: journal.sound_to,
        octets: journal.written_to - journal.sound_to,
        why,
        last_kept: journal.last.map(|batch| batch.sequence),
        whole_batches: later.clone(),
        copy: journal.path.with_extension(format!("jnl.{}.cut", journal.sound_to)),
    })
}

/// Copies the bad end beside, then cuts it.
fn cut(journal: &Journal) -> io::Result<Option<Cut>> {
    let Some(cut) = planned(journal) else { return Ok(None) };
    let file = OpenOptions::new().read(true).write(true).open(&cut.journal)?;
    let copy = File::create(&cut.copy)?;
    let mut block = vec![0; BLOCK_OCTETS];
    let mut done = 0;
    while done < cut.octets {
        let length = usize::try_from(cut.octets - done).map_or(BLOCK_OCTETS, |left| left.min(BLOCK_OCTETS));
        file.read_exact_at(&mut block[..length], cut.offset + done)?;
        copy.write_all_at(&block[..length], done)?;
        done += length as u64;
    }
    copy.sync_all()?;
    sync_parent(&cut.copy)?;
    file.set_len(cut.offset)?;
    file.sync_all()?;
    Ok(Some(cut))
}

/// Writes every page of every journal again, so that the next sync covers it.
fn write_again(dir: &Path) -> io::Result<()> {
    for journal in journal::read_all(dir)? {
        let file = OpenOptions::new().read(true).write(true).open(&journal.path)?;
        let mut block = vec![0; BLOCK_OCTETS];
        let mut at = 0;
        while at < journal.written_to {
            let length =
                usize::try_from(journal.written_to - at).map_or(BLOCK_OCTETS, |left| left.min(BLOCK_OCTETS));
            file.read_exact_at(&mut block[..length], at)?;
            // Zeros are what a page reads as that was never written; writing them would only take space.
            if block[..length].iter().any(|&octet| octet != 0) {
                file.write_all_at(&block[..length], at)?;
            }
            at += length as u64;
        }
        file.sync_all()?;
    }
    Ok(())
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

/// Takes fjall's lock; it ends with the file.
fn lock(dir: &Path) -> Result<File, RepairError> {
    let path = dir.join(LOCK_FILE);
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(RepairError::NoStore(dir.to_owned()));
        }
        Err(error) => return Err(error.into()),
    };
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(RepairError::Locked(dir.to_owned())),
        Err(std::fs::TryLockError::Error(error)) => Err(error.into()),
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (journal, copy) = (self.journal.display(), self.copy.display());
        write!(f, "{journal} at offset {}, {} octets, since {}", self.offset, self.octets, self.why)?;
        match self.last_kept {
            Some(sequence) => write!(f, "; the last batch that stays has sequence number {sequence}")?,
            None => write!(f, "; no batch of this journal stays")?,
        }
        if let (Some(first), Some(last)) = (self.whole_batches.first(), self.whole_batches.last()) {
            let (count, first, last) = (self.whole_batches.len(), first.sequence, last.sequence);
            write!(f, "; {count} whole batches behind it go with it, sequence numbers {first} to {last}")?;
        }
        write!(f, "; copy in {copy}")
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Sound => "the journals are sound",
            Verdict::TornTail => "the journal's end is torn, and was never acknowledged",
            Verdict::DamagedTail => "the journal's end is damaged, and may have been acknowledged",
            Verdict::Damaged => "the journal is damaged where it had been acknowledged",
        };
        f.write_str(verdict)?;
        for cut in self.journals.iter().filter_map(planned) {
            write!(f, ": {cut} if it is cut")?;
        }
        if matches!(self.verdict, Verdict::Sound) { Ok(()) } else { f.write_str("; see postrider repair") }
    }
}

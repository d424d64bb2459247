//! Of which messages the end was sent: from then on the other side may have them.
//!
//! Right before a session sends the end of a message, it notes entry and attempt in its slot of a file. That is one write to
//! the page cache: it outlives the process, whatever ended it, and waits for no disk. What is claimed at the next start and
//! noted here may have arrived, and is counted; what is claimed and not noted can't have.
//!
//! What always holds: a slot takes another message only when the outcome of the one before is on the disk. So everything
//! that is in doubt is in the file. After a power loss the file may be older than the store, or newer.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use postrider_storage::ids::QueueId;

use crate::runtime::ShardId;

/// The file in the data directory.
pub const FILE: &str = "ends-sent";
/// Octets of a slot: the entry's id u64, the attempt u32, both big-endian, and zeros.
const SLOT_OCTETS: usize = 16;
/// Octets of the file that are read: a million slots, of which a shard has one for each session.
const FILE_OCTETS_MAX: u64 = 16 << 20;

/// An entry, and which attempt to deliver it.
pub type Noted = (QueueId, u32);

/// The file, for all shards.
#[derive(Clone, Debug)]
pub struct EndsFile(Arc<File>);

impl EndsFile {
    /// Makes it anew, empty.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        Ok(Self(Arc::new(file)))
    }
}

/// What an earlier process noted; none when there is no file, as programs before format 3 of the store left it.
pub fn noted(path: &Path) -> io::Result<Option<HashSet<Noted>>> {
    let mut octets = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(FILE_OCTETS_MAX).read_to_end(&mut octets)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let slots = octets.as_chunks::<SLOT_OCTETS>().0;
    Ok(Some(slots.iter().map(decode).filter(|(id, _)| id.0 != 0).collect()))
}

fn encode((id, attempt): Noted) -> [u8; SLOT_OCTETS] {
    (u128::from(id.0) << 64 | u128::from(attempt) << 32).to_be_bytes()
}

fn decode(slot: &[u8; SLOT_OCTETS]) -> Noted {
    let slot = u128::from_be_bytes(*slot);
    // The upper half, and the upper half of the lower one.
    (QueueId((slot >> 64) as u64), (slot >> 32) as u32)
}

/// The slots of a shard.
pub(super) struct Ends {
    file: EndsFile,
    /// The number of its first slot; the others follow in steps.
    first: u64,
    step: u64,
    /// Slots that were made.
    made: Cell<u64>,
    free: RefCell<Vec<u64>>,
    /// What sessions that are gone left in doubt: few, since only a panic does so.
    left: RefCell<BTreeSet<QueueId>>,
}

impl Ends {
    pub(super) fn new(file: EndsFile, shard: ShardId, shards: usize) -> Rc<Self> {
        // There are far fewer shards than 2^64.
        let (first, step) = (shard.0 as u64, shards.max(1) as u64);
        Rc::new(Self {
            file,
            first,
            step,
            made: Cell::new(0),
            free: RefCell::default(),
            left: RefCell::default(),
        })
    }

    /// A slot, for a session.
    pub(super) fn slot(self: &Rc<Self>) -> Slot {
        Slot { ends: Rc::clone(self), number: Cell::new(self.number()), doubt: Cell::new(None) }
    }

    /// Whether a session that is gone sent the end of an entry's message, and nothing is known of what came of it; said
    /// once.
    pub(super) fn take_doubt(&self, id: QueueId) -> bool {
        self.left.borrow_mut().remove(&id)
    }

    fn number(&self) -> u64 {
        self.free.borrow_mut().pop().unwrap_or_else(|| {
            let made = self.made.get();
            self.made.set(made + 1);
            self.first + made * self.step
        })
    }
}

/// A session's slot.
pub(super) struct Slot {
    ends: Rc<Ends>,
    number: Cell<u64>,
    /// What it has, when the outcome isn't on the disk.
    doubt: Cell<Option<Noted>>,
}

impl Slot {
    /// Notes that the end of a message is sent now. When it fails, it must not be sent.
    pub(super) fn note(&self, noted: Noted) -> io::Result<()> {
        if self.doubt.get().is_some_and(|earlier| earlier != noted) {
            // The slot before is left as it is.
            self.number.set(self.ends.number());
        }
        self.doubt.set(Some(noted));
        self.ends.file.0.write_all_at(&encode(noted), self.number.get() * SLOT_OCTETS as u64)
    }

    /// Whether the end of an entry's message was sent, and its outcome isn't on the disk.
    pub(super) fn is_noted(&self, id: QueueId) -> bool {
        self.doubt.get().is_some_and(|(noted, _)| noted == id)
    }

    /// Takes that the outcome of what was noted last is on the disk.
    pub(super) fn settle(&self) {
        self.doubt.set(None);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // What is in doubt stays noted.
        match self.doubt.get() {
            None => self.ends.free.borrow_mut().push(self.number.get()),
            Some((id, _)) => {
                self.ends.left.borrow_mut().insert(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const A: Noted = (QueueId(0x0102_0304_0506_0708), 1);
    const B: Noted = (QueueId(9), u32::MAX);

    #[test]
    fn what_is_in_doubt_is_found_by_the_next_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        assert_eq!(noted(&path).unwrap(), None, "there was none");
        let file = EndsFile::create(&path).unwrap();
        let shards = [0, 1].map(|shard| Ends::new(file.clone(), ShardId(shard), 2));
        let [one, other] = [shards[0].slot(), shards[1].slot()];
        one.note(A).unwrap();
        other.note(B).unwrap();
        assert_eq!(noted(&path).unwrap(), Some([A, B].into()));
        // The end of the process, at any time after.
        drop((one, other));
        assert_eq!([shards[0].take_doubt(A.0), shards[0].take_doubt(A.0)], [true, false], "said once");
        let again = [shards[0].slot(), shards[1].slot()];
        again[0].note((QueueId(3), 1)).unwrap();
        again[1].note((QueueId(4), 1)).unwrap();
        assert_eq!(noted(&path).unwrap().unwrap().len(), 4, "slots in doubt are not used again");
        drop(EndsFile::create(&path).unwrap());
        assert_eq!(noted(&path).unwrap(), Some(HashSet::new()));
    }

    #[test]
    fn a_slot_is_used_again_when_the_outcome_is_on_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let ends = Ends::new(EndsFile::create(&path).unwrap(), ShardId(0), 1);
        let slot = ends.slot();
        slot.note(A).unwrap();
        slot.note(A).unwrap();
        slot.settle();
        slot.note(B).unwrap();
        assert_eq!(noted(&path).unwrap(), Some([B].into()));
        slot.note(A).unwrap();
        assert_eq!(noted(&path).unwrap(), Some([A, B].into()), "what isn't settled stays");
        slot.settle();
        drop(slot);
        assert!(!ends.take_doubt(A.0));
        ends.slot().note(B).unwrap();
        assert_eq!(noted(&path).unwrap(), Some([B].into()));
        assert_eq!(ends.made.get(), 2);
    }
}

//! Blocks of packed uids and flags: up to [`BLOCK_MESSAGES_MAX`] messages in one value.
//!
//! Value: `version u8 ‖ reserved u8 ‖ messages u16 ‖ unseen u16 ‖ deleted u16 ‖ runs ‖ flags`. A run is
//! two varints (LEB128): the distance from the end of the run before (from the block's base uid for
//! the first) and the number of consecutive uids; the runs end when their uids are `messages`. Then
//! follows one octet per message: the system flags, and [`HAS_KEYWORDS`].
//!
//! What always holds: uids ascend, lie at or above the base that is in the key, and below the base of
//! the next block; no block is empty. A mailbox's new messages go into its last block while that has
//! room, so a mailbox of a million messages has about two thousand blocks.

use postrider_proto::imap::types::{Flags, Uid};

use super::BadRow;

/// The most messages of a block.
pub const BLOCK_MESSAGES_MAX: usize = 512;

/// The bit of a message's octet that says that its MESSAGE row lists keywords.
pub const HAS_KEYWORDS: u8 = 1 << 7;

const NAME: &str = "PACK";
const VERSION: u8 = 1;
const HEADER_OCTETS: usize = 8;

/// A block, unpacked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    base: Uid,
    uids: Vec<Uid>,
    octets: Vec<u8>,
}

/// Counts of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BlockCounts {
    /// Messages.
    pub messages: u16,
    /// Messages without `\Seen`.
    pub unseen: u16,
    /// Messages with `\Deleted`.
    pub deleted: u16,
}

impl Block {
    /// An empty block, for messages from `base` on.
    pub const fn new(base: Uid) -> Self {
        Self { base, uids: Vec::new(), octets: Vec::new() }
    }

    /// The base uid, which is in the key.
    pub const fn base(&self) -> Uid {
        self.base
    }

    /// How many messages.
    pub const fn len(&self) -> usize {
        self.uids.len()
    }

    /// Whether there are no messages: then the row has to go.
    pub const fn is_empty(&self) -> bool {
        self.uids.is_empty()
    }

    /// Whether no further message fits.
    pub const fn is_full(&self) -> bool {
        self.uids.len() >= BLOCK_MESSAGES_MAX
    }

    /// The uids, ascending.
    pub fn uids(&self) -> &[Uid] {
        &self.uids
    }

    /// One octet per message: flags and [`HAS_KEYWORDS`].
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Uids with their flags, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Uid, Flags)> + '_ {
        self.uids.iter().zip(&self.octets).map(|(uid, octet)| (*uid, Flags::from_bits(*octet)))
    }

    /// Adds a message behind all others. False, and nothing done, when it doesn't belong there.
    #[must_use]
    pub fn push(&mut self, uid: Uid, octet: u8) -> bool {
        let behind = self.uids.last().map_or(uid >= self.base, |last| uid > *last);
        if !behind || self.is_full() {
            return false;
        }
        self.uids.push(uid);
        self.octets.push(octet);
        true
    }

    /// Replaces a message's octet. False when the message isn't there.
    #[must_use]
    pub fn set(&mut self, uid: Uid, octet: u8) -> bool {
        match self.uids.binary_search(&uid) {
            Ok(at) => {
                self.octets[at] = octet;
                true
            }
            Err(_) => false,
        }
    }

    /// Removes the messages of which `gone` says so. The cost is one pass however many they are.
    pub fn remove_all(&mut self, mut gone: impl FnMut(Uid) -> bool) {
        let mut kept = 0;
        for at in 0..self.uids.len() {
            if !gone(self.uids[at]) {
                self.uids[kept] = self.uids[at];
                self.octets[kept] = self.octets[at];
                kept += 1;
            }
        }
        self.uids.truncate(kept);
        self.octets.truncate(kept);
    }

    /// The counts.
    pub fn counts(&self) -> BlockCounts {
        let mut counts = BlockCounts::default();
        for (_, flags) in self.iter() {
            counts.messages += 1;
            counts.unseen += u16::from(!flags.contains(Flags::SEEN));
            counts.deleted += u16::from(flags.contains(Flags::DELETED));
        }
        counts
    }

    /// The value that is stored.
    pub fn encode(&self) -> Vec<u8> {
        let counts = self.counts();
        let mut out = Vec::with_capacity(HEADER_OCTETS + 8 + self.octets.len());
        out.extend_from_slice(&[VERSION, 0]);
        for count in [counts.messages, counts.unseen, counts.deleted] {
            out.extend_from_slice(&count.to_le_bytes());
        }
        // Where the next run would begin if it followed without a gap.
        let mut expected = self.base.get();
        let mut uids = self.uids.iter().map(|uid| uid.get()).peekable();
        while let Some(first) = uids.next() {
            let mut last = first;
            while let Some(next) = uids.next_if(|next| *next == last + 1) {
                last = next;
            }
            put_varint(&mut out, first - expected);
            put_varint(&mut out, last - first + 1);
            expected = last.wrapping_add(1);
        }
        out.extend_from_slice(&self.octets);
        out
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(base: Uid, value: &[u8]) -> Result<Self, BadRow> {
        let view = View::parse(base, value)?;
        let mut uids = Vec::with_capacity(view.counts.messages.into());
        for run in view.runs() {
            let (first, count) = run?;
            for uid in first.get()..=first.get() + (count - 1) {
                uids.push(Uid::new(uid).ok_or(BadRow::Field { row: NAME, field: "uid" })?);
            }
        }
        let block = Self { base, uids, octets: view.octets.to_vec() };
        if block.counts() != view.counts {
            return Err(BadRow::Field { row: NAME, field: "count" });
        }
        Ok(block)
    }
}

/// A stored block, read in place: counts without looking at the messages, uids as runs.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    base: Uid,
    counts: BlockCounts,
    runs: &'a [u8],
    octets: &'a [u8],
}

impl<'a> View<'a> {
    /// Reads the header of a stored block.
    pub fn parse(base: Uid, value: &'a [u8]) -> Result<Self, BadRow> {
        let short = BadRow::Length { row: NAME, octets: value.len() };
        let (header, rest) = value.split_first_chunk::<HEADER_OCTETS>().ok_or(short)?;
        if header[0] != VERSION {
            return Err(BadRow::Version { row: NAME, found: header[0], known: VERSION });
        }
        let count = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let counts = BlockCounts { messages: count(2), unseen: count(4), deleted: count(6) };
        if counts.messages == 0 || usize::from(counts.messages) > BLOCK_MESSAGES_MAX {
            return Err(BadRow::Field { row: NAME, field: "count" });
        }
        let runs = rest.len().checked_sub(counts.messages.into()).ok_or(short)?;
        let (runs, octets) = rest.split_at(runs);
        Ok(Self { base, counts, runs, octets })
    }

    /// The counts.
    pub const fn counts(&self) -> BlockCounts {
        self.counts
    }

    /// One octet per message: flags and [`HAS_KEYWORDS`].
    pub const fn octets(&self) -> &'a [u8] {
        self.octets
    }

    /// The uids as runs: first uid and how many follow each other.
    pub fn runs(&self) -> Runs<'a> {
        Runs { rest: self.runs, expected: u64::from(self.base.get()), left: self.counts.messages }
    }
}

/// The runs of a block.
#[derive(Clone, Debug)]
pub struct Runs<'a> {
    rest: &'a [u8],
    expected: u64,
    left: u16,
}

impl Iterator for Runs<'_> {
    type Item = Result<(Uid, u32), BadRow>;

    fn next(&mut self) -> Option<Self::Item> {
        let bad = BadRow::Field { row: NAME, field: "run of uids" };
        if self.left == 0 {
            return if std::mem::take(&mut self.rest).is_empty() { None } else { Some(Err(bad)) };
        }
        let run = (|| {
            let first = self.expected + u64::from(take_varint(&mut self.rest)?);
            let count = take_varint(&mut self.rest)?;
            self.left = self.left.checked_sub(u16::try_from(count).ok().filter(|count| *count > 0)?)?;
            self.expected = first + u64::from(count);
            u32::try_from(self.expected - 1).ok()?;
            Some((Uid::new(u32::try_from(first).ok()?)?, count))
        })();
        if run.is_none() {
            self.left = 0;
            self.rest = &[];
        }
        Some(run.ok_or(bad))
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u32> {
    let mut value = 0_u32;
    for shift in (0..32).step_by(7) {
        let (octet, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u32::from(octet & 0x7f);
        value |= part.checked_shl(shift).filter(|shifted| shifted >> shift == part)?;
        if octet & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

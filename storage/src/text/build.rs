//! Gathers the terms of emails in memory, for a segment.
//!
//! Terms, their postings and the table that finds them lie in four vectors, with numbers for pointers: a
//! term costs some fifty octets, and all of it is given back at once.

use postrider_proto::mime::terms::TermKind;

use super::segment::{Finished, Row, SegmentWriter};
use super::{FULL_TERM_OCTETS_MAX, Place, UNSURE, postings, take_number};
use crate::account::hash;
use crate::ids::{AccountId, EmailId};

/// Memory that a builder takes; then its segment is written.
pub const BUILD_OCTETS_MAX: usize = 8 * 1024 * 1024;
/// Different terms of one email; one with more is looked at by every search.
pub const EMAIL_TERMS_MAX: u32 = 50_000;

/// Octets in front of those of a chunk: where the next one is, how many octets it holds, and how many are
/// used.
const CHUNK_HEADER_OCTETS: usize = 6;
/// The first chunk of a term, and the largest.
const CHUNK_OCTETS_MIN: u8 = 4;
const CHUNK_OCTETS_MAX: u8 = 128;

/// What a term costs at most when it is new: its octets, its entry, its first chunk, and its share of the
/// table, which has at least a quarter of its slots in use.
const TERM_COST_MAX: usize = FULL_TERM_OCTETS_MAX
    + size_of::<Entry>()
    + CHUNK_HEADER_OCTETS
    + CHUNK_OCTETS_MIN as usize
    + 4 * size_of::<u32>();

/// One email more doesn't double what there is, and numbers of 32 bits reach everything.
const _: () = assert!(EMAIL_TERMS_MAX as usize * TERM_COST_MAX < BUILD_OCTETS_MAX);
const _: () = assert!(2 * BUILD_OCTETS_MAX < u32::MAX as usize);

/// A term, and the emails that have it.
struct Entry {
    hash: u32,
    /// Where its octets are.
    text: u32,
    length: u32,
    /// The number behind the last email's.
    next: u32,
    /// Its first and its last chunk.
    head: u32,
    tail: u32,
}

/// Gathers terms. Emails come in the order of their ids.
pub struct Builder {
    first: EmailId,
    /// The email that is being added, as a number.
    number: u32,
    emails: u32,
    /// Different terms of the present email.
    of_email: u32,
    is_unsure: bool,
    entries: Vec<Entry>,
    /// Octets of terms behind each other.
    texts: Vec<u8>,
    /// Chunks of distances between the emails of a term.
    chunks: Vec<u8>,
    /// Places of entries plus one, found by hash; 0 is free.
    slots: Vec<u32>,
    scratch: Vec<u8>,
}

impl Builder {
    /// For emails with ids from `first` on.
    pub fn new(first: EmailId) -> Self {
        Self {
            first,
            number: 0,
            emails: 0,
            of_email: 0,
            is_unsure: false,
            entries: Vec::new(),
            texts: Vec::new(),
            chunks: Vec::new(),
            slots: vec![0; 1024],
            scratch: Vec::with_capacity(FULL_TERM_OCTETS_MAX),
        }
    }

    /// Begins an email, whose id is above those before.
    pub fn begin(&mut self, email: EmailId) {
        // A builder's span is cut by whoever feeds it.
        self.number = u32::try_from(email.0.saturating_sub(self.first.0)).unwrap_or(u32::MAX - 1);
        self.emails += 1;
        self.of_email = 0;
        self.is_unsure = false;
    }

    /// Adds a term of the email.
    pub fn add(&mut self, place: Place, kind: TermKind, text: &str) {
        if self.is_unsure {
            return;
        }
        if self.of_email == EMAIL_TERMS_MAX {
            self.unsure();
            return;
        }
        let mut term = std::mem::take(&mut self.scratch);
        term.clear();
        term.push(place.octet(kind));
        term.extend_from_slice(text.as_bytes());
        self.insert(&term);
        self.scratch = term;
    }

    /// Says that the email has more text than is indexed: every search looks at it.
    pub fn unsure(&mut self) {
        if !std::mem::replace(&mut self.is_unsure, true) {
            self.insert(&UNSURE);
        }
    }

    /// Whether adding to the email has no effect any more.
    pub const fn is_unsure(&self) -> bool {
        self.is_unsure
    }

    fn insert(&mut self, term: &[u8]) {
        let at = self.entry_of(term);
        let entry = &mut self.entries[at];
        if entry.next > self.number {
            return;
        }
        let distance = self.number - entry.next;
        entry.next = self.number + 1;
        self.push(at, distance);
        self.of_email += 1;
    }

    /// The entry of a term; a new one for a new term.
    fn entry_of(&mut self, term: &[u8]) -> usize {
        // Half of the hash is enough for a table of this size.
        let hash = hash(term) as u32;
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while let Some(at) = self.slots[slot].checked_sub(1) {
            let at = at as usize;
            if self.entries[at].hash == hash && self.text(&self.entries[at]) == term {
                return at;
            }
            slot = (slot + 1) & mask;
        }
        let at = self.entries.len();
        // All of these are below the bound of memory, twice at most.
        self.slots[slot] = at as u32 + 1;
        let text = self.texts.len() as u32;
        self.texts.extend_from_slice(term);
        let chunk = self.new_chunk(CHUNK_OCTETS_MIN);
        let length = term.len() as u32;
        self.entries.push(Entry { hash, text, length, next: 0, head: chunk, tail: chunk });
        if 2 * self.entries.len() > self.slots.len() {
            self.grow();
        }
        at
    }

    fn grow(&mut self) {
        let length = self.slots.len() * 2;
        self.slots.clear();
        self.slots.resize(length, 0);
        for (at, entry) in (1..).zip(&self.entries) {
            let mut slot = entry.hash as usize & (length - 1);
            while self.slots[slot] != 0 {
                slot = (slot + 1) & (length - 1);
            }
            self.slots[slot] = at;
        }
    }

    fn text(&self, entry: &Entry) -> &[u8] {
        &self.texts[entry.text as usize..][..entry.length as usize]
    }

    fn new_chunk(&mut self, octets: u8) -> u32 {
        let chunk = self.chunks.len();
        self.chunks.resize(chunk + CHUNK_HEADER_OCTETS + usize::from(octets), 0);
        self.chunks[chunk + 4] = octets;
        chunk as u32
    }

    /// Appends a number to those of an entry.
    fn push(&mut self, at: usize, mut number: u32) {
        while number >= 0x80 {
            self.push_octet(at, number as u8 | 0x80);
            number >>= 7;
        }
        self.push_octet(at, number as u8);
    }

    fn push_octet(&mut self, at: usize, octet: u8) {
        let mut chunk = self.entries[at].tail as usize;
        let (holds, used) = (self.chunks[chunk + 4], self.chunks[chunk + 5]);
        if used == holds {
            let next = self.new_chunk(holds.saturating_mul(2).min(CHUNK_OCTETS_MAX));
            self.chunks[chunk..chunk + 4].copy_from_slice(&next.to_le_bytes());
            self.entries[at].tail = next;
            chunk = next as usize;
        }
        let used = usize::from(self.chunks[chunk + 5]);
        self.chunks[chunk + CHUNK_HEADER_OCTETS + used] = octet;
        self.chunks[chunk + 5] += 1;
    }

    /// The distances of an entry.
    fn distances(&self, entry: &Entry, out: &mut Vec<u8>) {
        out.clear();
        let mut chunk = entry.head as usize;
        loop {
            let used = usize::from(self.chunks[chunk + 5]);
            out.extend_from_slice(&self.chunks[chunk + CHUNK_HEADER_OCTETS..][..used]);
            if chunk == entry.tail as usize {
                return;
            }
            let next = self.chunks[chunk..].first_chunk::<4>().copied().unwrap_or_default();
            chunk = u32::from_le_bytes(next) as usize;
        }
    }

    /// Memory in use.
    pub fn octets(&self) -> usize {
        self.texts.len()
            + self.chunks.len()
            + self.entries.len() * size_of::<Entry>()
            + self.slots.len() * size_of::<u32>()
    }

    /// Emails that were added.
    pub const fn emails(&self) -> u32 {
        self.emails
    }

    /// The rows of the segment.
    pub fn finish(self, account: AccountId, segment: u32) -> (Vec<Row>, Finished) {
        let mut sorted: Vec<&Entry> = self.entries.iter().collect();
        sorted.sort_unstable_by(|a, b| self.text(a).cmp(self.text(b)));
        let mut writer = SegmentWriter::new(account, segment);
        let (mut distances, mut numbers, mut encoded) = (Vec::new(), Vec::new(), Vec::new());
        for entry in sorted {
            self.distances(entry, &mut distances);
            numbers.clear();
            let mut rest = &distances[..];
            let mut next = 0;
            while let Some(distance) = take_number(&mut rest) {
                // What was put together from numbers of this width.
                let number = next + distance as u32;
                numbers.push(number);
                next = number + 1;
            }
            encoded.clear();
            postings::encode(&numbers, &mut encoded);
            writer.add(self.text(entry), &encoded);
        }
        writer.finish()
    }
}

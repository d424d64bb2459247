//! Writes the rows of a segment, term by term.

use crate::ids::AccountId;
use crate::keys::{self, Key};
use crate::rows::MARK;

use super::{BLOCK_OCTETS, CHUNK_OCTETS, FULL_TERM_OCTETS_MAX, put_number};

/// The version of dictionary blocks.
pub(super) const BLOCK_VERSION: u8 = 1;
/// Octets in front of a block's entries.
pub(super) const BLOCK_HEADER_OCTETS: usize = 16;

/// A row to be written.
pub type Row = (Key, Vec<u8>);

/// Turns terms, which ascend, with their postings into rows. Memory is what was not taken yet, a block and a
/// chunk.
#[derive(Debug)]
pub struct SegmentWriter {
    account: AccountId,
    segment: u32,
    rows: Vec<Row>,
    row_octets: usize,
    /// The first term of the block that is being filled, and its entries.
    block: Option<(Key, Vec<u8>, u32)>,
    /// Where the postings of the block begin.
    block_start: u64,
    last: Vec<u8>,
    chunk: Vec<u8>,
    chunks: u32,
    done: Finished,
}

/// What a segment has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Finished {
    /// Terms.
    pub terms: u64,
    /// Octets of its dictionary.
    pub dictionary_octets: u64,
    /// Octets of its postings.
    pub postings_octets: u64,
}

impl SegmentWriter {
    /// Writes the segment `segment`.
    pub fn new(account: AccountId, segment: u32) -> Self {
        Self {
            account,
            segment,
            rows: Vec::new(),
            row_octets: 0,
            block: None,
            block_start: 0,
            last: Vec::new(),
            chunk: MARK.to_vec(),
            chunks: 0,
            done: Finished::default(),
        }
    }

    /// Adds a term, which is greater than the last one.
    pub(super) fn add(&mut self, term: &[u8], postings: &[u8]) {
        debug_assert!(self.done.terms == 0 || *term > *self.last, "terms ascend");
        debug_assert!(term.len() <= FULL_TERM_OCTETS_MAX, "terms are short");
        let shared = match &self.block {
            Some(_) => term.iter().zip(&self.last).take_while(|(a, b)| a == b).count(),
            None => 0,
        };
        let (account, segment) = (self.account, self.segment);
        let (_, entries, count) = self.block.get_or_insert_with(|| {
            (keys::terms(account, segment, term), Vec::with_capacity(BLOCK_OCTETS), 0)
        });
        // Terms are shorter than 256 octets.
        entries.extend([shared as u8, (term.len() - shared) as u8]);
        entries.extend_from_slice(&term[shared..]);
        put_number(entries, postings.len() as u64);
        *count += 1;
        let is_full = entries.len() >= BLOCK_OCTETS;
        self.last.clear();
        self.last.extend_from_slice(term);
        self.done.terms += 1;
        self.done.postings_octets += postings.len() as u64;
        self.add_postings(postings);
        if is_full {
            self.end_block();
        }
    }

    fn add_postings(&mut self, mut postings: &[u8]) {
        while !postings.is_empty() {
            let room = CHUNK_OCTETS + MARK.len() - self.chunk.len();
            let (now, later) = postings.split_at(room.min(postings.len()));
            self.chunk.extend_from_slice(now);
            postings = later;
            if self.chunk.len() == CHUNK_OCTETS + MARK.len() {
                self.end_chunk();
            }
        }
    }

    fn end_chunk(&mut self) {
        let chunk = std::mem::replace(&mut self.chunk, MARK.to_vec());
        self.push(keys::postings(self.account, self.segment, self.chunks), chunk);
        self.chunks += 1;
    }

    fn end_block(&mut self) {
        let Some((key, entries, count)) = self.block.take() else { return };
        let mut value = Vec::with_capacity(BLOCK_HEADER_OCTETS + entries.len());
        value.extend([BLOCK_VERSION, 0, 0, 0]);
        value.extend_from_slice(&count.to_le_bytes());
        value.extend_from_slice(&self.block_start.to_le_bytes());
        value.extend_from_slice(&entries);
        self.block_start = self.done.postings_octets;
        self.done.dictionary_octets += value.len() as u64;
        self.push(key, value);
    }

    fn push(&mut self, key: Key, value: Vec<u8>) {
        self.row_octets += key.len() + value.len();
        self.rows.push((key, value));
    }

    /// Octets of the rows that can be taken.
    pub const fn octets(&self) -> usize {
        self.row_octets
    }

    /// Takes the rows that are done.
    pub fn take(&mut self) -> Vec<Row> {
        self.row_octets = 0;
        std::mem::take(&mut self.rows)
    }

    /// Ends the segment; gives its last rows.
    pub fn finish(mut self) -> (Vec<Row>, Finished) {
        self.end_block();
        if self.chunk.len() > MARK.len() {
            self.end_chunk();
        }
        (self.rows, self.done)
    }
}

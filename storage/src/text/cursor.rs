//! Reads a segment: a place in its dictionary, and the postings of the term there.
//!
//! A cursor holds no snapshot. Segments don't change while they are live, so each step may use another one.

use std::ops::{Bound, Range};

use super::segment::{BLOCK_HEADER_OCTETS, BLOCK_VERSION};
use super::{CHUNK_OCTETS, FULL_TERM_OCTETS_MAX, take_number};
use crate::engine::{Bytes, Space};
use crate::ids::AccountId;
use crate::keys::{self, Key, table};
use crate::reader::Reader;
use crate::rows::{BadRow, MARK};
use crate::store::StoreError;

const DAMAGED: StoreError = StoreError::Inconsistent("a dictionary of a text index is malformed");

/// A place in a segment's dictionary.
pub(super) struct Cursor {
    prefix: Key,
    /// Where the next block is looked for.
    next_block: Key,
    block: Option<Bytes>,
    /// The next entry in the block, and how many are left.
    at: usize,
    left: u32,
    term: Vec<u8>,
    postings: Range<u64>,
}

impl Cursor {
    /// In front of the first term.
    pub fn new(account: AccountId, segment: u32) -> Self {
        let prefix = keys::of_segment(account, table::TERMS, segment);
        Self {
            next_block: prefix.clone(),
            prefix,
            block: None,
            at: 0,
            left: 0,
            term: Vec::with_capacity(FULL_TERM_OCTETS_MAX),
            postings: 0..0,
        }
    }

    /// Goes to the first term that is not below `term`; false when there is none.
    pub fn seek(&mut self, reader: &Reader, term: &[u8]) -> Result<bool, StoreError> {
        let upto = [&self.prefix[..], term].concat();
        let found = reader
            .snapshot()
            .range(Space::Rows, Bound::Included(&self.prefix), Bound::Included(&upto))
            .next_back()
            .transpose()?;
        self.block = None;
        self.left = 0;
        self.next_block = found.map_or_else(|| self.prefix.clone(), |(key, _)| key.to_vec());
        while self.next(reader)? {
            if *self.term >= *term {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Goes to the next term; false at the end.
    pub fn next(&mut self, reader: &Reader) -> Result<bool, StoreError> {
        while self.left == 0 {
            let Some((key, value)) = reader.from(&self.next_block, &self.prefix).next().transpose()? else {
                self.block = None;
                return Ok(false);
            };
            self.begin_block(&key, value)?;
        }
        let block = self.block.as_ref().ok_or(DAMAGED)?;
        let mut rest = block.get(self.at..).ok_or(DAMAGED)?;
        let before = rest.len();
        let ([shared, more], tail) = rest.split_first_chunk::<2>().ok_or(DAMAGED)?;
        let (octets, tail) = tail.split_at_checked(usize::from(*more)).ok_or(DAMAGED)?;
        if usize::from(*shared) > self.term.len()
            || usize::from(*shared) + octets.len() > FULL_TERM_OCTETS_MAX
        {
            return Err(DAMAGED);
        }
        self.term.truncate(usize::from(*shared));
        self.term.extend_from_slice(octets);
        rest = tail;
        let length = take_number(&mut rest).ok_or(DAMAGED)?;
        let end = self.postings.end.checked_add(length).ok_or(DAMAGED)?;
        self.postings = self.postings.end..end;
        self.at += before - rest.len();
        self.left -= 1;
        Ok(true)
    }

    fn begin_block(&mut self, key: &[u8], value: Bytes) -> Result<(), StoreError> {
        let (header, _) = value
            .split_first_chunk::<BLOCK_HEADER_OCTETS>()
            .ok_or(BadRow::Length { row: "TERMS", octets: value.len() })?;
        if header[0] != BLOCK_VERSION {
            return Err(BadRow::Version { row: "TERMS", found: header[0], known: BLOCK_VERSION }.into());
        }
        let (count, start) = header[4..].split_first_chunk::<4>().ok_or(DAMAGED)?;
        let start: [u8; 8] = start.try_into().map_err(|_| DAMAGED)?;
        let start = u64::from_le_bytes(start);
        self.left = u32::from_le_bytes(*count);
        self.at = BLOCK_HEADER_OCTETS;
        self.term.clear();
        self.postings = start..start;
        self.next_block = [key, &[0]].concat();
        self.block = Some(value);
        Ok(())
    }

    /// The term.
    pub fn term(&self) -> &[u8] {
        &self.term
    }

    /// Where its postings are.
    pub fn postings(&self) -> Range<u64> {
        self.postings.clone()
    }

    /// Whether the block has been read to its end.
    pub fn is_at_block_end(&self) -> bool {
        self.left == 0 && self.block.as_ref().is_none_or(|block| block.len() == self.at)
    }
}

/// Reads postings of a segment; keeps the chunk that it read last.
pub(super) struct Postings {
    account: AccountId,
    segment: u32,
    chunk: Option<(u32, Bytes)>,
    /// Postings that lie in several chunks.
    joined: Vec<u8>,
}

impl Postings {
    pub const fn new(account: AccountId, segment: u32) -> Self {
        Self { account, segment, chunk: None, joined: Vec::new() }
    }

    /// The octets at `range`, encoded postings.
    pub fn read(&mut self, reader: &Reader, range: Range<u64>) -> Result<&[u8], StoreError> {
        let at = |place: u64| (place / CHUNK_OCTETS as u64, (place % CHUNK_OCTETS as u64) as usize);
        let (first, start) = at(range.start);
        let length = usize::try_from(range.end.saturating_sub(range.start)).map_err(|_| DAMAGED)?;
        if start + length <= CHUNK_OCTETS {
            return self.load(reader, first)?.get(start..start + length).ok_or(DAMAGED);
        }
        self.joined.clear();
        let (mut number, mut start) = (first, start);
        while self.joined.len() < length {
            let left = length - self.joined.len();
            let mut joined = std::mem::take(&mut self.joined);
            let chunk = self.load(reader, number)?;
            let piece = chunk.get(start..chunk.len().min(start + left)).filter(|piece| !piece.is_empty());
            joined.extend_from_slice(piece.ok_or(DAMAGED)?);
            self.joined = joined;
            (number, start) = (number + 1, 0);
        }
        Ok(&self.joined)
    }

    fn load(&mut self, reader: &Reader, number: u64) -> Result<&[u8], StoreError> {
        let number = u32::try_from(number).map_err(|_| DAMAGED)?;
        let value = match self.chunk.take() {
            Some((known, value)) if known == number => value,
            _ => reader
                .get(&keys::postings(self.account, self.segment, number))?
                .ok_or(StoreError::Inconsistent("postings of a text index are missing"))?,
        };
        let (_, value) = self.chunk.insert((number, value));
        match value.split_first() {
            Some((version, octets)) if *version == MARK[0] => Ok(octets),
            Some((found, _)) => {
                Err(BadRow::Version { row: "POSTINGS", found: *found, known: MARK[0] }.into())
            }
            None => Err(BadRow::Length { row: "POSTINGS", octets: 0 }.into()),
        }
    }
}

//! Merges segments into one.

use super::cursor::{Cursor, Postings};
use super::segment::{Finished, Row, SegmentWriter};
use super::set::Bits;
use super::{WRITE_OCTETS, postings};
use crate::ids::{AccountId, EmailId};
use crate::keys::{self, Key, table};
use crate::reader::Reader;
use crate::rows::Segment;
use crate::store::StoreError;

/// Emails that one step looks for, before the terms are merged.
const EMAILS_STEP: usize = 4096;
/// Terms that one step merges at most.
const TERMS_STEP: usize = 20_000;

/// A segment that is merged.
struct Input {
    /// What is added to its numbers.
    offset: u32,
    cursor: Cursor,
    postings: Postings,
    /// Whether the cursor is at a term.
    is_open: bool,
}

/// A merge under way. Memory: a block and a chunk of each segment, the numbers of one term, the rows that
/// were not taken yet, and a bit for each email. Each step may use another snapshot.
pub struct Merge {
    account: AccountId,
    first: EmailId,
    end: EmailId,
    inputs: Vec<Input>,
    is_begun: bool,
    /// Emails that are still there.
    kept: Bits,
    emails: u32,
    /// Where emails are looked for next; none when all were.
    next_email: Option<Key>,
    writer: SegmentWriter,
    numbers: Vec<u32>,
    encoded: Vec<u8>,
}

impl Merge {
    /// Merges segments whose ranges follow each other into a new one with the number `segment`.
    pub fn new(account: AccountId, inputs: &[Segment], segment: u32) -> Self {
        let first = inputs.first().map_or(EmailId(0), |input| input.first);
        let end = inputs.last().map_or(first, |input| input.end);
        let input = |segment: &Segment| Input {
            // Ranges of an index are below `COVERED_MAX`.
            offset: (segment.first.0 - first.0) as u32,
            cursor: Cursor::new(account, segment.number),
            postings: Postings::new(account, segment.number),
            is_open: false,
        };
        Self {
            account,
            first,
            end,
            inputs: inputs.iter().map(input).collect(),
            is_begun: false,
            kept: Bits::new(end.0 - first.0),
            emails: 0,
            next_email: Some(keys::email(account, first)),
            writer: SegmentWriter::new(account, segment),
            numbers: Vec::new(),
            encoded: Vec::new(),
        }
    }

    /// Goes on for some milliseconds; false when all terms are merged. Take the rows between steps.
    pub fn step(&mut self, reader: &Reader) -> Result<bool, StoreError> {
        if let Some(from) = self.next_email.take() {
            self.next_email = self.find_emails(reader, &from)?;
            return Ok(true);
        }
        if !std::mem::replace(&mut self.is_begun, true) {
            for input in &mut self.inputs {
                input.is_open = input.cursor.next(reader)?;
            }
        }
        for _ in 0..TERMS_STEP {
            if self.writer.octets() >= WRITE_OCTETS {
                break;
            }
            if !self.term(reader)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Notes which emails are still there.
    fn find_emails(&mut self, reader: &Reader, from: &[u8]) -> Result<Option<Key>, StoreError> {
        let prefix = keys::of_table(self.account.get(), table::EMAIL);
        for (count, row) in reader.from(from, &prefix).enumerate() {
            let (key, _) = row?;
            if count == EMAILS_STEP {
                return Ok(Some(key.to_vec()));
            }
            let [email] = keys::numbers(&key, [8])?;
            if email >= self.end.0 {
                break;
            }
            self.kept.insert(email - self.first.0);
            self.emails += 1;
        }
        Ok(None)
    }

    /// Merges the smallest term; false when there is none.
    fn term(&mut self, reader: &Reader) -> Result<bool, StoreError> {
        let open = self.inputs.iter().filter(|input| input.is_open);
        let Some(term) = open.map(|input| input.cursor.term()).min().map(<[u8]>::to_vec) else {
            return Ok(false);
        };
        self.numbers.clear();
        for input in &mut self.inputs {
            if !input.is_open || input.cursor.term() != term {
                continue;
            }
            let encoded = input.postings.read(reader, input.cursor.postings())?;
            let keep = |number: u32| self.kept.contains(number.into());
            postings::append_to(encoded, input.offset, keep, &mut self.numbers)?;
            input.is_open = input.cursor.next(reader)?;
        }
        if !self.numbers.is_empty() {
            self.encoded.clear();
            postings::encode(&self.numbers, &mut self.encoded);
            self.writer.add(&term, &self.encoded);
        }
        Ok(true)
    }

    /// Octets of the rows that can be taken.
    pub const fn octets(&self) -> usize {
        self.writer.octets()
    }

    /// Takes the rows that are done.
    pub fn take(&mut self) -> Vec<Row> {
        self.writer.take()
    }

    /// Ends the merge: the last rows, what the segment has, and how many emails are in it.
    pub fn finish(self) -> (Vec<Row>, Finished, u32) {
        let (rows, finished) = self.writer.finish();
        (rows, finished, self.emails)
    }
}

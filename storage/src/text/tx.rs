//! What a transaction changes in the text index. None of it is a change of a mailbox: it takes no
//! modification sequence.

use super::segment::{Finished, Row};
use super::{TEXT_VERSION, WRITE_OCTETS};
use crate::account::Tx;
use crate::ids::EmailId;
use crate::keys::{self, table};
use crate::rows::{Segment, SegmentState, TextRow};
use crate::store::{Refusal, StoreError};

/// Rows of a dropped segment that one transaction removes.
pub const DROP_ROWS_MAX: usize = 256;

/// A transaction's bound is that of an account; what is written at once stays well below it.
const _: () = assert!(4 * WRITE_OCTETS <= crate::account::TRANSACTION_OCTETS_MAX);

impl Tx<'_, '_> {
    fn text(&self) -> Result<Option<TextRow>, StoreError> {
        Ok(self.get(&keys::text(self.account()))?.map(|row| TextRow::decode(&row)).transpose()?)
    }

    fn put_text(&mut self, row: &TextRow) {
        self.insert(keys::text(self.account()), row.encode());
    }

    /// The index, ready to be worked on. Makes it when there is none, empties it when it was made in another
    /// way, and drops what work that was broken off has left.
    pub fn open_text(&mut self) -> Result<TextRow, StoreError> {
        self.head()?;
        let found = self.text()?;
        let mut row = found.clone().unwrap_or_else(TextRow::empty);
        if row.text_version != TEXT_VERSION {
            empty(&mut row);
        }
        for segment in row.segments.iter_mut().filter(|s| s.state == SegmentState::Building) {
            segment.state = SegmentState::Dropped;
        }
        if found.as_ref() != Some(&row) {
            self.put_text(&row);
        }
        Ok(row)
    }

    /// Empties the index, so that it is built anew.
    pub fn reset_text(&mut self) -> Result<(), StoreError> {
        self.head()?;
        let mut row = self.text()?.unwrap_or_else(TextRow::empty);
        empty(&mut row);
        self.put_text(&row);
        Ok(())
    }

    /// Begins a segment; gives its number.
    pub fn begin_segment(&mut self, first: EmailId, end: EmailId) -> Result<u32, StoreError> {
        let mut row = self.text()?.ok_or(StoreError::Inconsistent("there is no text index"))?;
        let number = row.next_segment;
        row.next_segment = number.checked_add(1).ok_or(Refusal::CounterEnd)?;
        row.segments.push(Segment {
            number,
            state: SegmentState::Building,
            first,
            end,
            emails: 0,
            terms: 0,
            dictionary_octets: 0,
            postings_octets: 0,
        });
        self.put_text(&row);
        Ok(number)
    }

    /// Writes rows of a segment that was begun.
    pub fn write_segment(&mut self, number: u32, rows: Vec<Row>) -> Result<(), StoreError> {
        let row = self.text()?.ok_or(StoreError::Inconsistent("there is no text index"))?;
        let is_begun = row.segments.iter().any(|s| s.number == number && s.state == SegmentState::Building);
        if !is_begun {
            return Err(StoreError::Inconsistent("a segment of a text index was not begun"));
        }
        for (key, value) in rows {
            self.insert(key, value);
        }
        Ok(())
    }

    /// Makes a segment live in place of others, or, when it replaces none, of the emails up to its end.
    /// False when the index was emptied meanwhile: then nothing is changed.
    pub fn finish_segment(
        &mut self,
        number: u32,
        emails: u32,
        finished: Finished,
        replaces: &[u32],
    ) -> Result<bool, StoreError> {
        let mut row = self.text()?.ok_or(StoreError::Inconsistent("there is no text index"))?;
        let at = row.segments.iter().position(|s| s.number == number && s.state == SegmentState::Building);
        let Some(at) = at else { return Ok(false) };
        let mut segment = row.segments.remove(at);
        segment.state = SegmentState::Live;
        segment.emails = emails;
        segment.terms = finished.terms;
        segment.dictionary_octets = finished.dictionary_octets;
        segment.postings_octets = finished.postings_octets;
        let place = row.segments.iter().position(|s| replaces.first() == Some(&s.number));
        if replaces.is_empty() {
            if segment.first != row.covered {
                return Err(StoreError::Inconsistent(
                    "a segment of a text index doesn't follow the last one",
                ));
            }
            row.covered = segment.end;
            row.segments.push(segment);
        } else {
            row.segments.insert(place.unwrap_or(row.segments.len()), segment);
        }
        for replaced in row.segments.iter_mut().filter(|s| replaces.contains(&s.number)) {
            replaced.state = SegmentState::Dropped;
        }
        self.put_text(&row);
        Ok(true)
    }

    /// Removes some rows of a dropped segment; true when there are more.
    pub fn drop_segment(&mut self, number: u32) -> Result<bool, StoreError> {
        let Some(mut row) = self.text()? else { return Ok(false) };
        if !row.segments.iter().any(|s| s.number == number && s.state == SegmentState::Dropped) {
            return Ok(false);
        }
        let account = self.account();
        let mut removed = 0;
        for table in [table::TERMS, table::POSTINGS] {
            let prefix = keys::of_segment(account, table, number);
            let keys = self.keys(&prefix, DROP_ROWS_MAX - removed)?;
            removed += keys.len();
            keys.into_iter().for_each(|key| self.remove(key));
        }
        let more = removed == DROP_ROWS_MAX;
        if !more {
            row.segments.retain(|segment| segment.number != number);
            self.put_text(&row);
        }
        Ok(more)
    }
}

fn empty(row: &mut TextRow) {
    row.text_version = TEXT_VERSION;
    row.covered = EmailId(0);
    row.segments.iter_mut().for_each(|segment| segment.state = SegmentState::Dropped);
}

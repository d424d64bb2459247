//! Lookups of rows by number that mostly follow each other.

use super::{Raw, Reader};
use crate::engine::Bytes;
use crate::keys;
use crate::store::StoreError;

/// Numbers that are no further apart are neighbours.
const GAP_MAX: u64 = 4;
/// After so many neighbours in a row, the rows are walked: a walk costs as much to begin as some lookups.
const NEIGHBOURS_MIN: u32 = 4;

/// Looks up rows whose keys are a prefix and a number. Rows of ascending neighbours are walked, which costs a
/// tenth of looking each of them up.
pub struct Ascending<'a> {
    reader: &'a Reader,
    prefix: Vec<u8>,
    walk: Option<Box<dyn Iterator<Item = Result<Raw, StoreError>> + 'a>>,
    /// A row that the walk came to, and that was not asked for yet.
    ahead: Option<(u64, Bytes)>,
    last: u64,
    neighbours: u32,
}

impl<'a> Ascending<'a> {
    /// Lookups of `prefix` with a number of eight octets behind it.
    pub(super) fn new(reader: &'a Reader, prefix: Vec<u8>) -> Self {
        Self { reader, prefix, walk: None, ahead: None, last: 0, neighbours: 0 }
    }

    /// The row with this number.
    pub(super) fn get(&mut self, number: u64) -> Result<Option<Bytes>, StoreError> {
        let is_neighbour = number > self.last && number - self.last <= GAP_MAX;
        self.last = number;
        if !is_neighbour {
            (self.walk, self.ahead, self.neighbours) = (None, None, 0);
            return self.reader.get(&self.key(number));
        }
        self.neighbours = self.neighbours.saturating_add(1);
        if self.walk.is_none() {
            if self.neighbours < NEIGHBOURS_MIN {
                return self.reader.get(&self.key(number));
            }
            self.walk = Some(Box::new(self.reader.from(&self.key(number), &self.prefix)));
        }
        self.walk_to(number)
    }

    fn walk_to(&mut self, number: u64) -> Result<Option<Bytes>, StoreError> {
        loop {
            let next = match self.ahead.take() {
                Some(ahead) => Some(ahead),
                None => match self.walk.as_mut().and_then(Iterator::next).transpose()? {
                    Some((key, value)) => Some((keys::last_number(&key)?, value)),
                    None => None,
                },
            };
            match next {
                Some((found, value)) if found == number => return Ok(Some(value)),
                Some((found, _)) if found < number => {}
                ahead => {
                    self.ahead = ahead;
                    return Ok(None);
                }
            }
        }
    }

    fn key(&self, number: u64) -> Vec<u8> {
        [&self.prefix[..], &number.to_be_bytes()].concat()
    }
}

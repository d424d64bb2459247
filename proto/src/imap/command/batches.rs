//! UIDBATCHES (RFC 10022).

use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use super::cursor::{Cursor, Parsed};

/// UIDBATCHES: asks for ranges of uids that hold about the same number of messages each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UidBatches {
    /// Messages of one batch.
    pub size: NonZeroU32,
    /// Which batches, counted from the highest uids on; all without. As written: the first number may be
    /// the larger one, which is refused when it is executed.
    pub batches: Option<RangeInclusive<NonZeroU32>>,
}

impl UidBatches {
    /// Takes the arguments, from the space on.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        cursor.space()?;
        let size = cursor.nz_number()?;
        if !cursor.take(b' ') {
            return Ok(Self { size, batches: None });
        }
        let first = cursor.nz_number()?;
        cursor.expect(b':', "range of batches expected")?;
        Ok(Self { size, batches: Some(first..=cursor.nz_number()?) })
    }
}

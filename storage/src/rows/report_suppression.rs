//! Rows of addresses to which no reports are sent.

use zerocopy::little_endian::{I64, U16};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{BadRow, Fixed, Tail, length, split};

/// An address to which no reports are sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReportSuppressionRow {
    /// Since when, in seconds since 1970.
    pub created: i64,
    /// Until when, [`i64::MAX`] for ever.
    pub until: i64,
    /// Why.
    pub comment: Box<str>,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct ReportSuppressionLayout {
    version: u8,
    reserved: u8,
    comment: U16,
    created: I64,
    until: I64,
}

impl Fixed for ReportSuppressionLayout {
    const NAME: &'static str = "REPORTSUPPRESS";
}

impl ReportSuppressionRow {
    /// The longest comment.
    pub const COMMENT_OCTETS_MAX: usize = 1024;

    /// The bytes that are stored; none when the comment is longer than [`Self::COMMENT_OCTETS_MAX`].
    pub fn encode(&self) -> Option<Vec<u8>> {
        let fixed = ReportSuppressionLayout {
            version: ReportSuppressionLayout::VERSION,
            reserved: 0,
            comment: length(self.comment.as_bytes(), Self::COMMENT_OCTETS_MAX)?,
            created: self.created.into(),
            until: self.until.into(),
        };
        Some([fixed.as_bytes(), self.comment.as_bytes()].concat())
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let (row, tail) = split::<ReportSuppressionLayout>(bytes)?;
        let mut tail = Tail::of::<ReportSuppressionLayout>(tail, bytes.len());
        let this = Self {
            created: row.created.get(),
            until: row.until.get(),
            comment: tail.text(row.comment.get())?,
        };
        tail.end()?;
        Ok(this)
    }
}

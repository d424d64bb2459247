//! The text index of an account: which emails are in it, and its segments.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{BadRow, Fixed, field, split};
use crate::ids::EmailId;

/// Where a segment is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SegmentState {
    /// Searches use it.
    Live,
    /// Its rows are being written.
    Building,
    /// Its rows are being removed.
    Dropped,
}

/// Terms of the emails in a range of ids. It never changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Its number, never used twice in an index.
    pub number: u32,
    /// Where it is in its life.
    pub state: SegmentState,
    /// The first id of its range.
    pub first: EmailId,
    /// The id behind its range.
    pub end: EmailId,
    /// Emails that were there when it was built.
    pub emails: u32,
    /// Terms.
    pub terms: u64,
    /// Octets of the dictionary's blocks.
    pub dictionary_octets: u64,
    /// Octets of the postings.
    pub postings_octets: u64,
}

/// The text index of an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TextRow {
    /// How texts were decoded and cut into terms: with another way, the index is built anew.
    pub text_version: u32,
    /// Emails with lower ids are in the index.
    pub covered: EmailId,
    /// The number of the next segment.
    pub next_segment: u32,
    /// All segments that may have rows. Those that are live come in the order of their ranges, which meet
    /// each other.
    pub segments: Vec<Segment>,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct TextLayout {
    version: u8,
    reserved: u8,
    segments: U16,
    text_version: U32,
    covered: U64,
    next_segment: U32,
    reserved_2: [u8; 4],
}

impl Fixed for TextLayout {
    const NAME: &'static str = "TEXT";
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct SegmentLayout {
    number: U32,
    state: u8,
    reserved: [u8; 3],
    first: U64,
    end: U64,
    emails: U32,
    reserved_2: [u8; 4],
    terms: U64,
    dictionary_octets: U64,
    postings_octets: U64,
}

impl TextRow {
    /// The bytes that are stored.
    pub fn encode(&self) -> Vec<u8> {
        let fixed = TextLayout {
            version: TextLayout::VERSION,
            reserved: 0,
            // The list is bounded far below.
            segments: u16::try_from(self.segments.len()).unwrap_or(u16::MAX).into(),
            text_version: self.text_version.into(),
            covered: self.covered.0.into(),
            next_segment: self.next_segment.into(),
            reserved_2: [0; 4],
        };
        let mut out = fixed.as_bytes().to_vec();
        for segment in &self.segments {
            let state = match segment.state {
                SegmentState::Live => 0,
                SegmentState::Building => 1,
                SegmentState::Dropped => 2,
            };
            let layout = SegmentLayout {
                number: segment.number.into(),
                state,
                reserved: [0; 3],
                first: segment.first.0.into(),
                end: segment.end.0.into(),
                emails: segment.emails.into(),
                reserved_2: [0; 4],
                terms: segment.terms.into(),
                dictionary_octets: segment.dictionary_octets.into(),
                postings_octets: segment.postings_octets.into(),
            };
            out.extend_from_slice(layout.as_bytes());
        }
        out
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let (row, tail) = split::<TextLayout>(bytes)?;
        let layouts = <[SegmentLayout]>::ref_from_bytes(tail)
            .ok()
            .filter(|layouts| layouts.len() == usize::from(row.segments.get()))
            .ok_or(BadRow::Length { row: TextLayout::NAME, octets: bytes.len() })?;
        let segments = layouts.iter().map(|segment| {
            let state = match segment.state {
                0 => SegmentState::Live,
                1 => SegmentState::Building,
                2 => SegmentState::Dropped,
                _ => return Err(field::<TextLayout>("state of a segment")),
            };
            if segment.first.get() > segment.end.get() {
                return Err(field::<TextLayout>("range of a segment"));
            }
            Ok(Segment {
                number: segment.number.get(),
                state,
                first: EmailId(segment.first.get()),
                end: EmailId(segment.end.get()),
                emails: segment.emails.get(),
                terms: segment.terms.get(),
                dictionary_octets: segment.dictionary_octets.get(),
                postings_octets: segment.postings_octets.get(),
            })
        });
        Ok(Self {
            text_version: row.text_version.get(),
            covered: EmailId(row.covered.get()),
            next_segment: row.next_segment.get(),
            segments: segments.collect::<Result<_, _>>()?,
        })
    }
}

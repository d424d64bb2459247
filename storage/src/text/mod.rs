//! The text index of an account: which emails have which terms in their text (SEARCH TEXT and BODY).
//!
//! Emails are indexed in the order of their ids, into *segments*: terms of the emails in a range of ids,
//! which never change. A segment has a *dictionary*, its terms in order, and *postings*, for each term the
//! emails that have it. Many small segments are merged into one larger one. Emails above the last segment
//! are not in the index yet; who searches looks at them one by one.
//!
//! A term is one octet (where it stands and what it is, see [`Place`]) and the text that
//! [`postrider_proto::mime::terms`] cut. An email with too much text to index is under the term
//! [`UNSURE`]: whatever is looked for, it has to be looked at.
//!
//! - A dictionary block is `version u8 ‖ reserved u8 × 3 ‖ entries u32 ‖ start u64 ‖ entries`: `start` is
//!   where the postings of its first term begin. An entry is `shared u8 ‖ more u8 ‖ octets ‖ length`: octets
//!   shared with the term before, how many follow, these, and the octets of its postings (LEB128).
//! - The postings of a segment are one sequence of octets, those of each term behind each other, cut into
//!   chunks of [`CHUNK_OCTETS`]; a chunk's row has its version in front. Emails are numbers from the first id
//!   of the range on. The first octet says how: 0, LEB128 distances; 1, a bit for each.
//!
//! What always holds: an email below [`TextRow::covered`](crate::rows::TextRow::covered) whose text has a
//! needle is found ([`Hits`]). Emails that were removed may still be found; the next merge forgets them.
//! Rows of a segment are there whole while it is live; a segment that is being written or removed is listed
//! as such.

mod build;
mod cursor;
mod find;
mod merge;
mod postings;
mod segment;
mod set;
#[cfg(test)]
mod tests;
mod tx;
pub(crate) mod verify;

use postrider_proto::mime::terms::{TERM_OCTETS_MAX, TermKind};

use crate::rows::{Segment, SegmentState, TextRow};

pub use build::{BUILD_OCTETS_MAX, Builder, EMAIL_TERMS_MAX};
pub use find::{Finder, Hits, Query, Step};
pub use merge::Merge;
pub use segment::{Finished, Row, SegmentWriter};
pub use set::EmailSet;

/// How texts are decoded and cut into terms. Every change of what a search sees, or of how it is cut, raises
/// it: then each index is built anew.
pub const TEXT_VERSION: u32 = 1;

/// Octets of a dictionary block at which it is full.
const BLOCK_OCTETS: usize = 16 * 1024;
/// Octets of postings in one chunk.
const CHUNK_OCTETS: usize = 32 * 1024;
/// Octets of rows at which a writer should be emptied: what one transaction writes.
pub const WRITE_OCTETS: usize = 256 * 1024;
/// Segments of one level that are merged into one of the next.
const MERGE_SEGMENTS: usize = 8;
/// Emails of a segment of the lowest level; each further level has eight times as many.
const LEVEL_EMAILS: u32 = 256;
/// Emails that an index can cover: a set of them takes a bit each. In an account that ever had more, texts
/// are searched without one.
pub const COVERED_MAX: u64 = 1 << 26;

/// The term of emails that have to be looked at whatever is looked for.
pub const UNSURE: [u8; 1] = [u8::MAX];

/// Where in an email a text stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Place {
    /// Where BODY looks: texts, and headers of messages inside the message.
    Body,
    /// Where only TEXT looks: other headers.
    Header,
}

impl Place {
    /// The first octet of terms at this place.
    const fn octet(self, kind: TermKind) -> u8 {
        let place = match self {
            Self::Body => 0,
            Self::Header => 0x10,
        };
        let kind = match kind {
            TermKind::Word => 1,
            TermKind::Pair => 2,
            TermKind::Triple => 3,
        };
        place | kind
    }
}

/// Octets of the longest term with its first octet.
const FULL_TERM_OCTETS_MAX: usize = TERM_OCTETS_MAX + 1;
const _: () = assert!(FULL_TERM_OCTETS_MAX <= u8::MAX as usize);
const _: () = assert!(COVERED_MAX <= u32::MAX as u64);

impl TextRow {
    /// An index that has nothing yet.
    pub fn empty() -> Self {
        Self {
            text_version: TEXT_VERSION,
            covered: crate::ids::EmailId(0),
            next_segment: 1,
            segments: Vec::new(),
        }
    }

    /// The segments that searches use, in order.
    pub fn live(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        self.segments.iter().filter(|segment| segment.state == SegmentState::Live)
    }

    /// A segment whose rows are to be removed.
    pub fn dropped(&self) -> Option<u32> {
        self.segments.iter().find(|s| s.state == SegmentState::Dropped).map(|segment| segment.number)
    }

    /// The segments that should be merged, if any: eight of one level, and the lower ones behind them. So an
    /// index has fewer than that of each level, and an email is merged once for each level.
    pub fn due_merge(&self) -> Option<Vec<Segment>> {
        let live: Vec<Segment> = self.live().copied().collect();
        (0..=level(u32::MAX)).find_map(|highest| {
            let small = live.iter().rev().take_while(|segment| level(segment.emails) <= highest).count();
            let last = &live[live.len() - small..];
            let of_level = last.iter().filter(|segment| level(segment.emails) == highest).count();
            (of_level >= MERGE_SEGMENTS).then(|| last.to_vec())
        })
    }
}

/// The level of a segment of so many emails.
const fn level(emails: u32) -> u32 {
    match (emails / LEVEL_EMAILS).checked_ilog2() {
        Some(log) => log / MERGE_SEGMENTS.ilog2() + 1,
        None => 0,
    }
}

/// Appends a number in LEB128.
fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes what [`put_number`] wrote.
fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (octet, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(octet & 0x7f) << shift;
        if octet & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

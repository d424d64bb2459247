//! Values of the store: fixed records, little-endian, each beginning with its format version, some
//! with a tail of variable length.
//!
//! What always holds: `decode(encode(x)) == x`; a record of an unknown version, of a wrong length or
//! with a field out of its range is [`BadRow`], never a guess. `rows/tests.rs` pins the bytes.

mod account;
mod acl;
mod blob;
mod evaluation;
mod hold;
mod hook;
mod message;
mod metadata;
mod mta_sts;
mod outgoing;
pub mod pack;
mod queue;
mod queue_meta;
pub(crate) mod queue_v1;
mod recipient;
mod report;
mod report_suppression;
mod result;
mod retired;
mod senders;
mod suppression;
mod text;
mod tls_known;
mod tls_result;
mod urlkey;

pub use account::{DropRow, HeadRow, MailboxRow, SpecialUse};
pub use acl::{AclEntry, AclRow, Grantee, Sign};
pub use blob::{BlobRow, EraseRow, FormatRow};
pub use evaluation::{Disposition, EvaluationRow};
pub use hold::HoldRuleRow;
pub use hook::{HookEnd, HookResult, HookRow, HookSubject, RetiredHookRow};
pub use message::{EmailRow, MessageRow, RefsRow, ThreadRow, TombstoneRow};
pub use metadata::MetadataRow;
pub use mta_sts::MtaStsRow;
pub use outgoing::OutgoingRow;
pub use queue::{DIALED_MAX, Held, Kind, QueueRow, RequireTls, Ret};
pub use queue_meta::{FromIdRow, QueueMeta};
pub use recipient::RecipientRow;
pub use report::{ReportKind, ReportProof, ReportRow, ReportTodoRow};
pub use report_suppression::ReportSuppressionRow;
pub use result::AttemptResult;
pub use retired::{ReportedAction, ReportedResult, RetiredRow, Retirement};
pub use senders::SendersRow;
pub use suppression::{StrikesRow, SuppressionRow};
pub use text::{Segment, SegmentState, TextRow};
pub use tls_known::{MtaStsSeen, TlsKnownRow};
pub use tls_result::TlsResultRow;
pub use urlkey::UrlKeyRow;

use postrider_proto::imap::types::{Keyword, ModSeq, Uid};
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::ids::KeywordId;

/// A stored value that is not of the form its table has: the store is damaged, or was written by
/// another version.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadRow {
    /// Shorter or longer than its form.
    #[error("a {row} row has {octets} octets, which is no length of it")]
    Length {
        /// The kind of row.
        row: &'static str,
        /// Its length.
        octets: usize,
    },
    /// A version that this program doesn't know.
    #[error("a {row} row has version {found}, known is {known}")]
    Version {
        /// The kind of row.
        row: &'static str,
        /// The version found.
        found: u8,
        /// The version known.
        known: u8,
    },
    /// A field that is out of range.
    #[error("a {row} row has an impossible {field}")]
    Field {
        /// The kind of row.
        row: &'static str,
        /// The field.
        field: &'static str,
    },
}

/// A value that only marks its key: a version.
pub const MARK: [u8; 1] = [1];

/// The value of a KEYWORD row: its version and the spelling.
pub fn encode_keyword(keyword: &Keyword) -> Vec<u8> {
    [&MARK, keyword.as_str().as_bytes()].concat()
}

/// Reads what [`encode_keyword`] wrote.
pub fn decode_keyword(value: &[u8]) -> Result<Keyword, BadRow> {
    const ROW: &str = "KEYWORD";
    match value.split_first() {
        None => Err(BadRow::Length { row: ROW, octets: 0 }),
        Some((&version, text)) if version == MARK[0] => std::str::from_utf8(text)
            .ok()
            .and_then(Keyword::new)
            .ok_or(BadRow::Field { row: ROW, field: "spelling" }),
        Some((&found, _)) => Err(BadRow::Version { row: ROW, found, known: MARK[0] }),
    }
}

/// A value that is a version and a text.
pub(crate) fn encode_marked_text(text: &str) -> Vec<u8> {
    [&MARK, text.as_bytes()].concat()
}

/// Reads what [`encode_marked_text`] wrote; `row` is its name in messages.
pub(crate) fn decode_marked_text<'a>(value: &'a [u8], row: &'static str) -> Result<&'a str, BadRow> {
    match value.split_first() {
        None => Err(BadRow::Length { row, octets: 0 }),
        Some((&version, text)) if version == MARK[0] => {
            std::str::from_utf8(text).map_err(|_| BadRow::Field { row, field: "text" })
        }
        Some((&found, _)) => Err(BadRow::Version { row, found, known: MARK[0] }),
    }
}

/// A record's fixed part; its first octet is the version.
trait Fixed: FromBytes + IntoBytes + KnownLayout + Immutable + Unaligned {
    /// The name in messages.
    const NAME: &'static str;
    /// The version that is written, and the only one that is read.
    const VERSION: u8 = 1;
}

/// Splits `bytes` into the fixed part and the tail.
fn split<T: Fixed>(bytes: &[u8]) -> Result<(&T, &[u8]), BadRow> {
    let version = bytes.first().copied().unwrap_or(0);
    if !bytes.is_empty() && version != T::VERSION {
        return Err(BadRow::Version { row: T::NAME, found: version, known: T::VERSION });
    }
    T::ref_from_prefix(bytes).map_err(|_| BadRow::Length { row: T::NAME, octets: bytes.len() })
}

/// Reads a record without tail.
fn whole<T: Fixed>(bytes: &[u8]) -> Result<&T, BadRow> {
    let (row, tail) = split::<T>(bytes)?;
    if tail.is_empty() { Ok(row) } else { Err(BadRow::Length { row: T::NAME, octets: bytes.len() }) }
}

fn field<T: Fixed>(field: &'static str) -> BadRow {
    BadRow::Field { row: T::NAME, field }
}

/// The texts behind a record's fixed part, taken off one by one.
struct Tail<'a> {
    bytes: &'a [u8],
    wrong: BadRow,
    name: &'static str,
}

impl<'a> Tail<'a> {
    /// Of a record of `T` that has `octets` in all.
    fn of<T: Fixed>(bytes: &'a [u8], octets: usize) -> Self {
        Self { bytes, wrong: BadRow::Length { row: T::NAME, octets }, name: T::NAME }
    }

    fn octets(&mut self, length: impl Into<usize>) -> Result<&'a [u8], BadRow> {
        let (octets, rest) = self.bytes.split_at_checked(length.into()).ok_or(self.wrong)?;
        self.bytes = rest;
        Ok(octets)
    }

    fn text(&mut self, length: impl Into<usize>) -> Result<Box<str>, BadRow> {
        let wrong = BadRow::Field { row: self.name, field: "text" };
        Ok(std::str::from_utf8(self.octets(length)?).map_err(|_| wrong)?.into())
    }

    /// Nothing may be left.
    fn end(self) -> Result<(), BadRow> {
        if self.bytes.is_empty() { Ok(()) } else { Err(self.wrong) }
    }
}

/// The length of a text of at most `octets_max`.
fn length(octets: &[u8], octets_max: usize) -> Option<U16> {
    u16::try_from(octets.len()).ok().filter(|_| octets.len() <= octets_max).map(Into::into)
}

/// The bit when it is set.
const fn bit(set: bool, bit: u8) -> u8 {
    if set { bit } else { 0 }
}

fn uid<T: Fixed>(value: u32) -> Result<Uid, BadRow> {
    Uid::new(value).ok_or(field::<T>("uid"))
}

fn modseq<T: Fixed>(value: u64) -> Result<ModSeq, BadRow> {
    ModSeq::new(value).ok_or(field::<T>("modseq"))
}

/// Reads keyword ids, ascending and each once.
fn keyword_ids<T: Fixed>(bytes: &[u8]) -> Result<Box<[KeywordId]>, BadRow> {
    let ids =
        <[U16]>::ref_from_bytes(bytes).map_err(|_| BadRow::Length { row: T::NAME, octets: bytes.len() })?;
    if ids.windows(2).any(|pair| pair[0].get() >= pair[1].get()) {
        return Err(field::<T>("list of keywords"));
    }
    Ok(ids.iter().map(|id| KeywordId(id.get())).collect())
}

fn put_keyword_ids(out: &mut Vec<u8>, ids: &[KeywordId]) {
    for id in ids {
        out.extend_from_slice(&id.0.to_le_bytes());
    }
}

#[cfg(test)]
mod tests;

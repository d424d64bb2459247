//! Numbers of messages: SEARCH, ESEARCH, EXPUNGE, VANISHED, UIDBATCHES (RFC 9051 §7.3.4, RFC 3501 §7.2.5,
//! RFC 7162 §3.1.5 and §3.2.10, RFC 10022).

use super::super::command::{SearchReturn, Tag};
use super::super::sequence::Numbering;
use super::super::types::{ModSeq, Uid};
use super::super::uidset::UidSet;
use super::write_number;

/// Numbers on one SEARCH line.
const SEARCH_NUMBERS_MAX: usize = 100;
/// Octets of a set on one VANISHED line.
const VANISHED_OCTETS_MAX: usize = 4 * 1024;

/// Appends SEARCH, split into lines of 100 numbers; with the highest modification sequence of the
/// results when MODSEQ was searched (RFC 7162 §3.1.5; on the last line).
pub fn write_search(out: &mut Vec<u8>, numbers: &UidSet, modseq: Option<ModSeq>) {
    out.extend_from_slice(b"* SEARCH");
    for (index, number) in numbers.iter().enumerate() {
        if index > 0 && index % SEARCH_NUMBERS_MAX == 0 {
            out.extend_from_slice(b"\r\n* SEARCH");
        }
        out.push(b' ');
        write_number(out, u64::from(number.get()));
    }
    if let Some(modseq) = modseq.filter(|_| !numbers.is_empty()) {
        out.extend_from_slice(b" (MODSEQ ");
        write_number(out, modseq.get());
        out.push(b')');
    }
    out.extend_from_slice(b"\r\n");
}

/// The result of a search for ESEARCH.
#[derive(Clone, Copy, Debug)]
pub struct Esearch<'a> {
    /// Whether `found` are message numbers or uids.
    pub numbering: Numbering,
    /// What was asked; SAVE has no part in the answer.
    pub returns: SearchReturn,
    /// What was found. With MIN and MAX alone, the smallest and the largest are enough.
    pub found: &'a UidSet,
    /// How many were found.
    pub count: u32,
    /// The highest modification sequence when MODSEQ was searched.
    pub modseq: Option<ModSeq>,
}

/// Appends ESEARCH (RFC 4731 §3.1); MIN, MAX and ALL are left out when nothing was found.
pub fn write_esearch(out: &mut Vec<u8>, tag: &Tag, result: &Esearch<'_>) {
    // A tag has no character that quotes would need escaped.
    out.extend_from_slice(b"* ESEARCH (TAG \"");
    out.extend_from_slice(tag.as_str().as_bytes());
    out.extend_from_slice(b"\")");
    if result.numbering == Numbering::Uid {
        out.extend_from_slice(b" UID");
    }
    let mut number = |name: &[u8], number: u64| {
        out.extend_from_slice(name);
        write_number(out, number);
    };
    if let Some(first) = result.found.first().filter(|_| result.returns.min) {
        number(b" MIN ", first.get().into());
    }
    if let Some(last) = result.found.last().filter(|_| result.returns.max) {
        number(b" MAX ", last.get().into());
    }
    if result.returns.count {
        number(b" COUNT ", result.count.into());
    }
    if let Some(modseq) = result.modseq.filter(|_| !result.found.is_empty()) {
        number(b" MODSEQ ", modseq.get());
    }
    if result.returns.all && !result.found.is_empty() {
        out.extend_from_slice(b" ALL ");
        result.found.write(out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends UIDBATCHES (RFC 10022): each batch from its highest to its lowest uid.
pub fn write_uid_batches(out: &mut Vec<u8>, tag: &Tag, batches: impl IntoIterator<Item = (Uid, Uid)>) {
    out.extend_from_slice(b"* UIDBATCHES (TAG \"");
    out.extend_from_slice(tag.as_str().as_bytes());
    out.extend_from_slice(b"\")");
    for (index, (highest, lowest)) in batches.into_iter().enumerate() {
        out.push(if index == 0 { b' ' } else { b',' });
        write_number(out, highest.get().into());
        out.push(b':');
        write_number(out, lowest.get().into());
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends EXPUNGE.
pub fn write_expunge(out: &mut Vec<u8>, sequence: u32) {
    out.extend_from_slice(b"* ");
    write_number(out, u64::from(sequence));
    out.extend_from_slice(b" EXPUNGE\r\n");
}

/// Appends VANISHED, on as many lines as it takes; `earlier` for what happened before this session
/// looked (RFC 7162 §3.2.10.1).
pub fn write_vanished(out: &mut Vec<u8>, uids: &UidSet, earlier: bool) {
    for piece in uids.pieces(VANISHED_OCTETS_MAX) {
        out.extend_from_slice(if earlier { b"* VANISHED (EARLIER) ".as_slice() } else { b"* VANISHED " });
        piece.write(out);
        out.extend_from_slice(b"\r\n");
    }
}

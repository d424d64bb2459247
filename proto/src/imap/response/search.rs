//! Numbers of messages: SEARCH, SORT, ESEARCH, EXPUNGE, VANISHED, UIDBATCHES (RFC 9051 §7.3.4, RFC 3501 §7.2.5,
//! RFC 5256 §4, RFC 5267, RFC 7162 §3.1.5 and §3.2.10, RFC 9394, RFC 10022).

use super::super::command::{Tag, Utf8};
use super::super::sequence::{Counted, Numbering, ResultRange};
use super::super::types::{ModSeq, Uid, UidValidity};
use super::super::uidset::UidSet;
use super::{write_mailbox, write_number};

/// Octets of a set on one VANISHED line.
const VANISHED_OCTETS_MAX: usize = 4 * 1024;

/// Message numbers or uids.
#[derive(Clone, Copy, Debug)]
pub enum Numbers<'a> {
    /// Ascending.
    Set(&'a UidSet),
    /// In the order of a sort.
    Sorted(&'a [Uid]),
}

impl Numbers<'_> {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Set(set) => set.is_empty(),
            Self::Sorted(numbers) => numbers.is_empty(),
        }
    }

    /// Appends `sequence-set`. In a sorted one, neighbours are written as a range when they ascend
    /// (RFC 5267 §3.2).
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Set(set) => set.write(out),
            Self::Sorted(numbers) => write_sorted(out, numbers),
        }
    }
}

fn write_sorted(out: &mut Vec<u8>, numbers: &[Uid]) {
    let mut rest = numbers;
    while let Some(first) = rest.first() {
        let ascends =
            |(at, number): (usize, &Uid)| u64::from(number.get()) == u64::from(first.get()) + at as u64;
        let length = rest.iter().enumerate().take_while(|(at, number)| ascends((*at, *number))).count();
        if rest.len() != numbers.len() {
            out.push(b',');
        }
        write_number(out, first.get().into());
        if length > 1 {
            out.push(b':');
            write_number(out, rest[length - 1].get().into());
        }
        rest = &rest[length..];
    }
}

/// Appends SEARCH; with the highest modification sequence of the results when MODSEQ was searched
/// (RFC 7162 §3.1.5). On one line, since clients look at the first only.
pub fn write_search(out: &mut Vec<u8>, numbers: &UidSet, modseq: Option<ModSeq>) {
    write_numbers(out, b"* SEARCH", numbers.iter(), modseq);
}

/// Appends SORT (RFC 5256 §4), as [`write_search`] does SEARCH (RFC 7162 §3.1.9).
pub fn write_sort(out: &mut Vec<u8>, numbers: &[Uid], modseq: Option<ModSeq>) {
    write_numbers(out, b"* SORT", numbers.iter().copied(), modseq);
}

fn write_numbers(out: &mut Vec<u8>, name: &[u8], numbers: impl Iterator<Item = Uid>, modseq: Option<ModSeq>) {
    let mut is_empty = true;
    out.extend_from_slice(name);
    for number in numbers {
        is_empty = false;
        out.push(b' ');
        write_number(out, u64::from(number.get()));
    }
    if let Some(modseq) = modseq.filter(|_| !is_empty) {
        out.extend_from_slice(b" (MODSEQ ");
        write_number(out, modseq.get());
        out.push(b')');
    }
    out.extend_from_slice(b"\r\n");
}

/// The result of a search for ESEARCH: what is there is told.
#[derive(Clone, Copy, Debug)]
pub struct Esearch<'a> {
    /// Whether numbers are message numbers or uids.
    pub numbering: Numbering,
    /// MIN
    pub min: Option<Uid>,
    /// MAX
    pub max: Option<Uid>,
    /// COUNT
    pub count: Option<u32>,
    /// MODSEQ
    pub modseq: Option<ModSeq>,
    /// ALL; left out when empty (RFC 4731 §3.1)
    pub all: Option<Numbers<'a>>,
    /// PARTIAL: the range as asked for, and the results in it
    pub partial: Option<(ResultRange, Numbers<'a>)>,
}

/// What tells which command an ESEARCH answers, and of which mailbox (RFC 4466 §2.6.2, RFC 7377 §2.1).
#[derive(Clone, Copy, Debug)]
pub struct Correlator<'a> {
    /// The command's tag.
    pub tag: &'a Tag,
    /// The mailbox, in answers to the command ESEARCH.
    pub mailbox: Option<SearchedMailbox<'a>>,
}

/// A mailbox that was searched.
#[derive(Clone, Copy, Debug)]
pub struct SearchedMailbox<'a> {
    /// Its name.
    pub name: &'a str,
    /// How names are written.
    pub utf8: Utf8,
    /// Its uid validity.
    pub validity: UidValidity,
}

impl<'a> From<&'a Tag> for Correlator<'a> {
    fn from(tag: &'a Tag) -> Self {
        Self { tag, mailbox: None }
    }
}

/// Appends ESEARCH (RFC 4731 §3.1).
pub fn write_esearch<'a>(out: &mut Vec<u8>, correlator: impl Into<Correlator<'a>>, result: &Esearch<'_>) {
    write_correlator(out, correlator.into(), result.numbering);
    let mut number = |name: &[u8], number: Option<u64>| {
        if let Some(number) = number {
            out.extend_from_slice(name);
            write_number(out, number);
        }
    };
    number(b" MIN ", result.min.map(|uid| uid.get().into()));
    number(b" MAX ", result.max.map(|uid| uid.get().into()));
    number(b" COUNT ", result.count.map(u64::from));
    number(b" MODSEQ ", result.modseq.map(ModSeq::get));
    if let Some(all) = result.all.filter(|all| !all.is_empty()) {
        out.extend_from_slice(b" ALL ");
        all.write(out);
    }
    if let Some((range, numbers)) = result.partial {
        out.extend_from_slice(b" PARTIAL (");
        write_range(out, range);
        out.push(b' ');
        if numbers.is_empty() {
            out.extend_from_slice(b"NIL");
        } else {
            numbers.write(out);
        }
        out.push(b')');
    }
    out.extend_from_slice(b"\r\n");
}

fn write_correlator(out: &mut Vec<u8>, Correlator { tag, mailbox }: Correlator<'_>, numbering: Numbering) {
    // A tag has no character that quotes would need escaped.
    out.extend_from_slice(b"* ESEARCH (TAG \"");
    out.extend_from_slice(tag.as_str().as_bytes());
    out.push(b'"');
    if let Some(SearchedMailbox { name, utf8, validity }) = mailbox {
        out.extend_from_slice(b" MAILBOX ");
        write_mailbox(out, utf8, name);
        out.extend_from_slice(b" UIDVALIDITY ");
        write_number(out, validity.0.get().into());
    }
    out.push(b')');
    if numbering == Numbering::Uid {
        out.extend_from_slice(b" UID");
    }
}

fn write_range(out: &mut Vec<u8>, range: ResultRange) {
    let sign: &[u8] = if range.counted == Counted::FromLast { b"-" } else { b"" };
    out.extend_from_slice(sign);
    write_number(out, range.from.get().into());
    out.push(b':');
    out.extend_from_slice(sign);
    write_number(out, range.to.get().into());
}

/// How the results of a search changed (RFC 5267 §4.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Update {
    /// ADDTO
    Add,
    /// REMOVEFROM
    Remove,
}

/// Appends ESEARCH with ADDTO or REMOVEFROM: pairs of a position (0: mailbox order) and numbers.
pub fn write_update<'a>(
    out: &mut Vec<u8>,
    tag: &Tag,
    numbering: Numbering,
    update: Update,
    pairs: impl Iterator<Item = (u32, Numbers<'a>)>,
) {
    write_correlator(out, tag.into(), numbering);
    out.extend_from_slice(match update {
        Update::Add => b" ADDTO (".as_slice(),
        Update::Remove => b" REMOVEFROM (",
    });
    for (index, (position, numbers)) in pairs.enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        write_number(out, position.into());
        out.push(b' ');
        numbers.write(out);
    }
    out.extend_from_slice(b")\r\n");
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

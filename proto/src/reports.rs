//! Reports of other servers as they come by mail: TLS (RFC 8460 §5) and aggregate reports of DMARC (RFC 7489 §7.2),
//! each a file that may be compressed.
//!
//! What a file is, is seen at its first octets: media types and file names of real reporters are often wrong, and
//! whoever makes them may lie. Nothing expands to more than is allowed, or to many times of what came.

use std::convert::Infallible;

use crate::dmarc;
use crate::gzip::{self, GzipError};
use crate::mime::decode::{Decoder, TransferEncoding};
use crate::mime::parameter::leading_token;
use crate::mime::scan::Scanner;
use crate::mime::{self, FieldName, Kind, Part, Structure};
use crate::tlsrpt;
use crate::zip::{self, ZipError};

/// Octets of a file as it comes, its transfer encoding undone.
pub const FILE_OCTETS_MAX: usize = 8 << 20;
/// Octets of it in the message: base64 in lines of 2 octets would be more.
pub const BODY_OCTETS_MAX: u64 = (FILE_OCTETS_MAX as u64) / 2 * 3;
/// Parts of a message that are looked at.
pub const PARTS_MAX: usize = 4;
/// Parts among which these are looked for.
const STRUCTURE_PARTS_MAX: usize = 64;
/// How much more than it has a file may expand to.
const RATIO_MAX: usize = 400;
/// What any file may expand to.
const EXPANDED_OCTETS_MIN: usize = 64 << 10;

const _: () = assert!(FILE_OCTETS_MAX / 2 * 3 < usize::MAX / RATIO_MAX);
const _: () = assert!(EXPANDED_OCTETS_MIN < dmarc::report::REPORT_OCTETS_MAX);

/// A report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Report {
    /// On DMARC.
    Dmarc(Box<dmarc::report::Report>),
    /// On TLS.
    Tls(Box<tlsrpt::Report>),
}

/// Why a file is no report that can be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is larger than [`FILE_OCTETS_MAX`], or expands to too much.
    #[error("it has, or expands to, more than is allowed")]
    TooLarge,
    /// A gzip file that is damaged.
    #[error(transparent)]
    Gzip(GzipError),
    /// An archive that is damaged, or isn't read.
    #[error(transparent)]
    Zip(ZipError),
    /// Neither XML nor JSON.
    #[error("it is neither XML nor JSON, nor such a file in gzip or zip")]
    Unknown,
    /// It should have been a report on DMARC.
    #[error(transparent)]
    Dmarc(#[from] dmarc::report::ReportError),
    /// It should have been a report on TLS.
    #[error(transparent)]
    Tls(#[from] tlsrpt::ReportError),
}

/// A part of a message that may be a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Where its body begins.
    pub start: u64,
    /// Where it ends.
    pub end: u64,
    /// How it is encoded.
    pub encoding: TransferEncoding,
}

impl Candidate {
    /// What undoes its encoding; none for one that isn't known, or that is too large.
    #[must_use]
    pub fn decoder(&self) -> Option<Decoder> {
        let is_small = self.end.saturating_sub(self.start) <= BODY_OCTETS_MAX;
        Decoder::new(self.encoding).filter(|_| is_small)
    }
}

/// The parts of a message that may be a report, at most [`PARTS_MAX`]: those that say so first. Messages inside the
/// message are not looked at: whoever signed the outer one says nothing of them.
#[must_use]
pub fn candidates(structure: &Structure) -> Vec<Candidate> {
    let parts = structure.parts.iter().take(STRUCTURE_PARTS_MAX);
    let leaves = parts.filter(|part| part.kind == Kind::Leaf && !is_in_message(structure, part));
    let mut found: Vec<(Likelihood, Candidate)> = leaves
        .filter_map(|part| {
            let encoding = part.field(FieldName::ContentTransferEncoding).unwrap_or_default();
            let encoding = TransferEncoding::parse(encoding);
            Some((likelihood(part)?, Candidate { start: part.body_start, end: part.end, encoding }))
        })
        .collect();
    found.sort_by_key(|(likelihood, _)| *likelihood);
    found.into_iter().take(PARTS_MAX).map(|(_, candidate)| candidate).collect()
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Likelihood {
    Named,
    Attached,
    Text,
}

fn is_in_message(structure: &Structure, part: &Part) -> bool {
    let parent = |part: &Part| part.parent.and_then(|at| structure.parts.get(at as usize));
    let mut at = parent(part);
    // Parents come before their children, so this ends.
    while let Some(part) = at {
        if part.kind == Kind::Message {
            return true;
        }
        at = parent(part);
    }
    false
}

/// How likely a part is a report; none for pictures and the like.
fn likelihood(part: &Part) -> Option<Likelihood> {
    let content_type = part.field(FieldName::ContentType).unwrap_or(b"text/plain");
    let (main, rest) = leading_token(content_type);
    let sub = rest.strip_prefix(b"/").map(|rest| leading_token(rest).0).unwrap_or_default();
    let is = |token: &[u8], name: &str| token.eq_ignore_ascii_case(name.as_bytes());
    let ends = |name: &str| {
        sub.len() >= name.len() && sub.get(sub.len() - name.len()..).is_some_and(|end| is(end, name))
    };
    if is(main, "application") {
        let named = ["gzip", "zip", "zip-compressed", "xml", "json", "compressed"].into_iter().any(ends);
        return Some(if named { Likelihood::Named } else { Likelihood::Attached });
    }
    if !is(main, "text") {
        return None;
    }
    if is(sub, "xml") {
        return Some(Likelihood::Named);
    }
    // Reports that come as the message itself, or attached as text.
    (!is(sub, "html")).then_some(Likelihood::Text)
}

/// The first report among the parts of a message; failing that, why the likeliest part is none. `file` gives the body
/// of a part with its encoding undone.
pub fn find<E>(
    structure: &Structure,
    mut file: impl FnMut(&Candidate) -> Result<Option<Vec<u8>>, E>,
) -> Result<Result<Report, FileError>, E> {
    let mut why = None;
    for candidate in candidates(structure) {
        let Some(file) = file(&candidate)? else { continue };
        match read(&file) {
            Ok(report) => return Ok(Ok(report)),
            Err(error) => {
                why.get_or_insert(error);
            }
        }
    }
    Ok(Err(why.unwrap_or(FileError::Unknown)))
}

/// The same of a message that is in memory.
pub fn find_in(message: &[u8]) -> Result<Report, FileError> {
    let mut scanner = Scanner::new(mime::Limits::DEFAULT);
    scanner.push(message);
    let found = find::<Infallible>(&scanner.finish(), |candidate| {
        let range = usize::try_from(candidate.start).ok().zip(usize::try_from(candidate.end).ok());
        let body = range.and_then(|(start, end)| message.get(start..end));
        let (Some(mut decoder), Some(body)) = (candidate.decoder(), body) else { return Ok(None) };
        let mut file = Vec::new();
        decoder.push(body, &mut file);
        decoder.finish(&mut file);
        Ok(Some(file))
    });
    match found {
        Ok(found) => found,
        Err(never) => match never {},
    }
}

/// Reads a file, whose transfer encoding is undone. Takes milliseconds, and of a hostile one up to half a second: call it
/// on a worker thread.
pub fn read(file: &[u8]) -> Result<Report, FileError> {
    if file.len() > FILE_OCTETS_MAX {
        return Err(FileError::TooLarge);
    }
    let most = (file.len() * RATIO_MAX).clamp(EXPANDED_OCTETS_MIN, dmarc::report::REPORT_OCTETS_MAX);
    let expanded = if gzip::is_gzip(file) {
        Some(gzip::decompress(file, most).map_err(|error| match error {
            GzipError::TooLarge => FileError::TooLarge,
            error => FileError::Gzip(error),
        })?)
    } else if zip::is_zip(file) {
        Some(zip::first_file(file, most).map_err(|error| match error {
            ZipError::TooLarge => FileError::TooLarge,
            error => FileError::Zip(error),
        })?)
    } else {
        None
    };
    let text = expanded.as_deref().unwrap_or(file);
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii();
    match text.first() {
        // In UTF-16 with its mark, or anything that is read as ASCII is.
        Some(b'<' | 0xfe | 0xff) => Ok(Report::Dmarc(Box::new(dmarc::report::Report::parse(text)?))),
        Some(b'{') => Ok(Report::Tls(Box::new(tlsrpt::Report::parse(text)?))),
        _ => Err(FileError::Unknown),
    }
}

#[cfg(test)]
mod tests;

//! Sections: which octets of a message a `BODY[...]` or `BINARY[...]` names (RFC 9051 §6.4.5 and
//! §6.4.5.1).

use std::ops::Range;

use super::super::decode::TransferEncoding;
use super::super::header::{self, FieldFilter};
use super::super::record::StructureRef;
use super::super::{FieldName, Kind};

/// The part of a section specification after the part numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SectionText {
    /// Nothing: the body of the part, or the whole message without part numbers.
    Whole,
    /// HEADER, and what HEADER.FIELDS and HEADER.FIELDS.NOT are taken from: the header of the
    /// message, or of the message in the part.
    Header,
    /// TEXT: the body of the message, or of the message in the part.
    Text,
    /// MIME: the header of the part.
    Mime,
}

/// The octets that a section names, counted from the start of the prefix of `prefix_octets`
/// octets. None when the message has no such part.
pub fn section(
    structure: &StructureRef<'_>,
    path: &[u32],
    text: SectionText,
    prefix_octets: u64,
) -> Option<Range<u64>> {
    let whole_message = path.is_empty();
    let index = if whole_message { 0 } else { part_at(structure, path)? };
    let part = &structure.parts()[index];
    let range = match text {
        SectionText::Whole if whole_message => part.header_start..part.end,
        SectionText::Whole => part.body_start..part.end,
        SectionText::Mime if whole_message => return None,
        SectionText::Mime => part.header_start..part.body_start,
        SectionText::Header | SectionText::Text => {
            let message = if whole_message {
                part
            } else if part.kind == Kind::Message {
                &structure.parts()[structure.children(index).next()?]
            } else {
                return None;
            };
            match text {
                SectionText::Header => message.header_start..message.body_start,
                _ => message.body_start..message.end,
            }
        }
    };
    // The prefix is the first part of the header of the message itself, whatever names it.
    let is_own_header = match text {
        SectionText::Whole | SectionText::Header => whole_message,
        SectionText::Mime => index == 0,
        SectionText::Text => false,
    };
    let start = if is_own_header { 0 } else { range.start + prefix_octets };
    Some(start..range.end + prefix_octets)
}

/// Index of the part with these numbers. None when there is none or `path` is empty.
///
/// A message that is no multipart has one part, number 1: its body.
pub fn part_at(structure: &StructureRef<'_>, path: &[u32]) -> Option<usize> {
    let child = |index: usize, number: u32| {
        structure.children(index).nth(usize::try_from(number).ok()?.checked_sub(1)?)
    };
    let in_message = |message: usize, number: u32| match structure.parts()[message].kind {
        Kind::Multipart => child(message, number),
        _ => (number == 1).then_some(message),
    };
    let (&first, rest) = path.split_first()?;
    let mut index = in_message(0, first)?;
    for &number in rest {
        index = match structure.parts()[index].kind {
            Kind::Multipart => child(index, number)?,
            Kind::Message => in_message(structure.children(index).next()?, number)?,
            Kind::Leaf => return None,
        };
    }
    Some(index)
}

/// What `BINARY[...]` and `BINARY.SIZE[...]` decode.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartBody {
    /// The octets of the body, counted from the start of the prefix.
    pub range: Range<u64>,
    /// How to decode them; `Unknown` is answered with UNKNOWN-CTE.
    pub encoding: TransferEncoding,
}

/// The body that `BINARY[path]` names. Without part numbers it is the whole message as it is. None
/// when the message has no such part or it is a multipart, which has nothing to decode.
pub fn binary(structure: &StructureRef<'_>, path: &[u32], prefix_octets: u64) -> Option<PartBody> {
    let range = section(structure, path, SectionText::Whole, prefix_octets)?;
    if path.is_empty() {
        return Some(PartBody { range, encoding: TransferEncoding::Identity });
    }
    let part = &structure.parts()[part_at(structure, path)?];
    let encoding = match part.kind {
        Kind::Leaf => {
            TransferEncoding::parse(part.field(FieldName::ContentTransferEncoding).unwrap_or_default())
        }
        Kind::Message => TransferEncoding::Identity,
        Kind::Multipart => return None,
    };
    Some(PartBody { range, encoding })
}

/// Appends the fields of `header` that HEADER.FIELDS or HEADER.FIELDS.NOT asks for, as they stand,
/// and the empty line.
pub fn filter_fields(header: &[u8], filter: FieldFilter, names: &[&[u8]], out: &mut Vec<u8>) {
    for field in header::fields(header) {
        let is_named = names.iter().any(|name| name.eq_ignore_ascii_case(field.name));
        if is_named == (filter == FieldFilter::Named) {
            out.extend_from_slice(field.octets);
            if !field.octets.ends_with(b"\n") {
                out.extend_from_slice(b"\r\n");
            }
        }
    }
    out.extend_from_slice(b"\r\n");
}

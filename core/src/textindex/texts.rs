//! Where the text of a message is, for a search and for an index alike.

use std::ops::Range;

use postrider_proto::mime::header::{self, RawField};
use postrider_proto::mime::record::StructureRef;
use postrider_proto::mime::terms::RunTooLong;
use postrider_proto::mime::text::{BodyTerms, terms, text_parts};
use postrider_proto::mime::words;
use postrider_storage::ids::{AccountId, EmailId};
use postrider_storage::reader::Reader;
use postrider_storage::store::StoreError;
use postrider_storage::text::{Builder, Place};

use crate::imap::commands::fetch::HEADER_OCTETS_MAX;
use crate::imap::content::MessageContent;

/// Octets of a message that are indexed. One with more text is looked at by every search.
pub const INDEXED_OCTETS_MAX: u64 = 4 * 1024 * 1024;

/// The headers of a message, its own first: where they are, counted from the start of the prefix, and what
/// looks at them.
pub fn headers<'a>(
    structure: &'a StructureRef<'_>,
    prefix_octets: u64,
) -> impl Iterator<Item = (Range<u64>, Place)> + 'a {
    structure.parts().iter().enumerate().map(move |(index, part)| {
        let start = if index == 0 { 0 } else { part.header_start + prefix_octets };
        let place = if index > 0 && part.is_message { Place::Body } else { Place::Header };
        (start..part.body_start + prefix_octets, place)
    })
}

/// The text of a header field, its name included.
pub fn field_text(field: &RawField<'_>) -> String {
    words::decode(&header::unfold(field.octets))
}

/// Adds the terms of an email to an index that is built; gives the octets that were read. An email that was
/// erased has none.
pub fn add_email(
    reader: &Reader,
    account: AccountId,
    email: EmailId,
    builder: &mut Builder,
) -> Result<u64, StoreError> {
    let mut octets = 0;
    match add_texts(reader, account, email, builder, &mut octets) {
        Err(error @ StoreError::Engine(_)) => Err(error),
        Err(error) => {
            // A search that looks at it meets the damage, as it does without an index.
            tracing::warn!(%account, email = email.0, %error, "a message can't be indexed");
            builder.begin(email);
            builder.unsure();
            Ok(octets)
        }
        Ok(()) => Ok(octets),
    }
}

fn add_texts(
    reader: &Reader,
    account: AccountId,
    email: EmailId,
    builder: &mut Builder,
    octets: &mut u64,
) -> Result<(), StoreError> {
    let Some(message) = MessageContent::load(reader, account, email)? else { return Ok(()) };
    let structure = message.structure()?;
    builder.begin(email);
    for (range, place) in headers(&structure, message.prefix_octets()) {
        let octets_of_header = message.read(reader, range, HEADER_OCTETS_MAX)?;
        *octets += octets_of_header.len() as u64;
        for field in header::fields(&octets_of_header) {
            let added = terms(&field_text(&field), &mut |kind, text| builder.add(place, kind, text));
            if added == Err(RunTooLong) {
                builder.unsure();
            }
        }
        if is_enough(builder, *octets) {
            return Ok(());
        }
    }
    for part in text_parts(&structure, message.prefix_octets()) {
        let Some(mut cutter) = BodyTerms::new(part.encoding, part.charset) else { continue };
        let mut source = message.range(part.range);
        loop {
            let each = |piece: &[u8]| {
                *octets += piece.len() as u64;
                cutter.push(piece, &mut |kind, text| builder.add(Place::Body, kind, text));
            };
            if !source.read(reader, each)? {
                break;
            }
            if is_enough(builder, *octets) {
                return Ok(());
            }
        }
        if cutter.finish(&mut |kind, text| builder.add(Place::Body, kind, text)) == Err(RunTooLong) {
            builder.unsure();
        }
    }
    Ok(())
}

/// Whether reading on has no use.
fn is_enough(builder: &mut Builder, octets: u64) -> bool {
    if octets > INDEXED_OCTETS_MAX {
        builder.unsure();
    }
    builder.is_unsure()
}

//! Invariants of a text index.

use std::collections::BTreeSet;

use super::cursor::{Cursor, Postings};
use super::postings;
use super::set::Bits;
use crate::ids::{AccountId, EmailId};
use crate::keys::{self, table};
use crate::reader::Reader;
use crate::rows::{Segment, SegmentState, TextRow};
use crate::store::StoreError;
use crate::verify::Report;

/// Checks the index of an account whose next email gets the id `next_email`.
pub(crate) fn check(
    reader: &Reader,
    account: AccountId,
    next_email: u64,
    report: &mut Report,
) -> Result<(), StoreError> {
    let place = format!("account {account} text index");
    let row = reader.get(&keys::text(account))?.map(|row| TextRow::decode(&row)).transpose();
    let Some(row) = report.read(row, &place)? else { return Ok(()) };
    let row = row.unwrap_or_else(TextRow::empty);
    report.check(row.covered.0 <= next_email, &place, "covers emails that are not there yet");
    let listed: BTreeSet<u32> = row.segments.iter().map(|segment| segment.number).collect();
    report.check(listed.len() == row.segments.len(), &place, "lists a segment twice");
    report.check(
        listed.last().is_none_or(|last| *last < row.next_segment),
        &place,
        "has a segment with a number that is not yet given out",
    );
    for table in [table::TERMS, table::POSTINGS] {
        unlisted(reader, account, table, &listed, report)?;
    }
    let mut next = EmailId(0);
    for segment in row.live() {
        report.check(segment.first == next, &place, "has segments whose ranges don't meet");
        next = segment.end;
        let place = format!("{place} segment {}", segment.number);
        let checked = check_segment(reader, account, segment, &place, report);
        report.read(checked, &place)?;
    }
    report.check(next == row.covered, &place, "has no segments of all that it covers");
    for segment in row.segments.iter().filter(|segment| segment.state != SegmentState::Live) {
        report.check(segment.first <= segment.end, &place, "has a segment with a reversed range");
    }
    Ok(())
}

/// Rows of segments that are not listed: one seek for each segment.
fn unlisted(
    reader: &Reader,
    account: AccountId,
    table: u8,
    listed: &BTreeSet<u32>,
    report: &mut Report,
) -> Result<(), StoreError> {
    let prefix = keys::of_table(account.get(), table);
    let mut from = prefix.clone();
    while let Some((key, _)) = reader.from(&from, &prefix).next().transpose()? {
        let Some((number, _)) = report.read(keys::segment_parts(&key), "text index")? else { break };
        report.check(
            listed.contains(&number),
            format!("account {account} text index"),
            format_args!("has rows of segment {number}, which is not listed"),
        );
        let Some(next) = number.checked_add(1) else { break };
        from = keys::of_segment(account, table, next);
    }
    Ok(())
}

fn check_segment(
    reader: &Reader,
    account: AccountId,
    segment: &Segment,
    place: &str,
    report: &mut Report,
) -> Result<(), StoreError> {
    let span = segment.end.0 - segment.first.0;
    let mut cursor = Cursor::new(account, segment.number);
    let mut source = Postings::new(account, segment.number);
    let (mut terms, mut next_posting) = (0, 0);
    let mut last: Vec<u8> = Vec::new();
    let mut numbers = Vec::new();
    let mut found = Bits::new(span);
    let mut are_right = true;
    while cursor.next(reader)? {
        are_right &= terms == 0 || *cursor.term() > *last;
        last = cursor.term().to_vec();
        terms += 1;
        let range = cursor.postings();
        are_right &= range.start == next_posting;
        next_posting = range.end;
        numbers.clear();
        postings::append_to(source.read(reader, range)?, 0, |_| true, &mut numbers)?;
        are_right &= !numbers.is_empty() && numbers.iter().all(|number| u64::from(*number) < span);
        numbers.iter().for_each(|number| found.insert(u64::from(*number)));
    }
    report.check(cursor.is_at_block_end(), place, "has a dictionary block with octets behind its entries");
    report.check(are_right, place, "has terms out of order, or postings out of its range");
    report.check(terms == segment.terms, place, "has another number of terms than noted");
    report.check(next_posting == segment.postings_octets, place, "has another length of postings than noted");
    report.check(found.len() <= u64::from(segment.emails), place, "has terms of more emails than noted");
    let mut octets = 0;
    for row in reader.prefix(&keys::of_segment(account, table::TERMS, segment.number)) {
        octets += row?.1.len() as u64;
    }
    report.check(
        octets == segment.dictionary_octets,
        place,
        "has another length of its dictionary than noted",
    );
    let mut octets = 0;
    for row in reader.prefix(&keys::of_segment(account, table::POSTINGS, segment.number)) {
        octets += row?.1.len().saturating_sub(1) as u64;
    }
    report.check(octets == segment.postings_octets, place, "has chunks of postings that no term has");
    Ok(())
}

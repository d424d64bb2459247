#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod append;
mod mailboxes;
mod messages;
mod notify;
mod search;
mod session;

use std::num::{NonZeroU32, NonZeroU64};

use super::super::date::Date;
use super::super::mailbox::BadMailboxName;
use super::super::objectid::ObjectId;
use super::super::sequence::{Counted, Messages, ResultRange, SequenceNumber, SequenceRange, SequenceSet};
use super::super::types::{Flags, Keyword, UidValidity};
use super::*;

const LIMITS: Limits = Limits {
    tag_octets_max: 5,
    search_depth_max: 3,
    search_keys_max: 5,
    search_sources_max: 3,
    search_mailboxes_max: 2,
    cancelled_max: 2,
    sequence_set_elements_max: 3,
    fetch_items_max: 3,
    header_fields_max: 2,
    part_depth_max: 3,
    keywords_max: 2,
    list_patterns_max: 2,
    metadata_entries_max: 2,
    notify_groups_max: 2,
    notify_mailboxes_max: 3,
    append_messages_max: 2,
    catenate_parts_max: 3,
    urls_max: 2,
    id_pairs_max: 2,
    enable_names_max: 3,
    ..Limits::AUTHENTICATED
};

fn parse_as(input: &str, utf8: Utf8, limits: &Limits) -> Result<Tagged, BadCommand> {
    parse(format!("a {input}\r\n").as_bytes(), Context { utf8, limits })
}

fn command(input: &str) -> Command {
    let parsed = parse_as(input, Utf8::Off, &Limits::AUTHENTICATED);
    parsed.unwrap_or_else(|bad| panic!("{input}: {bad:?}")).command
}

fn fault(input: &str) -> Fault {
    parse_as(input, Utf8::Off, &Limits::AUTHENTICATED).expect_err(input).fault
}

/// `fits` parses under the small limits and `over` is refused by one.
fn at_the_limit(fits: &str, over: &str) {
    parse_as(fits, Utf8::Off, &LIMITS).unwrap_or_else(|bad| panic!("{fits}: {bad:?}"));
    let bad = parse_as(over, Utf8::Off, &LIMITS).expect_err(over);
    assert!(matches!(bad.fault, Fault::Limit(_) | Fault::TooBig(_)), "{over}: {bad:?}");
}

fn nz(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

fn set(ranges: &[(u32, u32)]) -> SequenceSet {
    let number = |n: u32| NonZeroU32::new(n).map_or(SequenceNumber::Last, SequenceNumber::Number);
    let ranges = ranges.iter().map(|(from, to)| SequenceRange { from: number(*from), to: number(*to) });
    SequenceSet::new(ranges.collect()).unwrap()
}

fn mailbox_named(input: &str, utf8: Utf8) -> MailboxArgument {
    match parse_as(&format!("DELETE {input}"), utf8, &LIMITS).unwrap().command {
        Command::Delete(mailbox) => mailbox,
        other => panic!("{other:?}"),
    }
}

fn range(from: u32, to: u32, counted: Counted) -> ResultRange {
    let number = |number| NonZeroU32::new(number).unwrap();
    ResultRange { from: number(from), to: number(to), counted }
}

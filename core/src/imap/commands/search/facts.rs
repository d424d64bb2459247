//! What is known of a message while it is tested: cheap facts first, further ones only when those
//! don't decide.

use postrider_proto::imap::command::DateTest;
use postrider_proto::imap::date::Date;
use postrider_proto::imap::types::{Flags, Uid};
use postrider_proto::mime::record::PartRef;
use postrider_proto::mime::text::{BodySearch, Needle, text_parts};
use postrider_proto::mime::{FieldName, header, words};
use postrider_storage::reader::Reader;
use postrider_storage::rows::MessageRow;
use postrider_storage::store::StoreError;
use postrider_storage::text::Place;

use super::tree::{Scope, Term, Test, Tree};
use crate::imap::commands::fetch::HEADER_OCTETS_MAX;
use crate::imap::content::MessageContent;
use crate::textindex::texts::{field_text, headers};

/// From so many octets on, a stored field may have been cut: the header itself decides.
const FIELD_OCTETS_SURE: usize = 4096;

/// What is known of a message.
pub struct Facts<'a> {
    /// The message.
    pub uid: Uid,
    /// Its flags.
    pub flags: Flags,
    /// Whether it may have keywords.
    pub may_have_keywords: bool,
    /// Its row.
    pub row: Option<&'a MessageRow>,
    /// Its stored structure.
    pub root: Option<&'a PartRef<'a>>,
    /// Its header.
    pub header: Option<&'a [u8]>,
    /// Which terms are in it; empty while that isn't known.
    pub terms: &'a [Option<bool>],
}

impl Test {
    /// Whether the message satisfies this; none when the facts don't tell.
    pub fn decide(&self, facts: &Facts<'_>) -> Option<bool> {
        match self {
            Self::Constant(value) => Some(*value),
            Self::All(tests) => decide(tests, facts, false),
            Self::Any(tests) => decide(tests, facts, true),
            Self::Not(test) => test.decide(facts).map(|value| !value),
            Self::In(uids) => Some(uids.contains(facts.uid)),
            Self::Flags(flags) => Some(facts.flags.contains(*flags)),
            Self::Keyword(_) if !facts.may_have_keywords => Some(false),
            Self::Keyword(keyword) => facts.row.map(|row| row.keywords.binary_search(keyword).is_ok()),
            Self::Received(test, day) => {
                facts.row.map(|row| compare(*test, Date::of_unix(row.received).days(), *day))
            }
            Self::ReceivedUpTo(second) => facts.row.map(|row| row.received <= *second),
            Self::ReceivedFrom(second) => facts.row.map(|row| row.received >= *second),
            Self::Saved(test, day) => {
                facts.row.map(|row| compare(*test, Date::of_unix(row.saved).days(), *day))
            }
            Self::Email(email) => facts.row.map(|row| row.email == *email),
            Self::Thread(thread) => facts.row.map(|row| row.thread == *thread),
            Self::Larger(octets) => facts.row.map(|row| row.size > *octets),
            Self::Smaller(octets) => facts.row.map(|row| row.size < *octets),
            Self::ModSeq(modseq) => facts.row.map(|row| row.modseq.get() >= *modseq),
            Self::Sent(test, day) => facts.root.map(|root| sent(root, *test, *day)),
            Self::Field(name, needle) => field(facts, *name, needle),
            Self::Header(name, needle) => facts.header.map(|header| is_in_field(header, name, needle)),
            Self::Text(term) => facts.terms.get(*term).copied().flatten(),
        }
    }
}

/// Looks for a test that is `decisive`; without one, whether all are known.
fn decide(tests: &[Test], facts: &Facts<'_>, decisive: bool) -> Option<bool> {
    let mut all_known = true;
    for test in tests {
        match test.decide(facts) {
            Some(value) if value == decisive => return Some(decisive),
            Some(_) => {}
            None => all_known = false,
        }
    }
    all_known.then_some(!decisive)
}

fn compare(test: DateTest, found: i64, day: i64) -> bool {
    match test {
        DateTest::Before => found < day,
        DateTest::On => found == day,
        DateTest::Since => found >= day,
    }
}

/// RFC 9051 §6.4.4: the day as written. A message without a date was sent on no day.
fn sent(root: &PartRef<'_>, test: DateTest, day: i64) -> bool {
    let date = root.field(FieldName::Date).and_then(header::date).map(|date| date.day);
    let found = date.and_then(|date| Date::new(date.year, date.month, date.day));
    found.is_some_and(|found| compare(test, found.days(), day))
}

/// Of a field that occurs several times against RFC 5322 §3.6, the structure record has the first.
fn field(facts: &Facts<'_>, name: FieldName, needle: &Needle) -> Option<bool> {
    let root = facts.root?;
    let value = root.field(name);
    if value.is_some_and(|value| needle.is_in(&words::decode(value))) {
        return Some(true);
    }
    if root.fields().map(|(_, value)| value.len()).sum::<usize>() < FIELD_OCTETS_SURE {
        return Some(false);
    }
    let (_, name) = FieldName::ALL.iter().find(|(field, _)| *field == name)?;
    facts.header.map(|header| is_in_field(header, name, needle))
}

fn is_in_field(octets: &[u8], name: &str, needle: &Needle) -> bool {
    header::all(octets, name).any(|value| needle.is_in(&words::decode(&header::unfold(value))))
}

/// Whether a term is in any field of a header, names included.
fn is_in_header(octets: &[u8], needle: &Needle) -> bool {
    header::fields(octets).any(|field| needle.is_in(&field_text(&field)))
}

/// Tests a message of which the row is known, reading as little more as it takes.
pub fn test_row(
    tree: &Tree,
    reader: &Reader,
    account: postrider_storage::ids::AccountId,
    uid: Uid,
    row: &MessageRow,
) -> Result<bool, StoreError> {
    let mut facts = Facts {
        uid,
        flags: row.flags,
        may_have_keywords: true,
        row: Some(row),
        root: None,
        header: None,
        terms: &[],
    };
    if let Some(value) = tree.test.decide(&facts) {
        return Ok(value);
    }
    // What the text index knows is not looked for again.
    let hits = tree.hits.get().map(|hits| &**hits).unwrap_or_default();
    let indexed: Vec<Option<bool>> =
        hits.iter().map(|hits| hits.as_ref().and_then(|hits| hits.decide(row.email))).collect();
    facts.terms = &indexed;
    if !indexed.is_empty()
        && let Some(value) = tree.test.decide(&facts)
    {
        return Ok(value);
    }
    // Only a message that was removed and erased since has none: it isn't found.
    let Some(message) = MessageContent::load(reader, account, row.email)? else { return Ok(false) };
    let structure = message.structure()?;
    facts.root = Some(structure.root());
    if let Some(value) = tree.test.decide(&facts) {
        return Ok(value);
    }
    let end = structure.root().body_start + message.prefix_octets();
    let header = message.read(reader, 0..end, HEADER_OCTETS_MAX)?;
    facts.header = Some(&header);
    let in_header = |(index, term): (usize, &Term)| {
        indexed.get(index).copied().flatten().or_else(|| {
            let found = term.scope == Scope::Everything && is_in_header(&header, &term.needle);
            found.then_some(true)
        })
    };
    let mut terms: Vec<Option<bool>> = tree.terms.iter().enumerate().map(in_header).collect();
    let header_alone = terms.clone();
    facts.terms = &header_alone;
    if let Some(value) = tree.test.decide(&facts) {
        return Ok(value);
    }
    find_in_text(&tree.terms, &message, reader, &mut terms)?;
    facts.terms = &terms;
    Ok(tree.test.decide(&facts).unwrap_or(false))
}

/// Looks for all terms that aren't found yet, in one pass over the message.
fn find_in_text(
    terms: &[Term],
    message: &MessageContent,
    reader: &Reader,
    found: &mut [Option<bool>],
) -> Result<(), StoreError> {
    let structure = message.structure()?;
    // The message's own header was looked at before.
    for (range, place) in headers(&structure, message.prefix_octets()).skip(1) {
        let header = message.read(reader, range, HEADER_OCTETS_MAX)?;
        for (term, found) in terms.iter().zip(&mut *found) {
            let is_looked_at = place == Place::Body || term.scope == Scope::Everything;
            if found.is_none() && is_looked_at && is_in_header(&header, &term.needle) {
                *found = Some(true);
            }
        }
    }
    for part in text_parts(&structure, message.prefix_octets()) {
        let mut searches: Vec<(usize, BodySearch<'_>)> = terms
            .iter()
            .enumerate()
            .filter(|(index, _)| found[*index].is_none())
            .filter_map(|(index, term)| {
                Some((index, BodySearch::new(&term.needle, part.encoding, part.charset)?))
            })
            .collect();
        let mut source = message.range(part.range);
        while !searches.is_empty() {
            let more = source.read(reader, |piece| {
                searches.retain_mut(|(index, search)| {
                    let is_found = search.push(piece);
                    if is_found {
                        found[*index] = Some(true);
                    }
                    !is_found
                });
            })?;
            if !more {
                break;
            }
        }
        for (index, search) in searches {
            if search.finish() {
                found[index] = Some(true);
            }
        }
    }
    for found in found {
        found.get_or_insert(false);
    }
    Ok(())
}

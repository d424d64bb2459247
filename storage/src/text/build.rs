//! Gathers the terms of emails in memory, for a segment.

use std::collections::HashMap;

use postrider_proto::mime::terms::TermKind;

use super::segment::{Finished, Row, SegmentWriter};
use super::{FULL_TERM_OCTETS_MAX, Place, UNSURE, postings, put_number, take_number};
use crate::ids::{AccountId, EmailId};

/// Memory that a builder takes; then its segment is written.
pub const BUILD_OCTETS_MAX: usize = 16 * 1024 * 1024;
/// Different terms of one email; one with more is looked at by every search.
pub const EMAIL_TERMS_MAX: u32 = 50_000;
/// What a term costs besides its octets and postings: an entry of the table, which is at worst half full,
/// and two allocations.
const TERM_COST: usize = 160;

/// One email more doesn't double what there is.
const _: () = assert!(EMAIL_TERMS_MAX as usize * (TERM_COST + FULL_TERM_OCTETS_MAX) < BUILD_OCTETS_MAX);

/// Emails of a term: the number of the last one, and the distances so far.
#[derive(Default)]
struct Numbers {
    next: u32,
    distances: Vec<u8>,
}

/// Gathers terms. Emails come in the order of their ids.
pub struct Builder {
    first: EmailId,
    /// The email that is being added, as a number.
    number: u32,
    emails: u32,
    terms: HashMap<Box<[u8]>, Numbers>,
    octets: usize,
    /// Different terms of the present email.
    of_email: u32,
    is_unsure: bool,
    scratch: Vec<u8>,
}

impl Builder {
    /// For emails with ids from `first` on.
    pub fn new(first: EmailId) -> Self {
        Self {
            first,
            number: 0,
            emails: 0,
            terms: HashMap::new(),
            octets: 0,
            of_email: 0,
            is_unsure: false,
            scratch: Vec::with_capacity(FULL_TERM_OCTETS_MAX),
        }
    }

    /// Begins an email, whose id is above those before.
    pub fn begin(&mut self, email: EmailId) {
        // A builder's span is cut by whoever feeds it.
        self.number = u32::try_from(email.0.saturating_sub(self.first.0)).unwrap_or(u32::MAX - 1);
        self.emails += 1;
        self.of_email = 0;
        self.is_unsure = false;
    }

    /// Adds a term of the email.
    pub fn add(&mut self, place: Place, kind: TermKind, text: &str) {
        if self.is_unsure {
            return;
        }
        if self.of_email == EMAIL_TERMS_MAX {
            self.unsure();
            return;
        }
        let mut term = std::mem::take(&mut self.scratch);
        term.clear();
        term.push(place.octet(kind));
        term.extend_from_slice(text.as_bytes());
        self.insert(&term);
        self.scratch = term;
    }

    /// Says that the email has more text than is indexed: every search looks at it.
    pub fn unsure(&mut self) {
        if !std::mem::replace(&mut self.is_unsure, true) {
            self.insert(&UNSURE);
        }
    }

    /// Whether adding to the email has no effect any more.
    pub const fn is_unsure(&self) -> bool {
        self.is_unsure
    }

    fn insert(&mut self, term: &[u8]) {
        if let Some(numbers) = self.terms.get_mut(term) {
            if numbers.next > self.number {
                return;
            }
            let before = numbers.distances.capacity();
            put_number(&mut numbers.distances, u64::from(self.number - numbers.next));
            numbers.next = self.number + 1;
            self.octets += numbers.distances.capacity() - before;
        } else {
            let mut numbers = Numbers { next: self.number + 1, distances: Vec::new() };
            put_number(&mut numbers.distances, u64::from(self.number));
            self.octets += TERM_COST + term.len() + numbers.distances.capacity();
            self.terms.insert(term.into(), numbers);
        }
        self.of_email += 1;
    }

    /// Memory in use.
    pub const fn octets(&self) -> usize {
        self.octets
    }

    /// Emails that were added.
    pub const fn emails(&self) -> u32 {
        self.emails
    }

    /// The first id of the segment.
    pub const fn first(&self) -> EmailId {
        self.first
    }

    /// The rows of the segment.
    pub fn finish(self, account: AccountId, segment: u32) -> (Vec<Row>, Finished) {
        let mut terms: Vec<_> = self.terms.into_iter().collect();
        terms.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let mut writer = SegmentWriter::new(account, segment);
        let (mut numbers, mut encoded) = (Vec::new(), Vec::new());
        for (term, of_term) in terms {
            numbers.clear();
            let mut rest = &of_term.distances[..];
            let mut next = 0;
            while let Some(distance) = take_number(&mut rest) {
                // What was put together from numbers of this width.
                let number = next + distance as u32;
                numbers.push(number);
                next = number + 1;
            }
            encoded.clear();
            postings::encode(&numbers, &mut encoded);
            writer.add(&term, &encoded);
        }
        writer.finish()
    }
}

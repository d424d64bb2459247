//! How many reports about a domain are stored in a day. Who can't confirm who it is has room of its own, so that forged
//! reports don't take that of real ones, and a submitter has a part of it.

use std::collections::HashMap;

use postrider_storage::ids::ReportId;
use postrider_storage::reader::Reader;
use postrider_storage::reports::{Filter, list};
use postrider_storage::rows::{ReportProof, ReportRow};
use postrider_storage::store::StoreError;

use super::judge::organization;

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// Reports about a domain in a day, and octets of their documents.
const CONFIRMED_MAX: Used = Used { reports: 2000, octets: 64 << 20 };
/// Those that nothing confirms.
const UNCONFIRMED_MAX: Used = Used { reports: 100, octets: 2 << 20 };
/// Those of one organization about a domain. Large receivers send one for each of their regions, or each hour.
const SUBMITTER_MAX: u32 = 100;
/// Domains whose counts are remembered; with more, all are found out anew.
const DOMAINS_MAX: usize = 256;

/// What is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Used {
    reports: u32,
    octets: u64,
}

impl Used {
    const fn has_room(self, most: Self) -> bool {
        self.reports < most.reports && self.octets < most.octets
    }

    fn add(&mut self, octets: u32) {
        self.reports = self.reports.saturating_add(1);
        self.octets = self.octets.saturating_add(octets.into());
    }
}

/// What is stored of a domain in a day.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Day {
    number: i64,
    confirmed: Used,
    unconfirmed: Used,
    /// By the organization that submitted them, of those that are confirmed.
    submitters: HashMap<Box<str>, u32>,
}

impl Day {
    fn add(&mut self, row: &ReportRow) {
        if row.proof == ReportProof::Nothing {
            self.unconfirmed.add(row.text_octets);
        } else {
            self.confirmed.add(row.text_octets);
            *self.submitters.entry(organization(&row.submitter)).or_default() += 1;
        }
    }

    fn has_room(&self, row: &ReportRow) -> bool {
        if row.proof == ReportProof::Nothing {
            return self.unconfirmed.has_room(UNCONFIRMED_MAX);
        }
        self.confirmed.has_room(CONFIRMED_MAX)
            && self.submitters.get(&organization(&row.submitter)).is_none_or(|count| *count < SUBMITTER_MAX)
    }
}

/// What is stored of the domains that were asked about lately. What is taken counts when it is kept.
#[derive(Default)]
pub(super) struct Room {
    days: HashMap<String, Day>,
    /// What was taken since.
    taken: Vec<String>,
}

impl Room {
    /// Takes room for a report, if there is any.
    pub(super) fn take(
        &mut self,
        reader: &Reader,
        domain: &str,
        row: &ReportRow,
        now: i64,
    ) -> Result<bool, StoreError> {
        let number = now.div_euclid(DAY_SECONDS);
        let known = self.days.get(domain).is_some_and(|day| day.number == number);
        if !known {
            if self.days.len() >= DOMAINS_MAX {
                self.days.clear();
            }
            self.days.insert(domain.to_owned(), stored(reader, domain, number)?);
        }
        let Some(day) = self.days.get_mut(domain) else { return Ok(false) };
        let has_room = day.has_room(row);
        if has_room {
            day.add(row);
            self.taken.push(domain.to_owned());
        }
        Ok(has_room)
    }

    /// What was taken is stored.
    pub(super) fn keep(&mut self) {
        self.taken.clear();
    }

    /// What was taken since was not stored: it is found out anew how much is.
    pub(super) fn give_back(&mut self) {
        for domain in std::mem::take(&mut self.taken) {
            self.days.remove(&domain);
        }
    }
}

/// What was stored of a domain in a day, which ids tell.
fn stored(reader: &Reader, domain: &str, number: i64) -> Result<Day, StoreError> {
    let mut day = Day { number, ..Day::default() };
    let first = number.saturating_mul(DAY_SECONDS);
    let mut filter = Filter {
        domain: Some(domain.to_owned()),
        kind: None,
        from: ReportId::first_at(first),
        before: ReportId::first_at(first.saturating_add(DAY_SECONDS)),
    };
    loop {
        let page = list(reader, &filter, usize::MAX)?;
        page.reports.iter().for_each(|listed| day.add(&listed.row));
        match page.next {
            Some(next) => filter.from = next,
            None => return Ok(day),
        }
    }
}

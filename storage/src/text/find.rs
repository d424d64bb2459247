//! Finds the emails that may have a needle in their text.

use postrider_proto::mime::terms::{End, Lookup, NeedleRun, TermKind};

use super::cursor::{Cursor, Postings};
use super::set::{Bits, EmailSet};
use super::{COVERED_MAX, Place, TEXT_VERSION, UNSURE, postings};
use crate::ids::{AccountId, EmailId};
use crate::keys;
use crate::reader::Reader;
use crate::rows::{Segment, TextRow};
use crate::store::StoreError;

/// A needle to look for.
#[derive(Clone, Debug)]
pub struct Query {
    /// Its runs; a needle without any can't be looked up.
    pub runs: Vec<NeedleRun>,
    /// Whether it is nothing but one run: then an email that has a word with that in it has the needle.
    pub is_one_run: bool,
    /// Where it is looked for.
    pub places: &'static [Place],
}

/// What the index says of one needle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hits {
    covered: EmailId,
    sure: EmailSet,
    unsure: EmailSet,
}

impl Hits {
    /// Whether the text of an email has the needle; none when the index doesn't tell.
    pub fn decide(&self, email: EmailId) -> Option<bool> {
        if email >= self.covered || self.unsure.contains(email) && !self.sure.contains(email) {
            None
        } else {
            Some(self.sure.contains(email))
        }
    }

    /// Emails with lower ids are in the index.
    pub const fn covered(&self) -> EmailId {
        self.covered
    }
}

/// How a lookup came along.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// There is more to look at.
    More,
    /// All is looked at.
    Done,
    /// Segments were merged meanwhile: begin anew.
    Changed,
}

/// A lookup under way. Each step may use another snapshot: what the index said of an email stays true.
pub struct Finder {
    account: AccountId,
    covered: EmailId,
    /// Segments that are still to be looked at.
    segments: Vec<Segment>,
    queries: Vec<Query>,
    hits: Vec<Option<Hits>>,
}

impl Finder {
    /// Begins to look for needles; none when there is no index of use.
    pub fn begin(
        reader: &Reader,
        account: AccountId,
        queries: Vec<Query>,
    ) -> Result<Option<Self>, StoreError> {
        let Some(row) = usable(reader, account)? else { return Ok(None) };
        let covered = row.covered;
        let hits = || Hits { covered, sure: EmailSet::new(covered), unsure: EmailSet::new(covered) };
        let hits = queries.iter().map(|query| (!query.runs.is_empty()).then(hits)).collect();
        Ok(Some(Self { account, covered, segments: row.live().copied().collect(), queries, hits }))
    }

    /// Looks at one segment.
    pub fn step(&mut self, reader: &Reader) -> Result<Step, StoreError> {
        let Some(segment) = self.segments.pop() else { return Ok(Step::Done) };
        let row = usable(reader, self.account)?;
        let is_live = row.is_some_and(|row| row.live().any(|live| live.number == segment.number));
        if !is_live {
            return Ok(Step::Changed);
        }
        let mut lookup = SegmentLookup::new(reader, self.account, segment);
        let always = lookup.always()?;
        for (query, hits) in self.queries.iter().zip(&mut self.hits) {
            let Some(hits) = hits else { continue };
            for place in query.places {
                let (sure, unsure) = lookup.query(query, *place)?;
                let email = |number| EmailId(segment.first.0 + number);
                sure.iter().for_each(|number| hits.sure.insert(email(number)));
                unsure.iter().for_each(|number| hits.unsure.insert(email(number)));
                always.iter().for_each(|number| hits.unsure.insert(email(number)));
            }
        }
        Ok(if self.segments.is_empty() { Step::Done } else { Step::More })
    }

    /// What was found for each needle; none for those that can't be looked up.
    pub fn into_hits(self) -> Vec<Option<Hits>> {
        self.hits
    }

    /// Emails with lower ids are in the index.
    pub const fn covered(&self) -> EmailId {
        self.covered
    }
}

/// The row of an index that was built as texts are decoded now.
fn usable(reader: &Reader, account: AccountId) -> Result<Option<TextRow>, StoreError> {
    let row = reader.get(&keys::text(account))?.map(|row| TextRow::decode(&row)).transpose()?;
    Ok(row.filter(|row| row.text_version == TEXT_VERSION && row.covered.0 <= COVERED_MAX))
}

/// Lookups in one segment.
struct SegmentLookup<'r> {
    reader: &'r Reader,
    account: AccountId,
    segment: Segment,
    span: u64,
    postings: Postings,
}

/// So often is looked whether all emails are found already.
const FULL_EVERY: usize = 1024;

impl<'r> SegmentLookup<'r> {
    fn new(reader: &'r Reader, account: AccountId, segment: Segment) -> Self {
        let span = segment.end.0 - segment.first.0;
        let postings = Postings::new(account, segment.number);
        Self { reader, account, segment, span, postings }
    }

    /// Emails that have to be looked at in any case.
    fn always(&mut self) -> Result<Bits, StoreError> {
        let mut found = Bits::new(self.span);
        self.exact(&UNSURE, &mut found)?;
        Ok(found)
    }

    /// Emails that have the needle, and those that may have it.
    fn query(&mut self, query: &Query, place: Place) -> Result<(Bits, Bits), StoreError> {
        if query.is_one_run
            && let [run] = &query.runs[..]
        {
            let mut sure = Bits::new(self.span);
            self.kind(run, place, TermKind::Word, &mut sure)?;
            let mut unsure = Bits::new(self.span);
            self.kind(run, place, TermKind::Pair, &mut unsure)?;
            self.kind(run, place, TermKind::Triple, &mut unsure)?;
            return Ok((sure, unsure));
        }
        // Those first that cost least and exclude most.
        let mut runs: Vec<&NeedleRun> = query.runs.iter().collect();
        runs.sort_by_key(|run| (open_ends(run), std::cmp::Reverse(run.text.len())));
        let mut all: Option<Bits> = None;
        for run in runs {
            let mut found = Bits::new(self.span);
            for kind in [TermKind::Word, TermKind::Pair, TermKind::Triple] {
                self.kind(run, place, kind, &mut found)?;
            }
            let all = match &mut all {
                Some(all) => {
                    all.intersect(&found);
                    all
                }
                none => none.insert(found),
            };
            if all.is_empty() {
                break;
            }
        }
        Ok((Bits::new(self.span), all.unwrap_or_default()))
    }

    /// Adds the emails that satisfy a run by terms of one kind.
    fn kind(
        &mut self,
        run: &NeedleRun,
        place: Place,
        kind: TermKind,
        found: &mut Bits,
    ) -> Result<(), StoreError> {
        let first = place.octet(kind);
        match run.lookup(kind) {
            Lookup::Nothing => Ok(()),
            Lookup::Within(text, End::Closed, End::Closed) => {
                self.exact(&[&[first], text.as_bytes()].concat(), found)
            }
            Lookup::Within(text, start, end) => self.within(first, text.as_bytes(), (start, end), found),
            Lookup::Every(terms) => {
                let mut every: Option<Bits> = None;
                for term in terms {
                    let mut of_term = Bits::new(self.span);
                    self.exact(&[&[first], term.as_bytes()].concat(), &mut of_term)?;
                    if let Some(every) = &every {
                        of_term.intersect(every);
                    }
                    if of_term.is_empty() {
                        return Ok(());
                    }
                    every = Some(of_term);
                }
                if let Some(every) = every {
                    found.unite(&every);
                }
                Ok(())
            }
        }
    }

    fn exact(&mut self, term: &[u8], found: &mut Bits) -> Result<(), StoreError> {
        let mut cursor = Cursor::new(self.account, self.segment.number);
        if cursor.seek(self.reader, term)? && cursor.term() == term {
            postings::add_to(self.postings.read(self.reader, cursor.postings())?, found)?;
        }
        Ok(())
    }

    /// Adds the emails of all terms with `text` in them.
    fn within(
        &mut self,
        first: u8,
        text: &[u8],
        (start, end): (End, End),
        found: &mut Bits,
    ) -> Result<(), StoreError> {
        let finder = memchr::memmem::Finder::new(text);
        let from = match start {
            End::Closed => [&[first], text].concat(),
            End::Open => vec![first],
        };
        let mut cursor = Cursor::new(self.account, self.segment.number);
        let mut goes_on = cursor.seek(self.reader, &from)?;
        let mut matched = 0;
        while goes_on && let Some(term) = cursor.term().strip_prefix(&[first]) {
            let is_match = match (start, end) {
                (End::Closed, _) if !term.starts_with(text) => break,
                (End::Closed, End::Open) => true,
                (End::Closed, End::Closed) => term == text,
                (End::Open, End::Closed) => term.ends_with(text),
                (End::Open, End::Open) => finder.find(term).is_some(),
            };
            if is_match {
                postings::add_to(self.postings.read(self.reader, cursor.postings())?, found)?;
                matched += 1;
                if matched % FULL_EVERY == 0 && found.len() >= u64::from(self.segment.emails) {
                    return Ok(());
                }
            }
            goes_on = cursor.next(self.reader)?;
        }
        Ok(())
    }
}

fn open_ends(run: &NeedleRun) -> u8 {
    // A closed start is a place in the dictionary, an open one asks for all of it.
    u8::from(run.start == End::Open) * 2 + u8::from(run.end == End::Open)
}

//! Sets of uids as sorted runs (RFC 9051 §9 `uid-set`).
//!
//! Runs ascend and never touch, so a set has one form. Each run knows how many members precede
//! it: from uid to message number and back is one binary search. A mailbox of 1,000,000 messages
//! without gaps is one run. Copies share their runs until one of them changes.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::response::write_number;
use super::sequence::{MessageSet, SequenceSet};
use super::types::Uid;

/// A set of uids, or of message numbers, in ascending order.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct UidSet {
    runs: Arc<Vec<Run>>,
}

/// Uids without a gap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    first: u32,
    last: u32,
    /// Members of all runs before this one.
    before: u32,
}

impl Run {
    const fn len(self) -> u32 {
        self.last - self.first + 1
    }
}

/// A message number that the mailbox doesn't have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no message with this number")]
pub struct NoSuchMessage;

/// Collects runs in ascending order and joins those that touch.
#[derive(Default)]
struct Builder {
    runs: Vec<Run>,
}

impl Builder {
    /// Adds a run that begins at or after the last one's begin.
    fn push(&mut self, first: u32, last: u32) {
        match self.runs.last_mut() {
            Some(run) if first <= run.last.saturating_add(1) => run.last = run.last.max(last),
            Some(run) => {
                let before = run.before + run.len();
                self.runs.push(Run { first, last, before });
            }
            None => self.runs.push(Run { first, last, before: 0 }),
        }
    }

    fn finish(self) -> UidSet {
        UidSet { runs: Arc::new(self.runs) }
    }
}

impl UidSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// All uids from `first` to `last`; empty when they are the wrong way round.
    pub fn from_range(range: RangeInclusive<Uid>) -> Self {
        let mut builder = Builder::default();
        if range.start() <= range.end() {
            builder.push(range.start().get(), range.end().get());
        }
        builder.finish()
    }

    /// A set of runs whose begins ascend; they may touch and overlap.
    ///
    /// # Panics
    /// When begins don't ascend.
    pub fn from_runs(runs: impl IntoIterator<Item = RangeInclusive<Uid>>) -> Self {
        let mut builder = Builder::default();
        for run in runs {
            assert!(builder.runs.last().is_none_or(|last| last.first <= run.start().get()), "runs ascend");
            if run.start() <= run.end() {
                builder.push(run.start().get(), run.end().get());
            }
        }
        builder.finish()
    }

    /// How many members.
    pub fn len(&self) -> u32 {
        self.runs.last().map_or(0, |run| run.before + run.len())
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// How many runs; what a set costs in memory and on the wire.
    pub fn run_count(&self) -> usize {
        self.runs.len()
    }

    /// The octets that the runs occupy.
    pub fn memory_octets(&self) -> usize {
        self.runs.capacity() * size_of::<Run>()
    }

    /// The smallest member.
    pub fn first(&self) -> Option<Uid> {
        self.runs.first().and_then(|run| Uid::new(run.first))
    }

    /// The largest member.
    pub fn last(&self) -> Option<Uid> {
        self.runs.last().and_then(|run| Uid::new(run.last))
    }

    /// Whether `uid` is a member.
    pub fn contains(&self, uid: Uid) -> bool {
        self.sequence_of(uid).is_some()
    }

    /// The message number of `uid`: 1 for the smallest member.
    pub fn sequence_of(&self, uid: Uid) -> Option<u32> {
        let run = self.runs.get(self.runs.partition_point(|run| run.last < uid.get()))?;
        (run.first <= uid.get()).then(|| run.before + (uid.get() - run.first) + 1)
    }

    /// The uid of a message number.
    pub fn uid_at(&self, sequence: u32) -> Option<Uid> {
        let before = sequence.checked_sub(1)?;
        let run = self.runs.get(self.runs.partition_point(|run| run.before + run.len() <= before))?;
        Uid::new(run.first + (before - run.before))
    }

    /// How many members are smaller than `uid`.
    pub fn count_below(&self, uid: Uid) -> u32 {
        match self.runs.get(self.runs.partition_point(|run| run.last < uid.get())) {
            Some(run) => run.before + uid.get().saturating_sub(run.first),
            None => self.len(),
        }
    }

    /// Adds a uid above all members.
    ///
    /// # Panics
    /// When `uid` isn't above all members: uids are handed out in ascending order.
    pub fn push(&mut self, uid: Uid) {
        self.push_run(uid..=uid);
    }

    /// Adds uids above all members.
    ///
    /// # Panics
    /// When they aren't.
    pub fn push_run(&mut self, range: RangeInclusive<Uid>) {
        if range.is_empty() {
            return;
        }
        assert!(self.last().is_none_or(|last| last < *range.start()), "uids are added in ascending order");
        let mut builder = Builder { runs: std::mem::take(Arc::make_mut(&mut self.runs)) };
        builder.push(range.start().get(), range.end().get());
        self.runs = Arc::new(builder.runs);
    }

    /// Removes `uid`; returns the message number that it had.
    pub fn remove(&mut self, uid: Uid) -> Option<u32> {
        let sequence = self.sequence_of(uid)?;
        let uid = uid.get();
        let index = self.runs.partition_point(|run| run.last < uid);
        let runs = Arc::make_mut(&mut self.runs);
        let run = runs[index];
        let next = match (run.first == uid, run.last == uid) {
            (true, true) => {
                runs.remove(index);
                index
            }
            (true, false) => {
                // Its own `before` stays: nothing in front of it goes.
                runs[index].first += 1;
                index + 1
            }
            (false, true) => {
                runs[index].last -= 1;
                index + 1
            }
            (false, false) => {
                runs[index].last = uid - 1;
                let before = run.before + (uid - run.first) + 1;
                runs.insert(index + 1, Run { first: uid + 1, last: run.last, before });
                index + 1
            }
        };
        for run in &mut runs[next..] {
            run.before -= 1;
        }
        Some(sequence)
    }

    /// Removes all of `other`, in one pass.
    pub fn remove_all(&mut self, other: &Self) {
        if !other.is_empty() {
            *self = self.difference(other);
        }
    }

    /// The members that are in `other` as well.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut builder = Builder::default();
        let (mut a, mut b) = (self.runs.as_slice(), other.runs.as_slice());
        while let ([left, ..], [right, ..]) = (a, b) {
            let (first, last) = (left.first.max(right.first), left.last.min(right.last));
            if first <= last {
                builder.push(first, last);
            }
            // Skip many at once, so that a small set against a large one costs a binary search each.
            if left.last <= right.last {
                a = &a[1..];
                a = skip_below(a, right.first);
            } else {
                b = &b[1..];
                b = skip_below(b, left.first);
            }
        }
        builder.finish()
    }

    /// The members that aren't in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut builder = Builder::default();
        let mut gone = other.runs.as_slice();
        for run in self.runs.iter() {
            let mut first = run.first;
            gone = skip_below(gone, first);
            let mut whole = true;
            for cut in gone.iter().take_while(|cut| cut.first <= run.last) {
                if first < cut.first {
                    builder.push(first, cut.first - 1);
                }
                whole = cut.last < run.last;
                if !whole {
                    break;
                }
                first = cut.last + 1;
            }
            if whole {
                builder.push(first, run.last);
            }
        }
        builder.finish()
    }

    /// The members of both.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut builder = Builder::default();
        let (mut a, mut b) = (self.runs.iter().peekable(), other.runs.iter().peekable());
        loop {
            let next = match (a.peek(), b.peek()) {
                (Some(left), Some(right)) if left.first <= right.first => a.next(),
                (Some(_), None) => a.next(),
                (_, Some(_)) => b.next(),
                (None, None) => break,
            };
            if let Some(run) = next {
                builder.push(run.first, run.last);
            }
        }
        builder.finish()
    }

    /// The members in ascending order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Uid> + '_ {
        self.runs.iter().flat_map(|run| run.first..=run.last).filter_map(Uid::new)
    }

    /// The runs in ascending order.
    pub fn runs(&self) -> impl DoubleEndedIterator<Item = RangeInclusive<Uid>> + '_ {
        self.runs.iter().filter_map(|run| Some(Uid::new(run.first)?..=Uid::new(run.last)?))
    }

    /// The members in `from ..= to`.
    #[must_use]
    pub fn between(&self, range: RangeInclusive<Uid>) -> Self {
        self.intersection(&Self::from_range(range))
    }

    /// The largest `count` members, or all when there are fewer.
    #[must_use]
    pub fn last_members(&self, count: u32) -> Self {
        match (self.len().checked_sub(count).and_then(|skipped| self.uid_at(skipped + 1)), self.last()) {
            (Some(first), Some(last)) => self.between(first..=last),
            _ if count == 0 => Self::new(),
            _ => self.clone(),
        }
    }

    /// The members with these message numbers.
    #[must_use]
    pub fn at_sequence(&self, numbers: &Self) -> Self {
        let mut builder = Builder::default();
        for wanted in numbers.runs.iter() {
            let (from, to) = (wanted.first - 1, wanted.last.min(self.len()));
            let start = self.runs.partition_point(|run| run.before + run.len() <= from);
            for run in self.runs[start..].iter().take_while(|run| run.before < to) {
                let first = run.first + from.saturating_sub(run.before);
                let last = run.last.min(run.first + (to - run.before - 1));
                builder.push(first, last);
            }
        }
        builder.finish()
    }

    /// The message numbers of those members that are in `uids`.
    #[must_use]
    pub fn sequence_numbers(&self, uids: &Self) -> Self {
        let mut builder = Builder::default();
        for run in self.intersection(uids).runs.iter() {
            if let Some(first) = Uid::new(run.first).and_then(|uid| self.sequence_of(uid)) {
                builder.push(first, first + (run.last - run.first));
            }
        }
        builder.finish()
    }

    /// The members that a set of uids means; `*` is the largest member (RFC 9051 §9 `seq-range`).
    /// Uids that don't exist are ignored (RFC 9051 §6.4.9).
    #[must_use]
    pub fn resolve_uids(&self, set: &SequenceSet) -> Self {
        match self.last() {
            Some(last) => self.intersection(&pairs(&set.normalised(last.0))),
            None => Self::new(),
        }
    }

    /// The members that a set of message numbers means. A number beyond the last message is
    /// refused, except in a range with `*`.
    ///
    /// Deviation: RFC 9051 §9 `seq-number` would refuse `*` in an empty mailbox; `1:*` is what
    /// clients send without looking, so it means nothing there.
    pub fn resolve_sequence(&self, set: &SequenceSet) -> Result<Self, NoSuchMessage> {
        if set.largest_certain() > self.len() {
            return Err(NoSuchMessage);
        }
        Ok(self.resolve_sequence_leniently(set))
    }

    /// The members that a set of message numbers means, without those that don't exist; as a
    /// search key.
    #[must_use]
    pub fn resolve_sequence_leniently(&self, set: &SequenceSet) -> Self {
        match Uid::new(self.len()) {
            Some(last) => self.at_sequence(&pairs(&set.normalised(last.0))),
            None => Self::new(),
        }
    }

    /// The set meant by a uid argument, `saved` standing for `$`.
    #[must_use]
    pub fn resolve_uid_argument(&self, set: &MessageSet, saved: &Self) -> Self {
        match set {
            MessageSet::Saved => self.intersection(saved),
            MessageSet::Set(set) => self.resolve_uids(set),
        }
    }

    /// Appends the compact form, `1:5,7`. Nothing for the empty set.
    pub fn write(&self, out: &mut Vec<u8>) {
        for (index, run) in self.runs.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            run.write(out);
        }
    }

    /// Cuts the set so that the compact form of each piece has at most `octets_max` octets, but at
    /// least one run.
    pub fn pieces(&self, octets_max: usize) -> impl Iterator<Item = Self> + '_ {
        let mut rest = self.runs.as_slice();
        let mut text = Vec::new();
        std::iter::from_fn(move || {
            text.clear();
            let mut builder = Builder::default();
            while let [run, after @ ..] = rest {
                text.push(b',');
                run.write(&mut text);
                // The first comma isn't written.
                if text.len() - 1 > octets_max && !builder.runs.is_empty() {
                    break;
                }
                builder.push(run.first, run.last);
                rest = after;
            }
            (!builder.runs.is_empty()).then(|| builder.finish())
        })
    }
}

impl Run {
    fn write(self, out: &mut Vec<u8>) {
        write_number(out, u64::from(self.first));
        if self.last > self.first {
            out.push(b':');
            write_number(out, u64::from(self.last));
        }
    }
}

/// Drops runs that end below `first`.
fn skip_below(runs: &[Run], first: u32) -> &[Run] {
    match runs {
        [run, ..] if run.last < first => &runs[runs.partition_point(|run| run.last < first)..],
        _ => runs,
    }
}

fn pairs(pairs: &[(u32, u32)]) -> UidSet {
    let mut builder = Builder::default();
    for (first, last) in pairs {
        builder.push(*first, *last);
    }
    builder.finish()
}

impl FromIterator<Uid> for UidSet {
    /// Collects uids in whatever order.
    fn from_iter<I: IntoIterator<Item = Uid>>(uids: I) -> Self {
        let mut uids: Vec<u32> = uids.into_iter().map(Uid::get).collect();
        if !uids.is_sorted() {
            uids.sort_unstable();
        }
        let mut builder = Builder::default();
        for uid in uids {
            builder.push(uid, uid);
        }
        builder.finish()
    }
}

impl std::fmt::Display for UidSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = Vec::new();
        self.write(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

impl std::fmt::Debug for UidSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "UidSet({self})")
    }
}

#[cfg(test)]
mod tests;

//! Sequence sets as clients write them (RFC 9051 §9 `sequence-set`, `$`: §6.4.4.1).

use std::num::NonZeroU32;
use std::ops::Range;

/// One end of a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SequenceNumber {
    /// A number.
    Number(NonZeroU32),
    /// `*`: the last message.
    Last,
}

/// A number (both ends equal) or a range, in the order in which it was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SequenceRange {
    /// The first end as written; may be the larger one.
    pub from: SequenceNumber,
    /// The second end as written.
    pub to: SequenceNumber,
}

/// A list of numbers and ranges as written; never empty. Whether it means message numbers or uids
/// is told by [`Messages::numbering`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SequenceSet(Box<[SequenceRange]>);

/// Which messages a command means: a set, or `$`, the result of the last saved search.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MessageSet {
    /// `$` (RFC 9051 §6.4.4.1, RFC 5182).
    Saved,
    /// A set.
    Set(SequenceSet),
}

/// Whether numbers are message sequence numbers or uids (the `UID` variant of a command).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Numbering {
    /// Message sequence numbers: 1 ..= number of messages.
    Sequence,
    /// Unique identifiers.
    Uid,
}

/// Some results of a search by their place among all of them: `1:10` the first ten, `-1:-10` the last
/// (RFC 5267 §4.4, RFC 9394 §3.1). Kept as written, since the answer repeats it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResultRange {
    /// The first end as written; may be the larger one.
    pub from: NonZeroU32,
    /// The second end as written.
    pub to: NonZeroU32,
    /// From which end of the results it is counted.
    pub counted: Counted,
}

/// From which end results are counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counted {
    /// 1 is the first one.
    FromFirst,
    /// -1 is the last one.
    FromLast,
}

impl ResultRange {
    /// How many results have to be known from the end that it counts from.
    pub fn reach(&self) -> u32 {
        self.from.max(self.to).get()
    }

    /// The places that it means among `count` results, counted from 0; perhaps none.
    pub fn places(&self, count: u32) -> Range<u32> {
        let (near, far) = (self.from.min(self.to).get(), self.reach());
        match self.counted {
            Counted::FromFirst => (near - 1).min(count)..far.min(count),
            Counted::FromLast => count.saturating_sub(far)..count.saturating_sub(near - 1),
        }
    }
}

/// The messages that a command is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Messages {
    /// How to read the numbers.
    pub numbering: Numbering,
    /// The set.
    pub set: MessageSet,
}

impl SequenceSet {
    /// Makes a set; none when there are no ranges.
    pub fn new(ranges: Vec<SequenceRange>) -> Option<Self> {
        (!ranges.is_empty()).then(|| Self(ranges.into()))
    }

    /// The ranges as written.
    pub fn ranges(&self) -> &[SequenceRange] {
        &self.0
    }

    /// Whether `*` occurs.
    pub fn has_last(&self) -> bool {
        self.0.iter().any(|range| {
            matches!(range.from, SequenceNumber::Last) || matches!(range.to, SequenceNumber::Last)
        })
    }

    /// The largest number that is not in a range with `*`: it has to exist whatever `*` is.
    pub fn largest_certain(&self) -> u32 {
        let certain = |range: &SequenceRange| match (range.from, range.to) {
            (SequenceNumber::Number(a), SequenceNumber::Number(b)) => a.max(b).get(),
            _ => 0,
        };
        self.0.iter().map(certain).max().unwrap_or(0)
    }

    /// The ranges with `last` for `*`: sorted, joined where they touch or overlap, lower end first.
    pub fn normalised(&self, last: NonZeroU32) -> Vec<(u32, u32)> {
        let number = |n| match n {
            SequenceNumber::Number(n) => NonZeroU32::get(n),
            SequenceNumber::Last => last.get(),
        };
        let mut pairs: Vec<(u32, u32)> = self
            .0
            .iter()
            .map(|range| (number(range.from), number(range.to)))
            .map(|(a, b)| (a.min(b), a.max(b)))
            .collect();
        pairs.sort_unstable();
        pairs.dedup_by(|next, kept| {
            let joins = next.0 <= kept.1.saturating_add(1);
            if joins {
                kept.1 = kept.1.max(next.1);
            }
            joins
        });
        pairs
    }
}

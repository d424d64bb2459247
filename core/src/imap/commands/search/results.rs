//! What of the results of a search or sort is told, and saved (RFC 4731 §3.1, RFC 5182 §2.4,
//! RFC 5267 §3.1, RFC 9394 §3).

use postrider_proto::imap::command::SearchReturn;
use postrider_proto::imap::response::{Correlator, Esearch, Numbers, write_esearch};
use postrider_proto::imap::sequence::{Numbering, ResultRange};
use postrider_proto::imap::types::Uid;
use postrider_proto::imap::uidset::UidSet;

use super::Found;

/// Uids of results in the order that was asked for.
#[derive(Clone, Copy, Debug)]
pub enum Results<'a> {
    /// In the order of the mailbox.
    Set(&'a UidSet),
    /// In the order of a sort.
    Sorted(&'a [Uid]),
}

/// Some of them.
enum Part<'a> {
    Set(UidSet),
    Sorted(&'a [Uid]),
}

impl<'a> Results<'a> {
    fn count(&self) -> u32 {
        match self {
            Self::Set(uids) => uids.len(),
            // A mailbox has fewer messages than there are uids.
            Self::Sorted(uids) => u32::try_from(uids.len()).unwrap_or(u32::MAX),
        }
    }

    fn first(&self) -> Option<Uid> {
        match self {
            Self::Set(uids) => uids.first(),
            Self::Sorted(uids) => uids.first().copied(),
        }
    }

    fn last(&self) -> Option<Uid> {
        match self {
            Self::Set(uids) => uids.last(),
            Self::Sorted(uids) => uids.last().copied(),
        }
    }

    fn all(&self) -> Part<'a> {
        match self {
            Self::Set(uids) => Part::Set((*uids).clone()),
            Self::Sorted(uids) => Part::Sorted(uids),
        }
    }

    fn part(&self, range: ResultRange) -> Part<'a> {
        let places = range.places(self.count());
        match self {
            Self::Set(uids) => {
                let numbers = (Uid::new(places.start + 1), Uid::new(places.end));
                let (Some(first), Some(last)) = numbers else { return Part::Set(UidSet::new()) };
                Part::Set(uids.at_sequence(&UidSet::from_range(first..=last)))
            }
            Self::Sorted(uids) => Part::Sorted(&uids[places.start as usize..places.end as usize]),
        }
    }
}

impl Part<'_> {
    fn to_set(&self) -> UidSet {
        match self {
            Self::Set(uids) => uids.clone(),
            Self::Sorted(uids) => set_of(uids),
        }
    }
}

fn set_of(uids: &[Uid]) -> UidSet {
    let mut uids = uids.to_vec();
    uids.sort_unstable();
    uids.into_iter().collect()
}

/// The messages that `$` means from now on: what is told by MIN, MAX and PARTIAL, when nothing else is
/// asked for (RFC 5182 §2.4, RFC 9394 §3.2).
pub fn saved(returns: SearchReturn, results: &Results<'_>) -> UidSet {
    told(returns, results).unwrap_or_else(|| results.all().to_set())
}

/// What is told when that isn't all.
fn told(returns: SearchReturn, results: &Results<'_>) -> Option<UidSet> {
    let has_part = returns.min || returns.max || returns.partial.is_some();
    if !has_part || returns.all || returns.count {
        return None;
    }
    let min = results.first().filter(|_| returns.min);
    let max = results.last().filter(|_| returns.max);
    let mut ends: Vec<Uid> = min.into_iter().chain(max).collect();
    ends.sort_unstable();
    let ends: UidSet = ends.into_iter().collect();
    Some(match returns.partial {
        Some(range) => ends.union(&results.part(range).to_set()),
        None => ends,
    })
}

/// Writes ESEARCH; nothing when the results are only saved (RFC 5182 §2.1).
pub fn write_results(
    out: &mut Vec<u8>,
    correlator: Correlator<'_>,
    view: &UidSet,
    numbering: Numbering,
    returns: SearchReturn,
    results: &Results<'_>,
    found: &Found,
) {
    if returns.save && !returns.tells() && !returns.update && !returns.context {
        return;
    }
    let number = |uid: Uid| match numbering {
        Numbering::Uid => Some(uid),
        Numbering::Sequence => view.sequence_of(uid).and_then(Uid::new),
    };
    let all = returns.all.then(|| Numbered::new(results.all(), view, numbering));
    let partial = returns.partial.map(|range| (range, Numbered::new(results.part(range), view, numbering)));
    let modseq = match told(returns, results) {
        Some(told) => found.modseq_of(&told),
        None => found.modseq_of(&found.uids),
    };
    let result = Esearch {
        numbering,
        min: results.first().filter(|_| returns.min).and_then(number),
        max: results.last().filter(|_| returns.max).and_then(number),
        count: returns.count.then(|| results.count()),
        modseq,
        all: all.as_ref().map(Numbered::numbers),
        partial: partial.as_ref().map(|(range, numbered)| (*range, numbered.numbers())),
    };
    write_esearch(out, correlator, &result);
}

/// Results as they are told.
enum Numbered {
    Set(UidSet),
    Sorted(Vec<Uid>),
}

impl Numbered {
    fn new(some: Part<'_>, view: &UidSet, numbering: Numbering) -> Self {
        match (some, numbering) {
            (Part::Set(uids), Numbering::Uid) => Self::Set(uids),
            (Part::Set(uids), Numbering::Sequence) => Self::Set(view.sequence_numbers(&uids)),
            (Part::Sorted(uids), Numbering::Uid) => Self::Sorted(uids.to_vec()),
            (Part::Sorted(uids), Numbering::Sequence) => {
                Self::Sorted(uids.iter().filter_map(|uid| Uid::new(view.sequence_of(*uid)?)).collect())
            }
        }
    }

    fn numbers(&self) -> Numbers<'_> {
        match self {
            Self::Set(numbers) => Numbers::Set(numbers),
            Self::Sorted(numbers) => Numbers::Sorted(numbers),
        }
    }
}

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use proptest::prelude::*;

use super::super::sequence::{SequenceNumber, SequenceRange};
use super::*;

fn uid(n: u32) -> Uid {
    Uid::new(n).unwrap()
}

fn set(uids: &BTreeSet<u32>) -> UidSet {
    uids.iter().map(|n| uid(*n)).collect()
}

fn members(set: &UidSet) -> BTreeSet<u32> {
    set.iter().map(Uid::get).collect()
}

/// What has to hold of every set.
fn check(set: &UidSet) {
    let mut before = 0;
    let mut end: Option<u32> = None;
    for run in set.runs.iter() {
        assert!(run.first >= 1 && run.first <= run.last);
        assert!(end.is_none_or(|end| end + 1 < run.first), "runs touch");
        assert_eq!(run.before, before);
        before += run.len();
        end = Some(run.last);
    }
    assert_eq!(set.len(), before);
}

fn wanted(parts: &[(Option<u32>, Option<u32>)]) -> SequenceSet {
    let number = |n: Option<u32>| match n.and_then(NonZeroU32::new) {
        Some(n) => SequenceNumber::Number(n),
        None => SequenceNumber::Last,
    };
    let ranges = parts.iter().map(|(from, to)| SequenceRange { from: number(*from), to: number(*to) });
    SequenceSet::new(ranges.collect()).unwrap()
}

#[test]
fn a_mailbox_without_gaps_is_one_run() {
    let mut uids = UidSet::from_range(uid(1)..=uid(1_000_000));
    assert_eq!((uids.len(), uids.run_count()), (1_000_000, 1));
    assert_eq!(uids.sequence_of(uid(777)), Some(777));
    let shared = uids.clone();
    assert_eq!(uids.remove(uid(500)), Some(500));
    assert_eq!(uids.to_string(), "1:499,501:1000000");
    assert_eq!(shared.len(), 1_000_000);
    uids.push(uid(1_000_002));
    assert_eq!(uids.last(), Some(uid(1_000_002)));
    assert_eq!(uids.uid_at(1_000_000), Some(uid(1_000_002)));
    assert_eq!(uids.uid_at(0), None);
    assert_eq!(uids.uid_at(1_000_001), None);
    check(&uids);
}

#[test]
fn the_end_of_the_number_space_holds() {
    let mut uids = UidSet::from_range(uid(u32::MAX - 1)..=Uid::MAX);
    assert_eq!(uids.to_string(), "4294967294:4294967295");
    assert_eq!(uids.union(&uids.clone()), uids);
    assert_eq!(uids.remove(Uid::MAX), Some(2));
    uids.push(Uid::MAX);
    check(&uids);
    assert_eq!(UidSet::from_range(Uid::MIN..=Uid::MAX).len(), u32::MAX);
    assert_eq!(UidSet::from_range(Uid::MIN..=Uid::MAX).sequence_of(Uid::MAX), Some(u32::MAX));
}

#[test]
fn sequence_numbers_beyond_the_mailbox_are_refused_but_for_star() {
    let uids = set(&BTreeSet::from([10, 20, 30]));
    let resolve = |parts: &[_]| uids.resolve_sequence(&wanted(parts)).map(|set| members(&set));
    assert_eq!(resolve(&[(Some(2), Some(3))]), Ok(BTreeSet::from([20, 30])));
    assert_eq!(resolve(&[(Some(3), Some(1))]), Ok(BTreeSet::from([10, 20, 30])));
    assert_eq!(resolve(&[(Some(2), Some(4))]), Err(NoSuchMessage));
    assert_eq!(resolve(&[(Some(5), None)]), Ok(BTreeSet::from([30])));
    assert_eq!(resolve(&[(None, None)]), Ok(BTreeSet::from([30])));
    assert_eq!(members(&uids.resolve_sequence_leniently(&wanted(&[(Some(2), Some(9))]))), [20, 30].into());
    // RFC 9051 §9: 3291:* includes the last message though its uid is smaller.
    assert_eq!(members(&uids.resolve_uids(&wanted(&[(Some(99), None)]))), [30].into());
    assert_eq!(members(&uids.resolve_uids(&wanted(&[(Some(11), Some(25))]))), [20].into());
    let empty = UidSet::new();
    assert_eq!(empty.resolve_sequence(&wanted(&[(Some(1), None)])), Ok(UidSet::new()));
    assert_eq!(empty.resolve_sequence(&wanted(&[(Some(1), Some(1))])), Err(NoSuchMessage));
    let saved = set(&BTreeSet::from([20, 25]));
    assert_eq!(members(&uids.resolve_uid_argument(&MessageSet::Saved, &saved)), [20].into());
}

#[test]
fn pieces_are_short_and_lose_nothing() {
    let uids: UidSet = (0..5000).map(|n| uid(1 + n * 2)).collect();
    for octets_max in [1, 10, 100, 4096] {
        let mut all = UidSet::new();
        for piece in uids.pieces(octets_max) {
            check(&piece);
            assert!(piece.to_string().len() <= octets_max || piece.run_count() == 1);
            all = all.union(&piece);
        }
        assert_eq!(all, uids);
    }
    // As full as they can be: 4 octets hold "1,3" and not "1,3,5".
    assert_eq!(uids.pieces(4).next().unwrap().to_string(), "1,3");
    assert_eq!(uids.pieces(5).next().unwrap().to_string(), "1,3,5");
    assert_eq!(UidSet::new().pieces(10).count(), 0);
}

fn some() -> impl Strategy<Value = BTreeSet<u32>> {
    proptest::collection::btree_set(1u32..60, 0..40)
}

proptest! {
    #[test]
    fn sets_behave_as_sets(a in some(), b in some(), n in 1u32..60) {
        let (x, y) = (set(&a), set(&b));
        check(&x);
        prop_assert_eq!(members(&x), a.clone());
        for (ours, theirs) in [
            (x.union(&y), &a | &b),
            (x.intersection(&y), &a & &b),
            (x.difference(&y), &a - &b),
        ] {
            check(&ours);
            prop_assert_eq!(members(&ours), theirs);
        }
        prop_assert_eq!(x.count_below(uid(n)) as usize, a.range(..n).count());
        prop_assert_eq!(x.contains(uid(n)), a.contains(&n));
        let mut removed = x.clone();
        let sequence = removed.remove(uid(n));
        check(&removed);
        prop_assert_eq!(sequence, a.contains(&n).then(|| a.range(..=n).count() as u32));
        let mut rest = a.clone();
        rest.remove(&n);
        prop_assert_eq!(members(&removed), rest);
    }

    #[test]
    fn message_numbers_and_uids_answer_each_other(a in some(), b in some()) {
        let (x, y) = (set(&a), set(&b));
        for (index, n) in a.iter().enumerate() {
            prop_assert_eq!(x.sequence_of(uid(*n)), Some(index as u32 + 1));
            prop_assert_eq!(x.uid_at(index as u32 + 1), Some(uid(*n)));
        }
        let list: Vec<u32> = a.iter().copied().collect();
        let at: BTreeSet<u32> = b.iter().filter_map(|n| list.get(*n as usize - 1)).copied().collect();
        let ours = x.at_sequence(&y);
        check(&ours);
        prop_assert_eq!(members(&ours), at);
        let numbers: BTreeSet<u32> =
            list.iter().zip(1..).filter(|(n, _)| b.contains(n)).map(|(_, index)| index).collect();
        let ours = x.sequence_numbers(&y);
        check(&ours);
        prop_assert_eq!(members(&ours), numbers);
    }

    #[test]
    fn normalised_sets_mean_the_same(parts in proptest::collection::vec((0u32..30, 0u32..30), 1..8)) {
        let some = |n: u32| (n > 0).then_some(n);
        let parts: Vec<_> = parts.into_iter().map(|(a, b)| (some(a), some(b))).collect();
        let last = 25;
        let meant: BTreeSet<u32> = parts
            .iter()
            .map(|(a, b)| (a.unwrap_or(last), b.unwrap_or(last)))
            .flat_map(|(a, b)| a.min(b)..=a.max(b))
            .collect();
        let pairs = wanted(&parts).normalised(NonZeroU32::new(last).unwrap());
        prop_assert!(pairs.windows(2).all(|w| w[0].1 + 1 < w[1].0), "{:?}", pairs);
        let ours: BTreeSet<u32> = pairs.iter().flat_map(|(a, b)| *a..=*b).collect();
        prop_assert_eq!(ours, meant);
    }
}

#[test]
fn the_last_members_are_the_largest() {
    let uids: UidSet = [1, 2, 3, 7, 9, 10].into_iter().map(uid).collect();
    for (count, text) in
        [(0, ""), (1, "10"), (2, "9:10"), (4, "3,7,9:10"), (6, "1:3,7,9:10"), (7, "1:3,7,9:10")]
    {
        assert_eq!(uids.last_members(count).to_string(), text, "{count}");
        check(&uids.last_members(count));
    }
    assert!(UidSet::new().last_members(3).is_empty());
}

//! Sorts in steps: runs of some thousand members first, which are merged two by two.

use std::cmp::Ordering;
use std::collections::VecDeque;

/// Members of a run that is sorted at once, below a millisecond.
const RUN: u32 = 4096;

/// The members 0..count on their way into an order.
#[derive(Default)]
pub struct Order {
    /// Where the first run begins that isn't sorted yet.
    next: u32,
    count: u32,
    runs: VecDeque<Vec<u32>>,
    merge: Option<Merge>,
}

struct Merge {
    left: Vec<u32>,
    right: Vec<u32>,
    /// Members taken of each.
    taken: (usize, usize),
    merged: Vec<u32>,
}

impl Order {
    /// Orders the members 0..count.
    pub fn new(count: u32) -> Self {
        Self { next: 0, count, ..Self::default() }
    }

    /// Goes on for about `comparisons`; true when the order is complete. `compare` never says `Equal`
    /// of two members.
    pub fn step(&mut self, comparisons: u64, compare: impl Fn(u32, u32) -> Ordering) -> bool {
        let mut left = comparisons;
        while left > 0 {
            if self.next < self.count {
                let end = self.count.min(self.next.saturating_add(RUN));
                let mut run: Vec<u32> = (self.next..end).collect();
                run.sort_unstable_by(|a, b| compare(*a, *b));
                self.next = end;
                self.runs.push_back(run);
                left = left.saturating_sub(u64::from(RUN * RUN.ilog2()));
                continue;
            }
            let Some(merge) = self.merge.take().or_else(|| self.next_merge()) else { return true };
            self.merge(merge, &mut left, &compare);
        }
        self.next >= self.count && self.merge.is_none() && self.runs.len() <= 1
    }

    fn next_merge(&mut self) -> Option<Merge> {
        let left = self.runs.pop_front()?;
        let Some(right) = self.runs.pop_front() else {
            self.runs.push_front(left);
            return None;
        };
        let merged = Vec::with_capacity(left.len() + right.len());
        Some(Merge { left, right, taken: (0, 0), merged })
    }

    fn merge(&mut self, mut merge: Merge, budget: &mut u64, compare: &impl Fn(u32, u32) -> Ordering) {
        while *budget > 0 {
            let next = match (merge.left.get(merge.taken.0), merge.right.get(merge.taken.1)) {
                (Some(left), Some(right)) => {
                    *budget -= 1;
                    if compare(*left, *right) == Ordering::Greater {
                        merge.taken.1 += 1;
                        *right
                    } else {
                        merge.taken.0 += 1;
                        *left
                    }
                }
                _ => {
                    merge.merged.extend_from_slice(&merge.left[merge.taken.0..]);
                    merge.merged.extend_from_slice(&merge.right[merge.taken.1..]);
                    self.runs.push_back(merge.merged);
                    return;
                }
            };
            merge.merged.push(next);
        }
        self.merge = Some(merge);
    }

    /// The order, once it is complete.
    pub fn into_sorted(mut self) -> Vec<u32> {
        self.runs.pop_front().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_a_plain_sort_however_it_is_cut() {
        let key = |member: u32| member.wrapping_mul(2_654_435_761) % 1000;
        let compare = |a: u32, b: u32| key(a).cmp(&key(b)).then(a.cmp(&b));
        for count in [0, 1, 2, RUN - 1, RUN, RUN + 1, 3 * RUN, 5 * RUN + 7] {
            for comparisons in [1, 100, 50_000, u64::MAX] {
                if comparisons == 1 && count > 2 * RUN {
                    continue;
                }
                let mut order = Order::new(count);
                while !order.step(comparisons, compare) {}
                let mut plain: Vec<u32> = (0..count).collect();
                plain.sort_unstable_by(|a, b| compare(*a, *b));
                assert_eq!(order.into_sorted(), plain, "{count} by {comparisons}");
            }
        }
    }
}

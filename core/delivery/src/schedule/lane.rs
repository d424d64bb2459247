//! Turns of accounts: mail of one sender doesn't wait for the backlog of another to the same domain.
//!
//! Entries of a domain are in the order of their due times, whoever sent them. Of the rows that are read, [`pick`]
//! takes those of each account in turn. New entries of accounts with few of them are remembered besides, so that they
//! are found although a backlog of thousands of rows stands before them.

use std::collections::{HashMap, VecDeque};

use super::SessionId;
use crate::limits::{ENTRIES_MAX, LANE_ACCOUNT_MAX, LANE_MAX, LANES_MAX};

/// Chooses `most` of rows, whose accounts these are in the order of their due times: the first of each account, then
/// the second of each, and so on. Gives their places.
#[must_use]
pub fn pick(accounts: &[u32], most: usize) -> Vec<usize> {
    let mut counts: HashMap<u32, u32> = HashMap::new();
    let mut order: Vec<(u32, usize)> = accounts
        .iter()
        .enumerate()
        .map(|(place, account)| {
            let count = counts.entry(*account).or_default();
            *count += 1;
            (*count, place)
        })
        .collect();
    order.sort_unstable();
    order.truncate(most);
    order.into_iter().map(|(_, place)| place).collect()
}

/// New entries of domains that are behind: ids and accounts.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: HashMap<u64, VecDeque<(u64, u32)>>,
    /// What sessions have for their turns, as long as it may be given back.
    given: HashMap<SessionId, Vec<(u64, u32)>>,
}

impl Lanes {
    /// Remembers an entry, unless there are enough of its account, of its domain or in all: the store has them.
    pub(super) fn add(&mut self, domain: u64, entry: u64, account: u32) {
        if self.lanes.len() >= LANES_MAX && !self.lanes.contains_key(&domain) {
            return;
        }
        let lane = self.lanes.entry(domain).or_default();
        if lane.iter().any(|(known, _)| *known == entry) {
            return;
        }
        let of_account = lane.iter().filter(|(_, other)| *other == account).count();
        if lane.len() < LANE_MAX && of_account < LANE_ACCOUNT_MAX {
            lane.push_back((entry, account));
        }
    }

    /// Gives a session entries of its domain for its turn: half of the turn at most, so that the backlog moves, too.
    pub(super) fn give(&mut self, domain: u64, session: SessionId) -> Vec<u64> {
        let given = self.take(domain);
        let entries = given.iter().map(|(entry, _)| *entry).collect();
        if !given.is_empty() {
            self.given.insert(session, given);
        }
        entries
    }

    /// Takes back what a session was given: it comes before what came since. What was delivered of it is found to be gone.
    pub(super) fn take_back(&mut self, domain: u64, session: SessionId) {
        let Some(given) = self.given.remove(&session) else { return };
        let later = self.lanes.remove(&domain).unwrap_or_default();
        for (entry, account) in given.into_iter().chain(later) {
            self.add(domain, entry, account);
        }
    }

    /// Takes that a session needs what it was given no more.
    pub(super) fn settle(&mut self, session: SessionId) {
        self.given.remove(&session);
    }

    /// Forgets the entries of a domain.
    pub(super) fn forget(&mut self, domain: u64) {
        self.lanes.remove(&domain);
    }

    fn take(&mut self, domain: u64) -> Vec<(u64, u32)> {
        let Some(lane) = self.lanes.get_mut(&domain) else { return Vec::new() };
        let accounts: Vec<u32> = lane.iter().map(|(_, account)| *account).collect();
        let mut picked = pick(&accounts, ENTRIES_MAX / 2);
        let taken = picked.iter().filter_map(|place| lane.get(*place)).copied().collect();
        picked.sort_unstable();
        for place in picked.iter().rev() {
            lane.remove(*place);
        }
        if lane.is_empty() {
            self.lanes.remove(&domain);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_have_their_turns() {
        assert_eq!(pick(&[1, 1, 1, 2, 3, 2], 4), [0, 3, 4, 1]);
        assert_eq!(pick(&[1, 1, 1], 2), [0, 1]);
        assert!(pick(&[], 5).is_empty());
        let backlog = [vec![7; 200], vec![8]].concat();
        assert_eq!(pick(&backlog, 2), [0, 200]);
    }

    #[test]
    fn lanes_are_bounded_and_fair() {
        let mut lanes = Lanes::default();
        for entry in 0..100 {
            lanes.add(1, entry, 7);
        }
        lanes.add(1, 100, 8);
        // One that is told of again, by whomever.
        lanes.add(1, 100, 0);
        let [one, two] = [1, 2].map(SessionId);
        assert_eq!(lanes.give(1, one), [0, 100, 1, 2, 3]);
        assert!(lanes.give(1, two).is_empty() && lanes.lanes.is_empty());
        for account in 0..1000 {
            lanes.add(1, u64::from(account), account);
        }
        assert_eq!(lanes.give(1, two).len(), ENTRIES_MAX / 2);
        assert_eq!(lanes.lanes[&1].len(), LANE_MAX - ENTRIES_MAX / 2);
        for domain in 0..10_000 {
            lanes.add(domain, 1, 1);
        }
        assert_eq!(lanes.lanes.len(), LANES_MAX);
    }

    #[test]
    fn what_is_taken_back_comes_before_what_came_since_within_bounds() {
        let mut lanes = Lanes::default();
        let session = SessionId(1);
        (0..4).for_each(|entry| lanes.add(1, entry, 7));
        assert_eq!(lanes.give(1, session), [0, 1, 2, 3]);
        (4..8).for_each(|entry| lanes.add(1, entry, 7));
        lanes.add(1, 8, 8);
        lanes.take_back(1, session);
        lanes.take_back(1, session);
        assert_eq!(lanes.give(1, session), [0, 8, 1, 2, 3]);
        lanes.settle(session);
        lanes.take_back(1, session);
        assert!(lanes.lanes.is_empty() && lanes.given.is_empty());
    }
}

//! Which URL is called next: pure, for one shard.
//!
//! One call at a time for each URL, so many for all. Whoever was served goes behind all who wait, so that a URL with much
//! to hear doesn't keep others waiting.
//!
//! What costs is time: a program that stalls keeps a place for a minute. So URLs are told apart by how long their last call took. Those
//! that were slow have at most half of the places, and one place is kept for those that are known to be quick: whatever stalls, and
//! however much of it there is, quick ones are called meanwhile.

use std::collections::{BTreeSet, HashMap};

/// The hash of a URL.
type Url = u64;

/// URLs of which is known how long they take, waiting or not: some 50 octets each. With more, it is found out anew.
const KNOWN_MAX: usize = 10_000;

/// How long the last call of a URL took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pace {
    /// Hardly anything, whatever came of it.
    Quick,
    /// There was none, as far as is known.
    #[default]
    Unknown,
    /// Long.
    Slow,
}

impl Pace {
    const ALL: [Self; 3] = [Self::Quick, Self::Unknown, Self::Slow];
}

/// When a URL has its turn: then, and in the order in which it was put there.
type Turn = (i64, u64, Url);

#[derive(Debug, Default)]
pub(super) struct Schedule {
    places: usize,
    urls: HashMap<Url, State>,
    paces: HashMap<Url, Pace>,
    /// Who waits, by pace.
    turns: [BTreeSet<Turn>; 3],
    /// How many run, by the pace that was known when they began.
    running: [usize; 3],
    put: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// When its first call is due, as far as is known; none when nothing waits.
    due: Option<i64>,
    pace: Pace,
    at: At,
}

#[derive(Clone, Copy, Debug, Default)]
enum At {
    #[default]
    Nowhere,
    Waiting(Turn),
    Running,
}

/// What came of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct After {
    /// When the first call that is left is due; none when nothing is.
    pub(super) due: Option<i64>,
    /// How long the call took; none when none was made.
    pub(super) pace: Option<Pace>,
}

impl Schedule {
    /// One with so many places.
    pub(super) fn new(places: usize) -> Self {
        Self { places, ..Self::default() }
    }

    /// Something is due for a URL at `due`.
    pub(super) fn notify(&mut self, url: Url, due: i64) {
        let pace = self.paces.get(&url).copied().unwrap_or_default();
        let state = self.urls.entry(url).or_insert(State { pace, ..State::default() });
        let first = state.due.map_or(due, |known| known.min(due));
        state.due = Some(first);
        match state.at {
            At::Running => {}
            At::Waiting((turn, ..)) if turn <= first => {}
            At::Nowhere | At::Waiting(_) => self.wait(url, first),
        }
    }

    /// The URL whose turn it is at `now`. It runs until [`Self::finished`] is called.
    pub(super) fn poll(&mut self, now: i64) -> Option<Url> {
        let first = |pace: Pace| self.turns[pace as usize].first().map(|turn| (*turn, pace));
        let having_room = Pace::ALL.into_iter().filter(|pace| self.has_room(*pace));
        let (turn, pace) = having_room.filter_map(first).min_by_key(|(turn, _)| *turn)?;
        if turn.0 > now {
            return None;
        }
        let url = turn.2;
        self.turns[pace as usize].remove(&turn);
        self.running[pace as usize] += 1;
        let state = self.urls.get_mut(&url)?;
        state.at = At::Running;
        // What becomes due from now on is told while it runs.
        state.due = None;
        Some(url)
    }

    /// Whether another of this pace may run.
    fn has_room(&self, pace: Pace) -> bool {
        let [quick, unknown, slow] = self.running;
        let any = quick + unknown + slow < self.places;
        // Who has a single place shares it.
        let not_quick = any && unknown + slow < self.places.saturating_sub(1).max(1);
        match pace {
            Pace::Quick => any,
            Pace::Unknown => not_quick,
            Pace::Slow => not_quick && slow < (self.places / 2).max(1),
        }
    }

    /// A turn has ended at `now`.
    pub(super) fn finished(&mut self, url: Url, after: After, now: i64) {
        let Some(state) = self.urls.get_mut(&url).filter(|state| matches!(state.at, At::Running)) else {
            return;
        };
        self.running[state.pace as usize] -= 1;
        state.at = At::Nowhere;
        if let Some(pace) = after.pace {
            state.pace = pace;
            if self.paces.len() >= KNOWN_MAX {
                self.paces.clear();
            }
            self.paces.insert(url, pace);
        }
        state.due = [state.due, after.due].into_iter().flatten().min();
        match state.due {
            Some(due) => self.wait(url, due.max(now)),
            None => {
                self.urls.remove(&url);
            }
        }
    }

    /// When to poll next, if nothing happens before; none when nothing that has room waits for time.
    pub(super) fn next_wake(&self) -> Option<i64> {
        let having_room = Pace::ALL.into_iter().filter(|pace| self.has_room(*pace));
        having_room.filter_map(|pace| self.turns[pace as usize].first()).map(|(turn, ..)| *turn).min()
    }

    /// Calls that are under way.
    #[cfg(test)]
    pub(super) fn running(&self) -> usize {
        self.running.iter().sum()
    }

    /// Puts a URL that doesn't run behind all whose turn is as early.
    fn wait(&mut self, url: Url, turn: i64) {
        let Some(state) = self.urls.get_mut(&url) else { return };
        let turns = &mut self.turns[state.pace as usize];
        if let At::Waiting(old) = state.at {
            turns.remove(&old);
        }
        self.put += 1;
        let turn = (turn, self.put, url);
        turns.insert(turn);
        state.at = At::Waiting(turn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Option<Pace> = Some(Pace::Quick);
    const SLOW: Option<Pace> = Some(Pace::Slow);

    fn polled(schedule: &mut Schedule, now: i64) -> Vec<Url> {
        std::iter::from_fn(|| schedule.poll(now)).collect()
    }

    /// Makes a URL known to be of a pace.
    fn known(schedule: &mut Schedule, url: Url, pace: Pace) {
        schedule.notify(url, 0);
        assert_eq!(polled(schedule, 0), [url]);
        schedule.finished(url, After { due: None, pace: Some(pace) }, 0);
    }

    #[test]
    fn a_url_has_one_call_at_a_time_and_all_have_so_many() {
        let mut schedule = Schedule::new(2);
        for url in [1, 2, 3] {
            known(&mut schedule, url, Pace::Quick);
        }
        for url in [1, 2, 3] {
            schedule.notify(url, 10);
            schedule.notify(url, 5);
        }
        assert_eq!(schedule.next_wake(), Some(5));
        assert!(polled(&mut schedule, 4).is_empty());
        assert_eq!(polled(&mut schedule, 5), [1, 2]);
        assert_eq!((schedule.next_wake(), schedule.running()), (None, 2));
        // Whoever was served goes behind who waits.
        schedule.finished(1, After { due: Some(5), pace: QUICK }, 7);
        assert_eq!(polled(&mut schedule, 7), [3]);
        schedule.finished(2, After { due: None, pace: QUICK }, 8);
        assert_eq!(polled(&mut schedule, 8), [1]);
        // What was told meanwhile isn't forgotten.
        schedule.notify(3, 9);
        schedule.finished(3, After { due: None, pace: QUICK }, 9);
        schedule.finished(1, After { due: None, pace: QUICK }, 9);
        assert_eq!(polled(&mut schedule, 9), [3]);
        schedule.finished(3, After { due: None, pace: None }, 9);
        assert!(schedule.urls.is_empty() && schedule.turns.iter().all(BTreeSet::is_empty));
        assert_eq!((schedule.next_wake(), schedule.running()), (None, 0));
        // Nobody runs: that changes nothing.
        schedule.finished(3, After { due: Some(1), pace: QUICK }, 9);
        assert!(polled(&mut schedule, 100).is_empty());
    }

    #[test]
    fn whoever_was_served_goes_behind_who_waits_within_a_second_too() {
        let mut schedule = Schedule::new(1);
        for url in [1, 9] {
            known(&mut schedule, url, Pace::Quick);
        }
        schedule.notify(1, 5);
        schedule.notify(9, 5);
        for _ in 0..3 {
            for url in [1, 9] {
                assert_eq!(polled(&mut schedule, 5), [url]);
                schedule.finished(url, After { due: Some(5), pace: QUICK }, 5);
            }
        }
    }

    #[test]
    fn slow_urls_leave_half_of_the_places_and_unknown_ones_leave_one() {
        for (places, slow, not_quick) in [(1, 1, 1), (2, 1, 1), (3, 1, 2), (4, 2, 3), (5, 2, 4), (10, 5, 9)] {
            let mut schedule = Schedule::new(places);
            for url in 0..40 {
                known(&mut schedule, url, if url < 20 { Pace::Slow } else { Pace::Quick });
            }
            for url in 0..20 {
                schedule.notify(url, 100);
            }
            assert_eq!(polled(&mut schedule, 100).len(), slow, "{places}");
            // Nothing that has room waits: there is nothing to wake for.
            assert_eq!(schedule.next_wake(), None, "{places}");
            for url in 100..120 {
                schedule.notify(url, 100);
            }
            assert_eq!(polled(&mut schedule, 100).len(), not_quick - slow, "{places}");
            for url in 20..40 {
                schedule.notify(url, 100);
            }
            let quick = polled(&mut schedule, 100);
            assert!(quick.iter().all(|url| (20..40).contains(url)), "{places}: {quick:?}");
            assert_eq!(quick.len(), places - not_quick, "{places}");
            assert_eq!(schedule.running(), places);
        }
    }

    #[test]
    fn whatever_stalls_quick_urls_are_called_meanwhile() {
        // Twenty that stall for a minute, have much to hear, and were never called before; one that is quick.
        let (mut schedule, mut ends) = (Schedule::new(5), Vec::new());
        known(&mut schedule, 99, Pace::Quick);
        for url in 0..20 {
            schedule.notify(url, 0);
        }
        let mut longest = 0;
        for now in 0..1000 {
            for (end, url) in std::mem::take(&mut ends) {
                if end > now {
                    ends.push((end, url));
                    continue;
                }
                schedule.finished(url, After { due: Some(0), pace: SLOW }, now);
            }
            schedule.notify(99, now);
            while let Some(url) = schedule.poll(now) {
                if url == 99 {
                    schedule.finished(99, After { due: None, pace: QUICK }, now);
                    longest = longest.max(now);
                } else {
                    ends.push((now + 60, url));
                }
            }
            assert_eq!(longest, now, "the quick one has to wait");
            // Each of them was found out after a minute, four at a time.
            assert!(now < 300 || ends.len() == 2, "{} stall at {now}", ends.len());
        }
    }

    #[test]
    fn a_url_that_becomes_quick_is_as_good_as_others_again() {
        let mut schedule = Schedule::new(2);
        known(&mut schedule, 1, Pace::Slow);
        known(&mut schedule, 2, Pace::Slow);
        for url in [1, 2] {
            schedule.notify(url, 1);
        }
        assert_eq!(polled(&mut schedule, 1), [1]);
        schedule.finished(1, After { due: Some(1), pace: QUICK }, 1);
        assert_eq!(polled(&mut schedule, 1), [2, 1]);
    }

    #[test]
    fn what_is_known_is_bounded() {
        let mut schedule = Schedule::new(1);
        for url in 0..2 * KNOWN_MAX as u64 + 5 {
            known(&mut schedule, url, Pace::Slow);
            assert!(schedule.paces.len() <= KNOWN_MAX);
        }
        assert!(schedule.urls.is_empty());
    }

    #[test]
    fn an_earlier_call_moves_a_url_to_the_front() {
        let mut schedule = Schedule::new(1);
        schedule.notify(1, 100);
        schedule.notify(2, 50);
        schedule.notify(1, 10);
        schedule.notify(1, 60);
        assert_eq!(schedule.next_wake(), Some(10));
        assert_eq!(polled(&mut schedule, 60), [1]);
        assert_eq!(schedule.turns.iter().map(BTreeSet::len).sum::<usize>(), 1);
    }
}

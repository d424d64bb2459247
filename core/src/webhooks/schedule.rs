//! Which URL is called next: pure, for one shard.
//!
//! One call at a time for each URL, so many for all. Whoever was served goes behind all who wait, so that a URL with much
//! to hear doesn't keep others waiting. URLs whose last call failed have at most half of the places: one that stalls costs a place
//! for a minute, and must not cost all of them.

use std::collections::{BTreeSet, HashMap};

/// The hash of a URL.
type Url = u64;

#[derive(Debug, Default)]
pub(super) struct Schedule {
    places: usize,
    urls: HashMap<Url, State>,
    /// When which URL has its turn.
    turns: BTreeSet<(i64, Url)>,
    running: usize,
    /// Those that run, and whose last call failed.
    failing: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// When its first call is due, as far as is known; none when nothing waits.
    due: Option<i64>,
    /// Its turn in `turns`.
    turn: Option<i64>,
    /// A call is under way.
    is_running: bool,
    /// The last call failed.
    failed: bool,
}

/// What came of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct After {
    /// When the first call that is left is due; none when nothing is.
    pub(super) due: Option<i64>,
    /// Whether the call failed; none when none was made.
    pub(super) failed: Option<bool>,
}

impl Schedule {
    /// One with so many places.
    pub(super) fn new(places: usize) -> Self {
        Self { places, ..Self::default() }
    }

    /// Something is due for a URL at `due`.
    pub(super) fn notify(&mut self, url: Url, due: i64) {
        let state = self.urls.entry(url).or_default();
        state.due = Some(state.due.map_or(due, |known| known.min(due)));
        let turn = state.due;
        if !state.is_running && state.turn.is_none_or(|known| turn.is_some_and(|turn| turn < known)) {
            self.place(url, turn);
        }
    }

    /// The URL whose turn it is at `now`. It runs until [`Self::finished`] is called.
    pub(super) fn poll(&mut self, now: i64) -> Option<Url> {
        if self.running >= self.places {
            return None;
        }
        let failing_is_full = self.failing >= self.places.div_ceil(2);
        let may = |url: &Url| !failing_is_full || self.urls.get(url).is_none_or(|state| !state.failed);
        let (_, url) = *self.turns.range(..=(now, Url::MAX)).find(|(_, url)| may(url))?;
        self.place(url, None);
        let state = self.urls.get_mut(&url)?;
        state.is_running = true;
        // What becomes due from now on is told while it runs.
        state.due = None;
        self.running += 1;
        self.failing += usize::from(state.failed);
        Some(url)
    }

    /// A turn has ended at `now`.
    pub(super) fn finished(&mut self, url: Url, after: After, now: i64) {
        let Some(state) = self.urls.get_mut(&url).filter(|state| state.is_running) else { return };
        self.running -= 1;
        self.failing -= usize::from(state.failed);
        state.is_running = false;
        state.failed = after.failed.unwrap_or(state.failed);
        state.due = [state.due, after.due].into_iter().flatten().min();
        let Some(due) = state.due else {
            self.urls.remove(&url);
            return;
        };
        self.place(url, Some(due.max(now)));
    }

    /// When to poll next, if nothing happens before; none when nothing waits for time.
    pub(super) fn next_wake(&self) -> Option<i64> {
        if self.running >= self.places {
            return None;
        }
        self.turns.first().map(|(turn, _)| *turn)
    }

    /// Calls that are under way.
    #[cfg(test)]
    pub(super) const fn running(&self) -> usize {
        self.running
    }

    fn place(&mut self, url: Url, turn: Option<i64>) {
        let Some(state) = self.urls.get_mut(&url) else { return };
        if let Some(old) = state.turn.take() {
            self.turns.remove(&(old, url));
        }
        if let Some(turn) = turn {
            self.turns.insert((turn, url));
            state.turn = Some(turn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: Option<bool> = Some(false);
    const FAILED: Option<bool> = Some(true);

    fn polled(schedule: &mut Schedule, now: i64) -> Vec<Url> {
        std::iter::from_fn(|| schedule.poll(now)).collect()
    }

    #[test]
    fn a_url_has_one_call_at_a_time_and_all_have_so_many() {
        let mut schedule = Schedule::new(2);
        for url in [1, 2, 3] {
            schedule.notify(url, 10);
            schedule.notify(url, 5);
        }
        assert_eq!(schedule.next_wake(), Some(5));
        assert!(polled(&mut schedule, 4).is_empty());
        assert_eq!(polled(&mut schedule, 5), [1, 2]);
        assert_eq!((schedule.next_wake(), schedule.running()), (None, 2));
        // Whoever was served goes behind who waits.
        schedule.finished(1, After { due: Some(5), failed: OK }, 7);
        assert_eq!(polled(&mut schedule, 7), [3]);
        schedule.finished(2, After { due: None, failed: OK }, 8);
        assert_eq!(polled(&mut schedule, 8), [1]);
        // What was told meanwhile isn't forgotten.
        schedule.notify(3, 9);
        schedule.finished(3, After { due: None, failed: OK }, 9);
        schedule.finished(1, After { due: None, failed: OK }, 9);
        assert_eq!(polled(&mut schedule, 9), [3]);
        schedule.finished(3, After { due: None, failed: None }, 9);
        assert!(schedule.urls.is_empty() && schedule.turns.is_empty() && schedule.next_wake().is_none());
        // Nobody runs: that changes nothing.
        schedule.finished(3, After { due: Some(1), failed: OK }, 9);
        assert!(polled(&mut schedule, 100).is_empty());
    }

    #[test]
    fn urls_that_fail_leave_half_of_the_places_to_others() {
        for (places, most) in [(1, 1), (2, 1), (5, 3), (10, 5)] {
            let mut schedule = Schedule::new(places);
            for url in 0..20 {
                schedule.notify(url, 1);
            }
            for _ in 0..20 {
                let url = schedule.poll(1).unwrap_or(99);
                schedule.finished(url, After { due: Some(100), failed: FAILED }, 1);
            }
            assert_eq!(polled(&mut schedule, 100).len(), most);
            for url in 20..30 {
                schedule.notify(url, 100);
            }
            assert_eq!(polled(&mut schedule, 100).len(), places - most);
            for url in 0..20 {
                schedule.finished(url, After { due: Some(200), failed: OK }, 100);
            }
            // They are as good as others again.
            let healthy = polled(&mut schedule, 200).into_iter().filter(|url| *url < 20).count();
            assert!(places == 1 || healthy >= 1, "{places}");
        }
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
        assert_eq!(schedule.turns.len(), 1);
    }
}

//! Where the rows of a domain's schedule begin.
//!
//! An entry that is delivered leaves two marks of removal in the store, which stay until tables are merged. Whoever looks
//! for the first row of a domain passes over all of them, which would cost a busy domain more than delivering does. So it
//! is remembered before which place nothing waits.
//!
//! What always holds: whoever moves an entry to an earlier place, or writes a new one, says so here after the commit. Until
//! then the entry may be overlooked, as it may be by the schedule.

use std::cell::RefCell;
use std::collections::HashMap;

use postrider_storage::queue::Scheduled;

/// Domains that are remembered, about 60 octets each. When there are more, all are forgotten.
const DOMAINS_MAX: usize = 4096;

/// The fronts of a shard's domains.
#[derive(Default)]
pub(super) struct Fronts(RefCell<Known>);

#[derive(Default)]
struct Known {
    fronts: HashMap<u64, Front>,
    /// Changes of any front that may make it an earlier one.
    changes: u64,
}

#[derive(Clone, Copy)]
struct Front {
    /// Nothing waits before this.
    from: Scheduled,
    /// The number of its last change to an earlier place.
    changed: u64,
}

/// From where on to read; taken before the store is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) from: Scheduled,
    changed: u64,
}

impl Known {
    fn change(&mut self) -> u64 {
        self.changes += 1;
        self.changes
    }
}

impl Fronts {
    /// From where on rows of a domain are to be read.
    pub(super) fn ask(&self, domain: u64) -> Asked {
        let mut known = self.0.borrow_mut();
        if let Some(front) = known.fronts.get(&domain) {
            return Asked { from: front.from, changed: front.changed };
        }
        if known.fronts.len() >= DOMAINS_MAX {
            known.fronts.clear();
        }
        let front = Front { from: Scheduled::start(domain), changed: known.change() };
        known.fronts.insert(domain, front);
        Asked { from: front.from, changed: front.changed }
    }

    /// Takes what was found first; none when nothing was.
    pub(super) fn found(&self, asked: Asked, first: Option<Scheduled>) {
        let domain = asked.from.domain;
        let mut known = self.0.borrow_mut();
        // What was read may be older than a change.
        if let Some(front) = known.fronts.get_mut(&domain).filter(|front| front.changed == asked.changed) {
            front.from = first.unwrap_or_else(|| Scheduled::end(domain));
        }
    }

    /// Takes that an entry waits at this place now.
    pub(super) fn placed(&self, entry: Scheduled) {
        let mut known = self.0.borrow_mut();
        let change = known.change();
        if let Some(front) = known.fronts.get_mut(&entry.domain) {
            *front = Front { from: front.from.min(entry), changed: change };
        }
    }

    /// Takes that entries of a domain may wait anywhere.
    pub(super) fn forget(&self, domain: u64) {
        self.0.borrow_mut().fronts.remove(&domain);
    }
}

#[cfg(test)]
mod tests {
    use postrider_storage::ids::QueueId;

    use super::*;

    const fn at(due: i64, id: u64) -> Scheduled {
        Scheduled { domain: 7, due, id: QueueId(id) }
    }

    #[test]
    fn reading_begins_where_the_first_row_was_found() {
        let fronts = Fronts::default();
        let asked = fronts.ask(7);
        assert_eq!(asked.from, Scheduled::start(7));
        fronts.found(asked, Some(at(100, 3)));
        assert_eq!(fronts.ask(7).from, at(100, 3));
        fronts.found(fronts.ask(7), None);
        assert_eq!(fronts.ask(7).from, Scheduled::end(7), "nothing waits");
        fronts.placed(at(200, 9));
        fronts.placed(at(300, 1));
        assert_eq!(fronts.ask(7).from, at(200, 9));
        assert_eq!(fronts.ask(8).from, Scheduled::start(8), "another domain");
    }

    #[test]
    fn what_was_read_before_a_change_moves_no_front() {
        let fronts = Fronts::default();
        fronts.found(fronts.ask(7), None);
        let asked = fronts.ask(7);
        fronts.placed(at(200, 9));
        fronts.found(asked, None);
        assert_eq!(fronts.ask(7).from, at(200, 9));
        let asked = fronts.ask(7);
        fronts.forget(7);
        fronts.found(asked, None);
        assert_eq!(fronts.ask(7).from, Scheduled::start(7));
        fronts.found(asked, None);
        assert_eq!(fronts.ask(7).from, Scheduled::start(7), "it is another front");
    }

    #[test]
    fn as_many_domains_are_remembered_as_there_is_room_for() {
        let fronts = Fronts::default();
        for domain in 0..DOMAINS_MAX as u64 {
            fronts.found(fronts.ask(domain), None);
        }
        assert_eq!(fronts.ask(0).from, Scheduled::end(0));
        let _ = fronts.ask(DOMAINS_MAX as u64);
        assert_eq!(fronts.ask(0).from, Scheduled::start(0), "all are forgotten");
        assert!(fronts.0.borrow().fronts.len() <= DOMAINS_MAX);
    }
}

//! What a validator keeps of zone cuts and keys between validations, bounded.

use std::collections::HashMap;
use std::rc::Rc;

use hickory_proto::rr::Name;

use super::keys::Zone;
use super::reason::Reason;
use super::trace::Link;
use super::validator::Attempt;

/// What a name is to the chain of trust.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// A signed zone, with its keys.
    Zone(Rc<Zone>),
    /// A name in the zone above.
    Inside,
    /// From here down nothing is signed, or it isn't for us.
    Unsigned(Reason),
    /// The chain is broken here.
    Broken(Reason),
}

/// A place, and how it was found.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) place: Place,
    pub(super) links: Rc<[Link]>,
    /// Seconds since 1970 from which on it isn't used.
    pub(super) until: u64,
    /// In which attempt it was found.
    pub(super) found_in: Attempt,
}

/// The places that are known.
#[derive(Debug, Default)]
pub(super) struct Kept {
    places: HashMap<Name, Known>,
}

impl Kept {
    pub(super) fn get(&self, name: &Name, now: u64) -> Option<Known> {
        self.places.get(name).filter(|known| known.until > now).cloned()
    }

    /// Keeps a place. When there are `max`, those go that are over, and if that isn't an eighth, also those that
    /// are over the soonest; so the cost of a purge is spread over as many names as it removes.
    pub(super) fn put(&mut self, name: Name, known: Known, now: u64, max: usize) {
        if max == 0 {
            return;
        }
        if self.places.len() >= max && !self.places.contains_key(&name) {
            self.places.retain(|_, known| known.until > now);
            let room = (max / 8).max(1);
            if self.places.len() + room > max {
                let mut times: Vec<_> = self.places.values().map(|known| known.until).collect();
                let surplus = (self.places.len() + room - max).min(times.len());
                times.sort_unstable();
                let last = times[surplus - 1];
                let mut left = surplus;
                self.places.retain(|_, known| {
                    let goes = known.until <= last && left > 0;
                    left -= usize::from(goes);
                    !goes
                });
            }
        }
        self.places.insert(name, known);
    }

    pub(super) fn clear(&mut self) {
        self.places.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn name(number: u64) -> Name {
        Name::from_ascii(format!("n{number}.example.")).unwrap()
    }

    fn known(until: u64) -> Known {
        Known { place: Place::Inside, links: Rc::from([]), until, found_in: Attempt::FIRST }
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_soonest_over_goes_first() {
        let mut kept = Kept::default();
        for number in 0..1000 {
            kept.put(name(number), known(100 + number), 0, 64);
            assert!(kept.len() <= 64);
        }
        assert!(kept.get(&name(999), 0).is_some());
        assert!(kept.get(&name(900), 0).is_none(), "gone, since others are used longer");
        assert!(kept.get(&name(999), 1099).is_none(), "its time is over");

        // All at one time: still bounded.
        let mut kept = Kept::default();
        for number in 0..200 {
            kept.put(name(number), known(5), 0, 8);
            assert!(kept.len() <= 8);
        }
        assert!(kept.get(&name(199), 0).is_some());

        let mut kept = Kept::default();
        kept.put(name(0), known(5), 0, 0);
        assert_eq!(kept.len(), 0);
    }
}

//! What sorts and threads may hold while they run: a bound for each, and one for all of the process.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Octets of one SORT or THREAD: a million messages with ordinary subjects take about half of it.
pub const OCTETS_MAX: usize = 150 * 1024 * 1024;
/// Octets of all that run at one time.
const ALL_OCTETS_MAX: usize = 256 * 1024 * 1024;
/// In such steps is counted what is held.
const STEP: usize = 256 * 1024;

static HELD: AtomicUsize = AtomicUsize::new(0);

/// There is no room for more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoRoom;

/// Octets that one SORT or THREAD holds.
#[derive(Default)]
pub struct Room {
    held: usize,
}

impl Room {
    /// Holds at least `octets`.
    pub fn hold(&mut self, octets: usize) -> Result<(), NoRoom> {
        if octets <= self.held {
            return Ok(());
        }
        let wanted = octets.next_multiple_of(STEP);
        if wanted > OCTETS_MAX {
            return Err(NoRoom);
        }
        let more = wanted - self.held;
        let fits = |held: usize| Some(held + more).filter(|held| *held <= ALL_OCTETS_MAX);
        HELD.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).map_err(|_| NoRoom)?;
        self.held = wanted;
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        HELD.fetch_sub(self.held, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_and_all_are_bounded_and_what_is_dropped_is_free_again() {
        let mut room = Room::default();
        assert_eq!(room.hold(OCTETS_MAX), Ok(()));
        assert_eq!(room.hold(OCTETS_MAX + 1), Err(NoRoom));
        // Other tests may hold a little.
        let mut other = Room::default();
        assert_eq!(other.hold(ALL_OCTETS_MAX - OCTETS_MAX + STEP), Err(NoRoom));
        drop(room);
        assert_eq!(other.hold(ALL_OCTETS_MAX - OCTETS_MAX + STEP), Ok(()));
    }
}

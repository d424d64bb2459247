//! Numbers for connections, requests and delivery attempts.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

static LAST: AtomicU64 = AtomicU64::new(0);

/// The number of a connection: in all its log lines as `cid`, and the same in answers to it.
///
/// It is the time in microseconds since 1970, raised by one where it would repeat. So it grows,
/// is never given twice by one process, and not by a later one either as long as the clock isn't
/// set back and a process makes fewer than a million in a second.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ConnectionId(u64);

impl ConnectionId {
    /// Takes the next number.
    pub fn next() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::after(&LAST, u64::try_from(now.as_micros()).unwrap_or(u64::MAX))
    }

    fn after(last: &AtomicU64, now: u64) -> Self {
        let next = |last: u64| now.max(last.saturating_add(1));
        let previous = last.update(Ordering::Relaxed, Ordering::Relaxed, next);
        Self(next(previous))
    }

    /// The number itself.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The connection with this number, as read from a log or a `Received` field.
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_even_when_the_clock_stands_or_goes_back() {
        let last = AtomicU64::new(0);
        let ids = [10, 10, 4, 20, 20].map(|now| ConnectionId::after(&last, now).get());
        assert_eq!(ids, [10, 11, 12, 20, 21]);
    }

    #[test]
    fn ids_of_a_later_process_are_higher() {
        let before = ConnectionId::next();
        let restarted = AtomicU64::new(0);
        let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros());
        let after = ConnectionId::after(&restarted, now.unwrap_or(0) + 1);
        assert!(after > before, "{after} after {before}");
    }

    #[test]
    fn ids_are_written_in_hexadecimal() {
        assert_eq!(ConnectionId(0x5f3a).to_string(), "5f3a");
    }
}

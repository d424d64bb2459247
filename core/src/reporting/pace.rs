//! Time, as those who send reports see it.

use std::time::Duration;

use crate::clock::unix_now;
use crate::runtime::timeout;
use crate::shard::Shard;

/// The longest pause between two reports.
const PAUSE_MAX: Duration = Duration::from_secs(5 * 60);

/// What a round of reports takes from outside.
pub(crate) trait Pace {
    /// Seconds since 1970.
    fn now(&self) -> i64;

    /// Waits; false when the server stops.
    async fn pause(&self, time: Duration) -> bool;
}

/// The time of the system.
pub(crate) struct Real<'a>(pub(crate) &'a Shard);

impl Pace for Real<'_> {
    fn now(&self) -> i64 {
        unix_now()
    }

    async fn pause(&self, time: Duration) -> bool {
        let shutdown = &self.0.shared.shutdown;
        !shutdown.is_stopping() && timeout(time, shutdown.wait()).await.is_err()
    }
}

/// The pause between two of so many reports, that they take `all` together: it is not all receivers that are to be
/// busy with our reports at one time (RFC 8460 §4.1).
pub(crate) fn interval(all: Duration, reports: usize) -> Duration {
    let reports = u32::try_from(reports).unwrap_or(u32::MAX).max(1);
    (all / reports).min(PAUSE_MAX)
}

/// A time that a test leads: a pause is over at once, and moves it.
#[cfg(test)]
pub(crate) struct Led(std::cell::Cell<i64>);

#[cfg(test)]
impl Led {
    pub(crate) fn at(now: i64) -> Self {
        Self(std::cell::Cell::new(now))
    }
}

#[cfg(test)]
impl Pace for Led {
    fn now(&self) -> i64 {
        self.0.get()
    }

    async fn pause(&self, time: Duration) -> bool {
        self.0.set(self.0.get() + i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_share_the_time_that_there_is() {
        let hours = Duration::from_secs(4 * 3600);
        for (reports, seconds) in [(0, 300), (1, 300), (48, 300), (49, 293), (14_400, 1), (usize::MAX, 0)] {
            assert_eq!(interval(hours, reports).as_secs(), seconds, "{reports}");
        }
    }
}

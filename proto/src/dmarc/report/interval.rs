//! For which times reports are made (RFC 7489 §6.3, `ri`; §7.2: at whole hours, and whole days of UTC).

use crate::dmarc::Record;

/// The lengths in hours that divide a day. What is asked for is rounded down to one of them.
const HOURS: [u32; 8] = [24, 12, 8, 6, 4, 3, 2, 1];
const HOUR: i64 = 3600;

/// A time that one report is about, in seconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interval {
    /// Its first second.
    pub begin: i64,
    /// The second after its last.
    pub end: i64,
}

impl Interval {
    /// The interval in which a time lies, for a domain with this record.
    #[must_use]
    pub fn of(time: i64, record: &Record) -> Self {
        let wanted = record.interval_seconds.unwrap_or(Record::INTERVAL_SECONDS_DEFAULT).div_ceil(3600);
        let hours = HOURS.into_iter().find(|hours| *hours <= wanted).unwrap_or(1);
        let length = i64::from(hours) * HOUR;
        let begin = time.saturating_sub(time.rem_euclid(length));
        Self { begin, end: begin.saturating_add(length) }
    }
}

//! Times, as people write and read them.

use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use postrider_core::config::parse_duration;

/// Which way a length of time goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Back from now.
    Ago,
    /// On from now.
    Ahead,
}

/// Seconds since 1970.
pub fn now() -> i64 {
    Timestamp::now().as_second()
}

/// Reads `now`, a length of time, or a time. Without an offset it is of this host's time zone.
pub fn moment(text: &str, now: i64, direction: Direction) -> Result<i64> {
    if text == "now" {
        return Ok(now);
    }
    if let Some(length) = parse_duration(text) {
        let length = i64::try_from(length.as_secs()).unwrap_or(i64::MAX);
        return Ok(match direction {
            Direction::Ago => now.saturating_sub(length),
            Direction::Ahead => now.saturating_add(length),
        });
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_second());
    }
    let local = text.parse::<DateTime>().ok().and_then(|time| time.to_zoned(TimeZone::system()).ok());
    let local = local.with_context(|| {
        format!(
            "{text:?} is no time. Write now, a length of time such as 2h, or a time such as 2026-11-26T18:00Z"
        )
    })?;
    Ok(local.timestamp().as_second())
}

/// A time of this host's time zone.
pub fn local(time: i64) -> String {
    match Timestamp::from_second(time) {
        Ok(time) => time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => time.to_string(),
    }
}

/// How far off a time is.
pub fn when(time: i64, now: i64) -> String {
    match time.saturating_sub(now) {
        0 => "now".to_owned(),
        left @ 1.. => format!("in {}", short(left.unsigned_abs())),
        left => format!("{} ago", short(left.unsigned_abs())),
    }
}

/// A length of time, in its two greatest units.
pub fn short(seconds: u64) -> String {
    let length = Duration::from_secs(seconds).as_secs();
    match (length / 86_400, length / 3600 % 24, length / 60 % 60, length % 60) {
        (0, 0, 0, seconds) => format!("{seconds}s"),
        (0, 0, minutes, 0) => format!("{minutes}m"),
        (0, 0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (0, hours, 0, _) => format!("{hours}h"),
        (0, hours, minutes, _) => format!("{hours}h{minutes}m"),
        (days, 0, ..) => format!("{days}d"),
        (days, hours, ..) => format!("{days}d{hours}h"),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn times_are_lengths_or_moments() {
        let now = 1_800_000_000;
        let at = |text, direction| moment(text, now, direction).unwrap();
        assert_eq!(at("now", Direction::Ago), now);
        assert_eq!(at("2h", Direction::Ago), now - 7200);
        assert_eq!(at("1d 12h", Direction::Ahead), now + 129_600);
        assert_eq!(at("2026-11-26T18:00:00Z", Direction::Ago), 1_795_716_000);
        assert_eq!(at("2026-11-26T18:00+01:00", Direction::Ago), 1_795_712_400);
        assert_eq!(moment(&local(now).replace(' ', "T"), 0, Direction::Ago).unwrap(), now);
        for wrong in ["", "soon", "2", "2026-13-01T00:00Z"] {
            assert!(moment(wrong, now, Direction::Ago).is_err(), "{wrong}");
        }
    }

    #[test]
    fn distances_are_short() {
        let shown = [0, 59, 60, 61, 3600, 3660, 86_400, 90_000].map(short);
        assert_eq!(shown, ["0s", "59s", "1m", "1m1s", "1h", "1h1m", "1d", "1d1h"]);
        assert_eq!([when(5, 5), when(65, 5), when(5, 65)], ["now", "in 1m", "1m ago"]);
    }
}

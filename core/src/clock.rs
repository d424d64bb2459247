//! The calendar. Everything that decides by it takes the time as an argument instead.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970; 0 when the clock is set to a time before that.
pub fn unix_now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

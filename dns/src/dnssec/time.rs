//! Times of signatures: 32-bit seconds that wrap (RFC 4034 §3.1.5), and how they are written.

/// Seconds from `now` to `then`, negative when it is over. `then` is within 68 years of now, as serial number
/// arithmetic has it.
pub(super) fn until(then: u32, now: u64) -> i64 {
    // The lower 32 bits are what the arithmetic is of.
    let now = (now & u64::from(u32::MAX)) as u32;
    i64::from(then.wrapping_sub(now).cast_signed())
}

/// `then` in seconds since 1970.
pub(super) fn absolute(then: u32, now: u64) -> u64 {
    now.saturating_add_signed(until(then, now))
}

/// Date and time in UTC, as `2026-11-26 07:30:00 UTC`.
pub(super) fn words(seconds: u64) -> String {
    let days = seconds / 86_400;
    let (year, month, day) = date(days);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Year, month and day of a number of days since 1970-01-01, by eras of 400 years that begin in March.
fn date(days: u64) -> (u64, u64, u64) {
    const ERA_DAYS: u64 = 146_097;
    let days = days + 719_468;
    let (era, of_era) = (days / ERA_DAYS, days % ERA_DAYS);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / (ERA_DAYS - 1)) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_wrap_as_serial_numbers_do() {
        let now = u64::from(u32::MAX) - 10;
        assert_eq!(until(u32::MAX, now), 10);
        assert_eq!(until(9, now), 20, "after the wrap is later");
        assert_eq!(absolute(9, now), now + 20);
        assert_eq!(until(u32::MAX - 30, now), -20);
        let later = u64::from(u32::MAX) + 100;
        assert_eq!(absolute(50, later), later - 49);
    }

    #[test]
    fn dates_are_written_in_utc() {
        assert_eq!(words(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(words(951_782_399), "2000-02-28 23:59:59 UTC");
        assert_eq!(words(951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(words(1_189_950_146), "2007-09-16 13:42:26 UTC");
        assert_eq!(words(4_107_542_400), "2100-03-01 00:00:00 UTC");
    }
}

//! The date of a From_ line: `Thu Nov 24 18:22:48 1986`, in UTC (RFC 4155), or with a zone as `+0100`.

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Reads the date of a From_ line, in seconds since 1970; none when there is none.
pub(super) fn read(line: &[u8]) -> Option<i64> {
    let line = std::str::from_utf8(line).ok()?;
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    // The sender may hold spaces: the date begins at the last month that a day of the week precedes.
    let month_at =
        (1..words.len()).rev().find(|at| month(words.get(*at)).is_some() && is_day(words.get(at - 1)))?;
    let month = month(words.get(month_at))?;
    let day = words.get(month_at + 1)?.parse().ok()?;
    let mut time = words.get(month_at + 2)?.split(':');
    let mut number = || time.next().map_or(Some(0), |text| text.parse::<i8>().ok());
    let (hour, minute, second) = (number()?, number()?, number()?.min(59));
    let (mut year, mut offset) = (None, 0);
    for word in words.iter().skip(month_at + 3).take(2) {
        match word.parse::<i16>() {
            Ok(found) if word.len() == 4 && !word.starts_with(['+', '-']) => year = Some(found),
            _ => offset = zone(word).unwrap_or(offset),
        }
    }
    let date = DateTime::new(year?, month, day, hour, minute, second, 0).ok()?;
    let zone = TimeZone::fixed(Offset::from_seconds(offset).ok()?);
    Some(date.to_zoned(zone).ok()?.timestamp().as_second())
}

/// Writes the date of a From_ line.
pub(super) fn write(seconds: i64) -> String {
    let timestamp = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let at = timestamp.to_zoned(TimeZone::UTC).datetime();
    let index = |number: i8| usize::try_from(number - 1).unwrap_or(0);
    let day = DAYS.get(index(at.weekday().to_monday_one_offset())).unwrap_or(&"Mon");
    let month = MONTHS.get(index(at.month())).unwrap_or(&"Jan");
    format!(
        "{day} {month} {:2} {:02}:{:02}:{:02} {:04}",
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.year()
    )
}

fn month(word: Option<&&str>) -> Option<i8> {
    let at = MONTHS.iter().position(|month| word.is_some_and(|word| month.eq_ignore_ascii_case(word)))?;
    i8::try_from(at + 1).ok()
}

fn is_day(word: Option<&&str>) -> bool {
    let word = word.map_or("", |word| word.trim_end_matches(','));
    DAYS.iter().any(|day| day.eq_ignore_ascii_case(word))
}

/// `+0130` in seconds.
fn zone(word: &str) -> Option<i32> {
    let (sign, digits) = match word.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let number: i32 = (digits.len() == 4).then(|| digits.parse().ok())??;
    Some(sign * (number / 100 * 3600 + number % 100 * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_programs_write_them() {
        for (line, seconds) in [
            ("From fred@example.org Thu Jan  1 00:00:01 1970", Some(1)),
            ("From \"a May b\"@x Sun Sep  9 01:46:40 2001", Some(1_000_000_000)),
            ("From x Sun Sep  9 03:46:40 2001 +0200", Some(1_000_000_000)),
            ("From x Sun Sep  9 03:46:40 +0200 2001", Some(1_000_000_000)),
            ("From x Sun Sep  9 01:46 2001", Some(999_999_960)),
            ("From x", None),
            ("From x Sun Sep 99 01:46:40 2001", None),
        ] {
            assert_eq!(read(line.as_bytes()), seconds, "{line}");
        }
        for seconds in [-1, 0, 86_399, 1_700_000_000, 253_370_764_800] {
            assert_eq!(read(format!("From - {}", write(seconds)).as_bytes()), Some(seconds));
        }
    }
}

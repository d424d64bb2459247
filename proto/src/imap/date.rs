//! Dates of IMAP (RFC 9051 §9 `date-time`, `date`), without any clock or time zone data.

/// A day of the Gregorian calendar.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
const DAY_SECONDS: i64 = 86_400;

impl Date {
    /// Makes a day; none when there is no such day. Years 0 to 9999.
    pub fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let valid = year <= 9999 && (1..=12).contains(&month) && day >= 1 && day <= month_days(year, month);
        valid.then_some(Self { year, month, day })
    }

    /// Parses `date-text`: `1-Feb-1994`, `01-feb-1994`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (day, rest) = match text {
            [d @ b'0'..=b'9', b'-', rest @ ..] => (d - b'0', rest),
            [a @ b'0'..=b'9', b @ b'0'..=b'9', b'-', rest @ ..] => ((a - b'0') * 10 + (b - b'0'), rest),
            _ => return None,
        };
        let [a, b, c, b'-', year @ ..] = rest else { return None };
        if year.len() != 4 {
            return None;
        }
        Self::new(u16::try_from(digits(year)?).ok()?, month(&[*a, *b, *c])?, day)
    }

    /// The day, seen at UTC, that has the instant `unix` seconds; limited to years 0 to 9999.
    pub fn of_unix(unix: i64) -> Self {
        let days = unix.div_euclid(DAY_SECONDS).clamp(FIRST_DAY, LAST_DAY);
        Self::of_days(days)
    }

    /// Days since 1 January 1970, to compare days cheaply.
    pub fn days(self) -> i64 {
        days_from_civil(i64::from(self.year), i64::from(self.month), i64::from(self.day))
    }

    fn of_days(days: i64) -> Self {
        // Howard Hinnant's `civil_from_days`, in eras of 400 years that begin in March.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_index = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_index + 2) / 5 + 1;
        let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let small = |n: i64| u8::try_from(n).unwrap_or(1);
        Self { year: u16::try_from(year).unwrap_or(0), month: small(month), day: small(day) }
    }
}

const FIRST_DAY: i64 = days_from_civil(0, 1, 1);
const LAST_DAY: i64 = days_from_civil(9999, 12, 31);

const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn month_days(year: u16, month: u8) -> u8 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn month(text: &[u8; 3]) -> Option<u8> {
    let index = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(text))?;
    u8::try_from(index + 1).ok()
}

fn digits(text: &[u8]) -> Option<u32> {
    text.iter()
        .try_fold(0u32, |sum, octet| octet.is_ascii_digit().then(|| sum * 10 + u32::from(octet - b'0')))
}

/// Parses `date-time` without its quotes (`" 7-Feb-1994 21:52:25 -0800"`) to seconds since 1970.
/// A leap second counts as the second before it.
pub fn parse_date_time(text: &[u8]) -> Option<i64> {
    let text: &[u8; 26] = text.try_into().ok()?;
    let day = text[..11].strip_prefix(b" ").unwrap_or(&text[..11]);
    let date = Date::parse(day)?;
    let ([b' ', time @ .., b' '], zone) = text[11..].split_at(10) else { return None };
    let [h1, h2, b':', m1, m2, b':', s1, s2] = time else { return None };
    let hour = digits(&[*h1, *h2]).filter(|hour| *hour <= 23)?;
    let minute = digits(&[*m1, *m2]).filter(|minute| *minute <= 59)?;
    let second = digits(&[*s1, *s2]).filter(|second| *second <= 60)?.min(59);
    let (sign, offset) = match zone {
        [b'+', offset @ ..] => (1, digits(offset)?),
        [b'-', offset @ ..] => (-1, digits(offset)?),
        _ => return None,
    };
    if offset / 100 > 23 || offset % 100 > 59 {
        return None;
    }
    let ahead = sign * i64::from(offset / 100 * 3600 + offset % 100 * 60);
    Some(date.days() * DAY_SECONDS + i64::from(hour * 3600 + minute * 60 + second) - ahead)
}

/// Appends `date-time` in quotes, at UTC; years are held to 0 ..= 9999.
pub fn write_date_time(out: &mut Vec<u8>, unix: i64) {
    let unix = unix.clamp(FIRST_DAY * DAY_SECONDS, LAST_DAY * DAY_SECONDS + DAY_SECONDS - 1);
    let date = Date::of_unix(unix);
    let seconds = unix.rem_euclid(DAY_SECONDS);
    let two = |n: i64| {
        let n = u8::try_from(n).unwrap_or(0);
        [b'0' + n / 10, b'0' + n % 10]
    };
    let [day_tens, day_ones] = two(i64::from(date.day));
    let month = MONTHS[usize::from(date.month - 1)];
    let [century, years] = [two(i64::from(date.year / 100)), two(i64::from(date.year % 100))];
    let [h, m, s] = [two(seconds / 3600), two(seconds / 60 % 60), two(seconds % 60)];
    out.extend_from_slice(&[
        b'"',
        if day_tens == b'0' { b' ' } else { day_tens },
        day_ones,
        b'-',
        month[0],
        month[1],
        month[2],
        b'-',
        century[0],
        century[1],
        years[0],
        years[1],
        b' ',
        h[0],
        h[1],
        b':',
        m[0],
        m[1],
        b':',
        s[0],
        s[1],
        b' ',
        b'+',
        b'0',
        b'0',
        b'0',
        b'0',
        b'"',
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(unix: i64) -> String {
        let mut out = Vec::new();
        write_date_time(&mut out, unix);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn date_times_of_the_standard_are_read() {
        assert_eq!(parse_date_time(b" 7-Feb-1994 21:52:25 -0800"), Some(760_686_745));
        assert_eq!(parse_date_time(b"17-Jul-1996 02:44:25 -0700"), Some(837_596_665));
        assert_eq!(parse_date_time(b"01-Jan-1970 00:00:00 +0000"), Some(0));
        for bad in [
            &b"7-Feb-1994 21:52:25 -0800"[..],
            b"30-Feb-1994 21:52:25 -0800",
            b"17-Jul-1996 24:44:25 -0700",
            b"17-Jul-1996 02:60:25 -0700",
            b"17-Jul-1996 02:44:61 -0700",
            b"17-Jul-1996 02:44:25 -2400",
            b"17-Jul-1996 02:44:25 00700",
            b"17-Xul-1996 02:44:25 -0700",
            b"00-Jul-1996 02:44:25 -0700",
        ] {
            assert_eq!(parse_date_time(bad), None, "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for unix in (-62_000_000_000..250_000_000_000).step_by(86_413_777) {
            let text = written(unix);
            assert_eq!(parse_date_time(&text.as_bytes()[1..27]), Some(unix), "{text}");
        }
        assert_eq!(written(760_686_745), "\" 8-Feb-1994 05:52:25 +0000\"");
        assert_eq!(written(i64::MAX), "\"31-Dec-9999 23:59:59 +0000\"");
        assert_eq!(written(i64::MIN), "\" 1-Jan-0000 00:00:00 +0000\"");
    }

    #[test]
    fn days_know_their_calendar() {
        assert_eq!(Date::parse(b"29-Feb-2000"), Date::new(2000, 2, 29));
        assert!(Date::parse(b"29-feb-2000").is_some());
        for bad in [
            &b"29-Feb-1900"[..],
            b"0-Jan-2000",
            b"32-Jan-2000",
            b"1-Jan-200",
            b"1-Jan-20000",
            b"001-Jan-2000",
        ] {
            assert_eq!(Date::parse(bad), None);
        }
        let mut days = FIRST_DAY;
        while days <= LAST_DAY {
            assert_eq!(Date::of_days(days).days(), days);
            days += 13;
        }
    }
}

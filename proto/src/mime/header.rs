//! Small tools for header blocks: fields, message ids, dates (RFC 5322 §2.2, §3.3, §3.6.4).

use mail_parser::DateTime;

/// One field of a header block as it stands in the message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RawField<'a> {
    /// The name without white space after it; a line that is no field has its content here.
    pub name: &'a [u8],
    /// Everything after the colon, line breaks included.
    pub value: &'a [u8],
    /// The whole field with its line breaks.
    pub octets: &'a [u8],
}

/// Which fields are taken from a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FieldFilter {
    /// Those with one of the names: HEADER.FIELDS.
    Named,
    /// All others: HEADER.FIELDS.NOT.
    Unnamed,
}

/// The fields of a header block, up to the empty line or the end.
pub fn fields(header: &[u8]) -> impl Iterator<Item = RawField<'_>> {
    let mut rest = header;
    std::iter::from_fn(move || {
        let first = line_end(rest);
        if matches!(&rest[..first], b"" | b"\n" | b"\r\n") {
            return None;
        }
        let mut end = first;
        while matches!(rest.get(end), Some(b' ' | b'\t')) {
            end += line_end(&rest[end..]);
        }
        let (octets, after) = rest.split_at(end);
        rest = after;
        let colon = memchr::memchr(b':', &octets[..first]);
        let name = octets[..colon.unwrap_or(first)].trim_ascii_end();
        let value = colon.map_or(&b""[..], |colon| &octets[colon + 1..]);
        Some(RawField { name, value, octets })
    })
}

/// Length of the first line with its line break.
fn line_end(text: &[u8]) -> usize {
    memchr::memchr(b'\n', text).map_or(text.len(), |at| at + 1)
}

/// The value of the first field with this name, as it stands in the message.
pub fn first<'a>(header: &'a [u8], name: &str) -> Option<&'a [u8]> {
    all(header, name).next()
}

/// The values of all fields with this name, as they stand in the message.
pub fn all<'a>(header: &'a [u8], name: &str) -> impl Iterator<Item = &'a [u8]> {
    fields(header)
        .filter(move |field| field.name.eq_ignore_ascii_case(name.as_bytes()))
        .map(|field| field.value)
}

/// The value without its line breaks and without white space around it (RFC 5322 §2.2.3).
pub fn unfold(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for line in value.split_inclusive(|byte| *byte == b'\n') {
        out.extend_from_slice(match line {
            [line @ .., b'\r', b'\n'] | [line @ .., b'\n'] => line,
            line => line,
        });
    }
    out.trim_ascii().to_vec()
}

/// Octets of a message id that are taken; RFC 5322 §2.1.1 has no longer lines.
const MESSAGE_ID_OCTETS_MAX: usize = 998;

/// The first `max` message ids in the value of References, In-Reply-To or Message-ID, without
/// angle brackets and without white space. What is not in angle brackets is skipped.
pub fn message_ids(value: &[u8], max: usize) -> Vec<Vec<u8>> {
    let mut ids = Vec::new();
    let mut rest = value;
    while ids.len() < max
        && let Some(open) = memchr::memchr(b'<', rest)
    {
        rest = &rest[open + 1..];
        // An id that was not closed ends where the next begins.
        let Some(end) = memchr::memchr2(b'<', b'>', rest) else { break };
        if rest[end] == b'>' {
            let id: Vec<u8> =
                rest[..end].iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
            if !id.is_empty() && id.len() <= MESSAGE_ID_OCTETS_MAX {
                ids.push(id);
            }
        }
        rest = &rest[end..];
    }
    ids
}

/// The message id of a Message-ID value; one without angle brackets is taken as it is.
pub fn message_id(value: &[u8]) -> Option<Vec<u8>> {
    if let Some(id) = message_ids(value, 1).pop() {
        return Some(id);
    }
    let id = value.trim_ascii();
    let is_bare = !id.is_empty() && id.len() <= MESSAGE_ID_OCTETS_MAX;
    (is_bare && !id.iter().any(|byte| byte.is_ascii_whitespace() || matches!(byte, b'<' | b'>')))
        .then(|| id.to_vec())
}

/// Calls `each` for every valid message id (RFC 5322 §3.6.4: something on both sides of an `@`, in angle
/// brackets) in a value, without brackets, white space and quoting, so that all spellings of an id are
/// the same (RFC 5256 §3, REFERENCES), until it says false.
pub fn each_message_id(value: &[u8], mut each: impl FnMut(&[u8]) -> bool) {
    let mut id = Vec::new();
    let mut rest = value;
    while let Some(open) = memchr::memchr(b'<', rest) {
        rest = &rest[open + 1..];
        let end = match unquoted_id(rest, &mut id) {
            Some(end) => end,
            None => {
                // A quote that doesn't end is none.
                let Some(end) = memchr::memchr2(b'<', b'>', rest) else { return };
                id.clear();
                id.extend(rest[..end].iter().filter(|octet| !octet.is_ascii_whitespace()));
                if rest[end] == b'<' {
                    id.clear();
                }
                end
            }
        };
        rest = &rest[end..];
        let at = memchr::memchr(b'@', &id);
        let is_valid = at.is_some_and(|at| at > 0 && at + 1 < id.len()) && id.len() <= MESSAGE_ID_OCTETS_MAX;
        if is_valid && !each(&id) {
            return;
        }
    }
}

/// Reads what stands behind `<` up to `>`, without its quoting; where it ends. None when it doesn't.
fn unquoted_id(text: &[u8], id: &mut Vec<u8>) -> Option<usize> {
    id.clear();
    let mut is_quoted = false;
    let mut octets = text.iter().copied().enumerate();
    while let Some((at, octet)) = octets.next() {
        match octet {
            b'"' => is_quoted = !is_quoted,
            b'\\' if is_quoted => id.push(octets.next()?.1),
            b'>' if !is_quoted => return Some(at),
            b'<' if !is_quoted => {
                // One that wasn't closed ends where the next begins, and is none.
                id.clear();
                return Some(at);
            }
            octet if !is_quoted && octet.is_ascii_whitespace() => {}
            octet => id.push(octet),
        }
    }
    None
}

/// When a message says it was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SentDate {
    /// Seconds since 1970-01-01 UTC.
    pub unix_seconds: i64,
    /// The date as written, without regard to time and zone: what SENTBEFORE, SENTON and SENTSINCE
    /// compare (RFC 9051 §6.4.4).
    pub day: Day,
}

/// A day of the calendar; the order is that of time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(missing_docs, reason = "the fields are what they are called")]
pub struct Day {
    pub year: u16,
    pub month: u8,
    pub day: u8,
}

/// Reads the value of a Date field.
pub fn date(value: &[u8]) -> Option<SentDate> {
    // A date is short; a field that is not is not searched for one.
    let value = String::from_utf8_lossy(value.get(..value.len().min(MESSAGE_ID_OCTETS_MAX))?);
    let date = DateTime::parse_rfc822(value.trim()).filter(DateTime::is_valid)?;
    let day = Day { year: date.year, month: date.month, day: date.day };
    Some(SentDate { unix_seconds: date.to_timestamp(), day })
}

/// When a message was sent, in seconds since 1970, by the value of its Date field (RFC 5256 §2.2): without
/// a valid zone as if in UTC, without a valid time as if at midnight. None without a valid day.
pub fn sent(value: &[u8]) -> Option<i64> {
    let value = value.get(..value.len().min(MESSAGE_ID_OCTETS_MAX))?;
    let mut words = value
        .split(|octet| octet.is_ascii_whitespace() || matches!(octet, b',' | b'-'))
        .filter(|word| !word.is_empty())
        .skip_while(|word| !word[0].is_ascii_digit());
    let day = number(words.next()?, 2).filter(|day| (1..=31).contains(day))?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|name| month.len() >= 3 && name.eq_ignore_ascii_case(&month[..3]))?;
    let year = words.next()?;
    let year = match (number(year, 4)?, year.len()) {
        // RFC 5322 §4.3
        (year, 2) if year < 50 => 2000 + year,
        (year, 2 | 3) => 1900 + year,
        (year, _) => year,
    };
    let month = u8::try_from(month + 1).ok()?;
    let time = words.next().and_then(time_of_day);
    // The zone's sign is no separator.
    let zone = time.and_then(|_| value.split(|octet| octet.is_ascii_whitespace()).rev().find_map(zone));
    let time = time.unwrap_or((0, 0, 0));
    let date = DateTime {
        year: u16::try_from(year).ok()?,
        month,
        day: u8::try_from(day).ok()?,
        hour: time.0,
        minute: time.1,
        second: time.2,
        tz_before_gmt: false,
        tz_hour: 0,
        tz_minute: 0,
    };
    let is_valid = date.is_valid() && day <= days_of(month, year);
    is_valid.then(|| date.to_timestamp() - zone.unwrap_or(0))
}

/// Seconds east of UTC (RFC 5322 §3.3, the names: §4.3).
fn zone(word: &[u8]) -> Option<i64> {
    let hours = |hours: i64| Some(hours * 3600);
    match word {
        [sign @ (b'+' | b'-'), digits @ ..] if digits.len() == 4 => {
            let zone = i64::from(number(digits, 4)?);
            let seconds = (zone / 100 * 60 + zone % 100) * 60;
            let is_valid = zone / 100 < 24 && zone % 100 < 60;
            is_valid.then_some(if *sign == b'-' { -seconds } else { seconds })
        }
        b"EDT" => hours(-4),
        b"EST" | b"CDT" => hours(-5),
        b"CST" | b"MDT" => hours(-6),
        b"MST" | b"PDT" => hours(-7),
        b"PST" => hours(-8),
        b"UT" | b"GMT" | b"UTC" | b"Z" => hours(0),
        _ => None,
    }
}

const MONTHS: [&[u8]; 12] =
    [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];

fn days_of(month: u8, year: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn number(word: &[u8], digits_max: usize) -> Option<u32> {
    let is_number = !word.is_empty() && word.len() <= digits_max && word.iter().all(u8::is_ascii_digit);
    is_number.then(|| word.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0')))
}

/// `hour:minute[:second]`
fn time_of_day(word: &[u8]) -> Option<(u8, u8, u8)> {
    let mut parts = word.split(|octet| *octet == b':').map(|part| u8::try_from(number(part, 2)?).ok());
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = parts.next().unwrap_or(Some(0))?;
    (parts.next().is_none() && hour < 24 && minute < 60 && second <= 60).then_some((
        hour,
        minute,
        second.min(59),
    ))
}

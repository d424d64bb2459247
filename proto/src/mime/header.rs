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

/// How many Received fields the header has: the hops of the message (RFC 5321 §6.3).
pub fn received_count(header: &[u8]) -> usize {
    all(header, "received").count()
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

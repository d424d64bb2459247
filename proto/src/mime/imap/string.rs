//! Strings in responses (RFC 9051 §4.3 and §9 `string`), 7-bit where the client needs that.
//!
//! RFC 3501 allows octets above 127 in literals only, and clients are known to fail on them even
//! there. So for a client without UTF-8 nothing above 127 is sent:
//!
//! - display names, subjects and descriptions: each run of words with such octets becomes encoded
//!   words (RFC 2047), in UTF-8, or in `unknown-8bit` (RFC 1428) where it is not UTF-8;
//! - local parts likewise, and domains in their ASCII form (IDNA) where they have one;
//! - parameter values become extended ones, `name*=utf-8''...` (RFC 2231).
//!
//! A client that takes UTF-8 (RFC 9051, RFC 6855) gets valid UTF-8 as it is in quoted strings, and
//! everything else as it is in literals. NUL cannot be sent in either and is left out.

use std::borrow::Cow;

/// What a client takes in strings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientText {
    /// Seven bits only: IMAP4rev1 without UTF8=ACCEPT.
    SevenBit,
    /// UTF-8 in quoted strings: IMAP4rev2 or UTF8=ACCEPT enabled.
    Utf8,
}

/// Appends `value` as a string, or NIL when there is none.
pub fn nstring(out: &mut Vec<u8>, value: Option<&[u8]>, client: ClientText) {
    match value {
        Some(value) => string(out, value, client),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// Appends human-readable text as a string, or NIL when there is none: encoded for a client that
/// takes only seven bits.
pub fn text(out: &mut Vec<u8>, value: Option<&[u8]>, client: ClientText) {
    match value {
        Some(value) if client == ClientText::SevenBit && !value.is_ascii() => {
            string(out, &encoded_words(value), client);
        }
        _ => nstring(out, value, client),
    }
}

/// Appends `value` as a quoted string where that is possible, else as a literal. For a client that
/// takes seven bits the caller has encoded it; what is left above 127 becomes `?`.
pub fn string(out: &mut Vec<u8>, value: &[u8], client: ClientText) {
    if value.iter().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')) {
        out.reserve(value.len() + 2);
        out.push(b'"');
        out.extend_from_slice(value);
        out.push(b'"');
        return;
    }
    let value = sendable(value, client);
    let is_quotable = memchr::memchr2(b'\r', b'\n', &value).is_none()
        && (value.is_ascii() || std::str::from_utf8(&value).is_ok());
    if !is_quotable {
        out.extend_from_slice(format!("{{{}}}\r\n", value.len()).as_bytes());
        out.extend_from_slice(&value);
        return;
    }
    out.push(b'"');
    let mut rest = &*value;
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend([b'\\', rest[at]]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn sendable(value: &[u8], client: ClientText) -> Cow<'_, [u8]> {
    let is_wide = client == ClientText::SevenBit && !value.is_ascii();
    if !is_wide && memchr::memchr(0, value).is_none() {
        return Cow::Borrowed(value);
    }
    let narrow = |byte: &u8| if is_wide && !byte.is_ascii() { b'?' } else { *byte };
    Cow::Owned(value.iter().filter(|byte| **byte != 0).map(narrow).collect())
}

/// Source octets of one encoded word: 75 octets (RFC 2047 §2) with the longest charset name.
const WORD_OCTETS_MAX: usize = 39;

/// `value` with each run of words that have octets above 127 as encoded words.
pub(super) fn encoded_words(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() * 2);
    let mut rest = value;
    while !rest.is_empty() {
        let Some(first) = rest.iter().position(|byte| !byte.is_ascii()) else {
            out.extend_from_slice(rest);
            break;
        };
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let start = rest[..first].iter().rposition(is_blank).map_or(0, |at| at + 1);
        out.extend_from_slice(&rest[..start]);
        // The run reaches to the last word with such octets that follows without a plain one.
        let mut end = start;
        let mut next = start;
        while next < rest.len() {
            let word_end = rest[next..].iter().position(is_blank).map_or(rest.len(), |at| next + at);
            let word = &rest[next..word_end];
            if !word.is_empty() && word.is_ascii() {
                break;
            }
            if !word.is_empty() {
                end = word_end;
            }
            next = word_end + 1;
        }
        encode_run(&rest[start..end], &mut out);
        rest = &rest[end..];
    }
    out
}

fn encode_run(mut run: &[u8], out: &mut Vec<u8>) {
    let charset = if std::str::from_utf8(run).is_ok() { "utf-8" } else { "unknown-8bit" };
    while !run.is_empty() {
        let mut end = run.len().min(WORD_OCTETS_MAX);
        // No character is cut in two (RFC 2047 §5).
        while charset == "utf-8" && end < run.len() && run[end] & 0xc0 == 0x80 {
            end -= 1;
        }
        let encoded = data_encoding::BASE64.encode(&run[..end]);
        out.extend_from_slice(format!("=?{charset}?B?{encoded}?=").as_bytes());
        run = &run[end..];
        if !run.is_empty() {
            out.push(b' ');
        }
    }
}

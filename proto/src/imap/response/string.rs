//! Strings, in the form that the client can take (RFC 9051 §4.3).

use super::super::command::{Utf8, is_astring_octet};
use super::super::utf7;
use super::write_number;

/// The longest text that is quoted rather than sent as a literal.
const QUOTED_OCTETS_MAX: usize = 1000;

/// Appends `string`: quoted where that is possible, else a literal. `text` must not hold NUL, which
/// only `literal8` can carry.
pub fn write_string(out: &mut Vec<u8>, utf8: Utf8, text: &[u8]) {
    let quotable = text.len() <= QUOTED_OCTETS_MAX
        && !text.iter().any(|octet| matches!(octet, b'\r' | b'\n' | 0))
        && (text.is_ascii() || (utf8 != Utf8::Off && std::str::from_utf8(text).is_ok()));
    if quotable {
        write_quoted(out, text);
    } else {
        write_literal_header(out, text.len() as u64);
        out.extend_from_slice(text);
    }
}

/// Appends `nstring`.
pub fn write_nstring(out: &mut Vec<u8>, utf8: Utf8, text: Option<&[u8]>) {
    match text {
        Some(text) => write_string(out, utf8, text),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// Appends `astring`: an atom where that is possible.
pub fn write_astring(out: &mut Vec<u8>, utf8: Utf8, text: &[u8]) {
    let atom = !text.is_empty() && text.iter().all(|octet| is_astring_octet(*octet));
    if atom && !text.eq_ignore_ascii_case(b"NIL") {
        out.extend_from_slice(text);
    } else {
        write_string(out, utf8, text);
    }
}

/// Appends `text` in quotes. It must not hold CR, LF or NUL.
pub fn write_quoted(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&[b'\\', rest[at]]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Appends a mailbox name: modified UTF-7 or UTF-8 (RFC 3501 §5.1.3, RFC 9051 §5.1).
pub fn write_mailbox(out: &mut Vec<u8>, utf8: Utf8, name: &str) {
    if utf8 != Utf8::Off || (name.is_ascii() && !name.bytes().any(|o| o == b'&' || o.is_ascii_control())) {
        write_astring(out, utf8, name.as_bytes());
    } else {
        let mut text = Vec::with_capacity(name.len() * 2);
        utf7::encode(&mut text, name);
        write_astring(out, utf8, &text);
    }
}

/// Appends `{n}` CR LF.
pub(super) fn write_literal_header(out: &mut Vec<u8>, octets: u64) {
    out.push(b'{');
    write_number(out, octets);
    out.extend_from_slice(b"}\r\n");
}

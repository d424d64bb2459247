//! Media types and parameters of MIME fields (RFC 2045 §5.1, RFC 2183, RFC 2231 §3).
//!
//! Reading is lenient: what does not fit the grammar is skipped up to the next `;`. Every function
//! is linear in its input.

use std::borrow::Cow;

/// A value like `text/plain; charset=utf-8` taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MediaType<'a> {
    /// The type as written, such as `text`.
    pub kind: &'a [u8],
    /// The subtype as written, such as `plain`.
    pub subtype: &'a [u8],
    /// What follows, for [`parameters`].
    pub rest: &'a [u8],
}

impl<'a> MediaType<'a> {
    /// Reads a Content-Type value; none when it has no type or no subtype.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let (kind, rest) = token(skip_cfws(value));
        let rest = skip_cfws(rest).strip_prefix(b"/")?;
        let (subtype, rest) = token(skip_cfws(rest));
        (!kind.is_empty() && !subtype.is_empty()).then_some(Self { kind, subtype, rest })
    }

    /// Whether the type is this one, in any case.
    pub fn is_kind(&self, kind: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind.as_bytes())
    }

    /// Whether type and subtype are these, in any case.
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        self.is_kind(kind) && self.subtype.eq_ignore_ascii_case(subtype.as_bytes())
    }

    /// The value of the first parameter with this name, RFC 2231 continuations put together.
    pub fn parameter(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        parameter(self.rest, name)
    }
}

/// Whether a type is a multipart that names no boundary, so that its content is just text.
pub fn is_multipart_without_boundary(media: &MediaType<'_>) -> bool {
    media.is_kind("multipart")
        && media.parameter("boundary").is_none_or(|boundary| boundary.trim_ascii().is_empty())
}

/// The leading token of a value such as that of Content-Disposition or
/// Content-Transfer-Encoding, and what follows it.
pub fn leading_token(value: &[u8]) -> (&[u8], &[u8]) {
    token(skip_cfws(value))
}

/// The value of the first parameter called `name`; failing that, the continuations `name*0`,
/// `name*1` ... put together and percent-decoded without regard to their charset.
pub fn parameter<'a>(rest: &'a [u8], name: &str) -> Option<Cow<'a, [u8]>> {
    let mut sections: Vec<(u32, Cow<'a, [u8]>)> = Vec::new();
    for (found, value) in parameters(rest) {
        if found.eq_ignore_ascii_case(name.as_bytes()) {
            return Some(value);
        }
        let Some(section) = Section::parse(found) else { continue };
        if section.base.eq_ignore_ascii_case(name.as_bytes()) {
            let value = if section.extended { Cow::Owned(percent_decoded(&value)) } else { value };
            sections.push((section.number.unwrap_or(0), value));
        }
    }
    sections.sort_by_key(|(number, _)| *number);
    if sections.first()?.0 != 0 {
        return None;
    }
    Some(Cow::Owned(sections.into_iter().flat_map(|(_, value)| value.into_owned()).collect()))
}

/// The parameters that follow a media type or a disposition, as written.
pub fn parameters(rest: &[u8]) -> Parameters<'_> {
    Parameters { rest }
}

/// See [`parameters`].
pub struct Parameters<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Parameters<'a> {
    type Item = (&'a [u8], Cow<'a, [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.rest = skip_past_semicolon(self.rest)?;
            let (name, rest) = token(skip_cfws(self.rest));
            self.rest = rest;
            let Some(rest) = skip_cfws(rest).strip_prefix(b"=") else { continue };
            let (value, rest) = value(skip_cfws(rest));
            self.rest = rest;
            if !name.is_empty() {
                return Some((name, value));
            }
        }
    }
}

/// The parameters with the continuations of RFC 2231 §3 put together: `name*0*` and `name*1`
/// become one `name*`, `name*0` and `name*1` one `name`. At most `max` are read.
///
/// Values stay as written, so an extended value keeps its charset and its percent signs. Where
/// plain and extended sections are mixed, the plain ones are percent-encoded.
pub fn joined(rest: &[u8], max: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut joined: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut sections: Vec<(Section<'_>, Cow<'_, [u8]>, usize)> = Vec::new();
    for (name, value) in parameters(rest).take(max) {
        match Section::parse(name) {
            Some(section) if section.number.is_some() => {
                let same = |(other, _, _): &&(Section<'_>, Cow<'_, [u8]>, usize)| {
                    other.base.eq_ignore_ascii_case(section.base)
                };
                // The first section seen holds the place; `max` bounds the search.
                let place = sections.iter().find(same).map_or_else(
                    || {
                        joined.push((section.base.to_vec(), Vec::new()));
                        joined.len() - 1
                    },
                    |(_, _, place)| *place,
                );
                sections.push((section, value, place));
            }
            _ => joined.push((name.to_vec(), value.into_owned())),
        }
    }
    sections.sort_by_key(|(section, _, place)| (*place, section.number));
    for group in sections.chunk_by(|a, b| a.2 == b.2) {
        let extended = group.iter().any(|(section, _, _)| section.extended);
        let (name, whole) = &mut joined[group[0].2];
        if extended {
            name.push(b'*');
        }
        if extended && !group[0].0.extended {
            whole.extend_from_slice(b"''");
        }
        for (section, value, _) in group {
            if extended && !section.extended {
                percent_encode(value, whole);
            } else {
                whole.extend_from_slice(value);
            }
        }
    }
    joined
}

/// A parameter name of RFC 2231: `base*number*`, `base*number` or `base*`.
struct Section<'a> {
    base: &'a [u8],
    number: Option<u32>,
    extended: bool,
}

impl<'a> Section<'a> {
    fn parse(name: &'a [u8]) -> Option<Self> {
        let (name, extended) = match name.strip_suffix(b"*") {
            Some(name) => (name, true),
            None => (name, false),
        };
        match name.iter().position(|&byte| byte == b'*') {
            None if extended => Some(Self { base: name, number: None, extended }),
            None => None,
            Some(star) => {
                let number = std::str::from_utf8(&name[star + 1..]).ok()?.parse().ok()?;
                Some(Self { base: &name[..star], number: Some(number), extended })
            }
        }
    }
}

/// Appends `value` with everything but RFC 2231 `attribute-char` as `%XX`.
pub(super) fn percent_encode(value: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in value {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`{|}~".contains(&byte) {
            out.push(byte);
        } else {
            out.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

/// Undoes percent-encoding and drops a leading `charset'language'`.
fn percent_decoded(value: &[u8]) -> Vec<u8> {
    let mut quotes = memchr::memchr_iter(b'\'', value);
    let start = match (quotes.next(), quotes.next()) {
        (Some(_), Some(second)) => second + 1,
        _ => 0,
    };
    percent_decode(&value[start..])
}

/// Undoes percent-encoding; a `%` without two hexadecimal digits stays.
pub fn percent_decode(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut at = 0;
    while let Some(&byte) = value.get(at) {
        let digits = (byte == b'%').then(|| value.get(at + 1..at + 3)).flatten();
        match digits.and_then(|digits| Some(hex(digits[0])? << 4 | hex(digits[1])?)) {
            Some(decoded) => {
                out.push(decoded);
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

/// The value of a hexadecimal digit.
pub(super) fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Skips white space and comments.
pub(super) fn skip_cfws(mut value: &[u8]) -> &[u8] {
    loop {
        match value.first() {
            Some(b' ' | b'\t' | b'\r' | b'\n') => value = &value[1..],
            Some(b'(') => value = skip_comment(value),
            _ => return value,
        }
    }
}

/// Skips a comment with the comments in it; one that never ends reaches to the end.
fn skip_comment(value: &[u8]) -> &[u8] {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = value.get(at) {
        match byte {
            b'\\' => at += 1,
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return &value[at..];
        }
    }
    &[]
}

/// A run of characters up to white space or one that has a meaning in these fields.
fn token(value: &[u8]) -> (&[u8], &[u8]) {
    let end = value
        .iter()
        .position(|byte| {
            matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'/' | b';' | b'=' | b'(' | b')' | b'"' | b',')
        })
        .unwrap_or(value.len());
    value.split_at(end)
}

/// A parameter value: a quoted string without its quoting, or everything up to white space, `;` or
/// a comment. Characters that should have been quoted, such as `/` or `=`, are taken as they are.
fn value(value: &[u8]) -> (Cow<'_, [u8]>, &[u8]) {
    let Some(quoted) = value.strip_prefix(b"\"") else {
        let end = value
            .iter()
            .position(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b';' | b'(' | b'"'))
            .unwrap_or(value.len());
        let (value, rest) = value.split_at(end);
        return (Cow::Borrowed(value), rest);
    };
    match memchr::memchr2(b'"', b'\\', quoted) {
        None => (Cow::Borrowed(quoted), &[]),
        Some(end) if quoted[end] == b'"' => (Cow::Borrowed(&quoted[..end]), &quoted[end + 1..]),
        Some(_) => {
            let mut out = Vec::new();
            let mut at = 0;
            while let Some(&byte) = quoted.get(at) {
                at += 1;
                match byte {
                    b'"' => break,
                    b'\\' => {
                        out.extend(quoted.get(at));
                        at += 1;
                    }
                    _ => out.push(byte),
                }
            }
            (Cow::Owned(out), quoted.get(at..).unwrap_or_default())
        }
    }
}

/// What follows the next `;` outside quotes and comments; none when there is none.
fn skip_past_semicolon(mut value: &[u8]) -> Option<&[u8]> {
    loop {
        let at = value.iter().position(|byte| matches!(byte, b';' | b'"' | b'('))?;
        value = match value[at] {
            b';' => return Some(&value[at + 1..]),
            b'"' => self::value(&value[at..]).1,
            _ => skip_comment(&value[at..]),
        };
    }
}

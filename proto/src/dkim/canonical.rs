//! Canonicalisation of header fields and of bodies (RFC 6376 §3.4).
//!
//! Input has lines that end with CRLF, as messages have on the wire and in the store. A bare CR or a bare LF
//! is an octet like any other: RFC 6376 §3.4 presumes that there is none, and §5.3 makes signers replace them
//! before. [`Crlf`] does that for files.

mod body;
mod lines;

pub use body::BodyCanonicalizer;
pub use lines::Crlf;

use std::ops::Range;

use super::header::Field;

/// One of the two algorithms.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Algorithm {
    /// Changes nothing but the end of a body.
    Simple,
    /// Forgives changed white space, folding and the case of names.
    Relaxed,
}

impl Algorithm {
    /// The word in `c=`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Relaxed => "relaxed",
        }
    }

    pub(super) fn from_word(word: &str) -> Option<Self> {
        [Self::Simple, Self::Relaxed].into_iter().find(|algorithm| algorithm.word() == word)
    }
}

/// What ends a field in the input of a hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FieldEnd {
    /// CRLF, as of every field that `h=` names.
    LineBreak,
    /// Nothing, as of the field that holds the signature itself.
    Nothing,
}

/// Appends a field in canonical form.
pub fn write_field(out: &mut Vec<u8>, field: Field<'_>, algorithm: Algorithm, end: FieldEnd) {
    write_field_without(out, field, 0..0, algorithm, end);
}

/// Appends a field in canonical form, with a part of its value deleted: that of `b=`.
///
/// `deleted` is a range of `field.value`, as [`super::tags::Tag::place`] gives it.
pub fn write_field_without(
    out: &mut Vec<u8>,
    field: Field<'_>,
    deleted: Range<usize>,
    algorithm: Algorithm,
    end: FieldEnd,
) {
    let before = field.value.get(..deleted.start).unwrap_or_default();
    let after = field.value.get(deleted.end..).unwrap_or_default();
    out.reserve(field.octets.len() + 2);
    match algorithm {
        Algorithm::Simple => {
            let head = field.octets.len() - field.value.len();
            out.extend_from_slice(&field.octets[..head]);
            out.extend_from_slice(before);
            out.extend_from_slice(without_line_break(after));
        }
        Algorithm::Relaxed => {
            out.extend(field.name.iter().map(u8::to_ascii_lowercase));
            out.push(b':');
            let mut space = Space::Leading;
            relax(out, before, &mut space);
            relax(out, after, &mut space);
        }
    }
    if end == FieldEnd::LineBreak {
        out.extend_from_slice(b"\r\n");
    }
}

fn without_line_break(value: &[u8]) -> &[u8] {
    value.strip_suffix(b"\r\n").or_else(|| value.strip_suffix(b"\n")).unwrap_or(value)
}

/// What is known of white space before the next octet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Space {
    /// Nothing of the value was written yet: white space here is deleted.
    Leading,
    None,
    /// Some, which becomes one space if something follows.
    Some,
}

/// Appends a piece of a value with folding undone and white space reduced.
fn relax(out: &mut Vec<u8>, piece: &[u8], space: &mut Space) {
    let mut rest = piece;
    while let Some(first) = rest.first() {
        match first {
            b' ' | b'\t' => {
                if *space == Space::None {
                    *space = Space::Some;
                }
                rest = &rest[1..];
            }
            // A field has a line break only where it is folded, and at its end.
            b'\n' => rest = &rest[1..],
            b'\r' if rest.get(1) == Some(&b'\n') => rest = &rest[2..],
            _ => {
                if *space == Space::Some {
                    out.push(b' ');
                }
                *space = Space::None;
                let solid = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
                let length = 1 + rest[1..].iter().position(solid).unwrap_or(rest.len() - 1);
                out.extend_from_slice(&rest[..length]);
                rest = &rest[length..];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::header::Header;
    use super::*;

    fn canonical(text: &str, algorithm: Algorithm) -> String {
        let header = Header::parse(text.as_bytes().to_vec()).expect("a small header");
        let mut out = Vec::new();
        for field in header.fields() {
            write_field(&mut out, field, algorithm, FieldEnd::LineBreak);
        }
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn the_examples_of_the_standard() {
        // RFC 6376 §3.4.5.
        let header = "A: X\r\nB : Y\t\r\n\tZ  \r\n";
        assert_eq!(canonical(header, Algorithm::Relaxed), "a:X\r\nb:Y Z\r\n");
        assert_eq!(canonical(header, Algorithm::Simple), header);
    }

    #[test]
    fn relaxed_fields_lose_folding_and_white_space_at_both_ends() {
        for (field, canonical_form) in [
            ("SUBJect: AbC\r\n", "subject:AbC\r\n"),
            ("a:\r\n", "a:\r\n"),
            ("a: \t \r\n", "a:\r\n"),
            ("a:\r\n \r\n b\r\n", "a:b\r\n"),
            ("a\t:b\r\n c\r\n\t d \t\r\n", "a:b c d\r\n"),
            ("a:b:c\r\n", "a:b:c\r\n"),
            ("a:b\rc\r\n", "a:b\rc\r\n"),
            ("a:b\r\r\n", "a:b\r\r\n"),
            ("a:b", "a:b\r\n"),
        ] {
            assert_eq!(canonical(field, Algorithm::Relaxed), canonical_form, "{field:?}");
        }
    }

    #[test]
    fn a_deleted_value_leaves_what_stands_around_it() {
        let octets = b"S: a=1; b = x\r\n y ; c=2\r\n";
        let field = Field { name: b"S", value: &octets[2..], octets };
        let place = 9..16;
        assert_eq!(&field.value[place.clone()], b" x\r\n y ");
        let written = |algorithm| {
            let mut out = Vec::new();
            write_field_without(&mut out, field, place.clone(), algorithm, FieldEnd::Nothing);
            String::from_utf8(out).expect("text")
        };
        assert_eq!(written(Algorithm::Simple), "S: a=1; b =; c=2");
        assert_eq!(written(Algorithm::Relaxed), "s:a=1; b =; c=2");
    }
}

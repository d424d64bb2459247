//! Tag=value lists (RFC 6376 §3.2), the syntax of DKIM-Signature, of the ARC fields and of key records.

use std::ops::Range;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::limits::TAGS_MAX;

/// White space that may stand around tags, and inside the values that allow it: FWS of RFC 6376 §2.8.
pub(crate) const WHITE_SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// Why a text is no list of tags.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TagError {
    /// Octets that are not UTF-8 (RFC 8616 §3 allows UTF-8; plain lists are ASCII).
    #[error("the list of tags is not text")]
    NoText,
    /// A control character, or a line break that folds nothing.
    #[error("a control character or a broken line in the list of tags")]
    Control,
    /// Something between two semicolons that is no tag, or nothing.
    #[error("not a tag and a value between two semicolons")]
    NoTag,
    /// A name that doesn't begin with a letter, or has other signs than letters, digits and `_`.
    #[error("the name of a tag is not valid")]
    Name,
    /// One name twice: the whole list is invalid.
    #[error("a tag stands there twice")]
    Twice,
    /// More than [`TAGS_MAX`] tags.
    #[error("too many tags")]
    TooMany,
}

/// One tag.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tag<'a> {
    /// Its name. Names are case-sensitive.
    pub name: &'a str,
    /// Its value without the white space around it.
    pub value: &'a str,
    /// Where the value stands in the text, with the white space around it: what a verifier deletes for `b=`
    /// (RFC 6376 §3.7).
    pub place: Range<usize>,
}

/// A list in which no name stands twice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TagList<'a>(Vec<Tag<'a>>);

impl<'a> TagList<'a> {
    /// Parses what stands after the colon of a field, with its line breaks, or the text of a record.
    pub fn parse(octets: &'a [u8]) -> Result<Self, TagError> {
        let text = std::str::from_utf8(octets).map_err(|_| TagError::NoText)?;
        let text = text.strip_suffix("\r\n").unwrap_or(text);
        check_octets(text)?;
        let mut tags: Vec<Tag<'a>> = Vec::with_capacity(12);
        let mut start = 0;
        for spec in text.split(';') {
            let end = start + spec.len();
            let bare = spec.trim_matches(WHITE_SPACE);
            if bare.is_empty() && end == text.len() && !tags.is_empty() {
                break;
            }
            let equals = spec.find('=').ok_or(TagError::NoTag)?;
            let name = spec[..equals].trim_matches(WHITE_SPACE);
            check_name(name)?;
            if tags.iter().any(|tag| tag.name == name) {
                return Err(TagError::Twice);
            }
            if tags.len() == TAGS_MAX {
                return Err(TagError::TooMany);
            }
            let value = spec[equals + 1..].trim_matches(WHITE_SPACE);
            tags.push(Tag { name, value, place: start + equals + 1..end });
            start = end + 1;
        }
        Ok(Self(tags))
    }

    /// The tag of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Tag<'a>> {
        self.0.iter().find(|tag| tag.name == name)
    }

    /// The value of the tag of that name. A tag with an empty value is there.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&'a str> {
        self.get(name).map(|tag| tag.value)
    }

    /// All tags in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Tag<'a>> {
        self.0.iter()
    }
}

/// Control characters are none of a list, and a line break is one only where it folds a line.
fn check_octets(text: &str) -> Result<(), TagError> {
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        let valid = match byte {
            b'\r' => matches!(bytes.get(at + 1..at + 3), Some([b'\n', b' ' | b'\t'])),
            b'\n' => at > 0 && bytes[at - 1] == b'\r',
            b'\t' => true,
            0..b' ' | 0x7f => false,
            _ => true,
        };
        if !valid {
            return Err(TagError::Control);
        }
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), TagError> {
    let bytes = name.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    match bytes.first() {
        Some(first) if first.is_ascii_alphabetic() && bytes.iter().all(inner) => Ok(()),
        _ => Err(TagError::Name),
    }
}

/// Elements of a value that is a list with colons, without the white space around them.
pub(crate) fn elements(value: &str) -> impl Iterator<Item = &str> {
    value.split(':').map(|element| element.trim_matches(WHITE_SPACE))
}

/// A number of 1 to 76 digits; one that is too large to be kept is the largest that can be (RFC 6376 §3.5
/// lets values over 12 digits be infinite).
pub(crate) fn number(value: &str) -> Option<u64> {
    const DIGITS_MAX: usize = 76;
    if value.is_empty() || value.len() > DIGITS_MAX || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(value.parse().unwrap_or(u64::MAX))
}

/// Some signers leave the padding away; what is decoded is the same.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Decodes base64 that may have white space anywhere (RFC 6376 §2.10).
#[must_use]
pub fn base64(value: &str) -> Option<Vec<u8>> {
    if value.contains(WHITE_SPACE) {
        let dense: String = value.split(WHITE_SPACE).collect();
        return BASE64.decode(dense).ok();
    }
    BASE64.decode(value).ok()
}

/// Encodes base64 with padding, as values are written.
#[must_use]
pub fn to_base64(octets: &[u8]) -> String {
    BASE64.encode(octets)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use super::*;

    fn parse(text: &str) -> Result<Vec<(&str, &str)>, TagError> {
        let list = TagList::parse(text.as_bytes())?;
        Ok(list.0.into_iter().map(|tag| (tag.name, tag.value)).collect())
    }

    #[test]
    fn white_space_around_tags_is_none_of_them_and_inside_values_it_stays() {
        assert_eq!(parse("a=1"), Ok(vec![("a", "1")]));
        assert_eq!(parse(" a =\t1 2 ;\r\n b2_=;\r\n"), Ok(vec![("a", "1 2"), ("b2_", "")]));
        assert_eq!(parse("a=x=y;\r\n\tb=\r\n z"), Ok(vec![("a", "x=y"), ("b", "z")]));
        assert_eq!(
            parse("i=j\u{f6}rg@b\u{fc}cher.example"),
            Ok(vec![("i", "j\u{f6}rg@b\u{fc}cher.example")])
        );
    }

    #[test]
    fn names_and_values_keep_their_case_and_may_be_unknown() {
        assert_eq!(parse("A=b;a=B"), Ok(vec![("A", "b"), ("a", "B")]));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for (text, error) in [
            ("", TagError::NoTag),
            (" ", TagError::NoTag),
            (";", TagError::NoTag),
            ("a", TagError::NoTag),
            ("a=1;;", TagError::NoTag),
            ("a=1;;b=2", TagError::NoTag),
            ("a=1; ;", TagError::NoTag),
            ("a=1;b", TagError::NoTag),
            ("=1", TagError::Name),
            ("1a=1", TagError::Name),
            ("_a=1", TagError::Name),
            ("a-b=1", TagError::Name),
            ("a b=1", TagError::Name),
            ("\u{e4}=1", TagError::Name),
            ("a=1;b=2; a=1", TagError::Twice),
            ("a=1\0", TagError::Control),
            ("a=1\n b=2", TagError::Control),
            ("a=1\r b=2", TagError::Control),
            ("a=1\r\n;b=2", TagError::Control),
            ("a=\x7f", TagError::Control),
            ("a=1\r\n\r\n", TagError::Control),
        ] {
            assert_eq!(parse(text), Err(error), "{text:?}");
        }
        assert_eq!(TagList::parse(b"a=\xff"), Err(TagError::NoText));
    }

    #[test]
    fn the_number_of_tags_has_a_limit() {
        let list = |count: usize| (0..count).map(|number| format!("t{number}=;")).collect::<String>();
        assert_eq!(parse(&list(TAGS_MAX)).unwrap().len(), TAGS_MAX);
        assert_eq!(parse(&list(TAGS_MAX + 1)), Err(TagError::TooMany));
    }

    #[test]
    fn a_place_is_what_stands_between_the_equals_sign_and_the_semicolon() {
        let text = " a=1; b = x\r\n y ;c=\r\n";
        let list = TagList::parse(text.as_bytes()).unwrap();
        assert_eq!(&text[list.get("b").unwrap().place.clone()], " x\r\n y ");
        assert_eq!(&text[list.get("c").unwrap().place.clone()], "");
        let text = "a=1; b=x \r\n";
        let list = TagList::parse(text.as_bytes()).unwrap();
        assert_eq!(&text[list.get("b").unwrap().place.clone()], "x ");
    }

    #[test]
    fn base64_may_be_folded_and_unpadded_and_nothing_else() {
        assert_eq!(base64("AAEC\r\n Aw =="), Some(vec![0, 1, 2, 3]));
        assert_eq!(base64("AAECAw"), Some(vec![0, 1, 2, 3]));
        assert_eq!(base64(""), Some(vec![]));
        assert_eq!(base64("AAEC-w"), None);
        assert_eq!(base64("AAECA"), None);
        assert_eq!(to_base64(&[0, 1, 2, 3]), "AAECAw==");
    }

    #[test]
    fn numbers_are_digits_and_never_overflow() {
        assert_eq!(number("0012"), Some(12));
        assert_eq!(number(&"9".repeat(76)), Some(u64::MAX));
        for text in ["", "+1", "-1", "1 2", "0x1", &"9".repeat(77)] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}

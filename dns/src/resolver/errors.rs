//! Extended DNS errors (RFC 8914).

use hickory_proto::op::Edns;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};

use crate::answer::ExtendedError;
use crate::limits::{EXTENDED_ERRORS_MAX, EXTENDED_TEXT_OCTETS_MAX};

/// OPTION-CODE of extended errors (RFC 8914 §2).
const OPTION: u16 = 15;

/// "Stale Answer" (RFC 8914 §4.4).
pub const STALE_ANSWER: u16 = 3;
/// "DNSSEC Bogus" (RFC 8914 §4.7).
pub const DNSSEC_BOGUS: u16 = 6;
/// "NSEC Missing" (RFC 8914 §4.13), the last of those that say that validation failed.
pub const NSEC_MISSING: u16 = 12;
/// "Cached Error" (RFC 8914 §4.14).
pub const CACHED_ERROR: u16 = 13;
/// "Network Error" (RFC 8914 §4.24).
pub const NETWORK_ERROR: u16 = 23;

impl ExtendedError {
    /// Makes one from a text of unknown origin: what could disturb a terminal or a log line is replaced, and
    /// it is cut to [`EXTENDED_TEXT_OCTETS_MAX`] octets.
    #[must_use]
    pub fn new(code: u16, text: &str) -> Self {
        let mut clean = String::new();
        for character in text.chars() {
            let disturbs = character.is_control()
                // Controls of direction, and separators of lines and paragraphs.
                || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            let character = if disturbs { char::REPLACEMENT_CHARACTER } else { character };
            if clean.len() + character.len_utf8() > EXTENDED_TEXT_OCTETS_MAX {
                break;
            }
            clean.push(character);
        }
        Self { code, text: clean }
    }

    /// Whether it says that validation of signatures failed (RFC 8914 §4.7 to §4.13).
    #[must_use]
    pub fn is_of_dnssec(&self) -> bool {
        (DNSSEC_BOGUS..=NSEC_MISSING).contains(&self.code)
    }
}

/// The extended errors of a response, at most [`EXTENDED_ERRORS_MAX`].
pub(crate) fn of(edns: Option<&Edns>) -> Vec<ExtendedError> {
    let Some(edns) = edns else { return Vec::new() };
    let options = edns.options().get_all(EdnsCode::Unknown(OPTION));
    let errors = options.into_iter().filter_map(|option| match option {
        // The text may end with a NUL, which isn't a part of it (RFC 8914 §2).
        EdnsOption::Unknown(OPTION, data) => {
            let (code, text) = data.split_first_chunk()?;
            let text = String::from_utf8_lossy(text);
            Some(ExtendedError::new(u16::from_be_bytes(*code), text.trim_end_matches('\0')))
        }
        _ => None,
    });
    errors.take(EXTENDED_ERRORS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edns(options: &[&[u8]]) -> Edns {
        let mut edns = Edns::new();
        for option in options {
            edns.options_mut().insert(EdnsOption::Unknown(OPTION, option.to_vec()));
        }
        edns
    }

    #[test]
    fn codes_and_texts_are_read() {
        let errors = of(Some(&edns(&[b"\0\x07signature expired\0", b"\0\x16", b"\0", b""])));
        let expected = [(7, "signature expired"), (22, "")];
        assert_eq!(errors.iter().map(|one| (one.code, one.text.as_str())).collect::<Vec<_>>(), expected);
        assert!(errors[0].is_of_dnssec() && !errors[1].is_of_dnssec());
        assert_eq!(of(None), []);
    }

    #[test]
    fn texts_are_cleaned_and_cut() {
        let clean = ExtendedError::new(0, "a\x1b[31m\r\n\u{202e}b\0");
        assert_eq!(clean.text, "a\u{fffd}[31m\u{fffd}\u{fffd}\u{fffd}b\u{fffd}");
        let long = ExtendedError::new(0, &"é".repeat(EXTENDED_TEXT_OCTETS_MAX));
        assert_eq!(long.text.len(), EXTENDED_TEXT_OCTETS_MAX);
        let odd = ExtendedError::new(0, &format!("a{}", "é".repeat(EXTENDED_TEXT_OCTETS_MAX)));
        assert_eq!(odd.text.len(), EXTENDED_TEXT_OCTETS_MAX - 1);
        let errors = of(Some(&edns(&[b"\0\x07\xff\xfe"])));
        assert_eq!(errors[0].text, "\u{fffd}\u{fffd}");
    }

    #[test]
    fn their_number_is_bounded() {
        let options = vec![&b"\0\x07x"[..]; EXTENDED_ERRORS_MAX + 1];
        assert_eq!(of(Some(&edns(&options))).len(), EXTENDED_ERRORS_MAX);
    }
}

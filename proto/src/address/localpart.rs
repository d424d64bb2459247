//! The part before the `@` (RFC 5321 §4.1.2, RFC 6531 §3.3).

use std::fmt;

use unicode_normalization::{UnicodeNormalization, is_nfc};

use super::AddressError;

/// A localpart: quoting removed, normal form C. Displayed with quoting where it is needed.
///
/// `Fred` and `fred` are different values here; only the domain's owner knows what they mean.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Localpart(Box<str>);

impl Localpart {
    /// The longest localpart of the standard (RFC 5321 §4.5.3.1.1).
    pub const STANDARD_OCTETS_MAX: usize = 64;
    /// The longest localpart that is accepted: longer ones than the standard's are in use (bounce
    /// addresses that encode another address).
    pub const OCTETS_MAX: usize = 128;

    /// Parses a Dot-string or a Quoted-string.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        match parse_prefix(text)? {
            (localpart, "") => Ok(localpart),
            _ => Err(AddressError::Localpart),
        }
    }

    /// Makes a localpart of text that carries no quoting.
    pub fn from_decoded(text: &str) -> Result<Self, AddressError> {
        // Bounded before and after, since normalisation may lengthen.
        if text.len() > Self::OCTETS_MAX {
            return Err(AddressError::LocalpartTooLong);
        }
        if text.chars().any(char::is_control) || text.contains(['\u{2028}', '\u{2029}']) {
            return Err(AddressError::Localpart);
        }
        if is_nfc(text) {
            return Ok(Self(text.into()));
        }
        let normal: String = text.nfc().collect();
        if normal.len() > Self::OCTETS_MAX {
            return Err(AddressError::LocalpartTooLong);
        }
        Ok(Self(normal.into()))
    }

    /// The decoded text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it can be sent without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.0.is_ascii()
    }

    /// Whether its length is within the standard's 64 octets.
    pub fn is_standard_length(&self) -> bool {
        self.0.len() <= Self::STANDARD_OCTETS_MAX
    }

    fn is_dot_string(&self) -> bool {
        self.0.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
    }
}

/// Parses the localpart that `text` starts with; gives the rest too.
pub(super) fn parse_prefix(text: &str) -> Result<(Localpart, &str), AddressError> {
    if let Some(rest) = text.strip_prefix('"') {
        return parse_quoted(rest);
    }
    let end = text.find(|c| !is_atext(c) && c != '.').unwrap_or(text.len());
    let (raw, rest) = text.split_at(end);
    if raw.split('.').any(str::is_empty) {
        return Err(AddressError::Localpart);
    }
    let localpart = Localpart::from_decoded(raw)?;
    // Normalisation turns U+037E into `;`: what needs quotes now did not come in quotes.
    if localpart.is_dot_string() { Ok((localpart, rest)) } else { Err(AddressError::Localpart) }
}

/// Parses what follows the opening quote, to the closing one.
fn parse_quoted(text: &str) -> Result<(Localpart, &str), AddressError> {
    let mut decoded = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((Localpart::from_decoded(&decoded)?, &text[at + 1..])),
            // quoted-pairSMTP = %d92 %d32-126
            '\\' => match chars.next() {
                Some((_, escaped @ ' '..='~')) => decoded.push(escaped),
                _ => return Err(AddressError::Localpart),
            },
            ' '..='~' | '\u{80}'.. => decoded.push(c),
            _ => return Err(AddressError::Localpart),
        }
    }
    Err(AddressError::Localpart)
}

fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || !c.is_ascii()
}

impl fmt::Display for Localpart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_dot_string() {
            return f.write_str(&self.0);
        }
        f.write_str("\"")?;
        for c in self.0.chars() {
            if matches!(c, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use super::*;

    #[test]
    fn quoting_is_removed_and_put_back_only_where_needed() {
        for (text, decoded, shown) in [
            ("fred", "fred", "fred"),
            ("\"fred\"", "fred", "fred"),
            ("\"f\\r\\e\\d\"", "fred", "fred"),
            ("\"a b\"", "a b", "\"a b\""),
            ("\"a@b\"", "a@b", "\"a@b\""),
            ("\"a\\\"\\\\b\"", "a\"\\b", "\"a\\\"\\\\b\""),
            ("\"\"", "", "\"\""),
            ("\".a\"", ".a", "\".a\""),
            ("a.b", "a.b", "a.b"),
            ("jose\u{301}", "jos\u{e9}", "jos\u{e9}"),
            ("\u{212b}", "\u{c5}", "\u{c5}"),
        ] {
            let localpart = Localpart::parse(text).unwrap();
            assert_eq!(localpart.as_str(), decoded);
            assert_eq!(localpart.to_string(), shown);
            assert_eq!(Localpart::parse(shown), Ok(localpart));
        }
    }

    #[test]
    fn what_is_no_localpart_is_refused() {
        for text in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "a b",
            "a\"b\"",
            "\"a",
            "\"a\"b",
            "\"a\tb\"",
            "\"a\\\u{e9}\"",
            "a\0",
            "a@b",
            "a\u{85}b",
            "\"a\u{9b}\"",
            "a\u{2028}",
            "\"a\r\nb\"",
            "a<b",
            "a\\b",
            "\"\\",
            "(a)",
        ] {
            assert_eq!(Localpart::parse(text), Err(AddressError::Localpart), "{text:?}");
        }
    }

    #[test]
    fn the_length_limit_holds_before_and_after_normalisation() {
        assert!(Localpart::parse(&"a".repeat(64)).unwrap().is_standard_length());
        assert!(!Localpart::parse(&"a".repeat(65)).unwrap().is_standard_length());
        assert!(Localpart::parse(&"a".repeat(128)).is_ok());
        assert_eq!(Localpart::parse(&"a".repeat(129)), Err(AddressError::LocalpartTooLong));
        // U+FB2C becomes three code points of two octets each in normal form C.
        assert_eq!(Localpart::parse(&"\u{fb2c}".repeat(42)), Err(AddressError::LocalpartTooLong));
    }
}

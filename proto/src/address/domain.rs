//! Domain names of mail (RFC 5321 §2.3.5, RFC 5890, UTS #46 non-transitional).

use std::fmt;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::AddressError;

/// A domain name: lower-case ASCII labels (A-labels where internationalised), no trailing dot.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(Box<str>);

impl Domain {
    /// The longest name; 255 octets on the DNS wire are 253 as text (RFC 1035 §2.3.4).
    pub const OCTETS_MAX: usize = 253;
    /// The longest label (RFC 1035 §2.3.4).
    pub const LABEL_OCTETS_MAX: usize = 63;
    /// The longest text that is looked at, before mapping.
    const INPUT_OCTETS_MAX: usize = 1024;

    /// Parses a domain in A-label or U-label form.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.len() > Self::INPUT_OCTETS_MAX {
            return Err(AddressError::DomainTooLong);
        }
        if !text.is_ascii() || has_a_label(text) {
            return Self::parse_international(text);
        }
        check_letters_digits_hyphens(text)?;
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    fn parse_international(text: &str) -> Result<Self, AddressError> {
        let ascii = Uts46::new()
            .to_ascii(text.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Ignore)
            .map_err(|_| AddressError::Domain)?;
        check_letters_digits_hyphens(&ascii)?;
        Ok(Self(ascii.to_ascii_lowercase().into()))
    }

    /// The name in A-label form, as DNS and the wire without SMTPUTF8 want it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name in U-label form, for people and for SMTPUTF8. Equal to [`Domain::as_str`] when no label
    /// is internationalised.
    pub fn unicode(&self) -> String {
        if !has_a_label(&self.0) {
            return self.0.to_string();
        }
        let (text, result) =
            Uts46::new().to_unicode(self.0.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast);
        if result.is_ok() { text.into_owned() } else { self.0.to_string() }
    }

    /// Whether any label is internationalised.
    pub fn is_international(&self) -> bool {
        has_a_label(&self.0)
    }

    /// Whether this is `other` or lies below it.
    pub fn is_at_or_below(&self, other: &Self) -> bool {
        self.0.strip_suffix(&*other.0).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

/// Whether a label starts with the prefix of internationalised ones.
fn has_a_label(text: &str) -> bool {
    text.split('.').any(|label| label.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("xn--")))
}

/// The grammar of RFC 5321 §4.1.2 `Domain`, and the lengths of RFC 1035.
fn check_letters_digits_hyphens(text: &str) -> Result<(), AddressError> {
    for label in text.split('.') {
        let bytes = label.as_bytes();
        let inner = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        if bytes.is_empty() || !bytes.iter().all(inner) || bytes[0] == b'-' || bytes.ends_with(b"-") {
            return Err(AddressError::Domain);
        }
        if bytes.len() > Domain::LABEL_OCTETS_MAX {
            return Err(AddressError::DomainTooLong);
        }
    }
    if text.len() > Domain::OCTETS_MAX { Err(AddressError::DomainTooLong) } else { Ok(()) }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use super::*;

    fn parse(text: &str) -> Result<String, AddressError> {
        Domain::parse(text).map(|domain| domain.to_string())
    }

    #[test]
    fn every_spelling_of_a_name_is_one_value() {
        assert_eq!(parse("EXAMPLE.Org"), Ok("example.org".into()));
        assert_eq!(parse("BÜCHER.example"), Ok("xn--bcher-kva.example".into()));
        assert_eq!(parse("XN--Bcher-KVA.example"), Ok("xn--bcher-kva.example".into()));
        assert_eq!(parse("bu\u{308}cher.example"), Ok("xn--bcher-kva.example".into()));
        assert_eq!(parse("bücher。example"), Ok("xn--bcher-kva.example".into()));
        assert_eq!(parse("straße.example"), Ok("xn--strae-oqa.example".into()));
        assert_eq!(Domain::parse("xn--bcher-kva.example").unwrap().unicode(), "bücher.example");
        assert!(Domain::parse("xn--bcher-kva.example").unwrap().is_international());
    }

    #[test]
    fn what_is_no_domain_is_refused() {
        for text in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "-a.b",
            "a-.b",
            "a_b.c",
            "a b",
            "a\0b",
            "a@b",
            "xn---",
            "xn--.org",
            "xn--a",
            "[1.2.3.4]",
            "a\u{200b}.\u{202e}",
            "a%b",
            "ü_.example",
            "bücher.example.",
            "a\r\nb",
        ] {
            assert!(parse(text).is_err(), "{text:?} -> {:?}", parse(text));
        }
    }

    #[test]
    fn length_limits_hold_at_the_limit_and_one_past_it() {
        let label = "a".repeat(63);
        assert!(parse(&format!("{label}.b")).is_ok());
        assert_eq!(parse(&format!("{label}a.b")), Err(AddressError::DomainTooLong));
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert_eq!(longest.len(), Domain::OCTETS_MAX);
        assert!(parse(&longest).is_ok());
        assert_eq!(parse(&format!("{longest}a")), Err(AddressError::DomainTooLong));
        assert_eq!(parse(&"ü".repeat(10_000)), Err(AddressError::DomainTooLong));
    }

    #[test]
    fn below_means_at_a_label_boundary() {
        let domain = |text| Domain::parse(text).unwrap();
        assert!(domain("a.example.org").is_at_or_below(&domain("example.org")));
        assert!(domain("example.org").is_at_or_below(&domain("example.org")));
        assert!(!domain("badexample.org").is_at_or_below(&domain("example.org")));
    }
}

//! Selectors and identities (RFC 6376 §3.1, §3.5 `i=` and `s=`).

use std::fmt;

use crate::address::Domain;

use super::tags::WHITE_SPACE;

/// A selector: labels below `_domainkey` of a domain, lower-case, A-labels where internationalised.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Selector(Box<str>);

impl Selector {
    /// Parses a selector in A-label or U-label form (RFC 8616 §5).
    ///
    /// Deviation: RFC 6376 §3.1 has the grammar of host names. Underscores are taken, too, because domains
    /// publish keys at such names.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if !text.contains('_') {
            return Domain::parse(text).ok().map(|domain| Self(domain.as_str().into()));
        }
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let label = |label: &str| {
            !label.is_empty() && label.len() <= Domain::LABEL_OCTETS_MAX && label.bytes().all(inner)
        };
        let valid = text.len() <= Domain::OCTETS_MAX && text.split('.').all(label);
        valid.then(|| Self(text.to_ascii_lowercase().into()))
    }

    /// The selector as DNS wants it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the key record: `selector._domainkey.domain` without a dot at its end (RFC 6376
    /// §3.6.2.1). It may be too long for a name of the DNS.
    #[must_use]
    pub fn key_name(&self, domain: &Domain) -> String {
        format!("{}._domainkey.{domain}", self.0)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The agent or user on whose behalf a domain signed (AUID, RFC 6376 §2.6).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// What stands before the `@`, decoded; empty where it was left away.
    pub localpart: String,
    /// The domain, which is that of the signature or below it.
    pub domain: Domain,
}

impl Identity {
    /// Parses the value of `i=`: dkim-quoted-printable (RFC 6376 §2.11) of an address whose localpart may be
    /// missing.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let text = unquote(value)?;
        if text.chars().any(char::is_control) {
            return None;
        }
        let (localpart, domain) = text.rsplit_once('@')?;
        Some(Self { localpart: localpart.to_owned(), domain: Domain::parse(domain).ok()? })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.localpart, self.domain)
    }
}

/// Decodes dkim-quoted-printable: white space is none of it, `=` and two hexadecimal digits are an octet.
fn unquote(value: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'=' => {
                let (digits, after) = rest.split_first_chunk::<2>()?;
                let digit = |byte: u8| char::from(byte).to_digit(16);
                octets.push(u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()?);
                rest = after;
            }
            byte if WHITE_SPACE.contains(&char::from(*byte)) => {}
            byte => octets.push(*byte),
        }
    }
    String::from_utf8(octets).ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use super::*;

    #[test]
    fn selectors_are_labels() {
        for (text, selector) in [
            ("Brisbane", Some("brisbane")),
            ("march2005.reykjavik", Some("march2005.reykjavik")),
            ("s1_Key", Some("s1_key")),
            ("b\u{fc}cher", Some("xn--bcher-kva")),
            ("", None),
            (".a", None),
            ("a_..b", None),
            ("a b", None),
            ("a_ b", None),
            ("a;b", None),
        ] {
            assert_eq!(Selector::parse(text).as_ref().map(Selector::as_str), selector, "{text:?}");
        }
        let long = format!("_{}", "a".repeat(Domain::LABEL_OCTETS_MAX - 1));
        assert!(Selector::parse(&long).is_some());
        assert_eq!(Selector::parse(&format!("{long}a")), None);
        let domain = Domain::parse("example.com").unwrap();
        assert_eq!(Selector::parse("foo.bar").unwrap().key_name(&domain), "foo.bar._domainkey.example.com");
    }

    #[test]
    fn identities_are_decoded_and_hold_nothing_that_breaks_a_header_line() {
        for (value, identity) in [
            ("@eng.example.net", Some("@eng.example.net")),
            ("user=20name@Example.NET", Some("user name@example.net")),
            ("a\r\n b@example.net", Some("ab@example.net")),
            ("\"a@b\"@example.net", Some("\"a@b\"@example.net")),
            ("j\u{f6}rg@b\u{fc}cher.example", Some("j\u{f6}rg@xn--bcher-kva.example")),
            ("a=3Db=3b@example.net", Some("a=b;@example.net")),
            ("example.net", None),
            ("a@", None),
            ("a=0D=0AX:@example.net", None),
            ("a=00@example.net", None),
            ("a=4@example.net", None),
            ("a=zz@example.net", None),
            ("a=FF@example.net", None),
        ] {
            assert_eq!(Identity::parse(value).map(|identity| identity.to_string()).as_deref(), identity);
        }
    }
}

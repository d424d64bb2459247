//! Key records in the DNS (RFC 6376 §3.6.1, RFC 8463 §4.2).

use super::limits::KEY_RECORD_OCTETS_MAX;
use super::tags::{TagError, TagList, base64, elements};

/// `k=`: what the key is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Kind {
    /// A DER-encoded RSA public key.
    Rsa,
    /// The 32 octets of an Ed25519 public key.
    Ed25519,
}

impl Kind {
    /// The word in `k=`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Rsa => "rsa",
            Self::Ed25519 => "ed25519",
        }
    }
}

/// Why a text is no key record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// Over [`KEY_RECORD_OCTETS_MAX`].
    #[error("the key record is too long")]
    TooLong,
    /// Not a list of tags.
    #[error("{0}")]
    Tags(#[from] TagError),
    /// A version other than DKIM1, or one that isn't the first tag.
    #[error("the key record has another version")]
    Version,
    /// A kind of key that isn't implemented.
    #[error("the kind of key is unknown")]
    Kind,
    /// No `p=`.
    #[error("the key record has no key")]
    NoKey,
    /// `p=` is no base64.
    #[error("the key is not base64")]
    Base64,
}

/// A service that a key may be used for (`s=`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Service {
    /// Mail.
    Email,
    /// Reports of RFC 8460 §3, of which a domain may have keys that are for nothing else.
    TlsReports,
}

/// A key record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyRecord {
    /// `k=`.
    pub kind: Kind,
    /// `p=`, decoded. Empty: the key is revoked.
    pub key: Vec<u8>,
    /// Whether `h=` allows SHA-256.
    pub sha256: bool,
    /// Whether `s=` allows mail.
    pub email: bool,
    /// Whether `s=` allows reports on TLS.
    pub tls_reports: bool,
    /// `t=y`: the domain tests DKIM; signatures that fail mean nothing.
    pub testing: bool,
    /// `t=s`: the domain of `i=` must be that of `d=`.
    pub strict: bool,
}

impl KeyRecord {
    /// Parses the strings of a TXT record, put together without anything between them.
    pub fn parse(text: &[u8]) -> Result<Self, KeyError> {
        if text.len() > KEY_RECORD_OCTETS_MAX {
            return Err(KeyError::TooLong);
        }
        let tags = TagList::parse(text)?;
        if let Some(version) = tags.value("v") {
            let first = tags.iter().next().is_some_and(|tag| tag.name == "v");
            if version != "DKIM1" || !first {
                return Err(KeyError::Version);
            }
        }
        let kind = match tags.value("k") {
            None | Some("rsa") => Kind::Rsa,
            Some("ed25519") => Kind::Ed25519,
            Some(_) => return Err(KeyError::Kind),
        };
        let key = base64(tags.value("p").ok_or(KeyError::NoKey)?).ok_or(KeyError::Base64)?;
        let has = |name: &str, word: &str| {
            tags.value(name).is_some_and(|list| elements(list).any(|element| element == word))
        };
        let service = |word: &str| tags.value("s").is_none() || has("s", "*") || has("s", word);
        Ok(Self {
            kind,
            key,
            sha256: tags.value("h").is_none() || has("h", "sha256"),
            email: service("email"),
            tls_reports: service("tlsrpt"),
            testing: has("t", "y"),
            strict: has("t", "s"),
        })
    }

    /// Whether it may be used for a service.
    #[must_use]
    pub fn serves(&self, service: Service) -> bool {
        match service {
            Service::Email => self.email,
            Service::TlsReports => self.tls_reports,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use super::*;

    fn parse(text: &str) -> Result<KeyRecord, KeyError> {
        KeyRecord::parse(text.as_bytes())
    }

    #[test]
    fn what_is_left_away_has_its_default() {
        let record = parse("p=AAEC").unwrap();
        let all = KeyRecord {
            kind: Kind::Rsa,
            key: vec![0, 1, 2],
            sha256: true,
            email: true,
            tls_reports: true,
            testing: false,
            strict: false,
        };
        assert_eq!(record, all);
        assert_eq!(parse("v=DKIM1; h=*; p=AAEC").map(|record| record.sha256), Ok(false));
        assert_eq!(parse(" v = DKIM1 ; n=a note; g=*; p= AA EC ;"), Ok(all));
    }

    #[test]
    fn lists_hold_what_they_name() {
        let record = parse("v=DKIM1; k=ed25519; h=sha1 : sha256; s=email; t=y:s:x; p=").unwrap();
        assert!(record.sha256 && record.email && !record.tls_reports && record.testing && record.strict);
        assert_eq!((record.kind, record.key.len()), (Kind::Ed25519, 0));
        let record = parse("h=sha1; s=tlsrpt; t=; p=").unwrap();
        assert!(!record.sha256 && record.tls_reports && !record.testing && !record.strict);
        assert!(!record.serves(Service::Email) && record.serves(Service::TlsReports));
        assert!(parse("s=x:*; p=").unwrap().email);
        assert!(!parse("s=; p=").unwrap().email);
    }

    #[test]
    fn what_is_no_key_record_is_refused() {
        for (text, error) in [
            ("", KeyError::Tags(TagError::NoTag)),
            ("v=spf1 -all", KeyError::Version),
            ("v=DKIM1.0; p=", KeyError::Version),
            ("v=dkim1; p=", KeyError::Version),
            ("p=; v=DKIM1", KeyError::Version),
            ("v=DKIM1; k=RSA; p=", KeyError::Kind),
            ("k=; p=", KeyError::Kind),
            ("v=DKIM1; k=rsa;", KeyError::NoKey),
            ("p=@", KeyError::Base64),
            ("p=AAEC; p=AAEC", KeyError::Tags(TagError::Twice)),
            ("google-site-verification=x", KeyError::Tags(TagError::Name)),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_record_has_a_largest_length() {
        let record = |octets: usize| parse(&format!("p=;n={}", "x".repeat(octets - 5)));
        assert!(record(KEY_RECORD_OCTETS_MAX).is_ok());
        assert_eq!(record(KEY_RECORD_OCTETS_MAX + 1), Err(KeyError::TooLong));
    }

    #[test]
    fn fuzz_any_text_is_a_record_or_an_error() {
        let text =
            b"v=DKIM1; k=ed25519; h=sha256; s=email:*; t=y:s; n=x; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwI=";
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut below = |bound: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % bound as u64) as usize
        };
        let mut records = 0;
        for _ in 0..20_000 {
            let mut octets = text.to_vec();
            for _ in 0..=below(3) {
                let at = below(octets.len());
                match below(3) {
                    0 => octets[at] = below(256) as u8,
                    1 => octets[at] = b";=: vpkhst"[below(10)],
                    _ => octets.truncate(at + 1),
                }
            }
            if let Ok(record) = KeyRecord::parse(&octets) {
                records += 1;
                assert!(record.key.len() <= octets.len());
            }
        }
        assert!(records > 1_000, "{records}");
    }
}

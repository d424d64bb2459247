//! What the other server can do: the reply to EHLO (RFC 5321 §4.1.1.1) as a value.

use super::reply::Reply;
use crate::sasl::Mechanism;
use crate::smtp::server::Dialect;

/// A service extension without parameters that matter here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Extension {
    /// RFC 2920
    Pipelining,
    /// RFC 6152
    EightBitMime,
    /// RFC 3030
    Chunking,
    /// RFC 3030
    BinaryMime,
    /// RFC 6531
    SmtpUtf8,
    /// RFC 3461
    Dsn,
    /// RFC 2034
    EnhancedStatusCodes,
    /// RFC 3207
    StartTls,
    /// RFC 8689
    RequireTls,
    /// RFC 1870, with a limit or without.
    Size,
    /// RFC 4954
    Auth,
    /// RFC 9422
    Limits,
}

impl Extension {
    const ALL: [(&'static str, Self); 12] = [
        ("PIPELINING", Self::Pipelining),
        ("8BITMIME", Self::EightBitMime),
        ("CHUNKING", Self::Chunking),
        ("BINARYMIME", Self::BinaryMime),
        ("SMTPUTF8", Self::SmtpUtf8),
        ("DSN", Self::Dsn),
        ("ENHANCEDSTATUSCODES", Self::EnhancedStatusCodes),
        ("STARTTLS", Self::StartTls),
        ("REQUIRETLS", Self::RequireTls),
        ("SIZE", Self::Size),
        ("AUTH", Self::Auth),
        ("LIMITS", Self::Limits),
    ];
}

/// What the other side announced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// EHLO, or HELO, which announces nothing.
    pub dialect: Dialect,
    extensions: u16,
    /// The largest message; none when there is no limit or none is told.
    pub message_octets_max: Option<u64>,
    /// The mechanisms of AUTH that we know, in the order in which they were announced.
    pub mechanisms: Vec<Mechanism>,
    /// The most MAIL commands on a connection (RFC 9422, MAILMAX).
    pub mails_max: Option<u32>,
    /// The most RCPT commands for a message (RFC 9422, RCPTMAX).
    pub recipients_max: Option<u32>,
}

impl Capabilities {
    /// Those of a server that knows HELO only.
    #[must_use]
    pub const fn none(dialect: Dialect) -> Self {
        Self {
            dialect,
            extensions: 0,
            message_octets_max: None,
            mechanisms: Vec::new(),
            mails_max: None,
            recipients_max: None,
        }
    }

    /// Reads a reply to EHLO. What isn't known or isn't well-formed is not announced.
    #[must_use]
    pub fn parse(reply: &Reply) -> Self {
        let mut found = Self::none(Dialect::Esmtp);
        // The first line is the other side's name.
        reply.text().split('\n').skip(1).for_each(|line| found.line(line));
        found
    }

    /// Whether an extension was announced.
    #[must_use]
    pub const fn has(&self, extension: Extension) -> bool {
        self.extensions & (1 << extension as u8) != 0
    }

    fn line(&mut self, line: &str) {
        let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
        let Some(keyword) = words.next() else { return };
        // `AUTH=LOGIN` is from before the standard.
        let (keyword, first) = match keyword.split_once('=') {
            Some((keyword, first)) if keyword.eq_ignore_ascii_case("AUTH") => (keyword, Some(first)),
            _ => (keyword, None),
        };
        let known = Extension::ALL.iter().find(|(name, _)| name.eq_ignore_ascii_case(keyword));
        let Some((_, extension)) = known else { return };
        self.extensions |= 1 << *extension as u8;
        match extension {
            Extension::Size => {
                self.message_octets_max =
                    words.next().and_then(|text| text.parse().ok()).filter(|size| *size > 0);
            }
            Extension::Auth => {
                let offered = first.into_iter().chain(words);
                for mechanism in offered.filter_map(|name| Mechanism::parse(name.as_bytes())) {
                    if !self.mechanisms.contains(&mechanism) {
                        self.mechanisms.push(mechanism);
                    }
                }
            }
            Extension::Limits => words.for_each(|word| self.limit(word)),
            _ => {}
        }
    }

    /// `name=value`; a value has one to six digits and isn't zero. RCPTDOMAINMAX can't be passed: the recipients of
    /// a message are of one domain.
    fn limit(&mut self, word: &str) {
        let Some((name, value)) = word.split_once('=') else { return };
        let value =
            Some(value).filter(|value| value.len() <= 6 && value.bytes().all(|octet| octet.is_ascii_digit()));
        let value = value.and_then(|value| value.parse().ok()).filter(|value| *value > 0);
        if name.eq_ignore_ascii_case("MAILMAX") {
            self.mails_max = value;
        } else if name.eq_ignore_ascii_case("RCPTMAX") {
            self.recipients_max = value;
        }
    }
}

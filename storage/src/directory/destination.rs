//! What is set for an address of an account besides its mailbox: rules, and whether mail must be authenticated
//! (product 8.2, 8.6).

use std::fmt;

use postrider_proto::address::Domain;
use postrider_proto::imap::mailbox::MailboxName;
use regex::{Regex, RegexBuilder};

/// The longest regular expression, in octets.
const PATTERN_OCTETS_MAX: usize = 1024;
/// What an expression may take when it is compiled, in octets: `\w` alone takes some 60 kB.
const COMPILED_OCTETS_MAX: usize = 1 << 20;
/// What its automaton may remember while it is used, in octets.
const AUTOMATON_OCTETS_MAX: usize = 1 << 20;
/// The deepest nesting of an expression.
const NESTING_MAX: u32 = 50;
/// Conditions on fields of the header that one rule has at most.
const HEADERS_MAX: usize = 16;

/// What is set for an address of an account.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Destination {
    /// The first one that matches a message says what becomes of it.
    pub rules: Vec<MailRule>,
    /// When set, a message whose author nothing confirms is refused with this text.
    pub auth_required: Option<String>,
    /// Which reports of other servers are read from what comes here.
    pub reports: ReportKinds,
}

impl Destination {
    /// Whether nothing is set.
    pub const fn is_empty(&self) -> bool {
        self.decides_nothing() && self.reports.is_empty()
    }

    /// Whether nothing is set that says what becomes of a message.
    pub const fn decides_nothing(&self) -> bool {
        self.rules.is_empty() && self.auth_required.is_none()
    }

    /// Whether any rule looks at fields of the header.
    pub fn needs_header(&self) -> bool {
        self.rules.iter().any(|rule| !rule.headers.is_empty())
    }
}

/// Kinds of reports that other servers send about a domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReportKinds {
    /// Aggregate reports of DMARC (RFC 7489 §7.2).
    pub dmarc: bool,
    /// Reports of TLS (RFC 8460).
    pub tls: bool,
}

impl ReportKinds {
    /// Both, by their names in documents and commands.
    pub const NAMES: [&'static str; 2] = ["dmarc", "tls"];

    /// Whether none is meant.
    pub const fn is_empty(self) -> bool {
        !self.dmarc && !self.tls
    }

    /// What either of two means.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self { dmarc: self.dmarc || other.dmarc, tls: self.tls || other.tls }
    }

    /// Those that are meant, by name.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let all = Self::NAMES.into_iter().zip([self.dmarc, self.tls]);
        all.filter_map(|(name, is_meant)| is_meant.then_some(name))
    }

    /// The kinds of these names; the first one that is none is the error.
    pub fn parse<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> Result<Self, T> {
        names.into_iter().try_fold(Self::default(), |kinds, name| match name.as_ref() {
            "dmarc" => Ok(Self { dmarc: true, ..kinds }),
            "tls" => Ok(Self { tls: true, ..kinds }),
            _ => Err(name),
        })
    }

    /// As an octet of a row.
    pub const fn bits(self) -> u8 {
        self.dmarc as u8 | (self.tls as u8) << 1
    }

    /// The kinds of an octet; none for one with other bits.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits > 3 { None } else { Some(Self { dmarc: bits & 1 != 0, tls: bits & 2 != 0 }) }
    }
}

/// A condition, and what follows when a message fulfils it. All parts of the condition that are set must match, and
/// one at least is set.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MailRule {
    /// Matches the address in MAIL FROM, its domain in Unicode. A message without one doesn't match.
    pub mail_from: Option<Pattern>,
    /// Matches the address in the From field, its domain in Unicode.
    pub msg_from: Option<Pattern>,
    /// SPF, or a signature, passed for this domain or one below it.
    pub verified_domain: Option<Domain>,
    /// Each pair matches the name and the value of some field, both in lower case.
    pub headers: Vec<HeaderPattern>,
    /// Where the message goes; none is the mailbox of the address.
    pub mailbox: Option<MailboxName>,
    /// Who sends it forwards it for the account's owner: what the author's domain wants (DMARC) doesn't count.
    pub is_forward: bool,
    /// A mailing list: when exactly this domain is verified, the message is accepted whatever else speaks against it.
    pub list_allow_domain: Option<Domain>,
    /// Where a message goes, as read, that would be refused.
    pub accept_rejects_to: Option<MailboxName>,
    /// For people.
    pub comment: String,
}

/// A condition on a field of the header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeaderPattern {
    /// Of its name.
    pub name: Pattern,
    /// Of its value.
    pub value: Pattern,
}

/// Why a rule can't be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadRule {
    /// No part of the condition is set.
    #[error("it has no condition; set mail_from, msg_from, verified_domain or headers")]
    NoCondition,
    /// Anybody could claim to forward.
    #[error("is_forward needs mail_from and verified_domain, or else anybody could claim to forward")]
    UnverifiedForward,
    /// Who forwards is no mailing list.
    #[error("is_forward and list_allow_domain exclude each other")]
    ForwardOfList,
    /// Refused mail would look like any other.
    #[error("accept_rejects_to must be another mailbox than Inbox")]
    RejectsToInbox,
    /// More than [`HEADERS_MAX`].
    #[error("it has more than 16 conditions on fields of the header")]
    TooManyHeaders,
    /// A comment that is too long, or of several lines.
    #[error("the comment must have at most 1024 octets, and no control characters")]
    Comment,
}

impl MailRule {
    /// Says what is wrong with a rule.
    pub fn check(&self, comment_octets_max: usize) -> Result<(), BadRule> {
        let is_unconditional = self.mail_from.is_none()
            && self.msg_from.is_none()
            && self.verified_domain.is_none()
            && self.headers.is_empty();
        if is_unconditional {
            return Err(BadRule::NoCondition);
        }
        if self.is_forward && (self.mail_from.is_none() || self.verified_domain.is_none()) {
            return Err(BadRule::UnverifiedForward);
        }
        if self.is_forward && self.list_allow_domain.is_some() {
            return Err(BadRule::ForwardOfList);
        }
        if self.accept_rejects_to.as_ref().is_some_and(MailboxName::is_inbox) {
            return Err(BadRule::RejectsToInbox);
        }
        if self.headers.len() > HEADERS_MAX {
            return Err(BadRule::TooManyHeaders);
        }
        if self.comment.len() > comment_octets_max || self.comment.chars().any(char::is_control) {
            return Err(BadRule::Comment);
        }
        Ok(())
    }
}

/// A regular expression that was found right when it was set. It is searched for: without `^` and `$` it may match
/// anywhere. Searching takes time in proportion to the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Box<str>);

/// Why a text is no regular expression that can be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadPattern {
    /// Nothing at all, which would match everything.
    #[error("a regular expression must not be empty")]
    Empty,
    /// Longer than [`PATTERN_OCTETS_MAX`].
    #[error("a regular expression has at most 1024 octets")]
    TooLong,
    /// Control characters are written as escapes, such as `\t`.
    #[error("a regular expression has no control characters; write escapes such as \\t")]
    Control,
    /// It is large when it is compiled, for example by counted repetitions.
    #[error("the regular expression is too large when compiled; use smaller counts")]
    TooLarge,
    /// It isn't understood.
    #[error("no regular expression: {0}")]
    Syntax(String),
}

impl Pattern {
    /// Checks an expression, which takes up to some milliseconds.
    pub fn new(text: &str) -> Result<Self, BadPattern> {
        if text.is_empty() {
            return Err(BadPattern::Empty);
        }
        if text.len() > PATTERN_OCTETS_MAX {
            return Err(BadPattern::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(BadPattern::Control);
        }
        let pattern = Self(text.into());
        pattern.compile()?;
        Ok(pattern)
    }

    /// One that was checked when it was stored.
    pub(super) fn stored(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.into()))
    }

    /// The expression.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Makes it ready for use, which takes up to some milliseconds.
    pub fn compile(&self) -> Result<Matcher, BadPattern> {
        let regex = RegexBuilder::new(&self.0)
            .size_limit(COMPILED_OCTETS_MAX)
            .dfa_size_limit(AUTOMATON_OCTETS_MAX)
            .nest_limit(NESTING_MAX)
            .build();
        regex.map(Matcher).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => BadPattern::TooLarge,
            // Several lines that show where, of which the last one says what.
            error => {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default();
                BadPattern::Syntax(last.strip_prefix("error: ").unwrap_or(last).to_owned())
            }
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.0)
    }
}

/// A pattern that is ready for use.
pub struct Matcher(Regex);

impl Matcher {
    /// Whether it matches anywhere in `text`.
    pub fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn patterns_are_checked_when_they_are_set() {
        let longest = "a".repeat(PATTERN_OCTETS_MAX);
        pattern(&longest);
        for (text, said) in [
            ("", "must not be empty"),
            (&*format!("{longest}a"), "at most 1024 octets"),
            ("a\nb", "no control characters"),
            ("(a", "no regular expression: unclosed group"),
            (r"(a)\1", "backreferences"),
            ("(?:a{1000}){1000}", "too large when compiled"),
            (r"\w{1000}", "too large when compiled"),
            (&"(".repeat(300), "no regular expression"),
            (&format!("{}a{}", "(".repeat(60), ")".repeat(60)), "no regular expression"),
        ] {
            let error = Pattern::new(text).map(drop).map_err(|error| error.to_string());
            assert!(error.as_ref().is_err_and(|error| error.contains(said)), "{text:.20}: {error:?}");
        }
    }

    #[test]
    fn patterns_are_searched_for_with_case_and_unicode() {
        for (text, subject, matches) in [
            (r"@list\.example$", "a@list.example", true),
            (r"^list\.example$", "a@list.example", false),
            (r"^[\w.+-]+@bücher\.example$", "jörg.w@bücher.example", true),
            ("(?i)NEWS", "news@x.example", true),
            ("NEWS", "news@x.example", false),
        ] {
            let matcher = pattern(text).compile();
            assert_eq!(matcher.map(|matcher| matcher.is_match(subject)), Ok(matches), "{text} {subject}");
        }
    }

    #[test]
    fn rules_are_checked() {
        let domain = Domain::parse("x.example").ok();
        let usual = MailRule { verified_domain: domain.clone(), ..MailRule::default() };
        let header = HeaderPattern { name: pattern("a"), value: pattern("b") };
        let forward = MailRule { mail_from: Some(pattern("a")), is_forward: true, ..usual.clone() };
        let inbox = Some(MailboxName::inbox());
        let full = MailRule { headers: vec![header.clone(); HEADERS_MAX], ..MailRule::default() };
        for (rule, expected) in [
            (usual.clone(), Ok(())),
            (forward.clone(), Ok(())),
            (full, Ok(())),
            (
                MailRule { headers: vec![header; HEADERS_MAX + 1], ..MailRule::default() },
                Err(BadRule::TooManyHeaders),
            ),
            (MailRule { mailbox: inbox.clone(), ..MailRule::default() }, Err(BadRule::NoCondition)),
            (MailRule { is_forward: true, ..usual.clone() }, Err(BadRule::UnverifiedForward)),
            (MailRule { verified_domain: None, ..forward.clone() }, Err(BadRule::UnverifiedForward)),
            (MailRule { list_allow_domain: domain, ..forward }, Err(BadRule::ForwardOfList)),
            (MailRule { accept_rejects_to: inbox, ..usual.clone() }, Err(BadRule::RejectsToInbox)),
            (MailRule { comment: "12345678".into(), ..usual.clone() }, Ok(())),
            (MailRule { comment: "123456789".into(), ..usual.clone() }, Err(BadRule::Comment)),
            (MailRule { comment: "a\nb".into(), ..usual }, Err(BadRule::Comment)),
        ] {
            assert_eq!(rule.check(8), expected, "{rule:?}");
        }
    }
}

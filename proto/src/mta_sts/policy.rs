//! The policy (RFC 8461 §3.2, §4.1).

use std::fmt;

use crate::address::Domain;

/// Octets of the name of a field.
const NAME_OCTETS_MAX: usize = 32;
/// Digits of `max_age`.
const AGE_DIGITS_MAX: usize = 10;

/// What is done with a host that the policy doesn't allow, or whose TLS isn't in order (RFC 8461 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Nothing is delivered to it.
    Enforce,
    /// It is reported.
    Testing,
    /// As if there were no policy.
    None,
}

impl Mode {
    /// The word for it in policies, reports and JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Testing => "testing",
            Self::None => "none",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Enforce, Self::Testing, Self::None].into_iter().find(|mode| mode.word() == word)
    }
}

/// A mail host that is allowed, or all whose names have one label more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// Whether it began with `*.`.
    pub is_wildcard: bool,
    /// The name, without the asterisk.
    pub domain: Domain,
}

impl Pattern {
    /// Parses a value of `mx`: names are A-labels.
    fn parse(text: &str) -> Option<Self> {
        let (is_wildcard, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let domain = Domain::parse(name).ok().filter(|_| name.is_ascii())?;
        Some(Self { is_wildcard, domain })
    }

    /// Whether it allows a host (RFC 8461 §4.1): the asterisk stands for exactly one label.
    #[must_use]
    pub fn matches(&self, host: &Domain) -> bool {
        let name = host.as_str();
        let name = if self.is_wildcard { name.split_once('.').map(|(_, above)| above) } else { Some(name) };
        name == Some(self.domain.as_str())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.is_wildcard { "*." } else { "" }, self.domain)
    }
}

/// Why a text is no policy: the domain counts as one without a policy then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Over [`Policy::OCTETS_MAX`].
    #[error("the policy is over {max} octets", max = Policy::OCTETS_MAX)]
    TooLong,
    /// Octets that are not UTF-8, or a control character.
    #[error("the policy is not text")]
    NoText,
    /// A line that isn't `name: value`.
    #[error("line {0} is not \"name: value\"")]
    Line(usize),
    /// A field that must be there.
    #[error("the field {0} is missing")]
    Missing(&'static str),
    /// A value that the field can't have.
    #[error("the value of {0} is not valid")]
    Value(&'static str),
    /// More than [`Policy::PATTERNS_MAX`] hosts.
    #[error("more than {max} mx fields", max = Policy::PATTERNS_MAX)]
    TooMany,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What is done with hosts that it doesn't allow.
    pub mode: Mode,
    /// For how many seconds it may be kept, at most [`Policy::MAX_AGE_MAX`].
    pub max_age: u32,
    /// Hosts that are allowed; none at all only with [`Mode::None`].
    pub patterns: Vec<Pattern>,
}

impl Policy {
    /// The longest policy that is read (RFC 8461 §3.3 suggests it).
    pub const OCTETS_MAX: usize = 64 * 1024;
    /// Hosts of a policy.
    pub const PATTERNS_MAX: usize = 1000;
    /// The longest time for which a policy is kept, in seconds (RFC 8461 §3.2): a year. More counts as that.
    pub const MAX_AGE_MAX: u32 = 31_557_600;

    /// Parses the content of the resource. Of a field other than `mx` that stands there twice the first counts,
    /// whatever the others are; fields that aren't known are passed over.
    ///
    /// Deviation: the grammar has no empty lines. They are passed over, because files that people write end in some.
    pub fn parse(octets: &[u8]) -> Result<Self, PolicyError> {
        if octets.len() > Self::OCTETS_MAX {
            return Err(PolicyError::TooLong);
        }
        let text = std::str::from_utf8(octets).map_err(|_| PolicyError::NoText)?;
        let (mut version, mut mode, mut max_age, mut patterns) = (None, None, None, Vec::new());
        for (number, line) in text.split('\n').enumerate() {
            let line = line.strip_suffix('\r').unwrap_or(line).trim_end_matches([' ', '\t']);
            if line.contains(char::is_control) {
                return Err(PolicyError::NoText);
            }
            if line.is_empty() {
                continue;
            }
            let (name, value) = split(line).ok_or(PolicyError::Line(number + 1))?;
            match name {
                "version" => version = version.or(Some(value)),
                "mode" => mode = mode.or(Some(value)),
                "max_age" => max_age = max_age.or(Some(value)),
                "mx" if patterns.len() == Self::PATTERNS_MAX => return Err(PolicyError::TooMany),
                "mx" => patterns.push(Pattern::parse(value).ok_or(PolicyError::Value("mx"))?),
                _ => {}
            }
        }
        if version.ok_or(PolicyError::Missing("version"))? != "STSv1" {
            return Err(PolicyError::Value("version"));
        }
        let mode = mode.ok_or(PolicyError::Missing("mode"))?;
        let mode = Mode::from_word(mode).ok_or(PolicyError::Value("mode"))?;
        let max_age = max_age.ok_or(PolicyError::Missing("max_age"))?;
        let max_age = parse_age(max_age).ok_or(PolicyError::Value("max_age"))?;
        if patterns.is_empty() && mode != Mode::None {
            return Err(PolicyError::Missing("mx"));
        }
        Ok(Self { mode, max_age, patterns })
    }

    /// Whether a host is one that the policy allows.
    #[must_use]
    pub fn allows(&self, host: &Domain) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(host))
    }
}

fn parse_age(text: &str) -> Option<u32> {
    let is_number =
        (1..=AGE_DIGITS_MAX).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_digit());
    let seconds: u64 = text.parse().ok().filter(|_| is_number)?;
    Some(u32::try_from(seconds).unwrap_or(u32::MAX).min(Policy::MAX_AGE_MAX))
}

/// Splits `name ":" value`, known or not. An empty value is one that no field can have.
fn split(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(':')?;
    let may_stand = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'_' | b'-' | b'.');
    let is_name = name.len() <= NAME_OCTETS_MAX
        && name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && name.bytes().all(may_stand);
    is_name.then(|| (name, value.trim_start_matches([' ', '\t'])))
}

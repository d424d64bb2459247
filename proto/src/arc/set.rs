//! The fields of one set (RFC 8617 §4.1, §4.2).

use crate::dkim::limits::ARC_SETS_MAX;
use crate::dkim::signature::{Canonicalization, Content, Core, Names, SignatureError, list};
use crate::dkim::tags::TagList;

/// The number of a set, from 1, which is the oldest, to 50 (RFC 8617 §4.2.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Instance(u8);

impl Instance {
    /// The oldest set.
    pub const FIRST: Self = Self(1);

    /// The set of that number.
    #[must_use]
    pub fn new(number: u8) -> Option<Self> {
        (1..=ARC_SETS_MAX).contains(&number).then_some(Self(number))
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = matches!(text.len(), 1 | 2) && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten().and_then(Self::new)
    }

    fn from_tags(tags: &TagList<'_>) -> Result<Self, SignatureError> {
        let text = tags.value("i").ok_or(SignatureError::Missing("i"))?;
        Self::parse(text).ok_or(SignatureError::Value("i"))
    }

    /// The instance of the value of an ARC-Message-Signature or ARC-Seal, whatever else is wrong with it.
    pub fn of_signature(value: &[u8]) -> Result<Self, SignatureError> {
        Self::from_tags(&list(value)?)
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }

    /// The one after it, if there may be one more.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        Self::new(self.0 + 1)
    }
}

/// What a sealer found of the chain before it (`cv=`, RFC 8617 §4.4), and what a validator finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum ChainStatus {
    /// There is no chain.
    None,
    /// The chain is valid.
    Pass,
    /// The chain isn't valid; it counts as none.
    Fail,
}

impl ChainStatus {
    /// The word in `cv=` and in Authentication-Results.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::None, Self::Pass, Self::Fail]
            .into_iter()
            .find(|status| status.word().eq_ignore_ascii_case(word))
    }
}

/// An ARC-Seal: a signature over the fields of the sets up to its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seal {
    /// `i=`.
    pub instance: Instance,
    /// What every signature has.
    pub core: Core,
    /// `cv=`.
    pub status: ChainStatus,
}

impl Seal {
    /// What the value of a field says of the chain, whatever else is wrong with it.
    pub(crate) fn claims(value: &[u8]) -> Option<ChainStatus> {
        list(value).ok()?.value("cv").and_then(ChainStatus::from_word)
    }

    /// Parses what stands after the colon. `h=` must not be there (RFC 8617 §4.1.3).
    pub fn parse(value: &[u8]) -> Result<Self, SignatureError> {
        let tags = list(value)?;
        let instance = Instance::from_tags(&tags)?;
        if tags.value("h").is_some() {
            return Err(SignatureError::Value("h"));
        }
        let status = tags.value("cv").ok_or(SignatureError::Missing("cv"))?;
        let status = ChainStatus::from_word(status).ok_or(SignatureError::Value("cv"))?;
        Ok(Self { instance, core: Core::from_tags(&tags)?, status })
    }
}

/// An ARC-Message-Signature: a signature over the message as it left a handler.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MessageSignature {
    /// `i=`.
    pub instance: Instance,
    /// What every signature has.
    pub core: Core,
    /// What it says of the content.
    pub content: Content,
}

impl MessageSignature {
    /// Parses what stands after the colon. A version is ignored (RFC 8617 §4.1.2), and neither From nor any
    /// other field need be signed: the suite of the standard's authors has it so, and who sealed is what
    /// counts. It must not sign seals: they are added after it. Other ARC fields in `h=` are against the
    /// rules for sealers, too, but sealers have them, and they do no harm.
    pub fn parse(value: &[u8]) -> Result<Self, SignatureError> {
        let tags = list(value)?;
        let instance = Instance::from_tags(&tags)?;
        let core = Core::from_tags(&tags)?;
        // Deviation: RFC 8617 §4.1.2 takes the defaults of DKIM, and with them "simple". Sealers that leave
        // `c=` away mean "relaxed", and other validators and the suite of the standard's authors agree.
        let content = Content::from_tags(&tags, Names::MayBeEmpty, Canonicalization::RELAXED)?;
        if content.fields.iter().any(|field| field.eq_ignore_ascii_case(super::SEAL)) {
            return Err(SignatureError::Value("h"));
        }
        content.check_times(core.timestamp)?;
        Ok(Self { instance, core, content })
    }
}

/// The instance of the value of an ARC-Authentication-Results, and what follows its semicolon: results as in
/// an Authentication-Results field (RFC 8617 §4.1.1).
#[must_use]
pub fn results_instance(value: &[u8]) -> Option<(Instance, &[u8])> {
    let rest = skip_white_space_and_comments(value)?.strip_prefix(b"i")?;
    let rest = skip_white_space_and_comments(rest)?.strip_prefix(b"=")?;
    let rest = skip_white_space_and_comments(rest)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = rest.split_at(digits);
    let instance = Instance::parse(std::str::from_utf8(number).ok()?)?;
    let payload = skip_white_space_and_comments(rest)?.strip_prefix(b";")?;
    Some((instance, payload))
}

/// Skips CFWS (RFC 5322 §3.2.2). None where a comment doesn't end.
fn skip_white_space_and_comments(text: &[u8]) -> Option<&[u8]> {
    let mut depth = 0usize;
    let mut rest = text;
    while let Some(first) = rest.first() {
        let mut length = 1;
        match first {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b'(' => depth += 1,
            b')' if depth > 0 => depth -= 1,
            b'\\' if depth > 0 => length = 2,
            _ if depth > 0 => {}
            _ => break,
        }
        rest = rest.get(length..)?;
    }
    (depth == 0).then_some(rest)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use super::*;

    #[test]
    fn instances_are_one_to_fifty() {
        let parse = |text: &str| Instance::parse(text).map(Instance::number);
        assert_eq!(parse("1"), Some(1));
        assert_eq!(parse("01"), Some(1));
        assert_eq!(parse("50"), Some(50));
        for text in ["", "0", "51", "99", "100", "001", "+1", "1 ", "a"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        assert_eq!(Instance::new(49).unwrap().next().map(Instance::number), Some(50));
        assert_eq!(Instance::new(50).unwrap().next(), None);
    }

    #[test]
    fn results_begin_with_their_instance() {
        let parse = |text: &'static str| {
            results_instance(text.as_bytes()).map(|(instance, rest)| (instance.number(), rest.len()))
        };
        assert_eq!(parse(" i=1; a"), Some((1, 2)));
        assert_eq!(parse("\r\n (a (b\\)) ;) i (x) = 12 () ;\r\n a\r\n"), Some((12, 6)));
        assert_eq!(parse("i=1;"), Some((1, 0)));
        for text in
            ["", "i", "i=", "i=;", "i=0;", "i=51;", "i=1", "j=1;", "(i=1;", "i=1 x;", "I=1;", "i=1(\\"]
        {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_seal_has_no_signed_fields_and_a_status() {
        let seal =
            |rest: &str| Seal::parse(format!("i=1; a=rsa-sha256; d=a.b; s=c; b=AA==; {rest}").as_bytes());
        assert_eq!(seal("cv=none; t=1; x=y; v=9").unwrap().status, ChainStatus::None);
        assert_eq!(seal("cv=PASS").unwrap().status, ChainStatus::Pass);
        assert_eq!(seal("cv=none; h=from"), Err(SignatureError::Value("h")));
        assert_eq!(seal("cv="), Err(SignatureError::Value("cv")));
        assert_eq!(seal("t=1"), Err(SignatureError::Missing("cv")));
    }

    #[test]
    fn a_message_signature_signs_no_seals() {
        let signature = |fields: &str| {
            let text = format!("i=1; v=7; a=rsa-sha256; d=a.b; s=c; b=AA==; bh=AA==; h={fields}");
            MessageSignature::parse(text.as_bytes()).map(|signature| signature.content.fields.len())
        };
        assert_eq!(signature("to:arc-authentication-results"), Ok(2));
        assert_eq!(signature(""), Ok(1));
        assert_eq!(signature("from:ARC-Seal"), Err(SignatureError::Value("h")));
    }
}

//! Macro strings (RFC 7208 §7): what stands between the terms' names and their ends, and its expansion.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// The longest name in DNS, as text without the dot at its end (RFC 7208 §7.3).
const NAME_OCTETS_MAX: usize = 253;

/// What a macro stands for (RFC 7208 §7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Letter {
    /// `s`: the sender, local part and domain.
    Sender,
    /// `l`: the local part of the sender.
    LocalPart,
    /// `o`: the domain of the sender.
    SenderDomain,
    /// `d`: the domain whose record is being evaluated.
    Domain,
    /// `i`: the client's address, made of labels.
    Address,
    /// `p`: the validated name of the client.
    ValidatedName,
    /// `v`: `in-addr` or `ip6`.
    Version,
    /// `h`: the name in HELO or EHLO.
    Helo,
    /// `c`: the client's address for people; in explanations alone.
    ReadableAddress,
    /// `r`: who checks; in explanations alone.
    Receiver,
    /// `t`: seconds since 1970; in explanations alone.
    Time,
}

const LETTERS: [(u8, Letter); 11] = [
    (b's', Letter::Sender),
    (b'l', Letter::LocalPart),
    (b'o', Letter::SenderDomain),
    (b'd', Letter::Domain),
    (b'i', Letter::Address),
    (b'p', Letter::ValidatedName),
    (b'v', Letter::Version),
    (b'h', Letter::Helo),
    (b'c', Letter::ReadableAddress),
    (b'r', Letter::Receiver),
    (b't', Letter::Time),
];

impl Letter {
    fn parse(octet: u8) -> Option<Self> {
        let lower = octet.to_ascii_lowercase();
        LETTERS.iter().find(|(letter, _)| *letter == lower).map(|(_, meaning)| *meaning)
    }

    fn octet(self) -> u8 {
        LETTERS.iter().find(|(_, meaning)| *meaning == self).map_or(b'?', |(letter, _)| *letter)
    }

    /// Whether it means something in explanations alone (RFC 7208 §7.2).
    fn is_of_explanations(self) -> bool {
        matches!(self, Self::ReadableAddress | Self::Receiver | Self::Time)
    }
}

/// Why a text is no macro string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MacroError {
    /// Nothing stands where a domain is needed.
    #[error("a domain is missing")]
    Empty,
    /// White space, a control character or an octet beyond ASCII.
    #[error("a character that may not stand here")]
    Character,
    /// `%` without `{`, `%`, `_` or `-` after it.
    #[error("% without a macro")]
    Percent,
    /// `%{` without `}`, or with something else before it than RFC 7208 §7.1 allows.
    #[error("a macro that is not %{{letter digits r delimiters}}")]
    Macro,
    /// `%{c}`, `%{r}` or `%{t}` in a record.
    #[error("a macro that may stand in explanations alone")]
    ExplanationsAlone,
    /// The number of parts is 0.
    #[error("a macro that keeps no part")]
    NoParts,
    /// What is no macro at the end is not `.` and a top-level label.
    #[error("a domain that ends in no top-level label")]
    TopLabel,
}

/// Why a name can't be made: a macro of it has a local part beyond ASCII (RFC 8616 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the local part is not ASCII")]
pub struct NotAscii;

/// What macros expand to.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// The local part of the sender, `postmaster` when it has none.
    pub local_part: &'a str,
    /// The domain of the sender.
    pub sender_domain: &'a str,
    /// The domain whose record is evaluated.
    pub domain: &'a str,
    /// The client; never an IPv4 address mapped to IPv6.
    pub address: IpAddr,
    /// The validated name of the client; `unknown` when there is none.
    pub validated_name: &'a str,
    /// The name in HELO or EHLO.
    pub helo: &'a str,
    /// The name of who checks; `unknown` when it is not to be told.
    pub receiver: &'a str,
    /// The time of the check, in seconds since 1970.
    pub unix_seconds: u64,
}

impl Values<'_> {
    fn of(&self, letter: Letter) -> Cow<'_, str> {
        match letter {
            Letter::Sender => format!("{}@{}", self.local_part, self.sender_domain).into(),
            Letter::LocalPart => self.local_part.into(),
            Letter::SenderDomain => self.sender_domain.into(),
            Letter::Domain => self.domain.into(),
            Letter::Address => match self.address {
                IpAddr::V4(address) => address.to_string().into(),
                IpAddr::V6(address) => nibbles(address).into(),
            },
            Letter::ValidatedName => self.validated_name.into(),
            Letter::Version => if self.address.is_ipv4() { "in-addr" } else { "ip6" }.into(),
            Letter::Helo => self.helo.into(),
            Letter::ReadableAddress => self.address.to_string().into(),
            Letter::Receiver => self.receiver.into(),
            Letter::Time => self.unix_seconds.to_string().into(),
        }
    }
}

/// The 32 digits of an address with dots between them. Upper case is what the reference test suite expects in
/// explanations; DNS has no case.
fn nibbles(address: Ipv6Addr) -> String {
    let mut text = String::with_capacity(63);
    for octet in address.octets() {
        for nibble in [octet >> 4, octet & 15] {
            if !text.is_empty() {
                text.push('.');
            }
            text.extend(char::from_digit(nibble.into(), 16).map(|digit| digit.to_ascii_uppercase()));
        }
    }
    text
}

/// `%{...}`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Expand {
    letter: Letter,
    /// Upper case: percent-encoded for a URL.
    escaped: bool,
    /// How many parts at the right are kept; 0: all.
    parts: u32,
    reversed: bool,
    delimiters: Delimiters,
}

impl Expand {
    fn apply(self, values: &Values<'_>) -> String {
        let value = values.of(self.letter);
        let mut text = if self.parts == 0 && !self.reversed && self.delimiters.is_default() {
            value.into_owned()
        } else {
            self.transform(&value)
        };
        if self.escaped {
            text = percent_encode(&text);
        }
        text
    }

    fn transform(self, value: &str) -> String {
        let mut parts: Vec<&str> = value.split(|c| self.delimiters.has(c)).collect();
        if self.reversed {
            parts.reverse();
        }
        let kept = usize::try_from(self.parts).unwrap_or(usize::MAX);
        let skipped = if kept == 0 { 0 } else { parts.len().saturating_sub(kept) };
        parts[skipped..].join(".")
    }
}

/// Characters of RFC 3986 §2.3 stay, all others are encoded.
fn percent_encode(text: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len());
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            out.push(octet.into());
        } else {
            let digit = |at: u8| char::from(DIGITS[usize::from(at)]);
            out.extend(['%', digit(octet >> 4), digit(octet & 15)]);
        }
    }
    out
}

/// Characters at which a value is cut; none given means dots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
struct Delimiters(u8);

const DELIMITERS: &[u8; 7] = b".-+,/_=";

impl Delimiters {
    /// Whether `octet` was one, which is then added.
    fn add(&mut self, octet: u8) -> bool {
        let at = DELIMITERS.iter().position(|known| *known == octet);
        if let Some(at) = at {
            self.0 |= 1 << at;
        }
        at.is_some()
    }

    fn is_default(self) -> bool {
        self.0 == 0
    }

    fn has(self, c: char) -> bool {
        if self.is_default() {
            return c == '.';
        }
        DELIMITERS.iter().enumerate().any(|(at, known)| self.0 & (1 << at) != 0 && char::from(*known) == c)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Box<str>),
    Expand(Expand),
    /// `%%`
    Percent,
    /// `%_`
    Space,
    /// `%-`
    EncodedSpace,
}

impl Part {
    fn value(&self, values: &Values<'_>) -> Cow<'_, str> {
        match self {
            Self::Literal(text) => Cow::Borrowed(text),
            Self::Expand(expand) => expand.apply(values).into(),
            Self::Percent => "%".into(),
            Self::Space => " ".into(),
            Self::EncodedSpace => "%20".into(),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(text) => f.write_str(text),
            Self::Percent => f.write_str("%%"),
            Self::Space => f.write_str("%_"),
            Self::EncodedSpace => f.write_str("%-"),
            Self::Expand(expand) => {
                let letter = char::from(expand.letter.octet());
                let letter = if expand.escaped { letter.to_ascii_uppercase() } else { letter };
                write!(f, "%{{{letter}")?;
                if expand.parts > 0 {
                    write!(f, "{}", expand.parts)?;
                }
                if expand.reversed {
                    f.write_str("r")?;
                }
                for (at, delimiter) in DELIMITERS.iter().enumerate() {
                    if expand.delimiters.0 & (1 << at) != 0 {
                        write!(f, "{}", char::from(*delimiter))?;
                    }
                }
                f.write_str("}")
            }
        }
    }
}

/// Where a macro string stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Record,
    Explanation,
}

/// Reads `*( macro-expand / macro-literal )`, with spaces in explanations.
fn parse(text: &[u8], place: Place) -> Result<Box<[Part]>, MacroError> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(&first) = rest.first() {
        if first == b'%' {
            let (part, after) = parse_expand(&rest[1..], place)?;
            parts.push(part);
            rest = after;
            continue;
        }
        let end = rest.iter().position(|octet| *octet == b'%').unwrap_or(rest.len());
        let (literal, after) = rest.split_at(end);
        let may_stand =
            |octet: &u8| octet.is_ascii_graphic() || (place == Place::Explanation && *octet == b' ');
        if !literal.iter().all(may_stand) {
            return Err(MacroError::Character);
        }
        parts.push(Part::Literal(String::from_utf8_lossy(literal).into()));
        rest = after;
    }
    Ok(parts.into())
}

/// Reads what follows a `%`.
fn parse_expand(text: &[u8], place: Place) -> Result<(Part, &[u8]), MacroError> {
    let inside = match text {
        [b'%', rest @ ..] => return Ok((Part::Percent, rest)),
        [b'_', rest @ ..] => return Ok((Part::Space, rest)),
        [b'-', rest @ ..] => return Ok((Part::EncodedSpace, rest)),
        [b'{', rest @ ..] => rest,
        _ => return Err(MacroError::Percent),
    };
    let [name, inside @ ..] = inside else { return Err(MacroError::Macro) };
    let letter = Letter::parse(*name).ok_or(MacroError::Macro)?;
    if place == Place::Record && letter.is_of_explanations() {
        return Err(MacroError::ExplanationsAlone);
    }
    let digits = inside.iter().position(|octet| !octet.is_ascii_digit()).unwrap_or(inside.len());
    let (digits, mut rest) = inside.split_at(digits);
    // A number that doesn't fit keeps all parts anyway.
    let parts = digits
        .iter()
        .fold(0_u32, |number, digit| number.saturating_mul(10).saturating_add(u32::from(digit - b'0')));
    if !digits.is_empty() && parts == 0 {
        return Err(MacroError::NoParts);
    }
    let mut reversed = false;
    if let [b'r' | b'R', after @ ..] = rest {
        (reversed, rest) = (true, after);
    }
    let mut delimiters = Delimiters::default();
    while let [octet, after @ ..] = rest {
        if *octet == b'}' {
            let escaped = name.is_ascii_uppercase();
            return Ok((Part::Expand(Expand { letter, escaped, parts, reversed, delimiters }), after));
        }
        if !delimiters.add(*octet) {
            break;
        }
        rest = after;
    }
    Err(MacroError::Macro)
}

/// `domain-spec`: a name, maybe with macros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainSpec(Box<[Part]>);

impl DomainSpec {
    /// Parses the text of a term.
    pub fn parse(text: &[u8]) -> Result<Self, MacroError> {
        let parts = parse(text, Place::Record)?;
        match parts.last() {
            None => Err(MacroError::Empty),
            Some(Part::Literal(end)) if !ends_in_top_label(end) => Err(MacroError::TopLabel),
            Some(_) => Ok(Self(parts)),
        }
    }

    /// Whether a macro with this letter is in it.
    #[must_use]
    pub fn has(&self, letter: Letter) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Expand(expand) if expand.letter == letter))
    }

    /// The target name: without a dot at its end, and cut from the left to 253 octets, label by label (RFC
    /// 7208 §7.3). Whether each label is one is left to the caller.
    pub fn target_name(&self, values: &Values<'_>) -> Result<String, NotAscii> {
        if !values.local_part.is_ascii() && (self.has(Letter::Sender) || self.has(Letter::LocalPart)) {
            return Err(NotAscii);
        }
        // From the right, and no more than can be kept: a record of a hundred macros costs no more than one.
        let mut pieces = Vec::new();
        let mut length = 0;
        for part in self.0.iter().rev() {
            let piece = part.value(values);
            length += piece.len();
            pieces.push(piece);
            // One for the dot at the end, one for the dot before what is kept.
            if length > NAME_OCTETS_MAX + 2 {
                break;
            }
        }
        pieces.reverse();
        let name = pieces.concat();
        let name = name.strip_suffix('.').unwrap_or(&name);
        // Other macros are of names, which are ASCII; whatever isn't can't be asked for.
        if !name.is_ascii() {
            return Err(NotAscii);
        }
        Ok(cut_from_the_left(name).into())
    }
}

/// Drops labels at the left until the name fits.
fn cut_from_the_left(name: &str) -> &str {
    let mut kept = name;
    while kept.len() > NAME_OCTETS_MAX {
        // A label that fills it alone is kept for the caller to refuse.
        let Some((_, rest)) = kept.split_once('.') else { return kept };
        kept = rest;
    }
    kept
}

/// Whether literal text ends in `"." toplabel [ "." ]`.
fn ends_in_top_label(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let Some((_, label)) = text.rsplit_once('.') else { return false };
    let octets = label.as_bytes();
    let (Some(first), Some(last)) = (octets.first(), octets.last()) else { return false };
    octets.iter().all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-')
        && first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && octets.iter().any(|octet| !octet.is_ascii_digit())
}

impl fmt::Display for DomainSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| part.fmt(f))
    }
}

/// The value of a modifier that nobody knows: a macro string of any kind.
pub(super) fn check_unknown(text: &[u8]) -> Result<(), MacroError> {
    // Its letters may be those of explanations: who defined it knows.
    parse(text, Place::Explanation).map(drop)
}

/// `explain-string`: what a domain says of a failure (RFC 7208 §6.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainString(Box<[Part]>);

impl ExplainString {
    /// The longest explanation; what is over is cut off.
    pub const OCTETS_MAX: usize = 800;

    /// Parses the text of an explanation's record.
    pub fn parse(text: &[u8]) -> Result<Self, MacroError> {
        parse(text, Place::Explanation).map(Self)
    }

    /// Whether a macro with this letter is in it.
    #[must_use]
    pub fn has(&self, letter: Letter) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Expand(expand) if expand.letter == letter))
    }

    /// The explanation: printable ASCII, so that it can be a part of an SMTP reply (RFC 7208 §6.2), and at most
    /// [`ExplainString::OCTETS_MAX`] long.
    pub fn expand(&self, values: &Values<'_>) -> Result<String, NotAscii> {
        let mut text = String::new();
        for part in &self.0 {
            text.push_str(&part.value(values));
            if text.len() > Self::OCTETS_MAX {
                break;
            }
        }
        if !text.bytes().all(|octet| octet.is_ascii_graphic() || octet == b' ') {
            return Err(NotAscii);
        }
        text.truncate(Self::OCTETS_MAX);
        Ok(text)
    }
}

impl fmt::Display for ExplainString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| part.fmt(f))
    }
}

//! The text form of a script.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::rdata::tlsa::{CertUsage, Matching, Selector};
use hickory_proto::rr::rdata::{CNAME, MX, NS, PTR, SRV, TLSA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::{Failure, Scope, Script};
use crate::answer::{Authenticity, ExtendedError};

/// Seconds that an answer may be kept when the script doesn't say so.
pub(super) const TTL_DEFAULT: u32 = 300;
/// Octets of a character-string (RFC 1035 §3.3).
const STRING_OCTETS_MAX: usize = 255;

/// A script that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the script: {what}")]
pub struct ScriptError {
    /// Number of the line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

/// A word of a line, escapes resolved where it doesn't become a name.
struct Word {
    /// As written, without quotes.
    raw: String,
    /// The octets that it means (RFC 1035 §5.1, `\X` and `\DDD`).
    octets: Vec<u8>,
    quoted: bool,
}

struct Reader<'a> {
    script: &'a mut Script,
    origin: Name,
    ttl: u32,
    owner: Option<Name>,
}

pub(super) fn read(script: &mut Script, text: &str) -> Result<(), ScriptError> {
    let mut reader = Reader { script, origin: Name::root(), ttl: TTL_DEFAULT, owner: None };
    for (index, line) in text.lines().enumerate() {
        reader.line(line).map_err(|what| ScriptError { line: index + 1, what })?;
    }
    Ok(())
}

impl Reader<'_> {
    fn line(&mut self, line: &str) -> Result<(), String> {
        let words = split(line)?;
        let Some(first) = words.first() else { return Ok(()) };
        if let Some(directive) = first.raw.strip_prefix('$').filter(|_| !first.quoted) {
            return self.directive(&directive.to_ascii_uppercase(), &words[1..]);
        }
        let mut rest = words.as_slice();
        if !line.starts_with([' ', '\t']) {
            self.owner = Some(self.name(first)?);
            rest = &rest[1..];
        }
        let owner = self.owner.clone().ok_or("a record without a name")?;
        let mut ttl = self.ttl;
        if let Some(number) = rest.first().and_then(|word| word.raw.parse().ok()) {
            (ttl, rest) = (number, &rest[1..]);
        }
        if rest.first().is_some_and(|word| word.raw.eq_ignore_ascii_case("IN")) {
            rest = &rest[1..];
        }
        let Some((kind, data)) = rest.split_first() else { return Err("a name without a record".into()) };
        let kind = record_type(kind)?;
        let data = self.data(kind, data)?;
        self.script.add_record(Record::from_rdata(owner, ttl, data));
        Ok(())
    }

    fn directive(&mut self, directive: &str, words: &[Word]) -> Result<(), String> {
        let (first, rest) = words.split_first().ok_or_else(|| format!("${directive} wants more"))?;
        match directive {
            "ORIGIN" => self.origin = self.name(first)?,
            "TTL" => self.ttl = number(first)?,
            "SECURE" => self.believe(first, rest, Authenticity::Secure)?,
            "INSECURE" => self.believe(first, rest, Authenticity::Insecure)?,
            "INDETERMINATE" => self.believe(first, rest, Authenticity::Indeterminate)?,
            "BOGUS" => self.believe(first, rest, Authenticity::Bogus)?,
            "SERVFAIL" => self.fail(first, rest, Failure::ServerFailure)?,
            "TIMEOUT" => self.fail(first, rest, Failure::Timeout)?,
            "ERROR" => {
                let code = number(rest.first().ok_or("$ERROR wants a name, a code and a text")?)?;
                let text = rest.get(1).map(|word| String::from_utf8_lossy(&word.octets).into_owned());
                let name = self.name(first)?;
                self.script.report(name, ExtendedError { code, text: text.unwrap_or_default() });
            }
            _ => return Err(format!("there is no directive ${directive}")),
        }
        Ok(())
    }

    fn believe(&mut self, name: &Word, kinds: &[Word], what: Authenticity) -> Result<(), String> {
        let name = self.name(name)?;
        self.script.believe(name, &record_types(kinds)?, what);
        Ok(())
    }

    fn fail(&mut self, name: &Word, kinds: &[Word], failure: Failure) -> Result<(), String> {
        let scope = if let Some(below) = name.raw.strip_prefix("*.") {
            Scope::Below(self.name_of(below)?)
        } else if let Some(label) = name.raw.strip_suffix(".*") {
            Scope::Starting(label.as_bytes().to_vec())
        } else {
            Scope::Name(self.name(name)?)
        };
        self.script.fail(scope, &record_types(kinds)?, failure);
        Ok(())
    }

    fn name(&self, word: &Word) -> Result<Name, String> {
        self.name_of(&word.raw)
    }

    fn name_of(&self, raw: &str) -> Result<Name, String> {
        match raw {
            "@" => Ok(self.origin.clone()),
            "." => Ok(Name::root()),
            _ => labels(raw, &self.origin),
        }
    }

    fn data(&self, kind: RecordType, words: &[Word]) -> Result<RData, String> {
        let word = |at: usize| words.get(at).ok_or_else(|| format!("too little data for {kind}"));
        let text = |at: usize| word(at).map(|word| word.raw.as_str());
        Ok(match kind {
            RecordType::A => RData::A(text(0)?.parse::<Ipv4Addr>().map_err(|_| "no IPv4 address")?.into()),
            RecordType::AAAA => {
                RData::AAAA(text(0)?.parse::<Ipv6Addr>().map_err(|_| "no IPv6 address")?.into())
            }
            RecordType::CNAME => RData::CNAME(CNAME(self.name(word(0)?)?)),
            RecordType::DNAME => super::dname(&self.name(word(0)?)?),
            RecordType::NS => RData::NS(NS(self.name(word(0)?)?)),
            RecordType::PTR => RData::PTR(PTR(self.name(word(0)?)?)),
            RecordType::MX => RData::MX(MX::new(number(word(0)?)?, self.name(word(1)?)?)),
            RecordType::SRV => RData::SRV(SRV::new(
                number(word(0)?)?,
                number(word(1)?)?,
                number(word(2)?)?,
                self.name(word(3)?)?,
            )),
            RecordType::TLSA => RData::TLSA(TLSA::new(
                CertUsage::from(number::<u8>(word(0)?)?),
                Selector::from(number::<u8>(word(1)?)?),
                Matching::from(number::<u8>(word(2)?)?),
                hexadecimal(&words[3..])?,
            )),
            RecordType::TXT => {
                // A longer string is cut, so that a key can be written as one.
                let strings = words.iter().flat_map(|word| {
                    let whole = word.octets.is_empty().then_some(&[][..]);
                    whole.into_iter().chain(word.octets.chunks(STRING_OCTETS_MAX))
                });
                RData::TXT(TXT::from_bytes(strings.collect()))
            }
            _ => {
                let quote =
                    |word: &Word| if word.quoted { format!("{:?}", word.raw) } else { word.raw.clone() };
                let text: Vec<String> = words.iter().map(quote).collect();
                RData::try_from_str(kind, &text.join(" ")).map_err(|error| error.to_string())?
            }
        })
    }
}

fn number<T: std::str::FromStr>(word: &Word) -> Result<T, String> {
    word.raw.parse().map_err(|_| format!("{} is no number, or too large", word.raw))
}

fn record_type(word: &Word) -> Result<RecordType, String> {
    let name = word.raw.to_ascii_uppercase();
    name.parse().map_err(|_| format!("there is no record type {}", word.raw))
}

fn record_types(words: &[Word]) -> Result<Vec<RecordType>, String> {
    words.iter().map(record_type).collect()
}

fn hexadecimal(words: &[Word]) -> Result<Vec<u8>, String> {
    let digits: Vec<u8> = words.iter().flat_map(|word| word.octets.iter().copied()).collect();
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some(value(*high)? << 4 | value(*low)?),
        _ => None,
    });
    pairs.collect::<Option<Vec<u8>>>().ok_or_else(|| "no hexadecimal data".into())
}

/// A name in text, its escapes resolved label by label.
fn labels(raw: &str, origin: &Name) -> Result<Name, String> {
    let mut labels: Vec<Vec<u8>> = vec![Vec::new()];
    let mut octets = raw.bytes().peekable();
    while let Some(octet) = octets.next() {
        match octet {
            b'.' => labels.push(Vec::new()),
            b'\\' => {
                let last = labels.last_mut().ok_or("no label")?;
                last.push(escape(&mut octets)?);
            }
            _ => labels.last_mut().ok_or("no label")?.push(octet),
        }
    }
    let absolute = labels.last().is_some_and(Vec::is_empty);
    if absolute {
        labels.pop();
    }
    if labels.iter().any(Vec::is_empty) {
        return Err(format!("{raw} has an empty label"));
    }
    let mut name =
        Name::from_labels(labels.iter().map(Vec::as_slice)).map_err(|error| format!("{raw}: {error}"))?;
    if !absolute {
        name.set_fqdn(false);
        name = name.append_domain(origin).map_err(|error| format!("{raw}: {error}"))?;
    }
    name.set_fqdn(true);
    Ok(name)
}

fn escape(octets: &mut impl Iterator<Item = u8>) -> Result<u8, String> {
    crate::names::unescape(octets).ok_or_else(|| "an escape is a character or three digits up to 255".into())
}

/// Cuts a line into words; a semicolon outside of quotes begins a comment.
fn split(line: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() && !rest.starts_with(';') {
        let quoted = rest.starts_with('"');
        if quoted {
            rest = &rest[1..];
        }
        let mut escaped = false;
        let end = rest.find(|character: char| {
            let ends = !escaped
                && if quoted { character == '"' } else { character.is_whitespace() || character == ';' };
            escaped = character == '\\' && !escaped;
            ends
        });
        let end = match (end, quoted) {
            (Some(end), _) => end,
            (None, true) => return Err("a quote that doesn't end".into()),
            (None, false) => rest.len(),
        };
        let raw = &rest[..end];
        words.push(Word { raw: raw.to_owned(), octets: unescape(raw)?, quoted });
        rest = &rest[end..];
        if quoted {
            rest = &rest[1..];
        }
        rest = rest.trim_start();
    }
    Ok(words)
}

fn unescape(raw: &str) -> Result<Vec<u8>, String> {
    let mut octets = raw.bytes();
    let mut made = Vec::with_capacity(raw.len());
    while let Some(octet) = octets.next() {
        made.push(if octet == b'\\' { escape(&mut octets)? } else { octet });
    }
    Ok(made)
}

//! Reading the field, as others wrote it or forged it.

use crate::field::is_token_octet;

/// Octets of a value that is read at all.
const VALUE_OCTETS_MAX: usize = 64 * 1024;
/// Results of one field.
const RESULTS_MAX: usize = 100;
/// Properties of one result.
const PROPERTIES_MAX: usize = 50;

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Over 64 KiB.
    #[error("the field is too long")]
    TooLong,
    /// A comment or a quoted string has no end.
    #[error("a comment or a quoted string has no end")]
    Unclosed,
    /// Something else stands there than what belongs there.
    #[error("the field breaks the grammar of RFC 8601")]
    Grammar,
    /// Over 100 results, or over 50 properties of one.
    #[error("the field says too much")]
    TooMany,
}

/// A field that follows the grammar. Names are in lower case; quoting and comments are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Who says this.
    pub authserv_id: String,
    /// The version of the format; 1 when it isn't said.
    pub version: u32,
    /// The results; none when it says `none`.
    pub results: Vec<ParsedResult>,
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedResult {
    /// `spf`
    pub method: String,
    /// `pass`
    pub result: String,
    /// Why.
    pub reason: Option<String>,
    /// What was checked.
    pub properties: Vec<ParsedProperty>,
}

/// What was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedProperty {
    /// `smtp`
    pub kind: String,
    /// `mailfrom`
    pub name: String,
    /// `example.org`
    pub value: String,
}

/// Reads the value of an `Authentication-Results` field: what stands after the colon. For the field of an ARC set
/// it is what follows the set's number (`arc::results_instance`).
pub fn parse(value: &[u8]) -> Result<Parsed, ParseError> {
    if value.len() > VALUE_OCTETS_MAX {
        return Err(ParseError::TooLong);
    }
    Reader { input: value, at: 0 }.payload()
}

struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    fn take(&mut self, octet: u8) -> bool {
        let is_there = self.peek() == Some(octet);
        self.at += usize::from(is_there);
        is_there
    }

    /// Skips white space and comments, however deep.
    fn skip(&mut self) -> Result<(), ParseError> {
        let mut depth = 0_usize;
        while let Some(octet) = self.peek() {
            match octet {
                b'(' => depth += 1,
                b')' if depth > 0 => depth -= 1,
                b'\\' if depth > 0 => self.at += 1,
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ if depth > 0 => {}
                _ => return Ok(()),
            }
            self.at += 1;
        }
        if depth > 0 { Err(ParseError::Unclosed) } else { Ok(()) }
    }

    fn expect(&mut self, octet: u8) -> Result<(), ParseError> {
        self.skip()?;
        if self.take(octet) { Ok(()) } else { Err(ParseError::Grammar) }
    }

    fn token(&mut self) -> Result<String, ParseError> {
        let rest = &self.input[self.at..];
        // RFC 6532 adds what is beyond ASCII.
        let is_part = |octet: &u8| is_token_octet(*octet) || *octet >= 0x80;
        let end = rest.iter().position(|octet| !is_part(octet)).unwrap_or(rest.len());
        self.at += end;
        if end == 0 { Err(ParseError::Grammar) } else { Ok(String::from_utf8_lossy(&rest[..end]).into()) }
    }

    /// A word of letters, digits and hyphens, in lower case.
    fn keyword(&mut self) -> Result<String, ParseError> {
        self.skip()?;
        let rest = &self.input[self.at..];
        // `_` is none of RFC 5321 §4.1.2, and is used.
        let is_part = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
        let end = rest.iter().position(|octet| !is_part(octet)).unwrap_or(rest.len());
        self.at += end;
        if end == 0 {
            return Err(ParseError::Grammar);
        }
        Ok(String::from_utf8_lossy(&rest[..end]).to_ascii_lowercase())
    }

    fn quoted(&mut self) -> Result<String, ParseError> {
        let mut out = Vec::new();
        self.at += 1;
        while let Some(octet) = self.peek() {
            self.at += 1;
            match octet {
                b'"' => return Ok(String::from_utf8_lossy(&out).into()),
                b'\\' => {
                    out.extend(self.peek());
                    self.at += 1;
                }
                // Folding.
                b'\r' | b'\n' => {}
                _ => out.push(octet),
            }
        }
        Err(ParseError::Unclosed)
    }

    /// `value`: a token or a quoted string.
    fn value(&mut self) -> Result<String, ParseError> {
        if self.peek() == Some(b'"') { self.quoted() } else { self.token() }
    }

    /// `pvalue`: a value or an address. Read generously, up to white space or a semicolon: many write addresses of
    /// IPv6 and signatures without the quotes that they need.
    fn property_value(&mut self) -> Result<String, ParseError> {
        self.skip()?;
        let mut text = if self.peek() == Some(b'"') { self.quoted()? } else { String::new() };
        let rest = &self.input[self.at..];
        let ends = |octet: &u8| matches!(octet, b' ' | b'\t' | b'\r' | b'\n' | b';' | b'(' | b'"');
        let end = rest.iter().position(ends).unwrap_or(rest.len());
        self.at += end;
        text.push_str(&String::from_utf8_lossy(&rest[..end]));
        Ok(text)
    }

    fn number(&mut self) -> Option<u32> {
        let rest = &self.input[self.at..];
        let end = rest.iter().position(|octet| !octet.is_ascii_digit()).unwrap_or(rest.len());
        let number = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
        self.at += end;
        Some(number)
    }

    fn payload(&mut self) -> Result<Parsed, ParseError> {
        self.skip()?;
        let authserv_id = self.value()?;
        self.skip()?;
        let version = self.number().unwrap_or(1);
        let mut parsed = Parsed { authserv_id, version, results: Vec::new() };
        loop {
            self.skip()?;
            if self.peek().is_none() {
                return Ok(parsed);
            }
            self.expect(b';')?;
            self.skip()?;
            // A semicolon at the end is none of the grammar, and frequent.
            if self.peek().is_none() {
                return Ok(parsed);
            }
            if let Some(result) = self.result()? {
                if parsed.results.len() == RESULTS_MAX {
                    return Err(ParseError::TooMany);
                }
                parsed.results.push(result);
            }
        }
    }

    /// One result; none for the word `none`.
    fn result(&mut self) -> Result<Option<ParsedResult>, ParseError> {
        let method = self.keyword()?;
        self.skip()?;
        if method == "none" && matches!(self.peek(), None | Some(b';')) {
            return Ok(None);
        }
        if self.take(b'/') {
            self.skip()?;
            self.number().ok_or(ParseError::Grammar)?;
        }
        self.expect(b'=')?;
        let mut result =
            ParsedResult { method, result: self.keyword()?, reason: None, properties: Vec::new() };
        loop {
            self.skip()?;
            if matches!(self.peek(), None | Some(b';')) {
                return Ok(Some(result));
            }
            let kind = self.keyword()?;
            self.skip()?;
            if kind == "reason" && self.take(b'=') {
                self.skip()?;
                result.reason = Some(self.value()?);
                continue;
            }
            self.expect(b'.')?;
            let name = self.keyword()?;
            self.expect(b'=')?;
            if result.properties.len() == PROPERTIES_MAX {
                return Err(ParseError::TooMany);
            }
            let value = self.property_value()?;
            result.properties.push(ParsedProperty { kind, name, value });
        }
    }
}

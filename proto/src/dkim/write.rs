//! Signature fields and key records as they are written.

use std::fmt::Write as _;

use crate::address::Domain;

use super::Selector;
use super::canonical::{Algorithm, FieldEnd, write_field};
use super::header::Field;
use super::key::Kind;
use super::tags::to_base64;

/// Columns of a line, which is folded before it gets longer where it can be (RFC 5322 §2.1.1).
const COLUMNS: usize = 76;

/// Writes a field of tags, folded. The last tag is `b=`, empty, until the signature is known.
#[derive(Clone, Debug)]
pub struct SignatureWriter {
    text: String,
    name_length: usize,
    column: usize,
}

impl SignatureWriter {
    /// Begins a field.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { text: format!("{name}:"), name_length: name.len(), column: name.len() + 1 }
    }

    /// Writes a tag.
    #[must_use]
    pub fn tag(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        let text = format!("{name}={value};");
        self.word(&text);
        self
    }

    /// Writes a tag whose value is a list with colons, which may be folded after each.
    #[must_use]
    pub fn list<S: AsRef<str>>(mut self, name: &str, elements: &[S]) -> Self {
        let mut start = format!("{name}=");
        let last = elements.len().saturating_sub(1);
        for (at, element) in elements.iter().enumerate() {
            let text = format!("{start}{}{}", element.as_ref(), if at == last { ';' } else { ':' });
            if at == 0 {
                self.word(&text);
            } else {
                self.piece(&text);
            }
            start.clear();
        }
        self
    }

    /// Writes the empty `b=`, with which what is signed ends.
    #[must_use]
    pub fn unsigned(mut self) -> Unsigned {
        self.word("b=");
        Unsigned { text: self.text, name_length: self.name_length, column: self.column }
    }

    /// A space and a word, or a new line that begins with it.
    fn word(&mut self, word: &str) {
        let separator = if self.column + 1 + word.len() > COLUMNS { "\r\n\t" } else { " " };
        self.text.push_str(separator);
        self.text.push_str(word);
        self.column = if separator.len() > 1 { 1 } else { self.column + 1 } + word.len();
    }

    /// A word that stands at the one before without a space, or on a new line.
    fn piece(&mut self, word: &str) {
        if self.column + word.len() > COLUMNS {
            self.text.push_str("\r\n\t");
            self.column = 1;
        }
        self.text.push_str(word);
        self.column += word.len();
    }
}

/// A field whose signature is missing.
#[derive(Clone, Debug)]
pub struct Unsigned {
    text: String,
    name_length: usize,
    column: usize,
}

impl Unsigned {
    /// Appends the field as it is signed: in canonical form, without the line break (RFC 6376 §3.7).
    pub fn write_canonical(&self, out: &mut Vec<u8>, algorithm: Algorithm) {
        let octets = self.text.as_bytes();
        let field =
            Field { name: &octets[..self.name_length], value: &octets[self.name_length + 1..], octets };
        write_field(out, field, algorithm, FieldEnd::Nothing);
    }

    /// The whole field with its line breaks.
    #[must_use]
    pub fn signed(self, signature: &[u8]) -> String {
        let Self { mut text, mut column, .. } = self;
        let encoded = to_base64(signature);
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            let room = COLUMNS.saturating_sub(column).min(rest.len());
            let (line, after) = rest.split_at(room);
            text.push_str(line);
            rest = after;
            if !rest.is_empty() {
                text.push_str("\r\n\t");
                column = 1;
            }
        }
        text.push_str("\r\n");
        text
    }
}

/// The text of a key record for a public key: DER of an RSA key, or the 32 octets of an Ed25519 key.
///
/// It names the one hash that may be used, so that nobody can use the key with SHA-1.
#[must_use]
pub fn key_record(kind: Kind, key: &[u8]) -> String {
    format!("v=DKIM1; k={}; h=sha256; p={}", kind.word(), to_base64(key))
}

/// Octets of one string of a TXT record (RFC 1035 §3.3.14).
const STRING_OCTETS_MAX: usize = 255;

/// A key record as a line of a zone file, in as many strings as it takes (RFC 1035 §5.1). Readers put them
/// together without anything between (RFC 6376 §3.6.2.2).
#[must_use]
pub fn zone_line(selector: &Selector, domain: &Domain, record: &str) -> String {
    let mut line = format!("{}. IN TXT", selector.key_name(domain));
    let mut rest = record;
    let many = record.len() > STRING_OCTETS_MAX;
    line.push_str(if many { " (" } else { "" });
    while !rest.is_empty() {
        // Records are ASCII; a text that isn't is cut at characters.
        let mut end = rest.len().min(STRING_OCTETS_MAX);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (string, after) = rest.split_at(end);
        rest = after;
        line.push_str(if many { "\n\t\"" } else { " \"" });
        for character in string.chars() {
            if matches!(character, '"' | '\\') {
                line.push('\\');
            }
            // Writing to a string can't fail.
            let _ = line.write_char(character);
        }
        line.push('"');
    }
    line.push_str(if many { " )" } else { "" });
    line
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use super::super::canonical::write_field_without;
    use super::super::header::Header;
    use super::super::key::KeyRecord;
    use super::super::signature::Signature;
    use super::*;

    fn written(names: usize) -> (Unsigned, String) {
        let fields = vec!["content-type"; names];
        let unsigned = SignatureWriter::new("DKIM-Signature")
            .tag("v", 1)
            .tag("a", "rsa-sha256")
            .tag("c", "relaxed/relaxed")
            .tag("d", "a-rather-long-name-of-a-domain.example.com")
            .tag("s", "brisbane")
            .list("h", &[vec!["from"], fields].concat())
            .tag("bh", to_base64(&[7; 32]))
            .unsigned();
        (unsigned.clone(), unsigned.signed(&[9; 512]))
    }

    #[test]
    fn what_is_written_is_read_and_what_is_signed_is_what_is_verified() {
        for names in 0..60 {
            let (unsigned, text) = written(names);
            assert!(text.lines().all(|line| line.len() <= COLUMNS), "{text}");
            let header = Header::parse(text.clone().into_bytes()).unwrap();
            let fields: Vec<Field<'_>> = header.fields().collect();
            assert_eq!(fields.len(), 1, "{text}");
            let signature = Signature::parse(fields[0].value).unwrap();
            assert_eq!(signature.core.signature, [9; 512]);
            assert_eq!(signature.content.fields.len(), names + 1);
            for algorithm in [Algorithm::Simple, Algorithm::Relaxed] {
                let (mut signed, mut verified) = (Vec::new(), Vec::new());
                unsigned.write_canonical(&mut signed, algorithm);
                let place = signature.core.signature_place.clone();
                write_field_without(&mut verified, fields[0], place, algorithm, FieldEnd::Nothing);
                assert_eq!(signed, verified);
            }
        }
    }

    #[test]
    fn records_are_cut_into_strings_that_fit() {
        let (selector, domain) = (Selector::parse("S1").unwrap(), Domain::parse("example.com").unwrap());
        let short = key_record(Kind::Ed25519, &[1; 32]);
        let line = zone_line(&selector, &domain, &short);
        assert_eq!(line, format!("s1._domainkey.example.com. IN TXT \"{short}\""));
        let long = key_record(Kind::Rsa, &[1; 294]);
        let line = zone_line(&selector, &domain, &long);
        let strings: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
        assert_eq!(strings.len(), 2);
        assert!(strings.iter().all(|string| string.len() <= STRING_OCTETS_MAX));
        assert_eq!(KeyRecord::parse(strings.concat().as_bytes()).unwrap().key, [1; 294]);
        assert!(line.ends_with("\" )"));
        assert_eq!(zone_line(&selector, &domain, "a\"\\b").split_once("TXT ").unwrap().1, "\"a\\\"\\\\b\"");
        let full = "x".repeat(STRING_OCTETS_MAX);
        assert_eq!(zone_line(&selector, &domain, &full).matches('"').count(), 2);
        assert_eq!(zone_line(&selector, &domain, &format!("{full}x")).matches('"').count(), 4);
    }
}

//! Composing messages that the server sends by itself: a text for people, and mostly a file for programs (RFC 5322,
//! RFC 2046 §5.1, RFC 6522).
//!
//! Always holds: the message is ASCII with lines of at most 998 octets that end in CR LF, whatever the values are;
//! no value ends its field early.

use data_encoding::BASE64_MIME;

use crate::address::Address;
use crate::field::FieldWriter;
use crate::smtp::trace::date;

/// Octets of a word of a field; what is longer is cut.
const WORD_OCTETS_MAX: usize = 700;
/// Octets of a line of the text; what is longer continues on the next one.
const LINE_OCTETS_MAX: usize = 900;

/// A message.
#[derive(Clone, Debug)]
pub struct Letter<'a> {
    /// Who writes it.
    pub from: &'a Address,
    /// Whom it goes to.
    pub to: &'a [Address],
    /// What it is about.
    pub subject: &'a str,
    /// When it is written, in seconds since 1970.
    pub now: i64,
    /// Its Message-ID, without angle brackets.
    pub message_id: &'a str,
    /// What nobody can know before, of letters and digits: from it comes the boundary.
    pub unique: &'a str,
    /// Further fields: their names and values.
    pub fields: &'a [(&'a str, String)],
    /// Which kind of report it is (RFC 6522 §3): `multipart/report` instead of `multipart/mixed`.
    pub report_type: Option<&'a str>,
    /// The text. Lines end in LF or CR LF.
    pub text: &'a str,
    /// The file.
    pub file: Option<File<'a>>,
}

/// A file in a message.
#[derive(Clone, Debug)]
pub struct File<'a> {
    /// Its media type.
    pub media_type: &'a str,
    /// Its name.
    pub name: &'a str,
    /// What is in it.
    pub octets: &'a [u8],
}

/// Composes a message.
#[must_use]
pub fn compose(letter: &Letter<'_>) -> Vec<u8> {
    let mut out = String::new();
    field(&mut out, "From", &format!("<{}>", letter.from));
    let to: Vec<String> = letter.to.iter().map(|address| format!("<{address}>")).collect();
    field(&mut out, "To", &to.join(", "));
    field(&mut out, "Subject", letter.subject);
    field(&mut out, "Date", &date(letter.now));
    field(&mut out, "Message-ID", &format!("<{}>", letter.message_id));
    for (name, value) in letter.fields {
        field(&mut out, name, value);
    }
    // RFC 3834 §5: nobody is to answer it automatically.
    field(&mut out, "Auto-Submitted", "auto-generated");
    field(&mut out, "MIME-Version", "1.0");
    let Some(file) = &letter.file else {
        text_part(&mut out, letter.text);
        return out.into_bytes();
    };
    let unique: String = letter.unique.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
    let boundary = format!("=_part_{unique}");
    let kind = match letter.report_type {
        Some(report_type) => format!("multipart/report; report-type=\"{report_type}\""),
        None => "multipart/mixed".to_owned(),
    };
    field(&mut out, "Content-Type", &format!("{kind}; boundary=\"{boundary}\""));
    out += &format!("\r\n--{boundary}\r\n");
    text_part(&mut out, letter.text);
    out += &format!("\r\n--{boundary}\r\n");
    field(&mut out, "Content-Type", file.media_type);
    field(&mut out, "Content-Transfer-Encoding", "base64");
    let name: String = file.name.chars().filter(|c| c.is_ascii_graphic() && !"\"\\".contains(*c)).collect();
    field(&mut out, "Content-Disposition", &format!("attachment; filename=\"{name}\""));
    out += "\r\n";
    // Lines of 76 octets, each with its CR LF.
    BASE64_MIME.encode_append(file.octets, &mut out);
    out += &format!("\r\n--{boundary}--\r\n");
    out.into_bytes()
}

/// A text with its fields and the empty line between.
fn text_part(out: &mut String, text: &str) {
    field(out, "Content-Type", "text/plain; charset=us-ascii");
    field(out, "Content-Transfer-Encoding", "7bit");
    out.push_str("\r\n");
    for line in text.lines() {
        let line: String = line.chars().map(harmless).collect();
        let mut rest = &*line;
        loop {
            let (now, later) = rest.split_at(rest.len().min(LINE_OCTETS_MAX));
            out.push_str(now);
            out.push_str("\r\n");
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
    }
}

/// A field, folded at its spaces.
fn field(out: &mut String, name: &str, value: &str) {
    let mut writer = FieldWriter::at(name.len() + 1);
    for word in value.split(' ').filter(|word| !word.is_empty()) {
        let word: String = word.chars().map(harmless).take(WORD_OCTETS_MAX).collect();
        writer.piece(&word);
    }
    out.push_str(name);
    out.push(':');
    out.push_str(&writer.finish());
    out.push_str("\r\n");
}

fn harmless(c: char) -> char {
    if c == ' ' || c.is_ascii_graphic() { c } else { '?' }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::mime::decode::{TransferEncoding, decode};
    use crate::mime::scan::Scanner;
    use crate::mime::{FieldName, Limits};

    fn letter<'a>(from: &'a Address, to: &'a [Address], file: Option<File<'a>>) -> Letter<'a> {
        Letter {
            from,
            to,
            subject: "Report Domain: them.example Submitter: mail.us.example Report-ID: <1@mail.us.example>",
            now: 0,
            message_id: "1@mail.us.example",
            unique: "abc123",
            fields: &[],
            report_type: Some("tlsrpt"),
            text: "First line\nSecond line\n",
            file,
        }
    }

    #[test]
    fn a_report_has_a_text_and_a_file() {
        let from = Address::parse("postmaster@mail.us.example").unwrap();
        let to = ["a@them.example", "b@them.example"].map(|text| Address::parse(text).unwrap());
        let octets: Vec<u8> = (0..=255).collect();
        let file = File { media_type: "application/tlsrpt+gzip", name: "x!y!1!2.json.gz", octets: &octets };
        let fields = [("TLS-Required", "No".to_owned())];
        let composed = compose(&Letter { fields: &fields, ..letter(&from, &to, Some(file)) });
        let text = String::from_utf8(composed.clone()).unwrap();
        let header = "From: <postmaster@mail.us.example>\r\nTo: <a@them.example>, <b@them.example>\r\n\
            Subject: Report Domain: them.example Submitter: mail.us.example Report-ID:\r\n\t<1@mail.us.example>\r\n\
            Date: Thu, 01 Jan 1970 00:00:00 +0000\r\nMessage-ID: <1@mail.us.example>\r\nTLS-Required: No\r\n\
            Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n\
            Content-Type: multipart/report; report-type=\"tlsrpt\"; boundary=\"=_part_abc123\"\r\n\r\n";
        assert!(text.starts_with(header), "{text}");
        let mut scanner = Scanner::new(Limits::DEFAULT);
        scanner.push(&composed);
        let structure = scanner.finish();
        assert_eq!(structure.parts.len(), 3);
        let body = |part: usize| {
            let part = &structure.parts[part];
            let encoding = part.field(FieldName::ContentTransferEncoding).unwrap_or_default();
            decode(TransferEncoding::parse(encoding), &composed[part.body_start as usize..part.end as usize])
                .unwrap()
        };
        assert_eq!(body(1), b"First line\r\nSecond line\r\n");
        assert_eq!(body(2), octets);
    }

    #[test]
    fn whatever_the_values_are_lines_are_short_and_fields_end_where_they_end() {
        let from = Address::parse("postmaster@us.example").unwrap();
        let to = [from.clone()];
        let long = "x".repeat(5000);
        let evil = format!("a\r\nBcc: b@c.example\u{fc}\0 {long}");
        let file = File { media_type: "text/plain", name: &evil, octets: &[7; 5000] };
        let fields = [("X-Evil", evil.clone())];
        for file in [Some(file), None] {
            let composed = compose(&Letter {
                subject: &evil,
                message_id: &evil,
                unique: &evil,
                text: &evil,
                fields: &fields,
                ..letter(&from, &to, file)
            });
            let text = String::from_utf8(composed).unwrap();
            assert!(text.is_ascii());
            assert!(text.split("\r\n").all(|line| line.len() <= 998 && !line.contains(['\r', '\n', '\0'])));
            let header = text.split("\r\n\r\n").next().unwrap();
            assert!(!header.lines().any(|line| line.starts_with("Bcc")), "{header}");
        }
    }
}

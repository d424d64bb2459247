//! Writing structured header fields of our own: folding, quoting and comments (RFC 5322 §2.2.3, §3.2).
//!
//! Always holds: whatever the texts are, the field has no line over 998 octets, no control character but its own
//! line breaks, and no text leaves its quotes or its comment.

use crate::smtp::trace::Charset;

/// Lines are folded before this column where a space allows (RFC 5322 §2.1.1).
const COLUMNS: usize = 78;
/// Octets of one value or comment that are shown, escapes included; names and paths fit.
const VALUE_OCTETS_MAX: usize = 512;

// The longest name of a property and its `=` stand before a value, and a semicolon behind it.
const _: () = assert!(VALUE_OCTETS_MAX + 100 < 998);

/// The text of a field in the making: what follows its colon.
pub(crate) struct FieldWriter {
    text: String,
    /// Octets of the line so far.
    column: usize,
}

impl FieldWriter {
    /// Starts the text of a field whose name and colon take so many columns.
    pub(crate) fn at(column: usize) -> Self {
        Self { text: String::new(), column }
    }

    /// Adds a piece after a space, or on a new line when this one would be too long. The piece has no space at
    /// which it could be cut.
    pub(crate) fn piece(&mut self, piece: &str) {
        if self.column + 1 + piece.len() > COLUMNS && !self.text.is_empty() {
            self.text.push_str("\r\n\t");
            self.column = 1 + piece.len();
        } else {
            self.text.push(' ');
            self.column += 1 + piece.len();
        }
        self.text.push_str(piece);
    }

    /// Adds text to the last piece.
    pub(crate) fn glue(&mut self, text: &str) {
        self.column += text.len();
        self.text.push_str(text);
    }

    /// Adds a comment, which may be folded at its spaces. Nothing when there is no text.
    pub(crate) fn comment(&mut self, text: &str, charset: Charset) {
        let text = comment_text(text, charset);
        let mut words = text.split(' ').filter(|word| !word.is_empty()).peekable();
        let mut is_first = true;
        while let Some(word) = words.next() {
            let start = if std::mem::take(&mut is_first) { "(" } else { "" };
            let end = if words.peek().is_none() { ")" } else { "" };
            self.piece(&format!("{start}{word}{end}"));
        }
    }

    /// The text, which starts with a space and has no line break at its end.
    pub(crate) fn finish(self) -> String {
        self.text
    }
}

/// `value` as it is when it is of `atoms`, else as a quoted string.
fn quoted_unless(value: &str, charset: Charset, is_plain: impl Fn(&str) -> bool) -> String {
    let value = clipped(value);
    if is_plain(value) {
        return value.into();
    }
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    for c in value.chars() {
        let is_escaped = matches!(c, '"' | '\\');
        // Escapes count, too: a value of quotes alone would make a line of twice its length.
        if out.len() + usize::from(is_escaped) + c.len_utf8() > 1 + VALUE_OCTETS_MAX {
            break;
        }
        if is_escaped {
            out.push('\\');
        }
        out.push(shown(c, charset));
    }
    out.push('"');
    out
}

/// A value as `dot-atom` or quoted string (RFC 7208 §9.1).
pub(crate) fn dot_atom_or_quoted(value: &str, charset: Charset) -> String {
    let is_atext = |octet: u8| octet.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&octet);
    quoted_unless(value, charset, |value| {
        value.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atext))
    })
}

/// A `value` of RFC 2045 §5.1: a token or a quoted string.
pub(crate) fn token_or_quoted(value: &str, charset: Charset) -> String {
    quoted_unless(value, charset, |value| !value.is_empty() && value.bytes().all(is_token_octet))
}

/// Whether an octet may stand in a token (RFC 2045 §5.1).
pub(crate) fn is_token_octet(octet: u8) -> bool {
    octet.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&octet)
}

/// The text of a comment with what would end it taken away.
fn comment_text(text: &str, charset: Charset) -> String {
    let mut out = String::new();
    for c in clipped(text).chars() {
        match c {
            // Quoted parentheses are legal, but readers that don't know that are many.
            '(' => out.push('['),
            ')' => out.push(']'),
            '\\' => out.push('/'),
            _ => out.push(shown(c, charset)),
        }
    }
    out
}

fn shown(c: char, charset: Charset) -> char {
    match c {
        ' '..='~' => c,
        _ if charset == Charset::Utf8 && !c.is_control() && !c.is_ascii() => c,
        _ => '?',
    }
}

fn clipped(text: &str) -> &str {
    let mut end = text.len().min(VALUE_OCTETS_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use super::*;

    #[test]
    fn long_fields_are_folded_and_values_are_bounded() {
        let mut writer = FieldWriter::at(10);
        for _ in 0..40 {
            writer.piece("word;");
        }
        writer.piece(&dot_atom_or_quoted(&"a b".repeat(1000), Charset::Ascii));
        writer.comment(&"many words ".repeat(100), Charset::Ascii);
        let text = writer.finish();
        let mut lines = text.split("\r\n");
        assert!(lines.next().unwrap().len() <= COLUMNS - 10);
        for line in lines {
            assert!(line.starts_with('\t'));
            assert!(line.len() <= COLUMNS || line.contains('"') && line.len() <= 998, "{line}");
        }
        assert!(text.len() < 2000);
    }

    #[test]
    fn values_are_cut_at_the_limit_and_their_escapes_count() {
        let quoted = |text: &str| token_or_quoted(text, Charset::Utf8);
        assert_eq!(quoted(&"a".repeat(VALUE_OCTETS_MAX)), "a".repeat(VALUE_OCTETS_MAX));
        assert_eq!(quoted(&"a".repeat(VALUE_OCTETS_MAX + 1)), "a".repeat(VALUE_OCTETS_MAX));
        let spaced = |count: usize| format!("{} b", "a".repeat(count - 2));
        assert_eq!(quoted(&spaced(VALUE_OCTETS_MAX)).len(), VALUE_OCTETS_MAX + 2);
        assert_eq!(
            quoted(&spaced(VALUE_OCTETS_MAX + 1)),
            format!("\"{} \"", "a".repeat(VALUE_OCTETS_MAX - 1))
        );
        for hostile in ["\"", "\\", "\"\\", "\u{fc}", "a\"", "\u{1f600}\""] {
            let text = quoted(&hostile.repeat(5000));
            assert!((VALUE_OCTETS_MAX - 4..=VALUE_OCTETS_MAX + 2).contains(&text.len()), "{}", text.len());
            // No escape is cut in two: what is inside is read again to its end.
            let inside = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap();
            let mut rest = inside.chars();
            while let Some(c) = rest.next() {
                assert!(c != '"' && (c != '\\' || rest.next().is_some()), "{text}");
            }
        }
        let mut writer = FieldWriter::at(2);
        writer.comment(&"x".repeat(VALUE_OCTETS_MAX + 1), Charset::Ascii);
        assert_eq!(writer.finish().len(), " ()".len() + VALUE_OCTETS_MAX);
    }

    #[test]
    fn values_are_quoted_when_they_must_be() {
        let ascii = |value| dot_atom_or_quoted(value, Charset::Ascii);
        assert_eq!(ascii("mx.example.org"), "mx.example.org");
        assert_eq!(ascii("192.0.2.1"), "192.0.2.1");
        assert_eq!(ascii("2001:db8::1"), "\"2001:db8::1\"");
        assert_eq!(ascii("a..b"), "\"a..b\"");
        assert_eq!(ascii(""), "\"\"");
        assert_eq!(ascii("a\"\\\r\n\u{fc}"), "\"a\\\"\\\\???\"");
        assert_eq!(dot_atom_or_quoted("\u{fc}\u{85}", Charset::Utf8), "\"\u{fc}?\"");
        assert_eq!(token_or_quoted("a.b-c", Charset::Ascii), "a.b-c");
        assert_eq!(token_or_quoted("a/b", Charset::Ascii), "\"a/b\"");
    }

    #[test]
    fn comments_cannot_be_left() {
        let mut writer = FieldWriter::at(2);
        writer.comment("a) \\b\r\n(c", Charset::Ascii);
        assert_eq!(writer.finish(), " (a] /b??[c)");
        let mut writer = FieldWriter::at(2);
        writer.comment("", Charset::Ascii);
        assert_eq!(writer.finish(), "");
    }
}

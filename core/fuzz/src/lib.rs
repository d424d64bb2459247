//! What the targets share: a strict reader of what a server says, and a resolver.

mod dns;

use postrider_authentication::content::{Content, Reader};
use postrider_proto::dkim::header::HeaderError;

pub use dns::Answers;

/// A message that comes in pieces of so many octets.
pub fn content(message: &[u8], cut: usize) -> Result<Content, HeaderError> {
    let mut reader = Reader::new();
    message.chunks(cut).for_each(|piece| reader.push(piece));
    reader.finish()
}

/// Checks a field that was written: one field, lines that are short enough, no control character.
///
/// # Panics
/// When it isn't that.
pub fn check_field(field: &str) {
    let text = field.strip_suffix("\r\n").expect("a field ends its line");
    for (number, line) in text.split("\r\n").enumerate() {
        assert!(line.len() <= 998, "a line of {} octets", line.len());
        assert!(number == 0 || line.starts_with('\t'), "a line that isn't folded");
        assert!(line.chars().all(|c| c == '\t' || !c.is_control()), "a control character");
    }
}

/// Reads IMAP data (parentheses, quoted strings, literals, atoms) and says where one value ends.
///
/// # Panics
/// When `input` isn't well-formed, or not in seven bits where `seven_bit` asks for it: that is what is looked
/// for.
pub fn skip_values(input: &[u8], seven_bit: bool) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < input.len() {
        match input[at] {
            b'(' => depth += 1,
            b')' => depth = depth.checked_sub(1).expect("a parenthesis too many"),
            b'"' => at = quoted_end(input, at, seven_bit),
            b'{' => {
                let (from, octets) = literal(&input[at..]).expect("a brace that begins no literal");
                at += from + octets;
                assert!(at <= input.len(), "a literal longer than what follows");
                continue;
            }
            octet => {
                assert!(octet != b'\r' && octet != b'\n', "a line end within a value");
                assert!(octet != 0 && (octet.is_ascii() || !seven_bit), "an octet that may not stand there");
            }
        }
        at += 1;
    }
    assert_eq!(depth, 0, "a parenthesis is not closed");
    at
}

/// The place of the quote that ends the string which begins at `start`.
fn quoted_end(input: &[u8], start: usize, seven_bit: bool) -> usize {
    let mut at = start + 1;
    loop {
        match *input.get(at).expect("a quoted string is not closed") {
            b'"' => return at,
            b'\\' => {
                at += 1;
                assert!(matches!(input.get(at), Some(b'"' | b'\\')), "a backslash before something else");
            }
            octet => {
                assert!(!matches!(octet, 0 | b'\r' | b'\n'), "an octet that no quoted string may hold");
                assert!(octet.is_ascii() || !seven_bit, "eight bits for a client that knows seven");
            }
        }
        at += 1;
    }
}

/// Octets of the literal's header that `input` begins with, and of what it announces.
pub fn literal(input: &[u8]) -> Option<(usize, usize)> {
    let rest = input.strip_prefix(b"{")?;
    let digits = rest.iter().take_while(|octet| octet.is_ascii_digit()).count();
    let octets = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    rest[digits..].starts_with(b"}\r\n").then_some((digits + 4, octets))
}

/// Checks what a server sent on one connection, up to its end: lines that are tagged, untagged or continuation
/// requests, with whole literals. Free text of status responses is only checked for what no line may hold.
///
/// # Panics
/// When it isn't that.
pub fn check_responses(mut input: &[u8], seven_bit: bool) {
    while !input.is_empty() {
        let kind = input[0];
        assert!(
            input.starts_with(b"* ") || input.starts_with(b"+ ") || kind.is_ascii_graphic(),
            "a line that begins with {kind}"
        );
        let mut from = 0;
        loop {
            let end =
                from + input[from..].iter().position(|octet| *octet == b'\n').expect("a line has no end");
            assert!(end > 0 && input[end - 1] == b'\r', "a bare line feed");
            let line = &input[from..end - 1];
            assert!(!line.contains(&b'\r') && !line.contains(&0), "an octet that no line may hold");
            assert!(line.is_ascii() || !seven_bit, "eight bits for a client that knows seven");
            let header = line.iter().rposition(|octet| *octet == b'{').filter(|_| line.ends_with(b"}"));
            from = end + 1;
            match header.and_then(|at| literal(&input[end - 1 - (line.len() - at)..])) {
                Some((_, octets)) => {
                    from += octets;
                    assert!(from <= input.len(), "a literal is not whole");
                }
                None => break,
            }
        }
        input = &input[from..];
    }
}

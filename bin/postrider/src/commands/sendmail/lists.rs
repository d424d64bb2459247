//! Lists of addresses that mail is sent to. The reader of headers, [`address::parse`], is made for showing what
//! people wrote: it goes on behind what it doesn't understand. Here nobody may be left out silently, or taken for
//! somebody else, so what isn't clearly one address is refused.

use std::ops::Range;

use postrider_proto::mime::address::{self, Address};

/// The mailboxes of an unfolded list (RFC 5322 §3.4), each with how it was written. An error says what is wrong with one.
pub fn mailboxes(list: &[u8]) -> impl Iterator<Item = Result<Address, String>> {
    let masked = mask(list);
    let entries = masked.as_deref().map(entries).unwrap_or_default();
    let broken = masked.is_none().then(|| Err("a quotation, comment or literal has no end".to_owned()));
    broken.into_iter().chain(entries.into_iter().filter_map(move |range| {
        let (shown, plain) = (list.get(range.clone())?, masked.as_deref()?.get(range)?);
        let shape = match shape(plain) {
            Shape::Nothing => return None,
            Shape::Mailbox => Ok(()),
            Shape::Other(problem) => Err(problem),
        };
        let written = String::from_utf8_lossy(shown.trim_ascii()).into_owned();
        let mailbox = shape.and_then(|()| {
            let mut found = address::parse(shown, 4).into_iter().filter(Address::is_mailbox);
            found.next().filter(|_| found.next().is_none()).ok_or("it is no address")
        });
        Some(mailbox.map_err(|problem| format!("{written:?}: {problem}")))
    }))
}

/// The list with its quotations, literals and comments made letters and spaces of the same length, so that what is left of
/// special characters means something. None when one of them has no end.
fn mask(list: &[u8]) -> Option<Vec<u8>> {
    let mut masked = Vec::with_capacity(list.len());
    let mut octets = list.iter().copied();
    while let Some(octet) = octets.next() {
        let (closing, filler) = match octet {
            b'"' => (b'"', b'q'),
            b'[' => (b']', b'l'),
            b'(' => (b')', b' '),
            other => {
                masked.push(other);
                continue;
            }
        };
        masked.push(filler);
        let mut depth = 1;
        while depth > 0 {
            let inner = octets.next()?;
            masked.push(filler);
            match inner {
                b'\\' => {
                    octets.next()?;
                    masked.push(filler);
                }
                // A closing quote first: it is the opening one as well.
                inner if inner == closing => depth -= 1,
                b'(' if closing == b')' => depth += 1,
                _ => {}
            }
        }
    }
    Some(masked)
}

/// Where the entries of a masked list stand.
fn entries(masked: &[u8]) -> Vec<Range<usize>> {
    let (mut found, mut begin, mut is_within) = (Vec::new(), 0, false);
    for (at, octet) in masked.iter().enumerate() {
        match octet {
            b'<' => is_within = true,
            b'>' => is_within = false,
            b',' | b';' if !is_within => {
                found.push(begin..at);
                begin = at + 1;
            }
            // The name of a group stands before its first entry. An address is no name.
            b':' if !is_within && !masked[begin..at].iter().any(|octet| b"@<>".contains(octet)) => {
                begin = at + 1;
            }
            _ => {}
        }
    }
    found.push(begin..masked.len());
    found
}

/// What a masked entry is.
enum Shape {
    /// Spaces and comments.
    Nothing,
    /// An address, or the name of somebody here.
    Mailbox,
    /// Something else.
    Other(&'static str),
}

fn shape(entry: &[u8]) -> Shape {
    let entry = entry.trim_ascii();
    if entry.is_empty() {
        return Shape::Nothing;
    }
    let count = |octets: &[u8], wanted: u8| octets.iter().filter(|octet| **octet == wanted).count();
    let position = |wanted: u8| entry.iter().position(|octet| *octet == wanted);
    let spec = match (position(b'<'), position(b'>')) {
        (None, None) => entry,
        (Some(open), Some(close)) if open < close => {
            if count(entry, b'<') > 1 || close + 1 < entry.len() {
                return Shape::Other("there is something behind the address");
            }
            let inner = entry[open + 1..close].trim_ascii();
            match inner.iter().position(|octet| *octet == b':') {
                // A route, which nobody follows (RFC 5321 §4.1.2).
                Some(colon) if inner.starts_with(b"@") => inner[colon + 1..].trim_ascii(),
                _ => inner,
            }
        }
        _ => return Shape::Other("one of < and > is missing"),
    };
    let mut parts = spec.split(|octet| *octet == b'@').map(<[u8]>::trim_ascii);
    let (local, domain, more) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let has_space = |part: &[u8]| part.iter().any(u8::is_ascii_whitespace);
    if has_space(local) || domain.is_some_and(has_space) {
        return Shape::Other(
            "there is a space in it; write commas between addresses, and <> around one behind a name",
        );
    }
    if more.is_some() {
        return Shape::Other("there is more than one @");
    }
    if local.is_empty() || domain.is_some_and(<[u8]>::is_empty) {
        return Shape::Other("there is nothing on one side of the @");
    }
    if spec.iter().any(|octet| b"()<>[]\\:".contains(octet)) {
        return Shape::Other("there is a special character outside of quotes");
    }
    Shape::Mailbox
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use super::*;

    fn read(list: &str) -> Vec<Result<String, String>> {
        let text = |part: Option<Vec<u8>>| String::from_utf8(part.unwrap_or_default()).unwrap();
        let shown = |one: Address| format!("{}@{}", text(one.mailbox), text(one.host));
        mailboxes(list.as_bytes()).map(|one| one.map(shown)).collect()
    }

    #[test]
    fn lists_are_read_as_people_write_them() {
        let table: &[(&str, &[&str])] = &[
            ("", &[]),
            (" , (nobody),, ", &[]),
            ("root", &["root@"]),
            ("a@x.example,b@y.example", &["a@x.example", "b@y.example"]),
            ("A B <a@x.example>, \"B, C\" <b@x.example> (c, d)", &["a@x.example", "b@x.example"]),
            ("a@x.example (A (B) \\) <c@x.example>)", &["a@x.example"]),
            ("\"a b\"@x.example, \"a\\\"@,\" @ x.example", &["a b@x.example", "a\"@,@x.example"]),
            ("a@x.example <a@x.example>", &["a@x.example"]),
            ("<a@[127.0.0.1]>, b@[IPv6:::1]", &["a@[127.0.0.1]", "b@[IPv6:::1]"]),
            ("G: a@x.example, B <b@x.example>;, c@x.example", &["a@x.example", "b@x.example", "c@x.example"]),
            ("undisclosed-recipients:;", &[]),
            ("<@r.example,@s.example:a@x.example>", &["a@x.example"]),
            ("=?utf-8?q?=C3=BC?= <\u{fc}@x.example>, <root>", &["\u{fc}@x.example", "root@"]),
        ];
        for (list, expected) in table {
            let found: Vec<_> = read(list).into_iter().map(Result::unwrap).collect();
            assert_eq!(found, *expected, "{list}");
        }
    }

    #[test]
    fn nobody_is_left_out_and_nobody_taken_for_another() {
        for (list, problem) in [
            // With a lenient reader: the second gets nothing.
            ("a@x.example b@x.example", "a space"),
            ("a@x.example\tb", "a space"),
            ("<a@x.example> <b@x.example>", "behind"),
            ("<a@x.example> b@x.example", "behind"),
            // Joeb@x.example.
            ("Joe b@x.example", "a space"),
            ("anna ben", "a space"),
            // Somebody at the host's own domain.
            ("a@@x.example", "more than one @"),
            // A colon for a comma: a group has a name.
            ("a@x.example: b@x.example", "a space"),
            ("<a@x.example>: b@x.example", "behind"),
            ("a@b@x.example", "more than one @"),
            ("a@", "nothing on one side"),
            ("@x.example", "nothing on one side"),
            ("A <>", "nothing on one side"),
            ("<a@x.example", "missing"),
            ("a@x.example>", "missing"),
            ("\"a@x.example", "has no end"),
            ("a@x.example (b", "has no end"),
            ("a@[1", "has no end"),
            ("b\\", "special character"),
            ("b)@x.example", "special character"),
        ] {
            let found = read(&format!("first@x.example, {list}"));
            let error = found.iter().find_map(|one| one.as_ref().err());
            let error = error.unwrap_or_else(|| panic!("{list}: {found:?}"));
            assert!(error.contains(problem), "{list}: {error}");
        }
        assert_eq!(read("first@x.example, a@@x.example, b@x.example").len(), 3);
    }
}

//! What the scanner finds.

use super::super::{FieldName, Kind};
use super::*;

/// The body of part `index`.
fn body<'a>(message: &'a [u8], structure: &Structure, index: usize) -> &'a str {
    let part = &structure.parts[index];
    std::str::from_utf8(&message[part.body_start as usize..part.end as usize]).unwrap()
}

fn kinds(structure: &Structure) -> Vec<(Kind, Option<u32>)> {
    structure.parts.iter().map(|part| (part.kind, part.parent)).collect()
}

#[test]
fn a_plain_message_is_one_part() {
    let message = b"Subject: a\r\n b\r\nX: y\r\nreferences: <x@y>\r\n <z@y>\r\n\r\none\r\ntwo";
    let structure = scan(message);
    assert_eq!(structure.size, message.len() as u64);
    assert_eq!(kinds(&structure), [(Kind::Leaf, None)]);
    assert_eq!(body(message, &structure, 0), "one\r\ntwo");
    assert_eq!(structure.root().lines, 1);
    assert_eq!(structure.root().field(FieldName::Subject), Some(&b"a b"[..]));
    assert_eq!(structure.references.as_deref(), Some(&b"<x@y> <z@y>"[..]));
}

#[test]
fn a_message_without_empty_line_or_without_anything_has_no_body() {
    for message in [&b""[..], b"Subject: x", b"Subject: x\r\n", b"\r\n", b"\n"] {
        let structure = scan(message);
        let root = structure.root();
        assert_eq!(
            (root.header_start, root.body_start, root.end),
            (0, message.len() as u64, message.len() as u64)
        );
        assert_eq!(root.lines, 0);
    }
}

#[test]
fn parts_end_before_the_line_break_of_the_delimiter() {
    let message = b"Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n--b\r\n\r\none\r\n\r\n--b \t\r\nX: y\r\n\r\ntwo\r\n--b--\r\nepilogue\r\n--b\r\n";
    let structure = scan(message);
    assert_eq!(kinds(&structure), [(Kind::Multipart, None), (Kind::Leaf, Some(0)), (Kind::Leaf, Some(0))]);
    assert_eq!(body(message, &structure, 1), "one\r\n");
    assert_eq!(structure.parts[1].lines, 1);
    assert_eq!(body(message, &structure, 2), "two");
    assert_eq!(structure.parts[2].lines, 0);
    assert_eq!(structure.parts[0].end, message.len() as u64);
}

#[test]
fn lines_may_end_in_a_bare_line_feed() {
    let message = b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\n\ntwo\n\n--b--\n";
    let structure = scan(message);
    assert_eq!(body(message, &structure, 1), "one");
    assert_eq!(body(message, &structure, 2), "two\n");
}

#[test]
fn an_outer_delimiter_ends_the_inner_parts() {
    let message = b"Content-Type: multipart/mixed; boundary=out\r\n\r\n--out\r\nContent-Type: multipart/mixed; boundary=in\r\n\r\n--in\r\n\r\ninner\r\n--out\r\n\r\nouter\r\n";
    let structure = scan(message);
    let parents: Vec<_> = structure.parts.iter().map(|part| part.parent).collect();
    assert_eq!(parents, [None, Some(0), Some(1), Some(0)]);
    assert_eq!(body(message, &structure, 2), "inner");
    assert_eq!(body(message, &structure, 3), "outer\r\n");
}

#[test]
fn a_boundary_that_starts_another_takes_only_its_own_lines() {
    let message = b"Content-Type: multipart/mixed; boundary=foo\r\n\r\n--foo\r\nContent-Type: multipart/mixed; boundary=foobar\r\n\r\n--foobar\r\n\r\ninner\r\n--foobar--\r\n--foo\r\n\r\nouter\r\n--foo--";
    let structure = scan(message);
    let parents: Vec<_> = structure.parts.iter().map(|part| part.parent).collect();
    assert_eq!(parents, [None, Some(0), Some(1), Some(0)]);
    assert_eq!(body(message, &structure, 2), "inner");
    assert_eq!(body(message, &structure, 3), "outer");
}

#[test]
fn a_message_in_a_message_has_its_own_envelope_fields() {
    let message = b"Subject: outer\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ntext\r\n";
    let structure = scan(message);
    assert_eq!(kinds(&structure), [(Kind::Message, None), (Kind::Leaf, Some(0))]);
    assert!(structure.parts[1].is_message);
    assert_eq!(structure.parts[1].field(FieldName::Subject), Some(&b"inner"[..]));
    assert_eq!(body(message, &structure, 1), "text\r\n");
    assert_eq!(structure.parts[0].lines, 3);
}

#[test]
fn an_encoded_message_is_a_leaf() {
    for encoding in ["base64", "quoted-printable", "x-own"] {
        let message = format!(
            "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: {encoding}\r\n\r\nA: b\r\n\r\n"
        );
        assert_eq!(scan(message.as_bytes()).root().kind, Kind::Leaf);
    }
    assert_eq!(
        scan(b"Content-Type: message/global\r\nContent-Transfer-Encoding: 8BIT\r\n\r\n").root().kind,
        Kind::Message
    );
}

#[test]
fn parts_of_a_digest_are_messages_unless_they_say_otherwise() {
    let message = b"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: x\r\n\r\nt\r\n--b\r\nContent-Type: text/plain\r\n\r\nSubject: y\r\n--b--";
    let structure = scan(message);
    let found: Vec<_> = structure.parts.iter().map(|part| part.kind).collect();
    assert_eq!(found, [Kind::Multipart, Kind::Message, Kind::Leaf, Kind::Leaf]);
    assert_eq!(structure.parts[2].field(FieldName::Subject), Some(&b"x"[..]));
    assert_eq!(structure.parts[3].field(FieldName::Subject), None);
}

#[test]
fn of_a_repeated_field_the_first_counts_but_recipients_add_up() {
    let structure = scan(b"From: a@x\r\nTo: b@x\r\nFrom: c@x\r\nTo: d@x\r\nTo:\r\n\r\n");
    assert_eq!(structure.root().field(FieldName::From), Some(&b"a@x"[..]));
    assert_eq!(structure.root().field(FieldName::To), Some(&b"b@x, d@x"[..]));
}

#[test]
fn an_empty_multipart_has_one_empty_part() {
    let structure = scan(b"Content-Type: multipart/mixed; boundary=b\r\n\r\nno delimiter\r\n");
    assert_eq!(kinds(&structure), [(Kind::Multipart, None), (Kind::Leaf, Some(0))]);
    assert_eq!(structure.parts[1].header_start, structure.size);
}

/// Ranges inside each other, parents before children: what readers of the structure rely on.
pub(super) fn check(structure: &Structure) {
    for (index, part) in structure.parts.iter().enumerate() {
        assert!(
            part.header_start <= part.body_start && part.body_start <= part.end && part.end <= structure.size
        );
        assert_eq!(part.parent.is_none(), index == 0);
        if let Some(parent) = part.parent {
            assert!((parent as usize) < index);
            let around = &structure.parts[parent as usize];
            assert!(around.body_start <= part.header_start && part.end <= around.end, "{structure:?}");
        }
    }
}

#[test]
fn any_cut_of_the_input_gives_the_same_structure() {
    let mut random = Random(0x5eed);
    for _ in 0..4_000 {
        let message = random.message();
        let whole = scan(&message);
        check(&whole);
        let mut single = Scanner::new(Limits::DEFAULT);
        for byte in &message {
            single.push(std::slice::from_ref(byte));
        }
        assert_eq!(single.finish(), whole, "{}", message.escape_ascii());
        let mut cut = Scanner::new(Limits::DEFAULT);
        let mut rest = &message[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(1 + random.below(rest.len()));
            cut.push(piece);
            rest = after;
        }
        assert_eq!(cut.finish(), whole, "{}", message.escape_ascii());
    }
}

#[test]
fn every_message_of_the_suites_is_the_same_octet_by_octet() {
    let Some(suites) = postrider_testing::suites() else { return };
    let mut folders = vec![suites.join("mime")];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
                continue;
            }
            let message = std::fs::read(entry.path()).unwrap();
            let whole = scan(&message);
            check(&whole);
            for octets in [1, 7, 1000] {
                let mut scanner = Scanner::new(Limits::DEFAULT);
                message.chunks(octets).for_each(|piece| scanner.push(piece));
                assert_eq!(scanner.finish(), whole, "{}", entry.path().display());
            }
            count += 1;
        }
    }
    assert!(count > 300, "only {count} files");
}

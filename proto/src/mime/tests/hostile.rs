//! Hostile messages (threats D1-D5) and every limit at its value and one past it.

use std::time::Duration;

use super::super::imap::{self, ClientText};
use super::super::{FieldName, Kind};
use super::scanner::check;
use super::*;

/// Of the processor: far above what each of these takes even in a debug build; a quadratic step
/// would take minutes.
const TIME_MAX: Duration = Duration::from_secs(10);

/// Scans, stores and writes everything about a message.
fn describe(message: &[u8]) -> (Structure, usize, usize) {
    let (described, took) = postrider_testing::processor_time(|| {
        let structure = scan(message);
        check(&structure);
        let record = encoded(&structure);
        let read = StructureRef::decode(&record).unwrap();
        let mut out = Vec::new();
        imap::body_structure(&mut out, &read, ClientText::SevenBit);
        imap::envelope(&mut out, read.root(), ClientText::SevenBit);
        assert!(out.is_ascii());
        (structure, record.len(), out.len())
    });
    assert!(took < TIME_MAX, "took {took:?}");
    described
}

#[test]
fn ten_thousand_nested_multiparts_stay_small() {
    let mut message = Vec::new();
    for level in 0..10_000 {
        message.extend_from_slice(
            format!("Content-Type: multipart/mixed; boundary=b{level}x\r\n\r\n--b{level}x\r\n").as_bytes(),
        );
    }
    let (structure, record, response) = describe(&message);
    assert_eq!(structure.parts.len(), Limits::DEFAULT.depth_max);
    assert!(record < 16_000 && response < 16_000, "{record} {response}");
}

#[test]
fn one_boundary_for_ten_thousand_nested_multiparts_stays_small() {
    let message = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n".repeat(10_000);
    let (structure, record, response) = describe(&message);
    assert!(structure.parts.len() <= Limits::DEFAULT.parts_max);
    assert!(record < 200_000 && response < 200_000, "{record} {response}");
}

#[test]
fn ten_thousand_messages_in_messages_stay_small() {
    let message = b"Content-Type: message/rfc822\r\n\r\n".repeat(10_000);
    let (structure, _, response) = describe(&message);
    assert_eq!(structure.parts.len(), Limits::DEFAULT.depth_max);
    assert!(response < 32_000, "{response}");
}

#[test]
fn many_address_fields_take_linear_time() {
    for line in [
        &b"To: a@b\r\n"[..],
        b"To: a@b, \"c, d\" (e) <f@g>,\r\n",
        b"From: a@b\r\n",
        b"To: ((((\r\n",
        b"To: \"\r\n",
    ] {
        let message = line.repeat(500_000);
        let (structure, record, _) = describe(&message);
        let kept: usize = structure.root().fields.iter().map(|field| field.value.len()).sum();
        assert!(kept <= Limits::DEFAULT.field_octets_max && record < 70_000, "{kept} {record}");
    }
    let one = [b"To: ".as_slice(), &b"a@b, ".repeat(500_000), b"\r\n"].concat();
    describe(&one);
    let folded = [b"To: x@y".as_slice(), &b",\r\n a@b".repeat(500_000), b"\r\n"].concat();
    let (structure, _, _) = describe(&folded);
    let to = structure.root().field(FieldName::To).unwrap();
    assert_eq!(memchr::memchr_iter(b'@', to).count(), Limits::DEFAULT.addresses_max);
}

#[test]
fn lines_like_delimiters_cost_at_most_the_depth() {
    let mut message = Vec::new();
    let long = "b".repeat(200);
    for level in 0..99 {
        message.extend_from_slice(
            format!("Content-Type: multipart/mixed; boundary={long}{level}\r\n\r\n--{long}{level}\r\n")
                .as_bytes(),
        );
    }
    message.extend_from_slice(format!("\r\n{}", format!("--{long}\r\n").repeat(20_000)).as_bytes());
    let (structure, _, _) = describe(&message);
    assert_eq!(structure.parts.len(), 100);
    assert_eq!(structure.parts[99].lines, 20_000);
}

#[test]
fn what_is_kept_does_not_grow_with_the_message() {
    let mut scanner = Scanner::new(Limits::DEFAULT);
    scanner.push(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n");
    let piece = b"--- a line without an end ".repeat(40_000);
    for _ in 0..100 {
        scanner.push(&piece);
        assert!(scanner.octets_held() < 1_000, "{}", scanner.octets_held());
    }
    let structure = scanner.finish();
    assert_eq!(structure.parts[1].body_octets(), 104_000_000);
    let mut scanner = Scanner::new(Limits::DEFAULT);
    for _ in 0..100 {
        scanner.push(b"To: a@b\r\n x");
        scanner.push(&piece);
        assert!(scanner.octets_held() < 3 * Limits::DEFAULT.field_octets_max, "{}", scanner.octets_held());
    }
}

#[test]
fn a_field_of_ten_megabytes_is_cut_between_words() {
    let message = [b"Subject: ".as_slice(), &b"word ".repeat(2_000_000), b"\r\n\r\nbody"].concat();
    let (structure, record, _) = describe(&message);
    let subject = structure.root().field(FieldName::Subject).unwrap();
    assert!(subject.ends_with(b" word") && subject.len() <= Limits::DEFAULT.field_octets_max);
    assert!(record < 70_000);
    // The same without a line break, without a space, as a name, and as many fields.
    describe(&[b"Subject: ".as_slice(), &vec![b'x'; 10_000_000]].concat());
    describe(&vec![b'x'; 10_000_000]);
    describe(&b"X-Field: y\r\n".repeat(800_000));
    let (_, record, _) = describe(
        &b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Description: ".repeat(5_000),
    );
    assert!(record < 400_000);
}

#[test]
fn a_flood_of_parameter_sections_is_cut() {
    let mut message = b"Content-Type: text/plain".to_vec();
    for section in 0..100_000 {
        message.extend_from_slice(format!(";\r\n filename*{section}=x").as_bytes());
    }
    let (structure, record, response) = describe(&message);
    let value = structure.root().field(FieldName::ContentType).unwrap();
    assert_eq!(memchr::memchr_iter(b';', value).count(), Limits::DEFAULT.parameters_max);
    assert!(record < 2_000 && response < 2_000, "{record} {response}");
}

#[test]
fn ambiguous_fields_are_read_one_way() {
    let structure = scan(
        b"Content-Type: text/plain\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--",
    );
    assert_eq!(structure.parts.len(), 1);
    let structure = scan(b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: base64\r\n\r\nA: b\r\n");
    assert_eq!(structure.root().kind, Kind::Message);
    let structure =
        scan(b"Content-Type: multipart/mixed; boundary=a; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--a\r\n\r\ny");
    assert_eq!(structure.parts.len(), 2);
}

#[test]
fn depth_is_limited_at_its_value() {
    let nested = |levels: usize| b"Content-Type: message/rfc822\r\n\r\n".repeat(levels);
    let limits = Limits { depth_max: 3, ..Limits::DEFAULT };
    let kinds = |levels| {
        scan_with(&nested(levels), limits.clone()).parts.iter().map(|part| part.kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds(2), [Kind::Message, Kind::Message, Kind::Leaf]);
    assert_eq!(kinds(3), [Kind::Message, Kind::Message, Kind::Leaf]);
}

#[test]
fn parts_are_limited_at_their_value() {
    let limits = Limits { parts_max: 4, ..Limits::DEFAULT };
    let message = |parts: usize| {
        [
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n".as_slice(),
            &b"--b\r\n\r\nx\r\n".repeat(parts),
            b"--b--\r\n",
        ]
        .concat()
    };
    let three = scan_with(&message(3), limits.clone());
    assert_eq!(three.parts.len(), 4);
    assert_eq!(three.parts[3].body_octets(), 1);
    let four = scan_with(&message(4), limits.clone());
    assert_eq!(four.parts.len(), 4);
    // The delimiter too many and what follows it are content of the last part.
    assert_eq!(four.parts[3].body_octets(), b"x\r\n--b\r\n\r\nx".len() as u64);
    let mut random = Random(7);
    for _ in 0..3_000 {
        let structure = scan_with(&random.message(), limits.clone());
        check(&structure);
        assert!(structure.parts.len() <= 4);
        assert_eq!(StructureRef::decode(&encoded(&structure)).unwrap().parts().len(), structure.parts.len());
    }
}

#[test]
fn kept_octets_are_limited_at_their_value() {
    let limits = Limits { field_octets_max: 20, fields_octets_max: 30, ..Limits::DEFAULT };
    let subject = |value: &str| {
        let structure = scan_with(format!("Subject:{value}\r\n\r\n").as_bytes(), limits.clone());
        structure.root().field(FieldName::Subject).map(<[u8]>::to_vec)
    };
    assert_eq!(subject(" 1234567890 123456789").as_deref(), Some(&b"1234567890 123456789"[..]));
    assert_eq!(subject(" 1234567890 1234567890").as_deref(), Some(&b"1234567890"[..]));
    assert_eq!(subject(&" 12345".repeat(1000)).as_deref(), Some(&b"12345 12345 12345"[..]));
    let structure =
        scan_with(b"Subject: 12345\r\n 67890\r\n ABCDEFGHI\r\nDate: 1 2 3\r\nTo: a@b, c@d\r\n\r\n", limits);
    assert_eq!(structure.root().field(FieldName::Subject), Some(&b"12345 67890"[..]));
    let kept: usize = structure.root().fields.iter().map(|field| field.value.len()).sum();
    assert!(kept <= 30);
}

#[test]
fn addresses_and_parameters_are_limited_at_their_values() {
    let limits = Limits { addresses_max: 3, parameters_max: 2, ..Limits::DEFAULT };
    let field = |line: &str, name| {
        let structure = scan_with(format!("{line}\r\n\r\n").as_bytes(), limits.clone());
        String::from_utf8(structure.root().field(name).unwrap().to_vec()).unwrap()
    };
    assert_eq!(field("To: a@b, \"c,d\"@e, f@g", FieldName::To), "a@b, \"c,d\"@e, f@g");
    assert_eq!(field("To: a@b, \"c,d\"@e, f@g, h@i", FieldName::To), "a@b, \"c,d\"@e, f@g");
    assert_eq!(field("To: a@b, c@d\r\nTo: e@f", FieldName::To), "a@b, c@d, e@f");
    assert_eq!(field("To: a@b, c@d\r\nTo: e@f, g@h", FieldName::To), "a@b, c@d, e@f");
    assert_eq!(field("To: a@b, c@d, e@f\r\nTo: g@h", FieldName::To), "a@b, c@d, e@f");
    assert_eq!(field("Content-Type: a/b; c=d; e=f", FieldName::ContentType), "a/b; c=d; e=f");
    assert_eq!(field("Content-Type: a/b; c=\";\"; e=f; g=h", FieldName::ContentType), "a/b; c=\";\"; e=f");
}

#[test]
fn boundaries_are_limited_at_their_value() {
    let kind = |octets: usize| {
        let limits = Limits { boundary_octets_max: 5, ..Limits::DEFAULT };
        scan_with(
            format!("Content-Type: multipart/mixed; boundary={}\r\n\r\n", "b".repeat(octets)).as_bytes(),
            limits,
        )
        .root()
        .kind
    };
    assert_eq!((kind(5), kind(6)), (Kind::Multipart, Kind::Leaf));
}

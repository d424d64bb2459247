//! The stored record: its octets, that it is read back as written, and hostile octets.

use super::super::imap::{self, ClientText, SectionText};
use super::super::record::RecordError;
use super::*;

const MESSAGE: &[u8] = b"Date: today\r\nReferences: <x@y>\r\nFrom: a@b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhi\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: s\r\n\r\nx\r\n--b--\r\n";

#[test]
fn the_octets_of_a_record_never_change() {
    let record = encoded(&scan(MESSAGE));
    assert_eq!(record.escape_ascii().to_string(), GOLDEN,);
    assert_eq!(StructureRef::decode(&record).unwrap().to_structure(), scan(MESSAGE));
}

const GOLDEN: &str = concat!(
    // version, size, parts
    r"\x01\xa0\x01\x04",
    // part 0: multipart and message; header, body, lines; its fields
    r"\x05\x00XH\n0",
    r"\x01\x05today\x03\x03a@b\x0b\x1bmultipart/mixed; boundary=b\x13\x05<x@y>",
    // part 1: leaf, its parent one before, no fields
    r"\x00\x01\x05\x02\x02\x00\x00",
    // part 2: message, its parent two before
    r"\x02\x02\x10 \x0f\x02\x10\x0b\x0emessage/rfc822",
    // part 3: leaf and message
    r"\x04\x01\x00\x0e\x01\x00\x03\x02\x01s",
);

#[test]
fn records_are_read_back_as_written() {
    let mut random = Random(0xc0de);
    for _ in 0..3_000 {
        let structure = scan(&random.message());
        let record = encoded(&structure);
        let read = StructureRef::decode(&record).unwrap();
        assert_eq!(read.to_structure(), structure);
        let root = record::root(&record).unwrap();
        assert!(root.fields().eq(read.root().fields()) && root.body_start == read.root().body_start);
        for (index, part) in structure.parts.iter().enumerate() {
            let children: Vec<_> = read.children(index).map(|child| read.parts()[child].parent).collect();
            assert!(children.iter().all(|parent| *parent == Some(index as u32)));
            assert_eq!(
                children.len(),
                structure.parts.iter().filter(|other| other.parent == Some(index as u32)).count()
            );
            assert_eq!(read.parts()[index].body_octets(), part.end - part.body_start);
        }
    }
}

#[test]
fn ordinary_records_are_small() {
    let Some(suites) = postrider_testing::suites() else { return };
    let message = std::fs::read(suites.join("mime/gen_smtp/the-gamut.eml")).unwrap();
    let record = encoded(&scan(&message));
    assert!(record.len() < 2_048, "{}", record.len());
}

#[test]
fn damaged_records_give_errors_and_never_panic() {
    let record = encoded(&scan(MESSAGE));
    for end in 0..record.len() {
        assert!(StructureRef::decode(&record[..end]).is_err());
    }
    assert_eq!(StructureRef::decode(&[record.as_slice(), b"\0"].concat()), Err(RecordError::Damaged));
    assert_eq!(StructureRef::decode(b"\x02"), Err(RecordError::Version(2)));
    let mut random = Random(0xbad);
    let mut accepted = 0;
    for _ in 0..60_000 {
        let mut damaged = record.clone();
        for _ in 0..1 + random.below(3) {
            let at = random.below(damaged.len());
            damaged[at] = random.below(256) as u8;
        }
        let root = record::root(&damaged);
        if let Ok(read) = StructureRef::decode(&damaged) {
            assert!(root.unwrap().fields().eq(read.root().fields()));
            accepted += 1;
            scanner::check(&read.to_structure());
            let mut out = Vec::new();
            imap::body_structure(&mut out, &read, ClientText::SevenBit);
            imap::section(&read, &[2, 1], SectionText::Mime, 3);
        }
    }
    assert!(accepted > 0, "no damage inside a value was tried");
    // A count that no record can hold allocates nothing.
    assert_eq!(StructureRef::decode(b"\x01\x05\xff\xff\xff\xff\xff\x0f"), Err(RecordError::Damaged));
}

//! What IMAP clients are sent.

use super::super::decode::TransferEncoding;
use super::super::header::FieldFilter;
use super::super::imap::{self, ClientText, SectionText};
use super::*;

fn envelope(message: &[u8], client: ClientText) -> String {
    let record = encoded(&scan(message));
    let structure = StructureRef::decode(&record).unwrap();
    let mut out = Vec::new();
    imap::envelope(&mut out, structure.root(), client);
    String::from_utf8(out).unwrap()
}

fn body_structure(message: &[u8], client: ClientText) -> String {
    let record = encoded(&scan(message));
    let structure = StructureRef::decode(&record).unwrap();
    let mut out = Vec::new();
    imap::body_structure(&mut out, &structure, client);
    String::from_utf8(out).unwrap()
}

#[test]
fn the_envelope_of_the_standard_is_written() {
    // RFC 9051 §7.5.2's example.
    let message = b"Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\nFrom: Terry Gray <gray@cac.washington.edu>\r\nSubject: IMAP4rev2 WG mtg summary and minutes\r\nTo: imap@cac.washington.edu\r\ncc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\nMessage-Id: <B27397-0100000@cac.washington.ed>\r\n\r\n";
    assert_eq!(
        envelope(message, ClientText::SevenBit),
        "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev2 WG mtg summary and minutes\" \
         ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) \
         ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((NIL NIL \"imap\" \"cac.washington.edu\")) \
         ((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) NIL NIL \
         \"<B27397-0100000@cac.washington.ed>\")"
    );
}

#[test]
fn absent_and_empty_fields_differ() {
    assert_eq!(envelope(b"\r\n", ClientText::Utf8), "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)");
    assert_eq!(
        envelope(b"Subject:\r\nTo:\r\n\r\n", ClientText::Utf8),
        "(NIL \"\" NIL NIL NIL NIL NIL NIL NIL NIL)"
    );
}

#[test]
fn octets_above_127_are_encoded_for_clients_that_take_seven_bits() {
    let message =
        "Subject: a caf\u{e9} and \u{fc}ber \u{fc}ber\r\nFrom: J\u{f6} <j\u{f6}@b\u{fc}cher.example>\r\n\r\n"
            .as_bytes();
    assert_eq!(
        envelope(message, ClientText::Utf8)
            .split_once(" NIL NIL NIL")
            .unwrap()
            .0
            .split(" ((")
            .next()
            .unwrap(),
        "(NIL \"a caf\u{e9} and \u{fc}ber \u{fc}ber\""
    );
    let narrow = envelope(message, ClientText::SevenBit);
    assert!(narrow.starts_with("(NIL \"a =?utf-8?B?Y2Fmw6k=?= and =?utf-8?B?w7xiZXIgw7xiZXI=?=\" ((\"=?utf-8?B?SsO2?=\" NIL \"=?utf-8?B?asO2?=\" \"xn--bcher-kva.example\"))"), "{narrow}");
    let latin = envelope(b"Subject: caf\xe9\r\n\r\n", ClientText::SevenBit);
    assert!(latin.contains("\"=?unknown-8bit?B?Y2Fm6Q==?=\""), "{latin}");
    let words = super::super::words::decode(narrow.split('"').nth(1).unwrap().as_bytes());
    assert_eq!(words, "a caf\u{e9} and \u{fc}ber \u{fc}ber");
}

#[test]
fn long_runs_become_words_of_at_most_75_octets() {
    let subject = "\u{20ac}".repeat(200);
    let narrow = envelope(format!("Subject: {subject}\r\n\r\n").as_bytes(), ClientText::SevenBit);
    let value = narrow.split('"').nth(1).unwrap();
    assert!(value.split(' ').all(|word| word.len() <= 75));
    assert_eq!(super::super::words::decode(value.as_bytes()), subject);
}

#[test]
fn random_messages_give_seven_bits_and_balanced_lists() {
    let mut random = Random(0xe7);
    for _ in 0..2_000 {
        let record = encoded(&scan(&random.message()));
        let structure = StructureRef::decode(&record).unwrap();
        for client in [ClientText::SevenBit, ClientText::Utf8] {
            let mut out = Vec::new();
            imap::body_structure(&mut out, &structure, client);
            imap::body(&mut out, &structure, client);
            imap::envelope(&mut out, structure.root(), client);
            assert!(client == ClientText::Utf8 || out.is_ascii());
            assert!(!out.contains(&0));
        }
    }
}

#[test]
fn strings_are_quoted_or_literals() {
    let string = |value: &[u8], client| {
        let mut out = Vec::new();
        imap::string(&mut out, value, client);
        out
    };
    assert_eq!(string(b"a\"b\\c", ClientText::SevenBit), b"\"a\\\"b\\\\c\"");
    assert_eq!(string(b"a\rb", ClientText::SevenBit), b"{3}\r\na\rb");
    assert_eq!(string(b"a\0b\xff", ClientText::Utf8), b"{3}\r\nab\xff");
    assert_eq!(string(b"a\xff", ClientText::SevenBit), b"\"a?\"");
    assert_eq!(string(b"", ClientText::SevenBit), b"\"\"");
}

#[test]
fn body_structure_has_extension_data() {
    let message = b"Content-Type: application/x-y; name=\"a b\"\r\nContent-ID: <i@x>\r\nContent-Description: d\r\nContent-Transfer-Encoding: BASE64\r\nContent-MD5: Q2hlY2s=\r\nContent-Disposition: attachment; filename*0=\"a\"; filename*1=b\r\nContent-Language: de, en\r\nContent-Location: x.bin\r\n\r\nQUJD";
    assert_eq!(
        body_structure(message, ClientText::SevenBit),
        "(\"application\" \"x-y\" (\"name\" \"a b\") \"<i@x>\" \"d\" \"BASE64\" 4 \"Q2hlY2s=\" (\"attachment\" (\"filename\" \"ab\")) (\"de\" \"en\") \"x.bin\")"
    );
    let message = "Content-Type: text/plain; name=\u{fc}.txt\r\n\r\n".as_bytes();
    assert!(
        body_structure(message, ClientText::SevenBit)
            .contains("(\"name*\" \"utf-8''%C3%BC.txt\" \"charset\" \"us-ascii\")")
    );
}

const NESTED: &[u8] = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nX: 1\r\n\r\none\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: s\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\n\r\n2a\r\n--c\r\nContent-Transfer-Encoding: base64\r\n\r\nMmI=\r\n--c--\r\n--b--\r\n";

#[test]
fn sections_name_octets_of_prefix_and_message() {
    const PREFIX: &[u8] = b"Return-Path: <>\r\nReceived: x\r\n";
    let record = encoded(&scan(NESTED));
    let structure = StructureRef::decode(&record).unwrap();
    let whole = [PREFIX, NESTED].concat();
    let get = |path: &[u32], text| {
        let range = imap::section(&structure, path, text, PREFIX.len() as u64)?;
        Some(String::from_utf8(whole[range.start as usize..range.end as usize].to_vec()).unwrap())
    };
    assert_eq!(get(&[], SectionText::Whole).unwrap().as_bytes(), whole);
    assert_eq!(
        get(&[], SectionText::Header).unwrap(),
        "Return-Path: <>\r\nReceived: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    );
    assert!(get(&[], SectionText::Text).unwrap().starts_with("--b\r\nX: 1"));
    assert_eq!(get(&[1], SectionText::Whole).unwrap(), "one");
    assert_eq!(get(&[1], SectionText::Mime).unwrap(), "X: 1\r\n\r\n");
    assert_eq!(get(&[2], SectionText::Mime).unwrap(), "Content-Type: message/rfc822\r\n\r\n");
    assert!(get(&[2], SectionText::Whole).unwrap().starts_with("Subject: s\r\n"));
    assert!(get(&[2], SectionText::Header).unwrap().ends_with("boundary=c\r\n\r\n"));
    assert!(get(&[2], SectionText::Text).unwrap().starts_with("--c\r\n"));
    assert_eq!(get(&[2, 1], SectionText::Whole).unwrap(), "2a");
    for (path, text) in [
        (&[][..], SectionText::Mime),
        (&[0], SectionText::Whole),
        (&[3], SectionText::Whole),
        (&[1, 1], SectionText::Whole),
        (&[1], SectionText::Header),
        (&[2, 3], SectionText::Whole),
        (&[2, 1], SectionText::Text),
        (&[u32::MAX], SectionText::Whole),
    ] {
        assert_eq!(get(path, text), None, "{path:?} {text:?}");
    }
}

#[test]
fn part_one_of_a_plain_message_is_its_body() {
    let record = encoded(&scan(b"A: b\r\n\r\ntext"));
    let structure = StructureRef::decode(&record).unwrap();
    assert_eq!(imap::section(&structure, &[1], SectionText::Whole, 10), Some(18..22));
    assert_eq!(imap::section(&structure, &[1], SectionText::Mime, 10), Some(0..18));
    assert_eq!(imap::section(&structure, &[1, 1], SectionText::Whole, 10), None);
    assert_eq!(imap::section(&structure, &[2], SectionText::Whole, 10), None);
}

#[test]
fn binary_names_a_body_and_its_encoding() {
    let record = encoded(&scan(NESTED));
    let structure = StructureRef::decode(&record).unwrap();
    let part = imap::binary(&structure, &[2, 2], 0).unwrap();
    assert_eq!(part.encoding, TransferEncoding::Base64);
    let octets = &NESTED[part.range.start as usize..part.range.end as usize];
    assert_eq!(super::super::decode::decode(part.encoding, octets).unwrap(), b"2b");
    assert_eq!(imap::binary(&structure, &[2], 0).unwrap().encoding, TransferEncoding::Identity);
    assert_eq!(imap::binary(&structure, &[4], 0), None);
    assert_eq!(imap::binary(&structure, &[], 5).unwrap().range, 0..NESTED.len() as u64 + 5);
    let record = encoded(&scan(b"Content-Transfer-Encoding: x-uuencode\r\n\r\n"));
    let structure = StructureRef::decode(&record).unwrap();
    assert_eq!(imap::binary(&structure, &[1], 0).unwrap().encoding, TransferEncoding::Unknown);
}

#[test]
fn header_fields_are_filtered_as_they_stand() {
    let header = b"From: a\r\nSubject : s\r\n\tmore\r\nX-Y: z\r\n\r\n";
    let filter = |filter, names: &[&[u8]]| {
        let mut out = Vec::new();
        imap::filter_fields(header, filter, names, &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(filter(FieldFilter::Named, &[b"SUBJECT", b"none"]), "Subject : s\r\n\tmore\r\n\r\n");
    assert_eq!(filter(FieldFilter::Unnamed, &[b"subject"]), "From: a\r\nX-Y: z\r\n\r\n");
    assert_eq!(filter(FieldFilter::Named, &[]), "\r\n");
}

//! Decoding and searching of text.

use super::super::decode::{Decoder, TransferEncoding, decode};
use super::super::text::{BodySearch, Needle, TextDecoder, fold, text_parts};
use super::super::words::{self, Charset};
use super::*;

fn in_pieces(encoding: TransferEncoding, data: &[u8], octets: usize) -> Vec<u8> {
    let mut decoder = Decoder::new(encoding).unwrap();
    let mut out = Vec::new();
    for piece in data.chunks(octets) {
        decoder.push(piece, &mut out);
    }
    decoder.finish(&mut out);
    out
}

#[test]
fn quoted_printable_is_decoded() {
    for (encoded, decoded) in [
        (&b"a=20b"[..], &b"a b"[..]),
        (b"a  \r\nb\t", b"a\r\nb\t"),
        (b"soft=\r\nline", b"softline"),
        (b"soft= \t\r\nline", b"softline"),
        (b"soft=\nline=", b"softline"),
        (b"=c3=A9", b"\xc3\xa9"),
        (b"=zz =4", b"=zz =4"),
        (b"= x", b"= x"),
        (b"==41", b"=A"),
    ] {
        assert_eq!(
            decode(TransferEncoding::QuotedPrintable, encoded).unwrap(),
            decoded,
            "{}",
            encoded.escape_ascii()
        );
    }
}

#[test]
fn base64_is_decoded() {
    for (encoded, decoded) in [
        (&b"QUJD"[..], &b"ABC"[..]),
        (b"QU\r\nJD\r\n", b"ABC"),
        (b"QQ==", b"A"),
        (b"QUI=", b"AB"),
        (b"QUI", b"AB"),
        (b"Q", b""),
        (b"Q!U-J D", b"ABC"),
        (b"QQ==QUJD", b"AABC"),
    ] {
        assert_eq!(decode(TransferEncoding::Base64, encoded).unwrap(), decoded, "{}", encoded.escape_ascii());
    }
    assert_eq!(decode(TransferEncoding::Unknown, b""), None);
}

#[test]
fn any_cut_decodes_to_the_same() {
    let mut random = Random(0xdec0de);
    for _ in 0..5_000 {
        let data: Vec<u8> =
            (0..random.below(60)).map(|_| b"=A4f \t\r\nQz=+/\xff"[random.below(14)]).collect();
        for encoding in [TransferEncoding::QuotedPrintable, TransferEncoding::Base64] {
            let whole = decode(encoding, &data).unwrap();
            assert!(whole.len() <= data.len());
            for octets in [1, 2, 5] {
                assert_eq!(in_pieces(encoding, &data, octets), whole, "{}", data.escape_ascii());
            }
        }
    }
}

#[test]
fn long_white_space_is_not_held_back_for_ever() {
    let mut decoder = Decoder::new(TransferEncoding::QuotedPrintable).unwrap();
    let mut out = Vec::new();
    decoder.push(&[b' '; 1023], &mut out);
    assert_eq!(out.len(), 0);
    decoder.push(b" ", &mut out);
    assert_eq!(out.len(), 1024);
}

#[test]
fn gmime_pairs() {
    let Some(suites) = postrider_testing::suites() else { return };
    let read = |path: &str| std::fs::read(suites.join("mime/gmime-charsets").join(path)).unwrap();
    let decoded = decode(TransferEncoding::QuotedPrintable, &read("encodings/wikipedia.qp")).unwrap();
    assert!(decoded == read("encodings/wikipedia.txt"), "wikipedia.qp");
    for (file, charset) in [
        ("cyrillic", "cp1251"),
        ("cyrillic", "iso-8859-5"),
        ("cyrillic", "koi8-r"),
        ("japanese", "iso-2022-jp"),
        ("japanese", "shift-jis"),
    ] {
        let octets = read(&format!("filters/{file}.{charset}.txt"));
        let expected = String::from_utf8(read(&format!("filters/{file}.utf-8.txt"))).unwrap();
        let charset = Charset::new(charset.as_bytes()).unwrap();
        assert!(charset.decode(&octets) == expected, "{file}");
        for length in [1, 3, 1000] {
            let mut decoder = TextDecoder::new(TransferEncoding::Identity, charset).unwrap();
            let mut out = String::new();
            octets.chunks(length).for_each(|piece| decoder.push(piece, &mut out));
            decoder.finish(&mut out);
            assert!(out == expected, "{file} in pieces of {length}");
        }
    }
}

#[test]
fn gmime_big5_is_decoded() {
    // The Big5 file of the suite is an older state of the text of its UTF-8 file: they differ after
    // the second character whatever decodes them.
    let Some(suites) = postrider_testing::suites() else { return };
    let octets = std::fs::read(suites.join("mime/gmime-charsets/filters/chinese.big5.txt")).unwrap();
    let text = Charset::new(b"big5").unwrap().decode(&octets);
    assert!(!text.contains('\u{fffd}') && text.chars().count() == 665);
}

#[test]
fn encoded_words_are_decoded() {
    for (value, decoded) in [
        ("=?utf-8?Q?caf=C3=A9?=", "caf\u{e9}"),
        ("a =?utf-8?B?w6k=?= b", "a \u{e9} b"),
        ("=?utf-8?Q?a?= =?utf-8?Q?b?=  c", "ab  c"),
        ("=?utf-8?B?w6k=?=\t=?iso-8859-1?Q?=E9?=", "\u{e9}\u{e9}"),
        ("=?utf-8?B?ww==?= =?utf-8?B?qQ==?=", "\u{e9}"),
        ("=?utf-8*en?Q?a_?=b", "a b"),
        ("=?nonsense?Q?a?=", "=?nonsense?Q?a?="),
        ("=?utf-8?X?a?= =?", "=?utf-8?X?a?= =?"),
        ("=?utf-7?Q?+AOk-?=", "\u{e9}"),
    ] {
        assert_eq!(words::decode(value.as_bytes()), decoded);
    }
    assert_eq!(words::decode(b"caf\xe9"), "caf\u{e9}");
}

#[test]
fn case_does_not_matter_in_a_search() {
    assert_eq!(fold("Stra\u{df}e \u{3a3}\u{3c2}"), fold("STRA\u{df}E \u{3c3}\u{3c3}"));
    let needle = Needle::new("\u{c9}COLE");
    assert!(needle.is_in("une \u{e9}cole") && needle.is_in("une e\u{301}cole"));
    assert!(!needle.is_in("une ecole"));
    assert!(Needle::new("").is_in(""));
}

#[test]
fn a_term_is_found_however_the_body_is_cut() {
    let body = "une =C3=\r\n=A9cole".as_bytes();
    for octets in 1..body.len() {
        let needle = Needle::new("\u{c9}CO");
        let mut search = BodySearch::new(&needle, TransferEncoding::QuotedPrintable, Charset::UTF_8).unwrap();
        body.chunks(octets).for_each(|piece| {
            search.push(piece);
        });
        assert!(search.finish(), "pieces of {octets}");
        let needle = Needle::new("ecole");
        let mut search = BodySearch::new(&needle, TransferEncoding::QuotedPrintable, Charset::UTF_8).unwrap();
        assert!(!body.chunks(octets).any(|piece| search.push(piece)) && !search.finish());
    }
}

#[test]
fn text_parts_are_listed() {
    let message = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html; charset=koi8-r\r\nContent-Transfer-Encoding: base64\r\n\r\nQQ==\r\n--b\r\nContent-Type: image/png\r\n\r\nx\r\n--b\r\n\r\nplain\r\n--b--";
    let record = encoded(&scan(message));
    let structure = StructureRef::decode(&record).unwrap();
    let parts = text_parts(&structure, 10);
    assert_eq!(parts.iter().map(|part| part.index).collect::<Vec<_>>(), [1, 3]);
    assert!(parts[0].charset == Charset::new(b"KOI8-R").unwrap());
    assert_eq!(parts[0].encoding, TransferEncoding::Base64);
    let range = parts[1].range.start as usize - 10..parts[1].range.end as usize - 10;
    assert_eq!(&message[range], b"plain");
}

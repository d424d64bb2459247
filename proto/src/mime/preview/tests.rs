//! What previews show, and that hostile parts cost no more than others.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;

use super::super::record;
use super::super::scan::Scanner;
use super::*;

/// The preview of a message whose octets come in pieces of `piece`.
fn preview_in(message: &[u8], piece: usize) -> String {
    let mut scanner = Scanner::new(Limits::DEFAULT);
    scanner.push(message);
    let mut encoded = Vec::new();
    record::encode(&scanner.finish(), &mut encoded);
    let structure = StructureRef::decode(&encoded).unwrap();
    for part in preview_parts(&structure, 0) {
        let mut preview = Preview::new(&part).unwrap();
        let body = &message[part.range.start as usize..part.range.end as usize];
        for octets in body.chunks(piece) {
            if preview.push(octets) {
                break;
            }
        }
        let text = preview.finish();
        if !text.is_empty() {
            return text;
        }
    }
    String::new()
}

fn preview(message: &str) -> String {
    let message = message.replace('\n', "\r\n");
    let whole = preview_in(message.as_bytes(), usize::MAX);
    for piece in [1, 3, 64] {
        assert_eq!(preview_in(message.as_bytes(), piece), whole, "in pieces of {piece}");
    }
    whole
}

fn plain(text: &str) -> String {
    preview(&format!("Subject: s\n\n{text}"))
}

fn html(text: &str) -> String {
    preview(&format!("Content-Type: text/html; charset=utf-8\n\n{text}"))
}

#[test]
fn plain_text_is_put_on_one_line() {
    assert_eq!(plain("Hello,\n\n  how   are\tyou?\n"), "Hello, how are you?");
    assert_eq!(plain(""), "");
    assert_eq!(plain("\n\n \n"), "");
    assert_eq!(plain("a\u{0}b\u{7}c\u{200b}d\u{202e}e"), "abcde");
}

#[test]
fn quotations_signatures_and_drawn_lines_are_left_out() {
    assert_eq!(plain("Fine.\n\nOn Monday Ann wrote:\n> old\n>> older\n\nBye\n-- \nSig\n"), "Fine. Bye");
    assert_eq!(plain("Note:\n=====\nthis\n-----\nand that"), "Note: this and that");
    // With nothing else, the quotation is the text; so is what only looks like an announcement.
    assert_eq!(plain("> all\n> quoted\n"), "all quoted");
    assert_eq!(plain("Ann wrote:\n> all\n> quoted\n"), "all quoted");
    assert_eq!(plain("Only this:\n"), "Only this:");
    assert_eq!(plain("-- \nonly a signature"), "only a signature");
}

#[test]
fn flowed_text_is_joined() {
    let flowed = |parameters: &str, text: &str| {
        preview(&format!("Content-Type: text/plain; format=flowed{parameters}\n\n{text}"))
    };
    assert_eq!(flowed("", "one \ntwo\n From\n"), "one two From");
    assert_eq!(flowed("; delsp=yes", "syl \nlable \n end\nx"), "syllable end x");
    // Space-stuffed, so not quoted (RFC 3676 §4.4).
    assert_eq!(flowed("", " > shown\n> quoted\n"), "> shown");
}

#[test]
fn encodings_and_charsets_are_undone() {
    let with = |headers: &str, body: &str| preview(&format!("{headers}\n\n{body}"));
    assert_eq!(
        with(
            "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable",
            "Gr=FC=DFe =\naus K=F6ln"
        ),
        "Grüße aus Köln"
    );
    assert_eq!(
        with("Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64", "R3LDvMOf\nZQ=="),
        "Grüße"
    );
    assert_eq!(with("Content-Type: text/plain\nContent-Transfer-Encoding: x-unknown", "secret"), "");
    assert_eq!(with("Content-Type: text/plain; charset=x-nonsense", "text"), "text");
}

#[test]
fn the_first_text_of_nested_parts_is_taken() {
    let nested = "Content-Type: multipart/mixed; boundary=a\n\n\
        --a\nContent-Type: application/pdf\n\n%PDF\n\
        --a\nContent-Type: multipart/alternative; boundary=b\n\n\
        --b\nContent-Type: text/html\n\n<p>markup</p>\n\
        --b\nContent-Type: text/plain\n\nwords\n--b--\n\
        --a--\n";
    assert_eq!(preview(nested), "words");
    // An empty alternative gives way to the other.
    assert_eq!(preview(&nested.replace("words", " ")), "markup");
    let attached = "Content-Type: multipart/mixed; boundary=a\n\n\
        --a\nContent-Type: text/plain\nContent-Disposition: attachment; filename=x\n\nfile\n\
        --a\nContent-Type: message/rfc822\n\nSubject: x\n\ninner\n--a--\n";
    assert_eq!(preview(attached), "");
    let encrypted = "Content-Type: multipart/encrypted; boundary=a\n\n\
        --a\nContent-Type: application/pgp-encrypted\n\nVersion: 1\n\
        --a\nContent-Type: application/octet-stream\n\nx\n--a--\n";
    assert_eq!(preview(encrypted), "");
}

#[test]
fn markup_is_left_out() {
    assert_eq!(
        html(
            "<html><head><title>T</title><style>p > b { c: \"<\" }</style></head><body><p>Hi <b>the</b>re</p><div>you</div>"
        ),
        "Hi there you"
    );
    assert_eq!(html("a<br>b<!-- <p>no</p> -->c<!-->d<!DOCTYPE x>e"), "a bcde");
    assert_eq!(html("<script>if (a < b) '</s' + '</script x>shown"), "shown");
    assert_eq!(
        html("1 &lt; 2 &amp; 3&nbsp;&#8211;&#x34; &auml; &nonsense; &x a&b"),
        "1 < 2 & 3 –4 ä &nonsense; &x a&b"
    );
    assert_eq!(html("a < b <p title='>'>c"), "a < b c");
    assert_eq!(html("<p>mine<blockquote>old<blockquote>older</blockquote></blockquote>end"), "mine end");
    assert_eq!(html("<blockquote>only</blockquote>"), "only");
    assert_eq!(html("Sale&zwnj;&nbsp;&zwnj;&nbsp;&#847;&shy; now"), "Sale\u{200c} now");
    assert_eq!(html("<p"), "");
}

#[test]
fn previews_end_at_their_limit() {
    for message in [plain(&"x".repeat(300)), html(&"<b>y</b>".repeat(300)), plain(&"ü ".repeat(300))] {
        let characters = message.chars().count();
        assert!((CHARACTERS_MAX - 1..=CHARACTERS_MAX).contains(&characters), "{characters}: {message}");
    }
    // Text behind the limit of octets isn't looked at.
    let padding = "\r\n".repeat(PART_OCTETS_MAX as usize / 2);
    assert_eq!(preview_in(format!("Subject: s\r\n\r\n{padding}late").as_bytes(), 65_536), "");
    let padding = "\r\n".repeat(PART_OCTETS_MAX as usize / 2 - 2);
    assert_eq!(preview_in(format!("Subject: s\r\n\r\n{padding}late").as_bytes(), 65_536), "late");
}

#[test]
fn no_more_parts_are_looked_at_than_allowed() {
    let mut message = "Content-Type: multipart/mixed; boundary=a\r\n\r\n".to_owned();
    for _ in 0..PARTS_MAX {
        message.push_str("--a\r\n\r\n \r\n");
    }
    let fits = message.replacen("\r\n \r\n", "\r\nshown\r\n", PARTS_MAX);
    assert_eq!(preview_in(format!("{fits}--a--\r\n").as_bytes(), 100), "shown");
    assert_eq!(preview_in(format!("{message}--a\r\n\r\nhidden\r\n--a--\r\n").as_bytes(), 100), "");
}

proptest! {
    #[test]
    fn any_octets_give_a_short_text_without_line_ends(
        body in prop::collection::vec(prop_oneof![
            Just(b'<'), Just(b'>'), Just(b'&'), Just(b'-'), Just(b'!'), Just(b'\n'), Just(b'/'), any::<u8>()
        ], 0..500),
        is_html: bool,
        piece in 1_usize..50,
    ) {
        let kind = if is_html { "html" } else { "plain" };
        let message = [format!("Content-Type: text/{kind}\r\n\r\n").as_bytes(), &body].concat();
        let text = preview_in(&message, piece);
        prop_assert_eq!(&text, &preview_in(&message, usize::MAX));
        prop_assert!(text.chars().count() <= CHARACTERS_MAX);
        prop_assert!(!text.chars().any(|character| character.is_control()));
    }
}

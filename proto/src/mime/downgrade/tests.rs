#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
use std::path::PathBuf;

use super::super::decode::{TransferEncoding, decode};
use super::super::scan::Scanner;
use super::super::{FieldName, Kind, Limits, Structure};
use super::*;

fn scan(message: &[u8]) -> Structure {
    let mut scanner = Scanner::new(Limits::DEFAULT);
    scanner.push(message);
    scanner.finish()
}

fn plan(message: &[u8], structure: &Structure, target: Target, cut: usize) -> Result<Plan, Obstacle> {
    let mut survey = Survey::new(structure, &Limits::DEFAULT, target);
    message.chunks(cut).for_each(|piece| survey.push(piece));
    survey.finish()
}

/// The message made fit, whatever the cuts; what is promised of it is checked.
fn downgrade(message: &[u8], target: Target) -> Result<Vec<u8>, Obstacle> {
    let structure = scan(message);
    let whole = plan(message, &structure, target, usize::MAX);
    let mut results = Vec::new();
    for cut in [usize::MAX, 1, 7, 100] {
        assert_eq!(plan(message, &structure, target, cut), whole);
        let Ok(plan) = &whole else { continue };
        let mut converter = Converter::new(plan.clone());
        let mut result = Vec::new();
        for piece in message.chunks(cut) {
            // As a driver has it: what was written is gone.
            let mut out = Vec::new();
            converter.push(piece, &mut out);
            result.append(&mut out);
        }
        converter.finish(&mut result);
        results.push(result);
    }
    let plan = whole?;
    assert!(results.iter().all(|result| *result == results[0]));
    let result = results.remove(0);
    if plan.is_empty() {
        assert!(result.starts_with(message));
    }
    check(message, &structure, &result, target);
    Ok(result)
}

/// The same parts, with the same content, in lines that fit.
fn check(message: &[u8], before: &Structure, result: &[u8], target: Target) {
    let after = scan(result);
    let shown = || format!("{}\n  became\n{}", message.escape_ascii(), result.escape_ascii());
    assert_eq!(before.parts.len(), after.parts.len(), "{}", shown());
    let content = |message: &[u8], structure: &Structure, number: usize| {
        let part = &structure.parts[number];
        let encoding = part.field(FieldName::ContentTransferEncoding).unwrap_or_default();
        let body = &message[part.body_start as usize..part.end as usize];
        decode(TransferEncoding::parse(encoding), body).unwrap_or(body.to_vec())
    };
    for (number, (old, new)) in before.parts.iter().zip(&after.parts).enumerate() {
        assert_eq!((old.kind, old.parent), (new.kind, new.parent));
        if old.kind == Kind::Leaf {
            let (old, mut new) = (content(message, before, number), content(result, &after, number));
            // A message has a line end at its end, whether there was one or not.
            if number + 1 == after.parts.len() && new.len() > old.len() {
                new.truncate(old.len());
            }
            assert!(old == new, "part {number} of {}", shown());
        }
        let label = new.field(FieldName::ContentTransferEncoding).unwrap_or_default().to_ascii_lowercase();
        let is_signed = memchr::memmem::find(message, b"multipart/signed").is_some();
        if !is_signed {
            assert!(label != b"binary" && (target == Target::EightBit || label != b"8bit"), "{}", shown());
        }
    }
    assert!(target == Target::EightBit || result.is_ascii(), "{}", shown());
}

fn fits(message: &[u8], target: Target) -> String {
    let result = downgrade(message, target).unwrap();
    let text = String::from_utf8_lossy(&result).into_owned();
    assert!(
        text.split("\r\n").all(|line| line.len() <= 998 && !line.contains(['\r', '\n', '\0'])),
        "{text:?}"
    );
    text
}

fn crlf(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

/// With a line end more, the delimiter would be one of the inner parts.
#[test]
fn a_header_without_a_body_gets_none() {
    for labels in [
        "Content-Transfer-Encoding: 8bit",
        "Content-Transfer-Encoding: 8bit\nContent-Transfer-Encoding: binary",
    ] {
        let message = format!(
            "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=b\n{labels}\n--b\n\n\
             x\n--b--\n"
        );
        let result = fits(&crlf(&message), Target::SevenBit);
        assert!(result.contains("boundary=b\r\nContent-Transfer-Encoding: 7bit\r\n--b\r\n"), "{result:?}");
    }
}

#[test]
fn text_becomes_quoted_printable() {
    let message = crlf(
        "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\nSubject: x\n\n\
         a=b \u{fc}\n trailing \n.dot\n\tx\t\nFrom me\nplain and long enough \u{e4}\n",
    );
    let expected = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\
        Subject: x\r\n\r\na=3Db =C3=BC\r\n trailing=20\r\n.dot\r\n\tx=09\r\nFrom me\r\nplain and long enough =C3=A4\r\n";
    assert_eq!(fits(&message, Target::SevenBit), expected);
}

#[test]
fn a_message_without_labels_gets_them() {
    let message = "Subject: x\r\n\r\nsome words and \u{e4}\r\n";
    let expected = "Subject: x\r\nContent-Transfer-Encoding: quoted-printable\r\nMIME-Version: 1.0\r\n\
        Content-Type: text/plain; charset=unknown-8bit\r\n\r\nsome words and =C3=A4\r\n";
    assert_eq!(fits(message.as_bytes(), Target::SevenBit), expected);
}

#[test]
fn parts_are_encoded_one_by_one_and_containers_are_labelled() {
    let message = crlf(
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 8bit\n\npr\u{e4}amble\n--b\n\n\
         plain\n--b\nContent-Type: text/html\nContent-Transfer-Encoding: 8bit\n\n<p>words \u{fc}</p>\n--b\n\
         Content-Type: image/png\nContent-Transfer-Encoding:\n 8bit\ncontent-transfer-encoding: binary\n\n\u{89}PNG\n--b\n\
         Content-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\nSubject: y\nContent-Transfer-Encoding: 8bit\n\n\
         inner words \u{f6}\n--b\nContent-Transfer-Encoding: 8bit\n\nseven bits\n--b--\n\u{e9}pilogue\n",
    );
    let expected = crlf(
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 7bit\n\npr??amble\n--b\n\n\
         plain\n--b\nContent-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n<p>words =C3=BC</p>\n--b\n\
         Content-Type: image/png\nContent-Transfer-Encoding: base64\n\nwolQTkc=\n--b\n\
         Content-Type: message/rfc822\nContent-Transfer-Encoding: 7bit\n\nSubject: y\nContent-Transfer-Encoding: quoted-printable\n\
         MIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\n\n\
         inner words =C3=B6\n--b\nContent-Transfer-Encoding: 7bit\n\nseven bits\n--b--\n??pilogue\n",
    );
    assert_eq!(fits(&message, Target::SevenBit).into_bytes(), expected);
}

#[test]
fn a_server_with_8bitmime_gets_all_but_binary_parts_as_they_are() {
    let message = crlf(
        "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: binary\n\npr\u{e4}amble\n--b\n\
         Content-Type: text/plain\nContent-Transfer-Encoding: binary\n\nwords \u{fc}\n--b\nContent-Type: image/png\n\
         Content-Transfer-Encoding: binary\n\nx\0y\n--b--\n",
    );
    let expected = crlf(
        "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 8bit\nMIME-Version: 1.0\n\npr\u{e4}amble\n--b\n\
         Content-Type: text/plain\nContent-Transfer-Encoding: 8bit\n\nwords \u{fc}\n--b\nContent-Type: image/png\n\
         Content-Transfer-Encoding: base64\n\neAB5\n--b--\n",
    );
    assert_eq!(fits(&message, Target::EightBit).into_bytes(), expected);
    for body in ["a\0b", "a\rb", "a\nb", "a\r", &"x".repeat(999)] {
        let message = [b"Content-Type: text/plain\r\n\r\n", body.as_bytes(), b"\r\n"].concat();
        for target in [Target::SevenBit, Target::EightBit] {
            let result = fits(&message, target);
            let expected = if body.len() > 998 { "quoted-printable" } else { "base64" };
            assert!(result.contains(expected), "{body:?}: {result}");
        }
    }
    let longest = ["Subject: x\r\n\r\n", &"x".repeat(998), "\r\n"].concat();
    assert_eq!(downgrade(longest.as_bytes(), Target::SevenBit).unwrap(), longest.as_bytes());
}

#[test]
fn what_fits_stays_as_it_is() {
    for message in [
        "",
        "Subject: x\n\nbody\n",
        "Subject: x\n",
        "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n--b--\n",
        "Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\nZm9v\n",
    ] {
        let message = crlf(message);
        assert_eq!(downgrade(&message, Target::SevenBit).unwrap(), message);
    }
    let eight_bit = crlf("Subject: \u{fc}\nContent-Transfer-Encoding: 8bit\n\n\u{fc}\n");
    assert_eq!(downgrade(&eight_bit, Target::EightBit).unwrap(), eight_bit);
}

#[test]
fn nothing_under_a_signature_is_touched() {
    let signed = |inner: &str| {
        crlf(&format!(
            "Content-Type: multipart/signed; boundary=b; protocol=\"application/pgp-signature\"\n\
             Content-Transfer-Encoding: 8bit\nMIME-Version: 1.0\n\n--b\n{inner}\n--b\nContent-Type: application/pgp-signature\n\nxyz\n--b--\n"
        ))
    };
    let deep = "Content-Type: multipart/mixed; boundary=c\n\n--c\n\ntext \u{fc}\n--c--\n";
    let between = "Content-Type: multipart/mixed; boundary=c\n\npr\u{e4}amble\n--c\n\ntext\n--c--\n";
    for inner in ["\ntext \u{fc}", deep, between] {
        assert_eq!(downgrade(&signed(inner), Target::SevenBit), Err(Obstacle::Signed), "{inner}");
    }
    // The label of a part that fits is signed, too; that of the container isn't.
    let fitting = signed("Content-Transfer-Encoding: 8bit\n\ntext");
    let expected = String::from_utf8(fitting.clone()).unwrap().replacen("8bit", "7bit", 1);
    assert_eq!(String::from_utf8(downgrade(&fitting, Target::SevenBit).unwrap()).unwrap(), expected);
}

#[test]
fn what_may_not_be_encoded_is_an_obstacle() {
    for (message, obstacle) in [
        ("Subject: \u{fc}\n\nx\n", Obstacle::Header),
        (
            "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Description: \u{fc}\n\nx\n--b--\n",
            Obstacle::Header,
        ),
        ("Content-Type: message/partial; id=x\n\n\u{fc}\n", Obstacle::NotEncodable),
        ("Content-Type: message/delivery-status\n\n\u{fc}\n", Obstacle::NotEncodable),
        ("Content-Type: multipart/mixed\n\n\u{fc}\n", Obstacle::NotEncodable),
        ("Content-Transfer-Encoding: quoted-printable\n\n\u{fc}\n", Obstacle::NotEncodable),
        ("Content-Transfer-Encoding: base64\n\n\u{fc}\n", Obstacle::NotEncodable),
        ("Content-Transfer-Encoding: x-own\n\n\u{fc}\n", Obstacle::NotEncodable),
    ] {
        assert_eq!(downgrade(&crlf(message), Target::SevenBit), Err(obstacle), "{message}");
    }
    let international = crlf("Content-Type: message/global-headers\n\nSubject: words of \u{fc}\n");
    assert!(fits(&international, Target::SevenBit).contains("quoted-printable"));
    let parts = |count: usize| {
        format!("Content-Type: multipart/mixed; boundary=b\n\n{}--b--\n", "--b\n\nx \u{fc}\n".repeat(count))
    };
    let most = Limits::DEFAULT.parts_max;
    assert!(downgrade(&crlf(&parts(most - 2)), Target::SevenBit).is_ok());
    assert_eq!(downgrade(&crlf(&parts(most - 1)), Target::SevenBit), Err(Obstacle::TooComplex));
    let header = format!("Subject: {}\n\n\u{fc}\n", "x\n ".repeat(300_000));
    assert_eq!(downgrade(header.as_bytes(), Target::SevenBit), Err(Obstacle::TooComplex));
    let mut deep = String::new();
    for level in 0..110 {
        deep = format!("{deep}Content-Type: multipart/mixed; boundary=b{level:03}\n\n--b{level:03}\n");
    }
    assert_eq!(
        downgrade(&crlf(&format!("{deep}\nx \u{fc}\n")), Target::SevenBit),
        Err(Obstacle::NotEncodable)
    );
}

#[test]
fn lines_that_are_encoded_have_76_octets_at_most() {
    for body in [
        "\u{fc} words ".repeat(500),
        "=".repeat(500),
        " ".repeat(500),
        "x".repeat(2000) + "\u{fc}",
        "\u{1f600}".repeat(900),
    ] {
        let message = format!("Subject: x\r\n\r\n{body}\r\n{body}\u{fc}\r\n");
        let result = fits(message.as_bytes(), Target::SevenBit);
        let (_, body) = result.split_once("\r\n\r\n").unwrap();
        assert!(body.split("\r\n").all(|line| line.len() <= 76 && !line.ends_with([' ', '\t'])), "{body}");
    }
}

/// Random messages with fixed seeds, checked by [`check`].
#[test]
fn any_message_keeps_its_content() {
    let words: [&str; 26] = [
        "Content-Type: multipart/mixed; boundary=b\r\n",
        "Content-Type: multipart/mixed; boundary=c\r\n",
        "Content-Type: text/plain\r\n",
        "Content-Type: message/rfc822\r\n",
        "Content-Type: multipart/signed; boundary=d\r\n",
        "Content-Type: image/x\r\n",
        "Content-Transfer-Encoding: 8bit\r\n",
        "Content-Transfer-Encoding: binary\r\n",
        "Content-Transfer-Encoding: base64\r\n",
        "Content-Type: message/global\r\n",
        "\r\n",
        "\r\n",
        "\r\n\r\n",
        "--b\r\n",
        "--b\r\n",
        "\r\n--b--\r\n",
        "--c\r\n",
        "--c--\r\n",
        "\r\n--d\r\n",
        "words \u{fc} ",
        "\u{fc}",
        "plain",
        "=",
        " \r\n",
        "\r",
        "\0",
    ];
    let (mut converted, mut refused) = (0, 0);
    for seed in 1..2000_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        // Some without what makes them binary.
        let choice = if seed % 2 == 0 { words.len() } else { words.len() - 2 };
        let mut message = String::new();
        for _ in 0..30 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            message.push_str(words[(state >> 16) as usize % choice]);
        }
        for target in [Target::SevenBit, Target::EightBit] {
            match downgrade(message.as_bytes(), target) {
                Ok(result) => converted += usize::from(result != message.as_bytes()),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(converted > 300 && refused > 50, "{converted} {refused}");
}

/// The messages of other projects.
fn suite() -> Option<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![postrider_testing::suite("mime")?]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    Some(files)
}

#[test]
fn messages_of_other_projects_keep_their_content() {
    let Some(files) = suite() else { return };
    let (mut converted, mut refused) = (0, 0);
    for file in files {
        let octets = std::fs::read(&file).unwrap();
        let mut message = Vec::new();
        for line in octets.split_inclusive(|octet| *octet == b'\n') {
            message.extend_from_slice(line.trim_ascii_end());
            message.extend_from_slice(b"\r\n");
        }
        match downgrade(&message, Target::SevenBit) {
            Ok(result) => converted += usize::from(result != message),
            Err(_) => refused += 1,
        }
    }
    println!("{converted} were converted, {refused} refused");
}

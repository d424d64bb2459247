//! How long scanning takes: figures for a person to read, not a test of the machine.

use std::time::Instant;

use super::super::imap::{self, ClientText};
use super::*;

/// Runs `work` and gives the best time of one run in nanoseconds.
fn best(runs: u32, mut work: impl FnMut()) -> u128 {
    (0..runs)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_nanos()
        })
        .min()
        .unwrap_or_default()
}

fn ten_kilobytes() -> Vec<u8> {
    let mut message = Vec::new();
    for hop in 0..6 {
        message.extend_from_slice(format!("Received: from mx{hop}.example (mx{hop}.example [192.0.2.{hop}])\r\n\tby in.example with ESMTPS id 0123456789abcdef{hop}\r\n\tfor <user@example>; Mon, 2 Nov 2026 10:00:0{hop} +0000\r\n").as_bytes());
    }
    message.extend_from_slice(b"DKIM-Signature: v=1; a=rsa-sha256; d=example; s=a; h=from:to:subject;\r\n\tbh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\nFrom: A Sender <sender@example>\r\nTo: \"User, A\" <user@example>, other@example\r\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?= from here\r\nDate: Mon, 2 Nov 2026 10:00:00 +0000\r\nMessage-ID: <0123456789@example>\r\nReferences: <a@example> <b@example>\r\nIn-Reply-To: <b@example>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=\"----=_Part_1\"\r\n\r\n");
    for kind in ["plain", "html"] {
        message.extend_from_slice(format!("------=_Part_1\r\nContent-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n").as_bytes());
        for _ in 0..60 {
            message
                .extend_from_slice(b"The quick brown fox jumps over the lazy dog, and again, again.=20\r\n");
        }
    }
    message.extend_from_slice(b"------=_Part_1--\r\n");
    message
}

#[test]
#[ignore = "prints figures; meant for a release build"]
fn speed() {
    let message = ten_kilobytes();
    let nanos = best(2_000, || drop(scan(std::hint::black_box(&message))));
    println!("scan of {} octets: {nanos} ns", message.len());
    let structure = scan(&message);
    println!(
        "record: {} octets, {} ns",
        encoded(&structure).len(),
        best(2_000, || drop(encoded(&structure)))
    );
    let record = encoded(&structure);
    println!("decode: {} ns", best(2_000, || drop(StructureRef::decode(std::hint::black_box(&record)))));
    let read = StructureRef::decode(&record).unwrap();
    let mut out = Vec::with_capacity(4096);
    let nanos = best(2_000, || {
        out.clear();
        imap::envelope(&mut out, read.root(), ClientText::SevenBit);
    });
    println!("envelope: {nanos} ns");
    let nanos = best(2_000, || {
        out.clear();
        imap::body_structure(&mut out, &read, ClientText::SevenBit);
    });
    println!("body structure: {nanos} ns");

    let line = [&[b'A'; 76][..], b"\r\n"].concat();
    let head = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n";
    let chunk = line.repeat(840);
    let nanos = best(5, || {
        let mut scanner = Scanner::new(Limits::DEFAULT);
        scanner.push(head);
        for _ in 0..1600 {
            scanner.push(std::hint::black_box(&chunk));
        }
        assert_eq!(scanner.finish().parts.len(), 2);
    });
    let octets = 1600 * chunk.len();
    println!("body of {octets} octets: {} MB/s", octets as u128 * 1000 / nanos);
    for (name, encoding) in [
        ("base64", decode::TransferEncoding::Base64),
        ("quoted-printable", decode::TransferEncoding::QuotedPrintable),
    ] {
        let mut out = Vec::new();
        let nanos = best(50, || {
            out.clear();
            let mut decoder = decode::Decoder::new(encoding).unwrap();
            decoder.push(std::hint::black_box(&chunk), &mut out);
        });
        println!("{name}: {} MB/s", chunk.len() as u128 * 1000 / nanos);
    }
}

use super::super::decode;

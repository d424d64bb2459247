#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use super::*;
use crate::mime::decode::TransferEncoding::{Base64, Identity};

const XML: &str = "<?xml version=\"1.0\"?>\r\n<feedback><report_metadata><org_name>Them</org_name>\
    <email>dmarc@them.example</email><report_id>1</report_id><date_range><begin>1700000000</begin>\
    <end>1700086399</end></date_range></report_metadata><policy_published><domain>us.example</domain><p>none</p>\
    </policy_published></feedback>";
const JSON: &str = "{\"organization-name\":\"Them\",\"date-range\":{\"start-datetime\":\"2026-11-25T00:00:00Z\",\
    \"end-datetime\":\"2026-11-25T23:59:59Z\"},\"contact-info\":\"tls@them.example\",\"report-id\":\"2\",\
    \"policies\":[]}";

fn base64(octets: &[u8]) -> String {
    let text = crate::dkim::tags::to_base64(octets);
    text.as_bytes().chunks(76).map(|line| format!("{}\r\n", String::from_utf8_lossy(line))).collect()
}

/// A part with a header and a body.
fn part(content_type: &str, encoding: &str, body: &str) -> String {
    format!("Content-Type: {content_type}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{body}")
}

fn multipart(boundary: &str, parts: &[String]) -> String {
    let parts: String = parts.iter().map(|part| format!("--{boundary}\r\n{part}\r\n")).collect();
    format!("Content-Type: multipart/mixed; boundary={boundary}\r\n\r\n{parts}--{boundary}--\r\n")
}

fn message(rest: &str) -> Vec<u8> {
    format!("From: dmarc@them.example\r\nMIME-Version: 1.0\r\n{rest}").into_bytes()
}

fn organization(report: &Report) -> &str {
    match report {
        Report::Dmarc(report) => &report.organization_name,
        Report::Tls(report) => &report.organization_name,
    }
}

fn is_dmarc(report: &Report) -> bool {
    matches!(report, Report::Dmarc(_))
}

#[test]
fn reports_are_found_in_whatever_they_come() {
    let gz = |text: &str| base64(&gzip::compress(text.as_bytes()));
    let text = part("text/plain", "7bit", "This is a report.");
    let html = part("text/html", "7bit", "<p>This is a report.</p>");
    for (rest, dmarc) in [
        // As the message itself.
        (part("application/gzip", "base64", &gz(XML)), true),
        (part("application/zip", "base64", &base64(&zip::testing::archive(XML.as_bytes()))), true),
        (
            part(
                "application/x-zip-compressed; name=a.zip",
                "BASE64",
                &base64(&zip::testing::archive(XML.as_bytes())),
            ),
            true,
        ),
        (part("application/tlsrpt+gzip", "base64", &gz(JSON)), false),
        (part("application/tlsrpt+json", "8bit", JSON), false),
        (part("text/xml", "7bit", XML), true),
        (part("text/plain", "8bit", &format!("\r\n {XML}\r\n")), true),
        (format!("\r\n{JSON}"), false),
        // In parts, named wrongly or not at all.
        (multipart("x", &[text.clone(), part("application/octet-stream", "base64", &gz(XML))]), true),
        (multipart("x", &[text.clone(), part("application/gzip", "base64", &base64(XML.as_bytes()))]), true),
        (
            multipart(
                "x",
                &[
                    text.clone(),
                    html.clone(),
                    part("application/json", "quoted-printable", &JSON.replace('=', "=3D")),
                ],
            ),
            false,
        ),
        (multipart("x", &[part("application/pdf", "base64", &gz(JSON)), text.clone()]), false),
        (
            multipart(
                "x",
                &[
                    multipart("y", &[text.clone(), html.clone()]),
                    multipart("z", &[part("application/gzip", "base64", &gz(XML))]),
                ],
            ),
            true,
        ),
        // Another attachment before it.
        (
            multipart(
                "x",
                &[part("application/pgp-signature", "7bit", "none"), part("application/xml", "8bit", XML)],
            ),
            true,
        ),
    ] {
        let found = find_in(&message(&rest)).unwrap_or_else(|error| panic!("{rest}: {error}"));
        assert_eq!((organization(&found), is_dmarc(&found)), ("Them", dmarc), "{rest}");
    }
    let marked = [b"\xef\xbb\xbf", XML.as_bytes()].concat();
    assert!(is_dmarc(&read(&marked).unwrap()));
    let wide: Vec<u8> = format!("\u{feff}{XML}").encode_utf16().flat_map(u16::to_be_bytes).collect();
    assert!(is_dmarc(&read(&wide).unwrap()));
}

#[test]
fn what_is_no_report_says_why() {
    let text = part("text/plain", "7bit", "Hello.");
    let inner =
        format!("Content-Type: message/rfc822\r\n\r\nSubject: x\r\n{}", part("text/xml", "7bit", XML));
    let far = vec![part("application/octet-stream", "7bit", "no"); PARTS_MAX];
    let cut = gzip::compress(XML.as_bytes());
    let doctype = XML.replace("<feedback>", "<!DOCTYPE x [<!ENTITY a \"b\">]><feedback>");
    let deep = format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000));
    for (rest, said) in [
        (multipart("x", std::slice::from_ref(&text)), "neither XML nor JSON"),
        (part("image/png", "base64", &base64(XML.as_bytes())), "neither XML nor JSON"),
        (part("text/xml", "x-unknown", XML), "neither XML nor JSON"),
        // Whoever signed the outer message says nothing of one inside it.
        (multipart("x", &[text, inner]), "neither XML nor JSON"),
        (
            multipart("x", &[far, vec![part("application/octet-stream", "7bit", XML)]].concat()),
            "neither XML nor JSON",
        ),
        (part("application/gzip", "base64", &base64(&cut[..cut.len() - 1])), "not a whole gzip file"),
        (part("application/zip", "base64", &base64(b"PK\x03\x04")), "not a whole zip archive"),
        (part("text/xml", "7bit", XML.split("<policy_published>").next().unwrap()), "the report is cut off"),
        (part("text/xml", "7bit", "<feedback></feedback>"), "the report has no"),
        (part("application/json", "7bit", "{\"policies\":[]}"), "not of the schema"),
        (part("text/xml", "7bit", &doctype), "document type"),
        (part("text/xml", "base64", &base64(deep.as_bytes())), "nested too deeply"),
        // More tags than any report needs take no longer than one.
        (
            part("text/xml", "base64", &base64(format!("<feedback>{}", "<a/>".repeat(1_600_000)).as_bytes())),
            "too large",
        ),
    ] {
        let error = find_in(&message(&rest)).map(drop).map_err(|error| error.to_string());
        assert!(error.as_ref().is_err_and(|error| error.contains(said)), "{rest:.300}: {error:?}");
    }
}

#[test]
fn nothing_expands_to_much() {
    let blank = |octets: usize| format!("{}{XML}", " ".repeat(octets)).into_bytes();
    // Some reports compress well: 64 KiB are always allowed, and 400 times of what comes.
    assert!(read(&gzip::compress(&blank(60_000))).is_ok());
    for octets in [1 << 20, 50 << 20] {
        let bomb = gzip::compress(&blank(octets));
        assert!(bomb.len() < octets / RATIO_MAX);
        assert!(matches!(read(&bomb), Err(FileError::TooLarge)), "{octets}");
        let bomb = zip::testing::archive(&blank(octets));
        assert!(matches!(read(&bomb), Err(FileError::TooLarge)), "{octets}");
    }
    let mut long = XML.as_bytes().to_vec();
    long.resize(FILE_OCTETS_MAX, b' ');
    assert!(read(&long).is_ok());
    long.push(b' ');
    assert!(matches!(read(&long), Err(FileError::TooLarge)));
    let candidate = |end, encoding| Candidate { start: 10, end, encoding };
    assert!(candidate(BODY_OCTETS_MAX + 10, Base64).decoder().is_some());
    assert!(candidate(BODY_OCTETS_MAX + 11, Identity).decoder().is_none());
}

#[test]
fn reports_that_others_collected_are_read() {
    // Folder, number of files that are reports, and the files that are none, with what is wrong.
    let folders: [(&str, usize, &[&str]); 5] = [
        ("dmarc/reports-parsedmarc/aggregate", 17, &["invalid_xml.xml"]),
        ("dmarc/reports-parsedmarc/extract_report", 4, &[]),
        ("dmarc/reports-mail-auth", 10, &[]),
        ("tlsrpt/reports-mail-auth", 2, &[]),
        ("tlsrpt/reports-parsedmarc", 4, &[]),
    ];
    for (folder, expected, unreadable) in folders {
        let Some(place) = postrider_testing::suite(folder) else { return };
        let mut count = 0;
        for entry in std::fs::read_dir(&place).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let octets = std::fs::read(&path).unwrap();
            let found = match path.extension().and_then(|end| end.to_str()) {
                Some("eml") => find_in(&octets),
                Some("xml" | "gz" | "zip") => read(&octets),
                Some("json") if folder == "tlsrpt/reports-parsedmarc" => read(&octets),
                _ => continue,
            };
            match found {
                Ok(report) => {
                    assert_eq!(is_dmarc(&report), folder.starts_with("dmarc"), "{name}");
                    count += 1;
                }
                Err(error) => assert!(unreadable.contains(&&*name), "{folder}/{name}: {error}"),
            }
        }
        assert_eq!(count, expected, "{folder}");
    }
}

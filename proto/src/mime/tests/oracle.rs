//! Comparison with what reference servers answer (suites/imap/mime-oracle-a).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ring::digest;
use serde_json::{Value, json};

use super::super::imap::{self, ClientText, SectionText};
use super::*;

/// Reads one value of an IMAP response: lists, strings, numbers, NIL.
fn read(input: &mut &[u8]) -> Value {
    *input = input.trim_ascii_start();
    match input[0] {
        b'(' => {
            *input = &input[1..];
            let mut list = Vec::new();
            while input[0] != b')' {
                list.push(read(input));
                *input = input.trim_ascii_start();
            }
            *input = &input[1..];
            Value::Array(list)
        }
        b'"' => {
            let mut text = String::new();
            let mut at = 1;
            while input[at] != b'"' {
                at += usize::from(input[at] == b'\\');
                text.push(char::from(input[at]));
                at += 1;
            }
            *input = &input[at + 1..];
            Value::String(text)
        }
        b'{' => {
            let end = input.iter().position(|byte| *byte == b'}').unwrap();
            let octets: usize = std::str::from_utf8(&input[1..end]).unwrap().parse().unwrap();
            let (literal, rest) = input[end + 3..].split_at(octets);
            *input = rest;
            Value::String(literal.iter().map(|byte| char::from(*byte)).collect())
        }
        b'N' => {
            *input = &input[3..];
            Value::Null
        }
        _ => {
            let end = input.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(input.len());
            let number: u64 = std::str::from_utf8(&input[..end]).unwrap().parse().unwrap();
            *input = &input[end..];
            json!(number)
        }
    }
}

/// Drops a leading mbox line and ends every line in CRLF.
fn normalised(file: &[u8]) -> Vec<u8> {
    let mut file = file;
    if file.starts_with(b"From ") {
        file = &file[file.iter().position(|byte| *byte == b'\n').unwrap() + 1..];
    }
    let mut out = Vec::new();
    for line in file.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(line) => {
                out.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
                out.extend_from_slice(b"\r\n");
            }
            None => out.extend_from_slice(line),
        }
    }
    out
}

/// Media types of the tree.
fn shape(body: &Value) -> Value {
    let list = body.as_array().unwrap();
    if list[0].is_array() {
        let children = list.iter().take_while(|item| item.is_array()).map(shape).collect::<Vec<_>>();
        let subtype = &list[children.len()];
        return json!([children, subtype.as_str().unwrap().to_lowercase()]);
    }
    let lower = |at: usize| list[at].as_str().unwrap().to_lowercase();
    let mut out = vec![json!(format!("{}/{}", lower(0), lower(1)))];
    if lower(0) == "message" && lower(1) == "rfc822" && list.len() > 9 {
        out.push(shape(&list[8]));
    }
    Value::Array(out)
}

fn digest16(data: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, data);
    digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Cases where the description is ours on purpose, although both servers agree on the tree.
const ADJUDICATED: [(&str, &str); 18] = [
    ("dsn/kumomta/rfc3464/1.eml", EMPTY_LINE),
    ("dsn/kumomta/rfc3464/2.eml", EMPTY_LINE),
    ("dsn/kumomta/rfc5965/1.eml", NO_ADDRESS),
    ("dsn/kumomta/rfc5965/2.eml", NO_ADDRESS),
    ("mime/enmime/mail/inlinemultipart.raw", FIRST_FIELD),
    ("mime/enmime/mail/malformed-multiple-address-header-values.raw", FIRST_FIELD),
    ("mime/mail-parser/rfc/004.eml", NO_ADDRESS),
    ("mime/mail-parser/rfc/008.eml", ENCODED_MESSAGE),
    ("mime/python-email/msg_16.txt", "the type is sent in the case in which it was written"),
    ("mime/python-email/msg_29.txt", "RFC 2231 §4.1: a plain section put into an extended value is encoded"),
    ("mime/python-email/msg_32.txt", "charset* names the charset, so no default is added"),
    ("mime/ruby-mail/error_emails/content_transfer_encoding_qp_with_space.eml", UNKNOWN_ENCODING),
    ("mime/ruby-mail/error_emails/content_transfer_encoding_text-html.eml", UNKNOWN_ENCODING),
    ("mime/ruby-mail/error_emails/content_transfer_encoding_with_semi_colon.eml", UNKNOWN_ENCODING),
    (
        "mime/ruby-mail/error_emails/multiple_invalid_content_dispositions.eml",
        "no disposition is better than an empty one",
    ),
    ("mime/ruby-mail/mime_emails/raw_email_with_binary_encoded.eml", UNQUOTED_BOUNDARY),
    ("mime/ruby-mail/mime_emails/raw_email_with_illegal_boundary.eml", UNQUOTED_BOUNDARY),
    ("mime/ruby-mail/plain_emails/raw_email_bad_time.eml", UNQUOTED_BOUNDARY),
];
const EMPTY_LINE: &str =
    "RFC 2046 §5.1.1: the line break before the delimiter is none of the part, even if it is the empty line";
const NO_ADDRESS: &str = "a missing domain is the empty string, no invented word";
const FIRST_FIELD: &str = "of a repeated field the first counts";
const ENCODED_MESSAGE: &str =
    "RFC 2046 §5.2.1: a message may not be encoded, so its octets are not read as a message";
const UNKNOWN_ENCODING: &str =
    "the first token of a wrong encoding is sent, so that the client sees that it is wrong";
const UNQUOTED_BOUNDARY: &str =
    "a boundary with = and without quotes is taken up to white space, as its sender meant it";

#[derive(Default)]
struct Tally {
    counts: BTreeMap<String, (u32, u32)>,
    misses: Vec<String>,
    /// Files with a miss in something that must agree.
    unexpected: BTreeSet<String>,
}

impl Tally {
    fn count(&mut self, what: &str, must: bool, agrees: bool, file: &str, detail: impl FnOnce() -> String) {
        let count = self.counts.entry(what.to_owned()).or_default();
        count.1 += 1;
        count.0 += u32::from(agrees);
        if !agrees {
            self.misses.push(format!("{what}: {file} {}", detail()));
            if must {
                self.unexpected.insert(file.to_owned());
            }
        }
    }
}

fn compare(row: &Value, suites: &Path, tally: &mut Tally) -> bool {
    let name = format!("{}/{}", row["suite"].as_str().unwrap(), row["file"].as_str().unwrap());
    let Ok(file) = std::fs::read(suites.join(&name)) else { return false };
    let message = normalised(&file);
    let structure = scan(&message);
    let record = encoded(&structure);
    let structure = StructureRef::decode(&record).unwrap();
    let agree = row["agree"].as_str().unwrap();
    let must = agree != "no";

    let size = json!(structure.size());
    tally.count("size", true, row["size"] == size, &name, || format!("{} {size}", row["size"]));
    let mut out = Vec::new();
    imap::body_structure(&mut out, &structure, ClientText::Utf8);
    let body = read(&mut &out[..]);
    let theirs = &row["bodystructure"];
    tally.count(&format!("shape ({agree})"), must, shape(&body) == shape(theirs), &name, || {
        format!("\n   ours   {}\n   theirs {}", shape(&body), shape(theirs))
    });
    tally.count(&format!("bodystructure ({agree})"), must, body == *theirs, &name, || {
        format!("\n   ours   {body}\n   theirs {theirs}\n   courier {}", row["courier_bodystructure"])
    });
    out.clear();
    imap::envelope(&mut out, structure.root(), ClientText::Utf8);
    let envelope = read(&mut &out[..]);
    let agreed = row["envelope_agree"].as_bool().unwrap();
    tally.count(&format!("envelope (agreed {agreed})"), agreed, envelope == row["envelope"], &name, || {
        format!("\n   ours   {envelope}\n   theirs {}", row["envelope"])
    });
    for (number, part) in row["parts"].as_object().unwrap() {
        let path: Vec<u32> = number.split('.').map(|number| number.parse().unwrap()).collect();
        let same = part["courier_same"].as_bool().unwrap();
        for (what, text) in [("body", SectionText::Whole), ("mime", SectionText::Mime)] {
            let range = imap::section(&structure, &path, text, 0);
            let data = range.map(|range| &message[range.start as usize..range.end as usize]);
            let ours = data.map_or(Value::Null, |data| json!([data.len(), digest16(data)]));
            tally.count(
                &format!("part {what} (courier same {same})"),
                same,
                ours == part[what],
                &name,
                || format!("{number} ours {ours} theirs {}", part[what]),
            );
        }
    }
    true
}

#[test]
fn reference_servers_describe_messages_the_same() {
    let Some(suites) = postrider_testing::suites() else { return };
    let oracle = std::fs::read_to_string(suites.join("imap/mime-oracle-a/oracle.jsonl")).unwrap();
    let mut tally = Tally::default();
    let mut absent = 0;
    for line in oracle.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        absent += u32::from(!compare(&row, &suites, &mut tally));
    }
    println!("{absent} files absent");
    for (what, (agree, of)) in &tally.counts {
        println!("{what}: {agree} of {of}");
    }
    let adjudicated: BTreeSet<String> = ADJUDICATED.iter().map(|(file, _)| (*file).to_owned()).collect();
    for miss in
        tally.misses.iter().filter(|miss| !adjudicated.iter().any(|file| miss.contains(file.as_str())))
    {
        println!("{miss}");
    }
    assert!(tally.counts["size"].0 >= 279, "the suites have shrunk");
    assert_eq!(tally.unexpected, adjudicated, "what disagrees, and what is known to");
}

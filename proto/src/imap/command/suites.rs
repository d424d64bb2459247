//! The examples of the standards and of imap-codec, in `shared/suites/imap`.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;

use serde::Deserialize;

use super::*;

fn suite(path: &str) -> Option<String> {
    let file = postrider_testing::suite(&format!("imap/{path}"))?;
    Some(std::fs::read_to_string(file).unwrap())
}

/// The commands that have to parse. A line with another second word is an answer in an exchange,
/// the content of a literal, or a command of an extension that isn't here.
const COMMANDS: &[&str] = &[
    "APPEND",
    "AUTHENTICATE",
    "CANCELUPDATE",
    "CAPABILITY",
    "CHECK",
    "CLOSE",
    "COPY",
    "CREATE",
    "DELETE",
    "DELETEACL",
    "ENABLE",
    "ESEARCH",
    "EXAMINE",
    "EXPUNGE",
    "FETCH",
    "GENURLAUTH",
    "GETACL",
    "GETMETADATA",
    "GETQUOTA",
    "GETQUOTAROOT",
    "ID",
    "IDLE",
    "LIST",
    "LISTRIGHTS",
    "LOGIN",
    "LOGOUT",
    "LSUB",
    "MOVE",
    "MYRIGHTS",
    "NAMESPACE",
    "NOOP",
    "NOTIFY",
    "RENAME",
    "REPLACE",
    "RESETKEY",
    "SEARCH",
    "SELECT",
    "SETACL",
    "SETMETADATA",
    "SETQUOTA",
    "SORT",
    "STARTTLS",
    "STATUS",
    "STORE",
    "SUBSCRIBE",
    "THREAD",
    "UID COPY",
    "UID FETCH",
    "UID MOVE",
    "UID REPLACE",
    "UNSELECT",
    "URLFETCH",
    "UNSUBSCRIBE",
];

fn is_ours(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace().skip(1).map(str::to_ascii_uppercase);
    let first = words.next().unwrap_or_default();
    let name = if first == "UID" { words.next().unwrap_or_default() } else { first };
    COMMANDS.contains(&&*name)
}

/// Parses a line as a whole command. Where it ends in a literal header, everything before that has
/// to parse; the content is on other lines.
fn fault(line: &str) -> Option<Fault> {
    let context = Context { utf8: Utf8::Rev2, limits: &Limits::AUTHENTICATED };
    match parse(format!("{line}\r\n").as_bytes(), context) {
        Ok(_) => None,
        Err(bad) if bad.fault == Fault::Syntax("literal is cut off") && line.ends_with('}') => None,
        Err(bad) => Some(bad.fault),
    }
}

#[derive(Deserialize)]
struct Transcript {
    rfc: u32,
    line: u32,
    lines: Vec<String>,
}

/// Lines that are refused, by RFC, line of its text and first word: prose inside the example, a
/// misprint, an answer that has to be NO, or another extension's argument.
const REFUSED: &[(u32, u32, &str, &str)] = &[
    (9051, 4221, "B283", "KOI8-R: NO [BADCHARSET], as the example says"),
    (9051, 4249, "E283", "has a comment"),
    (9051, 4267, "G283", "has a comment"),
    (9051, 5002, "c1", "has an ellipsis"),
    (9051, 5002, "c2", "has an ellipsis"),
    (9051, 5036, "k1", "has an ellipsis"),
    (9051, 5036, "k2", "has an ellipsis"),
    (7162, 962, "A142", "has an ellipsis"),
    (7162, 1649, "B04", "wrapped inside a set, so that the join puts spaces there"),
    (5819, 150, "A02", "misprint: no space after the options"),
    (6154, 407, "t3", "\\All: NO [USEATTR], as the example says"),
    (5182, 291, "B283", "KOI8-R: NO [BADCHARSET], as the example says"),
    (5182, 316, "E283", "has a comment"),
    (5182, 357, "G283", "has a comment"),
    (4314, 464, "A035", "no such right: BAD, as the example says"),
    (4314, 464, "A036", "no such right: BAD, as the example says"),
    (4314, 804, "A006", "has an ellipsis"),
    (4959, 152, "A01", "has a note"),
    (4959, 188, "A01", "has a note"),
    (8474, 218, "27", "has an ellipsis"),
    (5465, 350, "b", "misprint: events stand in parentheses"),
    (5465, 399, "e", "misprint: events stand in parentheses"),
    (5465, 870, "a00", "CONTEXT"),
    (7377, 399, "tag2", "wrapped, and its second line is taken for another"),
    (5267, 351, "B01", "sorts by nothing; BAD for another reason, as the example says"),
    (5267, 380, "B02", "misprint: no criteria"),
    (5464, 698, "a", "misprint: several entries stand in parentheses"),
    (5464, 708, "a", "misprint: several entries stand in parentheses"),
    (6203, 148, "B1", "SEARCH=FUZZY"),
];

/// RFCs all of whose refused lines use the extension.
const OTHER_EXTENSIONS: &[(u32, &str)] =
    &[(4469, "examples wrapped where no space is"), (6203, "SEARCH=FUZZY")];

#[test]
fn transcripts_of_the_standards_parse() {
    let Some(text) = suite("rfc-transcripts/transcripts.json") else { return };
    let transcripts: Vec<Transcript> = serde_json::from_str(&text).unwrap();
    let (mut parsed, mut others) = (0, 0);
    let mut expected: BTreeSet<_> =
        REFUSED.iter().map(|(rfc, line, tag, _)| (*rfc, *line, (*tag).to_owned())).collect();
    for transcript in &transcripts {
        let lines = transcript.lines.iter().filter_map(|line| line.strip_prefix("C: "));
        for line in lines.map(|line| line.replace('\n', " ")) {
            let line = line.trim_start();
            if !is_ours(line) {
                others += 1;
                continue;
            }
            let Some(fault) = fault(line) else {
                parsed += 1;
                continue;
            };
            let tag = line.split(' ').next().unwrap();
            let known = REFUSED
                .iter()
                .any(|(rfc, at, known, _)| (*rfc, *at, *known) == (transcript.rfc, transcript.line, tag));
            expected.remove(&(transcript.rfc, transcript.line, tag.to_owned()));
            let other = OTHER_EXTENSIONS.iter().any(|(rfc, _)| *rfc == transcript.rfc);
            assert!(known || other, "RFC {} line {}: {line}: {fault}", transcript.rfc, transcript.line);
        }
    }
    assert!(expected.is_empty(), "these parse or are gone: {expected:?}");
    assert!(parsed >= 469, "{parsed} lines parsed, {others} are no commands of ours");
}

#[test]
fn lines_of_imap_codec_parse() {
    let Some(text) = suite("imap-codec/trace-lines.json") else { return };
    let lines: Vec<String> = serde_json::from_str(&text).unwrap();
    let mut parsed = 0;
    for line in &lines {
        let line = line.trim_end();
        let client = line.strip_prefix("C: ");
        let mut words = line.split(' ');
        let status = matches!(words.nth(1), Some("OK" | "NO" | "BAD"));
        // The first part of the file has no prefixes.
        let untold = !line.starts_with(['*', '+', 'S', 'D']) && !line.starts_with("C: ") && !status;
        let Some(line) = client.or_else(|| untold.then_some(line)) else { continue };
        if is_ours(line) {
            assert_eq!(fault(line), None, "{line}");
            parsed += 1;
        } else {
            let extension = ["SORT", "THREAD"].iter().any(|name| line.contains(name));
            assert!(extension, "not tried: {line}");
        }
    }
    assert!(parsed >= 59, "{parsed} lines parsed");
}

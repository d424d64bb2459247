//! Data of other projects (`shared/suites/smtp`).

use std::collections::BTreeSet;
use std::path::PathBuf;

use data_encoding::BASE64;
use serde_json::Value;

use super::*;

fn folder(name: &str) -> Option<PathBuf> {
    postrider_testing::suite(&format!("smtp/{name}"))
}

/// Threat A1: never two messages, by DATA and by BDAT, cut at every octet, and in step afterwards.
#[test]
fn smuggling() {
    let Some(folder) = folder("smuggling") else { return };
    let read =
        |name| -> Value { serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap() };
    let (sequences, templates) = (read("sequences.json"), read("templates.json"));
    let lines: Vec<&str> =
        templates["inbound"].as_array().unwrap().iter().map(|l| l.as_str().unwrap()).collect();
    let (commands, content) = lines.split_at(lines.len() - 1);
    let (before, after) = content[0].split_once("{EOD}").unwrap();
    for sequence in sequences.as_array().unwrap() {
        let name = sequence["name"].as_str().unwrap();
        let octets = BASE64.decode(sequence["b64"].as_str().unwrap().as_bytes()).unwrap();
        let content = [before.as_bytes(), &octets, after.as_bytes()].concat();
        let script = [commands.concat().as_bytes(), &content].concat();
        let whole = run(Driver::incoming(), &script, &[]);
        check_one_message(name, &whole);
        for cut in 0..script.len() {
            let cut = run(Driver::incoming(), &script, &[cut]);
            assert_eq!((&cut.transcript, &cut.delivered), (&whole.transcript, &whole.delivered), "{name}");
        }
        for body in ["", " BODY=BINARYMIME"] {
            let commands = commands
                .concat()
                .replace("DATA\r\n", "")
                .replace("a.example>\r\n", &format!("a.example>{body}\r\n"));
            let chunk = format!("BDAT {} LAST\r\n", content.len());
            let script = [commands.as_bytes(), chunk.as_bytes(), &content].concat();
            let driver = run(Driver::incoming(), &script, &[]);
            check_one_message(name, &driver);
            if !body.is_empty() {
                assert_eq!(driver.delivered[0].content, content, "{name}: plain content in a binary chunk");
            }
        }
    }
}

fn check_one_message(name: &str, driver: &Driver) {
    let verdict = driver.transcript.last().unwrap();
    assert!(!driver.closed && driver.delivered.len() <= 1, "{name}");
    match driver.delivered.first() {
        Some(message) => {
            assert!(verdict.starts_with("250 2.2.0"), "{name}: {verdict}");
            let smuggled = b"SMUGGLED";
            assert!(message.content.windows(smuggled.len()).any(|window| window == smuggled), "{name}");
        }
        None => assert_eq!(verdict, "500 5.5.2 invalid bare CR or LF, may be smtp smuggling", "{name}"),
    }
    assert_eq!(driver.questions.iter().filter(|question| matches!(question, Question::Sender(_))).count(), 1);
}

/// Where we answer otherwise: file, the expectation, what we say, why.
const ADJUDICATED: &[(&str, &str, &str, &str)] = &[
    (
        "auth_multi_dialog",
        "534",
        "504 5.5.4",
        "RFC 4954 §4: 504 is for unknown mechanisms, 534 for weak ones",
    ),
    ("auth_not_tls", "503 5.7.10", "503 5.5.1", "port 25 has no AUTH here"),
    ("auth_too_many_failures", "421 4.5.0", "501 5.5.2", "our limit of errors is 20, not 3"),
    (
        "bad_data",
        "554 5.6.0",
        "250 2.2.0",
        "what a header is worth is judged when it is delivered, not by the session",
    ),
    (
        "bad_data_dot",
        "521 5.5.2",
        "500 5.5.2",
        "521 is for hosts without mail (RFC 7504); the connection goes on",
    ),
    ("bad_data_dot_2", "521 5.5.2", "500 5.5.2", "the same"),
    ("bad_data_dot_on_message_too_big", "521 5.5.2", "500 5.5.2", "the same"),
    ("bad_mail_from", "500 5.5.2", "501 5.5.2", "MAIL is known, its argument is wrong"),
    ("bad_mail_from", "500", "501 5.5.2", "the same"),
    ("bad_mail_from", "501 5.1.8", "501 5.1.7", "RFC 3463: 5.1.8 is for a domain that does not accept mail"),
    ("bad_rcpt_to", "500 5.5.2", "501 5.5.2", "RCPT is known, its argument is wrong"),
    ("bad_rcpt_to", "500", "501 5.5.2", "the same"),
    ("bad_rcpt_to", "501 5.1.2", "501 5.1.3", "RFC 3463: 5.1.3 is for syntax"),
    ("bad_rcpt_to", "550 5.1.3", "553 5.6.7", "it is well-formed, and needs SMTPUTF8"),
    (
        "line_too_long",
        "554",
        "501 5.5.4",
        "lines have up to 2048 octets here; it is the name that is too long",
    ),
    ("wrong_proto", "502 5.7.0", "500 5.5.2", "not SMTP at all is a syntax error"),
];

#[test]
fn chasquid_dialogs() {
    let Some(folder) = folder("chasquid-dialogs") else { return };
    let mut files = 0;
    let mut used = BTreeSet::new();
    for part in ["t-05-null_address", "t-12-minor_dialogs"] {
        for entry in std::fs::read_dir(folder.join(part)).unwrap() {
            let path = entry.unwrap().path();
            play(
                path.file_stem().unwrap().to_str().unwrap(),
                &std::fs::read_to_string(&path).unwrap(),
                &mut used,
            );
            files += 1;
        }
    }
    assert_eq!(files, 18);
    let unused: Vec<_> =
        (0..ADJUDICATED.len()).filter(|row| !used.contains(row)).map(|row| ADJUDICATED[row]).collect();
    assert!(unused.is_empty(), "not needed: {unused:?}");
}

fn play(name: &str, script: &str, used: &mut BTreeSet<usize>) {
    let mut driver = Driver::incoming();
    let mut read = 0;
    for line in script.lines().filter_map(|line| line.strip_prefix("c ")) {
        let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "tcp_connect" | "tls_connect" => {
                driver = connect(verb);
                read = 0;
            }
            // Paths without brackets are no paths; their dialogs are about something else.
            "->" => driver
                .feed(format!("{}\r\n", argument.replace("user@testserver", "<user@testserver>")).as_bytes()),
            "~>" => driver.feed(&literal(argument)),
            "<-" | "<~" | "<..." => {
                let ours = next_reply(&driver, &mut read);
                let shorten = |text: &str| {
                    text.split(' ')
                        .take(2)
                        .filter(|w| w.as_bytes()[0].is_ascii_digit())
                        .collect::<Vec<_>>()
                        .join(" ")
                };
                let theirs = if verb == "<..." { "250".to_owned() } else { shorten(argument) };
                let adjudicated = |row: &(&str, &str, &str, &str)| {
                    (row.0, row.1) == (name, &*theirs) && ours.starts_with(row.2)
                };
                let row = ADJUDICATED.iter().position(adjudicated).filter(|_| !ours.starts_with(&theirs));
                used.extend(row);
                let fits = row.is_some() || ours.starts_with(&theirs);
                assert!(fits, "{name}: {line}: we said {ours:?} in {:?}", driver.transcript);
            }
            "close" => {}
            other => panic!("{name}: {other}"),
        }
    }
}

fn connect(verb: &str) -> Driver {
    let (role, channel) = if verb == "tls_connect" {
        (Role::Submission, Channel::Tls)
    } else {
        (Role::Incoming, Channel::Clear)
    };
    let mut settings = settings(role);
    settings.limits.message_octets_max = 1 << 20;
    Driver::with_policy(settings, channel, |question, session| match question {
        Question::AuthBegin { initial_response: Some(octets), .. } | Question::AuthRespond(octets)
            if octets.0.ends_with(b"secretpassword") =>
        {
            Answer::AuthSucceeded { login: "user@testserver".into() }
        }
        other => kind(other, session),
    })
}

/// The last line of the next reply.
fn next_reply(driver: &Driver, read: &mut usize) -> String {
    loop {
        let Some(line) = driver.transcript.get(*read) else { return String::new() };
        *read += 1;
        if !line.starts_with('(') && line.as_bytes().get(3) == Some(&b' ') {
            return line.clone();
        }
    }
}

/// The few Python expressions that the scripts use.
fn literal(expression: &str) -> Vec<u8> {
    match expression {
        r"'.\n'" => b".\n".to_vec(),
        r"'xxx\r\n.\r\n'" => b"xxx\r\n.\r\n".to_vec(),
        r"'xxx\n.\n'" => b"xxx\n.\n".to_vec(),
        r"'\r\n.\r\n'" => b"\r\n.\r\n".to_vec(),
        r"('a' * 899 + '\r\n') * 1165" => format!("{}\r\n", "a".repeat(899)).repeat(1165).into_bytes(),
        r"('a' * 899 + '\r\n') * 1166" => format!("{}\r\n", "a".repeat(899)).repeat(1166).into_bytes(),
        r"'b' * 55 + '\r\n'" => format!("{}\r\n", "b".repeat(55)).into_bytes(),
        other => panic!("{other}"),
    }
}

/// The sessions of chasquid's fuzz corpus: nothing breaks, in their form and with proper line ends.
#[test]
fn chasquid_corpus() {
    let Some(folder) = folder("chasquid-dialogs") else { return };
    let text = std::fs::read_to_string(folder.join("fuzz.jsonl")).unwrap();
    for line in text.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let session = row["go"][1].as_str().unwrap();
        let session = session.trim_start_matches("[]byte(\"").trim_end_matches("\")").replace("\\n", "\n");
        for script in [session.replace('\n', "\r\n"), session] {
            let driver = run(Driver::incoming(), script.as_bytes(), &[]);
            assert!(driver.transcript.len() > 1);
            assert!(driver.delivered.len() <= 1);
        }
    }
}

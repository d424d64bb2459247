#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use serde_json::Value;

use super::*;
use crate::http::{Progress, ResponseError};

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn load(name: &str) -> Option<Value> {
    let file = postrider_testing::suite(&format!("mta-sts/{name}"))?;
    Some(serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap())
}

#[test]
fn the_examples_of_the_standard() {
    let Some(suite) = load("rfc8461/examples.json") else { return };
    let text = |name: &str| suite[name].as_str().unwrap().as_bytes();
    assert!(Record::is_one(text("record")));
    assert_eq!(&*Record::parse(text("record")).unwrap().id, "20160831085700Z");
    let policy = Policy::parse(text("policy")).unwrap();
    assert_eq!((policy.mode, policy.max_age), (Mode::Enforce, 604_800));
    let patterns: Vec<String> = policy.patterns.iter().map(ToString::to_string).collect();
    assert_eq!(patterns, ["mail.example.com", "*.example.net", "backupmx.example.com"]);
    let example = domain("example.com");
    assert_eq!(record_name(&example).as_bytes(), text("dns_owner"));
    assert_eq!(format!("https://{}{PATH}", policy_host(&example).unwrap()).as_bytes(), text("policy_url"));
    let rows = suite["match"].as_array().unwrap();
    assert_eq!(rows.len(), 6);
    for row in rows {
        let (pattern, host) = (row[0].as_str().unwrap(), row[1].as_str().unwrap());
        let policy =
            Policy::parse(format!("version: STSv1\nmode: testing\nmax_age: 1\nmx: {pattern}").as_bytes());
        assert_eq!(policy.unwrap().allows(&domain(host)), row[2].as_bool().unwrap(), "{row}");
    }
}

/// Cases of mimecast's library that aren't followed, with the reason.
const ADJUDICATED: &[(&str, &str)] = &[
    ("invalidValue", "RFC 8461 §3.2: sts-policy-max-age-value = 1*10(DIGIT), so an empty one is none"),
    ("nonNumericMaxAgeNotRequired", "the same, and twenty is no number"),
    ("invalidMaxAge", "RFC 8461 §3.2: max_age is required once"),
    ("configRelaxed", "RFC 8461 §3.2: sts-policy-term = LF / CRLF, and a bare CR is neither"),
    ("invalidLF", "RFC 8461 §3.2: sts-policy-term = LF / CRLF"),
    ("noLastCRLF", "RFC 8461 §3.2: the last sts-policy-term may be missing"),
    ("underMin", "the same"),
    ("overMax", "the same, and more than the maximum counts as the maximum"),
    ("underSoftMin", "the same"),
    ("emptyLine", "our deviation: empty lines are passed over"),
];

#[test]
fn policies_and_records_of_mimecast() {
    let Some(suite) = load("mimecast/vectors.json") else { return };
    let asserts = |case: &Value| {
        let lines = case["mimecast_asserts"].as_array().unwrap();
        lines.iter().map(|line| line.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (mut policies, mut wrong) = (0, Vec::new());
    for case in suite["policy"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let (Some(text), Some(200), Some("text/plain")) =
            (case["policy"].as_str(), case["http_status"].as_u64(), case["content_type"].as_str())
        else {
            continue;
        };
        policies += 1;
        let asserts = asserts(case);
        let parsed = Policy::parse(text.as_bytes());
        // A policy with mode none is valid, and their library says otherwise.
        let is_valid = parsed.as_ref().is_ok_and(|policy| policy.mode != Mode::None);
        let expected = asserts.iter().any(|line| line == "assertTrue(policy.isValid())");
        let is_adjudicated = ADJUDICATED.iter().any(|(other, _)| *other == name);
        if !asserts.iter().any(|line| line.contains("policy.isValid()")) {
            continue;
        }
        if (is_valid == expected) == is_adjudicated {
            wrong.push(format!("{name}: {parsed:?}"));
        }
        let Ok(policy) = parsed else { continue };
        for line in &asserts {
            let quoted = line.split('"').nth(1).unwrap_or_default();
            let is_right = if line.contains("getMode()") {
                policy.mode.word() == quoted
            } else if line.contains("getMaxAge()") {
                line.contains(&format!("({}, ", policy.max_age))
            } else if line.contains("getMxMasks().size()") {
                line.contains(&format!("({}, ", policy.patterns.len()))
            } else {
                true
            };
            if !is_right {
                wrong.push(format!("{name}: {line}: {policy:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(policies >= 20, "{policies}");
}

#[test]
fn records_are_read_as_the_grammar_has_them() {
    let id = |text: &str| Record::parse(text.as_bytes()).map(|record| record.id.to_string());
    for text in [
        "v=STSv1;id=a1",
        "v=STSv1 ;\tid=a1 ; ",
        "v=STSv1; x=1; id=a1; id=!; 1.x-_=:<>;",
        "v=STSv1; id=a1; id=b2",
    ] {
        assert!(Record::is_one(text.as_bytes()), "{text}");
        assert_eq!(id(text).as_deref(), Ok("a1"), "{text}");
    }
    for text in
        ["", "v=STSv1", "v=STSv1 id=1", "v=stsv1; id=1", "v=STSv12; id=1", " v=STSv1; id=1", "v=spf1 -all"]
    {
        assert!(!Record::is_one(text.as_bytes()), "{text}");
    }
    for (text, error) in [
        ("v=STSv1;", RecordError::NoId),
        ("v=STSv1; x=1", RecordError::NoId),
        ("v=STSv1; ID=1", RecordError::NoId),
        ("v=STSv1; id=", RecordError::Field),
        ("v=STSv1; id=a b", RecordError::Field),
        ("v=STSv1; id=a=b", RecordError::Field),
        ("v=STSv1;; id=1", RecordError::Field),
        ("v=STSv1; id", RecordError::Field),
        ("v=STSv1; -x=1; id=1", RecordError::Field),
        ("v=STSv1; id=1; \u{fc}=1", RecordError::Field),
        ("v=STSv1; id=a-b", RecordError::Id),
    ] {
        assert_eq!(id(text), Err(error), "{text}");
    }
    let name = |octets: usize| id(&format!("v=STSv1; {}=1; id=1", "n".repeat(octets)));
    assert!(name(32).is_ok() && name(33) == Err(RecordError::Field));
    let long = |octets: usize| id(&format!("v=STSv1; id={}", "1".repeat(octets)));
    assert!(long(32).is_ok() && long(33) == Err(RecordError::Id));
    let whole = |octets: usize| id(&format!("v=STSv1; id=1;x={}", "y".repeat(octets - 16)));
    assert!(whole(Record::OCTETS_MAX).is_ok());
    assert_eq!(whole(Record::OCTETS_MAX + 1), Err(RecordError::TooLong));
}

const POLICY: &str = "version: STSv1\r\nmode: enforce\r\nmx: mx.example.com\r\nmax_age: 86400\r\n";

#[test]
fn policies_are_read_as_the_grammar_has_them() {
    let parse = |text: &str| Policy::parse(text.as_bytes());
    let good = parse(POLICY).unwrap();
    for text in [
        POLICY.replace("\r\n", "\n"),
        POLICY.trim_end().to_owned(),
        format!("{POLICY}\r\n\r\n"),
        POLICY.replace(": ", ":").replace("\r\n", " \t\r\n"),
        format!("x-new.field_1: any th\u{ef}ng: at all\r\n{POLICY}"),
        format!("{POLICY}mode: pretend\r\nversion: 2\r\nmax_age: -1"),
        POLICY.replace("mx.example.com", "MX.example.COM"),
    ] {
        assert_eq!(parse(&text).as_ref(), Ok(&good), "{text}");
    }
    for (from, to, error) in [
        ("version: STSv1\r\n", "", PolicyError::Missing("version")),
        ("STSv1", "STSv2", PolicyError::Value("version")),
        ("STSv1", "stsv1", PolicyError::Value("version")),
        ("mode: enforce\r\n", "", PolicyError::Missing("mode")),
        ("enforce", "Enforce", PolicyError::Value("mode")),
        ("mode: enforce", "mode enforce", PolicyError::Line(2)),
        ("mode: enforce", "mode : enforce", PolicyError::Line(2)),
        ("mode: enforce", " mode: enforce", PolicyError::Line(2)),
        ("mx: mx.example.com\r\n", "", PolicyError::Missing("mx")),
        ("mx.example.com", "", PolicyError::Value("mx")),
        ("mx.example.com", "*", PolicyError::Value("mx")),
        ("mx.example.com", "mx*.example.com", PolicyError::Value("mx")),
        ("mx.example.com", "*.*.example.com", PolicyError::Value("mx")),
        ("mx.example.com", "mx.*.com", PolicyError::Value("mx")),
        ("mx.example.com", ".example.com", PolicyError::Value("mx")),
        ("mx.example.com", "mx.b\u{fc}cher.example", PolicyError::Value("mx")),
        ("mx.example.com", "[192.0.2.1]", PolicyError::Value("mx")),
        ("mx.example.com", "mx.example.com, mx2.example.com", PolicyError::Value("mx")),
        ("max_age: 86400\r\n", "", PolicyError::Missing("max_age")),
        ("86400", "", PolicyError::Value("max_age")),
        ("86400", "-1", PolicyError::Value("max_age")),
        ("86400", "1d", PolicyError::Value("max_age")),
        ("86400", "00000000001", PolicyError::Value("max_age")),
        ("86400", "1\u{0}", PolicyError::NoText),
        ("enforce\r\n", "enforce\r", PolicyError::NoText),
    ] {
        assert_eq!(parse(&POLICY.replace(from, to)), Err(error), "{from} to {to}");
    }
    assert_eq!(Policy::parse(&[POLICY.as_bytes(), b"x: \xff"].concat()), Err(PolicyError::NoText));
    let age = |text: &str| parse(&POLICY.replace("86400", text)).unwrap().max_age;
    assert_eq!((age("0"), age("31557600"), age("31557601")), (0, Policy::MAX_AGE_MAX, Policy::MAX_AGE_MAX));
    assert_eq!(age("9999999999"), Policy::MAX_AGE_MAX);
    let none = parse("version: STSv1\nmode: none\nmax_age: 60").unwrap();
    assert_eq!((none.mode, none.patterns.len()), (Mode::None, 0));
    assert!(!none.allows(&domain("mx.example.com")));
}

#[test]
fn limits_of_policies_hold_at_the_limit_and_one_past_it() {
    let hosts =
        |count: usize| Policy::parse(format!("{POLICY}{}", "mx: a.example\n".repeat(count - 1)).as_bytes());
    assert_eq!(hosts(Policy::PATTERNS_MAX).unwrap().patterns.len(), Policy::PATTERNS_MAX);
    assert_eq!(hosts(Policy::PATTERNS_MAX + 1), Err(PolicyError::TooMany));
    let whole = |octets: usize| {
        Policy::parse(format!("{POLICY}x: {}", "y".repeat(octets - POLICY.len() - 3)).as_bytes())
    };
    assert!(whole(Policy::OCTETS_MAX).is_ok());
    assert_eq!(whole(Policy::OCTETS_MAX + 1), Err(PolicyError::TooLong));
    let name = |octets: usize| Policy::parse(format!("{POLICY}{}: 1", "n".repeat(octets)).as_bytes());
    assert!(name(32).is_ok() && name(33) == Err(PolicyError::Line(5)));
    let label = "a".repeat(60);
    assert!(policy_host(&domain(&format!("{label}.{label}.{label}.{label}"))).is_some());
    assert_eq!(policy_host(&domain(&format!("{label}.{label}.{label}.{label}.b.cc"))), None);
}

/// Reads a response that comes in pieces of so many octets.
fn read(response: &[u8], piece: usize) -> Result<Vec<u8>, ResponseError> {
    let mut reader = response_reader();
    for piece in response.chunks(piece.max(1)) {
        if reader.push(piece)? == Progress::Complete {
            break;
        }
    }
    reader.finish()
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n";

#[test]
fn a_response_is_read_however_it_is_framed_and_cut() {
    let asked = request(&domain("mta-sts.example.com"));
    assert!(
        asked.starts_with("GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.example.com\r\n"),
        "{asked}"
    );
    assert!(asked.ends_with("\r\n\r\n"));
    for response in [
        format!("{OK}Content-Length: 5\r\n\r\nhello"),
        format!("{OK}content-length: 5\r\nContent-Length: 5\r\n\r\nhellomore"),
        format!("{OK}Connection: close\r\n\r\nhello"),
        format!("{OK}Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n003;x=y\r\nllo\r\n0\r\nX: y\r\n\r\nmore"),
        format!(
            "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n{OK}Content-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello"
        ),
        "HTTP/1.0 200 OK\r\nCONTENT-TYPE: Text/Plain\r\n\r\nhello".to_owned(),
    ] {
        let pieces: &[usize] =
            if response.ends_with("more") { &[usize::MAX, 1, 7] } else { &[usize::MAX, 1, 2, 7] };
        for piece in pieces {
            assert_eq!(
                read(response.as_bytes(), *piece).as_deref(),
                Ok(&b"hello"[..]),
                "{response}, {piece}"
            );
        }
    }
}

#[test]
fn what_is_no_policy_is_told_why() {
    use ResponseError::{Coding, Grammar, Incomplete, MediaType, Status};
    const TOO_LONG: ResponseError = ResponseError::TooLong(Policy::OCTETS_MAX);
    for (response, error) in [
        ("HTTP/1.1 301 Moved\r\nLocation: https://example.com/\r\n\r\n".to_owned(), Status(301)),
        ("HTTP/1.1 404 Not Found\r\n\r\n".to_owned(), Status(404)),
        ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), Status(204)),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n".to_owned(), Status(101)),
        ("SSH-2.0-x\r\n".to_owned(), Grammar),
        ("HTTP/2 200 OK\r\n\r\n".to_owned(), Grammar),
        ("HTTP/1.1 200 OK\r\n\r\nhello".to_owned(), MediaType("text/plain")),
        ("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\nhello".to_owned(), MediaType("text/plain")),
        ("HTTP/1.1 200 OK\r\nContent-Type: text/plainer\r\n\r\nhello".to_owned(), MediaType("text/plain")),
        (format!("{OK}Content-Encoding: gzip\r\n\r\n"), Coding),
        (format!("{OK}Transfer-Encoding: gzip, chunked\r\n\r\n"), Coding),
        (format!("{OK}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"), Coding),
        (format!("{OK}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"), Grammar),
        (format!("{OK}Content-Length: +5\r\n\r\nhello"), Grammar),
        (format!("{OK}Content-Length: 65537\r\n\r\n"), TOO_LONG),
        (format!("{OK}Content-Length: 99999999999999999999999\r\n\r\n"), TOO_LONG),
        (format!("{OK}Content-Length: 6\r\n\r\nhello"), Incomplete),
        (format!("{OK}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"), Incomplete),
        (format!("{OK}Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX"), Grammar),
        (format!("{OK}Transfer-Encoding: chunked\r\n\r\n-5\r\nhello"), Grammar),
        (format!("{OK}Transfer-Encoding: chunked\r\n\r\n5\nhello"), Grammar),
        (
            format!("{OK}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}", "x".repeat(70_000)),
            TOO_LONG,
        ),
        (OK.to_owned(), Incomplete),
        (String::new(), Incomplete),
    ] {
        for piece in [usize::MAX, 1] {
            assert_eq!(read(response.as_bytes(), piece), Err(error), "{response:.200}");
        }
    }
}

#[test]
fn limits_of_responses_hold_at_the_limit_and_one_past_it() {
    let whole = |octets: usize| {
        let body = "x".repeat(octets);
        let framed = [
            format!("{OK}Content-Length: {octets}\r\n\r\n{body}"),
            format!("{OK}\r\n{body}"),
            format!("{OK}Transfer-Encoding: chunked\r\n\r\n{octets:x}\r\n{body}\r\n0\r\n\r\n"),
        ];
        framed.map(|response| read(response.as_bytes(), 1000).map(|body| body.len()))
    };
    assert_eq!(whole(Policy::OCTETS_MAX), [Ok(Policy::OCTETS_MAX); 3]);
    assert_eq!(whole(Policy::OCTETS_MAX + 1), [Err(ResponseError::TooLong(Policy::OCTETS_MAX)); 3]);
    let head = |octets: usize| {
        let start = format!("{OK}Content-Length: 1\r\nX: ");
        read(format!("{start}{}\r\n\r\nx", "y".repeat(octets - start.len() - 4)).as_bytes(), 1000)
    };
    assert_eq!(head(16 * 1024), Ok(b"x".to_vec()));
    assert_eq!(head(16 * 1024 + 1), Err(ResponseError::HeadTooLarge));
    let hints = |count: usize| {
        // Each has 128 octets.
        let hint = format!("HTTP/1.1 103 Early Hints\r\nX: {}\r\n\r\n", "y".repeat(128 - 33));
        read(format!("{}{OK}Content-Length: 1\r\n\r\nx", hint.repeat(count)).as_bytes(), 1000)
    };
    assert_eq!(hints(127), Ok(b"x".to_vec()));
    assert_eq!(hints(128), Err(ResponseError::HeadTooLarge));
    let fields = |count: usize| read(format!("{OK}{}\r\n", "X: y\r\n".repeat(count - 1)).as_bytes(), 1000);
    assert_eq!(fields(64), Ok(Vec::new()));
    assert_eq!(fields(65), Err(ResponseError::HeadTooLarge));
    let chunks = |line: &str, trailer: &str| {
        read(format!("{OK}Transfer-Encoding: chunked\r\n\r\n{line}\r\nx\r\n0\r\n{trailer}\r\n").as_bytes(), 1)
    };
    let extension = |octets: usize| chunks(&format!("1;{}", "e".repeat(octets - 2)), "");
    assert_eq!(extension(1024), Ok(b"x".to_vec()));
    assert_eq!(extension(1025), Err(ResponseError::HeadTooLarge));
    let trailer = |lines: usize| chunks("1", &format!("{}\r\n", "t".repeat(62)).repeat(lines));
    assert_eq!(trailer(16), Ok(b"x".to_vec()));
    assert_eq!(trailer(17), Err(ResponseError::HeadTooLarge));
}

#[test]
fn random_texts_are_read_or_refused() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |end: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % (end as u64)).unwrap()
    };
    let chunked = format!("{OK}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    let sized = format!("{OK}Content-Length: 5\r\n\r\nhello");
    let record = "v=STSv1; id=20160831085700Z; x=1;";
    let mut good = [0; 3];
    for _ in 0..20_000 {
        let mut mangle = |text: &str| {
            let mut octets = text.as_bytes().to_vec();
            for _ in 0..=below(2) {
                let at = below(octets.len());
                match below(4) {
                    0 => octets[at] = u8::try_from(below(256)).unwrap(),
                    1 => octets[at] = b":; \r\n=0*."[below(9)],
                    2 => drop(octets.remove(at)),
                    _ => octets.insert(at, text.as_bytes()[below(text.len())]),
                }
            }
            octets
        };
        let (text, policy, response) =
            (mangle(record), mangle(POLICY), mangle(if good[2] % 2 == 0 { &chunked } else { &sized }));
        good[0] += usize::from(Record::is_one(&text) && Record::parse(&text).is_ok());
        if let Ok(policy) = Policy::parse(&policy) {
            good[1] += 1;
            assert!(policy.mode == Mode::None || !policy.patterns.is_empty());
            assert!(policy.max_age <= Policy::MAX_AGE_MAX);
        }
        let whole = read(&response, usize::MAX);
        good[2] += usize::from(whole.is_ok());
        let cut = below(response.len()) + 1;
        assert_eq!(read(&response, cut), whole, "{} in pieces of {cut}", response.escape_ascii());
    }
    assert!(good.iter().all(|count| *count > 500), "{good:?}");
}

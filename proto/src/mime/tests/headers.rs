//! Addresses, message ids, dates, subjects and encoded words, also by suites/headers.

use serde_json::{Value, json};

use super::super::address::{self, Address};
use super::super::header::{self, Day};
use super::super::subject::base_subject;
use super::super::words;
use super::*;

fn address(name: Option<&str>, mailbox: &str, host: &str) -> Address {
    let octets = |text: &str| text.as_bytes().to_vec();
    Address { name: name.map(octets), route: None, mailbox: Some(octets(mailbox)), host: Some(octets(host)) }
}

#[test]
fn addresses_are_read_in_all_their_forms() {
    let parse = |value: &str| address::parse(value.as_bytes(), 100);
    assert_eq!(parse("a@b.c"), [address(None, "a", "b.c")]);
    assert_eq!(
        parse("\"Last, First\" <a@b>, c@d (The C)"),
        [address(Some("Last, First"), "a", "b"), address(Some("The C"), "c", "d")]
    );
    assert_eq!(
        parse("John Q. Public <\"john doe\"@[1.2.3.4]>"),
        [address(Some("John Q. Public"), "john doe", "[1.2.3.4]")]
    );
    assert_eq!(parse("a . b (x) @ c . (y) d"), [address(Some("x"), "a.b", "c.d")]);
    assert_eq!(parse("A <a@b(x).  c> (d)"), [address(Some("A"), "a", "b.c")]);
    assert_eq!(parse("a@b <c@d>, e@f"), [address(Some("a@b"), "c", "d"), address(None, "e", "f")]);
    assert_eq!(parse("=?utf-8?Q?=C3=A9?= <a@b>"), [address(Some("=?utf-8?Q?=C3=A9?="), "a", "b")]);
    assert_eq!(parse("\"a\\\"b\" <c@d>"), [address(Some("a\"b"), "c", "d")]);
    assert_eq!(parse("nobody"), [address(None, "nobody", "")]);
    assert_eq!(parse("<>"), [address(None, "", "")]);
    assert_eq!(parse(" , ,"), []);
    let route = &parse("N <@a,@b:c@d>")[0];
    assert_eq!(route.route.as_deref(), Some(&b"@a,@b"[..]));
    let group = parse("The Group: a@b, C <c@d>; e@f");
    assert_eq!(group[0], Address { mailbox: Some(b"The Group".to_vec()), ..Address::default() });
    assert_eq!(group[3], Address::default());
    assert_eq!(group.len(), 5);
    assert_eq!(parse("empty:;").len(), 2);
    assert_eq!(address::parse(b"a@b, c@d, e@f", 2).len(), 2);
    assert_eq!(address::parse(b"a@b, c@d", 2).len(), 2);
}

#[test]
fn any_octets_are_an_address_list() {
    let mut random = Random(0xadd);
    for _ in 0..20_000 {
        let value: Vec<u8> =
            (0..random.below(30)).map(|_| b"ab@<>()[]\\\",;: .\t\xff"[random.below(18)]).collect();
        address::parse(&value, 50);
    }
}

/// Entries of a file of suites/headers that were compared, and those that differ.
fn differing(
    file: &str,
    ours: impl Fn(&str) -> Value,
    theirs: impl Fn(&Value) -> Value,
) -> Option<(usize, Vec<String>)> {
    let suites = postrider_testing::suites()?;
    let text = std::fs::read_to_string(suites.join("headers/mail-parser").join(file)).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    let mut differing = Vec::new();
    for case in &cases {
        let header = case["header"].as_str().unwrap();
        let (ours, theirs) = (ours(header), theirs(&case["expected"]));
        if ours != theirs {
            differing.push(format!("{header:?}\n   ours   {ours}\n   theirs {theirs}"));
        }
    }
    println!("{file}: {} of {} differ", differing.len(), cases.len());
    differing.iter().for_each(|case| println!("{case}"));
    Some((cases.len(), differing))
}

/// The value of the first field: lines that go on it, unfolded.
fn unfolded(header: &str) -> Vec<u8> {
    let mut lines = header.split_inclusive('\n');
    let mut value = lines.next().unwrap_or_default().to_owned();
    for line in lines.take_while(|line| line.starts_with([' ', '\t'])) {
        value.push_str(line);
    }
    header::unfold(value.as_bytes())
}

#[test]
fn address_vectors() {
    let ours = |header: &str| {
        let mut out = Vec::new();
        for address in address::parse(&unfolded(header), 1000).iter().filter(|address| address.is_mailbox()) {
            let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
            let mailbox = text(address.mailbox.as_deref().unwrap());
            let host = text(address.host.as_deref().unwrap());
            out.push(json!(if host.is_empty() { mailbox } else { format!("{mailbox}@{host}") }));
        }
        Value::Array(out)
    };
    let theirs = |expected: &Value| {
        let mut lists = vec![&expected["List"]];
        if let Some(groups) = expected["Group"].as_array() {
            lists = groups.iter().map(|group| &group["addresses"]).collect();
        }
        let addresses = lists.into_iter().filter_map(Value::as_array).flatten();
        Value::Array(addresses.map(|address| address["address"].clone()).collect())
    };
    let Some((cases, differing)) = differing("address.json", ours, theirs) else { return };
    assert!(cases > 50 && differing.len() == ADDRESS_DIFFERENCES, "{} differ", differing.len());
}

/// An empty address after the end of a group, a source route and white space in the domain, where
/// IMAP has no entry, a field of its own and none.
const ADDRESS_DIFFERENCES: usize = 4;

#[test]
fn message_id_vectors() {
    let ours = |header: &str| {
        let ids = header::message_ids(&unfolded(header), 100);
        Value::Array(ids.iter().map(|id| json!(String::from_utf8_lossy(id))).collect())
    };
    let Some((_, differing)) = differing("id.json", ours, Value::clone) else { return };
    assert!(differing.len() == ID_DIFFERENCES, "{} differ", differing.len());
}

/// White space in an id is taken out; what is not in angle brackets is none ([`header::message_id`]
/// is kinder); no id is the empty list.
const ID_DIFFERENCES: usize = 5;

#[test]
fn unstructured_vectors() {
    let ours = |header: &str| {
        let decoded = words::decode(&unfolded(header));
        if decoded.is_empty() {
            Value::Null
        } else {
            json!(decoded.split_whitespace().collect::<Vec<_>>().join(" "))
        }
    };
    let theirs = |expected: &Value| match expected.as_str() {
        Some(text) => json!(text.split_whitespace().collect::<Vec<_>>().join(" ")),
        None => Value::Null,
    };
    let Some((_, differing)) = differing("unstructured.json", ours, theirs) else { return };
    assert!(differing.len() == UNSTRUCTURED_DIFFERENCES, "{} differ", differing.len());
}

/// A space before an encoded word that has none in the field.
const UNSTRUCTURED_DIFFERENCES: usize = 3;

#[test]
fn date_vectors() {
    let ours = |header: &str| match header::date(&unfolded(header)) {
        Some(date) => json!([date.day.year, date.day.month, date.day.day]),
        None => Value::Null,
    };
    let theirs = |expected: &Value| match expected {
        Value::Object(_) => json!([expected["year"], expected["month"], expected["day"]]),
        _ => Value::Null,
    };
    let Some((_, differing)) = differing("date.json", ours, theirs) else { return };
    assert!(differing.len() == DATE_DIFFERENCES, "{} differ", differing.len());
}

const DATE_DIFFERENCES: usize = 0;

#[test]
fn dates_have_an_instant_and_a_day() {
    let date = header::date(b"Fri, 21 Nov 1997 23:55:06 -0600").unwrap();
    assert_eq!(date.unix_seconds, 880_178_106);
    assert_eq!(date.day, Day { year: 1997, month: 11, day: 21 });
    assert_eq!(header::date(b"yesterday"), None);
    assert_eq!(header::date(b""), None);
}

#[test]
fn fields_are_found_in_a_header_block() {
    let header = b"Received: a\r\nX: 1\r\n 2\r\nx: 3\nRECEIVED : b\r\njunk\r\n\r\nX: body\r\n";
    assert_eq!(header::all(header, "received").count(), 2);
    assert_eq!(header::first(header, "x").map(header::unfold).as_deref(), Some(&b"1 2"[..]));
    assert_eq!(header::all(header, "X").count(), 2);
    assert_eq!(header::fields(header).map(|field| field.octets.len()).sum::<usize>(), header.len() - 11);
}

#[test]
fn message_ids_are_bounded() {
    assert_eq!(header::message_ids(b"<a@b> text <c\r\n @d><e", 5), [b"a@b".to_vec(), b"c@d".to_vec()]);
    assert_eq!(header::message_ids(b"<a><b><c>", 2).len(), 2);
    assert_eq!(
        header::message_ids(&[b"<".as_slice(), &[b'x'; 999], b">"].concat(), 2),
        Vec::<Vec<u8>>::new()
    );
    assert_eq!(header::message_ids(&[b"<".as_slice(), &[b'x'; 998], b">"].concat(), 2).len(), 1);
    assert_eq!(header::message_id(b" bare@id "), Some(b"bare@id".to_vec()));
    assert_eq!(header::message_id(b"two words"), None);
}

#[test]
fn base_subjects_are_those_of_rfc_5256() {
    for (subject, base, is_reply) in [
        ("hello", "hello", false),
        ("Re: hello", "hello", true),
        ("RE: fwd: Re [x]: hello (fwd)", "hello", true),
        ("[list] hello", "hello", false),
        ("[list] Re: [list] hello", "hello", true),
        ("[only blob]", "[only blob]", false),
        ("Re: [a] [b]", "[b]", true),
        ("[fwd: [fwd: inner] ]", "inner", true),
        ("Fw:  a \t b", "a b", true),
        ("=?utf-8?Q?Re=3A_x?=", "x", true),
        ("regarding", "regarding", false),
        ("", "", false),
        ("(fwd)", "", true),
        // Each step of RFC 5256 §2.1.
        ("a  b\tc", "a b c", false),
        ("  hello  ", "hello", false),
        ("hello (FWD) (fwd)", "hello", true),
        ("hello(fwd)", "hello", true),
        ("(fwd) hello", "(fwd) hello", false),
        ("re : hello", "hello", true),
        ("Re[2]: hello", "hello", true),
        ("Re [a] [b]: hello", "Re [a] [b]: hello", false),
        ("FWD: FW: fwd: hello", "hello", true),
        ("fwde: hello", "fwde: hello", false),
        ("[a][b] [c] Re: hello", "hello", true),
        ("[a] [b] hello", "hello", false),
        ("[a [b]] hello", "[a [b]] hello", false),
        ("[] hello", "hello", false),
        ("Re: [a]", "[a]", true),
        ("[fwd: hello", "[fwd: hello", false),
        ("[Fwd: Re: hello (fwd)]", "hello", true),
        ("[fwd: [a] hello] (fwd)", "hello", true),
        ("Re: [fwd: [list] Re: hello]", "hello", true),
        ("[fwd:]", "", true),
        ("Antwort: hello", "Antwort: hello", false),
        ("Re: =?utf-8?Q?Re=3A?= hello", "hello", true),
        ("re:re:re:", "", true),
    ] {
        let found = base_subject(subject.as_bytes());
        assert_eq!((found.text.as_str(), found.is_reply), (base, is_reply), "{subject}");
    }
}

#[test]
fn base_subjects_of_hostile_values_take_linear_time() {
    let ((), took) = postrider_testing::processor_time(|| {
        for piece in ["[]", "[x] ", "re:", "[fwd:", "(fwd)", "re[", "[fwd: ] ", "=?a?b?", "=?utf-8?q?=?="] {
            base_subject(piece.repeat(65_536 / piece.len()).as_bytes());
        }
        base_subject([b"[x]".repeat(10_000), b"re: y".to_vec()].concat().as_slice());
    });
    assert!(took < std::time::Duration::from_secs(10), "{took:?}");
}

#[test]
fn message_ids_are_the_same_however_they_are_quoted() {
    let ids = |value: &str| {
        let mut ids = Vec::new();
        header::each_message_id(value.as_bytes(), |id| {
            ids.push(String::from_utf8(id.to_vec()).unwrap());
            true
        });
        ids
    };
    for (value, found) in [
        ("", &[][..]),
        // The example of RFC 5256 §3.
        (r#"<"01KF8JCEOCBS0045PS"@xxx.yyy.com>"#, &["01KF8JCEOCBS0045PS@xxx.yyy.com"]),
        ("<01KF8JCEOCBS0045PS@xxx.yyy.com>", &["01KF8JCEOCBS0045PS@xxx.yyy.com"]),
        ("<a@b> <c@d>", &["a@b", "c@d"]),
        ("<a@b><c@d>", &["a@b", "c@d"]),
        ("<a @\t b>", &["a@b"]),
        (r#"<"a>\"b"@c> <d@e>"#, &["a>\"b@c", "d@e"]),
        (r#"<"a\@b"@c>"#, &["a@b@c"]),
        (r#"<"unclosed@b> <c@d>"#, &["\"unclosed@b", "c@d"]),
        ("a@b <no at> <@b> <a@> <> <x@y>", &["x@y"]),
        ("<a@b <c@d>", &["c@d"]),
        ("Your message of <x@y> by <z@y>", &["x@y", "z@y"]),
        ("<a@b", &[]),
    ] {
        assert_eq!(ids(value), found, "{value}");
    }
    let long = |octets: usize| format!("<{}@b>", "x".repeat(octets - 2));
    assert_eq!((ids(&long(998)).len(), ids(&long(999)).len()), (1, 0));
    let ((), took) = postrider_testing::processor_time(|| {
        for piece in ["<", "\"", "<\"", "<a@", "<a@b>", "\\"] {
            ids(&piece.repeat(65_536 / piece.len()));
        }
    });
    assert!(took < std::time::Duration::from_secs(10), "{took:?}");
}

#[test]
fn sent_dates_are_lenient_as_rfc_5256_says() {
    let sent = |value: &str| header::sent(value.as_bytes());
    // The example of RFC 5256 §2.2.
    assert_eq!(sent("31 Dec 2000 16:01:33 -0800"), sent("1 Jan 2001 00:01:33 +0000"));
    assert_eq!(sent("Mon, 1 Jan 2001 00:01:33 +0000"), Some(978_307_293));
    let noon = sent("1 Jan 2001 12:00:00 +0000");
    let midnight = sent("1 Jan 2001 00:00:00 +0000");
    for (value, expected) in [
        ("1 Jan 2001 12:00:00", noon),
        ("Mon, 1 Jan 2001 07:00:00 EST", noon),
        ("Mon, 1 Jan 2001 04:00:00 -0800 (PST)", noon),
        ("1 Jan 2001 12:00:00 GMT", noon),
        ("1 Jan 2001 17:45:00 +0545", noon),
        ("1 Jan 2001 12:00:00 +9999", noon),
        ("1 Jan 2001 12:00:00 nonsense", noon),
        ("Mon, 1 January 2001 12:00", noon),
        ("1 Jan 01 12:00:00 +0000", noon),
        ("1 Jan 101 12:00:00 +0000", noon),
        ("1 Jan 2001 25:00:00 +0000", midnight),
        ("1 Jan 2001 nonsense", midnight),
        ("1 Jan 2001", midnight),
        ("1-Jan-2001", midnight),
        ("31 Feb 2001 12:00:00 +0000", None),
        ("0 Jan 2001", None),
        ("1 Foo 2001", None),
        ("yesterday", None),
        ("", None),
    ] {
        assert_eq!(sent(value), expected, "{value}");
    }
}

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use serde_json::Value;

use super::*;
use crate::address::Domain;

fn record(text: &str) -> Record {
    Record::parse(text.as_bytes()).unwrap()
}

#[test]
fn records_print_as_they_are_read() {
    for text in [
        "v=DMARC1",
        "v=DMARC1; p=none",
        "v=DMARC1; p=reject; sp=quarantine; np=reject; psd=y; t=y; adkim=s; aspf=s; fo=1:d:s; \
         rua=mailto:a@b.example,mailto:c@d.example!1048576; ruf=https://x.example/; pct=10; ri=3600",
        "v=DMARC1; p=quarantine; psd=n; t=n",
    ] {
        assert_eq!(record(text).to_string(), text);
        assert_eq!(record(text).faults, []);
    }
    let kind =
        record(" V = DMARC1 ;; P = Reject ; ADKIM=S;rua= MAILTO:a@b.example!10M , mailto:c@d; ; pct=0;");
    assert_eq!(
        kind.to_string(),
        "v=DMARC1; p=reject; adkim=s; rua=MAILTO:a@b.example!10485760,mailto:c@d; pct=0"
    );
    assert_eq!(kind.faults, []);
    assert_eq!(
        record("v=DMARC1;p=none;rua=mailto:a@b!99999999999999999999t").aggregate_reports[0].octets_max,
        Some(u64::MAX)
    );
}

#[test]
fn what_is_no_record_is_ignored() {
    for text in [
        "",
        "v=DMARC2",
        "v=dmarc1; p=none",
        "v=DMARC1 p=none",
        "v=DMARC10",
        "p=none; v=DMARC1",
        "v",
        "DMARC1",
        "v=spf1 -all",
        "x=v=DMARC1",
        ";v=DMARC1",
        "\u{feff}v=DMARC1",
    ] {
        assert_eq!(Record::parse(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn wrong_tags_count_as_missing_and_are_told() {
    let broken = record(
        "v=DMARC1; p=reject; p=none; sp=foo; adkim=x; pct=101; ri=-1; fo=2; =x; novalue; rua=ftp:x,mailto:a@b; \
         t=; \u{fc}\n=1; x-unknown=1; pct=5",
    );
    assert_eq!(broken.policy, Some(Policy::Reject));
    assert_eq!(broken.subdomain_policy, None);
    assert_eq!((broken.percent, broken.interval_seconds, broken.testing), (None, None, None));
    assert_eq!(broken.dkim_alignment, Alignment::Relaxed);
    assert_eq!(broken.aggregate_reports.len(), 1);
    let faults: Vec<String> = broken.faults.iter().map(|fault| fault.tag.clone()).collect();
    assert_eq!(faults, ["p", "sp", "adkim", "pct", "ri", "fo", "=x", "novalue", "rua", "t", "pct"]);
    assert_eq!(broken.faults[0].to_string(), "tag \"p\": given twice");
    assert_eq!(broken.faults[7].error, TagError::NotATag);
}

#[test]
fn a_record_without_a_policy_is_good_for_reports_at_most() {
    let standing = |text| record(text).standing();
    assert_eq!(standing("v=DMARC1; p=none"), Standing::Applies);
    assert_eq!(standing("v=DMARC1; p=none; adkim=x"), Standing::Applies);
    assert_eq!(standing("v=DMARC1"), Standing::Unusable);
    assert_eq!(standing("v=DMARC1; p=x"), Standing::Unusable);
    assert_eq!(standing("v=DMARC1; p=reject; sp=x"), Standing::Unusable);
    assert_eq!(standing("v=DMARC1; p=reject; np=x; rua=mailto:a@b"), Standing::ReportsAlone);
    assert_eq!(standing("v=DMARC1; rua=mailto:a@b"), Standing::ReportsAlone);
    assert_eq!(standing("v=DMARC1; rua=mailto:a"), Standing::Unusable);
    // That a tag stands there twice doesn't break it.
    assert_eq!(standing("v=DMARC1; p=reject; sp=none; sp=x"), Standing::Applies);
}

#[test]
fn policies_have_an_order() {
    assert!(Policy::Reject > Policy::Quarantine && Policy::Quarantine > Policy::None);
    assert_eq!(Policy::Reject.one_below(), Policy::Quarantine);
    assert_eq!(Policy::Quarantine.one_below(), Policy::None);
    assert_eq!(Policy::None.one_below(), Policy::None);
}

#[test]
fn limits_hold_at_the_limit_and_one_past_it() {
    let tags = |count: usize| format!("v=DMARC1{}; p=reject", "; x=1".repeat(count));
    assert_eq!(record(&tags(Record::TAGS_MAX - 2)).policy, Some(Policy::Reject));
    let over = record(&tags(Record::TAGS_MAX - 1));
    assert_eq!(over.policy, None);
    assert_eq!(over.faults.last().unwrap().error, TagError::TooMany);
    let uris = |count: usize| record(&format!("v=DMARC1; rua={}", vec!["mailto:a@b"; count].join(",")));
    assert_eq!(uris(Record::REPORT_URIS_MAX).aggregate_reports.len(), Record::REPORT_URIS_MAX);
    assert_eq!(uris(Record::REPORT_URIS_MAX + 1).aggregate_reports.len(), Record::REPORT_URIS_MAX);
    let faults = |count: usize| record(&format!("v=DMARC1{}", "; x".repeat(count)));
    assert_eq!(faults(Record::FAULTS_MAX).faults.len(), Record::FAULTS_MAX);
    assert_eq!(faults(Record::FAULTS_MAX + 1).faults.len(), Record::FAULTS_MAX);
}

/// Rows of Mail::DMARC that aren't followed, with the reason.
const ADJUDICATED: &[(&str, &str, &str)] = &[(
    "v",
    "dmarc1",
    "RFC 9989 §4.7 (and RFC 7489 §6.3): \"The tag value is case sensitive, and the only possible value is DMARC1\"",
)];

#[test]
fn tag_values_of_mail_dmarc() {
    let Some(file) = postrider_testing::suite("dmarc/mail-dmarc/tag-values.json") else { return };
    let suite: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let (mut count, mut wrong) = (0, Vec::new());
    for (verdict, expected) in [("valid", true), ("invalid", false)] {
        for (tag, values) in suite[verdict].as_object().unwrap() {
            for value in values.as_array().unwrap() {
                let value = value.as_str().unwrap();
                let text = match tag.as_str() {
                    "v" => format!("v={value}; p=none"),
                    "p" => format!("v=DMARC1; p={value}"),
                    _ => format!("v=DMARC1; p=none; {tag}={value}"),
                };
                let is_valid = Record::parse(text.as_bytes()).is_some_and(|record| record.faults.is_empty());
                let is_adjudicated = ADJUDICATED.iter().any(|(t, v, _)| t == tag && *v == value);
                count += 1;
                if (is_valid == expected) == is_adjudicated {
                    wrong.push(format!("{tag}={value}: {is_valid}"));
                }
            }
        }
    }
    assert_eq!(count, 88);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

#[test]
fn the_author_is_the_domain_of_the_from_field() {
    for from in [
        "From: a@Example.org",
        "from:a@example.org",
        "FROM : \"Someone, @evil.example\" <a@example.org>",
        "From: a@evil.example <a@example.org>",
        "From: Someone (a@evil.example)\r\n\t<a@example.org>",
        "From: =?utf-8?q?a=40evil.example?= <a@example.org>",
        "From: <@evil.example:a@example.org>",
        "From: a@example.org, b@EXAMPLE.org",
        "From: Us: a@example.org, b@example.org;",
        "X: 1\nFrom: a@example.org\nTo: b@c.example",
    ] {
        let header = format!("{from}\r\nTo: b@evil.example\r\n\r\nFrom: c@evil.example\r\n");
        assert_eq!(Author::of_header(header.as_bytes()), Author::Domain(domain("example.org")), "{from}");
    }
    // A name in two forms is one name.
    let both = "From: a@b\u{fc}cher.example, b@xn--bcher-kva.example\r\n";
    assert_eq!(Author::of_header(both.as_bytes()), Author::Domain(domain("xn--bcher-kva.example")));
}

#[test]
fn a_message_of_several_authors_has_none() {
    use AuthorProblem::{Malformed, Missing, Repeated, Several};
    let cases: &[(&str, AuthorProblem, &[&str])] = &[
        ("To: a@b.example", Missing, &[]),
        ("", Missing, &[]),
        ("Sender: a@b.example\r\nResent-From: c@d.example", Missing, &[]),
        ("From: a@x.example\r\nFrom: a@x.example", Repeated, &["x.example"]),
        ("From: a@x.example\r\nfrom : b@y.example", Repeated, &["x.example", "y.example"]),
        (" From: a@x.example\r\nFrom: b@y.example", Repeated, &["x.example", "y.example"]),
        ("From: a@x.example\r\nFrom\r\n : b@y.example", Repeated, &["x.example", "y.example"]),
        ("From: a@x.example\r\nFrom", Repeated, &["x.example"]),
        ("From: a@x.example, b@y.example", Several, &["x.example", "y.example"]),
        ("From: <a@x.example> <b@y.example>", Several, &["x.example", "y.example"]),
        ("From:", Malformed, &[]),
        ("From: someone", Malformed, &[]),
        ("From: nobody:;", Malformed, &[]),
        ("From: a@[192.0.2.1]", Malformed, &[]),
        ("From: a@x_y.example", Malformed, &[]),
        ("From: a@x.example\u{202e}", Malformed, &[]),
        ("From: a@x.example, <>", Malformed, &["x.example"]),
        ("From: a@x.example, b", Malformed, &["x.example"]),
    ];
    for (header, problem, domains) in cases {
        let domains = domains.iter().map(|name| domain(name)).collect();
        let expected = Author::Unclear { problem: *problem, domains };
        assert_eq!(Author::of_header(header.as_bytes()), expected, "{header:?}");
    }
}

#[test]
fn authors_are_bounded() {
    let many = |count: usize| {
        let list: Vec<String> = (0..count).map(|number| format!("a@d{number}.example")).collect();
        Author::of_header(format!("From: {}", list.join(", ")).as_bytes())
    };
    for count in [Author::DOMAINS_MAX, Author::DOMAINS_MAX + 1, 10_000] {
        let Author::Unclear { problem: AuthorProblem::Several, domains } = many(count) else { panic!() };
        assert_eq!(domains.len(), Author::DOMAINS_MAX);
    }
    let same = |count: usize| {
        Author::of_header(format!("From: {}", vec!["a@x.example"; count].join(",")).as_bytes())
    };
    assert_eq!(same(Author::ADDRESSES_MAX), Author::Domain(domain("x.example")));
    // What isn't looked at could be of another domain.
    assert!(matches!(same(Author::ADDRESSES_MAX + 1), Author::Unclear { .. }));
}

#[test]
fn random_records_print_as_they_are_read() {
    const PIECES: &[&str] = &[
        "p",
        "sp",
        "np",
        "psd",
        "t",
        "adkim",
        "aspf",
        "fo",
        "rua",
        "ruf",
        "pct",
        "ri",
        "rf",
        "=",
        "=",
        "=",
        ";",
        ";",
        ";",
        "none",
        "reject",
        "quarantine",
        "y",
        "n",
        "r",
        "s",
        "0",
        "1",
        ":",
        "d",
        "mailto:a@b.example",
        "!10m",
        ",",
        " ",
        "100",
        "afrf",
        "\u{fc}",
        "x",
    ];
    for seed in 1..=20_000_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut below = |end: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % (end as u64)).unwrap()
        };
        let mut text = String::from("v=DMARC1;");
        for _ in 0..below(24) {
            text.push_str(PIECES[below(PIECES.len())]);
        }
        let read = record(&text);
        let again = record(&read.to_string());
        assert_eq!(again.to_string(), read.to_string(), "seed {seed}: {text}");
        assert_eq!(again.faults, [], "seed {seed}: {text}");
        let _ = Author::of_header(text.replace(';', "\r\nFrom: ").as_bytes());
    }
}

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use super::json::{FAILURES_MAX, POLICIES_MAX, REPORT_OCTETS_MAX};
use super::*;
use crate::address::Address;

fn destinations(text: &str) -> Result<Vec<String>, RecordError> {
    assert!(Record::is_one(text.as_bytes()), "{text}");
    Record::parse(text.as_bytes()).map(|record| {
        let shown = |destination: Destination| match destination {
            Destination::Mail(address) => address.to_string(),
            Destination::Https(uri) => uri.into(),
        };
        record.destinations.into_iter().map(shown).collect()
    })
}

#[test]
fn records_are_read() {
    for (text, expected) in [
        ("v=TLSRPTv1;rua=mailto:reports@example.com", &["reports@example.com"][..]),
        (
            "v=TLSRPTv1; rua=https://reporting.example.com/v1/tlsrpt",
            &["https://reporting.example.com/v1/tlsrpt"],
        ),
        (
            "v=TLSRPTv1 ;\t rua=mailto:a@b.example , HTTPS://c.example?x=y ;",
            &["a@b.example", "https://c.example?x=y"],
        ),
        ("v=TLSRPTv1;x=y;rua=mailto:a@b.example;rua=mailto:c@d.example;z.9-_=!", &["a@b.example"]),
        ("v=TLSRPTv1;rua=mailto:a%21b@c.example?subject=x", &["a!b@c.example"]),
        // Those of a kind that isn't known, or no addresses, are passed over.
        (
            "v=TLSRPTv1;rua=ftp://x,mailto:none,http://y,mailto:a@b.example,https://,https://u@h/",
            &["a@b.example"],
        ),
    ] {
        assert_eq!(
            destinations(text).as_deref(),
            Ok(&*expected.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
        );
    }
    let many = (0..30).map(|n| format!("mailto:a{n}@b.example")).collect::<Vec<_>>().join(",");
    assert_eq!(destinations(&format!("v=TLSRPTv1;rua={many}")).unwrap().len(), 10);
}

#[test]
fn what_is_no_record_is_refused() {
    for text in [
        "",
        "v=TLSRPTv1",
        "v=tlsrptv1;rua=mailto:a@b",
        "v=TLSRPTv2;rua=mailto:a@b",
        " v=TLSRPTv1;rua=mailto:a@b",
        "v=TLSRPTv1x;",
    ] {
        assert!(!Record::is_one(text.as_bytes()), "{text}");
    }
    for (text, error) in [
        ("v=TLSRPTv1;", RecordError::NoDestination),
        ("v=TLSRPTv1;rua=", RecordError::NoDestination),
        ("v=TLSRPTv1;RUA=mailto:a@b", RecordError::NoDestination),
        ("v=TLSRPTv1;;rua=mailto:a@b", RecordError::Field),
        ("v=TLSRPTv1;rua", RecordError::Field),
        ("v=TLSRPTv1;x=a=b;rua=mailto:a@b", RecordError::Field),
        ("v=TLSRPTv1;-x=a;rua=mailto:a@b", RecordError::Field),
        ("v=TLSRPTv1;x=a b;rua=mailto:a@b", RecordError::Field),
    ] {
        assert_eq!(destinations(text), Err(error), "{text}");
    }
    assert_eq!(Record::parse(b"v=TLSRPTv1;rua=\xff"), Err(RecordError::Field));
    let fits = |octets: usize| {
        let start = "v=TLSRPTv1;rua=mailto:a@b.example;x=";
        destinations(&format!("{start}{}", "y".repeat(octets - start.len())))
    };
    assert!(fits(Record::OCTETS_MAX).is_ok());
    assert_eq!(fits(Record::OCTETS_MAX + 1), Err(RecordError::TooLong));
    assert_eq!(record_name(&Domain::parse("b.example").unwrap()), "_smtp._tls.b.example");
    assert!(Address::parse("a@b.example").is_ok());
}

fn report() -> Report {
    let failure = Failure {
        sending_mta_ip: Some("2001:db8::1".parse().unwrap()),
        receiving_mx_hostname: Some("mx.them.example".into()),
        receiving_mx_helo: Some("mx".into()),
        receiving_ip: Some("192.0.2.1".parse().unwrap()),
        sessions: 3,
        additional_information: Some("https://us.example/".into()),
        reason_code: Some("alert 42".into()),
        ..Failure::new(ResultType::CertificateExpired)
    };
    let failures = vec![failure, Failure::new(ResultType::parse("later"))];
    Report {
        organization_name: "Us \"and\" them".into(),
        start: 1_795_305_600,
        end: 1_795_391_999,
        contact_info: Some("postmaster@us.example".into()),
        report_id: "1@us.example".into(),
        policies: vec![
            PolicyReport {
                policy_type: PolicyType::Sts,
                policy_strings: vec!["version: STSv1".into(), "mode: enforce".into()],
                policy_domain: "them.example".into(),
                mx_hosts: vec!["*.them.example".into()],
                successful_sessions: 10,
                failed_sessions: 4,
                failures,
            },
            PolicyReport {
                policy_type: PolicyType::NoPolicyFound,
                policy_strings: Vec::new(),
                policy_domain: "mx.them.example".into(),
                mx_hosts: Vec::new(),
                successful_sessions: 0,
                failed_sessions: 0,
                failures: Vec::new(),
            },
        ],
    }
}

#[test]
fn reports_come_back() {
    let json = report().to_json();
    assert_eq!(Report::parse(json.as_bytes()).unwrap(), report());
    let expected = r#"{"organization-name":"Us \"and\" them","date-range":{"start-datetime":"2026-11-22T00:00:00Z","end-datetime":"2026-11-22T23:59:59Z"},"contact-info":"postmaster@us.example","report-id":"1@us.example","policies":[{"policy":{"policy-type":"sts","policy-string":["version: STSv1","mode: enforce"],"policy-domain":"them.example","mx-host":["*.them.example"]},"summary":{"total-successful-session-count":10,"total-failure-session-count":4},"failure-details":[{"result-type":"certificate-expired","sending-mta-ip":"2001:db8::1","receiving-mx-hostname":"mx.them.example","receiving-mx-helo":"mx","receiving-ip":"192.0.2.1","failed-session-count":3,"additional-information":"https://us.example/","failure-reason-code":"alert 42"},{"result-type":"later","failed-session-count":1}]},{"policy":{"policy-type":"no-policy-found","policy-domain":"mx.them.example"},"summary":{"total-successful-session-count":0,"total-failure-session-count":0}}]}"#;
    assert_eq!(json, expected);
    let (us, them) = (Domain::parse("us.example").unwrap(), Domain::parse("them.example").unwrap());
    assert_eq!(
        report().subject(&them, &us),
        "Report Domain: them.example Submitter: us.example Report-ID: <1@us.example>"
    );
    let name = "us.example!them.example!1795305600!1795391999!a1.json.gz";
    assert_eq!(report().file_name(&them, &us, "a1"), name);
}

#[test]
fn foreign_reports_are_read_kindly_and_harmlessly() {
    let json = r#"{"extra":[[{}]],"date-range":{"start-datetime":" 2016-04-01T02:00:00+02:00","end-datetime":"2016-04-01T23:59:59Z"},
        "report-id":"a\nb\u001b","policies":[{"policy":{"policy-type":"sts","policy-string":"version: STSv1","mx-host":"*.x","policy-domain":null},
        "failure-details":null},{"policy":{"policy-type":"x","policy-string":null},"summary":{"total-successful-session-count":1},
        "failure-details":[{"result-type":"tlsa-invalid","sending-mta-ip":"unknown"}]}]}"#;
    let read = Report::parse(json.as_bytes()).unwrap();
    assert_eq!((read.start, &*read.report_id), (1_459_468_800, "a?b?"));
    assert_eq!(read.policies[0].mx_hosts, [Box::from("*.x")]);
    assert_eq!(read.policies[0].policy_strings, [Box::from("version: STSv1")]);
    assert_eq!(read.policies[1].failures, [Failure { sessions: 0, ..Failure::new(ResultType::TlsaInvalid) }]);
    for broken in [
        "",
        "{}",
        "[]",
        "null",
        "{\"report-id\":\"x\",\"policies\":[]}",
        r#"{"date-range":{"start-datetime":"x","end-datetime":"y"},"report-id":"x","policies":[]}"#,
        r#"{"date-range":{"start-datetime":"2016-04-01T00:00:00Z","end-datetime":"2016-04-01T23:59:59Z"},"report-id":"x","policies":[{"summary":{"total-failure-session-count":-1}}]}"#,
    ] {
        assert!(Report::parse(broken.as_bytes()).is_err(), "{broken}");
    }
    assert!(Report::parse("[".repeat(100_000).as_bytes()).is_err());
}

#[test]
fn the_limits_of_a_report_hold() {
    let policy = PolicyReport { failures: Vec::new(), ..report().policies[0].clone() };
    let read = |report: &Report| Report::parse(report.to_json().as_bytes());
    let mut many = Report { policies: vec![policy; POLICIES_MAX], ..report() };
    assert!(read(&many).is_ok());
    many.policies.push(many.policies[0].clone());
    assert!(matches!(read(&many), Err(ReportError::TooLarge)));
    many.policies.truncate(2);
    many.policies[0].failures = vec![Failure::new(ResultType::TlsaInvalid); FAILURES_MAX];
    assert!(read(&many).is_ok());
    many.policies[1].failures = vec![Failure::new(ResultType::TlsaInvalid)];
    assert!(matches!(read(&many), Err(ReportError::TooLarge)));
    assert!(matches!(Report::parse(&vec![b' '; REPORT_OCTETS_MAX + 1]), Err(ReportError::TooLarge)));
    let long = Report { report_id: "\u{fc}".repeat(2000).into(), ..report() };
    assert_eq!(read(&long).unwrap().report_id.len(), 1024);
}

#[test]
fn of_long_lists_as_much_is_read_as_is_kept() {
    let with = |lines: &str| {
        format!(
            "{{\"date-range\":{{\"start-datetime\":\"2016-04-01T00:00:00Z\",\"end-datetime\":\"2016-04-01T23:59:59Z\"}},\
             \"report-id\":\"x\",\"policies\":[{{\"policy\":{{\"policy-type\":\"sts\",\"policy-string\":[{lines}]}}}}]}}"
        )
    };
    let kept = |lines: &str| {
        let report = Report::parse(with(lines).as_bytes());
        report.map(|report| report.policies[0].policy_strings.len()).ok()
    };
    assert_eq!(kept(""), Some(0));
    let many = "\"\",".repeat(200);
    assert_eq!(kept(many.trim_end_matches(',')), Some(200));
    // What follows isn't looked at, however much it is.
    assert_eq!(kept(&format!("{many}{}7", many.repeat(1000))), Some(200));
    assert_eq!(kept("7"), None);
    assert_eq!(kept(&format!("{many}}}")), None);
}

fn suite(name: &str) -> Option<Vec<u8>> {
    let file = postrider_testing::suite(&format!("tlsrpt/{name}"))?;
    Some(std::fs::read(file).unwrap())
}

#[test]
fn reports_of_others_are_read() {
    for (name, policies) in [
        ("reports-mail-auth/rpt01.json", 1),
        ("reports-mail-auth/rpt02.json", 1),
        ("reports-mail-auth/rpt03.json", 2),
        ("reports-parsedmarc/mail.ru.json", 1),
        ("reports-parsedmarc/rfc8460.json", 1),
        ("reports-parsedmarc/smtp_tls.json", 1),
    ] {
        let Some(json) = suite(name) else { return };
        let report = Report::parse(&json).unwrap();
        assert_eq!(report.policies.len(), policies, "{name}");
        assert_eq!(Report::parse(report.to_json().as_bytes()).unwrap(), report, "{name}");
    }
}

#[test]
fn the_words_are_those_of_the_standard() {
    let Some(json) = suite("rfc8460/result-types.json") else { return };
    let words: serde_json::Value = serde_json::from_slice(&json).unwrap();
    for group in ["negotiation", "dane", "sts"] {
        for word in words[group].as_array().unwrap() {
            let word = word.as_str().unwrap();
            assert!(!matches!(ResultType::parse(word), ResultType::Other(_)), "{word}");
            assert_eq!(ResultType::parse(word).name(), word);
        }
    }
    for word in words["policy_types"].as_array().unwrap() {
        assert!(!matches!(PolicyType::parse(word.as_str().unwrap()), PolicyType::Other(_)));
    }
}

/// Reports as they come by mail (RFC 8460 §5.3).
#[test]
fn reports_in_messages_of_others_are_read() {
    use crate::mime::decode::{TransferEncoding, decode};
    use crate::mime::parameter::MediaType;
    use crate::mime::scan::Scanner;
    use crate::mime::{FieldName, Limits};

    for (name, expected) in [
        ("reports-mail-auth/rpt01.eml", Some("reports-mail-auth/rpt01.json")),
        ("reports-mail-auth/rpt02.eml", Some("reports-mail-auth/rpt02.json")),
        ("reports-parsedmarc/google.com_smtp_tls_report.eml", None),
    ] {
        let Some(message) = suite(name) else { return };
        let mut scanner = Scanner::new(Limits::DEFAULT);
        scanner.push(&message);
        let structure = scanner.finish();
        let part = structure.parts.iter().find(|part| {
            let media = part.field(FieldName::ContentType).and_then(MediaType::parse);
            media.is_some_and(|media| media.subtype.to_ascii_lowercase().starts_with(b"tlsrpt"))
        });
        let part = part.unwrap();
        let encoding = part.field(FieldName::ContentTransferEncoding).unwrap_or_default();
        let body = &message[part.body_start as usize..part.end as usize];
        let mut json = decode(TransferEncoding::parse(encoding), body).unwrap();
        // What it is called doesn't tell whether it is compressed.
        if crate::gzip::is_gzip(&json) {
            json = crate::gzip::decompress(&json, REPORT_OCTETS_MAX).unwrap();
        }
        let report = Report::parse(&json).unwrap();
        assert!(!report.policies.is_empty(), "{name}");
        if let Some(json) = expected.and_then(suite) {
            assert_eq!(report, Report::parse(&json).unwrap(), "{name}");
        }
    }
}

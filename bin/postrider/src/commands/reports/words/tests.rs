use super::*;

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn source(address: &str, failed: u64, aligned: u64) -> SourceSummary {
    SourceSummary {
        source: Some(address.to_owned()),
        messages: 10,
        failed,
        dkim_aligned: aligned,
        reporters: texts(&["them.example"]),
        ..SourceSummary::default()
    }
}

#[test]
fn a_summary_says_who_failed_and_what_to_do() {
    let forged = SourceSummary { senders: texts(&["us.example fail"]), ..source("192.0.2.1", 10, 0) };
    let service = SourceSummary { signatures: texts(&["news.example pass"]), ..source("192.0.2.2", 10, 0) };
    let list = SourceSummary { reasons: texts(&["mailing_list"]), ..source("192.0.2.3", 4, 6) };
    let mixed = source("192.0.2.4", 4, 6);
    let good = source("2001:db8::5", 0, 10);
    let dmarc = DmarcSummary {
        reports: 3,
        unconfirmed: 1,
        messages: 50,
        failed: 28,
        quarantined: 1,
        rejected: 2,
        sources: vec![forged, service, list, mixed, good],
        sources_left_out: 7,
    };
    let failure = |result: &str, reason: &str| FailureSummary {
        reporter: "them.example".to_owned(),
        result: result.to_owned(),
        receiving_host: "mx.us.example".to_owned(),
        reason: reason.to_owned(),
        sessions: 3,
    };
    let tls = TlsSummary {
        reports: 2,
        successful: 90,
        failed: 6,
        failures: vec![failure("certificate-expired", "x509"), failure("sts-policy-fetch-error", "")],
        ..TlsSummary::default()
    };
    let whole = ReportSummary { domain: "us.example".to_owned(), since: 0, until: 1, dmarc, tls };
    let lines = summary(&whole, 7);
    let text = lines.join("\n");
    for said in [
        "us.example: reports of the last 7 days",
        "50 messages in 3 reports, 28 failed; 1 were put aside, 2 refused",
        "1 reports are left out: nothing confirms",
        "192.0.2.1: 10 messages, 10 failed; 0 with an aligned signature, 0 by SPF; reported by them.example\n    \
         signatures: none; SPF: us.example fail: if it sends for you, allow it in the SPF record",
        "signatures: news.example pass; SPF: none: it is a real sender of another domain",
        "mailing list, as reporters see it; nothing to do",
        "some pass and some don't",
        "2001:db8::5: 10 messages, 0 failed",
        "7 more sources",
        "90 sessions succeeded and 6 failed, in 2 reports",
        "them.example: 3 sessions failed to mx.us.example: certificate-expired (x509)\n    renew the certificate",
        "https://mta-sts.us.example/.well-known/mta-sts.txt is served",
    ] {
        assert!(text.contains(said), "{said}\n\n{text}");
    }
    // Of a source without failures nothing is to be explained.
    assert!(lines.iter().any(|line| line.starts_with("  2001:db8::5")));
    assert_eq!(lines.iter().filter(|line| line.starts_with("    ")).count(), 6);
    let none = ReportSummary {
        domain: "us.example".to_owned(),
        since: 0,
        until: 1,
        dmarc: DmarcSummary::default(),
        tls: TlsSummary::default(),
    };
    let text = summary(&none, 7).join("\n");
    assert!(text.contains("_dmarc.us.example have rua=") && text.contains("_smtp._tls.us.example have rua="));
    assert!(!text.contains("left out"));
    let dmarc = DmarcSummary { unconfirmed: 2, ..DmarcSummary::default() };
    let text = summary(&ReportSummary { dmarc, ..none }, 7).join("\n");
    assert!(text.contains("No reports on DMARC") && text.contains("2 reports are left out"), "{text}");
}

#[test]
fn every_result_of_the_standard_has_a_remedy() {
    let other = remedy("new-word", "us.example");
    for result in [
        "starttls-not-supported",
        "certificate-host-mismatch",
        "certificate-expired",
        "certificate-not-trusted",
        "validation-failure",
        "tlsa-invalid",
        "dnssec-invalid",
        "dane-required",
        "sts-policy-fetch-error",
        "sts-policy-invalid",
        "sts-webpki-invalid",
    ] {
        assert_ne!(remedy(result, "us.example"), other, "{result}");
    }
}

#[test]
fn reports_and_entries_are_lines() {
    let row = ReportRow {
        id: "7".to_owned(),
        kind: ReportKind::Dmarc,
        domain: "us.example".to_owned(),
        policy_domain: "mail.us.example".to_owned(),
        submitter: "them.example".to_owned(),
        confirmed_by: Some("dkim".to_owned()),
        organization: "Them".to_owned(),
        report_id: "x-1".to_owned(),
        received: 86_400,
        begin: 0,
        end: 86_399,
        total: 5,
        failed: 2,
        quarantined: 1,
        rejected: 1,
        entries: 2,
        left_out: 3,
    };
    let line = row.line();
    assert!(line.starts_with("7\t") && line.ends_with("\tdmarc\tus.example\tthem.example\t5\t2"), "{line}");
    let text = report(&row).join("\n");
    for said in [
        "on DMARC about mail.us.example",
        "Them (them.example, confirmed by DKIM), who calls it x-1",
        "5 messages, 2 failed",
        "1 were put aside, 1 refused",
        "3 entries were too many",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let forged = ReportRow { confirmed_by: None, ..row };
    assert!(forged.line().contains("them.example (unconfirmed)"));
    assert!(report(&forged).join("\n").contains("nothing confirms"));
    let entry = DmarcEntry {
        source: None,
        messages: 2,
        disposition: "none".to_owned(),
        dkim: "fail".to_owned(),
        spf: "pass".to_owned(),
        reasons: texts(&["forwarded: by us"]),
        header_from: "us.example".to_owned(),
        signatures: texts(&["a.example s fail"]),
        senders: vec![],
    };
    let line = ReportEntry::Dmarc(entry).line();
    let expected = "an unknown address\t2 messages from us.example\tDKIM fail\tSPF pass\tnone\tsignatures: a.example s \
                    fail\tsince: forwarded: by us";
    assert_eq!(line, expected);
    let failure = TlsFailure {
        result: "tlsa-invalid".to_owned(),
        sessions: 3,
        sending_ip: Some("192.0.2.1".to_owned()),
        receiving_host: None,
        receiving_ip: Some("192.0.2.2".to_owned()),
        reason: Some("x".to_owned()),
    };
    let entry = TlsEntry {
        policy_type: "tlsa".to_owned(),
        policy_domain: "us.example".to_owned(),
        successful: 1,
        failed: 3,
        failures: vec![failure],
    };
    let line = ReportEntry::Tls(entry).line();
    assert_eq!(
        line,
        "tlsa of us.example\t1 succeeded\t3 failed\t3 tlsa-invalid from 192.0.2.1 to 192.0.2.2 (x)"
    );
}

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use postrider_proto::tlsrpt::{Failure, PolicyReport, PolicyType, ResultType};
use postrider_storage::directory::ReportKinds;

use super::*;

const NOW: i64 = 1_700_000_000;
pub(in crate::received_reports) const KEEP: i64 = 400 * 24 * 60 * 60;

pub(in crate::received_reports) fn todo() -> ReportTodoRow {
    ReportTodoRow {
        kinds: ReportKinds { dmarc: true, tls: true },
        received: NOW,
        dmarc: false,
        submitted: false,
        from: "them.example".into(),
        spf: "".into(),
        signers: "".into(),
        tls_signers: "".into(),
    }
}

pub(in crate::received_reports) fn record(
    count: u64,
    passes: bool,
    disposition: Disposition,
) -> dmarc::Record {
    dmarc::Record {
        source: Some("192.0.2.1".parse().unwrap()),
        count,
        disposition,
        dkim: if passes { Outcome::Pass } else { Outcome::Fail },
        spf: Outcome::Fail,
        reasons: vec![],
        header_from: "us.example".into(),
        envelope_from: None,
        envelope_to: None,
        dkim_results: vec![],
        spf_results: vec![],
    }
}

pub(in crate::received_reports) fn on_mail(domain: &str, records: Vec<dmarc::Record>) -> Report {
    Report::Dmarc(Box::new(dmarc::Report {
        organization_name: "Them".into(),
        email: "dmarc@them.example".into(),
        extra_contact_info: None,
        report_id: "1".into(),
        begin: NOW - 86_400,
        end: NOW,
        errors: vec![],
        generator: None,
        policy: dmarc::PublishedPolicy {
            domain: domain.into(),
            policy: Some(Disposition::None),
            subdomain_policy: None,
            nonexistent_policy: None,
            dkim_alignment: None,
            spf_alignment: None,
            percent: None,
            failure_options: None,
            testing: None,
            discovery_method: None,
        },
        records,
    }))
}

pub(in crate::received_reports) fn policy(domain: &str, successful: u64, failures: &[u64]) -> PolicyReport {
    let failure = |sessions: &u64| Failure {
        sessions: *sessions,
        reason_code: Some(format!("reason {sessions}").into()),
        ..Failure::new(ResultType::CertificateExpired)
    };
    PolicyReport {
        policy_type: PolicyType::Sts,
        policy_strings: vec![],
        policy_domain: domain.into(),
        mx_hosts: vec![],
        successful_sessions: successful,
        failed_sessions: failures.iter().sum(),
        failures: failures.iter().map(failure).collect(),
    }
}

pub(in crate::received_reports) fn on_tls(contact: Option<&str>, policies: Vec<PolicyReport>) -> Report {
    Report::Tls(Box::new(tlsrpt::Report {
        organization_name: "Them".into(),
        start: NOW - 86_400,
        end: NOW,
        contact_info: contact.map(Into::into),
        report_id: "1".into(),
        policies,
    }))
}

/// `us.example` is ours, with what lies below.
fn ours(name: &str) -> Result<Option<String>, EngineError> {
    let name = name.trim_end_matches('.').to_lowercase();
    let is_ours = name == "us.example" || name.ends_with(".us.example") || name == "second.example";
    let home = if name == "second.example" { &*name } else { "us.example" };
    Ok(is_ours.then(|| home.to_owned()))
}

fn judged(report: Report, todo: &ReportTodoRow) -> Result<Vec<Judged>, Refused> {
    judge(report, todo, KEEP, ours).unwrap()
}

fn only(report: Report, todo: &ReportTodoRow) -> ReportRow {
    let mut judged = judged(report, todo).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(judged.len(), 1);
    judged.remove(0).row
}

#[test]
fn a_report_on_mail_is_its_authors_when_something_confirms_it() {
    use ReportProof::{Dkim, Dmarc, Nothing, Spf, Submission};
    let usual = todo();
    for (todo, proof) in [
        (usual.clone(), Nothing),
        (ReportTodoRow { dmarc: true, ..usual.clone() }, Dmarc),
        (ReportTodoRow { signers: "other.example mail.them.example".into(), ..usual.clone() }, Dkim),
        (ReportTodoRow { signers: "other.example notthem.example".into(), ..usual.clone() }, Nothing),
        (ReportTodoRow { spf: "bounce.them.example".into(), ..usual.clone() }, Spf),
        (ReportTodoRow { spf: "example".into(), ..usual.clone() }, Nothing),
        // Customers of one company don't stand for each other.
        (
            ReportTodoRow {
                from: "bank.github.io".into(),
                signers: "other.github.io".into(),
                spf: "github.io".into(),
                ..usual.clone()
            },
            Nothing,
        ),
        // Such a key is for reports on TLS alone.
        (ReportTodoRow { tls_signers: "them.example".into(), ..usual.clone() }, Nothing),
        (ReportTodoRow { submitted: true, ..usual.clone() }, Submission),
        (ReportTodoRow { from: "".into(), signers: "them.example".into(), ..usual.clone() }, Nothing),
    ] {
        let row = only(on_mail("us.example", vec![]), &todo);
        assert_eq!((row.proof, &*row.submitter), (proof, &*todo.from), "{todo:?}");
    }
}

#[test]
fn a_report_on_tls_is_who_is_to_be_asked_when_signed() {
    use ReportProof::{Dkim, Nothing, Submission};
    let usual = todo();
    let signed = |by: &str| ReportTodoRow {
        signers: by.into(),
        dmarc: true,
        spf: "them.example".into(),
        ..usual.clone()
    };
    let of_key = ReportTodoRow { tls_signers: "them.example".into(), ..usual.clone() };
    let submitted = ReportTodoRow { submitted: true, ..usual.clone() };
    for (contact, todo, submitter, proof) in [
        (Some("tls@them.example"), signed("them.example"), "them.example", Dkim),
        (Some("MAILTO:tls@mail.them.example"), signed("them.example"), "mail.them.example", Dkim),
        (Some("tls@them.example"), of_key, "them.example", Dkim),
        (Some("tls@them.example"), signed(""), "them.example", Nothing),
        // Whoever signs for another domain may claim anything.
        (Some("tls@bank.example"), signed("them.example"), "bank.example", Nothing),
        (Some("https://them.example/"), signed("them.example"), "them.example", Dkim),
        (None, signed("them.example"), "them.example", Dkim),
        (None, submitted.clone(), "them.example", Submission),
        (Some("tls@bank.example"), submitted, "bank.example", Nothing),
    ] {
        let row = only(on_tls(contact, vec![policy("us.example", 1, &[])]), &todo);
        assert_eq!((row.proof, &*row.submitter), (proof, submitter), "{contact:?} {todo:?}");
    }
}

#[test]
fn sums_are_made_of_all_entries() {
    let records = vec![
        record(3, true, Disposition::None),
        record(5, false, Disposition::Quarantine),
        record(7, false, Disposition::Reject),
        record(9, true, Disposition::Other("x".into())),
    ];
    let row = only(on_mail("mail.us.example", records), &todo());
    assert_eq!((row.total, row.failed, row.quarantined, row.rejected), (24, 12, 5, 7));
    assert_eq!((row.entries, &*row.policy_domain, row.kind), (4, "mail.us.example", ReportKind::Dmarc));
    let row =
        only(on_tls(None, vec![policy("us.example", 4, &[1, 2]), policy("mx.us.example", 1, &[])]), &todo());
    assert_eq!((row.total, row.failed, row.entries, row.kind), (8, 3, 2, ReportKind::Tls));
}

#[test]
fn a_report_on_several_domains_is_parted_and_others_are_left_out() {
    let policies = vec![
        policy("us.example", 1, &[]),
        policy("else.example", 2, &[]),
        policy("second.example", 4, &[]),
        policy("mx.us.example", 8, &[]),
    ];
    let judged = judged(on_tls(None, policies), &todo()).unwrap_or_else(|error| panic!("{error}"));
    let found: Vec<_> = judged.iter().map(|one| (one.domain.as_str(), one.row.total)).collect();
    assert_eq!(found, [("second.example", 4), ("us.example", 9)]);
    assert_ne!(judged[0].row.digest, judged[1].row.digest);
    // However many names a report has, few are looked up.
    let mut looked = 0;
    let many = (0..1000).map(|number| policy(&format!("{number}.else.example"), 1, &[])).collect();
    let refused = judge(on_tls(None, many), &todo(), KEEP, |_| {
        looked += 1;
        Ok(None)
    });
    assert!(matches!(refused, Ok(Err(Refused::OtherDomain(_)))));
    assert_eq!(looked, NAMES_MAX);
    // Others that come first don't hide what is about ours.
    let others = (0..HOMES_MAX).map(|number| policy(&format!("{number}.else.example"), 1, &[]));
    let ours: Vec<_> = others.chain([policy("us.example", 1, &[])]).collect();
    assert_eq!(only(on_tls(None, ours), &todo()).total, 1);
    let all_ours = (0..1000).map(|number| policy(&format!("d{number}.example"), 1, &[])).collect();
    let judged = judge(on_tls(None, all_ours), &todo(), KEEP, |name| Ok(Some(name.to_owned())));
    assert!(matches!(judged, Ok(Ok(judged)) if judged.len() == HOMES_MAX));
}

#[test]
fn what_can_not_be_is_refused() {
    let refused = |report| judged(report, &todo()).map(|_| ()).unwrap_err();
    assert_eq!(refused(on_mail("else.example", vec![])), Refused::OtherDomain("else.example".into()));
    assert_eq!(refused(on_tls(None, vec![])), Refused::OtherDomain("".into()));
    let with = |begin, end, id: &str| {
        let Report::Dmarc(mut report) = on_mail("us.example", vec![]) else { panic!() };
        (report.begin, report.end, report.report_id) = (begin, end, id.into());
        Report::Dmarc(report)
    };
    assert!(judged(with(0, NOW + AHEAD_SECONDS, "1"), &todo()).is_ok());
    assert_eq!(refused(with(0, NOW + AHEAD_SECONDS + 1, "1")), Refused::Times);
    assert_eq!(refused(with(-1, NOW, "1")), Refused::Times);
    assert_eq!(refused(with(NOW, NOW - 1, "1")), Refused::Times);
    assert_eq!(refused(with(0, NOW, "")), Refused::Id);
    // What came before and was removed for its age isn't new when somebody sends it again.
    let first = NOW + AHEAD_SECONDS - KEEP;
    assert!(judged(with(0, first, "1"), &todo()).is_ok());
    assert_eq!(refused(with(0, first - 1, "1")), Refused::Times);
    // However shortly they are kept, some are late.
    let late = |end| judge(with(0, end, "1"), &todo(), 60, ours).unwrap().map(|_| ());
    assert_eq!(late(NOW - LATE_SECONDS), Ok(()));
    assert_eq!(late(NOW - LATE_SECONDS - 1), Err(Refused::Times));
}

#[test]
fn numbers_that_would_spoil_all_sums_are_refused() {
    let refused = |report| judged(report, &todo()).map(|_| ()).err();
    let mail = |counts: &[u64]| {
        on_mail("us.example", counts.iter().map(|count| record(*count, true, Disposition::None)).collect())
    };
    assert_eq!(refused(mail(&[COUNT_MAX - 1, 1])), None);
    assert_eq!(refused(mail(&[COUNT_MAX, 1])), Some(Refused::Counts));
    assert_eq!(refused(mail(&[u64::MAX, u64::MAX])), Some(Refused::Counts));
    let tls = |successful, failures: &[u64]| {
        let mut policy = policy("us.example", successful, failures);
        // Failures count by themselves, whatever the sum says.
        policy.failed_sessions = 0;
        on_tls(None, vec![policy])
    };
    assert_eq!(refused(tls(COUNT_MAX, &[])), None);
    assert_eq!(refused(tls(1, &[COUNT_MAX])), Some(Refused::Counts));
    assert_eq!(refused(tls(u64::MAX, &[u64::MAX])), Some(Refused::Counts));
}

#[test]
fn a_report_is_known_again_by_who_confirms_it() {
    let confirmed = ReportTodoRow { dmarc: true, ..todo() };
    let digest = |report, todo: &ReportTodoRow| only(report, todo).digest;
    let first = digest(on_mail("us.example", vec![]), &confirmed);
    let same = on_mail("US.example.", vec![record(1, true, Disposition::None)]);
    assert_eq!(first, digest(same, &confirmed));
    // A domain with a record of its own has reports of its own, which may be numbered like the others.
    assert_ne!(first, digest(on_mail("www.us.example", vec![]), &confirmed));
    let by_spf = ReportTodoRow { spf: "them.example".into(), ..todo() };
    assert_eq!(first, digest(on_mail("us.example", vec![]), &by_spf));
    // A forged one that comes first doesn't take its place.
    assert_ne!(first, digest(on_mail("us.example", vec![]), &todo()));
    assert_ne!(first, digest(on_mail("second.example", vec![]), &confirmed));
    let other = ReportTodoRow { from: "else.example".into(), ..confirmed };
    assert_ne!(first, digest(on_mail("us.example", vec![]), &other));
}

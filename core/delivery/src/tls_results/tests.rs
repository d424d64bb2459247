use postrider_proto::mta_sts::Policy;

use super::*;
use crate::attempt::Tlsa;
use crate::security::{Facts, Here, Kind, Requirement, TlsEvent};

const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 25));

fn tried(sts: StsHost, dane: DaneHost, end: HostEnd) -> Tried {
    let tlsa = match dane {
        DaneHost::Usable | DaneHost::Unusable => Tlsa {
            base: Some("base.example".to_owned()),
            records: vec!["3 1 1 00ff".to_owned()],
            errors: Vec::new(),
        },
        _ => Tlsa::default(),
    };
    let (requirement, kind, here) = (Requirement::Unset, Kind::Message, Here::Tls);
    Tried {
        host: "mx.example".to_owned(),
        facts: Some(Facts { sts, dane, requirement, kind, here }),
        rule: None,
        dane: String::new(),
        tlsa,
        addresses: vec![ADDRESS],
        end,
    }
}

fn session(tls: Tls) -> Session {
    Session { sending: None, receiving: ADDRESS, helo: None, tls, pkix: None, dane: None }
}

fn sts(mode: &str) -> Sts {
    let text = format!("version: STSv1\nmode: {mode}\nmx: *.them.example\nmax_age: 86400\n");
    Policy::parse(text.as_bytes()).map_or(Sts::None, Sts::Policy)
}

/// `tlsa base.example 0+1 certificate-not-trusted` for each result, with what is wrong.
fn shown(results: &[TlsResult]) -> Vec<String> {
    results
        .iter()
        .map(|TlsResult { is_host, report }| {
            let host = if *is_host { "host" } else { "domain" };
            let (good, bad) = (report.successful_sessions, report.failed_sessions);
            let types: String =
                report.failures.iter().map(|failure| format!(" {}", failure.result_type.name())).collect();
            format!("{host} {} {} {good}+{bad}{types}", report.policy_type.name(), report.policy_domain)
        })
        .collect()
}

fn of(policy: &Sts, fault: Option<&Fault>, hosts: &[(Tried, Option<Session>)]) -> Vec<TlsResult> {
    results(&Attempted { domain: "them.example", sts: policy, sts_fault: fault, hosts })
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn each_session_is_judged_by_the_policies_that_are_there() {
    use DaneHost::{No, Unusable, Usable};
    let done = || HostEnd::Transaction(Vec::new());
    let pkix = || Some(Fault::new(ResultType::CertificateExpired, Some("expired")));
    let dane = || Some(Fault::from(&Mismatch::NoMatch));
    let alert = || {
        Tls::Failed(Fault::new(ResultType::ValidationFailure, Some("tls-remote-alert-40-handshake_failure")))
    };
    let bad = |tls, pkix, dane| Session { pkix, dane, ..session(tls) };
    let (none, testing) = (StsHost::None, StsHost::Testing(Listed::Yes));
    let (enforce, unlisted) = (StsHost::Enforce(Listed::Yes), StsHost::Testing(Listed::No));
    let plain = |good: &str| {
        vec![
            format!("domain no-policy-found them.example {good}"),
            format!("host no-policy-found mx.example {good}"),
        ]
    };
    let both = |domain: &str, host: &str| {
        [("domain", domain), ("host", host)]
            .into_iter()
            .filter(|(_, text)| !text.is_empty())
            .map(|(kind, text)| format!("{kind} {text}"))
            .collect::<Vec<_>>()
    };
    let rows: Vec<(StsHost, DaneHost, Session, Vec<String>)> = vec![
        // No policy: TLS is all that counts.
        (none, No, session(Tls::Established), plain("1+0")),
        (none, No, bad(Tls::Established, pkix(), None), plain("1+0")),
        (none, No, session(Tls::NotOffered), plain("0+1 starttls-not-supported")),
        (none, No, bad(alert(), pkix(), None), plain("0+1 validation-failure")),
        // A policy of MTA-STS: authorities count, and whether the host is listed.
        (
            testing,
            No,
            session(Tls::Established),
            both("sts them.example 1+0", "no-policy-found mx.example 1+0"),
        ),
        (
            testing,
            No,
            bad(Tls::Established, pkix(), None),
            both("sts them.example 0+1 certificate-expired", "no-policy-found mx.example 1+0"),
        ),
        (enforce, No, bad(Tls::Refused, pkix(), None), both("sts them.example 0+1 certificate-expired", "")),
        (
            unlisted,
            No,
            bad(Tls::Established, pkix(), None),
            both(
                "sts them.example 0+1 validation-failure certificate-expired",
                "no-policy-found mx.example 1+0",
            ),
        ),
        (
            unlisted,
            No,
            session(Tls::NotOffered),
            both(
                "sts them.example 0+1 validation-failure starttls-not-supported",
                "no-policy-found mx.example 0+1 starttls-not-supported",
            ),
        ),
        // TLSA records: they count, and authorities don't.
        (
            none,
            Usable,
            bad(Tls::Established, pkix(), None),
            both("no-policy-found them.example 1+0", "tlsa base.example 1+0"),
        ),
        (
            none,
            Usable,
            bad(Tls::Refused, pkix(), dane()),
            both("", "tlsa base.example 0+1 certificate-not-trusted"),
        ),
        (
            none,
            Unusable,
            session(Tls::Established),
            both("no-policy-found them.example 1+0", "tlsa base.example 0+1 tlsa-invalid"),
        ),
        // Both: each has its own result.
        (
            enforce,
            Usable,
            bad(Tls::Refused, pkix(), dane()),
            both("sts them.example 0+1 certificate-expired", "tlsa base.example 0+1 certificate-not-trusted"),
        ),
        (
            enforce,
            Usable,
            bad(Tls::Refused, pkix(), None),
            both("sts them.example 0+1 certificate-expired", ""),
        ),
        (
            enforce,
            Usable,
            bad(Tls::Refused, None, dane()),
            both("", "tlsa base.example 0+1 certificate-not-trusted"),
        ),
        // TLS-Required: No goes to a host whose records can't be looked up.
        (
            none,
            DaneHost::Unknown,
            session(Tls::Established),
            both("no-policy-found them.example 1+0", "tlsa mx.example 0+1 dnssec-invalid"),
        ),
    ];
    for (host, dane, session, expected) in rows {
        let policy = match host {
            StsHost::Enforce(_) => sts("enforce"),
            StsHost::Testing(_) => sts("testing"),
            _ => Sts::None,
        };
        let what = format!("{host:?} {dane:?} {session:?}");
        let hosts = [(tried(host, dane, done()), Some(session))];
        assert_eq!(shown(&of(&policy, None, &hosts)), expected, "{what}");
    }
}

#[test]
fn hosts_that_are_passed_over_count_and_those_that_cannot_be_reached_do_not() {
    use crate::outcome::Unreachable;
    let enforce = sts("enforce");
    let unlisted = tried(StsHost::Enforce(Listed::No), DaneHost::No, HostEnd::Skipped(Skip::NotInPolicy));
    let found = of(&enforce, None, &[(unlisted, None)]);
    assert_eq!(shown(&found), ["domain sts them.example 0+1 validation-failure"]);
    let failure = &found[0].report.failures[0];
    assert_eq!(failure.reason_code.as_deref(), Some("mtasts-policy-mx-mismatch"));
    assert_eq!(failure.receiving_mx_hostname.as_deref(), Some("mx.example"));
    assert_eq!(
        found[0].report.policy_strings,
        ["version: STSv1", "mode: enforce", "mx: *.them.example", "max_age: 86400"].map(Box::from)
    );
    assert_eq!(found[0].report.mx_hosts, [Box::from("*.them.example")]);

    let mut unknown = tried(StsHost::None, DaneHost::Unknown, HostEnd::Skipped(Skip::TlsaUnknown));
    unknown.tlsa.errors =
        vec![ExtendedError { code: 22, text: String::new() }, ExtendedError { code: 7, text: String::new() }];
    let found = of(&Sts::None, None, &[(unknown, None)]);
    assert_eq!(shown(&found), ["host tlsa mx.example 0+1 dnssec-invalid"]);
    let reason = found[0].report.failures[0].reason_code.as_deref();
    assert_eq!(reason, Some("dns-extended-error-7-signature-expired"));

    for end in [
        HostEnd::Unreachable(Unreachable::Refused),
        HostEnd::Skipped(Skip::NothingToVerify),
        HostEnd::NoAddresses,
        HostEnd::Tls(TlsEvent::Handshake),
    ] {
        // The last one is a message over a connection that was there: it is no session of its own.
        assert_eq!(of(&enforce, None, &[(tried(StsHost::None, DaneHost::No, end), None)]), []);
    }
    assert_eq!(of(&Sts::None, None, &[]), []);
}

#[test]
fn a_policy_that_is_not_found_is_a_failure_of_the_domain() {
    let fault = Fault::new(ResultType::StsPolicyFetchError, Some("back-off"));
    let host =
        || [(tried(StsHost::None, DaneHost::No, HostEnd::NoAddresses), Some(session(Tls::Established)))];
    let found = of(&Sts::None, Some(&fault), &host());
    let expected = [
        "domain no-policy-found them.example 1+1 sts-policy-fetch-error",
        "host no-policy-found mx.example 1+0",
    ];
    assert_eq!(shown(&found), expected);
    assert_eq!(found[0].report.failures[0].reason_code.as_deref(), Some("back-off"));
    // A kept one stands in.
    let kept = [(
        tried(StsHost::Enforce(Listed::Yes), DaneHost::No, HostEnd::NoAddresses),
        Some(session(Tls::Established)),
    )];
    let found = of(&sts("enforce"), Some(&fault), &kept);
    assert_eq!(shown(&found)[0], "domain sts them.example 1+1 sts-policy-fetch-error");
    // Nobody was connected to because it isn't known.
    let found = of(&Sts::Unknown("x".to_owned()), Some(&fault), &[]);
    assert_eq!(shown(&found), ["domain no-policy-found them.example 0+1 sts-policy-fetch-error"]);
    // A message over an open connection says nothing again.
    assert_eq!(
        of(&Sts::None, Some(&fault), &[(tried(StsHost::None, DaneHost::No, HostEnd::NoAddresses), None)]),
        []
    );
    // A policy with mode "none" is none.
    assert_eq!(shown(&of(&sts("none"), None, &host()))[0], "domain no-policy-found them.example 1+0");
}

#[test]
fn a_domain_whose_signatures_do_not_hold_is_told() {
    let error = |code| ExtendedError { code, text: String::new() };
    assert_eq!(unfound("them.example", &[error(22), error(23)]), None);
    let found = unfound("them.example", &[error(22), error(6)]);
    let found: Vec<TlsResult> = found.into_iter().collect();
    assert_eq!(shown(&found), ["domain no-policy-found them.example 0+1 dnssec-invalid"]);
    assert_eq!(found[0].report.failures[0].reason_code.as_deref(), Some("dns-extended-error-6-dnssec-bogus"));
}

#[test]
fn failures_say_where_they_were() {
    let sending: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    let hosts = [(
        tried(StsHost::None, DaneHost::No, HostEnd::NoAddresses),
        Some(Session {
            sending: Some(sending),
            helo: Some("they.example".into()),
            ..session(Tls::NotOffered)
        }),
    )];
    let found = of(&Sts::None, None, &hosts);
    let expected = Failure {
        sending_mta_ip: Some(sending),
        receiving_mx_hostname: Some("mx.example".into()),
        receiving_mx_helo: Some("they.example".into()),
        receiving_ip: Some(ADDRESS),
        ..Failure::new(ResultType::StarttlsNotSupported)
    };
    assert_eq!(found[0].report.failures, std::slice::from_ref(&expected));
    assert_eq!(found[1].report.failures, [expected]);
}

#[test]
fn what_a_wish_set_aside_is_told_all_the_same() {
    let mut relaxed = tried(StsHost::None, DaneHost::Usable, HostEnd::NoAddresses);
    let facts = relaxed.facts.map(|facts| Facts { requirement: Requirement::No, ..facts });
    relaxed.rule = facts.and_then(|facts| crate::security::rule(&facts).rule.ok());
    let mismatch = Fault::from(&Mismatch::NoMatch);
    for (tls, dane, expected) in [
        (
            Tls::Established,
            None,
            &["domain no-policy-found them.example 1+0", "host tlsa base.example 1+0"][..],
        ),
        (
            Tls::Established,
            Some(mismatch),
            &[
                "domain no-policy-found them.example 1+0",
                "host tlsa base.example 0+1 certificate-not-trusted",
            ],
        ),
        (
            Tls::NotOffered,
            None,
            &[
                "domain no-policy-found them.example 0+1 starttls-not-supported",
                "host tlsa base.example 0+1 starttls-not-supported",
            ],
        ),
    ] {
        let found = of(&Sts::None, None, &[(relaxed.clone(), Some(Session { dane, ..session(tls) }))]);
        assert_eq!(shown(&found), expected);
    }
}

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
use postrider_proto::mta_sts::Policy;

use super::*;

const STS: [StsHost; 6] = [
    StsHost::None,
    StsHost::Testing(Listed::Yes),
    StsHost::Testing(Listed::No),
    StsHost::Enforce(Listed::Yes),
    StsHost::Enforce(Listed::No),
    StsHost::Unknown,
];
const DANE: [DaneHost; 4] = [DaneHost::No, DaneHost::Usable, DaneHost::Unusable, DaneHost::Unknown];
const REQUIREMENTS: [Requirement; 3] = [Requirement::Unset, Requirement::Required, Requirement::No];
const KINDS: [Kind; 4] = [Kind::Message, Kind::Notification, Kind::DmarcReport, Kind::TlsReport];

fn facts(sts: StsHost, dane: DaneHost, requirement: Requirement) -> Facts {
    Facts { sts, dane, requirement, kind: Kind::Message, here: Here::Tls }
}

/// A ruling in a few words.
fn shown(ruling: &Ruling) -> String {
    let rule = match ruling.rule {
        Err(skip) => return format!("skip {skip:?}"),
        Ok(rule) => rule,
    };
    let starttls = format!("{:?}", rule.starttls).to_lowercase();
    let failure = if rule.on_failure == OnFailure::Plaintext { "clear" } else { "next" };
    let requiretls =
        if rule.requiretls == Announce::No { String::new() } else { format!(" {:?}", rule.requiretls) };
    format!("{starttls} {:?} {failure}{requiretls}", rule.verification).to_lowercase()
}

fn table(requirement: Requirement, kind: Kind, here: Here) -> Vec<String> {
    let mut rows = Vec::new();
    for sts in STS {
        for dane in DANE {
            rows.push(shown(&rule(&Facts { kind, here, ..facts(sts, dane, requirement) })));
        }
    }
    rows
}

#[test]
fn without_a_wish_what_the_domain_publishes_decides() {
    let open = "opportunistic none clear";
    let promised = "mandatory none next";
    let dane = "mandatory dane next";
    let tlsa = "skip TlsaUnknown";
    let no_mx = "skip NotInPolicy";
    let unknown = "skip PolicyUnknown";
    let expected = [
        [open, dane, promised, tlsa],
        [open, dane, promised, tlsa],
        [open, dane, promised, tlsa],
        ["mandatory pkix next", "mandatory both next", "mandatory pkix next", tlsa],
        [no_mx, no_mx, no_mx, no_mx],
        [unknown, unknown, unknown, unknown],
    ];
    assert_eq!(table(Requirement::Unset, Kind::Message, Here::Tls), expected.concat());
    assert_eq!(table(Requirement::Unset, Kind::Notification, Here::Tls), expected.concat());
}

#[test]
fn requiretls_needs_something_to_verify_and_the_extension() {
    let none = "skip NothingToVerify";
    let dane = "mandatory dane next must";
    let tlsa = "skip TlsaUnknown";
    let no_mx = "skip NotInPolicy";
    let unknown = "skip PolicyUnknown";
    let expected = [
        [none, dane, none, tlsa],
        [none, dane, none, tlsa],
        [none, dane, none, tlsa],
        ["mandatory pkix next must", "mandatory both next must", "mandatory pkix next must", tlsa],
        [no_mx, no_mx, no_mx, no_mx],
        [unknown, unknown, unknown, unknown],
    ];
    assert_eq!(table(Requirement::Required, Kind::Message, Here::Tls), expected.concat());
}

/// RFC 8689 §5: a notification isn't lost for the lack of REQUIRETLS.
#[test]
fn notifications_have_requiretls_as_well_as_it_goes() {
    let unset = table(Requirement::Unset, Kind::Notification, Here::Tls);
    let required = table(Requirement::Required, Kind::Notification, Here::Tls);
    for (unset, required) in unset.iter().zip(required) {
        let expected = if unset.starts_with("skip") { unset.clone() } else { format!("{unset} ifoffered") };
        assert_eq!(required, expected);
    }
}

#[test]
fn who_wants_no_tls_gets_what_there_is_and_no_refusal() {
    let expected = vec!["opportunistic none clear"; STS.len() * DANE.len()];
    for kind in KINDS {
        assert_eq!(table(Requirement::No, kind, Here::Tls), expected);
    }
    // RFC 8460 §3: reports about TLS arrive although TLS fails.
    assert_eq!(table(Requirement::Unset, Kind::TlsReport, Here::Tls), expected);
}

#[test]
fn reports_about_dmarc_never_fall_back_to_clear_text() {
    for row in table(Requirement::Unset, Kind::DmarcReport, Here::Tls) {
        assert!(row.starts_with("skip") || row.ends_with(" next"), "{row}");
    }
}

#[test]
fn without_tls_here_nothing_goes_where_it_is_promised() {
    let rows = table(Requirement::Unset, Kind::Message, Here::NoTls);
    let (clear, no) = ("never none next", "skip NoTlsHere");
    assert_eq!(rows[..4], [clear, no, no, "skip TlsaUnknown"]);
    assert_eq!(rows[12..16], [no, no, no, "skip TlsaUnknown"]);
    let rows = table(Requirement::Required, Kind::Message, Here::NoTls);
    assert_eq!(rows[..4], ["skip NothingToVerify", no, "skip NothingToVerify", "skip TlsaUnknown"]);
    assert!(table(Requirement::No, Kind::Message, Here::NoTls).iter().all(|row| row == clear));
}

/// For every combination there is: only the sender's wish weakens, and nothing in clear where TLS is promised.
#[test]
fn rules_keep_their_promises() {
    let mut seen = 0;
    for sts in STS {
        for dane in DANE {
            for requirement in REQUIREMENTS {
                for kind in KINDS {
                    for here in [Here::Tls, Here::NoTls] {
                        seen += 1;
                        let facts = Facts { sts, dane, requirement, kind, here };
                        let Ok(rule) = rule(&facts).rule else { continue };
                        let is_promised = matches!(dane, DaneHost::Usable | DaneHost::Unusable)
                            || matches!(sts, StsHost::Enforce(_));
                        let is_relaxed = requirement == Requirement::No
                            || kind == Kind::TlsReport && requirement == Requirement::Unset;
                        assert_eq!(rule.is_relaxed, is_relaxed);
                        let in_clear = rule.allows(&Channel::default());
                        if is_promised && !is_relaxed {
                            assert_eq!(in_clear, Err(Lacks::Tls), "{facts:?}");
                            assert_ne!(rule.on_failure, OnFailure::Plaintext, "{facts:?}");
                            assert_eq!(rule.verification.has_dane(), dane == DaneHost::Usable, "{facts:?}");
                        }
                        if requirement == Requirement::Required && kind != Kind::Notification {
                            assert_ne!(rule.verification, Verification::None, "{facts:?}");
                            assert_eq!(rule.requiretls, Announce::Must, "{facts:?}");
                        }
                        assert!(!is_relaxed || in_clear.is_ok(), "{facts:?}");
                    }
                }
            }
        }
    }
    assert_eq!(seen, 6 * 4 * 3 * 4 * 2);
}

#[test]
fn what_is_set_aside_is_counted() {
    let count = |sts, dane, requirement| rule(&facts(sts, dane, requirement)).counters;
    let (unset, no, required) = (Requirement::Unset, Requirement::No, Requirement::Required);
    for (sts, dane, requirement, expected) in [
        (StsHost::None, DaneHost::No, unset, vec![]),
        (StsHost::None, DaneHost::Usable, unset, vec![Counter::DaneRequired]),
        (StsHost::None, DaneHost::Unusable, unset, vec![Counter::DaneUnverified]),
        (StsHost::None, DaneHost::Unknown, unset, vec![Counter::TlsaFailed]),
        (StsHost::None, DaneHost::Unknown, no, vec![Counter::TlsaFailed, Counter::Ignored(Ignored::BadTlsa)]),
        (StsHost::Enforce(Listed::No), DaneHost::No, no, vec![Counter::Ignored(Ignored::StsMx)]),
        (StsHost::Testing(Listed::No), DaneHost::No, no, vec![]),
        (StsHost::Unknown, DaneHost::No, no, vec![Counter::Ignored(Ignored::StsPolicy)]),
        (StsHost::None, DaneHost::No, required, vec![Counter::RequireTlsUnsupported(Unsupported::NoPolicy)]),
    ] {
        assert_eq!(count(sts, dane, requirement), expected, "{sts:?} {dane:?} {requirement:?}");
    }
}

#[test]
fn what_follows_when_tls_fails() {
    use AfterTls::{Continue, NextHost, Plaintext, SendAnyway};
    let of = |sts, dane, requirement| rule(&facts(sts, dane, requirement)).rule.unwrap();
    let open = of(StsHost::None, DaneHost::No, Requirement::Unset);
    let promised = of(StsHost::None, DaneHost::Unusable, Requirement::Unset);
    let relaxed = of(StsHost::Enforce(Listed::Yes), DaneHost::Usable, Requirement::No);
    let required = of(StsHost::Enforce(Listed::Yes), DaneHost::No, Requirement::Required);
    let events = [
        TlsEvent::NotOffered,
        TlsEvent::Refused,
        TlsEvent::Handshake,
        TlsEvent::Certificate,
        TlsEvent::Observed,
        TlsEvent::NoRequireTls,
    ];
    let follows = |rule: Rule| events.map(|event| rule.after(event).0);
    assert_eq!(follows(open), [Continue, Plaintext, Plaintext, Plaintext, Continue, Continue]);
    assert_eq!(follows(promised), [SendAnyway, NextHost, NextHost, NextHost, Continue, Continue]);
    assert_eq!(follows(relaxed), [Continue, Plaintext, Plaintext, Plaintext, Continue, Continue]);
    assert_eq!(follows(required), [SendAnyway, NextHost, NextHost, NextHost, Continue, NextHost]);
    let bad = Counter::Ignored(Ignored::BadTls);
    assert_eq!(relaxed.after(TlsEvent::Observed).1, [bad]);
    assert_eq!(relaxed.after(TlsEvent::Handshake).1, [bad, Counter::PlaintextFallback]);
    assert_eq!(open.after(TlsEvent::Handshake).1, [Counter::PlaintextFallback]);
    assert!(open.after(TlsEvent::Observed).1.is_empty());
    assert_eq!(
        required.after(TlsEvent::NoRequireTls).1,
        [Counter::RequireTlsUnsupported(Unsupported::NoRequireTls)]
    );
    assert_eq!(open.in_clear().after(TlsEvent::NotOffered).0, Continue);
    assert!(open.in_clear().allows(&Channel::default()).is_ok());
}

#[test]
fn a_connection_is_used_only_for_what_it_is_good_for() {
    let clear = Channel::default();
    let tls = Channel { is_encrypted: true, ..clear };
    let pkix = Channel { pkix: true, ..tls };
    let dane = Channel { dane: true, ..tls };
    let all = Channel { pkix: true, dane: true, offers_requiretls: true, ..tls };
    let of = |sts, dane, requirement| rule(&facts(sts, dane, requirement)).rule.unwrap();
    let enforced = StsHost::Enforce(Listed::Yes);
    let ok = Ok(Hand { requiretls: false });
    let (no_tls, unverified, no_requiretls) =
        (Err(Lacks::Tls), Err(Lacks::Verification), Err(Lacks::RequireTls));
    let must = Ok(Hand { requiretls: true });
    for (rule, expected) in [
        (of(StsHost::None, DaneHost::No, Requirement::Unset), [ok, ok, ok, ok, ok]),
        (of(StsHost::None, DaneHost::Unusable, Requirement::Unset), [no_tls, ok, ok, ok, ok]),
        (of(StsHost::None, DaneHost::Usable, Requirement::Unset), [no_tls, unverified, unverified, ok, ok]),
        (of(enforced, DaneHost::No, Requirement::Unset), [no_tls, unverified, ok, unverified, ok]),
        (
            of(enforced, DaneHost::Usable, Requirement::Unset),
            [no_tls, unverified, unverified, unverified, ok],
        ),
        (
            of(enforced, DaneHost::No, Requirement::Required),
            [no_tls, unverified, no_requiretls, unverified, must],
        ),
        (of(enforced, DaneHost::Usable, Requirement::No), [ok, ok, ok, ok, ok]),
    ] {
        assert_eq!([clear, tls, pkix, dane, all].map(|channel| rule.allows(&channel)), expected, "{rule:?}");
    }
    // A host without TLS gets a report about DMARC, and one whose TLS fails doesn't.
    let fallback = Channel { is_fallback: true, ..clear };
    let report = Facts { kind: Kind::DmarcReport, ..facts(StsHost::None, DaneHost::No, Requirement::Unset) };
    let report = rule(&report).rule.unwrap();
    assert_eq!([clear, fallback].map(|channel| report.allows(&channel)), [ok, no_tls]);
    let open = of(StsHost::None, DaneHost::No, Requirement::Unset);
    assert_eq!([open, open.in_clear()].map(|rule| rule.allows(&fallback)), [ok, ok]);
    // What is said in clear isn't REQUIRETLS.
    let lying = Channel { offers_requiretls: true, ..clear };
    let facts =
        Facts { kind: Kind::Notification, ..facts(StsHost::None, DaneHost::No, Requirement::Required) };
    let notification = rule(&facts).rule.unwrap();
    assert_eq!(notification.allows(&lying), ok);
    assert_eq!(notification.allows(&Channel { offers_requiretls: true, ..tls }), ok);
    assert_eq!(notification.allows(&all), must);
}

#[test]
fn policies_are_matched_by_host() {
    let policy = |mode: &str| {
        let text =
            format!("version: STSv1\nmode: {mode}\nmx: mx.example\nmx: *.wild.example\nmax_age: 86400\n");
        Sts::Policy(Policy::parse(text.as_bytes()).unwrap())
    };
    for (host, listed) in [
        ("mx.example", Listed::Yes),
        ("MX.example", Listed::Yes),
        ("a.wild.example", Listed::Yes),
        ("a.b.wild.example", Listed::No),
        ("wild.example", Listed::No),
        ("other.example", Listed::No),
        ("_a.example", Listed::No),
    ] {
        assert_eq!(policy("enforce").of_host(host), StsHost::Enforce(listed), "{host}");
        assert_eq!(policy("testing").of_host(host), StsHost::Testing(listed), "{host}");
        assert_eq!(policy("none").of_host(host), StsHost::None, "{host}");
    }
    assert_eq!(Sts::None.of_host("mx.example"), StsHost::None);
    assert_eq!(Sts::Unknown(String::new()).of_host("mx.example"), StsHost::Unknown);
}

#[test]
fn relays_have_the_tls_that_is_configured() {
    use RelayTls::{None as NoTls, Unverified, Verified};
    let (unset, required, no) = (Requirement::Unset, Requirement::Required, Requirement::No);
    for (tls, begins, requirement, expected) in [
        (Verified, Begins::Starttls, unset, "mandatory pkix next"),
        (Verified, Begins::AtOnce, unset, "implicit pkix next"),
        (Unverified, Begins::Starttls, unset, "mandatory none next"),
        (NoTls, Begins::Starttls, unset, "never none next"),
        (Verified, Begins::Starttls, required, "mandatory pkix next must"),
        (Unverified, Begins::Starttls, required, "skip NothingToVerify"),
        (NoTls, Begins::Starttls, required, "skip NothingToVerify"),
        // The wish is about recipients' policies; our password stays safe.
        (Verified, Begins::AtOnce, no, "implicit pkix next"),
    ] {
        assert_eq!(
            shown(&relay(tls, begins, requirement, Kind::Message)),
            expected,
            "{tls:?} {requirement:?}"
        );
    }
    assert_eq!(
        shown(&relay(Verified, Begins::Starttls, required, Kind::Notification)),
        "mandatory pkix next ifoffered"
    );
    assert_eq!(Skip::NothingToVerify.status(required).to_string(), "5.7.30");
}

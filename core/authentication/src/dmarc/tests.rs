#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use futures_lite::future::block_on;
use postrider_dns::script::Script;
use postrider_proto::authentication_results::AuthenticationResults;
use postrider_proto::smtp::trace::Charset;

use super::*;

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn identifier(text: &str, state: IdentifierState) -> Identifier {
    Identifier { domain: domain(text), state, authenticity: Authenticity::Secure }
}

fn pass(text: &str) -> Identifier {
    identifier(text, IdentifierState::Pass)
}

fn evaluate_with(
    zone: &str,
    author: &Author,
    spf: Option<&Identifier>,
    dkim: &[Identifier],
    mode: Mode,
) -> Verdict {
    let script = Script::parse(zone).unwrap();
    let verdict = block_on(evaluate(&script, &Request { author, spf, dkim, mode, sample: 99 }));
    assert_eq!(usize::try_from(verdict.queries).unwrap(), script.lookups());
    assert!(verdict.queries <= QUERIES_MAX);
    verdict
}

/// Evaluates with a signature alone.
fn signed(zone: &str, author: &str, signer: &str) -> Verdict {
    evaluate_with(zone, &Author::Domain(domain(author)), None, &[pass(signer)], Mode::TreeWalk)
}

fn listed(zone: &str, author: &str, signer: &str) -> Verdict {
    evaluate_with(zone, &Author::Domain(domain(author)), None, &[pass(signer)], Mode::PublicSuffixList)
}

fn unsigned(zone: &str, author: &str) -> Verdict {
    evaluate_with(zone, &Author::Domain(domain(author)), None, &[], Mode::TreeWalk)
}

const PLAIN: &str =
    "_dmarc.example.com. TXT \"v=DMARC1; p=reject; sp=quarantine; np=reject\"\nsub.example.com. A 192.0.2.1";

#[test]
fn identifiers_must_be_aligned() {
    for (author, signer, result) in [
        ("example.com", "example.com", DmarcResult::Pass),
        ("example.com", "a.example.com", DmarcResult::Pass),
        ("a.example.com", "example.com", DmarcResult::Pass),
        ("a.example.com", "b.example.com", DmarcResult::Pass),
        ("example.com", "badexample.com", DmarcResult::Fail),
        ("example.com", "com", DmarcResult::Fail),
        ("example.com", "example.org", DmarcResult::Fail),
        ("example.com", "example.com.evil.org", DmarcResult::Fail),
    ] {
        for verdict in [signed(PLAIN, author, signer), listed(PLAIN, author, signer)] {
            assert_eq!(verdict.result, result, "{author} {signer}");
            assert_eq!(verdict.aligned_dkim, result == DmarcResult::Pass);
            assert!(!verdict.aligned_spf);
        }
    }
    let strict = PLAIN.replace("p=reject;", "p=reject; adkim=s;");
    assert_eq!(signed(&strict, "example.com", "example.com").result, DmarcResult::Pass);
    assert_eq!(signed(&strict, "example.com", "a.example.com").result, DmarcResult::Fail);
    // Each mechanism has its own strictness.
    let author = Author::Domain(domain("example.com"));
    let spf = pass("a.example.com");
    let verdict = evaluate_with(&strict, &author, Some(&spf), &[pass("b.example.com")], Mode::TreeWalk);
    assert_eq!((verdict.result, verdict.aligned_spf, verdict.aligned_dkim), (DmarcResult::Pass, true, false));
    // What isn't authenticated isn't asked about.
    let other = identifier("example.com", IdentifierState::Other);
    let verdict = evaluate_with(PLAIN, &author, Some(&other), std::slice::from_ref(&other), Mode::TreeWalk);
    assert_eq!((verdict.result, verdict.queries), (DmarcResult::Fail, 1));
}

#[test]
fn policies_are_those_for_the_domain() {
    for (author, policy, source) in [
        ("example.com", Policy::Reject, Source::AuthorDomain),
        ("sub.example.com", Policy::Quarantine, Source::OrganizationalDomain),
        ("none.example.com", Policy::Reject, Source::OrganizationalDomain),
        ("b.none.example.com", Policy::Reject, Source::OrganizationalDomain),
    ] {
        let verdict = unsigned(PLAIN, author);
        assert_eq!(
            (verdict.result, verdict.policy, verdict.applied),
            (DmarcResult::Fail, policy, policy),
            "{author}"
        );
        let policies = verdict.policies.unwrap();
        assert_eq!((policies.source, policies.domain.as_str()), (source, "example.com"), "{author}");
    }
    assert_eq!(unsigned("", "example.com").result, DmarcResult::None);
    let without_np = PLAIN.replace("; np=reject", "");
    let verdict = unsigned(&without_np, "none.example.com");
    // What doesn't matter isn't asked: one question for the domain, two for the walk.
    assert_eq!((verdict.policy, verdict.queries), (Policy::Quarantine, 3));
    // A pass has nothing applied.
    assert_eq!(signed(PLAIN, "example.com", "example.com").applied, Policy::None);
}

#[test]
fn public_suffixes_end_the_walk() {
    let zone = "_dmarc.com. TXT \"v=DMARC1; p=reject; np=reject; psd=y\"\nexample.com. A 192.0.2.1\n\
        _dmarc.b.other.com. TXT \"v=DMARC1; p=none\"";
    // The owner of the suffix speaks for those that say nothing.
    let verdict = unsigned(zone, "a.example.com");
    assert_eq!((verdict.result, verdict.policy), (DmarcResult::Fail, Policy::Reject));
    let policies = verdict.policies.unwrap();
    assert_eq!((policies.source, policies.domain.as_str()), (Source::PublicSuffixDomain, "com"));
    // Neighbours below it aren't aligned, names of one owner are.
    assert_eq!(signed(zone, "example.com", "other.com").result, DmarcResult::Fail);
    assert_eq!(signed(zone, "a.example.com", "b.example.com").result, DmarcResult::Pass);
    assert_eq!(signed(zone, "example.com", "com").result, DmarcResult::Fail);
    assert_eq!(signed(zone, "b.other.com", "c.other.com").result, DmarcResult::Pass);
    // A suffix that sends mail itself.
    assert_eq!(signed(zone, "com", "com").result, DmarcResult::Pass);
    assert_eq!(signed(zone, "com", "example.com").result, DmarcResult::Fail);
    // The same without the tag: everybody below is one organisation, as the owner of the record says.
    let careless = zone.replace("; psd=y", "");
    assert_eq!(signed(&careless, "example.com", "other.com").result, DmarcResult::Pass);
    // Against which one's own record helps.
    let careful = format!("{careless}\n_dmarc.example.com. TXT \"v=DMARC1; p=reject; psd=n\"");
    assert_eq!(signed(&careful, "example.com", "other.com").result, DmarcResult::Fail);
    assert_eq!(signed(&careful, "a.example.com", "b.example.com").result, DmarcResult::Pass);
}

#[test]
fn parts_of_an_organisation_can_be_their_own() {
    let zone = "_dmarc.example.com. TXT \"v=DMARC1; p=none\"\n_dmarc.lab.example.com. TXT \"v=DMARC1; p=reject; psd=n\"";
    assert_eq!(signed(zone, "a.lab.example.com", "lab.example.com").result, DmarcResult::Pass);
    assert_eq!(signed(zone, "a.lab.example.com", "example.com").result, DmarcResult::Fail);
    assert_eq!(signed(zone, "example.com", "a.lab.example.com").result, DmarcResult::Fail);
    // The list knows nothing of that.
    assert_eq!(listed(zone, "lab.example.com", "example.com").result, DmarcResult::Pass);
}

#[test]
fn the_walk_takes_the_steps_of_the_standard() {
    fn steps(start: &str) -> Vec<&str> {
        targets(start).collect()
    }
    // The example of RFC 9989 §4.10.
    assert_eq!(
        steps("a.b.c.d.e.f.g.h.i.j.mail.example.com"),
        [
            "a.b.c.d.e.f.g.h.i.j.mail.example.com",
            "g.h.i.j.mail.example.com",
            "h.i.j.mail.example.com",
            "i.j.mail.example.com",
            "j.mail.example.com",
            "mail.example.com",
            "example.com",
            "com"
        ]
    );
    assert_eq!(steps("com"), ["com"]);
    for labels in 1..20 {
        let name = format!("{}com", "a.".repeat(labels - 1));
        assert_eq!(steps(&name).len(), labels.min(8), "{labels}");
    }
    assert_eq!(one_below(&domain("com"), &domain("a.b.com")), domain("b.com"));
    assert_eq!(one_below(&domain("b.com"), &domain("a.b.com")), domain("a.b.com"));
}

#[test]
fn tests_and_samples_lower_the_policy() {
    let applied = |tags: &str, sample: u8| {
        let script = Script::parse(&format!("_dmarc.example.com. TXT \"v=DMARC1; {tags}\"")).unwrap();
        let author = Author::Domain(domain("example.com"));
        let request = Request { author: &author, spf: None, dkim: &[], mode: Mode::TreeWalk, sample };
        let verdict = block_on(evaluate(&script, &request));
        (verdict.applied, verdict.testing, verdict.sampled_out)
    };
    assert_eq!(applied("p=reject", 99), (Policy::Reject, false, false));
    assert_eq!(applied("p=reject; t=y", 0), (Policy::Quarantine, true, false));
    assert_eq!(applied("p=quarantine; t=y", 0), (Policy::None, true, false));
    assert_eq!(applied("p=none; t=y", 0), (Policy::None, false, false));
    assert_eq!(applied("p=reject; pct=30", 29), (Policy::Reject, false, false));
    assert_eq!(applied("p=reject; pct=30", 30), (Policy::Quarantine, false, true));
    assert_eq!(applied("p=reject; pct=0", 0), (Policy::Quarantine, false, true));
    assert_eq!(applied("p=reject; pct=100", 99), (Policy::Reject, false, false));
    assert_eq!(applied("p=reject; pct=0; t=n", 99), (Policy::Reject, false, false));
}

#[test]
fn broken_records_do_not_fall_through_to_the_domain_above() {
    let zone =
        "_dmarc.example.com. TXT \"v=DMARC1; p=reject\"\n_dmarc.sub.example.com. TXT \"v=DMARC1; p=rejekt\"";
    let verdict = unsigned(zone, "sub.example.com");
    assert_eq!((verdict.result, verdict.applied), (DmarcResult::Permerror, Policy::None));
    assert_eq!(verdict.problem.as_deref(), Some("the record of sub.example.com has no usable policy"));
    let reported = zone.replace("p=rejekt", "p=rejekt; rua=mailto:a@b.example");
    let verdict = unsigned(&reported, "sub.example.com");
    assert_eq!((verdict.result, verdict.policy), (DmarcResult::Fail, Policy::None));
    // Several are none, and the walk goes on; with the list it ends.
    let several = format!("{}\n_dmarc.sub.example.com. TXT \"v=DMARC1; p=none\"", zone);
    assert_eq!(unsigned(&several, "sub.example.com").policy, Policy::Reject);
    assert_eq!(listed(&several, "sub.example.com", "evil.example").result, DmarcResult::None);
    // Other texts don't matter.
    let others = format!(
        "{zone}\n_dmarc.example.com. TXT \"v=spf1 -all\"\n_dmarc.example.com. TXT \"v=dmarc1; p=none\""
    );
    assert_eq!(unsigned(&others, "example.com").policy, Policy::Reject);
}

#[test]
fn failures_of_dns_are_neither_pass_nor_fail() {
    let temperror = |zone: &str, author: &str, signer: &str| {
        let verdict = signed(zone, author, signer);
        assert_eq!((verdict.result, verdict.applied), (DmarcResult::Temperror, Policy::None), "{verdict:?}");
        verdict.problem.unwrap()
    };
    let problem = temperror("$SERVFAIL _dmarc.example.com.", "example.com", "example.com");
    assert!(problem.starts_with("looking up TXT of _dmarc.example.com failed"), "{problem}");
    temperror("$TIMEOUT _dmarc.com.\n", "a.example.com", "example.com");
    // Whether the domain exists decides the policy.
    temperror(&format!("{PLAIN}\n$SERVFAIL x.example.com."), "x.example.com", "evil.example");
    // It doesn't matter to a pass.
    let verdict = signed(&format!("{PLAIN}\n$SERVFAIL x.example.com."), "x.example.com", "example.com");
    assert_eq!((verdict.result, verdict.problem), (DmarcResult::Pass, None));
    // Alignment that can't be found out.
    let zone = "_dmarc.example.com. TXT \"v=DMARC1; p=reject\"\n$SERVFAIL _dmarc.a.example.com.";
    temperror(zone, "example.com", "a.example.com");
    // A signature that could not be checked matters when it is aligned.
    let author = Author::Domain(domain("example.com"));
    for (signer, result) in [("a.example.com", DmarcResult::Temperror), ("evil.example", DmarcResult::Fail)] {
        let pending = identifier(signer, IdentifierState::Temperror);
        assert_eq!(evaluate_with(PLAIN, &author, None, &[pending], Mode::TreeWalk).result, result);
    }
    // What it would have come to is known as soon as the policy is, with its options.
    let at_stake = |zone: &str, state| {
        evaluate_with(zone, &author, None, &[identifier("example.com", state)], Mode::TreeWalk).at_stake
    };
    assert_eq!(at_stake(PLAIN, IdentifierState::Temperror), Policy::Reject);
    assert_eq!(
        at_stake(&PLAIN.replace("p=reject;", "p=reject; t=y;"), IdentifierState::Temperror),
        Policy::Quarantine
    );
    assert_eq!(
        at_stake(&PLAIN.replace("p=reject;", "p=reject; pct=0;"), IdentifierState::Temperror),
        Policy::Quarantine
    );
    for state in [IdentifierState::Pass, IdentifierState::Other] {
        assert_eq!(at_stake(PLAIN, state), Policy::None);
    }
    assert_eq!(at_stake("$SERVFAIL _dmarc.example.com.", IdentifierState::Temperror), Policy::None);
    let both = [identifier("example.com", IdentifierState::Temperror), pass("example.com")];
    assert_eq!(evaluate_with(PLAIN, &author, None, &both, Mode::TreeWalk).result, DmarcResult::Pass);
}

#[test]
fn a_verdict_claims_no_more_than_it_rests_on() {
    let zone = format!("$SECURE .\n{PLAIN}");
    let author = Author::Domain(domain("example.com"));
    let insecure = Identifier { authenticity: Authenticity::Insecure, ..pass("example.com") };
    let claims = |spf: &Identifier, dkim: &[Identifier]| {
        evaluate_with(&zone, &author, Some(spf), dkim, Mode::TreeWalk).authenticity
    };
    assert_eq!(claims(&insecure, &[]), Authenticity::Insecure);
    // One that is secure is enough for a pass.
    assert_eq!(claims(&insecure, &[pass("example.com")]), Authenticity::Secure);
    // That none passed rests on all.
    let failed = Identifier { state: IdentifierState::Other, ..insecure };
    assert_eq!(claims(&failed, &[pass("evil.example")]), Authenticity::Insecure);
    assert_eq!(signed(PLAIN, "example.com", "example.com").authenticity, Authenticity::Insecure);
    let none = evaluate_with("", &Author::of_header(b"To: x"), None, &[], Mode::TreeWalk);
    assert_eq!((none.result, none.authenticity), (DmarcResult::Permerror, Authenticity::Indeterminate));
}

#[test]
fn messages_without_a_single_author_never_pass() {
    let zone =
        "_dmarc.strict.example. TXT \"v=DMARC1; p=reject\"\n_dmarc.lax.example. TXT \"v=DMARC1; p=none\"";
    let evaluate = |header: &str| {
        let author = Author::of_header(header.as_bytes());
        let dkim = [pass("strict.example"), pass("lax.example"), pass("unknown.example")];
        evaluate_with(zone, &author, None, &dkim, Mode::TreeWalk)
    };
    assert_eq!(evaluate("From: a@strict.example").result, DmarcResult::Pass);
    for header in [
        "From: a@lax.example, b@strict.example",
        "From: a@lax.example\r\nFrom: b@strict.example",
        "From: b@strict.example\r\nFrom: b@strict.example",
        " From: b@strict.example\r\nFrom: a@lax.example",
    ] {
        let verdict = evaluate(header);
        assert_eq!((verdict.result, verdict.applied), (DmarcResult::Fail, Policy::Reject), "{header}");
        assert_eq!(verdict.domain, Some(domain("strict.example")));
        assert!(verdict.problem.is_some() && !verdict.aligned_dkim);
    }
    for header in ["", "From: a@unknown.example, b@other.example", "From: someone", "From: a@[192.0.2.1]"] {
        let verdict = evaluate(header);
        assert_eq!((verdict.result, verdict.applied), (DmarcResult::Permerror, Policy::None), "{header}");
    }
}

#[test]
fn hostile_messages_cause_no_more_than_the_documented_number_of_questions() {
    let deep = format!("{}example.com", "a.".repeat(100));
    let verdict = unsigned("", &deep);
    assert_eq!((verdict.result, verdict.queries), (DmarcResult::None, 8));
    // Signatures of strangers are free; those below the author's domain have a budget.
    let strangers: Vec<Identifier> =
        (0..100).map(|number| pass(&format!("d{number}.example.com.evil"))).collect();
    let author = Author::Domain(domain("example.com"));
    let verdict = evaluate_with(PLAIN, &author, None, &strangers, Mode::TreeWalk);
    assert_eq!((verdict.result, verdict.queries), (DmarcResult::Fail, 1));
    let below: Vec<Identifier> = (0..100)
        .map(|number| identifier(&format!("d{number}.example.com"), IdentifierState::Temperror))
        .collect();
    let verdict = evaluate_with(PLAIN, &author, None, &below, Mode::TreeWalk);
    assert_eq!((verdict.result, verdict.queries), (DmarcResult::Temperror, QUERIES_MAX));
    let names: Vec<String> = (0..100).map(|number| format!("a@b.c.d.e.f.g.h.i{number}.example")).collect();
    let author = Author::of_header(format!("From: {}", names.join(",")).as_bytes());
    let verdict = evaluate_with("", &author, None, &[], Mode::TreeWalk);
    assert!(verdict.queries <= QUERIES_MAX);
}

#[test]
fn fields_tell_the_verdict() {
    let field = |verdict: &Verdict| {
        let results = [verdict.method_result()];
        let field = AuthenticationResults { authserv_id: "us", charset: Charset::Ascii, results: &results };
        field.field().replace("\r\n\t", " ")
    };
    let zone = format!("$SECURE .\n{PLAIN}");
    assert_eq!(
        field(&signed(&zone, "example.com", "example.com")),
        "Authentication-Results: us; dmarc=pass (with dnssec) header.from=example.com policy.dmarc=none\r\n"
    );
    let zone = PLAIN.replace("p=reject;", "p=reject; pct=0;");
    assert_eq!(
        field(&unsigned(&zone, "example.com")),
        "Authentication-Results: us; dmarc=fail (without dnssec, sampled out) header.from=example.com \
         policy.dmarc=quarantine\r\n"
    );
    assert_eq!(
        field(&evaluate_with("", &Author::of_header(b""), None, &[], Mode::TreeWalk)),
        "Authentication-Results: us; dmarc=permerror (without dnssec) reason=\"the message has no From field\"\r\n"
    );
}

#[test]
fn the_identifier_of_spf_is_its_domain() {
    let verdict = |result, domain: &str| spf::Verdict {
        result,
        identity: spf::Identity::MailFrom,
        domain: domain.into(),
        mechanism: None,
        explanation: None,
        problem: None,
        lookups: 0,
        void_lookups: 0,
        queries: 1,
        authenticity: Authenticity::Secure,
    };
    let of = |result, domain| Identifier::of_spf(&verdict(result, domain)).map(|identifier| identifier.state);
    assert_eq!(of(spf::SpfResult::Pass, "example.com"), Some(IdentifierState::Pass));
    assert_eq!(of(spf::SpfResult::Temperror, "example.com"), Some(IdentifierState::Temperror));
    for result in
        [spf::SpfResult::Neutral, spf::SpfResult::Fail, spf::SpfResult::Softfail, spf::SpfResult::None]
    {
        assert_eq!(of(result, "example.com"), Some(IdentifierState::Other));
    }
    assert_eq!(of(spf::SpfResult::None, "[192.0.2.1]"), None);
}

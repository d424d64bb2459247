//! The validator against Unbound's own tests (`suites/dnssec/unbound-a`).

use futures_lite::future::block_on;
use hickory_proto::op::ResponseCode;

use super::super::{Denied, End, Limits, Validator, Verdict};
use super::replay::{Check, Script};
use crate::answer::Authenticity;

/// Checks that aren't made, each with the reason. All other questions of the scripts are asked.
const LEFT_OUT: [(&str, u32, &str); 7] = [
    (
        "val_cnameqtype.rpl",
        120,
        "the client is to get NXDOMAIN with the CNAME that it asked for, since its target doesn't exist. A verdict \
         is of the question alone: RFC 1034 §3.6.2, a query that matches the CNAME type isn't restarted",
    ),
    ("val_cnameqtype.rpl", 180, "the same, with a CNAME that a DNAME made"),
    (
        "val_negcache_nodata.rpl",
        20,
        "is answered of NSEC records of earlier answers (aggressive use, RFC 8198), which is a cache's part",
    ),
    ("val_negcache_nodata.rpl", 60, "the same"),
    ("val_negcache_nta.rpl", 20, "the same, and no server of the script answers"),
    ("val_negcache_ttl.rpl", 11, "the same"),
    (
        "val_referd.rpl",
        5,
        "a referral of the cache for a client that wants no recursion: a resolver for itself has no such clients",
    ),
];

/// Unbound counts more iterations as too many than we do, and its tests have zones in between.
const LIMITS: Limits = Limits { nsec3_iterations_max: 150, ..Limits::DEFAULT };

fn ask(script: &Script, validator: &Validator, check: &Check) -> Option<Verdict> {
    let (mut name, kind) = check.question.question.clone().unwrap();
    script.step.set(check.step);
    let mut aliases = Vec::new();
    let mut authenticity = Authenticity::Secure;
    loop {
        let response = script.resolve(&name, kind)?;
        let mut verdict = block_on(validator.validate(script, script.now, &name, kind, &response));
        authenticity = authenticity.and(verdict.authenticity);
        aliases.append(&mut verdict.aliases);
        match &verdict.end {
            End::Alias(next) if aliases.len() < 16 => name = next.clone(),
            _ => return Some(Verdict { authenticity, aliases, ..verdict }),
        }
    }
}

/// What is wrong with a verdict, by what the client of the script is to get.
fn complaint(check: &Check, verdict: Option<&Verdict>) -> Option<String> {
    let expected = &check.expected;
    let Some(verdict) = verdict.filter(|verdict| verdict.is_usable()) else {
        let code = verdict.and_then(Verdict::extended_error).map(|error| error.code);
        return match (expected.has("SERVFAIL"), expected.code) {
            (false, _) => Some("fails, and must not".to_owned()),
            (true, Some(wanted)) if code != Some(wanted) => {
                Some(format!("extended error {code:?}, and not {wanted}"))
            }
            (true, _) => None,
        };
    };
    let code = match &verdict.end {
        End::Denied(Denied::Name) => ResponseCode::NXDomain,
        _ => ResponseCode::NoError,
    };
    if code != expected.response_code() {
        return Some(format!("{code}, and not {}", expected.response_code()));
    }
    let secure = verdict.authenticity == Authenticity::Secure;
    if check.question.has("DO") && secure != expected.has("AD") {
        return Some(format!("{}, and AD is to be {}", verdict.authenticity.word(), expected.has("AD")));
    }
    let empty = verdict.aliases.is_empty() && verdict.end != End::Found;
    (empty != expected.answers.is_empty()).then(|| "records where none are expected, or none".to_owned())
}

#[test]
fn unbounds_scripts_are_judged_as_unbound_does() {
    let Some(folder) = postrider_testing::suite("dnssec/unbound-a") else { return };
    let mut scripts: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.retain(|path| path.extension().is_some_and(|extension| extension == "rpl"));
    scripts.sort();
    let mut failures = Vec::new();
    let mut checks = 0;
    for path in &scripts {
        let file = path.file_name().unwrap().to_string_lossy();
        let script = Script::parse(&std::fs::read_to_string(path).unwrap());
        let validator = Validator::weak(script.anchors.clone(), LIMITS);
        for check in &script.checks {
            // What is asked without a check is still seen by the cache.
            let verdict = ask(&script, &validator, check);
            if LEFT_OUT.iter().any(|(left_out, step, _)| *left_out == file && *step == check.step) {
                continue;
            }
            checks += 1;
            if let Some(complaint) = complaint(check, verdict.as_ref()) {
                let lines = verdict.as_ref().map(super::super::explain).unwrap_or_default();
                let (name, kind) = check.question.question.as_ref().unwrap();
                failures.push(format!(
                    "{file} step {} {name} {kind}: {complaint}\n  {}",
                    check.step,
                    lines.join("\n  ")
                ));
            }
        }
    }
    assert_eq!(scripts.len(), 71);
    assert!(failures.is_empty(), "{} of {checks} checks:\n{}", failures.len(), failures.join("\n"));
    assert_eq!(checks, 105 - LEFT_OUT.len());
}

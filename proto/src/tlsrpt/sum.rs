//! Summing results of sessions, bounded.
//!
//! Always holds: sessions are never lost by a bound, only what tells them apart.

use super::{Failure, PolicyReport};

/// Policies of one domain that are told apart, as it changes them.
pub const POLICIES_MAX: usize = 4;
/// Failures of one policy that are told apart in everything; beyond, by their type.
pub const FAILURES_MAX: usize = 50;
/// Octets of the lines of a policy.
pub const LINES_OCTETS_MAX: usize = 16 * 1024;
/// Lines of a policy.
const LINES_MAX: usize = 200;
/// Octets of other texts.
const TEXT_OCTETS_MAX: usize = 300;

/// Adds the sessions of one policy to those of the same and of others of its domain.
pub fn add(policies: &mut Vec<PolicyReport>, new: PolicyReport) {
    let new = bounded(new);
    let is_same = |known: &PolicyReport| {
        (&known.policy_type, &known.policy_domain, &known.policy_strings, &known.mx_hosts)
            == (&new.policy_type, &new.policy_domain, &new.policy_strings, &new.mx_hosts)
    };
    let place = policies.iter().position(is_same);
    let place = match place {
        Some(place) => place,
        None if policies.len() < POLICIES_MAX => {
            let failures = Vec::new();
            policies.push(PolicyReport {
                failures,
                successful_sessions: 0,
                failed_sessions: 0,
                ..new.clone()
            });
            policies.len() - 1
        }
        // One of the same type is the nearest.
        None => {
            let kin = policies.iter().rposition(|known| known.policy_type == new.policy_type);
            kin.unwrap_or(policies.len() - 1)
        }
    };
    let known = &mut policies[place];
    known.successful_sessions = known.successful_sessions.saturating_add(new.successful_sessions);
    known.failed_sessions = known.failed_sessions.saturating_add(new.failed_sessions);
    new.failures.into_iter().for_each(|failure| add_failure(&mut known.failures, failure));
}

fn add_failure(failures: &mut Vec<Failure>, new: Failure) {
    let is = |known: &Failure, new: &Failure| Failure { sessions: new.sessions, ..known.clone() } == *new;
    if let Some(known) = failures.iter_mut().find(|known| is(known, &new)) {
        known.sessions = known.sessions.saturating_add(new.sessions);
    } else if failures.len() < FAILURES_MAX {
        failures.push(new);
    } else {
        // There are as many of these as types at most.
        let plain = Failure { sessions: new.sessions, ..Failure::new(new.result_type) };
        match failures.iter_mut().find(|known| is(known, &plain)) {
            Some(known) => known.sessions = known.sessions.saturating_add(plain.sessions),
            None => failures.push(plain),
        }
    }
}

fn bounded(mut report: PolicyReport) -> PolicyReport {
    let mut octets = 0;
    report.policy_strings.retain(|line| {
        octets += line.len();
        octets <= LINES_OCTETS_MAX
    });
    report.policy_strings.truncate(LINES_MAX);
    report.mx_hosts.truncate(LINES_MAX);
    report.mx_hosts.iter_mut().for_each(cut);
    for failure in &mut report.failures {
        let Failure { receiving_mx_hostname, receiving_mx_helo, additional_information, reason_code, .. } =
            failure;
        for text in [receiving_mx_hostname, receiving_mx_helo, additional_information, reason_code] {
            text.iter_mut().for_each(cut);
        }
    }
    report
}

fn cut(text: &mut Box<str>) {
    if text.len() > TEXT_OCTETS_MAX {
        *text = text[..text.floor_char_boundary(TEXT_OCTETS_MAX)].into();
    }
}

#[cfg(test)]
mod tests {
    use super::super::{PolicyType, ResultType};
    use super::*;

    fn policy(line: &str, failures: Vec<Failure>) -> PolicyReport {
        PolicyReport {
            policy_type: PolicyType::Sts,
            policy_strings: vec![line.into()],
            policy_domain: "them.example".into(),
            mx_hosts: Vec::new(),
            successful_sessions: 1,
            failed_sessions: failures.iter().map(|failure| failure.sessions).sum(),
            failures,
        }
    }

    fn failure(reason: &str) -> Failure {
        Failure { reason_code: Some(reason.into()), ..Failure::new(ResultType::ValidationFailure) }
    }

    #[test]
    fn what_is_the_same_is_summed() {
        let mut all = Vec::new();
        add(&mut all, policy("a", vec![failure("x")]));
        add(&mut all, policy("a", vec![failure("x"), failure("y")]));
        add(&mut all, policy("b", Vec::new()));
        let twice = Failure { sessions: 2, ..failure("x") };
        let first = PolicyReport { successful_sessions: 2, ..policy("a", vec![twice, failure("y")]) };
        assert_eq!(all, [first, policy("b", Vec::new())]);
    }

    #[test]
    fn beyond_the_bounds_sessions_still_count() {
        let mut all = Vec::new();
        for number in 0..FAILURES_MAX + 10 {
            add(&mut all, policy("a", vec![failure(&number.to_string())]));
        }
        for number in 0..POLICIES_MAX + 3 {
            add(&mut all, policy(&number.to_string(), Vec::new()));
        }
        assert_eq!(all.len(), POLICIES_MAX);
        assert_eq!(all[0].failures.len(), FAILURES_MAX + 1);
        assert_eq!(
            all[0].failures[FAILURES_MAX],
            Failure { sessions: 10, ..Failure::new(ResultType::ValidationFailure) }
        );
        assert_eq!(all[0].failed_sessions, all[0].failures.iter().map(|one| one.sessions).sum::<u64>());
        let sessions: u64 = all.iter().map(|policy| policy.successful_sessions).sum();
        assert_eq!(sessions, (FAILURES_MAX + 10 + POLICIES_MAX + 3) as u64);
    }

    #[test]
    fn texts_are_cut_and_lines_left_out() {
        let mut all = Vec::new();
        let long = "\u{fc}".repeat(TEXT_OCTETS_MAX);
        let mut new = policy(&"x".repeat(LINES_OCTETS_MAX), vec![failure(&long)]);
        new.policy_strings.push("y".into());
        add(&mut all, new);
        assert_eq!(all[0].policy_strings.len(), 1);
        assert_eq!(all[0].failures[0].reason_code.as_ref().map(|text| text.len()), Some(TEXT_OCTETS_MAX));
    }
}

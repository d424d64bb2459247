//! What reports on TLS (RFC 8460) say of an attempt: a pure function of what decisions rested on and of what was
//! seen of each connection.
//!
//! A session is judged by what a policy asks for, also where the sender's wish set the policy aside:
//! - by the policy of MTA-STS of the recipient's domain, which counts authorities and listed hosts;
//! - by the TLSA records of the host;
//! - by neither: then any TLS is right (RFC 8460 §4.2.1, §4.2.2), and whether authorities vouch for the certificate doesn't
//!   count.
//!
//! Each session counts once under the recipient's domain and once under the host. One that another policy broke off
//! counts there alone. What never came to TLS isn't reported, as hosts that can't be reached (RFC 8460 §4.3.4).

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use postrider_dns::ExtendedError;
use postrider_dns::dane::Mismatch;
use postrider_proto::tlsrpt::{Failure, PolicyReport, PolicyType, ResultType};

use crate::attempt::Tried;
use crate::outcome::HostEnd;
use crate::security::{DaneHost, Listed, Skip, Sts, StsHost};

/// Why something isn't as a policy asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its type (RFC 8460 §4.3).
    pub result_type: ResultType,
    /// More about it, for `failure-reason-code`.
    pub reason: Option<Box<str>>,
}

impl Fault {
    /// A fault of a type.
    #[must_use]
    pub fn new(result_type: ResultType, reason: Option<&str>) -> Self {
        Self { result_type, reason: reason.map(Box::from) }
    }
}

impl From<&Mismatch> for Fault {
    fn from(mismatch: &Mismatch) -> Self {
        let result_type = match mismatch {
            Mismatch::Name => ResultType::CertificateHostMismatch,
            _ => ResultType::CertificateNotTrusted,
        };
        Self::new(result_type, Some(&mismatch.to_string()))
    }
}

/// What came of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// It is there.
    Established,
    /// STARTTLS isn't offered, or refused.
    NotOffered,
    /// The handshake failed.
    Failed(Fault),
    /// We refused the certificate.
    Refused,
}

/// What was seen of a connection that was opened for the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The address that it came from.
    pub sending: Option<IpAddr>,
    /// The address that it went to.
    pub receiving: IpAddr,
    /// What the host called itself.
    pub helo: Option<Box<str>>,
    /// What came of TLS.
    pub tls: Tls,
    /// Why the certificate isn't one of a public authority for the host.
    pub pkix: Option<Fault>,
    /// Why TLSA records aren't about the certificate.
    pub dane: Option<Fault>,
}

/// An attempt as reports see it.
#[derive(Clone, Copy, Debug)]
pub struct Attempted<'a> {
    /// The recipient's domain.
    pub domain: &'a str,
    /// Its policy of MTA-STS.
    pub sts: &'a Sts,
    /// What went wrong with finding that.
    pub sts_fault: Option<&'a Fault>,
    /// The hosts that were tried or passed over, each with what was seen of a new connection to it.
    pub hosts: &'a [(Tried, Option<Session>)],
}

/// Sessions under one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsResult {
    /// Whether the policy domain is that of a host.
    pub is_host: bool,
    /// The sessions.
    pub report: PolicyReport,
}

/// What reports say of an attempt: of the recipient's domain first, then of hosts, each with sessions.
#[must_use]
pub fn results(attempted: &Attempted<'_>) -> Vec<TlsResult> {
    let mut results = vec![TlsResult { is_host: false, report: domain_policy(attempted) }];
    let mut has_sessions = matches!(attempted.sts, Sts::Unknown(_));
    for (tried, session) in attempted.hosts {
        let judged = of_domain(tried, session.as_ref());
        has_sessions |= session.is_some() || judged.is_some();
        count(&mut results[0].report, tried, session.as_ref(), judged);
        let judged = of_host(tried, session.as_ref());
        let (is_host, mut report) = (true, host_policy(tried));
        count(&mut report, tried, session.as_ref(), judged);
        results.push(TlsResult { is_host, report });
    }
    // Without a session nothing had to be as the policy asks.
    if let Some(fault) = attempted.sts_fault.filter(|_| has_sessions) {
        let report = &mut results[0].report;
        report.failed_sessions += 1;
        report
            .failures
            .push(Failure { reason_code: fault.reason.clone(), ..Failure::new(fault.result_type.clone()) });
    }
    results.retain(|result| result.report.successful_sessions + result.report.failed_sessions > 0);
    results
}

/// What a report says of a domain whose hosts can't be looked up because signatures of DNS don't hold.
#[must_use]
pub fn unfound(domain: &str, errors: &[ExtendedError]) -> Option<TlsResult> {
    let reason = dnssec_reason(errors)?;
    let mut report = policy(PolicyType::NoPolicyFound, domain);
    report.failed_sessions = 1;
    report.failures.push(Failure { reason_code: Some(reason), ..Failure::new(ResultType::DnssecInvalid) });
    Some(TlsResult { is_host: false, report })
}

fn policy(policy_type: PolicyType, domain: &str) -> PolicyReport {
    PolicyReport {
        policy_type,
        policy_strings: Vec::new(),
        policy_domain: domain.into(),
        mx_hosts: Vec::new(),
        successful_sessions: 0,
        failed_sessions: 0,
        failures: Vec::new(),
    }
}

fn domain_policy(attempted: &Attempted<'_>) -> PolicyReport {
    use postrider_proto::mta_sts::Mode;
    let found = match attempted.sts {
        Sts::Policy(found) if found.mode != Mode::None => found,
        _ => return policy(PolicyType::NoPolicyFound, attempted.domain),
    };
    let hosts: Vec<Box<str>> = found.patterns.iter().map(|pattern| pattern.to_string().into()).collect();
    let first = ["version: STSv1".into(), format!("mode: {}", found.mode.word()).into()];
    let lines = hosts.iter().map(|host| format!("mx: {host}").into());
    let last = format!("max_age: {}", found.max_age).into();
    PolicyReport {
        policy_strings: first.into_iter().chain(lines).chain([last]).collect(),
        mx_hosts: hosts,
        ..policy(PolicyType::Sts, attempted.domain)
    }
}

fn host_policy(tried: &Tried) -> PolicyReport {
    let domain = tried.tlsa.base.as_deref().unwrap_or(&tried.host);
    let is_known = tried.facts.is_none_or(|facts| facts.dane == DaneHost::No);
    let kind = if is_known { PolicyType::NoPolicyFound } else { PolicyType::Tlsa };
    let policy_strings = tried.tlsa.records.iter().map(|record| record.as_str().into()).collect();
    PolicyReport { policy_strings, ..policy(kind, domain) }
}

/// What makes a session fail under a policy; empty when it succeeds, none when it is none of that policy's.
type Judged = Option<Vec<Fault>>;

fn of_domain(tried: &Tried, session: Option<&Session>) -> Judged {
    let facts = tried.facts?;
    let mismatch = || Fault::new(ResultType::ValidationFailure, Some("mtasts-policy-mx-mismatch"));
    let Some(session) = session else {
        let is_passed_over = tried.end == HostEnd::Skipped(Skip::NotInPolicy);
        return is_passed_over.then(|| vec![mismatch()]);
    };
    let (has_policy, is_listed) = match facts.sts {
        StsHost::None | StsHost::Unknown => (false, true),
        StsHost::Testing(listed) | StsHost::Enforce(listed) => (true, listed == Listed::Yes),
    };
    let mut faults: Vec<Fault> = (!is_listed).then(mismatch).into_iter().collect();
    faults.extend(session.pkix.clone().filter(|_| has_policy));
    judged(session, faults)
}

fn of_host(tried: &Tried, session: Option<&Session>) -> Judged {
    let facts = tried.facts?;
    let unknown = || {
        let reason =
            dnssec_reason(&tried.tlsa.errors).unwrap_or_else(|| "the TLSA records can't be looked up".into());
        Fault::new(ResultType::DnssecInvalid, Some(&reason))
    };
    let Some(session) = session else {
        let is_passed_over = tried.end == HostEnd::Skipped(Skip::TlsaUnknown);
        return is_passed_over.then(|| vec![unknown()]);
    };
    let fault = match facts.dane {
        DaneHost::No => None,
        DaneHost::Usable => session.dane.clone(),
        DaneHost::Unusable => Some(Fault::new(ResultType::TlsaInvalid, Some("no record can be used"))),
        DaneHost::Unknown => Some(unknown()),
    };
    judged(session, fault.into_iter().collect())
}

/// With the faults of TLS itself. One that we broke off for nothing that this policy asks isn't its.
fn judged(session: &Session, mut faults: Vec<Fault>) -> Judged {
    match &session.tls {
        Tls::Established => {}
        Tls::NotOffered => faults.push(Fault::new(ResultType::StarttlsNotSupported, None)),
        Tls::Failed(fault) => faults.push(fault.clone()),
        Tls::Refused if faults.is_empty() => return None,
        Tls::Refused => {}
    }
    Some(faults)
}

/// Counts a session: once, also when several things are wrong with it (RFC 8460 §4).
fn count(report: &mut PolicyReport, tried: &Tried, session: Option<&Session>, judged: Judged) {
    match judged {
        None => {}
        Some(faults) if faults.is_empty() => report.successful_sessions += 1,
        Some(faults) => {
            report.failed_sessions += 1;
            report.failures.extend(faults.into_iter().map(|fault| Failure {
                sending_mta_ip: session.and_then(|session| session.sending),
                receiving_mx_hostname: Some(tried.host.as_str().into()),
                receiving_mx_helo: session.and_then(|session| session.helo.clone()),
                receiving_ip: session.map(|session| session.receiving),
                reason_code: fault.reason,
                ..Failure::new(fault.result_type)
            }));
        }
    }
}

/// The first extended error that is about signatures, as a reason.
fn dnssec_reason(errors: &[ExtendedError]) -> Option<Box<str>> {
    errors.iter().find_map(|error| {
        let word = dnssec_word(error.code)?;
        Some(format!("dns-extended-error-{}-{word}", error.code).into())
    })
}

/// The names of extended errors about signatures, of the registry of RFC 8914 §5.2.
fn dnssec_word(code: u16) -> Option<&'static str> {
    Some(match code {
        1 => "unsupported-dnskey-algorithm",
        2 => "unsupported-ds-digest-type",
        5 => "dnssec-indeterminate",
        6 => "dnssec-bogus",
        7 => "signature-expired",
        8 => "signature-not-yet-valid",
        9 => "dnskey-missing",
        10 => "rrsigs-missing",
        11 => "no-zone-key-bit-set",
        12 => "nsec-missing",
        25 => "signature-expired-before-valid",
        27 => "unsupported-nsec3-iterations-value",
        _ => return None,
    })
}

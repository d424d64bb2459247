//! SMTP TLS reporting (RFC 8460): the record that asks for reports, and reports as values and as JSON.
//!
//! Always holds: what is read is bounded, and its texts have no control characters.

mod json;
mod record;
mod sum;
#[cfg(test)]
mod tests;

pub use json::{REPORT_OCTETS_MAX, ReportError};
pub use record::{Destination, Record, RecordError};
pub use sum::{FAILURES_MAX, LINES_OCTETS_MAX, POLICIES_MAX, add};

use std::net::IpAddr;

use crate::address::Domain;
use crate::words::words;

/// The name of the record of a policy domain, without a dot at its end (RFC 8460 §3). It may be too long for DNS.
#[must_use]
pub fn record_name(domain: &Domain) -> String {
    format!("_smtp._tls.{domain}")
}

words! {
    /// Why a session failed (RFC 8460 §4.3).
    ResultType {
        /// STARTTLS is not supported.
        StarttlsNotSupported = "starttls-not-supported",
        /// No name of the certificate is the server's.
        CertificateHostMismatch = "certificate-host-mismatch",
        /// The certificate has expired.
        CertificateExpired = "certificate-expired",
        /// Another fault of the certificate.
        CertificateNotTrusted = "certificate-not-trusted",
        /// Anything else; the reason code says more.
        ValidationFailure = "validation-failure",
        /// No TLSA record could be used.
        TlsaInvalid = "tlsa-invalid",
        /// The resolver had no valid records.
        DnssecInvalid = "dnssec-invalid",
        /// DANE is required here, and there is none.
        DaneRequired = "dane-required",
        /// The policy of MTA-STS could not be fetched.
        StsPolicyFetchError = "sts-policy-fetch-error",
        /// It could not be read.
        StsPolicyInvalid = "sts-policy-invalid",
        /// The certificate of its host is not valid.
        StsWebpkiInvalid = "sts-webpki-invalid",
    }
}

words! {
    /// Which policy was applied (RFC 8460 §4.4).
    PolicyType {
        /// DANE.
        Tlsa = "tlsa",
        /// MTA-STS.
        Sts = "sts",
        /// Neither.
        NoPolicyFound = "no-policy-found",
    }
}

/// A report on the sessions of a day with one domain. Times are in seconds since 1970.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// Who reports.
    pub organization_name: Box<str>,
    /// From when.
    pub start: i64,
    /// To when.
    pub end: i64,
    /// Whom to ask.
    pub contact_info: Option<Box<str>>,
    /// What nobody else calls a report.
    pub report_id: Box<str>,
    /// By policies.
    pub policies: Vec<PolicyReport>,
}

/// The sessions to which one policy was applied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyReport {
    /// Which kind of policy.
    pub policy_type: PolicyType,
    /// Its lines, or the TLSA records.
    pub policy_strings: Vec<Box<str>>,
    /// The domain that it is for: that of recipients, or with DANE the host's.
    pub policy_domain: Box<str>,
    /// The hosts that a policy of MTA-STS allows.
    pub mx_hosts: Vec<Box<str>>,
    /// Sessions that were as the policy has it.
    pub successful_sessions: u64,
    /// Sessions that were not.
    pub failed_sessions: u64,
    /// Why.
    pub failures: Vec<Failure>,
}

/// Sessions that failed in the same way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// In which.
    pub result_type: ResultType,
    /// The address that they came from.
    pub sending_mta_ip: Option<IpAddr>,
    /// The host that they went to.
    pub receiving_mx_hostname: Option<Box<str>>,
    /// What it called itself.
    pub receiving_mx_helo: Option<Box<str>>,
    /// Its address.
    pub receiving_ip: Option<IpAddr>,
    /// How many.
    pub sessions: u64,
    /// Where there is more to read.
    pub additional_information: Option<Box<str>>,
    /// The error in more detail.
    pub reason_code: Option<Box<str>>,
}

impl Failure {
    /// One session that failed, with nothing else known.
    #[must_use]
    pub const fn new(result_type: ResultType) -> Self {
        Self {
            result_type,
            sending_mta_ip: None,
            receiving_mx_hostname: None,
            receiving_mx_helo: None,
            receiving_ip: None,
            sessions: 1,
            additional_information: None,
            reason_code: None,
        }
    }
}

impl Report {
    /// The subject of the message that brings it (RFC 8460 §5.3).
    #[must_use]
    pub fn subject(&self, policy_domain: &Domain, submitter: &Domain) -> String {
        format!("Report Domain: {policy_domain} Submitter: {submitter} Report-ID: <{}>", self.report_id)
    }

    /// The name of the file with the compressed report (RFC 8460 §5.1). `unique` is of letters and digits: a day may have
    /// several reports.
    #[must_use]
    pub fn file_name(&self, policy_domain: &Domain, submitter: &Domain, unique: &str) -> String {
        format!("{submitter}!{policy_domain}!{}!{}!{unique}.json.gz", self.start, self.end)
    }
}

//! Aggregate reports of DMARC (RFC 7489 §7.2 and Appendix C; RFC 9990, whose last draft is
//! draft-ietf-dmarc-aggregate-reporting-32): one set of values, written as XML and read from the XML of others.
//!
//! Always holds: what is read is bounded, and its texts have no control characters.

mod interval;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use interval::Interval;
pub use read::{PARTS_MAX, RECORDS_MAX, REPORT_OCTETS_MAX, ReportError, TEXT_OCTETS_MAX};

use std::net::IpAddr;

use super::{Alignment, Policy, Record as PolicyRecord};
use crate::address::Domain;
use crate::words::words;

words! {
    /// What is asked for, or was done (DispositionType; ActionDispositionType of RFC 9990).
    Disposition {
        /// Nothing.
        None = "none",
        /// Treating it as suspicious.
        Quarantine = "quarantine",
        /// Refusing it.
        Reject = "reject",
        /// Nothing, since DMARC passed (RFC 9990).
        Pass = "pass",
    }
}

words! {
    /// Whether an aligned identifier passed (DMARCResultType).
    Outcome {
        /// One did.
        Pass = "pass",
        /// None did.
        Fail = "fail",
    }
}

words! {
    /// What DKIM or SPF found, whatever is aligned (DKIMResultType, SPFResultType).
    AuthResult {
        /// There was nothing to check.
        None = "none",
        /// It passed.
        Pass = "pass",
        /// It failed.
        Fail = "fail",
        /// The owner of the domain isn't sure that it failed.
        Softfail = "softfail",
        /// It isn't acceptable here.
        Policy = "policy",
        /// The owner of the domain says nothing, or the signature can't be used.
        Neutral = "neutral",
        /// It may be found out later.
        Temperror = "temperror",
        /// It can't be found out.
        Permerror = "permerror",
    }
}

words! {
    /// Which identity SPF looked at (SPFDomainScope).
    SpfScope {
        /// That of HELO.
        Helo = "helo",
        /// That of MAIL FROM.
        Mfrom = "mfrom",
    }
}

words! {
    /// Why the policy was not applied (PolicyOverrideType).
    OverrideType {
        /// It came from a known forwarder.
        Forwarded = "forwarded",
        /// `pct` left it out.
        SampledOut = "sampled_out",
        /// A forwarder is trusted.
        TrustedForwarder = "trusted_forwarder",
        /// It came from a mailing list.
        MailingList = "mailing_list",
        /// The receiver's own policy.
        LocalPolicy = "local_policy",
        /// The policy is only being tested (RFC 9990).
        PolicyTestMode = "policy_test_mode",
        /// The comment says more.
        Unspecified = "other",
    }
}

/// A report on the mail of an interval that one policy was for. Times are in seconds since 1970.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// Who reports.
    pub organization_name: Box<str>,
    /// Whom to ask.
    pub email: Box<str>,
    /// How else.
    pub extra_contact_info: Option<Box<str>>,
    /// What the reporter calls no other report.
    pub report_id: Box<str>,
    /// From when.
    pub begin: i64,
    /// To when.
    pub end: i64,
    /// What went wrong when the policy was looked for.
    pub errors: Vec<Box<str>>,
    /// The program that made it (RFC 9990).
    pub generator: Option<Box<str>>,
    /// The policy.
    pub policy: PublishedPolicy,
    /// What came, all that is the same in one.
    pub records: Vec<Record>,
}

/// The policy that a domain published (PolicyPublishedType).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PublishedPolicy {
    /// The domain that the record is of.
    pub domain: Box<str>,
    /// `p`
    pub policy: Option<Disposition>,
    /// `sp`
    pub subdomain_policy: Option<Disposition>,
    /// `np` (RFC 9990)
    pub nonexistent_policy: Option<Disposition>,
    /// `adkim`
    pub dkim_alignment: Option<Alignment>,
    /// `aspf`
    pub spf_alignment: Option<Alignment>,
    /// `pct`
    pub percent: Option<u8>,
    /// `fo`
    pub failure_options: Option<Box<str>>,
    /// `t` (RFC 9990)
    pub testing: Option<bool>,
    /// How it was found: `psl` or `treewalk` (RFC 9990).
    pub discovery_method: Option<Box<str>>,
}

impl PublishedPolicy {
    /// What a record says, with what it leaves to be understood.
    #[must_use]
    pub fn new(domain: &str, record: &PolicyRecord) -> Self {
        let policy = record.policy.unwrap_or_default();
        Self {
            domain: domain.into(),
            policy: Some(policy.into()),
            subdomain_policy: Some(record.subdomain_policy.unwrap_or(policy).into()),
            nonexistent_policy: record.nonexistent_policy.map(Into::into),
            dkim_alignment: Some(record.dkim_alignment),
            spf_alignment: Some(record.spf_alignment),
            percent: Some(record.percent.unwrap_or(100)),
            failure_options: Some(record.failure_options.to_string().into()),
            testing: record.testing,
            discovery_method: None,
        }
    }
}

impl From<Policy> for Disposition {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::None => Self::None,
            Policy::Quarantine => Self::Quarantine,
            Policy::Reject => Self::Reject,
        }
    }
}

/// Messages about which the same is said (RecordType).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Record {
    /// Where they came from; none when what is said is no address.
    pub source: Option<IpAddr>,
    /// How many; zero when what is said is no number.
    pub count: u64,
    /// What was done.
    pub disposition: Disposition,
    /// Whether DKIM passed for an aligned domain.
    pub dkim: Outcome,
    /// Whether SPF passed for an aligned domain.
    pub spf: Outcome,
    /// Why the policy was not applied.
    pub reasons: Vec<Reason>,
    /// The domain of the From field.
    pub header_from: Box<str>,
    /// The domain of the reverse path; empty for the null path.
    pub envelope_from: Option<Box<str>>,
    /// The domain of the recipient.
    pub envelope_to: Option<Box<str>>,
    /// What DKIM found.
    pub dkim_results: Vec<DkimResult>,
    /// What SPF found.
    pub spf_results: Vec<SpfResult>,
}

/// Why the policy was not applied (PolicyOverrideReason).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Reason {
    /// The word for it.
    pub kind: OverrideType,
    /// For people.
    pub comment: Option<Box<str>>,
}

/// What DKIM found of a signature (DKIMAuthResultType).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DkimResult {
    /// `d=`
    pub domain: Box<str>,
    /// `s=`
    pub selector: Option<Box<str>>,
    /// The word for it.
    pub result: AuthResult,
    /// For people.
    pub human_result: Option<Box<str>>,
}

/// What SPF found (SPFAuthResultType).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SpfResult {
    /// The domain that was looked at.
    pub domain: Box<str>,
    /// Whose it was.
    pub scope: Option<SpfScope>,
    /// The word for it.
    pub result: AuthResult,
    /// For people (RFC 9990).
    pub human_result: Option<Box<str>>,
}

impl Report {
    /// The subject of the message that brings it (RFC 7489 §7.2.1.1).
    #[must_use]
    pub fn subject(&self, submitter: &Domain) -> String {
        format!(
            "Report Domain: {} Submitter: {submitter} Report-ID: <{}>",
            self.policy.domain, self.report_id
        )
    }

    /// The name of the file with the compressed report (RFC 7489 §7.2.1.1). `unique` is of letters and digits: whatever
    /// else is reported of the same time, a file of that name is this one (RFC 9990).
    #[must_use]
    pub fn file_name(&self, submitter: &Domain, unique: &str) -> String {
        format!("{submitter}!{}!{}!{}!{unique}.xml.gz", self.policy.domain, self.begin, self.end)
    }
}

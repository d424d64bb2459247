//! Reports of other servers about our domains, and sums of them.

use serde::{Deserialize, Serialize};

/// Reports of one page at most.
pub const REPORT_PAGE_MAX: u32 = 1000;

/// What a report is about.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReportKind {
    /// Mail in the name of a domain.
    Dmarc,
    /// Connections to its servers.
    Tls,
}

/// Which reports are meant: those for which all that is given holds.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReportFilter {
    /// About this domain, or one below it that has no reports of its own.
    pub domain: Option<String>,
    /// Of this kind.
    pub kind: Option<ReportKind>,
    /// Came then or later, in seconds since 1970.
    pub since: Option<i64>,
    /// Came before.
    pub until: Option<i64>,
}

/// A report in a list.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ReportRow {
    /// Its id, a number.
    pub id: String,
    /// What it is about.
    pub kind: ReportKind,
    /// The domain of ours.
    pub domain: String,
    /// The domain that it names.
    pub policy_domain: String,
    /// The domain of who sent it.
    pub submitter: String,
    /// What confirms that: `dmarc`, `dkim`, `spf`, `submission`; none when nothing does.
    pub confirmed_by: Option<String>,
    /// How who made it is called.
    pub organization: String,
    /// What its submitter calls it.
    pub report_id: String,
    /// When it came.
    pub received: i64,
    /// From when on it reports.
    pub begin: i64,
    /// Until when.
    pub end: i64,
    /// Messages, or sessions.
    pub total: u64,
    /// Of these, how many failed: DMARC, or TLS.
    pub failed: u64,
    /// Messages that were put aside for the policy.
    pub quarantined: u64,
    /// Messages that were refused for it.
    pub rejected: u64,
    /// Records, or policies, that it has.
    pub entries: u32,
    /// Entries that there was no room for.
    pub left_out: u32,
}

/// An entry of a report.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ReportEntry {
    /// Messages of one kind.
    Dmarc(DmarcEntry),
    /// Sessions to which one policy was applied.
    Tls(TlsEntry),
}

/// Messages of which DMARC said the same.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DmarcEntry {
    /// The address that they came from.
    pub source: Option<String>,
    /// How many.
    pub messages: u64,
    /// What became of them.
    pub disposition: String,
    /// Whether an aligned signature passed.
    pub dkim: String,
    /// Whether SPF passed for an aligned domain.
    pub spf: String,
    /// Why the policy was not applied.
    pub reasons: Vec<String>,
    /// The domain of their From field.
    pub header_from: String,
    /// Signatures, as domain, selector and result.
    pub signatures: Vec<String>,
    /// Results of SPF, as domain and result.
    pub senders: Vec<String>,
}

/// Sessions to which one policy was applied.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TlsEntry {
    /// `sts`, `tlsa` or `no-policy-found`.
    pub policy_type: String,
    /// The domain of the policy.
    pub policy_domain: String,
    /// Sessions that were as the policy has it.
    pub successful: u64,
    /// Sessions that were not.
    pub failed: u64,
    /// Why.
    pub failures: Vec<TlsFailure>,
}

/// Sessions that failed in the same way.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFailure {
    /// The word of RFC 8460 §4.3.
    pub result: String,
    /// How many.
    pub sessions: u64,
    /// The address that they came from.
    pub sending_ip: Option<String>,
    /// The host that they went to.
    pub receiving_host: Option<String>,
    /// Its address.
    pub receiving_ip: Option<String>,
    /// The error in more detail.
    pub reason: Option<String>,
}

/// What reports of some days say of a domain. Reports that nothing confirms are counted, and not in the sums.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ReportSummary {
    /// The domain.
    pub domain: String,
    /// Reports that came from then on.
    pub since: i64,
    /// Until then.
    pub until: i64,
    /// On DMARC.
    pub dmarc: DmarcSummary,
    /// On TLS.
    pub tls: TlsSummary,
}

/// Who sent mail in the name of a domain.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DmarcSummary {
    /// Reports that something confirms: all else is about them.
    pub reports: u64,
    /// Reports that nothing confirms.
    pub unconfirmed: u64,
    /// Messages.
    pub messages: u64,
    /// Of these, how many failed DMARC.
    pub failed: u64,
    /// How many were put aside for the policy.
    pub quarantined: u64,
    /// How many were refused for it.
    pub rejected: u64,
    /// Those that sent most of what failed, then most of all.
    pub sources: Vec<SourceSummary>,
    /// Sources that there is no room for.
    pub sources_left_out: u64,
}

/// What one address sent in the name of a domain.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSummary {
    /// The address; none when it wasn't told.
    pub source: Option<String>,
    /// Messages.
    pub messages: u64,
    /// Of these, how many failed DMARC.
    pub failed: u64,
    /// How many were put aside for the policy.
    pub quarantined: u64,
    /// How many were refused for it.
    pub rejected: u64,
    /// With an aligned signature that passes.
    pub dkim_aligned: u64,
    /// With an aligned domain for which SPF passes.
    pub spf_aligned: u64,
    /// Signatures, as domain and result, of some messages.
    pub signatures: Vec<String>,
    /// Results of SPF, as domain and result, of some messages.
    pub senders: Vec<String>,
    /// Why the policy was not applied to some.
    pub reasons: Vec<String>,
    /// Some of those who reported it.
    pub reporters: Vec<String>,
}

/// How senders could deliver with TLS.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSummary {
    /// Reports that something confirms: all else is about them.
    pub reports: u64,
    /// Reports that nothing confirms.
    pub unconfirmed: u64,
    /// Sessions as the policy has it.
    pub successful: u64,
    /// Sessions that were not.
    pub failed: u64,
    /// Why, most first.
    pub failures: Vec<FailureSummary>,
    /// Ways to fail that there is no room for.
    pub failures_left_out: u64,
}

/// Sessions of one reporter that failed in the same way.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FailureSummary {
    /// Who could not deliver.
    pub reporter: String,
    /// The word of RFC 8460 §4.3.
    pub result: String,
    /// The host that they went to; empty when it wasn't told.
    pub receiving_host: String,
    /// The error in more detail; empty without.
    pub reason: String,
    /// How many.
    pub sessions: u64,
}

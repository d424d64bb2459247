//! What is recorded for reports to other domains, and who gets none.

use serde::{Deserialize, Serialize};

/// How TLS with the servers of a domain went in a day, under one policy domain; not reported yet.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TlsResultRow {
    /// The UTC day, as `2026-11-26`.
    pub day: String,
    /// The domain of recipients.
    pub recipient_domain: String,
    /// The domain that the policy is of.
    pub policy_domain: String,
    /// Whether that is a host's.
    pub host: bool,
    /// Whether it is only about reports that worked, and so no reason for another.
    pub no_reason: bool,
    /// By policy.
    pub policies: Vec<TlsResultPolicy>,
}

/// Sessions under one policy.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TlsResultPolicy {
    /// `tlsa`, `sts` or `no-policy-found`.
    #[serde(rename = "type")]
    pub policy_type: String,
    /// Sessions that were as the policy asks.
    pub successful: u64,
    /// Sessions that were not.
    pub failed: u64,
    /// Why.
    pub failures: Vec<TlsResultFailure>,
}

/// Sessions that failed in the same way.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TlsResultFailure {
    /// In which (RFC 8460 §4.3).
    #[serde(rename = "type")]
    pub result_type: String,
    /// How many.
    pub sessions: u64,
    /// The host.
    pub host: Option<String>,
    /// Its address.
    pub address: Option<String>,
    /// More about it.
    pub reason: Option<String>,
}

/// An address to which no reports are sent.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ReportSuppressionRow {
    /// The address.
    pub address: String,
    /// Since when.
    pub created: i64,
    /// Until when; none is for ever.
    pub until: Option<i64>,
    /// Why.
    pub comment: String,
}

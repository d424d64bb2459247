//! Reports as JSON (RFC 8460 §4.4), written as the schema has it and read kindly: with numbers, lists and texts in
//! the places of each other where that is in use, and without what isn't essential.

use std::fmt;
use std::net::IpAddr;

use serde::de::{self, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Failure, PolicyReport, PolicyType, Report, ResultType};
use crate::smtp::client::reply::harmless;

/// Octets of a report.
pub const REPORT_OCTETS_MAX: usize = 8 << 20;
/// Policies of a report.
pub const POLICIES_MAX: usize = 10_000;
/// Failures of a report, all policies together.
pub const FAILURES_MAX: usize = 50_000;
/// Lines and hosts of a policy that are kept.
const LINES_MAX: usize = 200;
/// Octets of a text that are kept.
const TEXT_OCTETS_MAX: usize = 1024;

/// Why a report can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// It is larger than is looked at, or has too many entries.
    #[error("the report is too large")]
    TooLarge,
    /// It is not JSON of the schema.
    #[error("the report is not of the schema: {0}")]
    Schema(#[from] serde_json::Error),
    /// A time that is none.
    #[error("the report has no valid date range")]
    Dates,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawReport {
    #[serde(default)]
    organization_name: Option<String>,
    date_range: RawRange,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    contact_info: Option<String>,
    report_id: String,
    policies: Vec<RawPolicyReport>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawRange {
    start_datetime: String,
    end_datetime: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawPolicyReport {
    policy: RawPolicy,
    #[serde(default)]
    summary: RawSummary,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failure_details: Option<Vec<RawFailure>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawPolicy {
    policy_type: String,
    #[serde(default, skip_serializing_if = "OneOrMany::is_empty")]
    policy_string: OneOrMany,
    #[serde(default)]
    policy_domain: Option<String>,
    #[serde(default, skip_serializing_if = "OneOrMany::is_empty")]
    mx_host: OneOrMany,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
struct RawSummary {
    #[serde(default)]
    total_successful_session_count: u64,
    #[serde(default)]
    total_failure_session_count: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawFailure {
    result_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sending_mta_ip: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    receiving_mx_hostname: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    receiving_mx_helo: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    receiving_ip: Option<String>,
    #[serde(default)]
    failed_session_count: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    additional_information: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failure_reason_code: Option<String>,
}

/// A list, which some write as a text when it has one entry, or as null when it has none. Read are as many entries as are
/// kept.
#[derive(Serialize, Default)]
#[serde(untagged)]
enum OneOrMany {
    Many(Vec<String>),
    One(String),
    #[default]
    Nothing,
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(OneOrManyVisitor)
    }
}

struct OneOrManyVisitor;

impl<'de> Visitor<'de> for OneOrManyVisitor {
    type Value = OneOrMany;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of texts, or one")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMany, E> {
        Ok(OneOrMany::One(text.to_owned()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<OneOrMany, E> {
        Ok(OneOrMany::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<OneOrMany, A::Error> {
        let mut texts = Vec::new();
        while texts.len() < LINES_MAX
            && let Some(text) = from.next_element()?
        {
            texts.push(text);
        }
        while from.next_element::<IgnoredAny>()?.is_some() {}
        Ok(OneOrMany::Many(texts))
    }
}

impl OneOrMany {
    fn is_empty(&self) -> bool {
        match self {
            Self::Many(texts) => texts.is_empty(),
            Self::One(_) => false,
            Self::Nothing => true,
        }
    }

    fn texts(self) -> Vec<Box<str>> {
        match self {
            Self::Many(texts) => texts.into_iter().map(text).collect(),
            Self::One(one) => vec![text(one)],
            Self::Nothing => Vec::new(),
        }
    }
}

fn text(text: String) -> Box<str> {
    harmless(&text[..text.floor_char_boundary(TEXT_OCTETS_MAX)]).into()
}

fn owned(texts: &[Box<str>]) -> OneOrMany {
    OneOrMany::Many(texts.iter().map(|text| text.to_string()).collect())
}

fn time(text: &str) -> Result<i64, ReportError> {
    text.trim().parse().map(jiff::Timestamp::as_second).map_err(|_| ReportError::Dates)
}

/// A time as RFC 3339 has it.
fn date_time(unix_seconds: i64) -> String {
    jiff::Timestamp::from_second(unix_seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

impl Report {
    /// The report as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let raw = RawReport {
            organization_name: Some(self.organization_name.to_string()),
            date_range: RawRange { start_datetime: date_time(self.start), end_datetime: date_time(self.end) },
            contact_info: self.contact_info.as_deref().map(str::to_owned),
            report_id: self.report_id.to_string(),
            policies: self.policies.iter().map(raw_policy).collect(),
        };
        // Texts and numbers only: nothing that has no JSON.
        serde_json::to_string(&raw).unwrap_or_default()
    }

    /// Reads JSON.
    pub fn parse(json: &[u8]) -> Result<Self, ReportError> {
        if json.len() > REPORT_OCTETS_MAX {
            return Err(ReportError::TooLarge);
        }
        let raw: RawReport = serde_json::from_slice(json)?;
        let failures = raw.policies.iter().filter_map(|policy| policy.failure_details.as_ref()).map(Vec::len);
        if raw.policies.len() > POLICIES_MAX || failures.sum::<usize>() > FAILURES_MAX {
            return Err(ReportError::TooLarge);
        }
        Ok(Self {
            organization_name: text(raw.organization_name.unwrap_or_default()),
            start: time(&raw.date_range.start_datetime)?,
            end: time(&raw.date_range.end_datetime)?,
            contact_info: raw.contact_info.map(text),
            report_id: text(raw.report_id),
            policies: raw.policies.into_iter().map(policy).collect(),
        })
    }
}

fn raw_policy(policy: &PolicyReport) -> RawPolicyReport {
    let failures: Vec<RawFailure> = policy.failures.iter().map(raw_failure).collect();
    RawPolicyReport {
        policy: RawPolicy {
            policy_type: policy.policy_type.name().to_owned(),
            policy_string: owned(&policy.policy_strings),
            policy_domain: Some(policy.policy_domain.to_string()),
            mx_host: owned(&policy.mx_hosts),
        },
        summary: RawSummary {
            total_successful_session_count: policy.successful_sessions,
            total_failure_session_count: policy.failed_sessions,
        },
        failure_details: (!failures.is_empty()).then_some(failures),
    }
}

fn raw_failure(failure: &Failure) -> RawFailure {
    let owned = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
    let address = |address: Option<IpAddr>| address.map(|address| address.to_string());
    RawFailure {
        result_type: failure.result_type.name().to_owned(),
        sending_mta_ip: address(failure.sending_mta_ip),
        receiving_mx_hostname: owned(&failure.receiving_mx_hostname),
        receiving_mx_helo: owned(&failure.receiving_mx_helo),
        receiving_ip: address(failure.receiving_ip),
        failed_session_count: failure.sessions,
        additional_information: owned(&failure.additional_information),
        failure_reason_code: owned(&failure.reason_code),
    }
}

fn policy(raw: RawPolicyReport) -> PolicyReport {
    PolicyReport {
        policy_type: PolicyType::parse(&text(raw.policy.policy_type)),
        policy_strings: raw.policy.policy_string.texts(),
        policy_domain: text(raw.policy.policy_domain.unwrap_or_default()),
        mx_hosts: raw.policy.mx_host.texts(),
        successful_sessions: raw.summary.total_successful_session_count,
        failed_sessions: raw.summary.total_failure_session_count,
        failures: raw.failure_details.unwrap_or_default().into_iter().map(failure).collect(),
    }
}

fn failure(raw: RawFailure) -> Failure {
    let address = |text: Option<String>| text.and_then(|text| text.trim().parse().ok());
    Failure {
        result_type: ResultType::parse(&text(raw.result_type)),
        sending_mta_ip: address(raw.sending_mta_ip),
        receiving_mx_hostname: raw.receiving_mx_hostname.map(text),
        receiving_mx_helo: raw.receiving_mx_helo.map(text),
        receiving_ip: address(raw.receiving_ip),
        sessions: raw.failed_session_count,
        additional_information: raw.additional_information.map(text),
        reason_code: raw.failure_reason_code.map(text),
    }
}

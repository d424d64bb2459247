//! Metrics of reports that other servers send.

use postrider_proto::dmarc::report::{self as dmarc, AuthResult};
use postrider_proto::reports::Report;
use postrider_proto::tlsrpt;

use super::catalogue::{label, names};
use super::registry::{Builder, Counters, Label, Recorder};

label! {
    /// What came of a message to an address where reports are read.
    ReceivedReport {
        /// Its report is stored, and something confirms who sent it.
        Stored = "stored",
        /// Its report is stored, and nothing confirms it.
        Unconfirmed = "unconfirmed",
        /// Its report on TLS has no signature of who reports.
        Unsigned = "unsigned",
        /// The same report is there.
        Duplicate = "duplicate",
        /// There are too many of the day.
        Limited = "limited",
        /// It is about a domain that isn't ours.
        OtherDomain = "other_domain",
        /// It has no report that can be read.
        Unreadable = "unreadable",
        /// It has one of a kind that isn't read there.
        Unwanted = "unwanted",
        /// It was removed before it was read.
        Gone = "gone",
    }
}

/// Words of labels; the last one stands for all others.
const DISPOSITIONS: [&str; 4] = ["none", "quarantine", "reject", "other"];
const OUTCOMES: [&str; 3] = ["pass", "fail", "other"];
const RESULTS: [&str; 9] =
    ["none", "pass", "fail", "softfail", "policy", "neutral", "temperror", "permerror", "other"];
const SESSIONS: [&str; 13] = [
    "success",
    "starttls-not-supported",
    "certificate-host-mismatch",
    "certificate-expired",
    "certificate-not-trusted",
    "validation-failure",
    "tlsa-invalid",
    "dnssec-invalid",
    "dane-required",
    "sts-policy-fetch-error",
    "sts-policy-invalid",
    "sts-webpki-invalid",
    "other",
];

fn place(words: &[&str], word: &str) -> usize {
    words.iter().position(|one| *one == word).unwrap_or(words.len() - 1)
}

/// What other servers report.
#[derive(Clone, Copy, Debug)]
pub struct ReceivedMetrics {
    /// Reports, by [`ReceivedReport`].
    pub outcomes: Counters<1>,
    policies: Counters<3>,
    dkim: Counters<1>,
    spf: Counters<1>,
    sessions: Counters<1>,
}

impl ReceivedMetrics {
    pub(super) fn register(b: &mut Builder) -> Self {
        let label = |name, words: &[&'static str]| Label::new(name, words.iter().copied());
        Self {
            outcomes: b.counters(
                "postrider_reports_received_total",
                "Messages to addresses where reports are read, by what came of them.",
                [Label::new("outcome", names(ReceivedReport::ALL, ReceivedReport::name))],
            ),
            policies: b.counters(
                "postrider_dmarcdb_policy_evaluated_total",
                "Messages that reports on DMARC tell of, by what became of them and what is aligned.",
                [label("disposition", &DISPOSITIONS), label("dkim", &OUTCOMES), label("spf", &OUTCOMES)],
            ),
            dkim: b.counters(
                "postrider_dmarcdb_dkim_result_total",
                "Signatures of messages that reports on DMARC tell of, by result.",
                [label("result", &RESULTS)],
            ),
            spf: b.counters(
                "postrider_dmarcdb_spf_result_total",
                "Results of SPF for messages that reports on DMARC tell of.",
                [label("result", &RESULTS)],
            ),
            sessions: b.counters(
                "postrider_tlsrptdb_session_total",
                "Sessions that reports on TLS tell of, by what came of them.",
                [label("type", &SESSIONS)],
            ),
        }
    }

    /// Counts what reports say.
    pub fn count(&self, recorder: &Recorder, reports: &[Report]) {
        for report in reports {
            match report {
                Report::Dmarc(report) => {
                    report.records.iter().for_each(|one| self.count_record(recorder, one))
                }
                Report::Tls(report) => {
                    report.policies.iter().for_each(|one| self.count_policy(recorder, one))
                }
            }
        }
    }

    fn count_record(&self, recorder: &Recorder, record: &dmarc::Record) {
        let labels = [
            place(&DISPOSITIONS, record.disposition.name()),
            place(&OUTCOMES, record.dkim.name()),
            place(&OUTCOMES, record.spf.name()),
        ];
        recorder.add(self.policies.at(labels), record.count);
        let result = |result: &AuthResult| [place(&RESULTS, result.name())];
        for signature in &record.dkim_results {
            recorder.add(self.dkim.at(result(&signature.result)), record.count);
        }
        for spf in &record.spf_results {
            recorder.add(self.spf.at(result(&spf.result)), record.count);
        }
    }

    fn count_policy(&self, recorder: &Recorder, policy: &tlsrpt::PolicyReport) {
        recorder.add(self.sessions.at([0]), policy.successful_sessions);
        for failure in &policy.failures {
            recorder.add(self.sessions.at([place(&SESSIONS, failure.result_type.name())]), failure.sessions);
        }
    }
}

//! Metrics of messages on their way to other servers.

use postrider_delivery::attempt::Tried;
use postrider_delivery::outcome::Verdict;
use postrider_delivery::security::{DaneHost, Ignored, Starttls, StsHost, Unsupported};

use super::catalogue::label;
use super::registry::{Buckets, Builder, Counter, Counters, Gauge, Histogram, Histograms, Label};

/// Durations of attempts in nanoseconds, shown in seconds: 50 ms to half an hour.
static ATTEMPTS: Buckets = Buckets {
    bounds: &[
        50_000_000,
        100_000_000,
        250_000_000,
        500_000_000,
        1_000_000_000,
        2_500_000_000,
        5_000_000_000,
        10_000_000_000,
        30_000_000_000,
        60_000_000_000,
        300_000_000_000,
        1_800_000_000_000,
    ],
    unit: 1_000_000_000,
};

/// What became of a recipient in an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Leaving {
    /// Another server took the message.
    Delivered,
    /// It is tried again.
    Deferred,
    /// It doesn't get the message.
    Failed,
}

impl Leaving {
    const ALL: [&'static str; 3] = ["delivered", "deferred", "failed"];
}

label! {
    /// What became of the message of an attempt.
    AttemptResult {
        /// All recipients got it.
        Delivered = "delivered",
        /// Some of them.
        Partly = "partly",
        /// None of them so far.
        Deferred = "deferred",
        /// None of them.
        Failed = "failed",
    }
}

impl AttemptResult {
    /// By what becomes of each recipient; none as long as it isn't known.
    #[must_use]
    pub fn of(verdicts: &[Option<Verdict>]) -> Self {
        let has = |wanted: fn(&Option<Verdict>) -> bool| verdicts.iter().any(wanted);
        let delivered = has(|verdict| matches!(verdict, Some(Verdict::Delivered { .. })));
        match (delivered, has(|verdict| matches!(verdict, None | Some(Verdict::Retry(_))))) {
            (true, false) if !has(|verdict| matches!(verdict, Some(Verdict::Failed { .. }))) => {
                Self::Delivered
            }
            (true, _) => Self::Partly,
            (false, true) => Self::Deferred,
            (false, false) => Self::Failed,
        }
    }
}

label! {
    /// What TLS had to give at the last host of an attempt.
    AttemptTls {
        /// There was no host to connect to.
        None = "none",
        /// None was used: by configuration, or since it had failed.
        Skip = "skip",
        /// Whatever is offered.
        Opportunistic = "opportunistic",
        /// It had to be there from the start.
        Immediate = "immediate",
        /// STARTTLS had to be there, for a relay.
        Required = "requiredstarttls",
        /// For an enforced policy.
        RequiredSts = "requiredstarttls+mtasts",
        /// For TLSA records.
        RequiredDane = "requiredstarttls+dane",
        /// For both.
        RequiredBoth = "requiredstarttls+mtasts+dane",
    }
}

impl AttemptTls {
    /// By the hosts of an attempt.
    #[must_use]
    pub fn of(hosts: &[Tried]) -> Self {
        let Some((rule, facts)) = hosts.iter().rev().find_map(|host| Some((host.rule?, host.facts?))) else {
            return Self::None;
        };
        let has_policy = matches!(facts.sts, StsHost::Enforce(_));
        let has_records = matches!(facts.dane, DaneHost::Usable | DaneHost::Unusable);
        match (rule.starttls, has_policy, has_records) {
            (Starttls::Never, ..) => Self::Skip,
            (Starttls::Opportunistic, ..) => Self::Opportunistic,
            (Starttls::Implicit, ..) => Self::Immediate,
            (Starttls::Mandatory, false, false) => Self::Required,
            (Starttls::Mandatory, true, false) => Self::RequiredSts,
            (Starttls::Mandatory, false, true) => Self::RequiredDane,
            (Starttls::Mandatory, true, true) => Self::RequiredBoth,
        }
    }
}

/// Which attempt it was.
const NUMBERS: [&str; 4] = ["1", "2", "3", "later"];

/// What happens to messages on their way to other servers.
#[derive(Clone, Copy, Debug)]
pub struct QueueMetrics {
    /// Recipients, by [`Leaving`].
    pub results: Counters<1>,
    /// Recipients to whom nothing is sent any more.
    pub suppressed: Counter,
    /// Attempts, by number and [`AttemptResult`].
    attempts: Counters<2>,
    /// Time of an attempt, by [`AttemptTls`] and [`AttemptResult`].
    attempt_duration: Histograms<2>,
    /// Entries that wait.
    pub entries: Gauge,
    /// Recipients of them.
    pub recipients: Gauge,
    /// Entries that are held.
    pub held: Gauge,
    /// Sessions that deliver.
    pub sessions: Gauge,
    /// Domains that are due and wait for a session.
    pub domains_ready: Gauge,
    /// Outcomes of attempts that couldn't be written yet.
    pub unwritten: Gauge,
    /// Entries whose attempt is over and whose rows can't be read.
    pub damaged: Gauge,
    /// Attempts that may have delivered without knowing.
    pub possible_duplicates: Counter,
    /// Lookups of a domain's hosts.
    pub destinations: Counter,
    /// Of these, secure ones.
    pub destinations_authentic: Counter,
    /// Hosts with TLSA records that can be used.
    pub dane_required: Counter,
    /// Hosts with TLSA records of which none can be used.
    pub dane_unverified: Counter,
    /// Hosts whose TLSA records can't be looked up.
    pub tlsa_errors: Counter,
    /// Certificates that were compared with TLSA records.
    pub dane_verified: Counter,
    /// Of these, those that none is about.
    pub dane_mismatches: Counter,
    /// What `TLS-Required: No` set aside, by [`Ignored`].
    pub ignored: Counters<1>,
    /// What it set aside of what a host showed: TLSA records.
    pub ignored_at_host: Counters<1>,
    /// Hosts that lack what REQUIRETLS needs, by [`Unsupported`].
    pub requiretls: Counters<1>,
    /// DKIM signatures that were made, by kind of key, as `Kind` has them.
    pub signatures: Counters<1>,
    /// Messages that left without a DKIM signature that they should have.
    pub signing_failures: Counter,
    /// Connections in clear after TLS failed.
    pub plaintext_fallback: Counter,
    /// Recipients that didn't get an aggregate report of DMARC.
    pub dmarc_report_failures: Counter,
}

fn results() -> Label {
    Label::new("result", AttemptResult::ALL.iter().map(|result| result.name()))
}

impl QueueMetrics {
    /// Attempts of this number, the first is 1, of which this came.
    #[must_use]
    pub fn attempts(&self, number: u32, result: AttemptResult) -> Counter {
        let place = (number.max(1) as usize).min(NUMBERS.len()) - 1;
        self.attempts.at([place, result as usize])
    }

    /// The time of attempts of which this came.
    #[must_use]
    pub fn attempt_duration(&self, tls: AttemptTls, result: AttemptResult) -> Histogram {
        self.attempt_duration.at([tls as usize, result as usize])
    }

    pub(super) fn register(b: &mut Builder) -> Self {
        Self {
            results: b.counters(
                "postrider_queue_delivery_total",
                "Recipients of attempts to deliver to other servers, by what became of them.",
                [Label::new("result", Leaving::ALL)],
            ),
            suppressed: b.counter(
                "postrider_queue_suppressed_total",
                "Recipients that were not tried because they are on a suppression list.",
            ),
            attempts: b.counters(
                "postrider_queue_attempts_total",
                "Attempts to deliver a message to the recipients of one domain, by which it was and what became of it.",
                [Label::new("attempt", NUMBERS), results()],
            ),
            attempt_duration: b.histograms(
                "postrider_queue_attempt_duration_seconds",
                "Time of an attempt to deliver a message to the recipients of one domain, by what TLS had to give at the last host and what became of it.",
                &ATTEMPTS,
                [Label::new("tls", AttemptTls::ALL.iter().map(|tls| tls.name())), results()],
            ),
            entries: b.gauge("postrider_queue_entries", "Messages that wait, one for each recipient domain."),
            recipients: b.gauge("postrider_queue_recipients", "Recipients of messages that wait."),
            held: b.gauge("postrider_queue_held", "Messages that are held, one for each recipient domain."),
            sessions: b.gauge("postrider_queue_sessions", "Sessions that deliver to other servers."),
            domains_ready: b.gauge(
                "postrider_queue_domains_ready",
                "Domains whose messages are due and wait until there is a session for them.",
            ),
            unwritten: b.gauge(
                "postrider_queue_unwritten_outcomes",
                "Outcomes of attempts that the store has refused so far; they are written again.",
            ),
            damaged: b.gauge(
                "postrider_queue_damaged_entries",
                "Entries of the queue that are not delivered since their rows are damaged; they are looked at again.",
            ),
            possible_duplicates: b.counter(
                "postrider_queue_possible_duplicates_total",
                "Attempts that were cut off after the end of the message was sent, so that the other server may have it, and that are made again.",
            ),
            destinations: b.counter("postrider_queue_destinations_total", "Lookups of the hosts of domains."),
            destinations_authentic: b.counter(
                "postrider_queue_destinations_authentic_total",
                "Lookups of the hosts of domains that are signed.",
            ),
            dane_required: b.counter(
                "postrider_queue_destination_dane_required_total",
                "Hosts with TLSA records, by which they must be verified.",
            ),
            dane_unverified: b.counter(
                "postrider_queue_destination_dane_starttlsunverified_total",
                "Hosts with TLSA records of which none can be used: TLS is required, and nothing verified.",
            ),
            tlsa_errors: b.counter(
                "postrider_queue_destination_dane_gathertlsa_errors_total",
                "Hosts whose TLSA records could not be looked up.",
            ),
            dane_verified: b.counter(
                "postrider_dane_verify_total",
                "Certificates of other servers that were compared with TLSA records.",
            ),
            dane_mismatches: b.counter(
                "postrider_dane_verify_errors_total",
                "Certificates of other servers that no TLSA record is about; nothing was sent, but with TLS-Required: No.",
            ),
            ignored_at_host: b.counters(
                "postrider_smtpclient_tlsrequiredno_ignored_total",
                "Connections on which messages with TLS-Required: No set aside what the host showed: a certificate that no TLSA record is about.",
                [Label::new("ignored", ["daneverification"])],
            ),
            ignored: b.counters(
                "postrider_queue_tlsrequiredno_ignored_total",
                "What messages with TLS-Required: No set aside.",
                [Label::new("ignored", Ignored::ALL.map(Ignored::word))],
            ),
            requiretls: b.counters(
                "postrider_queue_requiretls_unsupported_total",
                "Hosts that lack what messages with REQUIRETLS need.",
                [Label::new("reason", Unsupported::ALL.map(Unsupported::word))],
            ),
            signatures: b.counters(
                "postrider_dkim_signatures_total",
                "DKIM signatures made of what leaves, by kind of key.",
                [Label::new("kind", ["rsa", "ed25519"])],
            ),
            signing_failures: b.counter(
                "postrider_dkim_signing_failures_total",
                "DKIM signatures that could not be made; the message left without.",
            ),
            plaintext_fallback: b.counter(
                "postrider_queue_plaintext_fallback_total",
                "Connections in clear, where that is allowed, after TLS failed.",
            ),
            dmarc_report_failures: b.counter(
                "postrider_queue_dmarcreport_failure_total",
                "Recipients that didn't get an aggregate report of DMARC.",
            ),
        }
    }
}

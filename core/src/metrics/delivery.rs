//! Metrics of messages on their way to other servers.

use postrider_delivery::security::{Ignored, Unsupported};

use super::registry::{Builder, Counter, Counters, Gauge, Histogram, Label, SECONDS};

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

/// What happens to messages on their way to other servers.
#[derive(Clone, Copy, Debug)]
pub struct QueueMetrics {
    /// Recipients, by [`Leaving`].
    pub results: Counters<1>,
    /// Recipients to whom nothing is sent any more.
    pub suppressed: Counter,
    /// Time of an attempt.
    pub attempt_duration: Histogram,
    /// Entries that wait.
    pub entries: Gauge,
    /// Recipients of them.
    pub recipients: Gauge,
    /// Entries that are held.
    pub held: Gauge,
    /// Sessions that deliver.
    pub sessions: Gauge,
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
    /// What `TLS-Required: No` set aside, by [`Ignored`].
    pub ignored: Counters<1>,
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

impl QueueMetrics {
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
            attempt_duration: b.histogram(
                "postrider_queue_attempt_duration_seconds",
                "Time of an attempt to deliver a message to the recipients of one domain.",
                &SECONDS,
            ),
            entries: b.gauge("postrider_queue_entries", "Messages that wait, one for each recipient domain."),
            recipients: b.gauge("postrider_queue_recipients", "Recipients of messages that wait."),
            held: b.gauge("postrider_queue_held", "Messages that are held, one for each recipient domain."),
            sessions: b.gauge("postrider_queue_sessions", "Sessions that deliver to other servers."),
            unwritten: b.gauge(
                "postrider_queue_unwritten_outcomes",
                "Outcomes of attempts that the store has refused so far; they are written again.",
            ),
            damaged: b.gauge(
                "postrider_queue_damaged_entries",
                "Entries of the queue that were cut off in an attempt and can't be given back, since their rows are damaged; they are looked at again.",
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

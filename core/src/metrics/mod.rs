//! Metrics in Prometheus' form.
//!
//! [`Metrics`] names every one, [`Recorder`] counts them on one thread, [`Registry`] adds them up
//! when they are asked for, and [`http`] answers `GET /metrics`.

mod catalogue;
mod delivery;
pub mod http;
mod measured;
mod process;
mod received;
mod registry;
mod reporting;
mod text;
mod webhooks;

pub use catalogue::{
    Authentication, CheckMetrics, Completion, Delivery, DnsAuthenticity, DnsFault, DnsMetrics, DnsOutcome,
    DnsSource, DnsWay, Finding, ImapCommand, Limit, Mechanism, Method, Metrics, Queue, Reason, Refusal,
    ReplyClass, SmtpCommand, Upkeep, Verdict, mechanism,
};
pub use delivery::{AttemptResult, AttemptTls, Leaving, QueueMetrics};
pub use measured::{write_commits, write_shards, write_store};
pub use process::write_process;
pub use received::{ReceivedMetrics, ReceivedReport};
pub use registry::{
    Buckets, Builder, Counter, Counters, Gauge, Gauges, Histogram, Histograms, Label, NUMBERS, OCTETS,
    Recorder, Registry, SECONDS,
};
pub use reporting::ReportMetrics;
pub use text::{MEDIA_TYPE, Text};
pub use webhooks::{Called, GivenUp, WebhookMetrics};

#[cfg(test)]
mod tests;

//! Metrics of reports to other domains.

use super::registry::{Builder, Counter};

/// What becomes of reports to other domains.
#[derive(Clone, Copy, Debug)]
pub struct ReportMetrics {
    /// Reports on TLS that were queued.
    pub tls_queued: Counter,
    /// Reports on TLS that could not be made or queued.
    pub tls_errors: Counter,
    /// Aggregate reports of DMARC that were queued.
    pub dmarc_queued: Counter,
    /// Aggregate reports of DMARC that could not be made or queued.
    pub dmarc_errors: Counter,
}

impl ReportMetrics {
    pub(super) fn register(b: &mut Builder) -> Self {
        Self {
            tls_queued: b
                .counter("postrider_tlsrptsend_report_queued_total", "Reports on TLS that were queued."),
            tls_errors: b.counter(
                "postrider_tlsrptsend_report_error_total",
                "Reports on TLS that could not be made or queued; they are tried again the next day.",
            ),
            dmarc_queued: b.counter(
                "postrider_dmarcdb_report_queued_total",
                "Aggregate reports of DMARC that were queued.",
            ),
            dmarc_errors: b.counter(
                "postrider_dmarcdb_report_error_total",
                "Aggregate reports of DMARC that could not be made or queued, or are larger than their receivers \
                 want; the former are tried again within the hour.",
            ),
        }
    }
}

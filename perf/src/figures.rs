//! Latencies, and how they are printed.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Latencies from 1 microsecond to 60 seconds, to three digits.
pub struct Latencies(Histogram<u64>);

impl Latencies {
    pub fn new() -> Self {
        Self(Histogram::new_with_bounds(1, 60_000_000, 3).expect("constant bounds are valid"))
    }

    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("histograms of the same bounds");
    }

    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that the share `quantile` of all doesn't exceed, in milliseconds.
    pub fn milliseconds(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1000.0
    }

    /// `p50 .. p99 .. max .. ms`
    pub fn describe(&self) -> String {
        format!(
            "p50 {:.3} ms, p99 {:.3} ms, max {:.3} ms",
            self.milliseconds(0.5),
            self.milliseconds(0.99),
            self.milliseconds(1.0)
        )
    }

    /// `p50 / p99 / max ms`, for a cell of a table.
    pub fn cell(&self) -> String {
        let three = [0.5, 0.99, 1.0].map(|quantile| short(self.milliseconds(quantile)));
        format!("{} ms", three.join(" / "))
    }
}

/// A number with three digits that say something.
pub fn short(value: f64) -> String {
    match value.abs() {
        magnitude if magnitude >= 100.0 => format!("{value:.0}"),
        magnitude if magnitude >= 10.0 => format!("{value:.1}"),
        magnitude if magnitude >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

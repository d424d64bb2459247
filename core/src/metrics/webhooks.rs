//! Metrics of calls of webhooks.

use super::registry::{Builder, Counters, Histogram, Label, SECONDS};

/// What came of an attempt to call a webhook.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Called {
    /// It was taken.
    Taken,
    /// Another status that begins with 2.
    Other2xx,
    /// A redirect, which isn't followed.
    Redirect,
    /// A status that begins with 4.
    ClientError,
    /// A status that begins with 5.
    ServerError,
    /// No answer in time.
    Timeout,
    /// The address isn't one that may be called.
    Forbidden,
    /// No connection, no TLS, no HTTP.
    Error,
}

impl Called {
    const ALL: [&'static str; 8] = ["200", "2xx", "3xx", "4xx", "5xx", "timeout", "forbidden", "error"];
}

/// Why a call of a webhook is given up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GivenUp {
    /// Its attempts are made.
    Attempts,
    /// It waited for too long.
    Age,
}

impl GivenUp {
    const ALL: [&'static str; 2] = ["attempts", "age"];
}

/// What comes of calls of webhooks.
#[derive(Clone, Copy, Debug)]
pub struct WebhookMetrics {
    /// Attempts, by [`Called`].
    pub results: Counters<1>,
    /// Calls that are given up, by [`GivenUp`].
    pub given_up: Counters<1>,
    /// Time of an attempt.
    pub duration: Histogram,
}

impl WebhookMetrics {
    pub(super) fn register(b: &mut Builder) -> Self {
        Self {
            results: b.counters(
                "postrider_webhook_results_total",
                "Attempts to call webhooks, by the status of the response, or why there was none.",
                [Label::new("code", Called::ALL)],
            ),
            given_up: b.counters(
                "postrider_webhook_given_up_total",
                "Calls of webhooks that are given up: all attempts failed, or they waited for too long.",
                [Label::new("reason", GivenUp::ALL)],
            ),
            duration: b.histogram(
                "postrider_webhook_request_duration_seconds",
                "Time of an attempt to call a webhook.",
                &SECONDS,
            ),
        }
    }
}

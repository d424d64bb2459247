//! One attempt to call a webhook.

use std::rc::Rc;
use std::time::{Duration, Instant};

use postrider_proto::http::{Accept, Longer, Method, Resource, ResponseReader, Statuses, request};
use postrider_storage::directory::Webhook;
use postrider_storage::ids::HookId;
use postrider_storage::rows::{HookResult, HookRow, HookSubject};
use tracing::error;

use super::incoming;
use super::signature::signature;
use super::turn::Trouble;
use crate::clock::unix_now;
use crate::http::{Asked, Client, HttpError, Server};
use crate::metrics::Called;
use crate::runtime::PoolError;
use crate::shard::Shard;

/// Time for all of a call (product 3.13).
const TIME: Duration = Duration::from_secs(60);
/// Time for the body of a response once its head came, which has all that counts.
const REST_TIME: Duration = Duration::from_secs(3);
/// The one status that says that a call was taken.
pub(super) const TAKEN: u16 = 200;

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attempted {
    /// When it began, in seconds since 1970.
    pub(super) time: i64,
    pub(super) milliseconds: u32,
    /// The status of the response; 0 without one.
    pub(super) status: u16,
    /// Why there is no response, or not all of it.
    pub(super) error: String,
    /// How its body begins.
    pub(super) response: String,
}

/// Makes a call once.
pub(super) async fn run(
    shard: &Rc<Shard>,
    id: HookId,
    row: &HookRow,
    webhook: &Webhook,
) -> Result<Attempted, Trouble> {
    let body = match row.subject {
        HookSubject::Incoming { email } => {
            match incoming::body(shard, row.account, email, row.payload.clone()).await {
                Ok(body) => body,
                // That has nothing to do with the message.
                Err(error @ Trouble::Pool(PoolError::Full)) => return Err(error),
                // It fails by itself, as a call does that isn't taken: others of the URL are behind it.
                Err(error) => {
                    error!(hook = id.0, account = %row.account, %error, "what a webhook is to be told of can't be read");
                    return Ok(Attempted::unmade("the server can't read what is to be sent"));
                }
            }
        }
        HookSubject::Outgoing { .. } => row.payload.to_vec(),
    };
    Ok(send(shard, id, row.attempts.saturating_add(1), webhook, &body).await)
}

/// Sends something.
pub(super) async fn send(
    shard: &Rc<Shard>,
    id: HookId,
    attempt: u32,
    webhook: &Webhook,
    body: &[u8],
) -> Attempted {
    let (time, began) = (unix_now(), Instant::now());
    let Some(head) = head(webhook, id, attempt, time, body) else {
        return Attempted::unmade("the URL or the authorization can't be written in a request");
    };
    let asked = Asked { head: &head, body, deadline: began + TIME, rest: Some(REST_TIME) };
    let url = webhook.url();
    let server = Server { host: url.host().clone(), port: url.port(), is_secure: url.is_secure() };
    let client = Client {
        resolver: shard.resolver.as_ref(),
        connector: &shard.webhooks.connector,
        reach: &shard.webhooks.reach,
    };
    let mut reader = ResponseReader::new(Accept {
        statuses: Statuses::All,
        media_type: None,
        body_octets_max: HookResult::RESPONSE_OCTETS_MAX,
        longer: Longer::Cut,
    });
    let outcome = client.exchange(&server, asked, &mut reader).await;
    let attempted = Attempted {
        time,
        milliseconds: u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX),
        // What the head says counts, whatever becomes of the body.
        status: reader.status().unwrap_or(0),
        error: outcome.as_ref().err().map(ToString::to_string).unwrap_or_default(),
        response: String::from_utf8_lossy(reader.body()).into_owned(),
    };
    let known = &shard.shared.metrics.webhooks;
    shard.recorder.increment(known.results.at([label(attempted.status, outcome.err().as_ref()) as usize]));
    shard.recorder.observe_duration(known.duration, began.elapsed());
    attempted
}

impl Attempted {
    /// Nothing could be sent, for this reason.
    fn unmade(error: &str) -> Self {
        let (error, response) = (error.to_owned(), String::new());
        Self { time: unix_now(), milliseconds: 0, status: 0, error, response }
    }
}

/// What stands in front of the body; none when something of the webhook can't stand there.
fn head(webhook: &Webhook, id: HookId, attempt: u32, time: i64, body: &[u8]) -> Option<Vec<u8>> {
    let url = webhook.url();
    let usual = if url.is_secure() { 443 } else { 80 };
    let port = Some(url.port()).filter(|port| *port != usual);
    let resource = Resource { host: url.host(), port, target: url.target() };
    let (id, attempt) = (id.0.to_string(), attempt.to_string());
    let mut fields = vec![
        ("User-Agent", concat!("postrider/", env!("CARGO_PKG_VERSION"), " (webhook)")),
        ("Content-Type", "application/json; charset=utf-8"),
        ("X-Postrider-Webhook-ID", &id),
        ("X-Postrider-Webhook-Attempt", &attempt),
    ];
    let signed = webhook.secret().map(|secret| signature(secret.expose(), time, &id, body));
    if let Some(signed) = &signed {
        fields.push(("X-Postrider-Webhook-Signature", signed));
    }
    if let Some(authorization) = webhook.authorization() {
        fields.push(("Authorization", authorization.expose()));
    }
    request(resource, Method::Post { octets: body.len() }, &fields)
}

fn label(status: u16, error: Option<&HttpError>) -> Called {
    match (status, error) {
        (TAKEN, _) => Called::Taken,
        (201..=299, _) => Called::Other2xx,
        (300..=399, _) => Called::Redirect,
        (400..=499, _) => Called::ClientError,
        (500..=599, _) => Called::ServerError,
        (_, Some(HttpError::Timeout)) => Called::Timeout,
        (_, Some(HttpError::Forbidden(_))) => Called::Forbidden,
        _ => Called::Error,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use postrider_storage::directory::WebhookUrl;

    use super::*;
    use crate::http::Forbidden;

    #[test]
    fn a_request_has_these_fields() {
        let url = WebhookUrl::parse("https://a.example:8443/hook?x=y").unwrap();
        let webhook = Webhook::new(url.clone(), Some("Bearer token"), Some("0123456789abcdef")).unwrap();
        let made = String::from_utf8(head(&webhook, HookId(42), 3, 1_700_000_000, b"{}").unwrap()).unwrap();
        let signed = signature("0123456789abcdef", 1_700_000_000, "42", b"{}");
        let expected = format!(
            "POST /hook?x=y HTTP/1.1\r\nHost: a.example:8443\r\nUser-Agent: postrider/{} (webhook)\r\n\
             Content-Type: application/json; charset=utf-8\r\nX-Postrider-Webhook-ID: 42\r\n\
             X-Postrider-Webhook-Attempt: 3\r\nX-Postrider-Webhook-Signature: {signed}\r\n\
             Authorization: Bearer token\r\nContent-Length: 2\r\nConnection: close\r\n\r\n",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(made, expected);
        let plain = Webhook::new(WebhookUrl::parse("http://a.example").unwrap(), None, None).unwrap();
        let made = String::from_utf8(head(&plain, HookId(42), 1, 0, b"").unwrap()).unwrap();
        assert!(made.starts_with("POST / HTTP/1.1\r\nHost: a.example\r\n"), "{made}");
        assert!(!made.contains("Authorization") && !made.contains("Signature"), "{made}");
    }

    #[test]
    fn results_are_counted_by_what_they_are() {
        for (status, error, expected) in [
            (200, None, Called::Taken),
            (200, Some(HttpError::Timeout), Called::Taken),
            (204, None, Called::Other2xx),
            (302, None, Called::Redirect),
            (404, None, Called::ClientError),
            (503, None, Called::ServerError),
            (0, Some(HttpError::Timeout), Called::Timeout),
            (0, Some(HttpError::Forbidden(Forbidden::Port(25))), Called::Forbidden),
            (0, Some(HttpError::Address(String::new())), Called::Error),
            (101, None, Called::Error),
        ] {
            assert_eq!(label(status, error.as_ref()), expected, "{status} {error:?}");
        }
    }
}

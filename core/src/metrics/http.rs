//! `GET /metrics` over HTTP/1.1, and nothing else.
//!
//! One request a connection, with a bounded head and a deadline. Who may connect is the
//! configuration's matter: the listener is on loopback unless it says otherwise.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::text::{MEDIA_TYPE, Text};
use crate::reads::Reads;
use crate::runtime::net::{AcceptStats, BoundSocket, Gate, Listener, ServeOptions, Stream, WhenExhausted};
use crate::runtime::{Shutdown, timeout_at};

/// Bounds of the service.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HttpLimits {
    /// Octets of a request's head.
    pub head_octets: usize,
    /// Fields of a request's head.
    pub fields: usize,
    /// Time from the connection to the end of the answer.
    pub time: Duration,
    /// Connections at once on a listener.
    pub connections: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self { head_octets: 8 << 10, fields: 64, time: Duration::from_secs(10), connections: 32 }
    }
}

/// Writes all metrics.
pub type Scrape = Rc<dyn Fn(&mut Text)>;

/// Serves metrics on the current shard until `shutdown` begins. Figures of the store are among them, which
/// `reads` has ready.
pub fn serve(
    socket: BoundSocket,
    scrape: Scrape,
    reads: Reads,
    limits: HttpLimits,
    shutdown: Shutdown,
) -> io::Result<()> {
    let options = ServeOptions {
        label: "metrics",
        gate: Gate::new(limits.connections),
        busy: b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        exhausted: WhenExhausted::Wait,
        stats: Arc::new(AcceptStats::default()),
    };
    Listener::new(socket)?.serve(options, shutdown, move |stream| {
        let (scrape, reads) = (Rc::clone(&scrape), reads.clone());
        async move {
            // A peer that is too slow or gone is just dropped: there is nobody to tell.
            let _ = timeout_at(Instant::now() + limits.time, connection(stream, scrape, reads, limits)).await;
        }
    });
    Ok(())
}

async fn connection(mut stream: Stream, scrape: Scrape, reads: Reads, limits: HttpLimits) -> io::Result<()> {
    let mut head = Vec::new();
    let mut buffer = vec![0; limits.head_octets.min(1024)];
    let verdict = loop {
        match judge(&head, &limits) {
            Verdict::Incomplete => {}
            verdict => break verdict,
        }
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            read => head.extend_from_slice(&buffer[..read]),
        }
    };
    reads.calm().await;
    stream.write_all(&answer(&verdict, &*scrape)).await?;
    stream.shutdown_write()?;
    // Closing while the peer still sends would take the answer from it, so it closes first.
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Body {
    With,
    Without,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    Incomplete,
    Metrics(Body),
    BadRequest,
    NotFound,
    MethodNotAllowed,
    TooLarge,
}

/// What the octets so far ask for.
fn judge(head: &[u8], limits: &HttpLimits) -> Verdict {
    let mut fields = vec![httparse::EMPTY_HEADER; limits.fields];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(head) {
        Ok(httparse::Status::Complete(octets)) if octets > limits.head_octets => Verdict::TooLarge,
        Ok(httparse::Status::Complete(_)) => match (request.method, request.path) {
            (Some(method), Some(path)) => {
                let path = path.split('?').next().unwrap_or(path);
                match (method, path) {
                    (_, path) if path != "/metrics" => Verdict::NotFound,
                    ("GET", _) => Verdict::Metrics(Body::With),
                    ("HEAD", _) => Verdict::Metrics(Body::Without),
                    _ => Verdict::MethodNotAllowed,
                }
            }
            _ => Verdict::BadRequest,
        },
        Ok(httparse::Status::Partial) if head.len() >= limits.head_octets => Verdict::TooLarge,
        Ok(httparse::Status::Partial) => Verdict::Incomplete,
        Err(httparse::Error::TooManyHeaders) => Verdict::TooLarge,
        Err(_) => Verdict::BadRequest,
    }
}

fn answer(verdict: &Verdict, scrape: &dyn Fn(&mut Text)) -> Vec<u8> {
    let (status, text) = match verdict {
        Verdict::Metrics(_) => {
            let mut text = Text::new();
            scrape(&mut text);
            ("200 OK", text.finish())
        }
        Verdict::NotFound => ("404 Not Found", "Metrics are at /metrics.\n".to_owned()),
        Verdict::MethodNotAllowed => ("405 Method Not Allowed", "Use GET.\n".to_owned()),
        Verdict::TooLarge => ("431 Request Header Fields Too Large", "The request is too long.\n".to_owned()),
        Verdict::BadRequest | Verdict::Incomplete => {
            ("400 Bad Request", "This is not HTTP/1.1.\n".to_owned())
        }
    };
    let (media_type, allow) = match verdict {
        Verdict::Metrics(_) => (MEDIA_TYPE, ""),
        Verdict::MethodNotAllowed => ("text/plain; charset=utf-8", "Allow: GET, HEAD\r\n"),
        _ => ("text/plain; charset=utf-8", ""),
    };
    let mut answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n{allow}Connection: close\r\n\r\n",
        text.len()
    );
    if *verdict != Verdict::Metrics(Body::Without) {
        answer.push_str(&text);
    }
    answer.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(head: &str) -> Verdict {
        judge(head.as_bytes(), &HttpLimits::default())
    }

    #[test]
    fn only_metrics_are_found_and_only_read() {
        assert_eq!(judged("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), Verdict::Metrics(Body::With));
        assert_eq!(judged("GET /metrics?x=1 HTTP/1.0\r\n\r\n"), Verdict::Metrics(Body::With));
        assert_eq!(judged("HEAD /metrics HTTP/1.1\r\n\r\n"), Verdict::Metrics(Body::Without));
        assert_eq!(judged("POST /metrics HTTP/1.1\r\n\r\n"), Verdict::MethodNotAllowed);
        assert_eq!(judged("GET / HTTP/1.1\r\n\r\n"), Verdict::NotFound);
        assert_eq!(judged("EHLO x\r\n"), Verdict::BadRequest);
        assert_eq!(judged("\x16\x03\x01"), Verdict::BadRequest, "a TLS handshake");
    }

    #[test]
    fn every_part_of_a_request_is_incomplete() {
        let request = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
        for end in 0..request.len() {
            assert_eq!(judged(&request[..end]), Verdict::Incomplete, "{end} octets");
        }
    }

    #[test]
    fn the_head_is_taken_at_its_limits_and_not_past_them() {
        let limits = HttpLimits::default();
        let long = |octets: usize| {
            let rest = octets - "GET /metrics HTTP/1.1\r\nA: \r\n\r\n".len();
            format!("GET /metrics HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(rest))
        };
        assert_eq!(judged(&long(limits.head_octets)), Verdict::Metrics(Body::With));
        assert_eq!(judged(&long(limits.head_octets + 1)), Verdict::TooLarge);
        assert_eq!(
            judged(&long(limits.head_octets + 1)[..limits.head_octets]),
            Verdict::TooLarge,
            "without its end"
        );
        let many = |fields: usize| format!("GET /metrics HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(fields));
        assert_eq!(judged(&many(limits.fields)), Verdict::Metrics(Body::With));
        assert_eq!(judged(&many(limits.fields + 1)), Verdict::TooLarge);
    }

    #[test]
    fn answers_say_their_length_and_type() {
        let scrape = |text: &mut Text| text.gauge("postrider_x", "X.", 1);
        let body = "# HELP postrider_x X.\n# TYPE postrider_x gauge\npostrider_x 1\n";
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            body.len()
        );
        assert_eq!(answer(&Verdict::Metrics(Body::With), &scrape), format!("{head}{body}").into_bytes());
        assert_eq!(answer(&Verdict::Metrics(Body::Without), &scrape), head.into_bytes());
        let refused = String::from_utf8(answer(&Verdict::MethodNotAllowed, &scrape)).unwrap_or_default();
        assert!(
            refused.starts_with("HTTP/1.1 405 ") && refused.contains("\r\nAllow: GET, HEAD\r\n"),
            "{refused}"
        );
    }
}

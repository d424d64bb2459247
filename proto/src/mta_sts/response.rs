//! The request for a policy and its response (RFC 8461 §3.3), in HTTP/1.1 without a connection.

use super::{PATH, Policy};
use crate::address::Domain;
use crate::http::{Accept, Longer, ResponseReader, Statuses};

/// The request for the policy on a host.
#[must_use]
pub fn request(host: &Domain) -> String {
    format!(
        "GET {PATH} HTTP/1.1\r\nHost: {host}\r\nAccept: text/plain\r\nUser-Agent: postrider\r\nConnection: close\r\n\r\n"
    )
}

/// Reads the response with a policy: 200 alone counts, since redirects must not be followed.
#[must_use]
pub const fn response_reader() -> ResponseReader {
    ResponseReader::new(Accept {
        statuses: Statuses::Ok,
        media_type: Some("text/plain"),
        body_octets_max: Policy::OCTETS_MAX,
        longer: Longer::Refused,
    })
}

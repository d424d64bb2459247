//! What the resolver needs from outside: a way to upstreams, time, and chance.

use std::net::SocketAddr;
use std::time::Instant;

/// Why an upstream gave no octets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// Nothing came before the deadline.
    #[error("no answer in time")]
    Timeout,
    /// The network or the host says that nobody listens there.
    #[error("{0}")]
    Unreachable(String),
    /// The connection ended before the whole response had come.
    #[error("the connection was closed")]
    Closed,
    /// TLS could not be set up, or its certificate isn't that of the configured name.
    #[error("TLS: {0}")]
    Tls(String),
    /// Too many datagrams came that were no answer to the query.
    #[error("too many datagrams that are no answer")]
    Flooded,
}

/// The way to upstreams.
///
/// A future of it may be dropped at any time.
pub trait Transport {
    /// Sends `query` as one datagram, from a socket of its own with a random port (RFC 5452 §9.2) that takes
    /// datagrams of `to` only, and gives the first datagram that `is_answer` takes. Others are passed over;
    /// after [`crate::limits::DATAGRAMS_WRONG_MAX`] of them it gives up with [`TransportError::Flooded`].
    fn udp(
        &self,
        to: SocketAddr,
        query: &[u8],
        deadline: Instant,
        is_answer: &dyn Fn(&[u8]) -> bool,
    ) -> impl Future<Output = Result<Vec<u8>, TransportError>>;

    /// Asks over TCP (RFC 7766). What is given and what comes back has no length before it.
    fn tcp(
        &self,
        to: SocketAddr,
        query: &[u8],
        deadline: Instant,
    ) -> impl Future<Output = Result<Vec<u8>, TransportError>>;

    /// Asks over TLS (RFC 7858). With a name, the server must show a certificate for it; without one the
    /// connection is encrypted, and nobody knows to whom (RFC 7858 §4.1).
    fn tls(
        &self,
        to: SocketAddr,
        name: Option<&str>,
        query: &[u8],
        deadline: Instant,
    ) -> impl Future<Output = Result<Vec<u8>, TransportError>>;
}

/// Time.
pub trait Clock {
    /// The monotonic clock.
    fn now(&self) -> Instant;

    /// Seconds since 1970 (UTC), for the validity of signatures.
    fn wall(&self) -> u64;
}

/// Chance that nobody can foresee.
pub trait Chance {
    /// Fills `octets`.
    fn fill(&self, octets: &mut [u8]);
}

/// All that a resolver needs from outside.
pub trait Outside: Transport + Clock + Chance + 'static {}

impl<T: Transport + Clock + Chance + 'static> Outside for T {}

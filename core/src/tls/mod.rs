//! TLS over the runtime's streams (RFC 8446, RFC 5246; deployment by RFC 8314, RFC 9325).
//!
//! rustls' unbuffered interface is driven by a small [`TlsStream`], so an idle connection holds no
//! buffer. What always holds:
//! - TLS 1.2 is the oldest version. No early data is accepted, and no renegotiation exists.
//! - A session ticket of one service means nothing to another: each has its own ticket keys. Nor do those
//!   of connections that were asked for a certificate to those that weren't, and the other way round.
//! - A client that offers ALPN protocols must offer ours; one that offers none is welcome
//!   (RFC 7301 §3.2).
//! - Channel binding is `tls-exporter` (RFC 9266), and only for TLS 1.3: for TLS 1.2 it needs the
//!   extended master secret, and rustls does not tell whether it was used. `tls-unique` (RFC 5929)
//!   is not available from rustls.

mod binding;
mod certificates;
mod client_certificate;
mod engine;
mod error;
mod service;
mod stream;
mod transport;

pub use certificates::{Certificates, PemPair, self_signed};
pub use client_certificate::{Ask, ClientCertificate, fingerprint_of_pem};
pub use error::{TlsConfigError, TlsError};
pub use service::{ServiceOptions, Tickets, TlsService, UnknownNames};
pub use stream::{TlsInfo, TlsStream};
pub use transport::{SessionPacket, Transport, TransportError};

#[cfg(test)]
mod tests;

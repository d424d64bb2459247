//! How a connection begins, whatever is spoken on it: it is admitted or refused, and gets its TLS.
//!
//! Admission is asked before the handshake, which is what costs: an address over its limits gets none, and a
//! connection counts as open while it is in it.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tracing::{debug, info};

use crate::admission::{Admitted, Purpose, Refusal};
use crate::clock::unix_now;
use crate::config::{Listener, Protocol};
use crate::log::ConnectionId;
use crate::metrics::{self, Limit};
use crate::runtime::net::Stream;
use crate::runtime::timeout_at;
use crate::shard::Shard;
use crate::tls::{Ask, TlsError, TlsService, Transport, TransportError};

/// How long a refused or ended connection may take to read its last words.
pub const CLOSING: Duration = Duration::from_secs(2);

/// Where connections come in.
#[derive(Clone, Copy)]
pub struct Door<'a> {
    /// The listener's place in the configuration.
    pub number: usize,
    /// Its configuration.
    pub listener: &'a Listener,
    /// TLS, when it has it.
    pub tls: Option<&'a TlsService>,
}

/// A connection that may begin to speak.
pub struct Arrived {
    /// Its name in logs.
    pub id: ConnectionId,
    /// The other end.
    pub peer: IpAddr,
    /// With TLS when the listener begins with it.
    pub transport: Transport,
    /// Counts it as one of its address.
    pub admitted: Admitted,
}

/// Counts a connection as open on a shard, for as long as it lives there.
pub struct Open(Rc<Shard>, Protocol);

impl Open {
    /// One more.
    pub fn new(shard: &Rc<Shard>, protocol: Protocol) -> Self {
        shard.recorder.change(shard.shared.metrics.connections_open.at([protocol as usize]), 1);
        Self(Rc::clone(shard), protocol)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.recorder.change(self.0.shared.metrics.connections_open.at([self.1 as usize]), -1);
    }
}

/// Lets a connection in, or ends it. `last_words` is what a refused one is told, in its protocol.
pub async fn arrive(
    shard: &Rc<Shard>,
    door: Door<'_>,
    stream: Stream,
    last_words: fn(metrics::Refusal) -> Vec<u8>,
) -> Option<Arrived> {
    let id = ConnectionId::next();
    let peer = stream.peer_address().ok().flatten()?.ip().to_canonical();
    let mut transport = Transport::Plain(stream);
    let admission = admit(shard, peer, door.listener.protocol);
    if door.listener.protocol.implicit_tls() {
        if let Err(label) = admission
            && label != metrics::Refusal::Authentication
        {
            // Told by the end of the connection: words would take a handshake.
            refused(shard, door, id, peer, label);
            return None;
        }
        transport = start_tls(shard, door, id, transport).await?;
    }
    // The handshake took its time.
    let admission = admission.and_then(|admitted| {
        if shard.shared.shutdown.is_stopping() { Err(metrics::Refusal::Stopping) } else { Ok(admitted) }
    });
    match admission {
        Ok(admitted) => {
            shard.recorder.increment(shard.shared.metrics.connections.at([door.number]));
            debug!(cid = %id, %peer, listener = %door.listener.name, "connected");
            Some(Arrived { id, peer, transport, admitted })
        }
        Err(label) => {
            refused(shard, door, id, peer, label);
            let until = Instant::now() + CLOSING;
            if matches!(timeout_at(until, transport.write_all(&last_words(label))).await, Ok(Ok(()))) {
                transport.close(until).await;
            }
            None
        }
    }
}

fn admit(shard: &Shard, peer: IpAddr, protocol: Protocol) -> Result<Admitted, metrics::Refusal> {
    if shard.shared.shutdown.is_stopping() {
        return Err(metrics::Refusal::Stopping);
    }
    let purpose = if protocol == Protocol::Smtp { Purpose::Delivery } else { Purpose::Login };
    let now = u64::try_from(unix_now()).unwrap_or(0);
    shard.shared.admission.connect(peer, purpose, now).map_err(|refusal| match refusal {
        Refusal::Rate => metrics::Refusal::Rate,
        Refusal::Open => metrics::Refusal::Open,
        Refusal::Failures => metrics::Refusal::Authentication,
    })
}

fn refused(shard: &Shard, door: Door<'_>, id: ConnectionId, peer: IpAddr, label: metrics::Refusal) {
    info!(cid = %id, %peer, reason = label.name(), "connection refused");
    let known = &shard.shared.metrics;
    let labels = [door.listener.protocol as usize, label as usize];
    shard.recorder.increment(known.connections_refused.at(labels));
    let limit = match label {
        metrics::Refusal::Open => Limit::OpenConnections,
        metrics::Refusal::Rate => Limit::ConnectionRate,
        metrics::Refusal::Authentication => Limit::AuthenticationFailures,
        _ => return,
    };
    shard.recorder.increment(known.limit(limit));
}

/// The TLS handshake; none when it failed, which ends the connection.
pub async fn start_tls(
    shard: &Rc<Shard>,
    door: Door<'_>,
    id: ConnectionId,
    transport: Transport,
) -> Option<Transport> {
    let protocol = door.listener.protocol as usize;
    let deadline = Instant::now() + door.listener.limits.connections.tls_handshake;
    let known = &shard.shared.metrics;
    // Asking makes some clients bother their users, so nobody is asked in vain.
    shard.shared.reads.calm().await;
    let ask = if shard.shared.authenticator.knows_keys() { Ask::Certificate } else { Ask::Nothing };
    match transport.start_tls(door.tls?, ask, deadline).await {
        Ok(transport) => {
            shard.recorder.increment(known.tls_handshakes.at([protocol]));
            Some(transport)
        }
        Err(error) => {
            debug!(cid = %id, %error, "TLS handshake failed");
            let labels = [protocol, metrics::Refusal::Tls as usize];
            shard.recorder.increment(known.connections_refused.at(labels));
            if matches!(error, TransportError::Tls(TlsError::Timeout)) {
                shard.recorder.increment(known.limit(Limit::TlsHandshakeTime));
            }
            None
        }
    }
}

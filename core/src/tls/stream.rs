//! A TLS connection on a stream of the runtime.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use rustls::client::{ClientConfig, UnbufferedClientConnection};
use rustls::server::UnbufferedServerConnection;
use rustls_pki_types::ServerName;

use super::client_certificate::{Ask, ClientCertificate};
use super::engine::{Engine, Progress, Side};
use super::error::{HelloStart, TlsError};
use super::service::TlsService;
use crate::runtime::net::{DetachedStream, Stream};
use crate::runtime::timeout_at;

/// Plaintext encrypted between two writes to the socket.
const WRITE_OCTETS: usize = 64 * 1024;
/// An incomplete record or handshake message may have this size; the rest of the shared read
/// buffer of 64 KiB is for what follows.
const INCOMPLETE_OCTETS_MAX: usize = 48 * 1024;

/// What was agreed on in the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsInfo {
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
    /// Name of the cipher suite in the IANA registry.
    pub cipher: &'static str,
    /// The ALPN protocol, when the client offered it.
    pub protocol: Option<Vec<u8>>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
}

/// A TLS connection after its handshake.
pub struct TlsStream {
    stream: Stream,
    session: TlsSession,
}

/// All of a TLS connection but its socket.
pub(super) struct TlsSession {
    engine: Engine,
    /// The start of a record that is not complete.
    incoming: Vec<u8>,
    /// Plaintext that arrived before it was asked for.
    plain: Vec<u8>,
    /// Octets of the engine's outgoing records that were written.
    sent: usize,
}

impl TlsStream {
    /// Runs the handshake as the server, until `deadline` at most.
    pub async fn accept(
        stream: Stream,
        service: &TlsService,
        ask: Ask,
        deadline: Instant,
    ) -> Result<Self, TlsError> {
        let connection = UnbufferedServerConnection::new(service.config(ask)).map_err(TlsError::Protocol)?;
        Self::establish(stream, Side::Server(connection), deadline).await
    }

    /// Runs the handshake as the client, until `deadline` at most.
    pub async fn connect(
        stream: Stream,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        deadline: Instant,
    ) -> Result<Self, TlsError> {
        let connection = UnbufferedClientConnection::new(config, name).map_err(TlsError::Protocol)?;
        Self::establish(stream, Side::Client(connection), deadline).await
    }

    async fn establish(stream: Stream, side: Side, deadline: Instant) -> Result<Self, TlsError> {
        let session =
            TlsSession { engine: Engine::new(side), incoming: Vec::new(), plain: Vec::new(), sent: 0 };
        let mut tls = Self { stream, session };
        timeout_at(deadline, tls.handshake()).await.map_err(|_| TlsError::Timeout)??;
        Ok(tls)
    }

    async fn handshake(&mut self) -> Result<(), TlsError> {
        // A client speaks first.
        if let (_, Progress::Failed(error)) = self.session.engine.advance(&mut [], &mut |_| {}) {
            return Err(TlsError::Protocol(error));
        }
        loop {
            self.flush().await?;
            if !self.session.engine.common().is_handshaking() {
                return Ok(());
            }
            let mut early = Vec::new();
            let count = self.step(&mut |bytes| early.extend_from_slice(bytes)).await?;
            // The peer may send data right behind its last handshake message.
            self.session.plain.append(&mut early);
            if count == 0 {
                return Err(TlsError::Eof);
            }
        }
    }

    /// What was agreed on.
    pub fn info(&self) -> TlsInfo {
        let common = self.session.engine.common();
        TlsInfo {
            version: match common.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
                _ => "TLSv1.2",
            },
            cipher: common.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).map_or(
                "unknown",
                // rustls names the suites of TLS 1.3 by its own convention.
                |name| name.strip_prefix("TLS13_").map_or(name, iana_name_tls13),
            ),
            protocol: common.alpn_protocol().map(<[u8]>::to_vec),
            resumed: common.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        }
    }

    /// The certificate that the client presented, now or in the session that was resumed.
    pub fn client_certificate(&self) -> Option<ClientCertificate> {
        let certificates = self.session.engine.common().peer_certificates()?;
        ClientCertificate::read(certificates.first()?)
    }

    /// The `tls-exporter` channel binding (RFC 9266); none for TLS 1.2.
    pub fn channel_binding(&self) -> Option<[u8; 32]> {
        self.session.engine.binding()
    }

    /// Waits for plaintext, without holding a buffer, and gives all there is to `take`. Returns its
    /// size, 0 at the orderly end. Nothing is lost when dropped before it is ready.
    pub async fn receive(&mut self, take: &mut dyn FnMut(&[u8])) -> Result<usize, TlsError> {
        if !self.session.plain.is_empty() {
            let plain = std::mem::take(&mut self.session.plain);
            take(&plain);
            return Ok(plain.len());
        }
        loop {
            self.flush().await?;
            if let Some(error) = self.session.engine.failure() {
                return Err(TlsError::Protocol(error.clone()));
            }
            if self.session.engine.peer_closed() {
                return Ok(0);
            }
            let mut total = 0;
            let count = self
                .step(&mut |bytes| {
                    total += bytes.len();
                    take(bytes);
                })
                .await?;
            if total > 0 {
                return Ok(total);
            }
            if count == 0 && !self.session.engine.peer_closed() {
                return Err(TlsError::Truncated);
            }
        }
    }

    /// Reads plaintext into `buffer`; 0 at the orderly end.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TlsError> {
        let mut filled = 0;
        let mut surplus = Vec::new();
        self.receive(&mut |bytes| {
            let count = bytes.len().min(buffer.len() - filled);
            buffer[filled..filled + count].copy_from_slice(&bytes[..count]);
            filled += count;
            surplus.extend_from_slice(&bytes[count..]);
        })
        .await?;
        // `receive` took all of it, and nothing is awaited between.
        self.session.plain = surplus;
        Ok(filled)
    }

    /// Encrypts and writes all of `bytes`. When dropped before it is ready, an unknown part was
    /// written; what is encrypted already is written by the next call.
    pub async fn write_all(&mut self, bytes: &[u8]) -> Result<(), TlsError> {
        for chunk in bytes.chunks(WRITE_OCTETS) {
            self.flush().await?;
            let TlsSession { engine, incoming, .. } = &mut self.session;
            engine.encrypt(incoming, chunk).map_err(TlsError::Protocol)?;
            self.flush().await?;
        }
        Ok(())
    }

    /// Writes what is encrypted already. When that fails nothing of it is kept, as nothing can be written any more: what the
    /// other side said before is still there to be read.
    pub async fn flush(&mut self) -> Result<(), TlsError> {
        let Self { stream, session } = self;
        let mut written = Ok(());
        while session.sent < session.engine.outgoing().len() && written.is_ok() {
            let octets = stream.write(&session.engine.outgoing()[session.sent..]).await;
            written = octets.map(|octets| session.sent += octets);
        }
        session.sent = 0;
        session.engine.outgoing_written();
        Ok(written?)
    }

    /// Ends the sending side: close_notify (RFC 8446 §6.1), then the end of the stream. Nothing can
    /// be received any more either.
    pub async fn shutdown(&mut self) -> Result<(), TlsError> {
        self.flush().await?;
        let TlsSession { engine, incoming, .. } = &mut self.session;
        engine.close(incoming).map_err(TlsError::Protocol)?;
        self.flush().await?;
        Ok(self.stream.shutdown_write()?)
    }

    /// Reads octets of the socket and throws them away; 0 at the end. For after `shutdown`.
    pub(super) async fn discard(&mut self) -> io::Result<usize> {
        self.stream.read_with(&[], |_, count| count).await
    }

    /// The stream underneath.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Takes the connection from its shard.
    pub(super) fn detach(self) -> io::Result<(DetachedStream, TlsSession)> {
        Ok((self.stream.detach()?, self.session))
    }

    /// Gives the connection to the current shard.
    pub(super) fn attach(stream: DetachedStream, session: TlsSession) -> Self {
        Self { stream: stream.attach(), session }
    }

    /// Reads once and works through it. Returns the octets read, 0 at the end of the stream.
    async fn step(&mut self, sink: &mut dyn FnMut(&[u8])) -> Result<usize, TlsError> {
        let TlsSession { engine, incoming, .. } = &mut self.session;
        let (count, left, failure) = self
            .stream
            .read_with(incoming, |input, count| {
                let hello = engine.common().is_handshaking().then(|| HelloStart::of(input));
                match engine.advance(input, sink) {
                    (done, Progress::NeedInput) => (count, input[done..].to_vec(), None),
                    (_, Progress::Failed(error)) => {
                        (count, Vec::new(), Some(TlsError::from_rustls(error, hello)))
                    }
                }
            })
            .await?;
        self.session.incoming = left;
        if let Some(error) = failure {
            // The alert is worth one try; the peer may be gone.
            let _ = self.stream.try_write(self.session.engine.outgoing());
            self.session.engine.outgoing_written();
            return Err(error);
        }
        if self.session.incoming.len() > INCOMPLETE_OCTETS_MAX {
            return Err(TlsError::TooLarge);
        }
        Ok(count)
    }
}

/// The registry leaves the version out of these names.
fn iana_name_tls13(rest: &'static str) -> &'static str {
    match rest {
        "AES_128_GCM_SHA256" => "TLS_AES_128_GCM_SHA256",
        "AES_256_GCM_SHA384" => "TLS_AES_256_GCM_SHA384",
        "CHACHA20_POLY1305_SHA256" => "TLS_CHACHA20_POLY1305_SHA256",
        other => other,
    }
}

//! The connection of a session: plain, or with TLS.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use super::client_certificate::{Ask, ClientCertificate};
use super::error::TlsError;
use super::service::TlsService;
use super::stream::{TlsInfo, TlsSession, TlsStream};
use crate::runtime::net::{DetachedStream, Stream};
use crate::runtime::timeout_at;

/// After our side ended, this much of the peer's input is read and thrown away, so that the last
/// reply is not lost to a reset.
const LINGER_OCTETS_MAX: usize = 1024 * 1024;

/// A connection that failed.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// TLS failed.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A connection that belongs to a shard.
pub enum Transport {
    /// In the clear.
    Plain(Stream),
    /// With TLS. Boxed: plain connections should not pay for its size.
    Tls(Box<TlsStream>),
}

/// A live connection on its way to another shard: socket, TLS state, and what has arrived.
pub struct SessionPacket {
    stream: DetachedStream,
    tls: Option<Box<TlsSession>>,
}

/// Proves that a packet may cross threads.
const fn assert_send<T: Send>() {}
const _: () = assert_send::<SessionPacket>();

impl Transport {
    /// Waits for input, without holding a buffer, and gives all that came to `take`, in one or
    /// more pieces. Returns its size, 0 at the orderly end. Nothing is lost when dropped before it
    /// is ready.
    pub async fn receive(&mut self, mut take: impl FnMut(&[u8])) -> Result<usize, TransportError> {
        match self {
            Self::Plain(stream) => Ok(stream
                .read_with(&[], |input, count| {
                    if count > 0 {
                        take(input);
                    }
                    count
                })
                .await?),
            Self::Tls(tls) => Ok(tls.receive(&mut take).await?),
        }
    }

    /// Reads into `buffer`; 0 at the orderly end.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TransportError> {
        match self {
            Self::Plain(stream) => Ok(stream.read(buffer).await?),
            Self::Tls(tls) => Ok(tls.read(buffer).await?),
        }
    }

    /// Writes all of `bytes`. When dropped before it is ready, an unknown part was written and the
    /// connection is good for nothing but closing.
    pub async fn write_all(&mut self, bytes: &[u8]) -> Result<(), TransportError> {
        match self {
            Self::Plain(stream) => Ok(stream.write_all(bytes).await?),
            Self::Tls(tls) => Ok(tls.write_all(bytes).await?),
        }
    }

    /// Writes what is held back; nothing is after `write_all`.
    pub async fn flush(&mut self) -> Result<(), TransportError> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => Ok(tls.flush().await?),
        }
    }

    /// Runs the TLS handshake on a plain connection (STARTTLS, or implicit TLS), until `deadline`.
    ///
    /// The caller must throw away all input it has read and not yet acted on (RFC 3207 §4.2,
    /// RFC 9051 §6.2.1): what the peer sent in the clear after the command is none of its business
    /// with TLS. What is still in the socket goes to the handshake, which fails on it.
    pub async fn start_tls(
        self,
        service: &TlsService,
        ask: Ask,
        deadline: Instant,
    ) -> Result<Self, TransportError> {
        match self {
            Self::Plain(stream) => {
                // Boxed: the handshake state should not stay in the session's future.
                let tls = Box::pin(TlsStream::accept(stream, service, ask, deadline)).await?;
                Ok(Self::Tls(Box::new(tls)))
            }
            Self::Tls(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "TLS is active already").into()),
        }
    }

    /// Has the kernel acknowledge what arrives at once, for a while.
    pub fn acknowledge_at_once(&self) {
        match self {
            Self::Plain(stream) => stream.acknowledge_at_once(),
            Self::Tls(tls) => tls.stream().acknowledge_at_once(),
        }
    }

    /// Whether the peer is connected as far as the kernel knows, and has sent nothing that wasn't read.
    pub fn is_silent(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_silent(),
            Self::Tls(tls) => tls.stream().is_silent(),
        }
    }

    /// What was agreed on; none without TLS.
    pub fn tls_info(&self) -> Option<TlsInfo> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(tls) => Some(tls.info()),
        }
    }

    /// The certificate that the client presented.
    pub fn client_certificate(&self) -> Option<ClientCertificate> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(tls) => tls.client_certificate(),
        }
    }

    /// The `tls-exporter` channel binding; none in the clear and for TLS 1.2.
    pub fn channel_binding(&self) -> Option<[u8; 32]> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(tls) => tls.channel_binding(),
        }
    }

    /// Takes the connection from its shard. Nothing that has arrived is lost; what the session has
    /// read is the session's to take along.
    pub fn into_packet(self) -> io::Result<SessionPacket> {
        match self {
            Self::Plain(stream) => Ok(SessionPacket { stream: stream.detach()?, tls: None }),
            Self::Tls(tls) => {
                let (stream, session) = tls.detach()?;
                Ok(SessionPacket { stream, tls: Some(Box::new(session)) })
            }
        }
    }

    /// Gives the connection to the current shard.
    pub fn from_packet(packet: SessionPacket) -> Self {
        match packet.tls {
            None => Self::Plain(packet.stream.attach()),
            Some(session) => Self::Tls(Box::new(TlsStream::attach(packet.stream, *session))),
        }
    }

    /// Ends the sending side, with close_notify under TLS. In the clear, reading goes on.
    pub async fn shutdown(&mut self) -> Result<(), TransportError> {
        match self {
            Self::Plain(stream) => Ok(stream.shutdown_write()?),
            Self::Tls(tls) => Ok(tls.shutdown().await?),
        }
    }

    /// Ends the connection so that the peer gets all that was written: ends the sending side, then
    /// waits for the peer's end, until `deadline`, throwing away a bounded amount of its input.
    pub async fn close(mut self, deadline: Instant) {
        let ending = async {
            self.shutdown().await?;
            let mut discarded = 0;
            while discarded < LINGER_OCTETS_MAX {
                let count = match &mut self {
                    Self::Plain(stream) => stream.read_with(&[], |_, count| count).await?,
                    Self::Tls(tls) => tls.discard().await?,
                };
                match count {
                    0 => break,
                    count => discarded += count,
                }
            }
            Ok::<(), TransportError>(())
        };
        let _ = timeout_at(deadline, ending).await;
    }

    /// The stream underneath.
    pub fn stream(&self) -> &Stream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(tls) => tls.stream(),
        }
    }

    /// The address of the peer; none for a unix stream.
    pub fn peer_address(&self) -> io::Result<Option<SocketAddr>> {
        self.stream().peer_address()
    }

    /// The address of this end; none for a unix stream.
    pub fn local_address(&self) -> io::Result<Option<SocketAddr>> {
        self.stream().local_address()
    }
}

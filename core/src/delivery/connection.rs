//! A conversation with another server over a socket: what [`Client`] asks for is done here.

use std::time::{Duration, Instant};

use postrider_proto::sasl::{ChannelBinding, Secret};
use postrider_proto::smtp::client::{
    Action, Broken, Capabilities, Client, End, Finished, Settings, TlsState, Unsendable, Wait,
};
use postrider_proto::smtp::envelope::Envelope;
use postrider_storage::store::StoreError;
use rustls_pki_types::ServerName;

use super::content::Source;
use super::secure::{Connector, Failed, Seen, Wanted};
use crate::reads::Reads;
use crate::runtime::net::Stream;
use crate::runtime::{Pool, timeout_at};
use crate::tls::{TlsError, TlsInfo, TlsStream, Transport, TransportError};

/// Octets read at once.
const READ_OCTETS: usize = 4096;

/// How long a connection lies idle before the other side is asked whether it is still there.
const ASKED_AFTER: Duration = Duration::from_secs(1);

/// A conversation.
pub struct Connection {
    client: Client,
    /// None after a handshake that failed.
    transport: Option<Transport>,
    /// The next message may begin.
    is_ready: bool,
    /// What ended TLS, when it wasn't the other side's orderly end.
    tls_error: Option<TlsError>,
    /// Threads for what would hold up a shard.
    pool: Pool,
}

/// Where a conversation waits for who leads it.
#[derive(Debug)]
pub enum Reached {
    /// The next message may begin.
    Ready,
    /// The handshake is to be done.
    StartTls,
    /// The content of the message is wanted.
    Content,
    /// The message came to an end.
    Finished(Finished),
    /// It is over, and the connection of no use.
    Closed(End),
}

/// Why a message that was begun has no outcome of the other side.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// It can't be sent to this server.
    #[error(transparent)]
    Unsendable(#[from] Unsendable),
    /// Its content can't be read. The connection is broken off within the content, so that nothing was delivered.
    #[error("the content can't be read: {0}")]
    Content(#[from] StoreError),
    /// What had to be on the disk before isn't. As above.
    #[error("the attempt could not be noted: {0}")]
    NotNoted(String),
}

impl Connection {
    /// Begins on a connection in clear.
    pub fn clear(stream: Stream, settings: Settings, pool: Pool) -> Self {
        Self {
            client: Client::new(settings, None),
            transport: Some(Transport::Plain(stream)),
            is_ready: false,
            tls_error: None,
            pool,
        }
    }

    /// Begins on a connection with TLS.
    pub fn secured(stream: TlsStream, settings: Settings, pool: Pool) -> Self {
        let binding = binding(&stream);
        Self {
            client: Client::new(settings, Some(binding)),
            transport: Some(Transport::Tls(Box::new(stream))),
            is_ready: false,
            tls_error: None,
            pool,
        }
    }

    /// What the other side called itself in its greeting.
    pub const fn greeting_name(&self) -> &str {
        self.client.greeting_name()
    }

    /// What the other side announced last.
    pub const fn capabilities(&self) -> &Capabilities {
        self.client.capabilities()
    }

    /// Whether it is encrypted, and why not.
    pub const fn tls(&self) -> &TlsState {
        self.client.tls()
    }

    /// What the handshake agreed on.
    pub fn tls_info(&self) -> Option<TlsInfo> {
        self.transport.as_ref().and_then(Transport::tls_info)
    }

    /// What ended TLS, when it was an alert or a fault and not an orderly end: to be told once.
    pub const fn take_tls_error(&mut self) -> Option<TlsError> {
        self.tls_error.take()
    }

    /// Whether the next message may begin.
    pub const fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// The same, and the other side takes so many (RFC 9422).
    pub fn takes_more(&self) -> bool {
        let most = self.client.capabilities().mails_max;
        self.is_ready && most.is_none_or(|most| self.client.mails() < most)
    }

    /// Goes on until something is to be decided, by `deadline` at most.
    pub async fn proceed(&mut self, deadline: Instant) -> Reached {
        self.is_ready = false;
        let mut has_read = false;
        loop {
            match self.client.next_action() {
                Action::Send { octets, wait } => {
                    has_read = false;
                    self.send(octets, wait, deadline).await;
                }
                Action::Read { wait } => {
                    if has_read && let Some(transport) = &self.transport {
                        // What came wasn't all: the rest may wait until that is acknowledged.
                        transport.acknowledge_at_once();
                    }
                    has_read = true;
                    self.read(wait, deadline).await;
                }
                Action::StartTls => return Reached::StartTls,
                Action::Content => return Reached::Content,
                Action::Ready => {
                    self.is_ready = true;
                    return Reached::Ready;
                }
                Action::Done(finished) => return Reached::Finished(finished),
                Action::Close(end) => return Reached::Closed(end),
            }
        }
    }

    async fn send(&mut self, octets: Vec<u8>, wait: Wait, deadline: Instant) {
        let Some(transport) = &mut self.transport else { return self.client.broken(Broken::Io) };
        let until = deadline.min(Instant::now() + wait.timeout());
        let written = timeout_at(until, transport.write_all(&octets)).await;
        self.client.reuse(octets);
        let reason = match written {
            Ok(Ok(())) => return,
            Ok(Err(_)) => Broken::Io,
            Err(_) => Broken::TimedOut,
        };
        // A server that closes may have said why.
        if reason == Broken::Io {
            let soon = deadline.min(Instant::now() + Wait::Quit.timeout());
            let mut buffer = [0; READ_OCTETS];
            match timeout_at(soon, transport.read(&mut buffer)).await {
                Ok(Ok(count @ 1..)) => self.client.receive(&buffer[..count]),
                Ok(Err(error)) => self.tls_error = of_tls(error),
                Ok(Ok(0)) | Err(_) => {}
            }
        }
        self.client.broken(reason);
    }

    async fn read(&mut self, wait: Wait, deadline: Instant) {
        let Some(transport) = &mut self.transport else { return self.client.broken(Broken::Io) };
        let until = deadline.min(Instant::now() + wait.timeout());
        let mut buffer = [0; READ_OCTETS];
        match timeout_at(until, transport.read(&mut buffer)).await {
            Ok(Ok(0)) => self.client.broken(Broken::Closed),
            Ok(Ok(count)) if self.client.is_authenticating() => self.answer(&buffer[..count]).await,
            Ok(Ok(count)) => self.client.receive(&buffer[..count]),
            Ok(Err(error)) => {
                self.tls_error = of_tls(error);
                self.client.broken(Broken::Io);
            }
            Err(_) => self.client.broken(Broken::TimedOut),
        }
    }

    /// Takes what came within AUTH, on a thread for long work.
    async fn answer(&mut self, octets: &[u8]) {
        let (mut client, octets) = (self.client.take_away(), octets.to_vec());
        let answered = self.pool.run_anyway(move || {
            client.receive(&octets);
            client
        });
        // Otherwise what stays in its place was given up.
        if let Ok(client) = answered.await {
            self.client = client;
        }
    }

    /// Does the handshake that STARTTLS asked for.
    pub async fn secure(
        &mut self,
        connector: &Connector,
        name: ServerName<'static>,
        wanted: Wanted,
        deadline: Instant,
    ) -> Result<Seen, Failed> {
        match self.transport.take() {
            Some(Transport::Plain(stream)) => match connector.secure(stream, name, wanted, deadline).await {
                Ok(secured) => {
                    self.client.started_tls(binding(&secured.stream));
                    self.transport = Some(Transport::Tls(Box::new(secured.stream)));
                    Ok(secured.seen)
                }
                Err(failed) => {
                    self.client.broken(Broken::Io);
                    Err(failed)
                }
            },
            other => {
                self.transport = other;
                Ok(Seen::default())
            }
        }
    }

    /// Sends a message, by `deadline`. Before its end is sent, `noted` is waited for: from then on the other side may
    /// have it.
    pub async fn deliver(
        &mut self,
        envelope: Envelope,
        source: &mut Source,
        reads: &Reads,
        noted: impl Future<Output = Result<(), String>>,
        deadline: Instant,
    ) -> Result<Finished, SendError> {
        self.client.begin(envelope)?;
        self.is_ready = false;
        let mut noted = Some(noted);
        loop {
            match self.proceed(deadline).await {
                Reached::Content => {
                    let failure = match source.next(reads).await {
                        Ok(Some(part)) => {
                            self.client.content(part.as_ref());
                            continue;
                        }
                        Ok(None) => match noted.take() {
                            None => Ok(()),
                            Some(noted) => noted.await.map_err(SendError::NotNoted),
                        },
                        Err(error) => Err(error.into()),
                    };
                    match failure {
                        Ok(()) => self.client.content_end(),
                        Err(error) => {
                            self.client.broken(Broken::Local);
                            return Err(error);
                        }
                    }
                }
                Reached::Finished(finished) => {
                    // Nothing is awaited for that: it is ready for the next message, or closed.
                    self.is_ready = matches!(self.client.next_action(), Action::Ready);
                    return Ok(finished);
                }
                // The client gives an outcome before it is ready for the next message, or closes.
                Reached::Ready | Reached::StartTls | Reached::Closed(_) => {
                    return Err(Unsendable::NotReady.into());
                }
            }
        }
    }

    /// Says good-bye, if the other side still listens.
    pub async fn quit(mut self) {
        self.client.quit();
        let soon = Instant::now() + Wait::Quit.timeout();
        while !matches!(self.proceed(soon).await, Reached::Closed(_) | Reached::Ready) {}
        if let Some(Transport::Tls(tls)) = &mut self.transport {
            let _ = timeout_at(soon, tls.shutdown()).await;
        }
    }

    /// Whether the other side is still there and has said nothing, for a connection that lay idle since then. After a moment
    /// the kernel's word is enough.
    pub async fn is_alive(&mut self, rested: Instant) -> bool {
        if rested.elapsed() < ASKED_AFTER && self.transport.as_ref().is_some_and(Transport::is_silent) {
            return true;
        }
        self.client.reset();
        let soon = Instant::now() + Duration::from_secs(10);
        matches!(self.proceed(soon).await, Reached::Ready)
    }
}

fn of_tls(error: TransportError) -> Option<TlsError> {
    match error {
        TransportError::Tls(error) => Some(error),
        TransportError::Io(_) => None,
    }
}

fn binding(stream: &TlsStream) -> ChannelBinding {
    let exporter = stream.channel_binding().map(|octets| Secret::new(octets.to_vec()));
    ChannelBinding { exporter, unique: None }
}

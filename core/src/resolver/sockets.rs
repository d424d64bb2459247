//! Queries over sockets of the runtime.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider_dns::limits::DATAGRAMS_WRONG_MAX;
use postrider_dns::resolver::{Chance, Clock, Transport, TransportError};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::ClientConnection;

use super::tls::Tls;
use crate::clock::unix_now;
use crate::runtime::net::{Datagram, Stream};
use crate::runtime::{now, timeout_at};

/// The longest datagram that is read: more than we ask for, since some servers send more.
const DATAGRAM_OCTETS_MAX: usize = 4096;
/// A connection over TLS that was idle this long isn't used again (RFC 7858 §3.4 lets servers close them).
const IDLE_MAX: Duration = Duration::from_secs(5);
/// Idle connections over TLS that are kept.
const IDLE_CONNECTIONS_MAX: usize = 4;

/// Sockets, time and chance of a shard.
pub struct Sockets {
    tls: Arc<Tls>,
    idle: RefCell<Vec<Idle>>,
    random: SystemRandom,
}

struct Idle {
    peer: SocketAddr,
    name: Option<String>,
    since: Instant,
    connection: Secured,
}

/// A connection over TLS.
struct Secured {
    stream: Stream,
    session: ClientConnection,
}

impl Sockets {
    pub(super) fn new(tls: Arc<Tls>) -> Self {
        Self { tls, idle: RefCell::default(), random: SystemRandom::new() }
    }

    /// An idle connection to an upstream, if there is one.
    fn take_idle(&self, peer: SocketAddr, name: Option<&str>) -> Option<Secured> {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|one| one.since.elapsed() < IDLE_MAX);
        let place = idle.iter().position(|one| one.peer == peer && one.name.as_deref() == name)?;
        Some(idle.swap_remove(place).connection)
    }

    fn keep(&self, peer: SocketAddr, name: Option<&str>, connection: Secured) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() >= IDLE_CONNECTIONS_MAX {
            idle.remove(0);
        }
        idle.push(Idle { peer, name: name.map(str::to_owned), since: now(), connection });
    }

    async fn secure(
        &self,
        to: SocketAddr,
        name: Option<&str>,
        query: &[u8],
    ) -> Result<Vec<u8>, TransportError> {
        // The server may have closed one that was idle, which says nothing of a new one.
        if let Some(mut connection) = self.take_idle(to, name)
            && let Ok(response) = connection.exchange(query).await
        {
            self.keep(to, name, connection);
            return Ok(response);
        }
        let session = self.tls.connect(to.ip(), name).map_err(TransportError::Tls)?;
        let stream = Stream::connect(to).await.map_err(|error| failed(&error))?;
        let mut connection = Secured { stream, session };
        let response = connection.exchange(query).await?;
        self.keep(to, name, connection);
        Ok(response)
    }
}

impl Transport for Sockets {
    async fn udp(
        &self,
        to: SocketAddr,
        query: &[u8],
        deadline: Instant,
        is_answer: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Vec<u8>, TransportError> {
        let exchange = async {
            let mut socket = Datagram::connect(to).map_err(|error| failed(&error))?;
            socket.send(query).map_err(|error| failed(&error))?;
            let mut buffer = vec![0; DATAGRAM_OCTETS_MAX];
            for _ in 0..DATAGRAMS_WRONG_MAX {
                let length = socket.receive(&mut buffer).await.map_err(|error| failed(&error))?;
                if is_answer(&buffer[..length]) {
                    buffer.truncate(length);
                    return Ok(buffer);
                }
            }
            Err(TransportError::Flooded)
        };
        timeout_at(deadline, exchange).await.unwrap_or(Err(TransportError::Timeout))
    }

    async fn tcp(&self, to: SocketAddr, query: &[u8], deadline: Instant) -> Result<Vec<u8>, TransportError> {
        let exchange = async {
            let mut stream = Stream::connect(to).await.map_err(|error| failed(&error))?;
            stream.write_all(&framed(query)).await.map_err(|error| failed(&error))?;
            let mut response = Vec::new();
            let mut buffer = [0; 2048];
            loop {
                if let Some(whole) = unframed(&response) {
                    return Ok(whole);
                }
                match stream.read(&mut buffer).await.map_err(|error| failed(&error))? {
                    0 => return Err(TransportError::Closed),
                    length => response.extend_from_slice(&buffer[..length]),
                }
            }
        };
        timeout_at(deadline, exchange).await.unwrap_or(Err(TransportError::Timeout))
    }

    async fn tls(
        &self,
        to: SocketAddr,
        name: Option<&str>,
        query: &[u8],
        deadline: Instant,
    ) -> Result<Vec<u8>, TransportError> {
        let exchange = Box::pin(self.secure(to, name, query));
        timeout_at(deadline, exchange).await.unwrap_or(Err(TransportError::Timeout))
    }
}

impl Secured {
    async fn exchange(&mut self, query: &[u8]) -> Result<Vec<u8>, TransportError> {
        use io::{Read as _, Write as _};
        self.session.writer().write_all(&framed(query)).map_err(|error| failed(&error))?;
        let mut response = Vec::new();
        let mut buffer = vec![0; 8 * 1024];
        loop {
            let mut out = Vec::new();
            while self.session.wants_write() {
                self.session.write_tls(&mut out).map_err(|error| failed(&error))?;
            }
            if !out.is_empty() {
                self.stream.write_all(&out).await.map_err(|error| failed(&error))?;
            }
            loop {
                match self.session.reader().read(&mut buffer) {
                    Ok(0) => return Err(TransportError::Closed),
                    Ok(length) => response.extend_from_slice(&buffer[..length]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(failed(&error)),
                }
                if let Some(whole) = unframed(&response) {
                    return Ok(whole);
                }
            }
            let length = self.stream.read(&mut buffer).await.map_err(|error| failed(&error))?;
            if length == 0 {
                return Err(TransportError::Closed);
            }
            let mut input = &buffer[..length];
            while !input.is_empty() {
                self.session.read_tls(&mut input).map_err(|error| failed(&error))?;
                if let Err(error) = self.session.process_new_packets() {
                    return Err(TransportError::Tls(error.to_string()));
                }
            }
        }
    }
}

impl Clock for Sockets {
    fn now(&self) -> Instant {
        now()
    }

    fn wall(&self) -> u64 {
        u64::try_from(unix_now()).unwrap_or(0)
    }
}

impl Chance for Sockets {
    fn fill(&self, octets: &mut [u8]) {
        fill(&self.random, octets);
    }
}

/// Fills with what nobody can foresee. Linux always has some once it has started.
pub(super) fn fill(random: &SystemRandom, octets: &mut [u8]) {
    if random.fill(octets).is_err() {
        // An id that can be guessed would let answers be forged.
        panic!("the system gives no randomness");
    }
}

/// A message with its length before it (RFC 7766 §8).
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let mut framed = Vec::with_capacity(2 + message.len());
    framed.extend(length.to_be_bytes());
    framed.extend_from_slice(message);
    framed
}

/// The message at the beginning of `octets`, once it is whole.
pub(super) fn unframed(octets: &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = octets.split_first_chunk()?;
    rest.get(..usize::from(u16::from_be_bytes(*length))).map(<[u8]>::to_vec)
}

pub(super) fn failed(error: &io::Error) -> TransportError {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => TransportError::Timeout,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            TransportError::Closed
        }
        _ => TransportError::Unreachable(error.to_string()),
    }
}

//! Queries over plain sockets that block, for the command line: it asks one question at a time, without the
//! server's runtime.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider_dns::limits::DATAGRAMS_WRONG_MAX;
use postrider_dns::resolver::{Chance, Clock, Transport, TransportError};
use ring::rand::SystemRandom;

use super::sockets::{failed, fill, framed};
use super::tls::Tls;
use crate::clock::unix_now;

/// Sockets that block, time and chance.
pub struct Blocking {
    tls: Arc<Tls>,
    random: SystemRandom,
}

impl Blocking {
    pub(super) fn new(tls: Arc<Tls>) -> Self {
        Self { tls, random: SystemRandom::new() }
    }
}

/// The time until `deadline`; none when it has passed.
fn left(deadline: Instant) -> Result<Duration, TransportError> {
    let left = deadline.saturating_duration_since(Instant::now());
    // A socket takes no wait of nothing.
    if left < Duration::from_millis(1) { Err(TransportError::Timeout) } else { Ok(left) }
}

fn datagram(
    to: SocketAddr,
    query: &[u8],
    deadline: Instant,
    is_answer: &dyn Fn(&[u8]) -> bool,
) -> Result<Vec<u8>, TransportError> {
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).and_then(|socket| socket.connect(to).map(|()| socket));
    let socket = socket.map_err(|error| failed(&error))?;
    socket.send(query).map_err(|error| failed(&error))?;
    let mut buffer = vec![0; 4096];
    for _ in 0..DATAGRAMS_WRONG_MAX {
        socket.set_read_timeout(Some(left(deadline)?)).map_err(|error| failed(&error))?;
        let length = socket.recv(&mut buffer).map_err(|error| failed(&error))?;
        if is_answer(&buffer[..length]) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
    Err(TransportError::Flooded)
}

/// A connected stream whose reads and writes end at a deadline.
struct Timed {
    stream: TcpStream,
    deadline: Instant,
}

impl Timed {
    fn connect(to: SocketAddr, deadline: Instant) -> Result<Self, TransportError> {
        let stream = TcpStream::connect_timeout(&to, left(deadline)?).map_err(|error| failed(&error))?;
        Ok(Self { stream, deadline })
    }

    fn left(&self) -> io::Result<Duration> {
        left(self.deadline).map_err(|_| io::ErrorKind::TimedOut.into())
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Sends a query and reads the response, each with its length before it.
fn exchange(stream: &mut (impl Read + Write), query: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(&framed(query))?;
    stream.flush()?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut response = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut response)?;
    Ok(response)
}

impl Transport for Blocking {
    async fn udp(
        &self,
        to: SocketAddr,
        query: &[u8],
        deadline: Instant,
        is_answer: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Vec<u8>, TransportError> {
        datagram(to, query, deadline, is_answer)
    }

    async fn tcp(&self, to: SocketAddr, query: &[u8], deadline: Instant) -> Result<Vec<u8>, TransportError> {
        exchange(&mut Timed::connect(to, deadline)?, query).map_err(|error| failed(&error))
    }

    async fn tls(
        &self,
        to: SocketAddr,
        name: Option<&str>,
        query: &[u8],
        deadline: Instant,
    ) -> Result<Vec<u8>, TransportError> {
        let session = self.tls.connect(to.ip(), name).map_err(TransportError::Tls)?;
        let mut stream = rustls::StreamOwned::new(session, Timed::connect(to, deadline)?);
        exchange(&mut stream, query).map_err(|error| {
            // What the library says of a handshake is wrapped into an error of the stream.
            match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(fault) => TransportError::Tls(fault.to_string()),
                None => failed(&error),
            }
        })
    }
}

impl Clock for Blocking {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> u64 {
        u64::try_from(unix_now()).unwrap_or(0)
    }
}

impl Chance for Blocking {
    fn fill(&self, octets: &mut [u8]) {
        fill(&self.random, octets);
    }
}

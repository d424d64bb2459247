//! A blocking connection, in clear or with TLS, that ends in time.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustls::{ClientConnection, StreamOwned};

/// A connection that fails at some time, however slowly something comes.
pub struct Timely {
    pub stream: TcpStream,
    pub until: Instant,
}

impl Timely {
    fn left(&self) -> std::io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for Timely {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(buffer)
    }
}

impl Write for Timely {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(octets)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}

/// The connection.
pub enum Wire {
    Clear(Timely),
    Tls(Box<StreamOwned<ClientConnection, Timely>>),
    /// After a handshake that failed.
    Gone,
}

impl Wire {
    /// Sets when reading and writing fail from now on.
    pub fn until(&mut self, until: Instant) {
        match self {
            Self::Clear(stream) => stream.until = until,
            Self::Tls(stream) => stream.sock.until = until,
            Self::Gone => {}
        }
    }

    pub fn write(&mut self, octets: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Clear(stream) => stream.write_all(octets),
            Self::Tls(stream) => stream.write_all(octets).and_then(|()| stream.flush()),
            Self::Gone => Err(ErrorKind::NotConnected.into()),
        }
    }

    pub fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
            Self::Gone => Err(ErrorKind::NotConnected.into()),
        }
    }
}

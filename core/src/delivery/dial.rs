//! Connections to other servers.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use postrider_proto::socks::{Handshake, SocksError, Step};

use crate::runtime::net::Stream;
use crate::runtime::timeout_at;

/// How a connection is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// From this address of ours; none leaves it to the system.
    pub local: Option<IpAddr>,
    /// Through the SOCKS5 proxy there (RFC 1928).
    pub proxy: Option<SocketAddr>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The system, or the other side, says no.
    #[error("can't connect to {address}: {error}")]
    Connect {
        /// Where to.
        address: SocketAddr,
        /// What it says.
        #[source]
        error: io::Error,
    },
    /// Nobody answered in time.
    #[error("{address} doesn't answer")]
    Timeout {
        /// Where to.
        address: SocketAddr,
    },
    /// The proxy doesn't connect.
    #[error("the proxy {proxy} doesn't connect to {address}: {error}")]
    Proxy {
        /// The proxy.
        proxy: SocketAddr,
        /// Where to.
        address: SocketAddr,
        /// What it says.
        #[source]
        error: SocksError,
    },
}

/// Connects to `address` by `deadline`.
pub async fn dial(address: SocketAddr, way: Way, deadline: Instant) -> Result<Stream, DialError> {
    let first = way.proxy.unwrap_or(address);
    let connect = async {
        let connected = Stream::connect_from(way.local, first).await;
        let mut stream = connected.map_err(|error| DialError::Connect { address: first, error })?;
        if let Some(proxy) = way.proxy {
            pass_through(&mut stream, proxy, address).await?;
        }
        Ok(stream)
    };
    timeout_at(deadline, connect).await.unwrap_or(Err(DialError::Timeout { address: first }))
}

/// Has a proxy connect to `address`.
async fn pass_through(stream: &mut Stream, proxy: SocketAddr, address: SocketAddr) -> Result<(), DialError> {
    let broken = |error| DialError::Connect { address: proxy, error };
    let (mut handshake, greeting) = Handshake::new(address);
    stream.write_all(&greeting).await.map_err(broken)?;
    let mut buffer = [0; 512];
    loop {
        // What comes behind the proxy's reply is the server's.
        let wanted = handshake.wanted().min(buffer.len());
        let count = stream.read(&mut buffer[..wanted]).await.map_err(broken)?;
        if count == 0 {
            return Err(broken(io::ErrorKind::UnexpectedEof.into()));
        }
        match handshake.receive(&buffer[..count]) {
            Ok(Step::Send(octets)) => stream.write_all(&octets).await.map_err(broken)?,
            Ok(Step::Receive) => {}
            Ok(Step::Connected) => return Ok(()),
            Err(error) => return Err(DialError::Proxy { proxy, address, error }),
        }
    }
}

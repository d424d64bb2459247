//! A UDP socket that is connected to one peer.
//!
//! The library's own datagrams hold a buffer in the kernel while nothing arrives, and lose what arrives when such
//! a read is dropped. So this one reads like a stream: it waits for readiness and then takes what is there.
//! Dropping a read loses nothing.

use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::pin::Pin;

use futures_lite::io::AsyncRead;
use glommio::net::TcpStream;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::super::yield_if_needed;
use crate::sys;

/// A connected UDP socket that belongs to the shard it was made on.
#[derive(Debug)]
pub struct Datagram {
    /// Only its readiness and plain `recv` are used, which are the same for datagrams.
    inner: TcpStream,
}

impl Datagram {
    /// A socket with a random port of its own, which takes datagrams of `peer` only.
    pub fn connect(peer: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(peer), Type::DGRAM, Some(Protocol::UDP))?;
        let any: SocketAddr = match peer {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        socket.bind(&any.into())?;
        socket.connect(&peer.into())?;
        Ok(Self { inner: sys::adopt(socket.into()) })
    }

    /// Sends one datagram. Never waits: a full send buffer loses it, as the network may.
    pub fn send(&self, octets: &[u8]) -> io::Result<()> {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        let socket = sys::borrow(self, self.inner.as_raw_fd());
        match SockRef::from(&socket).send_with_flags(octets, flags) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Waits for the next datagram; what of it doesn't fit `buffer` is lost. Fails when the peer's host says that
    /// nobody listens there.
    pub async fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Who sends without pause must not keep the others from running.
        yield_if_needed().await;
        poll_fn(|context| Pin::new(&mut self.inner).poll_read(context, buffer)).await
    }
}

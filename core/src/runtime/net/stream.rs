//! A connected stream socket, TCP or unix.
//!
//! Reading is readiness based: while nothing arrives, no buffer is held, neither by the kernel nor
//! by the stream, and dropping a read loses nothing.
//!
//! A peer that is as fast as the server has its next octets there whenever they are asked for, and room for
//! what is written: nothing would ever wait. So reads and writes are where a task that has used up its time
//! gives way, and no session can hold its shard for itself.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Shutdown as Direction, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::Poll;

use futures_lite::io::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::super::yield_if_needed;
use super::gate::Permit;
use crate::sys;

/// Size of the read buffer that all streams of a thread share.
const SCRATCH_OCTETS: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Who is on the other end of a unix stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerCredentials {
    /// Process.
    pub pid: i32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// A stream that belongs to the shard it was made on.
#[derive(Debug)]
pub struct Stream {
    inner: TcpStream,
    permit: Option<Permit>,
}

/// A stream on its way to another shard.
#[derive(Debug)]
pub struct DetachedStream {
    fd: OwnedFd,
    permit: Option<Permit>,
}

impl DetachedStream {
    /// Wraps a connected stream socket that was made elsewhere.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { fd, permit: None }
    }

    /// Gives the stream to the current shard.
    pub fn attach(self) -> Stream {
        Stream { inner: sys::adopt(self.fd), permit: self.permit }
    }
}

impl Stream {
    /// Connects to `peer` over TCP. May be dropped at any time, which ends the attempt.
    pub async fn connect(peer: SocketAddr) -> io::Result<Self> {
        Self::connect_from(None, peer).await
    }

    /// Connects to `peer` over TCP from a local address. May be dropped at any time, which ends the attempt.
    pub async fn connect_from(local: Option<IpAddr>, peer: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(peer), Type::STREAM, Some(Protocol::TCP))?;
        if let Some(local) = local {
            socket.bind(&SocketAddr::new(local, 0).into())?;
        }
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&peer.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        socket.set_nonblocking(false)?;
        let mut stream = Self::unpermitted(sys::adopt(socket.into()));
        // Until it is connected a socket takes nothing, not even no octets; then it does, or says why not.
        poll_fn(|context| Pin::new(&mut stream.inner).poll_write(context, &[])).await?;
        Ok(stream)
    }

    pub(super) fn accepted(inner: TcpStream, permit: Permit) -> Self {
        Self { inner, permit: Some(permit) }
    }

    pub(super) fn unpermitted(inner: TcpStream) -> Self {
        Self { inner, permit: None }
    }

    /// Takes the stream from its shard. The socket, what it has received and its permit go along.
    pub fn detach(self) -> io::Result<DetachedStream> {
        // The library gives no descriptor back, so a copy outlives it.
        let fd = self.as_fd().try_clone_to_owned()?;
        Ok(DetachedStream { fd, permit: self.permit })
    }

    /// Reads what has arrived into `buffer`, at most its length; 0 at the end of the stream.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        yield_if_needed().await;
        poll_fn(|context| Pin::new(&mut self.inner).poll_read(context, buffer)).await
    }

    /// Waits for data without holding a buffer, then shows it to `take`, which consumes all of it.
    /// An empty slice is the end of the stream.
    ///
    /// `prefix` comes before the new data in the slice; it must leave room in the 64 KiB there are.
    pub async fn read_with<T>(
        &mut self,
        prefix: &[u8],
        take: impl FnOnce(&mut [u8], usize) -> T,
    ) -> io::Result<T> {
        yield_if_needed().await;
        let mut take = Some(take);
        poll_fn(|context| {
            SCRATCH.with_borrow_mut(|scratch| {
                scratch.resize(SCRATCH_OCTETS, 0);
                let Some(room) = scratch.get_mut(prefix.len()..).filter(|room| !room.is_empty()) else {
                    return Poll::Ready(Err(io::Error::other("no room in the read buffer")));
                };
                match Pin::new(&mut self.inner).poll_read(context, room) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    Poll::Ready(Ok(count)) => {
                        scratch[..prefix.len()].copy_from_slice(prefix);
                        let Some(take) = take.take() else { return Poll::Pending };
                        Poll::Ready(Ok(take(&mut scratch[..prefix.len() + count], count)))
                    }
                }
            })
        })
        .await
    }

    /// Writes all of `bytes`. When dropped before it is ready, an unknown part was written.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = self.write(rest).await?;
            rest = &rest[count..];
        }
        Ok(())
    }

    /// Writes a part of `bytes`, at least one octet. When dropped before it is ready, nothing was.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        yield_if_needed().await;
        let count = poll_fn(|context| Pin::new(&mut self.inner).poll_write(context, bytes)).await?;
        if count == 0 && !bytes.is_empty() { Err(io::ErrorKind::WriteZero.into()) } else { Ok(count) }
    }

    /// Writes what the socket takes at once, without waiting.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        SockRef::from(self).send_with_flags(bytes, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
    }

    /// Has the kernel acknowledge what arrives at once, for a while. A peer that writes several small pieces, each of
    /// which waits for the acknowledgement of the one before (RFC 1122 §4.2.3.4), is otherwise held up by 40 ms a piece.
    pub fn acknowledge_at_once(&self) {
        // Without it, it is only slower.
        let _ = SockRef::from(self).set_tcp_quickack(true);
    }

    /// Whether the peer is connected as far as the kernel knows, and has sent nothing that wasn't read.
    pub fn is_silent(&self) -> bool {
        let mut octet = [std::mem::MaybeUninit::uninit()];
        let peeked = SockRef::from(self).recv_with_flags(&mut octet, libc::MSG_PEEK | libc::MSG_DONTWAIT);
        peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Tells the peer that no more is sent. Reading goes on.
    pub fn shutdown_write(&self) -> io::Result<()> {
        SockRef::from(self).shutdown(Direction::Write)
    }

    /// The address of the peer; none for a unix stream.
    pub fn peer_address(&self) -> io::Result<Option<SocketAddr>> {
        Ok(SockRef::from(self).peer_addr()?.as_socket())
    }

    /// The address of this end; none for a unix stream.
    pub fn local_address(&self) -> io::Result<Option<SocketAddr>> {
        Ok(SockRef::from(self).local_addr()?.as_socket())
    }

    /// Who is on the other end of a unix stream.
    pub fn peer_credentials(&self) -> io::Result<PeerCredentials> {
        let credentials = rustix::net::sockopt::socket_peercred(self)?;
        Ok(PeerCredentials {
            pid: credentials.pid.as_raw_nonzero().get(),
            uid: credentials.uid.as_raw(),
            gid: credentials.gid.as_raw(),
        })
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        sys::borrow(self, self.inner.as_raw_fd())
    }
}

//! Making listening sockets, before shards start and privileges are dropped.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};

/// Connections the kernel holds for a listener that is busy.
pub const LISTEN_BACKLOG: i32 = 1024;
/// A peer that vanished is noticed after this time of silence.
const KEEPALIVE: Duration = Duration::from_secs(300);

/// A listening socket that no shard owns yet.
#[derive(Debug)]
pub struct BoundSocket {
    pub(super) fd: OwnedFd,
}

impl BoundSocket {
    /// Takes over a listening socket that was made elsewhere (socket activation).
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Listens on it, when it was only reserved.
    pub fn listen(&self, backlog: i32) -> io::Result<()> {
        SockRef::from(&self.fd).listen(backlog)
    }

    /// The address it listens on; none for a unix socket.
    pub fn local_address(&self) -> io::Result<Option<SocketAddr>> {
        Ok(SockRef::from(&self.fd).local_addr()?.as_socket())
    }
}

/// Listens on `address`, with one socket for each shard (`SO_REUSEPORT`), in shard order.
///
/// Fails when any other socket listens there, also one that would share the port: a second server
/// of the same user must not take half of the connections unnoticed. Port 0 picks a free port, the
/// same for all shards.
pub fn bind_tcp(address: SocketAddr, shards: usize, backlog: i32) -> io::Result<Vec<BoundSocket>> {
    let sockets = reserve_tcp(address, shards)?;
    for socket in &sockets {
        socket.listen(backlog)?;
    }
    Ok(sockets)
}

/// The same without listening yet: nobody can connect before [`BoundSocket::listen`]. That needs no
/// privileges any more.
pub fn reserve_tcp(address: SocketAddr, shards: usize) -> io::Result<Vec<BoundSocket>> {
    let mut address = address;
    if address.port() != 0 {
        // Without SO_REUSEPORT a bind fails if anybody listens, sharing or not.
        let probe = tcp_socket(address)?;
        probe.bind(&address.into())?;
    }
    let mut sockets = Vec::with_capacity(shards);
    for _ in 0..shards {
        let socket = tcp_socket(address)?;
        socket.set_reuse_port(shards > 1)?;
        socket.bind(&address.into())?;
        if let Some(bound) = socket.local_addr()?.as_socket() {
            address.set_port(bound.port());
        }
        sockets.push(BoundSocket { fd: socket.into() });
    }
    Ok(sockets)
}

/// Accepted connections inherit the options set here.
fn tcp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 5))?;
    Ok(socket)
}

/// Listens on a unix socket at `path` with the permission bits `mode`.
///
/// A socket file that nobody listens on any more (left by a crash) is replaced; one that answers,
/// and any other file, is not.
pub fn bind_unix(path: &Path, mode: u32, backlog: i32) -> io::Result<BoundSocket> {
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    match socket.bind(&address) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(&address)? => {
            std::fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        Err(error) => return Err(error),
    }
    // Nobody can connect before `listen`, so the default permissions are never in force.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    socket.listen(backlog)?;
    Ok(BoundSocket { fd: socket.into() })
}

fn is_stale(address: &SockAddr) -> io::Result<bool> {
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    match probe.connect(address) {
        Ok(()) => Ok(false),
        Err(error) => Ok(error.kind() == io::ErrorKind::ConnectionRefused && is_socket(address)),
    }
}

fn is_socket(address: &SockAddr) -> bool {
    use std::os::unix::fs::FileTypeExt;
    address
        .as_pathname()
        .and_then(|path| std::fs::symlink_metadata(path).ok())
        .is_some_and(|metadata| metadata.file_type().is_socket())
}

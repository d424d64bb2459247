//! Accepting connections on a shard.
//!
//! A pending accept is never dropped: once it has reached the kernel, dropping it would lose the
//! connection and leak its descriptor. So each listener has one task that does nothing but accept,
//! and ends only when a shutdown of the listening socket makes its accept fail.

use std::future::Future;
use std::io;
use std::net::Shutdown as Direction;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use glommio::net::TcpListener;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;

use super::super::{Shutdown, sleep, spawn, yield_if_needed};
use super::bind::BoundSocket;
use super::gate::Gate;
use super::stream::Stream;
use crate::sys;

/// First wait after an accept failed for want of descriptors or memory; doubled up to the second.
const BACK_OFF_MIN: Duration = Duration::from_millis(50);
const BACK_OFF_MAX: Duration = Duration::from_millis(200);

/// Figures of the listeners of one service, over all shards.
#[derive(Debug, Default)]
pub struct AcceptStats {
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections turned away because the gate was full.
    pub refused: AtomicU64,
    /// Times that accepting paused for want of descriptors or memory.
    pub exhausted: AtomicU64,
}

/// How connections of a listener are treated.
#[derive(Clone)]
pub struct ServeOptions {
    /// Names the tasks.
    pub label: &'static str,
    /// The cap on connections of the process.
    pub gate: Gate,
    /// What a connection beyond the cap is told before it is closed, e.g. `421 ...`.
    pub busy: &'static [u8],
    /// What a connection meets that finds no free descriptor.
    pub exhausted: WhenExhausted,
    /// Figures.
    pub stats: Arc<AcceptStats>,
}

/// What happens to a connection that arrives when the process may open no more files. For either, a listener keeps
/// one descriptor in reserve.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WhenExhausted {
    /// It is closed, so that its client knows and goes elsewhere, and the listener pauses.
    Close,
    /// It gets the reserve, and those behind it wait until there are descriptors again: for a service that is to
    /// work while others are flooded.
    Wait,
}

/// A listening socket that belongs to a shard.
pub struct Listener {
    inner: TcpListener,
    /// The same socket, to end a pending accept with.
    control: OwnedFd,
}

impl Listener {
    /// Gives `socket` to the current shard.
    pub fn new(socket: BoundSocket) -> io::Result<Self> {
        let control = socket.fd.try_clone()?;
        Ok(Self { inner: sys::adopt(socket.fd), control })
    }

    /// Accepts connections until `shutdown` begins, and starts `handler` as a task for each.
    ///
    /// Returns at once. The address is free again soon after the shutdown began; what was waiting
    /// in the backlog is still accepted before.
    pub fn serve<H, F>(self, options: ServeOptions, shutdown: Shutdown, handler: H)
    where
        H: Fn(Stream) -> F + 'static,
        F: Future<Output = ()> + 'static,
    {
        let listener = Rc::new(self);
        let (watched, stop) = (Rc::clone(&listener), shutdown.clone());
        spawn("listener stop", async move {
            stop.wait().await;
            // Makes the pending accept fail. (POSIX leaves it open, Linux does it for TCP and unix.)
            let _ = SockRef::from(&watched.control).shutdown(Direction::Read);
        });
        spawn("listener", async move {
            accept_loop(&listener, &options, &shutdown, &handler).await;
        });
    }
}

async fn accept_loop<H, F>(listener: &Listener, options: &ServeOptions, shutdown: &Shutdown, handler: &H)
where
    H: Fn(Stream) -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    let mut reserve = open_reserve();
    let mut back_off = BACK_OFF_MIN;
    loop {
        match listener.inner.shared_accept().await {
            Ok(accepted) => {
                back_off = BACK_OFF_MIN;
                if reserve.is_none() {
                    reserve = open_reserve();
                }
                admit(accepted.bind_to_executor(), options, handler);
                // A flood of connections must not keep the others from running.
                yield_if_needed().await;
            }
            Err(error) => match verdict(&io::Error::from(error), shutdown) {
                Verdict::Next => yield_if_needed().await,
                Verdict::End => return,
                Verdict::Exhausted(error) => {
                    match options.exhausted {
                        // Another listener may be faster and take it; then this one waits like the others.
                        WhenExhausted::Wait if reserve.take().is_some() => continue,
                        WhenExhausted::Wait => {}
                        WhenExhausted::Close => close_one(&listener.control, &mut reserve),
                    }
                    options.stats.exhausted.fetch_add(1, Relaxed);
                    tracing::warn!(service = options.label, %error, "cannot accept connections; waiting");
                    sleep(back_off).await;
                    back_off = (back_off * 2).min(BACK_OFF_MAX);
                }
            },
        }
    }
}

enum Verdict {
    Next,
    End,
    Exhausted(io::Error),
}

fn verdict(error: &io::Error, shutdown: &Shutdown) -> Verdict {
    let code = error.raw_os_error();
    match code {
        // The connection went away while it waited (accept(2): treat network errors like EAGAIN).
        Some(
            libc::ECONNABORTED
            | libc::EINTR
            | libc::EAGAIN
            | libc::EPROTO
            | libc::ENETDOWN
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
            | libc::ENOPROTOOPT
            | libc::ENONET
            | libc::EOPNOTSUPP
            | libc::EPERM,
        ) => Verdict::Next,
        Some(libc::EINVAL | libc::EBADF | libc::ECANCELED) if shutdown.is_stopping() => Verdict::End,
        _ => {
            Verdict::Exhausted(code.map_or_else(|| io::Error::other("unknown"), io::Error::from_raw_os_error))
        }
    }
}

fn admit<H, F>(stream: glommio::net::TcpStream, options: &ServeOptions, handler: &H)
where
    H: Fn(Stream) -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    match options.gate.try_enter() {
        Some(permit) => {
            options.stats.accepted.fetch_add(1, Relaxed);
            spawn(options.label, handler(Stream::accepted(stream, permit)));
        }
        None => {
            options.stats.refused.fetch_add(1, Relaxed);
            let stream = Stream::unpermitted(stream);
            // A new connection has an empty send buffer: the text fits, or the peer is gone.
            let _ = stream.try_write(options.busy);
            let _ = stream.shutdown_write();
        }
    }
}

/// A descriptor to give up when all are used.
fn open_reserve() -> Option<OwnedFd> {
    std::fs::File::open("/dev/null").ok().map(OwnedFd::from)
}

/// Closes one waiting connection with the help of the reserve. Does nothing without it.
fn close_one(control: &OwnedFd, reserve: &mut Option<OwnedFd>) {
    if reserve.take().is_some() {
        // The accept that failed is over, so no other accept waits on this socket: polling first
        // keeps this one from blocking.
        let mut waiting = [PollFd::new(control, PollFlags::IN)];
        if poll(&mut waiting, Some(&Timespec::default())).is_ok_and(|ready| ready > 0) {
            drop(SockRef::from(control).accept());
        }
    }
    *reserve = open_reserve();
}

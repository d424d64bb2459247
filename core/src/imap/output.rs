//! What goes to the client: a buffer, and the connection behind it.

use std::time::{Duration, Instant};

use postrider_proto::imap::response::{Code, Condition, write_untagged};

use super::session::Ended;
use crate::runtime::timeout_at;
use crate::tls::Transport;

/// With so many octets gathered, they are written.
pub const FLUSH_OCTETS: usize = 16 * 1024;
/// What is gathered for a session on another shard, at most.
const DETACHED_OCTETS_MAX: usize = 16 * 1024 * 1024;

/// Gathers responses and writes them. Nothing is held between commands.
pub struct Output {
    /// Responses that are not written yet; append here, then call [`Output::flush_if_full`].
    pub buffer: Vec<u8>,
    /// None only while the connection is handed over.
    transport: Option<Transport>,
    /// Time for one write.
    write_max: Duration,
    /// Whether somebody else writes what gathers here.
    detached: bool,
}

impl Output {
    /// Writes to `transport`, each write within `write_max`.
    pub const fn new(transport: Transport, write_max: Duration) -> Self {
        Self { buffer: Vec::new(), transport: Some(transport), write_max, detached: false }
    }

    /// Only gathers: the session that asked is on another shard, and takes the buffer.
    pub const fn detached() -> Self {
        Self { buffer: Vec::new(), transport: None, write_max: Duration::ZERO, detached: true }
    }

    /// Appends an untagged status response.
    pub fn untagged(&mut self, condition: Condition, code: Option<&Code<'_>>, text: &str) {
        write_untagged(&mut self.buffer, condition, code, text);
    }

    /// Writes when enough has gathered. Call it in every loop that appends; hold no borrow of the
    /// account and no snapshot over it.
    pub async fn flush_if_full(&mut self) -> Result<(), Ended> {
        if self.buffer.len() >= FLUSH_OCTETS { self.flush().await } else { Ok(()) }
    }

    /// Writes all that has gathered.
    pub async fn flush(&mut self) -> Result<(), Ended> {
        if self.detached && self.buffer.len() > DETACHED_OCTETS_MAX {
            return Err(Ended::Bye(Some(Code::Limit), "the answer is too long"));
        }
        if self.detached || self.buffer.is_empty() {
            return Ok(());
        }
        let buffer = std::mem::take(&mut self.buffer);
        let transport = self.transport.as_mut().ok_or(Ended::Gone)?;
        // In pieces, so that a slow client has the time of a write for each.
        for piece in buffer.chunks(FLUSH_OCTETS) {
            let until = Instant::now() + self.write_max;
            timeout_at(until, transport.write_all(piece)).await.map_err(|_| Ended::Gone)??;
        }
        Ok(())
    }

    /// The connection, for reading.
    pub(super) fn transport(&mut self) -> Result<&mut Transport, Ended> {
        self.transport.as_mut().ok_or(Ended::Gone)
    }

    /// Takes the connection out, to hand it over.
    pub(super) fn take_transport(&mut self) -> Result<Transport, Ended> {
        self.transport.take().ok_or(Ended::Gone)
    }

    /// Puts a connection back.
    pub(super) fn put_transport(&mut self, transport: Transport) {
        self.transport = Some(transport);
    }
}

//! What goes to the client: a buffer, and the connection behind it.

use std::time::{Duration, Instant};

use postrider_proto::imap::response::{Code, Condition, write_untagged};

use super::compression::Compression;
use super::session::Ended;
use crate::runtime::{timeout_at, yield_if_needed};
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
    /// COMPRESS=DEFLATE, when it is active.
    compression: Option<Box<Compression>>,
}

impl Output {
    /// Writes to `transport`, each write within `write_max`.
    pub const fn new(transport: Transport, write_max: Duration) -> Self {
        Self { buffer: Vec::new(), transport: Some(transport), write_max, detached: false, compression: None }
    }

    /// Only gathers: the session that asked is on another shard, and takes the buffer.
    pub const fn detached() -> Self {
        Self {
            buffer: Vec::new(),
            transport: None,
            write_max: Duration::ZERO,
            detached: true,
            compression: None,
        }
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
            let packed = self.compression.as_mut().map(|compression| compression.pack(piece));
            let octets = packed.as_deref().unwrap_or(piece);
            let until = Instant::now() + self.write_max;
            timeout_at(until, transport.write_all(octets)).await.map_err(|_| Ended::Gone)??;
            if packed.is_some() {
                yield_if_needed().await;
            }
        }
        Ok(())
    }

    /// Whether both directions are compressed.
    pub(super) const fn is_compressed(&self) -> bool {
        self.compression.is_some()
    }

    /// Compresses what is written from now on, and takes what is read for compressed.
    pub(super) fn start_compression(&mut self) {
        self.compression = Some(Box::new(Compression::new()));
    }

    /// Ends compression; returns what was read and not unpacked.
    pub(super) fn stop_compression(&mut self) -> Option<Vec<u8>> {
        self.compression.take().map(|compression| compression.into_rest())
    }

    /// Takes compression out, to hand it over with the connection.
    pub(super) fn take_compression(&mut self) -> Option<Box<Compression>> {
        self.compression.take()
    }

    /// Goes on with the compression of a connection that was handed over.
    pub(super) fn put_compression(&mut self, compression: Option<Box<Compression>>) {
        self.compression = compression;
    }

    /// A message of this size was let in.
    pub(super) fn expect_message(&mut self, octets: u64) {
        if let Some(compression) = &mut self.compression {
            compression.allow(octets);
        }
    }

    /// The connection and its compression, for reading.
    pub(super) fn reading(&mut self) -> Result<(&mut Transport, Option<&mut Compression>), Ended> {
        Ok((self.transport.as_mut().ok_or(Ended::Gone)?, self.compression.as_deref_mut()))
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

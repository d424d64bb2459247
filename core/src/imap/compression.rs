//! COMPRESS=DEFLATE on a connection (RFC 4978).
//!
//! What a session holds while it waits is small (see [`postrider_proto::deflate`]); the engines belong
//! to the thread. Compression begins after login only, and ends with UNAUTHENTICATE, so no secret of a
//! login is ever compressed. A session that moves to another shard takes it along.

use std::cell::RefCell;

use postrider_proto::deflate::{BadInput, Compressor, Deflater, Inflater, Limits, Scratch};

#[derive(Default)]
struct Engines {
    compressor: Compressor,
    scratch: Scratch,
}

thread_local! {
    static ENGINES: RefCell<Engines> = RefCell::default();
}

/// Both directions of a compressed connection.
pub(super) struct Compression {
    inflater: Inflater,
    deflater: Deflater,
}

impl Compression {
    pub(super) fn new() -> Self {
        Self { inflater: Inflater::new(Limits::IMAP), deflater: Deflater::default() }
    }

    /// Compresses what is to be sent now.
    pub(super) fn pack(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut packed = Vec::with_capacity(plain.len() / 2 + 64);
        ENGINES.with_borrow_mut(|engines| {
            self.deflater.deflate(&mut engines.compressor, plain, &mut packed);
        });
        packed
    }

    /// Takes what was read from the connection.
    pub(super) fn push(&mut self, packed: &[u8]) {
        self.inflater.push(packed);
    }

    /// Whether [`Compression::unpack`] may give something without more input.
    pub(super) fn is_ready(&self) -> bool {
        self.inflater.is_ready()
    }

    /// Gives some of what was read to `take`, and returns its size.
    pub(super) fn unpack(&mut self, take: impl FnOnce(&[u8])) -> Result<usize, BadInput> {
        ENGINES.with_borrow_mut(|engines| self.inflater.step(&mut engines.scratch, take))
    }

    /// A message of this size was let in; it may be as compressible as it likes.
    pub(super) fn allow(&mut self, octets: u64) {
        self.inflater.allow(octets);
    }

    /// Ends it, and returns what was read and not unpacked.
    pub(super) fn into_rest(self) -> Vec<u8> {
        self.inflater.into_rest()
    }
}

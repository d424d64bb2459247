//! The direction that is written.

use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, TDEFLStatus, compress_to_output, create_comp_flags_from_zip_params,
};

/// Fast, and enough for responses, which repeat themselves.
const LEVEL: i32 = 1;
/// Below zero: no zlib header (RFC 4978 §4).
const RAW_WINDOW_BITS: i32 = -15;
/// What is remembered of a stream between two pieces. A response refers to names and forms that were in
/// the last few; more costs memory for each session, and time for each piece.
const TAIL_OCTETS: usize = 4 * 1024;

/// The state that compresses: some hundred KiB, one for each thread.
pub struct Compressor(Box<CompressorOxide>);

impl Default for Compressor {
    fn default() -> Self {
        let flags = create_comp_flags_from_zip_params(LEVEL, RAW_WINDOW_BITS, 0);
        Self(Box::new(CompressorOxide::new(flags)))
    }
}

/// A stream that is written.
#[derive(Default, Debug)]
pub struct Deflater {
    /// The last octets that were compressed.
    tail: Vec<u8>,
}

impl Deflater {
    /// Appends `plain`, compressed, up to an octet boundary at which all of it can be read.
    pub fn deflate(&mut self, compressor: &mut Compressor, plain: &[u8], out: &mut Vec<u8>) {
        if plain.is_empty() {
            return;
        }
        let engine = &mut *compressor.0;
        engine.reset();
        if !self.tail.is_empty() {
            // The other side has these octets already; here they only fill the engine's window.
            feed(engine, &self.tail, &mut |_| {});
        }
        feed(engine, plain, &mut |packed| out.extend_from_slice(packed));
        self.remember(plain);
    }

    /// Octets of memory that the stream holds.
    pub fn memory_octets(&self) -> usize {
        self.tail.capacity()
    }

    fn remember(&mut self, plain: &[u8]) {
        let kept = TAIL_OCTETS.saturating_sub(plain.len());
        self.tail.drain(..self.tail.len().saturating_sub(kept));
        let new = &plain[plain.len().saturating_sub(TAIL_OCTETS)..];
        self.tail.reserve_exact(new.len());
        self.tail.extend_from_slice(new);
    }
}

/// Compresses all of `plain` with a sync flush behind it.
fn feed(engine: &mut CompressorOxide, plain: &[u8], take: &mut dyn FnMut(&[u8])) {
    let (status, read) = compress_to_output(engine, plain, TDEFLFlush::Sync, |packed| {
        take(packed);
        true
    });
    // It fails only when its output does, or after the end of a stream.
    debug_assert_eq!((status, read), (TDEFLStatus::Okay, plain.len()));
}

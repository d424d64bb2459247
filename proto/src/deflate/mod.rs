//! Streams in both directions under COMPRESS=DEFLATE (RFC 4978, RFC 1951).
//!
//! A stream that waits holds no engine, only what the other side may still refer to: what was sent last
//! ([`Deflater`]), or what was read last with a few bits ([`Inflater`]). The large [`Compressor`] is
//! borrowed for each piece. What always holds: what was compressed can be read without what follows it;
//! one step of reading yields at most [`Limits::step_octets_max`] octets; input that expands beyond its
//! credit is refused.

mod deflater;
mod inflater;
#[cfg(test)]
mod tests;

pub use deflater::{Compressor, Deflater};
pub use inflater::{BadInput, Inflater, Scratch};

/// What bounds one stream that is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Octets that one step yields.
    pub step_octets_max: usize,
    /// Octets that may come out for each that went in, on the whole.
    pub ratio_max: u64,
    /// Octets that may come out beyond that.
    pub free_octets: u64,
}

impl Limits {
    /// What IMAP uses. Commands expand some ten times, repeated ones rarely fifty times; DEFLATE can
    /// reach a thousand.
    pub const IMAP: Self = Self { step_octets_max: 64 * 1024, ratio_max: 64, free_octets: 1024 * 1024 };
}

/// How far back a stream may refer (RFC 1951 §2).
const WINDOW_OCTETS: usize = 32 * 1024;

//! The direction that is read.

use memchr::memmem;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{BlockBoundaryState, DecompressorOxide, decompress};

use super::{Limits, WINDOW_OCTETS};

const FLAGS: u32 =
    TINFL_FLAG_HAS_MORE_INPUT | TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
/// What a sync flush ends with: the lengths of an empty stored block (RFC 1951 §3.2.4).
const FLUSH_MARK: &[u8] = &[0, 0, 0xff, 0xff];

/// Why input is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadInput {
    /// It isn't DEFLATE.
    #[error("compressed input is malformed")]
    Malformed,
    /// It goes on behind its end.
    #[error("compressed input goes on behind its end")]
    Ended,
    /// It expands too much.
    #[error("compressed input expands too much")]
    Bomb,
}

/// Space that streams of one thread work in, one after the other.
#[derive(Default, Debug)]
pub struct Scratch(Vec<u8>);

/// A stream that is read.
///
/// What was pushed is taken up to the end of each flush and no further, before what came of it has been
/// given out: so a client that ends its compression behind a command may go on in the clear at once
/// (RFC 8437 §4.1), and [`Inflater::into_rest`] has what it sent.
pub struct Inflater {
    limits: Limits,
    state: State,
    /// The last octets that came out, to which what follows may refer.
    window: Vec<u8>,
    /// What was pushed; up to `start` it is done with.
    input: Vec<u8>,
    start: usize,
    /// A step stopped because it was full.
    full: bool,
    /// Octets that may still come out.
    credit: u64,
}

enum State {
    /// Between blocks, with the bits that are left of the last octet.
    Between(BlockBoundaryState),
    /// Within a block.
    Within(Box<DecompressorOxide>),
    /// Behind the last block.
    Ended,
}

impl Inflater {
    /// A stream at its begin.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Between(BlockBoundaryState::default()),
            window: Vec::new(),
            input: Vec::new(),
            start: 0,
            full: false,
            credit: limits.free_octets,
        }
    }

    /// Takes octets that were read.
    pub fn push(&mut self, octets: &[u8]) {
        if self.start == self.input.len() {
            self.input.clear();
            self.start = 0;
        }
        self.input.extend_from_slice(octets);
    }

    /// Whether [`Inflater::step`] may yield something without more input.
    pub fn is_ready(&self) -> bool {
        self.full || self.start < self.input.len()
    }

    /// Lets `octets` more come out: of a message that was announced, and is bounded elsewhere.
    pub fn allow(&mut self, octets: u64) {
        self.credit = self.credit.saturating_add(octets);
    }

    /// Gives some of what came to `take`: at most [`Limits::step_octets_max`] octets, which it returns,
    /// and nothing that was compressed after a flush behind them.
    pub fn step(&mut self, scratch: &mut Scratch, take: impl FnOnce(&[u8])) -> Result<usize, BadInput> {
        let mut engine = match std::mem::replace(&mut self.state, State::Ended) {
            State::Between(state) => Box::new(DecompressorOxide::from_block_boundary_state(&state)),
            State::Within(engine) => engine,
            State::Ended if self.is_ready() => return Err(BadInput::Ended),
            State::Ended => return Ok(0),
        };
        let end = self.flush_end();
        let space = &mut scratch.0;
        space.resize(WINDOW_OCTETS + self.limits.step_octets_max, 0);
        let begin = self.window.len();
        space[..begin].copy_from_slice(&self.window);
        let space = &mut space[..begin + self.limits.step_octets_max];
        let mut at = begin;
        self.full = false;
        let ended = loop {
            let (status, read, written) =
                decompress(&mut engine, &self.input[self.start..end], space, at, FLAGS);
            self.start += read;
            at += written;
            self.pay(read, written)?;
            match status {
                TINFLStatus::BlockBoundary if self.start < end => {}
                TINFLStatus::BlockBoundary | TINFLStatus::NeedsMoreInput => break false,
                TINFLStatus::HasMoreOutput => {
                    self.full = true;
                    break false;
                }
                TINFLStatus::Done => break true,
                _ => return Err(BadInput::Malformed),
            }
        };
        if !ended {
            self.state = match engine.block_boundary_state() {
                Some(state) => State::Between(state),
                None => State::Within(engine),
            };
        }
        if self.start == self.input.len() {
            // What waits holds no buffer.
            self.input = Vec::new();
            self.start = 0;
        }
        self.remember(&space[..at]);
        if at > begin {
            take(&space[begin..at]);
        }
        Ok(at - begin)
    }

    /// Ends the stream, and returns what was pushed and not taken.
    pub fn into_rest(mut self) -> Vec<u8> {
        self.input.split_off(self.start)
    }

    /// Octets of memory that the stream holds.
    pub fn memory_octets(&self) -> usize {
        let engine = match &self.state {
            State::Within(_) => size_of::<DecompressorOxide>(),
            State::Between(_) | State::Ended => 0,
        };
        self.window.capacity() + self.input.capacity() + engine
    }

    /// Where what was pushed is cut: behind the first mark of a flush. A mark within a block only cuts
    /// where nothing has to be.
    fn flush_end(&self) -> usize {
        let rest = &self.input[self.start..];
        match memmem::find(rest, FLUSH_MARK) {
            Some(at) => self.start + at + FLUSH_MARK.len(),
            None => self.input.len(),
        }
    }

    fn pay(&mut self, read: usize, written: usize) -> Result<(), BadInput> {
        let earned = (read as u64).saturating_mul(self.limits.ratio_max);
        let credit = self.credit.saturating_add(earned);
        self.credit = credit.checked_sub(written as u64).ok_or(BadInput::Bomb)?;
        Ok(())
    }

    /// Keeps the end of `octets`, which begin with the present window.
    fn remember(&mut self, octets: &[u8]) {
        let kept = &octets[octets.len().saturating_sub(WINDOW_OCTETS)..];
        self.window.clear();
        self.window.reserve_exact(kept.len());
        self.window.extend_from_slice(kept);
    }
}

impl std::fmt::Debug for Inflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inflater").field("memory_octets", &self.memory_octets()).finish_non_exhaustive()
    }
}

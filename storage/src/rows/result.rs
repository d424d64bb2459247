//! What came of an attempt to deliver.

use zerocopy::little_endian::{I64, U16};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{BadRow, Fixed, Tail, field, length};

/// What the other server said, or why it couldn't be asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AttemptResult {
    /// When, in seconds since 1970.
    pub time: i64,
    /// The reply's code; 0 when no server replied.
    pub code: u16,
    /// The enhanced status code (RFC 3463).
    pub enhanced: Option<[u16; 3]>,
    /// The server that said it; empty when there was none.
    host: Box<str>,
    /// The reply's text, or what went wrong.
    text: Box<str>,
}

/// Its fixed part within another record.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct ResultLayout {
    time: I64,
    code: U16,
    enhanced: [U16; 3],
    text: U16,
    host: u8,
    traits: u8,
}

const THERE: u8 = 1;
const ENHANCED: u8 = 1 << 1;

impl AttemptResult {
    /// The longest text that is kept.
    pub const TEXT_OCTETS_MAX: usize = 1024;
    /// The longest name of a server.
    pub const HOST_OCTETS_MAX: usize = 255;

    /// A result at `time` (seconds since 1970). What is too long of its texts is cut off.
    pub fn new(time: i64, code: u16, enhanced: Option<[u16; 3]>, host: &str, text: &str) -> Self {
        let cut = |text: &str, octets_max: usize| text[..text.floor_char_boundary(octets_max)].into();
        Self {
            time,
            code,
            enhanced,
            host: cut(host, Self::HOST_OCTETS_MAX),
            text: cut(text, Self::TEXT_OCTETS_MAX),
        }
    }

    /// The server that said it; empty when there was none.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The reply's text, or what went wrong.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The fixed part of one that is there or not; the texts follow by [`Self::put`].
    pub(super) fn layout(this: Option<&Self>) -> Option<ResultLayout> {
        let Some(this) = this else {
            return Some(ResultLayout {
                time: 0.into(),
                code: 0.into(),
                enhanced: [0.into(); 3],
                text: 0.into(),
                host: 0,
                traits: 0,
            });
        };
        Some(ResultLayout {
            time: this.time.into(),
            code: this.code.into(),
            enhanced: this.enhanced.unwrap_or_default().map(Into::into),
            text: length(this.text.as_bytes(), Self::TEXT_OCTETS_MAX)?,
            host: u8::try_from(this.host.len()).ok()?,
            traits: THERE | if this.enhanced.is_some() { ENHANCED } else { 0 },
        })
    }

    /// Adds the texts.
    pub(super) fn put(this: Option<&Self>, out: &mut Vec<u8>) {
        if let Some(this) = this {
            out.extend_from_slice(this.host.as_bytes());
            out.extend_from_slice(this.text.as_bytes());
        }
    }

    /// Reads what [`Self::layout`] and [`Self::put`] wrote into a record of `T`.
    pub(super) fn take<T: Fixed>(row: &ResultLayout, tail: &mut Tail<'_>) -> Result<Option<Self>, BadRow> {
        let (host, text) = (tail.text(row.host)?, tail.text(row.text.get())?);
        if row.traits & THERE == 0 {
            let none = host.is_empty() && text.is_empty();
            return if none { Ok(None) } else { Err(field::<T>("result")) };
        }
        let enhanced = (row.traits & ENHANCED != 0).then(|| row.enhanced.map(U16::get));
        Ok(Some(Self { time: row.time.get(), code: row.code.get(), enhanced, host, text }))
    }
}

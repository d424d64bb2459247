//! Rows of addresses to which an account's mail isn't delivered any more, and of those on the way there.

use zerocopy::little_endian::{I64, U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{BadRow, Fixed, Tail, bit, field, length, split, whole};

/// An address that an account doesn't send to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SuppressionRow {
    /// Since when, in seconds since 1970.
    pub created: i64,
    /// Whether a failed delivery put it there, not a person.
    pub automatic: bool,
    /// The address as it failed or was given.
    pub address: Box<str>,
    /// Why.
    pub reason: Box<str>,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct SuppressionLayout {
    version: u8,
    traits: u8,
    address: U16,
    reason: U16,
    created: I64,
}

impl Fixed for SuppressionLayout {
    const NAME: &'static str = "SUPPRESSION";
}

const AUTOMATIC: u8 = 1;

impl SuppressionRow {
    /// The longest address or reason.
    pub const TEXT_OCTETS_MAX: usize = 1024;

    /// The bytes that are stored; none when a text is longer than [`Self::TEXT_OCTETS_MAX`].
    pub fn encode(&self) -> Option<Vec<u8>> {
        let fixed = SuppressionLayout {
            version: SuppressionLayout::VERSION,
            traits: bit(self.automatic, AUTOMATIC),
            address: length(self.address.as_bytes(), Self::TEXT_OCTETS_MAX)?,
            reason: length(self.reason.as_bytes(), Self::TEXT_OCTETS_MAX)?,
            created: self.created.into(),
        };
        Some([fixed.as_bytes(), self.address.as_bytes(), self.reason.as_bytes()].concat())
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let (row, tail) = split::<SuppressionLayout>(bytes)?;
        let mut tail = Tail::of::<SuppressionLayout>(tail, bytes.len());
        let this = Self {
            created: row.created.get(),
            automatic: row.traits & AUTOMATIC != 0,
            address: tail.text(row.address.get())?,
            reason: tail.text(row.reason.get())?,
        };
        tail.end()?;
        Ok(this)
    }
}

/// How often in a row an account's mail to one address failed for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StrikesRow {
    /// How often; never 0.
    pub count: u32,
    /// When it last did, in seconds since 1970.
    pub last: i64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct StrikesLayout {
    version: u8,
    reserved: [u8; 3],
    count: U32,
    last: I64,
}

impl Fixed for StrikesLayout {
    const NAME: &'static str = "STRIKES";
}

impl StrikesRow {
    /// The bytes that are stored.
    pub fn encode(self) -> Vec<u8> {
        let Self { count, last } = self;
        let version = StrikesLayout::VERSION;
        StrikesLayout { version, reserved: [0; 3], count: count.into(), last: last.into() }
            .as_bytes()
            .to_vec()
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let row = whole::<StrikesLayout>(bytes)?;
        if row.count.get() == 0 {
            return Err(field::<StrikesLayout>("count"));
        }
        Ok(Self { count: row.count.get(), last: row.last.get() })
    }
}

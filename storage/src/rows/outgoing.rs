//! How much an account sent.

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{BadRow, Fixed, whole};

/// To how many an account sent at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OutgoingRow {
    /// Recipients.
    pub recipients: u32,
    /// Those of them to whom it never sent before.
    pub first_time: u32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct OutgoingLayout {
    version: u8,
    reserved: [u8; 3],
    recipients: U32,
    first_time: U32,
}

impl Fixed for OutgoingLayout {
    const NAME: &'static str = "OUTGOING";
}

impl OutgoingRow {
    /// The bytes that are stored.
    pub fn encode(self) -> Vec<u8> {
        let fixed = OutgoingLayout {
            version: OutgoingLayout::VERSION,
            reserved: [0; 3],
            recipients: self.recipients.into(),
            first_time: self.first_time.into(),
        };
        fixed.as_bytes().to_vec()
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let row = whole::<OutgoingLayout>(bytes)?;
        Ok(Self { recipients: row.recipients.get(), first_time: row.first_time.get() })
    }
}

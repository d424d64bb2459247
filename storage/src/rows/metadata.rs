//! Annotations (RFC 5464).

use postrider_proto::imap::types::ModSeq;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{BadRow, Fixed, modseq, split};

/// An annotation; one without value has no row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetadataRow {
    /// Its last change.
    pub modseq: ModSeq,
    /// Its value: whatever octets, perhaps none.
    pub value: Box<[u8]>,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Layout {
    version: u8,
    reserved: [u8; 7],
    modseq: U64,
}

impl Fixed for Layout {
    const NAME: &'static str = "METADATA";
}

impl MetadataRow {
    /// The bytes that are stored.
    pub fn encode(&self) -> Vec<u8> {
        let fixed = Layout { version: Layout::VERSION, reserved: [0; 7], modseq: self.modseq.get().into() };
        [fixed.as_bytes(), &self.value].concat()
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let (row, value) = split::<Layout>(bytes)?;
        Ok(Self { modseq: modseq::<Layout>(row.modseq.get())?, value: value.into() })
    }
}

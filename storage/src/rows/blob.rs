//! Rows of message contents, of what is to be removed, and of the format itself.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{BadRow, Fixed, field, split, whole};

/// The version of the whole store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FormatRow {
    /// The format's number.
    pub format: u32,
    /// The format that it is being converted from; 0 when it is whole.
    pub converting: u8,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct FormatLayout {
    version: u8,
    converting: u8,
    reserved: [u8; 2],
    format: U32,
}

impl Fixed for FormatLayout {
    const NAME: &'static str = "FORMAT";
}

impl FormatRow {
    /// The bytes that are stored.
    pub fn encode(&self) -> Vec<u8> {
        FormatLayout {
            version: FormatLayout::VERSION,
            converting: self.converting,
            reserved: [0; 2],
            format: self.format.into(),
        }
        .as_bytes()
        .to_vec()
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let row = whole::<FormatLayout>(bytes)?;
        Ok(Self { format: row.format.get(), converting: row.converting })
    }
}

/// The header of a message content: written when all its chunks are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlobRow {
    /// Octets of all chunks.
    pub size: u64,
    /// How many chunks.
    pub chunks: u32,
    /// The record of the message's structure, as `proto::mime` wrote it; empty without one.
    pub structure: Box<[u8]>,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct BlobLayout {
    version: u8,
    reserved: [u8; 3],
    chunks: U32,
    size: U64,
}

impl Fixed for BlobLayout {
    const NAME: &'static str = "BLOB";
}

impl BlobRow {
    /// The bytes that are stored.
    pub fn encode(&self) -> Vec<u8> {
        let fixed = BlobLayout {
            version: BlobLayout::VERSION,
            reserved: [0; 3],
            chunks: self.chunks.into(),
            size: self.size.into(),
        };
        let mut out = Vec::with_capacity(size_of::<BlobLayout>() + self.structure.len());
        out.extend_from_slice(fixed.as_bytes());
        out.extend_from_slice(&self.structure);
        out
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let (row, structure) = split::<BlobLayout>(bytes)?;
        Ok(Self { size: row.size.get(), chunks: row.chunks.get(), structure: structure.into() })
    }
}

/// Removals of one email by one change, which a session may not have heard of yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EraseRow {
    /// How many references of the email they held. Never 0.
    pub refs: u32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct EraseLayout {
    version: u8,
    reserved: [u8; 3],
    refs: U32,
}

impl Fixed for EraseLayout {
    const NAME: &'static str = "ERASE";
}

impl EraseRow {
    /// The bytes that are stored.
    pub fn encode(&self) -> Vec<u8> {
        EraseLayout { version: EraseLayout::VERSION, reserved: [0; 3], refs: self.refs.into() }
            .as_bytes()
            .to_vec()
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let refs = whole::<EraseLayout>(bytes)?.refs.get();
        if refs == 0 { Err(field::<EraseLayout>("count")) } else { Ok(Self { refs }) }
    }
}

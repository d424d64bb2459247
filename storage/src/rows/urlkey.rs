//! The key that authorises URLs of a mailbox's messages.

use std::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{BadRow, Fixed, whole};

/// The key of a mailbox (RFC 4467 §2.2). Nobody but the server ever sees it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UrlKeyRow {
    /// Octets from a random source.
    pub key: [u8; Self::OCTETS],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct UrlKeyLayout {
    version: u8,
    reserved: [u8; 3],
    key: [u8; UrlKeyRow::OCTETS],
}

impl Fixed for UrlKeyLayout {
    const NAME: &'static str = "URLKEY";
}

impl UrlKeyRow {
    /// Octets of a key.
    pub const OCTETS: usize = 32;

    /// The bytes that are stored.
    pub fn encode(&self) -> Vec<u8> {
        let layout = UrlKeyLayout { version: UrlKeyLayout::VERSION, reserved: [0; 3], key: self.key };
        layout.as_bytes().to_vec()
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        Ok(Self { key: whole::<UrlKeyLayout>(bytes)?.key })
    }
}

impl fmt::Debug for UrlKeyRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UrlKeyRow(..)")
    }
}

//! The container of keys and values.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

/// Immutable bytes that are cheap to clone: short ones (up to 20) live inline, others are counted references
/// into one allocation, often a cached block of the engine.
///
/// Holding one may keep the block alive that it came from, so do not keep small values for long: copy them.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(::fjall::Slice);

impl Bytes {
    /// Copies `bytes`.
    pub fn copy_from(bytes: &[u8]) -> Self {
        Self(::fjall::Slice::new(bytes))
    }

    /// The content.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn from_engine(slice: ::fjall::Slice) -> Self {
        Self(slice)
    }

    pub(super) fn into_engine(self) -> ::fjall::Slice {
        self.0
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Bytes {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(::fjall::Slice::from(bytes))
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Self::copy_from(bytes)
    }
}

impl From<&Vec<u8>> for Bytes {
    fn from(bytes: &Vec<u8>) -> Self {
        Self::copy_from(bytes)
    }
}

impl<const N: usize> From<[u8; N]> for Bytes {
    fn from(bytes: [u8; N]) -> Self {
        Self::copy_from(&bytes)
    }
}

impl<const N: usize> From<&[u8; N]> for Bytes {
    fn from(bytes: &[u8; N]) -> Self {
        Self::copy_from(bytes)
    }
}

impl PartialEq<[u8]> for Bytes {
    fn eq(&self, other: &[u8]) -> bool {
        self.as_slice() == other
    }
}

impl PartialEq<&[u8]> for Bytes {
    fn eq(&self, other: &&[u8]) -> bool {
        self.as_slice() == *other
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.as_slice().escape_ascii())
    }
}

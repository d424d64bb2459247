//! Where a list is continued.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;

use crate::keys::Key;
use crate::store::Refusal;

/// The last row that a page of a list looked at; as text it is hexadecimal. What is added or removed meanwhile
/// doesn't disturb it: it need not exist any more.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Cursor(Key);

impl Cursor {
    pub(crate) fn at(key: impl AsRef<[u8]>) -> Self {
        Self(key.as_ref().to_vec())
    }

    /// Its row; refused when it isn't one of those that begin with `prefix`.
    pub(crate) fn key(&self, prefix: &[u8]) -> Result<&[u8], Refusal> {
        if self.0.starts_with(prefix) { Ok(&self.0) } else { Err(Refusal::BadCursor) }
    }

    /// The first possible key behind a cursor among those that begin with `prefix`.
    pub(crate) fn after(cursor: Option<&Self>, prefix: &[u8]) -> Result<Key, Refusal> {
        cursor.map_or_else(|| Ok(prefix.to_vec()), |cursor| Ok([cursor.key(prefix)?, &[0]].concat()))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl FromStr for Cursor {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        /// Longer than the key of anything that is listed.
        const TEXT_OCTETS_MAX: usize = 4096;
        if text.len() > TEXT_OCTETS_MAX {
            return Err(Refusal::BadCursor);
        }
        HEXLOWER.decode(text.as_bytes()).map(Self).map_err(|_| Refusal::BadCursor)
    }
}

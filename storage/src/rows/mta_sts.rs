//! Rows of cached MTA-STS policies.

use zerocopy::little_endian::{I64, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{BadRow, Fixed, Tail, bit, split};

/// The policy of a domain (RFC 8461 §3.2), or that there was none to be had.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MtaStsRow {
    /// When the domain was first looked at, in seconds since 1970.
    pub inserted: i64,
    /// Until when it holds.
    pub valid_until: i64,
    /// When it was last fetched, or confirmed.
    pub updated: i64,
    /// When it was last used.
    pub used: i64,
    /// Whether fetching failed, or found none: it isn't tried again before `valid_until`.
    pub backoff: bool,
    /// The id of the record that announced it (RFC 8461 §3.1); empty without one.
    pub record_id: Box<str>,
    /// The policy as it was served; empty without one.
    pub policy: Box<str>,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct MtaStsLayout {
    version: u8,
    traits: u8,
    record_id: u8,
    reserved: u8,
    policy: U32,
    inserted: I64,
    valid_until: I64,
    updated: I64,
    used: I64,
}

impl Fixed for MtaStsLayout {
    const NAME: &'static str = "MTASTS";
}

const BACKOFF: u8 = 1;

impl MtaStsRow {
    /// The longest policy (RFC 8461 §3.2 suggests 64 kilobytes).
    pub const POLICY_OCTETS_MAX: usize = 64 * 1024;

    /// The bytes that are stored; none when the id is longer than 255 octets or the policy longer than
    /// [`Self::POLICY_OCTETS_MAX`].
    pub fn encode(&self) -> Option<Vec<u8>> {
        let policy = u32::try_from(self.policy.len()).ok();
        let fixed = MtaStsLayout {
            version: MtaStsLayout::VERSION,
            traits: bit(self.backoff, BACKOFF),
            record_id: u8::try_from(self.record_id.len()).ok()?,
            reserved: 0,
            policy: policy.filter(|_| self.policy.len() <= Self::POLICY_OCTETS_MAX)?.into(),
            inserted: self.inserted.into(),
            valid_until: self.valid_until.into(),
            updated: self.updated.into(),
            used: self.used.into(),
        };
        Some([fixed.as_bytes(), self.record_id.as_bytes(), self.policy.as_bytes()].concat())
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let (row, tail) = split::<MtaStsLayout>(bytes)?;
        let mut tail = Tail::of::<MtaStsLayout>(tail, bytes.len());
        let this = Self {
            inserted: row.inserted.get(),
            valid_until: row.valid_until.get(),
            updated: row.updated.get(),
            used: row.used.get(),
            backoff: row.traits & BACKOFF != 0,
            record_id: tail.text(row.record_id)?,
            // A policy that is too long is too long for the row, too.
            policy: tail.text(row.policy.get() as usize)?,
        };
        tail.end()?;
        Ok(this)
    }
}

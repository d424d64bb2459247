//! Rows of what an account's deliveries learned of the transport security of domains.

use zerocopy::little_endian::I64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{BadRow, Fixed, bit, field, whole};

/// What was seen of MTA-STS (RFC 8461).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MtaStsSeen {
    /// No policy.
    #[default]
    Absent = 0,
    /// A policy of mode `none`.
    None = 1,
    /// One of mode `testing`.
    Testing = 2,
    /// One of mode `enforce`.
    Enforce = 3,
}

/// What the last connection for a recipient domain showed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TlsKnownRow {
    /// When, in seconds since 1970.
    pub updated: i64,
    /// Whether the server offered STARTTLS.
    pub starttls: bool,
    /// Whether it offered REQUIRETLS (RFC 8689).
    pub requiretls: bool,
    /// Whether the domain's answers were signed (DNSSEC).
    pub dnssec: bool,
    /// Whether its server had usable TLSA records (RFC 7672).
    pub dane: bool,
    /// Its policy.
    pub mta_sts: MtaStsSeen,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct TlsKnownLayout {
    version: u8,
    traits: u8,
    mta_sts: u8,
    reserved: [u8; 5],
    updated: I64,
}

impl Fixed for TlsKnownLayout {
    const NAME: &'static str = "TLSKNOWN";
}

const STARTTLS: u8 = 1;
const REQUIRETLS: u8 = 1 << 1;
const DNSSEC: u8 = 1 << 2;
const DANE: u8 = 1 << 3;

impl TlsKnownRow {
    /// The period in which it was updated. Times before 1970 count as 1970.
    pub fn period(&self) -> u32 {
        u32::try_from(self.updated.max(0) / Self::PERIOD).unwrap_or(u32::MAX)
    }

    /// The seconds that are one period: rows are found by their age in periods.
    pub const PERIOD: i64 = 30 * 24 * 60 * 60;

    /// The bytes that are stored.
    pub fn encode(self) -> Vec<u8> {
        TlsKnownLayout {
            version: TlsKnownLayout::VERSION,
            traits: bit(self.starttls, STARTTLS)
                | bit(self.requiretls, REQUIRETLS)
                | bit(self.dnssec, DNSSEC)
                | bit(self.dane, DANE),
            mta_sts: self.mta_sts as u8,
            reserved: [0; 5],
            updated: self.updated.into(),
        }
        .as_bytes()
        .to_vec()
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let row = whole::<TlsKnownLayout>(bytes)?;
        let has = |bit| row.traits & bit != 0;
        Ok(Self {
            updated: row.updated.get(),
            starttls: has(STARTTLS),
            requiretls: has(REQUIRETLS),
            dnssec: has(DNSSEC),
            dane: has(DANE),
            mta_sts: match row.mta_sts {
                0 => MtaStsSeen::Absent,
                1 => MtaStsSeen::None,
                2 => MtaStsSeen::Testing,
                3 => MtaStsSeen::Enforce,
                _ => return Err(field::<TlsKnownLayout>("mode of MTA-STS")),
            },
        })
    }
}

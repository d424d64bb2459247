//! Whose mail an account has had before.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{BadRow, Fixed, field, split};

/// Senders whose hashes share a bucket: each with the day of its last message.
///
/// A full bucket forgets who was silent longest, so an account's rows are bounded whatever comes in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SendersRow {
    /// Hash and day, ascending by hash, each hash once.
    entries: Vec<(u64, u32)>,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct SendersLayout {
    version: u8,
    reserved: [u8; 3],
}

impl Fixed for SendersLayout {
    const NAME: &'static str = "SENDERS";
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Entry {
    hash: U64,
    day: U32,
}

impl SendersRow {
    /// Buckets of an account.
    pub const BUCKETS: u16 = 4096;
    /// Senders of one bucket.
    pub const SENDERS_MAX: usize = 8;

    /// The bucket of a sender.
    pub fn bucket(hash: u64) -> u16 {
        // The top bits, so that entries of a row differ in all that is left.
        (hash >> 52) as u16
    }

    /// The day of a sender's last message, in days since 1970.
    pub fn day(&self, hash: u64) -> Option<u32> {
        let at = self.entries.binary_search_by_key(&hash, |entry| entry.0).ok()?;
        self.entries.get(at).map(|entry| entry.1)
    }

    /// Notes a sender, in the place of the one that was silent longest when there is no other.
    pub fn note(&mut self, hash: u64, day: u32) {
        self.entries.retain(|entry| entry.0 != hash);
        if self.entries.len() >= Self::SENDERS_MAX
            && let Some(oldest) = self.entries.iter().enumerate().min_by_key(|(_, entry)| entry.1)
        {
            self.entries.remove(oldest.0);
        }
        let at = self.entries.partition_point(|entry| entry.0 < hash);
        self.entries.insert(at, (hash, day));
    }

    /// Forgets who wrote before `day` last.
    pub fn forget_before(&mut self, day: u32) {
        self.entries.retain(|entry| entry.1 >= day);
    }

    /// The senders.
    pub fn entries(&self) -> &[(u64, u32)] {
        &self.entries
    }

    /// The bytes that are stored.
    pub fn encode(&self) -> Vec<u8> {
        let layout = SendersLayout { version: SendersLayout::VERSION, reserved: [0; 3] };
        let mut out = layout.as_bytes().to_vec();
        for (hash, day) in &self.entries {
            out.extend_from_slice(Entry { hash: (*hash).into(), day: (*day).into() }.as_bytes());
        }
        out
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let (_, tail) = split::<SendersLayout>(bytes)?;
        let entries = <[Entry]>::ref_from_bytes(tail)
            .map_err(|_| BadRow::Length { row: SendersLayout::NAME, octets: bytes.len() })?;
        let entries: Vec<_> = entries.iter().map(|entry| (entry.hash.get(), entry.day.get())).collect();
        let ascending = entries.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let fits = !entries.is_empty() && entries.len() <= Self::SENDERS_MAX;
        if ascending && fits { Ok(Self { entries }) } else { Err(field::<SendersLayout>("list of senders")) }
    }
}

const _: () = assert!(SendersRow::BUCKETS == 1 << 12, "a bucket is the top twelve bits of a hash");

//! Rows of recipients that are still to be reached.

use postrider_proto::smtp::envelope::Notify;
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::result::ResultLayout;
use super::{AttemptResult, BadRow, Fixed, Tail, bit, length, split};

/// One recipient of an entry of the queue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecipientRow {
    /// RFC 3461 NOTIFY; none when the sender didn't say.
    pub notify: Option<Notify>,
    /// The address without angle brackets.
    pub address: Box<[u8]>,
    /// RFC 3461 ORCPT as given, decoded no further; empty without one.
    pub original: Box<[u8]>,
    /// What came of the last attempt; none before the first.
    pub result: Option<AttemptResult>,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RecipientLayout {
    version: u8,
    notify: u8,
    address: U16,
    original: U16,
    result: ResultLayout,
}

impl Fixed for RecipientLayout {
    const NAME: &'static str = "QUEUERCPT";
    const VERSION: u8 = 2;
}

/// That the sender said something; alone it is NEVER.
const SAID: u8 = 1;
const SUCCESS: u8 = 1 << 1;
const FAILURE: u8 = 1 << 2;
const DELAY: u8 = 1 << 3;

/// NOTIFY as it is stored.
pub(super) fn notify_bits(notify: Option<Notify>) -> u8 {
    notify.map_or(0, |notify| {
        SAID | bit(notify.success, SUCCESS) | bit(notify.failure, FAILURE) | bit(notify.delay, DELAY)
    })
}

/// Reads what [`notify_bits`] made.
pub(super) fn notify(bits: u8) -> Option<Notify> {
    (bits & SAID != 0).then_some(Notify {
        success: bits & SUCCESS != 0,
        failure: bits & FAILURE != 0,
        delay: bits & DELAY != 0,
    })
}

impl RecipientRow {
    /// The longest address or ORCPT.
    pub const TEXT_OCTETS_MAX: usize = u16::MAX as usize;

    /// The bytes that are stored; none when a text is longer than [`Self::TEXT_OCTETS_MAX`].
    pub fn encode(&self) -> Option<Vec<u8>> {
        let fixed = RecipientLayout {
            version: RecipientLayout::VERSION,
            notify: notify_bits(self.notify),
            address: length(&self.address, Self::TEXT_OCTETS_MAX)?,
            original: length(&self.original, Self::TEXT_OCTETS_MAX)?,
            result: AttemptResult::layout(self.result.as_ref())?,
        };
        let mut out = fixed.as_bytes().to_vec();
        out.extend_from_slice(&self.address);
        out.extend_from_slice(&self.original);
        AttemptResult::put(self.result.as_ref(), &mut out);
        Some(out)
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let (row, tail) = split::<RecipientLayout>(bytes)?;
        let mut tail = Tail::of::<RecipientLayout>(tail, bytes.len());
        let this = Self {
            notify: notify(row.notify),
            address: tail.octets(row.address.get())?.into(),
            original: tail.octets(row.original.get())?.into(),
            result: AttemptResult::take::<RecipientLayout>(&row.result, &mut tail)?,
        };
        tail.end()?;
        Ok(this)
    }
}

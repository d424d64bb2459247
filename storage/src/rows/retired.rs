//! Rows of what became of recipients, kept for a while.

use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::queue::Kind;
use super::result::ResultLayout;
use super::{AttemptResult, BadRow, Fixed, Tail, field, length, split};
use crate::ids::QueueId;

/// What became of a recipient.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retirement {
    /// The next server took the message.
    Delivered = 0,
    /// It could not be delivered.
    Failed = 1,
    /// An operator dropped it.
    Dropped = 2,
}

/// A recipient that left the queue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RetiredRow {
    /// What became of it.
    pub retirement: Retirement,
    /// What the message was.
    pub kind: Kind,
    /// When it left, in seconds since 1970.
    pub ended: i64,
    /// When the message was accepted.
    pub created: i64,
    /// What was common to the entries of the submission.
    pub base: QueueId,
    /// The account that submitted it; 0 when the system did.
    pub sender: u32,
    /// Attempts made.
    pub attempts: u32,
    /// The reverse path; empty for reports.
    pub mail_from: Box<[u8]>,
    /// The recipient's address.
    pub address: Box<[u8]>,
    /// RFC 3461 ENVID; empty without one.
    pub envelope_id: Box<[u8]>,
    /// What came of the last attempt.
    pub result: Option<AttemptResult>,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RetiredLayout {
    version: u8,
    retirement: u8,
    kind: u8,
    reserved: u8,
    mail_from: U16,
    address: U16,
    envelope_id: U16,
    reserved_too: [u8; 2],
    sender: U32,
    attempts: U32,
    base: U64,
    ended: I64,
    created: I64,
    result: ResultLayout,
}

impl Fixed for RetiredLayout {
    const NAME: &'static str = "RETIRED";
}

impl RetiredRow {
    /// The bytes that are stored; none when a text is longer than 65,535 octets.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let octets_max = usize::from(u16::MAX);
        let fixed = RetiredLayout {
            version: RetiredLayout::VERSION,
            retirement: self.retirement as u8,
            kind: self.kind as u8,
            reserved: 0,
            mail_from: length(&self.mail_from, octets_max)?,
            address: length(&self.address, octets_max)?,
            envelope_id: length(&self.envelope_id, octets_max)?,
            reserved_too: [0; 2],
            sender: self.sender.into(),
            attempts: self.attempts.into(),
            base: self.base.0.into(),
            ended: self.ended.into(),
            created: self.created.into(),
            result: AttemptResult::layout(self.result.as_ref())?,
        };
        let mut out = [fixed.as_bytes(), &self.mail_from, &self.address, &self.envelope_id].concat();
        AttemptResult::put(self.result.as_ref(), &mut out);
        Some(out)
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let (row, tail) = split::<RetiredLayout>(bytes)?;
        let mut tail = Tail::of::<RetiredLayout>(tail, bytes.len());
        let this = Self {
            retirement: match row.retirement {
                0 => Retirement::Delivered,
                1 => Retirement::Failed,
                2 => Retirement::Dropped,
                _ => return Err(field::<RetiredLayout>("end")),
            },
            kind: Kind::of(row.kind).ok_or(field::<RetiredLayout>("kind"))?,
            ended: row.ended.get(),
            created: row.created.get(),
            base: QueueId(row.base.get()),
            sender: row.sender.get(),
            attempts: row.attempts.get(),
            mail_from: tail.octets(row.mail_from.get())?.into(),
            address: tail.octets(row.address.get())?.into(),
            envelope_id: tail.octets(row.envelope_id.get())?.into(),
            result: AttemptResult::take::<RetiredLayout>(&row.result, &mut tail)?,
        };
        tail.end()?;
        Ok(this)
    }
}

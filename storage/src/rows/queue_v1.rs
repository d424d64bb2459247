//! Rows of the queue as format 1 had them: a message with recipients of all domains, each of which waited by
//! itself. They are read to be converted, and never written.

use postrider_proto::smtp::envelope::Notify;
use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::queue::{BINARY, EIGHT_BIT, SMTPUTF8};
use super::recipient::notify;
use super::{BadRow, Fixed, Ret, Tail, field, split};
use crate::ids::BlobId;

/// An outgoing message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct QueueV1 {
    pub blob: BlobId,
    pub size: u64,
    pub created: i64,
    pub sender: u32,
    pub recipients: u32,
    pub require_tls: bool,
    pub smtputf8: bool,
    pub eight_bit: bool,
    pub binary: bool,
    pub ret: Ret,
    pub envelope_id: Box<[u8]>,
    pub mail_from: Box<[u8]>,
    pub prefix: Box<[u8]>,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct QueueLayout {
    version: u8,
    traits: u8,
    ret: u8,
    reserved: u8,
    sender: U32,
    recipients: U32,
    envelope_id: U16,
    mail_from: U16,
    blob: U64,
    size: U64,
    created: I64,
}

impl Fixed for QueueLayout {
    const NAME: &'static str = "QUEUE";
}

const REQUIRE_TLS: u8 = 1;

impl QueueV1 {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let (row, tail) = split::<QueueLayout>(bytes)?;
        let mut tail = Tail::of::<QueueLayout>(tail, bytes.len());
        Ok(Self {
            blob: BlobId(row.blob.get()),
            size: row.size.get(),
            created: row.created.get(),
            sender: row.sender.get(),
            recipients: row.recipients.get(),
            require_tls: row.traits & REQUIRE_TLS != 0,
            smtputf8: row.traits & SMTPUTF8 != 0,
            eight_bit: row.traits & EIGHT_BIT != 0,
            binary: row.traits & BINARY != 0,
            ret: Ret::of(row.ret).ok_or(field::<QueueLayout>("RET"))?,
            envelope_id: tail.octets(row.envelope_id.get())?.into(),
            mail_from: tail.octets(row.mail_from.get())?.into(),
            prefix: tail.bytes.into(),
        })
    }
}

/// One recipient of an outgoing message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RecipientV1 {
    pub due: i64,
    pub hold_until: i64,
    pub domain: u64,
    pub attempts: u32,
    pub notify: Option<Notify>,
    pub address: Box<[u8]>,
    pub original: Box<[u8]>,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RecipientLayout {
    version: u8,
    notify: u8,
    address: U16,
    attempts: U32,
    due: I64,
    hold_until: I64,
    domain: U64,
}

impl Fixed for RecipientLayout {
    const NAME: &'static str = "QUEUERCPT";
}

impl RecipientV1 {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let (row, tail) = split::<RecipientLayout>(bytes)?;
        let mut tail = Tail::of::<RecipientLayout>(tail, bytes.len());
        Ok(Self {
            due: row.due.get(),
            hold_until: row.hold_until.get(),
            domain: row.domain.get(),
            attempts: row.attempts.get(),
            // The bits were always written as they still are.
            notify: notify(row.notify),
            address: tail.octets(row.address.get())?.into(),
            original: tail.bytes.into(),
        })
    }
}

/// Encoders for tests of the conversion.
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
pub(crate) mod written {
    use zerocopy::IntoBytes as _;

    use super::*;
    use crate::rows::bit;

    pub(crate) fn queue(row: &QueueV1) -> Vec<u8> {
        let fixed = QueueLayout {
            version: 1,
            traits: bit(row.require_tls, REQUIRE_TLS)
                | bit(row.smtputf8, SMTPUTF8)
                | bit(row.eight_bit, EIGHT_BIT)
                | bit(row.binary, BINARY),
            ret: row.ret as u8,
            reserved: 0,
            sender: row.sender.into(),
            recipients: row.recipients.into(),
            envelope_id: u16::try_from(row.envelope_id.len()).unwrap().into(),
            mail_from: u16::try_from(row.mail_from.len()).unwrap().into(),
            blob: row.blob.0.into(),
            size: row.size.into(),
            created: row.created.into(),
        };
        [fixed.as_bytes(), &row.envelope_id, &row.mail_from, &row.prefix].concat()
    }

    pub(crate) fn recipient(row: &RecipientV1) -> Vec<u8> {
        let fixed = RecipientLayout {
            version: 1,
            notify: crate::rows::recipient::notify_bits(row.notify),
            address: u16::try_from(row.address.len()).unwrap().into(),
            attempts: row.attempts.into(),
            due: row.due.into(),
            hold_until: row.hold_until.into(),
            domain: row.domain.into(),
        };
        [fixed.as_bytes(), &row.address, &row.original].concat()
    }

    pub(crate) fn due(domain: u64) -> Vec<u8> {
        [&[1][..], &domain.to_le_bytes()].concat()
    }
}

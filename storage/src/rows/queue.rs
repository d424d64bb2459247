//! Rows of outgoing messages that wait to be delivered.

use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{BadRow, Fixed, field, split};
use crate::ids::BlobId;

/// How much of the message comes back with a report (RFC 3461 §4.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Ret {
    /// The sender didn't say.
    #[default]
    Unspecified = 0,
    /// The whole message.
    Full = 1,
    /// Its header.
    Headers = 2,
}

/// An outgoing message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueRow {
    /// The content.
    pub blob: BlobId,
    /// Octets of prefix and blob.
    pub size: u64,
    /// When it was accepted, seconds since 1970.
    pub created: i64,
    /// The account that submitted it; 0 when the system did.
    pub sender: u32,
    /// How many recipients it had at first.
    pub recipients: u32,
    /// RFC 8689: every hop must be verified TLS.
    pub require_tls: bool,
    /// RFC 6531: the envelope or the header is not ASCII.
    pub smtputf8: bool,
    /// RFC 6152, RFC 3030: the body has octets above 127, or any octets.
    pub eight_bit: bool,
    /// RFC 3030: the body is not made of lines.
    pub binary: bool,
    /// RFC 3461 RET.
    pub ret: Ret,
    /// RFC 3461 ENVID, decoded; empty without one.
    pub envelope_id: Box<[u8]>,
    /// The reverse path without angle brackets; empty for reports.
    pub mail_from: Box<[u8]>,
    /// Header fields added in front of the blob.
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
const SMTPUTF8: u8 = 1 << 1;
const EIGHT_BIT: u8 = 1 << 2;
const BINARY: u8 = 1 << 3;

impl QueueRow {
    /// The bytes that are stored; none when a text is longer than 65,535 octets.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let fixed = QueueLayout {
            version: QueueLayout::VERSION,
            traits: bit(self.require_tls, REQUIRE_TLS)
                | bit(self.smtputf8, SMTPUTF8)
                | bit(self.eight_bit, EIGHT_BIT)
                | bit(self.binary, BINARY),
            ret: self.ret as u8,
            reserved: 0,
            sender: self.sender.into(),
            recipients: self.recipients.into(),
            envelope_id: u16::try_from(self.envelope_id.len()).ok()?.into(),
            mail_from: u16::try_from(self.mail_from.len()).ok()?.into(),
            blob: self.blob.0.into(),
            size: self.size.into(),
            created: self.created.into(),
        };
        let mut out = fixed.as_bytes().to_vec();
        out.extend_from_slice(&self.envelope_id);
        out.extend_from_slice(&self.mail_from);
        out.extend_from_slice(&self.prefix);
        Some(out)
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let (row, tail) = split::<QueueLayout>(bytes)?;
        let short = BadRow::Length { row: QueueLayout::NAME, octets: bytes.len() };
        let (envelope_id, tail) = tail.split_at_checked(row.envelope_id.get().into()).ok_or(short)?;
        let (mail_from, prefix) = tail.split_at_checked(row.mail_from.get().into()).ok_or(short)?;
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
            ret: match row.ret {
                0 => Ret::Unspecified,
                1 => Ret::Full,
                2 => Ret::Headers,
                _ => return Err(field::<QueueLayout>("RET")),
            },
            envelope_id: envelope_id.into(),
            mail_from: mail_from.into(),
            prefix: prefix.into(),
        })
    }
}

/// One recipient of an outgoing message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecipientRow {
    /// When the next attempt is due, seconds since 1970; the key of its QUEUEDUE row.
    pub due: i64,
    /// RFC 4865: not before this; 0 without.
    pub hold_until: i64,
    /// The hash of the domain, which decides the shard that delivers it.
    pub domain: u64,
    /// Attempts made.
    pub attempts: u32,
    /// RFC 3461 NOTIFY: bit 0 success, 1 failure, 2 delay, 3 never; 0 when the sender didn't say.
    pub notify: u8,
    /// The address without angle brackets.
    pub address: Box<[u8]>,
    /// RFC 3461 ORCPT as given, decoded no further; empty without one.
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

impl RecipientRow {
    /// The bytes that are stored; none when the address is longer than 65,535 octets.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let fixed = RecipientLayout {
            version: RecipientLayout::VERSION,
            notify: self.notify,
            address: u16::try_from(self.address.len()).ok()?.into(),
            attempts: self.attempts.into(),
            due: self.due.into(),
            hold_until: self.hold_until.into(),
            domain: self.domain.into(),
        };
        let mut out = fixed.as_bytes().to_vec();
        out.extend_from_slice(&self.address);
        out.extend_from_slice(&self.original);
        Some(out)
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let (row, tail) = split::<RecipientLayout>(bytes)?;
        let (address, original) = tail
            .split_at_checked(row.address.get().into())
            .ok_or(BadRow::Length { row: RecipientLayout::NAME, octets: bytes.len() })?;
        Ok(Self {
            due: row.due.get(),
            hold_until: row.hold_until.get(),
            domain: row.domain.get(),
            attempts: row.attempts.get(),
            notify: row.notify,
            address: address.into(),
            original: original.into(),
        })
    }
}

const DUE: &str = "QUEUEDUE";
const DUE_VERSION: u8 = 1;

/// The value of a QUEUEDUE row: its version and the hash of the recipient's domain.
pub fn encode_due(domain: u64) -> Vec<u8> {
    let mut out = vec![DUE_VERSION];
    out.extend_from_slice(&domain.to_le_bytes());
    out
}

/// Reads what [`encode_due`] wrote.
pub fn decode_due(value: &[u8]) -> Result<u64, BadRow> {
    match value.split_first() {
        Some((&found, _)) if found != DUE_VERSION => {
            Err(BadRow::Version { row: DUE, found, known: DUE_VERSION })
        }
        Some((_, domain)) => domain
            .try_into()
            .map(u64::from_le_bytes)
            .map_err(|_| BadRow::Length { row: DUE, octets: value.len() }),
        None => Err(BadRow::Length { row: DUE, octets: 0 }),
    }
}

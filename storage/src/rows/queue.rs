//! Rows of entries of the queue: outgoing messages, each for the recipients of one domain.

use std::net::{IpAddr, Ipv6Addr};

use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::result::ResultLayout;
use super::{AttemptResult, BadRow, Fixed, Tail, bit, field, length, split};
use crate::ids::{BlobId, QueueId, RuleId};

/// How many addresses an entry remembers to have dialed.
pub const DIALED_MAX: usize = 8;

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

impl Ret {
    pub(super) const fn of(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Unspecified),
            1 => Some(Self::Full),
            2 => Some(Self::Headers),
            _ => None,
        }
    }
}

/// What the sender wants of transport security.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RequireTls {
    /// Nothing: the recipient domain's policies decide.
    #[default]
    Unset = 0,
    /// Every hop must be verified TLS (RFC 8689 §4.2.1, REQUIRETLS).
    Required = 1,
    /// Delivery comes before policies (RFC 8689 §5, `TLS-Required: No`).
    No = 2,
}

/// What a message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Kind {
    /// Somebody's message.
    #[default]
    Ordinary = 0,
    /// A report of delivery (RFC 3464).
    Report = 1,
    /// A DMARC aggregate report.
    DmarcReport = 2,
    /// A TLS report (RFC 8460).
    TlsReport = 3,
}

impl Kind {
    pub(super) const fn of(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Ordinary),
            1 => Some(Self::Report),
            2 => Some(Self::DmarcReport),
            3 => Some(Self::TlsReport),
            _ => None,
        }
    }
}

/// Whether an entry is held, and by what.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Held {
    /// It isn't.
    #[default]
    No,
    /// By an operator.
    Operator,
    /// By a rule, which may be gone by now.
    Rule(RuleId),
}

/// An outgoing message for the recipients of one domain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueRow {
    /// The content.
    pub blob: BlobId,
    /// Octets of prefix and blob.
    pub size: u64,
    /// Octets of the prefix, the header fields in front of the blob.
    pub prefix_octets: u32,
    /// When it was accepted, seconds since 1970.
    pub created: i64,
    /// The account that submitted it; 0 when the system did.
    pub sender: u32,
    /// What is common to the entries of one submission: the id of the first of them.
    pub base: QueueId,
    /// The recipients' domain: lower-case ASCII, or an address literal with its brackets.
    pub domain: Box<str>,
    /// How many recipients it had at first.
    pub recipients: u32,
    /// How many are still to be reached: at least one.
    pub waiting: u32,
    /// What it is.
    pub kind: Kind,
    /// What is wanted of transport security.
    pub require_tls: RequireTls,
    /// RFC 6531: the envelope or the header is not ASCII.
    pub smtputf8: bool,
    /// RFC 6152, RFC 3030: the body has octets above 127, or any octets.
    pub eight_bit: bool,
    /// RFC 3030: the body is not made of lines.
    pub binary: bool,
    /// RFC 5321 §4.5.3.1.6: there are lines of over 998 octets.
    pub long_lines: bool,
    /// RFC 3461 RET.
    pub ret: Ret,
    /// RFC 3461 ENVID, decoded; empty without one.
    pub envelope_id: Box<[u8]>,
    /// The reverse path without angle brackets; empty for reports.
    pub mail_from: Box<[u8]>,
    /// RFC 4865: not before this time was asked for; 0 without.
    pub hold_until: i64,
    /// It was wished as an interval (HOLDFOR), which began when the message was accepted.
    pub hold_for: bool,
    /// Attempts made, one under way included.
    pub attempts: u32,
    /// How many attempts are made; 0 is the default.
    pub max_attempts: u32,
    /// When the last attempt began; 0 before the first.
    pub last_attempt: i64,
    /// When the next attempt is due, seconds since 1970, when it isn't held.
    pub due: i64,
    /// Whether it is held.
    pub held: Held,
    /// Whether an attempt is under way.
    pub claimed: bool,
    /// Whether its sender was told that it is delayed.
    pub delay_reported: bool,
    /// Whether it has a row of what programs are told of it.
    pub has_meta: bool,
    /// The transport to use, whatever routes say; empty: by routes.
    pub transport: Box<str>,
    /// Addresses dialed, at most [`DIALED_MAX`], the last one last.
    pub dialed: Box<[IpAddr]>,
    /// What the last attempt of all that wait failed with.
    pub last_error: Option<AttemptResult>,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct QueueLayout {
    version: u8,
    traits: u8,
    ret: u8,
    require_tls: u8,
    kind: u8,
    held: u8,
    dialed: u8,
    domain: u8,
    sender: U32,
    recipients: U32,
    waiting: U32,
    prefix: U32,
    attempts: U32,
    max_attempts: U32,
    rule: U32,
    envelope_id: U16,
    mail_from: U16,
    transport: U16,
    reserved: [u8; 2],
    blob: U64,
    size: U64,
    base: U64,
    created: I64,
    hold_until: I64,
    last_attempt: I64,
    due: I64,
    error: ResultLayout,
}

impl Fixed for QueueLayout {
    const NAME: &'static str = "QUEUE";
    const VERSION: u8 = 2;
}

const LONG_LINES: u8 = 1;
pub(super) const SMTPUTF8: u8 = 1 << 1;
pub(super) const EIGHT_BIT: u8 = 1 << 2;
pub(super) const BINARY: u8 = 1 << 3;
const CLAIMED: u8 = 1 << 4;
const DELAY_REPORTED: u8 = 1 << 5;
const HOLD_FOR: u8 = 1 << 6;
const HAS_META: u8 = 1 << 7;

impl QueueRow {
    /// The longest ENVID, reverse path or name of a transport.
    pub const TEXT_OCTETS_MAX: usize = u16::MAX as usize;

    /// Whether stored bytes are of the version that format 1 had.
    pub(crate) fn is_v1(bytes: &[u8]) -> bool {
        bytes.first() == Some(&1)
    }

    /// Notes a dialed address; the first one is forgotten when there are too many.
    pub fn note_dialed(&mut self, address: IpAddr) {
        let mut dialed = std::mem::take(&mut self.dialed).into_vec();
        dialed.retain(|known| *known != address);
        dialed.push(address);
        let surplus = dialed.len().saturating_sub(DIALED_MAX);
        self.dialed = dialed.split_off(surplus).into();
    }

    fn layout(&self) -> Option<QueueLayout> {
        let (held, rule) = match self.held {
            Held::No => (0, 0),
            Held::Operator => (1, 0),
            Held::Rule(rule) => (2, rule.0),
        };
        Some(QueueLayout {
            version: QueueLayout::VERSION,
            traits: bit(self.smtputf8, SMTPUTF8)
                | bit(self.eight_bit, EIGHT_BIT)
                | bit(self.binary, BINARY)
                | bit(self.long_lines, LONG_LINES)
                | bit(self.claimed, CLAIMED)
                | bit(self.delay_reported, DELAY_REPORTED)
                | bit(self.hold_for, HOLD_FOR)
                | bit(self.has_meta, HAS_META),
            ret: self.ret as u8,
            require_tls: self.require_tls as u8,
            kind: self.kind as u8,
            held,
            dialed: u8::try_from(self.dialed.len()).ok().filter(|count| usize::from(*count) <= DIALED_MAX)?,
            domain: u8::try_from(self.domain.len()).ok()?,
            sender: self.sender.into(),
            recipients: self.recipients.into(),
            waiting: self.waiting.into(),
            prefix: self.prefix_octets.into(),
            attempts: self.attempts.into(),
            max_attempts: self.max_attempts.into(),
            rule: rule.into(),
            envelope_id: length(&self.envelope_id, Self::TEXT_OCTETS_MAX)?,
            mail_from: length(&self.mail_from, Self::TEXT_OCTETS_MAX)?,
            transport: length(self.transport.as_bytes(), Self::TEXT_OCTETS_MAX)?,
            reserved: [0; 2],
            blob: self.blob.0.into(),
            size: self.size.into(),
            base: self.base.0.into(),
            created: self.created.into(),
            hold_until: self.hold_until.into(),
            last_attempt: self.last_attempt.into(),
            due: self.due.into(),
            error: AttemptResult::layout(self.last_error.as_ref())?,
        })
    }

    /// The bytes that are stored; none when a text is longer than [`Self::TEXT_OCTETS_MAX`], the domain longer
    /// than 255 octets, or there are too many addresses.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let mut out = self.layout()?.as_bytes().to_vec();
        for address in &self.dialed {
            let address = match address {
                IpAddr::V4(address) => address.to_ipv6_mapped(),
                IpAddr::V6(address) => *address,
            };
            out.extend_from_slice(&address.octets());
        }
        out.extend_from_slice(self.domain.as_bytes());
        out.extend_from_slice(&self.envelope_id);
        out.extend_from_slice(&self.mail_from);
        out.extend_from_slice(self.transport.as_bytes());
        AttemptResult::put(self.last_error.as_ref(), &mut out);
        Some(out)
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let (row, tail) = split::<QueueLayout>(bytes)?;
        let mut tail = Tail::of::<QueueLayout>(tail, bytes.len());
        let bad = field::<QueueLayout>;
        if usize::from(row.dialed) > DIALED_MAX {
            return Err(bad("count of dialed addresses"));
        }
        let (dialed, _) = tail.octets(16 * usize::from(row.dialed))?.as_chunks::<16>();
        let this = Self {
            blob: BlobId(row.blob.get()),
            size: row.size.get(),
            prefix_octets: row.prefix.get(),
            created: row.created.get(),
            sender: row.sender.get(),
            base: QueueId(row.base.get()),
            dialed: dialed.iter().map(|octets| Ipv6Addr::from(*octets).to_canonical()).collect(),
            domain: tail.text(row.domain)?,
            recipients: row.recipients.get(),
            waiting: row.waiting.get(),
            kind: Kind::of(row.kind).ok_or(bad("kind"))?,
            require_tls: match row.require_tls {
                0 => RequireTls::Unset,
                1 => RequireTls::Required,
                2 => RequireTls::No,
                _ => return Err(bad("wish for TLS")),
            },
            smtputf8: row.traits & SMTPUTF8 != 0,
            eight_bit: row.traits & EIGHT_BIT != 0,
            binary: row.traits & BINARY != 0,
            long_lines: row.traits & LONG_LINES != 0,
            ret: Ret::of(row.ret).ok_or(bad("RET"))?,
            envelope_id: tail.octets(row.envelope_id.get())?.into(),
            mail_from: tail.octets(row.mail_from.get())?.into(),
            hold_until: row.hold_until.get(),
            hold_for: row.traits & HOLD_FOR != 0,
            attempts: row.attempts.get(),
            max_attempts: row.max_attempts.get(),
            last_attempt: row.last_attempt.get(),
            due: row.due.get(),
            held: match (row.held, row.rule.get()) {
                (0, 0) => Held::No,
                (1, 0) => Held::Operator,
                (2, rule) => Held::Rule(RuleId(rule)),
                _ => return Err(bad("hold")),
            },
            claimed: row.traits & CLAIMED != 0,
            delay_reported: row.traits & DELAY_REPORTED != 0,
            has_meta: row.traits & HAS_META != 0,
            transport: tail.text(row.transport.get())?,
            last_error: AttemptResult::take::<QueueLayout>(&row.error, &mut tail)?,
        };
        tail.end()?;
        Ok(this)
    }
}

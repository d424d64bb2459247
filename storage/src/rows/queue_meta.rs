//! What programs are told of a queued message, and where a message is by its id.

use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{BadRow, Fixed, Tail, field, length, split, whole};
use crate::ids::QueueId;

/// What programs are told of an outgoing message, beside what its entry says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct QueueMeta {
    /// The id in its reverse path, by which reports on it are known; empty without one.
    pub from_id: Box<str>,
    /// Its Message-ID without angle brackets; empty without one.
    pub message_id: Box<str>,
    /// Its subject, decoded; empty without one.
    pub subject: Box<str>,
    /// What its author added for programs: keys and values, each key once.
    pub extra: Vec<(Box<str>, Box<str>)>,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct MetaLayout {
    version: u8,
    extra: u8,
    from_id: U16,
    message_id: U16,
    subject: U16,
}

impl Fixed for MetaLayout {
    const NAME: &'static str = "QUEUEMETA";
}

impl QueueMeta {
    /// The longest id, Message-ID or subject.
    pub const TEXT_OCTETS_MAX: usize = 1024;
    /// The most keys.
    pub const EXTRA_MAX: usize = 32;
    /// The most octets of all keys and values.
    pub const EXTRA_OCTETS_MAX: usize = 8 * 1024;

    /// The bytes that are stored; none when a text or the rest is larger than it may be.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let text = |text: &str| length(text.as_bytes(), Self::TEXT_OCTETS_MAX);
        let octets: usize = self.extra.iter().map(|(key, value)| key.len() + value.len()).sum();
        if octets > Self::EXTRA_OCTETS_MAX || self.extra.len() > Self::EXTRA_MAX {
            return None;
        }
        let fixed = MetaLayout {
            version: MetaLayout::VERSION,
            extra: u8::try_from(self.extra.len()).ok()?,
            from_id: text(&self.from_id)?,
            message_id: text(&self.message_id)?,
            subject: text(&self.subject)?,
        };
        let mut out = fixed.as_bytes().to_vec();
        for text in [&self.from_id, &self.message_id, &self.subject] {
            out.extend_from_slice(text.as_bytes());
        }
        for text in self.extra.iter().flat_map(|(key, value)| [key, value]) {
            out.extend_from_slice(length(text.as_bytes(), Self::EXTRA_OCTETS_MAX)?.as_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        Some(out)
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let (row, tail) = split::<MetaLayout>(bytes)?;
        let mut tail = Tail::of::<MetaLayout>(tail, bytes.len());
        let from_id = tail.text(row.from_id.get())?;
        let message_id = tail.text(row.message_id.get())?;
        let subject = tail.text(row.subject.get())?;
        let mut text = || {
            let [one, other] = *tail.octets(2_usize)? else { return Err(field::<MetaLayout>("text")) };
            tail.text(u16::from_le_bytes([one, other]))
        };
        let extra = (0..row.extra).map(|_| Ok((text()?, text()?))).collect::<Result<_, BadRow>>()?;
        tail.end()?;
        Ok(Self { from_id, message_id, subject, extra })
    }
}

/// Where what became of a message is found by the id in its reverse path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FromIdRow {
    /// It waits.
    Queued {
        /// The entry of the queue.
        id: QueueId,
    },
    /// It left the queue.
    Retired {
        /// The entry it was.
        id: QueueId,
        /// Its number there.
        number: u32,
        /// Until when it is known what became of it.
        until: i64,
    },
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct FromIdLayout {
    version: u8,
    state: u8,
    reserved: [u8; 2],
    number: U32,
    id: U64,
    until: I64,
}

impl Fixed for FromIdLayout {
    const NAME: &'static str = "FROMID";
}

impl FromIdRow {
    /// The bytes that are stored.
    pub fn encode(self) -> Vec<u8> {
        let (state, id, number, until) = match self {
            Self::Queued { id } => (0, id, 0, 0),
            Self::Retired { id, number, until } => (1, id, number, until),
        };
        let fixed = FromIdLayout {
            version: FromIdLayout::VERSION,
            state,
            reserved: [0; 2],
            number: number.into(),
            id: id.0.into(),
            until: until.into(),
        };
        fixed.as_bytes().to_vec()
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let row = whole::<FromIdLayout>(bytes)?;
        let id = QueueId(row.id.get());
        match row.state {
            0 => Ok(Self::Queued { id }),
            1 => Ok(Self::Retired { id, number: row.number.get(), until: row.until.get() }),
            _ => Err(field::<FromIdLayout>("state")),
        }
    }
}

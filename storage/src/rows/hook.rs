//! Rows of calls of webhooks: those that wait, and what became of others.

use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{BadRow, Fixed, Tail, field, length, split};
use crate::directory::WebhookEvent;
use crate::ids::{AccountId, EmailId, HookId, QueueId};

/// What a call tells of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HookSubject {
    /// A message that the account sent. What comes later of the same takes the place of what waits.
    Outgoing {
        /// What happened.
        event: WebhookEvent,
        /// The first entry of its submission.
        base: QueueId,
        /// The hash of the recipient's address.
        recipient: u64,
    },
    /// A message that the account got.
    Incoming {
        /// The message.
        email: EmailId,
    },
}

/// How an attempt went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HookResult {
    /// When it began, in seconds since 1970.
    pub time: i64,
    /// How long it took.
    pub milliseconds: u32,
    /// The status of the response; 0 when there was none.
    pub status: u16,
    error: Box<str>,
    response: Box<str>,
}

impl HookResult {
    /// The longest text of an error.
    pub const ERROR_OCTETS_MAX: usize = 512;
    /// What is kept of a response.
    pub const RESPONSE_OCTETS_MAX: usize = 512;

    /// A result. What is too long of its texts is cut off.
    pub fn new(time: i64, milliseconds: u32, status: u16, error: &str, response: &str) -> Self {
        let cut = |text: &str, octets_max: usize| text[..text.floor_char_boundary(octets_max)].into();
        Self {
            time,
            milliseconds,
            status,
            error: cut(error, Self::ERROR_OCTETS_MAX),
            response: cut(response, Self::RESPONSE_OCTETS_MAX),
        }
    }

    /// What went wrong; empty when nothing did.
    pub fn error(&self) -> &str {
        &self.error
    }

    /// How the body of the response begins.
    pub fn response(&self) -> &str {
        &self.response
    }
}

/// A call that waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HookRow {
    /// Whose webhook is called.
    pub account: AccountId,
    /// What it tells of.
    pub subject: HookSubject,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// When the next attempt is due.
    pub due: i64,
    /// Attempts made.
    pub attempts: u32,
    /// Where it goes.
    pub url: Box<str>,
    /// What is sent: JSON; of a message that came, only what the message itself doesn't have.
    pub payload: Box<[u8]>,
    /// How the last attempts went, the last one last.
    pub results: Vec<HookResult>,
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HookEnd {
    /// It was taken.
    Delivered,
    /// It was given up.
    Failed,
    /// A later one took its place.
    Superseded(HookId),
    /// An operator canceled it.
    Canceled,
    /// The account has no such webhook any more.
    Unwanted,
    /// It waited for longer than a call may, whether or not attempts were made.
    Expired,
}

/// A call that ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RetiredHookRow {
    /// How.
    pub end: HookEnd,
    /// When, in seconds since 1970.
    pub ended: i64,
    /// What it was.
    pub hook: HookRow,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct HookLayout {
    version: u8,
    kind: u8,
    results: u8,
    reserved: u8,
    url: U16,
    reserved_too: [u8; 2],
    account: U32,
    attempts: U32,
    payload: U32,
    reserved_three: [u8; 4],
    subject: U64,
    recipient: U64,
    created: I64,
    due: I64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct HookResultLayout {
    time: I64,
    milliseconds: U32,
    status: U16,
    error: U16,
    response: U16,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RetiredHookLayout {
    version: u8,
    end: u8,
    reserved: [u8; 6],
    superseded_by: U64,
    ended: I64,
}

impl Fixed for HookLayout {
    const NAME: &'static str = "HOOK";
}

impl Fixed for RetiredHookLayout {
    const NAME: &'static str = "HOOKRETIRED";
}

/// This kind is no event.
const INCOMING: u8 = 128;

impl HookRow {
    /// The most results that are kept; of more, the first ones go.
    pub const RESULTS_MAX: usize = 16;
    /// The longest address.
    pub const URL_OCTETS_MAX: usize = 2048;
    /// The most that is sent of what is stored.
    pub const PAYLOAD_OCTETS_MAX: usize = 128 << 10;

    /// Notes how an attempt went.
    pub fn note(&mut self, result: HookResult) {
        if self.results.len() >= Self::RESULTS_MAX {
            self.results.remove(0);
        }
        self.results.push(result);
    }

    /// The bytes that are stored; none when something is longer than it may be.
    pub fn encode(&self) -> Option<Vec<u8>> {
        if self.payload.len() > Self::PAYLOAD_OCTETS_MAX || self.results.len() > Self::RESULTS_MAX {
            return None;
        }
        let (kind, subject, recipient) = match self.subject {
            HookSubject::Outgoing { event, base, recipient } => (event as u8, base.0, recipient),
            HookSubject::Incoming { email } => (INCOMING, email.0, 0),
        };
        let fixed = HookLayout {
            version: HookLayout::VERSION,
            kind,
            results: u8::try_from(self.results.len()).ok()?,
            reserved: 0,
            url: length(self.url.as_bytes(), Self::URL_OCTETS_MAX)?,
            reserved_too: [0; 2],
            account: self.account.get().into(),
            attempts: self.attempts.into(),
            payload: u32::try_from(self.payload.len()).ok()?.into(),
            reserved_three: [0; 4],
            subject: subject.into(),
            recipient: recipient.into(),
            created: self.created.into(),
            due: self.due.into(),
        };
        let mut out = [fixed.as_bytes(), self.url.as_bytes(), &self.payload].concat();
        for result in &self.results {
            let fixed = HookResultLayout {
                time: result.time.into(),
                milliseconds: result.milliseconds.into(),
                status: result.status.into(),
                error: length(result.error.as_bytes(), HookResult::ERROR_OCTETS_MAX)?,
                response: length(result.response.as_bytes(), HookResult::RESPONSE_OCTETS_MAX)?,
            };
            out.extend_from_slice(fixed.as_bytes());
            out.extend_from_slice(result.error.as_bytes());
            out.extend_from_slice(result.response.as_bytes());
        }
        Some(out)
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let (row, tail) = split::<HookLayout>(bytes)?;
        let mut tail = Tail::of::<HookLayout>(tail, bytes.len());
        let subject = match row.kind {
            INCOMING => HookSubject::Incoming { email: EmailId(row.subject.get()) },
            event => HookSubject::Outgoing {
                event: *WebhookEvent::ALL.get(usize::from(event)).ok_or(field::<HookLayout>("kind"))?,
                base: QueueId(row.subject.get()),
                recipient: row.recipient.get(),
            },
        };
        if usize::from(row.results) > Self::RESULTS_MAX {
            return Err(field::<HookLayout>("number of results"));
        }
        let this = Self {
            account: AccountId::new(row.account.get()).ok_or(field::<HookLayout>("account"))?,
            subject,
            created: row.created.get(),
            due: row.due.get(),
            attempts: row.attempts.get(),
            url: tail.text(row.url.get())?,
            payload: tail.octets(row.payload.get() as usize)?.into(),
            results: (0..row.results).map(|_| HookResult::take(&mut tail)).collect::<Result<_, _>>()?,
        };
        tail.end()?;
        Ok(this)
    }
}

impl HookResult {
    fn take(tail: &mut Tail<'_>) -> Result<Self, BadRow> {
        let fixed = tail.octets(size_of::<HookResultLayout>())?;
        let fixed = HookResultLayout::ref_from_bytes(fixed).map_err(|_| field::<HookLayout>("result"))?;
        Ok(Self {
            time: fixed.time.get(),
            milliseconds: fixed.milliseconds.get(),
            status: fixed.status.get(),
            error: tail.text(fixed.error.get())?,
            response: tail.text(fixed.response.get())?,
        })
    }
}

impl RetiredHookRow {
    /// The bytes that are stored; none when something is longer than it may be.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let (end, by) = match self.end {
            HookEnd::Delivered => (0, 0),
            HookEnd::Failed => (1, 0),
            HookEnd::Superseded(by) => (2, by.0),
            HookEnd::Canceled => (3, 0),
            HookEnd::Unwanted => (4, 0),
            HookEnd::Expired => (5, 0),
        };
        let fixed = RetiredHookLayout {
            version: RetiredHookLayout::VERSION,
            end,
            reserved: [0; 6],
            superseded_by: by.into(),
            ended: self.ended.into(),
        };
        Some([fixed.as_bytes(), &self.hook.encode()?].concat())
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let (row, tail) = split::<RetiredHookLayout>(bytes)?;
        let end = match row.end {
            0 => HookEnd::Delivered,
            1 => HookEnd::Failed,
            2 => HookEnd::Superseded(HookId(row.superseded_by.get())),
            3 => HookEnd::Canceled,
            4 => HookEnd::Unwanted,
            5 => HookEnd::Expired,
            _ => return Err(field::<RetiredHookLayout>("end")),
        };
        Ok(Self { end, ended: row.ended.get(), hook: HookRow::decode(tail)? })
    }
}
